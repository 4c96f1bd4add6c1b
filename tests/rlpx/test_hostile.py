"""Hostile peers at the shell: what each is called, what is booked, what it costs, and that nothing is left over."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from ethp2p.errors import (
    DisconnectReason,
    Offence,
    PeerDisconnected,
    RemoteProtocolError,
)
from ethp2p.rlpx import errors, limits
from ethp2p.rlpx.protocol import RLPxFactory
from ethp2p.rlpx.state import Connection
from tests.rlpx.common import BOB, Tape
from tests.rlpx.shell import Inner, ShellCase
from tests.rlpx.test_frames import SlowPeer


class HostileHandshakeTests(ShellCase):
    """Strangers: nothing above hears of them, and they cost little."""

    def refused(self, error: type[RemoteProtocolError], offence: Offence, *, at: float = 0.0) -> None:
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.innerFactory.built, [])
        self.assertLessEqual(len(self.shell.engine._buffer), 2 + limits.MAX_HANDSHAKE_PACKET)
        ready = self.shell.whenReady()
        self.lose()
        failure = self.failureResultOf(ready, error)
        self.assertIs(failure.value.offence, offence)
        self.assertEqual(self.factory.traffic.handshakes_failed, 1)
        self.assertEqual(self.factory.traffic.handshakes_ok, 0)
        self.quiet()

    def test_garbage(self) -> None:
        for garbage in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes(65536),
            b"\x04" + b"\x05" * 306,
            b"\x01\xff\x04" + bytes(510),
        ):
            for isClient in (False, True):
                self.start(isClient=isClient)
                self.transport.clear()
                self.shell.dataReceived(garbage)
                self.assertEqual(self.transport.taken(), b"")
                offence = Offence.OVERSIZE if garbage[:1] == b"G" else Offence.BAD_HANDSHAKE
                self.refused(errors.BadHandshake, offence)

    def test_oversized_packet(self) -> None:
        self.start()
        self.shell.dataReceived(b"\xff\xff\x04" + bytes(60000))
        self.refused(errors.HandshakeTooLarge, Offence.OVERSIZE)

    def test_slow_loris(self) -> None:
        """One byte in half a second: it does not buy time."""
        self.start()
        for byte in self.peer.data_to_send()[:9]:
            self.pass_(0.5)
            self.shell.dataReceived(bytes((byte,)))
        self.assertFalse(self.transport.disconnecting)
        self.pass_(0.8)
        self.refused(errors.HandshakeTimeout, Offence.TIMEOUT)

    def test_silence(self) -> None:
        for isClient in (False, True):
            self.start(isClient=isClient)
            self.pass_(limits.HANDSHAKE_TIMEOUT - 0.1)
            self.assertFalse(self.transport.disconnecting)
            self.pass_(0.4)
            self.refused(errors.HandshakeTimeout, Offence.TIMEOUT)

    def test_half_open(self) -> None:
        """A peer that is gone without a word does not hold the connection: after closing comes cutting off."""
        self.start()
        self.pass_(limits.HANDSHAKE_TIMEOUT + limits.CLOSE_TIMEOUT + 0.5)
        self.assertTrue(self.transport.disconnected)
        self.refused(errors.HandshakeTimeout, Offence.TIMEOUT)

    def test_hung_up(self) -> None:
        self.start(isClient=True)
        ready = self.shell.whenReady()
        self.lose()
        error = self.failureResultOf(ready, PeerDisconnected).value
        self.assertRegex(str(error), "in the RLPx handshake: Connection was closed cleanly")
        self.assertEqual(self.factory.traffic.handshakes_failed, 1)
        self.quiet()

    def test_unexpected_identity(self) -> None:
        """Whoever answers without the key we called cannot read what we say."""
        self.start(isClient=True)
        other = Connection(BOB, random=Tape())
        other.receive_data(self.transport.taken())
        self.assertRaises(errors.BadHandshake, other.next_event)

    def test_the_factory_is_told(self) -> None:
        told = []

        class Watchful(RLPxFactory):
            def handshakeFailed(self, address: IAddress, reason: Failure) -> None:
                told.append((address, reason.type))

        self.start()
        self.factory.__class__ = Watchful
        self.shell.dataReceived(b"SSH-2.0-")
        self.lose()
        self.assertEqual(told, [(self.transport.getPeer(), errors.HandshakeTooLarge)])


class HostileFrameTests(ShellCase):
    """Peers that proved who they are and then break a rule: above it is heard, and has the last word."""

    def refused(self, error: type[RemoteProtocolError], reason: DisconnectReason, offence: Offence) -> None:
        inner = self.innerFactory.built[0]
        self.assertEqual([type(failed) for failed in inner.failed], [error])
        self.assertIs(inner.failed[0].reason, reason)
        self.assertIs(inner.failed[0].offence, offence)
        self.assertEqual(self.heard(), [(1, bytes((reason,)))])
        self.assertTrue(self.transport.disconnecting)
        self.assertLessEqual(len(self.shell.engine._buffer), limits.PIECE + 16)
        self.lose()
        self.assertIsInstance(inner.lost[0].value, error)
        self.assertEqual(len(inner.lost), 1)
        self.quiet()

    def hostile(self) -> SlowPeer:
        """Alice's keys in hands that can write any frame."""
        writer: Any = self.peer._writer
        peer = SlowPeer()
        peer.stream = type("Stream", (), {"update": writer._encrypt})
        peer.digest = lambda: writer._digest()[:16]  # type: ignore[method-assign]

        def seed(other: bytes) -> None:
            mixed = writer._aes(writer._digest()[:16])
            writer._update(bytes(a ^ b for a, b in zip(mixed, other)))

        peer.seed = seed  # type: ignore[method-assign]

        class Absorbed(bytes):
            def __iadd__(self, data: bytes) -> bytes:
                writer._update(data)
                return self

        peer.absorbed = Absorbed()
        return peer

    def test_bad_header_mac(self) -> None:
        self.open()
        self.peer.write_message(0, b"hello")
        frame = bytearray(self.peer.data_to_send())
        frame[20] ^= 1
        self.shell.dataReceived(bytes(frame))
        self.refused(errors.BadMAC, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE)

    def test_bad_body_mac(self) -> None:
        self.open()
        self.peer.write_message(0, b"hello")
        frame = bytearray(self.peer.data_to_send())
        frame[-1] ^= 1
        self.shell.dataReceived(bytes(frame))
        self.refused(errors.BadMAC, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE)

    def test_oversize_first_frame(self) -> None:
        inner = self.open()
        self.shell.dataReceived(self.hostile().frame(b"", size=limits.MAX_FIRST_FRAME + 1) + bytes(60000))
        self.assertEqual(inner.messages, [])
        self.refused(errors.FrameTooLarge, DisconnectReason.BREACH_OF_PROTOCOL, Offence.OVERSIZE)

    def test_the_largest_frame_never_completed(self) -> None:
        """It may be announced, and what comes of it is kept; then silence ends it."""
        inner = self.open()
        self.say((0, b"hello"))
        self.shell.dataReceived(self.hostile().frame(b"", size=limits.MAX_FRAME)[:32] + bytes(60000))
        self.assertEqual(inner.messages, [(0, b"hello")])
        self.assertFalse(self.transport.disconnecting)
        self.pass_(limits.READ_TIMEOUT + 0.3)
        self.refused(errors.ReadTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def test_bad_code(self) -> None:
        self.open()
        self.shell.dataReceived(self.hostile().frame(b"\x00payload"))
        self.refused(errors.BadFrame, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE)

    def test_no_code(self) -> None:
        self.open()
        self.shell.dataReceived(self.hostile().frame(b""))
        self.refused(errors.BadFrame, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE)

    def test_header_data_is_no_offence(self) -> None:
        inner = self.open()
        self.shell.dataReceived(self.hostile().frame(b"\x10payload", b"\xc3\x01\x02\x03"))
        self.assertEqual(inner.messages, [(0x10, b"payload")])

    def test_good_messages_before_the_bad_one(self) -> None:
        inner = self.open()
        self.say((0, b"hello"))
        self.peer.write_message(1, b"good")
        self.shell.dataReceived(self.peer.data_to_send() + bytes(32))
        self.assertEqual(inner.messages, [(0, b"hello"), (1, b"good")])
        self.refused(errors.BadMAC, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE)

    def test_silence(self) -> None:
        self.open()
        self.pass_(limits.READ_TIMEOUT - 0.1)
        self.assertFalse(self.transport.disconnecting)
        self.pass_(0.4)
        self.refused(errors.ReadTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def test_a_byte_is_a_sign_of_life(self) -> None:
        inner = self.open()
        for number in range(5):
            self.pass_(20)
            self.say((number, b"ping"))
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(len(inner.messages), 5)
        self.pass_(limits.READ_TIMEOUT - 0.1)
        self.assertFalse(self.transport.disconnecting)
        self.pass_(0.4)
        self.refused(errors.ReadTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def test_silence_is_not_held_against_a_peer_we_do_not_read(self) -> None:
        inner = self.open()
        inner.transport.pauseProducing()
        self.pass_(3 * limits.READ_TIMEOUT)
        self.assertFalse(self.transport.disconnecting)
        inner.transport.resumeProducing()
        self.pass_(limits.READ_TIMEOUT - 0.1)
        self.assertFalse(self.transport.disconnecting)
        self.pass_(limits.READ_TIMEOUT)
        self.refused(errors.ReadTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def aborted(self, error: type[RemoteProtocolError], reason: DisconnectReason, offence: Offence) -> None:
        inner = self.innerFactory.built[0]
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(inner.failed, [])  # no word would reach the peer
        self.lose()
        self.assertIsInstance(inner.lost[0].value, error)
        self.assertIs(inner.lost[0].value.reason, reason)
        self.assertIs(inner.lost[0].value.offence, offence)
        self.quiet()

    def test_a_peer_that_does_not_read(self) -> None:
        self.open()
        self.transport.producer.pauseProducing()
        self.pass_(limits.WRITE_TIMEOUT - 0.1)
        self.assertFalse(self.transport.disconnected)
        self.pass_(0.4)
        self.aborted(errors.WriteTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def test_a_peer_that_reads_slowly(self) -> None:
        self.open()
        for _ in range(3):
            self.transport.producer.pauseProducing()
            self.pass_(limits.WRITE_TIMEOUT - 1)
            self.transport.producer.resumeProducing()
            self.say((0, b"ping"))
        self.pass_(limits.WRITE_TIMEOUT)
        self.say((0, b"ping"))
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(len(self.wheel), 1)

    def test_who_takes_what_we_send_is_not_silent(self) -> None:
        self.open()
        for _ in range(3):
            self.transport.producer.pauseProducing()
            self.pass_(limits.WRITE_TIMEOUT - 1)
            self.transport.producer.resumeProducing()
        self.assertFalse(self.transport.disconnecting)
        self.pass_(limits.READ_TIMEOUT + 0.3)
        self.refused(errors.ReadTimeout, DisconnectReason.TCP_ERROR, Offence.TIMEOUT)

    def test_a_peer_that_asks_but_does_not_read(self) -> None:
        """What waits for it has an end, even when the writer above heeds no producer."""
        self.patch(limits, "MAX_UNSENT", 1_000_000)

        class Generous(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                self.transport.writeMessage(code, bytes(100_000))

        self.open(build=Generous)
        self.transport.producer.pauseProducing()
        asked = 0
        while not self.transport.disconnected:
            asked += 1
            self.say((1, b"give"))
            self.assertLess(asked, 20)
        self.assertLess(len(self.transport.value()), limits.MAX_UNSENT + 200_000)
        self.aborted(errors.NotReading, DisconnectReason.TCP_ERROR, Offence.FLOOD)

    def test_a_peer_that_asks_and_reads(self) -> None:
        """Only what waits counts."""
        self.patch(limits, "MAX_UNSENT", 300_000)
        inner = self.open()
        for _ in range(10):
            self.transport.producer.pauseProducing()
            inner.transport.writeMessage(1, bytes(200_000))
            self.transport.producer.resumeProducing()
        inner.transport.writeMessage(1, bytes(400_000))
        self.assertFalse(self.transport.disconnected)

    def test_last_words_without_a_transportFailed(self) -> None:
        class Plain(Inner):
            transportFailed = None  # type: ignore[assignment]

        inner = self.open(build=Plain)
        self.shell.dataReceived(bytes(32))
        self.assertTrue(self.transport.disconnecting)
        self.lose()
        self.assertIsInstance(inner.lost[0].value, errors.BadMAC)
