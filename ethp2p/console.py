"""
What a node tells its operator: one line for each thing that happens.
"""

from __future__ import annotations

from twisted.logger import Logger
from zope.interface import implementer

from ethp2p.events import DialFailed, HeadChanged, OffenceBooked, Peer, PeerAdded, PeerDropped, PeerStatus
from ethp2p.interfaces import IEventSink


def _who(peer: Peer) -> str:
    arrow = "<-" if peer.inbound else "->"
    return f"{arrow} {peer.node_id.hex()[:8]} {peer.address}"


def sentence(event: object) -> str | None:
    """An event in one line, or None when it is nothing that an operator waits for."""
    match event:
        case PeerAdded(peer=peer, shared=shared):
            return f"{_who(peer)} met: {peer.client}, speaks {' '.join(shared)} with us, offers {_offers(peer)}"
        case PeerStatus(peer=peer, protocol=protocol, status=status):
            head = status.get("latest", f"0x{status.get('head_hash', b'').hex()}")
            return f"{_who(peer)} is on our chain: {protocol}, head {head}"
        case PeerDropped(peer=peer, added=added, by_us=by_us, reason=reason, detail=detail, duration=duration):
            who = "we" if by_us else "it"
            words = reason.words if reason is not None else "connection lost"
            what = f"parted after {duration:.0f} s" if added else f"refused, offers {_offers(peer)}"
            return f"{_who(peer)} {what}: {words}, said {who}" + (f" ({detail})" if detail else "")
        case DialFailed(node_id=node_id, address=address, reason=reason, attempt=attempt, retry_in=retry_in):
            again = "" if retry_in is None else f"; try {attempt}, again in {retry_in:.0f} s"
            return f"-> {node_id.hex()[:8]} {address} not reached: {reason}{again}"
        case OffenceBooked(peer=peer, offence=offence, evidence=evidence):
            return f"{_who(peer)} {offence.value}: {evidence}"
        case HeadChanged(number=number, hash=block_hash):
            return f"head is {number} 0x{block_hash.hex()}"
    return None


def _offers(peer: Peer) -> str:
    return " ".join(peer.capabilities) or "nothing yet"


@implementer(IEventSink)
class Console:
    """
    Logs each event that has a sentence.
    """

    _log = Logger(namespace="ethp2p")

    def eventHappened(self, event: object) -> None:
        """See L{IEventSink}."""
        words = sentence(event)
        if words is not None:
            self._log.info("{words}", words=words)
