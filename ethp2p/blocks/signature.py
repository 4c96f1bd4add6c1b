"""
Signatures as they stand in transactions: parity, r and s as integers.
"""

from __future__ import annotations

from ethp2p.crypto.keys import PrivateKey, recover
from ethp2p.errors import WireError

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
#: Largest s accepted (EIP-2): its negative would sign the same, and give the transaction a second hash.
MAX_S = _ORDER // 2


def signer(parity: int, r: int, s: int, digest: bytes) -> bytes:
    """
    The address whose key signed C{digest}.

    @raise WireError: parity is not 0 or 1, r or s is out of range (EIP-2), or no key signs so.
    """
    if parity not in (0, 1) or not 0 < r < _ORDER or not 0 < s <= MAX_S:
        raise WireError("a signature out of range")
    return recover(r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,)), digest).node_id[12:]


def sign(key: PrivateKey, digest: bytes) -> tuple[int, int, int]:
    """Parity, r and s of a signature of C{digest}."""
    signature = key.sign(digest)
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
