"""
A whole node, seen through its windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from zope.interface import implementer

from ethp2p import enode
from ethp2p.devp2p import Session
from ethp2p.node import Node
from ethp2p.peers.roster import Place
from ethp2p.web.facade import INodeFacade, IPeerInfo


def _host_port(address: Any) -> str:
    """Of a TCP address; empty for any other."""
    host, port = getattr(address, "host", ""), getattr(address, "port", 0)
    return "" if not host else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
        """See L{IPeerInfo}.  Of one that called us, the port is the one it says it listens on."""
        session = self._session
        host, port = getattr(session.address, "host", ""), getattr(session.address, "port", 0)
        if session.inbound:
            port = session.hello.listen_port if session.hello is not None else 0
        return enode.Node(session.public_key, host, port if 0 <= port <= 0xFFFF else 0, 0)

    @property
    def local(self) -> str:
        """See L{IPeerInfo}."""
        return _host_port(self._session.transport.getHost())

    @property
    def remote(self) -> str:
        """See L{IPeerInfo}."""
        return _host_port(self._session.address)

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
    A L{Node}.
    """

    _node: Node

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
        return _host_port(ports[0].getHost()) if ports else ""

    def describeProtocols(self) -> dict[str, dict[str, Any]]:
        """See L{INodeFacade}: of eth, which chain."""
        chain = self._node.chain
        network = chain.network
        genesis, head = f"0x{network.genesis_hash.hex()}", f"0x{chain.head().hash.hex()}"
        return {"eth": {"network": network.network_id, "genesis": genesis, "head": head}}

    def peers(self) -> list[PeerView]:
        """See L{INodeFacade}."""
        return [PeerView(place) for place in self._node.household.roster.added()]

    def addPeer(self, node: enode.Node) -> bool:
        """See L{INodeFacade}."""
        return self._node.addPeer(node)

    def removePeer(self, node: enode.Node) -> bool:
        """See L{INodeFacade}."""
        return self._node.removePeer(node)
