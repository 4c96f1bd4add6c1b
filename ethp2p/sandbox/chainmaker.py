"""
A private chain out of a seed: signed transfers, true state roots, and no virtual machine.

Every transaction is a plain transfer, which costs 21,000 gas and runs no code, so that all a block commits to can
be computed with a table of balances.  A client with a virtual machine imports the chain and agrees with it.

    >>> maker = ChainMaker(b"docs", chain_id=3333, genesis_time=1_700_000_000)
    >>> blocks = [maker.next_block()[0] for _ in range(100)]
    >>> maker.write(directory, blocks)

Source: Yellow Paper, sections 4 and 6; EIP-155, 1559, 2930, 4788, 4844, 4895 and 7685.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import attrs

from ethp2p.blocks import (
    EMPTY_ROOT,
    Account,
    Block,
    Body,
    Header,
    Receipt,
    Transaction,
    TxType,
    Withdrawal,
    logs_bloom,
    receipts_root,
    secure_root,
)
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey

#: Seconds between blocks.
PERIOD = 2
#: What a transfer costs.
TRANSFER_GAS = 21_000
#: Small, so that blocks are sometimes over and sometimes under their target and the base fee goes up and down.
GAS_LIMIT = 500_000
GWEI = 10**9
#: What each account owns at genesis, in wei.
FORTUNE = 10**21
#: How much the base fee may change (EIP-1559), and how far the target is below the limit.
BASE_FEE_CHANGE = 8
ELASTICITY = 2
#: The hash of no requests (EIP-7685).
NO_REQUESTS = sha256(b"").digest()
#: Every so many blocks somebody is paid a withdrawal.
WITHDRAWAL_EVERY = 4

_BLOB_SCHEDULE = {
    "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477},
    "prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
}
#: On from the first block.
_BLOCK_FORKS = (
    "homestead",
    "eip150",
    "eip155",
    "eip158",
    "byzantium",
    "constantinople",
    "petersburg",
    "istanbul",
    "muirGlacier",
    "berlin",
    "london",
    "arrowGlacier",
    "grayGlacier",
    "mergeNetsplit",
)


def next_base_fee(parent: Header) -> int:
    """What gas costs at least in the block after C{parent}, in wei (EIP-1559)."""
    fee, target = parent.base_fee_per_gas, parent.gas_limit // ELASTICITY
    assert fee is not None, "London is active from genesis on"
    change = fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE
    return fee + max(1, change) if parent.gas_used > target else fee - change


class ChainMaker:
    """
    Makes one chain, block by block.  The same arguments make the same chain.

    @ivar keys: of the accounts that have money at genesis.
    @ivar state: all accounts, by address.
    @ivar head: the newest block's header.
    """

    def __init__(
        self,
        seed: bytes = b"",
        *,
        chain_id: int = 1337,
        genesis_time: int = 1_700_000_000,
        accounts: int = 8,
        shanghai: int | None = 0,
        cancun: int | None = 0,
        prague: int | None = 0,
    ) -> None:
        """
        @param seed: another one makes other accounts, and so another genesis.
        @param chain_id: the network's id too.
        @param genesis_time: seconds since 1970; blocks follow every L{PERIOD} seconds.
        @param accounts: how many have money.
        @param shanghai: when the fork begins, in seconds since 1970; None for never.
        @param cancun: likewise, not before Shanghai.
        @param prague: likewise, not before Cancun.
        """
        self.chain_id = chain_id
        self.forks = {"shanghai": shanghai, "cancun": cancun, "prague": prague}
        self._seed = keccak256(seed)
        self._rng = Random(self._seed)
        self.keys = [PrivateKey.parse(self._draw("account", index)) for index in range(accounts)]
        self._key_of = {_address(key): key for key in self.keys}
        self._beneficiary = self._draw("beneficiary")[12:]
        self._saver = self._draw("saver")[12:]
        self._withdrawals = 0
        self.state = {address: Account(balance=FORTUNE) for address in self._key_of}
        self.genesis_header = self._header(
            timestamp=genesis_time,
            extra_data=self._seed,
            gas_limit=GAS_LIMIT,
            base_fee_per_gas=GWEI,
            state_root=self._state_root(),
        )
        self.head = self.genesis_header
        self._genesis_alloc = dict(self.state)

    def genesis(self) -> dict[str, Any]:
        """The genesis block as geth's C{init} takes it: values for JSON."""
        header = self.genesis_header
        config: dict[str, Any] = {"chainId": self.chain_id}
        config.update({f"{name}Block": 0 for name in _BLOCK_FORKS})
        config["terminalTotalDifficulty"] = 0
        config.update({f"{name}Time": time for name, time in self.forks.items() if time is not None})
        config["blobSchedule"] = {
            name: schedule for name, schedule in _BLOB_SCHEDULE.items() if self.forks[name] is not None
        }
        return {
            "config": config,
            "nonce": "0x" + header.nonce.hex(),
            "timestamp": hex(header.timestamp),
            "extraData": "0x" + header.extra_data.hex(),
            "gasLimit": hex(header.gas_limit),
            "difficulty": "0x0",
            "mixHash": "0x" + header.prev_randao.hex(),
            "coinbase": "0x" + header.beneficiary.hex(),
            "number": "0x0",
            "gasUsed": "0x0",
            "parentHash": "0x" + header.parent_hash.hex(),
            "baseFeePerGas": hex(header.base_fee_per_gas or 0),
            "alloc": {
                "0x" + address.hex(): {"balance": hex(account.balance)}
                for address, account in self._genesis_alloc.items()
            },
        }

    def next_block(self, transfers: int | None = None) -> tuple[Block, tuple[Receipt, ...]]:
        """
        Make the block after L{head}.

        @param transfers: how many transactions, at most as many as fit; as chance wants if None.
        @return: the block, and a receipt for each of its transactions.
        """
        parent = self.head
        number, most = parent.number + 1, GAS_LIMIT // TRANSFER_GAS
        base_fee = next_base_fee(parent)
        count = self._rng.randint(0, most) if transfers is None else min(transfers, most)
        transactions = [self._transfer(base_fee) for _ in range(count)]
        receipts = tuple(
            [
                Receipt(transaction.tx_type, b"\1", TRANSFER_GAS * index, ())
                for index, transaction in enumerate(transactions, start=1)
            ]
        )
        timestamp = parent.timestamp + PERIOD
        withdrawals = self._withdraw(number) if self._is_on("shanghai", timestamp) else None
        body = Body(
            tuple([transaction.encode() for transaction in transactions]),
            (),
            None if withdrawals is None else tuple([withdrawal.encode() for withdrawal in withdrawals]),
        )
        self.head = self._header(
            parent_hash=parent.hash,
            beneficiary=self._beneficiary,
            state_root=self._state_root(),
            transactions_root=body.transactions_root(),
            receipts_root=receipts_root(receipts),
            logs_bloom=logs_bloom(()),
            number=number,
            gas_limit=GAS_LIMIT,
            gas_used=TRANSFER_GAS * count,
            timestamp=timestamp,
            prev_randao=self._draw("randao", number),
            base_fee_per_gas=base_fee,
            withdrawals_root=body.withdrawals_root(),
        )
        return Block(self.head, body), receipts

    def write(self, directory: Path, blocks: Iterable[Block]) -> None:
        """Write C{genesis.json}, and C{chain.rlp} with C{blocks} one after the other, as geth's C{import} takes it."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "genesis.json").write_text(json.dumps(self.genesis(), indent=2) + "\n", "utf-8")
        (directory / "chain.rlp").write_bytes(b"".join([block.encode() for block in blocks]))

    def _transfer(self, base_fee: int) -> Transaction:
        """A signed transfer between two accounts, carried out."""
        rng = self._rng
        sender, recipient = rng.sample(sorted(self._key_of), 2)
        account = self.state[sender]
        kind = rng.choice((TxType.LEGACY, TxType.ACCESS_LIST, TxType.DYNAMIC_FEE))
        tip = rng.randint(0, 2 * GWEI)
        fees: dict[str, Any] = (
            {"max_priority_fee_per_gas": tip, "max_fee_per_gas": 2 * base_fee + tip}
            if kind is TxType.DYNAMIC_FEE
            else {"gas_price": base_fee + tip}
        )
        transaction = Transaction(
            tx_type=kind,
            chain_id=self.chain_id,
            nonce=account.nonce,
            gas_limit=TRANSFER_GAS,
            to=recipient,
            value=rng.randint(1, 10**15),
            **fees,
        )
        cost = transaction.value + TRANSFER_GAS * (base_fee + tip)
        self.state[sender] = Account(account.balance - cost, account.nonce + 1)
        self._pay(recipient, transaction.value)
        self._pay(self._beneficiary, TRANSFER_GAS * tip)  # the base fee is burnt
        return transaction.sign(self._key_of[sender])

    def _withdraw(self, number: int) -> list[Withdrawal]:
        if number % WITHDRAWAL_EVERY:
            return []
        withdrawal = Withdrawal(self._withdrawals, self._withdrawals % 100, self._saver, self._rng.randint(1, GWEI))
        self._withdrawals += 1
        self._pay(self._saver, withdrawal.amount * GWEI)
        return [withdrawal]

    def _pay(self, address: bytes, amount: int) -> None:
        if amount:  # an account that gets nothing does not come to be (EIP-161)
            account = self.state.get(address, Account())
            self.state[address] = attrs.evolve(account, balance=account.balance + amount)

    def _state_root(self) -> bytes:
        return secure_root({address: account.encode() for address, account in self.state.items()})

    def _header(self, *, timestamp: int, **fields: Any) -> Header:
        """A header with the fields of the forks that are on; the system contracts of EIP-4788 and 2935 are not."""
        if self._is_on("shanghai", timestamp):
            fields.setdefault("withdrawals_root", EMPTY_ROOT)
        if self._is_on("cancun", timestamp):
            root = self._draw("beacon", fields["number"]) if "number" in fields else bytes(32)
            fields.update(blob_gas_used=0, excess_blob_gas=0, parent_beacon_block_root=root)
        if self._is_on("prague", timestamp):
            fields["requests_hash"] = NO_REQUESTS
        return Header(timestamp=timestamp, **fields)

    def _is_on(self, fork: str, timestamp: int) -> bool:
        begins = self.forks[fork]
        return begins is not None and begins <= timestamp

    def _draw(self, name: str, index: int = 0) -> bytes:
        """32 bytes that depend on the seed, and on nothing that was drawn before."""
        return keccak256(self._seed + f"{name} {index}".encode())


def _address(key: PrivateKey) -> bytes:
    return key.public_key.node_id[12:]
