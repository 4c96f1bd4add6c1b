"""
The table put to work: it keeps itself full and true, looks up, and answers, over any engine that speaks a
discovery protocol.

The owner of both feeds datagrams to the engine, then calls L{Driver.receive_events}, takes the driver's events
and the engine's datagrams, and sets one timer for L{Driver.next_timer}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Union

import attrs

from ethp2p.crypto.keys import PublicKey
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError
from ethp2p.kademlia.engine import Answered, Dialect, Met
from ethp2p.kademlia.lookup import ALPHA, PATHS, Lookup, spread
from ethp2p.kademlia.revalidate import Revalidator
from ethp2p.kademlia.table import BUCKET_SIZE, Added, Changes, Entry, Removed, Table, admit_all
from ethp2p.limits import ExpiringMap

#: Most seconds between two refreshes, at least half of it.
REFRESH_INTERVAL = 1800.0
#: The same at first and when nobody is known any more; it doubles each time.  A node that starts together with
#: others does not find much the first time.
FIRST_REFRESH_INTERVAL = 10.0
#: Lookups of a refresh for random targets, after the one for ourselves.
RANDOM_LOOKUPS = 3
#: Most lookups under way at one time.
MAX_LOOKUPS = 3
#: Most lookups that wait.
MAX_WAITING_LOOKUPS = 64
#: Most records being asked for at one time (geth: 16 for each source).
MAX_RECORD_REQUESTS = 16
#: Most nodes whose record is still to be asked for.  What is over is found again by a later lookup.
MAX_WANTED_RECORDS = 256
#: Records remembered of nodes that are told of without, and for how long: a node of another chain is asked once
#: an hour and not each time somebody names it.  Bounds memory at about 6 MiB.
MAX_RECORDS = 4096
RECORD_LIFETIME = 3600.0
#: Seconds until a node that did not give its record is asked again.
NO_RECORD_LIFETIME = 60.0
#: FINDNODE in a row that a node may leave without a useful answer until it is dropped...
MAX_FAILURES = 5
#: ...if its bucket has as many entries: in a small network a bad node is better than none.
MIN_BUCKET = BUCKET_SIZE // 4
#: Seconds that a node which called us is left alone.  It has just been heard, and may be a program that waits for
#: one answer and takes the next packet for it, as geth's conformance tests do.
QUIET = 5.0
#: Most nodes that called before the first refresh was done and wait for its end.
MAX_EARLY = 64
#: Most events that wait for the owner, of those that others can cause.
MAX_EVENTS = 1024


@attrs.frozen
class NodeFound:
    """Here is a node to call: it passes the filter, by its record or, if it has none to give, as it answered."""

    node: Node


@attrs.frozen
class NodeAdded:
    """A node has a place in the table now."""

    node: Node


@attrs.frozen
class NodeAlive:
    """A node in the table has passed a check."""

    node: Node
    #: How many it has passed, less what it failed.
    checks: int
    #: Seconds.
    rtt: float


@attrs.frozen
class NodeRemoved:
    """A node has no place in the table any more: it does not answer, or the filter refuses it."""

    node: Node


@attrs.frozen
class EndpointSeen:
    """A node says where it sees us."""

    node: Node
    endpoint: tuple[str, int]


@attrs.frozen
class LookupDone:
    """A lookup that somebody wanted is over."""

    token: int
    target: bytes
    #: The nearest nodes there are, the nearest first.
    nodes: tuple[Node, ...]


@attrs.frozen
class SeedsWanted:
    """Nobody is known any more; give L{Driver.add_seeds} what was known in the past."""


DriverEvent = Union[NodeFound, NodeAdded, NodeAlive, NodeRemoved, EndpointSeen, LookupDone, SeedsWanted]


@attrs.define(eq=False)
class _Search:
    """A lookup under way."""

    token: int
    target: bytes
    lookup: Lookup


@attrs.frozen
class _Check:
    """A ping to see whether a node is still there."""

    entry: Entry


@attrs.frozen
class _Query:
    """A question of a lookup."""

    search: _Search
    number: int


@attrs.frozen
class _RecordRequest:
    """A node is asked for its record."""


_Errand = Union[_Check, _Query, _RecordRequest]
_Where = tuple[bytes, str, int]


def _where(node: Node) -> _Where:
    return node.node_id, node.host, node.udp


class Driver:
    """
    One protocol's view of the network.
    """

    def __init__(
        self,
        dialect: Dialect,
        local: PublicKey,
        *,
        rng: Random,
        bootnodes: Iterable[Node] = (),
        admit: Callable[[Node], bool] = admit_all,
        may_contact: Callable[[Node], bool] = admit_all,
        quiet: float = QUIET,
        paths: int = PATHS,
    ) -> None:
        """
        @param dialect: L{ByTarget <ethp2p.kademlia.engine.ByTarget>} or L{ByDistance
            <ethp2p.kademlia.engine.ByDistance>} over an engine.
        @param rng: for choices an attacker should not foresee.
        @param bootnodes: whom to begin with, with addresses.  They are asked whether they pass C{admit} or not.
        @param admit: who may be in the table and is told of; others are asked only on the way to these.  Of
            nodes without a record the record may still be to come.
        @param may_contact: whom to send packets to at all.
        @param quiet: seconds that a node which called us is left alone.
        @param paths: disjoint paths of a lookup.
        """
        self._dialect = dialect
        self._engine = dialect.engine
        self._vocabulary = dialect.vocabulary
        self._local = local
        self._rng = rng
        self._may_contact = may_contact
        self._bootnodes = [node for node in bootnodes if node.node_id != local.node_id and may_contact(node)]
        self._quiet = quiet
        self._number_of_paths = paths
        self.table = Table(local.node_id, rng=rng, admit=admit)
        self._revalidator = Revalidator(rng)
        self._events: deque[Any] = deque()
        self._errands: dict[int, _Errand] = {}
        self._token = 0
        self._searches: dict[int, _Search] = {}
        self._stirred: list[_Search] = []  # those that may have something to ask
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._started = False
        self._next_refresh = 0.0
        self._interval = FIRST_REFRESH_INTERVAL
        #: The lookups that a refresh under way has still to do, and the token of the present one.
        self._refresh: list[bytes] = []
        self._refreshing: int | None = None
        self._early: dict[bytes, Met] = {}
        # By endpoint, too: whoever tells wrong ones of a node must not keep us from asking it at the right one.
        self._wanted: dict[_Where, Node] = {}
        self._requested: set[_Where] = set()
        self._recordless: ExpiringMap[_Where, bool] = ExpiringMap(MAX_RECORDS, NO_RECORD_LIFETIME)
        self._known: ExpiringMap[bytes, Node] = ExpiringMap(MAX_RECORDS, RECORD_LIFETIME)

    # for the owner

    def start(self, now: float, wall: float, seeds: Iterable[Node] = ()) -> None:
        """
        Begin with the first refresh.

        @param seeds: nodes known from an earlier time.
        """
        self._started = True
        self._add_found(filter(self._may_contact, seeds), now)
        self._begin_refresh(now)
        self.receive_events(now, wall)

    def stop(self) -> None:
        """Ask nobody anything any more.  Lookups are done with what they have found."""
        self._started = False
        for search in [*self._searches.values()]:
            self._end(search)
        self._refreshing = None
        while self._waiting:
            self._events.append(LookupDone(*self._waiting.popleft(), ()))
        self._wanted.clear()
        self._early.clear()

    def add_seeds(self, seeds: Iterable[Node], now: float, wall: float) -> None:
        """Nodes known from an earlier time, as after L{SeedsWanted}."""
        empty = not self.table
        self._add_found(filter(self._may_contact, seeds), now)
        if empty and self.table and self._started and self._refreshing is None:
            self._begin_refresh(now)
        self.receive_events(now, wall)

    def readmit(self, now: float) -> None:
        """What is admitted has changed: our chain has forked."""
        self._follow(self.table.sweep(now), now)

    def lookup(self, target: bytes, now: float, wall: float) -> int:
        """
        Look for the nodes nearest to C{target}, as the dialect has targets: 64 bytes of a public key, or the 32
        of an id.

        @return: a token; L{LookupDone} will have it.
        @raise LocalProtocolError: L{MAX_WAITING_LOOKUPS} wait already.
        """
        if len(self._waiting) >= MAX_WAITING_LOOKUPS:
            raise LocalProtocolError(f"{MAX_WAITING_LOOKUPS} lookups wait already")
        self._token += 1
        token = self._token
        self._waiting.append((token, target))
        self.receive_events(now, wall)
        return token

    def random_lookup(self, now: float, wall: float) -> int:
        """
        Look for anybody: most of a lookup's use is the nodes found on its way.  L{lookup} has the details.
        """
        return self.lookup(self._dialect.random_target(self._rng), now, wall)

    def cancel(self, token: int) -> None:
        """Nobody waits for this lookup any more; it is not told of again."""
        self._searches.pop(token, None)
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] != token)

    @property
    def refreshing(self) -> bool:
        """Whether a refresh is under way."""
        return self._refreshing is not None

    # engine verbs

    def receive_events(self, now: float, wall: float) -> None:
        """Take up what the engine has to tell, and ask what is to be asked next."""
        while True:
            while (event := self._engine.next_event()) is not None:
                self._take(event, now, wall)
            if not self._ask(now, wall):
                return

    def next_event(self) -> Any:
        """
        The next thing that happened: a L{DriverEvent}, or an event of the engine that is not for the driver,
        such as the answer to a request that somebody else made; None when there is nothing.
        """
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """When L{handle_timer} is to be called; the engine's timers are in it."""
        due = [self._engine.next_timer()]
        if self._started:
            due += self._revalidator.next_timer(), None if self.refreshing else self._next_refresh
        return min((time for time in due if time is not None), default=None)

    def handle_timer(self, now: float, wall: float) -> None:
        """Let happen what is due, in the engine too."""
        due = self._engine.next_timer()
        if due is not None and due <= now:
            self._engine.handle_timer(now, wall)
        if self._started:
            for entry in self._revalidator.next_checks(now):
                self._errands[self._engine.ping(entry.node, now, wall)] = _Check(entry)
            if not self.refreshing and self._next_refresh <= now:
                if not self.table:
                    self._tell(SeedsWanted())
                self._begin_refresh(now)
        self.receive_events(now, wall)

    # what comes in

    def _take(self, event: Any, now: float, wall: float) -> None:
        vocabulary = self._vocabulary
        if isinstance(event, vocabulary.asked):
            nodes = self._dialect.choose(self.table, event)
            self._engine.send_nodes(event.token, nodes, now, wall)
        elif isinstance(event, vocabulary.met):
            self._met(event, now)
        elif isinstance(event, (vocabulary.answered, vocabulary.failed)) and event.token in self._errands:
            errand = self._errands.pop(event.token)
            answer = event if isinstance(event, vocabulary.answered) else None
            if isinstance(errand, _Check):
                self._checked(errand.entry, event.node, answer, now)
            elif isinstance(errand, _Query):
                self._queried(errand, event.node, answer, now)
            else:
                self._record_requested(event.node, answer, now)
        elif isinstance(event, (vocabulary.answered, vocabulary.failed)):
            self._events.append(event)
        else:
            self._tell(event)

    def _met(self, met: Met, now: float) -> None:
        node = met.node
        if not self._may_contact(node):
            return
        if not self.table.ready:
            if len(self._early) < MAX_EARLY:
                self._early[node.node_id] = met
            return
        known = self._known.get(node.node_id, now)
        if node.record is None and known is not None and known.record is not None:
            node = self._dialect.renewed(node, known.record)
        self._follow(self.table.add_inbound(node, now, quiet=self._quiet), now)
        if self._dialect.proven(met):
            self._follow(self.table.answered(node, now), now)
        info = getattr(met, "info", None)  # a Ping in discv4 says where it was sent to
        if info is not None and info.endpoint is not None:
            self._tell(EndpointSeen(node, info.endpoint))

    def _checked(self, entry: Entry, asked: Node, answer: Answered | None, now: float) -> None:
        node = entry.node
        if _where(asked) != _where(node):
            entry.checking = False  # it has moved, and this says nothing of where it is now
            return
        if answer is None:
            if self._revalidator.failed(entry, now):
                self._follow(self.table.delete(node.node_id, now), now)
            return
        info = answer.result
        if info.endpoint is not None:
            self._tell(EndpointSeen(node, info.endpoint))
        if self.table.get(node.node_id) is not entry:
            return
        self._revalidator.passed(entry, now)
        self._tell(NodeAlive(node, entry.checks, answer.rtt))
        if info.seq is not None and (node.record is None or info.seq > node.record.seq):
            self._want_record(node, now)
        elif node.record is None:
            self._found(node)

    def _queried(self, errand: _Query, asked: Node, answer: Answered | None, now: float) -> None:
        search, lookup = errand.search, errand.search.lookup
        self._stirred.append(search)
        self._count_failure(asked.node_id, answer is None or not answer.result, now)
        if answer is None:
            lookup.failed(errand.number)
            return
        self._follow(self.table.answered(asked, now), now)
        nodes = self._believed(answer.result, now)
        self._add_found(nodes, now)
        for node in lookup.answered(errand.number, nodes):
            self._offer(node, now)

    def _record_requested(self, asked: Node, answer: Answered | None, now: float) -> None:
        self._requested.discard(_where(asked))
        if answer is not None:
            self._follow(self.table.answered(asked, now), now)
            node = self._dialect.renewed(asked, answer.result)
            self._known.set(node.node_id, node, now)
            self._follow(self.table.update(node, now), now)
            self._found(node)
            return
        self._recordless.set(_where(asked), True, now)
        entry = self.table.get(asked.node_id)
        if entry is not None and entry.live and entry.node.record is None:
            self._found(entry.node)  # it is there, and has no record to give

    def _count_failure(self, node_id: bytes, failed: bool, now: float) -> None:
        entry = self.table.get(node_id)
        if entry is None:
            return
        entry.failures = entry.failures + 1 if failed else 0
        if entry.failures >= MAX_FAILURES and len(self.table.bucket(entry.distance).entries) >= MIN_BUCKET:
            self._follow(self.table.delete(node_id, now), now)

    def _believed(self, nodes: Iterable[Node], now: float) -> list[Node]:
        """Of the nodes in an answer, those who may be asked themselves, with what is known of them."""
        believed = []
        for node in nodes:
            entry = self.table.get(node.node_id)
            if self._may_contact(node) and (entry is None or entry.quiet_until <= now):
                believed.append(self._dressed(node, now))
        return believed

    def _dressed(self, node: Node, now: float) -> Node:
        """With its record, if it gave us that itself, at this endpoint."""
        known = self._known.get(node.node_id, now) if node.record is None else None
        return node if known is None or _where(known) != _where(node) else known

    # what goes out

    def _tell(self, event: Any) -> None:
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)

    def _found(self, node: Node) -> None:
        if self.table.admit(node):
            self._tell(NodeFound(node))

    def _offer(self, node: Node, now: float) -> None:
        """A lookup has come across this node: tell of it, as soon as its record is known."""
        node = self._dressed(node, now)
        if node.record is None:
            self._want_record(node, now)
        else:
            self._found(node)

    def _add_found(self, nodes: Iterable[Node], now: float) -> None:
        for node in nodes:
            self._follow(self.table.add_found(node, now), now)

    def _follow(self, changes: Changes, now: float) -> None:
        self._revalidator.follow(changes, now)
        for change in changes:
            if isinstance(change, Added):
                self._tell(NodeAdded(change.entry.node))
            elif isinstance(change, Removed):
                self._tell(NodeRemoved(change.entry.node))
                if not self.table:
                    self._interval = FIRST_REFRESH_INTERVAL
                    self._next_refresh = min(self._next_refresh, now + self._interval)

    def _want_record(self, node: Node, now: float) -> None:
        where = _where(node)
        if (
            len(self._wanted) < MAX_WANTED_RECORDS
            and where not in self._requested
            and self._recordless.get(where, now) is None
        ):
            self._wanted.setdefault(where, node)

    def _ask(self, now: float, wall: float) -> bool:
        """Begin what there is room for.  @return: whether anything was begun, which may have failed already."""
        asked = False
        while self._waiting and len(self._searches) < MAX_LOOKUPS:
            self._search(*self._waiting.popleft(), now)
        stirred, self._stirred = self._stirred, []
        for search in stirred:
            if search.token not in self._searches:
                continue
            for number, node in search.lookup.next_queries():
                token = self._dialect.find_node(node, search.target, now, wall)
                self._errands[token] = _Query(search, number)
                asked = True
            if search.lookup.done:
                self._end(search)
                self._continue_refresh(search.token, now)
                asked = True
        while self._wanted and len(self._requested) < MAX_RECORD_REQUESTS and self._started:
            node = self._wanted.pop(next(iter(self._wanted)))
            self._requested.add(_where(node))
            self._errands[self._engine.request_record(node, now, wall)] = _RecordRequest()
            asked = True
        return asked

    def _search(self, token: int, target: bytes, now: float) -> None:
        node_id = self._dialect.id_of(target)
        # One with many identities may be all of our nearest; of him the lookup follows up a few, and needs others.
        count = len(self.table)
        seeds = spread(self.table.closest(node_id, count, now=now), BUCKET_SIZE)
        if len(seeds) < BUCKET_SIZE:  # who has never answered may not be there at all
            unproven = self.table.closest(node_id, count, live_only=False, now=now)
            seeds = spread(dict.fromkeys(seeds + unproven), BUCKET_SIZE)
        if len(seeds) < ALPHA:
            seeds += [node for node in self._bootnodes if self.table.get(node.node_id) is None]
        lookup = Lookup(node_id, seeds, local_id=self._local.node_id, paths=self._number_of_paths)
        search = self._searches[token] = _Search(token, target, lookup)
        self._stirred.append(search)
        for node in seeds:
            self._offer(node, now)

    def _end(self, search: _Search) -> None:
        del self._searches[search.token]
        if search.token != self._refreshing:
            nodes = tuple(node for node in search.lookup.result() if self.table.admit(node))
            self._events.append(LookupDone(search.token, search.target, nodes))

    # refresh

    def _begin_refresh(self, now: float) -> None:
        self._add_found(self._bootnodes, now)
        self._refresh = [self._dialect.random_target(self._rng) for _ in range(RANDOM_LOOKUPS)]
        self._search_for_refresh(self._dialect.target_of(self._local), now)

    def _search_for_refresh(self, target: bytes, now: float) -> None:
        self._token += 1
        self._refreshing = self._token
        self._search(self._token, target, now)

    def _continue_refresh(self, token: int, now: float) -> None:
        if token != self._refreshing:
            return
        if self._refresh:
            self._search_for_refresh(self._refresh.pop(), now)
            return
        self._refreshing = None
        self._next_refresh = now + self._interval * (1 + self._rng.random()) / 2
        if self.table:
            self._interval = min(2 * self._interval, REFRESH_INTERVAL)
        self.table.ready = True
        early, self._early = self._early, {}
        for met in early.values():
            self._met(met, now)
