"""
The session without I/O: engines in pairs, and engines against peers that do what they should not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import snappy
from ethp2p.devp2p import state
from ethp2p.devp2p.state import (
    DevP2P,
    DisconnectReceived,
    HelloReceived,
    MessageReceived,
    Phase,
    PongReceived,
    Shared,
    match_capabilities,
)
from ethp2p.devp2p.wire import (
    BASE_LENGTH,
    DISCONNECT,
    HELLO,
    MAX_BASE_MESSAGE,
    PING,
    PONG,
    Capability,
    Disconnect,
    Hello,
)
from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence, OversizeError, RemoteProtocolError

A, B = b"\xaa" * 64, b"\xbb" * 64
ETH: Mapping[str, Mapping[int, int]] = {"eth": {67: 17, 68: 17}}


def hello(key: bytes, *offers: str, version: int = 5) -> Hello:
    """What a side says."""
    parts = [offer.split("/") for offer in offers]
    return Hello(version, "test", tuple([Capability(name, int(number)) for name, number in parts]), 0, key)


def engine(key: bytes = A, remote: bytes = B, ours: Mapping[str, Mapping[int, int]] = ETH, version: int = 5) -> DevP2P:
    """A side that has said Hello, and whose Hello is on its way."""
    offers = [f"{name}/{number}" for name in ours for number in ours[name]]
    made = DevP2P(hello(key, *offers, version=version), ours, remote)
    made.start(0.0)
    return made


def running(version: int = 5) -> DevP2P:
    """A side that has met a peer with eth/68."""
    made = engine()
    made.receive_message(HELLO, hello(B, "eth/68", version=version).encode(), 0.0)
    made.messages_to_send()
    return made


class MatchTests(SynchronousTestCase):
    def test_table(self) -> None:
        eth = {66: 17, 67: 17, 68: 17, 69: 18}
        for ours, theirs, expected in (
            ({"eth": eth}, "eth/68", [("eth", 68, 16, 17)]),
            ({"eth": eth}, "eth/66 eth/69 eth/67", [("eth", 69, 16, 18)]),
            ({"eth": eth}, "eth/69 eth/69", [("eth", 69, 16, 18)]),
            ({"eth": eth}, "eth/70 eth/63", []),
            ({"eth": eth}, "ETH/68 eth2/68", []),
            ({"eth": eth}, "", []),
            ({}, "eth/68", []),
            ({"snap": {1: 8}, "eth": eth}, "snap/1 eth/68", [("eth", 68, 16, 17), ("snap", 1, 33, 8)]),
            ({"snap": {1: 8}, "eth": eth}, "eth/69 snap/1", [("eth", 69, 16, 18), ("snap", 1, 34, 8)]),
            ({"snap": {1: 8}, "eth": eth}, "snap/1", [("snap", 1, 16, 8)]),
            (
                {"eth": eth, "bsc": {1: 2, 2: 4}, "Zed": {1: 1}},
                "eth/68 Zed/1 les/4 bsc/2",
                [("Zed", 1, 16, 1), ("bsc", 2, 17, 4), ("eth", 68, 21, 17)],
            ),
        ):
            offers = [Capability(name, int(number)) for name, number in (offer.split("/") for offer in theirs.split())]
            self.assertEqual(match_capabilities(ours, offers), tuple([Shared(*one) for one in expected]))

    @given(
        st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.integers(1, 4), st.just(3), max_size=4)),
        st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.integers(1, 4), st.just(3), max_size=4)),
    )
    def test_both_sides_agree(self, ours: Any, theirs: Any) -> None:
        offered = [[Capability(name, number) for name in side for number in side[name]] for side in (ours, theirs)]
        self.assertEqual(match_capabilities(ours, offered[1]), match_capabilities(theirs, offered[0]))


class PairTests(SynchronousTestCase):
    """Two engines, each given what the other has to send."""

    def meet(self, versions: tuple[int, int] = (5, 5)) -> tuple[DevP2P, DevP2P]:
        one, other = engine(A, B, version=versions[0]), engine(B, A, version=versions[1])
        for sender, receiver in ((one, other), (other, one)):
            ((code, payload),) = sender.messages_to_send()
            event = receiver.receive_message(code, payload, 0.0)
            assert isinstance(event, HelloReceived)
            self.assertEqual(event.shared, (Shared("eth", 68, 16, 17),))
            self.assertIs(receiver.phase, Phase.RUNNING)
        return one, other

    def test_messages(self) -> None:
        one, other = self.meet()
        shared = Shared("eth", 68, 16, 17)
        for sender, receiver in ((one, other), (other, one)):
            for code in (0, 16):
                for payload in (b"\xc0", b"\xc1" * 1000):
                    packed = sender.pack_message(shared, code, payload)
                    self.assertEqual(snappy.decompress(packed, 1000), payload)
                    event = receiver.receive_message(16 + code, packed, 0.0)
                    self.assertEqual(event, MessageReceived(shared, code, payload))

    def test_no_snappy_with_version_4(self) -> None:
        one = running(version=4)
        shared = Shared("eth", 68, 16, 17)
        self.assertEqual(one.pack_message(shared, 3, b"plain"), b"plain")
        self.assertEqual(one.receive_message(19, b"plain", 0.0), MessageReceived(shared, 3, b"plain"))
        one.disconnect(DisconnectReason.USELESS_PEER)
        self.assertEqual(one.messages_to_send(), [(DISCONNECT, b"\xc1\x03")])

    def test_version_of_the_future(self) -> None:
        one = running(version=22)
        self.assertIs(one.phase, Phase.RUNNING)
        self.assertEqual(one.pack_message(Shared("eth", 68, 16, 17), 0, b"\xc0"), snappy.compress(b"\xc0"))

    def test_ping(self) -> None:
        one, other = self.meet()
        one.handle_timer(15.0)
        ((code, payload),) = one.messages_to_send()
        self.assertEqual((code, snappy.decompress(payload, 10)), (PING, b"\xc0"))
        self.assertIsNone(other.receive_message(code, payload, 15.1))
        ((code, payload),) = other.messages_to_send()
        self.assertEqual((code, snappy.decompress(payload, 10)), (PONG, b"\xc0"))
        self.assertEqual(one.receive_message(code, payload, 15.25), PongReceived(0.25))

    def test_disconnect(self) -> None:
        one, other = self.meet()
        one.disconnect(DisconnectReason.CLIENT_QUITTING)
        one.disconnect(DisconnectReason.SELF)
        ((code, payload),) = one.messages_to_send()
        self.assertEqual(snappy.decompress(payload, 10), b"\xc1\x08")
        event = other.receive_message(code, payload, 1.0)
        self.assertEqual(event, DisconnectReceived(DisconnectReason.CLIENT_QUITTING))
        other.disconnect(DisconnectReason.SELF)
        self.assertEqual(other.messages_to_send(), [])
        for side in (one, other):
            self.assertIs(side.phase, Phase.CLOSED)
            self.assertIsNone(side.next_timer())

    def test_disconnect_instead_of_hello(self) -> None:
        one = DevP2P(hello(A, "eth/68"), ETH, B)
        one.disconnect(DisconnectReason.TOO_MANY_PEERS)
        one.start(0.0)
        self.assertEqual(one.messages_to_send(), [(DISCONNECT, b"\xc1\x04")])
        other = engine(B, A)
        self.assertEqual(
            other.receive_message(DISCONNECT, b"\xc1\x04", 0.0), DisconnectReceived(DisconnectReason.TOO_MANY_PEERS)
        )

    def test_disconnect_plain_or_compressed(self) -> None:
        plain = [b"\xc1\x04", b"\x04", b"\xc2\x04\x80"]
        for payload in plain + [snappy.compress(one) for one in plain]:
            for made in (engine(), running(), running(version=4)):
                event = made.receive_message(DISCONNECT, payload, 0.0)
                self.assertEqual(event, DisconnectReceived(DisconnectReason.TOO_MANY_PEERS), payload)

    def test_plain_and_compressed_cannot_be_confused(self) -> None:
        for number in range(0x100):
            for payload in (Disconnect(number).encode(), bytes([number]) if number < 0x80 else b""):
                reason = Disconnect.decode(payload).reason
                for form in (payload, snappy.compress(payload)):
                    self.assertEqual(running().receive_message(DISCONNECT, form, 0.0), DisconnectReceived(reason))


class LocalRuleTests(SynchronousTestCase):
    def test_own_mistakes(self) -> None:
        shared = Shared("eth", 68, 16, 17)
        one = running()
        for code in (-1, 17, 1000):
            self.assertRaises(LocalProtocolError, one.pack_message, shared, code, b"\xc0")
        self.assertRaises(LocalProtocolError, one.pack_message, shared, 0, bytes(state.MAX_MESSAGE + 1))
        one.pack_message(shared, 0, bytes(state.MAX_MESSAGE))
        self.assertIs(one.phase, Phase.RUNNING)

    def test_own_hello_too_large(self) -> None:
        made = DevP2P(hello(A, *[f"name{number}/1" for number in range(300)]), ETH, B)
        self.assertRaises(LocalProtocolError, made.start, 0.0)


class HostileTests(SynchronousTestCase):
    def refused(self, made: DevP2P, code: int, payload: bytes) -> RemoteProtocolError:
        """The engine refuses, says why as its last word, and is deaf then."""
        error = self.assertRaises(RemoteProtocolError, made.receive_message, code, payload, 0.0)
        messages = [message for message in made.messages_to_send() if message[0] != HELLO]
        self.assertEqual([code for code, _ in messages], [DISCONNECT])
        self.assertEqual(DevP2P(hello(A), ETH, B).receive_message(*messages[0], 0.0), DisconnectReceived(error.reason))
        self.assertIs(made.phase, Phase.CLOSED)
        self.assertIsNone(made.receive_message(code, payload, 0.0))
        self.assertEqual(made.messages_to_send(), [])
        return error

    def test_first_messages(self) -> None:
        breach = DisconnectReason.BREACH_OF_PROTOCOL
        good = hello(B, "eth/68")
        for code, payload, reason, offence in (
            (PING, b"\xc0", breach, Offence.BAD_HANDSHAKE),
            (0x0F, b"\xc0", breach, Offence.BAD_HANDSHAKE),
            (0x10, good.encode(), breach, Offence.BAD_HANDSHAKE),
            (2**63, bytes(100_000), breach, Offence.BAD_HANDSHAKE),
            (HELLO, b"", breach, Offence.BAD_MESSAGE),
            (HELLO, b"\xff" * 100, breach, Offence.BAD_MESSAGE),
            (HELLO, snappy.compress(good.encode()), breach, Offence.BAD_MESSAGE),
            (HELLO, bytes(MAX_BASE_MESSAGE + 1), breach, Offence.OVERSIZE),
            (DISCONNECT, bytes(MAX_BASE_MESSAGE + 1), breach, Offence.OVERSIZE),
            (DISCONNECT, b"\xc1\xc0", breach, Offence.BAD_MESSAGE),
            (HELLO, hello(B, version=3).encode(), DisconnectReason.INCOMPATIBLE_VERSION, Offence.BAD_HANDSHAKE),
            (HELLO, hello(bytes(64)).encode(), DisconnectReason.NULL_IDENTITY, Offence.BAD_HANDSHAKE),
            (HELLO, hello(A).encode(), DisconnectReason.UNEXPECTED_IDENTITY, Offence.BAD_HANDSHAKE),
        ):
            error = self.refused(engine(), code, payload)
            self.assertEqual((error.reason, error.offence), (reason, offence), (code, payload[:10]))

    def test_later_messages(self) -> None:
        bomb = b"\xff\xff\xff\xff\x0f" + b"\x00" * 20  # declares 4 GiB
        just_over = b"\x80\x80\x80\x08" + b"\x00" * 20  # declares 16 MiB
        for code, payload, offence in (
            (HELLO, hello(B, "eth/68").encode(), Offence.BAD_PROTOCOL),
            (16 + 17, snappy.compress(b"\xc0"), Offence.BAD_PROTOCOL),
            (2**64 - 1, b"", Offence.BAD_PROTOCOL),
            (16, bomb, Offence.OVERSIZE),
            (16, just_over, Offence.OVERSIZE),
            (16, b"", Offence.BAD_MESSAGE),
            (16, b"\x0a\x00", Offence.BAD_MESSAGE),
            (16, b"\xc0", Offence.BAD_MESSAGE),
            (PING, bytes(MAX_BASE_MESSAGE + 1), Offence.OVERSIZE),
            (0x07, bytes(MAX_BASE_MESSAGE + 1), Offence.OVERSIZE),
        ):
            error = self.refused(running(), code, payload)
            self.assertEqual(
                (error.reason, error.offence), (DisconnectReason.BREACH_OF_PROTOCOL, offence), (code, payload)
            )

    def test_largest_message(self) -> None:
        payload = snappy.compress(bytes(state.MAX_MESSAGE))
        event = running().receive_message(16, payload, 0.0)
        assert isinstance(event, MessageReceived)
        self.assertEqual(len(event.payload), state.MAX_MESSAGE)
        self.assertRaises(OversizeError, running(4).receive_message, 16, bytes(state.MAX_MESSAGE + 1), 0.0)

    def test_base_messages_may_hold_anything(self) -> None:
        made = running()
        for code in (PING, PONG, 0x04, 0x0F):
            for payload in (b"", b"\xc0", b"\x80", b"\xff" * MAX_BASE_MESSAGE):
                self.assertIsNone(made.receive_message(code, payload, 0.0))
        self.assertEqual([code for code, _ in made.messages_to_send()], [PONG])

    def test_flood(self) -> None:
        """A burst is taken and a rate is taken, and no more; the answers kept for it are one."""
        for code in (PING, PONG, 0x05):
            made = running()
            for _ in range(state.BASE_BURST):
                made.receive_message(code, b"\xc0", 100.0)
            made.receive_message(code, b"\xc0", 100.0 + 1 / state.BASE_RATE)
            self.assertLessEqual(len(made._outbox), 1)
            error = self.assertRaises(RemoteProtocolError, made.receive_message, code, b"\xc0", 100.6)
            self.assertEqual(error.offence, Offence.FLOOD)

    def test_steady_pings_are_no_flood(self) -> None:
        made = running()
        for tick in range(1000):
            made.receive_message(PING, b"\xc0", tick / state.BASE_RATE)
        self.assertIs(made.phase, Phase.RUNNING)

    @given(
        st.lists(st.tuples(st.one_of(st.integers(0, 40), st.integers(0, 2**64)), st.binary(max_size=60)), max_size=8)
    )
    def test_any_messages(self, messages: list[tuple[int, bytes]]) -> None:
        for made in (engine(), running(), running(version=4)):
            for code, payload in messages:
                before = made.phase
                try:
                    event = made.receive_message(code, payload, 0.0)
                except RemoteProtocolError:
                    self.assertIs(made.phase, Phase.CLOSED)
                else:
                    self.assertFalse(before is Phase.CLOSED and event is not None)
            self.assertLessEqual(len(made.messages_to_send()), 4)

    @given(st.binary(max_size=500), st.integers(0, 16))
    def test_any_payload_comes_through(self, payload: bytes, code: int) -> None:
        shared = Shared("eth", 68, BASE_LENGTH, 17)
        for version in (4, 5):
            packed = running(version).pack_message(shared, code, payload)
            event = running(version).receive_message(BASE_LENGTH + code, packed, 0.0)
            self.assertEqual(event, MessageReceived(shared, code, payload))


class KeepaliveTests(SynchronousTestCase):
    def sent(self, made: DevP2P) -> list[int]:
        return [code for code, _ in made.messages_to_send()]

    def test_hello_in_time(self) -> None:
        made = engine()
        self.assertEqual(made.next_timer(), state.HELLO_TIMEOUT)
        made.handle_timer(state.HELLO_TIMEOUT - 0.1)
        error = self.assertRaises(state.HelloTimeout, made.handle_timer, state.HELLO_TIMEOUT)
        self.assertEqual((error.reason, error.offence), (DisconnectReason.PING_TIMEOUT, Offence.TIMEOUT))
        self.assertEqual(self.sent(made), [HELLO, DISCONNECT])
        made.handle_timer(1000.0)

    def test_ping_every_interval(self) -> None:
        made = running()
        for number in range(1, 5):
            at = number * state.PING_INTERVAL
            self.assertEqual(made.next_timer(), at)
            made.handle_timer(at - 0.1)
            self.assertEqual(self.sent(made), [])
            made.handle_timer(at)
            self.assertEqual(self.sent(made), [PING])
            made.receive_message(PONG, b"\xc0", at + 1)

    def test_silence(self) -> None:
        made = running()
        made.handle_timer(15.0)
        self.assertEqual(made.next_timer(), 15.0 + state.PING_TIMEOUT)
        error = self.assertRaises(state.PingTimeout, made.handle_timer, 15.0 + state.PING_TIMEOUT)
        self.assertEqual((error.reason, error.offence), (DisconnectReason.PING_TIMEOUT, Offence.TIMEOUT))
        self.assertEqual(self.sent(made), [PING, DISCONNECT])

    def test_any_message_is_life(self) -> None:
        for code, payload in ((16, snappy.compress(b"\xc0")), (PING, b"\xc0"), (PONG, b""), (0x0E, b"")):
            made = running()
            made.handle_timer(15.0)
            made.receive_message(code, payload, 20.0)
            made.handle_timer(30.0)
            self.assertEqual(made.phase, Phase.RUNNING)
            self.assertRaises(state.PingTimeout, made.handle_timer, 45.0)

    def test_progress_is_life(self) -> None:
        made = running()
        made.handle_timer(15.0)
        made.sign_of_life()
        made.handle_timer(30.0)
        self.assertRaises(state.PingTimeout, made.handle_timer, 45.0)

    def test_round_trips(self) -> None:
        """Only the answer to the newest Ping measures, and nothing is below zero."""
        made = running()
        self.assertIsNone(made.receive_message(PONG, b"\xc0", 1.0))
        made.handle_timer(15.0)
        self.sent(made)
        self.assertEqual(made.receive_message(PONG, b"\xc0", 14.0), PongReceived(0.0))
        self.assertIsNone(made.receive_message(PONG, b"\xc0", 16.0))
        made.handle_timer(30.0)
        self.sent(made)
        made.receive_message(PING, b"\xc0", 31.0)
        made.handle_timer(45.0)
        self.sent(made)
        self.assertIsNone(made.receive_message(PONG, b"\xc0", 45.5))  # of the Ping at 30
        self.assertEqual(made.receive_message(PONG, b"\xc0", 45.75), PongReceived(0.75))

    def test_pings_that_could_not_be_sent_are_one(self) -> None:
        made = running()
        for at in (15.0, 30.0, 45.0):
            made.handle_timer(at)
            made.sign_of_life()
        self.assertEqual(self.sent(made), [PING])
        self.assertEqual(made.receive_message(PONG, b"\xc0", 46.0), PongReceived(1.0))

    def test_close_has_no_last_word(self) -> None:
        made = running()
        made.receive_message(PING, b"\xc0", 0.0)
        made.close()
        self.assertEqual((self.sent(made), made.next_timer()), ([], None))
