"""
The Twisted shells: the engines of this room over an C{IResolver}, as C{twisted.names.client.createResolver} gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.interfaces import IResolver
from twisted.logger import Logger
from twisted.names.dns import DNSQueryTimeoutError, Record_TXT
from twisted.names.error import DNSNameError, DNSServerError
from twisted.python.failure import Failure

from ethp2p.dnsdisc.download import Download, Downloaded, DownloadFailed, Progress
from ethp2p.dnsdisc.state import Event, Found, Lookup, Walk
from ethp2p.dnsdisc.tree import Tree
from ethp2p.dnsdisc.wire import Link
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError, P2PError
from ethp2p.limits import WheelCall, WheelTimer

#: Seconds that a lookup may take, with all its repetitions.
TIMEOUT = 5.0
#: When the resolver asks again: each so many seconds after the one before.
REPEATS = (1, 2, 2)
#: TXT records looked at in one answer.
MAX_TEXTS = 64
#: Calls of C{nextNodes} that may wait.
MAX_WAITING = 64
#: Nodes that one call may ask for.
MAX_NODES = 1024

_log = Logger()


class SourceClosed(P2PError):
    """The source of nodes was closed."""


class _Engine(Protocol):
    def lookups(self, now: float) -> list[Lookup]: ...

    def answered(self, token: int, texts: Sequence[bytes], now: float) -> None: ...

    def failed(self, token: int, why: str, now: float) -> None: ...

    def next_event(self) -> Any: ...

    def next_timer(self) -> float | None: ...

    def handle_timer(self, now: float) -> None: ...


class _Resolving:
    """
    Does what an engine asks, and keeps its one timer.
    """

    def __init__(self, engine: _Engine, resolver: IResolver, wheel: WheelTimer, tell: Callable[[Any], object]) -> None:
        self._engine = engine
        self._resolver = resolver
        self._wheel = wheel
        self._tell = tell
        self._underway: dict[int, tuple[Deferred[Any], WheelCall]] = {}
        self._timer: WheelCall | None = None
        self._pumping = False
        self._closed = False

    def pump(self) -> None:
        """Something has changed: tell what happened, look up what is wanted, set the timer."""
        if self._pumping:  # a resolver that answers at once, or an event that makes the owner ask for more
            return
        self._pumping = True
        try:
            idle = False
            while not idle and not self._closed:
                lookups = self._engine.lookups(self._wheel.seconds())
                idle = not lookups
                for lookup in lookups:
                    self._look(lookup)
                while not self._closed and (event := self._engine.next_event()) is not None:
                    idle = False
                    with _log.failuresHandled("who is told of node lists raised an error"):
                        self._tell(event)
        finally:
            self._pumping = False
        self._arm()

    def close(self) -> None:
        """Ask nothing more, and forget what was asked."""
        self._closed = True
        self._arm()
        for asking, _ in list(self._underway.values()):
            asking.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = None if self._closed else self._engine.next_timer()
        if when is not None:
            self._timer = self._wheel.call_later(when - self._wheel.seconds(), self._time)

    def _time(self) -> None:
        self._timer = None
        self._engine.handle_timer(self._wheel.seconds())
        self.pump()

    def _look(self, lookup: Lookup) -> None:
        asking: Deferred[Any]
        try:
            asking = self._resolver.lookupText(lookup.name, REPEATS)
        except Exception:  # noqa: BLE001  whatever is wrong with the name or the resolver, the walk goes on
            asking = fail()
        late = self._wheel.call_later(TIMEOUT, asking.cancel)
        self._underway[lookup.token] = asking, late
        asking.addCallback(_texts)
        asking.addCallbacks(self._answered, self._failed, (lookup.token,), {}, (lookup.token,), {})
        asking.addErrback(lambda failure: _log.failure("a DNS answer could not be used", failure))

    def _answered(self, texts: list[bytes], token: int) -> None:
        self._underway.pop(token)[1].cancel()
        self._engine.answered(token, texts, self._wheel.seconds())
        self.pump()

    def _failed(self, failure: Failure, token: int) -> None:
        self._underway.pop(token)[1].cancel()
        self._engine.failed(token, _words(failure), self._wheel.seconds())
        self.pump()


def _texts(answer: Any) -> list[bytes]:
    payloads = [header.payload for header in answer[0]]
    texts = [b"".join(payload.data) for payload in payloads if isinstance(payload, Record_TXT)]
    return texts[:MAX_TEXTS]


def _words(failure: Failure) -> str:
    if failure.check(CancelledError, TimeoutError, DNSQueryTimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if failure.check(DNSNameError):
        return "there is no such name"
    if failure.check(DNSServerError):
        return "the name server failed"
    return f"{failure.value.__class__.__name__}: {failure.value}"[:200]


class DNSNodeSource:
    """
    Nodes from lists in DNS, several lists mixed, without end: a list that is through begins again.  Nothing is
    looked up unless somebody waits for nodes::

        source = DNSNodeSource(resolver, [parse_url(url)], wheel=wheel, choose=random.randrange)
        nodes = await source.nextNodes(16)
        async for node in source: ...
    """

    def __init__(
        self,
        resolver: IResolver,
        links: Iterable[Link],
        *,
        wheel: WheelTimer,
        choose: Callable[[int], int],
        observer: Callable[[Event], object] | None = None,
        **settings: Any,
    ) -> None:
        """
        @param choose: a random number below its argument, as C{random.randrange}.
        @param observer: told of everything that happens, as L{ethp2p.dnsdisc.state} has it.
        @param settings: as of L{Walk}.
        """
        self._walk = Walk(links, choose=choose, **settings)
        self._resolving = _Resolving(self._walk, resolver, wheel, self._tell)
        self._observer = observer
        self._found: deque[Node] = deque()
        self._waiting: deque[tuple[Deferred[list[Node]], int]] = deque()
        self._closed = False

    @property
    def trees(self) -> tuple[Link, ...]:
        """The lists read: those given, then those they link to."""
        return self._walk.trees

    @property
    def walk(self) -> Walk:
        """The engine, for its counters."""
        return self._walk

    def nextNodes(self, count: int = 1) -> Deferred[list[Node]]:
        """
        The next nodes.  They may come again after all others of their list.

        @param count: how many to wait for, 1 to L{MAX_NODES}.
        @return: fires with so many; fails with L{SourceClosed}, or L{LocalProtocolError} when more than
            L{MAX_WAITING} wait already.  What a cancelled call has found is for the next one.
        """
        if self._closed:
            return fail(SourceClosed())
        if not 0 < count <= MAX_NODES or len(self._waiting) >= MAX_WAITING:
            return fail(LocalProtocolError(f"{count} more nodes, with {len(self._waiting)} calls waiting"))
        waiting: Deferred[list[Node]] = Deferred(self._cancelled)
        self._waiting.append((waiting, count))
        self._serve()
        self._resolving.pump()
        return waiting

    def close(self) -> None:
        """Look nothing up any more; who waits is told."""
        self._closed = True
        self._resolving.close()
        while self._waiting:  # whoever is told may cancel others
            self._waiting.popleft()[0].errback(SourceClosed())

    def __aiter__(self) -> DNSNodeSource:
        return self

    async def __anext__(self) -> Node:
        try:
            return (await self.nextNodes())[0]
        except SourceClosed:
            raise StopAsyncIteration from None

    def _tell(self, event: Event) -> None:
        if isinstance(event, Found):
            self._found.append(event.node)
            self._serve()
        if self._observer is not None:
            self._observer(event)

    def _serve(self) -> None:
        while self._waiting and len(self._found) >= self._waiting[0][1]:
            deferred, count = self._waiting.popleft()
            deferred.callback([self._found.popleft() for _ in range(count)])
        self._want()

    def _want(self) -> None:
        needed = sum(count for _, count in self._waiting) - len(self._found)
        self._walk.want(needed - self._walk.wanted)

    def _cancelled(self, deferred: Deferred[list[Node]]) -> None:
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not deferred)
        self._serve()


def downloadTree(
    resolver: IResolver,
    link: Link,
    *,
    wheel: WheelTimer,
    progress: Callable[[Progress], object] | None = None,
    **settings: Any,
) -> Deferred[Tree]:
    """
    Get one list whole, without those it links to.

    @param progress: told after each entry.
    @param settings: as of L{Download}.
    @return: fires with the verified tree; fails with what could not be had, L{ethp2p.errors.WireError} or
        L{ethp2p.dnsdisc.download.NoAnswer}.  It can be cancelled.
    """

    def tell(event: Progress | Downloaded | DownloadFailed) -> None:
        if isinstance(event, Progress):
            if progress is not None:
                progress(event)
            return
        resolving.close()
        if isinstance(event, Downloaded):
            result.callback(event.tree)
        else:
            result.errback(event.error)

    result: Deferred[Tree] = Deferred(lambda _: resolving.close())
    resolving = _Resolving(Download(link, **settings), resolver, wheel, tell)
    resolving.pump()
    return result
