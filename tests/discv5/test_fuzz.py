"""Mutated packets, at every depth: nothing raises, nothing grows, nobody gets more than he gave."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import limits, wire
from ethp2p.discv5.state import Asked, Discv5, Talked
from ethp2p.enode import Node
from tests.discv5.common import PING, Stranger, Tape, events, local_of, record_of

PLAINS = [
    wire.encode_message(message)
    for message in (
        PING,
        wire.Pong(b"hi", 1, bytes(4), 1),
        wire.FindNode(b"hi", (0, 255, 256)),
        wire.Nodes(b"hi", 1, (record_of(5).encode(), record_of(6).encode())),
        wire.TalkRequest(b"hi", b"chess", b"e4"),
        wire.TalkResponse(b"hi", b"c5"),
    )
]

edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)


def mutate(data: bytes, changes: list[tuple[int, int]], cut: int, tail: bytes) -> bytes:
    """Change some bytes, drop C{cut} at the end, add C{tail}."""
    changed = bytearray(data)
    for position, value in changes:
        if changed:
            changed[position % len(changed)] = value
    return bytes(changed[: len(changed) - cut]) + tail


class Attack:
    """An engine that knows a stranger, asks it things, and the stranger's means."""

    def __init__(self) -> None:
        self.engine = Discv5(local_of(1), random=Tape(seed="engine"))
        self.engine.talk_protocols.add(b"chess")
        self.stranger = Stranger(2, self.engine)
        self.node = Node.from_record(self.stranger.record)

    def packet(self, depth: str, plain: bytes, changes: list[tuple[int, int]], cut: int, tail: bytes) -> bytes:
        """One mutated packet."""
        stranger, engine = self.stranger, self.engine
        if depth == "message":  # inside the seal: the worst that who has a session can do
            return stranger.sealed(mutate(plain, changes, cut, tail)[: limits.MAX_MESSAGE])
        if depth == "handshake message":
            return stranger.handshake(stranger.challenge(), mutate(plain, changes, cut, tail)[:700])
        if depth == "handshake head":
            packet = stranger.handshake(stranger.challenge(), plain)
            unmask = stranger._other.start(packet[:16])
            head, rest = packet[:16] + unmask(packet[16:300]), packet[300:]
            return wire.encode_packet(stranger._other, head[:16] + mutate(head[16:], changes, cut, tail), rest)
        if depth == "challenge":
            engine.ping(self.node, stranger.now, 0.0)
            nonce = stranger.unmask(engine.datagrams_to_send()[0][0]).nonce
            head = wire.whoareyou_head(bytes(16), nonce, bytes(16), 0)
            return wire.encode_packet(stranger._other, mutate(head, changes, cut, tail).ljust(16, b"\0"))
        return mutate(stranger.sealed(plain), changes, cut, tail)

    def answer_all(self) -> None:
        for event in events(self.engine):
            if isinstance(event, Asked):
                self.engine.send_nodes(event.token, [self.node], self.stranger.now, 0.0)
            elif isinstance(event, Talked):
                self.engine.send_talk(event.token, event.message[:1000])


class MutationTests(SynchronousTestCase):
    @given(
        st.sampled_from(["packet", "message", "handshake message", "handshake head", "challenge"]),
        st.sampled_from(PLAINS),
        edits,
        st.integers(0, 60),
        st.binary(max_size=40),
        st.booleans(),
    )
    def test_any(
        self, depth: str, plain: bytes, changes: list[tuple[int, int]], cut: int, tail: bytes, asking: bool
    ) -> None:
        attack = Attack()
        engine, stranger = attack.engine, attack.stranger
        if depth != "challenge":
            stranger.meet()
        if asking and depth != "challenge":
            engine.find_node(attack.node, range(257), stranger.now, 0.0)
            engine.datagrams_to_send()
        packet = attack.packet(depth, plain, changes, cut, tail)
        stranger.deliver(packet)
        attack.answer_all()
        unproven = ("10.6.6.6", 1)
        stranger.answers()
        answers = stranger.deliver(packet, unproven)
        self.assertLessEqual(sum(map(len, answers)), len(packet))
        self.assertEqual(events(engine), [])
        engine.handle_timer(stranger.now + 10, 0.0)
        engine.handle_timer(stranger.now + 20, 0.0)
        self.assertIsNone(engine.next_timer())

    def test_storm(self) -> None:
        """Many, one after the other, on one engine that lives on."""
        rng = Random(5)
        attack = Attack()
        engine, stranger = attack.engine, attack.stranger
        stranger.meet()
        for turn in range(4000):
            stranger.now += 0.001
            changes = [(rng.randrange(400), rng.randrange(256)) for _ in range(rng.randrange(3))]
            depth = rng.choice(["packet", "packet", "message", "message", "random", "new"])
            if depth == "random":
                packet = rng.randbytes(rng.randrange(1400))
            elif depth == "new":
                head = wire.ordinary_head(bytes(16), rng.randbytes(12), rng.randbytes(32))
                packet = wire.encode_packet(stranger._other, head, rng.randbytes(40))
            else:
                packet = attack.packet(depth, rng.choice(PLAINS), changes, rng.randrange(3), b"")
            if turn % 10 == 0:
                engine.find_node(attack.node, [256], stranger.now, 0.0)
            engine.receive_datagram(packet, stranger.addr, stranger.now, 0.0)
            engine.handle_timer(stranger.now, 0.0)
            attack.answer_all()
            engine.datagrams_to_send()
        self.assertEqual(len(engine._sessions), 1)
        self.assertLessEqual(len(engine._challenges), limits.MAX_CHALLENGES)
        self.assertLessEqual(len(engine._calls), limits.MAX_QUEUE + 1)
        self.assertLessEqual(len(engine._nodes), 3)
        counters = engine.counters
        self.assertEqual(counters.datagrams_in, 4002)
        for name in ("foreign", "bad_messages", "unreadable", "challenges", "unsolicited", "calls_failed"):
            self.assertGreater(getattr(counters, name), 0, name)
