"""
Services that stop in order, whatever one of them does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.order import STOP_DEADLINE, OrderedService


class Told(Service):
    """Does what it is told when it stops."""

    def __init__(self, stop: Callable[[], Any]) -> None:
        self._stop = stop

    def stopService(self) -> Any:
        super().stopService()
        return self._stop()


async def stubborn() -> None:
    """Has more to do when it is told to give up."""
    try:
        await Deferred()
    finally:
        await Deferred()


class StoppingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.stopped: list[str] = []

    def service(self, *stops: Callable[[], Any]) -> OrderedService:
        """Whose parts stop so, the first one last; it has begun to stop."""
        whole = OrderedService(self.clock)
        for stop in (lambda: self.stopped.append("last"), *stops):
            Told(stop).setServiceParent(whole)
        whole.startService()
        return whole

    def test_stubborn(self) -> None:
        """One that does not heed that its time is over is left behind."""
        ended = self.service(lambda: Deferred.fromCoroutine(stubborn())).stopService()
        self.clock.advance(STOP_DEADLINE - 0.1)
        self.assertEqual((ended.called, self.stopped), (False, []))
        self.clock.advance(0.1)
        self.assertEqual((ended.called, self.stopped), (True, ["last"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failures(self) -> None:
        """One that fails, at once or later, is logged, and the others stop."""
        later: Deferred[None] = Deferred()

        def fails() -> None:
            raise ValueError("at once")

        ended = self.service(fails, lambda: later).stopService()
        later.errback(ValueError("later"))
        self.assertEqual((ended.called, self.stopped), (True, ["last"]))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_within(self) -> None:
        """One made of others that all hang takes no more time than any, and they all are told."""
        inner = self.service(lambda: Deferred.fromCoroutine(stubborn()), Deferred)
        ended = self.service(inner.stopService).stopService()
        self.clock.advance(STOP_DEADLINE)
        self.assertTrue(ended.called)
        self.clock.pump([STOP_DEADLINE] * 2)
        self.assertEqual(self.stopped, ["last", "last"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
