"""
Whole nodes with discovery on a virtual network, each knowing the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ethp2p.discovery.service import DiscoveryService
from ethp2p.discovery.speaker import Speaker
from ethp2p.testing.network import MemoryNetwork
from tests.discovery.support import network, serve
from tests.simulation.truth import is_right

#: A bad day: one datagram in five is lost, some come twice, and all in any order.
BAD: dict[str, Any] = {"loss": 0.2, "latency": 0.03, "jitter": 0.02, "duplication": 0.01}
#: Seconds that a lookup may take.
PATIENCE = 300.0


class Town:
    """
    @ivar network: the L{MemoryNetwork}.
    @ivar services: the nodes, the one that all know first.
    """

    def __init__(self, seed: int, protocol: str, **settings: Any) -> None:
        """
        @param protocol: C{v4} or C{v5}.
        @param settings: of the network, in place of L{BAD}.
        """
        self.network: MemoryNetwork = network(seed, **(settings or BAD))
        self.protocol = protocol
        self.services: list[DiscoveryService] = []
        self.lookups = 0

    def add(self, **settings: Any) -> DiscoveryService:
        """One more node, started."""
        boot = [self.services[0].local.node] if self.services else []
        spoken: dict[str, Any] = {"v4": self.protocol == "v4", "v5": self.protocol == "v5"}
        service = serve(self.network, len(self.services) + 1, *boot, **spoken, **settings)
        self.services.append(service)
        return service

    def grow(self, count: int, rate: float, grown: Callable[[int], object] = lambda count: None) -> None:
        """
        C{count} more nodes, one after the other.

        @param rate: so many a second.
        @param grown: called after each with how many there are.
        """
        for _ in range(count):
            self.add()
            self.network.advance(1 / rate)
            grown(len(self.services))

    def speaker(self, service: DiscoveryService) -> Speaker:
        """What a node speaks."""
        [speaker] = service.speakers
        return speaker

    def look(self, count: int) -> int:
        """
        Nodes drawn by chance look for targets drawn by chance, all at once.

        @return: of how many the result is right: the nearest there are, all of them, in their order.
        """
        rng, looking = self.network.rng, []
        ids = [service.local.node_id for service in self.services]
        for _ in range(count):
            service = rng.choice(self.services)
            speaker = self.speaker(service)
            target = rng.randbytes(64 if self.protocol == "v4" else 32)
            goal = speaker.driver._dialect.id_of(target)
            looking.append((service.local.node_id, goal, speaker.lookup(target)))
        self.lookups += count
        return sum(is_right(self.network.wait_for(found, PATIENCE), goal, ids, who) for who, goal, found in looking)

    def stop(self) -> None:
        """End."""
        for service in self.services:
            self.network.wait_for(service.stopService())
