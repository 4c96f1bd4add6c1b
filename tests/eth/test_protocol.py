"""
L{ethp2p.eth.protocol}: meeting a peer, and answering it.
"""

from __future__ import annotations

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.devp2p.requests import UnsolicitedResponse
from ethp2p.errors import (
    ConfigError,
    DisconnectReason,
    LocalProtocolError,
    Offence,
    WireError,
)
from ethp2p.eth import EthFactory, IEthObserver, SilentObserver, protocol, serve
from ethp2p.eth.messages import (
    BlockBodies,
    BlockHeaders,
    BlockId,
    BlockRangeUpdate,
    GetBlockBodies,
    GetBlockHeaders,
    GetReceipts,
    HeaderQuery,
    Message,
    NewBlock,
    NewBlockHashes,
    NewPooledTransactionHashes66,
    NewPooledTransactionHashes68,
    PooledTransactions,
    Receipts,
    Transactions,
)
from ethp2p.eth.protocol import STATUS_TIMEOUT, RequestFlood
from ethp2p.eth.state import BadBlockRange, StatusMissing, StatusTimeout, WrongNetwork, status_of
from ethp2p.eth.wire import VERSIONS, Code
from ethp2p.interfaces import ICapability, ICapabilityFactory, IChannel
from ethp2p.limits import WheelTimer
from tests.chain.building import grow, small_chain
from tests.eth.fakes import FakeChannel, Met, Pair, Side

HASH = b"\x11" * 32
MOST = 2**64 - 1


class FactoryTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        side = Side(small_chain(1), 69, Clock())
        verifyObject(ICapabilityFactory, side.factory)
        verifyObject(ICapability, side.protocol)
        verifyObject(IChannel, side.channel)
        verifyObject(IEthObserver, SilentObserver())

    def test_versions(self) -> None:
        chain = small_chain(1)
        self.assertEqual(EthFactory(chain, clock=Clock()).versions, {66: 17, 67: 17, 68: 17, 69: 18})
        self.assertEqual(EthFactory(chain, versions=[69], clock=Clock()).versions, {69: 18})
        error = self.assertRaises(ConfigError, EthFactory, chain, versions=[65], clock=Clock())
        self.assertEqual(str(error), "eth/65 is not spoken here")

    def test_no_observer(self) -> None:
        clock = Clock()
        factory = EthFactory(small_chain(1), clock=clock, wheel=WheelTimer(clock))
        side = Side(small_chain(1), 69, clock)
        side.factory.observer = factory.observer
        side.channel.hear(status_of(side.factory.chain, 69))
        side.channel.hear(Transactions((b"\x02\xc0",)))
        self.assertIs(side.channel.failed, None)


class MeetingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chain = small_chain(6)

    def side(self, version: int = 69) -> Side:
        return Side(self.chain, version, self.clock)

    def test_status_without_waiting(self) -> None:
        for version in VERSIONS:
            self.assertEqual(self.side(version).channel.said(), [status_of(self.chain, version)])

    def test_met(self) -> None:
        for version in VERSIONS:
            pair = Pair(self.chain, small_chain(9), version)
            for side, other in ((pair.left, pair.right), (pair.right, pair.left)):
                self.assertIs(side.channel.failed, None)
                self.assertEqual(side.spy.statuses, [status_of(other.factory.chain, version)])
                self.assertEqual(side.protocol.status, side.spy.statuses[0])
                self.assertEqual(side.factory.protocols, {side.protocol})
            pair.clock.advance(STATUS_TIMEOUT + 1)
            self.assertIs(pair.left.channel.failed, None)
            pair.left.channel.end()
            self.assertEqual(pair.left.factory.protocols, set())

    def test_no_status(self) -> None:
        side = self.side()
        for _ in range(49):
            self.clock.advance(0.1)
        self.assertIs(side.channel.failed, None)
        for _ in range(4):
            self.clock.advance(0.1)
        error = side.channel.failed
        self.assertIsInstance(error, StatusTimeout)
        assert error is not None
        self.assertEqual((error.offence, error.reason), (Offence.TIMEOUT, DisconnectReason.PING_TIMEOUT))
        self.assertEqual(str(error), "no Status within 5 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone_before_status(self) -> None:
        side = self.side()
        side.channel.end()
        for _ in range(60):
            self.clock.advance(0.1)
        self.assertIs(side.channel.failed, None)

    def test_wrong_chain(self) -> None:
        side = self.side()
        side.channel.hear(attrs.evolve(status_of(self.chain, 69), network_id=1))
        self.assertIsInstance(side.channel.failed, WrongNetwork)
        self.assertEqual(side.spy.statuses, [])
        self.assertEqual(side.factory.protocols, set())

    def test_request_before_status(self) -> None:
        side = self.side()
        side.channel.said()
        side.channel.hear(GetBlockHeaders(1, HeaderQuery(0, 1)))
        self.assertIsInstance(side.channel.failed, StatusMissing)
        self.assertEqual(side.channel.said(), [])

    def test_asking_before_status(self) -> None:
        side = self.side()
        side.channel.said()
        self.failureResultOf(side.protocol.getBlockHeaders(0, 1), LocalProtocolError)
        self.assertEqual(side.channel.said(), [])

    def test_describe(self) -> None:
        self.assertEqual(self.side().protocol.describe(), {"version": 69})
        head = f"0x{self.chain.head().hash.hex()}"
        for version in (66, 67, 68):
            shown = Pair(self.chain, self.chain, version).left.protocol.describe()
            self.assertEqual(shown, {"version": version, "difficulty": 131072, "head": head})
        left = Pair(self.chain, self.chain).left
        shown = {"version": 69, "earliestBlock": 0, "latestBlock": 6, "latestBlockHash": head}
        self.assertEqual(left.protocol.describe(), shown)
        left.channel.hear(BlockRangeUpdate(5, 9, HASH))
        shown = {"version": 69, "earliestBlock": 5, "latestBlock": 9, "latestBlockHash": f"0x{HASH.hex()}"}
        self.assertEqual(left.protocol.describe(), shown)


class ServingTests(Met):
    def test_answers(self) -> None:
        for version in VERSIONS:
            side = self.met(version)
            hashes = (self.chain.hashAt(1) or b"", self.chain.hashAt(2) or b"")
            for request in (
                GetBlockHeaders(7, HeaderQuery(1, 2, 1)),
                GetBlockBodies(MOST, hashes),
                GetReceipts(9, hashes),
            ):
                side.channel.hear(request)
                (reply,) = side.channel.said()
                self.assertEqual(reply, serve.answer(self.chain, version, request))
                assert isinstance(reply, (BlockHeaders, BlockBodies, Receipts))
                self.assertEqual(len(reply.items), 2)
            self.assertEqual(side.factory.served, 3)

    def test_nonexistent(self) -> None:
        """Ten questions for a block that cannot be are ten empty answers."""
        for number in range(10):
            self.channel.hear(GetBlockHeaders(number, HeaderQuery(MOST, 1)))
        self.assertEqual(self.channel.said(), [BlockHeaders(number, ()) for number in range(10)])
        self.assertIs(self.channel.failed, None)

    def test_request_ids_are_the_peers_own(self) -> None:
        """Used twice or zero, they are only repeated."""
        self.channel.hear(GetBlockHeaders(1234, HeaderQuery(1, 2)))
        self.channel.hear(GetBlockHeaders(1234, HeaderQuery(3, 3)))
        self.channel.hear(GetBlockHeaders(0, HeaderQuery(0, 2)))
        replies = self.channel.said()
        self.assertEqual([(reply.request_id, len(reply.items)) for reply in replies], [(1234, 2), (1234, 3), (0, 2)])

    def test_who_does_not_read_waits_for_answers(self) -> None:
        """But is heard: what it answers to us is taken."""
        self.channel.producer.pauseProducing()
        asked = self.protocol.getBlockHeaders(0, 1)
        self.channel.said()
        for number in range(5):
            self.channel.hear(GetBlockHeaders(number, HeaderQuery(0, 1)))
        self.channel.hear(BlockHeaders(1, ()))
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(asked), [])
        self.assertEqual(self.channel.said(), [])
        self.channel.producer.resumeProducing()
        self.assertEqual([reply.request_id for reply in self.channel.said()], list(range(5)))

    def test_who_asks_on_and_does_not_read_is_not_read(self) -> None:
        self.channel.producer.pauseProducing()
        ask = GetBlockBodies(1, (HASH,) * 1000)
        asked = 0
        while not self.channel.paused:
            self.channel.hear(ask)
            asked += 1
        self.assertEqual(asked, protocol.MAX_HELD // 33_000 + 1)
        self.channel.hear(ask)
        self.channel.producer.resumeProducing()
        self.assertFalse(self.channel.paused)
        self.assertEqual(len(self.channel.said()), asked + 1)
        self.channel.producer.pauseProducing()
        self.channel.hear(ask)
        self.assertFalse(self.channel.paused)

    def test_paused_again_while_answering(self) -> None:
        self.channel.producer.pauseProducing()
        for number in range(5):
            self.channel.hear(GetBlockHeaders(number, HeaderQuery(0, 1)))
        write = self.channel.writeMessage

        def congested(code: int, payload: bytes) -> None:
            write(code, payload)
            self.channel.producer.pauseProducing()

        self.channel.writeMessage = congested  # type: ignore[method-assign]
        self.channel.producer.resumeProducing()
        self.assertEqual([reply.request_id for reply in self.channel.said()], [0])
        self.channel.producer.resumeProducing()
        self.assertEqual([reply.request_id for reply in self.channel.said()], [1])

    def test_flood(self) -> None:
        side = self.met(69, requestBurst=10, requestRate=2)
        ask = GetBlockHeaders(1, HeaderQuery(0, 1))
        for _ in range(10):
            side.channel.hear(ask)
        self.clock.advance(1)
        side.channel.hear(ask)
        side.channel.hear(ask)
        self.assertEqual(len(side.channel.said()), 12)
        side.channel.hear(ask)
        self.assertIsInstance(side.channel.failed, RequestFlood)
        assert side.channel.failed is not None
        self.assertEqual(side.channel.failed.offence, Offence.FLOOD)
        self.assertEqual(str(side.channel.failed), "over 10 requests at once, 2 a second")
        self.assertEqual(side.channel.said(), [])

    def test_rate_is_generous(self) -> None:
        self.assertEqual((protocol.REQUEST_BURST, protocol.REQUEST_RATE), (5000, 500))
        self.assertEqual(self.side.factory.requestBurst, 5000)

    def test_nonsense(self) -> None:
        self.channel.deliver(Code.GET_BLOCK_HEADERS, b"junk")
        self.assertIsInstance(self.channel.failed, WireError)

    def test_deaf_after_the_end(self) -> None:
        self.channel.producer.stopProducing()
        self.assertEqual(self.side.factory.protocols, set())
        self.channel.hear(GetBlockHeaders(1, HeaderQuery(0, 1)))
        self.channel.end()
        self.protocol.messageReceived(Code.GET_BLOCK_HEADERS, b"junk")
        self.assertEqual(self.channel.said(), [])


class AnnouncementTests(Met):
    def test_seen(self) -> None:
        table: list[tuple[int, Message]] = [
            (69, Transactions((b"\x02\xc0", b"\xc1\x01"))),
            (67, NewPooledTransactionHashes66((HASH,))),
            (68, NewPooledTransactionHashes68(b"\x03", (131200,), (HASH,))),
            (69, BlockRangeUpdate(3, 9, HASH)),
        ]
        for version, message in table:
            side = self.met(version)
            side.channel.hear(message)
            self.assertEqual(side.spy.seen, [message])
            self.assertEqual(side.factory.blocksAnnounced, 0)
            self.assertEqual(side.channel.said(), [])

    def test_blocks_are_counted_only(self) -> None:
        for message in (NewBlockHashes((BlockId(HASH, 7),)), NewBlock(b"\xc0", 5)):
            self.channel.hear(message)
        self.assertEqual(self.side.factory.blocksAnnounced, 2)
        self.assertEqual(len(self.side.spy.seen), 2)
        self.assertEqual(self.channel.said(), [])
        self.assertIs(self.channel.failed, None)

    def test_ranges(self) -> None:
        """Old and future ones are taken, impossible ones end it with no word in between."""
        for message in (BlockRangeUpdate(2, 12, HASH), BlockRangeUpdate(600, 650, HASH)):
            self.channel.hear(message)
            self.assertEqual(self.protocol.range, message)
        self.channel.hear(BlockRangeUpdate(10, 8, HASH))
        self.assertIsInstance(self.channel.failed, BadBlockRange)
        self.assertEqual(self.channel.said(), [])

    def test_pool_answer_that_was_not_asked_for(self) -> None:
        self.channel.hear(PooledTransactions(1, ()))
        self.assertIsInstance(self.channel.failed, UnsolicitedResponse)

    def test_sending(self) -> None:
        self.protocol.sendMessage(Transactions((b"\x02\xc0",)))
        self.assertEqual(self.channel.said(), [Transactions((b"\x02\xc0",))])
        self.assertRaises(LocalProtocolError, self.protocol.sendMessage, NewPooledTransactionHashes66((HASH,)))
        self.assertRaises(LocalProtocolError, self.met(68).protocol.sendMessage, BlockRangeUpdate(0, 1, HASH))
        stranger = self.side.factory.buildCapability(object(), 69)
        self.assertRaises(LocalProtocolError, stranger.sendMessage, Transactions(()))


class HeadTests(Met):
    def test_told_when_far_enough(self) -> None:
        old = self.met(68)
        for steps, told in ((31, []), (1, [44]), (31, []), (1, [76])):
            grow(self.chain, steps)
            for side in (self.side, old):
                side.factory.headChanged()
            self.assertEqual([update.latest for update in self.channel.said()], told)
        self.assertEqual(old.channel.said(), [])

    def test_told_when_it_goes_back(self) -> None:
        self.side.factory.chain = self.chain
        shorter = small_chain(10)
        self.patch(self.chain, "head", shorter.head)
        self.side.factory.headChanged()
        self.assertEqual(self.channel.said(), [BlockRangeUpdate(0, 10, shorter.head().hash)])
        self.side.factory.headChanged()
        self.assertEqual(self.channel.said(), [])

    def test_newcomers_and_strangers_hear_nothing(self) -> None:
        factory = self.side.factory
        stranger = factory.buildCapability(object(), 69)
        stranger_channel = FakeChannel(stranger)
        stranger_channel.connect()
        stranger_channel.said()
        grow(self.chain, 40)
        newcomer = Side(self.chain, 69, self.clock)
        newcomer.channel.hear(status_of(self.chain, 69))
        newcomer.channel.said()
        factory.headChanged()
        newcomer.factory.headChanged()
        self.assertEqual(len(self.channel.said()), 1)
        self.assertEqual(stranger_channel.said(), [])
        self.assertEqual(newcomer.channel.said(), [])

    def test_waits_for_who_does_not_read(self) -> None:
        self.channel.producer.pauseProducing()
        grow(self.chain, 40)
        self.side.factory.headChanged()
        self.assertEqual(self.channel.said(), [])
        self.channel.producer.resumeProducing()
        self.side.factory.headChanged()
        self.assertEqual([update.latest for update in self.channel.said()], [52])

    def test_not_after_the_end(self) -> None:
        self.channel.end()
        grow(self.chain, 40)
        self.side.factory.headChanged()
        self.assertEqual(self.channel.said(), [])
