"""
Whom to call, and when to call again.

Static peers are called until they are connected and again after they are lost.  Nodes that discovery found are
called while there is room.  Of both it is remembered how their calls and sessions ended, since how long to wait
before the next call depends on that.  Nodes that we know are called again by ourselves, since a node that only calls
must not lose its peers one by one and find no others when discovery has run dry.  While discovery finds others they
have half of the room: whoever has seen to it that we know nobody but him must not have us for himself again and again.
Who called us is not called back in the same run unless discovery or the operator has told where it listens: the port
it called from tells nothing, and where it says it listens is hearsay, so that those that we reached come first.

Pure: told what happened and the time, it answers with the calls to make.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from typing import Any

import attrs

from ethp2p.enode import Netrestrict
from ethp2p.enode.cidr import is_ip, is_lan
from ethp2p.peers.backoff import (
    BACKOFF,
    FAR_BACKOFF,
    FORBIDDEN_WAIT,
    HISTORY,
    NEAR_BACKOFF,
    NEAR_CAP,
    Cause,
    Wait,
)

__all__ = [
    "BACKOFF",
    "FAR_BACKOFF",
    "HISTORY",
    "NEAR_BACKOFF",
    "Callee",
    "Cause",
    "Dialer",
    "Rejection",
    "Seats",
    "Wait",
]

#: Most calls under way at one time (geth: maxActiveDials).
MAX_ACTIVE_DIALS = 50
#: Most static peers.
MAX_STATIC_PEERS = 1024
#: Most calls remembered of found nodes, so as not to repeat them too soon; the oldest is forgotten first.
MAX_HISTORY = 4096
#: Most found nodes remembered because they were good peers.  Strangers, however many, do not displace them.
MAX_FORMER = 1024
#: Most callers noted as being in the handshake.  Those beyond may be called all the same; the roster tells the ties.
MAX_PENDING = 1024
#: Most characters remembered of how a call ended.
MAX_WORDS = 256
#: A peer that we keep losing is called again at most so many times in so many seconds.
RESTARTS = 5
RESTART_WINDOW = 600.0
#: A found node that was never a good peer is given up after so many failures in a row, until it is found again.
TRIES = 5
#: A session that lasted this long is a good one: it wipes the failures before it, and is what we remember a peer by.
GOOD_SESSION = 60.0
#: When there has been room for this long and discovery found nobody to call, all of it is for those that we know.
DRY = 30.0
#: Each wait is stretched by up to this share, so that peers lost together are not called together.
JITTER = 0.1
#: How often to look for former peers to call, at most; there may be thousands.
LOOK_EVERY = 1.0
#: How often to say that we look for peers, at most (geth: dialStatsLogInterval).
SAY_EVERY = 10.0


#: Causes after which the peer may have moved: another address that discovery has for it is worth a call.
_MOVED = {Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE, Cause.UNEXPECTED_IDENTITY}


class Rejection(Enum):
    """Why a found node is not called, in words."""

    SELF = "ourselves"
    STATIC = "static"
    NO_ADDRESS = "no address"
    CALLING = "being called"
    CONNECTED = "already connected"
    PENDING_INBOUND = "just calling us"
    NETRESTRICT = "outside our networks"
    BANNED = "banned"
    RECENT = "recently called"
    BACKOFF = "put off after a failure"
    RESTARTS = "called too often"


@attrs.frozen(kw_only=True)
class Seats:
    """
    How many peers there are, and may be.

    @ivar dialed: peers that we called and have.
    @ivar max_dialed: how many of them there may be.
    @ivar free: places left for anybody who is not trusted.
    @ivar min_peers: with fewer dialed ones we look harder, and say so.
    """

    dialed: int
    max_dialed: int
    free: int
    min_peers: int = 0

    @property
    def least(self) -> int:
        """How many dialed peers there should be at least; never more than there may be."""
        return min(self.min_peers, self.max_dialed)

    @property
    def hungry(self) -> bool:
        """Whether there are too few."""
        return self.dialed < self.least


def nobody(node_id: bytes, host: str) -> str:
    """Nobody is banned."""
    return ""


@attrs.define(eq=False)
class Callee:
    """
    A node that we call, or have called.

    @ivar node: what the owner calls it by; carried, and never looked at.
    @ivar near: whether it is on this machine or network, where nobody throttles.
    @ivar due: when it may be called again.
    @ivar soon: the same when we have too few peers, and wait no longer than the first time.
    @ivar failures: how many times in a row it came to nothing.
    @ivar cause: how the newest call or session ended; None when none has.
    @ivar last: the same in words.
    @ivar former: whether it was a good peer.
    @ivar reached: whether it was one when we called it.
    @ivar dismissed: whether the operator wants it no longer: it is called again only if discovery finds it.
    """

    node_id: bytes
    static: bool
    due: float
    soon: float
    host: str = ""
    port: int = 0
    node: Any = None
    near: bool = False
    failures: int = 0
    calling: bool = False
    called_at: float | None = None
    cause: Cause | None = None
    last: str = ""
    former: bool = False
    reached: bool = False
    dismissed: bool = False
    redials: tuple[float, ...] = ()

    def place(self, host: str, port: int, node: Any) -> None:
        """It is there."""
        self.host, self.port, self.node = host, port, node
        self.near = is_ip(host) and is_lan(host)

    @property
    def unthrottled(self) -> bool:
        """Whether we may call it as often as we like: our own, on our own network."""
        return self.static and self.near

    @property
    def passing(self) -> bool:
        """Whether what went wrong may be over by itself."""
        return self.cause is None or BACKOFF[self.cause].passing

    def waits_until(self, *, hungry: bool) -> float:
        """When the wait after its failures is over; it may be called then or later, never before."""
        return self.soon if hungry else self.due

    def ready(self, *, hungry: bool) -> float:
        """When it may be called again."""
        due = self.waits_until(hungry=hungry)
        if self.unthrottled:
            return due
        if self.called_at is not None:
            due = max(due, self.called_at + HISTORY)
        return max(due, self.restarts_until)

    @property
    def restarts_until(self) -> float:
        """When it will have been called again less often than the most we do."""
        full = len(self.redials) == RESTARTS and not self.unthrottled
        return self.redials[0] + RESTART_WINDOW if full else 0.0


@attrs.define
class Dialer:
    """
    @ivar random: gives numbers from 0 up to 1.
    @ivar own_id: our node id.
    @ivar netrestrict: the only networks to call; may be changed at any time.  Of a host name it is not known where
        it leads to: the checkpoint sees to that.
    @ivar banned: why this id at this host is banned, in words; empty when it is not.
    @ivar trusted: ids that need no free place.
    @ivar rejected: how many found nodes were not called, by reason.
    @ivar failures: how many calls came to nothing or to a session that was not good, by cause.
    @ivar candidates: how many nodes were found.
    """

    random: Callable[[], float]
    own_id: bytes = b""
    max_active: int = MAX_ACTIVE_DIALS
    netrestrict: Netrestrict | None = None
    banned: Callable[[bytes, str], str] = nobody
    trusted: Collection[bytes] = ()
    rejected: Counter[Rejection] = attrs.field(factory=Counter, init=False)
    failures: Counter[Cause] = attrs.field(factory=Counter, init=False)
    candidates: int = attrs.field(default=0, init=False)
    _static: dict[bytes, Callee] = attrs.field(factory=dict, init=False)
    _former: OrderedDict[bytes, Callee] = attrs.field(factory=OrderedDict, init=False)
    _strangers: OrderedDict[bytes, Callee] = attrs.field(factory=OrderedDict, init=False)
    _calling: set[bytes] = attrs.field(factory=set, init=False)
    _redialing: set[bytes] = attrs.field(factory=set, init=False)
    _redialed: set[bytes] = attrs.field(factory=set, init=False)
    _room_since: float | None = attrs.field(default=None, init=False)
    _pending: set[bytes] = attrs.field(factory=set, init=False)
    _look_at: float = attrs.field(default=0.0, init=False)
    _looked: float = attrs.field(default=float("-inf"), init=False)
    _said: tuple[float, int, Counter[Rejection], Counter[Cause]] | None = attrs.field(default=None, init=False)

    # --- whom we want

    def add(self, node_id: bytes, host: str, port: int, now: float, node: Any = None) -> bool:
        """
        Want this peer from now on.  Earlier failures are forgiven.

        @param host: where to call it; empty when that is not known before discovery finds it.
        @return: whether it is wanted: False only when there are L{MAX_STATIC_PEERS} others.
        """
        callee = self._static.get(node_id)
        if callee is None:
            if len(self._static) >= MAX_STATIC_PEERS:
                return False
            callee = self._forget(node_id) or Callee(node_id, static=True, due=now, soon=now)
            callee.static, callee.dismissed = True, False
            self._static[node_id] = callee
            self.forgive(node_id, now)
        if host and (host, port) != (callee.host, callee.port):
            callee.place(host, port, node)
            callee.due = callee.soon = now
        return True

    def remove(self, node_id: bytes) -> bool:
        """Want it no longer.  @return: whether it was wanted."""
        callee = self.get(node_id)
        if callee is None:
            return False
        wanted, callee.static, callee.dismissed = callee.static, False, True
        if self._static.pop(node_id, None) is not None and callee.called_at is not None:
            self._keep(callee)
        return wanted

    def remember(
        self, node_id: bytes, host: str, port: int, now: float, node: Any = None, *, reached: bool = False
    ) -> None:
        """Call again a peer that was a good one before we were started, if there is room.  The best comes last."""
        if self.get(node_id) is None and host and port and node_id != self.own_id:
            callee = Callee(node_id, static=False, due=now, soon=now, former=True, reached=reached)
            callee.place(host, port, node)
            self._keep(callee)
            self._look_for(callee)

    def forgive(self, node_id: bytes, now: float) -> None:
        """Forget its failures: what was wrong with it was put right."""
        callee = self.get(node_id)
        if callee is not None:
            callee.failures, callee.cause, callee.due, callee.soon, callee.redials = 0, None, now, now, ()
            self._look_for(callee)

    def get(self, node_id: bytes) -> Callee | None:
        """What is known of a node that is wanted or was called."""
        return self._static.get(node_id) or self._former.get(node_id) or self._strangers.get(node_id)

    def static(self) -> Iterator[Callee]:
        """The peers that we want."""
        return iter(tuple(self._static.values()))

    # --- whom to call

    @property
    def calling(self) -> int:
        """Calls under way."""
        return len(self._calling)

    def wanted(self, seats: Seats) -> int:
        """
        How many found nodes to call now: twice as many as there are places for, since most come to nothing
        (geth: freeDialSlots).
        """
        return max(0, min((seats.max_dialed - seats.dialed) * 2, self.max_active) - self.calling)

    def found(
        self,
        node_id: bytes,
        host: str,
        port: int,
        connected: Collection[bytes],
        seats: Seats,
        now: float,
        node: Any = None,
    ) -> Rejection | None:
        """
        Discovery found a node.  A static peer whose address is not known, or does not answer any more, has this one
        from now on.

        @return: why not to call it.  None says to call it now: then it counts as being called until L{failed},
            L{connected} or L{given_up}.
        """
        self.candidates += 1
        callee = self._static.get(node_id)
        if callee is not None and host and port:
            self._moved(callee, host, port, node, now)
            rejection: Rejection | None = Rejection.STATIC
        else:
            rejection = self._reject(node_id, host, port, connected, seats, now)
        if rejection is not None:
            self.rejected[rejection] += 1
            return rejection
        callee = self.get(node_id) or Callee(node_id, static=False, due=now, soon=now)
        callee.dismissed = False
        callee.place(host, port, node)
        self._begin(callee, now)
        self._keep(callee)
        self._room_since = now  # it has not run dry
        return None

    def next_calls(self, connected: Collection[bytes], seats: Seats, now: float) -> list[Callee]:
        """
        Whom to call now, beside those that discovery finds: the static peers first, who has waited longest before
        the others, then former ones.  Each counts as being called until L{failed}, L{connected} or L{given_up}.
        """
        calls: list[Callee] = []
        hungry = seats.hungry
        due = [
            (ready, callee)
            for callee in self._static.values()
            if callee.waits_until(hungry=hungry) <= now
            and (ready := callee.ready(hungry=hungry)) <= now
            and self._idle(callee, connected)
        ]
        for _, callee in sorted(due, key=lambda entry: entry[0]):
            if self.calling >= self.max_active:
                break
            seated = callee.node_id in self.trusted or self.calling < seats.free * 2
            if seated and not self._put_off(callee, now):
                self._begin(callee, now)
                calls.append(callee)
        return calls + self._redial(connected, seats, now)

    def next_timer(self, connected: Collection[bytes], seats: Seats, now: float) -> float | None:
        """When L{next_calls} may have an answer, if nothing else happens before."""
        hungry, nearest = seats.hungry, float("inf")
        for callee in self._static.values():
            if callee.waits_until(hungry=hungry) < nearest and (seats.free or callee.node_id in self.trusted):
                ready = callee.ready(hungry=hungry)
                if now < ready < nearest and self._idle(callee, connected):
                    nearest = ready
        look = self._next_look
        if self._share(connected, seats) <= 0:
            look = max(look, self._dry_at(now))
        if look > now and self.wanted(seats):
            nearest = min(nearest, look)
        return None if nearest == float("inf") else nearest

    # --- what became of it

    def failed(self, node_id: bytes, cause: Cause, why: str, now: float) -> Callee | None:
        """A call did not become a session.  @return: what is known of the node now."""
        self.given_up(node_id)
        self.failures[cause] += 1
        return self._wait(node_id, cause, why, now)

    def connected(self, node_id: bytes) -> None:
        """A call became a session."""
        if node_id in self._redialing:
            self._redialed.add(node_id)
        self.given_up(node_id)

    def given_up(self, node_id: bytes) -> None:
        """A call was given up by ourselves."""
        callee = self.get(node_id)
        if callee is not None and callee.calling:
            callee.calling = False
            self._look_for(callee)
        self._calling.discard(node_id)
        self._redialing.discard(node_id)

    def ended(
        self, node_id: bytes, cause: Cause, lasted: float, why: str, now: float, *, inbound: bool = False
    ) -> Callee | None:
        """
        A session ended after C{lasted} seconds, whoever had called.

        @return: what is known of the node now; None of one that we never called.
        """
        self._pending.discard(node_id)
        if not inbound:
            self._redialed.discard(node_id)
        callee = self.get(node_id)
        if lasted < GOOD_SESSION:
            self.failures[cause] += 1
        elif callee is not None:
            callee.failures, callee.former, callee.reached = 0, True, callee.reached or not inbound
            if not callee.static:
                self._keep(callee)
        return self._wait(node_id, cause, why, now)

    def pending_inbound(self, node_id: bytes) -> None:
        """A node is calling us, and has proven its identity: do not call it at the same time."""
        if len(self._pending) < MAX_PENDING:
            self._pending.add(node_id)

    def pending_over(self, node_id: bytes) -> None:
        """Its call has become a session, or nothing."""
        self._pending.discard(node_id)
        callee = self.get(node_id)
        if callee is not None:
            self._look_for(callee)

    # --- what to say

    def why_not(self, node_id: bytes, connected: Collection[bytes], seats: Seats, now: float) -> str:
        """Why this node is not called now, in words with seconds; empty when it is about to be."""
        callee = self.get(node_id) or Callee(node_id, static=False, due=now, soon=now)
        rejection = self._reject(node_id, callee.host, callee.port, connected, seats, now)
        again = f"{'called' if callee.static else 'not called'} again "
        again += f"{'in' if callee.static else 'before'} {callee.ready(hungry=seats.hungry) - now:.0f} s"
        match rejection:
            case Rejection.NO_ADDRESS:
                return "nobody has told where it is"
            case Rejection.BANNED:
                return f"banned: {self.banned(node_id, callee.host)}"
            case Rejection.RESTARTS:
                return f"called again {RESTARTS} times in {RESTART_WINDOW / 60:.0f} min: {again}"
            case Rejection.RECENT | Rejection.BACKOFF:
                times = f" ({callee.failures} times in a row)" if callee.failures > 1 else ""
                return f"{callee.last or rejection.value}{times}: {again}"
            case Rejection():
                return str(rejection.value)
        if self.calling >= self.max_active:
            return f"{self.calling} calls are under way, which is the most"
        if callee.static:
            return "" if seats.free or node_id in self.trusted else "all places are taken"
        if not self.wanted(seats):
            return "there is no place left for another peer that we call"
        if not self._worthwhile(callee, seats):
            return f"given up, unless discovery finds it again: {callee.last or 'removed'}"
        if self._dry_at(now) > now and self._share(connected, seats) <= 0:
            return "the places that are left are for nodes that discovery finds"
        return ""

    def looking(self, connected: Collection[bytes], seats: Seats, now: float) -> str | None:
        """
        The line that says that we look for peers, and what is in the way.  For who asks every now and then: there is
        one every L{SAY_EVERY} seconds at most, and only while there are too few peers.
        """
        then, found, rejected, failures = self._said or (now, 0, Counter(), Counter())
        if self._said is not None and now - then < SAY_EVERY:
            return None
        self._said = now, self.candidates, self.rejected.copy(), self.failures.copy()
        if not seats.hungry or now == then:
            return None
        refused, ended = self.rejected - rejected, self.failures - failures
        parts = [f"{self.candidates - found or 'nobody'} found in {now - then:.0f} s"]
        if refused:
            parts[0] += ": " + ", ".join(f"{count} {rejection.value}" for rejection, count in refused.most_common())
        if ended:
            words = ", ".join(f"{count} {cause.words}" for cause, count in ended.most_common())
            parts.append(f"{ended.total()} came to nothing: {words}")
        if self._calling:
            parts.append(f"{self.calling} being called")
        if self._static:
            idle = [callee for callee in self._static.values() if self._idle(callee, connected)]
            waits = [callee.ready(hungry=True) - now for callee in idle]
            parts.append(f"{len(self._static)} static" + (f", next in {max(0.0, min(waits)):.0f} s" if waits else ""))
        return f"looking for peers ({seats.dialed} of at least {seats.least}): " + "; ".join(parts)

    # --- within

    def _reject(
        self, node_id: bytes, host: str, port: int, connected: Collection[bytes], seats: Seats, now: float
    ) -> Rejection | None:
        if node_id == self.own_id:
            return Rejection.SELF
        if node_id in self._calling:
            return Rejection.CALLING
        if node_id in connected:
            return Rejection.CONNECTED
        if node_id in self._pending:
            return Rejection.PENDING_INBOUND
        if not host or not port:
            return Rejection.NO_ADDRESS
        if not self._permitted(host):
            return Rejection.NETRESTRICT
        if self.banned(node_id, host):
            return Rejection.BANNED
        callee = self.get(node_id)
        if callee is None or callee.ready(hungry=seats.hungry) <= now:
            return None
        if callee.restarts_until > now:
            return Rejection.RESTARTS
        recent = callee.called_at is not None and now < callee.called_at + HISTORY
        return Rejection.RECENT if recent else Rejection.BACKOFF

    def _permitted(self, host: str) -> bool:
        return self.netrestrict is None or not is_ip(host) or host in self.netrestrict

    def _moved(self, callee: Callee, host: str, port: int, node: Any, now: float) -> None:
        """Discovery has this address of a static peer."""
        if (host, port) == (callee.host, callee.port) or (callee.host and callee.cause not in _MOVED):
            return
        callee.place(host, port, node)
        callee.due = callee.soon = now  # which the history still puts off

    def _idle(self, callee: Callee, connected: Collection[bytes]) -> bool:
        """Whether it could be called as far as it is concerned: we know where it is, and have nothing with it."""
        node_id = callee.node_id
        return bool(callee.host) and not (callee.calling or node_id in connected or node_id in self._pending)

    def _put_off(self, callee: Callee, now: float) -> bool:
        """Whether it must not be called.  Then it is looked at again after a while."""
        why = self.banned(callee.node_id, callee.host)
        if not why and self._permitted(callee.host):
            return False
        callee.cause = Cause.BANNED if why else Cause.NETRESTRICT
        callee.last = f"banned: {why}"[:MAX_WORDS] if why else Rejection.NETRESTRICT.value
        callee.due = callee.soon = now + FORBIDDEN_WAIT
        return True

    def _worthwhile(self, callee: Callee, seats: Seats) -> bool:
        """Whether to call it again without being told of it again: when we have too few peers, anybody is."""
        if callee.dismissed or callee.cause is Cause.SELF:
            return False
        return seats.hungry or (callee.passing and (callee.former or callee.failures < TRIES))

    def _redial(self, connected: Collection[bytes], seats: Seats, now: float) -> list[Callee]:
        """Half of the room is for nodes that we know, the rest for new ones, so that we meet those, too."""
        self._redialed.intersection_update(connected)
        if seats.dialed >= seats.max_dialed:
            self._room_since = None
        elif self._room_since is None:
            self._room_since = now
        wanted = self.wanted(seats)
        count = min(wanted, (wanted + len(self._redialing) + 1) // 2 - len(self._redialing))
        if self._dry_at(now) > now:
            count = min(count, self._share(connected, seats))
        if count <= 0 or now < self._next_look:
            return []
        due: list[tuple[bool, bool, int, float, Callee]] = []
        hungry, later = seats.hungry, float("inf")
        for callee in (*reversed(self._former.values()), *self._strangers.values()):
            ready = callee.waits_until(hungry=hungry)
            if ready <= now and self._worthwhile(callee, seats) and self._idle(callee, connected):
                ready = callee.ready(hungry=hungry)
                if ready <= now:
                    proven = callee.reached and callee.failures < TRIES
                    due.append((not callee.former, not proven, callee.failures, ready, callee))
            if ready > now:
                later = min(later, ready)
        due.sort(key=lambda entry: entry[:4])
        calls: list[Callee] = []
        for *_, callee in due:
            if len(calls) == count:
                later = now
                break
            if not self._put_off(callee, now):
                self._begin(callee, now)
                self._redialing.add(callee.node_id)
                calls.append(callee)
        known = bool(self._former or self._strangers)
        self._looked = now
        self._look_at = min(later, now + HISTORY) if known else float("inf")
        return calls

    def _dry_at(self, now: float) -> float:
        """When discovery will have found nobody to call for long enough, if it goes on so."""
        return (now if self._room_since is None else self._room_since) + DRY

    def _share(self, connected: Collection[bytes], seats: Seats) -> int:
        """How many more that we know may be called: if all of them come, they have half of what static peers leave."""
        left = seats.max_dialed - sum(node_id in connected for node_id in self._static)
        return (left + 1) // 2 - len(self._redialed) - len(self._redialing)

    def _look_for(self, callee: Callee) -> None:
        """It is to be found among the former peers when its time has come."""
        if not callee.static:
            self._look_at = min(self._look_at, callee.ready(hungry=True))

    @property
    def _next_look(self) -> float:
        return max(self._look_at, self._looked + LOOK_EVERY)

    def _begin(self, callee: Callee, now: float) -> None:
        if callee.called_at is not None:
            callee.redials = (*callee.redials, now)[-RESTARTS:]
        callee.called_at = now
        callee.calling = True
        self._calling.add(callee.node_id)

    def _wait(self, node_id: bytes, cause: Cause, why: str, now: float) -> Callee | None:
        callee = self.get(node_id)
        if callee is None:
            return None
        callee.cause, callee.last = cause, why[:MAX_WORDS]
        rule = BACKOFF[cause]
        if callee.unthrottled:
            rule = Wait(NEAR_BACKOFF, rule.growth, NEAR_CAP)
        stretch = 1 + JITTER * self.random()
        wait = min(rule.cap, rule.first * rule.growth ** min(callee.failures, 16))
        callee.failures += rule.growth > 1
        callee.due = now + wait * stretch
        callee.soon = callee.due if callee.unthrottled else now + rule.first * stretch
        self._look_for(callee)
        return callee

    def _keep(self, callee: Callee) -> None:
        """Remember a node that is not static, and forget the oldest of its kind that is over the cap."""
        self._forget(callee.node_id)
        kept, cap = (self._former, MAX_FORMER) if callee.former else (self._strangers, MAX_HISTORY)
        kept[callee.node_id] = callee
        if len(kept) > cap:
            oldest = next((each for each in kept if each not in self._calling), None)
            if oldest is not None:  # calls under way are few, and end
                del kept[oldest]

    def _forget(self, node_id: bytes) -> Callee | None:
        return self._former.pop(node_id, None) or self._strangers.pop(node_id, None)
