"""
What the windows see of a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zope.interface import Attribute, Interface

from ethp2p.enode import Node


class IPeerInfo(Interface):
    """
    One peer, as it is now.
    """

    node_id: bytes = Attribute("32 bytes.")
    client: str = Attribute("The client name it gave.")
    capabilities: tuple[str, ...] = Attribute("What it offers, as 'eth/69'.")
    node: Node = Attribute("Its key, and the address it is reached at.")
    local: str = Attribute("Our end of the connection, as host:port.")
    remote: str = Attribute("Its end, as host:port.")
    inbound: bool = Attribute("Whether it called us.")
    trusted: bool = Attribute("Whether it comes in even when we are full.")
    static: bool = Attribute("Whether we call it again when it is gone.")
    protocols: Mapping[str, Mapping[str, Any]] = Attribute("By capability in use, what ICapability.describe says.")


class INodeFacade(Interface):
    """
    A node, as far as its windows need it.
    """

    client: str = Attribute("Our client name.")
    network_id: int = Attribute("The network's id.")
    listening: bool = Attribute("Whether peers can call us.")
    node: Node = Attribute("We, with our record.")
    listen_address: str = Attribute("Where we listen for peers, as host:port; empty when we do not.")

    def describeProtocols() -> Mapping[str, Mapping[str, Any]]:
        """By capability, what C{admin_nodeInfo} shows of it: JSON values."""

    def peers() -> Iterable[IPeerInfo]:
        """Everybody who passed both checkpoints."""

    def addPeer(node: Node) -> bool:
        """
        Call this node, and again whenever it is gone.

        @return: whether there was room for one more.
        @raise ethp2p.errors.P2PError: it has no address to call.
        """

    def removePeer(node: Node) -> bool:
        """
        Stop calling this node, and disconnect it.

        @return: whether there was such a peer.
        """
