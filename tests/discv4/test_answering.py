"""
The engine as others meet it: proofs, and what is answered to whom.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4 import state, wire
from ethp2p.discv4.limits import (
    AMPLIFICATION,
    ANSWER_SIZE,
    ANSWER_TIMEOUT,
    BOND_LIFETIME,
    EXPIRATION,
    MAX_DATAGRAMS,
    MAX_EVENTS,
    MAX_NEIGHBORS,
    MAX_PACKET,
    MEETING_INTERVAL,
)
from ethp2p.discv4.state import Addr, Asked, Discv4, Met, PongInfo
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError
from tests.discv4.support import US, WALL, Stranger, endpoint, expiration, key, local, node


class StrangerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.local = local()
        self.engine = Discv4(self.local)
        self.peer = Stranger(self.engine)


class ProofTests(StrangerTests):
    def test_met(self) -> None:
        """A node that comes by itself is told of when it has answered our Ping, not before."""
        ping_hash = self.peer.send(self.peer.ping())
        pong, _ = self.peer.take(wire.Pong)
        self.assertEqual(
            pong, wire.Pong(endpoint(self.peer.addr, 30303), ping_hash, int(WALL + EXPIRATION), self.local.record.seq)
        )
        ping, our_hash = self.peer.take(wire.Ping)
        self.assertEqual(ping.version, 4)
        self.assertEqual(ping.sender, endpoint(US, US[1]))
        self.assertEqual(ping.recipient, endpoint(self.peer.addr))
        self.assertEqual((ping.expiration, ping.enr_seq), (int(WALL + EXPIRATION), self.local.record.seq))
        self.assertEqual(self.peer.events(), [])
        self.assertEqual(self.engine.proofs, 1)
        self.peer.send(self.peer.pong(our_hash, enr_seq=9))
        host, port = self.peer.addr
        self.assertEqual(self.peer.events(), [Met(Node(self.peer.key.public_key, host, 30303, port), PongInfo(US, 9))])
        self.assertEqual((self.engine.proofs, self.peer.inbox, self.engine.next_timer()), (0, [], None))

    def test_told_once_in_a_while(self) -> None:
        self.peer.bond()
        self.assertEqual(len(self.peer.events()), 1)
        self.peer.wait(1.0)
        for wait, tcp, told in ((0, 30303, 0), (MEETING_INTERVAL, 7, 1), (1, 7, 0), (MEETING_INTERVAL, 8, 1)):
            self.peer.wait(wait)
            self.peer.send(self.peer.ping(sender=endpoint(self.peer.addr, tcp), enr_seq=5))
            self.peer.take(wire.Pong)
            self.assertEqual(self.peer.inbox, [])
            events = self.peer.events()
            self.assertEqual(len(events), told)
            for event in events:
                assert isinstance(event, Met)
                self.assertEqual((event.node.tcp, event.info), (tcp, PongInfo(US, 5)))

    def test_expires(self) -> None:
        self.peer.bond()
        self.peer.wait(BOND_LIFETIME - 1)
        self.peer.send(self.peer.find_node())
        self.peer.wait(1)
        self.peer.send(self.peer.find_node())
        self.assertEqual(self.engine.ignored["unproven"], 1)
        self.peer.bond()

    def test_one_ping_at_a_time(self) -> None:
        """A node that pings on and on gets the same Ping again, which may have been lost, until it is given up."""
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        ping, _ = self.peer.take(wire.Ping)
        for _ in range(3):
            self.peer.wait(0.1)
            self.assertEqual(self.peer.inbox, [])
            self.peer.send(self.peer.ping())
            self.peer.take(wire.Pong)
            self.assertEqual(self.peer.take(wire.Ping)[0], ping)
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT - 0.3), [])
        self.assertEqual((self.engine.proofs, self.engine.next_timer(), self.peer.inbox), (0, None, []))
        self.peer.bond()

    def test_late_pong(self) -> None:
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.wait(ANSWER_TIMEOUT)
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual((self.peer.events(), self.engine.ignored["unsolicited"]), ([], 1))

    def test_cap(self) -> None:
        """Strangers in great number get their Pongs only, and the known ones all as ever."""
        self.engine = Discv4(self.local, max_proofs=3)
        known = Stranger(self.engine, 50, ("10.0.0.50", 7))
        known.bond()
        strangers = [Stranger(self.engine, number, ("10.0.0.9", number)) for number in range(2, 8)]
        for stranger in strangers:
            stranger.send(stranger.ping())
        self.assertEqual([len(stranger.inbox) for stranger in strangers], [2, 2, 2, 1, 1, 1])
        self.assertEqual((self.engine.proofs, self.engine.ignored["busy"]), (3, 3))
        known.send(wire.ENRRequest(expiration()))
        known.take(wire.ENRResponse)
        self.engine.handle_timer(ANSWER_TIMEOUT, WALL + ANSWER_TIMEOUT)
        strangers[-1].inbox.clear()
        strangers[-1].now = ANSWER_TIMEOUT
        strangers[-1].bond()

    def test_own(self) -> None:
        """Our packets sent back to us."""
        self.peer.key = self.local.key
        self.peer.send(self.peer.ping())
        self.assertEqual((self.peer.inbox, self.engine.ignored["own"]), ([], 1))

    def test_no_address(self) -> None:
        packet = wire.encode(self.peer.key, self.peer.ping())
        for addr in (("fe80::1%eth0", 30303), ("10.0.0.2", 0)):
            self.assertTrue(self.engine.receive_datagram(packet, addr, 0.0, WALL))
        self.assertEqual((self.engine.datagrams_to_send(), self.engine.ignored["address"]), ([], 2))

    def test_dual_stack(self) -> None:
        """An IPv4 address that the socket shows as IPv6 is the IPv4 address; packets go where they came from."""
        self.peer.addr = ("::ffff:10.0.0.2", 30304)
        self.peer.send(wire.Ping(4, endpoint(US), endpoint(US), expiration()))
        pong, _ = self.peer.take(wire.Pong)
        self.assertEqual(pong.recipient, endpoint(("10.0.0.2", 30304)))
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash))
        (met,) = self.peer.events()
        self.assertEqual(met.node.host, "10.0.0.2")

    def test_ipv6(self) -> None:
        self.peer = Stranger(self.engine, addr=("2001:db8::2", 30304))
        self.peer.bond()
        (met,) = self.peer.events()
        self.assertEqual(met.node.host, "2001:db8::2")

    def test_amplification(self) -> None:
        """The smallest Ping of each IP version, over and over: never more than the cap, however long our seq is."""

        @attrs.frozen
        class Boastful:
            key = self.local.key
            record = attrs.evolve(self.local.record, seq=2**64 - 1)

        for addr in (("10.0.0.2", 30304), ("2001:db8::2", 30304)):
            peer = Stranger(Discv4(Boastful()), addr=addr)
            nobody = wire.Endpoint(b"", 0)
            for _ in range(10):
                peer.send(wire.Ping(0, nobody, nobody, int(WALL + peer.now) + 1))
                self.assertLessEqual(peer.got, AMPLIFICATION * peer.sent)
                peer.wait(ANSWER_TIMEOUT)
            self.assertGreater(peer.got, peer.sent)

    def test_amplification_is_held(self) -> None:
        """Where the answer would be over the cap, it is kept back."""
        self.patch(state, "AMPLIFICATION", 2)
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.assertEqual((self.peer.inbox, self.engine.ignored["amplification"]), ([], 1))
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT), [])


class QuestionTests(StrangerTests):
    """Questions of others."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.bond()
        self.peer.events()

    def ask(self, nodes: list[Node]) -> list[wire.Neighbors]:
        """What is answered when the owner knows these."""
        self.peer.send(self.peer.find_node(b"\x07" * 64))
        (asked,) = self.peer.events()
        assert isinstance(asked, Asked)
        self.engine.send_nodes(asked.token, nodes, self.peer.now, WALL)
        self.peer.fetch()
        answers = []
        while self.peer.inbox:
            self.assertLessEqual(len(self.peer.inbox[0]), MAX_PACKET)
            answers.append(self.peer.take(wire.Neighbors)[0])
        return answers

    def told(self, nodes: list[Node]) -> list[bytes]:
        """The keys in the answer."""
        return [told.public_key for answer in self.ask(nodes) for told in answer.nodes]

    def test_asked(self) -> None:
        self.peer.send(self.peer.find_node(b"\x07" * 64))
        (asked,) = self.peer.events()
        host, port = self.peer.addr
        self.assertEqual(asked, Asked(asked.token, Node(self.peer.key.public_key, host, 30303, port), b"\x07" * 64))

    def test_batches(self) -> None:
        nodes = [node(number, f"2a00::{number:x}", 65535) for number in range(2, 32)]
        answers = self.ask(nodes)
        self.assertEqual([len(answer.nodes) for answer in answers], [MAX_NEIGHBORS, ANSWER_SIZE - MAX_NEIGHBORS])
        first = answers[0].nodes[0]
        self.assertEqual(first, wire.Neighbor(wire.pack_ip("2a00::2"), 65535, 65535, nodes[0].public_key.raw))
        self.assertEqual(answers[0].expiration, int(WALL + EXPIRATION))
        self.assertEqual(len(self.ask(nodes[:MAX_NEIGHBORS])), 1)

    def test_none(self) -> None:
        """None is an answer, too."""
        self.assertEqual([answer.nodes for answer in self.ask([])], [()])

    def test_whom_to_tell(self) -> None:
        """Only nodes that have an address, and local ones only to local askers."""
        good = node(30, "51.15.0.1")
        others = [
            node(31, "boot.example.org"),
            Node(key(32).public_key),
            Node(key(33).public_key, "51.15.0.2", 30303, 0),
            node(34, "203.0.113.5"),
            node(35, "0.0.0.0"),
        ]
        lan = node(36, "10.0.0.77")
        nodes = [*others, lan, good]
        self.assertEqual(self.told(nodes), [lan.public_key.raw, good.public_key.raw])
        self.peer = Stranger(self.engine, 3, ("51.15.9.9", 30303))
        self.peer.bond()
        self.peer.events()
        self.assertEqual(self.told(nodes), [good.public_key.raw])

    def test_of_records(self) -> None:
        other = local(38, ("51.15.0.1", 4))
        self.peer.send(self.peer.find_node())
        (asked,) = self.peer.events()
        assert isinstance(asked, Asked)
        self.engine.send_nodes(asked.token, [other.record], 0.0, WALL)
        self.peer.fetch()
        (told,) = self.peer.take(wire.Neighbors)[0].nodes
        self.assertEqual((told.udp, told.public_key), (4, key(38).public_key.raw))

    def test_for_nobody(self) -> None:
        self.assertRaises(LocalProtocolError, self.engine.send_nodes, 1, [], 0.0, WALL)

    def test_another_port(self) -> None:
        """A proof holds for the whole IP address: a NAT may have changed the port."""
        host, port = self.peer.addr
        self.peer.addr = (host, port + 1)
        self.assertEqual(len(self.ask([])), 1)

    def test_record_needs_proof(self) -> None:
        self.peer.send(wire.ENRRequest(expiration()))
        self.peer.take(wire.ENRResponse)
        for number, addr in ((2, ("10.0.0.3", 30304)), (3, self.peer.addr)):
            stranger = Stranger(self.engine, number, addr)
            stranger.send(wire.ENRRequest(expiration()))
            self.assertEqual(stranger.inbox, [])
        self.peer.send(wire.ENRRequest(int(WALL) - 1))
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual((self.engine.ignored["unproven"], self.engine.ignored["expired"]), (2, 1))

    def test_no_curve_for_the_unproven(self) -> None:
        """Who has proven nothing, and who was not asked, cannot make us do curve operations."""
        self.patch(wire, "sender_of", self.fail)
        for message in (
            self.peer.find_node(),
            wire.ENRRequest(expiration()),
            self.peer.pong(bytes(32)),
            wire.Neighbors((), expiration()),
            wire.ENRResponse(bytes(32), b"\xc0"),
            self.peer.ping(expiration=1),
        ):
            self.assertTrue(self.engine.receive_datagram(wire.encode(key(9), message), ("10.0.0.9", 9), 0.0, WALL))
        self.assertEqual(self.engine.ignored["unproven"], 2)
        self.assertEqual(self.engine.ignored["unsolicited"], 3)


class ForeignTests(StrangerTests):
    def test_other_protocols(self) -> None:
        """What is not of this protocol is left to others, without a count here."""
        packet = wire.encode(self.peer.key, self.peer.ping())
        for data in (b"", b"\0", bytes(97), bytes(200), packet[:-1], packet + b"\0", bytes(MAX_PACKET + 1)):
            self.assertFalse(self.peer.send_raw(data))
        self.assertEqual(sum(self.engine.ignored.values()) + sum(self.engine.received.values()), 0)

    def test_counted(self) -> None:
        self.peer.bond()
        self.peer.send(self.peer.find_node())
        self.assertEqual(
            self.engine.received,
            {"Ping": 1, "Pong": 1, "FindNode": 1, "Neighbors": 0, "ENRRequest": 0, "ENRResponse": 0},
        )
        self.assertEqual(
            self.engine.sent, {"Ping": 1, "Pong": 1, "FindNode": 0, "Neighbors": 0, "ENRRequest": 0, "ENRResponse": 0}
        )


class CapTests(StrangerTests):
    def test_events(self) -> None:
        """Others cannot fill the memory of an owner who fetches nothing."""
        self.peer.bond()
        for _ in range(MAX_EVENTS + 10):
            self.peer.send(self.peer.find_node())
        self.assertEqual(len(self.peer.events()), MAX_EVENTS)
        self.assertEqual(self.engine.ignored["busy"], 11)

    def test_datagrams(self) -> None:
        """Nor of a socket that sends nothing."""
        self.patch(state, "MAX_DATAGRAMS", 5)
        packet = wire.encode(self.peer.key, self.peer.ping())
        for _ in range(10):
            self.engine.receive_datagram(packet, self.peer.addr, 0.0, WALL)
        self.assertEqual((len(self.engine.datagrams_to_send()), self.engine.ignored["unsent"]), (5, 15))
        self.assertGreater(MAX_DATAGRAMS, 5)

    def test_record_is_fresh(self) -> None:
        """What we say of ourselves follows the local node."""
        self.peer.bond()
        self.peer.events()
        self.local.set_static_ip("51.15.0.9")
        self.local.set_ports(1, 2)
        other: Addr = ("10.0.0.5", 5)
        stranger = Stranger(self.engine, 5, other)
        stranger.send(stranger.ping())
        stranger.take(wire.Pong)
        ping, _ = stranger.take(wire.Ping)
        self.assertEqual(ping.sender, wire.Endpoint(bytes((51, 15, 0, 9)), 2, 1))
        self.assertEqual(ping.enr_seq, self.local.record.seq)
