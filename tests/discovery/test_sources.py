"""
One stream of nodes out of several sources.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ethp2p.discovery import sources as module
from ethp2p.discovery.filters import NoFilter
from ethp2p.discovery.interfaces import INodeSource
from ethp2p.discovery.sources import (
    FAIR_WAIT,
    LOOKUP_INTERVAL,
    MAX_FOUND,
    MAX_LOOKUP_INTERVAL,
    MAX_WAITERS,
    RECENT,
    RETRY,
    DNSSource,
    ListSource,
    LookupSource,
    NodeMix,
    SourceEnded,
)
from ethp2p.dnsdisc import DNSNodeSource
from ethp2p.enode import Netrestrict, Node
from ethp2p.errors import LocalProtocolError
from ethp2p.limits import SteadyClock
from tests.discovery.support import key, node


@implementer(INodeSource)
class Hand:
    """Gives what the test hands it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = False
        self.asked = 0
        self.ready: deque[Node] = deque()
        self.waiting: deque[Deferred[Node]] = deque()
        self.cancelled = 0

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def nextNode(self) -> Deferred[Node]:
        self.asked += 1
        if self.ready:
            return succeed(self.ready.popleft())
        self.waiting.append(Deferred(self.cancel))
        return self.waiting[-1]

    def cancel(self, waiter: Deferred[Node]) -> None:
        self.cancelled += 1
        self.waiting.remove(waiter)

    def give(self, *nodes: Node) -> None:
        for which in nodes:
            self.waiting.popleft().callback(which)


@implementer(INodeSource)
class Endless:
    """Gives the same node again and again, at once."""

    name = "endless"

    def __init__(self, which: Node) -> None:
        self.which = which
        self.asked = 0

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def nextNode(self) -> Deferred[Node]:
        self.asked += 1
        return succeed(self.which)


class NoneOf:
    """Wants nobody of these."""

    def __init__(self, *unwanted: Node) -> None:
        self.unwanted = unwanted

    def admits(self, node: Node) -> bool:
        return True

    def wants(self, node: Node) -> bool:
        return node not in self.unwanted


class MixTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.one, self.other = Hand("one"), Hand("other")

    def mix(self, *sources: Any, **settings: Any) -> NodeMix:
        settings = {"nodeFilter": NoFilter(), "mayCall": lambda node: True, **settings}
        mix = NodeMix(
            sources or (self.one, self.other),
            clock=SteadyClock(self.clock),
            local_id=key(99).public_key.node_id,
            **settings,
        )
        mix.start()
        return mix

    def take(self, mix: NodeMix, count: int) -> list[Node]:
        """Take so many, letting time pass meanwhile."""
        taken: list[Node] = []
        for _ in range(count):
            mix.nextNode().addCallback(taken.append)
            self.clock.pump([0.05] * 5)
        return taken

    def test_interfaces(self) -> None:
        for source in (
            self.one,
            self.mix(),
            ListSource("list", list),
            LookupSource("lookups", Deferred, SteadyClock(self.clock)),
            DNSSource("dns", lambda: None),  # type: ignore[arg-type, return-value]
        ):
            verifyObject(INodeSource, source)

    def test_fair(self) -> None:
        """One with much to give gets no more turns than one with little."""
        mix = self.mix()
        self.one.ready.extend(node(number) for number in range(1, 20))
        self.other.ready.extend(node(number) for number in range(21, 24))
        self.assertEqual(len(self.take(mix, 6)), 6)
        self.assertEqual(mix.given, {"one": 3, "other": 3})
        self.assertEqual(len(self.take(mix, 6)), 6)
        self.assertEqual(mix.given, {"one": 9, "other": 3})

    def test_slow_one(self) -> None:
        """It is waited for, but not for long."""
        mix = self.mix()
        self.other.ready.append(node(1))
        first = mix.nextNode()
        self.clock.advance(FAIR_WAIT / 2)
        self.assertNoResult(first)
        self.clock.advance(FAIR_WAIT / 2)
        self.assertEqual(self.successResultOf(first), node(1))

    def test_on_demand(self) -> None:
        """Nobody is asked for anything before somebody waits, nor twice at a time."""
        mix = self.mix()
        self.clock.advance(60)
        self.assertEqual((self.one.asked, self.other.asked), (0, 0))
        waiters = [mix.nextNode() for _ in range(3)]
        self.assertEqual((self.one.asked, self.other.asked), (1, 1))
        self.one.give(node(1))
        self.assertEqual(self.successResultOf(waiters[0]), node(1))
        self.assertEqual(self.one.asked, 2)
        for waiter in waiters[1:]:
            self.assertNoResult(waiter)

    def test_dropped(self) -> None:
        """What nobody could call, or should, is not given."""
        mix = self.mix(
            self.one,
            nodeFilter=NoneOf(node(3)),
            mayCall=lambda node: node.host in Netrestrict.parse("20.0.0.0/8"),
        )
        good = node(4)
        waiter = mix.nextNode()
        self.one.give(node(99), Node(key(1).public_key), node(1, port=0), node(2, "9.9.9.9"), node(3), node(3), good)
        self.assertEqual(self.successResultOf(waiter), good)
        expected = {"ourselves": 1, "no TCP endpoint": 2, "restricted": 1, "another chain": 2}
        self.assertEqual(mix.dropped, expected)

    def test_not_twice(self) -> None:
        mix = self.mix()
        first = mix.nextNode()
        self.one.give(node(1))
        self.assertEqual(self.successResultOf(first), node(1))
        second = mix.nextNode()
        self.other.give(node(1))
        self.assertEqual(mix.dropped, {"given lately": 1})
        self.clock.advance(RECENT)
        self.other.give(node(1))
        self.clock.advance(FAIR_WAIT)
        self.assertEqual(self.successResultOf(second), node(1))

    def test_recent_bounded(self) -> None:
        self.assertEqual(module.MAX_RECENT, 4096)
        self.patch(module, "MAX_RECENT", 2)
        mix = self.mix(self.one)
        for number in (1, 2, 3, 1):
            waiter = mix.nextNode()
            self.one.give(node(number))
            self.assertEqual(self.successResultOf(waiter), node(number))

    def test_waiters(self) -> None:
        """First come first served; who does not want any more gets nothing; too many are refused."""
        mix = self.mix(self.one)
        waiters = [mix.nextNode() for _ in range(MAX_WAITERS)]
        self.failureResultOf(mix.nextNode(), LocalProtocolError)
        waiters[0].cancel()
        self.failureResultOf(waiters[0], CancelledError)
        self.one.give(node(1), node(2))
        self.assertEqual([self.successResultOf(waiter) for waiter in waiters[1:3]], [node(1), node(2)])
        waiters.append(mix.nextNode())
        mix.stop()
        for waiter in waiters[3:]:
            self.failureResultOf(waiter, SourceEnded)

    def test_cancels_the_others_when_told(self) -> None:
        """Whoever waits several times gives all of them up once one has failed; the rest are told all the same."""
        mix = self.mix(self.one)
        waiters = [mix.nextNode() for _ in range(3)]
        waiters[0].addErrback(lambda failure: waiters[1].cancel())
        mix.stop()
        self.successResultOf(waiters[0])
        self.failureResultOf(waiters[1], CancelledError)
        self.failureResultOf(waiters[2], SourceEnded)

    def test_asks_again_in_the_answer(self) -> None:
        """Whoever gets a node may ask for the next at once."""
        mix = self.mix(self.one)
        taken: list[Node] = []

        def again(which: Node) -> None:
            taken.append(which)
            if len(taken) < 5:
                mix.nextNode().addCallback(again)

        self.one.ready.extend(node(number) for number in range(1, 9))
        mix.nextNode().addCallback(again)
        self.clock.advance(1)
        self.assertEqual(taken, [node(number) for number in range(1, 6)])

    def test_ended(self) -> None:
        """A source that has no more is not asked again; the others go on."""
        mix = self.mix(ListSource("list", lambda: [node(1), node(2)]), self.other)
        self.other.ready.extend(node(number) for number in range(11, 14))
        self.assertEqual(len(self.take(mix, 5)), 5)
        self.assertEqual(mix.given, {"list": 2, "other": 3})

    def test_failing(self) -> None:
        """A source that fails is left alone for some time."""
        mix = self.mix()
        waiter = mix.nextNode()
        self.one.waiting.popleft().errback(OSError("no DNS"))
        self.clock.advance(RETRY - 1)
        self.assertEqual(self.one.asked, 1)
        self.clock.advance(1)
        self.assertEqual(self.one.asked, 2)
        self.one.give(node(1))
        self.clock.advance(FAIR_WAIT)
        self.assertEqual(self.successResultOf(waiter), node(1))

    def test_useless_one(self) -> None:
        """A source that gives nothing but what is not wanted, at once, does not stop the world."""
        endless = Endless(node(1))
        mix = self.mix(endless, nodeFilter=NoneOf(node(1)))
        waiter = mix.nextNode()
        self.assertEqual(endless.asked, module.TURN)
        self.clock.pump([0.01] * 10)
        self.assertEqual(endless.asked, 11 * module.TURN)
        endless.which = node(2)
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(waiter), node(2))

    def test_lifetime(self) -> None:
        mix = self.mix()
        self.assertTrue(self.one.running and self.other.running)
        waiter = mix.nextNode()
        self.one.waiting.popleft().errback(OSError())
        mix.stop()
        self.failureResultOf(waiter, SourceEnded)
        self.failureResultOf(mix.nextNode(), SourceEnded)
        self.assertEqual((self.one.running, self.other.running, self.other.cancelled), (False, False, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        mix.start()
        waiter = mix.nextNode()
        self.one.give(node(1))
        self.clock.advance(FAIR_WAIT)
        self.assertEqual(self.successResultOf(waiter), node(1))


class LookupSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lookups: list[Deferred[None]] = []
        self.source = LookupSource("v4", self.lookUp, SteadyClock(self.clock))
        self.source.start()

    def lookUp(self) -> Deferred[None]:
        self.lookups.append(Deferred())
        return self.lookups[-1]

    def test_on_demand(self) -> None:
        self.source.found(node(1))
        self.assertEqual(self.successResultOf(self.source.nextNode()), node(1))
        self.assertEqual(self.lookups, [])
        waiter = self.source.nextNode()
        self.assertEqual(len(self.lookups), 1)
        self.source.found(node(2))
        self.assertEqual(self.successResultOf(waiter), node(2))
        self.lookups[0].callback(None)
        self.clock.advance(60)
        self.assertEqual(len(self.lookups), 1)

    def test_pace(self) -> None:
        """Lookups that find nobody new come more and more seldom."""
        waiters = [self.source.nextNode()]
        began = []
        for _ in range(9):
            while len(self.lookups) == len(began):
                self.clock.advance(0.5)
            began.append(self.clock.seconds())
            self.lookups[-1].callback(None)
        pauses = [after - before for before, after in pairwise(began)]
        self.assertEqual(pauses, [2.0, 4.0, 8.0, 16.0] + [MAX_LOOKUP_INTERVAL] * 4)
        self.clock.advance(MAX_LOOKUP_INTERVAL)
        self.source.found(node(1))
        self.assertEqual(self.successResultOf(waiters[0]), node(1))
        self.lookups[-1].callback(None)
        waiters.append(self.source.nextNode())
        count = len(self.lookups)
        self.clock.advance(LOOKUP_INTERVAL - 0.1)
        self.assertEqual(len(self.lookups), count)
        self.clock.advance(0.1)
        self.assertEqual(len(self.lookups), count + 1)

    def test_failed_lookup(self) -> None:
        """It is one that found nobody."""
        self.source = LookupSource("v4", lambda: fail(LocalProtocolError("too many")), SteadyClock(self.clock))
        self.source.start()
        waiter = self.source.nextNode()
        self.clock.pump([1.0] * 100)
        self.assertNoResult(waiter)
        self.assertLess(self.source.lookups, 9)

    def test_bounds(self) -> None:
        """The latest are kept, none twice."""
        for number in range(1, 101):
            self.source.found(node(number))
            self.source.found(node(number))
        waiters = [self.source.nextNode() for _ in range(MAX_FOUND)]
        found = [self.successResultOf(waiter) for waiter in waiters]
        self.assertEqual(found, [node(number) for number in range(101 - MAX_FOUND, 101)])
        waiters = [self.source.nextNode() for _ in range(MAX_WAITERS)]
        self.failureResultOf(self.source.nextNode(), LocalProtocolError)
        self.source.found(node(1))
        self.assertNoResult(waiters[0])
        self.clock.advance(RECENT)
        self.source.found(node(1))
        self.assertEqual(self.successResultOf(waiters[0]), node(1))

    def test_stop(self) -> None:
        waiter = self.source.nextNode()
        self.source.stop()
        self.failureResultOf(waiter, SourceEnded)
        self.failureResultOf(self.source.nextNode(), SourceEnded)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.source.start()
        waiter = self.source.nextNode()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.source.stop()
        self.failureResultOf(waiter, SourceEnded)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DNSSourceTests(SynchronousTestCase):
    def test_passes_on(self) -> None:
        class Lists(DNSNodeSource):
            def __init__(self) -> None:
                self.waiting: Deferred[list[Node]] = Deferred()
                self.closed = False

            def nextNodes(self, count: int = 1) -> Deferred[list[Node]]:
                return self.waiting

            def close(self) -> None:
                self.closed = True

        lists = Lists()
        source = DNSSource("dns", lambda: lists)
        self.failureResultOf(source.nextNode(), SourceEnded)
        source.start()
        waiter = source.nextNode()
        lists.waiting.callback([node(1)])
        self.assertEqual(self.successResultOf(waiter), node(1))
        source.stop()
        self.assertTrue(lists.closed)
        self.failureResultOf(source.nextNode(), SourceEnded)
