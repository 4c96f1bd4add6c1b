"""
A thousand drivers that find each other, losing packets; and five hundred identities that want to be all that they see.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

from ethp2p.discv5.limits import REPEAT_AFTER, RESPONSE_TIMEOUT
from ethp2p.enode import Node
from ethp2p.kademlia import driver
from ethp2p.kademlia.driver import LookupDone
from ethp2p.kademlia.engine import ByDistance, ByTarget
from ethp2p.kademlia.lookup import MAX_SUBNET, RESULT_SIZE
from ethp2p.kademlia.table import MAX_SUBNET_IN_BUCKET, MAX_SUBNET_IN_TABLE
from tests.kademlia import toy
from tests.kademlia.nodes import random_host, secret, signed
from tests.kademlia.toy import Met, World, WorldEngine
from tests.simulation.case import SimulationCase
from tests.simulation.truth import is_right, nearest

#: How likely a packet is lost.
LOSS = 0.2
#: Lookups tried at one time, and how many have to be right, on average when there are several times.
TRIES, RIGHT = 100, 99


class RepeatingEngine(WorldEngine):
    """
    It repeats a request that is not answered, once, when L{ethp2p.discv5} does.
    """

    def _request(self, kind: str, node: Node, what: Any) -> int:
        token = super()._request(kind, node, what)
        self.world.later(REPEAT_AFTER, lambda: self._repeat(kind, token, node, what))
        return token

    def _repeat(self, kind: str, token: int, node: Node, what: Any) -> None:
        world = self.world
        if token in self._open and world.rng.random() >= world.loss:
            world.later(world.latency, lambda: self._deliver(kind, token, node, what))


def grow(world: World, by: Any, count: int, rate: float) -> list[Node]:
    """So many nodes come, so many a second, each knowing the first."""
    nodes: list[Node] = []
    for number in range(1, count + 1):
        node = Node.from_record(signed(secret(number), host=random_host(world.rng)))
        nodes.append(node)
        world.add(node, by, bootnodes=nodes[:1])
        world.drivers[node.node_id].start(world.now, world.now)
        world.settle(node.node_id)
        world.advance(1 / rate)
    return nodes


def look(world: World, nodes: list[Node], rng: Random, count: int) -> list[tuple[Node, bytes, tuple[Node, ...]]]:
    """
    Nodes drawn by chance look for somebody.

    @return: who looked, for what id, and what was found.
    """
    world.events = {node_id: [] for node_id in world.events}
    asking = rng.sample(nodes, count)
    for node in asking:
        world.drivers[node.node_id].random_lookup(world.now, world.now)
        world.settle(node.node_id)
    world.advance(20.0)
    found = []
    for node in asking:
        [done] = [event for event in world.events[node.node_id] if isinstance(event, LookupDone)]
        found.append((node, world.drivers[node.node_id]._dialect.id_of(done.target), done.nodes))
    return found


class ThousandTests(SimulationCase):
    def check(self, world: World, by: Any, count: int, seconds: float, times: int) -> None:
        # Three lookups of four in a refresh are for anybody.  They only make it easier, and cost most of the time.
        self.patch(driver, "RANDOM_LOOKUPS", 0)
        nodes = grow(world, by, count, 50)
        world.advance(seconds)
        ids = [node.node_id for node in nodes]
        right = [
            is_right(found, goal, ids, who.node_id)
            for time in range(times)
            for who, goal, found in look(world, nodes, Random(1 + time), TRIES)
        ]
        self.assertEqual(len(right), times * TRIES)
        self.assertGreaterEqual(sum(right), times * RIGHT)

    def test_by_target(self) -> None:
        """As discv4 does it, although nothing is repeated: a lookup finds the true nearest 16."""
        self.check(World(1, loss=LOSS), ByTarget, 1000, 45, 1)

    def test_by_distance(self) -> None:
        """
        As discv5 does it.  In some larger networks two or three in a hundred miss the furthest of the sixteen, whether
        packets are lost or not: those who know it have full buckets nearer to the target, and their answers no room.
        """
        self.patch(toy, "WorldEngine", RepeatingEngine)
        self.check(World(1, loss=LOSS, timeout=RESPONSE_TIMEOUT), ByDistance, 200, 60, 4)


#: The attacker's, and how many there are who are honest.
SUBNETS, IDENTITIES, HONEST = 4, 500, 200


def given(nodes: list[Node], rng: Random, *args: object, **more: object) -> list[Node]:
    """Whatever is asked for, some of these."""
    return rng.sample(nodes, 16)


class AttackerTests(SimulationCase):
    def test_share(self) -> None:
        """
        Five hundred identities in four subnets call everybody all the time, and answer each question with one another:
        in no table do they get more than four subnets may have, and honest nodes still find the honest.
        """
        self.patch(driver, "RANDOM_LOOKUPS", 0)
        for by in (ByTarget, ByDistance):
            world = World(2, loss=0.05)
            his = [
                Node.from_record(signed(secret(10_000 + index), host=f"66.6.{index % SUBNETS}.{index // SUBNETS + 1}"))
                for index in range(IDENTITIES)
            ]
            ids = {node.node_id for node in his}
            rng = Random(3)
            honest = grow(world, by, 30, 50)
            for node in his:
                liar = world.add(node, by)
                self.patch(liar.table, "closest", partial(given, his, rng))
                self.patch(liar.table, "at_distances", partial(given, his, rng))
            for number in range(31, HONEST + 1):  # most come when he is there already
                node = Node.from_record(signed(secret(number), host=random_host(world.rng)))
                honest.append(node)
                world.add(node, by, bootnodes=honest[:1])
                world.drivers[node.node_id].start(world.now, world.now)
                world.settle(node.node_id)
                self.call(world, rng.sample(honest, 3), his, rng)
                world.advance(0.05)
            for _ in range(10):
                self.call(world, honest, his, rng)
                world.advance(1.0)
            most = max(self.share(world, node, ids) for node in honest)
            self.assertLessEqual(most, SUBNETS * MAX_SUBNET_IN_TABLE)
            self.assertGreater(most, SUBNETS * MAX_SUBNET_IN_TABLE / 2)  # he does what he can
            everybody = [node.node_id for node in honest]
            room = RESULT_SIZE - SUBNETS * MAX_SUBNET  # his nodes are real ones: he gets his share of results
            for who, goal, found in look(world, honest, rng, 50):
                self.assertLessEqual(sum(node.node_id in ids for node in found), SUBNETS * MAX_SUBNET)
                missed = set(nearest(goal, everybody, who.node_id)[:room]) - {node.node_id for node in found}
                self.assertLessEqual(len(missed), 1, by)

    def call(self, world: World, honest: list[Node], his: list[Node], rng: Random) -> None:
        """Some of his identities call each of these."""
        for node in honest:
            engine = world.engines[node.node_id]
            for liar in rng.sample(his, 4):
                engine._events.append(Met(liar, (liar.host, liar.udp)))
            world.settle(node.node_id)

    def share(self, world: World, node: Node, ids: set[bytes]) -> int:
        """How many of his are in a node's table; in no bucket more than may be."""
        table = world.drivers[node.node_id].table
        for bucket in table.buckets:
            crowd = [entry for entry in [*bucket.entries, *bucket.replacements] if entry.node.node_id in ids]
            self.assertLessEqual(len(crowd), SUBNETS * MAX_SUBNET_IN_BUCKET)
        return sum(entry.node.node_id in ids for entry in [*table, *table._waiting.values()])
