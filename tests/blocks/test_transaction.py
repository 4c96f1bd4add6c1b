"""
Tests of transactions and their sidecars.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import (
    AccessListEntry,
    Authorization,
    Sidecar,
    Transaction,
    TxType,
    unwrap,
    versioned_hash,
    wrap,
)
from ethp2p.blocks.sidecar import BLOB_SIZE, CELLS_PER_BLOB, MAX_BLOBS
from ethp2p.blocks.signature import MAX_S
from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import LocalProtocolError, OversizeError, WireError
from tests.blocks.samples import blocks, damaged
from tests.data import ethtest

KEY = PrivateKey.parse(b"\x46" * 32)
ADDRESS = KEY.public_key.node_id[12:]
TO = bytes.fromhex("3535353535353535353535353535353535353535")
ACCESS = (AccessListEntry(TO, (bytes(32), b"k" * 32)), AccessListEntry(bytes(20)))
COMMITMENTS = (b"c" * 48, b"d" * 48)
HASHES = tuple(map(versioned_hash, COMMITMENTS))
SIDECARS = [
    Sidecar(0, (bytes(BLOB_SIZE), b"\x01" * BLOB_SIZE), COMMITMENTS, (bytes(48), b"p" * 48)),
    Sidecar(1, (bytes(BLOB_SIZE), b"\x01" * BLOB_SIZE), COMMITMENTS, (b"p" * 48,) * (2 * CELLS_PER_BLOB)),
    Sidecar(1, (), COMMITMENTS, (b"p" * 48,) * (2 * CELLS_PER_BLOB)),
]

LEGACY = Transaction(nonce=9, gas_price=20 * 10**9, gas_limit=21000, to=TO, value=10**18)
PROTECTED = attrs.evolve(LEGACY, chain_id=1)
ACCESS_LIST = Transaction(tx_type=TxType.ACCESS_LIST, chain_id=5, gas_price=3, data=b"init", access_list=ACCESS)
DYNAMIC_FEE = Transaction(
    tx_type=TxType.DYNAMIC_FEE,
    chain_id=3503995874084926,
    nonce=2**64 - 1,
    max_priority_fee_per_gas=2,
    max_fee_per_gas=2**256 - 1,
    gas_limit=30_000_000,
    to=TO,
    value=2**256 - 1,
    access_list=ACCESS,
)
BLOB = Transaction(
    tx_type=TxType.BLOB,
    chain_id=1,
    max_priority_fee_per_gas=2,
    max_fee_per_gas=30,
    gas_limit=21000,
    to=TO,
    value=5,
    max_fee_per_blob_gas=7,
    blob_versioned_hashes=HASHES,
)
SET_CODE = Transaction(
    tx_type=TxType.SET_CODE,
    chain_id=1,
    to=TO,
    authorization_list=(Authorization(0, TO, 3).sign(KEY), Authorization(1, bytes(20), 0, 1, 2, 3)),
)
EVERY_TYPE = [LEGACY, PROTECTED, ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE]


class VectorTests(SynchronousTestCase):
    """
    Published transactions.
    """

    def test_eip155(self) -> None:
        """
        The example of EIP-155, signed and read.
        """
        self.assertEqual(
            PROTECTED.signing_hash.hex(), "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
        )
        signed = PROTECTED.sign(KEY)
        self.assertEqual(
            signed.encode().hex(),
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd9"
            "39bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b"
            "297fb1966a3b6d83",
        )
        self.assertEqual(Transaction.decode(signed.encode()).sender, ADDRESS)

    def test_homestead(self) -> None:
        """
        Transactions without a chain id, one of them creating a contract (go-ethereum,
        C{core/types/transaction_test.go}).
        """
        sender = PrivateKey.parse(
            bytes.fromhex("45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8")
        ).public_key.node_id[12:]
        for to, encoded in [
            (
                None,
                "f8498080808080011ca09b16de9d5bdee2cf56c28d16275a4da68cd30273e2525f3959f5d62557489921a0372ebd8fb334"
                "5f7db7b5a86d42e24d36e983e259b0664ceb8c227ec9af572f3d",
            ),
            (
                bytes(20),
                "f85d80808094000000000000000000000000000000000000000080011ca0527c0d8f5c63f7b9f41324a7c8a563ee1190bc"
                "bf0dac8ab446291bdbf32f5c79a0552c4ef0a09a04395074dab9ed34d3fbfb843c2f2546cc30fe89ec143ca94ca6",
            ),
        ]:
            transaction = Transaction.decode(bytes.fromhex(encoded))
            self.assertEqual((transaction.to, transaction.chain_id, transaction.v), (to, None, 28))
            self.assertEqual(transaction.sender, sender)

    def test_eip2930(self) -> None:
        """
        An access list transaction and what it signs (go-ethereum, C{core/types/transaction_test.go}).
        """
        transaction = Transaction.decode(
            bytes.fromhex(
                "01f8630103018261a894b94f5374fce5edbc8e2a8697c15331677e6ebf0b0a825544c001a0c9519f4f2b30335884581971"
                "573fadf60c6204f59a911df35ee8a540456b2660a032f1e8e2c5dd761f9e4f88f41c8310aeaba26a8bfcdacfedfa12ec38"
                "62d37521"
            )
        )
        self.assertEqual(
            transaction.signing_hash.hex(), "49b486f0ec0a60dfbbca2d30cb07c9e8ffb2a2ff41f29a1ab6737475f6ff69f3"
        )
        self.assertEqual((transaction.nonce, transaction.gas_limit, transaction.data), (3, 25000, b"\x55\x44"))
        key = PrivateKey.parse(bytes.fromhex("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291"))
        empty = Transaction(tx_type=TxType.ACCESS_LIST, chain_id=1, nonce=1)
        self.assertEqual(empty.signing_hash.hex(), "846ad7672f2a3a40c1f959cd4a8ad21786d620077084d84c8d7c077714caa139")
        self.assertEqual(empty.sign(key).hash.hex(), "1ccd12d8bbdb96ea391af49a35ab641e219b2dd638dea375f2bc94dd290f2549")

    def test_chain(self) -> None:
        """
        Hashes and senders of geth's test chain, which has all types.
        """
        transactions = {}
        for block in blocks():
            for opaque in block.body.transactions:
                transaction = Transaction.decode(opaque)
                self.assertEqual(attrs.evolve(transaction).encode(), opaque)
                transactions[transaction.hash.hex()] = (block.header.number, transaction)
        info = json.loads((ethtest() / "txinfo.json").read_text())
        named = [entry for entries in info.values() if isinstance(entries, list) for entry in entries]
        self.assertEqual((len(transactions), len(named)), (603, 378))
        for entry in named:
            number, transaction = transactions[entry["txhash"][2:]]
            self.assertEqual((number, transaction.sender.hex()), (int(entry["block"], 16), entry["sender"][2:]))
        self.assertEqual({transaction.tx_type for _, transaction in transactions.values()}, set(TxType))
        _, delegation = transactions[info["tx-eip7702"]["authorizeTx"][2:]]
        authorization = delegation.authorization_list[0]
        self.assertEqual(authorization.authority.hex(), info["tx-eip7702"]["account"][2:])
        self.assertEqual(authorization.address.hex(), info["tx-eip7702"]["proxyAddr"][2:])


class RoundTripTests(SynchronousTestCase):
    """
    Every type, signed, sent and read.
    """

    def test_sign_and_recover(self) -> None:
        """
        Each type has its sender and its hash on the other side.
        """
        for transaction in EVERY_TYPE:
            signed = transaction.sign(KEY)
            read = Transaction.decode(signed.encode())
            self.assertEqual(read.sender, ADDRESS)
            self.assertEqual((read, read.hash), (signed, signed.hash))
            self.assertEqual(len({read, signed, transaction}), 2)
            self.assertEqual(attrs.asdict(read), attrs.asdict(signed))
            self.assertEqual(Transaction.decode_network(signed.encode_network()), signed)
            self.assertEqual(signed.size, len(signed.encode()))
            self.assertEqual(unwrap(wrap(signed.encode())), signed.encode())

    def test_v(self) -> None:
        """
        A legacy transaction's v has the chain id in it; that of others is the parity.
        """
        self.assertIn(LEGACY.sign(KEY).v, (27, 28))
        self.assertIn(PROTECTED.sign(KEY).v, (37, 38))
        self.assertIn(DYNAMIC_FEE.sign(KEY).v, (0, 1))
        self.assertEqual(Transaction.decode(LEGACY.sign(KEY).encode()).chain_id, None)
        self.assertEqual(Transaction.decode(PROTECTED.sign(KEY).encode()).chain_id, 1)

    def test_authorization(self) -> None:
        """
        An authorization recovers to who gave it.
        """
        self.assertEqual(SET_CODE.authorization_list[0].authority, ADDRESS)

    def test_fees(self) -> None:
        """
        Fees and cost are there for every type.
        """
        self.assertEqual((PROTECTED.fee_cap, PROTECTED.tip_cap), (20 * 10**9, 20 * 10**9))
        self.assertEqual(PROTECTED.max_cost, 10**18 + 21000 * 20 * 10**9)
        self.assertEqual((BLOB.fee_cap, BLOB.tip_cap), (30, 2))
        self.assertEqual(BLOB.max_cost, 5 + 21000 * 30 + 2 * BLOB_SIZE * 7)


class SidecarTests(SynchronousTestCase):
    """
    Blob transactions outside of blocks.
    """

    def test_network_form(self) -> None:
        """
        The sidecar of either version comes with the transaction, and does not change its hash.
        """
        signed = BLOB.sign(KEY)
        for sidecar in SIDECARS:
            pooled = attrs.evolve(signed, sidecar=sidecar)
            encoded = pooled.encode_network()
            read = Transaction.decode_network(encoded)
            self.assertEqual(read.sidecar, sidecar)
            self.assertEqual(read, pooled)
            self.assertNotEqual(read, signed)
            self.assertEqual((read.hash, read.sender), (signed.hash, ADDRESS))
            self.assertEqual(read.encode(), signed.encode())
            self.assertEqual(read.size, len(encoded))
            self.assertTrue(sidecar.matches(read.blob_versioned_hashes))

    def test_not_in_a_block(self) -> None:
        """
        A block's transactions have no sidecar.
        """
        pooled = attrs.evolve(BLOB.sign(KEY), sidecar=SIDECARS[0])
        self.assertRaises(WireError, Transaction.decode, pooled.encode_network())

    def test_mismatches(self) -> None:
        """
        Another commitment, or another number of anything, does not match.
        """
        for sidecar in SIDECARS:
            for change in (
                {"commitments": COMMITMENTS[::-1]},
                {"commitments": COMMITMENTS[:1]},
                {"proofs": sidecar.proofs[1:]},
                {"version": 1 - sidecar.version},
                {"blobs": (bytes(BLOB_SIZE),)},
            ):
                self.assertFalse(attrs.evolve(sidecar, **change).matches(HASHES), change)

    def test_shapes(self) -> None:
        """
        Versions, sizes and counts are checked.
        """
        empty = rlp.encode([])
        blobs = rlp.encode([bytes(BLOB_SIZE)])
        for items in (
            [],
            [empty, empty],
            [empty, empty, empty, empty],
            [b"\x02", empty, empty, empty],
            [b"\x80", empty, empty, empty],
            [b"\x01", empty, empty, empty, empty],
            [rlp.encode([bytes(BLOB_SIZE - 1)]), empty, empty],
            [blobs, rlp.encode([bytes(49)]), empty],
            [blobs, empty, rlp.encode([bytes(47)])],
        ):
            self.assertRaises(WireError, Sidecar.decode, items)
        many = rlp.encode([bytes(48)] * (MAX_BLOBS + 1))
        self.assertRaises(OversizeError, Sidecar.decode, [empty, many, empty])
        proofs = rlp.encode([bytes(48)] * (MAX_BLOBS * CELLS_PER_BLOB + 1))
        self.assertRaises(OversizeError, Sidecar.decode, [b"\x01", empty, empty, proofs])


class RefusalTests(SynchronousTestCase):
    """
    What is not a transaction, or not signed.
    """

    def test_signatures(self) -> None:
        """
        A signature out of range has no sender: high s (EIP-2), zeros, no such parity or v, no such point.
        """
        for transaction in EVERY_TYPE:
            signed = transaction.sign(KEY)
            order = 2 * MAX_S + 1
            changes: list[dict[str, Any]] = [
                {"s": order - signed.s, "v": signed.v ^ 1 if signed.tx_type else signed.v},
                {"r": 0},
                {"s": 0},
                {"r": order},
                {"v": signed.v + 2},
                {"v": 26},
                {"r": 5},
            ]
            for change in changes:
                self.assertRaises(WireError, lambda: attrs.evolve(signed, **change).sender)  # noqa: B023
        self.assertRaises(WireError, lambda: LEGACY.sender)
        forged = attrs.evolve(SET_CODE.authorization_list[0], s=order - 1)
        self.assertRaises(WireError, lambda: forged.authority)

    def test_chain_id_zero(self) -> None:
        """
        No chain has id 0, in a field or in v.
        """
        self.assertRaises(WireError, lambda: attrs.evolve(DYNAMIC_FEE, chain_id=0).sign(KEY).sender)
        read = Transaction.decode(attrs.evolve(LEGACY.sign(KEY), v=36).encode())
        self.assertEqual(read.chain_id, 0)
        self.assertRaises(WireError, lambda: read.sender)

    def test_envelopes(self) -> None:
        """
        Types that are not known, types without a payload, and legacy transactions in a string.
        """
        for opaque in (b"", b"\x01", b"\x00\xc0", b"\x05" + rlp.encode([b""] * 9), b"\x7f\xc0", b"\x80\xc0", b"\xbf"):
            self.assertRaises(WireError, Transaction.decode, opaque)
            self.assertRaises(WireError, Transaction.decode_network, opaque)
        for item in (b"", b"\x80", b"\x01", rlp.encode(LEGACY.encode()), rlp.encode(b"\x00\xc0"), b"\x82\x01"):
            self.assertRaises(WireError, unwrap, item)

    def test_contract_creation(self) -> None:
        """
        Types 3 and 4 go to somebody, on both sides of the wire; typed transactions name their chain.
        """
        for transaction in (BLOB, SET_CODE):
            fields = rlp.decode(transaction.encode()[1:])
            assert isinstance(fields, list)
            fields[5] = b""
            error = self.assertRaises(WireError, Transaction.decode, transaction.encode()[:1] + rlp.encode(fields))
            self.assertIn("to", str(error))
            self.assertRaises(LocalProtocolError, attrs.evolve(transaction, to=None).encode)
        self.assertRaises(LocalProtocolError, attrs.evolve(DYNAMIC_FEE, chain_id=None).encode)
        self.assertRaises(LocalProtocolError, attrs.evolve(DYNAMIC_FEE, tx_type=9).encode)

    @given(
        st.one_of(
            [damaged(attrs.evolve(t, authorization_list=t.authorization_list[:1]).encode()) for t in EVERY_TYPE]
            + [damaged(b"\x03" + rlp.join([BLOB.encode()[1:], *Sidecar(0, (), COMMITMENTS, ()).encode()]))]
        )
    )
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a transaction, of which these are the only encoding, or a L{WireError}; and a transaction
        has a sender or raises the same.
        """
        try:
            transaction = Transaction.decode_network(data)
        except WireError:
            return
        self.assertEqual(attrs.evolve(transaction).encode_network(), data)
        try:
            self.assertEqual(len(transaction.sender), 20)
        except WireError:
            return
