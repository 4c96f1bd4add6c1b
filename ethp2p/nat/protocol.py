"""
The Twisted shell over either engine: one UDP port that asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import DatagramProtocol

from ethp2p.errors import LocalProtocolError, P2PError
from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.nat.state import Answered, Failed, NatPmp, Stun


class NatFailed(P2PError):
    """Nobody could tell us the external address or map a port."""


E = TypeVar("E", NatPmp, Stun)


class AskingProtocol(DatagramProtocol, Generic[E]):
    """
    Asks through an engine, and fires a Deferred for each answer.
    """

    noisy = False

    def __init__(self, engine: E, wheel: WheelTimer, restarted: Callable[[], object] = lambda: None) -> None:
        """@param restarted: called when the gateway has forgotten its mappings."""
        self.engine: E = engine
        self._wheel = wheel
        self._restarted = restarted
        self._waiting: dict[int, Deferred[Any]] = {}
        self._timer: WheelCall | None = None
        self._closed = False

    def ask(self, request: Callable[[float], int]) -> Deferred[Any]:
        """
        @param request: calls the engine with the time, and gives the token.
        @return: fires with the answer's value; fails with L{NatFailed}.  It can be cancelled.
        """
        if self._closed:
            return fail(NatFailed("it was closed"))
        try:
            token = request(self._wheel.seconds())
        except LocalProtocolError as error:
            return fail(NatFailed(str(error)))

        def forget(_: Deferred[Any]) -> None:
            self._waiting.pop(token, None)

        self._waiting[token] = waiting = Deferred[Any](forget)
        self._pump()
        return waiting

    def close(self) -> None:
        """Ask nothing more; who waits is told."""
        if self._closed:
            return
        self._closed = True
        self._arm()
        if self.transport is not None:
            self.transport.stopListening()
        waiting, self._waiting = self._waiting, {}
        for deferred in waiting.values():
            deferred.errback(NatFailed("it was closed"))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Feed the engine."""
        self.engine.receive_datagram(datagram, (addr[0], addr[1]), self._wheel.seconds())
        self._pump()

    def _pump(self) -> None:
        for data, addr in self.engine.datagrams_to_send():
            assert self.transport is not None
            try:
                self.transport.write(data, addr)
            except OSError:  # no route now; it is sent again
                continue
        self._arm()
        while not self._closed and (event := self.engine.next_event()) is not None:
            if isinstance(event, (Answered, Failed)):
                deferred = self._waiting.pop(event.token, None)
                if deferred is None:
                    continue
                if isinstance(event, Answered):
                    deferred.callback(event.result)
                else:
                    deferred.errback(NatFailed(event.why))
            else:
                self._restarted()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = None if self._closed else self.engine.next_timer()
        if when is not None:
            self._timer = self._wheel.call_later(when - self._wheel.seconds(), self._time)

    def _time(self) -> None:
        self._timer = None
        self.engine.handle_timer(self._wheel.seconds())
        self._pump()
