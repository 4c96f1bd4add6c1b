"""
Block headers, from Frontier to Amsterdam.
"""

from __future__ import annotations

from functools import cached_property

import attrs

from ethp2p.blocks.trie import EMPTY_ROOT
from ethp2p.codec import rlp
from ethp2p.codec.rlp import ADDRESS, HASH, UINT64, UINT256
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import LocalProtocolError

#: Keccak-256 of an empty list in RLP: C{ommers_hash} of a block that has none.
EMPTY_OMMERS_HASH = keccak256(b"\xc0")
#: Most bytes accepted in C{extra_data}.  Ethereum's own rules allow 32; proof-of-authority chains keep their
#: validators there.
MAX_EXTRA_DATA = 100 * 1024


@attrs.frozen(eq=False, repr=False)
class Header:
    """
    A block's header, its fields named as in the specifications; left alone, they are an empty block's.  A
    field of a later fork is None before that fork, and so are all that follow it.  Headers are equal when
    their encodings are.

    Source: Yellow Paper, section 4.4; EIP-1559, 4895, 4844, 4788, 7685, 7928 and 7843.
    """

    parent_hash: bytes = bytes(32)
    ommers_hash: bytes = EMPTY_OMMERS_HASH
    beneficiary: bytes = bytes(20)
    state_root: bytes = EMPTY_ROOT
    transactions_root: bytes = EMPTY_ROOT
    receipts_root: bytes = EMPTY_ROOT
    logs_bloom: bytes = bytes(256)
    difficulty: int = 0
    number: int = 0
    gas_limit: int = 0
    gas_used: int = 0
    #: Seconds since 1970.
    timestamp: int = 0
    extra_data: bytes = b""
    prev_randao: bytes = bytes(32)
    nonce: bytes = bytes(8)
    #: In wei, since London.
    base_fee_per_gas: int | None = None
    #: Since Shanghai.
    withdrawals_root: bytes | None = None
    #: Since Cancun, as the next two.
    blob_gas_used: int | None = None
    excess_blob_gas: int | None = None
    parent_beacon_block_root: bytes | None = None
    #: Since Prague.
    requests_hash: bytes | None = None
    #: Since Amsterdam, as the next.
    block_access_list_hash: bytes | None = None
    slot_number: int | None = None

    @classmethod
    def decode(cls, raw: bytes) -> Header:
        """
        Read one header, exactly; C{raw} is kept, and hashed when the hash is asked for.

        @raise ethp2p.errors.WireError: not the RLP of a header of any fork, or a field out of its bounds.
        """
        header = _HEADER.load(rlp.decode(raw, max_depth=1, max_items=_MOST_FIELDS))
        object.__setattr__(header, "raw", bytes(raw))
        return header

    @cached_property
    def raw(self) -> bytes:
        """
        The RLP: as it came in, or encoded from the fields when first asked for.

        @raise LocalProtocolError: a field is missing before one that is there.
        """
        present = [getattr(self, name) is not None for name in _LATER_FIELDS]
        if False in present and True in present[present.index(False) :]:
            raise LocalProtocolError(f"a header without {_LATER_FIELDS[present.index(False)]} but with later fields")
        return _HEADER.encode(self)

    def encode(self) -> bytes:
        """The same as C{raw}."""
        return self.raw

    @cached_property
    def hash(self) -> bytes:
        """The block's hash: Keccak-256 of the encoding."""
        return keccak256(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Header {self.number} {self.hash.hex()[:16]}>"


_LATER_FIELDS = (
    "base_fee_per_gas",
    "withdrawals_root",
    "blob_gas_used",
    "excess_blob_gas",
    "parent_beacon_block_root",
    "requests_hash",
    "block_access_list_hash",
    "slot_number",
)
_MOST_FIELDS = 15 + len(_LATER_FIELDS)
_HEADER = rlp.record(
    Header,
    optional=len(_LATER_FIELDS),
    parent_hash=HASH,
    ommers_hash=HASH,
    beneficiary=ADDRESS,
    state_root=HASH,
    transactions_root=HASH,
    receipts_root=HASH,
    logs_bloom=rlp.fixed(256),
    difficulty=rlp.uint(80),
    number=UINT64,
    gas_limit=UINT64,
    gas_used=UINT64,
    timestamp=UINT64,
    extra_data=rlp.at_most(MAX_EXTRA_DATA),
    prev_randao=HASH,
    nonce=rlp.fixed(8),
    base_fee_per_gas=UINT256,
    withdrawals_root=HASH,
    blob_gas_used=UINT64,
    excess_blob_gas=UINT64,
    parent_beacon_block_root=HASH,
    requests_hash=HASH,
    block_access_list_hash=HASH,
    slot_number=UINT64,
)
