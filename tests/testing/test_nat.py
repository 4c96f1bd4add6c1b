"""NATs on the virtual network: who gets in after what, how long, and where a box is in the way."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.testing import nat as module
from ethp2p.testing.nat import LIFETIME, NatKind
from ethp2p.testing.network import MemoryNetwork
from ethp2p.testing.packets import Packet
from tests.testing.support import Datagrams, EchoDatagrams

FULL, RESTRICTED, PORT_RESTRICTED, SYMMETRIC = NatKind
INSIDE, OUTSIDE, A, B = "192.168.0.2", "198.51.100.7", "203.0.113.1", "203.0.113.2"
PORT = 30303


class NatTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build(PORT_RESTRICTED)

    def build(self, kind: NatKind, **settings: Any) -> None:
        """A host behind a NAT, and two outside, one of them with two ports."""
        self.network = MemoryNetwork(seed=1)
        self.host = self.network.host(INSIDE)
        self.nat = self.network.nat([self.host], OUTSIDE, kind, **settings)
        a, b = self.network.host(A), self.network.host(B)
        self.inside = Datagrams.on(self.host)
        self.outside = {"a1": Datagrams.on(a, 1), "a2": Datagrams.on(a, 2), "b1": Datagrams.on(b, 1)}

    def send(self, *names: str) -> tuple[str, int]:
        """Send out.  @return: where the last of them sees it come from."""
        for name in names:
            self.inside.transport.write(b"out", self.outside[name].place)
            self.network.advance(0.02)
        seen: tuple[str, int] = self.outside[names[-1]].received[-1][1]
        return seen

    def heard(self, place: tuple[str, int]) -> str:
        """Which of those outside get in at a place."""
        self.inside.received.clear()
        for name, protocol in self.outside.items():
            protocol.transport.write(name.encode(), place)
        self.network.advance(0.02)
        for data, addr in self.inside.received:
            self.assertEqual(addr, self.outside[data.decode()].place)
        return " ".join(data.decode() for data in self.inside.data)


class KindTests(NatTestCase):
    def test_who_gets_in_after_what(self) -> None:
        for kind, sent, expected in (
            (FULL, "a1", "a1 a2 b1"),
            (FULL, "a1 b1", "a1 a2 b1"),
            (RESTRICTED, "a1", "a1 a2"),
            (RESTRICTED, "b1", "b1"),
            (RESTRICTED, "a2 b1", "a1 a2 b1"),
            (PORT_RESTRICTED, "a1", "a1"),
            (PORT_RESTRICTED, "a2", "a2"),
            (PORT_RESTRICTED, "a2 b1", "a2 b1"),
            (SYMMETRIC, "a1", "a1"),
            (SYMMETRIC, "a1 a2", "a2"),
            (SYMMETRIC, "a1 b1", "b1"),
        ):
            self.build(kind)
            self.assertEqual(self.heard((OUTSIDE, PORT)), "", f"{kind}, nothing sent")
            self.assertEqual(self.heard(self.send(*sent.split())), expected, f"{kind} after {sent}")

    def test_who_sees_what(self) -> None:
        """A cone is seen at one place by all, and at the port it has inside where that is free."""
        for kind in NatKind:
            self.build(kind)
            seen = {self.send(name) for name in ("a1", "a2", "b1", "a1")}
            self.assertEqual({host for host, _ in seen}, {OUTSIDE})
            if kind is SYMMETRIC:
                self.assertEqual(len(seen), 3)
            else:
                self.assertEqual(seen, {(OUTSIDE, PORT)})
            self.assertEqual(self.nat.mapped(self.network.now), len(seen))

    def test_two_hosts_with_one_port(self) -> None:
        for kind in NatKind:
            network = MemoryNetwork(seed=1)
            network.nat([INSIDE, "192.168.0.3"], OUTSIDE, kind)
            one, other = Datagrams.on(network.host(INSIDE)), Datagrams.on(network.host("192.168.0.3"))
            echo = EchoDatagrams.on(network.host(A))
            for protocol in (one, other):
                protocol.transport.write(protocol.place[0].encode(), echo.place)
            network.advance(1)
            first, second = [addr for _, addr in echo.received]
            self.assertEqual((first[0], second[0]), (OUTSIDE, OUTSIDE))
            self.assertNotEqual(first[1], second[1])
            self.assertEqual((one.data, other.data), ([INSIDE.encode()], [b"192.168.0.3"]))

    def test_punching_holes(self) -> None:
        """
        Two hosts learn from a third where they are seen, and both send to that place, twice.  It fails exactly
        when one NAT is symmetric and the other one looks at ports.
        """
        for kinds in combinations_with_replacement(NatKind, 2):
            network = MemoryNetwork(seed=1)
            third = Datagrams.on(network.host("203.0.113.1"))
            both = []
            for number, kind in enumerate(kinds):
                network.nat([f"192.168.{number}.2"], f"198.51.100.{number}", kind)
                both.append(Datagrams.on(network.host(f"192.168.{number}.2")))
                both[-1].transport.write(b"where am I?", third.place)
            network.advance(1)
            seen = [addr for _, addr in third.received]
            for _ in range(2):
                for protocol, there in zip(both, reversed(seen)):
                    protocol.transport.write(b"x", there)
                    network.advance(1)
            for protocol in both:
                for data, addr in protocol.received[:]:
                    protocol.transport.write(data, addr)
            network.advance(1)
            fails = SYMMETRIC in kinds and not {FULL, RESTRICTED} & {*kinds}
            self.assertEqual([bool(protocol.data) for protocol in both], [not fails] * 2, kinds)


class LifetimeTests(NatTestCase):
    def test_mappings_expire(self) -> None:
        """A long simulation keeps nothing of hosts that fell silent."""
        for kind in NatKind:
            self.build(kind)
            place = self.send("a1", "b1")
            self.network.advance(LIFETIME - 1)
            self.assertIn("b1", self.heard(place))
            self.network.advance(1)
            self.assertEqual((self.heard(place), self.nat.mapped(self.network.now)), ("", 0))
            self.assertEqual(self.heard(self.send("a1"))[:2], "a1")

    def test_the_lifetime_is_the_callers_choice(self) -> None:
        self.build(FULL, lifetime=5)
        place = self.send("a1")
        self.network.advance(4)
        self.assertEqual(self.heard(place), "a1 a2 b1")
        self.network.advance(1)
        self.assertEqual(self.heard(place), "")

    def test_what_is_sent_out_keeps_it(self) -> None:
        for kind in NatKind:
            self.build(kind)
            places = set()
            for _ in range(5):
                places.add(self.send("a1"))
                self.network.advance(LIFETIME - 1)
            self.assertEqual(len(places), 1)
            self.assertIn("a1", self.heard(places.pop()))

    def test_what_comes_in_does_not(self) -> None:
        """Else a stranger could hold it open."""
        for kind in NatKind:
            self.build(kind)
            place = self.send("a1")
            for seconds in (LIFETIME / 2, LIFETIME / 2 - 1):
                self.network.advance(seconds)
                self.assertIn("a1", self.heard(place))
            self.network.advance(1)
            self.assertEqual(self.heard(place), "")

    def test_openings_expire_one_by_one(self) -> None:
        self.send("a1")
        self.network.advance(LIFETIME - 1)
        place = self.send("b1")
        self.assertEqual(self.heard(place), "a1 b1")
        self.network.advance(1)
        self.assertEqual(self.heard(place), "b1")

    def test_a_mapping_that_expired_may_be_anothers(self) -> None:
        self.build(FULL)
        place = self.send("a1")
        self.network.advance(LIFETIME)
        self.assertEqual(self.nat.outbound(("192.168.0.9", PORT), (A, 1), self.network.now), place)
        self.assertEqual(self.nat.inbound((A, 1), PORT, self.network.now), ("192.168.0.9", PORT))

    def test_no_more_than_there_is_room_for(self) -> None:
        """The one longest unused goes first."""
        self.patch(module, "MAX_MAPPINGS", 10)
        for kind in NatKind:
            self.build(kind)
            places = [self.nat.outbound((INSIDE, port), (A, 1), 0.0) for port in range(2000, 2012)]
            self.assertEqual(self.nat.mapped(0.0), 10)
            inside = [self.nat.inbound((A, 1), port, 0.0) for _, port in places]
            self.assertEqual(inside, [None, None] + [(INSIDE, port) for port in range(2002, 2012)])

    def test_no_more_openings_than_there_is_room_for(self) -> None:
        self.patch(module, "MAX_REMOTES", 2)
        for kind in (RESTRICTED, PORT_RESTRICTED):
            self.build(kind)
            for last in (1, 2, 3):
                self.nat.outbound((INSIDE, PORT), (f"203.0.113.{last}", 1), 0.0)
            let_in = [self.nat.inbound((f"203.0.113.{last}", 1), PORT, 0.0) is not None for last in (1, 2, 3)]
            self.assertEqual(let_in, [False, True, True])


class WayTests(NatTestCase):
    def test_nobody_knows_the_inside(self) -> None:
        """An address inside is nowhere outside, whatever was sent."""
        self.send("a1")
        for place in ((INSIDE, PORT), (OUTSIDE, 9)):
            self.assertEqual(self.heard(place), "")

    def test_inside_among_themselves(self) -> None:
        network = MemoryNetwork(seed=1, latency=1)
        network.nat([INSIDE, "192.168.0.3"], OUTSIDE, SYMMETRIC)
        network.link(INSIDE, "192.168.0.3", latency=0.001)
        one, other = Datagrams.on(network.host(INSIDE)), EchoDatagrams.on(network.host("192.168.0.3"))
        one.transport.write(b"x", other.place)
        network.advance(0.01)
        self.assertEqual((other.received, one.data), ([(b"x", (INSIDE, PORT))], [b"x"]))

    def test_hairpin(self) -> None:
        """Both see each other at the outside address, by the rules for strangers; most boxes do not do it."""
        for kind in NatKind:
            for hairpin in (False, True):
                network = MemoryNetwork(seed=1)
                nat = network.nat([INSIDE, "192.168.0.3"], OUTSIDE, kind, hairpin=hairpin)
                one, other = Datagrams.on(network.host(INSIDE), 1), Datagrams.on(network.host("192.168.0.3"), 2)
                for _ in range(2):
                    one.transport.write(b"x", (OUTSIDE, 2))
                    other.transport.write(b"y", (OUTSIDE, 1))
                network.advance(1)
                reaches = hairpin and kind is not SYMMETRIC
                self.assertEqual(bool(one.data), reaches, nat)
                self.assertEqual({addr for _, addr in other.received}, {(OUTSIDE, 1)} if reaches else set(), nat)

    def test_a_nat_behind_a_nat(self) -> None:
        """The stricter one counts; homes on one carrier's network see each other's outside, not their inside."""
        network = MemoryNetwork(seed=1)
        homes = [network.nat([f"192.168.{home}.2"], f"100.64.0.{home}", FULL) for home in (1, 2)]
        network.nat([home.external for home in homes], OUTSIDE, PORT_RESTRICTED)
        one, other = [Datagrams.on(network.host(f"192.168.{home}.2")) for home in (1, 2)]
        server, stranger = EchoDatagrams.on(network.host(A)), Datagrams.on(network.host(B))
        for protocol in (one, other):
            protocol.transport.write(b"x", server.place)
        network.advance(1)
        seen = [addr for _, addr in server.received]
        self.assertEqual((seen[0], seen[1][0]), ((OUTSIDE, PORT), OUTSIDE))
        self.assertNotEqual(seen[0][1], seen[1][1])
        self.assertEqual([one.data, other.data], [[b"x"], [b"x"]])
        for place in (seen[0], ("100.64.0.1", PORT), one.place):
            stranger.transport.write(b"psst", place)
        other.transport.write(b"neighbour", ("100.64.0.1", PORT))
        other.transport.write(b"intruder", one.place)
        network.advance(1)
        self.assertEqual(one.received[1:], [(b"neighbour", ("100.64.0.2", PORT))])

    def test_ipv6_is_not_behind_it(self) -> None:
        network = MemoryNetwork(seed=1)
        dual = network.host(INSIDE, "fd00::2")
        network.nat([dual], OUTSIDE, SYMMETRIC)
        six, other = Datagrams.on(dual, interface="::"), Datagrams.on(network.host("fd00::3"), interface="::")
        other.transport.write(b"x", six.place)
        network.advance(1)
        self.assertEqual(six.received, [(b"x", other.place)])

    def test_a_refusal_goes_through(self) -> None:
        """Both ways, and it opens nothing."""
        self.build(FULL)
        self.inside.transport.connect(A, 9)
        self.inside.transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(self.inside.events, ["start", "refused"])
        self.build(PORT_RESTRICTED)
        place = self.send("a1")
        self.outside["a1"].transport.connect(*place)
        self.inside.transport.stopListening()
        self.network.advance(0)
        self.network.advance(LIFETIME - 1)
        self.outside["a1"].transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(self.outside["a1"].events, ["start", "refused"])
        self.outside["a1"].transport.write(b"x")
        self.network.advance(1)
        self.assertEqual(self.outside["a1"].events, ["start", "refused"])
        self.assertEqual(self.nat.mapped(self.network.now), 0)

    def test_the_tap_is_outside(self) -> None:
        packets: list[Packet] = []
        self.network.tap = packets.append
        self.send("a1")
        self.heard((OUTSIDE, PORT))
        self.assertEqual({packet.source[0] for packet in packets}, {OUTSIDE, A, B})

    def test_an_unplugged_host_inside(self) -> None:
        place = self.send("a1")
        self.host.unplug()
        self.inside.transport.write(b"lost", (B, 1))
        self.assertEqual((self.heard(place), self.outside["b1"].data), ("", []))
        self.host.plug()
        self.assertEqual(self.heard(place), "a1")

    def test_a_host_inside_that_comes_back(self) -> None:
        """The mapping is the box's, not the machine's."""
        place = self.send("a1")
        self.host.vanish()
        self.inside = Datagrams.on(self.network.host(INSIDE))
        self.assertEqual(self.heard(place), "a1")

    def test_the_line_is_the_nats(self) -> None:
        """It can be named by either address, and is cut for all behind it."""
        self.build(FULL)
        place = self.send("a1")
        for name in (INSIDE, OUTSIDE):
            self.network.cut(A, name)
            self.assertEqual(self.heard(place), "b1")
            self.network.heal(name, A)
            self.assertEqual(self.heard(place), "a1 a2 b1")
        self.network.link(INSIDE, B, loss=1)
        self.assertEqual(self.heard(place), "a1 a2")
        self.network.link(INSIDE, B, loss=0, latency=1)
        self.assertEqual(self.heard(place), "a1 a2")
        self.network.advance(1)
        self.assertEqual(self.inside.data[-1], b"b1")

    def test_not_a_nat(self) -> None:
        for inside, external in (
            (["192.168.9.9"], A),
            (["192.168.9.9"], OUTSIDE),
            ([INSIDE], "198.51.100.8"),
            (["192.168.9.9"], "192.168.9.9"),
            ([OUTSIDE], INSIDE),
            (INSIDE, "198.51.100.8"),
            (["192.168.9.9"], "box.example"),
        ):
            self.assertRaises(ValueError, self.network.nat, inside, external, FULL)
        self.assertRaises(ValueError, self.network.host, OUTSIDE)
        self.assertEqual(self.heard(self.send("a1")), "a1")


class TCPTests(NatTestCase):
    def connect(self, source: Any, address: str) -> Any:
        endpoint = TCP4ClientEndpoint(source, address, PORT, timeout=10)
        return self.network.wait_for(endpoint.connect(Factory.forProtocol(Protocol)))

    def test_calls_go_out_and_not_in(self) -> None:
        server = self.network.hosts[A]
        for host in (self.host, server):
            TCP4ServerEndpoint(host, PORT).listen(Factory.forProtocol(Protocol))
        self.connect(self.host, A)
        for address in (INSIDE, OUTSIDE):
            self.assertRaises(error.TimeoutError, self.connect, server, address)

    def test_the_line_is_the_nats(self) -> None:
        TCP4ServerEndpoint(self.network.hosts[A], PORT).listen(Factory.forProtocol(Protocol))
        self.network.cut(OUTSIDE, A)
        self.assertRaises(error.TimeoutError, self.connect, self.host, A)
        self.network.heal(INSIDE, A)
        self.network.link(OUTSIDE, A, latency=1)
        before = self.network.now
        self.connect(self.host, A)
        self.assertAlmostEqual(self.network.now - before, 2)
