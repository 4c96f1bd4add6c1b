"""
Whether everything happened that should.
"""

from __future__ import annotations

from collections import defaultdict

import attrs

from ethp2p.sandbox.cast import CAST, Meeting, meetings

#: What a follower asks of each node it meets.
DOWNLOADS = ("GetBlockHeaders", "GetBlockBodies", "GetReceipts")


@attrs.define
class Evidence:
    """
    What was seen.
    """

    #: By pair, in the cast's order: the version of eth they agreed on, once Status fits.
    met: dict[tuple[str, str], int] = attrs.field(factory=dict)
    #: By pair, the words with which one refused the other.
    refused: dict[tuple[str, str], str] = attrs.field(factory=dict)
    #: By who asked and who was asked: which requests were answered with something that holds.
    verified: dict[tuple[str, str], set[str]] = attrs.field(factory=lambda: defaultdict(set))
    #: What should not have happened.
    surprises: list[str] = attrs.field(factory=list)
    #: Head of each follower: number, and whether the block is on the maker's chain.
    heads: dict[str, tuple[int, bool]] = attrs.field(factory=dict)
    #: Head of the maker, and how many blocks it made before our eyes.
    newest: int = 0
    made: int = 0


#: How many blocks a follower may be behind.
LAG = 3


def missing(evidence: Evidence) -> list[str]:
    """What did not happen, a sentence each; nothing if all is well."""
    good, refused = meetings()
    found = list(evidence.surprises)
    for meeting in good:
        found += _missing_from(evidence, meeting)
    for meeting in refused:
        words = evidence.refused.get(meeting.pair)
        if words is None:
            found.append(f"{meeting.one} did not refuse {meeting.other}")
        elif "genesis" not in words:
            found.append(f"{meeting.one} refused {meeting.other} for another reason than its genesis: {words}")
        if meeting.pair in evidence.met:
            found.append(f"{meeting.one} met {meeting.other}, which has another genesis")
    if not evidence.made:
        found.append("no block was made")
    for name, (number, ours) in evidence.heads.items():
        if not ours:
            found.append(f"{name} is on another chain than the one it follows")
        elif number < evidence.newest - LAG:
            found.append(f"{name} is at block {number} only, the chain at {evidence.newest}")
    return found


def _missing_from(evidence: Evidence, meeting: Meeting) -> list[str]:
    one, other = meeting.pair
    version = evidence.met.get(meeting.pair)
    if version is None:
        return [f"{one} and {other} did not meet"]
    if version != meeting.version:
        return [f"{one} and {other} agreed on eth/{version}, not on eth/{meeting.version}"]
    followers = {part.name for part in CAST if not part.makes_blocks}
    return [
        f"{asker} has no verified answer to {message} from {asked}"
        for asker, asked in ((one, other), (other, one))
        if asker in followers
        for message in DOWNLOADS
        if message not in evidence.verified[asker, asked]
    ]
