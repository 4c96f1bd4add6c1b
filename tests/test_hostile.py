"""
A node's whole stack against hostile peers, over StringTransport: what each is told, what is booked, and what it costs.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.chain import MemoryChain
from ethp2p.codec import snappy
from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p import LocalHello, SessionFactory
from ethp2p.devp2p.wire import DISCONNECT, HELLO, PING, Capability, Disconnect, Hello
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.eth import EthFactory, wire
from ethp2p.eth.messages import BlockHeaders, BlockRangeUpdate
from ethp2p.eth.state import status_of
from ethp2p.events import Feed, OffenceBooked, PeerDropped
from ethp2p.limits import WheelTimer
from ethp2p.peers import Household, Policy
from ethp2p.rlpx import RLPxFactory
from ethp2p.rlpx.handshake import Drawn, Initiator
from ethp2p.rlpx.wire import Packet
from ethp2p.sandbox.chainmaker import ChainMaker
from ethp2p.testing.frames import FrameBuilder, FrameOpener, snappy_bomb, snappy_lie
from tests.node.support import Diary
from tests.rlpx.common import ALICE, BOB, Tape

CHAIN = MemoryChain(networks.from_genesis(ChainMaker(b"hostile").genesis(), name="hostile"))
#: Where eth begins when it is all that is shared.
ETH = 16
#: Most bytes that any play may make us hold, over what making and sending its own bytes takes.
ALLOWANCE = 1 << 20


class Scene:
    """Bob's node, with Alice on the other end of one connection."""

    def __init__(self) -> None:
        self.clock = Clock()
        wheel = WheelTimer(self.clock)
        feed = Feed()
        self.diary = Diary()
        feed.subscribe(self.diary)
        self.household = Household(
            BOB.public_key.node_id,
            Policy(),
            feed,
            wheel,
            clock=self.clock,
            wall=self.clock.seconds,
            random=lambda: 0.5,
        )
        sessions = SessionFactory(
            LocalHello("bob", BOB.public_key),
            [EthFactory(CHAIN, clock=self.clock, wheel=wheel)],
            self.household.sessions,
            wheel=wheel,
        )
        self.household.open((), sessions, lambda node, connected: Deferred())
        self.household.startService()
        factory = RLPxFactory(BOB, sessions, clock=self.clock, wheel=wheel, isClient=False, random=Tape(seed="bob"))
        factory.doStart()
        address = IPv4Address("TCP", "192.0.2.7", 4000)
        self.transport = StringTransport(peerAddress=address)
        self.below: Any = factory.buildProtocol(address)
        self.below.makeConnection(self.transport)
        self.sent = 0

    def send(self, data: bytes) -> None:
        """Bytes from Alice, as TCP would bring them."""
        self.sent += len(data)
        for start in range(0, len(data), 65536):
            if self.transport.disconnecting or self.transport.disconnected:
                return
            self.below.dataReceived(data[start : start + 65536])

    def prove(self) -> None:
        """Alice's handshake; from here on she writes frames by hand."""
        random = Tape(seed="alice")
        initiator = Initiator(ALICE, BOB.public_key, Drawn.draw(random), random=random)
        self.send(initiator.auth)
        answer = self.transport.value()
        self.transport.clear()
        length = 2 + int.from_bytes(answer[:2], "big")
        secrets = initiator.read_ack(Packet(True, answer[:length]))
        self.writer = FrameBuilder(secrets.aes, secrets.mac, secrets.egress)
        self.reader = FrameOpener(secrets.aes, secrets.mac, secrets.ingress)
        self.told = self.reader.open(answer[length:])

    def greet(self) -> None:
        """And her Hello."""
        self.prove()
        offers = tuple(Capability("eth", version) for version in (66, 67, 68, 69))
        self.frame(HELLO, Hello(5, "alice", offers, 0, ALICE.public_key.raw).encode())

    def agree(self) -> None:
        """And her Status."""
        self.greet()
        code, payload = wire.encode(69, status_of(CHAIN, 69))
        self.message(ETH + code, payload)

    def frame(self, code: int, payload: bytes) -> None:
        """One honest frame, its payload as it is."""
        self.send(self.writer.frame(code, payload))

    def message(self, code: int, payload: bytes) -> None:
        """The same, compressed."""
        self.frame(code, snappy.compress(payload))

    def heard(self) -> list[bytes]:
        """The bodies of the frames that Alice was sent since she was last asked."""
        self.told += self.reader.open(self.transport.value())
        self.transport.clear()
        return self.told

    def reason(self) -> DisconnectReason | int | None:
        """Why Alice was disconnected, as she heard it; None when she was not told."""
        for body in self.heard():
            if body[0] == DISCONNECT:
                plain = body[1:] if body[1:2] == b"\xc1" else snappy.decompress(body[1:], 100)
                return Disconnect.decode(plain).reason
        return None

    def end(self) -> None:
        """TCP is gone."""
        self.below.connectionLost(Failure(ConnectionDone()))


def nothing(scene: Scene) -> None:
    """Connects and says nothing."""


def slow_loris(scene: Scene) -> None:
    """A byte in half a second."""
    for _ in range(12):
        scene.send(b"\x01")
        scene.clock.advance(0.5)


def wait(seconds: float) -> Callable[[Scene], None]:
    """Falls silent."""

    def play(scene: Scene) -> None:
        for _ in range(int(seconds * 2)):
            scene.clock.advance(0.5)

    return play


def frames(*messages: tuple[int, bytes]) -> Callable[[Scene], None]:
    """Honest frames of whatever content."""

    def play(scene: Scene) -> None:
        for code, payload in messages:
            scene.frame(code, payload)

    return play


def bytes_of(make: Callable[[Scene], bytes]) -> Callable[[Scene], None]:
    """Whatever bytes."""
    return lambda scene: scene.send(make(scene))


def eth(message: Any) -> Callable[[Scene], None]:
    """A message of eth/69."""

    def play(scene: Scene) -> None:
        code, payload = wire.encode(69, message)
        scene.message(ETH + code, payload)

    return play


@attrs.frozen
class Case:
    """What a hostile peer does, and what comes of it."""

    #: How far it behaves.
    until: Callable[[Scene], None]
    play: Callable[[Scene], None]
    reason: DisconnectReason | None
    offence: Offence | None
    #: A word of the evidence.
    words: str = ""


BREACH, TIMEOUT = DisconnectReason.BREACH_OF_PROTOCOL, DisconnectReason.PING_TIMEOUT
SUBPROTOCOL = DisconnectReason.SUBPROTOCOL_ERROR
MIB = 1 << 20

#: Strangers, who have proven nothing: nobody can be told or booked; the connection is all they lose.
STRANGERS = {
    "half-open": Case(nothing, wait(6), None, None),
    "slow-loris handshake": Case(nothing, slow_loris, None, None),
    "garbage": Case(nothing, bytes_of(lambda scene: bytes(range(256)) * 8), None, None),
    "huge auth announced": Case(nothing, bytes_of(lambda scene: b"\xff\xff" + bytes(MIB)), None, None),
    "auth for another key": Case(
        nothing,
        bytes_of(
            lambda scene: (
                Initiator(
                    ALICE, PrivateKey.parse(b"\x0d" * 32).public_key, Drawn.draw(Tape(seed="x")), random=Tape(seed="x")
                ).auth
            )
        ),
        None,
        None,
    ),
}

PEERS = {
    "silence instead of Hello": Case(Scene.prove, wait(6), TIMEOUT, Offence.TIMEOUT, "Hello"),
    "wrong first message": Case(Scene.prove, frames((PING, b"\xc0")), BREACH, Offence.BAD_HANDSHAKE, "first message"),
    "oversize Hello": Case(
        Scene.prove, bytes_of(lambda scene: scene.writer.header(16 * MIB - 1)), BREACH, Offence.OVERSIZE, "16777215"
    ),
    "somebody else's key": Case(
        Scene.prove,
        frames((HELLO, Hello(5, "", (Capability("eth", 69),), 0, BOB.public_key.raw).encode())),
        DisconnectReason.UNEXPECTED_IDENTITY,
        Offence.BAD_HANDSHAKE,
    ),
    "nothing shared": Case(
        Scene.prove,
        frames((HELLO, Hello(5, "", (Capability("les", 4),), 0, ALICE.public_key.raw).encode())),
        DisconnectReason.USELESS_PEER,
        None,
    ),
    "bad header MAC": Case(
        Scene.greet,
        bytes_of(lambda scene: scene.writer.build(b"\x02\xc0", break_header_mac=True)),
        BREACH,
        Offence.BAD_MESSAGE,
        "MAC",
    ),
    "bad body MAC": Case(
        Scene.greet,
        bytes_of(lambda scene: scene.writer.build(b"\x02\xc0", break_body_mac=True)),
        BREACH,
        Offence.BAD_MESSAGE,
        "MAC",
    ),
    "garbage after Hello": Case(
        Scene.greet, bytes_of(lambda scene: bytes(range(200))), BREACH, Offence.BAD_MESSAGE, "MAC"
    ),
    "code out of range": Case(Scene.greet, frames((ETH + 18, b"\1\0\xc0")), BREACH, Offence.BAD_PROTOCOL, "0x22"),
    "snappy bomb": Case(
        Scene.agree, frames((ETH + 2, snappy_bomb(1 << 24))), BREACH, Offence.OVERSIZE, "declares 16777216"
    ),
    "snappy lie": Case(
        Scene.agree, frames((ETH + 2, snappy_lie(0xFFFFFFFF))), BREACH, Offence.OVERSIZE, "declares 4294967295"
    ),
    "not snappy": Case(Scene.agree, frames((ETH + 2, b"\xc0")), BREACH, Offence.BAD_MESSAGE, "snappy"),
    "ping flood": Case(
        Scene.agree, frames(*[(PING, snappy.compress(b"\xc0"))] * 500), BREACH, Offence.FLOOD, "p2p messages"
    ),
    "silence instead of Status": Case(Scene.greet, wait(6), TIMEOUT, Offence.TIMEOUT, "Status"),
    "requests before Status": Case(
        Scene.greet, frames((ETH + 3, snappy.compress(b"\xc0"))), SUBPROTOCOL, Offence.BAD_PROTOCOL, "before Status"
    ),
    "another genesis": Case(
        Scene.greet,
        eth(attrs.evolve(status_of(CHAIN, 69), genesis_hash=bytes(32))),
        SUBPROTOCOL,
        Offence.WRONG_CHAIN,
        "is not ours",
    ),
    "a range that ends before it starts": Case(
        Scene.agree, eth(BlockRangeUpdate(2, 1, b"\1" * 32)), SUBPROTOCOL, Offence.BAD_MESSAGE, "no range"
    ),
    "an answer to nothing": Case(Scene.agree, eth(BlockHeaders(99, ())), BREACH, Offence.UNSOLICITED, "99"),
    "RLP that nests for ever": Case(
        Scene.agree,
        lambda scene: scene.message(ETH + 2, b"\xc1" * 100_000 + b"\xc0"),
        BREACH,
        Offence.BAD_MESSAGE,
    ),
    "silence for good": Case(Scene.agree, wait(60), DisconnectReason.TCP_ERROR, Offence.TIMEOUT),
}


class HostileTests(SynchronousTestCase):
    def test_strangers(self) -> None:
        """Each loses its connection; no session was there, and no place is taken."""
        for name, case in STRANGERS.items():
            with self.subTest(name):
                scene = Scene()
                case.play(scene)
                self.assertTrue(scene.transport.disconnecting or scene.transport.disconnected)
                self.assertEqual(scene.transport.value(), b"")
                scene.end()
                self.assertEqual(scene.diary.events, [])
                self.assertEqual(len(scene.household.roster), 0)

    def test_peers(self) -> None:
        """Each hears its reason once, is booked once, and leaves no place behind."""
        for name, case in PEERS.items():
            with self.subTest(name):
                scene = Scene()
                case.until(scene)
                case.play(scene)
                self.assertEqual(scene.reason(), case.reason, name)
                self.assertEqual(sum(body[0] == DISCONNECT for body in scene.told), 1)
                self.assertTrue(scene.transport.disconnecting)
                booked = scene.diary.of(OffenceBooked)
                self.assertEqual([event.offence for event in booked], [case.offence] if case.offence else [], name)
                self.assertTrue(all(case.words in event.evidence for event in booked), booked)
                scene.end()
                [dropped] = scene.diary.of(PeerDropped)
                self.assertEqual((dropped.reason, dropped.by_us), (case.reason, True))
                self.assertEqual(len(scene.household.roster), 0)

    def test_memory(self) -> None:
        """None of them makes us hold much more than what it sent."""
        for name, case in {**STRANGERS, **PEERS}.items():
            with self.subTest(name):
                scene = Scene()
                case.until(scene)
                gc.collect()
                before = scene.sent
                tracemalloc.start()
                try:
                    case.play(scene)
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
                self.assertLess(peak, ALLOWANCE + 4 * (scene.sent - before), name)
