"""
Whole blocks.
"""

from __future__ import annotations

import attrs

from ethp2p.blocks.body import Body
from ethp2p.blocks.header import Header
from ethp2p.codec import rlp
from ethp2p.errors import WireError


@attrs.frozen
class Block:
    """
    A header and a body: C{[header, transactions, ommers, withdrawals?]}.  That they belong together is not
    taken for granted: see L{Body.matches}.
    """

    header: Header
    body: Body

    @classmethod
    def decode(cls, raw: bytes) -> Block:
        """@raise WireError: not a block, its header is not one, or its body is not one."""
        items = rlp.split(raw, max_items=5)
        if not items:
            raise WireError("a block without a header")
        return cls(Header.decode(items[0]), Body.of_items(items[1:]))

    def encode(self) -> bytes:
        """The RLP."""
        return rlp.join([self.header.raw, *self.body.items()])
