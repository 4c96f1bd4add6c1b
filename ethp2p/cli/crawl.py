"""
Who is out there: every node that others know is visited once, asked for its record and for those that it knows, until
nobody new is named.

Scores are those of geth's C{devp2p} tool, so that both can take turns with one C{nodes.json}.  Where it walks at random
until its time is up, this asks each node bucket by bucket, and ends when there is nobody left to ask.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv6Address
from random import Random, SystemRandom
from typing import Any, Union

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ethp2p.cli.finding import Finder, Terms, Wall, within
from ethp2p.cli.greet import Findings
from ethp2p.crypto.keccak import keccak256
from ethp2p.dnsdisc import NodeSet, SeenNode
from ethp2p.enode import Node
from ethp2p.enode.cidr import is_lan
from ethp2p.enr import Record
from ethp2p.errors import ConfigError, P2PError

#: Visits at one time.  Most of a crawl is waiting for nodes that are not there any more.
PARALLEL = 64
#: Seconds after a check in which a node is not checked again (geth: the same).
RECHECK = 600.0
#: How often to ask for a record: packets get lost.
TRIES = 2
#: Most nodes of one crawl, ten times what the largest network has.  Identities cost nothing, and liars can name new
#: ones for ever.
MAX_NODES = 100_000
#: Most nodes of one IPv4 address or IPv6 /64, for the same reason; the local network is exempt.
MAX_PER_HOST = 64
#: Answers in a row without a new name after which a node is asked no more.  With 2, in a network of 200, one of them
#: was missed at times.
MISSES = 3
#: How near to itself a node is asked about: so many buckets, the farthest first.  With 2**16 nodes all nearer ones are
#: empty.
BUCKETS = 16
#: The same where a target has to be searched for by hashing, which takes 2**n hashes for the n-th bucket.
SEARCHED_BUCKETS = 9
#: Seconds between two times that what is known is kept.  Not often: to write some megabytes stops everything else.
SAVE_INTERVAL = 300.0


class NobodyThere(P2PError):
    """None of the nodes to begin with has answered."""


@attrs.define
class Visit:
    """
    What came of calling at a node.

    @ivar record: its newest record, if it gave one.
    @ivar failure: why there is none, in words.
    @ivar findings: what it said over RLPx, if it was asked.
    """

    node: Node
    record: Record | None = None
    failure: str = ""
    findings: Findings | None = None


class Crawl:
    """
    The decisions of a crawl: whom to visit, and what it makes of a node's score.

    @ivar nodes: by id, as for C{nodes.json}.
    @ivar visits: by id, in order.
    @ivar counts: how many nodes were C{added}, C{updated}, C{removed}; C{recent} when it was too early to check them
        again, C{silent} when they gave no record, and C{refused} when there was no room to visit them.
    """

    def __init__(
        self,
        known: NodeSet,
        first: Iterable[Node],
        *,
        own_id: bytes = b"",
        reach: Iterable[int] = (4, 6),
        most: int = MAX_NODES,
    ) -> None:
        """
        @param known: from the crawls before.
        @param first: whom to begin with, beside those.
        @param own_id: who we are: others name us too.
        @param reach: IP versions.
        """
        self.nodes: dict[bytes, SeenNode] = dict(known.nodes)
        self.visits: dict[bytes, Visit] = {}
        self.counts: Counter[str] = Counter()
        #: Whether anybody has answered.
        self.heard = False
        self._own_id = own_id
        self._most = most
        self._reach = frozenset(reach)
        self._named: set[bytes] = set()
        self._hosts: Counter[Union[str, int]] = Counter()
        self._queue: deque[Node] = deque()
        self.add(first)
        self.add(Node.from_record(record) for record in known.records)

    @property
    def known(self) -> int:
        """How many nodes were named."""
        return len(self._named)

    def add(self, nodes: Iterable[Node]) -> int:
        """
        Somebody names nodes.

        @return: how many are new and will be visited.
        """
        new = 0
        for node in nodes:
            if node.node_id not in self._named and self._admits(node):
                self._named.add(node.node_id)
                self._queue.append(node)
                new += 1
        return new

    def _admits(self, node: Node) -> bool:
        ip = node.ip
        if ip is None or not node.udp or ip.version not in self._reach or node.node_id == self._own_id:
            return False
        if not is_lan(ip):
            host = int(ip) >> 64 if isinstance(ip, IPv6Address) else node.host
            if len(self._named) >= self._most or self._hosts[host] >= MAX_PER_HOST:
                self.counts["refused"] += 1
                return False
            self._hosts[host] += 1
        return True

    def next_visit(self) -> Visit | None:
        """Whom to visit now; None when there is nobody at present."""
        if not self._queue:
            return None
        node = self._queue.popleft()
        visit = self.visits[node.node_id] = Visit(node)
        return visit

    def checked_lately(self, visit: Visit, wall: float) -> bool:
        """Whether it is too early to ask a node for its record again; it is taken for what it was."""
        seen = self.nodes.get(visit.node.node_id)
        if seen is None or seen.last_check is None or not 0 <= wall - seen.last_check < RECHECK:
            return False
        self.counts["recent"] += 1
        visit.record = seen.record
        return True

    def recorded(self, visit: Visit, record: Record, wall: float) -> None:
        """A node has given its record."""
        now = float(int(wall))
        visit.record = record
        self.heard = True
        node_id = visit.node.node_id
        seen = self.nodes.get(node_id)
        if seen is None or seen.first_response is None:
            self.counts["added"] += 1
        else:
            self.counts["updated"] += 1
        score, first = (0, None) if seen is None else (seen.score, seen.first_response)
        self.nodes[node_id] = SeenNode(record, score + 1, now if first is None else first, now, now)

    def failed(self, visit: Visit, why: str, wall: float) -> None:
        """A node has not given its record."""
        visit.failure = why
        self.counts["silent"] += 1
        seen = self.nodes.get(visit.node.node_id)
        if seen is None:
            return
        score = seen.score // 2
        if score > 0:
            self.nodes[visit.node.node_id] = attrs.evolve(seen, score=score, last_check=float(int(wall)))
        else:
            self.counts["removed"] += 1
            del self.nodes[visit.node.node_id]


def aims(protocol: str, node: Node, rng: Random) -> Iterator[Any]:
    """What to ask a node, so that it tells all that it knows: of C{v5} distances, of C{v4} targets."""
    if protocol == "v5":
        yield from ([distance] for distance in range(256, 256 - BUCKETS, -1))
        return
    own = int.from_bytes(node.node_id, "big")
    for distance in range(256, 256 - SEARCHED_BUCKETS, -1):
        while True:
            target = rng.randbytes(64)
            if (int.from_bytes(keccak256(target), "big") ^ own).bit_length() == distance:
                yield target
                break
    yield node.public_key.raw


@attrs.frozen
class Crawled:
    """
    What a crawl has found.
    """

    node_set: NodeSet
    #: In the order in which they were made.
    visits: tuple[Visit, ...]
    counts: Counter[str]


class _Crawler:
    """
    A crawl under way.
    """

    def __init__(
        self,
        finder: Finder,
        crawl: Crawl,
        *,
        wall: Wall,
        rng: Random,
        parallel: int,
        probe: Callable[[Node], Deferred[Findings]] | None,
        progress: Callable[[Crawl], object] | None,
    ) -> None:
        self._finder = finder
        self._crawl = crawl
        self._wall = wall
        self._rng = rng
        self._parallel = parallel
        self._probe = probe
        self._progress = progress
        self._under_way: set[Deferred[Any]] = set()
        self._over: Deferred[None] = Deferred(lambda _: None)
        self._filling = False

    def run(self) -> Deferred[None]:
        """@return: fires when everybody was visited; can be cancelled, and visits under way count for nothing then."""
        self._fill()
        return self._over

    def stop(self) -> None:
        """Break off what is under way."""
        self._parallel = 0
        for visiting in list(self._under_way):
            visiting.cancel()

    def _fill(self) -> None:
        if self._filling:
            return
        self._filling = True
        try:
            while len(self._under_way) < self._parallel and (visit := self._crawl.next_visit()) is not None:
                visiting = Deferred.fromCoroutine(self._visit(visit))
                self._under_way.add(visiting)
                visiting.addBoth(self._visited, visiting)
        finally:
            self._filling = False
        if not self._under_way and not self._over.called:
            self._over.callback(None)

    def _visited(self, result: Any, visiting: Deferred[Any]) -> None:
        self._under_way.discard(visiting)
        if isinstance(result, Failure) and not result.check(CancelledError) and not self._over.called:
            self._over.errback(result)
            return
        if self._progress is not None:
            self._progress(self._crawl)
        if self._parallel:
            self._fill()

    async def _visit(self, visit: Visit) -> None:
        crawl = self._crawl
        if not crawl.checked_lately(visit, self._wall()):
            try:
                record = await self._record(visit.node)
            except P2PError as error:
                crawl.failed(visit, str(error), self._wall())
                return
            crawl.recorded(visit, record, self._wall())
        await self._ask(visit.node)
        if self._probe is not None:
            visit.findings = await self._probe(at_record(visit))

    async def _record(self, node: Node) -> Record:
        for _ in range(TRIES - 1):
            try:
                return await self._finder.speaker.requestRecord(node)
            except P2PError:
                continue
        return await self._finder.speaker.requestRecord(node)

    async def _ask(self, node: Node) -> None:
        misses = 0
        for aim in aims(self._finder.speaker.name, node, self._rng):
            try:
                named = await self._finder.speaker.findNode(node, aim)
            except P2PError:
                return
            self._crawl.heard = True
            misses = 0 if self._crawl.add(named) else misses + 1
            if misses == MISSES:
                return


def at_record(visit: Visit) -> Node:
    """A visited node as it is to be called: at the TCP port that its record tells, where it has answered."""
    if visit.record is None:
        return visit.node
    told = Node.from_record(visit.record)
    return attrs.evolve(visit.node, tcp=told.tcp or visit.node.tcp, record=visit.record)


def crawl(
    reactor: Any,
    terms: Terms,
    known: NodeSet,
    *,
    wall: Wall,
    timeout: float | None = None,
    parallel: int = PARALLEL,
    probe: Callable[[Node], Deferred[Findings]] | None = None,
    progress: Callable[[Crawl], object] | None = None,
    save: Callable[[NodeSet], object] | None = None,
    rng: Random | None = None,
    **settings: Any,
) -> Deferred[Crawled]:
    """
    Visit everybody.

    @param known: from the crawls before.
    @param timeout: seconds after which it ends with what it has found.
    @param parallel: visits at one time.
    @param probe: says Hello to a node; see L{ethp2p.cli.greet.probe}.
    @param progress: told of each visit that is over.
    @param save: told what is known by now, every L{SAVE_INTERVAL} seconds and at the end, also when it is cancelled.
    @param settings: more of L{ethp2p.discovery.service.DiscoveryService}'s.
    @return: fails with L{NobodyThere}, and then nothing is saved: scores tell of nodes, and not of our own line.
    """
    rng = SystemRandom() if rng is None else rng

    async def work() -> Crawled:
        async with Finder(reactor, terms, wall=wall, rng=rng, **settings) as finder:
            crawl = Crawl(known, finder.bootnodes, own_id=finder.local.node_id, reach=finder.families)
            crawler = _Crawler(finder, crawl, wall=wall, rng=rng, parallel=parallel, probe=probe, progress=progress)

            saving: Any = None

            def keep() -> None:
                if save is not None and crawl.heard:
                    save(NodeSet(dict(crawl.nodes)))

            def keep_for_now() -> None:
                nonlocal saving
                saving = reactor.callLater(SAVE_INTERVAL, keep_for_now)
                with suppress(ConfigError):  # if it cannot be written at the end either, that is told
                    keep()

            saving = reactor.callLater(SAVE_INTERVAL, keep_for_now)
            try:
                with suppress(_TimeIsUp):
                    await within(timeout, reactor, _wait(crawler.run()), _TimeIsUp())
            finally:
                saving.cancel()
                crawler.stop()
                keep()
            if not crawl.heard:
                raise NobodyThere(
                    f"none of {crawl.known} nodes has answered" if crawl.known else "there is nobody to begin with"
                )
            return Crawled(NodeSet(dict(crawl.nodes)), tuple(crawl.visits.values()), crawl.counts)

    return Deferred.fromCoroutine(work())


class _TimeIsUp(P2PError):
    """The crawl takes no longer."""


async def _wait(deferred: Deferred[None]) -> None:
    await deferred
