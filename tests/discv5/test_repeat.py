"""Requests that are not answered are repeated: when, how often, and what comes of the answers to both."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import wire
from ethp2p.discv5.limits import MAX_NODES, MAX_REPEATS, MAX_TOTAL, REPEAT_AFTER, RESPONSE_TIMEOUT
from ethp2p.discv5.state import Answered, Asked, Discv5, Event, Failed, Met, Talked
from ethp2p.enode import Node
from tests.discv5.common import Net, Peer, Stranger, Tape, events, local_of, node_of, record_of

EVERY = tuple(range(1, 257))


class LossTests(SynchronousTestCase):
    """Two engines, and packets that are lost one by one."""

    def setUp(self) -> None:
        self.net = Net()
        self.alice, self.bob = self.net.peer(1), self.net.peer(2)

    def carry(self, source: Peer, to: Peer, *lost: int) -> int:
        """
        Carry what C{source} has to send, but for the packets of these numbers.

        @return: how many there were.
        """
        source.drain()
        packets = source.engine.datagrams_to_send()
        for number, (data, _) in enumerate(packets):
            if number not in lost:
                to.engine.receive_datagram(data, source.addr, self.net.now, 0.0)
        return len(packets)

    def silence(self) -> None:
        """Until it is time to repeat."""
        self.net.now += REPEAT_AFTER
        self.alice.engine.handle_timer(self.net.now, 0.0)

    def meet(self) -> None:
        self.alice.ping(self.bob)
        self.net.run()
        self.alice.told.clear()
        self.bob.told.clear()

    def answered(self) -> Answered:
        """The one event of Alice's, all the rest of the packets having been carried."""
        self.net.run()
        (event,) = self.alice.told
        assert isinstance(event, Answered)
        return event

    def test_request_lost(self) -> None:
        self.meet()
        token = self.alice.ping(self.bob)
        self.carry(self.alice, self.bob, 0)
        self.silence()
        self.assertEqual(self.answered().token, token)
        self.assertEqual(self.alice.engine.counters.calls_repeated, 1)
        self.assertEqual(self.bob.engine.counters.received["Ping"], 2)  # the first was in the handshake

    def test_answer_lost(self) -> None:
        self.meet()
        self.alice.ping(self.bob)
        self.carry(self.alice, self.bob)
        self.carry(self.bob, self.alice, 0)
        self.silence()
        self.answered()
        self.assertEqual(self.bob.engine.counters.received["Ping"], 3)

    def test_both_answered(self) -> None:
        """The answer is only late: the first that comes ends it, the other is nobody's, and there is no offence."""
        self.meet()
        self.alice.ping(self.bob)
        self.carry(self.alice, self.bob)
        self.silence()
        self.carry(self.alice, self.bob)
        event = self.answered()
        self.assertAlmostEqual(event.rtt, REPEAT_AFTER + 0.01)  # since the first: nobody knows whose answer it is
        self.assertEqual((self.alice.engine.counters.calls_answered, self.alice.engine.counters.unsolicited), (2, 1))

    def test_new_nonce_and_same_id(self) -> None:
        self.meet()
        self.alice.ping(self.bob)
        self.silence()
        packets = [wire.decode_packet(data, self.bob.engine._mask) for data, _ in self.alice.engine.datagrams_to_send()]
        self.assertEqual(len({packet.nonce for packet in packets}), 2)
        session = self.bob.engine._sessions.get((self.alice.node.node_id, self.alice.addr))
        assert session is not None
        first, second = (session.open(packet) for packet in packets if isinstance(packet, wire.Ordinary))
        self.assertEqual(first, second)

    def test_packets_of_a_handshake(self) -> None:
        """Any one of them lost: the first of all, the challenge, the handshake, its answer."""
        for lost in range(4):
            self.setUp()
            self.alice.ping(self.bob)
            for number in range(lost):
                self.carry(*((self.alice, self.bob) if number % 2 == 0 else (self.bob, self.alice)))
            self.carry(*((self.alice, self.bob) if lost % 2 == 0 else (self.bob, self.alice)), 0)
            self.silence()
            self.answered()
            for peer, count in ((self.alice, "handshakes_out"), (self.bob, "handshakes_in")):
                self.assertEqual(getattr(peer.engine.counters, count), 1, lost)
            self.alice.told.clear()
            self.alice.ping(self.bob)  # in the session that both have
            self.answered()
            self.assertEqual(self.bob.engine.counters.challenges, 1)

    def test_challenge_in_two_copies(self) -> None:
        """Both of our packets are challenged, and the answer is slow: one handshake, and one session."""
        self.alice.ping(self.bob)
        self.silence()
        self.carry(self.alice, self.bob)
        self.assertEqual(self.carry(self.bob, self.alice), 2)
        self.answered()
        self.assertEqual((self.alice.engine.counters.handshakes_out, self.alice.engine.counters.unsolicited), (1, 1))
        self.assertEqual(self.bob.engine.counters.handshakes_in, 1)

    def test_silence(self) -> None:
        """Nobody there: two packets, and the end when it would have been."""
        self.alice.ping(self.bob)
        self.net.peers.pop(self.bob.addr)
        began = self.net.now
        while not self.alice.told:
            self.net.run(0.05)
        self.assertEqual([type(event) for event in self.alice.told], [Failed])
        self.assertLess(abs(self.net.now - began - RESPONSE_TIMEOUT), 0.06)
        self.assertEqual(len(self.net.carried), 2)

    def test_answered_in_time(self) -> None:
        """Nothing is repeated, nor remembered."""
        self.meet()
        for _ in range(20):
            self.alice.ping(self.bob)
            self.net.run()
        self.assertEqual(self.alice.engine.counters.calls_repeated, 0)
        self.assertEqual((self.alice.engine._calls._waits, self.alice.engine._calls._last_waits), ({}, {}))

    def test_talk(self) -> None:
        """What the other protocol does when it hears the same twice, nobody knows."""
        self.meet()
        self.bob.engine.talk_protocols.add(b"chess")
        self.alice.engine.talk(self.bob.node, b"chess", b"e4", self.net.now, 0.0)
        self.net.run()
        self.assertEqual([type(event) for event in self.bob.told], [Talked])
        self.assertEqual([type(event) for event in self.alice.told], [Failed])

    def test_part_of_nodes_lost(self) -> None:
        """Asked again, and what came the first time is kept; in the other answer they may be in another order."""
        self.meet()
        self.bob.known = [node_of(number, f"10.0.1.{number}") for number in range(20, 36)]
        self.alice.find(self.bob, *EVERY)
        self.carry(self.alice, self.bob)
        self.assertGreater(self.carry(self.bob, self.alice, 0), 1)
        self.assertEqual(self.alice.told, [])
        self.bob.known.reverse()
        self.silence()
        found = self.answered().result
        self.assertEqual({node.node_id for node in found}, {node.node_id for node in self.bob.known})
        self.assertEqual(len(found), MAX_NODES)
        self.assertEqual(self.alice.engine.counters.records_refused, 0)


class NodesTests(SynchronousTestCase):
    """Answers in several packets, by hand."""

    def setUp(self) -> None:
        self.engine = Discv5(local_of(1), random=Tape(seed="engine"))
        self.stranger = Stranger(2, self.engine)
        self.stranger.meet()
        events(self.engine)
        self.node = Node.from_record(self.stranger.record)
        self.engine.find_node(self.node, EVERY, self.stranger.now, 0.0)
        self.request_id = self.asked()

    def asked(self) -> bytes:
        """@return: the request id of the question that comes."""
        (request,) = self.stranger.read(self.stranger.answers())
        assert isinstance(request, wire.FindNode)
        return request.request_id

    def say(self, total: int, *numbers: int) -> None:
        records = tuple(record_of(number).encode() for number in numbers)
        self.assertEqual(self.stranger.say(wire.Nodes(self.request_id, total, records)), [])

    def wait(self, seconds: float) -> None:
        self.stranger.now += seconds
        self.engine.handle_timer(self.stranger.now, 0.0)

    def result(self) -> list[int]:
        """The nodes that were found, by number."""
        (event,) = events(self.engine)
        assert isinstance(event, Answered) and isinstance(event.result, tuple)
        return [next(number for number in range(10, 60) if node_of(number) == node) for node in event.result]

    def test_doubled_by_the_network(self) -> None:
        """The same packet twice is not the whole of two."""
        self.say(2, 10, 11)
        self.say(2, 10, 11)
        self.assertEqual(events(self.engine), [])
        self.say(2, 12)
        self.assertEqual(self.result(), [10, 11, 12])

    def test_all_again(self) -> None:
        self.say(3, 10, 11)
        self.say(3, 12, 13)
        self.wait(REPEAT_AFTER)
        self.assertEqual(self.asked(), self.request_id)
        self.say(3, 10, 11)
        self.say(3, 12, 13)
        self.assertEqual(events(self.engine), [])
        self.say(3, 14)
        self.assertEqual(self.result(), [10, 11, 12, 13, 14])
        self.assertEqual(self.engine.counters.records_refused, 0)

    def test_nothing_more(self) -> None:
        """What there is, when neither copy is answered in full."""
        self.say(2, 10)
        self.wait(REPEAT_AFTER)
        self.asked()
        self.wait(RESPONSE_TIMEOUT)
        self.assertEqual(self.result(), [10])

    def test_records_in_all(self) -> None:
        """Other nodes in each answer: no more are looked at than for one."""
        self.say(3, *range(10, 17))
        self.wait(REPEAT_AFTER)
        self.asked()
        self.say(3, *range(20, 27))
        self.say(3, *range(30, 37))
        self.assertEqual(self.result(), [*range(10, 17), *range(20, 27), 30, 31])
        self.assertEqual(self.engine.counters.records_refused, 5)

    def test_packets_in_all(self) -> None:
        for number in range(10, 10 + MAX_TOTAL):
            self.assertEqual(events(self.engine), [])
            self.say(255, number)
            self.wait(REPEAT_AFTER)
            self.stranger.answers()
        self.assertEqual(self.result(), [*range(10, 10 + MAX_TOTAL)])
        self.assertEqual(self.engine.counters.calls_repeated, MAX_REPEATS)

    def test_late_second_answer(self) -> None:
        self.wait(REPEAT_AFTER)
        self.asked()
        self.say(1, 10)
        self.say(1, 10)
        self.assertEqual(self.result(), [10])
        self.assertEqual(self.engine.counters.unsolicited, 1)


class ChallengeTests(SynchronousTestCase):
    """A node that challenges for ever."""

    def test_bounded(self) -> None:
        """It gets a handshake for the request and for each repetition, and costs us no more than that."""
        engine = Discv5(local_of(1), random=Tape(seed="engine"))
        stranger = Stranger(2, engine)
        node = Node.from_record(stranger.record)
        token = engine.ping(node, stranger.now, 0.0)
        told: list[Event] = []
        packets, count = stranger.answers(), 0
        while not told:
            count += len(packets)
            for packet in [stranger.unmask(data) for data in packets]:
                assert not isinstance(packet, wire.WhoAreYou)
                for copy in range(3):
                    head = wire.whoareyou_head(bytes(16), packet.nonce, bytes((count, copy)) * 8, 0)
                    count += len(stranger.deliver(wire.encode_packet(stranger._other, head)))
            due = engine.next_timer()
            assert due is not None
            stranger.now = due
            engine.handle_timer(due, 0.0)
            packets = stranger.answers()
            told = [event for event in events(engine) if not isinstance(event, (Met, Asked))]
        self.assertEqual(told, [Failed(token, node, "no answer to our handshake in 0.7 s")])
        self.assertEqual(engine.counters.handshakes_out, 1 + MAX_REPEATS)
        self.assertEqual(count, 2 * (1 + MAX_REPEATS))

    def test_the_same_again(self) -> None:
        """The same challenge gets the same packet: nothing is signed anew, and no other session is begun."""
        engine = Discv5(local_of(1), random=Tape(seed="engine"))
        stranger = Stranger(2, engine)
        engine.ping(Node.from_record(stranger.record), stranger.now, 0.0)
        (first,) = stranger.answers()
        asked = stranger.unmask(first)
        challenge = wire.encode_packet(stranger._other, wire.whoareyou_head(bytes(16), asked.nonce, bytes(16), 0))
        (shake,) = stranger.deliver(challenge)
        self.assertEqual(stranger.deliver(challenge), [])
        stranger.now += REPEAT_AFTER
        engine.handle_timer(stranger.now, 0.0)
        (again,) = stranger.answers()
        self.assertIsInstance(stranger.unmask(again), wire.Ordinary)
        self.assertEqual(stranger.deliver(challenge), [shake])
        self.assertEqual(stranger.deliver(challenge), [])
        self.assertEqual((engine.counters.handshakes_out, len(engine._sessions)), (1, 1))
