"""
Our side of the ring without a node: RLPx, sessions and eth around a chain, in the process of the test.
"""

from __future__ import annotations

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
from ethp2p.enode import Node
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

    def met(self) -> Deferred[EthProtocol]:
        """The next peer whose Status came and fits."""
        return self._arrivals.queue.get().addTimeout(MEETING, reactor)

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
