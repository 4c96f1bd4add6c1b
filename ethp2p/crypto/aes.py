"""
AES as RLPx uses it: a running key stream (CTR), and single blocks inside the MAC (ECB).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

_START, _ECB = CTR(bytes(16)), ECB()

_Mode = TypeVar("_Mode", CTR, ECB)


class _Cipher(Cipher[_Mode]):
    """
    One whose parts are right because they are made here.  The base would ask abstract classes about them, which is
    1 us of the 4 that a cipher costs to make; a handshake makes four on either side.
    """

    def __init__(self, algorithm: AES, mode: _Mode) -> None:
        self.algorithm = algorithm
        self.mode = mode


def stream(key: bytes, start: bytes | None = None) -> Cipher[CTR]:
    """
    CTR.  Each C{encryptor} or C{decryptor} of it is a stream of its own.

    @param key: 16 or 32 bytes.
    @param start: the counter's, 16 bytes; zeros by default.
    """
    return _Cipher(AES(key), _START if start is None else CTR(start))


def block(key: bytes) -> Callable[[bytes], bytes]:
    """
    What encrypts one block of 16 bytes.  It has no state, so one serves many.

    @param key: 16 or 32 bytes.
    """
    return _Cipher(AES(key), _ECB).encryptor().update
