"""
Time that passes only when it is told to, for thousands of timers.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

#: This many events at one instant are a loop that time cannot leave.
SAME_INSTANT = 1_000_000

_log = Logger()


@implementer(IReactorTime)
class VirtualClock:
    """
    Like C{twisted.internet.task.Clock}, but on a heap, and what a call raises is logged (which fails a trial
    test) while the others go on, as under a real reactor.
    """

    def __init__(self, start: float = 0.0) -> None:
        """@param start: what C{seconds} says at first."""
        self._now = start
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._instant = 0

    def seconds(self) -> float:
        """The virtual time."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> DelayedCall:
        """Call when C{delay} seconds have passed.  @return: an C{IDelayedCall}."""
        return self.callWhile(None, delay, callable, *args, **kwargs)

    def callWhile(
        self, owner: Any, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any
    ) -> DelayedCall:
        """
        L{callLater} for a machine that may vanish.

        @param owner: the call does not come when its C{alive} is False by then.
        """
        if not delay >= 0:
            raise ValueError(f"a delay of {delay} s")
        call = DelayedCall(self._now + delay, callable, args, kwargs, lambda call: None, self._set, self.seconds)
        call.owner = owner  # type: ignore[attr-defined]
        self._set(call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        """The calls still to come, the next one first."""
        calls = dict.fromkeys(args[0] for _, _, function, args in sorted(self._heap) if function == self._fire)
        return sorted([call for call in calls if call.active()], key=DelayedCall.getTime)

    def at(self, when: float, function: Callable[..., object], *args: Any) -> None:
        """Call at a time, without a handle; calls for one time come in the order they were set."""
        self._count += 1
        heappush(self._heap, (when, self._count, function, args))

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        until = self._now + seconds
        while self.step(until):
            pass

    def step(self, until: float = inf) -> bool:
        """
        Go to the next event, but not beyond C{until}.

        @return: False when there was none; it is C{until} then.
        @raise RuntimeError: L{SAME_INSTANT} events came and no time passed.
        """
        heap = self._heap
        if not heap or heap[0][0] > until:
            if until != inf:
                self._now = max(self._now, until)
            return False
        when, _, function, args = heappop(heap)
        if when > self._now:
            self._now = when
            self._instant = 0
        self._instant += 1
        if self._instant > SAME_INSTANT:
            raise RuntimeError(f"{SAME_INSTANT} events at {self._now} s, the last one {function!r}")
        with _log.failuresHandled("Unhandled error in a virtual event"):
            function(*args)
        return True

    def _set(self, call: DelayedCall) -> None:
        self.at(call.getTime(), self._fire, call)

    def _fire(self, call: DelayedCall) -> None:
        if not call.active():
            return
        if call.getTime() > self._now:  # it was put off since
            call.activate_delay()
            self._set(call)
        elif call.owner is None or call.owner.alive:  # type: ignore[attr-defined]
            call.called = 1
            call.func(*call.args, **call.kw)
