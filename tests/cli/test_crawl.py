"""
Crawls: what becomes of a node's score, and that everybody is found.
"""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli.crawl import (
    BUCKETS,
    MAX_PER_HOST,
    MISSES,
    RECHECK,
    SAVE_INTERVAL,
    SEARCHED_BUCKETS,
    Crawl,
    Crawled,
    NobodyThere,
    Visit,
    _Crawler,
    aims,
    at_record,
    crawl,
)
from ethp2p.cli.finding import Terms
from ethp2p.cli.greet import Findings
from ethp2p.crypto.keccak import keccak256
from ethp2p.discovery.service import DiscoveryService
from ethp2p.dnsdisc import NodeSet, SeenNode
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, TCP, UDP
from ethp2p.errors import ConfigError, RequestTimeout
from tests.cli.support import NetworkCase
from tests.discovery.support import START, address, key, node, recorded

LONG_AGO = START - 10 * RECHECK
NOW = START + 0.75


def record_of(node: Node) -> Record:
    assert node.record is not None
    return node.record


def known(*nodes: SeenNode) -> NodeSet:
    return NodeSet({node.record.node_id: node for node in nodes if node.record.node_id is not None})


def seen(number: int, score: int, last: float = LONG_AGO) -> SeenNode:
    return SeenNode(record_of(recorded(number)), score, LONG_AGO, last, last)


class CrawlTests(SynchronousTestCase):
    """The decisions."""

    def visit(self, crawl: Crawl) -> Visit:
        visit = crawl.next_visit()
        assert visit is not None
        return visit

    def test_order(self) -> None:
        """First those given, then those known, then those named; each once."""
        crawl = Crawl(known(seen(2, 1)), [node(1), node(2)])
        self.assertEqual(crawl.add([node(3), node(1), node(3)]), 1)
        numbers = [self.visit(crawl).node for _ in range(3)]
        self.assertEqual(numbers, [node(1), node(2), node(3)])
        self.assertIsNone(crawl.next_visit())
        self.assertEqual((crawl.known, crawl.add([node(2)])), (3, 0))

    def test_scores(self) -> None:
        """As geth counts them: one more, or half."""
        for score, answers, after, count in (
            (None, True, 1, "added"),
            (None, False, None, "silent"),
            (0, True, 1, "updated"),
            (5, True, 6, "updated"),
            (5, False, 2, "silent"),
            (1, False, None, "removed"),
            (0, False, None, "removed"),
        ):
            before = known() if score is None else known(seen(1, score))
            crawl = Crawl(before, [node(1)])
            visit = self.visit(crawl)
            self.assertFalse(crawl.checked_lately(visit, NOW))
            if answers:
                crawl.recorded(visit, record_of(recorded(1, seq=9)), NOW)
            else:
                crawl.failed(visit, "no pong", NOW)
            now = crawl.nodes.get(node(1).node_id)
            self.assertEqual(None if now is None else now.score, after)
            self.assertEqual(crawl.counts[count], 1)
            self.assertEqual(crawl.heard, answers)

    def test_times(self) -> None:
        crawl = Crawl(known(seen(1, 5), seen(2, 5)), [])
        visits = {visit.node.node_id: visit for visit in (self.visit(crawl), self.visit(crawl))}
        new = record_of(recorded(1, seq=9))
        crawl.recorded(visits[node(1).node_id], new, NOW)
        crawl.failed(visits[node(2).node_id], "no pong", NOW)
        self.assertEqual(crawl.nodes[node(1).node_id], SeenNode(new, 6, LONG_AGO, START, START))
        self.assertEqual(crawl.nodes[node(2).node_id], attrs.evolve(seen(2, 5), score=2, last_check=START))
        self.assertEqual(visits[node(2).node_id].failure, "no pong")

    def test_first_answer(self) -> None:
        """One that is in the set, and was never heard."""
        crawl = Crawl(known(SeenNode(record_of(recorded(1)))), [])
        crawl.recorded(self.visit(crawl), record_of(recorded(1)), NOW)
        self.assertEqual(crawl.nodes[node(1).node_id], SeenNode(record_of(recorded(1)), 1, START, START, START))
        self.assertEqual(crawl.counts["added"], 1)

    def test_recent(self) -> None:
        for last, recent in ((NOW - RECHECK + 1, True), (NOW - RECHECK, False), (NOW + 60, False)):
            crawl = Crawl(known(seen(1, 1, last)), [])
            visit = self.visit(crawl)
            self.assertEqual(crawl.checked_lately(visit, NOW), recent)
            self.assertEqual((crawl.counts["recent"], visit.record is not None), (int(recent), recent))

    def test_out_of_reach(self) -> None:
        nowhere = [
            Node(key(1).public_key),
            Node(key(2).public_key, address(2), 5),
            Node(key(3).public_key, "a.b", 5, 5),
        ]
        ip6 = Node(key(4).public_key, "2001:db9::1", 5, 5)
        self.assertEqual(Crawl(known(), [*nowhere, ip6], reach={4}).known, 0)
        self.assertEqual(Crawl(known(), [*nowhere, ip6], reach={4, 6}).known, 1)

    def test_ourselves(self) -> None:
        self.assertEqual(Crawl(known(seen(2, 1)), [node(1)], own_id=node(1).node_id).known, 1)

    def test_room(self) -> None:
        """Names cost nothing: neither many of one host nor many at all make a crawl endless."""
        crawl = Crawl(known(), [node(number, "5.5.5.5", number) for number in range(1, 100)])
        self.assertEqual((crawl.known, crawl.counts["refused"]), (MAX_PER_HOST, 99 - MAX_PER_HOST))
        crawl = Crawl(known(), [node(number, f"2001:db9::{number}") for number in range(1, 100)])
        self.assertEqual(crawl.known, MAX_PER_HOST)
        crawl = Crawl(known(), [node(number, "192.168.0.1", number) for number in range(1, 100)])
        self.assertEqual(crawl.known, 99)
        crawl = Crawl(known(), [node(number) for number in range(1, 100)], most=10)
        self.assertEqual((crawl.known, crawl.counts["refused"]), (10, 89))

    def test_aims(self) -> None:
        """One in each bucket of the node that is asked, the largest first."""
        asked = node(1)
        self.assertEqual(list(aims("v5", asked, Random(1))), [[256 - bucket] for bucket in range(BUCKETS)])
        *targets, own = aims("v4", asked, Random(1))
        self.assertEqual(own, asked.public_key.raw)
        far = [int.from_bytes(keccak256(target), "big") ^ int.from_bytes(asked.node_id, "big") for target in targets]
        self.assertEqual([each.bit_length() for each in far], [256 - bucket for bucket in range(SEARCHED_BUCKETS)])

    def test_where_to_call(self) -> None:
        """At the TCP port of the record, where it has answered: the record may be older, or of inside a NAT."""
        inside = Record.sign(key(1), 1, {IP: recorded(1, "10.0.0.1").ip, TCP: 77, UDP: 5})
        called = at_record(Visit(node(1), inside))
        self.assertEqual((called.host, called.tcp, called.udp, called.record), (address(1), 77, 30303, inside))
        bare = Record.sign(key(1), 1, {})
        self.assertEqual(at_record(Visit(node(1), bare)).tcp, 30303)
        self.assertEqual(at_record(Visit(node(1))), node(1))


class CrawlerTests(NetworkCase):
    """Over a virtual network."""

    def start(self, before: NodeSet, *bootnodes: DiscoveryService, protocol: str = "v4", **settings: Any) -> Any:
        terms = Terms(protocol, key(99), tuple(each.local.node for each in bootnodes))
        given = {"wall": self.host.seconds, "rng": Random(1), **settings}
        return crawl(self.host, terms, before, **given)

    def crawl(self, before: NodeSet, *bootnodes: DiscoveryService, **settings: Any) -> Crawled:
        return self.with_reactor(lambda reactor: self.start(before, *bootnodes, **settings))  # type: ignore[no-any-return]

    def test_everybody_is_found(self) -> None:
        for first, protocol in ((1, "v4"), (31, "v5")):
            town = self.town(8, protocol, first)
            found = self.crawl(known(), town[0], protocol=protocol)
            records = {service.local.node_id: service.local.record for service in town}
            self.assertEqual({node_id: node.record for node_id, node in found.node_set.nodes.items()}, records)
            self.assertEqual(found.counts, {"added": 8})
            self.assertEqual({node.score for node in found.node_set.nodes.values()}, {1})

    def test_again(self) -> None:
        """At once all are recent; later they are checked again, and who has gone loses half."""
        town = self.town(5)
        found = self.crawl(known(), town[0]).node_set
        self.assertEqual(self.crawl(found).counts, {"recent": 5})
        town[3]._reactor.unplug()
        old = {
            node_id: attrs.evolve(node, score=3, first_response=LONG_AGO, last_response=LONG_AGO, last_check=LONG_AGO)
            for node_id, node in found.nodes.items()
        }
        later = self.crawl(NodeSet(old), town[0])
        self.assertEqual(later.counts, {"updated": 4, "silent": 1})
        scores = {node_id: node.score for node_id, node in later.node_set.nodes.items()}
        self.assertEqual(scores, {service.local.node_id: 4 for service in town} | {town[3].local.node_id: 1})
        (gone,) = (visit for visit in later.visits if visit.failure)
        self.assertEqual((gone.node.node_id, gone.failure), (town[3].local.node_id, "no pong"))

    def test_lossy(self) -> None:
        """A record is asked for twice."""
        for one in ("v4", "v5"):
            service = self.serve(1 if one == "v4" else 2)
            at = service.local.node.host
            self.network.link("9.9.9.9", at, loss=1.0)
            crawling = self.start(known(), service, protocol=one)
            self.network.advance(0.6)
            self.network.link("9.9.9.9", at, loss=0.0)
            self.assertEqual(len(self.network.wait_for(crawling).node_set.nodes), 1)

    def test_nobody(self) -> None:
        """Nothing is saved: our own line may be cut."""
        saved: list[NodeSet] = []
        before = known(seen(1, 5), seen(2, 5))
        crawling = self.start(before, save=saved.append)
        with self.assertRaises(NobodyThere) as caught:
            self.network.wait_for(crawling)
        self.assertEqual(str(caught.exception), "none of 2 nodes has answered")
        with self.assertRaises(NobodyThere) as caught:
            self.network.wait_for(self.start(known(), save=saved.append))
        self.assertEqual(str(caught.exception), "there is nobody to begin with")
        self.assertEqual(saved, [])

    def test_time_is_up(self) -> None:
        """It ends with what there is; what was under way says nothing of a node, and is broken off."""
        town = self.town(4)
        for service in town[1:]:
            self.network.link("9.9.9.9", service.local.node.host, latency=100.0)
        saved: list[NodeSet] = []
        cancelled: list[object] = []
        before = known(*(SeenNode(service.local.record, 3) for service in town[1:]))
        found = self.crawl(
            before, town[0], timeout=0.9, save=saved.append, probe=lambda node: Deferred(cancelled.append)
        )
        self.assertEqual(found.counts, {"added": 1})
        self.assertEqual(sorted(node.score for node in found.node_set.nodes.values()), [1, 3, 3, 3])
        self.assertEqual((saved, len(cancelled)), ([found.node_set], 1))

    def test_interrupted(self) -> None:
        """What is known by then is saved."""
        town = self.town(4)
        self.network.link("9.9.9.9", town[3].local.node.host, latency=100.0)
        saved: list[NodeSet] = []
        crawling = self.start(known(), town[0], save=saved.append)
        self.network.advance(1.0)
        crawling.cancel()
        with self.assertRaises(CancelledError):
            self.network.wait_for(crawling)
        self.leaves_nothing()
        (kept,) = saved
        self.assertEqual(set(kept.nodes), {service.local.node_id for service in town[:3]})

    def test_saved_meanwhile(self) -> None:
        """Also when that fails once; at the end it must not."""
        service = self.serve(1)
        saved: list[NodeSet] = []
        waiting: Deferred[Findings] = Deferred()

        def save(nodes: NodeSet) -> None:
            saved.append(nodes)
            if len(saved) != 2:
                raise ConfigError("no room on the disk")

        crawling = self.start(known(), service, save=save, probe=lambda node: waiting)
        self.network.advance(SAVE_INTERVAL + 1)
        self.assertEqual(len(saved), 1)
        self.network.advance(SAVE_INTERVAL)
        self.assertEqual(len(saved), 2)
        waiting.callback(Findings())
        with self.assertRaises(ConfigError):
            self.network.wait_for(crawling)
        self.leaves_nothing()

    def test_in_parallel(self) -> None:
        town = self.town(6)
        most = 0
        probing: list[Deferred[Findings]] = []

        def probe(node: Node) -> Deferred[Findings]:
            nonlocal most
            self.assertEqual((node.tcp, node.record is not None), (30303, True))
            waiting: Deferred[Findings] = Deferred()
            probing.append(waiting)
            most = max(most, sum(not each.called for each in probing))
            self.host.callLater(3.0, waiting.callback, Findings(version=69))
            return waiting

        far: list[int] = []
        found = self.crawl(
            known(), town[0], parallel=2, probe=probe, progress=lambda crawl: far.append(len(crawl.visits))
        )
        self.assertEqual((most, len(probing), len(found.visits), len(far)), (2, 6, 6, 6))
        self.assertEqual({visit.findings for visit in found.visits if visit.findings is None}, set())

    def test_broken_probe(self) -> None:
        """A mistake of ours is told, and not waited for."""
        town = self.town(2)
        self.network.advance(1.0)

        def probe(node: Node) -> Deferred[Findings]:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.network.wait_for(self.start(known(), town[0], probe=probe))
        self.leaves_nothing()


class AskingTests(SynchronousTestCase):
    """How long one node is asked, by a speaker that is not there."""

    name = "v5"

    def setUp(self) -> None:
        self.asked: list[Any] = []
        self.liar = True

    def requestRecord(self, asked: Node) -> Deferred[Record]:
        return fail(RequestTimeout("no pong")) if asked != node(1) else succeed(record_of(recorded(1)))

    def findNode(self, asked: Node, aim: Any) -> Deferred[tuple[Node, ...]]:
        self.asked.append(aim)
        return succeed((node(100 + len(self.asked) if self.liar else 2),))

    def crawl(self) -> Crawl:
        deciding = Crawl(known(), [node(1)])
        finder: Any = self
        crawler = _Crawler(finder, deciding, wall=lambda: NOW, rng=Random(1), parallel=1, probe=None, progress=None)
        self.successResultOf(crawler.run())
        return deciding

    @property
    def speaker(self) -> Any:
        return self

    def test_always_new_names(self) -> None:
        self.assertEqual(self.crawl().counts, {"added": 1, "silent": BUCKETS})
        self.assertEqual(len(self.asked), BUCKETS)

    def test_nobody_new(self) -> None:
        self.liar = False
        self.assertEqual(self.crawl().counts, {"added": 1, "silent": 1})
        self.assertEqual(len(self.asked), 1 + MISSES)
