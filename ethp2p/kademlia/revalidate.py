"""
Which node to check next.  Two lists: nodes that are new, moved or have just failed are checked on the fast
one, those that have passed on the slow one.  From each a node is drawn by chance after times drawn by chance,
so that nobody can tell when he has to be there.
"""

from __future__ import annotations

from random import Random

from ethp2p.kademlia.table import Added, Changes, Entry, Moved

#: Most seconds between two checks of the fast list; on average half of it.
FAST_INTERVAL = 3.0
#: The same for the slow list.
SLOW_INTERVAL = 3 * FAST_INTERVAL
#: A failed check divides the checks passed by this; at 0 the node is dropped.  So one that has been there for
#: long survives a few lost packets.
FAILURE_DIVISOR = 3


class _List:
    """Entries and the time of the next check of one of them."""

    def __init__(self, interval: float, rng: Random) -> None:
        self.entries: list[Entry] = []
        self.due: float | None = None
        self._interval = interval
        self._rng = rng

    def push(self, entry: Entry, now: float) -> None:
        self.entries.append(entry)
        if self.due is None:
            self._schedule(now)

    def remove(self, entry: Entry) -> None:
        self.entries.remove(entry)
        if not self.entries:
            self.due = None

    def next_check(self, now: float) -> Entry | None:
        if self.due is None or self.due > now:
            return None
        self._schedule(now)
        ready = [entry for entry in self.entries if not entry.checking and entry.quiet_until <= now]
        return self._rng.choice(ready) if ready else None

    def _schedule(self, now: float) -> None:
        self.due = now + self._rng.random() * self._interval


class Revalidator:
    """
    Follows a table by its changes.
    """

    def __init__(self, rng: Random) -> None:
        self._fast = _List(FAST_INTERVAL, rng)
        self._slow = _List(SLOW_INTERVAL, rng)
        self._lists: dict[Entry, _List] = {}

    def follow(self, changes: Changes, now: float) -> None:
        """The table has changed.  Who is new or has moved is checked soon."""
        for change in changes:
            if isinstance(change, Added):
                self._put(self._fast, change.entry, now)
            elif change.entry in self._lists:
                if isinstance(change, Moved):
                    self._put(self._fast, change.entry, now)
                else:
                    self._lists.pop(change.entry).remove(change.entry)

    def next_checks(self, now: float) -> list[Entry]:
        """Whom to ping now, two at most; each counts as being checked until L{passed} or L{failed}."""
        checks = []
        for due in (self._fast, self._slow):
            entry = due.next_check(now)
            if entry is not None:
                entry.checking = True
                checks.append(entry)
        return checks

    def next_timer(self) -> float | None:
        """When L{next_checks} may have an answer."""
        return min((due.due for due in (self._fast, self._slow) if due.due is not None), default=None)

    def passed(self, entry: Entry, now: float) -> None:
        """It has answered."""
        entry.checking = False
        if entry in self._lists:
            entry.checks += 1
            entry.live = True
            self._put(self._slow, entry, now)

    def failed(self, entry: Entry, now: float) -> bool:
        """
        It has not answered.

        @return: whether it should leave the table.
        """
        entry.checking = False
        if entry not in self._lists:
            return False
        entry.checks //= FAILURE_DIVISOR
        if not entry.checks:
            return True
        self._put(self._fast, entry, now)
        return False

    def __len__(self) -> int:
        return len(self._lists)

    def _put(self, to: _List, entry: Entry, now: float) -> None:
        at = self._lists.get(entry)
        if at is not to:
            if at is not None:
                at.remove(entry)
            self._lists[entry] = to
            to.push(entry, now)
