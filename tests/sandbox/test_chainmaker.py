"""The chain maker: what it makes is a valid chain, the same every time, and the one that geth accepted."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.blocks import Account, Block, Header, Receipt, Transaction, Withdrawal, receipts_root, secure_root
from ethp2p.chain import load_chain
from ethp2p.sandbox.chainmaker import (
    FORTUNE,
    GAS_LIMIT,
    GWEI,
    PERIOD,
    TRANSFER_GAS,
    WITHDRAWAL_EVERY,
    ChainMaker,
    next_base_fee,
)

TIME = 1_700_000_000
NEVER: dict[str, Any] = {"shanghai": None, "cancun": None, "prague": None}
STEPS = {"shanghai": TIME + 10, "cancun": TIME + 20, "prague": TIME + 30}

#: Genesis and block 200 of chains that geth 1.17.5 imported (C{geth init}, C{geth import}): it ran every
#: transaction, and its state roots are ours.
ACCEPTED: list[tuple[dict[str, Any], str, str]] = [
    (
        {},
        "736591c46915b031a5c9559c3dda4c20134eede2812984052b6a3c1c70fabb7b",
        "b0d01d649c8251c912988c8d77a10e7c22b1d45ada8bd60cbfc265a77da6d212",
    ),
    (
        NEVER,
        "eb952dffbc315ee3369893d7c3eea3ed70c09b2b5238892cb1bdb4007165f1af",
        "fdcda8fcd4137d60bfdb008417802f203197ffd13a3fa5eaef88c6eee76f0225",
    ),
    (
        {"prague": None},
        "ace9434a8e962fbfd2c61b3996c55f97369d8fb58809ecacb5759f9b2f361231",
        "e2f1b880d98e35c6db7d206470bb085e49cbc1e0448b42f9615322d83c2dbc1c",
    ),
    (
        STEPS,
        "eb952dffbc315ee3369893d7c3eea3ed70c09b2b5238892cb1bdb4007165f1af",
        "663643733f74cf85aa5c7dc592af2b1026e64426147c07341a04576be9894ad9",
    ),
]


def make(count: int, **settings: Any) -> tuple[ChainMaker, list[tuple[Block, tuple[Receipt, ...]]]]:
    maker = ChainMaker(b"seed", genesis_time=TIME, **settings)
    return maker, [maker.next_block() for _ in range(count)]


class GoldenTests(SynchronousTestCase):
    def test_chains_that_geth_accepted(self) -> None:
        for settings, genesis, head in ACCEPTED:
            maker, _ = make(200, **settings)
            self.assertEqual((maker.genesis_header.hash.hex(), maker.head.hash.hex()), (genesis, head))


class ChainTests(SynchronousTestCase):
    """Sixty blocks, checked by what the specifications say, without a look into how they were made."""

    def setUp(self) -> None:
        self.maker, self.made = make(60, **STEPS)
        self.blocks = [block for block, _ in self.made]
        self.transactions = [
            [Transaction.decode(opaque) for opaque in block.body.transactions] for block in self.blocks
        ]

    def test_headers_follow_each_other(self) -> None:
        parent = self.maker.genesis_header
        for block in self.blocks:
            header = Header.decode(block.header.encode())
            self.assertEqual(header.parent_hash, parent.hash)
            self.assertEqual((header.number, header.timestamp), (parent.number + 1, parent.timestamp + PERIOD))
            self.assertEqual((header.difficulty, header.nonce, header.gas_limit), (0, bytes(8), GAS_LIMIT))
            self.assertEqual(header.base_fee_per_gas, next_base_fee(parent))
            self.assertTrue(block.body.matches(header))
            parent = header
        self.assertEqual(parent, self.maker.head)

    def test_fields_come_with_their_forks(self) -> None:
        for header in (block.header for block in self.blocks):
            for fork, fields in {
                "shanghai": (header.withdrawals_root,),
                "cancun": (header.blob_gas_used, header.excess_blob_gas, header.parent_beacon_block_root),
                "prague": (header.requests_hash,),
            }.items():
                on = header.timestamp >= STEPS[fork]
                self.assertEqual([field is not None for field in fields], [on] * len(fields))
        self.assertIsNone(self.blocks[0].header.withdrawals_root)
        self.assertIsNotNone(self.blocks[-1].header.requests_hash)

    def test_transactions_of_three_types_each_signed_for_this_chain(self) -> None:
        flat = [transaction for block in self.transactions for transaction in block]
        self.assertEqual({transaction.tx_type for transaction in flat}, {0, 1, 2})
        self.assertEqual({transaction.chain_id for transaction in flat}, {self.maker.chain_id})
        nonces: dict[bytes, int] = {}
        for transaction in flat:
            self.assertEqual(transaction.nonce, nonces.get(transaction.sender, 0))
            nonces[transaction.sender] = transaction.nonce + 1
        self.assertLessEqual(nonces.keys(), {key.public_key.node_id[12:] for key in self.maker.keys})

    def test_receipts(self) -> None:
        for (block, receipts), transactions in zip(self.made, self.transactions):
            self.assertEqual(receipts_root(receipts), block.header.receipts_root)
            self.assertEqual(block.header.gas_used, TRANSFER_GAS * len(transactions))
            self.assertEqual([receipt.tx_type for receipt in receipts], [tx.tx_type for tx in transactions])
            self.assertEqual(block.header.logs_bloom, bytes(256))
            if receipts:
                self.assertEqual(receipts[-1].cumulative_gas_used, block.header.gas_used)

    def test_state_by_a_second_book(self) -> None:
        """Every balance is counted again from the blocks alone; every root must be that of the new book."""
        balances = {int(a, 16).to_bytes(20, "big"): FORTUNE for a in self.maker.genesis()["alloc"]}
        nonces = dict.fromkeys(balances, 0)

        def pay(address: bytes, amount: int) -> None:
            if amount:
                balances[address] = balances.get(address, 0) + amount

        for block, transactions in zip(self.blocks, self.transactions):
            base_fee = block.header.base_fee_per_gas
            assert base_fee is not None
            for transaction in transactions:
                tip = min(transaction.tip_cap, transaction.fee_cap - base_fee)
                self.assertGreaterEqual(tip, 0, "would not be mined")
                balances[transaction.sender] -= transaction.value + TRANSFER_GAS * (base_fee + tip)
                self.assertGreaterEqual(balances[transaction.sender], 0, "overdrawn")
                nonces[transaction.sender] += 1
                assert transaction.to is not None
                pay(transaction.to, transaction.value)
                pay(block.header.beneficiary, TRANSFER_GAS * tip)
            for withdrawal in map(Withdrawal.decode, block.body.withdrawals or ()):
                pay(withdrawal.address, withdrawal.amount * GWEI)
            accounts = {a: Account(balance, nonces.get(a, 0)).encode() for a, balance in balances.items()}
            self.assertEqual(secure_root(accounts), block.header.state_root, f"block {block.header.number}")

    def test_withdrawals_some_blocks_in_the_order_of_their_index(self) -> None:
        paid = [[Withdrawal.decode(raw) for raw in block.body.withdrawals or ()] for block in self.blocks]
        self.assertEqual([one.index for some in paid for one in some], list(range(sum(map(len, paid)))))
        self.assertEqual(
            {block.header.number % WITHDRAWAL_EVERY for block, some in zip(self.blocks, paid) if some}, {0}
        )
        self.assertGreater(sum(map(len, paid)), 10)

    def test_the_base_fee_goes_up_and_down(self) -> None:
        fees = [block.header.base_fee_per_gas or 0 for block in self.blocks]
        self.assertTrue(any(one < two for one, two in pairwise(fees)))
        self.assertTrue(any(one > two for one, two in pairwise(fees)))

    def test_base_fee_by_the_book(self) -> None:
        """EIP-1559, worked out by hand around the target of half the limit."""
        for fee, used, expected in (
            (GWEI, 250_000, GWEI),
            (GWEI, 0, 875_000_000),
            (GWEI, 500_000, 1_125_000_000),
            (GWEI, 250_001, GWEI + 500),
            (7, 0, 7),
            (7, 250_001, 8),
            (100, 125_000, 94),
        ):
            parent = Header(gas_limit=500_000, gas_used=used, base_fee_per_gas=fee)
            self.assertEqual(next_base_fee(parent), expected, f"{fee} wei, {used} gas")


class MakerTests(SynchronousTestCase):
    def test_the_same_every_time(self) -> None:
        self.assertEqual(make(5)[0].head.hash, make(5)[0].head.hash)

    def test_another_seed_chain_or_time_is_another_genesis(self) -> None:
        makers = [
            ChainMaker(b"a"),
            ChainMaker(b"b"),
            ChainMaker(b"a", genesis_time=TIME + 1),
            ChainMaker(b"a", accounts=3),
            ChainMaker(b"a", cancun=None, prague=None),
        ]
        self.assertEqual(len({maker.genesis_header.hash for maker in makers}), len(makers))
        here, there = ChainMaker(b"a").next_block(5)[0], ChainMaker(b"a", chain_id=7).next_block(5)[0]
        self.assertNotEqual(here.body, there.body)

    def test_as_many_transactions_as_asked_for(self) -> None:
        maker = ChainMaker()
        for asked, made in ((0, 0), (3, 3), (1000, GAS_LIMIT // TRANSFER_GAS)):
            block, receipts = maker.next_block(asked)
            self.assertEqual((len(block.body.transactions), len(receipts)), (made, made))

    def test_an_empty_block_pays_nobody(self) -> None:
        """No account comes to be without something in it (EIP-161)."""
        maker = ChainMaker()
        block, _ = maker.next_block(0)
        self.assertEqual(block.header.state_root, maker.genesis_header.state_root)

    def test_genesis_is_what_the_networks_room_reads(self) -> None:
        for settings, genesis, _ in ACCEPTED:
            maker = make(0, **settings)[0]
            network = networks.from_genesis(json.loads(json.dumps(maker.genesis())))
            self.assertEqual(network.genesis_hash.hex(), genesis)
            self.assertEqual((network.chain_id, network.network_id), (1337, 1337))
        self.assertEqual(networks.from_genesis(make(0, **STEPS)[0].genesis()).fork_times, tuple(STEPS.values()))

    def test_genesis_stays_while_the_chain_grows(self) -> None:
        maker = ChainMaker()
        before = maker.genesis()
        maker.next_block(20)
        self.assertEqual(maker.genesis(), before)

    def test_written_and_loaded(self) -> None:
        maker, made = make(12, **STEPS)
        directory = Path(self.mktemp()) / "chain"
        maker.write(directory, [block for block, _ in made])
        chain = load_chain(directory)
        self.assertEqual(chain.head().hash, maker.head.hash)
        self.assertEqual(chain.network.genesis_hash, maker.genesis_header.hash)
        raw = (directory / "chain.rlp").read_bytes()
        self.assertEqual(raw, b"".join([block.encode() for block, _ in made]))
