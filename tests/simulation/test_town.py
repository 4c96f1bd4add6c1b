"""
Whole nodes: real packets and real cryptography over a bad network.
"""

from __future__ import annotations

from hashlib import sha256

from ethp2p.testing.nat import NatKind
from ethp2p.testing.packets import Packet
from tests.discovery.support import address
from tests.simulation.case import SimulationCase
from tests.simulation.town import BAD, Town

#: Lookups tried, and how many have to be right.
TRIES, RIGHT = 100, 99


class TownTests(SimulationCase):
    def test_v4(self) -> None:
        """Forty nodes that know one of them, and one datagram in five is lost: lookups find the true nearest."""
        self.check("v4")

    def test_v5(self) -> None:
        """The same, with handshakes, any packet of which may be lost."""
        self.check("v5")

    def check(self, protocol: str) -> None:
        town = Town(1, protocol)
        town.grow(40, 10)
        town.network.advance(30)
        self.assertGreaterEqual(town.look(TRIES), RIGHT)
        for service in town.services:
            self.assertEqual(service.sockets.unsendable, 0)
        town.stop()
        town.network.advance(1)
        self.assertEqual(town.network.clock.getDelayedCalls(), [])


class TraceTests(SimulationCase):
    def trace(self, seed: int, protocol: str) -> tuple[str, dict[str, int]]:
        """
        Twelve nodes, four of them behind NATs of each kind, for fifteen seconds.

        @return: the digest of all packets with their times, and how many of each kind there were.
        """
        town = Town(seed, protocol)
        digest, kinds = sha256(), {"udp": 0, "icmp": 0}

        def tap(packet: Packet) -> None:
            kinds[packet.kind] += 1
            digest.update(repr((packet.time, packet.source, packet.destination, packet.kind, packet.data)).encode())

        town.network.tap = tap
        for number, kind in enumerate(NatKind):
            inside = address(12 - number)
            town.network.nat([inside], f"77.0.{number}.1", kind)
        town.grow(12, 2)
        town.network.advance(9)
        town.look(5)
        for service in town.services:
            digest.update(repr(sorted(node.url for node in service.nodes(liveOnly=False))).encode())
        self.assertGreater(len(town.services[-1].nodes()), 3)  # from behind a NAT, too
        town.stop()
        return digest.hexdigest(), kinds

    def test_same_seed(self) -> None:
        """A seed gives the same run to the last bit, with loss, reordering, doubles and NATs; another one does not."""
        for protocol in ("v4", "v5"):
            first, kinds = self.trace(1, protocol)
            self.assertGreater(kinds["udp"], 1000)
            self.assertEqual((first, kinds), self.trace(1, protocol))
            self.assertNotEqual(first, self.trace(2, protocol)[0])

    def test_bad(self) -> None:
        """The network is as bad as it is said to be."""
        town = Town(3, "v4")
        sent, came = 0, 0
        times: list[float] = []

        def tap(packet: Packet) -> None:
            nonlocal sent
            sent += 1

        receive = type(town.network)._arrive

        def arrive(*args: object) -> None:
            nonlocal came
            came += 1
            times.append(town.network.now)
            receive(*args)  # type: ignore[arg-type]

        self.patch(type(town.network), "_arrive", arrive)
        town.network.tap = tap
        town.grow(10, 5)
        town.network.advance(10)
        self.assertGreater(sent, 1500)
        expected = (1 - BAD["loss"]) * (1 + BAD["duplication"])
        self.assertLess(abs(came / sent - expected), 0.04)
