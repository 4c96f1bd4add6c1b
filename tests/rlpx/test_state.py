"""The connection engine: published packets, pairs chopped at any byte, any bytes at all, and its caps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import LocalProtocolError, RemoteProtocolError
from ethp2p.rlpx.errors import BadHandshake, BadMAC, FrameTooLarge, HandshakeTooLarge
from ethp2p.rlpx.limits import MAX_FIRST_FRAME, MAX_FRAME, MAX_HANDSHAKE_PACKET, PIECE
from ethp2p.rlpx.state import Connection, Event, HandshakeDone, MessageReceived
from ethp2p.rlpx.wire import PLAIN_ACK
from tests.rlpx import vectors
from tests.rlpx.common import ALICE, BOB, Tape, events, fresh_pair, pair


def held(engine: Connection) -> int:
    """Bytes that the engine keeps of what came in."""
    reader = engine._reader
    return len(engine._buffer) + (len(reader.data) + len(reader._body) if reader else 0)


class VectorTests(SynchronousTestCase):
    def test_recipient(self) -> None:
        for packet in (vectors.AUTH_1, vectors.AUTH_2, vectors.AUTH_3):
            engine = Connection(vectors.KEY_B, random=Tape())
            engine.receive_data(packet)
            self.assertEqual(events(engine), [HandshakeDone(vectors.KEY_A.public_key)])
            self.assertEqual(len(engine.data_to_send()) == PLAIN_ACK, packet is vectors.AUTH_1)

    def test_initiator(self) -> None:
        drawn = (vectors.EPHEMERAL_A.secret, vectors.NONCE_A)
        for packet in (vectors.ACK_1, vectors.ACK_2, vectors.ACK_3):
            engine = Connection(vectors.KEY_A, vectors.KEY_B.public_key, random=Tape(*drawn))
            engine.receive_data(packet)
            self.assertEqual(events(engine), [HandshakeDone(vectors.KEY_B.public_key)])


class PairTests(SynchronousTestCase):
    def test_handshake(self) -> None:
        for eip8 in (True, False):
            alice, bob = fresh_pair(eip8=eip8)
            self.assertEqual(events(alice) + events(bob), [])
            bob.receive_data(alice.data_to_send())
            self.assertEqual(events(bob), [HandshakeDone(ALICE.public_key)])
            alice.receive_data(bob.data_to_send())
            self.assertEqual(events(alice), [HandshakeDone(BOB.public_key)])

    def test_first_message_together_with_ack(self) -> None:
        alice, bob = fresh_pair()
        bob.receive_data(alice.data_to_send())
        events(bob)
        bob.write_message(0, b"hello")
        alice.receive_data(bob.data_to_send())
        self.assertEqual(events(alice), [HandshakeDone(BOB.public_key), MessageReceived(0, b"hello")])

    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.binary(max_size=60)), max_size=8),
        st.lists(st.integers(1, 500), min_size=1, max_size=8),
        st.booleans(),
    )
    def test_chopped(self, messages: list[tuple[bool, int, bytes]], cuts: list[int], eip8: bool) -> None:
        """Whatever the cuts, the same events come, and nothing is left over."""
        alice, bob = fresh_pair(eip8=eip8)
        heard: dict[Connection, list[Event]] = {alice: [], bob: []}
        left = 0

        def carry() -> None:
            nonlocal left
            moved = True
            while moved:
                moved = False
                for sender, receiver in ((alice, bob), (bob, alice)):
                    data = sender.data_to_send()
                    while data:
                        moved = True
                        cut = cuts[left % len(cuts)]
                        left += 1
                        receiver.receive_data(data[:cut])
                        data = data[cut:]
                        heard[receiver] += events(receiver)

        carry()
        for from_alice, code, payload in messages:
            (alice if from_alice else bob).write_message(code, payload)
        carry()
        expected = {alice: [HandshakeDone(BOB.public_key)], bob: [HandshakeDone(ALICE.public_key)]}
        for from_alice, code, payload in messages:
            expected[bob if from_alice else alice].append(MessageReceived(code, payload))  # type: ignore[arg-type]
        self.assertEqual(heard, expected)
        self.assertEqual((held(alice), held(bob)), (0, 0))

    def test_counters(self) -> None:
        alice, bob = pair()
        for _ in range(3):
            alice.write_message(1, b"message")
        self.assertEqual(alice.pending, 3 * 64)
        bob.receive_data(alice.data_to_send())
        self.assertEqual(alice.pending, 0)
        self.assertEqual(alice.data_to_send(), b"")
        events(bob)
        self.assertEqual((alice.messages_out, bob.messages_in), (3, 3))
        self.assertEqual((alice.messages_in, bob.messages_out), (0, 0))
        self.assertEqual((alice.bytes_out, alice.bytes_in), (bob.bytes_in, bob.bytes_out))

    def test_all_randomness_is_a_parameter(self) -> None:
        (one, _), (other, _) = fresh_pair(), fresh_pair()
        self.assertEqual(one.data_to_send(), other.data_to_send())


class LargeTests(SynchronousTestCase):
    """Big messages are made as they are sent."""

    def test_in_order_and_not_before_they_are_asked_for(self) -> None:
        alice, bob = pair()
        alice.write_message(0, b"hello")
        messages = [(number, bytes([number]) * size) for number, size in enumerate((5, 3 * PIECE, 7, PIECE + 1, 0, 9))]
        for code, payload in messages:
            alice.write_message(code, payload)
        before, heard = alice.pending, []
        self.assertEqual(sum(map(len, alice._out)), 2 * (32 + 16 + 16))  # what is before the first big one
        while alice.pending:
            data = alice.data_to_send(PIECE)
            self.assertLessEqual(len(data), 2 * PIECE)
            self.assertEqual(alice.pending, before - len(data))
            before = alice.pending
            bob.receive_data(data)
            heard += events(bob)
        self.assertEqual(heard[1:], [MessageReceived(*message) for message in messages])
        self.assertEqual(alice.bytes_out, bob.bytes_in)
        self.assertEqual(alice.data_to_send(), b"")

    def test_all_at_once(self) -> None:
        alice, bob = pair()
        alice.write_message(0, b"hello")
        alice.write_message(1, bytes(5 * PIECE))
        pending = alice.pending
        data = alice.data_to_send()
        self.assertEqual((len(data), alice.pending), (pending, 0))
        bob.receive_data(data)
        self.assertEqual(len(events(bob)), 2)


class MisuseTests(SynchronousTestCase):
    def test_write_before_the_handshake(self) -> None:
        for engine in fresh_pair():
            self.assertRaises(LocalProtocolError, engine.write_message, 0, b"hello")

    def test_write_too_much(self) -> None:
        alice, bob = pair()
        self.assertRaises(LocalProtocolError, alice.write_message, 0, bytes(MAX_FRAME))
        self.assertEqual((alice.pending, alice.messages_out), (0, 0))
        alice.write_message(0, b"goes on")
        bob.receive_data(alice.data_to_send())
        self.assertEqual(events(bob), [MessageReceived(0, b"goes on")])


class HandshakeCapTests(SynchronousTestCase):
    def test_largest_packet(self) -> None:
        """2048 bytes are waited for, and looked at only when all are here."""
        engine = Connection(BOB, random=Tape())
        packet = MAX_HANDSHAKE_PACKET.to_bytes(2) + b"\x04" + ALICE.public_key.raw
        packet = packet.ljust(2 + MAX_HANDSHAKE_PACKET, b"\0")
        for start in range(0, len(packet) - 1, 100):
            engine.receive_data(packet[start : start + 100][: len(packet) - 1 - start])
            self.assertIsNone(engine.next_event())
        self.assertEqual(held(engine), len(packet) - 1)
        engine.receive_data(packet[-1:])
        self.assertRaises(BadHandshake, engine.next_event)
        self.assertEqual(held(engine), 0)

    def test_larger_packet(self) -> None:
        for engine in fresh_pair():
            engine.receive_data((MAX_HANDSHAKE_PACKET + 1).to_bytes(2) + b"\x04")
            self.assertRaises(HandshakeTooLarge, engine.next_event)

    def test_one_curve_operation_for_a_bad_packet(self) -> None:
        """However a bad auth looks, it makes us multiply once at most."""
        multiplied = 0
        ecdh = PrivateKey.ecdh

        def counted(self: PrivateKey, other: object) -> bytes:
            nonlocal multiplied
            multiplied += 1
            return ecdh(self, other)  # type: ignore[arg-type]

        self.patch(PrivateKey, "ecdh", counted)
        point = b"\x04" + ALICE.public_key.raw
        for packet in (
            point.ljust(307, b"\0"),
            (305).to_bytes(2) + point.ljust(305, b"\0"),
            (1050).to_bytes(2) + point.ljust(1050, b"\0"),
        ):
            multiplied = 0
            engine = Connection(BOB, random=Tape())
            for byte in packet:
                engine.receive_data(bytes((byte,)))
                if engine.bytes_in < len(packet):
                    self.assertIsNone(engine.next_event())
            self.assertRaises(BadHandshake, engine.next_event)
            self.assertEqual(multiplied, 1)


class FirstFrameTests(SynchronousTestCase):
    def test_cap(self) -> None:
        """Before Hello the peer is a stranger; after it, it may send all that a frame can carry."""
        alice, bob = pair()
        alice.write_message(0, bytes(MAX_FIRST_FRAME - 1))
        alice.write_message(1, bytes(10 * PIECE))
        bob.receive_data(alice.data_to_send())
        self.assertEqual([event.code for event in events(bob)], [0, 1])  # type: ignore[union-attr]
        alice, bob = pair()
        alice.write_message(0, bytes(MAX_FIRST_FRAME))
        bob.receive_data(alice.data_to_send())
        self.assertRaises(FrameTooLarge, bob.next_event)

    def test_can_be_raised(self) -> None:
        alice, _ = fresh_pair()
        bob = Connection(BOB, random=Tape(), max_first_frame=MAX_FRAME)
        bob.receive_data(alice.data_to_send())
        events(bob)
        alice.receive_data(bob.data_to_send())
        events(alice)
        alice.write_message(0, bytes(100_000))
        bob.receive_data(alice.data_to_send())
        self.assertEqual(events(bob), [MessageReceived(0, bytes(100_000))])


class DeafTests(SynchronousTestCase):
    def test_handshake(self) -> None:
        for engine in fresh_pair():
            said = engine.data_to_send()
            engine.receive_data(b"GET / HTTP/1.1\r\n\r\n")
            self.assertRaises(BadHandshake, engine.next_event)
            engine.receive_data(said or vectors.AUTH_2)
            self.assertIsNone(engine.next_event())
            self.assertEqual(held(engine), 0)
            self.assertRaises(LocalProtocolError, engine.write_message, 0, b"")

    def test_frames(self) -> None:
        """It hears nothing more, but its last words still go out in step."""
        alice, bob = pair()
        bob.receive_data(bytes(100))
        self.assertRaises(BadMAC, bob.next_event)
        alice.write_message(1, b"too late")
        bob.receive_data(alice.data_to_send())
        self.assertIsNone(bob.next_event())
        self.assertEqual(held(bob), 0)
        bob.write_message(1, b"breach of protocol")
        alice.receive_data(bob.data_to_send())
        self.assertEqual(events(alice), [MessageReceived(1, b"breach of protocol")])

    def test_messages_before_the_fault_are_delivered(self) -> None:
        alice, bob = pair()
        alice.write_message(1, b"good")
        bob.receive_data(alice.data_to_send() + bytes(32))
        self.assertEqual(bob.next_event(), MessageReceived(1, b"good"))
        self.assertRaises(BadMAC, bob.next_event)


class AnyBytesTests(SynchronousTestCase):
    def feed(self, engine: Connection, chunks: list[bytes], most: int) -> None:
        for chunk in chunks:
            engine.receive_data(chunk)
            try:
                events(engine)
            except RemoteProtocolError:
                self.assertIsNone(engine.next_event())
                self.assertEqual(held(engine), 0)
            self.assertLessEqual(held(engine), most)

    starts = st.sampled_from([b"", b"\x04", b"\x04" + ALICE.public_key.raw, b"\x01\x33\x04", b"\x08\x00\x04"])
    chunks = st.lists(st.binary(max_size=600), max_size=8)

    @given(starts, chunks)
    def test_handshake(self, start: bytes, chunks: list[bytes]) -> None:
        for engine in fresh_pair():
            self.feed(engine, [start, *chunks], 2 + MAX_HANDSHAKE_PACKET)

    @settings(max_examples=50)
    @given(st.binary(max_size=40), chunks)
    def test_frames(self, start: bytes, chunks: list[bytes]) -> None:
        for engine in pair():
            self.feed(engine, [start, *chunks], PIECE + 16)


class MemoryTests(SynchronousTestCase):
    def test_nothing_is_kept_of_what_was_delivered(self) -> None:
        alice, bob = pair()
        for _ in range(3):
            alice.write_message(1, bytes(2000))
        bob.receive_data(alice.data_to_send())
        events(bob)
        self.assertEqual(held(bob), 0)

    def test_a_dripped_big_frame(self) -> None:
        """Bytes that come one by one are kept as they would be if they came together."""
        alice, bob = pair()
        alice.write_message(0, b"hello")
        alice.write_message(1, bytes(4 * PIECE))
        stream = alice.data_to_send()
        for start in range(0, len(stream), 7):
            bob.receive_data(stream[start : start + 7])
            heard = events(bob)
            self.assertLessEqual(held(bob), start + 7)
        self.assertEqual(heard, [MessageReceived(1, bytes(4 * PIECE))])
