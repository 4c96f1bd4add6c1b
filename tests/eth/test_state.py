"""
L{ethp2p.eth.state}: who can be spoken with, and what may be said when.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.chain import MemoryChain
from ethp2p.errors import DisconnectReason, Offence, RemoteProtocolError, WireError
from ethp2p.eth.messages import BlockRangeUpdate, GetBlockHeaders, HeaderQuery, Message, Status66, Status69
from ethp2p.eth.state import (
    RANGE_STEP,
    BadBlockRange,
    Conversation,
    EthError,
    StatusMissing,
    StatusRepeated,
    StatusTimeout,
    WrongGenesis,
    WrongNetwork,
    WrongVersion,
    block_range,
    check_status,
    status_of,
    update_due,
)
from ethp2p.eth.wire import VERSIONS, Code, encode
from ethp2p.networks import ForkId, ForkRejected, LocalIncompatible, RemoteStale
from tests.chain.building import GENESIS, NETWORK, geth_chain, grow, small_chain

HASH = b"\x11" * 32


class StatusOfTests(SynchronousTestCase):
    def test_geths_chain(self) -> None:
        """What geth's conformance suite compares ours with."""
        chain = geth_chain()
        status = status_of(chain, 69)
        self.assertEqual((status.version, status.network_id), (69, 3503995874084926))
        self.assertEqual(status.genesis_hash.hex(), "bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533")
        assert isinstance(status, Status69)
        self.assertEqual((status.earliest, status.latest), (0, 600))
        self.assertEqual(status.latest_hash, chain.head().hash)
        self.assertEqual(status.fork_id, chain.network.fork_id(600, 6000))
        self.assertEqual(status.fork_id.next, 0)

    def test_older(self) -> None:
        chain = small_chain(3)
        for version in (66, 67, 68):
            self.assertEqual(
                status_of(chain, version),
                Status66(version, 1337, 131072, chain.head().hash, GENESIS.hash, NETWORK.fork_id(3, 30)),
            )

    def test_can_be_sent_and_fits_itself(self) -> None:
        chain = small_chain(3)
        for version in VERSIONS:
            status = status_of(chain, version)
            self.assertEqual(encode(version, status)[0], Code.STATUS)
            check_status(status, version, chain)

    def test_earliest_is_never_after_the_head(self) -> None:
        class Pruned(MemoryChain):
            def earliest(self) -> int:
                return 100

        self.assertEqual(block_range(grow(Pruned(NETWORK), 3)).earliest, 3)


class CheckStatusTests(SynchronousTestCase):
    """In the order of the fields, each with what an operator needs to read."""

    def setUp(self) -> None:
        self.chain = small_chain(12)  # time 120: the fork at 50 has passed

    def check(self, agreed: int, error: type[RemoteProtocolError], words: str, **changes: Any) -> RemoteProtocolError:
        status = attrs.evolve(status_of(self.chain, agreed), **changes)
        raised = self.assertRaises(error, check_status, status, agreed, self.chain)
        self.assertIs(type(raised), error)
        self.assertIn(words, str(raised))
        return raised

    def test_table(self) -> None:
        ours = GENESIS.hash.hex()
        stale = NETWORK.fork_id(1, 10)
        table: list[tuple[type[RemoteProtocolError], str, Offence, dict[str, Any]]] = [
            (WrongVersion, "version 65 in Status is not the agreed", Offence.BAD_PROTOCOL, {"version": 65}),
            (WrongNetwork, "network id 1 is not ours (1337)", Offence.WRONG_CHAIN, {"network_id": 1}),
            (
                WrongGenesis,
                f"genesis 0x{HASH.hex()} is not ours (0x{ours})",
                Offence.WRONG_CHAIN,
                {"genesis_hash": HASH},
            ),
            (
                LocalIncompatible,
                f"ours is {NETWORK.fork_id(12, 120)}",
                Offence.WRONG_CHAIN,
                {"fork_id": ForkId(b"\x01\x02\x03\x04", 9)},
            ),
            (RemoteStale, f"fork {ForkId(stale.hash, 7)}", Offence.WRONG_CHAIN, {"fork_id": ForkId(stale.hash, 7)}),
        ]
        for version in VERSIONS:
            for error, words, offence, changes in table:
                raised = self.check(version, error, words, **changes)
                self.assertEqual(raised.offence, offence)
                if not isinstance(raised, ForkRejected):
                    self.assertEqual(raised.reason, DisconnectReason.SUBPROTOCOL_ERROR)

    def test_block_range(self) -> None:
        for words, changes in (
            ("blocks 13 to 12 are no range", {"earliest": 13}),
            ("latest block 12 is zero", {"latest_hash": bytes(32)}),
        ):
            raised = self.check(69, BadBlockRange, words, **changes)
            self.assertEqual((raised.reason, raised.offence), (DisconnectReason.SUBPROTOCOL_ERROR, Offence.BAD_MESSAGE))

    def test_order(self) -> None:
        """With everything wrong, what is told first is what comes first."""
        wrong: dict[str, Any] = {
            "version": 1,
            "network_id": 1,
            "genesis_hash": HASH,
            "fork_id": ForkId(bytes(4), 1),
            "earliest": 99,
        }
        errors = [WrongVersion, WrongNetwork, WrongGenesis, LocalIncompatible, BadBlockRange]
        for error in errors:
            self.check(69, error, "", **wrong)
            del wrong[next(iter(wrong))]

    def test_a_peer_elsewhere_on_the_chain(self) -> None:
        """Behind the fork but knowing of it, pruned, or ahead: all can be spoken with."""
        for changes in (
            {"fork_id": NETWORK.fork_id(1, 10), "latest": 1},
            {"earliest": 12},
            {"earliest": 0, "latest": 2**64 - 1},
        ):
            check_status(attrs.evolve(status_of(self.chain, 69), **changes), 69, self.chain)


class UpdateDueTests(SynchronousTestCase):
    def test_table(self) -> None:
        for told, now, due in (
            (600, 600, False),
            (600, 600 + RANGE_STEP - 1, False),
            (600, 600 + RANGE_STEP, True),
            (600, 5000, True),
            (600, 599, True),
            (600, 0, True),
            (0, 0, False),
        ):
            self.assertIs(update_due(BlockRangeUpdate(0, told, HASH), BlockRangeUpdate(0, now, HASH)), due, (told, now))

    def test_step(self) -> None:
        self.assertEqual(RANGE_STEP, 32)


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chain = small_chain(3)

    def met(self, version: int = 69) -> Conversation:
        conversation = Conversation(version, self.chain)
        self.receive(conversation, status_of(self.chain, version))
        return conversation

    def receive(self, conversation: Conversation, message: Message) -> Message | None:
        return conversation.receive_message(*encode(conversation.version, message))

    def test_greeting(self) -> None:
        for version in VERSIONS:
            self.assertEqual(Conversation(version, self.chain).greeting(), status_of(self.chain, version))

    def test_status_first(self) -> None:
        for message in (GetBlockHeaders(1, HeaderQuery(0, 1)), BlockRangeUpdate(0, 1, HASH)):
            conversation = Conversation(69, self.chain)
            error = self.assertRaises(StatusMissing, self.receive, conversation, message)
            self.assertIn("before Status", str(error))
            self.assertIs(conversation.status, None)

    def test_even_nonsense_is_called_before_status(self) -> None:
        self.assertRaises(StatusMissing, Conversation(69, self.chain).receive_message, 0x0B, b"junk")

    def test_status_once(self) -> None:
        for version in VERSIONS:
            conversation = self.met(version)
            self.assertEqual(conversation.status, status_of(self.chain, version))
            error = self.assertRaises(StatusRepeated, self.receive, conversation, status_of(self.chain, version))
            self.assertEqual(str(error), "The peer sent Status a second time.")

    def test_status_that_does_not_fit(self) -> None:
        conversation = Conversation(69, self.chain)
        bad = attrs.evolve(status_of(self.chain, 69), network_id=1)
        self.assertRaises(WrongNetwork, self.receive, conversation, bad)
        self.assertIs(conversation.status, None)

    def test_range(self) -> None:
        conversation = self.met()
        self.assertEqual(conversation.range, BlockRangeUpdate(0, 3, self.chain.head().hash))
        update = BlockRangeUpdate(10, 50, HASH)
        self.assertEqual(self.receive(conversation, update), update)
        self.assertEqual(conversation.range, update)
        self.assertIs(self.met(68).range, None)

    def test_range_of_one_block(self) -> None:
        conversation = self.met()
        update = BlockRangeUpdate(8, 8, HASH)
        self.receive(conversation, update)
        self.assertEqual(conversation.range, update)

    def test_bad_range(self) -> None:
        for bad in (BlockRangeUpdate(10, 8, HASH), BlockRangeUpdate(0, 8, bytes(32))):
            conversation = self.met()
            before = conversation.range
            self.assertRaises(BadBlockRange, self.receive, conversation, bad)
            self.assertEqual(conversation.range, before)

    def test_deaf_after_an_error(self) -> None:
        conversation = self.met()
        self.assertRaises(WireError, conversation.receive_message, Code.GET_BLOCK_HEADERS, b"\xc0")
        self.assertIs(self.receive(conversation, GetBlockHeaders(1, HeaderQuery(0, 1))), None)
        self.assertIs(conversation.receive_message(Code.STATUS, b"junk"), None)

    def test_closed(self) -> None:
        conversation = self.met()
        conversation.close()
        self.assertIs(self.receive(conversation, GetBlockHeaders(1, HeaderQuery(0, 1))), None)

    def test_update_by_peer(self) -> None:
        """Each peer is told by what it was told before, so that a newcomer hears nothing soon."""
        early = self.met()
        grow(self.chain, RANGE_STEP - 1)
        self.assertIs(early.update(), None)
        late = Conversation(69, self.chain)
        late.greeting()
        self.receive(late, status_of(self.chain, 69))
        grow(self.chain, 1)
        self.assertEqual(early.update(), BlockRangeUpdate(0, 3 + RANGE_STEP, self.chain.head().hash))
        self.assertIs(early.update(), None)
        self.assertIs(late.update(), None)

    def test_no_update_where_it_cannot_be(self) -> None:
        strangers = Conversation(69, self.chain)
        strangers.greeting()
        old = self.met(68)
        grow(self.chain, RANGE_STEP)
        self.assertIs(strangers.update(), None)
        self.assertIs(old.update(), None)


class ErrorTests(SynchronousTestCase):
    def test_reasons(self) -> None:
        """All of this room's errors say so on the wire, but for the time-out, which the field calls otherwise."""
        for error in EthError.__subclasses__():
            wanted = DisconnectReason.PING_TIMEOUT if error is StatusTimeout else DisconnectReason.SUBPROTOCOL_ERROR
            self.assertEqual(error.reason, wanted, error)
            self.assertTrue((error.__doc__ or "").startswith("The peer"), error)
