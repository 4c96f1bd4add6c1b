"""
What a node tells its operator: one line for each thing that happens.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from twisted.logger import Logger
from zope.interface import implementer

from ethp2p.events import (
    BanAdded,
    BanRemoved,
    DialFailed,
    HeadChanged,
    OffenceBooked,
    Peer,
    PeerAdded,
    PeerDropped,
    PeerStatus,
    PolicyChanged,
    Refused,
)
from ethp2p.interfaces import IEventSink
from ethp2p.limits import TokenBucket

#: Of callers who were not let in, so many lines at once, and over time one in so many seconds: whoever calls decides
#: how often, and the log is not theirs to fill.
CALLERS_AT_ONCE, CALLERS_INTERVAL = 10, 10.0

_BAN_OVER = {
    "expired": "is over",
    "lifted": "is lifted",
    "displaced": "gave way to a newer one, since there are too many",
}


def _who(peer: Peer) -> str:
    arrow = "<-" if peer.inbound else "->"
    return f"{arrow} {peer.node_id.hex()[:8]} {peer.address}"


def _parting(event: PeerDropped) -> str:
    """How a session, or the attempt at one, came to its end."""
    if event.reason is None:
        how = "lost" if event.added else "lost before we met"
        why = event.detail or "the connection ended without a word"
    else:
        who = "we" if event.by_us else "it"
        how = f"{who} parted" if event.added else f"{who} refused"
        why = event.reason.words + (f" ({event.detail})" if event.detail else "")
    if event.added:
        return f"{how} after {event.duration:.0f} s: {why}"
    offers = " ".join(event.peer.capabilities)
    return f"{how}: {why}" + (f"; it offers {offers}" if offers else "")


def sentence(event: object) -> str | None:
    """An event in one line, or None when it is nothing that an operator waits for."""
    match event:
        case PeerAdded(peer=peer, shared=shared):
            offers = " ".join(peer.capabilities)
            return f"{_who(peer)} met: {peer.client}, speaks {' '.join(shared)} with us, offers {offers}"
        case PeerStatus(peer=peer, protocol=protocol, status=status):
            head = status.get("latest", f"0x{status.get('head_hash', b'').hex()}")
            return f"{_who(peer)} is on our chain: {protocol}, head {head}"
        case PeerDropped(peer=peer):
            return f"{_who(peer)} {_parting(event)}"
        case Refused(address=address, node_id=None, detail=detail):  # who has a node id is told of when dropped
            return f"<- {address} not let in: {detail}"
        case DialFailed(node_id=node_id, address=address, reason=reason, attempt=attempt, retry_in=retry_in):
            again = "" if retry_in is None else f"; try {attempt}, again in {retry_in:.0f} s"
            return f"-> {node_id.hex()[:8]} {address} not reached: {reason.rstrip('.')}{again}"
        case OffenceBooked(peer=peer, offence=offence, evidence=evidence):
            return f"{_who(peer)} {offence.value}: {evidence}"
        case BanAdded(subject=subject, until=until, reason=reason, by=by):
            end = "for ever" if until is None else f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"
            return f"{subject} is banned {end}, by {by}" + (f": {reason}" if reason else "")
        case BanRemoved(subject=subject, why=why):
            return f"the ban of {subject} {_BAN_OVER[why]}"
        case PolicyChanged(names=names):
            return f"settings changed: {', '.join(names)}" if names else None
        case HeadChanged(number=number, hash=block_hash):
            return f"head is {number} 0x{block_hash.hex()}"
    return None


def _uninvited(event: object) -> bool:
    """Whether it is about a caller who did not come in."""
    match event:
        case Refused(inbound=True, node_id=None):
            return True
        case PeerDropped(added=False, peer=peer):
            return peer.inbound
    return False


@implementer(IEventSink)
class Console:
    """
    Logs each event that has a sentence; of callers who are not let in, no more than a reader can follow.
    """

    _log = Logger(namespace="ethp2p")

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        @param seconds: tells the time.
        """
        self._seconds = seconds
        self._callers = TokenBucket(CALLERS_AT_ONCE, 1 / CALLERS_INTERVAL)
        self._untold = 0

    def eventHappened(self, event: object) -> None:
        """See L{IEventSink}."""
        words = sentence(event)
        if words is None:
            return
        if _uninvited(event):
            if not self._callers.take(self._seconds()):
                self._untold += 1
                return
            if self._untold:
                words += f"; {self._untold} more were not let in before"
                self._untold = 0
        self._log.info("{words}", words=words)
