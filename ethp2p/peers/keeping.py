"""
What the household does by the clock: keeps its books between runs, ends bans, makes room for newcomers, and says once
a minute how things are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, Union

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.events import BanRemoved, DialProgress, Feed
from ethp2p.interfaces import ISession
from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.peers import churn
from ethp2p.peers.admission import Rule
from ethp2p.peers.bans import Ban, Scope
from ethp2p.peers.books import Books
from ethp2p.peers.journeys import Stage
from ethp2p.peers.roster import Place
from ethp2p.peers.sessions import Sessions, host_port
from ethp2p.peers.store import IPeerStore, KnownPeer, MemoryPeerStore, StoreFailed

#: Seconds between two times that what has changed of peers is written down.
FLUSH = 5.0
#: Seconds between two times that the peers that stay are written down anew: so much a node that is killed forgets.
REFRESH = 60.0
#: Seconds between two looks for bans that are over.
PURGE = 1.0
#: Seconds between two summaries.
SUMMARY = 60.0
#: Most peers that are read back at the start; static and trusted ones come first, and all of them are.
MAX_READ = 2048
#: Most peers, and most bans, whose change waits to be written; while the store does not work the oldest is given up
#: that no operator has decided.
MAX_UNSAVED = 4096
#: Most who wait for the next write while the store does not answer.
MAX_WAITING = 1024

K = TypeVar("K")
V = TypeVar("V")
#: What is to be written, the oldest first, and what of it an operator has decided.
_Unsaved = dict[K, tuple[frozenset[str], V]]
#: What an operator decides of a peer.
FLAGS = ("static", "trusted")


@attrs.frozen
class BanOver:
    """A ban that has ended."""

    scope: Scope
    subject: str


@attrs.frozen
class Seated:
    """A peer, as L{churn} looks at it; its merit is the bytes of use that it gave each second."""

    inbound: bool
    trusted: bool
    static: bool
    age: float
    merit: float


class Keeper(Service):
    """
    @ivar trouble: why peers and bans are not kept between runs, in words; empty when they are.
    @ivar read: whether it is known what the store has.
    """

    _log = Logger(namespace="ethp2p")

    def __init__(
        self,
        books: Books,
        sessions: Sessions,
        store: IPeerStore | None,
        feed: Feed,
        wheel: WheelTimer,
        *,
        loaded: Callable[[list[KnownPeer]], object],
        met: Callable[[ISession, bool], object],
        lifted: Callable[[], object],
    ) -> None:
        """
        @param store: where peers and bans are kept between runs; nowhere by default.
        @param loaded: told of the peers known from the last time, when the store has been read.
        @param met: told now and then of each session that is a good one, and that it is.
        @param lifted: told that somebody is banned no more.
        """
        self._books = books
        self._sessions = sessions
        self._store: Any = MemoryPeerStore() if store is None else store
        self._feed = feed
        self._wheel = wheel
        self._loaded = loaded
        self._met = met
        self._lifted = lifted
        self.read = False
        self._peers: _Unsaved[bytes, KnownPeer] = {}
        self._bans: _Unsaved[str, Ban | BanOver] = {}  # by subject
        self._overruled: set[str] = set()
        self._closed = True
        self._writing = False
        self._waiting: list[Deferred[bool]] = []  # for the next write
        self._timers: dict[str, WheelCall] = {}
        self.trouble = ""

    # --- lifetime

    def startService(self) -> None:
        """Read what is known from the last time, and begin to look at the clock."""
        super().startService()
        self._closed = False
        self.flush()
        self._every("flush", lambda: FLUSH, lambda: self._writing or self.flush())
        self._every("refresh", lambda: REFRESH, self._refresh)
        self._every("purge", lambda: PURGE, self.purge)
        self._every("arrivals", lambda: PURGE, self._arrivals)
        self._every("summary", lambda: SUMMARY, self._sayHowThingsAre)
        self._every("rotation", lambda: churn.next_rotation(self._books.random), self.rotate)

    def stopService(self) -> Deferred[Any]:
        """Write down what has changed, and close the store.  Can be cancelled, and then nothing more is kept."""
        super().stopService()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

        def close(kept: bool) -> Any:
            self.read, self._closed = False, True
            return self._store.close()

        return self.flush().addCallback(close).addErrback(self._failed).addErrback(self._tooLate)

    def _every(self, name: str, period: Callable[[], float], do: Callable[[], object]) -> None:
        def turn() -> None:
            self._every(name, period, do)
            do()

        self._timers[name] = self._wheel.call_later(period(), turn)

    # --- the store

    def remember(self, peer: KnownPeer, *, decided: str = "") -> None:
        """
        Write this down at the next flush.

        @param decided: which of L{FLAGS} is an operator's word, and not only what was known.
        """
        _, before = self._peers.get(peer.node_id, (None, None))
        _put(self._peers, peer.node_id, peer.after(before), {decided} - {""})

    def decided(self, node_id: bytes, flag: str) -> bool:
        """Whether an operator has decided this and it is not written yet."""
        return node_id in self._peers and flag in self._peers[node_id][0]

    def overrule(self, flag: str) -> None:
        """Nobody has this flag of those whom the store has, if it was not read yet, but for whom that is decided."""
        if not self.read:
            self._overruled.add(flag)

    def rememberBan(self, ban: Ban | BanOver, *, decided: bool) -> None:
        """Write down at the next flush that somebody is banned, or no longer."""
        _put(self._bans, ban.subject, ban, {"ban"} if decided else ())

    def flush(self) -> Deferred[bool]:
        """
        Write down what has changed; first of all, read what is there.  When that cannot be, the household goes on, and
        it is tried again at the next flush.  Those who ask while one is under way have the next one in common: nobody
        waits longer for a slow store than for two.

        @return: fires with whether all is kept now; at once with False when L{MAX_WAITING} wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            return succeed(False)  # it is written with theirs, but nobody is told
        waiting: Deferred[bool] = Deferred()
        self._waiting.append(waiting)
        if not self._writing:
            self._write()
        return waiting

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._writing = True

        def written(kept: Union[bool, Failure]) -> None:
            self._writing = False
            if self._waiting:
                self._write()
            for each in waiting:
                each.callback(kept)  # a Failure is an errback

        Deferred.fromCoroutine(self._flush()).addErrback(self._failed).addBoth(written)

    async def _flush(self) -> bool:
        if self._closed:
            return False
        if not self.read:
            await self._load()
        bans, self._bans = self._bans, {}
        peers, self._peers = self._peers, {}
        try:
            for subject, (_, ban) in list(bans.items()):
                if isinstance(ban, BanOver):
                    await self._store.removeBan(ban.scope, subject)
                else:
                    await self._store.saveBan(ban)
                del bans[subject]
            if peers:
                await self._store.savePeers([peer for _, peer in peers.values()])
        except StoreFailed:
            for subject, (decided, ban) in self._bans.items():  # what has come meanwhile
                _put(bans, subject, ban, decided)
            for node_id, (decided, peer) in self._peers.items():
                _, before = peers.get(node_id, (None, None))
                _put(peers, node_id, peer.after(before), decided)
            self._bans, self._peers = bans, peers
            raise
        if self.trouble:
            self._log.info("peers and bans are kept again")
            self.trouble = ""
        return True

    async def _load(self) -> None:
        await self._store.open()
        bans, peers = await self._store.loadBans(), await self._store.loadPeers(MAX_READ)
        self.read = True
        now = self._wheel.seconds()
        for ban in bans:
            if ban.subject not in self._bans:  # what was decided meanwhile stands
                self._books.bans.add(ban)
        peers = [self._asDecided(peer) for peer in peers if _readable(peer)]
        self._overruled.clear()
        for peer in peers:
            self._books.reputation.restore(peer.node_id, peer.score, now)
        self.partWithBanned()
        self._loaded(peers)

    def _asDecided(self, stored: KnownPeer) -> KnownPeer:
        """A peer as the store has it, and as an operator has decided meanwhile."""
        decided, peer = self._peers.get(stored.node_id, (frozenset[str](), stored))
        static, trusted = (
            getattr(peer, flag) if flag in decided else getattr(stored, flag) and flag not in self._overruled
            for flag in FLAGS
        )
        url = stored.url if stored.static and "static" not in decided else peer.url
        merged = attrs.evolve(stored, url=url, static=static, trusted=trusted)
        changed = [flag for flag in FLAGS if getattr(merged, flag) != getattr(stored, flag)]
        if changed or decided:
            _put(self._peers, stored.node_id, merged, changed)
        return merged

    def _failed(self, failure: Failure) -> bool:
        failure.trap(StoreFailed)
        words = failure.getErrorMessage()
        if words != self.trouble:
            self._log.warn("peers and bans are not kept, the node goes on without: {why}", why=words)
        self.trouble = words
        return False

    def _tooLate(self, failure: Failure) -> None:
        failure.trap(CancelledError)
        self._log.warn("the last changes of peers and bans are not kept: the store does not answer")

    # --- by the clock

    def purge(self) -> None:
        """Forget the bans that are over."""
        for ban in self._books.bans.purge(self._books.wall()):
            self.banOver(ban, "expired")

    def banOver(self, ban: Ban, why: str) -> None:
        """
        A ban has ended; whoever it was has a fresh start.

        @param why: as L{BanRemoved} has it.
        """
        self.rememberBan(BanOver(ban.scope, ban.subject), decided=why == "lifted")
        if ban.scope is Scope.NODE:
            node_id, now = bytes.fromhex(ban.subject), self._wheel.seconds()
            self._books.reputation.reset(node_id, now)
            self._books.dialer.forgive(node_id, now)
        self._feed.publish(BanRemoved(scope=ban.scope.value, subject=ban.subject, why=why))
        self._lifted()

    def _refresh(self) -> None:
        for session in self._sessions.good():
            self._met(session, True)

    def _arrivals(self) -> None:
        """Sessions that have lasted a minute are good ones."""
        for node_id, inbound in self._books.journeys.handle_timer(self._wheel.seconds()):
            place = self._books.roster.get(node_id)
            if place is not None and place.inbound == inbound:
                address = host_port(place.session.address)
                self._feed.publish(
                    DialProgress(node_id=node_id, address=address, inbound=inbound, stage=Stage.MINUTE.label)
                )

    def partWithBanned(self) -> None:
        """Disconnect everybody who is banned."""
        for session in self._sessions:
            banned = self._books.banned(session.node_id, getattr(session.address, "host", None))
            if banned:
                self._sessions.sendAway(session, Rule.BANNED, f"banned: {banned}")

    def rotate(self) -> None:
        """When full, part with one peer, so that newcomers get in and the network does not ossify."""
        books = self._books
        roster = books.roster
        if not books.policy.rotate:
            return
        places = roster.added()
        seated = [self._seated(place) for place in places]
        census = roster.census()  # trusted peers take no place
        full = census.peers >= books.policy.max_peers
        full_inbound = full or census.inbound >= books.policy.max_inbound
        full_dialed = full or roster.dialed >= books.policy.max_dialed
        chosen = churn.choose(seated, full_inbound, full_dialed, books.random)
        if chosen is not None:
            self._sessions.sendAway(places[chosen].session, Rule.TOO_MANY_PEERS, "makes room for newcomers")

    def _seated(self, place: Place) -> Seated:
        age = self._wheel.seconds() - place.since
        standing = self._sessions.standing(place.session)
        given = 0 if standing is None else standing.given
        return Seated(place.inbound, place.trusted, place.static, age, given / max(1.0, age))

    def _sayHowThingsAre(self) -> None:
        self._log.info("{words}", words=summary(self._books))


def _put(unsaved: _Unsaved[K, V], key: K, value: V, decided: Iterable[str]) -> None:
    """
    Add the newest; where there are too many, the oldest goes.  Strangers come by the thousand, and must not push out
    what an operator has decided.
    """
    before, _ = unsaved.pop(key, (frozenset[str](), None))
    if len(unsaved) >= MAX_UNSAVED:
        del unsaved[next((each for each, (kept, _) in unsaved.items() if not kept), next(iter(unsaved)))]
    unsaved[key] = before.union(decided), value


def _readable(peer: KnownPeer) -> bool:
    """Whether it can be called by what the store has of it; if not, somebody else has been there."""
    try:
        return Node.parse(peer.url).node_id == peer.node_id
    except ConfigError:
        return False


def summary(books: Books) -> str:
    """How things are, in one line."""
    roster = books.roster
    funnel = books.journeys.funnel()["stages"]
    return "; ".join(
        (
            f"{len(roster)} peers of {roster.max_peers}, {roster.dialed} called and {roster.inbound} callers",
            f"calls: {funnel['tcp']} connected, {funnel['hello']} greeted, {funnel['minute']} lasted a minute",
            f"{books.refusals.total()} not let in, {books.offences.total()} offences, {len(books.bans)} bans",
        )
    )
