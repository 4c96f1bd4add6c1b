"""Endpoints: calling and answering over any stream endpoint, and every way that a call ends early."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ethp2p.errors import PeerDisconnected
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint, RLPxProtocol, RLPxServerEndpoint, Traffic
from ethp2p.rlpx.errors import BadHandshake, HandshakeTimeout
from tests.rlpx.common import ALICE, BOB, Tape
from tests.rlpx.shell import Inner, InnerFactory


@implementer(IStreamClientEndpoint, IStreamServerEndpoint)
class Wire:
    """Both ends of a connection, which a test joins when it likes."""

    def __init__(self) -> None:
        self.client: Deferred[Any] = Deferred(self.cancelled)
        self.cancels = 0
        self.called: Any = None
        self.listening: Any = None

    def cancelled(self, deferred: Deferred[Any]) -> None:
        self.cancels += 1

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.called = protocolFactory
        return self.client

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        self.listening = protocolFactory
        return succeed("a port")


class EndpointCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = WheelTimer(self.clock)
        self.wire = Wire()
        self.traffic = Traffic()
        shared: Any = {"clock": self.clock, "wheel": self.wheel, "traffic": self.traffic}
        self.clientEndpoint = RLPxClientEndpoint(self.wire, ALICE, BOB.public_key, random=Tape(seed="alice"), **shared)
        self.serverEndpoint = RLPxServerEndpoint(self.wire, BOB, random=Tape(seed="bob"), **shared)
        self.calling, self.answering = InnerFactory(), InnerFactory()

    def join(self, answer: Any = None) -> IOPump:
        """TCP connects; nothing is carried yet."""
        client = self.wire.called.buildProtocol(None)
        self.server = answer or self.wire.listening.buildProtocol(None)
        self.clientTransport = FakeTransport(client, isServer=False)
        self.serverTransport = FakeTransport(self.server, isServer=True)
        pump: IOPump = connect(self.server, self.serverTransport, client, self.clientTransport, greet=False)
        self.wire.client.callback(client)
        return pump

    def quiet(self) -> None:
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class MeetingTests(EndpointCase):
    def test_interfaces(self) -> None:
        verifyObject(IStreamClientEndpoint, self.clientEndpoint)
        verifyObject(IStreamServerEndpoint, self.serverEndpoint)

    def meet(self) -> tuple[Inner, Inner, IOPump]:
        self.assertEqual(self.successResultOf(self.serverEndpoint.listen(self.answering)), "a port")  # type: ignore[arg-type]
        called = self.clientEndpoint.connect(self.calling)  # type: ignore[arg-type]
        pump = self.join()
        self.assertNoResult(called)
        pump.flush()
        inner = self.successResultOf(called)
        self.assertIs(inner, self.calling.built[0])
        return inner, self.answering.built[0], pump

    def test_meeting(self) -> None:
        client, server, pump = self.meet()
        self.assertEqual((client.messages, server.messages), ([(0, b"hello")], [(0, b"hello")]))
        self.assertEqual((client.address.public_key, server.address.public_key), (BOB.public_key, ALICE.public_key))
        self.assertEqual((client.address.inbound, server.address.inbound), (False, True))
        client.transport.writeMessage(7, b"from client")
        server.transport.writeMessage(8, b"from server")
        self.clock.advance(0)
        pump.flush()
        self.assertEqual((client.messages[1:], server.messages[1:]), ([(8, b"from server")], [(7, b"from client")]))
        self.assertEqual(self.traffic.total("messages_in"), 4)
        self.assertEqual(self.traffic.connections, 2)

    def test_parting(self) -> None:
        client, server, pump = self.meet()
        client.transport.writeMessage(1, b"bye")
        client.transport.loseConnection()
        pump.flush()
        self.assertEqual(server.messages[1:], [(1, b"bye")])
        self.assertEqual((len(client.lost), len(server.lost)), (1, 1))
        self.assertEqual(self.traffic.connections, 0)
        self.quiet()


class EarlyEndTests(EndpointCase):
    def call(self) -> Deferred[Any]:
        return self.clientEndpoint.connect(self.calling)  # type: ignore[arg-type]

    def test_no_connection(self) -> None:
        called = self.call()
        self.wire.client.errback(ConnectionRefusedError())
        self.failureResultOf(called, ConnectionRefusedError)

    def test_cancelled_while_connecting(self) -> None:
        called = self.call()
        called.cancel()
        self.failureResultOf(called, CancelledError)
        self.assertEqual(self.wire.cancels, 1)

    def silent(self) -> Any:
        class Silent(RLPxProtocol):
            def connectionMade(self) -> None:
                pass

            def dataReceived(self, data: bytes) -> None:
                pass

            def connectionLost(self, reason: Any = None) -> None:
                pass

        self.serverEndpoint.listen(self.answering)  # type: ignore[arg-type]
        return Silent(self.wire.listening)

    def test_cancelled_in_the_handshake(self) -> None:
        called = self.call()
        pump = self.join(self.silent())
        called.cancel()
        self.failureResultOf(called, CancelledError)
        pump.flush()
        self.assertTrue(self.clientTransport.disconnected)
        self.assertEqual(self.calling.built, [])
        self.quiet()

    def test_no_answer(self) -> None:
        called = self.call()
        pump = self.join(self.silent())
        self.clock.pump([0.1] * 53)
        pump.flush()
        self.failureResultOf(called, HandshakeTimeout)
        self.quiet()

    def test_a_bad_answer(self) -> None:
        called = self.call()
        pump = self.join(self.silent())
        self.serverTransport.write(b"SSH-2.0-")
        pump.flush()
        self.failureResultOf(called, BadHandshake)
        self.quiet()

    def test_hung_up(self) -> None:
        """As geth does with a caller it has no place for, or when we called it by the wrong key."""
        called = self.call()
        pump = self.join(self.silent())
        self.serverTransport.loseConnection()
        pump.flush()
        self.failureResultOf(called, PeerDisconnected)
        self.quiet()

    def test_refused_by_the_inner_factory(self) -> None:
        self.calling = InnerFactory(lambda address: None)
        self.serverEndpoint.listen(self.answering)  # type: ignore[arg-type]
        called = self.call()
        pump = self.join()
        pump.flush()
        self.failureResultOf(called, NoProtocol)
        self.assertEqual(len(self.answering.built[0].lost), 1)
        self.quiet()

    def test_over_before_it_is_asked_for(self) -> None:
        """An endpoint may hand over the connection late."""
        self.call()
        protocol = self.wire.called.buildProtocol(None)
        protocol.makeConnection(FakeTransport(protocol, isServer=False))
        protocol.connectionLost(Failure(ConnectionRefusedError()))
        called: list[Failure] = []
        protocol.whenReady().addErrback(called.append)
        self.assertIs(called[0].type, PeerDisconnected)
        self.assertIsInstance(self.wire.called, Factory)
        self.quiet()
