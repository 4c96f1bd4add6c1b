"""
Whether everything happened that should.
"""

from __future__ import annotations

from collections import defaultdict

import attrs

from ethp2p.sandbox.cast import Meeting, meetings

#: What a caller asks of each node it meets.
DOWNLOADS = ("GetBlockHeaders", "GetBlockBodies", "GetReceipts")


@attrs.define
class Evidence:
    """
    What was seen, by caller and called.
    """

    #: The version of eth they agreed on, once Status fits on the caller's side.
    met: dict[tuple[str, str], int] = attrs.field(factory=dict)
    #: The words with which the called node refused.
    refused: dict[tuple[str, str], str] = attrs.field(factory=dict)
    #: Which requests of the caller were answered with something that holds.
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
        words = evidence.refused.get((meeting.caller, meeting.called))
        if words is None:
            found.append(f"{meeting.called} did not refuse {meeting.caller}")
        elif "genesis" not in words:
            found.append(f"{meeting.called} refused {meeting.caller} for another reason than its genesis: {words}")
        if (meeting.caller, meeting.called) in evidence.met:
            found.append(f"{meeting.caller} met {meeting.called}, which has another genesis")
    if not evidence.made:
        found.append("no block was made")
    for name, (number, ours) in evidence.heads.items():
        if not ours:
            found.append(f"{name} is on another chain than the one it follows")
        elif number < evidence.newest - LAG:
            found.append(f"{name} is at block {number} only, the chain at {evidence.newest}")
    return found


def _missing_from(evidence: Evidence, meeting: Meeting) -> list[str]:
    pair = meeting.caller, meeting.called
    version = evidence.met.get(pair)
    if version is None:
        return [f"{meeting.caller} did not meet {meeting.called}"]
    if version != meeting.version:
        return [f"{meeting.caller} and {meeting.called} agreed on eth/{version}, not on eth/{meeting.version}"]
    return [
        f"{meeting.caller} has no verified answer to {message} from {meeting.called}"
        for message in DOWNLOADS
        if message not in evidence.verified[pair]
    ]
