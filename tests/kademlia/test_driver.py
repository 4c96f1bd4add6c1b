"""
The driver in rounds, over an engine played by hand.
"""

from __future__ import annotations

from itertools import pairwise

from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import LocalProtocolError
from ethp2p.kademlia import driver as module
from ethp2p.kademlia.driver import (
    FIRST_REFRESH_INTERVAL,
    MAX_EARLY,
    MAX_FAILURES,
    MAX_LOOKUPS,
    MAX_WAITING_LOOKUPS,
    MIN_BUCKET,
    QUIET,
    RANDOM_LOOKUPS,
    REFRESH_INTERVAL,
    EndpointSeen,
    LookupDone,
    NodeAdded,
    NodeAlive,
    NodeFound,
    NodeRemoved,
    SeedsWanted,
)
from ethp2p.kademlia.revalidate import FAST_INTERVAL, SLOW_INTERVAL
from tests.kademlia.case import US, Case
from tests.kademlia.nodes import at
from tests.kademlia.toy import Answered, Asked, Failed, Met, PongInfo, Talked


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

    def test_quiet_ends(self) -> None:
        """Who calls every second is checked all the same, and as often as others."""
        self.begin()
        checks = []
        for _ in range(120):
            self.turn(Met(at(256)))
            self.advance(1.0)
            if self.engine.whom("ping"):
                checks.append(self.now)
                self.engine.answer("ping", PongInfo())
                self.turn()
        self.assertLessEqual(checks[0] - 100.0, QUIET + FAST_INTERVAL + 1)
        self.assertLessEqual(max(after - before for before, after in pairwise(checks)), SLOW_INTERVAL + 1)

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
