"""
Snappy block format with the declared length looked at first.

Source: EIP-706; the length is a little-endian base-128 number in front of the block.
"""

from __future__ import annotations

import snappy

from ethp2p.errors import OversizeError, WireError


def declared_length(data: bytes) -> int:
    """
    What the block says it will be when decompressed, in bytes.

    @raise WireError: there is no such number, or it needs more than 32 bits.
    """
    length = 0
    for index, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if length > 0xFFFFFFFF:
                break
            return length
    raise WireError("snappy block without a length")


def compress(data: bytes) -> bytes:
    """One snappy block."""
    return snappy.compress(data)  # type: ignore[no-any-return]


def decompress(data: bytes, limit: int) -> bytes:
    """
    Decompress one block.

    @param limit: most bytes that may come out; checked before anything is allocated.
    @raise OversizeError: the block declares more.
    @raise WireError: the block is not snappy.
    """
    length = declared_length(data)
    if length > limit:
        raise OversizeError(f"snappy block declares {length} bytes, more than {limit}")
    try:
        plain: bytes = snappy.uncompress(data)
    except snappy.UncompressError:
        raise WireError("snappy block is damaged") from None
    if len(plain) != length:
        raise WireError("snappy block is not of the length it declares")
    return plain
