"""
L{ethp2p.eth.protocol}: asking a peer, scripted or another of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Body, Header
from ethp2p.codec import rlp
from ethp2p.devp2p.requests import ResponseTooLarge, UnsolicitedResponse, WrongResponse
from ethp2p.errors import (
    DisconnectReason,
    LocalProtocolError,
    Offence,
    OversizeError,
    PeerDisconnected,
    RequestTimeout,
    WireError,
)
from ethp2p.eth import AnswerTooLarge, EthFactory, protocol, serve, wire
from ethp2p.eth.messages import (
    BlockBodies,
    BlockHeaders,
    GetBlockBodies,
    GetBlockHeaders,
    GetReceipts,
    HeaderQuery,
    Message,
    Receipts,
)
from ethp2p.eth.protocol import MAX_ASKED, REQUEST_TIMEOUT
from ethp2p.eth.verify import BadData
from ethp2p.eth.wire import VERSIONS, Code
from tests.chain.building import geth_chain, headers_of, receipts, small_chain
from tests.eth.fakes import Met, Pair, Side

HASH = b"\x11" * 32
MOST = 2**64 - 1


class AskingTests(Met):
    def headers(self, first: int, last: int) -> list[Header]:
        return headers_of(self.chain, first, last)

    def reply(self, message: Message) -> None:
        self.channel.hear(message)
        self.clock.advance(0)

    def test_what_is_sent(self) -> None:
        asked = self.headers(3, 4)
        hashes = tuple(header.hash for header in asked)
        waiting = [
            self.protocol.getBlockHeaders(5, 3, 1, True),
            self.protocol.getBlockHeaders(HASH, 1),
            self.protocol.getBlockBodies(asked),
            self.protocol.getReceipts(iter(asked)),
        ]
        self.assertEqual(
            self.channel.said(),
            [
                GetBlockHeaders(1, HeaderQuery(5, 3, 1, True)),
                GetBlockHeaders(2, HeaderQuery(HASH, 1)),
                GetBlockBodies(3, hashes),
                GetReceipts(4, hashes),
            ],
        )
        self.channel.end(DisconnectReason.CLIENT_QUITTING)
        for each in waiting:
            self.failureResultOf(each, PeerDisconnected)

    def test_answered(self) -> None:
        result = self.protocol.getBlockHeaders(5, 3)
        self.clock.advance(0.25)
        answer = serve.answer(self.chain, 69, self.asked())
        self.reply(answer)
        self.assertEqual(self.successResultOf(result), self.headers(5, 7))
        self.assertEqual(self.side.spy.requests, [("GetBlockHeaders", 3, "ok")])
        ((size, rtt),) = self.side.spy.figures
        self.assertEqual(rtt, 0.25)
        self.assertGreater(size, 3 * 500)

    def test_empty_answers(self) -> None:
        results: list[Deferred[Any]] = [
            self.protocol.getBlockHeaders(5, 3),
            self.protocol.getBlockBodies(self.headers(1, 2)),
            self.protocol.getReceipts(self.headers(1, 2)),
        ]
        for message in (BlockHeaders(1, ()), BlockBodies(2, ()), Receipts(3, ())):
            self.reply(message)
        self.assertEqual([self.successResultOf(result) for result in results], [[], [], []])

    def test_out_of_order(self) -> None:
        one, two = self.protocol.getBlockHeaders(1, 1), self.protocol.getBlockHeaders(2, 1)
        first, second = [serve.answer(self.chain, 69, request) for request in self.channel.said()]
        self.reply(second)
        self.assertEqual(self.successResultOf(two), self.headers(2, 2))
        self.assertNoResult(one)
        self.reply(first)
        self.assertEqual(self.successResultOf(one), self.headers(1, 1))

    def test_lies(self) -> None:
        """Each ends the session, books the offence, and fails the request with the same error."""
        raw = [header.encode() for header in self.headers(0, 12)]
        bodies = [self.chain.rawBody(header.hash) or b"" for header in self.headers(0, 12)]
        foreign = Body((b"\x02\xc1\x01",), (), ()).encode()
        logs = serve.receipts(self.chain, [header.hash for header in self.headers(0, 12)], 69)
        table: list[tuple[str, Callable[[Side], Deferred[Any]], Message]] = [
            (
                "wrong order",
                lambda side: side.protocol.getBlockHeaders(4, 3),
                BlockHeaders(1, (raw[4], raw[6], raw[5])),
            ),
            ("wrong origin", lambda side: side.protocol.getBlockHeaders(4, 3), BlockHeaders(1, (raw[5],))),
            ("wrong hash", lambda side: side.protocol.getBlockHeaders(HASH, 1), BlockHeaders(1, (raw[5],))),
            (
                "broken link",
                lambda side: side.protocol.getBlockHeaders(4, 2),
                BlockHeaders(1, (raw[4], attrs.evolve(self.headers(5, 5)[0], parent_hash=HASH).encode())),
            ),
            (
                "broken link downwards",
                lambda side: side.protocol.getBlockHeaders(5, 2, 0, True),
                BlockHeaders(1, (raw[5], attrs.evolve(self.headers(4, 4)[0], gas_used=9).encode())),
            ),
            ("not a header", lambda side: side.protocol.getBlockHeaders(4, 2), BlockHeaders(1, (b"\xc0",))),
            ("wrong body", lambda side: side.protocol.getBlockBodies(self.headers(4, 5)), BlockBodies(1, (foreign,))),
            (
                "body twice",
                lambda side: side.protocol.getBlockBodies(self.headers(4, 5)),
                BlockBodies(1, (bodies[4], bodies[4])),
            ),
            ("wrong receipts", lambda side: side.protocol.getReceipts(self.headers(4, 5)), Receipts(1, (logs[8],))),
        ]
        for what, ask, lie in table:
            side = self.met(69)
            result = ask(side)
            side.channel.hear(lie)
            self.assertIs(side.channel.failed, None, what)
            self.clock.advance(0)
            error = side.channel.failed
            assert error is not None, what
            self.assertEqual(error.offence, Offence.BAD_MESSAGE if what == "not a header" else Offence.BAD_DATA, what)
            self.assertIs(self.failureResultOf(result).value, error, what)
            self.assertEqual([done[2] for done in side.spy.requests], ["invalid"])

    def test_a_lie_ends_the_others_too(self) -> None:
        lied, other = self.protocol.getBlockHeaders(4, 1), self.protocol.getBlockHeaders(5, 1)
        self.reply(BlockHeaders(1, (self.headers(5, 5)[0].encode(),)))
        self.failureResultOf(lied, BadData)
        self.failureResultOf(other, PeerDisconnected)
        self.failureResultOf(self.protocol.getBlockHeaders(4, 1), PeerDisconnected)

    def test_too_many(self) -> None:
        raw = tuple(header.encode() for header in self.headers(4, 6))
        results: list[Deferred[Any]] = []
        for ask, lie in (
            (lambda side: side.protocol.getBlockHeaders(4, 2), BlockHeaders(1, raw)),
            (lambda side: side.protocol.getBlockBodies(self.headers(4, 4)), BlockBodies(1, (b"\xc0", b"\xc0"))),
            (lambda side: side.protocol.getReceipts(self.headers(4, 4)), Receipts(1, (b"\xc0", b"\xc0"))),
        ):
            side = self.met(69)
            results.append(ask(side))
            side.channel.hear(lie)
            self.assertIsInstance(side.channel.failed, ResponseTooLarge)
            self.failureResultOf(results[-1], PeerDisconnected)

    def test_larger_than_a_message(self) -> None:
        """One block may have more receipts than a message can carry: who sends them all the same is no offender."""
        results = [self.protocol.getReceipts(self.headers(4, 4)), self.protocol.getReceipts(self.headers(5, 5))]
        large = rlp.encode([rlp.UINT64.dump(2), [bytes(wire.MAX_MESSAGE)]])
        self.channel.deliver(Code.RECEIPTS, large)
        error = self.failureResultOf(results[1], AnswerTooLarge).value
        self.assertEqual(str(error), f"an answer of {len(large):,} bytes, more than the 10,485,760 of a message")
        self.assertEqual(self.side.spy.requests, [("GetReceipts", 0, "too_large")])
        self.reply(serve.answer(self.chain, 69, self.channel.said()[0]))
        self.assertEqual(self.successResultOf(results[0]), [receipts(4)])
        self.assertIsNone(self.channel.failed)
        for code, payload, offence in (
            (Code.RECEIPTS, large, UnsolicitedResponse),  # nobody asked again
            (Code.GET_RECEIPTS, large, OversizeError),
            (Code.BLOCK_HEADERS, large, OversizeError),  # none is so large
            (Code.RECEIPTS, large[:-1], WireError),
            (Code.NODE_DATA, large, WireError),  # not in eth/69
        ):
            side = self.met(69)
            side.channel.deliver(code, payload)
            self.assertIsInstance(side.channel.failed, offence)

    def test_unasked(self) -> None:
        self.reply(BlockHeaders(77, ()))
        self.assertIsInstance(self.channel.failed, UnsolicitedResponse)
        assert self.channel.failed is not None
        self.assertEqual(self.channel.failed.offence, Offence.UNSOLICITED)

    def test_answered_twice(self) -> None:
        result = self.protocol.getBlockHeaders(5, 1)
        answer = serve.answer(self.chain, 69, self.asked())
        self.reply(answer)
        self.successResultOf(result)
        self.reply(answer)
        self.assertIsInstance(self.channel.failed, UnsolicitedResponse)

    def test_answered_with_something_else(self) -> None:
        result = self.protocol.getBlockHeaders(5, 1)
        self.reply(BlockBodies(1, ()))
        self.assertIsInstance(self.channel.failed, WrongResponse)
        self.failureResultOf(result, PeerDisconnected)

    def test_late(self) -> None:
        """Too late is no offence: the request has failed, the answer is passed over, the peer stays."""
        result = self.protocol.getBlockHeaders(5, 1)
        answer = serve.answer(self.chain, 69, self.asked())
        for _ in range(int(REQUEST_TIMEOUT * 10) + 3):
            self.clock.advance(0.1)
        self.failureResultOf(result, RequestTimeout)
        self.assertEqual(self.side.factory.timeouts, 1)
        self.assertEqual(self.side.spy.requests, [("GetBlockHeaders", 0, "timeout")])
        self.reply(answer)
        self.assertIs(self.channel.failed, None)
        again = self.protocol.getBlockHeaders(5, 1)
        self.reply(serve.answer(self.chain, 69, self.asked()))
        self.assertEqual(self.successResultOf(again), self.headers(5, 5))

    def test_cancelled_while_waiting(self) -> None:
        result = self.protocol.getBlockHeaders(5, 1)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.reply(serve.answer(self.chain, 69, self.asked()))
        self.assertIs(self.channel.failed, None)
        self.assertEqual(self.side.spy.requests, [])

    def test_cancelled_while_checking(self) -> None:
        result = self.protocol.getBlockHeaders(5, 1)
        self.channel.hear(BlockHeaders(1, (b"\xc0",)))  # a lie that is not looked at any more
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.clock.advance(0)
        self.assertIs(self.channel.failed, None)

    def test_gone_while_checking(self) -> None:
        """What came before the end is still checked and given."""
        result = self.protocol.getBlockHeaders(5, 1)
        self.channel.hear(serve.answer(self.chain, 69, self.asked()))
        self.channel.end()
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(result), self.headers(5, 5))

    def test_after_the_end(self) -> None:
        self.channel.end(DisconnectReason.TOO_MANY_PEERS)
        for result in (
            self.protocol.getBlockHeaders(5, 1),
            self.protocol.getBlockBodies([]),
            self.protocol.getReceipts([]),
        ):
            self.failureResultOf(result, PeerDisconnected)

    def test_cannot_be_asked(self) -> None:
        header = self.headers(1, 1)[0]
        self.assertEqual(MAX_ASKED, 1024)
        for result in (
            self.protocol.getBlockHeaders(0, MAX_ASKED + 1),
            self.protocol.getBlockBodies([header] * (MAX_ASKED + 1)),
            self.protocol.getReceipts([header] * (MAX_ASKED + 1)),
            self.protocol.getBlockHeaders(2**64, 1),
            self.protocol.getBlockHeaders(-1, 1),
            self.protocol.getBlockHeaders(b"short", 1),
        ):
            self.failureResultOf(result, LocalProtocolError)
        self.assertEqual(self.channel.said(), [])
        most = self.protocol.getBlockHeaders(0, MAX_ASKED)
        self.assertEqual(self.asked().query.amount, MAX_ASKED)
        self.assertNoResult(most)

    def test_cannot_be_written(self) -> None:
        """A request that did not go out is given up at once."""
        self.channel.refuses = LocalProtocolError("full")
        error = self.failureResultOf(self.protocol.getBlockHeaders(5, 1), LocalProtocolError)
        self.assertEqual(str(error.value), "full")
        for _ in range(int(REQUEST_TIMEOUT * 10) + 3):
            self.clock.advance(0.1)
        self.assertEqual(self.side.factory.timeouts, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Turns:
    """A clock that stands still, and a reactor whose every turn is ours."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], object]] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, function: Callable[..., object], *args: Any) -> None:
        self.calls.append(lambda: function(*args))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class SliceTests(SynchronousTestCase):
    def collect(self, step: float) -> list[int]:
        """How far six values have come after each turn, when each takes C{step} seconds."""
        reactor = Turns()
        factory = EthFactory(small_chain(1), clock=reactor)
        done: list[int] = []

        def slow() -> Iterator[int]:
            for number in range(6):
                reactor.now += step
                done.append(number)
                yield number

        result = factory.inSlices(slow())
        counts = [len(done)]
        while not result.called:
            reactor.turn()
            counts.append(len(done))
        self.assertEqual(self.successResultOf(result), list(range(6)))
        return counts

    def test_the_reactor_has_its_turn(self) -> None:
        self.assertEqual(self.collect(0)[:2], [0, 6])
        self.assertEqual(self.collect(protocol.SLICE / 2)[:4], [0, 2, 4, 6])
        self.assertEqual(self.collect(protocol.SLICE * 2)[:7], [0, 1, 2, 3, 4, 5, 6])

    def test_the_clock_goes_back(self) -> None:
        """As a wall clock may: the work stops for a turn, and goes on."""
        self.assertEqual(self.collect(-60.0)[:3], [0, 1, 2])

    def test_nothing_is_no_value(self) -> None:
        """None stands for work that has no value yet."""
        clock = Clock()
        result = EthFactory(small_chain(1), clock=clock).inSlices(iter([None, 1, None, 2]))
        clock.advance(0)
        self.assertEqual(self.successResultOf(result), [1, 2])

    def test_two_share(self) -> None:
        clock = Clock()
        factory = EthFactory(small_chain(1), clock=clock)
        one, two = factory.inSlices(iter(range(3))), factory.inSlices(iter(range(4)))
        clock.advance(0)
        self.assertEqual(self.successResultOf(one), [0, 1, 2])
        self.assertEqual(self.successResultOf(two), [0, 1, 2, 3])


class TogetherTests(SynchronousTestCase):
    """Two of ours over geth's 600 blocks."""

    def fetch(self, version: int) -> Pair:
        chain = geth_chain()
        pair = Pair(chain, chain, version)
        asking = pair.left.protocol
        headers = self.fetched(pair, asking.getBlockHeaders(0, 601))
        self.assertEqual([header.number for header in headers], list(range(601)))
        self.assertEqual(headers[-1], chain.head())
        bodies: list[Body] = []
        while len(bodies) < len(headers):
            bodies += self.fetched(pair, asking.getBlockBodies(headers[len(bodies) :]))
        self.assertEqual(sum(len(body.transactions) for body in bodies), 603)
        for header, body in zip(headers, bodies, strict=True):
            self.assertTrue(body.matches(header))
        self.assertIs(pair.left.channel.failed, None)
        self.assertIs(pair.right.channel.failed, None)
        return pair

    def fetched(self, pair: Pair, result: Deferred[Any]) -> Any:
        pair.turn()
        return self.successResultOf(result)

    def test_everything(self) -> None:
        pair = self.fetch(69)
        self.assertEqual(pair.right.factory.served, 2)
        self.assertEqual(pair.left.spy.requests, [("GetBlockHeaders", 601, "ok"), ("GetBlockBodies", 601, "ok")])

    def test_the_oldest_version(self) -> None:
        self.fetch(66)

    def test_by_hash_backwards(self) -> None:
        chain = geth_chain()
        pair = Pair(chain, chain)
        headers = self.fetched(pair, pair.left.protocol.getBlockHeaders(chain.head().hash, 601, 0, True))
        self.assertEqual([header.number for header in headers], list(range(600, -1, -1)))

    def test_receipts(self) -> None:
        for version in VERSIONS:
            chain = small_chain(12)
            pair = Pair(chain, chain, version)
            found = self.fetched(pair, pair.left.protocol.getReceipts(headers_of(chain, 0, 12)))
            self.assertEqual(found, [(), *[receipts(number) for number in range(1, 13)]])

    def test_both_ask_at_once(self) -> None:
        chain = small_chain(12)
        pair = Pair(chain, chain)
        results = [side.protocol.getBlockHeaders(3, 2) for side in (pair.left, pair.right) for _ in range(20)]
        pair.turn()
        for result in results:
            self.assertEqual(self.successResultOf(result), headers_of(chain, 3, 4))
