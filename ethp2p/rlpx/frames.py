"""
Frames: one message each, encrypted and authenticated.

A frame is a header of 16 bytes, its MAC (16), the data padded to 16 bytes, and its MAC (16).  One AES-CTR stream
and one Keccak state run through all that a side sends.  Written for speed: a frame of 100 bytes costs ten calls
into C and little else, so what looks like a function is spelt out.

Source: devp2p rlpx.md, "Framing" and "MAC".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hmac import compare_digest
from typing import Any

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher

from ethp2p.codec import rlp
from ethp2p.crypto import aes
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


def stream_cipher(aes_secret: bytes) -> Cipher[Any]:
    """The cipher of all that a side sends; each direction begins it anew."""
    return aes.stream(aes_secret)


def block_cipher(mac_secret: bytes) -> Block:
    """The cipher inside the MAC."""
    return aes.block(mac_secret)


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

    def __init__(self, stream: Cipher[Any], block: Block, mac: RunningHash) -> None:
        """
        @param stream: what is encrypted with.
        @param block: the cipher inside the MAC.
        @param mac: the egress MAC state after the handshake.
        """
        self._encrypt = stream.encryptor().update
        self._aes = block
        self._update: Callable[[Any], object] = mac.update
        self._digest = mac.digest
        self._last = mac.digest()[:16]  # nothing is absorbed between two frames, so it is read once

    def write(self, code: int, payload: bytes) -> tuple[int, Iterator[bytes]]:
        """
        Make one frame.

        @return: its length, and its parts.  A part is made when it is asked for, and all of them must be before any
            of the next frame: so a big message is made no faster than it can be sent.
        @raise LocalProtocolError: the payload is too large for a frame, or the code for a code.
        """
        prefix = _CODES[code] if 0 <= code <= 0xFF else _encode_code(code)
        size = len(prefix) + len(payload)
        if size > MAX_FRAME:
            raise LocalProtocolError(f"a message of {len(payload)} bytes is too large for a frame")
        return _HEAD + size + (-size & 15) + _TAG, self._parts(size, prefix, payload)

    def _parts(self, size: int, prefix: bytes, payload: bytes) -> Iterator[bytes]:
        encrypt, aes, update, digest = self._encrypt, self._aes, self._update, self._digest
        header = encrypt((size << 104 | _HEADER_DATA).to_bytes(16))
        update((_int(aes(self._last)) ^ _int(header)).to_bytes(16))
        yield header + digest()[:16]
        if size <= PIECE:
            body = encrypt(prefix + payload + _PADDING[size & 15])
            update(body)
            yield body
        else:
            view = memoryview(payload)
            for start in range(0, len(payload), PIECE):
                piece = view[start : start + PIECE]
                body = encrypt(piece if start else prefix + piece)
                update(body)
                yield body
            body = encrypt(_PADDING[size & 15])
            update(body)
            yield body
        seed = digest()[:16]
        update((_int(aes(seed)) ^ _int(seed)).to_bytes(16))
        self._last = tag = digest()[:16]
        yield tag


class FrameReader:
    """
    Takes frames apart, however they come chopped.

    Bytes are appended to C{data}.  A frame of up to L{PIECE} bytes is kept there until it is whole, a bigger one is
    decrypted as it comes: so a peer that sends byte by byte makes us copy no more than a piece each time.
    """

    __slots__ = (
        "_aes",
        "_body",
        "_decrypt",
        "_digest",
        "_last",
        "_left",
        "_size",
        "_start",
        "_update",
        "data",
        "max_frame",
    )

    def __init__(self, stream: Cipher[Any], block: Block, mac: RunningHash, data: bytes = b"") -> None:
        """
        @param stream: what is decrypted with.
        @param block: the cipher inside the MAC.
        @param mac: the ingress MAC state after the handshake.
        @param data: what came already.
        """
        self._decrypt = stream.decryptor().update
        self._aes = block
        self._update: Callable[[Any], object] = mac.update
        self._digest = mac.digest
        self._last = mac.digest()[:16]
        #: What came and is not taken apart.
        self.data = data
        #: Most bytes of data that the next frame may have.
        self.max_frame = MAX_FRAME
        self._start = 0  # where the next byte is
        self._size = 0  # of the frame's data, when its header has been read
        self._left = 0  # of its padded data, still to come
        self._body = bytearray()  # what is decrypted of a big one

    def next_message(self) -> MessageReceived | None:
        """
        @return: None when more bytes are needed.
        @raise BadMAC: a header or a body is not what the peer sent, or not from the peer.
        @raise FrameTooLarge: the header announces more than L{max_frame}.
        @raise BadFrame: the data does not begin with a canonical code.
        """
        data, start = self.data, self._start
        have = len(data) - start
        aes, update, digest, decrypt = self._aes, self._update, self._digest, self._decrypt
        if not self._size:
            if have < _HEAD:
                self._keep(start)
                return None
            header = data[start : start + 16]
            update((_int(aes(self._last)) ^ _int(header)).to_bytes(16))
            if not compare_digest(digest()[:16], data[start + 16 : start + 32]):
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
        is_big = self._size > PIECE
        if have < left + _TAG:
            self._keep(self._take(start, min(have, left)) if is_big else start)
            return None
        after = start + left
        if is_big:
            self._take(start, left)
        else:
            body = data[start:after]
            update(body)
        seed = digest()[:16]
        update((_int(aes(seed)) ^ _int(seed)).to_bytes(16))
        self._last = digest()[:16]
        if not compare_digest(self._last, data[after : after + _TAG]):
            raise BadMAC("the MAC of a frame body does not fit")
        self._start = after + _TAG
        size, self._size = self._size, 0
        if is_big:
            return self._whole(size)
        plain = decrypt(body)
        first = plain[0]
        if 0 < first <= 0x80:
            return MessageReceived(first & 0x7F, plain[1:size])
        code, after = _decode_code(plain[:size])
        return MessageReceived(code, plain[after:size])

    def _take(self, start: int, size: int) -> int:
        """Hash and decrypt so much of a big frame, and tell where the next byte is."""
        view = memoryview(self.data)[start : start + size]
        for first in range(0, size, PIECE):
            piece = view[first : first + PIECE]
            self._update(piece)
            self._body += self._decrypt(piece)
        self._left -= size
        return start + size

    def _keep(self, start: int) -> None:
        """Keep only what is still needed, until there is more."""
        self.data = self.data[start:]
        self._start = 0

    def _whole(self, size: int) -> MessageReceived:
        """The message of a big frame."""
        body, self._body = self._body, bytearray()
        code, after = _decode_code(bytes(body[: 1 + _MAX_CODE_SIZE]))
        return MessageReceived(code, bytes(memoryview(body)[after:size]))


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
