"""
Requests of ours: what each waits for, which is underway, and which wait their turn.

Of all requests to one node only one is underway, so that a challenge always belongs to it.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar

import attrs

from ethp2p.discv5 import wire
from ethp2p.discv5.events import PongInfo, Result
from ethp2p.discv5.limits import (
    MAX_CALLS,
    MAX_NODES,
    MAX_NONCES,
    MAX_QUEUE,
    MAX_TOTAL,
    NONCE_LIFETIME,
    RESPONSE_TIMEOUT,
)
from ethp2p.discv5.nodes import Verified
from ethp2p.discv5.relay import check_endpoint, distance
from ethp2p.discv5.session import Addr, Key
from ethp2p.enode import Node
from ethp2p.enode.cidr import Address, as_ip
from ethp2p.errors import Offence, RemoteProtocolError
from ethp2p.limits import ExpiringMap


class UselessAnswer(RemoteProtocolError):
    """The node answered with something else than was asked for."""

    offence = Offence.BAD_DATA


@attrs.define(eq=False)
class Call:
    """
    One request and its answer.
    """

    expects: ClassVar[type[wire.Message]]
    token: int
    node: Node
    request: wire.Ping | wire.FindNode | wire.TalkRequest
    #: The node's, once it was sent.
    mask: wire.Mask | None = None
    #: When it was last sent.
    sent_at: float = 0.0
    #: Seconds until the first packet of the answer.
    rtt: float | None = None
    #: Whether it has been sent with a handshake; there is one only.
    shaken: bool = False
    #: Records in the answer that were not taken.
    refused: int = 0

    @property
    def addr(self) -> Addr:
        """Where it goes, and where its answer has to come from."""
        return self.node.host, self.node.udp

    @property
    def key(self) -> Key:
        """Whom it goes to."""
        return self.node.node_id, self.addr

    def take(self, reply: wire.Message) -> Result | None:
        """
        @param reply: of the type in C{expects}.
        @return: the result; None when there is more to come.
        @raise RemoteProtocolError: the answer is of no use.
        """
        raise NotImplementedError

    def partial(self) -> Result | None:
        """What there is when no more comes; None for nothing."""
        return None


class PingCall(Call):
    """Are you there?"""

    expects = wire.Pong

    def take(self, reply: wire.Message) -> Result:
        """Where we are seen."""
        assert type(reply) is wire.Pong
        host = str(as_ip(_unpack(reply.recipient_ip)))
        return PongInfo((host, reply.recipient_port), reply.enr_seq)


class TalkCall(Call):
    """In another protocol."""

    expects = wire.TalkResponse

    def take(self, reply: wire.Message) -> Result:
        """Whatever it is."""
        assert type(reply) is wire.TalkResponse
        return reply.message


@attrs.define(eq=False)
class FindCall(Call):
    """Whom do you know?"""

    expects: ClassVar[type[wire.Message]] = wire.Nodes
    #: Who we are: others often tell us of ourselves.
    us: bytes = attrs.field(kw_only=True)
    verified: Verified = attrs.field(kw_only=True)
    _total: int | None = None
    _packets: int = 0
    _records: int = 0
    _found: dict[bytes, Node] = attrs.field(factory=dict)

    def take(self, reply: wire.Message) -> Result | None:
        """The nodes told of that are believable and were asked for."""
        assert type(reply) is wire.Nodes
        if self._total is None:
            self._total = min(reply.total, MAX_TOTAL)
        self._packets += 1
        # Every record looked at counts, good or bad: each costs as much as a signature does.
        records = reply.records[: MAX_NODES - self._records]
        self._records += len(records)
        self.refused += len(reply.records) - len(records)
        for raw in records:
            try:
                self._look(raw)
            except RemoteProtocolError:
                self.refused += 1
        return self._result() if self._packets >= self._total or self._records >= MAX_NODES else None

    def partial(self) -> Result | None:
        """What came, when the rest was lost."""
        return self._result() if self._packets else None

    def _look(self, raw: bytes) -> None:
        node = self.verified.node(raw)
        assert type(self.request) is wire.FindNode
        if distance(node.node_id, self.node.node_id) not in self.request.distances:
            raise UselessAnswer("a node at another distance than was asked for")
        if node.node_id in self._found:
            raise UselessAnswer("a node told of twice")
        self._check(node)
        if node.node_id != self.us:
            self._found[node.node_id] = node

    def _check(self, node: Node) -> None:
        check_endpoint(self.node.host, node)

    def _result(self) -> Result:
        return tuple(self._found.values())


class RecordCall(FindCall):
    """Who are you?  Asked as FINDNODE for distance 0."""

    def _check(self, node: Node) -> None:
        if node.host:  # without one it is not to be called: a true record all the same
            check_endpoint(self.node.host, node)

    def _result(self) -> Result:
        for node in self._found.values():
            if node.record is not None:
                return node.record
        raise UselessAnswer("the node did not give its record")


def _unpack(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


class Calls:
    """
    All requests that are not answered yet, at most L{MAX_CALLS}, in order for each node.
    """

    def __init__(self) -> None:
        self._active: dict[bytes, Call] = {}
        self._waiting: dict[bytes, deque[Call]] = {}
        self._deadlines: dict[Call, float] = {}  # in order, since all wait equally long
        self._nonces: ExpiringMap[bytes, Key] = ExpiringMap(MAX_NONCES, NONCE_LIFETIME)
        self._count = 0

    def add(self, call: Call) -> bool:
        """Put a request in line.  @return: False when there is no room."""
        queue = self._waiting.setdefault(call.node.node_id, deque())
        if self._count >= MAX_CALLS or len(queue) >= MAX_QUEUE:
            if not queue:
                del self._waiting[call.node.node_id]
            return False
        queue.append(call)
        self._count += 1
        return True

    def next(self, node_id: bytes) -> Call | None:
        """Make the next request to a node the active one.  @return: None when there is none, or one is."""
        queue = self._waiting.get(node_id)
        if queue is None or node_id in self._active:
            return None
        call = self._active[node_id] = queue.popleft()
        if not queue:
            del self._waiting[node_id]
        return call

    def active(self, node_id: bytes) -> Call | None:
        """The request to a node that is underway."""
        return self._active.get(node_id)

    def sent(self, call: Call, nonce: bytes, now: float) -> None:
        """The active request went out in the packet with this nonce."""
        call.sent_at = now
        self._nonces.set(nonce, call.key, now)
        self.wait(call, now)

    def wait(self, call: Call, now: float) -> None:
        """Give it its time, from now."""
        self._deadlines.pop(call, None)
        self._deadlines[call] = now + RESPONSE_TIMEOUT

    def challenged(self, nonce: bytes, addr: Addr, now: float) -> Call | None:
        """
        The request to repeat with a handshake, when a challenge that names C{nonce} comes from C{addr}.  The
        nonce may be an earlier request's, because a challenge whose first copy was lost comes again for the next.
        """
        key = self._nonces.get(nonce, now)
        call = None if key is None else self._active.get(key[0])
        if call is None or call.shaken or call.key != key or call.addr != addr:
            return None
        return call

    def end(self, call: Call) -> None:
        """The active request is over."""
        del self._active[call.node.node_id]
        self._deadlines.pop(call, None)
        self._count -= 1

    def late(self, now: float) -> list[Call]:
        """The active requests whose time is over."""
        late = []
        for call, deadline in self._deadlines.items():
            if deadline > now:
                break
            late.append(call)
        return late

    @property
    def deadline(self) -> float | None:
        """When the next one's time is over."""
        return next(iter(self._deadlines.values()), None)

    def drop(self) -> list[Call]:
        """Forget all.  @return: them."""
        calls = [*self._active.values(), *(call for queue in self._waiting.values() for call in queue)]
        self._active.clear()
        self._waiting.clear()
        self._deadlines.clear()
        self._count = 0
        return calls

    def __len__(self) -> int:
        return self._count
