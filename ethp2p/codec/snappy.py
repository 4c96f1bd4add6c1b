"""
Snappy block format with the declared length looked at first.

Source: EIP-706; the length is a little-endian base-128 number in front of the block.
"""

from __future__ import annotations

from io import BytesIO

from cramjam import DecompressionError
from cramjam import snappy as _snappy

from ethp2p.errors import OversizeError, WireError

#: From this many bytes on it pays to decompress in place: there is one large allocation then and not two, and what
#: the allocator takes from the system for a moment only costs more than the decompression.
LARGE = 64 * 1024


def declared_length(data: bytes) -> int:
    """
    What the block says it will be when decompressed, in bytes.

    @raise WireError: there is no such number, or it needs more than 32 bits.
    """
    if data:
        try:
            return _snappy.decompress_raw_len(data)
        except DecompressionError:
            pass
    raise WireError("snappy block without a length")


def compress(data: bytes) -> bytes:
    """One snappy block."""
    return bytes(_snappy.compress_raw(data))


def decompress(data: bytes, limit: int) -> bytes:
    """
    Decompress one block.

    @param limit: most bytes that may come out; checked before anything is allocated.
    @raise OversizeError: the block declares more.
    @raise WireError: the block is not snappy, or not of the length it declares.
    """
    length = declared_length(data)
    if length > limit:
        raise OversizeError(f"snappy block declares {length} bytes, more than {limit}")
    if 3 * length > 64 * len(data):  # no element makes more of itself than a copy does; so a lie allocates nothing
        raise WireError(f"snappy block of {len(data)} bytes declares {length}, more than it can hold")
    try:
        if length < LARGE:
            return bytes(_snappy.decompress_raw(data))
        plain = BytesIO(bytes(length))
        with plain.getbuffer() as room:
            _snappy.decompress_raw_into(data, room)
        return plain.getvalue()
    except DecompressionError:
        raise WireError("snappy block is damaged") from None
