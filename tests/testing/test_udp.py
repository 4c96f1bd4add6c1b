"""Datagrams on the virtual network: ports as Twisted has them, and links that lose, delay and double."""

from __future__ import annotations

import errno
from itertools import pairwise
from typing import Any

from twisted.internet import defer, error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IReactorUDP, IUDPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.names import dns
from twisted.names.server import DNSServerFactory
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.testing.nat import NatKind
from ethp2p.testing.network import MemoryNetwork
from ethp2p.testing.packets import QUEUE, Packet
from ethp2p.testing.udp import MAX_DATAGRAM
from tests.testing.support import Datagrams, EchoDatagrams

ALICE, BOB = "10.0.0.1", "10.0.0.2"
PORT = 30303


class DatagramTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build()

    def build(self, **settings: Any) -> None:
        self.network = MemoryNetwork(**{"seed": 1, **settings})
        self.alice, self.bob = self.network.host(ALICE), self.network.host(BOB)

    def pair(self, there: type[Datagrams] = Datagrams) -> tuple[Any, Any]:
        """A protocol on Alice's machine, and one on Bob's."""
        return Datagrams.on(self.alice), there.on(self.bob)


class LifecycleTests(DatagramTestCase):
    def test_interfaces(self) -> None:
        verifyObject(IReactorUDP, self.alice)
        port = self.alice.listenUDP(PORT, Datagrams())
        for interface in (IListeningPort, IUDPTransport):
            verifyObject(interface, port)

    def test_from_start_to_stop(self) -> None:
        """The port stands before the protocol starts; it ends one turn after it is told to."""
        places: list[object] = []

        class Starting(Datagrams):
            def startProtocol(self) -> None:
                super().startProtocol()
                places.append(self.transport.getHost())

        protocol = Starting()
        port = self.alice.listenUDP(PORT, protocol)
        self.assertIs(protocol.transport, port)
        self.assertEqual((protocol.events, places), (["start"], [IPv4Address("UDP", "0.0.0.0", PORT)]))
        stopped = port.stopListening()
        assert stopped is not None
        self.assertEqual(protocol.events, ["start"])
        self.assertNoResult(stopped)
        self.assertRaises(error.CannotListenError, self.alice.listenUDP, PORT, Datagrams())
        self.assertIsNone(port.stopListening())
        self.network.advance(0)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual((protocol.events, protocol.transport), (["start", "stop"], None))
        self.assertIsNone(port.stopListening())
        self.alice.listenUDP(PORT, Datagrams())

    def test_nothing_comes_to_a_port_that_stops(self) -> None:
        """Not even what is there before the turn is over; and while it stands, nobody is refused."""
        alice = Datagrams.on(self.alice)
        alice.transport.connect(ALICE, PORT)
        alice.transport.write(b"to myself")
        alice.transport.stopListening()
        self.network.advance(1)
        self.assertEqual((alice.data, alice.events), ([], ["start", "stop"]))

    def test_a_stopped_port_does_not_write(self) -> None:
        port = self.alice.listenUDP(PORT, Datagrams())
        port.stopListening()
        self.network.advance(0)
        refusal = self.assertRaises(OSError, port.write, b"x", (BOB, PORT))
        self.assertEqual(refusal.errno, errno.EBADF)

    def test_a_port_starts_again(self) -> None:
        alice, bob = self.pair()
        port, place = alice.transport, alice.place
        self.assertRaises(error.CannotListenError, port.startListening)
        port.stopListening()
        self.network.advance(0)
        port.startListening()
        bob.transport.write(b"x", place)
        self.network.advance(1)
        self.assertEqual((alice.events, alice.data), (["start", "stop", "start"], [b"x"]))

    def test_a_protocol_that_raises_keeps_its_port(self) -> None:
        class Raising(Datagrams):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                super().datagramReceived(datagram, addr)
                raise ZeroDivisionError

        alice, bob = self.pair(Raising)
        for _ in range(2):
            alice.transport.write(b"x", bob.place)
        self.network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual((bob.data, bob.events), ([b"x", b"x"], ["start"]))

    def test_broadcast_is_remembered(self) -> None:
        port = self.alice.listenUDP(PORT, Datagrams())
        self.assertFalse(port.getBroadcastAllowed())
        port.setBroadcastAllowed(True)
        self.assertTrue(port.getBroadcastAllowed())


class ListenTests(DatagramTestCase):
    def test_any_free_port(self) -> None:
        ports = [self.alice.listenUDP(0, Datagrams()).getHost().port for _ in range(3)]
        self.assertEqual(len(set(ports)), 3)
        self.assertGreater(min(ports), 1024)
        taken = ports[-1] + 1
        self.alice.listenUDP(taken, Datagrams())
        self.assertNotEqual(self.alice.listenUDP(0, Datagrams()).getHost().port, taken)

    def test_taken(self) -> None:
        self.alice.listenUDP(PORT, Datagrams())
        for interface in ("", "0.0.0.0", ALICE, "127.0.0.1"):
            refusal = self.assertRaises(
                error.CannotListenError, self.alice.listenUDP, PORT, Datagrams(), interface=interface
            )
            self.assertEqual(refusal.socketError.errno, errno.EADDRINUSE)
        self.alice.listenUDP(PORT, Datagrams(), interface="::")
        self.alice.listenTCP(PORT, Factory())
        self.bob.listenUDP(PORT, Datagrams())

    def test_taken_on_one_interface(self) -> None:
        for interface in ("127.0.0.1", ALICE):
            self.alice.listenUDP(PORT, Datagrams(), interface=interface)
        self.assertRaises(error.CannotListenError, self.alice.listenUDP, PORT, Datagrams())

    def test_not_our_address(self) -> None:
        refusal = self.assertRaises(error.CannotListenError, self.alice.listenUDP, PORT, Datagrams(), interface=BOB)
        self.assertEqual(refusal.socketError.errno, errno.EADDRNOTAVAIL)
        self.assertRaises(error.InvalidAddressError, self.alice.listenUDP, PORT, Datagrams(), interface="eth0")


class WriteTests(DatagramTestCase):
    def test_echo(self) -> None:
        alice, bob = self.pair(EchoDatagrams)
        alice.transport.write(b"hello", bob.place)
        alice.transport.writeSequence([b"wor", b"ld"], bob.place)
        self.network.advance(0.0199)
        self.assertEqual(bob.received, [(b"hello", alice.place), (b"world", alice.place)])
        self.assertEqual((alice.data, bob.times), ([], [0.01, 0.01]))
        self.network.advance(0.0002)
        self.assertEqual(alice.received, [(b"hello", bob.place), (b"world", bob.place)])

    def test_ipv6(self) -> None:
        one, other = self.network.host("10.0.0.6", "fd00::6"), self.network.host("fd00::7")
        here, there = Datagrams.on(one, interface="::"), EchoDatagrams.on(other, interface="fd00::7")
        self.assertEqual(there.transport.getHost(), IPv6Address("UDP", "fd00::7", PORT))
        here.transport.write(b"x", there.place)
        self.network.advance(1)
        self.assertEqual((there.received, here.data), ([(b"x", ("fd00::6", PORT))], [b"x"]))

    def test_families_are_apart(self) -> None:
        dual = self.network.host("10.0.0.6", "fd00::6")
        four, six = EchoDatagrams.on(dual), EchoDatagrams.on(dual, interface="::")
        Datagrams.on(self.alice).transport.write(b"4", ("10.0.0.6", PORT))
        Datagrams.on(self.network.host("fd00::7"), interface="::").transport.write(b"6", ("fd00::6", PORT))
        self.network.advance(1)
        self.assertEqual((four.data, six.data), ([b"4"], [b"6"]))

    def test_loopback(self) -> None:
        inner, outer = EchoDatagrams.on(self.alice, interface="127.0.0.1"), Datagrams.on(self.alice, 0)
        outer.transport.write(b"x", ("127.0.0.1", PORT))
        self.network.advance(0)
        self.assertEqual(inner.received, [(b"x", ("127.0.0.1", outer.place[1]))])
        self.assertEqual(outer.received, [(b"x", ("127.0.0.1", PORT))])
        Datagrams.on(self.bob).transport.write(b"from outside", (ALICE, PORT))
        self.network.advance(1)
        self.assertEqual(inner.data, [b"x"])

    def test_to_its_own_address(self) -> None:
        """No cable is needed for that."""
        alice = Datagrams.on(self.alice)
        self.alice.unplug()
        alice.transport.write(b"x", (ALICE, PORT))
        self.network.advance(0)
        self.assertEqual(alice.received, [(b"x", (ALICE, PORT))])

    def test_which_address_it_comes_from(self) -> None:
        """As for TCP: the first of the family, or the one that it listens on."""
        machine, bob = self.network.host("fd00::8", "10.0.0.7", "10.0.0.8"), Datagrams.on(self.bob)
        for port, interface, source in ((1, "", "10.0.0.7"), (2, "10.0.0.8", "10.0.0.8"), (3, "0.0.0.0", "10.0.0.7")):
            Datagrams.on(machine, port, interface=interface).transport.write(b"x", bob.place)
            self.network.advance(1)
            self.assertEqual(bob.received.pop(), (b"x", (source, port)))

    def test_what_a_socket_would_refuse(self) -> None:
        machine = self.network.host("fd00::8")
        invalid, unreachable = (OSError, errno.EINVAL), (OSError, errno.ENETUNREACH)
        unlike: tuple[type[Exception], int | None] = (error.InvalidAddressError, None)
        for interface, destination, (kind, number) in (
            ("", (BOB, 1), unreachable),
            ("", ("2001:db8::1", 1), unlike),
            ("", ("bob.example", 1), unlike),
            ("", ("<broadcast>", 1), unlike),
            ("::", (BOB, 1), unlike),
            ("::", ("fd00::9", 0), invalid),
            ("::1", ("fd00::9", 1), invalid),
            ("127.0.0.1", (BOB, 1), invalid),
            ("127.0.0.1", ("127.0.0.1", 0), invalid),
        ):
            port = machine.listenUDP(0, Datagrams(), interface=interface)
            refusal = self.assertRaises(kind, port.write, b"x", destination)
            self.assertEqual(getattr(refusal, "errno", None), number, f"{interface} to {destination}")
        self.assertRaises(AssertionError, port.write, b"x")

    def test_only_bytes(self) -> None:
        alice, bob = self.pair()
        buffer = bytearray(b"abc")
        alice.transport.write(buffer, bob.place)
        buffer.clear()
        alice.transport.write(memoryview(b"def"), bob.place)
        alice.transport.write(b"", bob.place)
        self.network.advance(1)
        self.assertEqual(bob.data, [b"abc", b"def", b""])
        for wrong in ("text", 5, None):
            self.assertRaises(TypeError, alice.transport.write, wrong, bob.place)

    def test_too_long(self) -> None:
        for interface, loopback, longest in (("", "127.0.0.1", 65507), ("::", "::1", 65527)):
            protocol = Datagrams.on(self.alice, interface=interface, maxPacketSize=100_000)
            self.assertEqual(MAX_DATAGRAM[6 if interface else 4], longest)
            place = (loopback, PORT)
            self.assertRaises(error.MessageLengthError, protocol.transport.write, bytes(longest + 1), place)
            protocol.transport.write(bytes(longest), place)
            self.network.advance(0)
            self.assertEqual([len(data) for data in protocol.data], [longest])

    def test_longer_than_the_receiver_takes(self) -> None:
        """The rest is cut off, as a real port does."""
        alice, bob = Datagrams.on(self.alice, maxPacketSize=4), Datagrams.on(self.bob)
        for data in (b"abcd", b"abcde"):
            bob.transport.write(data, alice.place)
        bob.transport.write(bytes(9000), bob.place)
        self.network.advance(1)
        self.assertEqual((alice.data, len(bob.data[0])), ([b"abcd", b"abcd"], 8192))


class ConnectTests(DatagramTestCase):
    def connected(self) -> tuple[Any, Any]:
        alice, bob = self.pair(EchoDatagrams)
        alice.transport.connect(*bob.place)
        return alice, bob

    def test_speaks_with_one_only(self) -> None:
        alice, bob = self.connected()
        stranger = Datagrams.on(self.bob, 99)
        self.assertEqual(alice.transport.getHost(), IPv4Address("UDP", ALICE, PORT))
        alice.transport.write(b"x")
        alice.transport.write(b"y", bob.place)
        self.assertRaises(AssertionError, alice.transport.write, b"z", stranger.place)
        stranger.transport.write(b"psst", alice.place)
        self.network.advance(1)
        self.assertEqual(alice.data, [b"x", b"y"])

    def test_connects_once(self) -> None:
        alice, bob = self.connected()
        self.assertRaises(RuntimeError, alice.transport.connect, *bob.place)
        for host in ("bob.example", "fd00::1"):
            self.assertRaises(error.InvalidAddressError, bob.transport.connect, host, 1)

    def test_stopped_while_connected(self) -> None:
        """It speaks with everybody when it starts again."""
        alice, bob = self.connected()
        port = alice.transport
        port.stopListening()
        self.network.advance(0)
        port.startListening()
        for place in (bob.place, EchoDatagrams.on(self.bob, 9).place):
            port.write(b"x", place)
        self.network.advance(1)
        self.assertEqual(alice.data, [b"x", b"x"])

    def test_refused(self) -> None:
        """After a round trip: nobody listens there, or only for somebody else."""
        alice, bob = self.connected()
        bob.transport.connect("10.0.0.9", 9)
        alice.transport.write(b"x")
        self.network.advance(0.0199)
        self.assertEqual(alice.events, ["start"])
        self.network.advance(0.0002)
        self.assertEqual(alice.events, ["start", "refused"])
        bob.transport.stopListening()
        self.network.advance(0)
        alice.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual((alice.events, bob.data), (["start", "refused", "refused"], []))

    def test_refused_on_loopback(self) -> None:
        alice = Datagrams.on(self.alice)
        alice.transport.connect("127.0.0.1", 9)
        alice.transport.write(b"x")
        self.network.advance(0)
        self.assertEqual(alice.events, ["start", "refused"])

    def test_not_told(self) -> None:
        """Who is not connected, whose peer's machine is silent, and who asked somebody else."""
        alice, bob = self.pair()
        bob.transport.stopListening()
        self.network.advance(0)
        alice.transport.write(b"x", (BOB, PORT))
        alice.transport.write(b"x", ("10.0.0.9", PORT))
        self.network.advance(1)
        alice.transport.write(b"x", (BOB, PORT))
        alice.transport.connect("10.0.0.9", PORT)
        self.network.advance(1)
        alice.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(alice.events, ["start"])


class LinkTests(DatagramTestCase):
    def arrived(self, count: int, **settings: Any) -> list[tuple[float, int]]:
        """When which of so many datagrams arrived that were sent at once."""
        self.build(**settings)
        alice, bob = self.pair()
        for number in range(count):
            alice.transport.write(number.to_bytes(4, "big"), bob.place)
        self.network.advance(30)
        return [(when, int.from_bytes(data, "big")) for when, data in zip(bob.times, bob.data)]

    def test_loss(self) -> None:
        """Within four standard deviations of what is asked for, whatever the seed; two are enough in most."""
        count, far = 2000, 0
        for loss in (0.01, 0.2, 0.5, 0.9):
            deviation = (count * loss * (1 - loss)) ** 0.5
            for seed in range(5):
                off = abs(count - len(self.arrived(count, loss=loss, seed=seed)) - count * loss) / deviation
                self.assertLess(off, 4, f"loss {loss}, seed {seed}")
                far += off > 2
        self.assertLess(far, 4)

    def test_none_and_all_lost(self) -> None:
        self.assertEqual([number for _, number in self.arrived(1000, loss=0)], [*range(1000)])
        self.assertEqual(self.arrived(1000, loss=1), [])

    def test_each_datagram_has_its_own_luck(self) -> None:
        """Losses do not come in rows: as many pairs are lost as chance has it."""
        came = {number for _, number in self.arrived(4000, loss=0.5)}
        pairs = sum(number not in came and number + 1 not in came for number in range(3999))
        self.assertLess(abs(pairs - 1000), 110)

    def test_jitter(self) -> None:
        """Each is late by its own time, even over the whole range, and so they overtake each other."""
        arrived = self.arrived(2000, latency=0.05, jitter=0.02)
        times, numbers = [when for when, _ in arrived], [number for _, number in arrived]
        self.assertEqual(sorted(numbers), [*range(2000)])
        self.assertGreaterEqual(min(times), 0.05)
        self.assertLessEqual(max(times), 0.07)
        self.assertAlmostEqual(sum(times) / 2000, 0.06, places=3)
        overtaken = sum(here > there for here, there in pairwise(numbers))
        self.assertLess(abs(overtaken - 1000), 100)

    def test_duplication(self) -> None:
        arrived = self.arrived(2000, duplication=0.1, jitter=0.01)
        self.assertEqual({number for _, number in arrived}, {*range(2000)})
        self.assertLess(abs(len(arrived) - 2200), 55)
        self.assertGreater(len({when for when, _ in arrived}), 2190, "each copy takes its own time")
        self.assertEqual([number for _, number in self.arrived(3, duplication=1)], [0, 0, 1, 1, 2, 2])

    def test_one_link(self) -> None:
        """Both ways, and no other."""
        third = self.network.host("10.0.0.3")
        self.network.link(ALICE, BOB, loss=1)
        alice, bob = self.pair()
        carol = Datagrams.on(third)
        for one in (alice, bob, carol):
            for other in (alice, bob, carol):
                one.transport.write(b"x", other.place)
        self.network.advance(1)
        self.assertEqual([len(one.data) for one in (alice, bob, carol)], [2, 2, 3])
        self.network.link(BOB, ALICE, loss=0, latency=1, jitter=0.5)
        alice.transport.write(b"late", bob.place)
        self.network.advance(2)
        self.assertEqual(bob.data[-1], b"late")
        self.assertTrue(2 <= bob.times[-1] <= 2.5)

    def test_bandwidth(self) -> None:
        """One after the other; what would wait longer than a link's queue is dropped."""
        arrived = self.arrived(1000, bandwidth=400)
        self.assertAlmostEqual(arrived[0][0], 0.02)
        self.assertAlmostEqual(arrived[1][0], 0.03)
        self.assertEqual([number for _, number in arrived], [*range(len(arrived))])
        self.assertLess(abs(len(arrived) - QUEUE * 100), 3)

    def test_not_a_link(self) -> None:
        for wrong in ({"loss": -0.1}, {"loss": 1.1}, {"jitter": -1.0}, {"duplication": 2.0}):
            self.assertRaises(ValueError, MemoryNetwork, **wrong)
            self.assertRaises(ValueError, self.network.link, ALICE, BOB, **wrong)

    def test_tcp_makes_up_for_it(self) -> None:
        self.build(loss=1, jitter=5, duplication=1)
        TCP4ServerEndpoint(self.bob, PORT).listen(Factory.forProtocol(Echo))
        received: list[bytes] = []
        client = Protocol()
        client.dataReceived = received.append  # type: ignore[method-assign, assignment]
        self.network.wait_for(TCP4ClientEndpoint(self.alice, BOB, PORT).connect(Factory.forProtocol(lambda: client)))
        client.transport.write(b"hello")  # type: ignore[union-attr]
        self.network.advance(0.1)
        self.assertEqual(b"".join(received), b"hello")


class CutTests(DatagramTestCase):
    def test_what_is_lost_stays_lost(self) -> None:
        """Sent while the link is cut, or underway when it is."""
        alice, bob = self.pair()
        alice.transport.write(b"underway", bob.place)
        self.network.advance(0.005)
        self.network.cut(BOB, ALICE)
        alice.transport.write(b"cut", bob.place)
        self.network.advance(0.002)
        self.network.heal(BOB, ALICE)
        alice.transport.write(b"healed", bob.place)
        self.network.advance(1)
        self.assertEqual(bob.data, [b"underway", b"healed"])
        alice.transport.write(b"underway", bob.place)
        self.network.advance(0.005)
        self.network.cut(BOB, ALICE)
        self.network.advance(1)
        self.assertEqual(bob.data, [b"underway", b"healed"])

    def test_a_partition(self) -> None:
        hosts = [self.network.host(f"10.0.1.{number}") for number in range(6)]
        protocols = [Datagrams.on(host) for host in hosts]
        self.network.partition(["10.0.1.0", "10.0.1.1", "10.0.1.2"], ["10.0.1.3", "10.0.1.4", "10.0.1.5"])
        for number, one in enumerate(protocols):
            for other in protocols:
                one.transport.write(bytes([number]), other.place)
        self.network.advance(1)
        heard = [{data[0] for data in one.data} for one in protocols]
        self.assertEqual(heard, [{0, 1, 2}] * 3 + [{3, 4, 5}] * 3)

    def test_an_unplugged_host(self) -> None:
        """Sends nothing and gets nothing; what it sent before is underway."""
        alice, bob = self.pair()
        alice.transport.write(b"before", bob.place)
        self.alice.unplug()
        alice.transport.write(b"out", bob.place)
        bob.transport.write(b"in", alice.place)
        self.network.advance(1)
        self.alice.plug()
        self.network.advance(1)
        self.assertEqual((alice.data, bob.data), ([], [b"before"]))
        bob.transport.write(b"again", alice.place)
        self.network.advance(1)
        self.assertEqual(alice.data, [b"again"])

    def test_a_host_that_vanished(self) -> None:
        """Its last words arrive; it gets and says nothing more, not even to itself, and nobody is told."""
        alice, bob = self.pair()
        alice.transport.connect(*bob.place)
        ending = Datagrams.on(self.bob, 9)
        bob.transport.write(b"farewell", alice.place)
        bob.transport.write(b"to myself", bob.place)
        ending.transport.stopListening()
        self.bob.vanish()
        alice.transport.write(b"are you there?")
        bob.transport.write(b"a ghost", alice.place)
        bob.transport.write(b"a ghost", bob.place)
        self.network.advance(1)
        self.assertEqual((alice.data, alice.events), ([b"farewell"], ["start"]))
        self.assertEqual((bob.data, bob.events, ending.events), ([], ["start"], ["start"]))

    def test_a_host_that_comes_back(self) -> None:
        """What is underway finds whoever has the address by then."""
        alice, bob = self.pair()
        alice.transport.connect(*bob.place)
        self.bob.vanish()
        alice.transport.write(b"x")
        reborn = self.network.host(BOB)
        self.network.advance(1)
        self.assertEqual(alice.events, ["start", "refused"])
        newcomer = Datagrams.on(reborn)
        alice.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual((bob.data, newcomer.data), ([], [b"x"]))


class TraceTests(DatagramTestCase):
    def test_the_tap(self) -> None:
        """It sees what is sent, lost or not, once."""
        packets: list[Packet] = []
        self.network.tap = packets.append
        alice = Datagrams.on(self.alice)
        alice.transport.write(b"nobody there", (BOB, 9))
        self.network.advance(1)
        here, there = (ALICE, PORT), (BOB, 9)
        self.assertEqual(packets, [Packet(0.0, here, there, "udp", b"nobody there"), Packet(0.01, there, here, "icmp")])
        packets.clear()
        passing = Datagrams.on(self.alice, 1)
        passing.transport.write(b"nobody there", there)
        passing.transport.stopListening()
        self.network.advance(1)
        self.assertEqual([packet.kind for packet in packets], ["udp", "icmp"], "nobody refuses a refusal")
        packets.clear()
        EchoDatagrams.on(self.bob, 9)
        for loss in (1, 0):
            self.network.link(ALICE, BOB, loss=loss, duplication=1)
            alice.transport.write(b"x", there)
        self.network.advance(0.015)
        self.assertEqual([packet.source for packet in packets], [here, here, there, there])

    def trace(self, seed: int) -> list[object]:
        """Everybody talks with everybody over bad links, through all kinds of NAT; some leave, a link is cut."""
        network = MemoryNetwork(seed=seed, loss=0.1, jitter=0.02, duplication=0.05)
        events: list[object] = []
        network.tap = events.append

        class Chatter(Datagrams):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                events.append((network.now, self.transport.getHost(), datagram, addr))
                if len(datagram) < 12:
                    self.transport.write(datagram + network.rng.randbytes(1), addr)

        outside = [Chatter.on(network.host(f"10.0.1.{number}")) for number in range(10)]
        for number, kind in enumerate(NatKind):
            home = [network.host(f"192.168.{number}.{last}") for last in (1, 2)]
            network.nat(home, f"10.0.2.{number}", kind, hairpin=True)
            for one in [Chatter.on(host) for host in home] + outside:
                for other in outside:
                    one.transport.write(b"hello", other.place)
        network.advance(0.05)
        network.hosts["10.0.1.1"].vanish()
        network.cut("10.0.1.2", "10.0.1.3")
        network.advance(1)
        return events

    def test_the_same_seed_gives_the_same_trace(self) -> None:
        first = self.trace(7)
        self.assertGreater(len(first), 3000)
        self.assertEqual(first, self.trace(7))
        self.assertNotEqual(first, self.trace(8))


class ProgramTests(DatagramTestCase):
    def test_drives_twisteds_own_name_service(self) -> None:
        """Its client asks over a bad line, from a new port every time."""
        self.build(loss=0.3, jitter=0.05, duplication=0.2)

        class Names:
            def query(self, query: dns.Query, timeout: object = None) -> Any:
                answer = dns.RRHeader(query.name.name, payload=dns.Record_A("192.0.2.7"))
                return defer.succeed(([answer], [], []))

        factory = DNSServerFactory(clients=[Names()])
        factory.noisy = False
        server = dns.DNSDatagramProtocol(factory, reactor=self.bob)
        self.bob.listenUDP(53, server, maxPacketSize=512)

        class Strays:
            count = 0

            def messageReceived(self, message: dns.Message, protocol: Any, address: Any) -> None:
                self.count += 1

        strays = Strays()
        client = dns.DNSDatagramProtocol(strays, reactor=self.alice)
        answers: list[dns.Message] = []
        for _ in range(20):
            asked = client.query((BOB, 53), [dns.Query(b"boot.example")], timeout=1)
            asked.addCallbacks(answers.append, lambda failure: failure.trap(dns.DNSQueryTimeoutError))
            self.network.advance(2)
        self.assertTrue(5 < len(answers) < 20)
        self.assertEqual({answer.answers[0].payload for answer in answers}, {dns.Record_A("192.0.2.7", ttl=0)})
        self.assertGreater(strays.count, 0, "answers that came twice")


class ScaleTests(SynchronousTestCase):
    def test_two_thousand_hosts(self) -> None:
        """Everybody sends to ten others and is answered."""
        network = MemoryNetwork(jitter=0.05)
        hosts = [network.host(f"10.{number // 250}.{number % 250}.1") for number in range(2000)]
        protocols = [(Datagrams if number % 2 else EchoDatagrams).on(host) for number, host in enumerate(hosts)]
        for number in range(1, 2000, 2):
            for step in range(1, 20, 2):
                protocols[number].transport.write(b"x", protocols[(number + step) % 2000].place)
        network.advance(1)
        self.assertEqual({len(protocol.data) for protocol in protocols}, {10})
        self.assertFalse(network.clock.step(), "nothing is left behind")
