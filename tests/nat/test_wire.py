"""
The packets: the RFCs' layouts and test vectors, and any bytes at all.
"""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import OversizeError, WireError
from ethp2p.nat import wire
from ethp2p.nat.wire import PmpAddress, PmpMapping, PmpRefusal, StunAddress, StunRefusal, Transport
from tests.nat.support import pmp_address, pmp_mapping, stun_answer


class PmpTests(SynchronousTestCase):
    def test_requests(self) -> None:
        self.assertEqual(wire.encode_pmp_address(), bytes(2))
        self.assertEqual(wire.encode_pmp_mapping(Transport.UDP, 30303, 30304, 600).hex(), "00010000765f766000000258")
        self.assertEqual(wire.encode_pmp_mapping(Transport.TCP, 1, 0, 0).hex(), "000200000001000000000000")

    def test_address(self) -> None:
        answer = bytes.fromhex("00800000 00000e10 51020304")
        self.assertEqual(wire.decode_pmp(answer), PmpAddress(3600, ip_address("81.2.3.4")))  # type: ignore[arg-type]

    def test_mapping(self) -> None:
        answer = bytes.fromhex("00810000 00000e10 765f 7660 00000258")
        self.assertEqual(wire.decode_pmp(answer), PmpMapping(3600, Transport.UDP, 30303, 30304, 600))

    def test_refusals(self) -> None:
        for code in (*range(1, 7), 65535):
            for answer in (
                pmp_address(code=code),
                pmp_mapping(Transport.TCP, 1, 2, code=code),
                pmp_address(code=code)[:8],
            ):
                refusal = wire.decode_pmp(answer)
                assert isinstance(refusal, PmpRefusal)
                self.assertEqual(refusal.code, code)
                self.assertIn("gateway", refusal.words)
        self.assertIn("77", PmpRefusal(0, 0, 77).words)

    def test_gateway_of_the_next_protocol(self) -> None:
        """PCP (RFC 6887) answers with its own version."""
        answer = bytes.fromhex("02810001 00000000 00000e10")
        self.assertEqual(wire.decode_pmp(answer), PmpRefusal(0, 1, 1))

    def test_bad(self) -> None:
        good = pmp_mapping(Transport.UDP, 1, 2)
        for answer in (
            *(b"", good[:7], good[:-1], pmp_address()[:-1], pmp_address() + b"\0\0"),
            *(b"\0\0", wire.encode_pmp_mapping(Transport.UDP, 1, 2, 3)),  # requests
            bytes((0, 131)) + good[2:],
        ):
            self.assertRaises(WireError, wire.decode_pmp, answer)
        self.assertRaises(OversizeError, wire.decode_pmp, good + b"\0")

    @given(st.binary(max_size=20))
    def test_any_bytes(self, data: bytes) -> None:
        try:
            wire.decode_pmp(data)
        except WireError:
            pass

    @given(st.sampled_from(Transport), *[st.integers(0, 65535)] * 2, *[st.integers(0, 2**32 - 1)] * 2)
    def test_mapping_round_trip(self, transport: Transport, inside: int, outside: int, life: int, epoch: int) -> None:
        answer = pmp_mapping(transport, inside, outside, life, epoch=epoch)
        self.assertEqual(wire.decode_pmp(answer), PmpMapping(epoch, transport, inside, outside, life))
        request = wire.encode_pmp_mapping(transport, inside, outside, life)
        self.assertEqual(request[4:], answer[8:])


#: RFC 5769 sections 2.2 and 2.3.
IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179"
    "bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex("000100002112a442") + TRANSACTION


def packet(*attributes: tuple[int, bytes], kind: int = 0x0101) -> bytes:
    """Any answer."""
    body = b""
    for number, value in attributes:
        body += number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + REQUEST[4:] + body


MAPPED = (0x0001, bytes.fromhex("000110e151020304"))
XOR_MAPPED = (0x0020, bytes.fromhex("0001" + "31f3" + "7010a746"))


class StunTests(SynchronousTestCase):
    def test_request(self) -> None:
        self.assertEqual(wire.encode_binding(TRANSACTION), REQUEST)

    def test_vectors(self) -> None:
        for data, address in ((IPV4, "192.0.2.1"), (IPV6, "2001:db8:1234:5678:11:2233:4455:6677")):
            self.assertEqual(wire.decode_stun(data), StunAddress(TRANSACTION, ip_address(address), 32853))

    def test_every_byte_of_a_vector_counts(self) -> None:
        for data in (IPV4, IPV6):
            for at in {*range(len(data))} - {len(data) - 8, len(data) - 7}:  # those say that it is a fingerprint
                changed = data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]
                self.assertRaises(WireError, wire.decode_stun, changed)

    def test_addresses(self) -> None:
        seen = StunAddress(TRANSACTION, ip_address("81.2.3.4"), 4321)
        self.assertEqual(wire.decode_stun(packet(MAPPED)), seen)
        self.assertEqual(wire.decode_stun(packet(XOR_MAPPED)), seen)
        self.assertEqual(wire.decode_stun(stun_answer(REQUEST)), seen)
        other = (0x0001, bytes.fromhex("0001000005050505"))
        self.assertEqual(wire.decode_stun(packet(other, XOR_MAPPED)), seen)  # the masked one is the one
        self.assertEqual(wire.decode_stun(packet(XOR_MAPPED, (0x0020, other[1]))), seen)  # and of two the first

    def test_what_may_be_there_too(self) -> None:
        seen = wire.decode_stun(packet(XOR_MAPPED))
        for number in (0x8022, 0x8023, 0x802B, 0x802C, 0xFFFF):
            self.assertEqual(wire.decode_stun(packet((number, b"hello"), XOR_MAPPED)), seen)
        self.assertEqual(wire.decode_stun(packet(XOR_MAPPED, (0x0008, bytes(20)), (0x0077, b""))), seen)

    def test_what_may_not(self) -> None:
        for attributes in (
            (),
            ((0x8022, b"server"),),
            ((0x0077, b""), XOR_MAPPED),
            ((0x0008, bytes(20)), XOR_MAPPED),  # not covered by the integrity
            ((0x0020, XOR_MAPPED[1][:-1]),),
            ((0x0020, XOR_MAPPED[1] + b"\0"),),
            ((0x0020, b"\0\3" + XOR_MAPPED[1][2:]),),
            ((0x0020, b"\0\2" + XOR_MAPPED[1][2:]),),
            ((0x0020, b""),),
            (XOR_MAPPED, (0x8028, bytes(4))),
        ):
            self.assertRaises(WireError, wire.decode_stun, packet(*attributes))

    def test_errors(self) -> None:
        error = (0x0009, b"\0\0\3\x00Try Alternate")
        self.assertEqual(wire.decode_stun(packet(error, kind=0x0111)), StunRefusal(TRANSACTION, 300))
        self.assertEqual(wire.decode_stun(packet((0x0009, b"\0"), kind=0x0111)), StunRefusal(TRANSACTION, 0))
        self.assertEqual(wire.decode_stun(packet(kind=0x0111)), StunRefusal(TRANSACTION, 0))

    def test_not_answers(self) -> None:
        good = packet(XOR_MAPPED)
        for data in (
            *(b"", REQUEST, good[:19], good[:-1], good + b"\0", good + bytes(4)),
            packet(XOR_MAPPED, kind=0x0102),
            good[:4] + b"\0\0\0\0" + good[8:],
            good[:2] + b"\0\x0b" + good[4:-1],
            good[:22] + b"\xff\xff" + good[24:],
        ):
            self.assertRaises(WireError, wire.decode_stun, data)
        self.assertRaises(OversizeError, wire.decode_stun, good + bytes(wire.MAX_STUN))

    def test_many_attributes(self) -> None:
        self.assertIsInstance(wire.decode_stun(packet(*[(0x8001, b"")] * 300, XOR_MAPPED)), StunAddress)

    @given(st.binary(max_size=64), st.booleans())
    def test_any_bytes(self, data: bytes, framed: bool) -> None:
        if framed:
            data = b"\1\1" + len(data).to_bytes(2, "big") + REQUEST[4:] + data
        try:
            wire.decode_stun(data)
        except WireError:
            pass

    @given(st.binary(min_size=12, max_size=12), st.ip_addresses(), st.integers(0, 65535))
    def test_round_trip(self, transaction: bytes, address: wire.IPAddress, port: int) -> None:
        answer = stun_answer(wire.encode_binding(transaction), str(address), port)
        self.assertEqual(wire.decode_stun(answer), StunAddress(transaction, address, port))
