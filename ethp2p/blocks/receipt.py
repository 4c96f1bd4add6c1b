"""
Receipts, in the form that the receipts trie has and in that of eth/69.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import attrs

from ethp2p.blocks.envelope import open_envelope, seal_envelope
from ethp2p.blocks.steps import Steps, finish
from ethp2p.blocks.trie import ordered_root
from ethp2p.codec import rlp
from ethp2p.codec.rlp import ADDRESS, BYTES, HASH, UINT64
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import WireError

#: C{status_or_root} of a transaction that failed, and of one that did not (EIP-658).
FAILED, SUCCEEDED = b"", b"\x01"
#: Most logs in one receipt.  So many need 49 million gas, and a transaction has 17 at most (EIP-7825).
MAX_LOGS = 1 << 17
#: Logs that are read in one step: 5 ms if all are different.
LOGS_IN_STEP = 64


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
        return finish(cls.decode_steps(opaque))

    @classmethod
    def decode_steps(cls, opaque: bytes) -> Steps[Receipt]:
        """L{decode} in steps."""
        kind, payload = open_envelope(opaque)
        status, gas, bloom, logs = _four(payload)
        said = _BLOOM.decode(bloom)
        receipt = yield from cls._read(kind, status, gas, logs)
        if receipt.logs_bloom != said:
            raise WireError("a receipt with a Bloom filter that is not of its logs")
        object.__setattr__(receipt, "raw", bytes(opaque))
        return receipt

    @classmethod
    def decode_eth69(cls, item: bytes) -> Receipt:
        """
        Read C{[tx-type, status, cumulative-gas, logs]} (EIP-7642).

        @raise WireError: it is not that.
        """
        return finish(cls.decode_eth69_steps(item))

    @classmethod
    def decode_eth69_steps(cls, item: bytes) -> Steps[Receipt]:
        """L{decode_eth69} in steps."""
        kind, status, gas, logs = _four(item)
        receipt = yield from cls._read(_TYPE.decode(kind), status, gas, logs)
        payload = rlp.join((status, gas, _BLOOM.encode(receipt.logs_bloom), logs))
        object.__setattr__(receipt, "raw", seal_envelope(receipt.tx_type, payload))
        return receipt

    @classmethod
    def _read(cls, kind: int, status: bytes, gas: bytes, logs: bytes) -> Steps[Receipt]:
        """From the encodings of what both forms have, the Bloom filter computed."""
        status_or_root, cumulative_gas_used = _STATUS.decode(status), UINT64.decode(gas)
        spans = rlp.split(logs, max_items=MAX_LOGS)
        found: list[Log] = []
        bloom = 0
        for at in range(0, len(spans), LOGS_IN_STEP):
            some = _LOGS.load(rlp.decode(rlp.join(spans[at : at + LOGS_IN_STEP]), max_items=LOGS_IN_STEP * _LOG_ITEMS))
            found += some
            bloom |= int.from_bytes(logs_bloom(some), "big")
            yield
        receipt = cls(kind, status_or_root, cumulative_gas_used, tuple(found))
        object.__setattr__(receipt, "logs_bloom", bloom.to_bytes(256, "big"))
        return receipt

    @cached_property
    def raw(self) -> bytes:
        """The opaque form: as it came in, or made of what came in, or encoded when first asked for."""
        fields = _STATUS.dump(self.status_or_root), UINT64.dump(self.cumulative_gas_used), self.logs_bloom
        return seal_envelope(self.tx_type, rlp.encode((*fields, _LOGS.dump(self.logs))))

    def encode(self) -> bytes:
        """The same as C{raw}: the reverse of L{decode}."""
        return self.raw

    def encode_eth69(self) -> bytes:
        """The reverse of L{decode_eth69}."""
        status, gas, _, logs = _four(open_envelope(self.raw)[1])
        return rlp.join((_TYPE.encode(self.tx_type), status, gas, logs))

    @cached_property
    def logs_bloom(self) -> bytes:
        """The Bloom filter of the logs, 256 bytes."""
        return logs_bloom(self.logs)


def receipts_root(receipts: Iterable[Receipt]) -> bytes:
    """What the header has for a block with these receipts, in the order of its transactions."""
    return ordered_root(receipt.encode() for receipt in receipts)


def _four(raw: bytes) -> list[bytes]:
    """The encodings of the four fields of either form."""
    spans = rlp.split(raw, max_items=5)
    if len(spans) != 4:
        raise WireError(f"a receipt of {len(spans)} fields, not 4")
    return spans


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
_TYPE = rlp.Shape(_load_type, rlp.UINT8.dump)
_BLOOM = rlp.fixed(256)
_LOGS = rlp.list_of(rlp.record(Log, address=ADDRESS, topics=rlp.list_of(HASH, most=4), data=BYTES))
#: The log itself, address, topics, four of them, data.
_LOG_ITEMS = 8
