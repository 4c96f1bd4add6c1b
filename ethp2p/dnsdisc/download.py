"""
One tree whole, as an engine with the verbs of L{ethp2p.dnsdisc.state.Walk}.  Its links are not followed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Union

import attrs

from ethp2p.dnsdisc.state import BURST, MAX_HASHES, MAX_LOOKUPS, RATE, Lookup, Pace
from ethp2p.dnsdisc.tree import Tree
from ethp2p.dnsdisc.wire import BadEntry, Branch, Entry, Link, Root, read_entry, read_root
from ethp2p.enr.record import Record
from ethp2p.errors import OversizeError, P2PError, WireError

#: How often a name is looked up before the download fails.
TRIES = 3


class NoAnswer(P2PError):
    """A name of the node list could not be looked up."""


@attrs.frozen
class Progress:
    """
    How many entries are here, and how many are known to be.
    """

    done: int
    known: int


@attrs.frozen
class Downloaded:
    """
    The whole tree, verified.
    """

    tree: Tree


@attrs.frozen
class DownloadFailed:
    """
    It ends without a tree.
    """

    error: P2PError


Event = Union[Progress, Downloaded, DownloadFailed]


@attrs.frozen
class _Want:
    """A name to look up: of the root when C{hash} is empty."""

    hash: str
    among_links: bool = False
    tries: int = 0


class Download:
    """
    Gets one tree.  After L{Downloaded} or L{DownloadFailed} it is deaf.
    """

    def __init__(self, link: Link, *, rate: float = RATE, burst: int = BURST, most: int = MAX_LOOKUPS) -> None:
        """
        @param rate: lookups a second.
        @param burst: lookups at once.
        @param most: lookups under way at one time.
        """
        self._link = link
        self._pace = Pace(rate, burst)
        self._most = most
        self._coming: deque[_Want] = deque([_Want("")])
        self._seen: set[tuple[bool, str]] = set()
        self._underway: dict[int, tuple[Lookup, _Want]] = {}
        self._token = 0
        self._root: Root | None = None
        self._entries: dict[str, Entry] = {}
        self._events: deque[Event] = deque()
        self._wake: float | None = None
        self._ended = False

    def lookups(self, now: float) -> list[Lookup]:
        """What to look up now."""
        lookups: list[Lookup] = []
        self._wake = None
        while self._coming and len(self._underway) < self._most:
            if not self._pace.take(now):
                self._wake = self._pace.next
                break
            want = self._coming.popleft()
            domain = self._link.domain
            self._token += 1
            lookup = Lookup(self._token, f"{want.hash}.{domain}" if want.hash else domain)
            self._underway[self._token] = lookup, want
            lookups.append(lookup)
        return lookups

    def answered(self, token: int, texts: Sequence[bytes], now: float) -> None:
        """The TXT records at a name, each with its strings joined."""
        asked = self._underway.pop(token, None)
        if asked is None:
            return
        lookup, want = asked
        try:
            if want.hash:
                self._entry(want, read_entry(list(texts), want.hash))
            else:
                self._begin(read_root(list(texts), self._link))
        except WireError as error:
            self._retry(lookup, want, error)
            return
        if not self._ended:
            self._progress()

    def failed(self, token: int, why: str, now: float) -> None:
        """A name could not be looked up."""
        asked = self._underway.pop(token, None)
        if asked is not None:
            self._retry(*asked, NoAnswer(why))

    def next_event(self) -> Event | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """When L{lookups} will have something that it has not now; None while that is for an answer to say."""
        return self._wake

    def handle_timer(self, now: float) -> None:
        """It is time: ask for L{lookups}."""

    def _begin(self, root: Root) -> None:
        self._root = root
        self._add(root.links, True)
        self._add(root.nodes, False)

    def _add(self, name: str, among_links: bool) -> None:
        if (among_links, name) in self._seen:
            return
        if len(self._seen) >= MAX_HASHES:
            self._end(DownloadFailed(OversizeError(f"the node list has more than {MAX_HASHES} entries")))
            return
        self._seen.add((among_links, name))
        self._coming.append(_Want(name, among_links))

    def _entry(self, want: _Want, entry: Entry) -> None:
        if isinstance(entry, Branch):
            for child in entry.children:
                self._add(child, want.among_links)
        elif isinstance(entry, Record if want.among_links else Link):
            raise BadEntry("a link among nodes, or a node among links")
        if not self._ended:
            self._entries[want.hash] = entry

    def _progress(self) -> None:
        self._events.append(Progress(len(self._entries), len(self._seen)))
        if self._root is not None and not self._coming and not self._underway:
            self._end(Downloaded(Tree(self._root, self._entries)))

    def _retry(self, lookup: Lookup, want: _Want, error: P2PError) -> None:
        if want.tries + 1 < TRIES:
            self._coming.appendleft(attrs.evolve(want, tries=want.tries + 1))
        else:
            self._end(DownloadFailed(type(error)(f"{lookup.name}: {error}")))

    def _end(self, event: Downloaded | DownloadFailed) -> None:
        self._events.append(event)
        self._coming.clear()
        self._underway.clear()
        self._ended = True
