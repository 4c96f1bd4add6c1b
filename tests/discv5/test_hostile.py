"""Strangers who mean ill: forged handshakes, answers that nobody asked for, floods."""

from __future__ import annotations

from ipaddress import IPv4Address

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import keys, limits, wire
from ethp2p.discv5.calls import distance
from ethp2p.discv5.session import Session
from ethp2p.discv5.state import Answered, Asked, Discv5, Failed, Met, PongInfo
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, UDP
from tests.discv5.common import PING, Stranger, Tape, events, key_of, local_of, node_of, record_of

PLAIN = wire.encode_message(PING)
EVERY = tuple(range(1, 257))


class HostileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Discv5(local_of(1), random=Tape(seed="engine"))
        self.counters = self.engine.counters
        self.stranger = Stranger(2, self.engine)


class HandshakeTests(HostileCase):
    def forged(
        self,
        challenge: wire.WhoAreYou,
        *,
        signer: int = 2,
        data: bytes | None = None,
        recipient: bytes | None = None,
        ephemeral: bytes | None = None,
        record: bytes | None = None,
        secret: bytes | None = None,
        source: bytes | None = None,
    ) -> bytes:
        """A handshake packet with one thing other than it should be."""
        us, stranger = self.engine.local, self.stranger
        own = key_of(77)
        point = own.public_key.compressed() if ephemeral is None else ephemeral
        data = challenge.head if data is None else data
        signature = keys.sign_id(key_of(signer), data, point, recipient or us.node_id)
        shared = secret or keys.ecdh(own, us.public_key.compressed())
        ours, theirs = keys.derive_keys(shared, challenge.head, stranger.node_id, us.node_id)
        raw = stranger.record.encode() if record is None else record
        nonce = stranger.random(12)
        head = wire.handshake_head(bytes(16), nonce, source or stranger.node_id, signature, point, raw)
        return Session(us.node, ("10.0.0.1", 30303), stranger._other, ours, theirs).finish(head, nonce, PLAIN)

    def test_the_forger_could(self) -> None:
        """Nothing forged: it is taken, so that what follows is refused for its own fault."""
        self.assertEqual(len(self.stranger.deliver(self.forged(self.stranger.challenge()))), 1)
        self.assertEqual(self.counters.handshakes_in, 1)

    def test_refused(self) -> None:
        bad_signature = bytearray(self.stranger.record.encode())
        bad_signature[10] ^= 1
        off_the_curve = b"\x02" + b"\xff" * 32
        for name, change in (
            ("signed by another key", {"signer": 3}),
            ("signed for an earlier challenge", {"data": bytes(63)}),
            ("signed for another recipient", {"recipient": bytes(32)}),
            ("no ephemeral key", {"ephemeral": off_the_curve}),
            ("sealed with other keys", {"secret": bytes(33)}),
            ("another node's record", {"record": record_of(3).encode()}),
            ("another node's record, signed by that node", {"record": record_of(3).encode(), "signer": 3}),
            ("a record that is not signed by its key", {"record": bytes(bad_signature)}),
            ("no record, and none is known", {"record": b""}),
            ("garbage for a record", {"record": b"\xc0"}),
            ("somebody else's id", {"source": node_of(3).node_id}),
        ):
            self.setUp()
            packet = self.forged(self.stranger.challenge(), **change)  # type: ignore[arg-type]
            self.assertEqual(self.stranger.deliver(packet), [], name)
            self.assertEqual(self.counters.handshakes_in, 0, name)
            self.assertEqual(self.counters.handshakes_bad + self.counters.unsolicited, 1, name)
            self.assertEqual(events(self.engine), [], name)
            self.assertEqual(len(self.engine._sessions), 0, name)
            self.assertEqual(len(self.engine._nodes), 0, name)

    def test_forged_handshakes_do_not_spoil_an_honest_one(self) -> None:
        challenge = self.stranger.challenge()
        for _ in range(limits.MAX_TRIES - 1):
            self.stranger.deliver(self.forged(challenge, signer=3))
        self.stranger.deliver(self.stranger.handshake(challenge, PLAIN))
        self.assertEqual(self.counters.handshakes_in, 1)

    def test_nor_go_on_for_ever(self) -> None:
        """Each costs us curve operations: after a few the challenge is gone."""
        challenge = self.stranger.challenge()
        for _ in range(100):
            self.stranger.deliver(self.forged(challenge, signer=3))
        self.assertEqual(self.counters.handshakes_bad, limits.MAX_TRIES)
        self.assertEqual(self.counters.unsolicited, 100 - limits.MAX_TRIES)

    def test_replay(self) -> None:
        """The packet of a handshake opens nothing a second time, nor for another challenge, nor from elsewhere."""
        packet = self.stranger.handshake(self.stranger.challenge(), PLAIN)
        self.assertEqual(len(self.stranger.deliver(packet)), 1)
        session = self.engine._sessions.get((self.stranger.node_id, self.stranger.addr))
        self.assertEqual(self.stranger.deliver(packet), [])
        self.assertEqual(self.counters.unsolicited, 1)
        self.stranger.challenge()
        self.assertEqual(self.stranger.deliver(packet), [])
        self.assertEqual(self.counters.handshakes_bad, 1)
        elsewhere = ("10.9.9.8", 30303)
        self.stranger.challenge(elsewhere)
        self.assertEqual(self.stranger.deliver(packet, elsewhere), [])
        self.assertEqual(self.counters.handshakes_bad, 2)
        self.assertIs(self.engine._sessions.get((self.stranger.node_id, self.stranger.addr)), session)
        self.assertEqual(len(events(self.engine)), 1)

    def test_never_challenged(self) -> None:
        other = Discv5(local_of(1), random=Tape(seed="other"))
        challenge = Stranger(2, other).challenge()
        self.assertEqual(self.stranger.deliver(self.stranger.handshake(challenge, PLAIN)), [])
        self.assertEqual(self.counters.unsolicited, 1)

    def test_challenged_elsewhere(self) -> None:
        """Somebody writes in the stranger's name from his own address; the answer is the stranger's, from his."""
        packet = self.stranger.handshake(self.stranger.challenge(("10.6.6.6", 666)), PLAIN)
        self.assertEqual(self.stranger.deliver(packet), [])
        self.assertEqual((self.counters.handshakes_in, self.counters.unsolicited), (0, 1))

    def test_an_older_record_does_not_replace_a_newer(self) -> None:
        new, old = record_of(2, "10.9.9.9", 30303, 9), record_of(2, "10.6.6.6", 30303, 8)
        self.stranger.deliver(self.stranger.handshake(self.stranger.challenge(), PLAIN, new))
        challenge = self.stranger.challenge()
        self.assertEqual(challenge.enr_seq, 9)
        self.stranger.deliver(self.forged(challenge, record=old.encode()))
        first, second = events(self.engine)
        assert isinstance(first, Met) and isinstance(second, Met)
        self.assertEqual((first.node.record, second.node.record), (new, new))
        self.assertEqual(self.stranger.challenge().enr_seq, 9)

    def test_who_cannot_be_called_is_not_met(self) -> None:
        """No endpoint, a port that is no node's, an address that must not be relayed; each may ask all the same."""
        public = ("52.1.2.3", 30303)
        for record in (
            Record.sign(key_of(2), 1, {}),
            Record.sign(key_of(2), 1, {IP: IPv4Address("52.1.2.3")}),
            record_of(2, "52.1.2.3", 53),
            record_of(2, "127.0.0.1"),
            record_of(2, "192.168.1.1"),
            record_of(2, "255.255.255.255"),
        ):
            engine = Discv5(local_of(1), random=Tape())
            stranger = Stranger(2, engine, public, record)
            self.assertEqual(len(stranger.meet()), 1)
            self.assertEqual(events(engine), [])
            self.assertEqual(engine.counters.handshakes_in, 1)

    def test_in_our_own_name(self) -> None:
        head = wire.ordinary_head(bytes(16), bytes(12), self.engine.local.node_id)
        self.assertEqual(self.stranger.deliver(wire.encode_packet(self.stranger._other, head, bytes(20))), [])
        self.assertEqual(self.counters.bad_packets, 1)

    def test_garbage_in_somebody_elses_name(self) -> None:
        """It gets a challenge, which the honest node ignores; the session stays."""
        self.stranger.meet()
        self.stranger.challenge()
        self.assertEqual(len(self.stranger.say(PING)), 1)


class AnswerTests(HostileCase):
    """We ask, and what comes back is not what it should be."""

    def setUp(self) -> None:
        super().setUp()
        self.stranger.meet()
        events(self.engine)

    def ask(self, *distances: int) -> bytes:
        """@return: the request id."""
        self.engine.find_node(self.node, distances or EVERY, self.stranger.now, 0.0)
        (request,) = self.stranger.read(self.stranger.answers())
        assert isinstance(request, wire.FindNode)
        return request.request_id

    @property
    def node(self) -> Node:
        return Node.from_record(self.stranger.record)

    def result(self) -> tuple[Node, ...] | None:
        """What came of it; None when it is not over."""
        told = events(self.engine)
        if not told:
            return None
        (event,) = told
        assert isinstance(event, Answered) and isinstance(event.result, tuple)
        return event.result

    def test_records_refused(self) -> None:
        good = node_of(10, "52.1.2.3")
        near = next(n for n in range(2, 50) if distance(node_of(n).node_id, self.stranger.node_id) == 255)
        bad = bytearray(record_of(11).encode())
        bad[10] ^= 1
        wanted = [n for n in EVERY if n != 255]
        raw = [
            record_of(near).encode(),  # at no distance asked
            bytes(bad),
            b"\x80",
            record_of(12, udp=53).encode(),
            record_of(12, "0.0.0.0").encode(),
            record_of(12, "127.0.0.1").encode(),  # loopback from elsewhere
            record_of(12, "224.0.0.1").encode(),
            Record.sign(key_of(12), 1, {UDP: 30303}).encode(),
        ]
        assert good.record is not None
        raw += [good.record.encode()] * 2
        request_id = self.ask(*wanted)
        self.stranger.say(wire.Nodes(request_id, 2, tuple(raw[:5])))
        self.stranger.say(wire.Nodes(request_id, 2, tuple(raw[5:])))
        far = distance(good.node_id, self.stranger.node_id)
        self.assertNotEqual(far, 255)
        self.assertEqual(self.result(), (good,))
        self.assertEqual(self.counters.records_refused, len(raw) - 2)  # of two that are the same, one is not looked at

    def test_ourselves(self) -> None:
        self.stranger.say(wire.Nodes(self.ask(), 1, (self.engine.local.record.encode(),)))
        self.assertEqual(self.result(), ())

    def test_lan_from_outside(self) -> None:
        """A public node cannot make us knock at doors of our own network; one in it may tell of others in it."""
        for host, taken in (("52.1.2.3", 0), ("10.9.9.9", 1)):
            self.engine = Discv5(local_of(1), random=Tape())
            self.stranger = Stranger(2, self.engine, (host, 30303))
            self.stranger.meet()
            events(self.engine)
            self.stranger.say(wire.Nodes(self.ask(), 1, (record_of(10, "192.168.1.1").encode(),)))
            self.assertEqual(len(self.result() or ()), taken)

    def test_total_of_nothing(self) -> None:
        self.stranger.say(wire.Nodes(self.ask(), 0, (record_of(10).encode(),)))
        self.assertEqual(self.result(), (node_of(10),))

    def test_flood_of_packets(self) -> None:
        """It says that 255 are to come: after five it is over, and the others are nobody's."""
        request_id = self.ask()
        for number in range(20):
            self.assertEqual(self.stranger.say(wire.Nodes(request_id, 255, (record_of(10 + number).encode(),))), [])
        self.assertEqual(self.result(), tuple(node_of(10 + number) for number in range(limits.MAX_TOTAL)))
        self.assertEqual(self.counters.unsolicited, 15)

    def test_flood_of_records(self) -> None:
        """Sixteen signatures are checked, and no more, however the records come."""
        request_id = self.ask()
        good = record_of(11).encode()
        bad = [good[:10] + bytes((good[10] ^ number,)) + good[11:] for number in range(1, 36)]
        for start in range(0, 35, 7):
            self.stranger.say(wire.Nodes(request_id, 5, tuple(bad[start : start + 7])))
        self.assertEqual(self.result(), ())
        self.assertEqual(self.counters.records_refused, 21)
        self.assertEqual(self.counters.unsolicited, 2)

    def test_drip(self) -> None:
        """A packet now and then buys the time of five answers at most."""
        request_id = self.ask()
        for number in range(limits.MAX_TOTAL):
            self.assertIsNone(self.result())
            self.stranger.now += limits.RESPONSE_TIMEOUT - 0.01
            self.engine.handle_timer(self.stranger.now, 0.0)
            self.stranger.say(wire.Nodes(request_id, 5, (record_of(10 + number).encode(),)))
        self.assertEqual(len(self.result() or ()), limits.MAX_TOTAL)

    def test_unsolicited(self) -> None:
        for message in (
            wire.Nodes(b"", 1, (record_of(10).encode(),)),
            wire.Pong(b"", 1, bytes(4), 1),
            wire.TalkResponse(b"", b""),
        ):
            self.assertEqual(self.stranger.say(message), [])
        self.assertEqual((self.counters.unsolicited, events(self.engine)), (3, []))

    def test_another_answer(self) -> None:
        """Another request id, or the answer to another question: we go on waiting."""
        request_id = self.ask()
        self.stranger.say(wire.Nodes(b"other", 1, ()))
        self.stranger.say(wire.Pong(request_id, 1, bytes(4), 1))
        self.stranger.say(wire.TalkResponse(request_id, b""))
        self.assertIsNone(self.result())
        self.assertEqual(self.counters.unsolicited, 3)
        self.stranger.say(wire.Nodes(request_id, 1, ()))
        self.assertEqual(self.result(), ())

    def test_from_elsewhere(self) -> None:
        """The node itself, in a session of its own, from another address than we asked at: no."""
        request_id = self.ask()
        here, session = self.stranger.addr, self.stranger.session
        self.stranger.addr = ("10.6.6.6", 30303)
        self.stranger.meet(wire.Nodes(request_id, 1, ()))
        self.stranger.say(wire.Nodes(request_id, 1, ()))
        self.assertEqual([event for event in events(self.engine) if not isinstance(event, Met)], [])
        self.assertEqual(self.counters.unsolicited, 2)
        self.stranger.addr, self.stranger.session = here, session
        self.stranger.say(wire.Nodes(request_id, 1, ()))
        self.assertEqual(self.result(), ())

    def test_another_node_answers(self) -> None:
        request_id = self.ask()
        other = Stranger(3, self.engine)
        other.meet(wire.Nodes(request_id, 1, ()))
        self.assertEqual([event for event in events(self.engine) if not isinstance(event, Met)], [])
        self.assertEqual(self.counters.unsolicited, 1)

    def test_record_of_another(self) -> None:
        for records in ((), (record_of(3).encode(),), (record_of(2, "127.0.0.1").encode(), b"\x80")):
            token = self.engine.request_record(self.node, self.stranger.now, 0.0)
            (request,) = self.stranger.read(self.stranger.answers())
            assert isinstance(request, wire.FindNode)
            self.stranger.say(wire.Nodes(request.request_id, 1, records))
            self.assertEqual(events(self.engine), [Failed(token, self.node, "the node did not give its record")])

    def test_record_without_endpoint(self) -> None:
        """A node that has lost its endpoint says so, and is believed."""
        record = Record.sign(key_of(2), 7, {})
        self.engine.request_record(self.node, self.stranger.now, 0.0)
        (request,) = self.stranger.read(self.stranger.answers())
        assert isinstance(request, wire.FindNode)
        self.stranger.say(wire.Nodes(request.request_id, 1, (record.encode(),)))
        (event,) = events(self.engine)
        assert isinstance(event, Answered)
        self.assertEqual(event.result, record)
        self.assertEqual(self.stranger.challenge().enr_seq, 7)

    def test_record_partly_lost(self) -> None:
        token = self.engine.request_record(self.node, 100.0, 0.0)
        (request,) = self.stranger.read(self.stranger.answers())
        assert isinstance(request, wire.FindNode)
        self.stranger.say(wire.Nodes(request.request_id, 2, ()))
        self.engine.handle_timer(101.0, 0.0)
        self.assertEqual(events(self.engine), [Failed(token, self.node, "the node did not give its record")])

    def test_endpoint_in_ipv6_clothes(self) -> None:
        self.engine.ping(self.node, self.stranger.now, 0.0)
        (request,) = self.stranger.read(self.stranger.answers())
        assert isinstance(request, wire.Ping)
        mapped = bytes(10) + b"\xff\xff" + bytes((52, 1, 2, 3))
        self.stranger.say(wire.Pong(request.request_id, 5, mapped, 1))
        (event,) = events(self.engine)
        assert isinstance(event, Answered)
        self.assertEqual(event.result, PongInfo(("52.1.2.3", 1), 5))


class ChallengeTests(HostileCase):
    """We ask, and are challenged."""

    def setUp(self) -> None:
        super().setUp()
        self.node = Node.from_record(self.stranger.record)
        self.engine.ping(self.node, 100.0, 0.0)
        (packet,) = self.stranger.answers()
        self.asked = self.stranger.unmask(packet)

    def whoareyou(self, nonce: bytes, seed: bytes = bytes(16)) -> bytes:
        return wire.encode_packet(self.stranger._other, wire.whoareyou_head(seed, nonce, seed, 0))

    def test_taken_once(self) -> None:
        """One handshake a request: a node that challenges for ever does not keep us signing."""
        (answer,) = self.stranger.deliver(self.whoareyou(self.asked.nonce))
        shake = self.stranger.unmask(answer)
        self.assertIsInstance(shake, wire.Handshake)
        for number, nonce in enumerate((self.asked.nonce, self.asked.nonce, shake.nonce)):
            self.assertEqual(self.stranger.deliver(self.whoareyou(nonce, bytes((number,)) * 16)), [])
        self.assertEqual((self.counters.handshakes_out, self.counters.unsolicited), (1, 3))
        self.engine.handle_timer(101.0, 0.0)
        (failed,) = events(self.engine)
        assert isinstance(failed, Failed)
        self.assertEqual(failed.why, "no answer to our handshake in 0.7 s")

    def test_not_from_elsewhere(self) -> None:
        packet = self.whoareyou(self.asked.nonce)
        self.assertEqual(self.stranger.deliver(packet, ("10.9.9.9", 30304)), [])
        self.assertEqual(self.stranger.deliver(packet, ("10.9.9.8", 30303)), [])
        self.assertEqual(self.counters.unsolicited, 2)

    def test_not_for_another_packet(self) -> None:
        self.assertEqual(self.stranger.deliver(self.whoareyou(bytes(12))), [])
        self.assertEqual(self.counters.unsolicited, 1)

    def test_not_for_ever(self) -> None:
        """The nonce of a packet from long ago does not make the next request shake hands."""
        self.engine.handle_timer(101.0, 0.0)
        self.engine.ping(self.node, 102.0, 0.0)
        self.stranger.answers()
        self.stranger.now = 102.0
        self.assertEqual(self.stranger.deliver(self.whoareyou(self.asked.nonce)), [])

    def test_not_for_an_answer(self) -> None:
        """To who cannot read our answer we owe nothing."""
        (answer,) = self.stranger.deliver(self.stranger.handshake(self.stranger.challenge(), PLAIN))
        pong = self.stranger.unmask(answer)
        self.assertEqual(self.stranger.deliver(self.whoareyou(pong.nonce)), [])
        self.assertEqual(self.counters.unsolicited, 1)


class LimitTests(HostileCase):
    """Every map and queue has its cap, and whoever has proven nothing gets less than he gave."""

    def test_challenges(self) -> None:
        sent = got = 0
        for number in range(limits.MAX_CHALLENGES + 500):
            head = wire.ordinary_head(bytes(16), bytes(12), number.to_bytes(32))
            packet = wire.encode_packet(self.stranger._other, head, bytes(wire.TAG_SIZE))
            (answer,) = self.stranger.deliver(packet)
            self.assertLess(len(answer), limits.AMPLIFICATION * len(packet))
            self.assertLess(len(answer), len(packet))
            sent, got = sent + len(packet), got + len(answer)
        self.assertEqual(len(self.engine._challenges), limits.MAX_CHALLENGES)
        self.assertEqual((self.counters.bytes_in, self.counters.bytes_out), (sent, got))

    def test_sessions_and_records(self) -> None:
        """Many identities from one host: the last ones stay, and the first is welcome again."""
        self.stranger.meet()
        for number in range(100, 100 + limits.MAX_SESSIONS):
            Stranger(number, self.engine).meet()
            events(self.engine)
        self.assertEqual(self.counters.handshakes_in, limits.MAX_SESSIONS + 1)
        self.assertEqual(len(self.engine._sessions), limits.MAX_SESSIONS)
        self.assertEqual(len(self.engine._nodes), limits.MAX_SESSIONS)
        self.assertEqual(self.stranger.challenge().enr_seq, 0)

    def test_two_sessions_an_endpoint(self) -> None:
        """Handshake after handshake: what is kept is the last session and the one before."""
        for _ in range(5):
            self.stranger.meet()
        session = self.engine._sessions.get((self.stranger.node_id, self.stranger.addr))
        assert session is not None and session.older is not None
        self.assertIsNone(session.older.older)
        self.assertEqual(len(self.engine._sessions), 1)

    def test_events(self) -> None:
        """An owner that does not look is not told more and more; what it waits for itself is."""
        self.stranger.meet()
        for _ in range(limits.MAX_EVENTS + 10):
            self.stranger.say(wire.FindNode(b"", (256,)))
        self.assertEqual(self.counters.dropped, 11)
        self.engine.ping(self.engine.local.node, 0.0, 0.0)
        told = events(self.engine)
        self.assertEqual(len(told), limits.MAX_EVENTS + 1)
        self.assertIsInstance(told[0], Met)
        self.assertIsInstance(told[1], Asked)
        self.assertIsInstance(told[-1], Failed)

    def test_unsent(self) -> None:
        self.stranger.meet()
        packets = [self.stranger.sealed(PLAIN) for _ in range(limits.MAX_UNSENT + 5)]
        for packet in packets:
            self.engine.receive_datagram(packet, self.stranger.addr, 100.0, 0.0)
        self.assertEqual(len(self.engine.datagrams_to_send()), limits.MAX_UNSENT)
        self.assertEqual(self.counters.dropped, 5)

    def test_queue(self) -> None:
        """One under way and a few waiting; for more there is no room."""
        node = Node.from_record(self.stranger.record)
        tokens = [self.engine.ping(node, 100.0, 0.0) for _ in range(limits.MAX_QUEUE + 3)]
        failed = events(self.engine)
        self.assertEqual([event.token for event in failed], tokens[-2:])  # type: ignore[union-attr]
        self.assertEqual(len(self.engine._calls), limits.MAX_QUEUE + 1)
        self.assertEqual(len(self.stranger.answers()), 1)

    def test_calls(self) -> None:
        """To very many nodes: the cap, and that it all ends and leaves nothing."""
        nodes = [Node(key_of(number).public_key, f"10.1.{number % 250}.1", 0, 30303) for number in range(500, 560)]
        asked = 0
        while not (told := events(self.engine)):
            self.engine.ping(nodes[asked % 60], 100.0, 0.0)
            asked += 1
        self.assertEqual(asked, 60 * (limits.MAX_QUEUE + 1) + 1)
        calls = self.engine._calls
        calls._count = limits.MAX_CALLS  # as if there were that many
        self.engine.ping(node_of(9, "10.0.0.9"), 100.0, 0.0)
        self.assertEqual(len(told) + len(events(self.engine)), 2)
        self.assertNotIn(node_of(9).node_id, calls._waiting)
        calls._count = asked - 1
        now = 100.0
        while (when := self.engine.next_timer()) is not None:
            now = when
            self.engine.handle_timer(now, 0.0)
        self.assertEqual(len(events(self.engine)), asked - 1)
        self.assertEqual((len(calls), calls._active, calls._waiting), (0, {}, {}))
        self.assertEqual((calls._waits, calls._last_waits), ({}, {}))
        self.assertLessEqual(len(calls._nonces), limits.MAX_NONCES)
