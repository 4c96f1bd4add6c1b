"""
Rotation: now and then a random peer of a full table goes, so that newcomers get in and the network does not ossify
into those who came first.

The figures are geth's (its C{dropper}): a peer every 3 to 7 minutes, of those called and of those who called each by
itself, and never one that is trusted, static, young, or of the most useful tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

#: Seconds for which a peer is left alone: it has to have a chance to be useful.
YOUNG = 600.0
#: One in so many is protected, those with the most merit, and at least one.
PROTECTED = 10
#: Shortest and longest wait from one rotation to the next, seconds.
SHORTEST, LONGEST = 180.0, 420.0


class Seated(Protocol):
    """A peer, as far as rotation cares."""

    @property
    def inbound(self) -> bool:
        """Whether it called us."""

    @property
    def trusted(self) -> bool:
        """Whether it is trusted."""

    @property
    def static(self) -> bool:
        """Whether it is wanted by name."""

    @property
    def age(self) -> float:
        """Seconds since it was added."""

    @property
    def merit(self) -> float:
        """What it has contributed, in any unit; 0 is nothing."""


def choose(places: Sequence[Seated], full_inbound: bool, full_dialed: bool, random: Callable[[], float]) -> int | None:
    """
    Who has to go.

    @param full_inbound: whether there is no more room for peers that call us.
    @param full_dialed: whether there is no more room for peers that we call.
    @param random: gives numbers from 0 up to 1.
    @return: an index into C{places}; None when there is room, or everybody is protected.
    """
    droppable: list[int] = []
    for inbound, full in ((True, full_inbound), (False, full_dialed)):
        if full:
            pool = [index for index, place in enumerate(places) if place.inbound is inbound]
            useful = _most_useful(places, pool)
            droppable += [index for index in pool if index not in useful and not _protected(places[index])]
    if not droppable:
        return None
    return droppable[min(int(random() * len(droppable)), len(droppable) - 1)]


def next_rotation(random: Callable[[], float]) -> float:
    """
    How many seconds to wait: a length that nobody can foretell, else one could come in just when others leave.

    @param random: gives numbers from 0 up to 1.
    """
    return SHORTEST + (LONGEST - SHORTEST) * random()


def _protected(place: Seated) -> bool:
    return place.trusted or place.static or place.age < YOUNG


def _most_useful(places: Sequence[Seated], pool: list[int]) -> set[int]:
    """The tenth of a pool, rounded up, that contributed most; of equals those who are here longest."""
    useful = [index for index in pool if places[index].merit > 0]
    useful.sort(key=lambda index: (places[index].merit, places[index].age), reverse=True)
    return set(useful[: -(-len(pool) // PROTECTED)])
