"""
Requests of ours: what each waits for, which is underway, and which wait their turn.

Of all requests to one node only one is underway, so that a challenge always belongs to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    MAX_REPEATS,
    MAX_TOTAL,
    NONCE_LIFETIME,
    REPEAT_AFTER,
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
class Call(ABC):
    """
    One request and its answer.
    """

    expects: ClassVar[type[wire.Message]]
    #: Whether it may be said twice: whoever answers does no more than answer.
    repeatable: ClassVar[bool] = True
    token: int
    node: Node
    request: wire.Ping | wire.FindNode | wire.TalkRequest
    #: The node's, once it was sent.
    mask: wire.Mask | None = None
    #: When it was last sent, its repetitions not counted: nobody knows which copy is answered.
    sent_at: float = 0.0
    #: Seconds until the first packet of the answer.
    rtt: float | None = None
    #: Times that it was sent once more.
    repeats: int = 0
    #: The challenge that it was sent with a handshake for, and that packet.
    shaken: tuple[bytes, bytes] | None = None
    #: Whether another challenge is answered: one, and one more after each repetition.
    may_shake: bool = True
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

    @abstractmethod
    def take(self, reply: wire.Message) -> Result | None:
        """
        @param reply: of the type in C{expects}.
        @return: the result; None when there is more to come.
        @raise RemoteProtocolError: the answer is of no use.
        """

    def partial(self) -> Result | None:
        """What there is when no more comes; None for nothing."""
        return None

    def repeated(self) -> None:
        """It was sent once more, so that all of the answer comes again."""
        self.repeats += 1
        self.may_shake = True


class PingCall(Call):
    """Are you there?"""

    expects = wire.Pong

    def take(self, reply: wire.Message) -> Result:
        """Where we are seen."""
        assert type(reply) is wire.Pong
        host = str(as_ip(_unpack(reply.recipient_ip)))
        return PongInfo((host, reply.recipient_port), reply.enr_seq)


class TalkCall(Call):
    """In another protocol, for which hearing it twice may not be the same as hearing it once."""

    expects = wire.TalkResponse
    repeatable = False

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
    _packets: set[tuple[bytes, ...]] = attrs.field(factory=set)
    _came: int = 0
    _looked_at: set[bytes] = attrs.field(factory=set)
    _found: dict[bytes, Node] = attrs.field(factory=dict)

    def take(self, reply: wire.Message) -> Result | None:
        """The nodes told of that are believable and were asked for."""
        assert type(reply) is wire.Nodes
        if self._total is None:
            self._total = min(reply.total, MAX_TOTAL)
        self._came += 1
        self._packets.add(reply.records)  # one that the network has doubled must not pass for the next
        for raw in reply.records:
            if raw in self._looked_at:
                continue
            # Every record looked at counts, good or bad: each costs as much as a signature does.
            if len(self._looked_at) >= MAX_NODES:
                self.refused += 1
                continue
            self._looked_at.add(raw)
            try:
                self._look(raw)
            except RemoteProtocolError:
                self.refused += 1
        whole = len(self._packets) >= self._total or len(self._looked_at) >= MAX_NODES
        return self._result() if whole or self._came >= MAX_TOTAL else None

    def partial(self) -> Result | None:
        """What came, when the rest was lost."""
        return None if self.rtt is None else self._result()

    def repeated(self) -> None:
        """What came is kept.  The packets are counted anew: in each copy of an answer other nodes may be in them."""
        Call.repeated(self)
        self._total = None
        self._packets.clear()

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
        # Since when they wait, in order: those that may be repeated yet, and those for which it is too late.
        self._waits: dict[Call, float] = {}
        self._last_waits: dict[Call, float] = {}
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

    def repeated(self, call: Call, nonce: bytes, now: float) -> None:
        """The active request went out once more, in the packet with this nonce."""
        call.repeated()
        self._nonces.set(nonce, call.key, now)

    def wait(self, call: Call, now: float) -> None:
        """Give it its time, from now."""
        self._waits.pop(call, None)
        if self._last_waits:
            self._last_waits.pop(call, None)
        self._waits[call] = now

    def challenged(self, nonce: bytes, addr: Addr, now: float) -> Call | None:
        """
        The request to send with a handshake, when a challenge that names C{nonce} comes from C{addr}.  The
        nonce may be an earlier packet's, because a challenge whose first copy was lost comes again for the next.
        """
        key = self._nonces.get(nonce, now)
        call = None if key is None else self._active.get(key[0])
        if call is None or not call.may_shake or call.key != key or call.addr != addr:
            return None
        return call

    def end(self, call: Call) -> None:
        """The active request is over."""
        del self._active[call.node.node_id]
        if self._waits.pop(call, None) is None:  # most are answered before they might be repeated
            self._last_waits.pop(call, None)
        self._count -= 1

    def silent(self, now: float) -> list[Call]:
        """The active requests to repeat now, each told once in a wait."""
        silent = []
        while self._waits:
            call, since = next(iter(self._waits.items()))
            if since + REPEAT_AFTER > now:
                break
            del self._waits[call]
            self._last_waits[call] = since
            if call.repeatable and call.repeats < MAX_REPEATS and since + RESPONSE_TIMEOUT > now:
                silent.append(call)
        return silent

    def late(self, now: float) -> list[Call]:
        """The active requests whose time is over."""
        late = []
        for call, since in self._last_waits.items():
            if since + RESPONSE_TIMEOUT > now:
                break
            late.append(call)
        return late

    @property
    def deadline(self) -> float | None:
        """When the next one is to be repeated, or its time is over."""
        first, last = next(iter(self._waits.values()), None), next(iter(self._last_waits.values()), None)
        if last is None:
            return None if first is None else first + REPEAT_AFTER
        end = last + RESPONSE_TIMEOUT
        return end if first is None else min(end, first + REPEAT_AFTER)

    def drop(self) -> list[Call]:
        """Forget all.  @return: them."""
        calls = [*self._active.values(), *(call for queue in self._waiting.values() for call in queue)]
        self._active.clear()
        self._waiting.clear()
        self._waits.clear()
        self._last_waits.clear()
        self._count = 0
        return calls

    def __len__(self) -> int:
        return self._count
