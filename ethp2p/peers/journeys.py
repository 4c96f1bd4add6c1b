"""
What became of each call: how far it came, and why it ended there.

Kept for each node, so that an operator can ask about it; and counted for all, so that it can be seen where most calls
end.  Pure, and bounded in every direction: it is strangers who fill it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from enum import Enum
from typing import Any, TypeVar

import attrs

from ethp2p.peers.backoff import Cause
from ethp2p.peers.dialer import MAX_WORDS

#: Most nodes remembered; who had nothing to do with us for longest is forgotten first, who is here last.
MAX_NODES = 4096
#: Most attempts remembered of one node, and refusals of one caller.
MAX_ATTEMPTS = 8
#: Most hosts of which it is remembered who was met there.
MAX_HOSTS = 4096
#: Most ids remembered of one host: whoever makes up ids has any number of them.
MAX_IDS = 16
#: Most callers remembered that were refused.
MAX_REFUSED = 1024
#: Most rules counted apart; there are a dozen.
MAX_RULES = 64
#: A session that lasts so many seconds has arrived.
MINUTE = 60.0

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Stage(Enum):
    """How far a call has come, in this order."""

    FOUND = "found"
    FORK_OK = "fork ok"
    TCP = "tcp"
    AUTH = "auth"
    HELLO = "hello"
    STATUS = "status"
    MINUTE = "1 min"

    @property
    def label(self) -> str:
        """Its name in events, counts and JSON."""
        return self.name.lower()


STAGES = tuple(Stage)
_ORDER = {stage: number for number, stage in enumerate(STAGES)}
#: What every wire has passed when it has come further, whether or not somebody has told.
_CERTAIN = (Stage.TCP, Stage.AUTH, Stage.HELLO)


@attrs.frozen(kw_only=True)
class Attempt:
    """
    One call, ours or theirs.

    @ivar began: unix time.
    @ivar reached: the stages, with how many seconds after the beginning.
    @ivar cause: how it ended, None while it goes on.
    @ivar lasted: seconds from the beginning to the end; None while it goes on.
    @ivar by_us: whether we ended it.
    """

    address: str
    began: float
    inbound: bool
    reached: tuple[tuple[Stage, float], ...] = ()
    cause: Cause | None = None
    words: str = ""
    lasted: float | None = None
    by_us: bool = False

    @property
    def missed(self) -> Stage | None:
        """The stage it did not come to, or None when it came to all."""
        furthest = max((_ORDER[stage] for stage, _ in self.reached), default=_ORDER[Stage.FORK_OK])
        return STAGES[furthest + 1] if furthest + 1 < len(STAGES) else None


@attrs.frozen(kw_only=True)
class Refusal:
    """
    A caller was not let in.

    @ivar at: unix time.
    @ivar rule: which rule of the household refused it.
    """

    at: float
    address: str
    rule: str
    words: str


@attrs.define(eq=False)
class _Live:
    """An attempt under way."""

    attempt: Attempt
    since: float
    minute: float | None = None


@attrs.define(eq=False)
class _Traveller:
    """
    One node's attempts: those that ended, oldest first, and those under way, by direction.  There are thousands after
    a flood, most with one attempt, for which a deque would take more room than all else.
    """

    ended: tuple[Attempt, ...] = ()
    live: dict[bool, _Live] = attrs.field(factory=dict)

    def end(self, attempt: Attempt) -> None:
        """Remember it as the newest that ended."""
        self.ended = (*self.ended, attempt)[-MAX_ATTEMPTS:]


def host_of(address: str) -> str:
    """The host in C{host:port} or C{[host]:port}."""
    return address.rpartition(":")[0].strip("[]") or address


@attrs.define
class Journeys:
    """
    @ivar refusals_by_rule: how many callers were refused, by rule.
    """

    refusals_by_rule: Counter[str] = attrs.field(factory=Counter, init=False)
    _nodes: OrderedDict[bytes, _Traveller] = attrs.field(factory=OrderedDict, init=False)
    _hosts: OrderedDict[str, OrderedDict[bytes, None]] = attrs.field(factory=OrderedDict, init=False)
    _refused: OrderedDict[bytes | str, tuple[Refusal, ...]] = attrs.field(factory=OrderedDict, init=False)
    _minutes: OrderedDict[tuple[bytes, bool], float] = attrs.field(factory=OrderedDict, init=False)
    _stages: Counter[Stage] = attrs.field(factory=Counter, init=False)
    _failures: dict[Stage, Counter[Cause]] = attrs.field(factory=dict, init=False)

    # --- what happens

    def found(self, *, fork_ok: bool = True) -> None:
        """Discovery found a node; its record tells whether it is of our chain."""
        self._stages[Stage.FOUND] += 1
        if fork_ok:
            self._stages[Stage.FORK_OK] += 1
        else:
            self._count_failure(Stage.FORK_OK, Cause.WRONG_CHAIN)

    def foreign(self, node_id: bytes, address: str, words: str, wall: float) -> None:
        """
        Discovery found a node whose record tells that it is not of our chain: it is not called.  Counts as L{found}.

        @param wall: unix time.
        """
        self.found(fork_ok=False)
        attempt = Attempt(
            address=address[:MAX_WORDS],
            began=wall,
            inbound=False,
            reached=((Stage.FOUND, 0.0),),
            cause=Cause.WRONG_CHAIN,
            words=words[:MAX_WORDS],
            lasted=0.0,
            by_us=True,
        )
        self._met(node_id, attempt.address).end(attempt)

    def begin(self, node_id: bytes, address: str, now: float, wall: float, *, inbound: bool = False) -> None:
        """
        A call begins; an inbound one when it is known who calls.

        @param address: C{host:port}.
        @param wall: unix time.
        """
        address = address[:MAX_WORDS]
        self.ended(node_id, Cause.OTHER, "nobody told how it ended", now, inbound=inbound)
        attempt = Attempt(address=address, began=wall, inbound=inbound)
        self._met(node_id, address).live[inbound] = _Live(attempt, now)

    def reached(self, node_id: bytes, stage: Stage, now: float, *, inbound: bool = False) -> bool:
        """
        The call under way has come to a stage; to those before it as well, if nobody has told.

        @return: whether that is news.
        """
        traveller = self._nodes.get(node_id)
        live = None if traveller is None else traveller.live.get(inbound)
        if live is None:
            return False
        reached = {told for told, _ in live.attempt.reached}
        furthest = max((_ORDER[told] for told in reached), default=-1)
        if _ORDER[stage] <= furthest:
            return False
        passed = [each for each in _CERTAIN if furthest < _ORDER[each] < _ORDER[stage]] + [stage]
        took = now - live.since
        live.attempt = attrs.evolve(live.attempt, reached=live.attempt.reached + tuple((each, took) for each in passed))
        if not inbound:
            self._stages.update(passed)
        if Stage.HELLO in passed:
            self._minutes[node_id, inbound] = now + MINUTE
        return True

    def ended(
        self, node_id: bytes, cause: Cause, words: str, now: float, *, inbound: bool = False, by_us: bool = False
    ) -> Attempt | None:
        """
        The call under way, or the session it became, is over.

        @return: what became of it; None when nothing was under way.
        """
        traveller = self._nodes.get(node_id)
        live = None if traveller is None else traveller.live.get(inbound)
        if traveller is None or live is None:
            return None
        due = self._minutes.pop((node_id, inbound), None)
        if due is not None and now >= due:
            self.reached(node_id, Stage.MINUTE, due, inbound=inbound)
        del traveller.live[inbound]
        attempt = attrs.evolve(live.attempt, cause=cause, words=words[:MAX_WORDS], lasted=now - live.since, by_us=by_us)
        traveller.end(attempt)
        self._nodes.move_to_end(node_id)
        if not inbound and attempt.missed is not None:
            self._count_failure(attempt.missed, cause)
        return attempt

    def refused(self, who: bytes | str, address: str, rule: str, words: str, wall: float) -> None:
        """
        A caller was not let in.

        @param who: its id; or its host, when it has not proven who it is.
        @param rule: the rule that refused it; one of few.
        """
        known = rule in self.refusals_by_rule or len(self.refusals_by_rule) < MAX_RULES
        self.refusals_by_rule[rule if known else "other"] += 1
        refusal = Refusal(at=wall, address=address[:MAX_WORDS], rule=rule, words=words[:MAX_WORDS])
        before = _touch(self._refused, who, (), MAX_REFUSED)
        self._refused[who] = (*before, refusal)[-MAX_ATTEMPTS:]

    # --- time: a session has lasted a minute

    def next_timer(self) -> float | None:
        """When L{handle_timer} has something to do."""
        return next(iter(self._minutes.values()), None)

    def handle_timer(self, now: float) -> list[tuple[bytes, bool]]:
        """@return: the sessions that have arrived since the last time: node id, and whether it is inbound."""
        arrived = []
        while self._minutes:
            (node_id, inbound), due = next(iter(self._minutes.items()))
            if due > now:
                break
            del self._minutes[node_id, inbound]
            if self.reached(node_id, Stage.MINUTE, due, inbound=inbound):
                arrived.append((node_id, inbound))
        return arrived

    # --- what is known

    def attempts(self, node_id: bytes) -> tuple[Attempt, ...]:
        """Those remembered of a node, oldest first; those under way are the last."""
        traveller = self._nodes.get(node_id)
        if traveller is None:
            return ()
        live = sorted(traveller.live.values(), key=lambda each: each.since)
        return (*traveller.ended, *(each.attempt for each in live))

    def refusals(self, who: bytes | str) -> tuple[Refusal, ...]:
        """Those remembered of a caller, by its id or its host, oldest first."""
        return self._refused.get(who, ())

    def by_host(self, host: str) -> tuple[bytes, ...]:
        """The ids that we met at a host, the newest last."""
        return tuple(self._hosts.get(host, ()))

    def funnel(self) -> dict[str, Any]:
        """
        How far our calls came since the beginning.  C{stages}: by stage, how many came there.  C{failures}: by stage,
        how many did not come there and ended before it, by cause.
        """
        return {
            "stages": {stage.label: self._stages[stage] for stage in STAGES},
            "failures": {
                stage.label: {cause.value: count for cause, count in self._failures[stage].most_common()}
                for stage in STAGES
                if stage in self._failures
            },
        }

    def __len__(self) -> int:
        return len(self._nodes)

    # --- within

    def _met(self, node_id: bytes, address: str) -> _Traveller:
        """The node, as the one we had to do with last."""
        traveller = self._nodes.setdefault(node_id, _Traveller())
        self._nodes.move_to_end(node_id)
        self._make_room(node_id)
        ids = _touch(self._hosts, host_of(address), OrderedDict(), MAX_HOSTS)
        _touch(ids, node_id, None, MAX_IDS)
        return traveller

    def _count_failure(self, stage: Stage, cause: Cause) -> None:
        self._failures.setdefault(stage, Counter())[cause] += 1

    def _make_room(self, newest: bytes) -> None:
        """Forget the oldest that has nothing under way; the oldest of all if all have, but for the newest."""
        for _ in range(len(self._nodes)):
            if len(self._nodes) <= MAX_NODES:
                return
            node_id, traveller = next(iter(self._nodes.items()))
            if not traveller.live and node_id != newest:
                del self._nodes[node_id]
            else:
                self._nodes.move_to_end(node_id)
        while len(self._nodes) > MAX_NODES:
            node_id, traveller = self._nodes.popitem(last=False)
            for inbound in traveller.live:
                self._minutes.pop((node_id, inbound), None)


def _touch(kept: OrderedDict[K, T], key: K, fresh: T, cap: int) -> T:
    """What is kept under C{key}, as the newest of at most C{cap}; C{fresh}, if nothing is."""
    value = kept.setdefault(key, fresh)
    kept.move_to_end(key)
    if len(kept) > cap:
        kept.popitem(last=False)
    return value
