"""
A whole node, seen through its windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from ethp2p import enode
from ethp2p.devp2p import Session
from ethp2p.events import Feed
from ethp2p.node import Node
from ethp2p.peers.bans import Ban
from ethp2p.peers.journeys import Attempt
from ethp2p.peers.reputation import Entry
from ethp2p.peers.roster import Place
from ethp2p.peers.sessions import host_port
from ethp2p.web.admin import peer_info
from ethp2p.web.facade import Finding, INodeFacade, IPeerInfo, Sample
from ethp2p.web.figures import samples


@implementer(IPeerInfo)
@attrs.frozen
class PeerView:
    """
    A peer's place in the roster.
    """

    _place: Place

    @property
    def _session(self) -> Session:
        session: Any = self._place.session
        return session  # type: ignore[no-any-return]

    @property
    def node_id(self) -> bytes:
        """See L{IPeerInfo}."""
        return self._session.node_id

    @property
    def client(self) -> str:
        """See L{IPeerInfo}."""
        return self._session.client

    @property
    def capabilities(self) -> tuple[str, ...]:
        """See L{IPeerInfo}."""
        return self._session.capabilities

    @property
    def node(self) -> enode.Node:
        """See L{IPeerInfo}."""
        return self._session.node

    @property
    def local(self) -> str:
        """See L{IPeerInfo}."""
        return host_port(self._session.local)

    @property
    def remote(self) -> str:
        """See L{IPeerInfo}."""
        return host_port(self._session.address)

    @property
    def inbound(self) -> bool:
        """See L{IPeerInfo}."""
        return self._place.inbound

    @property
    def trusted(self) -> bool:
        """See L{IPeerInfo}."""
        return self._place.trusted

    @property
    def static(self) -> bool:
        """See L{IPeerInfo}."""
        return self._place.static

    @property
    def protocols(self) -> Mapping[str, Mapping[str, Any]]:
        """See L{IPeerInfo}."""
        return self._session.protocols()


@implementer(INodeFacade)
@attrs.frozen
class NodeView:
    """
    A L{Node}, and what its owner lets its windows do.
    """

    _node: Node
    #: Changes settings; see L{INodeFacade.setConfig}.
    _setConfig: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    #: See L{INodeFacade.doctor}.
    _examine: Callable[[], list[Finding]]
    #: See L{INodeFacade.readiness}.
    _readiness: Callable[[], list[Finding]]

    @property
    def client(self) -> str:
        """See L{INodeFacade}."""
        return self._node.client

    @property
    def network_id(self) -> int:
        """See L{INodeFacade}."""
        number: int = self._node.chain.network.network_id
        return number

    @property
    def listening(self) -> bool:
        """See L{INodeFacade}."""
        return bool(self._node.listening.ports)

    @property
    def node(self) -> enode.Node:
        """See L{INodeFacade}."""
        return self._node.local.node

    @property
    def listen_address(self) -> str:
        """See L{INodeFacade}."""
        ports = self._node.listening.ports
        return host_port(ports[0].getHost()) if ports else ""

    def describeProtocols(self) -> dict[str, dict[str, Any]]:
        """See L{INodeFacade}: of eth, which chain."""
        chain = self._node.chain
        network = chain.network
        genesis, head = f"0x{network.genesis_hash.hex()}", f"0x{chain.head().hash.hex()}"
        return {"eth": {"network": network.network_id, "genesis": genesis, "head": head}}

    def peers(self) -> list[PeerView]:
        """See L{INodeFacade}."""
        return [PeerView(place) for place in self._node.household.roster.added()]

    @property
    def feed(self) -> Feed:
        """See L{INodeFacade}."""
        return self._node.feed

    def addPeer(self, node: enode.Node) -> Deferred[bool]:
        """See L{INodeFacade}."""
        return self._node.household.addPeer(node)

    def removePeer(self, node: enode.Node) -> Deferred[bool]:
        """See L{INodeFacade}."""
        return self._node.household.removePeer(node)

    def addTrustedPeer(self, node: enode.Node) -> Deferred[bool]:
        """See L{INodeFacade}."""
        return self._node.household.trust(node).addCallback(lambda changed: True)

    def removeTrustedPeer(self, node: enode.Node) -> Deferred[bool]:
        """See L{INodeFacade}."""
        return self._node.household.trust(node, False).addCallback(lambda changed: True)

    def explainPeer(self, subject: str) -> dict[str, Any]:
        """See L{INodeFacade}."""
        known = self._node.household.explain(subject)
        session = None if known.place is None else known.place.session
        node = known.node if session is None else session.node
        return {
            "subject": known.subject,
            "id": None if known.node_id is None else known.node_id.hex(),
            "verdict": known.verdict,
            "next": known.next,
            "enode": None if node is None else node.url,
            "client": None if session is None else session.client,
            "capabilities": [] if session is None else list(session.capabilities),
            "static": known.static,
            "trusted": known.trusted,
            "connected": None if known.place is None else peer_info(PeerView(known.place)),
            "attempts": [_attempt(attempt) for attempt in known.attempts],
            "refusals": [attrs.asdict(refusal) for refusal in known.refusals],
            "score": round(known.score, 1),
            "ledger": [_entry(entry, known.now) for entry in known.ledger],
            "ban": None if known.ban is None else _ban(known.ban),
        }

    def ban(self, subject: str, seconds: float | None, reason: str) -> Deferred[Mapping[str, Any]]:
        """See L{INodeFacade}: also C{kept}, whether it will be there after a restart."""
        banning = self._node.household.ban(subject, seconds, reason)
        return banning.addCallback(lambda banned: {**_ban(banned[0]), "kept": banned[1]})

    def unban(self, subject: str) -> Deferred[bool]:
        """See L{INodeFacade}."""
        return self._node.household.unban(subject)

    def bans(self) -> list[Mapping[str, Any]]:
        """See L{INodeFacade}."""
        books = self._node.household.books
        return [_ban(ban) for ban in books.bans.listed(books.wall())]

    def dialFunnel(self) -> Mapping[str, Any]:
        """See L{INodeFacade}."""
        return self._node.household.books.journeys.funnel()

    def setConfig(self, values: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """See L{INodeFacade}."""
        return maybeDeferred(self._setConfig, values)

    def doctor(self) -> Deferred[list[Finding]]:
        """See L{INodeFacade}."""
        return maybeDeferred(self._examine)

    def readiness(self) -> list[Finding]:
        """See L{INodeFacade}."""
        return self._readiness()

    def samples(self) -> Iterable[Sample]:
        """See L{INodeFacade}."""
        return samples(self._node)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "began": attempt.began,
        "address": attempt.address,
        "inbound": attempt.inbound,
        "stages": [{"stage": stage.label, "seconds": round(seconds, 3)} for stage, seconds in attempt.reached],
        "cause": None if attempt.cause is None else attempt.cause.value,
        "words": attempt.words,
        "lasted": attempt.lasted,
    }


def _entry(entry: Entry, now: float) -> dict[str, Any]:
    return {
        "what": entry.what.name.lower(),
        "delta": round(entry.delta, 2),
        "score": round(entry.score, 1),
        "evidence": entry.evidence,
        "ago": round(now - entry.at, 1),
    }


def _ban(ban: Ban) -> dict[str, Any]:
    return {**attrs.asdict(ban), "scope": ban.scope.value}
