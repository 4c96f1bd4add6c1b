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


def peer_info(peer: IPeerInfo) -> dict[str, Any]:
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
        return [peer_info(peer) for peer in self._facade.peers()]

    async def admin_addPeer(self, url: str) -> bool:
        """Call this node, and again whenever it is gone."""
        return await self._facade.addPeer(_node(url))

    async def admin_removePeer(self, url: str) -> bool:
        """Stop calling this node, and disconnect it."""
        return await self._facade.removePeer(_node(url))

    async def admin_addTrustedPeer(self, url: str) -> bool:
        """Let this node in even when all places are taken.  It is not called for that."""
        return await self._facade.addTrustedPeer(_node(url))

    async def admin_removeTrustedPeer(self, url: str) -> bool:
        """Trust it no longer.  It stays connected."""
        return await self._facade.removeTrustedPeer(_node(url))

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


def registerAll(registry: Registry, methods: object) -> None:
    """Every method of C{methods}, by its name."""
    for name in dir(type(methods)):
        if not name.startswith("_"):
            registry.register(name, getattr(methods, name))


def adminRegistry(facade: INodeFacade) -> Registry:
    """All of them, ready to be called, and C{rpc_modules}, which tells clients such as geth's console what there is."""
    registry = Registry()
    registerAll(registry, AdminMethods(facade))

    def modules() -> dict[str, str]:
        return {name.partition("_")[0]: "1.0" for name in registry.names()}

    registry.register("rpc_modules", modules)
    return registry
