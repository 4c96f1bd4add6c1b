"""
Time that goes on only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ethp2p.limits import Clock

#: Seconds: a shorter delay could be lost in rounding, and a call come again and again at the same time.
LEAST_DELAY = 0.001


class SteadyClock:
    """
    A reactor's clock, which is the wall's and may step, as seconds since this was made, which never go back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.seconds()
        self._elapsed = 0.0

    def seconds(self) -> float:
        """Seconds since the beginning."""
        now = self._clock.seconds()
        self._elapsed += max(0.0, now - self._last)
        self._last = now
        return self._elapsed

    def callLater(self, delay: float, function: Callable[..., object], /, *args: Any) -> Any:
        """Call C{function} after C{delay} seconds, L{LEAST_DELAY} at least.  @return: an C{IDelayedCall}."""
        return self._clock.callLater(max(LEAST_DELAY, delay), function, *args)

    def callAt(self, when: float, function: Callable[..., object], /, *args: Any) -> Any:
        """Call C{function} when L{seconds} are C{when}.  @return: an C{IDelayedCall}."""
        return self.callLater(when - self.seconds(), function, *args)
