"""
The walk over trees as an engine: it says which names to look up, and is told the answers and the time.

It looks up only as much as nodes are wanted: L{Walk.want}, then L{Walk.lookups}, and each of those is answered
with L{Walk.answered} or L{Walk.failed}.

Source: EIP-1459 (devp2p dnsdisc.md, "Client Protocol"); figures as geth's where it has them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Union

import attrs

from ethp2p.dnsdisc.wire import BadEntry, Branch, Entry, Link, Root, read_entry, read_root
from ethp2p.enode import Node
from ethp2p.enr.record import Record
from ethp2p.errors import WireError

#: Seconds after which a root is looked up again.
RECHECK = 30 * 60.0
#: Failures in a row after which a root is looked up before its time: the tree may be another by now.
MAX_FAILURES = 5
#: Entries kept, whichever tree they are of.  At L{ethp2p.dnsdisc.wire.MAX_TEXT} each, 4 MiB.
CACHE = 1000
#: Steps a second, and how many at once after a rest; also those that need no lookup, so that asking a small
#: tree for ever more nodes costs little.
RATE = 3.0
BURST = 10
#: Lookups under way at one time.
MAX_LOOKUPS = 4
#: Hashes of one pass over a tree.  What more there is, is not seen: or whoever signs it could fill our memory.
MAX_HASHES = 50_000
#: Trees, of which the configured ones come first.  Links to more are not followed.
MAX_TREES = 32
#: Links of one tree.
MAX_LINKS = 256
#: Seconds between attempts on a tree that does not work: doubling, from the first to the second.
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0


@attrs.frozen
class Lookup:
    """
    Look up the TXT records at a name, and tell the answer with the token.
    """

    token: int
    name: str


@attrs.frozen
class Found:
    """
    A node, and the list that it is on.
    """

    node: Node
    link: Link


@attrs.frozen
class RootChanged:
    """
    A list was seen for the first time, or has changed.
    """

    link: Link
    seq: int


@attrs.frozen
class LookupFailed:
    """
    A name could not be had, or did not hold what it should.
    """

    link: Link
    name: str
    why: str


Event = Union[Found, RootChanged, LookupFailed]


@attrs.define
class Pace:
    """
    A rate with a burst, that can say when the next step may be.
    """

    rate: float
    burst: int
    _full: float = -inf  # when as many as the burst may go at once again

    @property
    def next(self) -> float:
        """When the next step may be."""
        return self._full - (self.burst - 1) / self.rate

    def take(self, now: float) -> bool:
        """Go a step, if one may be gone."""
        if self.next > now + 1e-6:  # rounded
            return False
        self._full = max(self._full, now) + 1 / self.rate
        return True


def pause(failures: int) -> float:
    """How many seconds to wait after so many failures in a row."""
    return min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))


@attrs.define(eq=False)
class _Pass:
    """One pass over the nodes or the links of a tree."""

    top: str
    coming: list[str]
    seen: set[str]
    underway: int = 0
    leaves: int = 0
    failures: int = 0

    @classmethod
    def over(cls, top: str) -> _Pass:
        return cls(top, [top], {top})

    @property
    def done(self) -> bool:
        return not self.coming and not self.underway

    def branch(self, children: Iterable[str]) -> None:
        for child in children:
            if child not in self.seen and len(self.seen) < MAX_HASHES:
                self.seen.add(child)
                self.coming.append(child)


@attrs.define(eq=False)
class _Tree:
    """A tree that is walked."""

    link: Link
    root: Root | None = None
    nodes: _Pass = attrs.field(factory=lambda: _Pass("", [], set()))
    links: _Pass = attrs.field(factory=lambda: _Pass("", [], set()))
    #: Where it links to, as far as known.  A dict, for its order.
    linked: dict[Link, None] = attrs.field(factory=dict)
    #: Those of the pass that is on.
    linking: dict[Link, None] = attrs.field(factory=dict)
    root_asked: bool = False
    #: When the root is looked up next.
    check_at: float = -inf
    #: Until when nothing else is.
    rest_until: float = -inf
    root_failures: int = 0
    failures: int = 0
    #: How often in a row there were MAX_FAILURES.
    troubles: int = 0

    def has_step(self) -> bool:
        """Whether there is an entry to look up, now or after its rest."""
        return bool(self.links.coming or self.nodes.coming or self._again())

    def _again(self) -> bool:
        return self.root is not None and self.nodes.done and bool(self.nodes.leaves or self.nodes.failures)

    def wakes(self) -> float:
        """When there is something to do."""
        if self.root_asked:
            return inf
        return min(self.check_at, self.rest_until) if self.has_step() else self.check_at

    def step(self, choose: Callable[[int], int]) -> tuple[_Pass, str]:
        """The next entry.  The links come first, for what they lead to."""
        if self.links.coming:
            walk = self.links
        else:
            if self._again():  # all seen: start over
                self.nodes = _Pass.over(self.nodes.top)
            walk = self.nodes
        at = choose(len(walk.coming))
        walk.coming[at], walk.coming[-1] = walk.coming[-1], walk.coming[at]
        walk.underway += 1
        return walk, walk.coming.pop()


class Walk:
    """
    A random walk over trees and those that they link to.
    """

    def __init__(
        self,
        links: Iterable[Link],
        *,
        choose: Callable[[int], int],
        recheck: float = RECHECK,
        cache: int = CACHE,
        rate: float = RATE,
        burst: int = BURST,
        most: int = MAX_LOOKUPS,
    ) -> None:
        """
        @param choose: a random number below its argument, as C{random.Random.randrange}.
        @param recheck: seconds after which a root is looked up again.
        @param cache: entries kept.
        @param rate: steps a second.
        @param burst: steps at once.
        @param most: lookups under way at one time.
        """
        self._start = tuple(dict.fromkeys(links))
        self._choose = choose
        self._recheck = recheck
        self._most = most
        self._pace = Pace(rate, burst)
        self._cache: OrderedDict[str, Entry] = OrderedDict()
        self._cache_size = cache
        self._trees: dict[Link, _Tree] = {}
        self._underway: dict[int, tuple[Lookup, _Tree, _Pass | None, str]] = {}
        self._token = 0
        self._events: deque[Event] = deque()
        self._wake: float | None = None
        #: How many more nodes are wanted.
        self.wanted = 0
        self.lookups_made = self.lookups_failed = self.nodes_found = 0
        self._find_trees()

    @property
    def trees(self) -> tuple[Link, ...]:
        """The lists walked: the configured ones, then those they link to."""
        return tuple(self._trees)

    def want(self, nodes: int = 1) -> None:
        """Look for so many more; fewer, when it is negative."""
        self.wanted = max(0, self.wanted + nodes)

    def lookups(self, now: float) -> list[Lookup]:
        """What to look up now."""
        lookups: list[Lookup] = []
        self._wake = None
        while self.wanted > 0 and len(self._underway) < min(self._most, self.wanted):
            ready = [tree for tree in self._trees.values() if tree.wakes() <= now]
            if not ready:
                wake = min((tree.wakes() for tree in self._trees.values()), default=inf)
                self._wake = None if wake == inf else wake
                break
            if not self._pace.take(now):
                self._wake = self._pace.next
                break
            lookup = self._step(ready[self._choose(len(ready))], now)
            if lookup is not None:
                lookups.append(lookup)
        self.lookups_made += len(lookups)
        return lookups

    def answered(self, token: int, texts: Sequence[bytes], now: float) -> None:
        """
        The TXT records at a name, each with its strings joined.  An answer to nothing asked is forgotten.
        """
        asked = self._underway.pop(token, None)
        if asked is None:
            return
        lookup, tree, walk, name = asked
        if self._trees.get(tree.link) is not tree:
            return
        try:
            if walk is None:
                self._root(tree, read_root(list(texts), tree.link), now)
                return
            entry = read_entry(list(texts), name)
        except WireError as error:
            self._failed(lookup, tree, walk, str(error), now)
            return
        self._keep(name, entry)
        self._entry(lookup, tree, walk, entry, now)

    def failed(self, token: int, why: str, now: float) -> None:
        """A name could not be looked up."""
        asked = self._underway.pop(token, None)
        if asked is not None:
            lookup, tree, walk, _ = asked
            self._failed(lookup, tree, walk, why, now)

    def next_event(self) -> Event | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """When L{lookups} will have something that it has not now; None while that is for an answer to say."""
        return self._wake

    def handle_timer(self, now: float) -> None:
        """It is time: ask for L{lookups}."""
        if self._wake is not None and self._wake <= now:
            self._wake = None

    # --- steps

    def _step(self, tree: _Tree, now: float) -> Lookup | None:
        self._token += 1
        domain = tree.link.domain
        if tree.check_at <= now:
            tree.root_asked = True
            lookup = Lookup(self._token, domain)
            self._underway[self._token] = lookup, tree, None, ""
            return lookup
        walk, name = tree.step(self._choose)
        lookup = Lookup(self._token, f"{name}.{domain}")
        entry = self._cache.get(name)
        if entry is not None:
            self._cache.move_to_end(name)
            self._entry(lookup, tree, walk, entry, now)
            return None
        self._underway[self._token] = lookup, tree, walk, name
        return lookup

    def _keep(self, name: str, entry: Entry) -> None:
        self._cache[name] = entry
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _root(self, tree: _Tree, root: Root, now: float) -> None:
        before = tree.root
        if before is not None and root.seq < before.seq:
            raise BadEntry(f"the root's sequence number went back from {before.seq} to {root.seq}")
        tree.root, tree.root_asked = root, False
        tree.root_failures = tree.failures = 0
        tree.check_at = now + self._recheck
        if before != root:
            self._events.append(RootChanged(tree.link, root.seq))
        if tree.links.top != root.links or (tree.links.done and tree.links.failures):
            tree.links = _Pass.over(root.links)
            tree.linking = {}
        if tree.nodes.top != root.nodes:
            tree.nodes = _Pass.over(root.nodes)

    def _entry(self, lookup: Lookup, tree: _Tree, walk: _Pass, entry: Entry, now: float) -> None:
        if self._stale(tree, walk):
            return
        if isinstance(entry, Link if walk is tree.nodes else Record):
            self._failed(lookup, tree, walk, "a link among nodes, or a node among links", now)
            return
        walk.underway -= 1
        tree.failures = tree.troubles = 0
        if isinstance(entry, Branch):
            walk.branch(entry.children)
        elif isinstance(entry, Link):
            walk.leaves += 1
            self._link(tree, entry)
        elif entry.public_key is not None:  # else of an identity scheme that nobody here knows
            walk.leaves += 1
            self.wanted = max(0, self.wanted - 1)
            self.nodes_found += 1
            self._events.append(Found(Node.from_record(entry), tree.link))
        self._settle(tree, walk)

    def _failed(self, lookup: Lookup, tree: _Tree, walk: _Pass | None, why: str, now: float) -> None:
        self.lookups_failed += 1
        if self._trees.get(tree.link) is not tree:
            return
        self._events.append(LookupFailed(tree.link, lookup.name, why))
        if walk is None:
            tree.root_asked = False
            tree.root_failures += 1
            tree.check_at = now + pause(tree.root_failures)
        elif not self._stale(tree, walk):
            walk.underway -= 1
            walk.failures += 1
            tree.failures += 1
            if tree.failures >= MAX_FAILURES:
                self._trouble(tree, now)
            self._settle(tree, walk)

    def _trouble(self, tree: _Tree, now: float) -> None:
        tree.failures = 0
        tree.rest_until = now + (pause(tree.troubles) if tree.troubles else 0.0)
        tree.troubles += 1
        if not tree.root_failures:  # else the root has its own next time
            tree.check_at = min(tree.check_at, tree.rest_until)

    def _stale(self, tree: _Tree, walk: _Pass) -> bool:
        return self._trees.get(tree.link) is not tree or (walk is not tree.nodes and walk is not tree.links)

    # --- links

    def _link(self, tree: _Tree, link: Link) -> None:
        if len(tree.linking) < MAX_LINKS:
            tree.linking[link] = None
        if link not in tree.linked and len(tree.linked) < MAX_LINKS:
            tree.linked[link] = None
            self._find_trees()

    def _settle(self, tree: _Tree, walk: _Pass) -> None:
        """Once all links are known, those of before are forgotten, with the trees that nothing else links to."""
        if walk is tree.links and walk.done and not walk.failures and tree.linked.keys() != tree.linking.keys():
            tree.linked = dict(tree.linking)
            self._find_trees()

    def _find_trees(self) -> None:
        found: dict[Link, _Tree] = {}
        coming = deque(self._start)
        while coming and len(found) < MAX_TREES:
            link = coming.popleft()
            if link not in found:
                tree = self._trees.get(link)
                found[link] = _Tree(link) if tree is None else tree
                coming += found[link].linked
        self._trees = found
