"""Honest engines with each other: over good networks and bad ones, and when one forgets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.discv5 import limits, wire
from ethp2p.discv5.relay import distance
from ethp2p.discv5.state import Answered, Asked, Discv5, Failed, Met, PongInfo, Talked
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, IP6, TCP, UDP, Entry
from ethp2p.errors import LocalProtocolError
from tests.discv5.common import Net, Peer, Stranger, Tape, events, key_of, local_of, node_of, record_of


class PairTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = Net()
        self.alice, self.bob = self.net.peer(1), self.net.peer(2)

    def answered(self, peer: Peer) -> Answered:
        (event,) = peer.of(Answered)
        assert isinstance(event, Answered)
        return event

    def kinds(self) -> list[str]:
        """What went over the network, once."""
        masks = {peer.addr: wire.Mask(peer.node.node_id) for peer in self.net.peers.values()}
        carried, self.net.carried = self.net.carried, []
        return [type(wire.decode_packet(data, masks[to])).__name__ for _, to, data in carried]

    def test_first_ping(self) -> None:
        token = self.alice.ping(self.bob)
        self.net.run()
        event = self.answered(self.alice)
        self.assertEqual((event.token, event.node), (token, self.bob.node))
        self.assertEqual(event.result, PongInfo(self.alice.addr, self.bob.local.record.seq))
        self.assertAlmostEqual(event.rtt, 0.02, places=6)
        self.assertEqual(self.kinds(), ["Ordinary", "WhoAreYou", "Handshake", "Ordinary"])
        self.assertEqual(self.bob.of(Met), [Met(self.alice.node, self.alice.addr)])
        self.assertEqual(self.alice.told + self.bob.told, [])

    def test_later_pings(self) -> None:
        """In the session, both ways: two packets each, and nobody is met again."""
        self.alice.ping(self.bob)
        self.net.run()
        self.bob.of(Met)
        self.kinds()
        self.bob.ping(self.alice)
        self.net.run()
        self.alice.ping(self.bob)
        self.net.run()
        self.assertEqual(self.kinds(), ["Ordinary"] * 4)
        self.assertEqual(self.bob.of(Met) + self.alice.of(Met), [])
        self.assertEqual(self.alice.engine.counters.sent, {"Ping": 2, "Pong": 1})
        self.assertEqual(self.alice.engine.counters.received, {"Ping": 1, "Pong": 2})

    def test_met_again(self) -> None:
        """Who pings again and again is told of once in a while, so that a place in the table can be had again."""
        for _ in range(200):
            self.alice.ping(self.bob)
            self.net.run(1.0)
        met = self.bob.of(Met)
        self.assertEqual(met, [Met(self.alice.node, self.alice.addr)] * 4)
        self.assertEqual(self.bob.engine.counters.handshakes_in, 1)
        self.assertEqual(self.alice.of(Met), [])

    def test_record_goes_along_when_it_is_newer(self) -> None:
        """The second handshake carries no record, the third one a new record."""
        sizes, records = [], []
        for turn in range(3):
            if turn == 2:
                self.alice.local.set_ports(7, 30303)
            records.append(len(self.alice.local.record.encode()))
            self.alice.engine._sessions.pop((self.bob.node.node_id, self.bob.addr))
            self.alice.ping(self.bob)
            self.net.run()
            packets = [data for source, _, data in self.net.carried if source == self.alice.addr]
            sizes.append(len(max(packets, key=len)))
            self.net.carried.clear()
        self.assertEqual([sizes[0] - sizes[1], sizes[2] - sizes[1]], [records[0], records[2]])
        self.assertEqual([event.node.tcp for event in self.bob.of(Met)], [0, 0, 7])

    def test_record(self) -> None:
        old = self.bob.node
        self.bob.local.set_ports(9, 30303)
        self.alice.engine.request_record(old, self.net.now, 0.0)
        self.net.run()
        record = self.answered(self.alice).result
        self.assertEqual(record, self.bob.local.record)
        self.assertNotEqual(record, old.record)
        self.assertEqual(self.bob.of(Asked), [])

    def test_node_known_by_its_key_alone(self) -> None:
        bob = self.bob.node
        self.alice.engine.ping(Node(bob.public_key, bob.host, 0, bob.udp), self.net.now, 0.0)
        self.net.run()
        self.assertIsInstance(self.answered(self.alice).result, PongInfo)

    def test_find_node(self) -> None:
        known = [node_of(number, f"10.0.1.{number}") for number in range(20, 50)]
        self.bob.known = known
        farthest = [node for node in known if distance(node.node_id, self.bob.node.node_id) == 256]
        self.alice.find(self.bob, 256)
        self.net.run()
        (asked,) = self.bob.of(Asked)
        self.assertEqual((asked.node, asked.distances), (self.alice.node, (256,)))
        found = self.answered(self.alice).result
        self.assertEqual(found, tuple(farthest[: limits.MAX_NODES]))
        self.assertGreater(len(farthest), 8)
        self.assertEqual(self.alice.engine.counters.records_refused, 0)

    def test_several_packets(self) -> None:
        """Records do not all fit in one: each packet says how many there are."""
        self.bob.known = [node_of(number, f"10.0.1.{number}") for number in range(20, 80)]
        self.alice.find(self.bob, 256, 255, 254)
        self.net.run()
        self.assertEqual(len(self.answered(self.alice).result), limits.MAX_NODES)
        packets = [data for source, _, data in self.net.carried if source == self.bob.addr]
        self.assertEqual(len(packets), 1 + 2)
        self.assertLessEqual(max(map(len, packets)), limits.MAX_PACKET)

    def test_two_packets_for_sixteen(self) -> None:
        """Records of one address each, as most nodes have them, with the longest request id there may be."""
        stranger = Stranger(3, self.bob.engine)
        stranger.meet()
        entries: dict[Entry[Any], Any] = {IP: IPv4Address("10.0.1.1"), TCP: 30303, UDP: 30303}
        nodes = [Node.from_record(Record.sign(key_of(number), 1 << 40, entries)) for number in range(20, 60)]
        (size,) = {len(node.record.encode()) for node in nodes if node.record is not None}
        self.assertEqual(size, 147)
        every = tuple(range(250, 257))
        stranger.say(wire.FindNode(b"12345678", every))
        (asked,) = [event for event in events(self.bob.engine) if type(event) is Asked]
        self.bob.engine.send_nodes(asked.token, nodes, 0.0, 0.0)
        packets = stranger.answers()
        self.assertEqual(max(map(len, packets)), limits.MAX_PACKET)
        answers = [message for message in stranger.read(packets) if type(message) is wire.Nodes]
        self.assertEqual([(answer.total, len(answer.records)) for answer in answers], [(2, 8), (2, 8)])

    def test_asker_is_left_out_first(self) -> None:
        """Who asks and is known gets as many others as anybody."""
        self.bob.known = [self.alice.node, *(node_of(number, f"10.0.1.{number}") for number in range(20, 60))]
        self.alice.find(self.bob, *range(240, 257))
        self.net.run()
        self.assertEqual(len(self.answered(self.alice).result), limits.MAX_NODES)

    def test_largest_records(self) -> None:
        """Records of 300 bytes: 5 packets and no more, none over the limit."""
        junk = Entry(b"junk", rlp.BYTES)
        host = node_of(1).ip
        for number in range(100, 140):
            key = key_of(number)
            small = Record.sign(key, 1, {IP: host, UDP: 30303, junk: b"x" * 100})
            fill = 300 - len(small.encode()) + 99  # the list's own prefix grows
            record = Record.sign(key, 1, {IP: host, UDP: 30303, junk: b"x" * fill})
            self.assertEqual(len(record.encode()), 300)
            self.bob.known.append(Node.from_record(record))
        self.alice.find(self.bob, 256, 255, 254)
        self.net.run()
        self.assertEqual(len(self.answered(self.alice).result), 15)
        packets = [data for source, _, data in self.net.carried if source == self.bob.addr]
        self.assertEqual(len(packets), 1 + limits.MAX_TOTAL)
        self.assertLessEqual(max(map(len, packets)), limits.MAX_PACKET)

    def test_own_record_with_others(self) -> None:
        """Distance 0 among others: the engine adds its own record, the owner does not need to know."""
        self.bob.known = [node_of(20, "10.0.1.20")]
        wanted = distance(self.bob.known[0].node_id, self.bob.node.node_id)
        self.alice.find(self.bob, 0, wanted)
        self.net.run()
        self.assertEqual(self.bob.of(Asked)[0].distances, (wanted,))
        self.assertEqual(self.answered(self.alice).result, (self.bob.node, self.bob.known[0]))

    def test_what_is_not_told(self) -> None:
        """Other distances, no record, no endpoint, ourselves, the asker, twice."""
        good = node_of(20, "10.0.1.20")
        no_record = Node(key_of(21).public_key, "10.0.1.21", 0, 30303)
        no_port = Node.from_record(record_of(22, "10.0.1.22", 0))
        loopback = node_of(23, "127.0.0.1")
        every = tuple(range(1, 257))
        self.bob.known = [good, no_record, no_port, loopback, self.bob.node, self.alice.node, good]
        self.alice.find(self.bob, *every)
        self.net.run()
        self.assertEqual(self.answered(self.alice).result, (good,))
        packets = [data for source, _, data in self.net.carried if source == self.bob.addr]
        assert good.record is not None
        self.assertLess(len(packets[-1]), 71 + 16 + 30 + len(good.record.encode()))

    def test_asked_for_nothing_that_is(self) -> None:
        """Distances that no node can have: an empty answer at once."""
        stranger = Stranger(9, self.bob.engine)
        stranger.meet()
        for distances in ((), (257, 2**64 - 1)):
            self.assertEqual(stranger.say(wire.FindNode(b"1", distances)), [wire.Nodes(b"1", 1, ())])

    def test_talk(self) -> None:
        self.bob.engine.talk_protocols.add(b"chess")
        self.alice.engine.talk(self.bob.node, b"chess", b"e4", self.net.now, 0.0)
        self.net.run(0.1)
        (talked,) = self.bob.of(Talked)
        self.assertEqual((talked.node, talked.protocol, talked.message), (self.alice.node, b"chess", b"e4"))
        self.bob.engine.send_talk(talked.token, b"c5")
        self.net.run()
        self.assertEqual(self.answered(self.alice).result, b"c5")
        self.alice.engine.talk(self.bob.node, b"go", b"d4", self.net.now, 0.0)
        self.net.run()
        self.assertEqual(self.answered(self.alice).result, b"")
        self.assertEqual(self.bob.of(Talked), [])

    def test_talk_at_most(self) -> None:
        """What fits in no packet is our mistake; what does not fit beside a handshake fails, and goes after one."""
        bob, now = self.bob.node, self.net.now
        with self.assertRaises(LocalProtocolError):
            self.alice.engine.talk(bob, b"chess", bytes(1200), now, 0.0)
        self.alice.engine.talk(bob, b"chess", bytes(1150), now, 0.0)
        self.net.run()
        (failed,) = self.alice.of(Failed)
        self.assertIn("too long to go with a handshake", failed.why)
        self.alice.ping(self.bob)
        self.alice.engine.talk(bob, b"chess", bytes(1150), self.net.now, 0.0)
        self.net.run()
        self.assertEqual([event.result for event in self.alice.of(Answered)][1:], [b""])
        with self.assertRaises(LocalProtocolError):
            self.alice.engine.send_talk("token", b"")
        with self.assertRaises(LocalProtocolError):
            self.alice.engine.send_nodes(None, [], now, 0.0)

    def test_ipv6(self) -> None:
        local = local_of(3)
        local.set_static_ip("0.0.0.0")
        local.set_static_ip("2001:470::3")
        carol = Node.from_record(Record.sign(key_of(3), 5, {IP6: IPv6Address("2001:470::3"), UDP: 30303}))
        engine = Discv5(local, random=Tape())
        stranger = Stranger(4, engine, ("2001:470::4", 40000), record_of(4))
        (pong,) = stranger.meet()
        assert isinstance(pong, wire.Pong)
        self.assertEqual((pong.recipient_ip, pong.recipient_port), (IPv6Address("2001:470::4").packed, 40000))
        self.alice.engine.ping(carol, 1.0, 0.0)
        ((_, addr),) = self.alice.engine.datagrams_to_send()
        self.assertEqual(addr, ("2001:470::3", 30303))

    def test_restart(self) -> None:
        """A node that has forgotten everything challenges; the request goes through all the same."""
        self.alice.ping(self.bob)
        self.net.run()
        self.bob.boot()
        self.alice.ping(self.bob)
        self.net.run()
        self.assertEqual(len(self.alice.of(Answered)), 2)
        self.alice.boot()
        self.bob.ping(self.alice)
        self.net.run()
        self.assertEqual(len(self.bob.of(Answered)), 1)

    def test_session_forgotten(self) -> None:
        """An endpoint's session is the least lately used of too many: it shakes hands again."""
        self.alice.ping(self.bob)
        self.net.run()
        engine = self.bob.engine
        kept = engine._sessions.get((self.alice.node.node_id, self.alice.addr))
        assert kept is not None
        for number in range(limits.MAX_SESSIONS):
            engine._sessions.set((number.to_bytes(32), self.alice.addr), kept)
        self.assertEqual(len(engine._sessions), limits.MAX_SESSIONS)
        self.alice.ping(self.bob)
        self.net.run()
        self.assertEqual(len(self.alice.of(Answered)), 2)
        self.assertEqual((engine.counters.handshakes_in, len(engine._sessions)), (2, limits.MAX_SESSIONS))

    def test_both_at_once(self) -> None:
        """Both begin a handshake at the same moment: each is answered, and what follows needs no third."""
        for _ in range(3):
            self.alice.ping(self.bob)
            self.bob.ping(self.alice)
            self.net.run()
            self.assertEqual(len(self.alice.of(Answered)), 1)
            self.assertEqual(len(self.bob.of(Answered)), 1)
        for peer in (self.alice, self.bob):
            self.assertEqual((peer.engine.counters.handshakes_in, peer.engine.counters.handshakes_out), (1, 1))

    def test_nonces_run_out(self) -> None:
        """No nonce twice under one key: before the count is full there is a new handshake."""
        self.alice.ping(self.bob)
        self.net.run()
        for peer, other in ((self.alice, self.bob), (self.bob, self.alice)):
            session = peer.engine._sessions.get((other.node.node_id, other.addr))
            assert session is not None
            self.assertEqual(session.sent, 1)
            session.sent = limits.MAX_SENT - 1
            self.assertEqual(session.next_nonce(b"drawn...")[:4], b"\xff\xff\xff\xff")
            self.assertTrue(session.spent)
        self.alice.ping(self.bob)
        self.net.run()
        self.assertEqual(len(self.alice.of(Answered)), 2)
        self.assertEqual(self.alice.engine.counters.handshakes_out, 2)
        session = self.bob.engine._sessions.get((self.alice.node.node_id, self.alice.addr))
        assert session is not None
        session.sent = limits.MAX_SENT
        self.alice.ping(self.bob)
        self.net.run()
        self.assertEqual((len(self.alice.of(Answered)), self.alice.engine.counters.calls_repeated), (1, 1))
        self.assertEqual(self.alice.engine.counters.handshakes_out, 3)


class BadNetworkTests(SynchronousTestCase):
    """Packets get lost and overtake each other."""

    def pings(self, net: Net, rounds: int) -> tuple[int, int]:
        alice, bob = net.peer(1), net.peer(2)
        for _ in range(rounds):
            alice.ping(bob)
            bob.ping(alice)
            net.run(2.0)
        answered = len(alice.of(Answered)) + len(bob.of(Answered))
        failed = len(alice.of(Failed)) + len(bob.of(Failed))
        self.assertEqual(answered + failed, 2 * rounds)
        self.assertEqual((len(alice.engine._calls), alice.engine.next_timer()), (0, None))
        return answered, failed

    def test_loss(self) -> None:
        """
        In a session a ping comes back when both packets do, of one of two copies; the four of a handshake must not
        cost much more.
        """
        for seed in range(3):
            answered, _ = self.pings(Net(seed=seed, loss=0.2, jitter=0.02), 60)
            self.assertGreater(answered, 0.8 * 120)

    def test_reordering(self) -> None:
        for seed in range(3):
            _, failed = self.pings(Net(seed=seed, jitter=0.3), 40)
            self.assertEqual(failed, 0)

    def test_all_lost(self) -> None:
        answered, failed = self.pings(Net(loss=1.0), 3)
        self.assertEqual((answered, failed), (0, 6))

    def test_part_of_an_answer(self) -> None:
        """What came of several packets is the result when the rest does not come, nor its repetition."""
        net = Net()
        alice, bob = net.peer(1), net.peer(2)
        bob.known = [node_of(number, f"10.0.1.{number}") for number in range(20, 80)]
        alice.ping(bob)
        net.run()
        alice.find(bob, 256, 255)
        seen = []

        def keep_one() -> None:
            for data, addr in bob.engine.datagrams_to_send():
                if not seen:
                    alice.engine.receive_datagram(data, bob.addr, net.now, 0.0)
                seen.append((data, addr))

        for data, _ in alice.engine.datagrams_to_send():
            bob.engine.receive_datagram(data, alice.addr, net.now, 0.0)
        bob.drain()
        keep_one()
        self.assertGreater(len(seen), 1)
        net.loss = 1.0
        net.run()
        found = alice.of(Answered)[1].result
        self.assertGreater(len(found), 0)
        self.assertLess(len(found), limits.MAX_NODES)

    def test_challenge_lost(self) -> None:
        """
        The second request meets the same challenge again, which names the first one's packet: it is answered
        all the same.
        """
        net = Net()
        alice, bob = net.peer(1), net.peer(2)
        alice.ping(bob)
        for data, _ in alice.engine.datagrams_to_send():
            bob.engine.receive_datagram(data, alice.addr, net.now, 0.0)
        bob.engine.datagrams_to_send()
        alice.engine.handle_timer(net.now + limits.RESPONSE_TIMEOUT, 0.0)
        net.now += limits.RESPONSE_TIMEOUT
        alice.drain()
        self.assertEqual([type(event) for event in alice.told], [Failed])
        alice.ping(bob)
        net.run()
        self.assertEqual(len(alice.of(Answered)), 1)
        self.assertEqual((bob.engine.counters.challenges, bob.engine.counters.challenges_repeated), (1, 1))


class TimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Discv5(local_of(1), random=Tape())

    def test_no_answer(self) -> None:
        node = node_of(2, "10.0.0.2")
        self.assertIsNone(self.engine.next_timer())
        token = self.engine.ping(node, 10.0, 0.0)
        self.assertEqual(self.engine.next_timer(), 10.0 + limits.REPEAT_AFTER)
        self.engine.handle_timer(10.0 + limits.REPEAT_AFTER, 0.0)
        self.assertEqual(self.engine.next_timer(), 10.0 + limits.RESPONSE_TIMEOUT)
        self.engine.handle_timer(10.0 + limits.RESPONSE_TIMEOUT - 0.001, 0.0)
        self.assertEqual(events(self.engine), [])
        self.engine.handle_timer(10.0 + limits.RESPONSE_TIMEOUT, 0.0)
        self.assertEqual(events(self.engine), [Failed(token, node, "no answer to our packet in 0.7 s")])
        self.assertIsNone(self.engine.next_timer())

    def test_one_at_a_time(self) -> None:
        """To one node one request after the other, to others at once."""
        one, two = node_of(2, "10.0.0.2"), node_of(3, "10.0.0.3")
        for node in (one, one, two):
            self.engine.ping(node, 0.0, 0.0)
        self.assertEqual([addr[0] for _, addr in self.engine.datagrams_to_send()], ["10.0.0.2", "10.0.0.3"])
        self.engine.handle_timer(0.7, 0.0)
        self.assertEqual([event.token for event in events(self.engine)], [1, 3])  # type: ignore[union-attr]
        self.assertEqual([addr[0] for _, addr in self.engine.datagrams_to_send()], ["10.0.0.2"])
        self.assertEqual(self.engine.next_timer(), 0.7 + limits.REPEAT_AFTER)

    def test_cannot_be_asked(self) -> None:
        key = key_of(2).public_key
        for node, why in (
            (self.engine.local.node, "ourselves"),
            (Node(key), "not known"),
            (Node(key, "10.0.0.2"), "not known"),
            (Node(key, "boot.example", 1, 30303), "not known"),
        ):
            token = self.engine.ping(node, 0.0, 0.0)
            (failed,) = events(self.engine)
            assert isinstance(failed, Failed)
            self.assertEqual((failed.token, failed.node), (token, node))
            self.assertIn(why, failed.why)
        self.assertEqual(self.engine.datagrams_to_send(), [])
        for distances in ((), (-1,), (257,)):
            with self.assertRaises(LocalProtocolError):
                self.engine.find_node(node_of(2), distances, 0.0, 0.0)

    def test_fail_all(self) -> None:
        node = node_of(2, "10.0.0.2")
        tokens = [self.engine.ping(node, 0.0, 0.0) for _ in range(3)]
        self.engine.fail_all("enough")
        self.assertEqual(events(self.engine), [Failed(token, node, "enough") for token in tokens])
        self.assertIsNone(self.engine.next_timer())
        self.engine.ping(node, 0.0, 0.0)
        self.assertEqual(len(self.engine._calls), 1)

    def test_challenge_lives_a_second(self) -> None:
        for late, taken in ((0.99, 1), (1.0, 0)):
            engine = Discv5(local_of(1), random=Tape())
            stranger = Stranger(2, engine)
            challenge = stranger.challenge()
            stranger.now += late
            stranger.deliver(stranger.handshake(challenge, wire.encode_message(wire.Ping(b"", 1))))
            self.assertEqual(engine.counters.handshakes_in, taken)
            self.assertEqual(engine.counters.unsolicited, 1 - taken)
