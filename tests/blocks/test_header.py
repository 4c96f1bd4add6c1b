"""
Tests of headers.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_OMMERS_HASH, Block, Header
from ethp2p.blocks.header import MAX_EXTRA_DATA
from ethp2p.codec import rlp
from ethp2p.errors import LocalProtocolError, WireError
from tests.blocks.samples import FRONTIER_BLOCK, blocks, damaged

#: Each with the fields that it brought.
LATER_FIELDS: dict[str, dict[str, Any]] = {
    "London": {"base_fee_per_gas": 7},
    "Shanghai": {"withdrawals_root": b"w" * 32},
    "Cancun": {"blob_gas_used": 131072, "excess_blob_gas": 0, "parent_beacon_block_root": b"b" * 32},
    "Prague": {"requests_hash": b"r" * 32},
    "Amsterdam": {"block_access_list_hash": b"l" * 32, "slot_number": 12},
}
AMSTERDAM = Header(number=5, timestamp=9, **{k: v for fields in LATER_FIELDS.values() for k, v in fields.items()})


class HeaderTests(SynchronousTestCase):
    """
    Encoding, decoding and hashing.
    """

    def test_mainnet_genesis(self) -> None:
        """
        The hash of mainnet's first header, made of its fields.
        """
        header = Header(
            state_root=bytes.fromhex("d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544"),
            difficulty=17179869184,
            gas_limit=5000,
            extra_data=bytes.fromhex("11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa"),
            nonce=bytes.fromhex("0000000000000042"),
        )
        self.assertEqual(header.hash.hex(), "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")

    def test_frontier(self) -> None:
        """
        A header with the fifteen first fields; the later ones are None.
        """
        header = Block.decode(FRONTIER_BLOCK).header
        self.assertEqual(header.hash.hex(), "0a5843ac1cb04865017cb35a57b50b07084e5fcee39b5acadade33149f4fff9e")
        self.assertEqual(header.beneficiary.hex(), "8888f1f195afa192cfee860698584c030f4c9db1")
        self.assertEqual((header.difficulty, header.number, header.gas_limit), (131072, 1, 3141592))
        self.assertEqual((header.gas_used, header.timestamp), (21000, 1426516743))
        self.assertEqual(header.nonce.hex(), "a13a5a8c8f2bb1c4")
        self.assertEqual(header.ommers_hash, EMPTY_OMMERS_HASH)
        self.assertIsNone(header.base_fee_per_gas)
        self.assertIsNone(header.slot_number)

    def test_every_fork(self) -> None:
        """
        A header of each fork is read back as it was, and keeps its bytes.
        """
        header = Header(number=1, gas_limit=30_000_000)
        for fork, fields in LATER_FIELDS.items():
            header = attrs.evolve(header, **fields)
            read = Header.decode(header.encode())
            self.assertEqual(read, header, fork)
            self.assertEqual(attrs.asdict(read), attrs.asdict(header), fork)
        self.assertEqual(len(rlp.split(header.raw)), 23)

    def test_raw_is_kept(self) -> None:
        """
        A header that was read hashes the very bytes it came in; one that was changed does not keep them.
        """
        raw = AMSTERDAM.encode()
        read = Header.decode(raw)
        self.assertIs(read.raw, raw)
        self.assertNotEqual(attrs.evolve(read, number=6).hash, read.hash)
        self.assertEqual(repr(read), f"<Header 5 {read.hash.hex()[:16]}>")

    def test_missing_in_the_middle(self) -> None:
        """
        A field may not be missing before one that is there.
        """
        error = self.assertRaises(LocalProtocolError, Header(base_fee_per_gas=1, requests_hash=bytes(32)).encode)
        self.assertIn("withdrawals_root", str(error))

    def test_sizes(self) -> None:
        """
        Each field has its size, and the error names it.
        """
        fields = rlp.decode(AMSTERDAM.encode())
        names = [field.name for field in attrs.fields(Header)]
        assert isinstance(fields, list)
        wrong: dict[str, list[rlp.Item]] = {
            "difficulty": [b"\x01" + bytes(10), b"\x00"],
            "number": [b"\x01" + bytes(8), b"\x00"],
            "base_fee_per_gas": [b"\x01" + bytes(32)],
            "extra_data": [bytes(MAX_EXTRA_DATA + 1)],
        }
        for index, name in enumerate(names):
            value = fields[index]
            assert isinstance(value, bytes)
            whole = [value + b"\x01"] if len(value) in (8, 20, 32, 256) else [b"\x00" + value]
            for bad in [*wrong.get(name, whole), []]:
                changed = [*fields[:index], bad, *fields[index + 1 :]]
                error = self.assertRaises(WireError, Header.decode, rlp.encode(changed))
                if bad != []:
                    self.assertIn(name, str(error))
        for count in (0, 14, 24):
            self.assertRaises(WireError, Header.decode, rlp.encode([*fields, b""][:count]))

    def test_largest(self) -> None:
        """
        The bounds themselves are accepted.
        """
        header = attrs.evolve(
            AMSTERDAM,
            difficulty=2**80 - 1,
            number=2**64 - 1,
            extra_data=bytes(MAX_EXTRA_DATA),
            base_fee_per_gas=2**256 - 1,
        )
        self.assertEqual(Header.decode(header.encode()), header)

    @given(damaged(AMSTERDAM.encode()))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a header, of which these are the only encoding, or a L{WireError}.
        """
        try:
            header = Header.decode(data)
        except WireError:
            return
        self.assertEqual(attrs.evolve(header).encode(), data)

    @given(st.integers(0, 2**64 - 1), st.binary(max_size=40), st.integers(0, 2**256 - 1))
    def test_round_trip(self, number: int, extra_data: bytes, base_fee: int) -> None:
        """
        What is encoded is read back.
        """
        header = Header(number=number, extra_data=extra_data, base_fee_per_gas=base_fee)
        self.assertEqual(Header.decode(header.encode()), header)
        self.assertEqual(hash(Header.decode(header.encode())), hash(header))


class ChainTests(SynchronousTestCase):
    """
    geth's test chain.
    """

    def test_links(self) -> None:
        """
        Every header's parent is the one before, from genesis to head.
        """
        parent = bytes.fromhex("bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533")
        for number, block in enumerate(blocks(), 1):
            self.assertEqual((block.header.number, block.header.parent_hash), (number, parent))
            parent = block.header.hash
        self.assertEqual(parent.hex(), "44e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a")

    def test_encoding(self) -> None:
        """
        The fields alone make the same bytes.
        """
        for block in blocks():
            self.assertEqual(attrs.evolve(block.header).encode(), block.header.raw)
