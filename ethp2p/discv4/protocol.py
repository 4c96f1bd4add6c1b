"""
The Twisted shell: a socket, a timer and one engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import InvalidAddressError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol

from ethp2p.discv4.state import Answered, Discv4, Event, Failed, PongInfo
from ethp2p.enode.node import Node
from ethp2p.enr.record import Record
from ethp2p.errors import RequestTimeout

#: Seconds: a shorter delay could be lost in rounding, and the timer come again and again at the same time.
LEAST_DELAY = 0.001


class Discv4Protocol(DatagramProtocol):
    """
    Discovery v4 on a UDP port of its own::

        protocol = Discv4Protocol(Discv4(local), owner, clock=reactor, wall=time.time)
        reactor.listenUDP(30303, protocol)
        nodes = await protocol.findNode(node, target)

    Requests fail with L{RequestTimeout}, whose words tell what was missing.  A node of IPv4 cannot be reached from a
    port of IPv6, nor the other way.
    """

    noisy = False

    def __init__(
        self, engine: Discv4, owner: Callable[[Event], object], *, clock: IReactorTime, wall: Callable[[], float]
    ) -> None:
        """
        @param owner: called with every event that is not the end of a request made here.  C{Asked} is to be answered
            with L{sendNodes}.
        @param clock: for intervals.
        @param wall: gives Unix time, for expirations.
        """
        self.engine = engine
        self._owner = owner
        self._clock = clock
        self._wall = wall
        self._last = clock.seconds()
        self._now = 0.0
        self._pending: dict[int, Deferred[Any]] = {}
        self._timer: Any = None
        self._timerAt = 0.0
        self._draining = False
        #: Datagrams that the network refused to carry.
        self.unsendable = 0

    # above

    def ping(self, node: Node) -> Deferred[PongInfo]:
        """Is C{node} there, and where does it see us?"""
        return self._request(self.engine.ping(node, self._seconds(), self._wall()))

    def findNode(self, node: Node, target: bytes) -> Deferred[tuple[Node, ...]]:
        """Whom does C{node} know near C{target}, 64 bytes?"""
        return self._request(self.engine.find_node(node, target, self._seconds(), self._wall()))

    def requestRecord(self, node: Node) -> Deferred[Record]:
        """What does C{node} say about itself now?"""
        return self._request(self.engine.request_record(node, self._seconds(), self._wall()))

    def sendNodes(self, token: object, nodes: Sequence[Node | Record]) -> None:
        """Answer C{Asked}."""
        self.engine.send_nodes(token, nodes, self._seconds(), self._wall())
        self._drain()

    # below

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Feed the engine; see what comes out."""
        self.engine.receive_datagram(datagram, addr[:2], self._seconds(), self._wall())
        self._drain()

    def stopProtocol(self) -> None:
        """The port is closed: no request will have an answer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.engine.fail_all("closed")
        self._drain()

    def _request(self, token: int) -> Deferred[Any]:
        result: Deferred[Any] = Deferred(lambda _: self._forget(token))
        self._pending[token] = result
        if self.transport is None:  # not yet on a port, or no longer
            self.engine.fail_all("closed")
        self._drain()
        return result

    def _forget(self, token: int) -> None:
        self._pending.pop(token, None)

    def _drain(self) -> None:
        if self._draining:  # an owner that asks or answers while it is told something
            return
        self._draining = True
        try:
            while (event := self.engine.next_event()) is not None:
                self._deliver(event)
        finally:
            self._draining = False
            self._flush()

    def _deliver(self, event: Event) -> None:
        waiting = self._pending.pop(event.token, None) if isinstance(event, (Answered, Failed)) else None
        if waiting is None:
            self._owner(event)
        elif isinstance(event, Answered):
            waiting.callback(event.result)
        elif isinstance(event, Failed):
            waiting.errback(RequestTimeout(event.why))

    def _flush(self) -> None:
        for data, addr in self.engine.datagrams_to_send():
            if self.transport is None:
                continue
            try:
                self.transport.write(data, addr)
            except (OSError, InvalidAddressError):  # no route, no such family here, not allowed
                self.unsendable += 1
        due = self.engine.next_timer()
        if due is None or self.transport is None:
            return
        if self._timer is not None and due < self._timerAt:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._clock.callLater(max(LEAST_DELAY, due - self._seconds()), self._tick)
            self._timerAt = due

    def _tick(self) -> None:
        self._timer = None
        self.engine.handle_timer(self._seconds(), self._wall())
        self._drain()

    def _seconds(self) -> float:
        """The reactor's time may step; this goes on only."""
        now = self._clock.seconds()
        self._now += max(0.0, now - self._last)
        self._last = now
        return self._now
