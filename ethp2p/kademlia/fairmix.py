"""
One stream of nodes out of several sources, none of which can crowd out the others.

The sources are served in turn.  One whose turn it is and who has nothing is waited for a while, and after
that anybody's node is taken; each such miss halves the wait, so that a source that has dried up does not slow
down the others, and the first node it gives makes the wait whole again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

#: Most nodes kept of one source that is faster than what is taken.
MAX_WAITING = 32


@attrs.define(eq=False)
class _Source(Generic[T]):
    wait: float
    items: deque[T] = attrs.field(factory=deque)


class FairMix(Generic[T]):
    """
    Told what sources give and asked for the next; given the time.
    """

    def __init__(self, wait: float) -> None:
        """
        @param wait: seconds to wait for the source whose turn it is; infinity makes it entirely fair.
        """
        self._wait = wait
        self._sources: dict[Hashable, _Source[T]] = {}
        self._order: deque[Hashable] = deque()  # whose turn it is first
        self._deadline: float | None = None
        self._missed = False

    def add(self, name: Hashable) -> None:
        """Serve one more source."""
        if name not in self._sources:
            self._sources[name] = _Source(self._wait)
            self._order.append(name)

    def remove(self, name: Hashable) -> None:
        """A source has ended; what it has given and was not taken is forgotten."""
        if name in self._sources:
            if self._order[0] == name:
                self._rest()
            del self._sources[name]
            self._order.remove(name)

    def room(self, name: Hashable) -> int:
        """How many nodes a source may give; it should be asked for more when there is room."""
        source = self._sources.get(name)
        return 0 if source is None else MAX_WAITING - len(source.items)

    def offer(self, name: Hashable, items: Iterable[T]) -> int:
        """A source gives nodes.  @return: how many were taken; there was no room for the rest."""
        taken = 0
        for item in items:
            if self.room(name) < 1:
                break
            self._sources[name].items.append(item)
            taken += 1
        return taken

    def take(self, now: float) -> T | None:
        """
        The next node; None when there is none yet.  Ask again when a source has given something, or at
        L{next_timer}.
        """
        if not self._order:
            return None
        turn = self._sources[self._order[0]]
        if turn.items and not self._missed:
            turn.wait = self._wait
            return self._pass_turn(turn)
        if self._deadline is None:
            self._deadline = now + turn.wait
        if not self._missed and now >= self._deadline:
            turn.wait /= 2
            self._missed = True
        if self._missed:
            for name in self._order:
                source = self._sources[name]
                if source.items:
                    return self._pass_turn(source)
        return None

    def next_timer(self) -> float | None:
        """When the wait for a source is over, if L{take} was asked in vain."""
        return None if self._missed or self._deadline == float("inf") else self._deadline

    def _pass_turn(self, source: _Source[T]) -> T:
        self._order.rotate(-1)
        self._rest()
        return source.items.popleft()

    def _rest(self) -> None:
        self._deadline = None
        self._missed = False
