"""
The small machines that keep every resource bounded.  All are given the time; none asks for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Hashable, Protocol, TypeVar

import attrs

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@attrs.define
class TokenBucket:
    """
    A rate with a burst: C{capacity} at once, C{rate} a second over time.
    """

    capacity: float
    rate: float
    _tokens: float = attrs.field(init=False)
    _then: float | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.capacity

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take C{amount}, or take nothing and say no."""
        if self._then is not None:
            self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._then) * self.rate)
        self._then = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True


@attrs.define
class Budget:
    """
    A number that may not pass its cap: bytes in a queue, requests in flight, connections.
    """

    cap: int
    used: int = 0

    def reserve(self, amount: int = 1) -> bool:
        """Take C{amount}, or take nothing and say no."""
        if self.used + amount > self.cap:
            return False
        self.used += amount
        return True

    def release(self, amount: int = 1) -> None:
        """Give back what was reserved."""
        assert amount <= self.used, "released more than was reserved"
        self.used -= amount

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken."""
        return self.used >= self.cap


class ExpiringMap(Generic[K, V]):
    """
    A map of at most C{cap} entries, each forgotten C{lifetime} seconds after it was set; the oldest goes
    first when there is no room.
    """

    __slots__ = ("_entries", "cap", "lifetime")

    def __init__(self, cap: int, lifetime: float) -> None:
        self.cap = cap
        self.lifetime = lifetime
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def set(self, key: K, value: V, now: float) -> None:
        """Remember C{value}, with a fresh lifetime."""
        self._entries.pop(key, None)
        self.expire(now)
        if self.cap < 1:
            return
        if len(self._entries) >= self.cap:
            self._entries.popitem(last=False)
        self._entries[key] = (now + self.lifetime, value)

    def get(self, key: K, now: float) -> V | None:
        """What was set less than a lifetime ago, or None."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > now else None

    def pop(self, key: K, now: float) -> V | None:
        """Get and forget."""
        value = self.get(key, now)
        self._entries.pop(key, None)
        return value

    def expire(self, now: float) -> None:
        """Forget all that is over its lifetime."""
        while self._entries:
            key, (until, _) = next(iter(self._entries.items()))
            if until > now:
                return
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


class Clock(Protocol):
    """The part of C{IReactorTime} that a wheel needs."""

    def seconds(self) -> float:
        """The time now."""

    def callLater(self, delay: float, function: Callable[..., object], /, *args: Any) -> Any:
        """Call C{function} after C{delay} seconds."""


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


class WheelCall:
    """One deadline on a L{WheelTimer}."""

    __slots__ = ("_call", "_slot")

    def __init__(self, call: Callable[[], object], slot: dict[WheelCall, None]) -> None:
        self._call: Callable[[], object] | None = call
        self._slot = slot

    def cancel(self) -> None:
        """Forget the deadline.  Does nothing when it has passed."""
        self._call = None
        self._slot.pop(self, None)

    def active(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None


class WheelTimer:
    """
    Many coarse deadlines on one C{callLater}: setting and cancelling cost a dict operation each, however many
    there are.  A call comes up to two ticks late, never early; a clock that steps back only delays.  Calls of
    one tick come in the order they were set, so that a simulation is the same every time.
    """

    def __init__(self, clock: Clock, tick: float = 0.1) -> None:
        self._clock = clock
        self._tick = tick
        self._slots: dict[int, dict[WheelCall, None]] = {}
        self._last = clock.seconds()
        self._elapsed = 0.0
        self._turning: Any = None

    def seconds(self) -> float:
        """Seconds since the wheel was made; never goes back."""
        now = self._clock.seconds()
        if now > self._last:
            self._elapsed += now - self._last
        self._last = now
        return self._elapsed

    def call_later(self, delay: float, call: Callable[[], object]) -> WheelCall:
        """Call C{call} once, C{delay} seconds from now or a little later."""
        return self.call_at(self.seconds() + max(0.0, delay), call)

    def call_at(self, when: float, call: Callable[[], object]) -> WheelCall:
        """Call C{call} once, at C{when} as L{seconds} counts or a little later."""
        slot = self._slots.setdefault(int(when / self._tick) + 1, {})
        handle = WheelCall(call, slot)
        slot[handle] = None
        self._arm()
        return handle

    def stop(self) -> None:
        """Forget every deadline and leave the clock alone, as a service that ends must."""
        for slot in list(self._slots.values()):
            for handle in list(slot):
                handle.cancel()
        self._slots.clear()
        if self._turning is not None:
            self._turning.cancel()
            self._turning = None

    def _arm(self) -> None:
        if self._turning is None:
            self._turning = self._clock.callLater(self._tick, self._turn)

    def _turn(self) -> None:
        self._turning = None
        now = int(self.seconds() / self._tick)
        try:
            for number in sorted(number for number in self._slots if number <= now):
                slot = self._slots.get(number, {})
                for handle in list(slot):
                    slot.pop(handle, None)
                    call, handle._call = handle._call, None
                    if call is not None:
                        call()
                self._slots.pop(number, None)
        finally:  # a call that raises must not stop the others
            if any(self._slots.values()):
                self._arm()
            else:
                self._slots.clear()

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))


class Deadline:
    """
    A deadline that moves, as the one for a peer's next byte does with every byte.  Moving it away costs next to
    nothing: the wheel's call stays where it is, and when it comes it is put off.
    """

    __slots__ = ("_call", "_comes", "_due", "_passed", "_wheel")

    def __init__(self, wheel: WheelTimer) -> None:
        self._wheel = wheel
        self._due = self._comes = 0.0  # when it is over, and when the wheel's call comes
        self._passed: Callable[[], object] | None = None
        self._call: WheelCall | None = None

    def set(self, due: float, passed: Callable[[], object]) -> None:
        """Call C{passed} at C{due}, as the wheel counts, or a little later; and nothing that was set before."""
        self._due = due
        self._passed = passed
        if self._call is None or due < self._comes:
            if self._call is not None:
                self._call.cancel()
            self._arm()

    def clear(self) -> None:
        """There is none now."""
        self._passed = None

    def stop(self) -> None:
        """There is none now, and nothing of it is left on the wheel."""
        self._passed = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _arm(self) -> None:
        self._comes = self._due
        self._call = self._wheel.call_at(self._due, self._look)

    def _look(self) -> None:
        self._call = None
        passed = self._passed
        if passed is None:
            return
        if self._due > self._wheel.seconds():
            self._arm()
        else:
            self._passed = None
            passed()
