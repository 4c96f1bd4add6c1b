"""
The household's shell: carries the roster's decisions to sessions, and what sessions saw to the feed.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ethp2p.errors import DisconnectReason, NotAdmitted, Offence, PeerDisconnected
from ethp2p.events import Feed, OffenceBooked, Peer, PeerAdded, PeerDropped
from ethp2p.interfaces import IHousehold, ISession
from ethp2p.limits import WheelTimer
from ethp2p.peers.roster import Roster


def describe(session: ISession) -> Peer:
    """The session as events tell of it."""
    address = session.address
    host = getattr(address, "host", "")
    return Peer(
        node_id=session.node_id,
        inbound=session.inbound,
        address=f"[{host}]:{address.port}" if ":" in host else f"{host}:{getattr(address, 'port', 0)}",
        client=session.client,
        capabilities=session.capabilities,
    )


@implementer(IHousehold)
class Household(Service):
    """
    Lets peers in while it is started; when it stops it says goodbye to all of them.

    @ivar roster: who is here.
    @ivar offences: how many offences were booked, by kind.
    """

    def __init__(
        self, roster: Roster, feed: Feed, wheel: WheelTimer, ended: Callable[[bytes, float, str], object]
    ) -> None:
        """
        @param ended: told of each session that is over: node id, how many seconds it was a peer, and why.
        """
        self.roster = roster
        self.feed = feed
        self.offences: dict[Offence, int] = dict.fromkeys(Offence, 0)
        self._wheel = wheel
        self._ended = ended
        self._met: dict[ISession, float] = {}
        self._added: set[ISession] = set()
        self._empty: Deferred[None] | None = None

    def identityProven(self, session: ISession) -> None:
        """See L{IHousehold}."""
        now = self._wheel.seconds()
        self._met[session] = now
        if not self.running:
            raise NotAdmitted(DisconnectReason.CLIENT_QUITTING)
        self.roster.reserve(session, now)

    def helloReceived(self, session: ISession) -> None:
        """See L{IHousehold}."""
        self.roster.add(session)
        self._added.add(session)
        self.feed.publish(PeerAdded(peer=describe(session), shared=session.shared))

    def offenceSeen(self, session: ISession, offence: Offence, evidence: str) -> None:
        """See L{IHousehold}."""
        self.offences[offence] += 1
        self.feed.publish(OffenceBooked(peer=describe(session), offence=offence, evidence=evidence))

    def sessionEnded(self, session: ISession, ended: PeerDisconnected) -> None:
        """See L{IHousehold}."""
        lasted = self._wheel.seconds() - self._met.pop(session)
        self.roster.release(session)
        added = session in self._added
        self._added.discard(session)
        self.feed.publish(
            PeerDropped(
                peer=describe(session),
                added=added,
                by_us=ended.by_us,
                reason=ended.reason,
                detail=ended.detail,
                duration=lasted,
            )
        )
        self._ended(session.node_id, lasted if added else 0.0, str(ended))
        if not self._met and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def stopService(self) -> Deferred[None]:
        """
        Say goodbye to everybody and let nobody in.  Fires when the last session is over; the transport cuts off
        those that do not take the goodbye.
        """
        super().stopService()
        gone: Deferred[None] = Deferred()
        if not self._met:
            gone.callback(None)
            return gone
        self._empty = gone
        for session in tuple(self._met):
            session.disconnect(DisconnectReason.CLIENT_QUITTING)
        return gone
