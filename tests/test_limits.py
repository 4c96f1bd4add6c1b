"""The machines that keep resources bounded: rates, caps, lifetimes and deadlines."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.limits import Budget, Deadline, ExpiringMap, TokenBucket, WheelTimer

STEPS = st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 20)), max_size=60)


class TokenBucketTests(SynchronousTestCase):
    def test_burst_then_rate(self) -> None:
        bucket = TokenBucket(capacity=3, rate=2)
        self.assertEqual([bucket.take(10) for _ in range(4)], [True, True, True, False])
        self.assertFalse(bucket.take(10.4))
        self.assertTrue(bucket.take(10.5))
        self.assertFalse(bucket.take(10.5))

    def test_a_refusal_takes_nothing(self) -> None:
        bucket = TokenBucket(capacity=3, rate=0)
        self.assertFalse(bucket.take(0, 4))
        self.assertTrue(bucket.take(0, 3))

    def test_never_more_than_its_capacity(self) -> None:
        bucket = TokenBucket(capacity=2, rate=1)
        bucket.take(0)
        self.assertEqual([bucket.take(1e9) for _ in range(3)], [True, True, False])

    def test_a_clock_that_steps_back_neither_gives_nor_takes(self) -> None:
        bucket = TokenBucket(capacity=1, rate=1)
        self.assertTrue(bucket.take(1000))
        self.assertFalse(bucket.take(10))
        self.assertFalse(bucket.take(10.9))
        self.assertTrue(bucket.take(11))

    @given(STEPS)
    def test_no_more_than_burst_and_rate_allow(self, steps: list[tuple[float, float]]) -> None:
        bucket = TokenBucket(capacity=5, rate=2)
        now = forward = taken = 0.0
        for elapsed, amount in steps:
            now += elapsed
            forward += max(0.0, elapsed)
            taken += amount if bucket.take(now, amount) else 0
            self.assertLessEqual(taken, 5 + 2 * forward + 1e-6)


class BudgetTests(SynchronousTestCase):
    def test_reserve_and_release(self) -> None:
        budget = Budget(10)
        self.assertTrue(budget.reserve(9))
        self.assertFalse(budget.reserve(2))
        self.assertEqual((budget.used, budget.full), (9, False))
        self.assertTrue(budget.reserve())
        self.assertTrue(budget.full)
        budget.release(10)
        self.assertEqual(budget.used, 0)

    def test_releasing_more_than_was_reserved_is_a_bug_of_ours(self) -> None:
        budget = Budget(10)
        budget.reserve(3)
        self.assertRaises(AssertionError, budget.release, 4)


class ExpiringMapTests(SynchronousTestCase):
    def test_forgets_after_its_lifetime(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=10, lifetime=5)
        seen.set("a", 1, now=100)
        self.assertEqual(seen.get("a", now=104.9), 1)
        self.assertIsNone(seen.get("a", now=105))
        self.assertEqual(len(seen), 1)
        seen.expire(105)
        self.assertEqual(len(seen), 0)

    def test_setting_again_renews(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=10, lifetime=5)
        seen.set("a", 1, now=0)
        seen.set("b", 1, now=1)
        seen.set("a", 2, now=4)
        seen.expire(6)
        self.assertEqual((seen.get("a", 6), seen.get("b", 6), len(seen)), (2, None, 1))

    def test_the_oldest_makes_room(self) -> None:
        """A flood of new keys costs the cap, not more."""
        seen: ExpiringMap[int, int] = ExpiringMap(cap=3, lifetime=5)
        for key in range(1000):
            seen.set(key, key, now=0)
        self.assertEqual(len(seen), 3)
        self.assertEqual([seen.get(key, 0) for key in (996, 997, 998, 999)], [None, 997, 998, 999])

    def test_expired_entries_make_room_before_live_ones(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=2, lifetime=5)
        seen.set("old", 1, now=0)
        seen.set("live", 2, now=4)
        seen.set("new", 3, now=6)
        self.assertEqual((seen.get("live", 6), seen.get("new", 6)), (2, 3))

    def test_renewing_a_key_of_a_full_map_costs_nobody_their_place(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=2, lifetime=5)
        seen.set("a", 1, now=0)
        seen.set("b", 2, now=0)
        seen.set("b", 3, now=0)
        self.assertEqual((seen.get("a", 0), seen.get("b", 0)), (1, 3))

    def test_pop(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=2, lifetime=5)
        seen.set("a", 1, now=0)
        self.assertEqual(seen.pop("a", now=1), 1)
        self.assertIsNone(seen.pop("a", now=1))
        seen.set("a", 1, now=0)
        self.assertIsNone(seen.pop("a", now=9))
        self.assertEqual(len(seen), 0)

    def test_a_cap_of_nothing_remembers_nothing(self) -> None:
        seen: ExpiringMap[str, int] = ExpiringMap(cap=0, lifetime=5)
        seen.set("a", 1, now=0)
        self.assertEqual((len(seen), seen.get("a", 0)), (0, None))


class WheelTimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.wheel = WheelTimer(self.clock, tick=0.1)
        self.calls: list[str] = []

    def turn(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))

    def set(self, delay: float, name: str) -> object:
        return self.wheel.call_later(delay, lambda: self.calls.append(name))

    @given(st.lists(st.floats(0, 5), min_size=1, max_size=20), st.floats(0, 1))
    def test_never_early_and_at_most_two_ticks_late(self, delays: list[float], start: float) -> None:
        clock = Clock()
        clock.advance(start)
        wheel = WheelTimer(clock, tick=0.1)
        came: dict[int, float] = {}
        for index, delay in enumerate(delays):
            wheel.call_later(delay, lambda index=index: came.setdefault(index, clock.seconds() - start))  # type: ignore[misc]
        clock.pump([0.01] * 530)
        for index, delay in enumerate(delays):
            self.assertGreaterEqual(came[index], delay - 1e-6)
            self.assertLessEqual(came[index], delay + 0.2 + 0.011)

    def test_once_in_order_of_deadline_then_of_setting(self) -> None:
        for delay, name in ((1.0, "c"), (0.5, "a"), (1.0, "d"), (0.5, "b")):
            self.set(delay, name)
        self.turn(5)
        self.assertEqual(self.calls, ["a", "b", "c", "d"])

    def test_cancelled_calls_do_not_come(self) -> None:
        kept, dropped = self.set(1, "kept"), self.set(1, "dropped")
        dropped.cancel()  # type: ignore[attr-defined]
        self.assertEqual(len(self.wheel), 1)
        self.turn(2)
        self.assertEqual(self.calls, ["kept"])
        self.assertFalse(kept.active())  # type: ignore[attr-defined]
        dropped.cancel()  # type: ignore[attr-defined]

    def test_a_call_may_cancel_another_that_is_due_with_it(self) -> None:
        self.wheel.call_later(1, lambda: victim.cancel())
        victim = self.wheel.call_later(1, lambda: self.calls.append("victim"))
        self.turn(2)
        self.assertEqual(self.calls, [])

    def test_a_call_may_set_another(self) -> None:
        self.wheel.call_later(1, lambda: self.set(1, "second"))
        self.turn(1.5)
        self.assertEqual((self.calls, len(self.wheel)), ([], 1))
        self.turn(1)
        self.assertEqual(self.calls, ["second"])

    def test_a_call_that_raises_does_not_stop_the_others(self) -> None:
        self.set(1, "first")
        self.wheel.call_later(1, lambda: 1 // 0)
        self.set(1, "second")
        self.set(2, "third")
        with self.assertRaises(ZeroDivisionError):
            self.turn(3)
        self.turn(3)
        self.assertEqual(self.calls, ["first", "second", "third"])

    def test_a_clock_that_steps_back_only_delays(self) -> None:
        self.set(1, "late")
        self.turn(0.9)
        self.clock.rightNow -= 3600  # the machine's clock is corrected
        self.clock.calls[0].reset(0.1)
        self.turn(0.05)
        self.assertEqual(self.calls, [])
        self.turn(0.5)
        self.assertEqual(self.calls, ["late"])

    def test_time_never_goes_back(self) -> None:
        before = self.wheel.seconds()
        self.clock.rightNow -= 5
        self.assertEqual(self.wheel.seconds(), before)
        self.clock.rightNow += 2
        self.assertEqual(self.wheel.seconds(), before + 2)

    def test_one_call_on_the_clock_for_a_thousand_deadlines(self) -> None:
        for index in range(1000):
            self.set(index / 100, str(index))
        self.assertEqual((len(self.clock.calls), len(self.wheel)), (1, 1000))
        self.turn(11)
        self.assertEqual((len(self.calls), len(self.wheel), self.clock.calls), (1000, 0, []))

    def test_an_idle_wheel_leaves_the_clock_alone(self) -> None:
        self.set(30, "x").cancel()  # type: ignore[attr-defined]
        self.turn(0.2)
        self.assertEqual(self.clock.calls, [])

    def test_stop_forgets_everything_at_once(self) -> None:
        handle = self.set(1, "x")
        self.set(2, "y")
        self.wheel.stop()
        self.assertEqual((self.clock.calls, len(self.wheel)), ([], 0))
        self.assertFalse(handle.active())  # type: ignore[attr-defined]
        self.wheel.stop()
        self.set(1, "after")
        self.turn(2)
        self.assertEqual(self.calls, ["after"])

    def test_stop_from_a_call(self) -> None:
        self.wheel.call_later(1, self.wheel.stop)
        self.set(1, "x")
        self.turn(2)
        self.assertEqual((self.calls, self.clock.calls), ([], []))


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = WheelTimer(self.clock)
        self.deadline = Deadline(self.wheel)
        self.calls: list[tuple[str, float]] = []

    def set(self, due: float, name: str = "passed") -> None:
        self.deadline.set(due, lambda: self.calls.append((name, round(self.clock.seconds(), 3))))

    def until(self, when: float) -> None:
        self.clock.pump([0.05] * round((when - self.clock.seconds()) / 0.05))

    def test_passes_once(self) -> None:
        self.set(1)
        self.until(0.95)
        self.assertEqual(self.calls, [])
        self.until(5)
        self.assertEqual(len(self.calls), 1)
        self.assertLessEqual(self.calls[0][1], 1.2)
        self.assertEqual(self.clock.calls, [])

    @given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5)), min_size=1, max_size=12))
    def test_only_where_it_was_set_last(self, moves: list[tuple[float, float]]) -> None:
        """Moved forth and back before it is over; each move is made C{after} the one before."""
        self.setUp()
        due = 0.0
        for after, away in moves:
            self.clock.pump([0.01] * round(after / 0.01))
            if self.calls:
                return
            due = self.wheel.seconds() + away
            self.set(due)
            self.assertEqual(len(self.wheel), 1)
        self.clock.pump([0.01] * 530)
        ((_, came),) = self.calls
        self.assertGreaterEqual(came, due - 0.001)
        self.assertLessEqual(came, due + 0.22)

    def test_what_was_set_before_is_forgotten(self) -> None:
        self.set(1, "first")
        self.set(2, "second")
        self.until(4)
        self.assertEqual([name for name, _ in self.calls], ["second"])

    def test_moving_it_away_leaves_the_wheel_alone(self) -> None:
        self.set(1)
        self.patch(self.wheel, "call_at", lambda *_: self.fail("asked the wheel"))
        for due in range(2, 100):
            self.set(due)
            self.deadline.clear()
            self.set(due)

    def test_cleared(self) -> None:
        self.set(1)
        self.deadline.clear()
        self.until(3)
        self.assertEqual((self.calls, self.clock.calls), ([], []))
        self.set(4)
        self.until(5)
        self.assertEqual(len(self.calls), 1)

    def test_stopped(self) -> None:
        self.set(1)
        self.deadline.stop()
        self.assertEqual(len(self.wheel), 0)
        self.deadline.stop()
        self.until(3)
        self.assertEqual(self.calls, [])

    def test_set_again_when_it_passes(self) -> None:
        self.deadline.set(1, lambda: self.set(2))
        self.until(4)
        self.assertEqual([name for name, _ in self.calls], ["passed"])
        self.assertGreaterEqual(self.calls[0][1], 2)

    def test_holds_on_to_nobody(self) -> None:
        class Owner:
            def __init__(self, wheel: WheelTimer) -> None:
                self.deadline = Deadline(wheel)
                self.deadline.set(1, self.passed)

            def passed(self) -> None:
                pass

        owner = Owner(self.wheel)
        gone = weakref.ref(owner)
        owner.deadline.stop()
        gc.disable()
        try:
            del owner
            self.assertIsNone(gone())
        finally:
            gc.enable()
