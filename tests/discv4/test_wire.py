"""
The six packets, as published and as others write them.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv4 import wire
from ethp2p.discv4.limits import MAX_NEIGHBORS, MAX_PACKET
from ethp2p.enode.cidr import as_ip
from ethp2p.errors import LocalProtocolError, WireError
from tests.discv4.support import endpoint, key, local
from tests.discv4.vectors import KEY, PACKETS

KEY_BYTES = st.binary(min_size=64, max_size=64)
HASHES = st.binary(min_size=32, max_size=32)
PORTS = st.integers(0, 0xFFFF)
NUMBERS = st.integers(0, 2**64 - 1)
IPS = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16), st.just(b""))
ENDPOINTS = st.builds(wire.Endpoint, IPS, PORTS, PORTS)
NEIGHBORS = st.builds(wire.Neighbor, IPS, PORTS, PORTS, KEY_BYTES)
SEQS = st.one_of(st.none(), NUMBERS)
MESSAGES = st.one_of(
    st.builds(wire.Ping, NUMBERS, ENDPOINTS, ENDPOINTS, NUMBERS, SEQS),
    st.builds(wire.Pong, ENDPOINTS, HASHES, NUMBERS, SEQS),
    st.builds(wire.FindNode, KEY_BYTES, NUMBERS),
    st.builds(wire.Neighbors, st.lists(NEIGHBORS, max_size=MAX_NEIGHBORS).map(tuple), NUMBERS),
    st.builds(wire.ENRRequest, NUMBERS),
    st.builds(wire.ENRResponse, HASHES, st.lists(st.binary(max_size=40), max_size=6).map(rlp.encode)),
)


def seal(signer: PrivateKey, body: bytes) -> bytes:
    """A packet of any type with anything in it."""
    signed = signer.sign(keccak256(body)) + body
    return keccak256(signed) + signed


class VectorTests(SynchronousTestCase):
    def test_published(self) -> None:
        for name, packet, message in PACKETS:
            self.assertTrue(wire.is_packet(packet), name)
            self.assertEqual(wire.message_of(packet), message, name)
            self.assertEqual(wire.sender_of(packet), KEY.public_key, name)

    def test_written(self) -> None:
        """The published packet without anything more is what is written here, but for the signer's random number."""
        _, packet, message = PACKETS[0]
        written = wire.encode(KEY, message)
        self.assertEqual(written[97:], packet[97:])
        self.assertEqual(wire.sender_of(written), KEY.public_key)

    def test_record(self) -> None:
        """EIP-868: the seq in Ping and Pong, and a record that comes through whole."""
        record = local().record
        for message in (
            wire.Ping(4, endpoint(("10.0.0.1", 1)), endpoint(("10.0.0.2", 2)), 5, record.seq),
            wire.Pong(endpoint(("10.0.0.1", 1)), bytes(32), 5, record.seq),
        ):
            read = wire.message_of(wire.encode(KEY, message))
            assert isinstance(read, (wire.Ping, wire.Pong))
            self.assertEqual(read.enr_seq, record.seq)
        response = wire.ENRResponse(bytes(32), record.encode())
        self.assertEqual(wire.message_of(wire.encode(KEY, response)), response)


class TolerantTests(SynchronousTestCase):
    """What is strange and has to be read."""

    def read(self, *fields: object, kind: int = 1, after: bytes = b"") -> wire.Message:
        packet = seal(KEY, bytes((kind,)) + rlp.encode(fields) + after)
        self.assertTrue(wire.is_packet(packet))
        return wire.message_of(packet)

    def test_more_elements(self) -> None:
        """In every packet, and in endpoints and nodes too."""
        spare = [b"more", [b"and", [b"more"]]]
        place = [bytes(4), b"\x01", b"\x02"]
        for kind, fields in (
            (1, [b"\x04", place, place, b"\x09", b"\x07"]),
            (2, [place, bytes(32), b"\x09", b"\x07"]),
            (3, [bytes(64), b"\x09"]),
            (4, [[[*place, bytes(64)]], b"\x09"]),
            (5, [b"\x09"]),
            (6, [bytes(32), [b"record"]]),
        ):
            plain = self.read(*fields, kind=kind)
            self.assertEqual(self.read(*fields, *spare, kind=kind, after=b"trailing"), plain)
        self.assertEqual(
            self.read(b"\x04", [*place, b"more"], place, b"\x09"), self.read(b"\x04", place, place, b"\x09")
        )

    def test_unknown_address(self) -> None:
        """geth sends an empty address when it does not know its own."""
        for ip in (b"", bytes(5), bytes(17)):
            ping = self.read(b"\x04", [ip, b"\x01", b"\x02"], [bytes(4), b"", b""], b"\x09")
            assert isinstance(ping, wire.Ping)
            self.assertIsNone(ping.sender.addr)
            self.assertEqual(ping.recipient.addr, ("0.0.0.0", 0))

    def test_address_in_address(self) -> None:
        """An IPv4 address may come as IPv6."""
        inside = wire.Endpoint(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1)), 5)
        self.assertEqual(inside.addr, ("192.0.2.1", 5))

    def test_padded_port(self) -> None:
        ping = self.read(b"\x04", [bytes(4), b"\x00", b"\x00\x07"], [bytes(4), b"", b""], b"\x09")
        assert isinstance(ping, wire.Ping)
        self.assertEqual((ping.sender.udp, ping.sender.tcp), (0, 7))

    def test_strange_seq(self) -> None:
        """Something else where the seq would be counts as none."""
        place = [bytes(4), b"", b""]
        for strange in ([], [b"\x01"], bytes(9)):
            ping = self.read(b"\x04", place, place, b"\x09", strange)
            assert isinstance(ping, wire.Ping)
            self.assertIsNone(ping.enr_seq)


class RefusedTests(SynchronousTestCase):
    def test_size(self) -> None:
        self.assertFalse(wire.is_packet(b""))
        self.assertFalse(wire.is_packet(seal(KEY, b"")))
        body = b"\x05" + rlp.encode([b"\x09"])
        full = seal(KEY, body + bytes(MAX_PACKET - 97 - len(body)))
        self.assertEqual(len(full), MAX_PACKET)
        self.assertTrue(wire.is_packet(full))
        self.assertFalse(wire.is_packet(seal(KEY, body + bytes(MAX_PACKET - 97 - len(body) + 1))))

    def test_hash(self) -> None:
        """Any byte changed, in the hash or after it."""
        packet = PACKETS[0][1]
        for index in range(len(packet)):
            changed = bytearray(packet)
            changed[index] ^= 1
            self.assertFalse(wire.is_packet(bytes(changed)))

    def test_nobody_signed(self) -> None:
        signed = bytes(64) + b"\x09" + b"\x05" + rlp.encode([b"\x09"])
        packet = keccak256(signed) + signed
        self.assertTrue(wire.is_packet(packet))
        self.assertRaises(WireError, wire.sender_of, packet)

    def test_malformed(self) -> None:
        place = [bytes(4), b"", b""]
        for kind, content in (
            (1, b""),
            (1, b"\x80"),
            (1, rlp.encode([])),
            (1, rlp.encode([b"\x04", place, place])),
            (1, rlp.encode([b"\x04", b"", place, b"\x09"])),
            (1, rlp.encode([b"\x04", place, place, bytes(9)])),
            (1, rlp.encode([b"\x04", place, place, [b"\x09"]])),
            (1, rlp.encode([b"\x04", [bytes(4), bytes(3), b""], place, b"\x09"])),
            (1, rlp.encode([b"\x04", place, place, b"\x09"])[:-1]),
            (2, rlp.encode([place, bytes(31), b"\x09"])),
            (3, rlp.encode([bytes(63), b"\x09"])),
            (4, rlp.encode([[[bytes(4), b"", b"", bytes(65)]], b"\x09"])),
            (5, rlp.encode([])),
            (6, rlp.encode([bytes(32)])),
        ):
            packet = seal(KEY, bytes((kind,)) + content)
            self.assertTrue(wire.is_packet(packet))
            self.assertRaises(WireError, wire.message_of, packet)

    def test_unknown(self) -> None:
        for kind in (0, 7, 66, 255):
            self.assertRaises(wire.UnknownPacket, wire.message_of, seal(KEY, bytes((kind,)) + b"\xc0"))

    def test_too_much_to_say(self) -> None:
        nodes = tuple(wire.Neighbor(bytes(16), 0xFFFF, 0xFFFF, bytes(64)) for _ in range(MAX_NEIGHBORS + 1))
        far = 2**64 - 1
        self.assertLessEqual(len(wire.encode(KEY, wire.Neighbors(nodes[:-1], far))), MAX_PACKET)
        self.assertRaises(LocalProtocolError, wire.encode, KEY, wire.Neighbors(nodes, far))


class ExpirationTests(SynchronousTestCase):
    def test_table(self) -> None:
        wall = 1_700_000_000.5
        for expiration, expired in (
            (1_700_000_001, False),
            (1_700_000_000, True),
            (1_700_000_020, False),
            (0, True),
            (2**63 - 1, False),
            (2**63, True),
            (2**64 - 1_700_000_020, True),  # a time in the past, negated
            (2**64 - 1, True),
        ):
            self.assertEqual(wire.is_expired(expiration, wall), expired, expiration)


class PropertyTests(SynchronousTestCase):
    @given(MESSAGES)
    def test_round_trip(self, message: wire.Message) -> None:
        packet = wire.encode(key(3), message)
        self.assertTrue(wire.is_packet(packet))
        self.assertEqual(wire.message_of(packet), message)
        self.assertEqual(wire.sender_of(packet), key(3).public_key)

    @given(st.binary(max_size=200))
    def test_any_content(self, content: bytes) -> None:
        """Any bytes after the head give a value or L{WireError}."""
        packet = seal(KEY, content)
        if not wire.is_packet(packet):
            self.assertEqual(content, b"")
            return
        try:
            wire.message_of(packet)
        except WireError:
            pass

    @given(st.lists(st.tuples(st.ip_addresses(), PORTS, PORTS, st.integers(1, 50)), max_size=MAX_NEIGHBORS), NUMBERS)
    def test_prepared_neighbors(self, nodes: list[tuple[object, int, int, int]], expiration: int) -> None:
        """Neighbors of nodes encoded before are the same to the byte."""
        plain, prepared = [], []
        for ip, udp, tcp, number in nodes:
            public_key = key(number).public_key
            ip = as_ip(str(ip))
            plain.append(wire.Neighbor(ip.packed, udp, tcp, public_key.raw))
            prepared.append(wire.neighbor(ip, udp, tcp, public_key))
        expected = wire.encode(KEY, wire.Neighbors(tuple(plain), expiration))
        self.assertEqual(wire.encode_neighbors(KEY, prepared, expiration), expected)

    @given(st.ip_addresses())
    def test_addresses(self, ip: object) -> None:
        host = str(as_ip(str(ip)))
        self.assertEqual(str(wire.unpack_ip(wire.pack_ip(host))), host)
