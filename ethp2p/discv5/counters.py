"""
Counting, for whoever collects metrics.
"""

from __future__ import annotations

import attrs

from ethp2p.discv5.wire import Message


@attrs.define
class Counters:
    """
    What happened since the engine was made.
    """

    datagrams_in: int = 0
    bytes_in: int = 0
    datagrams_out: int = 0
    bytes_out: int = 0
    #: Not discovery v5, or not for us.
    foreign: int = 0
    #: For us, and malformed outside the seal.
    bad_packets: int = 0
    #: Malformed inside the seal, or of a type not spoken.
    bad_messages: int = 0
    #: Packets that could not be read, and what they got: a challenge, or the one underway again.
    unreadable: int = 0
    challenges: int = 0
    challenges_repeated: int = 0
    #: Handshakes that others began, ours, and those that prove nothing.
    handshakes_in: int = 0
    handshakes_out: int = 0
    handshakes_bad: int = 0
    #: Handshakes, challenges and answers that nobody here asked for, or that came twice.
    unsolicited: int = 0
    #: Records in answers that were malformed, not asked for or not believable.
    records_refused: int = 0
    calls_answered: int = 0
    calls_failed: int = 0
    #: Requests that were sent once more.
    calls_repeated: int = 0
    #: Events and datagrams for which there was no room.
    dropped: int = 0
    #: Messages by type, those that came with a handshake too.
    received: dict[str, int] = attrs.field(factory=dict)
    sent: dict[str, int] = attrs.field(factory=dict)


def tally(kinds: dict[str, int], kind: type[Message]) -> None:
    """One more message of a type."""
    name = kind.__name__
    kinds[name] = kinds.get(name, 0) + 1
