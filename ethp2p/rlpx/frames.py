"""
Frames: one message each, encrypted and authenticated.

A frame is a header of 16 bytes, its MAC (16), the data padded to 16 bytes, and its MAC (16).  One AES-CTR stream
and one Keccak state run through all that a side sends.  Written for speed: a frame of 100 bytes costs ten calls
into C and little else, so what looks like a function is spelt out.

Source: devp2p rlpx.md, "Framing" and "MAC".
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Any

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import RunningHash
from ethp2p.errors import LocalProtocolError, WireError
from ethp2p.rlpx.errors import BadFrame, BadMAC, FrameTooLarge
from ethp2p.rlpx.limits import MAX_FRAME, PIECE

#: Header and its MAC.
_HEAD = 32
_TAG = 16
#: [capability-id 0, context-id 0] in its place behind the three bytes of size; zeros fill the header.
_HEADER_DATA = 0xC28080 << 80
_PADDING = tuple(bytes(-size % 16) for size in range(16))
#: A message code is an RLP integer; this many bytes of it are more than anybody uses.
_MAX_CODE_SIZE = 4
_CODE = rlp.uint(8 * _MAX_CODE_SIZE)
_CODES = tuple(_CODE.encode(code) for code in range(0x100))

_int = int.from_bytes

#: AES-256 on single blocks: it has no state, so one serves both directions.
Block = Callable[[bytes], bytes]


def block_cipher(mac_secret: bytes) -> Block:
    """The cipher inside the MAC."""
    return Cipher(AES(mac_secret), ECB()).encryptor().update


@attrs.define
class MessageReceived:
    """
    The peer sent a message.  Not frozen: that would double the cost of making it, which is paid for each message.
    """

    code: int
    payload: bytes


class FrameWriter:
    """
    Makes frames, in the order they are to be sent.
    """

    __slots__ = ("_aes", "_digest", "_encrypt", "_last", "_update")

    def __init__(self, aes_secret: bytes, block: Block, mac: RunningHash) -> None:
        """
        @param block: the cipher inside the MAC.
        @param mac: the egress MAC state after the handshake.
        """
        self._encrypt = Cipher(AES(aes_secret), CTR(bytes(16))).encryptor().update
        self._aes = block
        self._update = mac.update
        self._digest = mac.digest
        self._last = mac.digest()[:16]  # nothing is absorbed between two frames, so it is read once

    def write(self, code: int, payload: bytes, out: list[bytes]) -> int:
        """
        Append one frame to C{out}, in parts.

        @return: its length.
        @raise LocalProtocolError: the payload is too large for a frame, or the code for a code.
        """
        prefix = _CODES[code] if 0 <= code <= 0xFF else _encode_code(code)
        size = len(prefix) + len(payload)
        if size > MAX_FRAME:
            raise LocalProtocolError(f"a message of {len(payload)} bytes is too large for a frame")
        encrypt, aes, update, digest = self._encrypt, self._aes, self._update, self._digest
        header = encrypt((size << 104 | _HEADER_DATA).to_bytes(16))
        update((_int(aes(self._last)) ^ _int(header)).to_bytes(16))
        out += header, digest()[:16]
        if size <= PIECE:
            body = encrypt(prefix + payload + _PADDING[size & 15])
            update(body)
            out.append(body)
        else:
            view = memoryview(payload)
            for start in range(0, len(payload), PIECE):
                piece = view[start : start + PIECE]
                body = encrypt(piece if start else prefix + piece)
                update(body)
                out.append(body)
            body = encrypt(_PADDING[size & 15])
            update(body)
            out.append(body)
        seed = digest()[:16]
        update((_int(aes(seed)) ^ _int(seed)).to_bytes(16))
        self._last = tag = digest()[:16]
        out.append(tag)
        return _HEAD + size + (-size & 15) + _TAG


class FrameReader:
    """
    Takes frames apart, however they come chopped.

    Bytes are appended to C{buffer}; at most one piece of them stays there while a frame is incomplete.
    """

    __slots__ = (
        "_aes",
        "_decrypt",
        "_digest",
        "_last",
        "_left",
        "_pieces",
        "_size",
        "_start",
        "_update",
        "buffer",
        "max_frame",
    )

    def __init__(self, aes_secret: bytes, block: Block, mac: RunningHash, buffer: bytearray) -> None:
        """
        @param block: the cipher inside the MAC.
        @param mac: the ingress MAC state after the handshake.
        @param buffer: where bytes come in; it may hold some already.
        """
        self._decrypt = Cipher(AES(aes_secret), CTR(bytes(16))).decryptor().update
        self._aes = block
        self._update: Callable[[Any], object] = mac.update
        self._digest = mac.digest
        self._last = mac.digest()[:16]
        self.buffer = buffer
        #: Most bytes of data that the next frame may have.
        self.max_frame = MAX_FRAME
        self._start = 0  # where in the buffer the next byte is
        self._size = 0  # of the frame's data, when its header has been read
        self._left = 0  # of its padded data, still to come
        self._pieces: list[bytes] = []  # what is decrypted of it

    def next_message(self) -> MessageReceived | None:
        """
        @return: None when more bytes are needed.
        @raise BadMAC: a header or a body is not what the peer sent, or not from the peer.
        @raise FrameTooLarge: the header announces more than L{max_frame}.
        @raise BadFrame: the data does not begin with a canonical code.
        """
        buffer, start = self.buffer, self._start
        have = len(buffer) - start
        aes, update, digest, decrypt = self._aes, self._update, self._digest, self._decrypt
        if not self._size:
            if have < _HEAD:
                self._wait(start)
                return None
            header = buffer[start : start + 16]
            update((_int(aes(self._last)) ^ _int(header)).to_bytes(16))
            if not compare_digest(digest()[:16], buffer[start + 16 : start + 32]):
                raise BadMAC("the MAC of a frame header does not fit")
            size = _int(decrypt(header)[:3])
            if size > self.max_frame:
                raise FrameTooLarge(f"a frame of {size} bytes announced, more than {self.max_frame}")
            if not size:
                raise BadFrame("a frame without a code")
            self._size = size
            self._left = size + (-size & 15)
            start += _HEAD
            have -= _HEAD
        left = self._left
        while left > PIECE and have >= PIECE:
            with memoryview(buffer)[start : start + PIECE] as piece:
                update(piece)
                self._pieces.append(decrypt(piece))
            start += PIECE
            have -= PIECE
            self._left = left = left - PIECE
        if have < left + _TAG:
            self._wait(start)
            return None
        body = buffer[start : start + left]
        start += left
        update(body)
        seed = digest()[:16]
        update((_int(aes(seed)) ^ _int(seed)).to_bytes(16))
        self._last = digest()[:16]
        if not compare_digest(self._last, buffer[start : start + _TAG]):
            raise BadMAC("the MAC of a frame body does not fit")
        self._start = start + _TAG
        data = decrypt(body)
        size, self._size = self._size, 0
        if self._pieces:
            return self._join(data, size)
        first = data[0]
        if 0 < first <= 0x80:
            return MessageReceived(first & 0x7F, data[1:size])
        code, after = _decode_code(data[:size])
        return MessageReceived(code, data[after:size])

    def _wait(self, start: int) -> None:
        """Keep only what is still needed, until there is more."""
        del self.buffer[:start]
        self._start = 0

    def _join(self, last: bytes, size: int) -> MessageReceived:
        pieces, self._pieces = self._pieces, []
        code, after = _decode_code(pieces[0])
        parts: list[bytes | memoryview] = [*pieces, memoryview(last)[: len(last) - (-size & 15)]]
        parts[0] = memoryview(pieces[0])[after:]
        return MessageReceived(code, b"".join(parts))


def _encode_code(code: int) -> bytes:
    if not 0 <= code < 1 << 8 * _MAX_CODE_SIZE:
        raise LocalProtocolError(f"{code} is not a message code")
    return _CODE.encode(code)


def _decode_code(data: bytes) -> tuple[int, int]:
    """The code that C{data} begins with, and where the payload starts."""
    try:
        prefix = rlp.first(data[: 1 + _MAX_CODE_SIZE])
        return _CODE.decode(prefix), len(prefix)
    except WireError as error:
        raise BadFrame(f"a frame without a code: {error}") from None
