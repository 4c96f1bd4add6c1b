"""
geth's C{admin}, C{net} and C{web3} methods, in geth's JSON shapes.
"""

from __future__ import annotations

import re
from typing import Any

from ethp2p.crypto.keccak import keccak256
from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.web.facade import INodeFacade, IPeerInfo
from ethp2p.web.registry import InvalidParams, Registry


def _node(url: object) -> Node:
    if not isinstance(url, str):
        raise InvalidParams("a node is given as a text: enode://... or enr:...")
    try:
        return Node.parse(url)
    except ConfigError as error:
        raise InvalidParams(str(error)) from None


def _peer_info(peer: IPeerInfo) -> dict[str, Any]:
    info = {
        "enode": peer.node.url,
        "id": peer.node_id.hex(),
        "name": peer.client,
        "caps": list(peer.capabilities),
        "network": {
            "localAddress": peer.local,
            "remoteAddress": peer.remote,
            "inbound": peer.inbound,
            "trusted": peer.trusted,
            "static": peer.static,
        },
        "protocols": dict(peer.protocols),
    }
    return info if peer.node.record is None else {"enr": peer.node.record.text, **info}


class AdminMethods:
    """
    What C{admin}, C{net} and C{web3} can be asked.  Methods are named as they are called.
    """

    def __init__(self, facade: INodeFacade) -> None:
        self._facade = facade

    def admin_nodeInfo(self) -> dict[str, Any]:
        """Who and where we are."""
        facade = self._facade
        node = facade.node
        return {
            "id": node.node_id.hex(),
            "name": facade.client,
            "enode": node.url,
            "enr": "" if node.record is None else node.record.text,
            "ip": node.host,
            "ports": {"discovery": node.udp, "listener": node.tcp},
            "listenAddr": facade.listen_address,
            "protocols": dict(facade.describeProtocols()),
        }

    def admin_peers(self) -> list[dict[str, Any]]:
        """Who is connected."""
        return [_peer_info(peer) for peer in self._facade.peers()]

    def admin_addPeer(self, url: str) -> bool:
        """Call this node, and again whenever it is gone."""
        return self._facade.addPeer(_node(url))

    def admin_removePeer(self, url: str) -> bool:
        """Stop calling this node, and disconnect it."""
        return self._facade.removePeer(_node(url))

    def net_version(self) -> str:
        """The network's id, in decimal."""
        return str(self._facade.network_id)

    def net_peerCount(self) -> str:
        """How many are connected, as a quantity."""
        return hex(sum(1 for _ in self._facade.peers()))

    def net_listening(self) -> bool:
        """Whether peers can call us."""
        return self._facade.listening

    def web3_clientVersion(self) -> str:
        """Our client name."""
        return self._facade.client

    def web3_sha3(self, data: str) -> str:
        """Keccak-256 of bytes given in hex."""
        if not isinstance(data, str) or not re.fullmatch(r"0x(?:[0-9a-fA-F]{2})*", data):
            raise InvalidParams("data is given as 0x and an even number of hex digits")
        return "0x" + keccak256(bytes.fromhex(data[2:])).hex()


def adminRegistry(facade: INodeFacade) -> Registry:
    """All of them, ready to be called."""
    methods = AdminMethods(facade)
    registry = Registry()
    for name in dir(AdminMethods):
        if not name.startswith("_"):
            registry.register(name, getattr(methods, name))
    return registry
