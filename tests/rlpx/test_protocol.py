"""The shell: what it delivers, how it gathers writes, back-pressure both ways, and how it ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost, NoProtocol
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    WireError,
)
from ethp2p.interfaces import IMessageTransport
from ethp2p.rlpx import errors, limits
from ethp2p.rlpx.protocol import RLPxAddress, RLPxFactory
from ethp2p.rlpx.state import HandshakeDone, MessageReceived
from tests.rlpx.common import ALICE, BOB, events
from tests.rlpx.shell import Inner, Producer, ShellCase


class ConnectionTests(ShellCase):
    def test_called(self) -> None:
        inner = self.open()
        self.assertEqual(inner.address, RLPxAddress(ALICE.public_key, self.transport.getPeer(), inbound=True))
        self.assertEqual(inner.address.node_id, ALICE.public_key.node_id)
        self.assertIs(inner.transport.getPeer(), inner.address)
        self.assertEqual(inner.transport.getHost(), self.transport.getHost())
        verifyObject(IAddress, inner.address)
        verifyObject(IMessageTransport, inner.transport)
        verifyObject(IPushProducer, inner.transport)

    def test_calling(self) -> None:
        inner = self.open(isClient=True)
        self.assertEqual(inner.address, RLPxAddress(ALICE.public_key, self.transport.getPeer(), inbound=False))
        self.say((0, b"hello"))
        self.assertEqual(inner.messages, [(0, b"hello")])

    def test_ack_and_hello_are_one_write(self) -> None:
        self.start()
        self.shell.dataReceived(self.peer.data_to_send())
        self.assertEqual(self.transport.writes, 1)
        self.peer.receive_data(self.transport.taken())
        self.assertEqual(events(self.peer), [HandshakeDone(BOB.public_key), MessageReceived(0, b"hello")])

    def test_ready_already(self) -> None:
        inner = self.open()
        self.assertIs(self.successResultOf(self.shell.whenReady()), inner)

    def test_nothing_is_built_before_the_handshake(self) -> None:
        self.start()
        auth = self.peer.data_to_send()
        self.shell.dataReceived(auth[:-1])
        self.assertEqual(self.innerFactory.built, [])
        self.assertEqual(self.shell.getPeer(), self.transport.getPeer())
        self.shell.dataReceived(auth[-1:])
        self.assertEqual(len(self.innerFactory.built), 1)

    def test_messages(self) -> None:
        inner = self.open()
        self.say((0, b"hello"), (16, bytes(5000)), (17, b""))
        self.assertEqual(inner.messages, [(0, b"hello"), (16, bytes(5000)), (17, b"")])

    def test_refused_by_the_inner_factory(self) -> None:
        self.start(build=lambda address: None)
        self.shell.dataReceived(self.peer.data_to_send())
        self.assertTrue(self.transport.disconnecting)
        ready = self.shell.whenReady()
        self.lose()
        self.failureResultOf(ready, NoProtocol)
        self.quiet()

    def test_client_needs_a_key(self) -> None:
        for isClient, remote in ((True, None), (False, ALICE.public_key)):
            self.assertRaises(
                LocalProtocolError,
                lambda: RLPxFactory(BOB, None, clock=self.clock, wheel=self.wheel, isClient=isClient, remote=remote),  # noqa: B023
            )

    def test_the_inner_factory_is_started_and_stopped(self) -> None:
        self.start()
        self.factory.doStart()
        self.assertEqual(self.innerFactory.running, 1)
        self.factory.doStop()
        self.assertEqual(self.innerFactory.running, 0)

    def test_traffic(self) -> None:
        self.open()
        self.say((0, b"hello"), (1, b"more"))
        traffic = self.factory.traffic
        for _ in range(2):  # the same while it lasts and after
            self.assertEqual((traffic.handshakes_ok, traffic.handshakes_failed), (1, 0))
            self.assertEqual(traffic.total("messages_in"), 2)
            self.assertEqual(traffic.total("messages_out"), 1)
            self.assertEqual(traffic.total("bytes_in"), self.peer.bytes_out)
            self.assertEqual(traffic.total("bytes_out"), self.peer.bytes_in)
            if traffic.connections:
                self.lose()
        self.assertEqual(traffic.connections, 0)


class GatheringTests(ShellCase):
    def test_answers_in_one_read_are_one_write(self) -> None:
        class Echo(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                self.transport.writeMessage(code, payload)

        self.open(build=Echo)
        self.transport.writes = 0
        self.say((0, b"one"), (1, b"two"), (2, b"three"))
        self.assertEqual(self.transport.writes, 1)
        self.assertEqual(self.clock.getDelayedCalls(), self.wheelCalls())
        self.assertEqual(self.heard(), [(0, b"one"), (1, b"two"), (2, b"three")])

    def wheelCalls(self) -> list[Any]:
        """The one call that the shared wheel has on the clock."""
        return [call for call in self.clock.getDelayedCalls() if call.func == self.wheel._turn]

    def test_writes_of_one_turn_are_one_write(self) -> None:
        inner = self.open()
        self.transport.writes = 0
        for number in range(10):
            inner.transport.writeMessage(number, b"small")
        self.assertEqual(self.transport.writes, 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1 + len(self.wheelCalls()))
        self.clock.advance(0)
        self.assertEqual(self.transport.writes, 1)
        self.assertEqual(self.heard(), [(number, b"small") for number in range(10)])

    def test_much_is_written_at_once(self) -> None:
        """So that TCP can say that it is enough."""
        inner = self.open()
        inner.transport.writeMessage(1, bytes(limits.FLUSH_SIZE))
        self.assertEqual(self.heard(), [(1, bytes(limits.FLUSH_SIZE))])
        self.assertEqual(self.shell.engine.pending, 0)

    def test_a_big_message_is_made_as_tcp_takes_it(self) -> None:
        inner = self.open()
        valve, size = self.transport.producer, 10 * limits.PIECE
        write = self.transport.write

        def full(data: bytes) -> None:
            write(data)
            valve.pauseProducing()

        self.transport.write = full  # type: ignore[method-assign]
        inner.transport.writeMessage(1, bytes(size))
        inner.transport.writeMessage(2, b"small")
        sent = []
        while self.shell.engine.pending:
            before = self.shell.engine.pending
            self.clock.advance(0)
            self.assertEqual(self.shell.engine.pending, before)
            sent.append(len(self.transport.value()))
            self.assertLessEqual(sent[-1], limits.FLUSH_SIZE + limits.PIECE)
            self.peer.receive_data(self.transport.taken())
            valve.resumeProducing()
        self.assertGreater(len(sent), 5)
        self.assertEqual(self.heard(), [(1, bytes(size)), (2, b"small")])

    def test_over_the_limit(self) -> None:
        inner = self.open()
        self.assertRaises(LocalProtocolError, inner.transport.writeMessage, 1, bytes(limits.MAX_MESSAGE))
        self.assertFalse(self.transport.disconnecting)


class PressureTests(ShellCase):
    def test_pause_stops_delivery_and_tcp(self) -> None:
        class Busy(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                super().messageReceived(code, payload)
                self.transport.pauseProducing()

        inner = self.open(build=Busy)
        self.say((0, b"one"), (1, b"two"), (2, b"three"))
        self.assertEqual(inner.messages, [(0, b"one")])
        self.assertEqual(self.transport.producerState, "paused")
        inner.transport.resumeProducing()
        self.assertEqual(inner.messages, [(0, b"one")])  # not from within the call
        self.clock.advance(0)
        self.assertEqual(inner.messages, [(0, b"one"), (1, b"two")])
        self.assertEqual(self.transport.producerState, "paused")
        inner.messageReceived = lambda code, payload: inner.messages.append((code, payload))
        inner.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(inner.messages, [(0, b"one"), (1, b"two"), (2, b"three")])
        self.assertEqual(self.transport.producerState, "producing")

    def test_resume_within_the_same_message(self) -> None:
        class Fickle(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                super().messageReceived(code, payload)
                self.transport.pauseProducing()
                self.transport.resumeProducing()

        inner = self.open(build=Fickle)
        self.say((0, b"one"), (1, b"two"))
        self.assertEqual(inner.messages, [(0, b"one"), (1, b"two")])
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_read_that_comes_while_paused_is_kept(self) -> None:
        inner = self.open()
        inner.transport.pauseProducing()
        self.say((0, b"one"))
        self.assertEqual(inner.messages, [])
        inner.transport.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(inner.messages, [(0, b"one")])

    def test_resumed_when_there_is_room_for_the_answer(self) -> None:
        """What came before it paused is delivered then, not when the peer says more: it may wait for the answer."""
        inner, producer = self.open(), Producer()
        inner.transport.registerProducer(producer, True)
        producer.resumeProducing = inner.transport.resumeProducing  # type: ignore[method-assign]
        valve = self.transport.producer
        valve.pauseProducing()
        inner.transport.pauseProducing()
        self.say((0, b"one"), (1, b"two"))
        self.assertEqual(inner.messages, [])
        valve.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(inner.messages, [(0, b"one"), (1, b"two")])
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_paused_connection_still_writes(self) -> None:
        inner = self.open()
        inner.transport.pauseProducing()
        inner.transport.writeMessage(1, b"message")
        self.clock.advance(0)
        self.assertEqual(self.heard(), [(1, b"message")])

    def test_tcp_pauses_the_producer(self) -> None:
        inner, producer = self.open(), Producer()
        inner.transport.registerProducer(producer, True)
        valve = self.transport.producer
        verifyObject(IPushProducer, valve)
        valve.pauseProducing()
        valve.resumeProducing()
        self.assertEqual(producer.told, ["pause", "resume"])
        inner.transport.unregisterProducer()
        valve.pauseProducing()
        self.assertEqual(producer.told, ["pause", "resume"])
        late = Producer()
        inner.transport.registerProducer(late, True)
        self.assertEqual(late.told, ["pause"])

    def test_the_producer_waits_while_a_big_message_is_made(self) -> None:
        inner, producer = self.open(), Producer()
        inner.transport.registerProducer(producer, True)
        valve, write = self.transport.producer, self.transport.write

        def full(data: bytes) -> None:
            write(data)
            valve.pauseProducing()

        self.transport.write = full  # type: ignore[method-assign]
        inner.transport.writeMessage(1, bytes(5 * limits.FLUSH_SIZE))
        while self.shell.engine.pending >= limits.FLUSH_SIZE:
            self.assertNotIn("resume", producer.told)
            valve.resumeProducing()
        while "resume" not in producer.told:
            valve.resumeProducing()
        self.assertLess(self.shell.engine.pending, limits.FLUSH_SIZE)

    def test_what_a_resumed_producer_writes_goes_out_together(self) -> None:
        inner, producer = self.open(), Producer()
        inner.transport.registerProducer(producer, True)
        valve = self.transport.producer
        producer.resumeProducing = lambda: [inner.transport.writeMessage(code, b"x") for code in range(3)]  # type: ignore
        valve.pauseProducing()
        inner.transport.writeMessage(7, b"waits")
        self.clock.advance(0)
        self.transport.writes = 0
        valve.resumeProducing()
        self.assertEqual(self.transport.writes, 1)
        self.assertEqual(self.heard(), [(7, b"waits"), (0, b"x"), (1, b"x"), (2, b"x")])

    def test_producers_refused(self) -> None:
        inner = self.open()
        self.assertRaises(LocalProtocolError, inner.transport.registerProducer, Producer(), False)
        inner.transport.registerProducer(Producer(), True)
        self.assertRaises(LocalProtocolError, inner.transport.registerProducer, Producer(), True)

    def test_the_producer_is_stopped_at_the_end(self) -> None:
        inner, producer, late = self.open(), Producer(), Producer()
        inner.transport.registerProducer(producer, True)
        self.lose()
        self.assertEqual(producer.told, ["stop"])
        inner.transport.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])


class ClosingTests(ShellCase):
    def test_everything_written_is_sent_first(self) -> None:
        inner = self.open()
        inner.transport.writeMessage(1, b"last words")
        inner.transport.loseConnection()
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.heard(), [(1, b"last words")])
        inner.transport.writeMessage(1, b"too late")
        inner.transport.loseConnection()
        self.assertEqual(self.heard(), [])

    def test_a_big_message_is_sent_first_though_tcp_is_full(self) -> None:
        inner = self.open()
        self.transport.producer.pauseProducing()
        inner.transport.writeMessage(1, bytes(5 * limits.PIECE))
        self.assertEqual(self.heard(), [])
        inner.transport.loseConnection()
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.heard(), [(1, bytes(5 * limits.PIECE))])

    def test_a_peer_that_does_not_close_is_cut_off(self) -> None:
        inner = self.open()
        inner.transport.loseConnection()
        self.pass_(limits.CLOSE_TIMEOUT - 0.1)
        self.assertFalse(self.transport.disconnected)
        self.pass_(0.4)
        self.assertTrue(self.transport.disconnected)
        self.lose()
        self.quiet()

    def test_nothing_is_heard_while_closing(self) -> None:
        class Shy(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                super().messageReceived(code, payload)
                self.transport.loseConnection()

        inner = self.open(build=Shy)
        self.say((0, b"one"), (1, b"two"))
        self.say((2, b"three"))
        self.assertEqual(inner.messages, [(0, b"one")])
        inner.transport.pauseProducing()
        inner.transport.resumeProducing()

    def test_stopped(self) -> None:
        """Who sees us as a producer ends us as one."""
        inner = self.open()
        inner.transport.stopProducing()
        self.assertTrue(self.transport.disconnecting)

    def test_tcp_stops_its_producer_when_it_is_lost(self) -> None:
        inner, producer = self.open(), Producer()
        inner.transport.registerProducer(producer, True)
        self.transport.producer.stopProducing()
        self.assertEqual(producer.told, [])
        self.lose()
        self.assertEqual((producer.told, len(inner.lost)), (["stop"], 1))

    def test_too_much_waits_to_close_in_peace(self) -> None:
        self.patch(limits, "MAX_UNSENT", 10_000)
        inner = self.open()
        self.transport.producer.pauseProducing()
        inner.transport.writeMessage(1, bytes(20_000))
        inner.transport.loseConnection()
        self.assertTrue(self.transport.disconnected)
        self.lose()
        self.assertIsInstance(inner.lost[0].value, errors.NotReading)
        self.quiet()

    def test_lost(self) -> None:
        inner = self.open()
        self.lose(ConnectionLost())
        self.assertIsInstance(inner.lost[0].value, ConnectionLost)
        self.assertEqual(len(inner.lost), 1)
        inner.transport.writeMessage(1, b"nobody hears")
        inner.transport.loseConnection()
        self.assertEqual(self.transport.taken(), b"")
        self.quiet()

    def test_lost_with_a_turn_pending(self) -> None:
        inner = self.open()
        inner.transport.writeMessage(1, b"nobody hears")
        self.lose()
        self.quiet()

    def test_a_fault_above_ends_the_connection(self) -> None:
        class Faulty(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                raise ZeroDivisionError

        inner = self.open(build=Faulty)
        self.say((0, b"one"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.transport.disconnected)
        self.lose()
        self.assertEqual(len(inner.lost), 1)
        self.quiet()

    def test_a_fault_in_building_ends_the_connection(self) -> None:
        def build(address: RLPxAddress) -> None:
            raise ZeroDivisionError

        self.start(build=build)
        self.shell.dataReceived(self.peer.data_to_send())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.transport.disconnected)
        self.lose()
        self.quiet()

    def test_a_fault_in_the_last_words(self) -> None:
        class Faulty(Inner):
            def transportFailed(self, error: RemoteProtocolError) -> None:
                raise ZeroDivisionError

        self.open(build=Faulty)
        self.shell.dataReceived(bytes(32))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.transport.disconnecting)

    def test_an_error_that_the_inner_protocol_lets_through(self) -> None:
        class Lax(Inner):
            def messageReceived(self, code: int, payload: bytes) -> None:
                raise WireError("not this")

        inner = self.open(build=Lax)
        self.say((0, b"one"))
        self.assertEqual([str(error) for error in inner.failed], ["not this"])
        self.assertTrue(self.transport.disconnecting)


class DefaultTests(SynchronousTestCase):
    def test_caps(self) -> None:
        """The numbers that others rely on."""
        self.assertEqual(limits.MAX_HANDSHAKE_PACKET, 2048)
        self.assertEqual(limits.MAX_FRAME, 2**24 - 1)
        self.assertEqual(limits.MAX_MESSAGE, 2**24 - 1)
        self.assertEqual(
            (limits.HANDSHAKE_TIMEOUT, limits.READ_TIMEOUT, limits.WRITE_TIMEOUT, limits.CLOSE_TIMEOUT), (5, 30, 20, 2)
        )
        self.assertGreaterEqual(limits.MAX_UNSENT, 2 * limits.MAX_FRAME)
