"""
Tests of bodies, withdrawals and blocks.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import attrs
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_OMMERS_HASH, EMPTY_ROOT, Block, Body, Header, Transaction, Withdrawal
from ethp2p.codec import rlp
from ethp2p.errors import WireError
from tests.blocks.samples import FRONTIER_BLOCK, blocks, damaged, raw_blocks
from tests.data import ethtest

LEGACY, TYPED = rlp.encode([b"legacy"]), b"\x02" + rlp.encode([b"typed"])
OMMER = Header(number=3)
WITHDRAWAL = Withdrawal(7, 8, b"a" * 20, 9)
BODY = Body((LEGACY, TYPED), (OMMER.encode(),), (WITHDRAWAL.encode(),))
HEADER = Header(
    ommers_hash=BODY.ommers_hash(),
    transactions_root=BODY.transactions_root(),
    base_fee_per_gas=1,
    withdrawals_root=BODY.withdrawals_root(),
)


class BodyTests(SynchronousTestCase):
    """
    Bodies as bytes.
    """

    def test_parts(self) -> None:
        """
        The parts are the bytes that were put in, with typed transactions out of their strings.
        """
        raw = rlp.encode([[[b"legacy"], TYPED], [rlp.decode(OMMER.encode())], [rlp.decode(WITHDRAWAL.encode())]])
        body = Body.decode(raw)
        self.assertEqual(BODY.encode(), raw)
        self.assertEqual(body, BODY)
        self.assertEqual(hash(body), hash(BODY))
        self.assertEqual((body.transactions, body.ommers), ((LEGACY, TYPED), (OMMER.encode(),)))
        assert body.withdrawals is not None
        self.assertEqual(Withdrawal.decode(body.withdrawals[0]), WITHDRAWAL)
        self.assertEqual(Header.decode(body.ommers[0]), OMMER)
        self.assertIs(body.raw, raw)
        self.assertEqual(repr(body), f"<Body of 2 transactions, {len(raw)} bytes>")

    def test_empty(self) -> None:
        """
        Empty bodies before and after Shanghai.
        """
        self.assertEqual(Body().encode().hex(), "c2c0c0")
        self.assertEqual(Body(withdrawals=()).encode().hex(), "c3c0c0c0")
        self.assertIsNone(Body.decode(bytes.fromhex("c2c0c0")).withdrawals)
        self.assertEqual(Body.decode(bytes.fromhex("c3c0c0c0")).withdrawals, ())
        self.assertEqual(Body(withdrawals=()).withdrawals_root(), EMPTY_ROOT)
        self.assertEqual(Body().transactions_root(), EMPTY_ROOT)
        self.assertEqual(Body().ommers_hash(), EMPTY_OMMERS_HASH)
        self.assertTrue(Body().matches(Header()))

    def test_matches(self) -> None:
        """
        A body goes with its header, and with no other.
        """
        self.assertTrue(BODY.matches(HEADER))
        for body in (
            Body(),
            attrs.evolve(BODY, transactions=(TYPED, LEGACY)),
            attrs.evolve(BODY, transactions=(LEGACY,)),
            attrs.evolve(BODY, ommers=()),
            attrs.evolve(BODY, withdrawals=()),
            attrs.evolve(BODY, withdrawals=None),
        ):
            self.assertFalse(body.matches(HEADER))
        self.assertFalse(BODY.matches(attrs.evolve(HEADER, withdrawals_root=None)))

    def test_not_parsed(self) -> None:
        """
        What a body holds is not looked into, to read it or to compare it: these transactions are none.
        """
        body = Body.decode(BODY.encode())
        self.assertTrue(body.matches(HEADER))
        for opaque in body.transactions:
            self.assertRaises(WireError, Transaction.decode, opaque)

    def test_refused(self) -> None:
        """
        One part or four, parts that are no lists, transactions that are no envelopes.
        """
        parts: list[Any] = [
            [],
            [[]],
            [[], [], [], []],
            [[], [], [], [], []],
            [b"", []],
            [[], b"\x01"],
            [[b""], []],
            [[b"\x02"], []],
        ]
        for item in parts:
            self.assertRaises(WireError, Body.decode, rlp.encode(item))
        self.assertRaises(WireError, Body.decode, b"\x80")
        self.assertRaises(WireError, Withdrawal.decode, rlp.encode([b"", b"", bytes(19), b""]))

    @given(damaged(BODY.encode()))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a body, of which these are the only encoding, or a L{WireError}.
        """
        try:
            body = Body.decode(data)
        except WireError:
            return
        self.assertEqual(attrs.evolve(body).encode(), data)
        self.assertIsInstance(body.matches(HEADER), bool)


class BlockTests(SynchronousTestCase):
    """
    Whole blocks.
    """

    def test_frontier(self) -> None:
        """
        A block without withdrawals.
        """
        block = Block.decode(FRONTIER_BLOCK)
        self.assertTrue(
            block.body.matches(attrs.evolve(block.header, transactions_root=block.body.transactions_root()))
        )
        self.assertIsNone(block.body.withdrawals)
        transaction = Transaction.decode(block.body.transactions[0])
        self.assertEqual((transaction.nonce, transaction.gas_price, transaction.gas_limit), (0, 10, 50000))
        self.assertEqual(transaction.to, bytes.fromhex("095e7baea6a6c7c4c2dfeb977efac326af552d87"))
        self.assertEqual(block.encode(), FRONTIER_BLOCK)

    def test_refused(self) -> None:
        """
        No header, or no body.
        """
        header = rlp.decode(HEADER.encode())
        parts: list[Any] = [[], [header], [header, []], [[], [], []], [header, [], [], [], []], [b"", [], []]]
        for item in parts:
            self.assertRaises(WireError, Block.decode, rlp.encode(item))

    @given(damaged(Block(HEADER, BODY).encode()))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a block, of which these are the only encoding, or a L{WireError}.
        """
        try:
            block = Block.decode(data)
        except WireError:
            return
        self.assertEqual(block.encode(), data)


class ChainTests(SynchronousTestCase):
    """
    geth's test chain.
    """

    def test_bodies_match(self) -> None:
        """
        Every body is the one its header means, and not the one of the next.
        """
        for block in blocks():
            self.assertTrue(block.body.matches(block.header))
        busy = [block for block in blocks() if block.body.transactions]
        for block, other in pairwise(busy):
            self.assertFalse(block.body.matches(other.header))

    def test_encoding(self) -> None:
        """
        Blocks are encoded to the bytes they came in.
        """
        self.assertEqual([block.encode() for block in blocks()], raw_blocks())

    def test_withdrawals(self) -> None:
        """
        Withdrawals are where txinfo.json says.
        """
        info = json.loads((ethtest() / "txinfo.json").read_text())["withdrawals"]
        self.assertEqual(len(info), 54)
        for number, entry in info.items():
            raw = blocks()[int(number) - 1].body.withdrawals
            assert raw is not None
            expected = [
                Withdrawal(
                    int(each["index"], 16),
                    int(each["validatorIndex"], 16),
                    bytes.fromhex(each["address"][2:]),
                    int(each["amount"], 16),
                )
                for each in entry["withdrawals"]
            ]
            self.assertEqual([Withdrawal.decode(each) for each in raw], expected)
