"""
The node: listens, calls, meets, and stops in order.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface import implementer

from ethp2p import enode
from ethp2p.blocks import Header
from ethp2p.crypto.keys import PrivateKey, RandomBytes
from ethp2p.devp2p import LocalHello, SessionFactory, client_name
from ethp2p.enr import EthEntry
from ethp2p.enr.entries import ETH, UDP
from ethp2p.errors import LocalProtocolError, P2PError, RemoteProtocolError
from ethp2p.eth import EthFactory, EthProtocol, IEthObserver, messages
from ethp2p.events import Feed, HeadChanged, PeerStatus, RequestDone
from ethp2p.interfaces import ICapabilityFactory, IChain
from ethp2p.limits import WheelTimer
from ethp2p.networks import ForkId
from ethp2p.order import OrderedService
from ethp2p.peers import Household, Policy
from ethp2p.peers.dialing import DialService, NodeSource, Watched, endpointFor
from ethp2p.peers.listening import ListenService
from ethp2p.peers.sessions import describe
from ethp2p.peers.store import IPeerStore
from ethp2p.rlpx import RLPxClientEndpoint, RLPxServerEndpoint, Traffic

#: Most callers of L{Node.whenEthPeer} at one time.
MAX_WAITING = 1024


class NodeStopped(P2PError):
    """The node stopped before it met anybody."""


@implementer(IEthObserver)
class Node(OrderedService):
    """
    One node of one Ethereum network.

    Start it, and it listens and calls its static peers; stop it, and it says goodbye first.  What happens is
    told on L{feed}.

    @ivar chain: what it serves and checks peers against, an L{IChain}.
    @ivar feed: tells what happens, as L{ethp2p.events}.
    @ivar local: its own key, address and record.
    @ivar traffic: what went over its connections.
    @ivar household: who is here, who may come, whom it calls.
    """

    def __init__(
        self,
        reactor: Any,
        key: PrivateKey,
        chain: IChain,
        *,
        listen: Sequence[IStreamServerEndpoint] = (),
        staticPeers: Iterable[enode.Node] = (),
        trustedPeers: Iterable[enode.Node] = (),
        policy: Policy | None = None,
        store: IPeerStore | None = None,
        ethVersions: Sequence[int] = (66, 67, 68, 69),
        ethProtocol: type[EthProtocol] = EthProtocol,
        capabilities: Sequence[ICapabilityFactory] = (),
        client: str = "",
        seqStore: enode.SeqStore | None = None,
        random: RandomBytes = os.urandom,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime} and C{IReactorTCP}.
        @param key: the node's identity.
        @param listen: where peers may call; by default nobody can.
        @param staticPeers: called until they are here, and again when they are gone.
        @param trustedPeers: let in even when all places are taken.
        @param policy: limits, weights, and what else the household goes by; by default the usual ones.
        @param store: where peers and bans are kept between runs; nowhere by default.
        @param ethVersions: the versions of eth to offer.
        @param ethProtocol: what speaks eth with each peer.
        @param capabilities: more languages to offer beside eth.
        @param client: our name in Hello.
        @param seqStore: where the record's seq is kept between runs.
        @param random: bytes for keys and nonces on the wire.
        @param jitter: numbers from 0 up to 1, to spread waits.
        @raise ethp2p.errors.ConfigError: a static peer has no address to call.
        """
        super().__init__(reactor)
        self.chain = chain
        self.client = client or client_name()
        self.feed = Feed()
        self._port = 0
        self._waiting: list[Deferred[EthProtocol]] = []
        self._wheel = wheel = WheelTimer(reactor)
        self.local = enode.LocalNode(key, wall_ms=int(reactor.seconds() * 1000), store=seqStore)
        self.eth = EthFactory(chain, self, ethVersions, clock=reactor, wheel=wheel, protocol=ethProtocol)
        self.household = household = Household(
            key.public_key.node_id,
            policy or Policy(),
            self.feed,
            wheel,
            clock=reactor,
            wall=reactor.seconds,
            random=jitter,
            store=store,
        )
        for peer in trustedPeers:
            household.books.roster.trust(peer.node_id)
        self.sessions = SessionFactory(self._hello, (self.eth, *capabilities), household.sessions, wheel=wheel)
        self.traffic = Traffic()
        wire: dict[str, Any] = {"clock": reactor, "wheel": wheel, "random": random, "traffic": self.traffic}
        doorway = household.doorway
        doors = [RLPxServerEndpoint(doorway.guard(one), key, failed=doorway.settled, **wire) for one in listen]

        def call(node: enode.Node, connected: Callable[[], object]) -> Deferred[Any]:
            endpoint = Watched(endpointFor(reactor, node.host, node.tcp), connected)
            return RLPxClientEndpoint(endpoint, key, node.public_key, **wire).connect(self.sessions)

        household.open(doors, self.sessions, call, self._stranger)
        household.setServiceParent(self)
        for peer in staticPeers:
            household.dialing.addPeer(peer)
        self._tellFork(chain.head())
        self._unobserve: Callable[[], None] = lambda: None

    @property
    def listening(self) -> ListenService:
        """Its C{started} fires once peers can call."""
        return self.household.listening

    @property
    def dialing(self) -> DialService:
        """Calls peers."""
        return self.household.dialing

    def startService(self) -> None:
        """Follow the chain, listen and call."""
        self._tellFork(self.chain.head())
        self._unobserve = self.chain.observeHead(self._headChanged)
        super().startService()
        self.listening.started.addCallbacks(self._nowListening, lambda failure: failure)

    def stopService(self) -> Deferred[None]:
        """Let nobody in, call nobody, say goodbye.  Fires when all is over."""
        self._unobserve()
        self._disappoint()

        def leaveTheClock(result: None) -> None:
            self._disappoint()  # those who lost a peer by this, and wait for another
            self._wheel.stop()

        return super().stopService().addCallback(leaveTheClock)

    def _disappoint(self) -> None:
        """Tell all who wait for a peer now, each of whom may wait again or cancel others, that there is none."""
        for one in tuple(self._waiting):
            if one in self._waiting:
                self._waiting.remove(one)
                one.errback(NodeStopped())

    def _nowListening(self, ports: list[Any]) -> list[Any]:
        address: Any = ports[0].getHost() if ports else None
        self._port = getattr(address, "port", 0)
        if self._port:
            self.local.set_ports(self._port, self.local.record.get(UDP) or 0)
            # Until somebody tells us better: an address that at least this machine can call.
            unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
            self.local.set_fallback_ip(unspecified.get(address.host, address.host))
        return ports

    def addPeer(self, node: enode.Node) -> Deferred[bool]:
        """
        Keep a connection to this node: call it, and again whenever it is gone, also after a restart.

        @return: fires, when that is kept, with False if there are too many static peers.
        @raise ethp2p.errors.ConfigError: it has no address to call.
        """
        return self.household.addPeer(node)

    def removePeer(self, node: enode.Node) -> Deferred[bool]:
        """
        Stop wanting this node, and disconnect it.

        @return: fires with whether it was wanted or connected.
        """
        return self.household.removePeer(node)

    def seekFrom(self, source: NodeSource) -> None:
        """From now on call nodes that C{source} finds, too, while there is room for them."""
        self.dialing.seekFrom(source)

    def _hello(self) -> LocalHello:
        return LocalHello(self.client, self.local.public_key, self._port)

    def _stranger(self, node: enode.Node) -> str:
        """By what its record shows that a node follows another chain (EIP-2124); empty if nothing shows it."""
        entry = None if node.record is None else node.record.get(ETH)
        if entry is None:
            return ""
        head = self.chain.head()
        try:
            self.chain.network.check_fork_id(ForkId(entry.fork_hash, entry.fork_next), head.number, head.timestamp)
        except RemoteProtocolError as rejected:
            return str(rejected)
        return ""

    # --- the chain

    def _headChanged(self, head: Header) -> None:
        self._tellFork(head)
        self.eth.headChanged()
        self.feed.publish(HeadChanged(number=head.number, hash=head.hash))

    def _tellFork(self, head: Header) -> None:
        fork_id = self.chain.network.fork_id(head.number, head.timestamp)
        self.local.set_entry(ETH, EthEntry(fork_id.hash, fork_id.next))

    def ethPeers(self) -> list[EthProtocol]:
        """The peers that can be asked for chain data now."""
        return list(self.eth.protocols)

    def whenEthPeer(self) -> Deferred[EthProtocol]:
        """
        A peer that can be asked for chain data: one of those here, or else the next one.

        @return: fails with L{NodeStopped} when the node stops first.
        @raise ethp2p.errors.LocalProtocolError: L{MAX_WAITING} wait already.
        """
        for protocol in self.eth.protocols:
            return succeed(protocol)
        if len(self._waiting) >= MAX_WAITING:
            raise LocalProtocolError(f"{MAX_WAITING} wait for a peer already")
        waiting: Deferred[EthProtocol] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    # --- what eth tells us

    def statusReceived(self, protocol: EthProtocol, status: messages.Status) -> None:
        """See L{IEthObserver}."""
        version = f"eth/{protocol.version}"
        self.feed.publish(
            PeerStatus(peer=describe(protocol.session), protocol=version, status=attrs.asdict(status, recurse=False))
        )
        self.household.sessions.ready(protocol.session)
        while self._waiting and protocol in self.eth.protocols:  # whoever hears of it may send it away
            self._waiting.pop(0).callback(protocol)

    def requestDone(
        self, protocol: EthProtocol, message: str, items: int, size: int, rtt: float, *, result: str
    ) -> None:
        """See L{IEthObserver}."""
        self.household.sessions.requestDone(protocol.session, message, items, size, rtt, result=result)
        self.feed.publish(
            RequestDone(
                peer=describe(protocol.session), message=message, items=items, size=size, rtt=rtt, result=result
            )
        )

    def messageSeen(self, protocol: EthProtocol, message: messages.Announcement) -> None:
        """See L{IEthObserver}.  A node without a pool has no use for announcements."""
