"""
The driver in rounds: what is particular to discv4, and to discv5.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import attrs

from ethp2p.crypto.keccak import keccak256
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, IP6, UDP, Entry
from ethp2p.kademlia import driver as module
from ethp2p.kademlia.distance import log_distance, nearby_distances
from ethp2p.kademlia.driver import (
    MAX_RECORD_REQUESTS,
    NO_RECORD_LIFETIME,
    QUIET,
    EndpointSeen,
    NodeFound,
    NodeRemoved,
)
from ethp2p.kademlia.engine import ByDistance
from tests.kademlia.case import Case
from tests.kademlia.nodes import LOCAL, at, id_at, node, on_main, secret, signed
from tests.kademlia.toy import VOCABULARY, Asked, HandEngine, Met, PongInfo


def id_of(node: Node) -> bytes:
    return node.node_id


class TargetTests(Case):
    """As discv4 has it."""

    def test_answer(self) -> None:
        """The live ones nearest to the hash of the target; a bonded caller is live at once."""
        self.begin()
        target = b"t" * 64
        for number in range(40):
            self.turn(Met(at(256 - number // 10, number)))
        self.turn(Asked("question", at(1), target))
        [(token, nodes)] = self.engine.answers
        self.assertEqual((token, len(nodes)), ("question", 16))
        self.assertEqual(nodes, self.driver.table.closest(keccak256(target)))

    def test_not_live(self) -> None:
        self.begin([at(256)])
        self.turn(Asked("question", at(1), b"t" * 64))
        self.assertEqual(self.engine.answers, [("question", [])])

    def test_scope(self) -> None:
        self.begin()
        self.turn(Met(at(256, 1, "127.0.0.1")), Met(at(256, 2, "10.0.0.1")), Met(at(256, 3, "8.8.8.8")))
        for host, expected in (("127.0.0.1", 3), ("10.9.9.9", 2), ("9.9.9.9", 1)):
            self.engine.answers.clear()
            self.turn(Asked("question", at(255, host=host), b"t" * 64))
            self.assertEqual(len(self.engine.answers[0][1]), expected, host)

    def test_endpoint_from_ping(self) -> None:
        self.begin()
        self.turn(Met(at(256), info=PongInfo(("1.2.3.4", 5))))
        self.assertEqual(self.of(EndpointSeen), [EndpointSeen(at(256), ("1.2.3.4", 5))])


class RecordTests(Case):
    """Nodes that are told of without a record are asked for it, so that their chain is known."""

    key = secret(7)

    def bare(self, number: int = 7, host: str = "10.0.0.1") -> Node:
        return Node(secret(number).public_key, host, 30303, 30303)

    def begin_with(self, *found: Node, **more: Any) -> None:
        """A lookup finds these."""
        self.begin([at(256)], **more)
        self.engine.answer("record", signed(secret(1)))  # the bootnode's
        self.engine.answer("find", found)
        self.turn()
        self.told.clear()

    def test_found(self) -> None:
        """A node is told of when its record is there."""
        self.begin_with(self.bare())
        self.assertEqual(self.engine.whom("record"), [self.bare()])
        self.assertEqual(self.of(NodeFound), [])
        record = signed(self.key, port=30304)
        self.engine.answer("record", record)
        self.turn()
        expected = attrs.evolve(self.bare(), record=record, tcp=30304)
        self.assertEqual(self.of(NodeFound), [NodeFound(expected)])
        self.assertIn(expected, self.driver.table.nodes(live_only=True))

    def test_endpoint_is_proven(self) -> None:
        """It stays where it has answered, whatever its record says."""
        self.begin_with(self.bare())
        record = signed(self.key, host="9.9.9.9", port=1)
        self.engine.answer("record", record)
        self.turn()
        self.assertEqual(self.of(NodeFound), [NodeFound(attrs.evolve(self.bare(), record=record))])

    def test_other_chain(self) -> None:
        """A node of another chain loses its place, and is asked no more when it is named again without a record."""
        self.begin_with(self.bare(), admit=on_main)
        self.assertIn(self.bare(), self.driver.table.nodes())
        self.engine.answer("record", signed(self.key, fork=b"else"))
        self.turn()
        self.assertEqual([event.node for event in self.of(NodeRemoved)], [self.bare()])
        self.finish([self.bare()])
        for _ in range(3):
            self.driver.random_lookup(self.now, 0.0)
            self.finish([self.bare()])
        self.turn(Met(self.bare()))
        self.assertEqual(self.engine.whom("record"), [])
        self.assertIsNone(self.driver.table.get(self.bare().node_id))
        self.assertEqual([event.node for event in self.of(NodeFound) if event.node.record is None], [])

    def test_remembered(self) -> None:
        """The next lookup knows its record."""
        self.begin_with(self.bare())
        record = signed(self.key)
        self.engine.answer("record", record)
        self.finish([self.bare()])
        self.told.clear()
        self.driver.random_lookup(self.now, 0.0)
        self.finish([self.bare()])
        self.assertEqual(self.engine.whom("record"), [])
        self.assertIn(NodeFound(attrs.evolve(self.bare(), record=record)), self.of(NodeFound))

    def test_no_answer(self) -> None:
        """Nobody is told of a node that does not answer, and it is not asked again for a while."""
        self.begin_with(self.bare())
        self.engine.fail("record")
        self.turn()
        self.fail_all("find")
        for _ in range(3):
            self.driver.random_lookup(self.now, 0.0)
            while self.engine.whom("find"):
                if self.bare() in self.engine.whom("find"):
                    self.engine.fail("find", self.bare())
                else:
                    self.engine.answer("find", (self.bare(),))
                self.turn()
        self.assertEqual(self.engine.whom("record"), [])
        self.assertNotIn(self.bare(), [event.node for event in self.of(NodeFound)])
        self.now += NO_RECORD_LIFETIME
        self.driver.random_lookup(self.now, 0.0)
        self.engine.answer("find", (self.bare(),))
        self.turn()
        self.assertIn(self.bare(), self.engine.whom("record"))

    def test_wrong_endpoint(self) -> None:
        """A node named where it is not does not answer there, and is asked at the right place all the same."""
        wrong, right = self.bare(host="10.0.0.66"), self.bare()
        self.begin_with(wrong, right)
        self.assertEqual(self.engine.whom("record"), [wrong, right])
        self.engine.fail("record")
        self.engine.answer("record", signed(self.key))
        self.turn()
        self.assertEqual([event.node.host for event in self.of(NodeFound)], ["10.0.0.1"])
        entry = self.driver.table.get(right.node_id)
        assert entry is not None
        self.assertEqual((entry.node.host, entry.live), ("10.0.0.1", True))
        self.finish([wrong])
        self.driver.random_lookup(self.now, 0.0)
        self.finish([wrong])
        self.assertNotIn("10.0.0.66", [event.node.host for event in self.of(NodeFound)])

    def test_has_none(self) -> None:
        """A live node that has no record to give is told of as it is: whether to call it is for the filter."""
        for admit, expected in ((None, 1), (lambda each: each.record is not None, 0)):
            self.begin_with(self.bare(), **({"admit": admit} if admit else {}))
            self.engine.answer("find", (at(255),), self.bare())
            self.turn()
            self.engine.fail("record", self.bare())
            self.turn()
            found = [event.node for event in self.of(NodeFound)]
            self.assertEqual(found.count(self.bare()), expected)

    def test_after_check(self) -> None:
        """A node that called is asked for its record once it has been checked; one that says it has none is not."""
        for info, asked, found in ((PongInfo(None, 1), 1, 0), (PongInfo(), 0, 1)):
            self.begin()
            self.turn(Met(self.bare()))
            self.advance(QUIET - 0.1)
            self.assertEqual(self.engine.requests, {})
            self.pass_check(self.bare(), info)
            self.assertEqual(len(self.engine.whom("record")), asked)
            self.assertEqual(self.of(NodeFound), [NodeFound(self.bare())] * found)

    def test_newer(self) -> None:
        """When a check shows that there is a newer record, it is fetched."""
        self.begin()
        self.turn(Met(self.bare()))
        self.pass_check(self.bare(), PongInfo(None, 1))
        self.engine.answer("record", signed(self.key, 1))
        self.turn()
        self.pass_check(self.bare(), PongInfo(None, 1))
        self.assertEqual(self.engine.whom("record"), [])
        self.pass_check(self.bare(), PongInfo(None, 2))
        self.engine.answer("record", signed(self.key, 2))
        self.turn()
        [known] = self.driver.table.nodes()
        assert known.record is not None
        self.assertEqual(known.record.seq, 2)

    def test_caps(self) -> None:
        """Sixteen at a time; of those that wait only so many."""
        self.patch(module, "MAX_WANTED_RECORDS", 10)
        self.begin([at(256)])
        self.engine.answer("record", signed(secret(1)))
        for start in range(100, 180, 16):
            self.engine.answer("find", tuple(self.bare(start + number) for number in range(16)))
            self.turn()
        self.assertEqual(len(self.engine.whom("record")), MAX_RECORD_REQUESTS)
        count = MAX_RECORD_REQUESTS
        before = {each.node_id for each in self.engine.whom("record")}
        while self.engine.whom("record"):
            self.engine.fail("record")
            self.turn()
            now = {each.node_id for each in self.engine.whom("record")}
            count += len(now - before)
            before |= now
            self.assertLessEqual(len(now), MAX_RECORD_REQUESTS)
        self.assertLessEqual(count, MAX_RECORD_REQUESTS + 5 * 10)

    def test_fork(self) -> None:
        """When our chain forks, the table is filtered again."""
        chain = [b"main"]

        def admit(each: Node) -> bool:
            return each.record is None or on_main(each) == (chain[0] == b"main")

        self.begin_with(self.bare(), admit=admit)
        self.engine.answer("record", signed(self.key))
        self.turn()
        self.told.clear()
        chain[0] = b"else"
        self.driver.readmit(self.now)
        self.take()
        self.assertIn(self.bare().node_id, [event.node.node_id for event in self.of(NodeRemoved)])
        self.assertIsNone(self.driver.table.get(self.bare().node_id))


class DistanceTests(Case):
    """As discv5 has it."""

    by = ByDistance

    def signed(self, number: int, seq: int = 1, **more: Any) -> Node:
        return Node.from_record(signed(secret(number), seq, **more))

    def test_question(self) -> None:
        self.begin([at(256)])
        self.finish()
        target = id_at(250)
        self.driver.lookup(target, self.now, 0.0)
        [(_, asked, distances)] = [each for each in self.engine.requests.values() if each[0] == "find"]
        self.assertEqual(distances, nearby_distances(target, asked.node_id))

    def test_own_target(self) -> None:
        self.begin([at(256)])
        [(_, asked, distances)] = [each for each in self.engine.requests.values() if each[0] == "find"]
        self.assertEqual(distances, nearby_distances(LOCAL, asked.node_id))

    def test_asker_is_left_out(self) -> None:
        """One of seventeen in a bucket's reach asks: he gets the sixteen others."""
        self.begin()
        found = [at(256 - number % 2, number) for number in range(17)]
        for each in found:
            self.turn(Met(each, (each.host, each.udp)))
        self.turn(Asked("question", found[3], distances=(256, 255)))
        [(_, told)] = self.engine.answers
        self.assertEqual({*map(id_of, told)}, {*map(id_of, found[:3] + found[4:])})

    def test_renewed_where_it_can_be_reached(self) -> None:
        """Of a record's two addresses the one of the only IP version that we speak."""
        entries: dict[Entry[Any], Any] = {IP: ip_address("8.8.8.8"), IP6: ip_address("2400::1"), UDP: 30303}
        record = Record.sign(secret(7), 2, entries)
        for version, host in ((None, "8.8.8.8"), (4, "8.8.8.8"), (6, "2400::1")):
            dialect = ByDistance(HandEngine(), VOCABULARY, version)
            self.assertEqual(dialect.renewed(self.signed(7), record).host, host)

    def test_met(self) -> None:
        """Who called is live at once only if it is where its record says; else when it answers there."""
        for host, live in (("10.0.0.1", True), ("10.0.0.2", False)):
            self.begin()
            caller = self.signed(7)
            self.turn(Met(caller, (host, 30303)))
            self.assertEqual(self.driver.table.nodes(live_only=True), [caller] if live else [])
            self.pass_check(caller, PongInfo(None, 1))
            self.assertEqual(self.driver.table.nodes(live_only=True), [caller])

    def test_conformance(self) -> None:
        """
        Geth's test: five nodes on one host call; each is pinged within a minute, whatever callers died before
        them; then one question gives them all, also to somebody whose record has no address.
        """
        self.begin()
        for number in range(100, 120):
            self.turn(Met(self.signed(number, host="127.0.0.1"), ("127.0.0.1", 30303)))
        five = [self.signed(number, host="127.0.0.1", port=5000 + number) for number in range(1, 6)]
        for each in five:
            self.turn(Met(each, (each.host, each.udp)))
        pinged = set()
        for _ in range(120):
            self.advance(0.5)
            for each in self.engine.whom("ping"):
                if each in five:
                    pinged.add(each.node_id)
                    self.engine.answer("ping", PongInfo(None, 1), each)
                else:
                    self.engine.fail("ping", each)
            self.turn()
        self.assertEqual(len(pinged), 5)
        distances = tuple({log_distance(LOCAL, each.node_id) for each in five})
        self.turn(Asked("question", node(id_at(9), ""), distances=distances))
        self.assertEqual({each.node_id for each in five}, {each.node_id for each in self.engine.answers[-1][1]})

    def test_found(self) -> None:
        """Records come with the answer: nobody is asked for one."""
        self.begin([at(256)])
        other = self.signed(8, fork=b"else")
        self.engine.answer("find", (self.signed(7), other))
        self.driver.table.admit = on_main
        self.turn()
        self.assertEqual([event.node for event in self.of(NodeFound)], [self.signed(7)])
        self.assertNotIn(other, self.driver.table.nodes())
        self.assertIn(other, self.engine.whom("find"))

    def test_newer_record(self) -> None:
        """It may say that the node is elsewhere now; there it has to answer before it counts as live."""
        self.begin()
        self.turn(Met(self.signed(7), ("10.0.0.1", 30303)))
        self.pass_check(self.signed(7), PongInfo(None, 2))
        moved = self.signed(7, 2, host="10.0.0.2")
        assert moved.record is not None
        self.engine.answer("record", moved.record)
        self.turn()
        self.assertEqual(self.driver.table.nodes(), [moved])
        self.assertEqual(self.driver.table.nodes(live_only=True), [])
        self.pass_check(moved, PongInfo(None, 2))
        self.assertEqual(self.driver.table.nodes(live_only=True), [moved])
