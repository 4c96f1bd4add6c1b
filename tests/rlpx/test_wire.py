"""Handshake packets: telling the forms apart from their first bytes, and the values in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import Offence, WireError
from ethp2p.rlpx.errors import BadHandshake, HandshakeTooLarge
from ethp2p.rlpx.limits import MAX_HANDSHAKE_PACKET
from ethp2p.rlpx.wire import (
    LEAST_ACK,
    LEAST_AUTH,
    PLAIN_ACK,
    PLAIN_AUTH,
    Ack,
    Auth,
    Packet,
    decode_ack,
    decode_auth,
    encode_ack,
    encode_auth,
    encode_plain_ack,
    encode_plain_auth,
    measure,
)
from tests.rlpx import vectors
from tests.rlpx.common import ALICE, BOB, Tape

POINT = b"\x04" + ALICE.public_key.raw


class MeasureTests(SynchronousTestCase):
    def auth(self, start: bytes) -> tuple[bool, int] | None:
        return measure(start, PLAIN_AUTH, LEAST_AUTH)

    def test_published(self) -> None:
        for packet, eip8 in ((vectors.AUTH_1, False), (vectors.AUTH_2, True), (vectors.AUTH_3, True)):
            self.assertEqual(self.auth(packet), (eip8, len(packet)))
        for packet, eip8 in ((vectors.ACK_1, False), (vectors.ACK_2, True), (vectors.ACK_3, True)):
            self.assertEqual(measure(packet, PLAIN_ACK, LEAST_ACK), (eip8, len(packet)))

    def test_how_much_it_needs(self) -> None:
        for start in (b"", b"\x01", b"\x01\x80", b"\x04", b"\x04\x80\x04", POINT[:64]):
            self.assertIsNone(self.auth(start))
        self.assertEqual(self.auth(b"\x01\x80\x04"), (True, 2 + 0x180))
        self.assertEqual(self.auth(bytearray(POINT)), (False, 307))

    def test_sizes_that_look_like_points(self) -> None:
        """An EIP-8 packet of 1024 to 1279 bytes begins with 0x04 as a point does."""
        for size in (1024, 1100, 1279):
            self.assertEqual(self.auth(size.to_bytes(2) + POINT), (True, 2 + size))

    def test_points_that_look_like_sizes(self) -> None:
        """A point whose third byte is 0x04 too could be an EIP-8 packet's beginning, were it not on the curve."""
        number = 1
        while (point := PrivateKey.parse(number.to_bytes(32)).public_key.raw)[1] != 0x04:
            number += 1
        self.assertEqual(self.auth(b"\x04" + point), (False, 307))

    def test_caps(self) -> None:
        self.assertEqual(self.auth(MAX_HANDSHAKE_PACKET.to_bytes(2) + b"\x04"), (True, 2050))
        error = self.assertRaises(HandshakeTooLarge, self.auth, (MAX_HANDSHAKE_PACKET + 1).to_bytes(2) + b"\x04")
        self.assertIs(error.offence, Offence.OVERSIZE)
        self.assertEqual(self.auth(LEAST_AUTH.to_bytes(2) + b"\x04"), (True, 2 + LEAST_AUTH))
        self.assertRaises(BadHandshake, self.auth, (LEAST_AUTH - 1).to_bytes(2) + b"\x04")

    def test_other_protocols(self) -> None:
        for start in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"SSH-2.0-", b"\x13BitTorrent", bytes(400)):
            self.assertRaises(BadHandshake, self.auth, start)

    def test_garbage_that_begins_like_a_point(self) -> None:
        self.assertRaises(BadHandshake, self.auth, b"\x04" * 2 + b"\x05" * 63)

    def test_least_is_the_least(self) -> None:
        auth = encode_auth(Auth(bytes(65), bytes(64), bytes(32)), BOB.public_key, padding=b"", random=Tape())
        self.assertEqual(len(auth) - 2, LEAST_AUTH)
        ack = encode_ack(Ack(bytes(64), bytes(32)), BOB.public_key, padding=b"", random=Tape())
        self.assertEqual(len(ack) - 2, LEAST_ACK)


class ValueTests(SynchronousTestCase):
    @given(
        st.binary(min_size=65, max_size=65),
        st.binary(min_size=32, max_size=32),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=300),
    )
    def test_auth(self, signature: bytes, nonce: bytes, version: int, padding: bytes) -> None:
        auth = Auth(signature, ALICE.public_key.raw, nonce, version)
        packet = encode_auth(auth, BOB.public_key, padding=padding, random=Tape())
        self.assertEqual(decode_auth(BOB, Packet(True, packet)), auth)
        self.assertEqual(measure(packet, PLAIN_AUTH, LEAST_AUTH), (True, len(packet)))

    @given(st.binary(min_size=64, max_size=64), st.binary(min_size=32, max_size=32), st.binary(max_size=300))
    def test_ack(self, ephemeral: bytes, nonce: bytes, padding: bytes) -> None:
        ack = Ack(ephemeral, nonce, 5)
        packet = encode_ack(ack, ALICE.public_key, padding=padding, random=Tape())
        self.assertEqual(decode_ack(ALICE, Packet(True, packet)), ack)

    def test_plain(self) -> None:
        auth = Auth(b"\x01" * 65, ALICE.public_key.raw, b"\x02" * 32)
        packet = encode_plain_auth(auth, BOB.public_key, BOB.public_key, random=Tape())
        self.assertEqual(len(packet), PLAIN_AUTH)
        self.assertEqual(decode_auth(BOB, Packet(False, packet)), auth)
        ack = Ack(b"\x03" * 64, b"\x04" * 32)
        packet = encode_plain_ack(ack, ALICE.public_key, random=Tape())
        self.assertEqual(len(packet), PLAIN_ACK)
        self.assertEqual(decode_ack(ALICE, Packet(False, packet)), ack)

    @given(st.booleans(), st.binary(max_size=400))
    def test_any_bytes(self, eip8: bool, data: bytes) -> None:
        self.assertRaises(WireError, decode_auth, BOB, Packet(eip8, data))
        self.assertRaises(WireError, decode_ack, BOB, Packet(eip8, data))
