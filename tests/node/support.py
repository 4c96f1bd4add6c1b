"""
Nodes on a memory network.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.endpoints import TCP4ServerEndpoint
from zope.interface import implementer

from ethp2p import enode, networks
from ethp2p.chain import MemoryChain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.interfaces import IEventSink
from ethp2p.node import Node
from ethp2p.sandbox.chainmaker import ChainMaker
from ethp2p.testing.network import MemoryNetwork

E = TypeVar("E")
PORT = 30303


@implementer(IEventSink)
class Diary:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def eventHappened(self, event: object) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


class Town:
    """Hosts with a node each, on one private network."""

    def __init__(self, seed: int = 0, blocks: int = 0) -> None:
        self.network = MemoryNetwork(seed=seed)
        maker = ChainMaker(b"town")
        self.ethereum = networks.from_genesis(maker.genesis(), name="town")
        self.blocks = [maker.next_block() for _ in range(blocks)]
        self.nodes: list[Node] = []

    def chain(self, blocks: int = 0) -> MemoryChain:
        chain = MemoryChain(self.ethereum)
        for block, receipts in self.blocks[:blocks]:
            chain.append(block, receipts)
        return chain

    def node(
        self, number: int, *, blocks: int = 0, listen: bool = True, start: bool = True, **options: Any
    ) -> tuple[Node, Diary]:
        """A node on host 10.0.0.C{number}, with a chain of so many blocks."""
        host = options.pop("host", None) or self.network.host(f"10.0.0.{number}")
        options.setdefault("chain", self.chain(blocks))
        chain = options.pop("chain")
        endpoint = options.pop("endpoint", None) or TCP4ServerEndpoint(host, PORT)
        node = Node(
            host,
            self.key(number),
            chain,
            listen=[endpoint] if listen else [],
            random=self.network.rng.randbytes,
            jitter=lambda: 0.0,
            **options,
        )
        diary = Diary()
        node.feed.subscribe(diary)
        self.nodes.append(node)
        if start:
            node.startService()
        return node, diary

    def key(self, number: int) -> PrivateKey:
        return PrivateKey.parse(number.to_bytes(32, "big"))

    def address(self, number: int) -> enode.Node:
        return enode.Node(self.key(number).public_key, f"10.0.0.{number}", PORT)
