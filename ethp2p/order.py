"""
Services that stop in order.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.limits import Clock

#: Seconds that each service may take to stop before the next one is told.
STOP_DEADLINE = 3.0


class OrderedService(MultiService):
    """
    Starts its services in the order they were added and stops them one by one in the reverse order.  One that
    takes longer than L{STOP_DEADLINE}, or fails, is logged and left behind.
    """

    _log = Logger()

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def stopService(self) -> Deferred[None]:
        """Fires when all have stopped or were left behind."""
        self.running = 0
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            await self._bounded(service)

    def _bounded(self, service: IService) -> Deferred[None]:
        """Stop one.  @return: fires when that is done, has failed, or has taken too long."""
        stopping: Deferred[Any] = maybeDeferred(service.stopService)
        over: Deferred[None] = Deferred(lambda _: leaveBehind())

        def leaveBehind() -> None:
            if late.active():
                late.cancel()
            self._log.warn("{name} takes too long to stop, and is left behind", name=self._name(service))
            stopping.cancel()
            over.callback(None)

        def failed(failure: Failure) -> None:  # and must not keep the others from stopping
            if late.active() or not failure.check(CancelledError):
                self._log.failure("{name} did not stop well", failure, name=self._name(service))

        def ended(_: object) -> None:
            if late.active():
                late.cancel()
                over.callback(None)

        late: Any = self._clock.callLater(STOP_DEADLINE, leaveBehind)
        stopping.addErrback(failed).addCallback(ended)
        return over

    def _name(self, service: IService) -> str:
        return type(service).__name__
