"""
The driver in rounds, over an engine played by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keccak import keccak256
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError
from ethp2p.kademlia import driver as module
from ethp2p.kademlia.distance import log_distance, nearby_distances
from ethp2p.kademlia.driver import (
    FIRST_REFRESH_INTERVAL,
    MAX_EARLY,
    MAX_FAILURES,
    MAX_LOOKUPS,
    MAX_RECORD_REQUESTS,
    MAX_WAITING_LOOKUPS,
    MIN_BUCKET,
    NO_RECORD_LIFETIME,
    QUIET,
    RANDOM_LOOKUPS,
    REFRESH_INTERVAL,
    Driver,
    EndpointSeen,
    LookupDone,
    NodeAdded,
    NodeAlive,
    NodeFound,
    NodeRemoved,
    SeedsWanted,
)
from ethp2p.kademlia.engine import ByDistance, ByTarget
from tests.kademlia.nodes import LOCAL, at, id_at, node, on_main, public_key, secret, signed
from tests.kademlia.toy import VOCABULARY, Answered, Asked, Failed, HandEngine, Met, PongInfo, Talked

E = TypeVar("E")
US = public_key(LOCAL)


class Case(SynchronousTestCase):
    by: type[ByTarget] | type[ByDistance] = ByTarget

    def begin(self, bootnodes: Sequence[Node] = (), start: bool = True, **more: Any) -> None:
        self.now = 100.0
        self.engine = HandEngine()
        self.driver = Driver(self.by(self.engine, VOCABULARY), US, rng=Random(1), bootnodes=bootnodes, **more)
        self.told: list[Any] = []
        if start:
            self.driver.start(self.now, 0.0)
            self.take()

    def take(self) -> None:
        while (event := self.driver.next_event()) is not None:
            self.told.append(event)

    def turn(self, *events: Any) -> None:
        """Let the engine tell something."""
        self.engine.events.extend(events)
        self.driver.receive_events(self.now, 0.0)
        self.take()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.driver.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.driver.handle_timer(self.now, 0.0)
            self.take()
        self.now = until

    def of(self, kind: type[E]) -> list[E]:
        """What was told of a kind, once."""
        found = [event for event in self.told if isinstance(event, kind)]
        self.told = [event for event in self.told if not isinstance(event, kind)]
        return found

    def finish(self, result: Sequence[Node] = ()) -> None:
        """Answer all questions until there are none."""
        while self.engine.whom("find"):
            self.engine.answer("find", tuple(result))
            self.turn()

    def fail_all(self, what: str) -> None:
        while self.engine.whom(what):
            self.engine.fail(what)
            self.turn()

    def pass_check(self, each: Node, info: PongInfo | None = None) -> None:
        """Let time pass until a node is pinged, and let it answer."""
        while each.node_id not in [other.node_id for other in self.engine.whom("ping")]:
            self.advance(0.5)
        self.engine.answer("ping", info or PongInfo(), each)
        self.turn()


class RefreshTests(Case):
    def test_alone(self) -> None:
        """A node that knows nobody is ready at once, for whoever calls it, and asks for seeds now and then."""
        self.begin()
        self.assertTrue(self.driver.table.ready)
        self.assertFalse(self.driver.refreshing)
        self.assertEqual(self.told, [])
        for _ in range(5):
            due = self.driver.next_timer()
            assert due is not None
            self.assertTrue(FIRST_REFRESH_INTERVAL / 2 <= due - self.now <= FIRST_REFRESH_INTERVAL)
            self.advance(due - self.now)
            self.assertEqual(self.of(SeedsWanted), [SeedsWanted()])

    def test_first(self) -> None:
        """It looks for itself first, then for anybody; only then those who called come in."""
        self.begin([at(256)])
        self.assertEqual(self.engine.whom("find"), [at(256)])
        [(_, _, target)] = [each for each in self.engine.requests.values() if each[0] == "find"]
        self.assertEqual(target, US.raw)
        self.turn(Met(at(255)))
        self.assertIsNone(self.driver.table.get(at(255).node_id))
        targets = []
        while self.engine.whom("find"):
            self.assertTrue(self.driver.refreshing)
            self.assertFalse(self.driver.table.ready)
            targets.append(next(each[2] for each in self.engine.requests.values() if each[0] == "find"))
            self.engine.answer("find", ())
            self.turn()
        self.assertEqual(len(targets), 1 + RANDOM_LOOKUPS)
        self.assertEqual([len(each) for each in targets], [64] * 4)
        self.assertTrue(self.driver.table.ready)
        self.assertEqual([event.node for event in self.of(NodeAdded)], [at(256), at(255)])
        self.assertEqual(self.of(LookupDone), [])

    def test_early_callers(self) -> None:
        """Only some of those who called before are remembered."""
        self.begin([at(256)])
        for number in range(MAX_EARLY + 20):
            self.turn(Met(at(200, number)))
        self.finish()
        table = self.driver.table
        bucket = table.bucket(200)
        self.assertEqual(len(bucket.entries), 16)
        last = MAX_EARLY - 1
        self.assertEqual(bucket.replacements[-1].node, at(200, last))

    def test_again(self) -> None:
        """Often at first, and then ever less often."""
        self.begin([at(256)])
        self.finish()
        waits = []
        for _ in range(12):
            start = self.now
            while not self.engine.whom("find"):
                self.advance(1.0)
                if self.engine.whom("ping"):
                    self.engine.answer("ping", PongInfo())
                    self.turn()
            waits.append(self.now - start)
            self.assertTrue(self.driver.refreshing)
            self.assertTrue(self.driver.table.ready)
            self.finish()
        for index, wait in enumerate(waits):
            most = min(FIRST_REFRESH_INTERVAL * 2**index, REFRESH_INTERVAL)
            self.assertTrue(most / 2 <= wait <= most + 1, (index, wait))
        self.assertEqual(self.of(SeedsWanted), [])

    def test_bootnode_comes_back(self) -> None:
        """When everybody is gone it starts again with its bootnodes and seeds, soon."""
        self.begin([at(256)])
        self.fail_all("find")
        while not self.engine.whom("ping"):
            self.advance(0.5)
        self.fail_all("ping")
        self.assertEqual(len(self.driver.table), 0)
        self.assertEqual([event.node for event in self.of(NodeRemoved)], [at(256)])
        self.advance(FIRST_REFRESH_INTERVAL)
        self.assertEqual(self.of(SeedsWanted), [SeedsWanted()])
        self.assertEqual(self.engine.whom("find"), [at(256)])

    def test_seeds(self) -> None:
        self.begin(start=False)
        self.driver.start(self.now, 0.0, [at(256), at(255)])
        self.assertEqual({each.node_id for each in self.engine.whom("find")}, {at(n).node_id for n in (255, 256)})
        self.begin()
        self.driver.add_seeds([at(256)], self.now, 0.0)
        self.assertEqual(self.engine.whom("find"), [at(256)])
        self.driver.add_seeds([at(255)], self.now, 0.0)
        self.assertEqual(len(self.driver.table), 2)
        self.assertEqual(self.engine.whom("find"), [at(256)])

    def test_bootnodes_refused(self) -> None:
        """A bootnode that the filter refuses is asked all the same, and has no place."""
        self.begin([at(256)], admit=lambda each: each != at(256))
        self.assertEqual(len(self.driver.table), 0)
        self.engine.answer("find", (at(255),))
        self.turn()
        self.assertEqual(self.driver.table.nodes(), [at(255)])
        self.finish()
        self.assertNotIn(at(256), [event.node for event in self.of(NodeFound)])

    def test_may_not_contact(self) -> None:
        """Nothing is sent outside the networks allowed, whoever names it."""
        self.begin([at(256), at(255, host="9.9.9.9")], may_contact=lambda each: each.host.startswith("10."))
        self.assertEqual(self.engine.whom("find"), [at(256)])
        self.engine.answer("find", (at(254, host="9.9.9.9"), at(253)))
        self.turn(Met(at(252, host="9.9.9.9")))
        self.finish([at(251, host="9.9.9.9")])
        self.advance(60.0)
        hosts = {each.host for _, each, _ in self.engine.requests.values()}
        hosts.update(entry.node.host for entry in self.driver.table)
        self.assertEqual(hosts, {"10.0.0.1"})


class CheckTests(Case):
    def test_alive(self) -> None:
        self.begin([at(256)])
        self.finish()
        self.of(NodeAdded)
        entry = self.driver.table.get(at(256).node_id)
        assert entry is not None
        before = entry.checks
        self.pass_check(at(256), PongInfo(("1.2.3.4", 5), None))
        self.assertEqual(self.of(EndpointSeen), [EndpointSeen(at(256), ("1.2.3.4", 5))])
        self.assertEqual(self.of(NodeAlive), [NodeAlive(at(256), before + 1, 0.05)])
        self.assertTrue(entry.live)

    def test_dead(self) -> None:
        self.begin([at(256)])
        self.fail_all("find")
        self.advance(5.0)
        self.fail_all("ping")
        self.assertEqual(len(self.driver.table), 0)
        self.assertEqual(len(self.of(NodeRemoved)), 1)

    def test_moved_meanwhile(self) -> None:
        """A check of the old endpoint says nothing of the new one, which is checked next."""
        for answers in (True, False):
            self.begin([at(256)])
            self.finish()
            while not self.engine.whom("ping"):
                self.advance(0.5)
            self.turn(Met(at(256, host="10.0.0.2")))
            if answers:
                self.engine.answer("ping", PongInfo())
            else:
                self.engine.fail("ping")
            self.turn()
            self.assertEqual(self.of(NodeAlive), [])
            self.assertEqual(self.driver.table.nodes(), [at(256, host="10.0.0.2")])
            self.pass_check(at(256, host="10.0.0.2"))
            self.assertEqual(len(self.of(NodeAlive)), 1)

    def test_gone_meanwhile(self) -> None:
        self.begin([at(256)])
        self.finish()
        while not self.engine.whom("ping"):
            self.advance(0.5)
        self.driver.table.delete(at(256).node_id, self.now)
        self.engine.answer("ping", PongInfo())
        self.turn()
        self.assertEqual(self.of(NodeAlive), [])

    def test_quiet(self) -> None:
        """Nothing is sent to a node that has just called: it may be a test that waits for one answer."""
        self.begin()
        self.turn(Met(at(256)))
        called = self.now
        self.turn(Met(at(256)))
        self.driver.random_lookup(self.now, 0.0)
        self.advance(QUIET - 0.01)
        self.assertEqual(self.engine.requests, {})
        while not self.engine.requests:
            self.advance(0.1)
        self.assertTrue(QUIET <= self.now - called < QUIET + 4)

    def test_quiet_hearsay(self) -> None:
        """Neither when others name it."""
        self.begin([at(255)])
        self.finish()
        self.turn(Met(at(256)))
        self.driver.random_lookup(self.now, 0.0)
        self.engine.answer("find", (at(256), at(254)))
        self.turn()
        self.assertIn(at(254), self.engine.whom("find"))
        self.assertNotIn(at(256), [each for _, each, _ in self.engine.requests.values()])
        self.advance(QUIET)
        self.driver.random_lookup(self.now, 0.0)
        self.assertIn(at(256), self.engine.whom("find"))

    def test_useless(self) -> None:
        """Who does not answer questions is dropped in the end, unless there are too few others."""
        for others, dropped in ((MIN_BUCKET - 2, False), (MIN_BUCKET - 1, True)):
            self.begin([at(256, number) for number in range(others + 1)])
            self.finish([at(200)])
            for _ in range(MAX_FAILURES + 1):
                self.driver.random_lookup(self.now, 0.0)
                while self.engine.whom("find"):
                    if at(256) in self.engine.whom("find"):
                        self.engine.fail("find", at(256))
                    else:
                        self.engine.answer("find", (at(200),))
                    self.turn()
            self.assertEqual(at(256) not in self.driver.table.nodes(), dropped, others)

    def test_nothing_useful(self) -> None:
        """An empty answer is as little use; one useful answer makes up for all."""
        self.begin([at(256, number) for number in range(MIN_BUCKET)])
        self.finish([at(200)])
        for round in range(2):
            for _ in range(MAX_FAILURES - 1):
                self.driver.random_lookup(self.now, 0.0)
                self.finish()
            self.assertIn(at(256), self.driver.table.nodes(), round)
            self.driver.random_lookup(self.now, 0.0)
            self.finish([at(200)])
        for _ in range(MAX_FAILURES):
            self.driver.random_lookup(self.now, 0.0)
            self.finish()
        self.assertLess(len(self.driver.table.bucket(256).entries), MIN_BUCKET)


class LookupTests(Case):
    def test_done(self) -> None:
        """The token comes back with the nearest nodes, each of which has answered."""
        self.begin([at(256)])
        self.finish()
        target = b"t" * 64
        token = self.driver.lookup(target, self.now, 0.0)
        others = [at(256, number) for number in range(1, 5)]
        self.finish(others)
        [done] = self.of(LookupDone)
        self.assertEqual((done.token, done.target), (token, target))
        goal = int.from_bytes(keccak256(target), "big")
        expected = sorted([at(256), *others], key=lambda each: int.from_bytes(each.node_id, "big") ^ goal)
        self.assertEqual([*done.nodes], expected)

    def test_nobody(self) -> None:
        self.begin()
        token = self.driver.random_lookup(self.now, 0.0)
        self.take()
        self.assertEqual([(done.token, done.nodes) for done in self.of(LookupDone)], [(token, ())])

    def test_concurrency(self) -> None:
        """So many at a time, so many wait."""
        self.begin([at(256)])
        self.finish()
        tokens = [self.driver.random_lookup(self.now, 0.0) for _ in range(MAX_LOOKUPS + MAX_WAITING_LOOKUPS)]
        self.assertEqual(len(self.engine.whom("find")), MAX_LOOKUPS)
        self.assertRaises(LocalProtocolError, self.driver.random_lookup, self.now, 0.0)
        self.finish()
        self.assertEqual([done.token for done in self.of(LookupDone)], tokens)

    def test_cancel(self) -> None:
        self.begin([at(256)])
        self.finish()
        tokens = [self.driver.random_lookup(self.now, 0.0) for _ in range(MAX_LOOKUPS + 2)]
        self.driver.cancel(tokens[0])
        self.driver.cancel(tokens[-1])
        self.driver.cancel(999)
        self.finish([at(255)])
        self.assertEqual({done.token for done in self.of(LookupDone)}, {*tokens[1:-1]})

    def test_stop(self) -> None:
        """Whoever waits is told; nothing is asked any more, whatever is answered still."""
        self.begin([at(256)])
        self.finish()
        tokens = [self.driver.random_lookup(self.now, 0.0) for _ in range(MAX_LOOKUPS + 1)]
        self.driver.stop()
        self.take()
        self.assertEqual([done.token for done in self.of(LookupDone)], tokens)
        self.engine.answer("find", (at(255),))
        self.turn()
        self.fail_all("find")
        self.assertIsNone(self.driver.next_timer())
        self.assertEqual(self.engine.whom("find"), [])

    def test_stop_refreshing(self) -> None:
        self.begin([at(256)])
        self.driver.stop()
        self.finish([at(255)])
        self.assertFalse(self.driver.refreshing)
        self.assertEqual(self.of(LookupDone), [])

    def test_filtered(self) -> None:
        """Nodes of another chain are asked on the way and are not in the result."""
        self.begin([at(256)], admit=lambda each: each != at(255))
        self.finish()
        self.driver.random_lookup(self.now, 0.0)
        self.engine.answer("find", (at(255), at(254)))
        self.turn()
        self.assertIn(at(255), self.engine.whom("find"))
        self.finish()
        [done] = self.of(LookupDone)
        self.assertEqual({each.node_id for each in done.nodes}, {at(256).node_id, at(254).node_id})


class EventTests(Case):
    def test_passed_on(self) -> None:
        """What is not for the driver is for its owner: other events, and answers to the owner's requests."""
        self.begin()
        token = self.engine.ping(at(256), self.now, 0.0)
        strange = [Talked(b"hello"), Answered(token, at(256), PongInfo()), Failed(token + 1, at(255))]
        self.turn(*strange)
        self.assertEqual(self.told, strange)

    def test_cap(self) -> None:
        """What others cause does not fill the memory of an owner who does not look; what he waits for is kept."""
        self.patch(module, "MAX_EVENTS", 10)
        self.begin()
        self.engine.events.extend(Talked(b"") for _ in range(20))
        self.driver.receive_events(self.now, 0.0)
        token = self.driver.random_lookup(self.now, 0.0)
        self.engine.events.append(Answered(99, at(256), PongInfo()))
        self.driver.receive_events(self.now, 0.0)
        self.take()
        self.assertEqual(len(self.of(Talked)), 10)
        self.assertEqual([type(event) for event in self.told], [LookupDone, Answered])
        self.assertEqual(self.told[0].token, token)

    def test_timers(self) -> None:
        """The engine's timer is one of the driver's, and is served only when it is due."""
        self.begin()
        self.engine.timer = self.now + 1.0
        self.assertEqual(self.driver.next_timer(), self.now + 1.0)
        self.driver.handle_timer(self.now + 0.5, 0.0)
        self.assertEqual(self.engine.timed, [])
        self.driver.handle_timer(self.now + 1.0, 0.0)
        self.assertEqual(self.engine.timed, [self.now + 1.0])

    def test_before_start(self) -> None:
        self.begin([at(256)], start=False)
        self.assertIsNone(self.driver.next_timer())
        self.turn(Asked("question", at(255), b"t" * 64))
        self.assertEqual(self.engine.answers, [("question", [])])
        self.assertEqual(self.engine.requests, {})


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
        self.assertEqual([each.host for each in self.driver.table.nodes(live_only=True)], ["10.0.0.1"])
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
