"""
Anything at all in the datagrams: nothing escapes, nothing grows, nobody is flooded.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv4 import wire
from ethp2p.discv4.bonds import Bonds
from ethp2p.discv4.limits import AMPLIFICATION, ANSWER_TIMEOUT, MAX_EVENTS
from ethp2p.discv4.state import Addr, Answered, Asked, Discv4, Failed
from tests.discv4.support import WALL, endpoint, expiration, key, local, node
from tests.discv4.test_wire import MESSAGES
from tests.discv4.vectors import PACKETS

ADDRS: list[Addr] = [("10.0.0.2", 30303), ("10.0.0.3", 30303), ("51.15.0.1", 7), ("2001:db8::2", 30303)]
KEYS = [key(number) for number in range(2, 5)]

#: RLP of any content.
ITEMS = st.recursive(st.binary(max_size=70), lambda items: st.lists(items, max_size=6), max_leaves=12)


def seal(signer: PrivateKey, body: bytes) -> bytes:
    """A packet with anything in it, that passes for one."""
    signed = signer.sign(keccak256(body)) + body
    return keccak256(signed) + signed


def rehash(data: bytes) -> bytes:
    """A packet with its hash made good again, so that the damage is looked at."""
    return keccak256(data[32:]) + data[32:]


class AnyBytesTests(SynchronousTestCase):
    @given(st.binary(max_size=1400), st.sampled_from(ADDRS))
    def test_noise(self, data: bytes, addr: Addr) -> None:
        engine = Discv4(local())
        self.assertFalse(engine.receive_datagram(data, addr, 0.0, WALL))
        self.assertEqual((engine.datagrams_to_send(), engine.next_event()), ([], None))

    @given(st.integers(0, 255), ITEMS, st.binary(max_size=20), st.sampled_from(ADDRS))
    def test_any_content(self, kind: int, item: rlp.Item, after: bytes, addr: Addr) -> None:
        """Signed and hashed as it should be, and nonsense."""
        engine = Discv4(local())
        packet = seal(KEYS[0], bytes((kind,)) + rlp.encode(item) + after)
        self.assertEqual(engine.receive_datagram(packet, addr, 0.0, WALL), len(packet) <= 1280)
        self.assertLessEqual(sum(len(data) for data, _ in engine.datagrams_to_send()), AMPLIFICATION * len(packet))

    @given(st.sampled_from(PACKETS), st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=4))
    def test_mutated(self, published: tuple[str, bytes, object], changes: list[tuple[int, int]]) -> None:
        packet = bytearray(published[1])
        for index, change in changes:
            packet[index % len(packet)] ^= change
        engine = Discv4(local())
        engine.receive_datagram(rehash(bytes(packet)), ADDRS[0], 0.0, 1136239445.0)
        self.assertLessEqual(sum(len(data) for data, _ in engine.datagrams_to_send()), AMPLIFICATION * len(packet))


class Crowd:
    """
    Strangers who say anything, true and false, to one engine that also asks them.  It keeps the books: what each
    address sent and got before its proof, beside what we asked it by ourselves.
    """

    def __init__(self) -> None:
        self.engine = Discv4(local(), max_requests=8, max_proofs=4, bonds=Bonds(6, per_host=3))
        self.now = 0.0
        self.heard: list[bytes] = []
        self.ended: set[int] = set()
        self.begun: set[int] = set()

    @property
    def wall(self) -> float:
        return WALL + self.now

    def receive(self, data: bytes, addr: Addr) -> None:
        """One datagram: what comes out at once is its answer."""
        proven = self.engine.bonds.any_at(addr[0])
        busy = self.engine.requests > 0
        self.engine.receive_datagram(data, addr, self.now, self.wall)
        out = self.engine.datagrams_to_send()
        self.heard += [packet for packet, _ in out]
        assert all(to[0] == addr[0] for _, to in out)
        if not proven and not busy:
            assert sum(len(packet) for packet, _ in out) <= AMPLIFICATION * len(data)
        self.look()

    def act(self, signer: PrivateKey, addr: Addr, message: wire.Message | str) -> None:
        if isinstance(message, wire.Message):
            self.receive(wire.encode(signer, message), addr)
        elif message == "ping":
            place = endpoint(addr)
            self.receive(wire.encode(signer, wire.Ping(4, place, place, expiration(self.wall))), addr)
        elif message == "find":
            self.receive(wire.encode(signer, wire.FindNode(bytes(64), expiration(self.wall))), addr)
        elif message == "record":
            self.receive(wire.encode(signer, wire.ENRRequest(expiration(self.wall))), addr)
        elif message == "pong":  # to all that was heard lately
            for packet in self.heard[-6:]:
                pong = wire.Pong(endpoint(addr), wire.packet_hash(packet), expiration(self.wall))
                self.receive(wire.encode(signer, pong), addr)
        elif message == "neighbors":
            told = wire.Neighbor(bytes((51, 15, 0, 9)), 30303, 30303, key(9).public_key.raw)
            self.receive(wire.encode(signer, wire.Neighbors((told,), expiration(self.wall))), addr)
        elif message == "echo":  # our own packets, sent back
            for packet in self.heard[-3:]:
                self.receive(packet, addr)
        elif message == "wait":
            self.now += ANSWER_TIMEOUT / 3
            self.engine.handle_timer(self.now, self.wall)
            self.look()
        else:
            other = node(2 + KEYS.index(signer), addr[0], addr[1])
            ask = {"ask ping": self.engine.ping, "ask record": self.engine.request_record}.get(message)
            if ask is not None:
                self.begun.add(ask(other, self.now, self.wall))
            else:
                self.begun.add(self.engine.find_node(other, bytes(64), self.now, self.wall))
            self.look()

    def look(self) -> None:
        """Be the owner; see that nothing has grown."""
        engine = self.engine
        while (event := engine.next_event()) is not None:
            if isinstance(event, (Answered, Failed)):
                assert event.token not in self.ended
                self.ended.add(event.token)
            elif isinstance(event, Asked):
                engine.send_nodes(event.token, [node(number, f"51.15.0.{number}") for number in range(20)[2:]], 0, 0)
        self.heard += [packet for packet, _ in engine.datagrams_to_send()]
        remotes = [remote for at in engine._remotes.values() for remote in at.values()]
        assert engine.requests == sum(len(remote.pinging) + len(remote.questions) for remote in remotes) <= 8
        assert engine.proofs == sum(remote.stranger is not None for remote in remotes) <= 4
        assert len(engine.bonds) <= 6
        assert all(engine._remotes.values()) and not any(remote.idle for remote in remotes)
        assert sum(map(len, engine._lines)) <= 4 * len(remotes)
        assert (engine.next_timer() is None) == (not remotes)


WORDS = ["ping", "find", "record", "pong", "neighbors", "echo", "wait", "ask ping", "ask find", "ask record"]


class CrowdTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(st.sampled_from(KEYS), st.sampled_from(ADDRS), st.one_of(st.sampled_from(WORDS), MESSAGES)),
            max_size=40,
        )
    )
    def test_any_conversation(self, steps: list[tuple[PrivateKey, Addr, wire.Message | str]]) -> None:
        self.converse(steps)

    def test_long_conversation(self) -> None:
        """Few speakers for long, so that proofs, questions and answers meet."""
        rng = Random(3)
        self.converse([(rng.choice(KEYS), rng.choice(ADDRS[:2]), rng.choice(WORDS)) for _ in range(4000)])

    def converse(self, steps: list[tuple[PrivateKey, Addr, wire.Message | str]]) -> None:
        crowd = Crowd()
        for step in steps:
            crowd.act(*step)
        for _ in range(60):
            crowd.act(KEYS[0], ADDRS[0], "wait")
        self.assertEqual(crowd.ended, crowd.begun)
        self.assertEqual((crowd.engine.requests, crowd.engine.proofs, crowd.engine._remotes), (0, 0, {}))

    def test_unfetched(self) -> None:
        """An owner who fetches nothing, and others who go on."""
        engine = Discv4(local())
        packet = wire.encode(KEYS[0], wire.Ping(4, endpoint(ADDRS[0]), endpoint(ADDRS[0]), expiration()))
        engine.receive_datagram(packet, ADDRS[0], 0.0, WALL)
        ping = next(data for data, _ in engine.datagrams_to_send() if isinstance(wire.message_of(data), wire.Ping))
        pong = wire.Pong(endpoint(ADDRS[0]), wire.packet_hash(ping), expiration())
        engine.receive_datagram(wire.encode(KEYS[0], pong), ADDRS[0], 0.0, WALL)
        find = wire.encode(KEYS[0], wire.FindNode(bytes(64), expiration()))
        for _ in range(2 * MAX_EVENTS):
            engine.receive_datagram(find, ADDRS[0], 0.0, WALL)
        self.assertEqual(len(engine._events), MAX_EVENTS)
