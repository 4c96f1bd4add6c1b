"""
What geth's C{devp2p discv4 test} asks of a node, one test for each of its fifteen, against the engine.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keccak import keccak256
from ethp2p.discv4 import wire
from ethp2p.discv4.state import Asked, Discv4, Event
from ethp2p.enode import Node
from ethp2p.enr import Record
from tests.discv4.support import WALL, Stranger, endpoint, expiration, local, node

#: An address that nobody has, as 16 bytes: it is what the tool sends.
WRONG = wire.Endpoint(bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 0)), 0)
#: The time in 20 s, negated in 64 bits.
PAST = 2**64 - expiration()
TARGET = b"\x07" * 64


def junk(signer: Stranger, sender: wire.Endpoint) -> bytes:
    """A Ping with two more elements."""
    ping = signer.ping(sender=sender)
    plain = wire.encode(signer.key, ping)
    # 42 and nine bytes, after what is there: the list has a short header in a Ping.
    content = plain[99:] + b"\x2a" + b"\x89" + bytes(range(9, 0, -1))
    body = b"\x01" + bytes((0xC0 + len(content),)) + content
    signed = signer.key.sign(keccak256(body)) + body
    return keccak256(signed) + signed


class ConformanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.local = local()
        self.known: list[Node] = [node(40)]
        self.peer = Stranger(Discv4(self.local))

    def tearDown(self) -> None:
        """Nothing more comes, for seconds."""
        for _ in range(10):
            self.answer(self.peer.wait(0.5))
        self.assertEqual(self.peer.inbox, [])

    def answer(self, events: list[Event]) -> None:
        """What the owner does."""
        for event in events:
            if isinstance(event, Asked):
                self.peer.engine.send_nodes(event.token, self.known, self.peer.now, WALL + self.peer.now)
        self.peer.fetch()

    def send(self, message: wire.Message, **where: Any) -> bytes:
        sent = self.peer.send(message, **where)
        self.answer(self.peer.events())
        return sent

    def check_ping_pong(self, ping_hash: bytes) -> None:
        """Both Pong and Ping, in any order, and nothing else."""
        kinds = {type(said): said for said in map(wire.message_of, self.peer.inbox)}
        self.assertEqual(len(self.peer.inbox), 2)
        self.assertEqual(kinds.keys(), {wire.Ping, wire.Pong})
        self.check_pong(kinds[wire.Pong], ping_hash)
        self.peer.inbox.clear()

    def check_pong(self, pong: wire.Message, ping_hash: bytes) -> None:
        assert isinstance(pong, wire.Pong)
        self.assertEqual(pong.ping_hash, ping_hash)
        self.assertEqual(pong.recipient.addr, self.peer.addr)
        self.assertFalse(wire.is_expired(pong.expiration, WALL))

    def test_ping_basic(self) -> None:
        self.check_ping_pong(self.send(self.peer.ping()))

    def test_ping_wrong_to(self) -> None:
        self.check_ping_pong(self.send(self.peer.ping(recipient=WRONG)))

    def test_ping_wrong_from(self) -> None:
        self.check_ping_pong(self.send(self.peer.ping(sender=WRONG)))

    def test_ping_extra_data(self) -> None:
        packet = junk(self.peer, endpoint(self.peer.addr))
        self.assertTrue(self.peer.send_raw(packet))
        self.check_ping_pong(wire.packet_hash(packet))

    def test_ping_extra_data_wrong_from(self) -> None:
        packet = junk(self.peer, WRONG)
        self.assertTrue(self.peer.send_raw(packet))
        self.check_ping_pong(wire.packet_hash(packet))

    def test_ping_past_expiration(self) -> None:
        self.send(self.peer.ping(expiration=PAST))
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.engine.ignored["expired"], 1)

    def test_ping_wrong_packet_type(self) -> None:
        body = b"\x42" + wire.encode(self.peer.key, self.peer.ping())[98:]
        signed = self.peer.key.sign(keccak256(body)) + body
        self.assertTrue(self.peer.send_raw(keccak256(signed) + signed))
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.engine.ignored["unknown"], 1)

    def test_ping_bond_then_ping_with_wrong_from(self) -> None:
        self.peer.bond()
        ping_hash = self.send(self.peer.ping(sender=WRONG))
        pong, _ = self.peer.take(wire.Pong)
        self.check_pong(pong, ping_hash)

    def test_enr_request(self) -> None:
        self.peer.bond()
        request_hash = self.send(wire.ENRRequest(expiration()))
        response, _ = self.peer.take(wire.ENRResponse)
        self.assertEqual(response.request_hash, request_hash)
        record = Record.decode(response.record)
        self.assertEqual(record, self.local.record)
        self.assertEqual(record.node_id, self.local.node_id)

    def test_findnode_without_endpoint_proof(self) -> None:
        self.send(self.peer.find_node(TARGET))
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.engine.ignored["unproven"], 1)

    def test_findnode_basic(self) -> None:
        self.peer.bond()
        self.send(self.peer.find_node(TARGET))
        neighbors, _ = self.peer.take(wire.Neighbors)
        self.assertEqual([told.public_key for told in neighbors.nodes], [node(40).public_key.raw])

    def test_findnode_unsolicited_neighbors(self) -> None:
        """Nobody is told of nodes that came unasked."""
        self.peer.bond()
        self.peer.events()
        fake = node(41)
        told = wire.Neighbor(bytes((1, 2, 3, 4)), 30303, 30303, fake.public_key.raw)
        self.send(wire.Neighbors((told,), expiration()))
        self.assertEqual(self.peer.engine.ignored["unsolicited"], 1)
        self.send(self.peer.find_node(fake.public_key.raw))
        neighbors, _ = self.peer.take(wire.Neighbors)
        self.assertNotIn(told, neighbors.nodes)

    def test_findnode_past_expiration(self) -> None:
        self.peer.bond()
        self.send(self.peer.find_node(TARGET, expiration=PAST))
        self.assertEqual(self.peer.inbox, [])

    def test_amplification_invalid_pong_hash(self) -> None:
        self.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.peer.take(wire.Ping)
        self.send(self.peer.pong(bytes(32)))
        self.send(self.peer.find_node(TARGET))
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.engine.ignored["unsolicited"], 1)

    def test_amplification_wrong_ip(self) -> None:
        self.peer.bond()
        self.send(self.peer.find_node(TARGET), addr=("10.0.0.3", self.peer.addr[1]))
        self.assertEqual(self.peer.engine.ignored["unproven"], 1)
