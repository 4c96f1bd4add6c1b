"""
Requests that wait for their answers, for capabilities whose messages carry a request id.

L{RequestTracker} is the table: given the time, no Twisted.  L{Requests} puts a C{Deferred} on each entry and one
timer on all.  An answer is taken only by the id, with the code and at most the number of items that were asked
for; an answer that comes too late is passed over, one that nobody asked for is an offence.

Source: EIP-2481 (request ids of eth); what is checked is what geth checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from ethp2p.errors import LocalProtocolError, Offence, P2PError, RemoteProtocolError, RequestTimeout
from ethp2p.limits import ExpiringMap, WheelCall, WheelTimer

#: Most requests to one peer that wait at once.
MAX_PENDING = 256
#: Most given-up requests remembered, and for how many seconds: geth itself waits five minutes for an answer.
MAX_LATE, LATE_LIFETIME = 1024, 300.0


class TooManyRequests(LocalProtocolError):
    """Too many requests to one peer wait for their answers."""


class UnsolicitedResponse(RemoteProtocolError):
    """The peer answered a request that was not made."""

    offence = Offence.UNSOLICITED


class WrongResponse(RemoteProtocolError):
    """The peer answered a request with another kind of message."""


class ResponseTooLarge(RemoteProtocolError):
    """The peer's answer has more items than were asked for."""

    offence = Offence.OVERSIZE


@attrs.frozen
class Request:
    """
    A request under way.
    """

    request_id: int
    #: The code of the answer, counted from the capability's 0.
    reply_code: int
    #: Most items that the answer may have.
    most_items: int
    sent_at: float
    deadline: float


class RequestTracker:
    """
    The requests made of one peer.
    """

    __slots__ = ("_late", "_max_pending", "_next_id", "_pending", "answered", "late", "rtt", "timed_out")

    def __init__(self, next_id: Callable[[], int], *, max_pending: int = MAX_PENDING) -> None:
        """
        @param next_id: gives a request id not in use, from a counter or a generator of random numbers.
        """
        self._next_id = next_id
        self._max_pending = max_pending
        self._pending: dict[int, Request] = {}
        self._late: ExpiringMap[int, int] = ExpiringMap(MAX_LATE, LATE_LIFETIME)
        #: Seconds the newest answer took, None before the first.
        self.rtt: float | None = None
        #: How many were answered, given up, and answered after that.
        self.answered = self.timed_out = self.late = 0

    def __len__(self) -> int:
        return len(self._pending)

    def open(self, reply_code: int, most_items: int, now: float, timeout: float) -> Request:
        """
        Begin a request.

        @raise TooManyRequests: the cap is reached.
        @raise LocalProtocolError: C{next_id} gave an id that is in use.
        """
        if len(self._pending) >= self._max_pending:
            raise TooManyRequests(f"{len(self._pending)} requests wait for their answers")
        request_id = self._next_id()
        if request_id in self._pending:
            raise LocalProtocolError(f"request id {request_id} is in use")
        request = Request(request_id, reply_code, most_items, now, now + timeout)
        self._pending[request_id] = request
        return request

    def expected(self, reply_code: int, request_id: int, now: float) -> Request | None:
        """
        Whose answer this is; to be asked before the items are decoded.

        @return: the request, which stays open, or None when it was given up: pass the answer over.
        @raise UnsolicitedResponse: there is no such request.
        @raise WrongResponse: it waits for another code.
        """
        request = self._pending.get(request_id)
        if request is not None:
            awaited: int | None = request.reply_code
        else:
            awaited = self._late.pop(request_id, now)
            if awaited is None:
                raise UnsolicitedResponse(f"message 0x{reply_code:02x} answers request {request_id}, never made")
            self.late += 1
        if awaited != reply_code:
            raise WrongResponse(f"message 0x{reply_code:02x} answers request {request_id}, not 0x{awaited:02x}")
        return request

    def settle(self, reply_code: int, request_id: int, items: int, now: float) -> Request | None:
        """
        End a request by its answer.

        @param items: how many the answer has.
        @return: as L{expected}; the request is closed now.
        @raise UnsolicitedResponse: as L{expected}, as L{WrongResponse}.
        @raise ResponseTooLarge: more items than were asked for; the request stays open.
        """
        request = self.expected(reply_code, request_id, now)
        if request is None:
            return None
        if items > request.most_items:
            raise ResponseTooLarge(f"message 0x{reply_code:02x} has {items} items, {request.most_items} were asked for")
        del self._pending[request_id]
        self.answered += 1
        self.rtt = max(0.0, now - request.sent_at)
        return request

    def forget(self, request_id: int, now: float) -> None:
        """Give a request up; its answer may still come and is no offence."""
        request = self._pending.pop(request_id, None)
        if request is not None:
            self._late.set(request_id, request.reply_code, now)

    def expire(self, now: float) -> list[Request]:
        """Give up what is over its deadline, and tell which."""
        expired = [request for request in self._pending.values() if request.deadline <= now]
        for request in expired:
            self.forget(request.request_id, now)
        self.timed_out += len(expired)
        return expired

    def next_timer(self) -> float | None:
        """The earliest deadline."""
        return min([request.deadline for request in self._pending.values()], default=None)

    def clear(self) -> list[Request]:
        """Close every request, and tell which."""
        requests = list(self._pending.values())
        self._pending.clear()
        return requests


class Requests:
    """
    The requests made of one peer, each with a C{Deferred} that fires with the answer, or fails with
    L{RequestTimeout} or whatever L{failAll} gives.
    """

    __slots__ = ("_call", "_deferreds", "_ended", "_wheel", "tracker")

    def __init__(self, nextId: Callable[[], int], wheel: WheelTimer, *, maxPending: int = MAX_PENDING) -> None:
        """
        @param nextId: as for L{RequestTracker}.
        """
        self.tracker = RequestTracker(nextId, max_pending=maxPending)
        self._wheel = wheel
        self._deferreds: dict[int, Deferred[Any]] = {}
        self._call: tuple[float, WheelCall] | None = None
        self._ended: BaseException | None = None

    def open(self, replyCode: int, mostItems: int, timeout: float) -> tuple[int, Deferred[Any]]:
        """
        Begin a request; the caller sends it.

        @param timeout: seconds.
        @return: its id, and what fires with the C{answer} given to L{settle}.  Cancelling it gives it up.
        @raise TooManyRequests: as L{RequestTracker.open}.
        @raise Exception: what L{failAll} was given, once it was.
        """
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        request = self.tracker.open(replyCode, mostItems, self._wheel.seconds(), timeout)
        requestId = request.request_id
        deferred: Deferred[Any] = Deferred(lambda _: self._cancelled(requestId))
        self._deferreds[requestId] = deferred
        self._arm(request.deadline)
        return requestId, deferred

    def expected(self, replyCode: int, requestId: int) -> bool:
        """
        Whether to decode this answer at all; False when it comes too late.

        @raise RemoteProtocolError: as L{RequestTracker.expected}.
        """
        return self.tracker.expected(replyCode, requestId, self._wheel.seconds()) is not None

    def settle(self, replyCode: int, requestId: int, items: int, answer: Any) -> Request | None:
        """
        Give an answer to who waits for it.

        @return: the request, or None when the answer comes too late.
        @raise RemoteProtocolError: as L{RequestTracker.settle}.
        """
        request = self.tracker.settle(replyCode, requestId, items, self._wheel.seconds())
        if request is not None:
            self._deferreds.pop(requestId).callback(answer)
        return request

    def fail(self, replyCode: int, requestId: int, error: P2PError) -> None:
        """
        Fail a request whose answer has come and cannot be used.

        @raise RemoteProtocolError: as L{RequestTracker.settle}.
        """
        if self.tracker.settle(replyCode, requestId, 0, self._wheel.seconds()) is not None:
            self._deferreds.pop(requestId).errback(error)

    def failAll(self, reason: BaseException) -> None:
        """The peer is gone: fail every request with C{reason}, and those still to be made."""
        if self._ended is not None:
            return
        self._ended = reason
        if self._call is not None:
            self._call[1].cancel()
            self._call = None
        self.tracker.clear()
        while self._deferreds:  # one at a time: what fails may cancel others
            self._deferreds.popitem()[1].errback(reason)

    def _cancelled(self, requestId: int) -> None:
        self._deferreds.pop(requestId, None)
        self.tracker.forget(requestId, self._wheel.seconds())

    def _arm(self, deadline: float) -> None:
        """One timer, at the earliest deadline or before."""
        if self._call is not None:
            if self._call[0] <= deadline:
                return
            self._call[1].cancel()
        self._call = deadline, self._wheel.call_later(deadline - self._wheel.seconds(), self._expire)

    def _expire(self) -> None:
        self._call = None
        for request in self.tracker.expire(self._wheel.seconds()):
            deferred = self._deferreds.pop(request.request_id, None)
            if deferred is not None:  # else cancelled by what failed before it
                seconds = request.deadline - request.sent_at
                deferred.errback(RequestTimeout(f"no answer 0x{request.reply_code:02x} in {seconds:g} s"))
        earliest = self.tracker.next_timer()
        if earliest is not None:
            self._arm(earliest)
