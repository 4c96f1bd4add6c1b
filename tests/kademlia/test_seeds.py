"""
With whom a lookup begins.
"""

from __future__ import annotations

from random import Random

from ethp2p.enode import Node
from ethp2p.kademlia.driver import Driver
from ethp2p.kademlia.engine import ByTarget
from ethp2p.kademlia.lookup import MAX_SUBNET, spread
from tests.kademlia.case import Case
from tests.kademlia.nodes import LOCAL, at, id_at, node, public_key
from tests.kademlia.toy import VOCABULARY, HandEngine


class SeedTests(Case):
    def test_crowded(self) -> None:
        """One who has all the places near a target is not all whom a lookup asks, when we know others."""
        his = [
            at(distance, number, f"66.6.{number % 4}.{number + 1}") for distance in (250, 251) for number in range(8)
        ]
        honest = [at(256, number, f"77.{number}.0.1") for number in range(3)]
        engine = HandEngine()
        driver = Driver(ByTarget(engine, VOCABULARY), public_key(LOCAL), rng=Random(1))
        for each in [*his, *honest]:
            driver.table.add_found(each, 0.0, live=True)
        self.assertEqual(len(driver.table), len(his) + len(honest))
        self.patch(ByTarget, "id_of", lambda dialect, target: id_at(250))
        driver.lookup(bytes(64), 0.0, 0.0)
        asked: list[Node] = []
        while engine.whom("find"):
            asked.append(engine.whom("find")[0])
            engine.answer("find", tuple(his))
            driver.receive_events(0.0, 0.0)
        self.assertLessEqual(set(honest), set(asked))

    def test_spread(self) -> None:
        """The nearest of each subnet, as many as are wanted; nodes of the local network count all."""
        near = [node(bytes([number]) * 32, f"66.6.6.{number}") for number in range(1, 6)]
        far = [node(bytes([100 + number]) * 32, f"66.6.{number}.1") for number in range(10, 14)]
        local = [node(bytes([200 + number]) * 32, "10.0.0.1") for number in range(5)]
        self.assertEqual(spread([*near, *far, *local], 16), [*near[:MAX_SUBNET], *far, *local])
        self.assertEqual(spread([*near, *far], 3), [*near[:MAX_SUBNET], far[0]])
        self.assertEqual(spread([*near], 0), [])
