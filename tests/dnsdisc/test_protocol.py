"""
The shells over a resolver that is told what to answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IResolver
from twisted.internet.task import Clock
from twisted.names.common import ResolverBase
from twisted.names.dns import CNAME, TXT, Record_CNAME, Record_TXT, RRHeader
from twisted.names.error import DNSNameError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.dnsdisc import DNSNodeSource, downloadTree, parse_url
from ethp2p.dnsdisc.download import NoAnswer, Progress
from ethp2p.dnsdisc.protocol import MAX_NODES, MAX_TEXTS, MAX_WAITING, REPEATS, TIMEOUT, SourceClosed
from ethp2p.dnsdisc.state import LookupFailed, RootChanged
from ethp2p.dnsdisc.wire import Link
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError
from ethp2p.limits import WheelTimer
from tests.dnsdisc.support import EIP_LINK, URL_KEY, ZONE, link_to, published, records


def text_record(name: str, text: bytes) -> RRHeader:
    strings = [text[at : at + 255] for at in range(0, len(text), 255)]
    return RRHeader(name.encode(), TXT, payload=Record_TXT(*strings))


class Resolver(ResolverBase):
    """
    Answers from a zone: at once, or when told to.
    """

    def __init__(self, zone: dict[str, str], *, waits: bool = False) -> None:
        super().__init__()
        self.zone = zone
        self.waits = waits
        self.asked: list[tuple[str, Deferred[Any]]] = []
        self.timeouts: set[Sequence[int]] = set()

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Sequence[int]) -> Deferred[Any]:
        assert type == TXT
        self.timeouts.add(timeout)
        waiting: Deferred[Any] = Deferred()
        self.asked.append((name.decode(), waiting))
        if not self.waits:
            self.answer(name.decode(), waiting)
        return waiting

    def answer(self, name: str, waiting: Deferred[Any]) -> None:
        if name in self.zone:
            alias = RRHeader(name.encode(), CNAME, payload=Record_CNAME(b"elsewhere"))
            answers = [alias, text_record(name, b"other"), text_record(name, self.zone[name].encode())]
            waiting.callback((answers, [], []))
        else:
            waiting.errback(DNSNameError())


class ShellTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = WheelTimer(self.clock)
        self.events: list[Any] = []

    def source(self, resolver: Any, *links: Link, **settings: Any) -> DNSNodeSource:
        return DNSNodeSource(
            resolver, links, wheel=self.wheel, choose=Random(1).randrange, observer=self.events.append, **settings
        )

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))


class SourceTests(ShellTestCase):
    def test_resolver_is_one(self) -> None:
        verifyObject(IResolver, Resolver(ZONE))

    def test_nodes(self) -> None:
        resolver = Resolver(ZONE)
        source = self.source(resolver, EIP_LINK)
        nodes = self.successResultOf(source.nextNodes(3))
        self.assertEqual(len({node.node_id for node in nodes}), 3)
        self.assertIsInstance(nodes[0], Node)
        self.assertEqual(resolver.timeouts, {REPEATS})
        self.assertEqual(source.walk.nodes_found, 3)
        self.assertIn(RootChanged(EIP_LINK, 1), self.events)

    def test_nothing_until_asked(self) -> None:
        resolver = Resolver(ZONE)
        self.source(resolver, EIP_LINK)
        self.pass_time(10.0)
        self.assertEqual((resolver.asked, self.clock.getDelayedCalls()), ([], []))

    def test_rests_when_nobody_waits(self) -> None:
        resolver = Resolver(published("n", records(100)))
        source = self.source(resolver, link_to("n"))
        waiting = source.nextNodes(30)
        self.assertNoResult(waiting)
        self.pass_time(15.0)
        self.assertEqual(len(self.successResultOf(waiting)), 30)
        asked = len(resolver.asked)
        self.pass_time(60.0)
        self.assertEqual(len(resolver.asked), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_turn(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        source = self.source(resolver, EIP_LINK)
        waiting = [source.nextNodes(), source.nextNodes(2)]
        while not waiting[0].called:
            resolver.answer(*resolver.asked.pop())
        self.assertNoResult(waiting[1])
        while not waiting[1].called:
            resolver.answer(*resolver.asked.pop())
        self.assertEqual([len(self.successResultOf(one)) for one in waiting], [1, 2])

    def test_cancel(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        source = self.source(resolver, EIP_LINK)
        waiting = source.nextNodes(3)
        while not source.walk.nodes_found:
            resolver.answer(*resolver.asked.pop(0))
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertEqual(source.walk.wanted, 0)
        [node] = self.successResultOf(source.nextNodes())  # what the other has found
        self.assertIsInstance(node, Node)

    def test_cancel_lets_the_next_have_it(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        source = self.source(resolver, EIP_LINK)
        many, one = source.nextNodes(3), source.nextNodes(1)
        while source.walk.nodes_found < 2:
            resolver.answer(*resolver.asked.pop(0))
        self.assertNoResult(one)
        many.cancel()
        self.failureResultOf(many)
        self.assertEqual(len(self.successResultOf(one)), 1)

    def test_caps(self) -> None:
        source = self.source(Resolver(ZONE, waits=True), EIP_LINK)
        for count in (0, -1, MAX_NODES + 1):
            self.failureResultOf(source.nextNodes(count), LocalProtocolError)
        waiting = [source.nextNodes() for _ in range(MAX_WAITING)]
        self.failureResultOf(source.nextNodes(), LocalProtocolError)
        source.close()
        for one in waiting:
            self.failureResultOf(one, SourceClosed)

    def test_close(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        source = self.source(resolver, EIP_LINK)
        waiting = source.nextNodes()
        source.close()
        source.close()
        self.failureResultOf(waiting, SourceClosed)
        self.failureResultOf(source.nextNodes(), SourceClosed)
        self.assertTrue(resolver.asked[0][1].called)
        self.pass_time(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancels_the_others_when_told(self) -> None:
        """Whoever waits several times gives all of them up once one has failed; the rest are told all the same."""
        source = self.source(Resolver(ZONE, waits=True), EIP_LINK)
        waiting = [source.nextNodes() for _ in range(3)]
        waiting[0].addErrback(lambda failure: waiting[1].cancel())
        source.close()
        self.successResultOf(waiting[0])
        self.failureResultOf(waiting[1], CancelledError)
        self.failureResultOf(waiting[2], SourceClosed)

    def test_close_from_a_callback(self) -> None:
        resolver = Resolver(ZONE)
        source = self.source(resolver, EIP_LINK)
        first, second = Deferred[Any](), source.nextNodes
        waiting = source.nextNodes()
        waiting.addCallback(lambda nodes: (first.callback(nodes), source.close()))
        self.successResultOf(first)
        self.failureResultOf(second(), SourceClosed)

    def test_ask_from_a_callback(self) -> None:
        source = self.source(Resolver(ZONE), EIP_LINK)
        found: list[Node] = []

        def more(nodes: list[Node]) -> Any:
            found.extend(nodes)
            return source.nextNodes().addCallback(more) if len(found) < 5 else found

        waiting = source.nextNodes().addCallback(more)
        self.pass_time(3.0)
        self.assertEqual(len(self.successResultOf(waiting)), 5)

    def test_async_iterator(self) -> None:
        source = self.source(Resolver(ZONE), EIP_LINK)

        async def collect() -> list[Node]:
            nodes = []
            async for node in source:
                nodes.append(node)
                if len(nodes) == 3:
                    source.close()
            return nodes

        nodes = self.successResultOf(Deferred.fromCoroutine(collect()))
        self.assertEqual(len({node.node_id for node in nodes}), 3)

    def test_no_answer(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        source = self.source(resolver, EIP_LINK)
        waiting = source.nextNodes()
        self.pass_time(TIMEOUT + 0.3)
        self.assertEqual(self.events, [LookupFailed(EIP_LINK, "n", "no answer within 5 s")])
        self.pass_time(1.2)
        self.assertEqual([name for name, _ in resolver.asked], ["n", "n"])
        resolver.waits = False
        resolver.answer(*resolver.asked[1])
        self.successResultOf(waiting)

    def test_failures_in_words(self) -> None:
        for answer, words in (
            (fail(DNSNameError()), "there is no such name"),
            (fail(DNSServerError()), "the name server failed"),
            (fail(OSError("no network")), "OSError: no network"),
            (succeed(([], [], [])), "there is no root of a node list at that name"),
        ):
            resolver = Resolver({})
            self.patch(resolver, "_lookup", lambda *args, answer=answer: answer)
            self.events.clear()
            source = self.source(resolver, EIP_LINK)
            source.nextNodes().addErrback(lambda _: None)
            self.assertEqual([event.why for event in self.events], [words])
            source.close()

    def test_a_resolver_that_raises(self) -> None:
        resolver = Resolver({})

        def broken(*args: Any) -> Any:
            raise ValueError("what a name")

        self.patch(resolver, "_lookup", broken)
        source = self.source(resolver, EIP_LINK)
        source.nextNodes().addErrback(lambda _: None)
        self.assertEqual([event.why for event in self.events], ["ValueError: what a name"])
        source.close()

    def test_an_observer_that_raises(self) -> None:
        def wrong(event: Any) -> None:
            raise RuntimeError("observer")

        source = DNSNodeSource(Resolver(ZONE), [EIP_LINK], wheel=self.wheel, choose=Random(1).randrange, observer=wrong)
        self.assertEqual(len(self.successResultOf(source.nextNodes(3))), 3)
        self.assertGreater(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_only_so_many_texts(self) -> None:
        header = text_record("n", b"x")
        resolver = Resolver({})
        good = text_record("n", ZONE["n"].encode())
        answer = [header] * MAX_TEXTS + [good]
        self.patch(resolver, "_lookup", lambda *args: succeed((answer, [], [])))
        source = self.source(resolver, EIP_LINK)
        source.nextNodes().addErrback(lambda _: None)
        self.assertIsInstance(self.events[0], LookupFailed)
        del answer[0]
        self.pass_time(1.2)
        self.assertIn(RootChanged(EIP_LINK, 1), self.events)
        source.close()


class DownloadTests(ShellTestCase):
    def test_tree(self) -> None:
        progress: list[Progress] = []
        resolver = Resolver(ZONE)
        result = downloadTree(resolver, parse_url(f"enrtree://{URL_KEY}@n"), wheel=self.wheel, progress=progress.append)
        self.assertEqual(self.successResultOf(result).to_txt("n"), ZONE)
        self.assertEqual(progress[-1], Progress(5, 5))
        self.pass_time(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_paced(self) -> None:
        zone = published("n", records(60))
        result = downloadTree(Resolver(zone), link_to("n"), wheel=self.wheel)
        self.pass_time(15.0)
        self.assertNoResult(result)
        self.pass_time(10.0)
        self.assertEqual(self.successResultOf(result).to_txt("n"), zone)

    def test_failure(self) -> None:
        failure = self.failureResultOf(downloadTree(Resolver({}), EIP_LINK, wheel=self.wheel), NoAnswer)
        self.assertEqual(str(failure.value), "n: there is no such name")

    def test_cancel(self) -> None:
        resolver = Resolver(ZONE, waits=True)
        result = downloadTree(resolver, EIP_LINK, wheel=self.wheel)
        resolver.answer(*resolver.asked.pop())
        result.cancel()
        self.failureResultOf(result)
        self.assertTrue(all(waiting.called for _, waiting in resolver.asked))
        self.pass_time(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
