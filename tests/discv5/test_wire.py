"""Packets and messages: the round trip, strictness, and that garbage is an error and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.discv5 import limits, wire
from ethp2p.errors import LocalProtocolError, OversizeError, WireError
from tests.discv5.common import record_of

ID = bytes(range(32))
MASK = wire.Mask(ID)
END = wire.pong_end(1, b"\x7f\0\0\1", 30303)
IV, NONCE = b"\x11" * 16, b"\x22" * 12

request_ids = st.binary(max_size=8)
uint64 = st.integers(0, 2**64 - 1)
raw_records = st.integers(1, 3).map(lambda seq: record_of(seq, seq=seq).encode())
messages = st.one_of(
    st.builds(wire.Ping, request_ids, uint64),
    st.builds(
        wire.Pong,
        request_ids,
        uint64,
        st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
        st.integers(0, 65535),
    ),
    st.builds(wire.FindNode, request_ids, st.lists(uint64, max_size=20).map(tuple)),
    st.builds(wire.Nodes, request_ids, st.integers(0, 255), st.lists(raw_records, max_size=6).map(tuple)),
    st.builds(wire.TalkRequest, request_ids, st.binary(max_size=40), st.binary(max_size=400)),
    st.builds(wire.TalkResponse, request_ids, st.binary(max_size=400)),
)


class MessageTests(SynchronousTestCase):
    @given(messages)
    def test_round_trip(self, message: wire.Message) -> None:
        plain = wire.encode_message(message)
        self.assertEqual(plain[0], message.code)
        self.assertEqual(wire.decode_message(plain), message)

    def test_by_hand(self) -> None:
        for plain, message in (
            ("01c20101", wire.Ping(b"\1", 1)),
            ("02ca0180847f00000182765f", wire.Pong(b"\1", 0, bytes((127, 0, 0, 1)), 30303)),
            ("03c601c4820100" + "80", wire.FindNode(b"\1", (256, 0))),
            ("04c38001c0", wire.Nodes(b"", 1, ())),
            ("05c50182616280", wire.TalkRequest(b"\1", b"ab", b"")),
            ("06c28080", wire.TalkResponse(b"", b"")),
        ):
            self.assertEqual(wire.encode_message(message).hex(), plain)
            self.assertEqual(wire.decode_message(bytes.fromhex(plain)), message)

    @given(request_ids, uint64, uint64, st.sampled_from((b"\x7f\0\0\1", b"\x20" + bytes(15))), st.integers(0, 65535))
    def test_ping_answered_at_once(self, request_id: bytes, asked: int, seq: int, ip: bytes, port: int) -> None:
        """The same as by its values."""
        plain = wire.encode_message(wire.Ping(request_id, asked))
        self.assertTrue(wire.is_ping(plain))
        pong = wire.encode_message(wire.Pong(request_id, seq, ip, port))
        self.assertEqual(wire.answer_ping(plain, wire.pong_end(seq, ip, port)), pong)

    @given(st.one_of(messages.map(wire.encode_message), st.binary(max_size=20).map(b"\1".__add__), st.just(b"")))
    def test_ping_refused_at_once(self, plain: bytes) -> None:
        """What is no Ping by its values is none."""
        try:
            is_ping = type(wire.decode_message(plain)) is wire.Ping
        except WireError:
            is_ping = False
        if is_ping:
            self.assertTrue(wire.answer_ping(plain, END))
        elif wire.is_ping(plain):
            self.assertRaises(WireError, wire.answer_ping, plain, END)

    def test_refused(self) -> None:
        nine = rlp.encode(b"123456789")
        for name, plain in (
            ("nothing", b""),
            ("no data", b"\x01"),
            ("a string for the list", b"\x01\x80"),
            ("a request id of 9 bytes", b"\x01" + rlp.join([nine, b"\x01"])),
            ("the same in NODES", b"\x04" + rlp.join([nine, b"\x01", b"\xc0"])),
            ("a field too few", b"\x01" + rlp.encode([b"1"])),
            ("a field too many", b"\x01" + rlp.encode([b"1", b"1", b""])),
            ("a field too many in NODES", b"\x04" + rlp.encode([b"1", b"1", [], b""])),
            ("bytes after it", b"\x01" + rlp.encode([b"1", b"1"]) + b"\x80"),
            ("leading zeros", b"\x01" + rlp.encode([b"1", b"\0\1"])),
            ("an IP of 5 bytes", b"\x02" + rlp.encode([b"1", b"1", b"12345", b"1"])),
            ("a port of 3 bytes", b"\x02" + rlp.encode([b"1", b"1", b"1234", b"\1\1\1"])),
            ("a distance that is a list", b"\x03" + rlp.encode([b"1", [[]]])),
            ("a total of 2 bytes", b"\x04" + rlp.encode([b"1", b"\1\1", []])),
            ("records that are a string", b"\x04" + rlp.encode([b"1", b"1", b"abc"])),
        ):
            with self.assertRaises(WireError, msg=name) as caught:
                wire.decode_message(plain)
            self.assertFalse(isinstance(caught.exception, wire.UnknownMessage), name)

    def test_unknown(self) -> None:
        """Topics among them."""
        for code in (0, 7, 8, 9, 10, 255):
            with self.assertRaises(wire.UnknownMessage):
                wire.decode_message(bytes((code,)) + b"\xc20101")

    def test_most_records(self) -> None:
        plain = b"\x04" + rlp.encode([b"1", b"1", [b""] * (limits.MAX_NODES + 1)])
        with self.assertRaises(OversizeError):
            wire.decode_message(plain)

    def test_most_bytes(self) -> None:
        room = limits.MAX_MESSAGE - len(wire.encode_message(wire.TalkResponse(b"12345678", b"x" * 300))) + 300
        plain = wire.encode_message(wire.TalkResponse(b"12345678", b"x" * room))
        self.assertEqual(len(plain), limits.MAX_MESSAGE)
        packet = wire.encode_packet(MASK, wire.ordinary_head(IV, NONCE, ID), plain + bytes(wire.TAG_SIZE))
        self.assertEqual(len(packet), limits.MAX_PACKET)
        with self.assertRaises(LocalProtocolError):
            wire.encode_message(wire.TalkResponse(b"12345678", b"x" * (room + 1)))

    @given(st.binary(max_size=200))
    def test_garbage(self, plain: bytes) -> None:
        try:
            message = wire.decode_message(plain)
        except WireError:
            return
        self.assertEqual(wire.encode_message(message), plain)


class PacketTests(SynchronousTestCase):
    ordinary = wire.Ordinary(NONCE, ID, wire.ordinary_head(IV, NONCE, ID), b"m" * 16)
    challenge = wire.WhoAreYou(NONCE, IV, 7, wire.whoareyou_head(IV, NONCE, IV, 7))

    def handshake(self, record: bytes = b"r" * 100) -> wire.Handshake:
        head = wire.handshake_head(IV, NONCE, ID, b"s" * 64, b"e" * 33, record)
        return wire.Handshake(NONCE, ID, b"s" * 64, b"e" * 33, record, head, b"m" * 16)

    def test_round_trip(self) -> None:
        for packet in (self.ordinary, self.challenge, self.handshake(), self.handshake(b"")):
            data = wire.encode_packet(MASK, packet.head, getattr(packet, "sealed", b""))
            self.assertEqual(wire.decode_packet(data, MASK), packet)
            self.assertNotIn(wire.PROTOCOL_ID, data)

    def test_layout(self) -> None:
        self.assertEqual(
            self.challenge.head.hex(),
            "11" * 16 + "646973637635" + "0001" + "01" + "22" * 12 + "0018" + "11" * 16 + "0000000000000007",
        )

    def test_for_another(self) -> None:
        data = wire.encode_packet(MASK, self.ordinary.head, self.ordinary.sealed)
        with self.assertRaises(wire.NotDiscv5):
            wire.decode_packet(data, wire.Mask(bytes(32)))

    def test_sizes(self) -> None:
        """Nothing that we answer is shorter than 63 bytes; what answers a stranger is not longer than it."""
        whoareyou = wire.encode_packet(MASK, self.challenge.head)
        shortest = wire.encode_packet(MASK, self.ordinary.head, self.ordinary.sealed)
        self.assertEqual(len(whoareyou), limits.MIN_PACKET)
        self.assertEqual(len(shortest), 87)
        self.assertLess(len(whoareyou), limits.AMPLIFICATION * limits.MIN_PACKET)
        self.assertLess(len(whoareyou), len(shortest))
        with self.assertRaises(WireError):
            wire.decode_packet(shortest[:-1], MASK)
        for size in (0, 16, 62, 1281, 65507):
            with self.assertRaises(wire.NotDiscv5):
                wire.decode_packet((shortest * 800)[:size], MASK)
        longest = wire.encode_packet(MASK, self.ordinary.head, bytes(1280 - 71))
        self.assertIsInstance(wire.decode_packet(longest, MASK), wire.Ordinary)

    def refused(self, head: bytes, sealed: bytes = b"m" * 60) -> None:
        with self.assertRaises(WireError):
            wire.decode_packet(wire.encode_packet(MASK, head, sealed), MASK)

    def test_refused(self) -> None:
        head = self.ordinary.head
        self.refused(head[:16] + b"discv4" + head[22:])
        self.refused(head[:22] + b"\x00\x02" + head[24:])  # version
        self.refused(head[:24] + b"\x03" + head[25:])  # flag
        self.refused(head[:37] + b"\x00\x1f" + head[39:])  # authdata of 31 bytes
        self.refused(head[:37] + b"\x00\x21" + head[39:] + b"x")
        self.refused(head[:37] + b"\xff\xff" + head[39:])  # runs past the packet
        self.refused(self.challenge.head, b"m")  # WHOAREYOU with a message
        self.refused(self.challenge.head[:37] + b"\x00\x19" + self.challenge.head[39:] + b"x", b"")

    def test_handshakes_refused(self) -> None:
        shake = wire.handshake_head
        self.refused(shake(IV, NONCE, ID, b"s" * 65, b"e" * 33))
        self.refused(shake(IV, NONCE, ID, b"s" * 64, b"e" * 65))
        self.refused(shake(IV, NONCE, ID, b"s" * 64, b"e" * 33), b"m" * 15)
        self.refused(shake(IV, NONCE, ID, b"s" * 10, b"e" * 10))
        with self.assertRaises(OversizeError):
            wire.decode_packet(wire.encode_packet(MASK, self.handshake(b"r" * 301).head, b"m" * 16), MASK)
        cut = self.handshake(b"").head[:-1]
        self.refused(cut[:37] + (len(cut) - 39).to_bytes(2) + cut[39:])

    @given(st.binary(min_size=60, max_size=200), st.booleans())
    def test_garbage(self, data: bytes, disguised: bool) -> None:
        """Also with a good start under the mask."""
        if disguised:
            data = wire.encode_packet(MASK, IV + b"discv5\x00\x01" + data[24:])
        try:
            packet = wire.decode_packet(data, MASK)
        except WireError:
            return
        self.assertEqual(wire.encode_packet(MASK, packet.head, getattr(packet, "sealed", b"")), data)
