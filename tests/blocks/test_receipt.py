"""
Tests of receipts.
"""

from __future__ import annotations

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_ROOT, Log, Receipt, Transaction, logs_bloom, receipts_root, unwrap, wrap
from ethp2p.blocks.receipt import FAILED, SUCCEEDED
from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import WireError
from tests.blocks.samples import blocks, damaged
from tests.data import ethtest

LOGS = (Log(b"a" * 20, (b"t" * 32, b"u" * 32), b"data"), Log(b"b" * 20))
RECEIPT = Receipt(2, SUCCEEDED, 21000, LOGS)
EVERY_STATUS = [
    RECEIPT,
    Receipt(0, FAILED, 2**64 - 1),
    Receipt(0, b"r" * 32, 0, LOGS),
    Receipt(4, FAILED, 1, (Log(bytes(20), (bytes(32),) * 4, bytes(300)),)),
]


class ReceiptTests(SynchronousTestCase):
    """
    Both forms.
    """

    def test_round_trip(self) -> None:
        """
        Each is read back from both forms, and each form is the other's.
        """
        for receipt in EVERY_STATUS:
            self.assertEqual(Receipt.decode(receipt.encode()), receipt)
            self.assertEqual(Receipt.decode_eth69(receipt.encode_eth69()), receipt)
            self.assertEqual(unwrap(wrap(receipt.encode())), receipt.encode())

    def test_forms(self) -> None:
        """
        The trie's form has the Bloom filter, and the type in front; that of eth/69 has the type inside.
        """
        log = [b"a" * 20, [b"t" * 32, b"u" * 32], b"data"]
        short = attrs.evolve(RECEIPT, logs=LOGS[:1])
        bloom = logs_bloom(LOGS[:1])
        self.assertEqual(short.encode(), b"\x02" + rlp.encode([b"\x01", b"\x52\x08", bloom, [log]]))
        self.assertEqual(short.encode_eth69(), rlp.encode([b"\x02", b"\x01", b"\x52\x08", [log]]))
        legacy = attrs.evolve(short, tx_type=0)
        self.assertEqual(legacy.encode(), short.encode()[1:])
        self.assertEqual(legacy.encode_eth69(), rlp.encode([b"", b"\x01", b"\x52\x08", [log]]))

    def test_refused(self) -> None:
        """
        Neither status nor root, five topics, a type from 0x80 on, another Bloom filter, missing fields.
        """
        log = [bytes(20), [bytes(32)] * 5, b""]
        for fields in (
            [b"", b"\x02", b"", []],
            [b"", bytes(31), b"", []],
            [b"", [], b"", []],
            [b"", b"\x01", b"", [log]],
            [b"\x80", b"\x01", b"", []],
            [b"\x00", b"\x01", b"", []],
            [[], b"\x01", b"", []],
            [b"\x01", b"\x01", b""],
        ):
            self.assertRaises(WireError, Receipt.decode_eth69, rlp.encode(fields))
        good = [b"\x01", b"", logs_bloom(()), []]
        self.assertEqual(Receipt.decode(rlp.encode(good)), Receipt(0, SUCCEEDED, 0))
        error = self.assertRaises(WireError, Receipt.decode, rlp.encode([*good[:2], b"\x01" * 256, []]))
        self.assertIn("Bloom", str(error))
        self.assertRaises(WireError, Receipt.decode, rlp.encode(good[:3]))

    @given(st.one_of([damaged(receipt.encode()) for receipt in EVERY_STATUS]))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a receipt, of which these are the only encoding, or a L{WireError}.
        """
        try:
            receipt = Receipt.decode(data)
        except WireError:
            return
        self.assertEqual(receipt.encode(), data)
        self.assertEqual(attrs.evolve(receipt).encode(), data)

    @given(st.one_of([damaged(receipt.encode_eth69()) for receipt in EVERY_STATUS]))
    def test_any_bytes_eth69(self, data: bytes) -> None:
        """
        The same of the other form.
        """
        try:
            receipt = Receipt.decode_eth69(data)
        except WireError:
            return
        self.assertEqual(receipt.encode_eth69(), data)
        self.assertEqual(attrs.evolve(receipt).encode(), receipt.encode())


class BloomTests(SynchronousTestCase):
    """
    The Bloom filter.
    """

    def test_bits(self) -> None:
        """
        Three bits for an entry, at the places that its hash names; the union for several.
        """
        address = b"a" * 20
        digest = keccak256(address)
        bits = {int.from_bytes(digest[at : at + 2], "big") % 2048 for at in (0, 2, 4)}
        self.assertEqual(logs_bloom([Log(address)]), sum(1 << bit for bit in bits).to_bytes(256, "big"))
        self.assertEqual(logs_bloom(()), bytes(256))
        union = int.from_bytes(logs_bloom(LOGS[:1]), "big") | int.from_bytes(logs_bloom(LOGS[1:]), "big")
        self.assertEqual(RECEIPT.logs_bloom, union.to_bytes(256, "big"))


class ChainTests(SynchronousTestCase):
    """
    Receipts of geth's test chain, which can be told without executing anything.
    """

    def test_transfers(self) -> None:
        """
        A plain transfer uses 21000 gas and logs nothing, whether it succeeds or not.
        """
        statuses = []
        for block in blocks():
            if len(block.body.transactions) == 1 and block.header.gas_used == 21000:
                kind = Transaction.decode(block.body.transactions[0]).tx_type
                roots = {receipts_root([Receipt(kind, status, 21000)]): status for status in (FAILED, SUCCEEDED)}
                statuses.append(roots[block.header.receipts_root])
        self.assertEqual((statuses.count(SUCCEEDED), statuses.count(FAILED)), (152, 10))

    def test_logs(self) -> None:
        """
        The chain's emitter logs the word 'emit', the hash of the call data, and how often it was called before.
        """
        info = json.loads((ethtest() / "txinfo.json").read_text())
        emitter = bytes.fromhex("7dcd17433742f4c0ca53122ab541d0ba67fc27df")
        calls = sorted(
            (int(entry["block"], 16), entry["logtopic0"], entry["logtopic1"])
            for name, entries in info.items()
            if name.startswith("tx-emit")
            for entry in entries
        )
        self.assertEqual(len(calls), 216)
        for count, (number, word, data_hash) in enumerate(calls):
            block = blocks()[number - 1]
            (opaque,) = block.body.transactions
            topics = (bytes.fromhex(word[2:]), bytes.fromhex(data_hash[2:]))
            log = Log(emitter, topics, count.to_bytes(32, "big"))
            receipt = Receipt(Transaction.decode(opaque).tx_type, SUCCEEDED, block.header.gas_used, (log,))
            self.assertEqual(receipts_root([receipt]), block.header.receipts_root)
            self.assertEqual(receipt.logs_bloom, block.header.logs_bloom)

    def test_empty(self) -> None:
        """
        No receipts, no root.
        """
        self.assertEqual(receipts_root([]), EMPTY_ROOT)
