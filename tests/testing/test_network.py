"""The virtual network: connections between hosts, closing in every way, back-pressure, and cuts."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import (
    IConnector,
    IHalfCloseableProtocol,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ethp2p.testing.network import MemoryNetwork
from ethp2p.testing.packets import Packet
from ethp2p.testing.tcp import PATIENCE

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
PORT = 30303


class Recorder(Protocol):
    """Keeps everything that happens to it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lost: Failure | None = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert self.lost is None, "told twice"
        self.lost = reason


class Echo(Recorder):
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(data)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    ended = ""

    def readConnectionLost(self) -> None:
        self.ended += "read"
        self.transport.write(b"goodbye")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        self.ended += "write"


class Flood:
    """An IPushProducer without end."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = self.stopped = False
        self.pauses = 0
        transport.registerProducer(self, True)

    def produce(self) -> None:
        while not self.paused and not self.stopped:
            self.transport.write(bytes(1000))

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.paused = False
        self.produce()

    def stopProducing(self) -> None:
        self.stopped = True


class Collecting(Factory):
    def __init__(self, protocol: type[Recorder]) -> None:
        self.made: list[Any] = []
        self.protocol = protocol
        self.noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        self.made.append(self.protocol())
        return self.made[-1]


class NetworkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build()

    def build(self, **settings: Any) -> None:
        self.network = MemoryNetwork(seed=1, **settings)
        self.server, self.client = self.network.host(SERVER), self.network.host(CLIENT)

    def listen(self, protocol: type[Recorder] = Recorder, port: int = PORT, interface: str = "") -> Collecting:
        factory = Collecting(protocol)
        self.port = self.successResultOf(TCP4ServerEndpoint(self.server, port, interface=interface).listen(factory))
        return factory

    def connect(self, protocol: type[Recorder] = Recorder, **settings: Any) -> Any:
        endpoint = TCP4ClientEndpoint(self.client, SERVER, PORT, **settings)
        return self.network.wait_for(endpoint.connect(Collecting(protocol)))

    def pair(self, here: type[Recorder] = Recorder, there: type[Recorder] = Recorder) -> tuple[Any, Any]:
        """A protocol on the client, and one on the server, connected."""
        factory = self.listen(there)
        client = self.connect(here)
        self.network.advance(0.1)
        return client, factory.made[0]

    def assertLost(self, protocol: Any, *kinds: type[Exception]) -> None:
        self.assertIsNotNone(protocol.lost, "not lost")
        self.assertTrue(protocol.lost.check(*kinds), protocol.lost)


class InterfaceTests(NetworkTestCase):
    def test_interfaces(self) -> None:
        for interface in (IReactorTime, IReactorTCP, IReactorPluggableNameResolver):
            verifyObject(interface, self.server)
        client, server = self.pair()
        verifyObject(IListeningPort, self.port)
        for protocol in (client, server):
            verifyObject(ITCPTransport, protocol.transport)
        connector = self.client.connectTCP(SERVER, PORT, ClientRecorder())
        verifyObject(IConnector, connector)

    def test_addresses(self) -> None:
        client, server = self.pair()
        self.assertEqual(self.port.getHost(), IPv4Address("TCP", "0.0.0.0", PORT))
        self.assertEqual(client.transport.getPeer(), IPv4Address("TCP", SERVER, PORT))
        self.assertEqual(server.transport.getHost(), IPv4Address("TCP", SERVER, PORT))
        self.assertEqual(client.transport.getHost().host, CLIENT)
        self.assertEqual(client.transport.getHost(), server.transport.getPeer())

    def test_tcp_options_are_remembered(self) -> None:
        transport = self.pair()[0].transport
        self.assertEqual((transport.getTcpNoDelay(), transport.getTcpKeepAlive()), (False, False))
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertEqual((transport.getTcpNoDelay(), transport.getTcpKeepAlive()), (True, True))


class ConnectTests(NetworkTestCase):
    def test_echo(self) -> None:
        client, server = self.pair(there=Echo)
        client.transport.write(b"hello ")
        client.transport.writeSequence([b"wor", b"ld"])
        self.network.advance(0.1)
        self.assertEqual((server.data, client.data), (b"hello world", b"hello world"))

    def test_latency(self) -> None:
        """The caller is connected after a round trip, the called one half a round trip later."""
        factory = self.listen()
        connecting = TCP4ClientEndpoint(self.client, SERVER, PORT).connect(Collecting(Recorder))
        self.network.advance(0.0199)
        self.assertNoResult(connecting)
        self.network.advance(0.0002)
        client = self.successResultOf(connecting)
        self.assertEqual(factory.made, [])
        client.transport.write(b"x")
        self.network.advance(0.01)
        self.assertEqual(factory.made[0].data, b"x")

    def test_latency_of_one_link(self) -> None:
        self.network.link(SERVER, CLIENT, latency=1.0)
        self.listen()
        connecting = TCP4ClientEndpoint(self.client, SERVER, PORT).connect(Collecting(Recorder))
        self.network.advance(1.9)
        self.assertNoResult(connecting)
        self.network.advance(0.2)
        self.successResultOf(connecting)

    def test_refused(self) -> None:
        self.assertRaises(error.ConnectionRefusedError, self.connect)
        self.assertAlmostEqual(self.network.now, 0.02)

    def test_nobody_at_the_address(self) -> None:
        endpoint = TCP4ClientEndpoint(self.client, "10.9.9.9", PORT, timeout=7)
        self.assertRaises(error.TimeoutError, self.network.wait_for, endpoint.connect(Collecting(Recorder)))
        self.assertAlmostEqual(self.network.now, 7)

    def test_a_host_that_comes_while_it_is_called(self) -> None:
        connecting = TCP4ClientEndpoint(self.client, "10.0.0.3", PORT).connect(Collecting(Recorder))
        self.network.advance(5)
        late = self.network.host("10.0.0.3")
        TCP4ServerEndpoint(late, PORT).listen(Collecting(Recorder))
        self.network.wait_for(connecting, limit=10)

    def test_cancelled(self) -> None:
        factory = self.listen()
        connecting = TCP4ClientEndpoint(self.client, SERVER, PORT).connect(Collecting(Recorder))
        self.network.advance(0.005)
        connecting.cancel()
        self.failureResultOf(connecting, error.ConnectingCancelledError)
        self.network.advance(100)
        self.assertEqual(factory.made, [])
        self.assertEqual(self.client.getDelayedCalls(), [])

    def test_a_name_is_not_an_address(self) -> None:
        factory = ClientRecorder()
        self.client.connectTCP("server.example", PORT, factory)
        self.network.advance(0)
        self.assertTrue(factory.failed.check(error.DNSLookupError))  # type: ignore[union-attr]

    def test_names(self) -> None:
        self.network.names["server.example"] = SERVER
        self.listen(Echo)
        endpoint = HostnameEndpoint(self.client, b"server.example", PORT)
        client = self.network.wait_for(endpoint.connect(Collecting(Recorder)))
        self.assertEqual(client.transport.getPeer().host, SERVER)
        unknown = HostnameEndpoint(self.client, b"nobody.example", PORT)
        self.assertRaises(error.DNSLookupError, self.network.wait_for, unknown.connect(Collecting(Recorder)))

    def test_ipv6(self) -> None:
        six, other = self.network.host("10.0.0.6", "fd00::6"), self.network.host("fd00::7")
        factory = Collecting(Recorder)
        self.successResultOf(TCP6ServerEndpoint(six, PORT).listen(factory))
        client = self.network.wait_for(TCP6ClientEndpoint(other, "fd00::6", PORT).connect(Collecting(Recorder)))
        self.network.advance(1)
        self.assertEqual(client.transport.getPeer(), IPv6Address("TCP", "fd00::6", PORT))
        self.assertEqual(factory.made[0].transport.getPeer().host, "fd00::7")

    def test_loopback(self) -> None:
        factory = Collecting(Recorder)
        self.successResultOf(TCP4ServerEndpoint(self.client, PORT, interface="127.0.0.1").listen(factory))
        endpoint = TCP4ClientEndpoint(self.client, "127.0.0.1", PORT)
        client = self.network.wait_for(endpoint.connect(Collecting(Recorder)))
        self.assertEqual((client.transport.getHost().host, self.network.now), ("127.0.0.1", 0))
        outside = TCP4ClientEndpoint(self.server, CLIENT, PORT).connect(Collecting(Recorder))
        self.assertRaises(error.ConnectionRefusedError, self.network.wait_for, outside)

    def test_bound_to_an_address(self) -> None:
        client = self.network.host("10.0.0.7", "10.0.0.8")
        factory = self.listen()
        connecting = TCP4ClientEndpoint(client, SERVER, PORT, bindAddress=("10.0.0.8", 4000)).connect(
            Collecting(Recorder)
        )
        self.network.wait_for(connecting)
        self.network.advance(1)
        self.assertEqual(factory.made[0].transport.getPeer(), IPv4Address("TCP", "10.0.0.8", 4000))

    def test_a_factory_that_builds_nothing(self) -> None:
        """As on a real reactor, the caller gets a connection that is closed at once."""
        factory = self.listen()
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        client = self.connect()
        self.network.advance(1)
        self.assertLost(client, error.ConnectionDone)

    def test_a_connector_connects_again(self) -> None:
        factory = ClientRecorder(again=2)
        self.client.connectTCP(SERVER, PORT, factory)
        self.network.advance(1)
        self.assertEqual((factory.started, factory.again), (3, 0))
        self.assertTrue(factory.failed.check(error.ConnectionRefusedError))  # type: ignore[union-attr]

    def test_a_connector_disconnects(self) -> None:
        self.listen()
        factory = ClientRecorder()
        connector = self.client.connectTCP(SERVER, PORT, factory)
        self.network.advance(1)
        connector.disconnect()
        self.network.advance(1)
        self.assertTrue(factory.lost.check(error.ConnectionDone))  # type: ignore[union-attr]


class ClientRecorder(Factory):
    """A ClientFactory that keeps what it is told, and calls again some times."""

    protocol = Recorder
    noisy = False

    def __init__(self, again: int = 0) -> None:
        self.again = again
        self.started = 0
        self.failed: Failure | None = None
        self.lost: Failure | None = None

    def startedConnecting(self, connector: Any) -> None:
        self.started += 1

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed = reason
        if self.again:
            self.again -= 1
            connector.connect()

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self.lost = reason


class ListenTests(NetworkTestCase):
    def test_any_free_port(self) -> None:
        self.listen(port=0)
        first = self.port.getHost().port
        self.listen(port=0)
        self.assertNotEqual(first, self.port.getHost().port)
        self.assertGreater(first, 1024)

    def test_taken(self) -> None:
        self.listen()
        for interface in ("", SERVER, "127.0.0.1"):
            self.assertRaises(error.CannotListenError, self.server.listenTCP, PORT, Factory(), interface=interface)
        self.server.listenTCP(PORT, Collecting(Recorder), interface="::")
        self.client.listenTCP(PORT, Collecting(Recorder))

    def test_taken_on_one_interface(self) -> None:
        self.listen(interface="127.0.0.1")
        self.listen(interface=SERVER)
        self.assertRaises(error.CannotListenError, self.server.listenTCP, PORT, Factory())

    def test_not_our_address(self) -> None:
        self.assertRaises(error.CannotListenError, self.server.listenTCP, PORT, Factory(), interface=CLIENT)

    def test_stop(self) -> None:
        """Who is here stays; nobody new comes; the port is free."""
        client, _ = self.pair(there=Echo)
        self.successResultOf(self.port.stopListening())
        self.assertRaises(error.ConnectionRefusedError, self.connect)
        client.transport.write(b"still here")
        self.network.advance(1)
        self.assertEqual(client.data, b"still here")
        self.listen()

    def test_stop_while_somebody_is_on_the_way_in(self) -> None:
        factory = self.listen()
        client = self.connect()
        self.port.stopListening()
        self.network.advance(1)
        self.assertEqual(factory.made, [])
        self.assertLost(client, error.ConnectionLost)

    def test_factories_are_started_and_stopped(self) -> None:
        factory = self.listen()
        self.assertEqual(factory.numPorts, 1)
        self.port.stopListening()
        self.port.stopListening()
        self.assertEqual(factory.numPorts, 0)

    def test_endpoint_strings(self) -> None:
        factory = Collecting(Recorder)
        self.successResultOf(serverFromString(self.server, f"tcp:{PORT}:interface={SERVER}").listen(factory))
        self.connect()


class CloseTests(NetworkTestCase):
    def test_lose_connection_sends_what_was_written(self) -> None:
        """Also when it is more than the window, and the reader is slow."""
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(500_000))
        client.transport.loseConnection()
        self.network.advance(10)
        self.assertIsNone(client.lost)
        self.assertEqual(server.data, b"")
        server.transport.resumeProducing()
        self.network.advance(10)
        self.assertEqual(len(server.data), 500_000)
        self.assertLost(client, error.ConnectionDone)
        self.assertLost(server, error.ConnectionDone)

    def test_no_more_is_received_after_lose_connection(self) -> None:
        client, server = self.pair()
        client.transport.loseConnection()
        server.transport.write(b"too late")
        self.network.advance(1)
        self.assertEqual(client.data, b"")
        self.assertLost(server, error.ConnectionDone, error.ConnectionLost)

    def test_closing_over_unread_data(self) -> None:
        """Twisted shuts a socket down before it closes it, so that last words come through on Linux."""
        client, server = self.pair()
        client.transport.pauseProducing()
        server.transport.write(b"unread")
        self.network.advance(1)
        client.transport.write(b"bye")
        client.transport.loseConnection()
        self.network.advance(1)
        self.assertEqual(server.data, b"bye")
        self.assertLost(client, error.ConnectionDone)
        self.assertLost(server, error.ConnectionDone)

    def test_a_writer_to_a_closed_end_is_reset(self) -> None:
        client, server = self.pair()
        client.transport.pauseProducing()  # so that it does not see the end
        server.transport.loseConnection()
        self.network.advance(1)
        self.assertIsNone(client.lost)
        client.transport.write(b"anybody?")
        self.network.advance(1)
        client.transport.write(b"anybody?")
        self.network.advance(1)
        self.assertLost(client, error.ConnectionLost)

    def test_abort(self) -> None:
        """What was not yet sent is lost, and the protocol hears in the next turn, not at once."""
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(200_000))
        self.network.advance(1)
        client.transport.abortConnection()
        client.transport.abortConnection()
        self.assertIsNone(client.lost)
        self.network.advance(1)
        self.assertLost(client, error.ConnectionAborted)
        self.assertIsNone(server.lost)
        server.transport.resumeProducing()
        self.network.advance(1)
        self.assertLost(server, error.ConnectionLost)
        self.assertLess(len(server.data), 200_000)

    def test_abort_in_data_received(self) -> None:
        class Aborting(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.abortConnection()

        client, server = self.pair(there=Aborting)
        client.transport.write(bytes(1000))
        self.network.advance(1)
        self.assertEqual(len(server.pieces), 1)
        self.assertLost(server, error.ConnectionAborted)
        self.assertLost(client, error.ConnectionLost)

    def test_nothing_happens_after_the_end(self) -> None:
        client, server = self.pair()
        client.transport.loseConnection()
        self.network.advance(1)
        for call in ("loseConnection", "abortConnection", "pauseProducing", "resumeProducing", "stopProducing"):
            getattr(client.transport, call)()
        client.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(server.data, b"")

    def test_half_close(self) -> None:
        client, server = self.pair(HalfCloseable, HalfCloseable)
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.network.advance(1)
        self.assertEqual((server.data, client.data), (b"question", b"goodbye"))
        self.assertEqual((client.ended, server.ended), ("writeread", "read"))
        self.assertLost(client, error.ConnectionDone)
        self.assertLost(server, error.ConnectionDone)

    def test_half_close_to_one_who_cannot(self) -> None:
        client, server = self.pair(HalfCloseable, Recorder)
        client.transport.loseWriteConnection()
        self.network.advance(1)
        self.assertLost(server, error.ConnectionDone)

    def test_a_protocol_that_raises_loses_its_connection(self) -> None:
        class Raising(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        client, server = self.pair(there=Raising)
        client.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertLost(server, ZeroDivisionError)
        self.assertLost(client, error.ConnectionDone)

    def test_a_protocol_that_raises_when_it_begins_or_ends(self) -> None:
        class Raising(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                raise ValueError

        client, _ = self.pair(there=Raising)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, ValueError)), 2)
        self.assertLost(client, error.ConnectionDone)


class PressureTests(NetworkTestCase):
    def test_a_paused_reader_gets_nothing_and_misses_nothing(self) -> None:
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"abc")
        self.network.advance(1)
        self.assertEqual(server.data, b"")
        server.transport.resumeProducing()
        self.assertEqual(server.data, b"", "not from within resumeProducing")
        self.network.advance(0)
        self.assertEqual(server.data, b"abc")

    def test_pausing_between_pieces(self) -> None:
        class OneAtATime(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        client, server = self.pair(there=OneAtATime)
        client.transport.write(bytes(10_000))
        for count in range(1, 4):
            self.network.advance(1)
            self.assertEqual(len(server.pieces), count)
            server.transport.resumeProducing()

    def test_a_producer_is_paused_and_resumed(self) -> None:
        """What waits for a peer that does not read is bounded: the window and the transport's own buffer."""
        client, server = self.pair()
        server.transport.pauseProducing()
        flood = Flood(client.transport)
        flood.produce()
        self.network.advance(60)
        self.assertTrue(flood.paused)
        server.transport.resumeProducing()
        self.network.run_until(lambda: flood.pauses > 5)
        server.transport.pauseProducing()
        self.network.advance(60)
        self.assertTrue(flood.paused)
        before = len(server.data)
        client.transport.unregisterProducer()
        client.transport.loseConnection()
        server.transport.resumeProducing()
        self.network.advance(60)
        self.assertLessEqual(len(server.data) - before, 65536 + 65536 + 1000)
        self.assertLost(client, error.ConnectionDone)

    def test_the_window_is_the_callers_choice(self) -> None:
        self.build(window=1000)
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(5000))
        self.network.advance(60)
        client.transport.abortConnection()
        server.transport.resumeProducing()
        self.network.advance(1)
        self.assertEqual(len(server.data), 1000)

    def test_a_producer_is_stopped_when_the_connection_is_lost(self) -> None:
        client, server = self.pair()
        flood = Flood(client.transport)
        server.transport.abortConnection()
        self.network.advance(1)
        self.assertTrue(flood.stopped)

    def test_closing_waits_for_the_producer(self) -> None:
        client, server = self.pair()
        server.transport.pauseProducing()
        Flood(client.transport).produce()
        client.transport.loseConnection()
        server.transport.resumeProducing()
        self.network.advance(5)
        self.assertIsNone(client.lost)
        client.transport.unregisterProducer()
        self.network.advance(60)
        self.assertLost(client, error.ConnectionDone)

    def test_bandwidth(self) -> None:
        self.build(bandwidth=10_000)
        client, server = self.pair()
        start = self.network.now
        client.transport.write(bytes(50_000))
        self.network.run_until(lambda: len(server.data) == 50_000)
        self.assertAlmostEqual(self.network.now - start, 5.01, places=3)

    def test_bandwidth_is_shared_by_the_connections_of_a_link(self) -> None:
        self.build(bandwidth=10_000)
        factory = self.listen()
        clients = [self.connect(), self.connect()]
        start = self.network.now
        for client in clients:
            client.transport.write(bytes(10_000))
        self.network.run_until(lambda: sum(len(server.data) for server in factory.made) == 20_000)
        self.assertAlmostEqual(self.network.now - start, 2.01, places=3)

    def test_bandwidth_of_one_link(self) -> None:
        self.network.link(CLIENT, SERVER, bandwidth=1000)
        client, server = self.pair()
        start = self.network.now
        client.transport.write(bytes(2000))
        self.network.run_until(lambda: len(server.data) == 2000)
        self.assertAlmostEqual(self.network.now - start, 2.01, places=3)


class ChoppingTests(NetworkTestCase):
    def pieces(self, **settings: Any) -> list[int]:
        self.build(**settings)
        client, server = self.pair()
        client.transport.write(bytes(range(256)) * 20)
        self.network.advance(1)
        self.assertEqual(server.data, bytes(range(256)) * 20)
        return [len(piece) for piece in server.pieces]

    def test_chopped_and_whole(self) -> None:
        self.assertGreater(len(self.pieces()), 1)
        self.assertEqual(self.pieces(chop=False), [5120])

    def test_writes_of_one_turn_arrive_together(self) -> None:
        self.build(chop=False)
        client, server = self.pair()
        client.transport.write(b"one")
        client.transport.write(b"two")
        self.network.advance(1)
        self.assertEqual(server.pieces, [b"onetwo"])


class CutTests(NetworkTestCase):
    def test_tcp_waits_through_a_cut(self) -> None:
        client, server = self.pair()
        self.network.cut(CLIENT, SERVER)
        client.transport.write(b"one ")
        self.network.advance(30)
        client.transport.write(b"two ")
        self.network.advance(30)
        self.assertEqual(server.data, b"")
        client.transport.write(b"three")
        self.network.heal(CLIENT, SERVER)
        self.network.advance(0.1)
        self.assertEqual(server.data, b"one two three")

    def test_what_is_underway_when_the_link_is_cut(self) -> None:
        client, server = self.pair()
        client.transport.write(b"x")
        self.network.advance(0.005)
        self.network.cut(SERVER, CLIENT)
        self.network.advance(1)
        self.assertEqual(server.data, b"")
        self.network.heal(SERVER, CLIENT)
        self.network.advance(1)
        self.assertEqual(server.data, b"x")

    def test_nobody_can_be_called_over_a_cut_link(self) -> None:
        self.listen()
        self.network.cut(CLIENT, SERVER)
        self.assertRaises(error.TimeoutError, self.connect, timeout=10)

    def test_an_unplugged_host(self) -> None:
        client, _ = self.pair(there=Echo)
        self.server.unplug()
        client.transport.write(b"x")
        ticks: list[float] = []
        self.server.callLater(5, lambda: ticks.append(self.network.now))
        self.network.advance(60)
        self.assertEqual((client.data, len(ticks)), (b"", 1))
        self.server.plug()
        self.network.advance(1)
        self.assertEqual(client.data, b"x")

    def test_a_partition(self) -> None:
        client, server = self.pair()
        third = self.network.host("10.0.0.3")
        endpoint = TCP4ClientEndpoint(third, SERVER, PORT)
        self.network.partition([CLIENT, "10.0.0.9"], [SERVER])
        client.transport.write(b"x")
        self.network.wait_for(endpoint.connect(Collecting(Recorder)))
        self.assertEqual(server.data, b"")

    def test_tcp_gives_up(self) -> None:
        client, server = self.pair()
        self.network.cut(CLIENT, SERVER)
        client.transport.write(b"x")
        self.network.advance(PATIENCE - 1)
        self.assertIsNone(client.lost)
        self.network.advance(2)
        self.assertLost(client, error.ConnectionLost)
        self.assertIsNone(server.lost, "it wrote nothing, so it cannot know")
        self.network.heal(CLIENT, SERVER)
        self.network.advance(1)
        self.assertEqual(server.data, b"")

    def test_healing_in_time_takes_the_deadline_back(self) -> None:
        client, server = self.pair()
        for _ in range(2):
            self.network.cut(CLIENT, SERVER)
            client.transport.write(b"x")
            self.network.advance(PATIENCE - 10)
            self.network.heal(CLIENT, SERVER)
            self.network.advance(1)
        self.network.advance(PATIENCE)
        self.assertEqual(server.data, b"xx")
        self.assertIsNone(client.lost)

    def test_a_host_that_vanished_says_nothing(self) -> None:
        """Half-open: only a deadline of the program's own finds out."""
        client, server = self.pair()
        calls: list[str] = []
        self.server.callLater(1, calls.append, "ghost")
        self.server.vanish()
        client.transport.write(b"are you there?")
        self.network.advance(PATIENCE - 100)
        self.assertEqual((client.lost, server.data, server.lost, calls), (None, b"", None, []))
        self.assertRaises(error.TimeoutError, self.connect, timeout=10)

    def test_a_host_that_comes_back_knows_no_old_connections(self) -> None:
        client, server = self.pair()
        self.server.vanish()
        client.transport.write(b"x")
        self.network.advance(10)
        reborn = self.network.host(SERVER)
        factory = Collecting(Recorder)
        reborn.listenTCP(PORT, factory)
        self.network.advance(1)
        self.assertLost(client, error.ConnectionLost)
        self.assertEqual((factory.made, server.lost), ([], None))
        self.connect()

    def test_a_quiet_connection_outlives_its_peer(self) -> None:
        client, _ = self.pair()
        self.server.vanish()
        self.network.host(SERVER)
        self.network.advance(10 * PATIENCE)
        self.assertIsNone(client.lost)
        client.transport.write(b"x")
        self.network.advance(1)
        self.assertLost(client, error.ConnectionLost)

    def test_a_deadline_of_the_programs_own(self) -> None:
        class Impatient(Recorder, TimeoutMixin):
            def connectionMade(self) -> None:
                self.callLater = host.callLater
                self.setTimeout(20)

            def timeoutConnection(self) -> None:
                self.transport.abortConnection()

        host = self.client
        client, _ = self.pair(here=Impatient)
        self.server.vanish()
        self.network.advance(21)
        self.assertLost(client, error.ConnectionAborted)

    def test_what_stalled_is_let_go(self) -> None:
        """A long simulation with many lost machines does not fill up with their letters."""
        client, _ = self.pair()
        self.server.vanish()
        client.transport.write(b"x")
        client.transport.abortConnection()
        self.network.advance(1)
        self.assertEqual(len(self.network.stalled), 1)
        self.network.advance(PATIENCE + 1)
        self.assertEqual(len(self.network.stalled), 0)


class TimeTests(NetworkTestCase):
    def test_wait_for(self) -> None:
        deferred: Deferred[str] = Deferred()
        self.client.callLater(5, deferred.callback, "result")
        self.assertEqual(self.network.wait_for(deferred), "result")
        self.assertEqual(self.network.now, 5)

    def test_wait_for_a_failure(self) -> None:
        deferred: Deferred[str] = Deferred()
        self.client.callLater(5, deferred.errback, ZeroDivisionError())
        self.assertRaises(ZeroDivisionError, self.network.wait_for, deferred)

    def test_wait_for_too_long(self) -> None:
        self.assertRaises(TimeoutError, self.network.wait_for, Deferred(), limit=9)
        self.assertEqual(self.network.now, 9)

    def test_run_until(self) -> None:
        ticks: list[int] = []
        for second in range(1, 10):
            self.client.callLater(second, ticks.append, second)
        self.network.run_until(lambda: len(ticks) == 3)
        self.assertEqual(self.network.now, 3)
        self.network.run_until(lambda: self.network.now >= 20, limit=17)
        self.assertRaises(TimeoutError, self.network.run_until, lambda: False)

    def test_a_start_in_our_days(self) -> None:
        self.assertEqual(MemoryNetwork(start=1_700_000_000.0).host("10.0.0.1").seconds(), 1_700_000_000.0)

    def test_each_hosts_own_calls(self) -> None:
        call = self.client.callLater(5, list)
        self.server.callLater(5, list)
        self.assertEqual(self.client.getDelayedCalls(), [call])

    def test_hosts_need_addresses_of_their_own(self) -> None:
        self.assertRaises(ValueError, self.network.host)
        self.assertRaises(ValueError, self.network.host, SERVER)
        self.assertRaises(ValueError, self.network.host, "10.0.0.9", CLIENT)
        self.network.host("10.0.0.9")


class DeterminismTests(SynchronousTestCase):
    def trace(self, seed: int, hosts: int = 12) -> list[object]:
        """Everybody talks with everybody, some leave, a link is cut."""
        network = MemoryNetwork(seed=seed)
        events: list[object] = []
        network.tap = lambda packet: events.append(packet)

        class Chatter(Echo):
            def dataReceived(self, data: bytes) -> None:
                events.append((network.now, len(data)))
                if len(self.pieces) < 20:
                    super().dataReceived(data)
                else:
                    self.transport.loseConnection()

            def connectionMade(self) -> None:
                self.transport.write(network.rng.randbytes(200))

        machines = [network.host(f"10.0.1.{number}") for number in range(1, hosts + 1)]
        for machine in machines:
            machine.listenTCP(PORT, Collecting(Chatter))
        for machine in machines:
            for other in machines:
                if machine is not other:
                    TCP4ClientEndpoint(machine, other.addresses[0], PORT).connect(Collecting(Chatter))
        network.advance(0.05)
        machines[0].vanish()
        network.cut("10.0.1.2", "10.0.1.3")
        network.advance(5)
        network.heal("10.0.1.2", "10.0.1.3")
        network.advance(5)
        return events

    def test_the_same_seed_gives_the_same_trace(self) -> None:
        first = self.trace(7)
        self.assertGreater(len(first), 2000)
        self.assertEqual(first, self.trace(7))
        self.assertNotEqual(first, self.trace(8))

    def test_the_tap_sees_a_whole_connection(self) -> None:
        network = MemoryNetwork(chop=False)
        server, client = network.host(SERVER), network.host(CLIENT)
        server.listenTCP(PORT, Collecting(Echo))
        packets: list[Packet] = []
        network.tap = packets.append
        protocol = network.wait_for(TCP4ClientEndpoint(client, SERVER, PORT).connect(Collecting(Recorder)))
        protocol.transport.write(b"hi")
        network.advance(1)
        protocol.transport.loseConnection()
        network.advance(1)
        there, here = (SERVER, PORT), packets[0].source
        self.assertEqual(
            [(round(packet.time, 3), packet.source == here, packet.kind, packet.data) for packet in packets],
            [
                (0.0, True, "syn", b""),
                (0.01, False, "syn-ack", b""),
                (0.02, True, "ack", b""),
                (0.02, True, "data", b"hi"),
                (0.03, False, "data", b"hi"),
                (1.02, True, "fin", b""),
                (1.03, False, "fin", b""),
            ],
        )
        self.assertEqual({packet.destination for packet in packets if packet.source == here}, {there})


class ScaleTests(SynchronousTestCase):
    def test_a_thousand_hosts(self) -> None:
        """A ring of hosts that hand a message on: every event costs the same, however many hosts there are."""
        network = MemoryNetwork(chop=False)
        hosts = [network.host(f"10.{number // 250}.{number % 250}.1") for number in range(1000)]
        for host in hosts:
            host.listenTCP(PORT, Collecting(Echo))
        protocols: list[Any] = []
        for host, after in zip(hosts, hosts[1:] + hosts[:1]):
            endpoint = TCP4ClientEndpoint(host, after.addresses[0], PORT)
            endpoint.connect(Collecting(Recorder)).addCallback(protocols.append)
        network.advance(1)
        self.assertEqual(len(protocols), 1000)
        for protocol in protocols:
            protocol.transport.write(b"x")
        network.advance(1)
        self.assertEqual({protocol.data for protocol in protocols}, {b"x"})
