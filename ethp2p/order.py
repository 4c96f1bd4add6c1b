"""
Services that stop in order.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.logger import Logger

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
            stopping: Deferred[Any] = maybeDeferred(service.stopService)
            try:
                await self._bounded(stopping)
            except Exception:  # noqa: BLE001  one that fails to stop must not keep the others from it
                self._log.failure("{name} did not stop well", name=self._name(service))

    async def _bounded(self, stopping: Deferred[Any]) -> None:
        late = self._clock.callLater(STOP_DEADLINE, stopping.cancel)
        try:
            await stopping
        finally:
            try:
                late.cancel()
            except (AlreadyCalled, AlreadyCancelled):
                self._log.warn("a service took more than {seconds} s to stop", seconds=STOP_DEADLINE)

    def _name(self, service: IService) -> str:
        return type(service).__name__
