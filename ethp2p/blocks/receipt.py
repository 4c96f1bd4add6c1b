"""
Receipts, in the form that the receipts trie has and in that of eth/69.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import attrs

from ethp2p.blocks.envelope import open_envelope, seal_envelope
from ethp2p.blocks.trie import ordered_root
from ethp2p.codec import rlp
from ethp2p.codec.rlp import ADDRESS, BYTES, HASH, UINT64
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import WireError

#: C{status_or_root} of a transaction that failed, and of one that did not (EIP-658).
FAILED, SUCCEEDED = b"", b"\x01"


@attrs.frozen
class Log:
    """What a contract logged."""

    address: bytes
    #: Up to four, 32 bytes each.
    topics: tuple[bytes, ...] = ()
    data: bytes = attrs.field(default=b"", repr=False)


def logs_bloom(logs: Iterable[Log]) -> bytes:
    """
    The 256-byte Bloom filter of the addresses and topics of C{logs}: three bits each, and each only once.

    Source: Yellow Paper, section 4.4.1.
    """
    bloom = bytearray(256)
    for entry in {entry for log in logs for entry in (log.address, *log.topics)}:
        digest = keccak256(entry)
        for at in (0, 2, 4):
            bit = (digest[at] << 8 | digest[at + 1]) & 0x7FF
            bloom[255 - bit // 8] |= 1 << bit % 8
    return bytes(bloom)


@attrs.frozen
class Receipt:
    """What came of a transaction."""

    #: As the transaction's; below 0x80.
    tx_type: int
    #: L{FAILED} or L{SUCCEEDED}; before Byzantium the 32-byte state root after the transaction.
    status_or_root: bytes
    #: Gas used in the block up to and with this transaction.
    cumulative_gas_used: int
    logs: tuple[Log, ...] = ()

    @classmethod
    def decode(cls, opaque: bytes) -> Receipt:
        """
        Read the opaque form, which has the Bloom filter: the trie's and, wrapped, that of eth/66 to eth/68.

        @raise WireError: not a receipt, or the filter is not that of its logs.
        """
        kind, payload = open_envelope(opaque)
        with_bloom = _WITH_BLOOM.decode(payload)
        receipt = cls(kind, with_bloom.status_or_root, with_bloom.cumulative_gas_used, with_bloom.logs)
        if receipt.logs_bloom != with_bloom.logs_bloom:
            raise WireError("a receipt with a Bloom filter that is not of its logs")
        return receipt

    def encode(self) -> bytes:
        """The opaque form: the reverse of L{decode}."""
        with_bloom = _WithBloom(self.status_or_root, self.cumulative_gas_used, self.logs_bloom, self.logs)
        return seal_envelope(self.tx_type, _WITH_BLOOM.encode(with_bloom))

    @classmethod
    def decode_eth69(cls, raw: bytes) -> Receipt:
        """
        Read C{[tx-type, status, cumulative-gas, logs]} (EIP-7642).

        @raise WireError: it is not that.
        """
        return _ETH69.decode(raw)

    def encode_eth69(self) -> bytes:
        """The reverse of L{decode_eth69}."""
        return _ETH69.encode(self)

    @cached_property
    def logs_bloom(self) -> bytes:
        """The Bloom filter of the logs, 256 bytes."""
        return logs_bloom(self.logs)


def receipts_root(receipts: Iterable[Receipt]) -> bytes:
    """What the header has for a block with these receipts, in the order of its transactions."""
    return ordered_root(receipt.encode() for receipt in receipts)


@attrs.frozen
class _WithBloom:
    status_or_root: bytes
    cumulative_gas_used: int
    logs_bloom: bytes
    logs: tuple[Log, ...]


def _load_status(item: rlp.Item) -> bytes:
    if type(item) is not bytes or (item not in (FAILED, SUCCEEDED) and len(item) != 32):
        raise WireError("neither a status nor a state root")
    return item


def _load_type(item: rlp.Item) -> int:
    kind = rlp.UINT8.load(item)
    if kind >= 0x80:
        raise WireError("a type above 0x7f")
    return kind


_STATUS = rlp.Shape(_load_status, bytes)
_LOGS = rlp.list_of(rlp.record(Log, address=ADDRESS, topics=rlp.list_of(HASH, most=4), data=BYTES))
_WITH_BLOOM = rlp.record(
    _WithBloom, status_or_root=_STATUS, cumulative_gas_used=UINT64, logs_bloom=rlp.fixed(256), logs=_LOGS
)
_ETH69 = rlp.record(
    Receipt,
    tx_type=rlp.Shape(_load_type, rlp.UINT8.dump),
    status_or_root=_STATUS,
    cumulative_gas_used=UINT64,
    logs=_LOGS,
)
