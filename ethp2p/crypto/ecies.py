"""
ECIES as RLPx uses it: secp256k1, AES-128-CTR, HMAC-SHA256.

A sealed message is C{R || iv || c || d}: the sender's one-time point (65 bytes), the counter's start (16), the
ciphertext and the tag (32).  The tag also covers data that travels beside it, such as the size in front of an
EIP-8 handshake packet.

Source: devp2p rlpx.md, "ECIES Encryption"; EIP-8.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from ethp2p.crypto import aes
from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.errors import WireError

_POINT, _IV, _TAG = 65, 16, 32
#: How many bytes longer a sealed message is.
OVERHEAD = _POINT + _IV + _TAG


def _derive(shared: bytes) -> tuple[bytes, bytes]:
    """
    The keys for AES and HMAC from the shared x: NIST SP 800-56 concatenation KDF with SHA-256, one round; the
    second half is hashed once more.
    """
    material = sha256(b"\x00\x00\x00\x01" + shared).digest()
    return material[:16], sha256(material[16:]).digest()


def encrypt(recipient: PublicKey, message: bytes, mac_data: bytes = b"", *, random: RandomBytes) -> bytes:
    """
    Seal C{message} so that only C{recipient} can open it.

    @param mac_data: what the tag covers besides; it is not part of the result.
    @param random: gives the one-time key and the counter's start.
    @return: L{OVERHEAD} bytes more than C{message}.
    """
    once = PrivateKey.generate(random)
    iv = random(_IV)
    aes_key, mac_key = _derive(once.ecdh(recipient))
    sealed = iv + aes.stream(aes_key, iv).encryptor().update(message)
    return b"\x04" + once.public_key.raw + sealed + hmac.digest(mac_key, sealed + mac_data, "sha256")


def decrypt(key: PrivateKey, data: bytes, mac_data: bytes = b"") -> bytes:
    """
    Open what was sealed for C{key}.  The tag is compared, in constant time, before anything is decrypted; bytes
    that cannot be right cost no curve operation.

    @param mac_data: what the tag covers besides.
    @raise WireError: too short, no point in front, or the tag does not fit.
    """
    if len(data) < OVERHEAD or data[0] != 0x04:
        raise WireError("not an ECIES message")
    shared = key.ecdh(PublicKey.parse(data[:_POINT]))
    aes_key, mac_key = _derive(shared)
    sealed = data[_POINT:-_TAG]
    if not hmac.compare_digest(hmac.digest(mac_key, sealed + mac_data, "sha256"), data[-_TAG:]):
        raise WireError("ECIES tag does not fit")
    return aes.stream(aes_key, sealed[:_IV]).decryptor().update(sealed[_IV:])
