"""
The engine's own requests: what is sent, what is taken for an answer, and when it is given up.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.discv4 import wire
from ethp2p.discv4.limits import (
    ANSWER_SIZE,
    ANSWER_TIMEOUT,
    EXPIRATION,
    GREETING_LIFETIME,
    GREETING_TIMEOUT,
    LAST_NEIGHBORS,
    LOW_PORT,
    MAX_NEIGHBORS,
    MAX_REQUESTS,
    ONCE_MORE,
    SETTLING_TIME,
)
from ethp2p.discv4.state import Answered, Discv4, Event, Failed, Met, PongInfo
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP
from ethp2p.errors import LocalProtocolError
from tests.discv4.support import THEM, US, WALL, Stranger, expiration, key, local, node

TARGET = b"\x07" * 64


class AskingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Discv4(local())
        self.peer = Stranger(self.engine)

    def ping(self, other: Node | None = None) -> int:
        token = self.engine.ping(other or self.peer.node, self.peer.now, WALL + self.peer.now)
        self.peer.fetch()
        return token

    def find_node(self, other: Node | None = None) -> int:
        token = self.engine.find_node(other or self.peer.node, TARGET, self.peer.now, WALL + self.peer.now)
        self.peer.fetch()
        return token

    def request_record(self, other: Node | None = None) -> int:
        token = self.engine.request_record(other or self.peer.node, self.peer.now, WALL + self.peer.now)
        self.peer.fetch()
        return token

    def nothing_left(self) -> None:
        self.assertEqual((self.engine.requests, self.engine.proofs, self.engine.next_timer()), (0, 0, None))
        self.assertEqual(self.engine._remotes, {})

    def neighbors(self, *nodes: Node) -> wire.Neighbors:
        told = [wire.Neighbor(wire.pack_ip(node.host), node.udp, node.tcp, node.public_key.raw) for node in nodes]
        return wire.Neighbors(tuple(told), expiration(WALL + self.peer.now))


class PingTests(AskingTests):
    def test_answered(self) -> None:
        token = self.ping()
        ping, ping_hash = self.peer.take(wire.Ping)
        self.assertEqual(ping.recipient.addr, self.peer.addr)
        self.assertEqual(ping.expiration, int(WALL + EXPIRATION))
        self.assertEqual(self.peer.wait(0.2), [])
        self.peer.send(self.peer.pong(ping_hash, enr_seq=77))
        (answer,) = self.peer.events()
        self.assertEqual(answer, Answered(token, self.peer.node, PongInfo(US, 77), 0.2))
        self.nothing_left()

    def test_says_little(self) -> None:
        """A Pong may tell neither where it sees us nor a seq."""
        self.ping()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash, recipient=wire.Endpoint(b"", 0)))
        (answer,) = self.peer.events()
        assert isinstance(answer, Answered)
        self.assertEqual(answer.result, PongInfo(None, None))

    def test_not_answered(self) -> None:
        token = self.ping()
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT - 0.01), [])
        self.assertEqual(self.peer.wait(0.01), [Failed(token, self.peer.node, "no pong")])
        self.nothing_left()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual((self.peer.events(), self.engine.ignored["unsolicited"]), ([], 1))
        self.assertEqual(len(self.engine.bonds), 0)

    def test_no_answer(self) -> None:
        """What looks like the Pong and is not; the true one is still taken after."""
        self.ping()
        _, ping_hash = self.peer.take(wire.Ping)
        host, port = THEM
        pong = self.peer.pong(ping_hash)
        self.peer.send(pong, ("10.0.0.3", port))
        self.peer.send(pong, (host, port + 1))
        self.peer.send(self.peer.pong(bytes(32)))
        self.peer.send(self.peer.pong(ping_hash, expiration=int(WALL) - 1))
        imposter = Stranger(self.engine, 3, THEM)
        imposter.send(imposter.pong(ping_hash))
        self.assertEqual(self.peer.events(), [])
        self.assertEqual((self.engine.ignored["unsolicited"], self.engine.ignored["expired"]), (4, 1))
        self.assertEqual(len(self.engine.bonds), 0)
        self.peer.send(pong)
        self.assertEqual(len(self.peer.events()), 1)

    def test_shared(self) -> None:
        """Two Pings of one second would be the same packet: there is one, and its Pong answers both."""
        tokens = [self.ping(), self.ping()]
        _, ping_hash = self.peer.take(wire.Ping)
        self.assertEqual(self.peer.inbox, [])
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual([event.token for event in self.peer.events() if isinstance(event, Answered)], tokens)
        self.nothing_left()

    def test_two_keys_at_one_address(self) -> None:
        """The two Pings are the same to the byte; each key answers for itself."""
        other = Stranger(self.engine, 3, THEM)
        tokens = [self.ping(), self.ping(other.node)]
        (_, first), (_, second) = self.peer.take(wire.Ping), self.peer.take(wire.Ping)
        self.assertEqual(first, second)
        other.send(other.pong(first))
        (answer,) = self.peer.events()
        assert isinstance(answer, Answered)
        self.assertEqual((answer.token, answer.node), (tokens[1], other.node))
        self.assertEqual(self.peer.wait(1), [Failed(tokens[0], self.peer.node, "no pong")])
        self.nothing_left()

    def test_nowhere(self) -> None:
        for other in (node(3, "boot.example.org"), Node(key(3).public_key), Node(key(3).public_key, "10.0.0.3", 5, 0)):
            token = self.ping(other)
            self.assertEqual(self.peer.events(), [Failed(token, other, "no UDP endpoint")])
        self.assertEqual(self.peer.inbox, [])
        self.nothing_left()

    def test_cap(self) -> None:
        self.engine = Discv4(local(), max_requests=2)
        others = [Stranger(self.engine, number, ("10.0.0.9", number)) for number in range(2, 5)]
        tokens = [self.engine.ping(other.node, 0.0, WALL) for other in others]
        self.assertEqual(self.engine.next_event(), Failed(tokens[2], others[2].node, "too many requests"))
        self.assertEqual(len(self.engine.datagrams_to_send()), 2)
        self.assertGreater(MAX_REQUESTS, 2)

    def test_they_ping_us(self) -> None:
        """Their Ping in answer to ours is no news to the owner; it is when they come again, later."""
        self.ping()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash))
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual([type(event) for event in self.peer.events()], [Answered])
        self.peer.wait(3600)
        self.peer.send(self.peer.ping())
        self.assertEqual([type(event) for event in self.peer.events()], [Met])

    def test_stranger_is_asked_too(self) -> None:
        """We ping a node that has just had us ping it."""
        self.peer.send(self.peer.ping())
        token = self.ping()
        self.peer.take(wire.Pong)
        _, ping_hash = self.peer.take(wire.Ping)
        self.assertEqual(self.peer.inbox, [])
        self.peer.send(self.peer.pong(ping_hash))
        first, second = self.peer.events()
        assert isinstance(first, Answered) and isinstance(second, Met)
        self.assertEqual(first.token, token)
        self.nothing_left()


class BondTests(AskingTests):
    """What goes before a question."""

    def test_unknown(self) -> None:
        """Ping, Pong, their Ping, our Pong, a moment, and then the question."""
        token = self.find_node()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual(self.peer.inbox, [])
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.assertEqual(self.peer.inbox, [])
        self.peer.wait(SETTLING_TIME)
        question, _ = self.peer.take(wire.FindNode)
        self.assertEqual(question, wire.FindNode(TARGET, int(WALL + SETTLING_TIME + EXPIRATION)))
        self.peer.wait(0.2)
        self.peer.send(self.neighbors(node(9)))
        (answer,) = self.peer.wait(LAST_NEIGHBORS)
        assert isinstance(answer, Answered)
        self.assertEqual((answer.token, answer.result), (token, (node(9),)))
        self.assertAlmostEqual(answer.rtt, 0.2)
        self.nothing_left()

    def test_other_order(self) -> None:
        """Their Ping overtakes their Pong."""
        self.find_node()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.peer.wait(0.2)
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual(self.peer.inbox, [])
        self.peer.wait(SETTLING_TIME)
        self.peer.take(wire.FindNode)

    def test_knows_us_still(self) -> None:
        """One that does not ping has our proof, perhaps: we were restarted, or it never asks for any."""
        self.find_node()
        _, ping_hash = self.peer.take(wire.Ping)
        self.peer.send(self.peer.pong(ping_hash))
        self.peer.wait(GREETING_TIMEOUT - 0.01)
        self.assertEqual(self.peer.inbox, [])
        self.peer.wait(0.01)
        self.peer.take(wire.FindNode)

    def test_no_pong(self) -> None:
        """All questions that wait for the Pong fail with it.  The Ping is sent twice, the same."""
        tokens = [self.find_node(), self.request_record()]
        ping, _ = self.peer.take(wire.Ping)
        self.assertEqual(self.peer.wait(ONCE_MORE - 0.01), [])
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.wait(0.01), [])
        self.assertEqual(self.peer.take(wire.Ping)[0], ping)
        failed = [Failed(token, self.peer.node, "no pong") for token in tokens]
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT - ONCE_MORE), failed)
        self.assertEqual(self.peer.inbox, [])
        self.nothing_left()

    def test_known(self) -> None:
        """A node that pinged us not long ago is asked at once."""
        self.peer.bond()
        self.peer.wait(GREETING_LIFETIME - 1)
        self.find_node()
        self.peer.take(wire.FindNode)
        self.peer.wait(2)
        self.find_node()
        self.peer.take(wire.Ping)

    def test_forgotten(self) -> None:
        """One that leaves a question unanswered is given the chance to prove us again before the next."""
        self.peer.bond()
        token = self.find_node()
        self.peer.take(wire.FindNode)
        (_, failed) = self.peer.wait(ANSWER_TIMEOUT)
        self.assertEqual(failed, Failed(token, self.peer.node, "no answer"))
        self.peer.wait(ANSWER_TIMEOUT)
        self.nothing_left()
        self.peer.inbox.clear()
        self.find_node()
        self.peer.take(wire.Ping)

    def test_asked_once_more(self) -> None:
        """Once, with the same packet; a Ping goes before, to which a node without a proof of us will ping us."""
        self.peer.bond()
        self.peer.events()
        self.find_node()
        question, _ = self.peer.take(wire.FindNode)
        self.peer.wait(ONCE_MORE - 0.01)
        self.assertEqual(self.peer.inbox, [])
        self.peer.wait(0.01)
        _, ping_hash = self.peer.take(wire.Ping)
        self.assertEqual(self.peer.take(wire.FindNode)[0], question)
        self.peer.send(self.peer.pong(ping_hash))
        self.assertEqual([type(event) for event in self.peer.wait(ANSWER_TIMEOUT)], [Failed])
        self.assertEqual(self.peer.inbox, [])
        self.nothing_left()

    def test_answered_twice(self) -> None:
        """Since it was asked twice; what is told twice counts once."""
        self.peer.bond()
        self.peer.events()
        nodes = [node(number) for number in range(10, 10 + ANSWER_SIZE)]
        self.find_node()
        self.peer.wait(ONCE_MORE)
        for part in (nodes[:MAX_NEIGHBORS], nodes[:MAX_NEIGHBORS], nodes[MAX_NEIGHBORS:], nodes[MAX_NEIGHBORS:]):
            self.peer.send(self.neighbors(*part))
        (answer,) = self.peer.events()
        assert isinstance(answer, Answered)
        self.assertEqual(answer.result, tuple(nodes))
        self.assertEqual(self.engine.ignored["unsolicited"], 1)

    def test_asked_anew(self) -> None:
        """A node that pings us when it is asked has no proof of us: it gets one, and the question again, but once."""
        self.peer.bond()
        self.peer.events()
        token = self.find_node()
        question, _ = self.peer.take(wire.FindNode)
        for _ in range(3):
            self.peer.send(self.peer.ping())
            self.peer.take(wire.Pong)
        self.assertEqual(self.peer.inbox, [])
        self.peer.wait(SETTLING_TIME)
        self.assertEqual(self.peer.take(wire.FindNode)[0], question)
        self.peer.send(self.peer.ping())
        self.peer.take(wire.Pong)
        self.peer.wait(SETTLING_TIME)
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT), [Failed(token, self.peer.node, "no answer")])

    def test_answered_before_asked_anew(self) -> None:
        self.peer.bond()
        self.peer.events()
        self.find_node()
        self.peer.send(self.peer.ping())
        self.peer.inbox.clear()
        self.peer.send(self.neighbors(node(9)))
        (answer,) = self.peer.wait(LAST_NEIGHBORS)
        self.assertIsInstance(answer, Answered)
        self.assertEqual(self.peer.inbox, [])
        self.nothing_left()

    def test_ping_under_way(self) -> None:
        """A question shares the Ping that is under way, also one that answers a stranger."""
        self.peer.send(self.peer.ping())
        self.find_node()
        self.peer.take(wire.Pong)
        _, ping_hash = self.peer.take(wire.Ping)
        self.assertEqual(self.peer.inbox, [])
        self.peer.send(self.peer.pong(ping_hash))
        self.peer.wait(SETTLING_TIME)
        self.peer.take(wire.FindNode)


class KnownTests(AskingTests):
    """Questions to a node that knows us."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.bond()
        self.peer.events()

    def result(self, events: list[Event]) -> object:
        (answer,) = events
        assert isinstance(answer, Answered), answer
        self.nothing_left()
        return answer.result


class NodesTests(KnownTests):
    def test_two_packets(self) -> None:
        """Sixteen are all there can be: no waiting for more."""
        nodes = [node(number) for number in range(10, 10 + ANSWER_SIZE)]
        self.find_node()
        self.peer.send(self.neighbors(*nodes[:MAX_NEIGHBORS]))
        self.assertEqual(self.peer.wait(0.4), [])
        self.peer.send(self.neighbors(*nodes[MAX_NEIGHBORS:]))
        self.assertEqual(self.result(self.peer.events()), tuple(nodes))

    def test_too_many(self) -> None:
        nodes = [node(number) for number in range(10, 10 + 2 * MAX_NEIGHBORS)]
        self.find_node()
        self.peer.send(self.neighbors(*nodes[:MAX_NEIGHBORS]))
        self.peer.send(self.neighbors(*nodes[MAX_NEIGHBORS:]))
        self.assertEqual(self.result(self.peer.events()), tuple(nodes[:ANSWER_SIZE]))
        self.peer.send(self.neighbors(*nodes[:1]))
        self.assertEqual((self.peer.events(), self.engine.ignored["unsolicited"]), ([], 1))

    def test_full_packet_only(self) -> None:
        """After a full packet there may be another, until the time is over."""
        nodes = [node(number) for number in range(10, 10 + MAX_NEIGHBORS)]
        self.find_node()
        self.peer.send(self.neighbors(*nodes))
        self.assertEqual(self.peer.wait(ANSWER_TIMEOUT - 0.01), [])
        self.assertEqual(self.result(self.peer.wait(0.01)), tuple(nodes))

    def test_short_packet(self) -> None:
        """After one that is not full there is a moment for those that it overtook, and never more than the time."""
        self.find_node()
        self.peer.send(self.neighbors(node(10)))
        self.peer.wait(LAST_NEIGHBORS / 2)
        self.peer.send(self.neighbors(node(11)))
        self.assertEqual(self.result(self.peer.wait(LAST_NEIGHBORS / 2)), (node(10), node(11)))
        self.find_node()
        self.peer.wait(ANSWER_TIMEOUT - LAST_NEIGHBORS / 2)
        self.peer.send(self.neighbors(node(10)))
        (answer,) = self.peer.wait(LAST_NEIGHBORS / 2)
        assert isinstance(answer, Answered)
        self.assertEqual(answer.result, (node(10),))

    def test_empty(self) -> None:
        self.find_node()
        self.peer.send(self.neighbors())
        self.assertEqual(self.result(self.peer.wait(LAST_NEIGHBORS)), ())

    def test_unusable_nodes(self) -> None:
        """A stranger on the Internet cannot have us knock at our own services, or nowhere."""
        self.peer = Stranger(self.engine, 3, ("51.15.0.3", 30303))
        self.peer.bond()
        self.peer.events()
        good = [node(9, "51.15.0.9"), node(10, "51.15.0.10", LOW_PORT + 1), node(11, "2a00::5")]
        bad = [
            node(12, "51.15.0.12", LOW_PORT),
            node(13, "10.0.0.13"),
            node(14, "127.0.0.1"),
            node(15, "0.0.0.0"),
            node(16, "224.0.0.1"),
            node(1, "51.15.0.1"),  # we
        ]
        told = self.neighbors(good[0], *bad, *good[1:])
        off_curve = wire.Neighbor(bytes((51, 15, 0, 17)), 30303, 30303, bytes(64))
        no_ip = wire.Neighbor(bytes(5), 30303, 30303, key(18).public_key.raw)
        self.find_node()
        self.peer.send(wire.Neighbors((off_curve, no_ip, *told.nodes), told.expiration))
        self.assertEqual(self.result(self.peer.wait(LAST_NEIGHBORS)), tuple(good))
        self.assertEqual(self.engine.ignored["neighbor"], len(bad) + 2)

    def test_not_from_elsewhere(self) -> None:
        self.find_node()
        told = self.neighbors(node(9))
        self.peer.send(told, ("10.0.0.3", THEM[1]))
        self.peer.send(told, (THEM[0], THEM[1] + 1))
        imposter = Stranger(self.engine, 3, THEM)
        imposter.send(told)
        self.peer.send(wire.Neighbors(told.nodes, int(WALL) - 1))
        self.assertEqual((self.engine.ignored["unsolicited"], self.engine.ignored["expired"]), (3, 1))
        self.assertEqual([type(event) for event in self.peer.wait(ANSWER_TIMEOUT)], [Failed])
        self.assertEqual(self.engine.sent["FindNode"], 2)

    def test_one_at_a_time(self) -> None:
        """Neighbors does not say what it answers, so there is one question to a node at a time."""
        tokens = [self.find_node(), self.request_record(), self.find_node()]
        self.peer.take(wire.FindNode)
        self.assertEqual(self.peer.inbox, [])
        self.peer.send(self.neighbors(*[node(number) for number in range(10, 10 + MAX_NEIGHBORS)]))
        self.peer.send(self.neighbors(*[node(number) for number in range(30, 30 + MAX_NEIGHBORS)]))
        _, request_hash = self.peer.take(wire.ENRRequest)
        self.peer.send(self.neighbors(node(9)))
        self.peer.send(wire.ENRResponse(request_hash, local(2).record.encode()))
        self.peer.take(wire.FindNode)
        self.peer.send(self.neighbors(node(9)))
        answers = [event for event in self.peer.wait(LAST_NEIGHBORS) if isinstance(event, Answered)]
        self.assertEqual([answer.token for answer in answers], tokens)
        self.assertEqual(answers[2].result, (node(9),))
        self.assertEqual(self.engine.ignored["unsolicited"], 1)
        self.nothing_left()

    def test_target(self) -> None:
        self.assertRaises(LocalProtocolError, self.engine.find_node, self.peer.node, bytes(32), 0.0, WALL)

    def test_closed(self) -> None:
        """All requests fail at once, whatever they wait for."""
        stranger = node(9, "10.0.0.2", THEM[1])
        tokens = {self.find_node(), self.request_record(), self.ping(), self.find_node(stranger)}
        other = Stranger(self.engine, 5, THEM)
        other.send(other.ping())
        self.engine.fail_all("closed")
        events = [event for event in self.peer.events() if isinstance(event, Failed)]
        self.assertEqual({event.token for event in events}, tokens)
        self.assertEqual({event.why for event in events}, {"closed"})
        self.nothing_left()


class RecordTests(KnownTests):
    def answer(self, record: bytes, of: Node | None = None) -> list[Event]:
        self.peer.inbox.clear()
        self.request_record(of)
        _, request_hash = self.peer.take(wire.ENRRequest)
        self.peer.send(wire.ENRResponse(request_hash, record))
        return self.peer.events()

    def test_record(self) -> None:
        theirs = local(2, THEM).record
        self.assertEqual(self.result(self.answer(theirs.encode())), theirs)

    def test_without_address(self) -> None:
        theirs = Record.sign(self.peer.key, 5, {})
        self.assertEqual(self.result(self.answer(theirs.encode())), theirs)

    def test_older(self) -> None:
        """An older record does not take the place of a newer one."""
        new, old = Record.sign(self.peer.key, 6, {}), Record.sign(self.peer.key, 5, {})
        known = Node(self.peer.key.public_key, THEM[0], 0, THEM[1], new)
        self.assertEqual(self.result(self.answer(old.encode(), known)), new)

    def test_bad(self) -> None:
        outside = Stranger(self.engine, 3, ("51.15.0.3", 30303))
        outside.bond()
        self.peer.events()
        for peer, record in (
            (self.peer, rlp.encode([b"not", b"a", b"record"])),
            (self.peer, rlp.encode(b"")),
            (self.peer, local(3).record.encode()),  # of another key
            (outside, Record.sign(key(3), 5, {IP: wire.unpack_ip(bytes((10, 0, 0, 3)))}).encode()),
        ):
            self.peer = peer
            (failed,) = self.answer(record)
            assert isinstance(failed, Failed)
            self.assertTrue(failed.why.startswith("bad record: "), failed.why)
            self.nothing_left()

    def test_of_another_request(self) -> None:
        self.request_record()
        self.peer.take(wire.ENRRequest)
        self.peer.send(wire.ENRResponse(bytes(32), local(2).record.encode()))
        self.assertEqual((self.peer.events(), self.engine.ignored["unsolicited"]), ([], 1))
        self.assertEqual([type(event) for event in self.peer.wait(ANSWER_TIMEOUT)], [Failed])
