"""
Small chains, made on the spot, and geth's 600 blocks.
"""

from __future__ import annotations

from functools import cache

import attrs

from ethp2p.blocks import Block, Body, Header, Log, Receipt, receipts_root
from ethp2p.chain import MemoryChain, load_chain
from ethp2p.codec import rlp
from ethp2p.networks import Network
from tests.data import ethtest

GENESIS = Header(
    gas_limit=30_000_000, difficulty=131072, base_fee_per_gas=7, withdrawals_root=Body((), (), ()).withdrawals_root()
)
NETWORK = Network("tests", 1337, 1337, GENESIS.hash, GENESIS, fork_times=(50,))


def transactions(number: int) -> tuple[bytes, ...]:
    """Block C{number} has that many, modulo 3, by turns legacy and typed."""
    legacy = rlp.encode(
        [number.to_bytes(4, "big"), b"\x09", b"\x52\x08", bytes(20), b"", b"", b"\x1b", b"\x05", b"\x06"]
    )
    return (legacy, b"\x02" + rlp.encode([number.to_bytes(4, "big")]))[: number % 3]


def receipts(number: int) -> tuple[Receipt, ...]:
    """What came of them."""
    log = Log(number.to_bytes(20, "big"), (bytes(31) + b"\x01",), b"data")
    return tuple(
        Receipt(0 if index == 0 else 2, b"\x01", 21000 * (index + 1), (log,) * index)
        for index in range(len(transactions(number)))
    )


def next_block(parent: Header, extra: bytes = b"") -> Block:
    """A block on C{parent}."""
    number = parent.number + 1
    body = Body(transactions(number), (), ())
    header = attrs.evolve(
        parent,
        parent_hash=parent.hash,
        number=number,
        difficulty=0,
        timestamp=parent.timestamp + 10,
        transactions_root=body.transactions_root(),
        receipts_root=receipts_root(receipts(number)),
        extra_data=extra,
    )
    return Block(header, body)


def grow(chain: MemoryChain, blocks: int, *, with_receipts: bool = True, extra: bytes = b"") -> MemoryChain:
    """C{chain} with that many blocks more."""
    for _ in range(blocks):
        block = next_block(chain.head(), extra)
        chain.append(block, receipts(block.header.number) if with_receipts else None)
    return chain


def small_chain(blocks: int = 12) -> MemoryChain:
    """A chain with that many blocks after the genesis, and their receipts."""
    return grow(MemoryChain(NETWORK), blocks)


@cache
def geth_chain() -> MemoryChain:
    """geth's 600 blocks.  Shared by all tests: not to be added to."""
    return load_chain(ethtest())


def headers_of(chain: MemoryChain, first: int, last: int) -> list[Header]:
    """Blocks C{first} to C{last}, both included."""
    found = []
    for number in range(first, last + 1):
        raw = chain.rawHeader(chain.hashAt(number) or b"")
        assert raw is not None
        found.append(Header.decode(raw))
    return found
