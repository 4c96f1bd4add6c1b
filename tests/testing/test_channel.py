"""Channel pairs: delivery, pausing, pressure, and every way to end."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence, OversizeError, PeerDisconnected, WireError
from ethp2p.interfaces import IChannel, IMessageProtocol, ISession
from ethp2p.testing.channel import HIGH_WATER, MAX_MESSAGE, channel_pair


@implementer(IMessageProtocol)
class Recorder:
    def __init__(self) -> None:
        self.channel: Any = None
        self.messages: list[tuple[int, bytes]] = []
        self.lost: PeerDisconnected | None = None
        self.raising: Exception | None = None

    def makeConnection(self, transport: Any) -> None:
        self.channel = transport

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.messages.append((code, payload))
        if self.raising is not None:
            raise self.raising

    def connectionLost(self, reason: Failure) -> None:
        assert self.lost is None, "told twice"
        self.lost = reason.value


@implementer(IPushProducer)
class Producer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = channel_pair("toy", 3, length=4)
        self.left, self.right = self.pair
        self.here, self.there = Recorder(), Recorder()
        self.pair.open(self.here, self.there)

    def test_interfaces(self) -> None:
        verifyObject(IMessageProtocol, self.here)
        for channel in self.pair:
            verifyObject(IChannel, channel)
            verifyObject(IPushProducer, channel)
            verifyObject(ISession, channel.session)

    def test_what_a_capability_sees(self) -> None:
        self.assertIs(self.here.channel, self.left)
        self.assertEqual((self.left.name, self.left.version), ("toy", 3))
        self.assertEqual((self.left.session.inbound, self.right.session.inbound), (False, True))
        self.assertEqual(self.left.session.shared, ("toy/3",))
        self.assertNotEqual(self.left.session.node_id, self.right.session.node_id)
        self.assertEqual(self.left.getPeer(), self.right.getHost())

    def test_delivered_when_told_to(self) -> None:
        self.left.writeMessage(0, b"a")
        self.left.writeMessage(3, b"b")
        self.assertEqual(self.there.messages, [])
        self.assertTrue(self.pair.step())
        self.assertEqual(self.there.messages, [(0, b"a")])
        self.pair.flush()
        self.assertEqual(self.there.messages, [(0, b"a"), (3, b"b")])
        self.assertEqual(self.left.sent, self.there.messages)
        self.assertFalse(self.pair.step())

    def test_what_may_not_be_written(self) -> None:
        for code in (-1, 4):
            self.assertRaises(LocalProtocolError, self.left.writeMessage, code, b"")
        self.assertRaises(LocalProtocolError, self.left.writeMessage, 0, bytes(MAX_MESSAGE + 1))
        self.assertRaises(TypeError, self.left.writeMessage, 0, "text")
        self.assertEqual(self.left.sent, [])

    def test_any_code_without_a_length(self) -> None:
        left, _ = pair = channel_pair()
        pair.open(Recorder(), Recorder())
        left.writeMessage(1000, b"")
        self.assertEqual(left.sent, [(1000, b"")])

    def test_pausing(self) -> None:
        self.right.pauseProducing()
        self.left.writeMessage(0, b"a")
        self.right.writeMessage(1, b"b")
        self.pair.flush()
        self.assertEqual((self.there.messages, self.here.messages), ([], [(1, b"b")]))
        self.right.resumeProducing()
        self.assertEqual(self.there.messages, [])
        self.pair.flush()
        self.assertEqual(self.there.messages, [(0, b"a")])

    def test_talking_without_end(self) -> None:
        self.there.messageReceived = lambda code, payload: self.right.writeMessage(0, b"")  # type: ignore[method-assign]
        self.here.messageReceived = lambda code, payload: self.left.writeMessage(0, b"")  # type: ignore[method-assign]
        self.left.writeMessage(0, b"")
        self.assertRaises(RuntimeError, self.pair.flush, most=50)

    def test_pressure(self) -> None:
        producer = Producer()
        self.left.registerProducer(producer, True)
        for _ in range(4):
            self.left.writeMessage(0, bytes(HIGH_WATER // 4))
        self.assertEqual(producer.calls, [])
        self.left.writeMessage(0, b"x")
        self.assertEqual(producer.calls, ["pause"])
        self.pair.step()
        self.assertEqual(producer.calls, ["pause"])
        self.pair.flush()
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.left.loseConnection()
        self.assertEqual(producer.calls[2:], ["stop"])

    def test_one_push_producer(self) -> None:
        self.left.registerProducer(Producer(), True)
        self.assertRaises(LocalProtocolError, self.left.registerProducer, Producer(), True)
        self.left.unregisterProducer()
        self.assertRaises(LocalProtocolError, self.left.registerProducer, Producer(), False)
        self.left.abortConnection()
        late = Producer()
        self.left.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.left, self.right = self.pair = channel_pair("toy", 1)
        self.here, self.there = Recorder(), Recorder()
        self.pair.open(self.here, self.there)
        self.left.writeMessage(0, b"last words")

    def assertEnded(self, protocol: Recorder, reason: DisconnectReason | None, by_us: bool) -> None:
        assert protocol.lost is not None, "not told"
        self.assertEqual((protocol.lost.reason, protocol.lost.by_us), (reason, by_us))

    def test_lose_connection_delivers_first(self) -> None:
        self.left.loseConnection()
        self.left.writeMessage(0, b"too late")
        self.assertIsNone(self.here.lost)
        self.pair.flush()
        self.assertEqual(self.there.messages, [(0, b"last words")])
        self.assertEnded(self.here, DisconnectReason.REQUESTED, True)
        self.assertEnded(self.there, DisconnectReason.REQUESTED, False)

    def test_abort_does_not(self) -> None:
        self.left.abortConnection()
        self.pair.flush()
        self.assertEqual(self.there.messages, [])
        self.assertEnded(self.here, None, True)
        self.assertEnded(self.there, None, False)

    def test_disconnect(self) -> None:
        self.left.session.disconnect(DisconnectReason.USELESS_PEER, "nothing to say")
        self.pair.flush()
        self.assertEqual(self.there.messages, [])
        self.assertEqual(self.left.session.disconnects, [(DisconnectReason.USELESS_PEER, "nothing to say")])
        self.assertEnded(self.here, DisconnectReason.USELESS_PEER, True)
        self.assertEnded(self.there, DisconnectReason.USELESS_PEER, False)

    def test_session_abort(self) -> None:
        self.right.session.abort()
        self.pair.flush()
        self.assertEnded(self.there, None, True)

    def test_a_broken_rule_is_booked_where_it_is_seen(self) -> None:
        self.there.raising = OversizeError("9 guesses, more than 8")
        self.pair.flush()
        self.assertEqual(self.right.session.offences, [(Offence.OVERSIZE, "9 guesses, more than 8")])
        self.assertEnded(self.there, DisconnectReason.BREACH_OF_PROTOCOL, True)
        self.assertEnded(self.here, DisconnectReason.BREACH_OF_PROTOCOL, False)
        self.assertEqual(self.left.session.offences, [])

    def test_failing_from_outside(self) -> None:
        for _ in range(2):
            self.left.fail(WireError("late"))
        self.assertEqual(len(self.left.session.offences), 1)

    def test_bugs_of_ours_are_raised_to_the_test(self) -> None:
        self.there.raising = ZeroDivisionError()
        self.assertRaises(ZeroDivisionError, self.pair.flush)

    def test_an_ended_side_hears_no_more(self) -> None:
        self.right.loseConnection()
        self.pair.flush()
        self.assertEqual(self.there.messages, [])
        self.assertEnded(self.there, DisconnectReason.REQUESTED, True)

    def test_both_at_once(self) -> None:
        self.left.loseConnection()
        self.right.abortConnection()
        self.pair.flush()
        self.assertEnded(self.here, DisconnectReason.REQUESTED, True)
        self.assertEnded(self.there, None, True)
