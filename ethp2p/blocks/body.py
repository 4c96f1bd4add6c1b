"""
Block bodies, kept as the bytes they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs

from ethp2p.blocks.envelope import unwrap, wrap
from ethp2p.blocks.header import EMPTY_OMMERS_HASH, Header
from ethp2p.blocks.steps import Steps
from ethp2p.blocks.trie import ordered_root, ordered_root_steps
from ethp2p.codec import rlp
from ethp2p.codec.rlp import ADDRESS, UINT64
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import WireError

#: Most transactions, and ommers, and withdrawals in one body.  So many transactions need 1.4 billion gas, twenty
#: times what Ethereum's blocks have.
MAX_PARTS = 1 << 16


@attrs.frozen
class Withdrawal:
    """Ether that the consensus layer pays out (EIP-4895)."""

    index: int
    validator_index: int
    address: bytes
    #: In gwei.
    amount: int

    @classmethod
    def decode(cls, raw: bytes) -> Withdrawal:
        """@raise ethp2p.errors.WireError: not the RLP of a withdrawal."""
        return _WITHDRAWAL.decode(raw)

    def encode(self) -> bytes:
        """The RLP."""
        return _WITHDRAWAL.encode(self)


_WITHDRAWAL = rlp.record(Withdrawal, index=UINT64, validator_index=UINT64, address=ADDRESS, amount=UINT64)


@attrs.frozen(eq=False, repr=False)
class Body:
    """
    What a block has beside its header: C{[transactions, ommers, withdrawals?]}.

    Nothing in it is parsed: each part is a tuple of encodings, to be decoded by those who want it, and
    L{matches} says whether they are the ones that a header means.  Bodies are equal when their encodings are.

    A BNB Smart Chain body goes on with C{sidecars}; it is not of this shape, and refused.
    """

    #: Opaque forms, for L{ethp2p.blocks.Transaction.decode}.
    transactions: tuple[bytes, ...] = ()
    #: RLP of headers, for L{Header.decode}.
    ommers: tuple[bytes, ...] = ()
    #: RLP, for L{Withdrawal.decode}; None before Shanghai.
    withdrawals: tuple[bytes, ...] | None = None

    @classmethod
    def decode(cls, raw: bytes) -> Body:
        """
        Split one body into its parts.

        @raise ethp2p.errors.WireError: not two or three lists, one of more than L{MAX_PARTS}, or a transaction that
            is no envelope.
        """
        body = cls.of_items(rlp.split(raw, max_items=4))
        object.__setattr__(body, "raw", bytes(raw))
        return body

    @classmethod
    def of_items(cls, items: Sequence[bytes]) -> Body:
        """
        The same from the encodings of the two or three lists.

        @raise ethp2p.errors.WireError: as L{decode}.
        """
        if not 2 <= len(items) <= 3:
            raise WireError(f"a body of {len(items)} parts, not 2 or 3")
        transactions, ommers, *withdrawals = [tuple(rlp.split(item, max_items=MAX_PARTS)) for item in items]
        return cls(tuple(map(unwrap, transactions)), ommers, withdrawals[0] if withdrawals else None)

    def items(self) -> list[bytes]:
        """The encodings of the two or three lists: the reverse of L{of_items}."""
        lists = [rlp.join(map(wrap, self.transactions)), rlp.join(self.ommers)]
        return lists if self.withdrawals is None else [*lists, rlp.join(self.withdrawals)]

    @cached_property
    def raw(self) -> bytes:
        """The RLP: as it came in, or encoded when first asked for."""
        return rlp.join(self.items())

    def encode(self) -> bytes:
        """The same as C{raw}."""
        return self.raw

    @cached_property
    def _transactions_root(self) -> bytes:
        return ordered_root(self.transactions)

    @cached_property
    def _withdrawals_root(self) -> bytes | None:
        return None if self.withdrawals is None else ordered_root(self.withdrawals)

    def roots_in_steps(self) -> Steps[None]:
        """Compute the roots, which are kept: a body of many parts takes a second."""
        object.__setattr__(self, "_transactions_root", (yield from ordered_root_steps(self.transactions)))
        if self.withdrawals is not None:
            object.__setattr__(self, "_withdrawals_root", (yield from ordered_root_steps(self.withdrawals)))

    def transactions_root(self) -> bytes:
        """As the header of this body has it."""
        return self._transactions_root

    def ommers_hash(self) -> bytes:
        """As the header of this body has it."""
        return keccak256(rlp.join(self.ommers)) if self.ommers else EMPTY_OMMERS_HASH

    def withdrawals_root(self) -> bytes | None:
        """As the header of this body has it: None before Shanghai."""
        return self._withdrawals_root

    def matches(self, header: Header) -> bool:
        """Whether this is the body of the block with C{header}."""
        return (
            header.ommers_hash == self.ommers_hash()
            and header.withdrawals_root == self.withdrawals_root()
            and header.transactions_root == self.transactions_root()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<Body of {len(self.transactions)} transactions, {len(self.raw)} bytes>"
