"""
A peer that lies: it tells the truth in Hello and Status, and then answers every question for headers with a chain
that does not link.  python script.py PORT DIR, with genesis.json and chain.rlp in DIR, and see whether your client
notices.
"""

import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from ethp2p.chain import load_chain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.eth import EthProtocol, messages
from ethp2p.node import Node


class Liar(EthProtocol):
    def answer(self, request: messages.Request) -> messages.Message:
        honest = super().answer(request)
        if isinstance(honest, messages.BlockHeaders):
            return messages.BlockHeaders(honest.request_id, honest.items[::-1])
        return honest


async def lie(reactor: Any, port: str, directory: str) -> Node:
    listen = [TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1")]
    node = Node(reactor, PrivateKey.generate(), load_chain(directory), listen=listen, ethProtocol=Liar)
    node.startService()
    await node.listening.started
    print(node.local.node.url)
    return node


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(lie(reactor, *sys.argv[1:])).addCallback(lambda _: Deferred()))
