"""
Where nodes to call come from, and one stream out of all of it: fair, of our network, none twice in a row.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.discovery.filters import NodeFilter
from ethp2p.discovery.interfaces import INodeSource
from ethp2p.dnsdisc import DNSNodeSource
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError, P2PError
from ethp2p.kademlia import FairMix
from ethp2p.kademlia.fairmix import MAX_WAITING as MIX_ROOM
from ethp2p.limits import ExpiringMap, SteadyClock

T = TypeVar("T")

#: Most callers of C{nextNode} that wait at one source.
MAX_WAITERS = 64
#: Seconds to wait for the source whose turn it is, at first (geth: the same).
FAIR_WAIT = 0.1
#: Seconds that a node given is not given again, and how many are remembered; the oldest is forgotten first.
RECENT = 60.0
MAX_RECENT = 4096
#: Most nodes kept that a protocol has found and nobody has asked for; the oldest goes first.
MAX_FOUND = 64
#: Seconds between the beginnings of two lookups for anybody, and the most there are once lookups find nobody new.
LOOKUP_INTERVAL = 1.0
MAX_LOOKUP_INTERVAL = 32.0
#: Seconds until a source that failed is asked again.
RETRY = 10.0
#: Nodes looked at before others have their turn: a list of nodes that are all of another chain has no end.
TURN = 64


class SourceEnded(P2PError):
    """This source of nodes has no more."""


class _Waiters(Generic[T]):
    """Those who wait for a node, first come first served."""

    def __init__(self) -> None:
        self._waiting: deque[Deferred[T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[T]:
        if len(self._waiting) >= MAX_WAITERS:
            return fail(LocalProtocolError(f"{MAX_WAITERS} wait for a node already"))
        waiter: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def serve(self, item: T) -> None:
        self._waiting.popleft().callback(item)

    def fail_all(self, error: P2PError) -> None:
        while self._waiting:  # whoever is told may cancel others
            self._waiting.popleft().errback(error)


@implementer(INodeSource)
class ListSource:
    """
    Nodes that are known already, each once.
    """

    def __init__(self, name: str, nodes: Callable[[], Iterable[Node]]) -> None:
        """@param nodes: asked at the start."""
        self.name = name
        self._tell = nodes
        self._nodes: deque[Node] = deque()

    def start(self) -> None:
        """See L{INodeSource}."""
        self._nodes = deque(self._tell())

    def nextNode(self) -> Deferred[Node]:
        """See L{INodeSource}."""
        if not self._nodes:
            return fail(SourceEnded())
        given: Deferred[Node] = Deferred()
        given.callback(self._nodes.popleft())
        return given

    def stop(self) -> None:
        """See L{INodeSource}."""
        self._nodes.clear()


@implementer(INodeSource)
class LookupSource:
    """
    What a discovery protocol comes across.  While somebody waits it looks for anybody, again and again: at most once
    a L{LOOKUP_INTERVAL}, and more and more seldom when that finds nobody new.
    """

    def __init__(self, name: str, lookUp: Callable[[], Deferred[Any]], clock: SteadyClock) -> None:
        """@param lookUp: begins a lookup for anybody; fires when it is over."""
        self.name = name
        self.lookups = 0
        self._lookUp = lookUp
        self._clock = clock
        self._waiters: _Waiters[Node] = _Waiters()
        self._found: deque[Node] = deque(maxlen=MAX_FOUND)
        self._recent: ExpiringMap[bytes, bool] = ExpiringMap(MAX_RECENT, RECENT)
        self._lookup: Deferred[Any] | None = None
        self._timer: Any = None
        self._interval = LOOKUP_INTERVAL
        self._next = 0.0
        self._fresh = False
        self._running = False

    def start(self) -> None:
        """See L{INodeSource}."""
        self._running = True

    def found(self, node: Node) -> None:
        """The protocol has come across a node."""
        now = self._clock.seconds()
        if self._recent.get(node.node_id, now) is not None:
            return
        self._recent.set(node.node_id, True, now)
        self._fresh = True
        if self._waiters:
            self._waiters.serve(node)
        else:
            self._found.append(node)

    def nextNode(self) -> Deferred[Node]:
        """See L{INodeSource}."""
        if not self._running:
            return fail(SourceEnded())
        waiter = self._waiters.wait()
        if self._found and self._waiters:
            self._waiters.serve(self._found.popleft())
        self._look()
        return waiter

    def stop(self) -> None:
        """See L{INodeSource}."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lookup is not None:
            self._lookup.cancel()
        self._found.clear()
        self._waiters.fail_all(SourceEnded())

    def _look(self) -> None:
        if not self._running or not self._waiters or self._lookup is not None or self._timer is not None:
            return
        if self._next > self._clock.seconds():
            self._timer = self._clock.callAt(self._next, self._lookAgain)
            return
        self.lookups += 1
        self._fresh = False
        self._lookup = lookup = self._lookUp()
        lookup.addBoth(self._looked)

    def _lookAgain(self) -> None:
        self._timer = None
        self._look()

    def _looked(self, result: object) -> None:
        """Whether it was done, failed or was cancelled, what it came across has been told by L{found}."""
        self._lookup = None
        self._interval = LOOKUP_INTERVAL if self._fresh else min(2 * self._interval, MAX_LOOKUP_INTERVAL)
        self._next = self._clock.seconds() + self._interval
        self._look()


@implementer(INodeSource)
class DNSSource:
    """
    Nodes from lists in DNS.
    """

    def __init__(self, name: str, make: Callable[[], DNSNodeSource]) -> None:
        """@param make: called at the start."""
        self.name = name
        self._make = make
        self._source: DNSNodeSource | None = None

    def start(self) -> None:
        """See L{INodeSource}."""
        self._source = self._make()

    def nextNode(self) -> Deferred[Node]:
        """See L{INodeSource}."""
        if self._source is None:
            return fail(SourceEnded())
        return self._source.nextNodes().addCallback(lambda nodes: nodes[0])

    def stop(self) -> None:
        """See L{INodeSource}."""
        source, self._source = self._source, None
        if source is not None:
            source.close()


@implementer(INodeSource)
class NodeMix:
    """
    One source out of several.  Nothing is asked of them unless somebody waits here.

    @ivar given: nodes given, by the name of their source.
    @ivar dropped: nodes not given, by the reason.
    """

    name = "mix"
    _log = Logger()

    def __init__(
        self,
        sources: Sequence[INodeSource],
        *,
        clock: SteadyClock,
        local_id: bytes,
        nodeFilter: NodeFilter,
        mayCall: Callable[[Node], bool],
        version: int | None = None,
        wait: float = FAIR_WAIT,
    ) -> None:
        """
        @param local_id: our own id, which is not given.
        @param mayCall: whether an address may be called at all.
        @param version: the IP version that can be called, if it is only one.
        @param wait: seconds to wait for the source whose turn it is.
        """
        self.sources = sources
        self.given: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._clock = clock
        self._local_id = local_id
        self._filter = nodeFilter
        self._mayCall = mayCall
        self._version = version
        self._mix: FairMix[tuple[str, Node]] = FairMix(wait)
        self._waiters: _Waiters[Node] = _Waiters()
        self._recent: ExpiringMap[bytes, bool] = ExpiringMap(MAX_RECENT, RECENT)
        self._asking: dict[INodeSource, Deferred[None]] = {}
        self._resting: dict[INodeSource, Any] = {}
        self._ended: set[INodeSource] = set()
        self._timer: Any = None
        self._running = False
        self._pumping = False

    def start(self) -> None:
        """See L{INodeSource}."""
        self._running = True
        self._ended.clear()
        for source in self.sources:
            self._mix.add(source)
            source.start()

    def nextNode(self) -> Deferred[Node]:
        """See L{INodeSource}."""
        if not self._running:
            return fail(SourceEnded())
        waiter = self._waiters.wait()
        self._pump()
        return waiter

    def stop(self) -> None:
        """See L{INodeSource}."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in self._resting.values():
            call.cancel()
        self._resting.clear()
        for asking in list(self._asking.values()):
            asking.cancel()
        for source in reversed(self.sources):
            self._mix.remove(source)
            source.stop()
        self._waiters.fail_all(SourceEnded())

    def _pump(self) -> None:
        """Give what there is; ask whoever has nothing here.  What is asked may answer at once."""
        if self._pumping or not self._running:
            return
        self._pumping = True
        try:
            taken = None
            for _ in range(TURN):
                if not self._waiters or not self._running:  # the last of them may have stopped us
                    break
                self._askAround()
                taken = self._mix.take(self._clock.seconds())
                if taken is None:
                    break
                self._give(*taken)
        finally:
            self._pumping = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._mix.next_timer() if taken is None else self._clock.seconds()
        if due is not None and self._waiters:
            self._timer = self._clock.callAt(due, self._late)

    def _late(self) -> None:
        self._timer = None
        self._pump()

    def _askAround(self) -> None:
        for source in self.sources:
            idle = source not in self._asking and source not in self._resting and source not in self._ended
            if idle and self._mix.room(source) >= MIX_ROOM:
                asking = source.nextNode()
                self._asking[source] = asking
                asking.addCallbacks(self._offered, self._failed, (source,), {}, (source,), {})
                asking.addErrback(lambda failure: self._log.failure("a source of nodes broke", failure))

    def _offered(self, node: Node, source: INodeSource) -> None:
        del self._asking[source]
        self._mix.offer(source, [(source.name, node)])
        self._pump()

    def _failed(self, failure: Failure, source: INodeSource) -> None:
        del self._asking[source]
        if failure.check(SourceEnded):
            self._ended.add(source)
            self._mix.remove(source)
        elif self._running:
            self._log.warn("{name} gives no nodes: {why}", name=source.name, why=failure.getErrorMessage())
            self._resting[source] = self._clock.callLater(RETRY, self._rested, source)
        self._pump()

    def _rested(self, source: INodeSource) -> None:
        del self._resting[source]
        self._pump()

    def _give(self, name: str, node: Node) -> None:
        node = node.placed(self._version)
        now = self._clock.seconds()
        reason = self._objection(node, now)
        if reason is not None:
            self.dropped[reason] += 1
            return
        self._recent.set(node.node_id, True, now)
        self.given[name] += 1
        self._waiters.serve(node)

    def _objection(self, node: Node, now: float) -> str | None:
        if node.node_id == self._local_id:
            return "ourselves"
        if not node.host or not node.tcp:
            return "no TCP endpoint"
        if not self._mayCall(node):
            return "restricted"
        if not self._filter.wants(node):
            return "another chain"
        if self._recent.get(node.node_id, now) is not None:
            return "given lately"
        return None
