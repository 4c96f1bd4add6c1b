"""
What can be said in eth, as frozen values.  Bulk (headers, bodies, receipts, transactions) stays in raw spans,
to be decoded when it is wanted and hashed from its own bytes.

Source: devp2p caps/eth.md.
"""

from __future__ import annotations

from typing import Union

import attrs

from ethp2p.errors import LocalProtocolError
from ethp2p.networks import ForkId


@attrs.frozen
class Status66:
    """Who is there and how far it has come, up to eth/68."""

    version: int
    network_id: int
    total_difficulty: int
    head_hash: bytes
    genesis_hash: bytes
    fork_id: ForkId


@attrs.frozen
class Status69:
    """Who is there and which blocks it has, from eth/69."""

    version: int
    network_id: int
    genesis_hash: bytes
    fork_id: ForkId
    earliest: int
    latest: int
    latest_hash: bytes


@attrs.frozen
class BlockRangeUpdate:
    """The sender now has the bodies and receipts of blocks C{earliest} to C{latest}, both included."""

    earliest: int
    latest: int
    latest_hash: bytes


@attrs.frozen
class BlockId:
    """A block by hash and number."""

    hash: bytes
    number: int


@attrs.frozen
class NewBlockHashes:
    """Blocks that appeared.  Not sent since the merge (EIP-3675)."""

    blocks: tuple[BlockId, ...]


@attrs.frozen
class NewBlock:
    """A block that appeared, its raw RLP, and the total difficulty up to it.  Not sent since the merge."""

    block: bytes
    total_difficulty: int


@attrs.frozen
class Transactions:
    """Transactions for the pool, each in its opaque form (EIP-2718; an RLP list if legacy)."""

    transactions: tuple[bytes, ...]


@attrs.frozen
class NewPooledTransactionHashes66:
    """Transactions in the sender's pool, up to eth/67."""

    hashes: tuple[bytes, ...]


@attrs.frozen
class NewPooledTransactionHashes68:
    """Transactions in the sender's pool, from eth/68: type, size of the opaque form, and hash of each."""

    types: bytes
    sizes: tuple[int, ...]
    hashes: tuple[bytes, ...]

    def __attrs_post_init__(self) -> None:
        if not len(self.types) == len(self.sizes) == len(self.hashes):
            raise LocalProtocolError(
                f"{len(self.types)} types, {len(self.sizes)} sizes and {len(self.hashes)} hashes announced as one"
            )


@attrs.frozen
class HeaderQuery:
    """
    Which headers: C{amount} of them from C{origin} (a number, or 32 bytes of hash) on, C{skip} left out
    between one and the next, upwards or in C{reverse}.
    """

    origin: int | bytes
    amount: int
    skip: int = 0
    reverse: bool = False

    def __attrs_post_init__(self) -> None:
        numbers = [self.amount, self.skip]
        if isinstance(self.origin, int):
            numbers.append(self.origin)
        elif len(self.origin) != 32:
            raise LocalProtocolError(f"a block hash of {len(self.origin)} bytes")
        if not all(0 <= number < 1 << 64 for number in numbers):
            raise LocalProtocolError("a number that is not of 64 bits in a query for headers")


@attrs.frozen
class GetBlockHeaders:
    """Asks for L{BlockHeaders}."""

    request_id: int
    query: HeaderQuery


@attrs.frozen
class BlockHeaders:
    """Raw headers, in the order asked for."""

    request_id: int
    items: tuple[bytes, ...]


@attrs.frozen
class GetBlockBodies:
    """Asks for L{BlockBodies}, by block hash."""

    request_id: int
    hashes: tuple[bytes, ...]


@attrs.frozen
class BlockBodies:
    """Raw bodies, in the order asked for."""

    request_id: int
    items: tuple[bytes, ...]


@attrs.frozen
class GetPooledTransactions:
    """Asks for L{PooledTransactions}, by transaction hash."""

    request_id: int
    hashes: tuple[bytes, ...]


@attrs.frozen
class PooledTransactions:
    """Opaque transactions in the order asked for, without those that the sender lacks."""

    request_id: int
    items: tuple[bytes, ...]


@attrs.frozen
class GetNodeData:
    """Asks for L{NodeData}, by hash.  eth/66 only."""

    request_id: int
    hashes: tuple[bytes, ...]


@attrs.frozen
class NodeData:
    """Trie nodes and contract codes.  eth/66 only."""

    request_id: int
    items: tuple[bytes, ...]


@attrs.frozen
class GetReceipts:
    """Asks for L{Receipts}, by block hash."""

    request_id: int
    hashes: tuple[bytes, ...]


@attrs.frozen
class Receipts:
    """
    Raw lists of receipts, one a block, in the order asked for.  A receipt has its bloom up to eth/68, and
    not from eth/69 on.
    """

    request_id: int
    items: tuple[bytes, ...]


@attrs.frozen
class TooLarge:
    """
    What is taken of a reply that is larger than any message may be: whose it is, and its size in bytes.
    """

    request_id: int
    size: int


Status = Union[Status66, Status69]
Request = Union[GetBlockHeaders, GetBlockBodies, GetPooledTransactions, GetNodeData, GetReceipts]
Reply = Union[BlockHeaders, BlockBodies, PooledTransactions, NodeData, Receipts]
Announcement = Union[
    NewBlockHashes,
    NewBlock,
    Transactions,
    NewPooledTransactionHashes66,
    NewPooledTransactionHashes68,
    BlockRangeUpdate,
]
Message = Union[Status, Request, Reply, Announcement]
Items = tuple[bytes, ...]

#: The same for C{isinstance}.
STATUSES = (Status66, Status69)
REQUESTS = (GetBlockHeaders, GetBlockBodies, GetPooledTransactions, GetNodeData, GetReceipts)
REPLIES = (BlockHeaders, BlockBodies, PooledTransactions, NodeData, Receipts)
