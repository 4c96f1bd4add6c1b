"""
Asking a NAT-PMP gateway and STUN servers, as engines: requests and datagrams in, datagrams and events out.

An answer counts only when it comes from the address that was asked; everything else is silently counted in
C{ignored}.

Source: RFC 6886 section 3; RFC 8489 section 6.2.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Union

import attrs

from ethp2p.errors import LocalProtocolError, WireError
from ethp2p.nat import wire
from ethp2p.nat.wire import PmpAddress, PmpMapping, PmpRefusal, StunRefusal, Transport

#: Seconds before a NAT-PMP request is sent again, doubled each time, and how often it is sent.
PMP_FIRST, PMP_TRIES = 0.25, 9
#: For a gateway that nobody has told us of: two seconds are enough on a local network.
PMP_PROBE_TRIES = 3
#: The same for STUN; the RFC has seven, but here another server is asked instead.
STUN_FIRST, STUN_TRIES = 0.5, 4
#: How long STUN waits after the last, in multiples of the first.
STUN_PATIENCE = 16
#: Requests that may wait for an answer.
MAX_REQUESTS = 64
#: A gateway's clock may go this much slower than ours, and be this many seconds behind (RFC 6886 section 3.6).
EPOCH_RATE, EPOCH_SLACK = 7 / 8, 2.0
#: Seconds in which a gateway is restarted once at most.  One whose clock makes no sense would have us ask for all ports
#: again at each answer, and without end.
RESTART_INTERVAL = 30.0

Address = tuple[str, int]


@attrs.frozen
class Answered:
    """
    The answer to a request: L{PmpAddress}, L{PmpMapping} or L{wire.StunAddress}.
    """

    token: int
    result: Any


@attrs.frozen
class Failed:
    """
    A request came to nothing.
    """

    token: int
    why: str


@attrs.frozen
class Restarted:
    """
    The gateway was restarted and has forgotten its mappings.
    """


Event = Union[Answered, Failed, Restarted]


@attrs.define
class _Request:
    token: int
    data: bytes
    addr: Address
    tries: int
    #: What tells its answer: opcode, internal port and whether it is to live; or the transaction id.
    key: Any
    sent: int = 0
    due: float = 0.0


class _Asking:
    """What both have in common."""

    def __init__(self) -> None:
        self._token = 0
        self._out: list[tuple[bytes, Address]] = []
        self._events: deque[Event] = deque()
        #: Datagrams that were no answers.
        self.ignored = 0

    def next_event(self) -> Event | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """What waits to be sent, once."""
        out, self._out = self._out, []
        return out

    def _new(self, data: bytes, addr: Address, tries: int, key: Any, waiting: int) -> _Request:
        if waiting >= MAX_REQUESTS:
            raise LocalProtocolError(f"more than {MAX_REQUESTS} requests at one time")
        self._token += 1
        return _Request(self._token, data, addr, tries, key)

    def _send(self, request: _Request, now: float, wait: float) -> None:
        request.sent += 1
        request.due = now + wait
        self._out.append((request.data, request.addr))


class NatPmp(_Asking):
    """
    Requests to one gateway, one after the other as RFC 6886 section 3.1 wants it.
    """

    def __init__(self, gateway: str, *, tries: int = PMP_TRIES) -> None:
        """
        @param gateway: its IPv4 address.
        @param tries: how often a request is sent before it has failed.
        """
        super().__init__()
        self.gateway = gateway
        self.tries = tries
        self._requests: deque[_Request] = deque()
        self._epoch: tuple[int, float] | None = None
        self._restarted_at = -inf

    def ask_address(self, now: float) -> int:
        """
        Ask for the external address.

        @return: the token of the event to come.
        @raise LocalProtocolError: too many requests.
        """
        return self._ask(wire.encode_pmp_address(), (0, 0, False), now)

    def ask_mapping(self, transport: Transport, internal: int, external: int, lifetime: int, now: float) -> int:
        """
        Ask for a mapping, or with lifetime 0 for its end.

        @param external: the port wanted, 0 for any.
        @param lifetime: seconds.
        @return: the token of the event to come.
        @raise LocalProtocolError: too many requests.
        """
        data = wire.encode_pmp_mapping(transport, internal, external if lifetime else 0, lifetime)
        return self._ask(data, (transport, internal, lifetime > 0), now)

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """A datagram came.  It may be anything from anybody."""
        request = self._requests[0] if self._requests else None
        if request is None or addr != request.addr:  # else anybody could tell us any address
            self.ignored += 1
            return
        try:
            answer = wire.decode_pmp(data)
        except WireError:
            self.ignored += 1
            return
        if not _fits(answer, *request.key):  # an earlier one, perhaps, that came twice
            self.ignored += 1
            return
        self._requests.popleft()
        if not isinstance(answer, PmpRefusal):
            self._check_epoch(answer.epoch, now)
        self._events.append(self._outcome(request.token, answer))
        self._go_on(now)

    def next_timer(self) -> float | None:
        """When to call L{handle_timer}."""
        return self._requests[0].due if self._requests else None

    def handle_timer(self, now: float) -> None:
        """It is time to send again, or to give up: then all that waits fails too, for it would fare no better."""
        if not self._requests or self._requests[0].due > now:
            return
        if self._requests[0].sent < self._requests[0].tries:
            self._go_on(now)
            return
        requests, self._requests = self._requests, deque()
        for request in requests:
            self._events.append(Failed(request.token, f"the gateway {self.gateway} does not answer"))

    def _ask(self, data: bytes, key: Any, now: float) -> int:
        addr = self.gateway, wire.PMP_PORT
        request = self._new(data, addr, self.tries, key, len(self._requests))
        self._requests.append(request)
        if len(self._requests) == 1:
            self._go_on(now)
        return request.token

    def _go_on(self, now: float) -> None:
        if self._requests:
            request = self._requests[0]
            self._send(request, now, PMP_FIRST * 2**request.sent)

    def _check_epoch(self, epoch: int, now: float) -> None:
        if self._epoch is not None:
            before, then = self._epoch
            back = epoch + EPOCH_SLACK < before + max(0.0, now - then) * EPOCH_RATE
            if back and self._restarted_at + RESTART_INTERVAL <= now:
                self._restarted_at = now
                self._events.append(Restarted())
        self._epoch = epoch, now

    def _outcome(self, token: int, answer: wire.PmpAnswer) -> Event:
        if isinstance(answer, PmpRefusal):
            return Failed(token, answer.words)
        if isinstance(answer, PmpAddress) and not int(answer.address):
            return Failed(token, "the gateway has no external address")
        if isinstance(answer, PmpMapping) and answer.lifetime and not answer.external:
            return Failed(token, "the gateway maps the port to none")
        return Answered(token, answer)


def _fits(answer: wire.PmpAnswer, opcode: int, port: int, lives: bool) -> bool:
    if isinstance(answer, PmpRefusal):
        return answer.opcode == opcode
    if isinstance(answer, PmpMapping):
        return (answer.transport, answer.internal, answer.lifetime > 0) == (opcode, port, lives)
    return opcode == 0


class Stun(_Asking):
    """
    Binding requests to any servers.
    """

    def __init__(self, *, random: Callable[[int], bytes], tries: int = STUN_TRIES) -> None:
        """
        @param random: bytes for transaction ids.
        @param tries: how often a request is sent before it has failed.
        """
        super().__init__()
        self.tries = tries
        self._random = random
        self._requests: dict[bytes, _Request] = {}

    def ask_address(self, server: Address, now: float) -> int:
        """
        Ask a server where it sees us.

        @param server: its IP address and port.
        @return: the token of the event to come.
        @raise LocalProtocolError: too many requests.
        """
        transaction = self._random(wire.TRANSACTION_SIZE)
        data = wire.encode_binding(transaction)
        request = self._new(data, server, self.tries, transaction, len(self._requests))
        self._requests[transaction] = request
        self._ask(request, now)
        return request.token

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """A datagram came.  It may be anything from anybody."""
        request = self._requests.get(bytes(data[8:20]))
        if request is None or addr != request.addr:
            self.ignored += 1
            return
        try:
            answer = wire.decode_stun(data)
        except WireError:  # "discarded" (RFC 8489 section 6.3); a true one may come yet
            self.ignored += 1
            return
        del self._requests[request.key]
        if isinstance(answer, StunRefusal):
            self._events.append(Failed(request.token, f"the STUN server answers with error {answer.code}"))
        else:
            self._events.append(Answered(request.token, answer))

    def next_timer(self) -> float | None:
        """When to call L{handle_timer}."""
        return min((request.due for request in self._requests.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """It is time to send again, or to give up."""
        for request in [request for request in self._requests.values() if request.due <= now]:
            if request.sent < request.tries:
                self._ask(request, now)
            else:
                del self._requests[request.key]
                self._events.append(Failed(request.token, f"the STUN server {request.addr[0]} does not answer"))

    def _ask(self, request: _Request, now: float) -> None:
        last = request.sent + 1 >= request.tries
        self._send(request, now, STUN_FIRST * (STUN_PATIENCE if last else 2**request.sent))
