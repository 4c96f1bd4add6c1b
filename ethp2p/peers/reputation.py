"""
What we think of a peer: a score from 0 to 100, and the evidence for it.

Everybody begins at 50.  An offence takes points away, a merit gives some, and time moves a score back to 50: half of
the way every half hour.  Under one threshold a peer is disconnected, under a lower one it is banned.  A point is what
reth calls a unit, and most weights are reth's; whoever cannot be reached loses less here, for that is no malice.

A fault that is repeated ends in a ban, however small it is, if it comes often enough: an offence of weight w does when
each comes less than 1800 * log2(45 / (45 - w)) seconds after the one before, which is four minutes for a weight of 4.
A weight of 0 is noted and does not count; a C{ban_below} of 0 never bans.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Union

import attrs

from ethp2p.errors import ConfigError, Offence

#: The best score, and the one of whom we know nothing; the worst is 0.
BEST, START = 100.0, 50.0
#: Seconds in which a score comes half of the way back to L{START}.
HALF_LIFE = 1800.0
#: Most points that one offence takes from a trusted peer (reth: 2 units).
TRUSTED_PENALTY = 2.0
#: Most peers whose score is known, 12 KiB each at worst.  Beyond, an eighth is forgotten: those whose score is nearest
#: to L{START}, of whom there is least to say.
MAX_REMEMBERED = 4096
#: Most offences kept of a peer, the newest; merits of one kind are one entry together, so they push out none.
MAX_ENTRIES = 32
#: Most characters kept of what a peer did: some of it may be the peer's own words.
MAX_EVIDENCE = 160


class Merit(Enum):
    """
    What a peer did well.
    """

    USEFUL_DATA = "gave what we asked for, and it verifies"
    FAST_ANSWER = "answered faster than most"
    FIRST_NEWS = "was the first to tell us something new"


Deed = Union[Offence, Merit]

#: Points that an offence takes and that a merit gives.
WEIGHTS: Mapping[Deed, float] = {
    # Bans whoever has no merits, and disconnects others.
    Offence.BAD_PROTOCOL: 50.0,
    # A lie, or an attempt on our memory: twice is too often.
    Offence.BAD_DATA: 25.0,
    Offence.OVERSIZE: 25.0,
    Offence.BAD_MESSAGE: 16.0,
    Offence.BAD_HANDSHAKE: 16.0,
    Offence.FLOOD: 16.0,
    # An answer that came too late is no longer expected.
    Offence.UNSOLICITED: 4.0,
    # A bad line, a busy machine, another chain: no malice, and whom we call has its own patience.
    Offence.TIMEOUT: 4.0,
    Offence.UNREACHABLE: 4.0,
    Offence.WRONG_CHAIN: 4.0,
    Merit.USEFUL_DATA: 1.0,
    Merit.FAST_ANSWER: 0.5,
    Merit.FIRST_NEWS: 0.25,
}
_NAMES: Mapping[str, Deed] = {deed.name.lower(): deed for deed in WEIGHTS}


class Action(Enum):
    """What follows from a score."""

    NONE = "none"
    DISCONNECT = "disconnect"
    BAN = "ban"


@attrs.frozen
class Judgement:
    """
    A score after an offence or a merit.
    """

    score: float
    before: float
    #: What to do now.
    action: Action
    #: What would be to do, if this were no dry run.
    would: Action


@attrs.frozen
class Entry:
    """
    Why a score changed.
    """

    #: When, in monotonic seconds; of merits, the latest.
    at: float
    what: Deed
    #: Points, after the limits of the score.
    delta: float
    #: The score afterwards.
    score: float
    evidence: str
    #: How many merits stand in this entry.
    times: int = 1


@attrs.define
class _Standing:
    #: How far the score was from L{START}, and when.
    deviation: float = 0.0
    at: float = -math.inf
    offences: deque[Entry] = attrs.field(factory=lambda: deque(maxlen=MAX_ENTRIES))
    merits: dict[Merit, Entry] = attrs.field(factory=dict)

    def deviates(self, now: float) -> float:
        """@return: how far the score is from L{START} now."""
        if not self.deviation:
            return 0.0
        # A clock that steps back must not make anybody's score grow.
        return self.deviation * math.pow(0.5, max(0.0, now - self.at) / HALF_LIFE)


def check_weights(weights: Mapping[str, float]) -> dict[Deed, float]:
    """
    All weights, some of them other than usual.

    @param weights: from offences and merits in lower case, such as C{bad_message}, to points.
    @raise ConfigError: there is no such offence or merit, or the points are not a number from 0 to 100.
    """
    changed = {}
    for name, points in weights.items():
        if name not in _NAMES:
            raise ConfigError(f"there is no offence or merit {name!r:.64}; there are {', '.join(_NAMES)}")
        changed[_NAMES[name]] = _points(f"the weight of {name}", points, BEST)
    return {**WEIGHTS, **changed}


def _points(name: str, points: object, most: float) -> float:
    if isinstance(points, bool) or not isinstance(points, (int, float)) or not 0.0 <= points <= most:
        raise ConfigError(f"{name} is {points!r:.32}, which is not a number from 0 to {most:g}")
    return float(points)


def _evidence(text: str) -> str:
    return text if len(text) <= MAX_EVIDENCE else text[: MAX_EVIDENCE - 3] + "..."


class Reputation:
    """
    Everybody's score.

    @ivar dry_run: nothing follows from any score.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        disconnect_below: float = 20.0,
        ban_below: float = 5.0,
        dry_run: bool = False,
    ) -> None:
        """See L{configure}."""
        self._standings: dict[bytes, _Standing] = {}
        self.configure(
            weights={} if weights is None else weights,
            disconnect_below=disconnect_below,
            ban_below=ban_below,
            dry_run=dry_run,
        )

    def configure(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        disconnect_below: float | None = None,
        ban_below: float | None = None,
        dry_run: bool | None = None,
    ) -> None:
        """
        Go on with other settings, all of them or none; scores stay.

        @param weights: see L{check_weights}; those not in it are as usual.  None, here as below, changes nothing.
        @param disconnect_below: a worse score than this one disconnects.
        @param ban_below: a worse score than this one bans.
        @raise ConfigError: C{weights} are wrong, or not 0 <= C{ban_below} <= C{disconnect_below} <= 50.
        """
        checked = self.weights if weights is None else check_weights(weights)
        leave = self.disconnect_below if disconnect_below is None else disconnect_below
        ban = self.ban_below if ban_below is None else ban_below
        leave = _points("disconnect_below", leave, START)
        ban = _points("ban_below", ban, START)
        if ban > leave:
            raise ConfigError(f"ban_below is {ban:g}, over disconnect_below, which is {leave:g}")
        self.weights: Mapping[Deed, float] = checked
        self.disconnect_below: float = leave
        self.ban_below: float = ban
        if dry_run is not None:
            self.dry_run: bool = dry_run

    def __len__(self) -> int:
        return len(self._standings)

    def score(self, node_id: bytes, now: float) -> float:
        """From 0 to 100; 50 for whoever is not known."""
        standing = self._standings.get(node_id)
        return START if standing is None else START + standing.deviates(now)

    def ledger(self, node_id: bytes) -> tuple[Entry, ...]:
        """
        The evidence, oldest first: at most L{MAX_ENTRIES} offences, and one entry for each kind of merit.
        """
        standing = self._standings.get(node_id)
        if standing is None:
            return ()
        return tuple(sorted([*standing.offences, *standing.merits.values()], key=lambda entry: entry.at))

    def book(self, node_id: bytes, offence: Offence, evidence: str, now: float, *, trusted: bool = False) -> Judgement:
        """
        A peer did something wrong.

        @param evidence: what message, which rule.
        @param trusted: nothing follows, and the score ends where it would disconnect others: a peer that is trusted
            no more is not thrown out for what it did before.
        """
        standing = self._known(node_id, now)
        before = START + standing.deviates(now)
        weight = self.weights[offence]
        if trusted:
            after = max(before - min(weight, TRUSTED_PENALTY), min(before, self.disconnect_below))
        else:
            after = max(0.0, before - weight)
        self._set(standing, after, now)
        standing.offences.append(Entry(now, offence, after - before, after, _evidence(evidence)))
        would = Action.NONE
        if weight and not trusted:
            would = self._follows(after)
        return Judgement(after, before, Action.NONE if self.dry_run else would, would)

    def reward(self, node_id: bytes, merit: Merit, evidence: str, now: float) -> Judgement:
        """
        A peer did something well.  Nothing else follows from it.
        """
        standing = self._known(node_id, now)
        before = START + standing.deviates(now)
        after = min(BEST, before + self.weights[merit])
        self._set(standing, after, now)
        known = standing.merits.get(merit)
        delta, times = (known.delta, known.times) if known is not None else (0.0, 0)
        standing.merits[merit] = Entry(now, merit, delta + after - before, after, _evidence(evidence), times + 1)
        return Judgement(after, before, Action.NONE, Action.NONE)

    def reset(self, node_id: bytes, now: float) -> None:
        """
        A ban is over: its peer begins anew, else the next trifle would ban it again.  The evidence stays.
        """
        standing = self._standings.get(node_id)
        if standing is not None:
            self._set(standing, START, now)

    def restore(self, node_id: bytes, score: float, now: float) -> None:
        """
        What an earlier run thought of a peer.  A score that bans is not restored: the list of bans remembers for how
        long that was, and after that the peer begins anew.
        """
        if not self.ban_below <= score <= BEST:  # nor what is not a number
            score = START
        self._set(self._known(node_id, now), score, now)

    def snapshot(self, now: float) -> dict[bytes, float]:
        """Every score known, for the store."""
        return {node_id: START + standing.deviates(now) for node_id, standing in self._standings.items()}

    def _follows(self, score: float) -> Action:
        if score < self.ban_below:
            return Action.BAN
        return Action.DISCONNECT if score < self.disconnect_below else Action.NONE

    @staticmethod
    def _set(standing: _Standing, score: float, now: float) -> None:
        standing.deviation = score - START
        standing.at = max(standing.at, now)

    def _known(self, node_id: bytes, now: float) -> _Standing:
        standing = self._standings.get(node_id)
        if standing is None:
            if len(self._standings) >= MAX_REMEMBERED:
                self._forget(now)
            standing = self._standings[node_id] = _Standing()
        return standing

    def _forget(self, now: float) -> None:
        """Many at once, so that a stranger with many keys does not make us look through all of them each time."""
        count = max(1, MAX_REMEMBERED // 8)
        by_deviation = heapq.nsmallest(
            count, self._standings.items(), key=lambda known: (abs(known[1].deviates(now)), known[1].at)
        )
        for node_id, _ in by_deviation:
            del self._standings[node_id]
