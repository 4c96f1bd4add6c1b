"""
Peers that do what they should not, against the shell: each is told why, booked once, and costs little.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp, snappy
from ethp2p.devp2p.wire import DISCONNECT, HELLO, MAX_BASE_MESSAGE, MAX_CAPABILITIES, PING, PONG, Capability
from ethp2p.errors import DisconnectReason, Offence
from tests.devp2p.fakes import OURS, Scene

BREACH = DisconnectReason.BREACH_OF_PROTOCOL
MIB = 1 << 20


def raw(*messages: tuple[int, bytes]) -> Callable[[Scene], None]:
    """Messages exactly as given."""

    def play(scene: Scene) -> None:
        for code, payload in messages:
            scene.session.messageReceived(code, payload)

    return play


def changed(**fields: object) -> Callable[[Scene], None]:
    """Hello with other fields."""

    def play(scene: Scene) -> None:
        scene.session.messageReceived(HELLO, attrs.evolve(scene.peerHello, **fields).encode())

    return play


def repeated(code: int, payload: bytes, times: int) -> Callable[[Scene], None]:
    """The same message many times."""
    return raw(*[(code, payload)] * times)


#: Before Hello: what the peer does, the reason it is given, the offence booked, a word of the evidence.
BEFORE = {
    "wrong first message": (raw((PING, b"\xc0")), BREACH, Offence.BAD_HANDSHAKE, "first message"),
    "capability before hello": (raw((16, bytes(MIB))), BREACH, Offence.BAD_HANDSHAKE, "first message"),
    "garbage hello": (raw((HELLO, b"\xb9garbage")), BREACH, Offence.BAD_MESSAGE, "message 0x00"),
    "oversize hello": (raw((HELLO, bytes(MIB))), BREACH, Offence.OVERSIZE, "more than 2048"),
    "compressed hello": (raw((HELLO, snappy.compress(b"\xc0"))), BREACH, Offence.BAD_MESSAGE, "after the RLP item"),
    "too many capabilities": (
        changed(capabilities=(Capability("a", 1),) * (MAX_CAPABILITIES + 1)),
        BREACH,
        Offence.OVERSIZE,
        "Hello.capabilities",
    ),
    "long name": (changed(capabilities=(Capability("n" * 9, 1),)), BREACH, Offence.BAD_MESSAGE, "a name of 9"),
    "old version": (
        changed(version=3),
        DisconnectReason.INCOMPATIBLE_VERSION,
        Offence.BAD_HANDSHAKE,
        "p2p version 3",
    ),
    "null identity": (
        changed(node_key=bytes(64)),
        DisconnectReason.NULL_IDENTITY,
        Offence.BAD_HANDSHAKE,
        "no identity",
    ),
    "our identity": (
        changed(node_key=OURS.raw),
        DisconnectReason.UNEXPECTED_IDENTITY,
        Offence.BAD_HANDSHAKE,
        "not the",
    ),
    "short identity": (changed(node_key=bytes(63)), BREACH, Offence.BAD_MESSAGE, "Hello.node_key"),
    "long goodbye": (raw((DISCONNECT, b"\xc1" * 3000)), BREACH, Offence.OVERSIZE, "message 0x01"),
    "broken goodbye": (raw((DISCONNECT, b"\xc1\xc0")), BREACH, Offence.BAD_MESSAGE, "message 0x01"),
}

#: After Hello.
AFTER = {
    "second hello": (changed(), BREACH, Offence.BAD_PROTOCOL, "second Hello"),
    "code out of range": (raw((16 + 17, b"\x01\x00\xc0")), BREACH, Offence.BAD_PROTOCOL, "no shared capability"),
    "code far out of range": (raw((2**64 - 1, b"")), BREACH, Offence.BAD_PROTOCOL, "no shared capability"),
    "snappy bomb": (raw((20, b"\xff\xff\xff\xff\x0f" + bytes(100))), BREACH, Offence.OVERSIZE, "eth/68 message 0x04"),
    "16 MiB and no more": (raw((20, b"\x80\x80\x80\x08" + bytes(100))), BREACH, Offence.OVERSIZE, "declares 16777216"),
    "not snappy": (raw((20, rlp.encode([b"plain"] * 5))), BREACH, Offence.BAD_MESSAGE, "eth/68 message 0x04"),
    "nothing": (raw((20, b"")), BREACH, Offence.BAD_MESSAGE, "without a length"),
    "ping flood": (repeated(PING, b"\x01\x00\xc0", 1000), BREACH, Offence.FLOOD, "message 0x02"),
    "pong flood": (repeated(PONG, b"\x01\x00\xc0", 1000), BREACH, Offence.FLOOD, "message 0x03"),
    "flood of what nobody knows": (repeated(0x0A, b"", 1000), BREACH, Offence.FLOOD, "message 0x0a"),
    "large ping": (raw((PING, bytes(MAX_BASE_MESSAGE + 1))), BREACH, Offence.OVERSIZE, "more than 2048"),
}


class HostileTests(SynchronousTestCase):
    def check(self, scene: Scene, case: tuple[Callable[[Scene], None], DisconnectReason, Offence, str]) -> None:
        play, reason, offence, words = case
        play(scene)
        play(scene)  # nobody listens any more
        self.assertEqual([code for code, _ in scene.transport.written].count(DISCONNECT), 1)
        self.assertEqual(scene.goodbye(), reason)
        self.assertEqual([booked for booked, _ in scene.household.offences], [offence])
        self.assertIn(words, scene.household.offences[0][1])
        self.assertEqual(scene.transport.closing, "lose")
        scene.cut()
        (ended,) = scene.household.ended
        self.assertEqual((ended.reason, ended.by_us), (reason, True))
        for language in scene.offers[0].built:
            self.assertEqual((language.received, language.lost), ([], [ended]))

    def test_before_hello(self) -> None:
        for name, case in BEFORE.items():
            with self.subTest(name):
                self.check(Scene().begin(), case)

    def test_after_hello(self) -> None:
        for name, case in AFTER.items():
            with self.subTest(name):
                self.check(Scene().meet(), case)

    def test_memory(self) -> None:
        """No play makes us hold, at any time, much more than what it sent itself."""
        for cases, ready in ((BEFORE, Scene.begin), (AFTER, Scene.meet)):
            for name, (play, *_) in cases.items():
                scene = ready(Scene())
                tracemalloc.start()
                try:
                    play(scene)
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
                self.assertLess(peak, 256 * 1024, name)

    @given(
        st.lists(
            st.tuples(
                st.one_of(st.integers(0, 34), st.integers(0, 2**64)),
                st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(snappy.compress)),
            ),
            max_size=10,
        ),
        st.booleans(),
    )
    def test_anything(self, messages: list[tuple[int, bytes]], met: bool) -> None:
        """Whatever comes, nothing is raised, and a session that ended says so once and has one last word."""
        scene = Scene().meet() if met else Scene().begin()
        for code, payload in messages:
            scene.session.messageReceived(code, payload)
        goodbyes = [code for code, _ in scene.transport.written].count(DISCONNECT)
        self.assertLessEqual(goodbyes, 1)
        if goodbyes:
            self.assertEqual(scene.transport.written[-1][0], DISCONNECT)
        self.assertEqual(scene.session.ended is not None, scene.transport.closing is not None)
        self.assertLessEqual(len(scene.household.offences), 1)
        scene.cut()
        self.assertEqual(len(scene.household.ended), 1)
