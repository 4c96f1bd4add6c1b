"""
Keccak-256, one-shot and running.

pycryptodome does the work; where the small C module of safe-pysha3 is installed (the C{fast} extra), it
takes input of up to L{SMALL} bytes, for which pycryptodome's Python layer is most of the cost.
"""

from __future__ import annotations

from typing import Protocol

from Crypto.Hash import keccak as _keccak

#: Up to this many bytes the small C module is the faster one.
SMALL = 8192


class RunningHash(Protocol):
    """A hash that is read while it goes on, as the RLPx MACs are."""

    def update(self, data: bytes, /) -> object:
        """Absorb C{data}."""

    def digest(self) -> bytes:
        """The 32-byte hash of all that was absorbed so far."""


def _bulk(data: bytes = b"") -> RunningHash:
    return _keccak.new(digest_bits=256, data=data, update_after_digest=True)


try:
    from sha3 import keccak_256 as _small
except ImportError:
    _small = None


def running_keccak256(data: bytes = b"") -> RunningHash:
    """A running Keccak-256 that has absorbed C{data} and can be read many times."""
    return _bulk(data) if _small is None else _small(data)


def keccak256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 hash of C{data}."""
    if _small is not None and len(data) <= SMALL:
        return _small(data).digest()  # type: ignore[no-any-return]
    return _bulk(data).digest()
