"""
The cryptography of the handshake, for the "v4" identity scheme.

Source: devp2p discv5/discv5-theory.md, "Handshake Steps" and "Identity-Specific Cryptography in the Handshake".
"""

from __future__ import annotations

import hmac
from hashlib import sha256

import coincurve

from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.errors import WireError

_KDF_TEXT = b"discovery v5 key agreement"
_PROOF_TEXT = b"discovery v5 identity proof"
#: HKDF-Expand of 32 bytes is one round, the first.
_FIRST = b"\x01"


def ecdh(key: PrivateKey, point: bytes) -> bytes:
    """
    The shared point, compressed to 33 bytes; RLPx takes its x alone.

    @param point: a public key as SEC 1 writes it, 33 or 65 bytes.
    @raise WireError: it is not on the curve.
    """
    try:
        return coincurve.PublicKey(point).multiply(key.secret).format(True)
    except ValueError:
        raise WireError("not a point on secp256k1") from None


def derive_keys(secret: bytes, challenge_data: bytes, initiator: bytes, recipient: bytes) -> tuple[bytes, bytes]:
    """
    Both keys of a session, 16 bytes each: HKDF (RFC 5869) with SHA-256 and the challenge as salt.

    @param secret: what L{ecdh} gives.
    @param initiator: node id of who answers the challenge.
    @param recipient: node id of who made it.
    @return: what the initiator writes with, and what the recipient writes with.
    """
    prk = hmac.digest(challenge_data, secret, "sha256")
    data = hmac.digest(prk, _KDF_TEXT + initiator + recipient + _FIRST, "sha256")
    return data[:16], data[16:]


def _digest(challenge_data: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return sha256(_PROOF_TEXT + challenge_data + ephemeral + recipient).digest()


def sign_id(key: PrivateKey, challenge_data: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    """The id-signature, 64 bytes: whoever holds C{key} answers this very challenge with this ephemeral key."""
    return key.sign(_digest(challenge_data, ephemeral, recipient))[:64]


def verify_id(
    public_key: PublicKey, signature: bytes, challenge_data: bytes, ephemeral: bytes, recipient: bytes
) -> bool:
    """Whether L{sign_id} made C{signature} with the key of C{public_key}."""
    return public_key.verify(signature, _digest(challenge_data, ephemeral, recipient))
