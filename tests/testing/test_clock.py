"""The virtual clock: order, cancelling, putting off, and what raises."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.testing import clock as module
from ethp2p.testing.clock import VirtualClock


class VirtualClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = VirtualClock(start=1000.0)
        self.calls: list[object] = []

    def test_interface(self) -> None:
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.clock.callLater(1, list))

    def test_in_order_of_time_then_of_setting(self) -> None:
        for delay, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b"), (0, "now")):
            self.clock.callLater(delay, lambda name=name: self.calls.append((name, self.clock.seconds())))  # type: ignore[misc]
        self.clock.advance(1.5)
        self.assertEqual(self.calls, [("now", 1000.0), ("a", 1001.0), ("b", 1001.0)])
        self.assertEqual(self.clock.seconds(), 1001.5)
        self.clock.advance(0.5)
        self.assertEqual(self.calls[3:], [("c", 1002.0), ("d", 1002.0)])

    def test_arguments(self) -> None:
        self.clock.callLater(1, lambda *args, **kwargs: self.calls.append((args, kwargs)), 1, 2, three=3)
        self.clock.advance(1)
        self.assertEqual(self.calls, [((1, 2), {"three": 3})])

    def test_calls_set_by_calls(self) -> None:
        self.clock.callLater(1, self.clock.callLater, 1, self.calls.append, "second")
        self.clock.advance(1.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertEqual(self.calls, ["second"])

    def test_cancel(self) -> None:
        call = self.clock.callLater(1, self.calls.append, "x")
        self.assertTrue(call.active())
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        call.cancel()
        self.assertEqual((call.active(), self.clock.getDelayedCalls()), (False, []))
        self.clock.advance(2)
        self.assertEqual(self.calls, [])
        self.assertRaises(error.AlreadyCancelled, call.cancel)

    def test_called_once(self) -> None:
        call = self.clock.callLater(1, self.calls.append, "x")
        self.clock.advance(5)
        self.assertEqual((self.calls, call.active()), (["x"], False))
        self.assertRaises(error.AlreadyCalled, call.reset, 1)

    def test_put_off_and_brought_forward(self) -> None:
        later, sooner, both = [self.clock.callLater(2, self.calls.append, name) for name in ("later", "sooner", "both")]
        later.delay(2)
        sooner.reset(1)
        both.reset(0.5)
        both.reset(3)
        self.assertEqual(self.clock.getDelayedCalls()[0].getTime(), 1001.0)
        for seconds, calls in ((1, ["sooner"]), (1, []), (1, ["both"]), (1, ["later"]), (10, [])):
            self.calls.clear()
            self.clock.advance(seconds)
            self.assertEqual(self.calls, calls)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_list_of_calls(self) -> None:
        calls = [self.clock.callLater(delay, list) for delay in (3, 1, 2)]
        self.assertEqual(self.clock.getDelayedCalls(), [calls[1], calls[2], calls[0]])

    def test_what_raises_is_logged_and_the_others_come(self) -> None:
        self.clock.callLater(1, lambda: 1 // 0)
        self.clock.callLater(1, self.calls.append, "next")
        self.clock.advance(1)
        self.assertEqual(self.calls, ["next"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_delay_is_not_negative(self) -> None:
        self.assertRaises(ValueError, self.clock.callLater, -0.1, list)
        self.assertRaises(ValueError, self.clock.callLater, float("nan"), list)

    def test_a_loop_at_one_instant_is_found(self) -> None:
        self.patch(module, "SAME_INSTANT", 100)

        def again() -> None:
            self.calls.append("x")
            self.clock.callLater(0, again)

        again()
        self.assertRaises(RuntimeError, self.clock.advance, 1)
        self.assertEqual(len(self.calls), 101)

    def test_steps(self) -> None:
        self.clock.callLater(5, self.calls.append, "x")
        self.assertFalse(self.clock.step(until=1003.0))
        self.assertEqual(self.clock.seconds(), 1003.0)
        self.assertTrue(self.clock.step())
        self.assertEqual((self.clock.seconds(), self.calls), (1005.0, ["x"]))
        self.assertFalse(self.clock.step())
        self.assertEqual(self.clock.seconds(), 1005.0)

    def test_drives_twisteds_own_tools(self) -> None:
        loop = LoopingCall(lambda: self.calls.append(self.clock.seconds()))
        loop.clock = self.clock
        loop.start(10)
        self.clock.advance(25)
        loop.stop()
        self.assertEqual(self.calls, [1000.0, 1010.0, 1020.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
