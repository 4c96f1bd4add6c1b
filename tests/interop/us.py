"""
Our side of the ring without a node, in the process of the test: RLPx, sessions and eth around a chain; discovery
alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import deferLater

from ethp2p.blocks import Block
from ethp2p.chain import MemoryChain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p import LocalHello, Session, SessionFactory
from ethp2p.discovery import DiscoveryService
from ethp2p.enode import LocalNode, Node
from ethp2p.enr.entries import ETH, EthEntry
from ethp2p.errors import DisconnectReason
from ethp2p.eth import EthFactory, EthProtocol, SilentObserver
from ethp2p.eth.messages import Status
from ethp2p.interfaces import IChain
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint, RLPxServerEndpoint
from ethp2p.testing.household import RecordingHousehold
from tests.interop.process import free_port, until

#: Seconds for two peers to be done with RLPx, Hello and Status.
MEETING = 20.0

#: Seconds for all to be gone.
GOODBYE = 15.0

#: Blocks asked for at once.
BATCH = 128


class _Arrivals(SilentObserver):
    def __init__(self) -> None:
        self.queue: DeferredQueue[EthProtocol] = DeferredQueue()

    def statusReceived(self, protocol: EthProtocol, status: Status) -> None:
        self.queue.put(protocol)


class Us:
    """
    A peer with a chain.

    @ivar household: everything that happened with peers.
    @ivar enode: where we listen, after C{listen}.
    """

    def __init__(self, chain: IChain, versions: Iterable[int] = (66, 67, 68, 69)) -> None:
        self.chain = chain
        self.key = PrivateKey.generate()
        self.household = RecordingHousehold()
        self.enode = ""
        self._wheel = WheelTimer(reactor)
        self._arrivals = _Arrivals()
        eth = EthFactory(chain, self._arrivals, versions, clock=reactor, wheel=self._wheel)
        hello = LocalHello(client="ethp2p/interop", public_key=self.key.public_key)
        self._sessions = SessionFactory(hello, [eth], self.household, clock=reactor, wheel=self._wheel)
        self._port: Any = None

    async def listen(self) -> str:
        """Let peers in at C{enode}."""
        number = free_port()
        below = TCP4ServerEndpoint(reactor, number, interface="127.0.0.1")
        self._port = await RLPxServerEndpoint(below, self.key, clock=reactor, wheel=self._wheel).listen(self._sessions)
        self.enode = Node(self.key.public_key, "127.0.0.1", number, number).url
        return self.enode

    async def dial(self, enode: str) -> Session:
        """Call a peer, and wait until it has proven who it is."""
        node = Node.parse(enode)
        below = TCP4ClientEndpoint(reactor, node.host, node.tcp)
        above = RLPxClientEndpoint(below, self.key, node.public_key, clock=reactor, wheel=self._wheel)
        session: Session = await above.connect(self._sessions).addTimeout(MEETING, reactor)
        return session

    async def call(self, enode: str) -> EthProtocol:
        """Call a peer, and wait for its Status."""
        await self.dial(enode)
        return await self.met()

    def met(self, seconds: float = MEETING) -> Deferred[EthProtocol]:
        """The next peer whose Status came and fits."""
        return self._arrivals.queue.get().addTimeout(seconds, reactor)

    async def stop(self) -> None:
        """Say goodbye to all."""
        if self._port is not None:
            await self._port.stopListening()
        for session in self.household.proven:
            session.disconnect(DisconnectReason.CLIENT_QUITTING)
        await until(lambda: len(self.household.ended) == len(self.household.proven) and not len(self._wheel), GOODBYE)
        await deferLater(reactor, 0.3)  # the wheel's last turn


async def download(peer: EthProtocol, chain: MemoryChain, upto: int) -> None:
    """Fetch headers and bodies from a peer and append them; the chain verifies each."""
    while chain.head().number < upto:
        headers = await peer.getBlockHeaders(chain.head().number + 1, min(BATCH, upto - chain.head().number))
        assert headers, "the peer has no more headers"
        while headers:
            bodies = await peer.getBlockBodies(headers)
            assert bodies, "the peer has no more bodies"
            for header, body in zip(headers, bodies):
                chain.append(Block(header, body))
            del headers[: len(bodies)]


class Finder:
    """
    Discovery on one UDP port of 127.0.0.1.

    @ivar service: what it is made of.
    @ivar enode: where it is, as a URL.
    @ivar enr: the same as a record.
    """

    def __init__(self, *bootnodes: str, v4: bool = True, v5: bool = True, peer: Us | None = None) -> None:
        """
        @param bootnodes: enode URLs and records as text.
        @param peer: which others are to find; it must listen.  Without it they find a node that nobody can call.
        """
        key, port = (PrivateKey.generate(), free_port()) if peer is None else (peer.key, Node.parse(peer.enode).tcp)
        self.local = LocalNode(key, wall_ms=int(time.time() * 1000))
        self.local.set_ports(port, port)  # nobody looks at a node without a TCP port
        if peer is not None:
            head = peer.chain.head()
            fork_id = peer.chain.network.fork_id(head.number, head.timestamp)
            self.local.set_entry(ETH, EthEntry(fork_id.hash, fork_id.next))
        self.service = DiscoveryService(
            reactor,
            self.local,
            wall=time.time,
            listen=[("127.0.0.1", port)],
            bootnodes=[Node.parse(bootnode) for bootnode in bootnodes],
            v4=v4,
            v5=v5,
        )
        self.service.startService()
        self.enode = Node(self.local.public_key, "127.0.0.1", port, port).url
        self.enr = self.local.record.text

    async def find(self, node_id: bytes, seconds: float) -> Node:
        """Wait until a node is among those to call.  Fails after C{seconds}."""

        async def search() -> Node:
            while (found := await self.service.source.nextNode()).node_id != node_id:
                pass
            return found

        node: Node = await Deferred.fromCoroutine(search()).addTimeout(seconds, reactor)
        return node

    def alive(self, other: Finder) -> bool:
        """Whether it has seen that another is there, so that it tells of it."""
        return other.local.node_id in [node.node_id for node in self.service.nodes()]

    async def stop(self) -> None:
        """Ask nobody any more."""
        await self.service.stopService()
