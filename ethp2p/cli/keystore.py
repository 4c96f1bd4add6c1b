"""
Keys under a password: geth's C{UTC--...} files, which its C{devp2p dns sign} wants.

Source: Web3 Secret Storage Definition, version 3.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import ConfigError

#: Most bytes of memory for scrypt: four times what geth's files need.
MAX_MEMORY = 1 << 30
#: Most rounds of PBKDF2, and most of scrypt's passes: a minute or so.
MAX_ROUNDS = 100_000_000
MAX_PASSES = 64


def unlock(text: str, password: str) -> PrivateKey:
    """
    @param text: the JSON of a key file.
    @raise ConfigError: the password is wrong, or the file is none of this kind.
    """
    try:
        fields = json.loads(text)
        if fields["version"] != 3:
            raise ConfigError(f"a key file of version {fields['version']!r}, not 3")
        crypto = fields["crypto"]
        if crypto["cipher"] != "aes-128-ctr":
            raise ConfigError(f"a key file with cipher {crypto['cipher']!r}")
        ciphertext, mac, nonce = map(bytes.fromhex, (crypto["ciphertext"], crypto["mac"], crypto["cipherparams"]["iv"]))
        derived = _derive(crypto["kdf"], crypto["kdfparams"], password.encode())
        if not hmac.compare_digest(keccak256(derived[16:32] + ciphertext), mac):
            raise ConfigError("the password is wrong")
        decryptor = Cipher(AES(derived[:16]), CTR(nonce)).decryptor()
        return PrivateKey.parse(decryptor.update(ciphertext) + decryptor.finalize())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise ConfigError(f"not a key file: {type(error).__name__} {error}") from None


def _derive(kdf: str, given: dict[str, Any], password: bytes) -> bytes:
    salt, length = bytes.fromhex(given["salt"]), given["dklen"]
    if length != 32:
        raise ConfigError(f"a key file with {length!r} bytes from its password, not 32")
    if kdf == "scrypt":
        n, r, p = (int(given[name]) for name in "nrp")
        if not (n > 0 and r > 0 and 0 < p <= MAX_PASSES and 128 * n * r <= MAX_MEMORY // 2):
            raise ConfigError(f"a key file that asks for too much: scrypt with n={n}, r={r}, p={p}")
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=MAX_MEMORY, dklen=32)
    if kdf == "pbkdf2" and given["prf"] == "hmac-sha256":
        rounds = int(given["c"])
        if not 0 < rounds <= MAX_ROUNDS:
            raise ConfigError(f"a key file that asks for too much: {rounds} rounds")
        return hashlib.pbkdf2_hmac("sha256", password, salt, rounds, 32)
    raise ConfigError(f"a key file with {kdf!r}, which is not known here")
