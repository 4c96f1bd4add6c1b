"""The specification's vectors, through the doors that packets come by."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import keys, wire
from ethp2p.discv5.session import Session
from ethp2p.discv5.state import Discv5
from ethp2p.enode import LocalNode, Node
from ethp2p.enr import Record
from tests.discv5 import vectors
from tests.discv5.common import Tape
from tests.discv5.vectors import ID_A, ID_B, NODE_A, NODE_B, PacketVector, packet_vector

AT_A = ("10.0.0.10", 30303)
AT_B = ("10.0.0.11", 30303)
#: What the vectors' WHOAREYOU draws: its masking IV and its id-nonce.
DRAWN = bytes(16) + bytes(range(1, 17))
NONCE = bytes(range(1, 13))


class KeyTests(SynchronousTestCase):
    def test_ecdh(self) -> None:
        self.assertEqual(keys.ecdh(vectors.ECDH_SECRET, vectors.ECDH_PUBLIC), vectors.ECDH_SHARED)

    def test_derivation(self) -> None:
        secret = keys.ecdh(vectors.EPHEMERAL, vectors.DESTINATION)
        self.assertEqual(
            keys.derive_keys(secret, vectors.CHALLENGE_DATA, ID_A, ID_B),
            (vectors.INITIATOR_KEY, vectors.RECIPIENT_KEY),
        )

    def test_id_signature(self) -> None:
        data, point = vectors.CHALLENGE_DATA, vectors.EPHEMERAL_POINT
        self.assertEqual(keys.sign_id(vectors.STATIC, data, point, ID_B), vectors.ID_SIGNATURE)
        public_key = vectors.STATIC.public_key
        self.assertTrue(keys.verify_id(public_key, vectors.ID_SIGNATURE, data, point, ID_B))
        for other in ((data[:-1] + b"\1", point, ID_B), (data, ID_B + b"\3", ID_B), (data, point, ID_A)):
            self.assertFalse(keys.verify_id(public_key, vectors.ID_SIGNATURE, *other))

    def test_sealing(self) -> None:
        """Head and message as the vector has them: what is sealed is the end of the packet."""
        node = Node(NODE_B.public_key)
        writer = Session(node, AT_B, wire.Mask(ID_B), vectors.GCM_KEY, bytes(16))
        packet = writer.finish(vectors.GCM_DATA, vectors.GCM_NONCE, vectors.GCM_PLAIN)
        self.assertEqual(packet[len(vectors.GCM_DATA) :], vectors.GCM_SEALED)
        reader = Session(node, AT_B, wire.Mask(ID_B), bytes(16), vectors.GCM_KEY)
        sealed = wire.Ordinary(vectors.GCM_NONCE, ID_B, vectors.GCM_DATA, vectors.GCM_SEALED)
        self.assertEqual(reader.open(sealed), vectors.GCM_PLAIN)


class PacketTests(SynchronousTestCase):
    """What node A sends to node B."""

    def setUp(self) -> None:
        self.assertEqual((NODE_A.public_key.node_id, NODE_B.public_key.node_id), (ID_A, ID_B))
        self.mask = wire.Mask(ID_B)

    def engine(self, *drawn: bytes) -> Discv5:
        return Discv5(LocalNode(NODE_B, wall_ms=1000), random=Tape(*drawn))

    def challenge_a(self, engine: Discv5) -> wire.WhoAreYou:
        """Make B challenge A for the packet with the vectors' nonce."""
        head = wire.ordinary_head(bytes(16), NONCE, ID_A)
        engine.receive_datagram(wire.encode_packet(self.mask, head, bytes(20)), AT_A, 1.0, 1.0)
        ((datagram, addr),) = engine.datagrams_to_send()
        self.assertEqual(addr, AT_A)
        packet = wire.decode_packet(datagram, wire.Mask(ID_A))
        assert isinstance(packet, wire.WhoAreYou)
        return packet

    def test_ping(self) -> None:
        vector = packet_vector("ping-message")
        packet = wire.decode_packet(vector.packet, self.mask)
        assert isinstance(packet, wire.Ordinary)
        self.assertEqual((packet.source, packet.nonce), (vector["src-node-id"], vector["nonce"]))
        session = Session(Node(NODE_A.public_key), AT_A, wire.Mask(ID_A), bytes(16), vector["read-key"])
        plain = session.open(packet)
        assert plain is not None
        ping = wire.Ping(vector["ping.req-id"], vector.number("ping.enr-seq"))
        self.assertEqual(wire.decode_message(plain), ping)
        sender = Session(Node(NODE_B.public_key), AT_B, self.mask, vector["read-key"], bytes(16))
        head = wire.ordinary_head(bytes(16), vector["nonce"], ID_A)
        self.assertEqual(sender.finish(head, vector["nonce"], wire.encode_message(ping)), vector.packet)

    def test_whoareyou_read(self) -> None:
        vector = packet_vector("whoareyou")
        packet = wire.decode_packet(vector.packet, self.mask)
        assert isinstance(packet, wire.WhoAreYou)
        self.assertEqual(packet.nonce, vector["whoareyou.request-nonce"])
        self.assertEqual(packet.id_nonce, vector["whoareyou.id-nonce"])
        self.assertEqual(packet.enr_seq, vector.number("whoareyou.enr-seq"))
        self.assertEqual(packet.head, vector["whoareyou.challenge-data"])

    def test_whoareyou_sent(self) -> None:
        """A's engine makes this very packet when it cannot read what B says."""
        vector = packet_vector("whoareyou")
        engine = Discv5(LocalNode(NODE_A, wall_ms=1000), random=Tape(DRAWN))
        head = wire.ordinary_head(bytes(16), vector["whoareyou.request-nonce"], ID_B)
        engine.receive_datagram(wire.encode_packet(wire.Mask(ID_A), head, bytes(20)), AT_B, 1.0, 1.0)
        self.assertEqual(engine.datagrams_to_send(), [(vector.packet, AT_B)])

    def handshake_taken(self, engine: Discv5, vector: PacketVector) -> None:
        """B's engine challenges, takes the vector as the answer, and answers the ping in it."""
        challenge = self.challenge_a(engine)
        self.assertEqual(challenge.head, vector["whoareyou.challenge-data"])
        engine.receive_datagram(vector.packet, AT_A, 1.5, 1.5)
        self.assertEqual(engine.counters.handshakes_bad, 0)
        ((datagram, addr),) = engine.datagrams_to_send()
        self.assertEqual(addr, AT_A)
        packet = wire.decode_packet(datagram, wire.Mask(ID_A))
        assert isinstance(packet, wire.Ordinary)
        ephemeral = ephemeral_of(vector)
        secret = keys.ecdh(ephemeral, NODE_B.public_key.compressed())
        ours, theirs = keys.derive_keys(secret, challenge.head, ID_A, ID_B)
        self.assertEqual(ours, vector["read-key"])
        plain = Session(Node(NODE_B.public_key), AT_B, self.mask, ours, theirs).open(packet)
        assert plain is not None
        pong = wire.decode_message(plain)
        assert isinstance(pong, wire.Pong)
        self.assertEqual(pong.request_id, vector["ping.req-id"])
        self.assertEqual((pong.recipient_ip, pong.recipient_port), (bytes((10, 0, 0, 10)), 30303))

    def test_handshakes_taken(self) -> None:
        """First with the record, since B knows none; then without, since B knows it."""
        with_record, without = packet_vector("ping-handshake-enr"), packet_vector("ping-handshake")
        engine = self.engine(DRAWN, bytes(24), DRAWN)
        self.handshake_taken(engine, with_record)
        self.handshake_taken(engine, without)
        self.assertEqual(engine.counters.handshakes_in, 2)

    def test_handshake_needs_the_record(self) -> None:
        vector = packet_vector("ping-handshake")
        engine = self.engine(DRAWN)
        self.challenge_a(engine)
        engine.receive_datagram(vector.packet, AT_A, 1.5, 1.5)
        self.assertEqual((engine.counters.handshakes_bad, engine.counters.handshakes_in), (1, 0))
        self.assertEqual(engine.datagrams_to_send(), [])

    def test_handshakes_made(self) -> None:
        """From the inputs that the vectors name comes the same packet."""
        for name in ("ping-handshake", "ping-handshake-enr"):
            vector = packet_vector(name)
            packet = wire.decode_packet(vector.packet, self.mask)
            assert isinstance(packet, wire.Handshake)
            self.assertEqual(bool(packet.record), name.endswith("enr"))
            if packet.record:
                self.assertEqual(Record.decode(packet.record).node_id, ID_A)
            data, point = vector["whoareyou.challenge-data"], vector["ephemeral-pubkey"]
            self.assertEqual(ephemeral_of(vector).public_key.compressed(), point)
            signature = keys.sign_id(NODE_A, data, point, ID_B)
            head = wire.handshake_head(bytes(16), vector["nonce"], ID_A, signature, point, packet.record)
            ours, theirs = keys.derive_keys(
                keys.ecdh(ephemeral_of(vector), NODE_B.public_key.compressed()), data, ID_A, ID_B
            )
            plain = wire.encode_message(wire.Ping(vector["ping.req-id"], vector.number("ping.enr-seq")))
            made = Session(Node(NODE_B.public_key), AT_B, self.mask, ours, theirs).finish(head, vector["nonce"], plain)
            self.assertEqual(made, vector.packet)


def ephemeral_of(vector: PacketVector) -> vectors.PrivateKey:
    return vectors.PrivateKey.parse(vector["ephemeral-key"])
