"""
The household as one service, and what its operator can do with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger

from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason
from ethp2p.events import BanAdded, Feed, PolicyChanged, Refused
from ethp2p.interfaces import ISession
from ethp2p.limits import WheelTimer
from ethp2p.order import OrderedService
from ethp2p.peers import throttle
from ethp2p.peers.admission import Rule
from ethp2p.peers.bans import OPERATOR, REPUTATION, Ban, Scope, parse_subject
from ethp2p.peers.books import Books
from ethp2p.peers.dialer import MAX_FORMER
from ethp2p.peers.dialing import DialService, objection_to
from ethp2p.peers.doors import Doorway
from ethp2p.peers.explain import Known
from ethp2p.peers.journeys import host_of
from ethp2p.peers.keeping import Keeper
from ethp2p.peers.listening import ListenService
from ethp2p.peers.policy import Policy
from ethp2p.peers.roster import Roster
from ethp2p.peers.sessions import Sessions, host_at, host_port
from ethp2p.peers.store import IPeerStore, KnownPeer

#: Longest ban that ends, seconds: a hundred years.
MAX_BAN = 100 * 365.25 * 86400


class Household(OrderedService):
    """
    Peers of any wire: who may come in, whom we call, whom we keep, whom we ban, and why.

    Make it; build a wire's factory of sessions on L{sessions}; then L{open} it.

    @ivar books: what it knows.
    @ivar sessions: the two checkpoints, an L{ethp2p.interfaces.IHousehold}.
    @ivar doorway: who is at the door.
    @ivar listening: its C{started} fires once peers can call.
    @ivar dialing: calls peers.
    @ivar keeper: keeps the books between runs.
    """

    listening: ListenService
    dialing: DialService
    _log = Logger(namespace="ethp2p")

    def __init__(
        self,
        own_id: bytes,
        policy: Policy,
        feed: Feed,
        wheel: WheelTimer,
        *,
        clock: Any,
        wall: Callable[[], float],
        random: Callable[[], float],
        store: IPeerStore | None = None,
    ) -> None:
        """
        @param own_id: our node id, 32 bytes.
        @param policy: what the operator has set.
        @param clock: for the deadlines of stopping.
        @param wall: tells unix time.
        @param random: gives numbers from 0 up to 1.
        @param store: where peers and bans are kept between runs; nowhere by default.
        """
        super().__init__(clock)
        self._feed = feed
        self._wheel = wheel
        self.books = Books(own_id, policy, random, wall)
        objection = partial(self.books.forbidden, None)
        self.doorway = Doorway(self.books.doorman, wheel, objection, self._refusedAtTheDoor)
        self.sessions = Sessions(
            self.books,
            feed,
            wheel,
            settled=self.doorway.settled,
            ended=self._pump,
            met=self._remember,
            ban=self._banForOffences,
        )
        self.keeper = Keeper(
            self.books, self.sessions, store, feed, wheel, loaded=self._loaded, met=self._remember, lifted=self._pump
        )
        # Whom the operator has named while we ran, now or earlier, which is kept.  Those of the configuration are not
        # among them: who is taken out of it is wanted and trusted no more.
        self._static: set[bytes] = set()
        self._trusted: dict[bytes, Node] = {}

    def open(
        self,
        doors: Sequence[IStreamServerEndpoint],
        factory: IProtocolFactory,
        call: Callable[[Node, Callable[[], object]], Deferred[Any]],
        stranger: Callable[[Node], str] = lambda node: "",
    ) -> None:
        """
        Say how peers come and are called, over which wire.

        @param doors: where they may call, each made on L{doorway}'s C{guard}.
        @param factory: what listens there.
        @param call: see L{DialService}.
        @param stranger: see L{DialService}.
        """
        self.listening = ListenService(doors, factory)
        self.dialing = DialService(call, self.books, self._feed, self._wheel, stranger=stranger)
        for service in (self.keeper, self.sessions, self.listening, self.dialing):  # the last stops first
            service.setServiceParent(self)

    @property
    def roster(self) -> Roster:
        """Who is here."""
        return self.books.roster

    def stopService(self) -> Deferred[None]:
        """Let nobody in, call nobody, say goodbye, write down what is known.  Fires when all is over."""
        self.doorway.close()
        return super().stopService().addCallback(lambda _: self.doorway.clear())

    # --- between its parts

    def _refusedAtTheDoor(self, address: Any, refused: throttle.Refused) -> None:
        rule, place = refused.rule.value, host_port(address)
        self.books.refusals[rule] += 1
        self.books.journeys.refused(host_at(address), place, rule, refused.words, self.books.wall())
        self._feed.publish(Refused(address=place, node_id=None, inbound=True, rule=rule, detail=refused.words))

    def _pump(self) -> None:
        self.dialing.pump()

    def _loaded(self, peers: list[KnownPeer]) -> None:
        seeds, left = [], 0
        for peer in sorted(peers, key=lambda peer: (peer.reached, peer.last_success), reverse=True):
            node = Node.parse(peer.url)
            if peer.trusted:
                self._trusted[peer.node_id] = node
                try:
                    self.books.roster.trust(peer.node_id)
                except ConfigError:  # the configuration has named as many
                    left += 1
            if peer.static:
                self._static.add(peer.node_id)
            if peer.static and not objection_to(node, self.books.policy):
                left += not self.dialing.addPeer(node)
            elif peer.last_success and not self.keeper.decided(peer.node_id, "static"):  # who was removed
                seeds.append((node, peer.reached))
        if left:
            self._log.warn("{count} static or trusted peers of the store are over the most there may be", count=left)
        self.dialing.remember(seeds[:MAX_FORMER])

    def _remember(self, session: ISession, good: bool) -> None:
        callee = self.books.dialer.get(session.node_id)
        # What a caller says of where it listens counts for nothing where we have reached it ourselves.
        node = callee.node if session.inbound and callee is not None and callee.reached else session.node
        # Before the store was read nobody knows what else it says of this peer.
        if self.keeper.read and node is not None and node.host and node.tcp:
            self.keeper.remember(self._known(node, session, good=good))

    def _known(self, node: Node, session: ISession | None = None, *, good: bool = False) -> KnownPeer:
        books = self.books
        callee, place = books.dialer.get(node.node_id), books.roster.get(node.node_id)
        if callee is not None and callee.static:  # as the operator has it, who may have given a name
            node = callee.node
        if session is None and place is not None:
            session = place.session
        return KnownPeer(
            node_id=node.node_id,
            url=node.record.text if node.record is not None else node.url,
            score=books.reputation.score(node.node_id, self._wheel.seconds()),
            last_success=int(self.books.wall()) if good else 0,
            capabilities=() if session is None else session.capabilities,
            client="" if session is None else session.client,
            static=node.node_id in self._static,
            trusted=node.node_id in self._trusted,
            reached=good and session is not None and not session.inbound,
        )

    def _banForOffences(self, session: ISession, evidence: str) -> None:
        self._ban(session.node_id.hex(), self.books.policy.ban_seconds, evidence, REPUTATION)
        # Not before its session has told it what it did.
        self._wheel.call_later(0.0, lambda: self.sessions.sendAway(session, Rule.BANNED, f"banned: {evidence}"))

    # --- what the operator can do

    def addPeer(self, node: Node) -> Deferred[bool]:
        """
        Keep a connection to this node: call it, and again whenever it is gone, also after a restart.

        @return: fires, when that is kept, with False if there are too many static peers already.
        @raise ethp2p.errors.ConfigError: it has no address to call.
        """
        if not self.dialing.addPeer(node):
            return succeed(False)
        self._static.add(node.node_id)
        self.keeper.remember(self._known(node), decided="static")
        return self.keeper.flush().addCallback(lambda kept: True)

    def removePeer(self, node: Node) -> Deferred[bool]:
        """
        Stop wanting this node, and disconnect it.

        @return: fires with whether it was wanted or connected.
        """
        wanted = self.dialing.removePeer(node.node_id)
        self._static.discard(node.node_id)
        self.keeper.remember(self._known(node), decided="static")
        here = [session for session in self.sessions if session.node_id == node.node_id]
        for session in here:
            session.disconnect(DisconnectReason.REQUESTED)
        return self.keeper.flush().addCallback(lambda kept: wanted or bool(here))

    def trust(self, node: Node, trusted: bool = True) -> Deferred[bool]:
        """
        Let this node in even when all places are taken, or no longer.  A live peer is told apart from now on, and
        stays.

        @return: fires with whether that is a change.
        """
        changed = self._trust(node) if trusted else self._untrust(node)
        return self.keeper.flush().addCallback(lambda kept: changed)

    def trusted(self) -> Collection[Node]:
        """Whom the operator has named trusted while we ran, now or earlier."""
        return tuple(self._trusted.values())

    def _trust(self, node: Node) -> bool:
        changed = self.books.roster.trust(node.node_id)
        self._trusted[node.node_id] = node
        self.keeper.remember(self._known(node), decided="trusted")
        self._pump()  # it needs no free place any more
        return changed

    def _untrust(self, node: Node) -> bool:
        self._trusted.pop(node.node_id, None)
        self.keeper.remember(self._known(node), decided="trusted")
        return self.books.roster.untrust(node.node_id)

    def ban(self, subject: str, seconds: float | None, reason: str) -> Deferred[tuple[Ban, bool]]:
        """
        Let this node, address or network not in, and disconnect who is here.

        @param subject: a node id in hex, an enode URL, a record, an IP address, or a network as C{192.0.2.0/24}.
        @param seconds: for how long; None for ever.
        @return: fires with the ban, and whether it is kept for after a restart.
        @raise ethp2p.errors.ConfigError: it is none of these.
        """
        banned = self._ban(subject, seconds, reason, OPERATOR)
        self.keeper.partWithBanned()
        return banned

    def _ban(self, subject: str, seconds: float | None, reason: str, by: str) -> Deferred[tuple[Ban, bool]]:
        scope, name = parse_subject(subject)
        if seconds is not None and not 0 < seconds <= MAX_BAN:
            raise ConfigError(f"a ban lasts up to {MAX_BAN:.0f} seconds, or for ever, not {seconds} seconds")
        since = int(self.books.wall())
        ban = Ban(scope, name, since, None if seconds is None else since + math.ceil(seconds), reason, by)
        displaced = self.books.bans.add(ban)
        if displaced is ban:  # what is there stands above it
            return succeed((self.books.bans.get(name) or ban, True))
        if displaced is not None:
            self.keeper.banOver(displaced, "displaced")
        self.keeper.rememberBan(ban, decided=by == OPERATOR)
        self._feed.publish(BanAdded(scope=scope.value, subject=name, until=ban.until, reason=ban.reason, by=by))
        return self.keeper.flush().addCallback(lambda kept: (ban, kept))

    def unban(self, subject: str) -> Deferred[bool]:
        """
        Lift a ban.  Whoever it was gets a fresh start.

        @return: fires with whether there was one.
        @raise ethp2p.errors.ConfigError: it is none of what L{ban} takes.
        """
        ban = self.books.bans.remove(subject)
        if ban is None:
            return succeed(False)
        self.keeper.banOver(ban, "lifted")
        return self.keeper.flush().addCallback(lambda kept: True)

    def setPolicy(
        self,
        policy: Policy,
        names: Collection[str] = (),
        *,
        static: Iterable[Node] | None = None,
        trusted: Iterable[Node] | None = None,
    ) -> None:
        """
        Go by other settings from now on, and part with whom they leave no place for.

        @param names: of the settings that are changed, for those who follow the feed.
        @param static: see L{setStatic}; None changes nothing.
        @param trusted: see L{setTrusted}; likewise.
        """
        self.books.set_policy(policy)
        if trusted is not None:
            self.setTrusted(trusted)
        if static is not None:
            self.setStatic(static)
        self._feed.publish(PolicyChanged(names=tuple(names)))
        for place in self.books.roster.excess():
            self.sessions.sendAway(place.session, Rule.TOO_MANY_PEERS, "there are fewer places now")
        for place, refusal in self.books.roster.unwelcome():
            self.sessions.sendAway(place.session, refusal.rule, refusal.detail)
        self.doorway.pump()
        self.dialing.pump()

    def setStatic(self, nodes: Iterable[Node]) -> None:
        """Keep connections to these, and to no others, also after a restart."""
        wanted = {node.node_id: node for node in nodes}
        self.keeper.overrule("static")
        for callee in self.books.dialer.static():
            if callee.node_id not in wanted:
                self.removePeer(callee.node)
        for node in wanted.values():
            self.addPeer(node)

    def setTrusted(self, nodes: Iterable[Node]) -> None:
        """Trust these, and no others, also after a restart."""
        wanted = {node.node_id: node for node in nodes}
        self.keeper.overrule("trusted")
        for node_id in self.books.roster.trusted - wanted.keys():
            if node_id in self._trusted:
                self._untrust(self._trusted[node_id])
            else:
                self.books.roster.untrust(node_id)
        for node in wanted.values():
            self._trust(node)
        self.keeper.flush()

    def explain(self, subject: str) -> Known:
        """
        All that is known of a node or an address.

        @param subject: a node id in hex, an enode URL, a record, or an IP address.
        @raise ethp2p.errors.ConfigError: it is none of these.
        """
        scope, name = parse_subject(subject)
        if scope is Scope.SUBNET:
            raise ConfigError(f"{name} is a network, not one node")
        if scope is Scope.NODE:
            node_id = bytes.fromhex(name)
            return self._known_of(subject, node_id, self._host_of(subject, node_id), ())
        here = [place.session.node_id for place in self.books.roster.added() if host_at(place.session.address) == name]
        ids = tuple(dict.fromkeys([*self.books.journeys.by_host(name), *here]))
        return self._known_of(subject, ids[0] if len(ids) == 1 else None, name, ids)

    def _host_of(self, subject: str, node_id: bytes) -> str:
        """Where a node is, as far as anybody knows; empty if nobody does."""
        books = self.books
        place, callee, attempts = books.roster.get(node_id), books.dialer.get(node_id), books.journeys.attempts(node_id)
        hosts = [
            "" if place is None else place.host,
            "" if callee is None else callee.host,
            host_of(attempts[-1].address) if attempts else "",
            Node.parse(subject).host if ":" in subject else "",
        ]
        return next(filter(None, hosts), "")

    def _known_of(self, subject: str, node_id: bytes | None, host: str, others: tuple[bytes, ...]) -> Known:
        books, now = self.books, self._wheel.seconds()
        known = node_id if node_id is not None else b""
        callee = books.dialer.get(known)
        refusals = [*books.journeys.refusals(known), *books.journeys.refusals(host)]
        return Known(
            subject=subject,
            node_id=node_id,
            node=None if callee is None else callee.node,
            own=node_id == books.own_id,
            others=others,
            place=books.roster.get(known),
            static=known in books.roster.static,
            trusted=known in books.roster.trusted,
            attempts=books.journeys.attempts(known)[::-1],
            refusals=tuple(sorted(refusals, key=lambda refusal: refusal.at, reverse=True)),
            score=books.reputation.score(known, now),
            ledger=books.reputation.ledger(known)[::-1],
            ban=books.ban_of(node_id, host),
            forbidden=books.forbidden(node_id, host),
            next=self._next(node_id, now),
            now=now,
        )

    def _next(self, node_id: bytes | None, now: float) -> str:
        books = self.books
        if node_id is None:
            return "no single node is known at this address"
        if node_id in books.roster.known():
            return "it is here"
        why_not = books.dialer.why_not(node_id, books.roster.known(), books.seats(), now)
        return why_not or "it is called in a moment"
