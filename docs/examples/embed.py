"""
Print the newest headers that a peer has: python embed.py NETWORK ENODE
"""

import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, TimeoutError

from ethp2p import enode, networks
from ethp2p.chain import MemoryChain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.node import Node


async def newest_headers(reactor: Any, network: str, url: str, amount: int = 5) -> None:
    chain = MemoryChain(networks.named(network))
    node = Node(reactor, PrivateKey.generate(), chain, staticPeers=[enode.Node.parse(url)])
    node.startService()
    try:
        peer = await node.whenEthPeer().addTimeout(30.0, reactor)
    except TimeoutError:
        sys.exit(node.household.explain(url).verdict)
    for header in await peer.getBlockHeaders(peer.head_hash, amount, reverse=True):
        print(header.number, header.hash.hex(), header.timestamp)
    await node.stopService()


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(newest_headers(reactor, *sys.argv[1:])))
