"""
Whole networks of drivers on a virtual clock, over engines without packets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Node
from ethp2p.kademlia.distance import number
from ethp2p.kademlia.driver import LookupDone, NodeFound
from ethp2p.kademlia.engine import ByDistance, ByTarget
from ethp2p.kademlia.table import MAX_SUBNET_IN_BUCKET, MAX_SUBNET_IN_TABLE
from tests.kademlia.nodes import on_main, random_host, secret, signed
from tests.kademlia.toy import Met, World


def people(world: World, count: int, first: int = 1, fork: bytes = b"main") -> list[Node]:
    keys = [secret(first + index) for index in range(count)]
    return [Node.from_record(signed(key, host=random_host(world.rng), fork=fork)) for key in keys]


def given(nodes: list[Node], *args: object, **more: object) -> list[Node]:
    """Whatever is asked for, these."""
    return nodes


class WorldTests(SynchronousTestCase):
    def grow(self, by: Any, seed: int, count: int, loss: float = 0.0, **more: Any) -> tuple[World, list[Node]]:
        """A network in which everybody knows one bootnode."""
        world = World(seed, loss=loss)
        nodes = people(world, count)
        for each in nodes:
            world.add(each, by, bootnodes=nodes[:1], **more)
        world.start()
        return world, nodes

    def found_by(self, world: World, each: Node) -> set[bytes]:
        return {event.node.node_id for event in world.events[each.node_id] if isinstance(event, NodeFound)}

    def test_few(self) -> None:
        """Five nodes that know one of them find all the others within seconds, each with its record."""
        for by in (ByTarget, ByDistance):
            world, nodes = self.grow(by, 1, 5)
            for _ in range(10):
                world.advance(1.0)
                for each in nodes:
                    world.drivers[each.node_id].random_lookup(world.now, world.now)
                    world.settle(each.node_id)
            everybody = {each.node_id for each in nodes}
            for each in nodes:
                self.assertEqual(self.found_by(world, each), everybody - {each.node_id}, by)
                self.assertEqual(len(world.drivers[each.node_id].table.nodes(live_only=True)), 4)

    def test_true_nearest(self) -> None:
        """In a network that has found itself, losing packets, lookups find the true nearest."""
        for by in (ByTarget, ByDistance):
            world, nodes = self.grow(by, 2, 25, loss=0.2)
            world.advance(30.0)
            world.events = {node_id: [] for node_id in world.events}
            asked = world.rng.sample(nodes, 12)
            for each in asked:
                world.drivers[each.node_id].random_lookup(world.now, world.now)
                world.settle(each.node_id)
            world.advance(10.0)
            good = 0
            for each in asked:
                driver = world.drivers[each.node_id]
                [done] = [event for event in world.events[each.node_id] if isinstance(event, LookupDone)]
                goal = number(driver._dialect.id_of(done.target))
                others = sorted((other for other in nodes if other is not each), key=lambda o: number(o.node_id) ^ goal)
                good += [o.node_id for o in done.nodes] == [o.node_id for o in others[:16]]
            self.assertGreaterEqual(good, 11, by)

    def test_leavers(self) -> None:
        """Who has left is forgotten by everybody."""
        world, nodes = self.grow(ByTarget, 3, 12)
        world.advance(60.0)
        gone = nodes[6:]
        for each in gone:
            world.leave(each.node_id)
        world.advance(600.0)
        for each in nodes[:6]:
            self.assertEqual(
                {other.node_id for other in world.drivers[each.node_id].table.nodes()},
                {other.node_id for other in nodes[:6]} - {each.node_id},
            )

    def test_two_chains(self) -> None:
        """Two chains share the network and the bootnode; nobody is told of the other chain's nodes."""
        for by in (ByTarget, ByDistance):
            world = World(4)
            ours, theirs = people(world, 6), people(world, 6, 100, b"else")
            for each in ours:
                world.add(each, by, bootnodes=theirs[:1], admit=on_main)
            for each in theirs:
                world.add(each, by, bootnodes=theirs[:1])
            world.start()
            for _ in range(15):
                world.advance(1.0)
                for each in ours:
                    world.drivers[each.node_id].random_lookup(world.now, world.now)
                    world.settle(each.node_id)
            for each in ours:
                found = self.found_by(world, each)
                self.assertEqual(found, {other.node_id for other in ours} - {each.node_id}, by)
                self.assertTrue(all(on_main(other) for other in world.drivers[each.node_id].table.nodes()))

    def test_eclipse(self) -> None:
        """
        An attacker with 500 identities in 4 subnets calls everybody all the time, and answers every question with
        his own: of no table does he get more than his share.
        """
        for by in (ByTarget, ByDistance):
            world, nodes = self.grow(by, 5, 8)
            his = [
                Node.from_record(signed(secret(1000 + index), host=f"66.6.{index % 4}.{index // 4 + 1}"))
                for index in range(500)
            ]
            ids = {each.node_id for each in his}
            for each in his[::10]:
                liar = world.add(each, by)
                self.patch(liar.table, "closest", partial(given, his[:16]))
                self.patch(liar.table, "at_distances", partial(given, his[:16]))
            for _ in range(7):
                for each in nodes:
                    engine = world.engines[each.node_id]
                    for other in world.rng.sample(his, 80):
                        engine._events.append(Met(other, (other.host, other.udp)))
                    world.settle(each.node_id)
                    world.drivers[each.node_id].random_lookup(world.now, world.now)
                    world.settle(each.node_id)
                world.advance(5.0)
            for each in nodes:
                table = world.drivers[each.node_id].table
                held = [entry for entry in table if entry.node.node_id in ids]
                self.assertLessEqual(len(held), 4 * MAX_SUBNET_IN_TABLE)
                for bucket in table.buckets:
                    crowd = [entry for entry in bucket.entries if entry.node.node_id in ids]
                    self.assertLessEqual(len(crowd), 4 * MAX_SUBNET_IN_BUCKET)
                self.assertEqual(len(table) - len(held), len(nodes) - 1)

    def test_same_every_time(self) -> None:
        """A seed gives the same run, event by event."""
        runs = []
        for _ in range(2):
            world, _ = self.grow(ByTarget, 6, 8, loss=0.1)
            world.advance(60.0)
            runs.append((world.requests, world.events))
        self.assertEqual(runs[0], runs[1])
