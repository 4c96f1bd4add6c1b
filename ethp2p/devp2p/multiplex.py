"""
What waits to be sent to a peer that does not read fast enough, and whose turn it is.

Nothing waits while the transport takes everything.  When it does not, each capability has a lane of its own,
and the lanes take turns by bytes (deficit round robin, Shreedhar and Varghese 1995), so that a megabyte of one
language's answers does not hold up another's small messages.  Pure: no transport, no clock.
"""

from __future__ import annotations

from collections import deque

import attrs

from ethp2p.errors import LocalProtocolError

#: Bytes a lane may send in one turn; a larger message saves up over several.
QUANTUM = 16 * 1024
#: Over this many bytes a lane is full, and its writer is asked to pause.
HIGH_WATER = 256 * 1024
#: Back at this many bytes its writer is asked to go on.
LOW_WATER = 64 * 1024
#: Over this many bytes a lane overflows: nothing more is taken, and nothing that could be answered is read from
#: the peer until the lane is back at L{HIGH_WATER}.  Up to it any message is taken, so that a lane never holds
#: more than this and one message.  It is not lower because two peers that both stop reading wait for each other.
HARD_CAP = 4 * 1024 * 1024
#: Bytes that a waiting message costs beyond its payload, so that empty ones are not free.
MESSAGE_COST = 100


class QueueFull(LocalProtocolError):
    """A capability went on writing to a peer that does not read."""


@attrs.define(eq=False)
class Lane:
    """
    The messages of one capability that wait.
    """

    #: Bytes waiting, L{MESSAGE_COST} a message included.
    size: int = 0
    #: Whether it went over L{HIGH_WATER} and is not yet back at L{LOW_WATER}.
    full: bool = False
    #: Whether it went over L{HARD_CAP} and is not yet back at L{HIGH_WATER}.
    overflowing: bool = False
    _waiting: deque[tuple[int, bytes]] | None = None
    _credit: int = 0


class Multiplexer:
    """
    The lanes of one session that have something waiting.
    """

    __slots__ = ("turns",)

    def __init__(self) -> None:
        #: The lanes with something waiting, the next one first.  Empty: nothing waits.
        self.turns: list[Lane] = []

    def put(self, lane: Lane, code: int, payload: bytes) -> None:
        """
        Add a message to C{lane}.

        @raise QueueFull: the lane holds more than L{HARD_CAP} bytes already.
        """
        if lane.size > HARD_CAP:
            raise QueueFull(f"{lane.size} bytes wait for a peer that does not read")
        if lane._waiting is None:
            lane._waiting = deque()
            self.turns.append(lane)
        lane._waiting.append((code, payload))
        lane.size += len(payload) + MESSAGE_COST
        if lane.size > HIGH_WATER:
            lane.full = True
            lane.overflowing |= lane.size > HARD_CAP

    def take(self) -> tuple[int, bytes] | None:
        """The next message to send, or None when nothing waits."""
        turns = self.turns
        while turns:
            lane = turns[0]
            waiting = lane._waiting
            assert waiting
            cost = len(waiting[0][1]) + MESSAGE_COST
            if len(turns) > 1 and lane._credit < cost:
                lane._credit += QUANTUM
                turns.append(turns.pop(0))
                continue
            message = waiting.popleft()
            # A lane alone is not made to wait, but pays: else it would come into company with savings.
            lane._credit = max(0, lane._credit - cost)
            lane.size -= cost
            if lane.size <= HIGH_WATER:
                lane.overflowing = False
                lane.full &= lane.size > LOW_WATER
            if not waiting:
                lane._waiting = None
                lane._credit = 0
                del turns[0]
            return message
        return None

    def clear(self) -> None:
        """Forget everything that waits."""
        for lane in self.turns:
            lane._waiting = None
            lane.size = lane._credit = 0
            lane.full = lane.overflowing = False
        self.turns.clear()
