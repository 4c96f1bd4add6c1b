"""
L{ethp2p.eth.wire}: geth's own bytes, caps, and what each version lacks.

C{vectors.json} has the vectors of go-ethereum's C{eth/protocols/eth/protocol_test.go}, and for the messages it
leaves out what go-ethereum v1.17.5 encodes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Log, Receipt
from ethp2p.codec import rlp
from ethp2p.errors import LocalProtocolError, Offence, OversizeError, WireError
from ethp2p.eth import wire
from ethp2p.eth.messages import (
    REPLIES,
    REQUESTS,
    BlockBodies,
    BlockHeaders,
    BlockId,
    BlockRangeUpdate,
    GetBlockBodies,
    GetBlockHeaders,
    GetNodeData,
    GetPooledTransactions,
    GetReceipts,
    HeaderQuery,
    NewBlock,
    NewBlockHashes,
    NewPooledTransactionHashes66,
    NewPooledTransactionHashes68,
    NodeData,
    PooledTransactions,
    Receipts,
    Status66,
    Status69,
    Transactions,
)
from ethp2p.eth.wire import VERSIONS, Code, decode, encode
from ethp2p.networks import ForkId

VECTORS = {
    name: bytes.fromhex(text) for name, text in json.loads((Path(__file__).parent / "vectors.json").read_text()).items()
}
ONE, TWO = bytes(28) + bytes.fromhex("deadc0de"), bytes(28) + bytes.fromhex("feedbeef")
FORK = ForkId(bytes.fromhex("07c9462e"), 1700000000)
TD = 58750003716598352816469


def inner(name: str) -> tuple[bytes, ...]:
    """The raw items of a vector that is a reply."""
    return tuple(rlp.split(rlp.split(VECTORS[name])[1]))


ALL, UP_TO_67, UP_TO_68, FROM_68 = (66, 67, 68, 69), (66, 67), (66, 67, 68), (68, 69)
#: Name of the vector, versions that have the message, its code, its value.
TABLE: list[tuple[str, tuple[int, ...], Code, Any]] = [
    ("status_68", UP_TO_68, Code.STATUS, Status66(68, 1, TD, TWO, ONE, FORK)),
    ("status_69", (69,), Code.STATUS, Status69(69, 1, ONE, FORK, 120, 25000000, TWO)),
    ("status_69_at_genesis", (69,), Code.STATUS, Status69(69, 17000, ONE, ForkId(bytes(4), 0), 0, 0, TWO)),
    ("new_block_hashes", ALL, Code.NEW_BLOCK_HASHES, NewBlockHashes((BlockId(ONE, 1111), BlockId(TWO, 1112)))),
    (
        "transactions",
        ALL,
        Code.TRANSACTIONS,
        Transactions((bytes.fromhex("02e20107010282520894aa000000000000000000000000000000000000000380c0800506"),)),
    ),
    ("get_block_headers_by_hash", ALL, Code.GET_BLOCK_HEADERS, GetBlockHeaders(1111, HeaderQuery(ONE, 5, 5))),
    ("get_block_headers_by_number", ALL, Code.GET_BLOCK_HEADERS, GetBlockHeaders(1111, HeaderQuery(9999, 5, 5))),
    ("block_headers", ALL, Code.BLOCK_HEADERS, BlockHeaders(1111, inner("block_headers"))),
    ("empty", ALL, Code.BLOCK_HEADERS, BlockHeaders(1111, ())),
    ("get_block_bodies", ALL, Code.GET_BLOCK_BODIES, GetBlockBodies(1111, (ONE, TWO))),
    ("empty", ALL, Code.GET_BLOCK_BODIES, GetBlockBodies(1111, ())),
    ("block_bodies", ALL, Code.BLOCK_BODIES, BlockBodies(1111, inner("block_bodies"))),
    ("empty", ALL, Code.BLOCK_BODIES, BlockBodies(1111, ())),
    ("new_block", ALL, Code.NEW_BLOCK, NewBlock(rlp.split(VECTORS["new_block"])[0], TD)),
    (
        "new_pooled_transaction_hashes_66",
        UP_TO_67,
        Code.NEW_POOLED_TRANSACTION_HASHES,
        NewPooledTransactionHashes66((ONE, TWO)),
    ),
    (
        "new_pooled_transaction_hashes_68",
        FROM_68,
        Code.NEW_POOLED_TRANSACTION_HASHES,
        NewPooledTransactionHashes68(b"\x00\x02", (110, 131200), (ONE, TWO)),
    ),
    (
        "new_pooled_transaction_hashes_68_none",
        FROM_68,
        Code.NEW_POOLED_TRANSACTION_HASHES,
        NewPooledTransactionHashes68(b"", (), ()),
    ),
    ("get_pooled_transactions", ALL, Code.GET_POOLED_TRANSACTIONS, GetPooledTransactions(1111, (ONE, TWO))),
    ("empty", ALL, Code.GET_POOLED_TRANSACTIONS, GetPooledTransactions(1111, ())),
    ("pooled_transactions", ALL, Code.POOLED_TRANSACTIONS, PooledTransactions(1111, inner("pooled_transactions"))),
    ("empty", ALL, Code.POOLED_TRANSACTIONS, PooledTransactions(1111, ())),
    ("get_receipts", (66,), Code.GET_NODE_DATA, GetNodeData(1111, (ONE, TWO))),
    ("node_data", (66,), Code.NODE_DATA, NodeData(1111, (b"\xde\xad", b""))),
    ("get_receipts", ALL, Code.GET_RECEIPTS, GetReceipts(1111, (ONE, TWO))),
    ("empty", ALL, Code.GET_RECEIPTS, GetReceipts(1111, ())),
    ("receipts_68", UP_TO_68, Code.RECEIPTS, Receipts(1111, inner("receipts_68"))),
    ("receipts_69", (69,), Code.RECEIPTS, Receipts(1111, inner("receipts_69"))),
    ("empty", ALL, Code.RECEIPTS, Receipts(1111, ())),
    ("block_range_update", (69,), Code.BLOCK_RANGE_UPDATE, BlockRangeUpdate(1024, 2048, TWO)),
]


class VectorTests(SynchronousTestCase):
    def test_decode(self) -> None:
        for name, versions, code, message in TABLE:
            for version in versions:
                self.assertEqual(decode(version, code, VECTORS[name]), message, f"{name} in eth/{version}")

    def test_encode(self) -> None:
        for name, versions, code, message in TABLE:
            for version in versions:
                self.assertEqual(encode(version, message), (code, VECTORS[name]), f"{name} in eth/{version}")

    def test_every_message_of_every_version(self) -> None:
        """The table leaves none out."""
        shown = {(version, type(message)) for _, versions, _, message in TABLE for version in versions}
        spoken = {(number, cls) for number, version in VERSIONS.items() for cls in version.codes}
        self.assertEqual(shown, spoken)

    def test_receipts_69(self) -> None:
        one = Receipt(
            0, b"", 333, (Log(bytes(19) + b"\x11", (bytes(30) + b"\xde\xad", bytes(30) + b"\xbe\xef"), b"\1\0\xff"),)
        )
        topics = (bytes(29) + bytes.fromhex("005668"), bytes(30) + bytes.fromhex("9773"))
        two = Receipt(1, b"\x01", 444, (Log(bytes(19) + b"\x22", topics, bytes.fromhex("020f0f0f0608")),))
        (raw,) = inner("receipts_69")
        self.assertEqual(wire.decode_receipts(raw, 69), (one, two))
        self.assertEqual(wire.encode_receipts((one, two), 69), raw)

    def test_receipts_68(self) -> None:
        """geth's vector has a filter of zeros: with that of its logs it is taken, as it is it is not."""
        (raw,) = inner("receipts_68")
        self.assertRaises(WireError, wire.decode_receipts, raw, 68)
        ((status, used, _, logs),) = rlp.decode(raw)
        log = Log(logs[0][0], tuple(logs[0][1]), logs[0][2])
        receipt = Receipt(0, status, int.from_bytes(used, "big"), (log,))
        whole = rlp.encode([[status, used, receipt.logs_bloom, logs]])
        self.assertEqual(wire.decode_receipts(whole, 68), (receipt,))
        self.assertEqual(wire.encode_receipts((receipt,), 68), whole)


class ReceiptFormTests(SynchronousTestCase):
    RECEIPTS = (
        Receipt(0, b"\x01", 21000, (Log(bytes(20), (ONE,), b"x"),)),
        Receipt(2, b"", 42000),
        Receipt(0, ONE, 63000),
    )

    def test_round_trip(self) -> None:
        for version in VERSIONS:
            self.assertEqual(wire.decode_receipts(wire.encode_receipts(self.RECEIPTS, version), version), self.RECEIPTS)

    def test_forms(self) -> None:
        old = rlp.decode(wire.encode_receipts(self.RECEIPTS, 68))
        self.assertEqual([len(old[0]), type(old[1]), old[1][:1]], [4, bytes, b"\x02"])
        new = rlp.decode(wire.encode_receipts(self.RECEIPTS, 69))
        self.assertEqual([len(receipt) for receipt in new], [4, 4, 4])
        self.assertEqual([receipt[0] for receipt in new], [b"", b"\x02", b""])

    def test_not_of_the_other_version(self) -> None:
        for version, other in ((68, 69), (69, 68)):
            self.assertRaises(WireError, wire.decode_receipts, wire.encode_receipts(self.RECEIPTS, version), other)


class VersionTests(SynchronousTestCase):
    def test_lengths(self) -> None:
        self.assertEqual(
            {number: version.length for number, version in VERSIONS.items()}, {66: 17, 67: 17, 68: 17, 69: 18}
        )
        for version in VERSIONS.values():
            self.assertLess(max(version.messages), version.length)

    def test_never_sends_what_it_lacks(self) -> None:
        for name, versions, _, message in TABLE:
            for version in set(VERSIONS) - set(versions):
                if name.startswith(("receipts", "empty")):
                    continue  # the message is there, its items differ
                error = self.assertRaises(LocalProtocolError, encode, version, message)
                self.assertEqual(str(error), f"eth/{version} has no {type(message).__name__}")

    def test_never_takes_what_it_lacks(self) -> None:
        for version, code in (
            (67, 0x0D),
            (68, 0x0E),
            (69, 0x0D),
            (68, 0x11),
            (66, 0x0B),
            (69, 0x0C),
            (69, 0x12),
            (69, 99),
        ):
            error = self.assertRaises(WireError, decode, version, code, b"\xc0")
            self.assertIn(f"eth/{version} has no message {code:#04x}", str(error))

    def test_status_of_the_other_shape(self) -> None:
        self.assertRaises(WireError, decode, 68, Code.STATUS, VECTORS["status_69"])
        self.assertRaises(WireError, decode, 69, Code.STATUS, VECTORS["status_68"])

    def test_announcement_of_the_other_shape(self) -> None:
        code = Code.NEW_POOLED_TRANSACTION_HASHES
        self.assertRaises(WireError, decode, 67, code, VECTORS["new_pooled_transaction_hashes_68"])
        self.assertRaises(WireError, decode, 68, code, VECTORS["new_pooled_transaction_hashes_66"])

    def test_every_request_has_its_reply(self) -> None:
        self.assertEqual(set(wire.REPLY_CODES), set(REQUESTS))
        for request, code in wire.REPLY_CODES.items():
            self.assertIn(VERSIONS[66].messages[code].cls, REPLIES)
            self.assertEqual(code, VERSIONS[66].codes[request] + 1)


class StrictTests(SynchronousTestCase):
    def refused(self, version: int, code: int, *fields: Any, words: str = "") -> None:
        error = self.assertRaises(WireError, decode, version, code, rlp.encode(list(fields)))
        self.assertIn(words, str(error))
        self.assertEqual(error.offence, Offence.BAD_MESSAGE)

    def test_origin(self) -> None:
        for origin in (bytes(31), bytes(33), b"\x01" * 9, b"\x00\x01", [b"\x01"]):
            self.refused(
                69, Code.GET_BLOCK_HEADERS, b"\x01", [origin, b"\x01", b"", b""], words="GetBlockHeaders.query"
            )

    def test_largest_numbers(self) -> None:
        most = b"\xff" * 8
        message = decode(69, Code.GET_BLOCK_HEADERS, rlp.encode([most, [most, most, most, b"\x01"]]))
        self.assertEqual(message, GetBlockHeaders(2**64 - 1, HeaderQuery(2**64 - 1, 2**64 - 1, 2**64 - 1, True)))
        self.assertEqual(encode(69, message)[1], rlp.encode([most, [most, most, most, b"\x01"]]))

    def test_reverse(self) -> None:
        self.refused(
            69, Code.GET_BLOCK_HEADERS, b"\x01", [b"\x01", b"\x01", b"", b"\x02"], words="neither true nor false"
        )

    def test_hashes(self) -> None:
        for hashes in ([bytes(31)], [bytes(33)], [[bytes(32)]], [ONE, bytes(31)], bytes(33), bytes(32), b""):
            self.refused(
                69, Code.GET_BLOCK_BODIES, b"\x01", hashes, words="GetBlockBodies.hashes: not a list of 32-byte hashes"
            )

    def test_hashes_with_a_needless_length(self) -> None:
        """The list's own header is looked at, not only what is in it."""
        whole = rlp.encode([ONE])
        self.assertEqual(whole[0], 0xE1)
        long_form = b"\xc1" + b"\x01", b"\xf8\x21" + whole[1:], b"\xf9\x00\x21" + whole[1:], b"\xa1" + whole[1:]
        for bad in long_form:
            payload = rlp.join([b"\x01", bad]) if bad[0] != 0xC1 else rlp.join([b"\x01", b"\xc1\x01"])
            self.assertRaises(WireError, decode, 69, Code.GET_BLOCK_BODIES, payload)

    def test_fields(self) -> None:
        self.refused(69, Code.GET_BLOCK_BODIES, b"\x01", words="GetBlockBodies has 1 fields, not 2")
        self.refused(69, Code.GET_BLOCK_BODIES, b"\x01", [], [], words="GetBlockBodies has 3 fields, not 2")
        self.refused(69, Code.BLOCK_RANGE_UPDATE, b"\x01", b"\x02", bytes(31), words="BlockRangeUpdate.latest_hash")
        self.refused(69, Code.STATUS, b"\x45", b"\x01", ONE, [bytes(3), b""], b"", b"", TWO, words="Status69.fork_id")
        self.refused(69, Code.BLOCK_HEADERS, b"\x01" * 9, [], words="BlockHeaders.request_id")

    def test_items_are_lists(self) -> None:
        for code in (Code.BLOCK_HEADERS, Code.BLOCK_BODIES, Code.RECEIPTS):
            self.refused(69, code, b"\x01", [[], b"string"], words="a string where a list belongs")

    def test_transactions(self) -> None:
        for bad in (b"", b"\x02", b"\x80\x01", b"\x00\x01"):
            self.assertRaises(WireError, decode, 69, Code.TRANSACTIONS, rlp.encode([bad]))
            self.refused(69, Code.POOLED_TRANSACTIONS, b"\x01", [bad], words="PooledTransactions.items")

    def test_announcement_lengths(self) -> None:
        for types, sizes, hashes in ((b"\x02", [], [ONE]), (b"", [b"\x05"], [ONE]), (b"\x02\x02", [b"\x05"], [ONE])):
            self.refused(68, Code.NEW_POOLED_TRANSACTION_HASHES, types, sizes, hashes, words="announced as one")
        self.assertRaises(LocalProtocolError, NewPooledTransactionHashes68, b"\x02", (), (ONE,))

    def test_what_is_not_asked_properly(self) -> None:
        for query in ((bytes(31), 1), (2**64, 1), (-1, 1), (1, -1), (1, 2**64), (1, 1, 2**64)):
            self.assertRaises(LocalProtocolError, HeaderQuery, *query)
        self.assertRaises(LocalProtocolError, encode, 69, GetBlockBodies(1, (bytes(31),)))


class CapTests(SynchronousTestCase):
    """Every cap, from both sides."""

    def check(self, version: int, at_cap: Any, over: Any) -> None:
        code, payload = encode(version, at_cap)
        self.assertEqual(decode(version, code, payload), at_cap)
        self.assertRaises(LocalProtocolError, encode, version, over)

    def oversize(self, version: int, code: int, payload: bytes) -> None:
        error = self.assertRaises(OversizeError, decode, version, code, payload)
        self.assertEqual(error.offence, Offence.OVERSIZE)

    def test_transactions(self) -> None:
        many = (b"\x02\xc0",) * wire.MAX_TRANSACTIONS
        self.assertEqual(len(many), 5000)
        self.check(69, Transactions(many), Transactions(many + many[:1]))
        self.oversize(69, Code.TRANSACTIONS, rlp.encode([b"\x02\xc0"] * 5001))

    def test_announcements(self) -> None:
        most = wire.MAX_ANNOUNCED
        self.assertEqual(most, 4096)
        hashes = (ONE,) * most
        self.check(67, NewPooledTransactionHashes66(hashes), NewPooledTransactionHashes66(hashes + (ONE,)))
        self.oversize(67, Code.NEW_POOLED_TRANSACTION_HASHES, rlp.encode([ONE] * (most + 1)))
        self.check(
            68,
            NewPooledTransactionHashes68(b"\x02" * most, (2**32 - 1,) * most, hashes),
            NewPooledTransactionHashes68(b"\x02" * (most + 1), (1,) * (most + 1), hashes + (ONE,)),
        )
        over = [b"", [b"\x01"] * (most + 1), [ONE] * (most + 1)]
        self.oversize(68, Code.NEW_POOLED_TRANSACTION_HASHES, rlp.encode(over))

    def test_new_blocks(self) -> None:
        blocks = (BlockId(ONE, 2**64 - 1),) * wire.MAX_NEW_BLOCKS
        self.check(69, NewBlockHashes(blocks), NewBlockHashes(blocks + blocks[:1]))
        self.oversize(69, Code.NEW_BLOCK_HASHES, rlp.encode([[ONE, b"\x01"]] * (wire.MAX_NEW_BLOCKS + 1)))

    def test_requests(self) -> None:
        hashes = (ONE,) * wire.MAX_HASHES
        for request in (GetBlockBodies, GetReceipts, GetPooledTransactions, GetNodeData):
            self.check(66, request(1, hashes), request(1, hashes + (ONE,)))
            self.oversize(66, VERSIONS[66].codes[request], rlp.encode([b"\x01", [ONE] * (wire.MAX_HASHES + 1)]))

    def test_replies(self) -> None:
        for reply, item in ((BlockHeaders, b"\xc0"), (BlockBodies, b"\xc0"), (Receipts, b"\xc0"), (NodeData, b"\x07")):
            items = (item,) * wire.MAX_ITEMS
            self.check(66, reply(1, items), reply(1, items + items[:1]))
            payload = rlp.join([b"\x01", rlp.join([item] * (wire.MAX_ITEMS + 1))])
            self.oversize(66, VERSIONS[66].codes[reply], payload)
        pooled = (b"\x02\xc0",) * wire.MAX_ITEMS
        self.check(69, PooledTransactions(1, pooled), PooledTransactions(1, pooled + pooled[:1]))
        self.oversize(69, Code.POOLED_TRANSACTIONS, rlp.encode([b"\x01", [b"\x02\xc0"] * (wire.MAX_ITEMS + 1)]))

    def test_message(self) -> None:
        self.assertEqual(wire.MAX_MESSAGE, 10 * 1024 * 1024)
        header = rlp.encode([bytes(wire.MAX_MESSAGE - 17)])
        code, payload = encode(69, BlockHeaders(1, (header,)))
        self.assertEqual(len(payload), wire.MAX_MESSAGE)
        self.assertEqual(decode(69, code, payload), BlockHeaders(1, (header,)))
        over = BlockHeaders(1, (rlp.encode([bytes(wire.MAX_MESSAGE)]),))
        self.assertRaises(LocalProtocolError, encode, 69, over)
        for version in VERSIONS:
            for code in VERSIONS[version].messages:
                self.oversize(version, code, bytes(wire.MAX_MESSAGE + 1))

    def test_nothing_large_is_read_where_something_small_belongs(self) -> None:
        many = [b"\x01"] * 100_000
        table = [
            (Code.BLOCK_RANGE_UPDATE, [many, b"\x01", ONE]),
            (Code.BLOCK_RANGE_UPDATE, [b"\x01", b"\x01", many]),
            (Code.BLOCK_RANGE_UPDATE, many),
            (Code.STATUS, [b"\x45", b"\x01", ONE, [many, b""], b"", b"", TWO]),
            (Code.GET_BLOCK_HEADERS, [b"\x01", [many, b"\x01", b"", b""]]),
            (Code.NEW_BLOCK_HASHES, [[ONE, many]]),
        ]
        for code, fields in table:
            self.oversize(69, code, rlp.encode(fields))


WHOLE = [(version, int(code), VECTORS[name]) for name, versions, code, _ in TABLE for version in versions]


class AnyBytesTests(SynchronousTestCase):
    """Whatever comes, there is a value that encodes to the same bytes, or a WireError."""

    def check(self, version: int, code: int, payload: bytes) -> None:
        try:
            message = decode(version, code, payload)
        except WireError:
            return
        self.assertEqual(encode(version, message), (code, payload))

    @given(st.sampled_from(sorted(VERSIONS)), st.integers(0, 0x12), st.binary(max_size=100))
    def test_noise(self, version: int, code: int, payload: bytes) -> None:
        self.check(version, code, payload)

    @given(
        st.sampled_from(sorted(VERSIONS)),
        st.integers(0, 0x12),
        st.recursive(
            st.sampled_from([b"", b"\x01", b"\x02\xc0", ONE, bytes(4)]),
            lambda inner: st.lists(inner, max_size=7),
            max_leaves=20,
        ),
    )
    def test_trees(self, version: int, code: int, tree: Any) -> None:
        self.check(version, code, rlp.encode(tree))

    @given(st.sampled_from(WHOLE), st.data())
    def test_damaged(self, whole: tuple[int, int, bytes], data: st.DataObject) -> None:
        version, code, payload = whole
        at = data.draw(st.integers(0, len(payload)))
        cut, put = data.draw(st.integers(0, 3)), data.draw(st.binary(max_size=3))
        self.check(version, code, payload[:at] + put + payload[at + cut :])

    @given(st.sampled_from([66, 69]), st.binary(max_size=150))
    def test_receipts(self, version: int, raw: bytes) -> None:
        try:
            receipts = wire.decode_receipts(raw, version)
        except WireError:
            return
        self.assertEqual(wire.encode_receipts(receipts, version), raw)
