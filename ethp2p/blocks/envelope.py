"""
Typed envelopes: a list in RLP, or a type byte and a payload.

A transaction or a receipt in I{opaque} form is either the RLP of a list (legacy), or a type from 0x01 to 0x7f
and a payload.  Where it stands in a list of RLP, as an I{item}, the typed form is wrapped in a string.

Source: EIP-2718.
"""

from __future__ import annotations

from ethp2p.codec import rlp
from ethp2p.errors import WireError

#: First byte of every list in RLP, at least.
_LIST = b"\xc0"


def _typed(opaque: bytes) -> bytes:
    if len(opaque) < 2 or not 0 < opaque[0] < 0x80:
        raise WireError("an envelope without a type and a payload")
    return opaque


def unwrap(item: bytes) -> bytes:
    """
    The opaque form of an encoded item.

    @raise WireError: neither a list nor a string of a type and a payload.
    """
    return item if item[:1] >= _LIST else _typed(rlp.BYTES.decode(item))


def wrap(opaque: bytes) -> bytes:
    """The encoded item for an opaque form: the reverse of L{unwrap}."""
    return opaque if opaque[:1] >= _LIST else rlp.encode(opaque)


def open_envelope(opaque: bytes) -> tuple[int, bytes]:
    """
    The type, 0 for legacy, and the payload, which is RLP.

    @raise WireError: there is neither a list nor a type and a payload.
    """
    return (0, opaque) if opaque[:1] >= _LIST else (_typed(opaque)[0], opaque[1:])


def seal_envelope(kind: int, payload: bytes) -> bytes:
    """The opaque form of a payload: the reverse of L{open_envelope}."""
    return bytes((kind,)) + payload if kind else payload
