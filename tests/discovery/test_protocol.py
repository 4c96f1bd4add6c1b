"""
The sockets: whose a datagram is, which way answers go, and what is not answered at all.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery import gate
from ethp2p.discovery.protocol import MAX_ROUTES
from ethp2p.discovery.service import DiscoveryService
from ethp2p.discv4 import wire
from ethp2p.enode import Node
from ethp2p.testing.network import Host, MemoryNetwork
from tests.discovery.support import START, address, key, network, node, recorded, serve


class Peer(DatagramProtocol):
    """Somebody with a socket, who speaks discv4 by hand."""

    noisy = False

    def __init__(self, host: Host, interface: str, number: int) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.interface = interface
        self.number = number
        host.listenUDP(30303, self, interface=interface)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append((datagram, addr))

    def ping(self, to: tuple[str, int]) -> None:
        here = wire.Endpoint(wire.pack_ip(self.interface), 30303, 0)
        there = wire.Endpoint(wire.pack_ip(to[0]), to[1], 0)
        message = wire.Ping(4, here, there, int(START) + 1_000_000)
        assert self.transport is not None
        self.transport.write(wire.encode(key(self.number), message), to)

    def kinds(self) -> list[str]:
        """What came, and from where."""
        return [f"{type(wire.message_of(data)).__name__} {addr[0]}" for data, addr in self.got]


class SocketsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = network()

    def serve(self, *addresses: str, **settings: Any) -> DiscoveryService:
        host = self.network.host(*addresses)
        service = serve(self.network, 1, host=host, **{"at": addresses[0], **settings})
        self.addCleanup(service.stopService)
        return service

    def peer(self, at: str, number: int = 2) -> Peer:
        return Peer(self.network.host(at), at, number)

    def pinged(self, service: DiscoveryService, peer: Peer, to: str) -> list[str]:
        peer.ping((to, 30303))
        self.network.advance(1)
        return sorted(peer.kinds())

    def test_whose(self) -> None:
        """A datagram goes to the protocol that knows it; silence about the rest."""
        service = self.serve("9.0.0.1")
        peer = self.peer("9.0.0.2")
        assert service.v4 is not None and service.v5 is not None and peer.transport is not None
        for junk in (b"", b"x", b"x" * 63, b"x" * 1280, b"x" * 2049, b"x" * 65000):
            peer.transport.write(junk, ("9.0.0.1", 30303))
        self.network.advance(1)
        self.assertEqual(peer.got, [])
        self.assertEqual((service.sockets.foreign, service.v5.engine.counters.foreign), (6, 6))
        self.assertEqual(self.pinged(service, peer, "9.0.0.1"), ["Ping 9.0.0.1", "Pong 9.0.0.1"])
        self.assertEqual(service.v4.engine.received["Ping"], 1)
        self.assertEqual(service.v5.engine.counters.datagrams_in, 6)

    def test_one_protocol_only(self) -> None:
        service = self.serve("9.0.0.1", v4=False)
        self.assertIsNone(service.v4)
        self.assertEqual(self.pinged(service, self.peer("9.0.0.2"), "9.0.0.1"), [])
        self.assertEqual(service.sockets.foreign, 1)

    def test_rate(self) -> None:
        """One source is answered at its rate; others do not feel it."""
        service = self.serve("9.0.0.1")
        loud, other = self.peer("9.0.0.2"), self.peer("9.0.0.3", 3)
        for _ in range(1000):
            loud.ping(("9.0.0.1", 30303))
        self.network.advance(0.5)
        self.assertLessEqual(len(loud.got), 2 * gate.PACKET_BURST)
        self.assertEqual(service.sockets.gate.limited, 1000 - gate.PACKET_BURST)
        self.assertEqual(len(self.pinged(service, other, "9.0.0.1")), 2)

    def test_local_network_has_no_rate(self) -> None:
        service = self.serve("10.0.0.1")
        loud = self.peer("10.0.0.2")
        for _ in range(1000):
            loud.ping(("10.0.0.1", 30303))
        self.network.advance(0.5)
        self.assertEqual(sum(kind.startswith("Pong") for kind in loud.kinds()), 1000)
        self.assertEqual(service.sockets.gate.limited, 0)

    def test_both_families(self) -> None:
        service = self.serve("9.0.0.1", "2a00::1", listen=[("0.0.0.0", 30303), ("::", 30303)])
        self.assertEqual([port.getHost().port for port in service.ports], [30303, 30303])
        self.assertEqual(self.pinged(service, self.peer("9.0.0.2"), "9.0.0.1"), ["Ping 9.0.0.1", "Pong 9.0.0.1"])
        self.assertEqual(self.pinged(service, self.peer("2a00::2", 3), "2a00::1"), ["Ping 2a00::1", "Pong 2a00::1"])

    def test_answers_come_from_where_was_asked(self) -> None:
        """Also what follows later, of a node's own accord."""
        service = self.serve("9.0.0.1", "9.0.1.1", at="9.0.0.1", listen=[("9.0.0.1", 30303), ("9.0.1.1", 30303)])
        one, other = self.peer("9.0.0.2"), self.peer("9.0.0.3", 3)
        self.assertEqual(self.pinged(service, one, "9.0.0.1"), ["Ping 9.0.0.1", "Pong 9.0.0.1"])
        self.assertEqual(self.pinged(service, other, "9.0.1.1"), ["Ping 9.0.1.1", "Pong 9.0.1.1"])
        assert service.v4 is not None
        asked = service.v4.ping(node(3, "9.0.0.3"))
        asked.addErrback(lambda failure: None)
        self.network.advance(1)
        self.assertEqual(other.kinds()[-1], "Ping 9.0.1.1")
        self.assertEqual(MAX_ROUTES, service.sockets._routes.cap)

    def test_a_socket_that_leads_there(self) -> None:
        """Nobody outside can be reached from loopback."""
        service = self.serve("9.0.0.1", listen=[("127.0.0.1", 30303), ("9.0.0.1", 30303)])
        peer = self.peer("9.0.0.2")
        assert service.v4 is not None
        service.v4.ping(node(2, "9.0.0.2")).addErrback(lambda failure: None)
        self.network.advance(1)
        self.assertEqual(set(peer.kinds()), {"Ping 9.0.0.1"})

    def test_unsendable(self) -> None:
        """No socket of that family, no way there, a port that cannot be: counted, and the question fails in time."""
        service = self.serve("127.0.0.1", listen=[("127.0.0.1", 30303)])
        assert service.v4 is not None
        for host, port in (("2a00::1", 30303), ("9.9.9.9", 30303)):
            asked = service.v4.ping(node(2, host, port))
            self.network.advance(1)
            self.failureResultOf(asked)
        self.assertGreaterEqual(service.sockets.unsendable, 2)

    def test_ip4_by_a_socket_of_ip6(self) -> None:
        """Where the system's sockets take both, addresses look like this; they are IPv4 to us."""
        service = self.serve("2a00::1", listen=[("::", 30303)])
        (protocol,) = service.sockets._open[True]
        sent: list[tuple[bytes, Any]] = []

        class Transport:
            def write(self, datagram: bytes, addr: Any) -> None:
                sent.append((datagram, addr))

        protocol.transport = Transport()
        there = wire.Endpoint(wire.pack_ip("9.0.0.1"), 30303, 0)
        ping = wire.encode(key(2), wire.Ping(4, there, there, int(START) + 1000))
        protocol.datagramReceived(ping, ("::ffff:9.0.0.2", 30303))
        self.assertEqual([addr for _, addr in sent], [("::ffff:9.0.0.2", 30303)] * 2)
        pong = next(m for data, _ in sent if isinstance(m := wire.message_of(data), wire.Pong))
        self.assertEqual(pong.recipient.addr, ("9.0.0.2", 30303))
        protocol.datagramReceived(ping, ("fe80::1%eth0", 30303))
        self.assertEqual(len(sent), 2)

    def test_one_timer(self) -> None:
        """However much is under way."""
        service = self.serve("9.0.0.1")
        host: Host = service._reactor
        assert service.v4 is not None and service.v5 is not None
        for number in range(2, 50):
            for speaker in service.speakers:
                speaker.ping(recorded(number)).addErrback(lambda failure: None)
        self.network.advance(0.1)
        names = [call.func.__qualname__ for call in host.getDelayedCalls()]
        self.assertEqual(sorted(names), ["Keeper._work", "Sockets._tick"])

    def test_one_protocol_in_answer_to_the_other(self) -> None:
        """What is asked of one while the other is told something is not left lying."""
        service = self.serve("9.0.0.1")
        assert service.v4 is not None and service.v5 is not None
        v4, done = service.v4, []
        asked = service.v5.ping(node(2, "127.0.0.1", 0))  # fails at once
        asked.addErrback(lambda failure: v4.lookUpAnybody().addCallback(done.append))
        self.assertEqual(done, [()])

    def test_clock_steps(self) -> None:
        """A reactor's clock is the wall's: after a step back nothing hangs for as long as it went back."""
        service = self.serve("9.0.0.1")
        assert service.v4 is not None
        self.network.advance(5)
        clock = service._reactor.network.clock
        clock._now -= 3600
        asked = service.v4.ping(node(2, "9.0.0.2"))
        self.network.advance(1)
        self.failureResultOf(asked)

    def test_after_the_end(self) -> None:
        """Nothing is heard, sent or waited for."""
        service = self.serve("9.0.0.1")
        (protocol,) = service.sockets._open[False]
        self.network.wait_for(service.stopService())
        packets = []
        self.network.tap = packets.append
        peer = self.peer("9.0.0.2")
        self.assertEqual(self.pinged(service, peer, "9.0.0.1"), [])
        protocol.datagramReceived(b"late", ("9.0.0.2", 30303))
        service.sockets.turn()
        self.network.advance(100)
        self.assertEqual({packet.kind for packet in packets}, {"udp", "icmp"})
        self.assertEqual({packet.source[0] for packet in packets if packet.kind == "udp"}, {"9.0.0.2"})
        self.assertEqual(service._reactor.getDelayedCalls(), [])


class ListeningTests(SynchronousTestCase):
    def test_same_free_port(self) -> None:
        memory: MemoryNetwork = network()
        host = memory.host("9.0.0.1", "2a00::1")
        service = serve(memory, 1, host=host, listen=[("0.0.0.0", 0), ("::", 0)])
        one, other = (port.getHost().port for port in service.ports)
        self.assertEqual(one, other)
        self.assertEqual(service.local.node.udp, one)
        memory.wait_for(service.stopService())

    def test_taken(self) -> None:
        """One clear line, and nothing is left open."""
        memory = network()
        host = memory.host("9.0.0.1", address(9))
        Peer(host, "9.0.0.1", 2)
        service = serve(memory, 1, host=host, listen=[(address(9), 30303), ("9.0.0.1", 30303)])
        error = self.failureResultOf(service.started).value
        self.assertEqual(str(error), "cannot listen on UDP 9.0.0.1:30303: Address already in use")
        memory.advance(1)
        self.assertEqual([*host.sockets], [("9.0.0.1", 30303)])
        self.assertRaises(CannotListenError, host.listenUDP, 30303, DatagramProtocol(), "9.0.0.1")
        memory.wait_for(service.stopService())
        self.assertEqual(host.getDelayedCalls(), [])

    def test_node_is_told(self) -> None:
        memory = network()
        service = serve(memory, 1)
        expected = Node(key(1).public_key, address(1), 30303, 30303)
        self.assertEqual(service.local.node.url, expected.url)
        memory.wait_for(service.stopService())


class HostileTests(SynchronousTestCase):
    """Datagrams of strangers: real ones, real ones with damage, and noise."""

    def setUp(self) -> None:
        self.network = network()
        self.service = serve(self.network, 1, at="9.0.0.1")
        self.addCleanup(self.service.stopService)
        (self.protocol,) = self.service.sockets._open[False]
        self.sent: dict[Any, int] = {}
        self.protocol.transport = self
        self.strangers = 0
        self.samples = self.collect()

    def write(self, datagram: bytes, addr: Any) -> None:
        self.sent[addr] = self.sent.get(addr, 0) + len(datagram)

    def collect(self) -> list[bytes]:
        """Whatever two nodes say to each other, sealed for us."""
        memory = network()
        samples = []
        memory.tap = lambda packet: samples.append(packet.data) if packet.destination[0] == "9.0.0.1" else None
        one = serve(memory, 1, at="9.0.0.1")
        other = serve(memory, 2, one.local.node)
        memory.advance(15)
        for each in (one, other):
            memory.wait_for(each.stopService())
        return samples

    @given(st.data())
    def test_nothing_raises_and_little_is_answered(self, data: st.DataObject) -> None:
        """Not more than three times what came, to an address that has proven nothing."""
        self.strangers += 1
        addr = (address(self.strangers), 30303)
        received = 0
        for _ in range(data.draw(st.integers(1, 4))):
            datagram = bytearray(data.draw(st.one_of(st.sampled_from(self.samples), st.binary(max_size=1400))))
            for _ in range(data.draw(st.integers(0, 3)) if datagram else 0):
                datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= data.draw(st.integers(1, 255))
            received += len(datagram)
            self.protocol.datagramReceived(bytes(datagram), addr)
            self.network.advance(data.draw(st.sampled_from([0.0, 0.1, 1.0])))
        self.assertLessEqual(self.sent.get(addr, 0), 3 * received)

    def test_samples(self) -> None:
        """They are of both protocols, and some are answered."""
        self.assertGreater(len(self.samples), 20)
        kinds = {wire.is_packet(sample) for sample in self.samples}
        self.assertEqual(kinds, {True, False})
        for number, sample in enumerate(self.samples, 1):
            self.protocol.datagramReceived(sample, (address(number), 30303))
        self.assertGreater(len(self.sent), 5)
