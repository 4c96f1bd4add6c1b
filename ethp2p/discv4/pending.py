"""
What is under way with another node, and until when.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import attrs

from ethp2p.crypto.keys import PublicKey
from ethp2p.discv4 import wire
from ethp2p.discv4.limits import ANSWER_SIZE
from ethp2p.enode.node import Node


@attrs.frozen(eq=False)
class Question:
    """
    Something to ask a node once it knows us.
    """

    token: int
    node: Node
    #: What FindNode is about, 64 bytes; None asks for the node's record.
    target: bytes | None


@attrs.define(eq=False)
class Remote:
    """
    A key at an address, while we wait for something from there: at most one Ping and one question at a time.
    """

    public_key: PublicKey
    #: Its address, and the same as the socket has it.
    place: tuple[str, int]
    addr: tuple[str, int]
    #: The Ping under way.
    ping: bytes | None = None
    ping_sent: float = 0.0
    #: Who waits for its Pong: tokens, and the nodes they were given for.
    pinging: list[tuple[int, Node]] = attrs.field(factory=list)
    #: The node that had us ping it by pinging us first.
    stranger: Node | None = None
    #: When it last pinged us meanwhile, and the TCP port that it said.
    greeted: tuple[float, int] | None = None
    #: The first is being asked, or waits until it can be.
    questions: deque[Question] = attrs.field(factory=deque)
    #: Where the first question has its deadline; None while it waits for the Pong.
    line: Line | None = None
    #: The first question once it is asked.
    request: bytes | None = None
    asked_at: float = 0.0
    #: Whether it was asked anew because the node seemed not to have known us.
    asked_anew: bool = False
    #: When the first part of the answer came.
    answered_at: float | None = None
    #: What was told, by public key: nodes, or None where no node can be.
    told: dict[bytes, Node | None] = attrs.field(factory=dict)

    def awaits(self, answer: wire.Pong | wire.Neighbors | wire.ENRResponse) -> bool:
        """Whether something was asked to which this can be the answer."""
        if isinstance(answer, wire.Pong):
            return self.ping is not None and wire.packet_hash(self.ping) == answer.ping_hash
        if self.request is None:
            return False
        if isinstance(answer, wire.Neighbors):  # does not tell what it answers
            return self.questions[0].target is not None
        return wire.packet_hash(self.request) == answer.request_hash

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that were told."""
        return tuple([node for node in self.told.values() if node is not None][:ANSWER_SIZE])

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self.ping is None and not self.questions


class Line:
    """
    Deadlines that all come after the same delay, so that they come in the order they were set.
    """

    __slots__ = ("_due", "delay")

    def __init__(self, delay: float) -> None:
        """@param delay: seconds."""
        self.delay = delay
        self._due: OrderedDict[Remote, float] = OrderedDict()  # whose first is found at once, however many were before

    def add(self, remote: Remote, now: float) -> None:
        """Set the deadline of C{remote}, which has none here."""
        self._due[remote] = now + self.delay

    def remove(self, remote: Remote) -> None:
        """Forget its deadline, if it has one here."""
        self._due.pop(remote, None)

    def clear(self) -> None:
        """Forget all."""
        self._due.clear()

    def due(self, remote: Remote) -> float:
        """The deadline of C{remote}; 0 when it has none here."""
        return self._due.get(remote, 0.0)

    def first(self) -> float | None:
        """The next deadline."""
        return next(iter(self._due.values()), None)

    def take(self, now: float) -> Remote | None:
        """The next one whose deadline has passed; it has none here any more."""
        due = self.first()
        return None if due is None or due > now else self._due.popitem(last=False)[0]

    def __len__(self) -> int:
        return len(self._due)
