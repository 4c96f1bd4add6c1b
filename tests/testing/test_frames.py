"""The frame builder: published vectors, and against the codec it is there to test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import snappy
from ethp2p.crypto.keccak import keccak256, running_keccak256
from ethp2p.errors import OversizeError, RemoteProtocolError, WireError
from ethp2p.rlpx.frames import FrameReader, FrameWriter, MessageReceived, block_cipher, stream_cipher
from ethp2p.testing.frames import (
    FrameBuilder,
    FrameOpener,
    derive_secrets,
    encode_code,
    running_mac,
    snappy_bomb,
    snappy_lie,
)
from tests.rlpx import vectors

AES, MAC, SEED = keccak256(b"aes"), keccak256(b"mac"), b"where the MAC begins"
MESSAGES = st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=100)), max_size=5)


class FixedMAC:
    """A hash that is always the same, as geth's golden frame was made with."""

    def update(self, data: bytes) -> None:
        pass

    def digest(self) -> bytes:
        return b"\x01" * 32


class VectorTests(SynchronousTestCase):
    def test_geths_golden_frame(self) -> None:
        """p2p/rlpx/rlpx_test.go, TestFrameReadWrite."""
        empty = keccak256(b"")
        frame = FrameBuilder(empty, empty, FixedMAC()).frame(8, bytes.fromhex("c401020304"))
        self.assertEqual(
            frame.hex(),
            "00828ddae471818bb0bfa6b551d1cb42"
            "01010101010101010101010101010101"
            "ba628a4ba590cb43f7848f41c4382885"
            "01010101010101010101010101010101",
        )

    def test_secrets(self) -> None:
        """EIP-8, "Auth2" and "Ack2": what B derives, and its ingress MAC after "foo"."""
        shared = vectors.EPHEMERAL_A.ecdh(vectors.EPHEMERAL_B.public_key)
        secrets = derive_secrets(shared, vectors.NONCE_A, vectors.NONCE_B, vectors.AUTH_2, vectors.ACK_2)
        self.assertEqual((secrets.aes, secrets.mac), (vectors.AES_SECRET, vectors.MAC_SECRET))
        ingress = running_mac(secrets.initiator_seed)
        ingress.update(b"foo")
        self.assertEqual(ingress.digest(), vectors.INGRESS_FOO)

    def test_codes(self) -> None:
        self.assertEqual(
            [encode_code(code).hex() for code in (0, 1, 127, 128, 256)], ["80", "01", "7f", "8180", "820100"]
        )


class AgainstRLPx(SynchronousTestCase):
    def setUp(self) -> None:
        self.builder = FrameBuilder(AES, MAC, running_mac(SEED))
        self.reader = FrameReader(stream_cipher(AES), block_cipher(MAC), running_keccak256(SEED))

    def read(self, data: bytes) -> MessageReceived | None:
        self.reader.data += data
        return self.reader.next_message()

    @given(MESSAGES)
    def test_what_is_built_is_read(self, messages: list[tuple[int, bytes]]) -> None:
        self.setUp()
        for code, payload in messages:
            self.assertEqual(self.read(self.builder.frame(code, payload)), MessageReceived(code, payload))

    @given(MESSAGES)
    def test_what_is_written_is_opened(self, messages: list[tuple[int, bytes]]) -> None:
        writer = FrameWriter(stream_cipher(AES), block_cipher(MAC), running_keccak256(SEED))
        out: list[bytes] = []
        for code, payload in messages:
            out += writer.write(code, payload)[1]
        bodies = FrameOpener(AES, MAC, running_mac(SEED)).open(b"".join(out))
        self.assertEqual(bodies, [encode_code(code) + payload for code, payload in messages])

    def test_byte_for_byte(self) -> None:
        writer = FrameWriter(stream_cipher(AES), block_cipher(MAC), running_keccak256(SEED))
        for code, payload in ((0, b""), (1, b"x" * 15), (16, b"y" * 16), (200, bytes(70_000))):
            self.assertEqual(b"".join(writer.write(code, payload)[1]), self.builder.frame(code, payload))

    def test_broken_macs(self) -> None:
        for broken in ("break_header_mac", "break_body_mac"):
            self.setUp()
            self.assertIsNotNone(self.read(self.builder.frame(1, b"honest")))
            self.assertRaises(RemoteProtocolError, self.read, self.builder.build(b"\x01x", **{broken: True}))

    def test_the_builder_goes_on_after_a_broken_frame(self) -> None:
        """Its state is what an honest frame would have left."""
        honest = FrameBuilder(AES, MAC, running_mac(SEED))
        self.builder.build(b"\x01x", break_header_mac=True, break_body_mac=True)
        honest.build(b"\x01x")
        self.assertEqual(self.builder.frame(2, b"y"), honest.frame(2, b"y"))

    def test_sizes_that_lie(self) -> None:
        """The header says less than there is, or more than may be."""
        body = b"\x01" + b"x" * 30
        self.assertEqual(self.read(self.builder.build(body, size=20)), MessageReceived(1, b"x" * 19))
        self.assertRaises(RemoteProtocolError, self.read, self.builder.build(b"", size=0))

    def test_an_oversize_header_is_refused_before_its_body(self) -> None:
        self.reader.max_frame = 1000
        header = self.builder.header(1001)
        self.assertEqual(len(header), 32)
        self.assertRaises(RemoteProtocolError, self.read, header)

    def test_other_header_data_and_padding(self) -> None:
        frame = self.builder.build(b"\x01x", header_data=bytes.fromhex("c3010203"), padding=b"\xff" * 14)
        self.assertEqual(self.read(frame), MessageReceived(1, b"x"))

    def test_the_opener_believes_nothing(self) -> None:
        frame = self.builder.frame(1, b"x")
        for index in range(len(frame)):
            damaged = bytearray(frame)
            damaged[index] ^= 1
            self.assertRaises(ValueError, FrameOpener(AES, MAC, running_mac(SEED)).open, bytes(damaged))
        self.assertRaises(ValueError, FrameOpener(AES, MAC, running_mac(SEED)).open, frame[:-1])


class SnappyTests(SynchronousTestCase):
    def test_bombs_are_honest_blocks(self) -> None:
        for length in (1, 2, 64, 65, 66, 100_000, 1 << 20):
            bomb = snappy_bomb(length)
            self.assertEqual(snappy.decompress(bomb, length), bytes(length))
            self.assertLess(len(bomb), length / 20 + 20)
            self.assertRaises(OversizeError, snappy.decompress, bomb, length - 1)

    def test_lies(self) -> None:
        for length in (0, 2, 300, 1 << 24, 0xFFFFFFFF):
            lie = snappy_lie(length)
            self.assertEqual(snappy.declared_length(lie), length)
            self.assertRaises(WireError, snappy.decompress, lie, 1 << 24)
