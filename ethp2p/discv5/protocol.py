"""
Discovery v5 alone on a UDP port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from ethp2p.discv5.events import Answered, Asked, Failed, Met, PongInfo, Talked
from ethp2p.discv5.state import Discv5
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.errors import P2PError
from ethp2p.limits import SteadyClock


class QueryFailed(P2PError):
    """The node did not answer, or not with what was asked for."""


class Discv5Protocol(DatagramProtocol):
    """
    Ask with L{ping}, L{findNode}, L{requestRecord} and L{talk}, which raise what the engine's verbs raise and else
    fail with L{QueryFailed}; override L{nodesAsked}, L{nodeMet} and L{talked} to take part.
    """

    def __init__(self, engine: Discv5, clock: Any, wall: Callable[[], float]) -> None:
        """
        @param clock: an C{IReactorTime}.
        @param wall: Unix time in seconds.
        """
        self.engine = engine
        #: Datagrams that the system did not take.
        self.unsendable = 0
        self._clock = SteadyClock(clock)
        self._wall = wall
        self._waiting: dict[int, Deferred[Any]] = {}
        self._timer: Any = None
        self._turning = False

    # asking

    def ping(self, node: Node) -> Deferred[PongInfo]:
        """Is C{node} there, and where does it see us?"""
        return self._ask(self.engine.ping, node)

    def findNode(self, node: Node, distances: Sequence[int]) -> Deferred[tuple[Node, ...]]:
        """Whom does C{node} know at these logarithmic distances from it?"""
        return self._ask(self.engine.find_node, node, distances)

    def requestRecord(self, node: Node) -> Deferred[Record]:
        """What does C{node} say about itself now?"""
        return self._ask(self.engine.request_record, node)

    def talk(self, node: Node, protocol: bytes, message: bytes) -> Deferred[bytes]:
        """What does C{node} say in another protocol?"""
        return self._ask(self.engine.talk, node, protocol, message)

    # being asked

    def nodesAsked(self, asked: Asked) -> Iterable[Node]:
        """@return: nodes for an answer; only live ones should be told of."""
        return ()

    def nodeMet(self, met: Met) -> None:
        """A node came by itself."""

    def talked(self, talked: Talked) -> bytes:
        """@return: what to say in a protocol of C{engine.talk_protocols}."""
        return b""

    # below: UDP

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Feed the engine."""
        self.engine.receive_datagram(datagram, (addr[0], addr[1]), self._clock.seconds(), self._wall())
        self._turn()

    def stopProtocol(self) -> None:
        """The port is closed: whoever waits is told."""
        self.engine.fail_all("discovery has stopped")
        self._turn()

    def _ask(self, verb: Callable[..., int], *args: Any) -> Deferred[Any]:
        token = verb(*args, self._clock.seconds(), self._wall())
        waiting: Deferred[Any] = Deferred(lambda _: self._forget(token))
        self._waiting[token] = waiting
        if self.transport is None:  # not yet on a port, or no longer
            self.engine.fail_all("discovery has stopped")
        self._turn()
        return waiting

    def _forget(self, token: int) -> None:
        self._waiting.pop(token, None)

    def _turn(self) -> None:
        """Tell what happened, write what came of it, set the timer."""
        if self._turning:
            return
        self._turning = True
        try:
            while (event := self.engine.next_event()) is not None:
                self._tell(event)
        finally:
            self._turning = False
            self._flush()

    def _tell(self, event: Any) -> None:
        if isinstance(event, (Answered, Failed)):
            waiting = self._waiting.pop(event.token, None)
            if waiting is None:  # cancelled
                return
            if isinstance(event, Answered):
                waiting.callback(event.result)
            else:
                waiting.errback(QueryFailed(event.why))
        elif isinstance(event, Asked):
            self.engine.send_nodes(event.token, self.nodesAsked(event), self._clock.seconds(), self._wall())
        elif isinstance(event, Talked):
            self.engine.send_talk(event.token, self.talked(event))
        else:
            self.nodeMet(event)

    def _flush(self) -> None:
        for datagram, addr in self.engine.datagrams_to_send():
            if self.transport is None:  # stopped
                continue
            try:
                self.transport.write(datagram, addr)
            except (OSError, ValueError, MessageLengthError):  # no route, or the other IP family: lost, as on the way
                self.unsendable += 1
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        when = self.engine.next_timer()
        if when is not None:
            self._timer = self._clock.callAt(when, self._timePassed)

    def _timePassed(self) -> None:
        self._timer = None
        self.engine.handle_timer(self._clock.seconds(), self._wall())
        self._turn()
