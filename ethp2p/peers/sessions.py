"""
The two checkpoints, and what follows from what peers do while they are here.

A session, whichever wire it came over, asks here twice whether it may come in, and reports what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ethp2p.enode.cidr import as_ip
from ethp2p.errors import DisconnectReason, NotAdmitted, Offence, PeerDisconnected
from ethp2p.events import (
    DialProgress,
    Feed,
    OffenceBooked,
    Peer,
    PeerAdded,
    PeerDropped,
    Refused,
    ScoreChanged,
)
from ethp2p.interfaces import IHousehold, ISession
from ethp2p.limits import WheelTimer
from ethp2p.peers.admission import REASONS, Rule
from ethp2p.peers.books import Books
from ethp2p.peers.causes import cause_of
from ethp2p.peers.dialer import GOOD_SESSION
from ethp2p.peers.journeys import Stage
from ethp2p.peers.reputation import Action, Merit

#: An answer quicker than this earns a merit of its own, seconds.
FAST = 0.5


def host_at(address: Any) -> str:
    """The host of a transport address, as an operator knows it: of a socket for both IPs, an IPv4 address is one."""
    host: str = getattr(address, "host", "")
    try:
        return str(as_ip(host))
    except ValueError:
        return host


def host_port(address: Any) -> str:
    """A transport address, as events tell of it; empty for one without a host."""
    return join(host_at(address), getattr(address, "port", 0))


def join(host: str, port: int) -> str:
    """C{host:port}; empty without a host."""
    return "" if not host else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe(session: ISession) -> Peer:
    """The session, as events tell of it."""
    return Peer(
        node_id=session.node_id,
        inbound=session.inbound,
        address=host_port(session.address),
        local=host_port(session.local),
        client=session.client,
        capabilities=session.capabilities,
    )


@attrs.define(eq=False)
class Standing:
    """What is known of a session while it lasts."""

    #: When its identity was proven.
    met: float
    #: When its Hello was accepted, or None before that.
    added: float | None = None
    #: When its chain was known to be ours, or None before that.
    ready: float | None = None
    #: Why it was not let in, or was sent away.
    refusal: NotAdmitted | None = None
    #: The newest offence of it.
    offence: Offence | None = None
    #: Bytes that it was asked for, gave, and that were found true.
    given: int = 0

    def good(self, now: float) -> bool:
        """Whether it has been of use for so long that it is worth remembering."""
        return self.ready is not None and now - self.ready >= GOOD_SESSION


@implementer(IHousehold)
class Sessions(Service):
    """
    Lets peers in while it is started; when it stops it says goodbye to all of them.
    """

    def __init__(
        self,
        books: Books,
        feed: Feed,
        wheel: WheelTimer,
        *,
        settled: Callable[[Any], object],
        ended: Callable[[], object],
        met: Callable[[ISession, bool], object],
        ban: Callable[[ISession, str], object],
    ) -> None:
        """
        @param settled: told the address of each caller whose handshake is over.
        @param ended: told that a session is over, when all books are right again.
        @param met: told of each session whose chain is ours, when it is over, and whether it was a good one.
        @param ban: told whom to ban, and for what.
        """
        self._books = books
        self._feed = feed
        self._wheel = wheel
        self._settled = settled
        self._ended = ended
        self._met = met
        self._ban = ban
        self._standings: dict[ISession, Standing] = {}
        self._empty: list[Deferred[None]] = []  # for the last session to be over

    def __len__(self) -> int:
        return len(self._standings)

    def __iter__(self) -> Iterator[ISession]:
        return iter(tuple(self._standings))

    def standing(self, session: ISession) -> Standing | None:
        """What is known of a session; None when it is over."""
        return self._standings.get(session)

    def good(self) -> list[ISession]:
        """Those that have been of use for so long that their peers are worth remembering."""
        now = self._wheel.seconds()
        return [session for session, standing in self._standings.items() if standing.good(now)]

    # --- the checkpoints

    def identityProven(self, session: ISession) -> None:
        """See L{IHousehold}."""
        now = self._wheel.seconds()
        self._standings[session] = Standing(now)
        if session.inbound:
            self._books.dialer.pending_inbound(session.node_id)
            self._books.journeys.begin(
                session.node_id, host_port(session.address), now, self._books.wall(), inbound=True
            )
        self._reached(session, Stage.AUTH)
        self._ask(session, lambda banned: self._reserve(session, now, banned))

    def _reserve(self, session: ISession, now: float, banned: str) -> None:
        if not self.running:
            raise NotAdmitted(REASONS[Rule.QUITTING], "about to stop", Rule.QUITTING.value)
        self._books.roster.reserve(session, now, banned)

    def helloReceived(self, session: ISession) -> None:
        """See L{IHousehold}."""
        self._reached(session, Stage.HELLO)
        now = self._wheel.seconds()
        self._ask(session, lambda banned: self._books.roster.add(session, banned, now=now))
        self._standings[session].added = now
        self._handshakeOver(session)
        self._feed.publish(PeerAdded(peer=describe(session), shared=session.shared))

    def _ask(self, session: ISession, checkpoint: Callable[[str], None]) -> None:
        books = self._books
        try:
            checkpoint(books.banned(session.node_id, getattr(session.address, "host", None)))
        except NotAdmitted as refusal:
            self._standings[session].refusal = refusal
            books.refusals[refusal.rule] += 1
            if session.inbound:
                books.journeys.refused(
                    session.node_id,
                    host_port(session.address),
                    refusal.rule,
                    refusal.detail or refusal.reason.words,
                    books.wall(),
                )
            self._feed.publish(
                Refused(
                    address=host_port(session.address),
                    node_id=session.node_id,
                    inbound=session.inbound,
                    rule=refusal.rule,
                    detail=refusal.detail,
                )
            )
            raise

    def _handshakeOver(self, session: ISession) -> None:
        if session.inbound:
            self._books.dialer.pending_over(session.node_id)
            self._settled(session.address)

    # --- what sessions see

    def ready(self, session: ISession) -> None:
        """The peer has shown that it is one of ours: over Ethereum, its Status agrees."""
        standing = self._standings.get(session)
        if standing is None or standing.ready is not None:
            return
        standing.ready = self._wheel.seconds()
        self._reached(session, Stage.STATUS)

    def requestDone(self, session: ISession, message: str, items: int, size: int, rtt: float, *, result: str) -> None:
        """
        The peer answered a request, or did not.  An answer with nothing in it is no merit, however fast it came.

        @param result: C{ok}, C{timeout} or C{invalid}.  What is invalid the session books itself.
        """
        standing = self._standings.get(session)
        if standing is None:
            return
        if result == "timeout":
            self.offenceSeen(session, Offence.TIMEOUT, f"no answer to {message} in {rtt:.1f} s")
        elif result == "ok" and items:
            standing.given += size
            for merit in (Merit.USEFUL_DATA, Merit.FAST_ANSWER) if rtt < FAST else (Merit.USEFUL_DATA,):
                self._books.reputation.reward(session.node_id, merit, f"{message}, {size} bytes", self._wheel.seconds())

    def offenceSeen(self, session: ISession, offence: Offence, evidence: str) -> None:
        """See L{IHousehold}."""
        books = self._books
        books.offences[offence] += 1
        if session in self._standings:
            self._standings[session].offence = offence
        self._feed.publish(OffenceBooked(peer=describe(session), offence=offence, evidence=evidence))
        # What follows comes after what the session itself does about it: the peer is told the rule it broke.
        judgement = books.reputation.book(
            session.node_id,
            offence,
            evidence,
            self._wheel.seconds(),
            trusted=session.node_id in books.roster.trusted,
        )
        self._feed.publish(
            ScoreChanged(
                node_id=session.node_id,
                what=offence.name.lower(),
                delta=judgement.score - judgement.before,
                score=judgement.score,
                evidence=evidence,
                action=judgement.would.value,
                dry_run=judgement.would is not judgement.action,
            )
        )
        if judgement.action is Action.BAN:
            self._ban(session, f"{offence.value}: {evidence}")
        elif judgement.action is Action.DISCONNECT:
            words = f"its reputation has sunk to {judgement.score:.0f} of 100: {evidence}"
            self._wheel.call_later(0.0, lambda: session.disconnect(DisconnectReason.USELESS_PEER, words))

    def _reached(self, session: ISession, stage: Stage) -> None:
        now = self._wheel.seconds()
        if self._books.journeys.reached(session.node_id, stage, now, inbound=session.inbound):
            self._feed.publish(
                DialProgress(
                    node_id=session.node_id,
                    address=host_port(session.address),
                    inbound=session.inbound,
                    stage=stage.label,
                )
            )

    # --- how sessions end

    def sessionEnded(self, session: ISession, ended: PeerDisconnected) -> None:
        """See L{IHousehold}."""
        now = self._wheel.seconds()
        books = self._books
        standing = self._standings.pop(session)
        books.roster.release(session)
        if standing.added is None:
            self._handshakeOver(session)
        refusal = standing.refusal
        if refusal is not None and (not ended.by_us or refusal.detail != ended.detail):
            refusal = None  # it was over already
        cause = cause_of(refusal or ended, standing.offence)
        by = "us" if ended.by_us else "them" if ended.reason is not None else "nobody"
        books.partings[by, ended.reason.words if ended.reason is not None else "connection lost"] += 1
        lasted = now - standing.met
        books.journeys.ended(session.node_id, cause, str(ended), now, inbound=session.inbound, by_us=ended.by_us)
        if standing.added is not None or refusal is None or not session.inbound:
            # Whom we do not let in may be worth a call all the same, and must not put it off by calling.
            session_lasted = 0.0 if standing.added is None else lasted
            books.dialer.ended(session.node_id, cause, session_lasted, str(ended), now, inbound=session.inbound)
        self._feed.publish(
            PeerDropped(
                peer=describe(session),
                added=standing.added is not None,
                by_us=ended.by_us,
                reason=ended.reason,
                detail=ended.detail,
                duration=lasted,
            )
        )
        if standing.ready is not None:
            self._met(session, standing.good(now))
        self._ended()
        if not self._standings:
            empty, self._empty = self._empty, []
            for each in empty:
                each.callback(None)

    def sendAway(self, session: ISession, rule: Rule, detail: str) -> None:
        """Disconnect a peer for which a rule leaves no place any more.  Does nothing when it is gone."""
        standing = self._standings.get(session)
        if standing is not None:
            standing.refusal = NotAdmitted(REASONS[rule], detail, rule.value)
            session.disconnect(REASONS[rule], detail)

    def stopService(self) -> Deferred[None]:
        """
        Say goodbye to everybody and let nobody in.  Fires when the last session is over; the transport cuts off
        those that do not take the goodbye.
        """
        super().stopService()
        gone: Deferred[None] = Deferred()
        if not self._standings:
            gone.callback(None)
            return gone
        self._empty.append(gone)
        for session in self:
            session.disconnect(DisconnectReason.CLIENT_QUITTING)
        return gone
