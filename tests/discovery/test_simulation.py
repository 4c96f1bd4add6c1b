"""
Many nodes that know one bootnode, over a bad network.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.service import DiscoveryService
from ethp2p.kademlia.driver import NodeAlive, NodeFound
from ethp2p.testing.network import MemoryNetwork
from tests.discovery.support import network, serve

#: A bad day: one datagram in ten is lost, some come twice, all come in any order.
BAD = {"loss": 0.1, "jitter": 0.02, "duplication": 0.02, "latency": 0.03}
BOTH = {"v4", "v5"}


class Town:
    """
    Nodes with discovery; each begins with the first one.

    @ivar found: for each of them, the ids it came across.
    """

    def __init__(self, seed: int, speaking: list[set[str]], **settings: Any) -> None:
        self.network: MemoryNetwork = network(seed, **settings)
        self.services: list[DiscoveryService] = []
        self.found: list[set[bytes]] = []
        self.speaking = speaking
        for number, protocols in enumerate(speaking, 1):
            boot = [self.services[0].local.node] if self.services else []
            found: set[bytes] = set()
            self.found.append(found)
            self.services.append(
                serve(
                    self.network,
                    number,
                    *boot,
                    v4="v4" in protocols,
                    v5="v5" in protocols,
                    observer=lambda protocol, event, found=found: self.tell(event, found),
                )
            )

    def tell(self, event: object, found: set[bytes]) -> None:
        if isinstance(event, (NodeFound, NodeAlive)):
            found.add(event.node.node_id)

    def complete(self) -> bool:
        """Whether everybody has come across everybody who speaks as he does."""
        return all(self.others(index) <= found for index, found in enumerate(self.found))

    def others(self, index: int) -> set[bytes]:
        return {
            service.local.node_id
            for other, service in enumerate(self.services)
            if other != index and self.speaking[other] & self.speaking[index]
        }

    def askAll(self) -> None:
        """Everybody wants nodes, and never has enough."""
        for service in self.services:
            self.ask(service)

    def ask(self, service: DiscoveryService) -> None:
        service.source.nextNode().addCallbacks(lambda node: self.ask(service), lambda failure: None)

    def stop(self) -> None:
        for service in self.services:
            self.network.wait_for(service.stopService())


class SimulationTests(SynchronousTestCase):
    def check(self, speaking: list[set[str]], limit: float) -> Town:
        """Everybody finds everybody, and keeps who is there."""
        town = Town(1, speaking, **BAD)
        town.askAll()
        town.network.run_until(town.complete, limit)
        for index, service in enumerate(town.services):
            live = {node.node_id for node in service.nodes()}
            self.assertLessEqual(live, town.others(index) | town.others(0))
            self.assertEqual(service.sockets.unsendable, 0)
        town.stop()
        town.network.advance(1)
        self.assertEqual(town.network.clock.getDelayedCalls(), [])
        return town

    def test_v4(self) -> None:
        self.check([{"v4"}] * 12, 60)

    def test_v5(self) -> None:
        self.check([{"v5"}] * 20, 60)

    def test_mixed(self) -> None:
        """Some speak both, some only one; the bootnode both."""
        town = self.check([BOTH] + [{"v4"}, {"v5"}, BOTH] * 4, 90)
        self.assertEqual(len(town.others(1)), 8)
        self.assertEqual(len(town.others(3)), 12)

    def test_again(self) -> None:
        """The same seed gives the same run, to the byte."""

        def run(seed: int) -> str:
            town = Town(seed, [BOTH] * 5, **BAD)
            trace = sha256()
            town.network.tap = lambda packet: trace.update(
                repr((packet.time, packet.source, packet.destination, packet.data)).encode()
            )
            town.askAll()
            town.network.advance(8)
            town.stop()
            return trace.hexdigest()

        first = run(1)
        self.assertEqual(first, run(1))
        self.assertNotEqual(first, run(2))
