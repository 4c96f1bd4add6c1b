"""
Answers are taken by those who asked, in time, and once.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.devp2p.requests import (
    LATE_LIFETIME,
    MAX_LATE,
    MAX_PENDING,
    Requests,
    RequestTracker,
    ResponseTooLarge,
    TooManyRequests,
    UnsolicitedResponse,
    WrongResponse,
)
from ethp2p.errors import (
    DisconnectReason,
    LocalProtocolError,
    Offence,
    PeerDisconnected,
    RemoteProtocolError,
    RequestTimeout,
)
from ethp2p.limits import WheelTimer

HEADERS, BODIES = 4, 6


def tracker(**options: Any) -> RequestTracker:
    return RequestTracker(count(1).__next__, **options)


class TrackerTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """One request for at most 10 headers at second 0, with 5 seconds; what each answer does."""
        for code, request_id, items, at, outcome in (
            (HEADERS, 1, 10, 2.5, None),
            (HEADERS, 1, 0, 0.0, None),
            (HEADERS, 1, 10, 400.0, None),  # nobody has called expire: still open
            (HEADERS, 1, 11, 2.5, ResponseTooLarge),
            (BODIES, 1, 10, 2.5, WrongResponse),
            (HEADERS, 2, 10, 2.5, UnsolicitedResponse),
            (HEADERS, 0, 0, 2.5, UnsolicitedResponse),
        ):
            requests = tracker()
            request = requests.open(HEADERS, 10, 0.0, 5.0)
            if outcome is None:
                self.assertEqual(requests.settle(code, request_id, items, at), request)
                self.assertEqual((len(requests), requests.answered, requests.rtt), (0, 1, at))
                self.assertRaises(UnsolicitedResponse, requests.settle, code, request_id, items, at)
            else:
                self.assertRaises(outcome, requests.settle, code, request_id, items, at)
                self.assertEqual((len(requests), requests.answered, requests.rtt), (1, 0, None))

    def test_offences(self) -> None:
        for error, offence in (
            (UnsolicitedResponse, Offence.UNSOLICITED),
            (WrongResponse, Offence.BAD_PROTOCOL),
            (ResponseTooLarge, Offence.OVERSIZE),
        ):
            self.assertTrue(issubclass(error, RemoteProtocolError))
            self.assertEqual((error.offence, error.reason), (offence, DisconnectReason.BREACH_OF_PROTOCOL))

    def test_expected_looks_and_leaves(self) -> None:
        requests = tracker()
        request = requests.open(HEADERS, 10, 0.0, 5.0)
        self.assertEqual(requests.expected(HEADERS, 1, 1.0), request)
        self.assertEqual(requests.expected(HEADERS, 1, 1.0), request)
        self.assertRaises(WrongResponse, requests.expected, BODIES, 1, 1.0)
        self.assertRaises(UnsolicitedResponse, requests.expected, HEADERS, 2, 1.0)
        self.assertEqual(len(requests), 1)

    def test_expiry(self) -> None:
        requests = tracker()
        slow = requests.open(HEADERS, 1, 0.0, 10.0)
        fast = requests.open(BODIES, 1, 1.0, 3.0)
        self.assertEqual(requests.next_timer(), 4.0)
        self.assertEqual(requests.expire(3.9), [])
        self.assertEqual(requests.expire(4.0), [fast])
        self.assertEqual((requests.next_timer(), requests.timed_out), (10.0, 1))
        self.assertEqual(requests.expire(100.0), [slow])
        self.assertEqual((requests.next_timer(), requests.timed_out, len(requests)), (None, 2, 0))

    def test_late_answer_is_passed_over_once(self) -> None:
        requests = tracker()
        requests.open(HEADERS, 1, 0.0, 5.0)
        requests.expire(5.0)
        self.assertIsNone(requests.settle(HEADERS, 1, 1000, 60.0))
        self.assertEqual((requests.late, requests.answered), (1, 0))
        self.assertRaises(UnsolicitedResponse, requests.settle, HEADERS, 1, 1, 60.0)

    def test_late_answer_of_the_wrong_kind(self) -> None:
        requests = tracker()
        requests.open(HEADERS, 1, 0.0, 5.0)
        requests.expire(5.0)
        self.assertRaises(WrongResponse, requests.settle, BODIES, 1, 1, 60.0)

    def test_late_answers_are_not_remembered_for_ever(self) -> None:
        requests = tracker()
        requests.open(HEADERS, 1, 0.0, 5.0)
        requests.expire(5.0)
        self.assertRaises(UnsolicitedResponse, requests.settle, HEADERS, 1, 1, 5.0 + LATE_LIFETIME)

    def test_late_ids_are_capped(self) -> None:
        requests = tracker()
        for _ in range(MAX_LATE + 1):
            requests.open(HEADERS, 1, 0.0, 5.0)
            requests.expire(5.0)
        self.assertEqual(len(requests._late), MAX_LATE)
        self.assertIsNone(requests.settle(HEADERS, MAX_LATE + 1, 1, 6.0))
        self.assertRaises(UnsolicitedResponse, requests.settle, HEADERS, 1, 1, 6.0)

    def test_pending_is_capped(self) -> None:
        requests = tracker()
        for _ in range(MAX_PENDING):
            requests.open(HEADERS, 1, 0.0, 5.0)
        self.assertRaises(TooManyRequests, requests.open, HEADERS, 1, 0.0, 5.0)
        requests.settle(HEADERS, 1, 1, 0.0)
        requests.open(HEADERS, 1, 0.0, 5.0)

    def test_an_id_in_use(self) -> None:
        requests = RequestTracker(lambda: 7)
        requests.open(HEADERS, 1, 0.0, 5.0)
        self.assertRaises(LocalProtocolError, requests.open, HEADERS, 1, 0.0, 5.0)
        self.assertEqual(len(requests), 1)

    def test_clear(self) -> None:
        requests = tracker()
        opened = [requests.open(HEADERS, 1, 0.0, 5.0) for _ in range(3)]
        self.assertEqual(requests.clear(), opened)
        self.assertEqual((len(requests), requests.next_timer()), (0, None))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("open"), st.floats(0.1, 10)),
                st.tuples(st.just("answer"), st.integers(0, 12)),
                st.tuples(st.just("wait"), st.floats(0, 400)),
            ),
            max_size=40,
        )
    )
    def test_every_request_ends_once(self, steps: list[tuple[str, Any]]) -> None:
        requests, now = tracker(max_pending=4), 0.0
        opened, answered, expired = [], [], []
        for step, value in steps:
            if step == "open":
                try:
                    opened.append(requests.open(HEADERS, 1, now, value).request_id)
                except TooManyRequests:
                    self.assertEqual(len(requests), 4)
            elif step == "wait":
                now += value
                expired += [request.request_id for request in requests.expire(now)]
            else:
                try:
                    request = requests.settle(HEADERS, value, 1, now)
                except UnsolicitedResponse:
                    continue
                if request is not None:
                    answered.append(request.request_id)
        left = [request.request_id for request in requests.clear()]
        self.assertEqual(sorted(answered + expired + left), opened)


class RequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.requests = Requests(count(1).__next__, WheelTimer(self.clock))

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def test_answer(self) -> None:
        request_id, deferred = self.requests.open(HEADERS, 1, 5.0)
        self.assertNoResult(deferred)
        self.advance(2)
        self.assertTrue(self.requests.expected(HEADERS, request_id))
        request = self.requests.settle(HEADERS, request_id, 1, "the headers")
        assert request is not None
        self.assertEqual(request.request_id, request_id)
        self.assertEqual(self.successResultOf(deferred), "the headers")
        self.assertAlmostEqual(self.requests.tracker.rtt or 0.0, 2.0)

    def test_timeouts_in_any_order(self) -> None:
        _, slow = self.requests.open(HEADERS, 1, 8.0)
        _, fast = self.requests.open(HEADERS, 1, 2.0)
        answered, third = self.requests.open(HEADERS, 1, 1.0)
        self.requests.settle(HEADERS, answered, 1, None)
        self.successResultOf(third)
        self.advance(1.9)
        self.assertNoResult(fast)
        self.advance(0.4)
        error = self.failureResultOf(fast, RequestTimeout).value
        self.assertIn("in 2 s", str(error))
        self.assertNoResult(slow)
        self.advance(6)
        self.failureResultOf(slow, RequestTimeout)
        self.assertEqual(self.requests.tracker.timed_out, 2)
        self.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late_answer(self) -> None:
        request_id, deferred = self.requests.open(HEADERS, 1, 1.0)
        self.advance(2)
        self.failureResultOf(deferred, RequestTimeout)
        self.assertFalse(self.requests.expected(HEADERS, request_id))
        self.assertRaises(UnsolicitedResponse, self.requests.settle, HEADERS, request_id, 1, "late")

    def test_a_bad_answer_leaves_the_request_to_fail_all(self) -> None:
        request_id, deferred = self.requests.open(HEADERS, 1, 1.0)
        self.assertRaises(ResponseTooLarge, self.requests.settle, HEADERS, request_id, 2, "too much")
        self.assertNoResult(deferred)
        self.requests.failAll(PeerDisconnected(DisconnectReason.BREACH_OF_PROTOCOL, by_us=True))
        self.failureResultOf(deferred, PeerDisconnected)

    def test_cancel(self) -> None:
        request_id, deferred = self.requests.open(HEADERS, 1, 1.0)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertIsNone(self.requests.settle(HEADERS, request_id, 1, "late"))
        self.advance(5)
        self.assertEqual(self.requests.tracker.timed_out, 0)

    def test_fail_all(self) -> None:
        deferreds = [self.requests.open(HEADERS, 1, 1.0)[1] for _ in range(3)]
        gone = PeerDisconnected(DisconnectReason.TOO_MANY_PEERS)
        self.requests.failAll(gone)
        for deferred in deferreds:
            self.assertIs(self.failureResultOf(deferred, PeerDisconnected).value, gone)
        self.assertRaises(PeerDisconnected, self.requests.open, HEADERS, 1, 1.0)
        self.requests.failAll(gone)
        self.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_fails_may_cancel_and_ask(self) -> None:
        """Callbacks that cancel other requests, or make new ones, find a table in order."""
        for end in (lambda: self.advance(2), lambda: self.requests.failAll(PeerDisconnected())):
            self.requests = Requests(count(1).__next__, WheelTimer(self.clock))
            pending = [self.requests.open(HEADERS, 1, 1.0)[1] for _ in range(4)]
            outcomes: list[str] = []

            def failed(failure: Any, outcomes: list[str] = outcomes, pending: list[Deferred[Any]] = pending) -> None:
                outcomes.append(failure.type.__name__)
                for other in pending:
                    other.cancel()
                try:
                    self.requests.open(HEADERS, 1, 1.0)[1].addErrback(lambda _: None)
                except PeerDisconnected:
                    pass

            for deferred in pending:
                deferred.addErrback(failed)
            end()
            self.assertEqual(len(outcomes), 4)
            self.assertEqual(outcomes.count("CancelledError"), 3)
            self.requests.failAll(PeerDisconnected())
