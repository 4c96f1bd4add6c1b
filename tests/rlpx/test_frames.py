"""Frames: geth's golden frame, the same stream written out step by step, caps, and every way to tamper."""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keccak import keccak256, running_keccak256
from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence
from ethp2p.rlpx.errors import BadFrame, BadMAC, FrameTooLarge
from ethp2p.rlpx.frames import FrameReader, FrameWriter, MessageReceived, block_cipher, stream_cipher
from ethp2p.rlpx.limits import MAX_FRAME, PIECE

AES_SECRET, MAC_SECRET = b"\x01" * 32, b"\x02" * 32


class ConstantHash:
    """The stand-in for a hash in geth's golden test: 0x01, 32 times, whatever it absorbs."""

    def update(self, data: bytes, /) -> None:
        pass

    def digest(self) -> bytes:
        return b"\x01" * 32


def writer() -> FrameWriter:
    return FrameWriter(stream_cipher(AES_SECRET), block_cipher(MAC_SECRET), running_keccak256(b"seed"))


def reader(data: bytes = b"") -> FrameReader:
    return FrameReader(stream_cipher(AES_SECRET), block_cipher(MAC_SECRET), running_keccak256(b"seed"), data)


def written(*messages: tuple[int, bytes]) -> bytes:
    out: list[bytes] = []
    frames = writer()
    for code, payload in messages:
        out += frames.write(code, payload)[1]
    return b"".join(out)


def read(frames: FrameReader) -> list[tuple[int, bytes]]:
    messages = []
    while (message := frames.next_message()) is not None:
        messages.append((message.code, message.payload))
    return messages


class SlowPeer:
    """The specification, line by line: what our codec must be equal to."""

    def __init__(self) -> None:
        self.stream = Cipher(AES(AES_SECRET), CTR(bytes(16))).encryptor()
        self.absorbed = b"seed"

    def digest(self) -> bytes:
        return keccak256(self.absorbed)[:16]

    def seed(self, other: bytes) -> None:
        mixed = Cipher(AES(MAC_SECRET), ECB()).encryptor().update(self.digest())
        self.absorbed += bytes(a ^ b for a, b in zip(mixed, other))

    def frame(self, data: bytes, header_data: bytes = b"\xc2\x80\x80", size: int | None = None) -> bytes:
        header = (len(data) if size is None else size).to_bytes(3) + header_data
        header = self.stream.update(header.ljust(16, b"\0"))
        self.seed(header)
        header_mac = self.digest()
        body = self.stream.update(data + bytes(-len(data) % 16))
        self.absorbed += body
        self.seed(self.digest())
        return header + header_mac + body + self.digest()


class GoldenTests(SynchronousTestCase):
    golden = bytes.fromhex(
        "00828ddae471818bb0bfa6b551d1cb4201010101010101010101010101010101"
        "ba628a4ba590cb43f7848f41c438288501010101010101010101010101010101"
    )
    payload = bytes.fromhex("c401020304")

    def test_write(self) -> None:
        secret = keccak256(b"")
        length, parts = FrameWriter(stream_cipher(secret), block_cipher(secret), ConstantHash()).write(8, self.payload)
        self.assertEqual(b"".join(parts), self.golden)
        self.assertEqual(length, len(self.golden))

    def test_read(self) -> None:
        secret = keccak256(b"")
        frames = FrameReader(stream_cipher(secret), block_cipher(secret), ConstantHash(), self.golden)
        self.assertEqual(frames.next_message(), MessageReceived(8, self.payload))
        self.assertIsNone(frames.next_message())


SIZES = (0, 1, 14, 15, 16, 17, 1000, PIECE - 2, PIECE - 1, PIECE, PIECE + 1, PIECE + 15, 3 * PIECE - 1, 3 * PIECE + 7)


class CodecTests(SynchronousTestCase):
    messages = tuple((size % 7 * 40, (b"%d" % size * size)[:size]) for size in SIZES)

    def test_as_specified(self) -> None:
        slow = SlowPeer()
        expected = b"".join(
            slow.frame((bytes((code,)) if 0 < code < 0x80 else b"\x80" if not code else bytes((0x81, code))) + payload)
            for code, payload in self.messages
        )
        self.assertEqual(written(*self.messages), expected)
        self.assertEqual(read(reader(expected)), list(self.messages))

    def test_length_is_told(self) -> None:
        frames = writer()
        for code, payload in self.messages:
            length, parts = frames.write(code, payload)
            self.assertEqual(length, len(b"".join(parts)))

    def test_a_big_frame_is_made_piece_by_piece(self) -> None:
        """What is not asked for is not made, and no part is larger than a piece and the code."""
        frames, payload = writer(), bytes(3 * PIECE)
        made = 0

        def encrypt(data: bytes) -> bytes:
            nonlocal made
            made += len(data)
            return data

        frames._encrypt = encrypt
        _, parts = frames.write(0x100, payload)
        self.assertEqual(made, 0)
        for part in parts:
            self.assertLessEqual(len(part), PIECE + 3)
            self.assertLessEqual(made, 16 + PIECE + 3)
            made = 0

    @given(
        st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=80)), max_size=6),
        st.lists(st.integers(1, 90), min_size=1),
    )
    def test_chopped(self, messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
        stream, frames, heard = written(*messages), reader(), []
        while stream:
            for cut in cuts:
                frames.data += stream[:cut]
                stream = stream[cut:]
                heard += read(frames)
        self.assertEqual(heard, messages)
        self.assertEqual(frames.data, b"")

    def test_codes(self) -> None:
        for code in (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**32 - 1):
            self.assertEqual(read(reader(written((code, b"payload")))), [(code, b"payload")])

    def test_code_in_a_big_frame(self) -> None:
        payload = bytes(range(256)) * 300
        for code in (0, 0x7F, 0xFF, 2**32 - 1):
            self.assertEqual(read(reader(written((code, payload)))), [(code, payload)])

    def test_header_data_is_ignored(self) -> None:
        """Chunked messages of older texts would have a third number there."""
        for header_data in (b"\xc0", b"\xc2\x05\x06", b"\xc3\x80\x01\x10", b"\xff" * 13):
            frame = SlowPeer().frame(b"\x10payload", header_data)
            self.assertEqual(read(reader(frame)), [(0x10, b"payload")])

    def test_many_in_one_read_then_pulled_one_by_one(self) -> None:
        frames = reader(written((1, b"one"), (2, b"two"), (3, b"three")))
        self.assertEqual(frames.next_message(), MessageReceived(1, b"one"))
        frames.data += b""
        self.assertEqual(frames.next_message(), MessageReceived(2, b"two"))
        self.assertEqual(read(frames), [(3, b"three")])

    def test_memoryview(self) -> None:
        payload = bytes(range(256)) * 200
        for size in (10, len(payload)):
            self.assertEqual(written((1, memoryview(payload)[:size])), written((1, payload[:size])))  # type: ignore[arg-type]


class CapTests(SynchronousTestCase):
    def test_largest(self) -> None:
        """The largest frame there is, in and out; it is decrypted as it comes."""
        payload = bytes(MAX_FRAME - 1)
        stream = memoryview(written((0x10, payload)))
        frames, most, messages = reader(), 0, []
        for start in range(0, len(stream), 65536):
            frames.data += stream[start : start + 65536]
            messages += read(frames)
            most = max(most, len(frames.data))
        self.assertEqual(messages, [(0x10, payload)])
        self.assertLess(most, 16)

    def test_too_large_to_write(self) -> None:
        frames = writer()
        self.assertRaises(LocalProtocolError, frames.write, 0x10, bytes(MAX_FRAME))
        self.assertRaises(LocalProtocolError, frames.write, 0x80, bytes(MAX_FRAME - 1))
        _, parts = frames.write(0x10, b"still in step")
        self.assertEqual(read(reader(b"".join(parts))), [(0x10, b"still in step")])

    def test_no_code(self) -> None:
        frames = writer()
        for code in (-1, 2**32):
            self.assertRaises(LocalProtocolError, frames.write, code, b"")

    def test_frame_too_large(self) -> None:
        frames = reader(SlowPeer().frame(b"\x10", size=101)[:32])
        frames.max_frame = 100
        error = self.assertRaises(FrameTooLarge, frames.next_message)
        self.assertIs(error.offence, Offence.OVERSIZE)
        self.assertIs(error.reason, DisconnectReason.BREACH_OF_PROTOCOL)
        frames = reader(SlowPeer().frame(b"\x10", size=100)[:32])
        frames.max_frame = 100
        self.assertIsNone(frames.next_message())

    def test_the_size_announced_allocates_nothing(self) -> None:
        """What is kept grows with what came, however it came."""
        frame = SlowPeer().frame(b"\x10" + bytes(PIECE), size=MAX_FRAME)
        frames = reader(frame[:32])
        self.assertIsNone(frames.next_message())
        self.assertEqual((frames.data, frames._body), (b"", b""))
        for came in range(1, 1000):
            frames.data += frame[31 + came : 32 + came]
            self.assertIsNone(frames.next_message())
            self.assertEqual(len(frames.data) + len(frames._body), came)
        self.assertLess(sys.getsizeof(frames._body), 1200)


class TamperTests(SynchronousTestCase):
    stream = written((0x10, b"a message"), (0x11, b"another"))

    @given(st.integers(0, len(stream) * 8 - 1))
    def test_any_bit(self, bit: int) -> None:
        changed = bytearray(self.stream)
        changed[bit // 8] ^= 1 << bit % 8
        frames = reader(bytes(changed))
        if bit // 8 >= 64:
            self.assertEqual(frames.next_message(), MessageReceived(0x10, b"a message"))
        error = self.assertRaises(BadMAC, frames.next_message)
        self.assertIs(error.offence, Offence.BAD_MESSAGE)
        self.assertIs(error.reason, DisconnectReason.BREACH_OF_PROTOCOL)
        self.assertIn("header" if bit // 8 % 64 < 32 else "body", str(error))

    def test_big_frame(self) -> None:
        stream = written((0x10, bytes(3 * PIECE)))
        for where in (40, PIECE, 2 * PIECE + 100, len(stream) - 1):
            changed = bytearray(stream)
            changed[where] ^= 1
            self.assertRaises(BadMAC, reader(bytes(changed)).next_message)

    def test_replayed_and_swapped(self) -> None:
        half = len(self.stream) // 2
        for stream in (self.stream[half:], self.stream[:half] * 2):
            with self.assertRaises(BadMAC):
                read(reader(stream))

    def test_bad_codes(self) -> None:
        for data in (
            b"\x00payload",  # a leading zero
            b"\x81\x05payload",  # needs no prefix
            b"\x82\x00\x80payload",  # a leading zero
            b"\x85\x01\x00\x00\x00\x00payload",  # more than 32 bits
            b"\xc0payload",  # a list
            b"\xb8\x38" + bytes(60),
            b"\x84\x01\x02",  # cut short
            b"\x81",
        ):
            for frame_data in (data, data.ljust(3 * PIECE, b"\0")):
                if len(data) < 4 and len(frame_data) > 4:
                    continue
                error = self.assertRaises(BadFrame, reader(SlowPeer().frame(frame_data)).next_message)
                self.assertIs(error.offence, Offence.BAD_MESSAGE)

    def test_empty(self) -> None:
        self.assertRaises(BadFrame, reader(SlowPeer().frame(b"")).next_message)
