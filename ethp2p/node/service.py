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
from ethp2p.errors import DisconnectReason, LocalProtocolError, P2PError
from ethp2p.eth import EthFactory, EthProtocol, IEthObserver, messages
from ethp2p.events import Feed, HeadChanged, PeerStatus, RequestDone
from ethp2p.interfaces import ICapabilityFactory, IChain
from ethp2p.limits import WheelTimer
from ethp2p.node.dialing import DialService, NodeSource, endpointFor
from ethp2p.node.household import Household, describe
from ethp2p.node.listening import ListenService, Restricted
from ethp2p.node.order import OrderedService
from ethp2p.peers.dialer import Dialer
from ethp2p.peers.roster import Roster
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
    @ivar listening: its C{started} fires once peers can call.
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
        maxPeers: int = 50,
        ethVersions: Sequence[int] = (66, 67, 68, 69),
        ethProtocol: type[EthProtocol] = EthProtocol,
        capabilities: Sequence[ICapabilityFactory] = (),
        client: str = "",
        netrestrict: enode.Netrestrict | None = None,
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
        @param ethVersions: the versions of eth to offer.
        @param ethProtocol: what speaks eth with each peer.
        @param capabilities: more languages to offer beside eth.
        @param client: our name in Hello.
        @param netrestrict: the only networks that peers may be in.
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
        roster = Roster(key.public_key.node_id, maxPeers)
        roster.trusted.update(peer.node_id for peer in trustedPeers)
        self.household = Household(roster, self.feed, wheel, self._sessionEnded)
        self.sessions = SessionFactory(self._hello, (self.eth, *capabilities), self.household, wheel=wheel)
        self.traffic = Traffic()
        wire: dict[str, Any] = {"clock": reactor, "wheel": wheel, "random": random, "traffic": self.traffic}
        doors = [RLPxServerEndpoint(Restricted(one, netrestrict), key, **wire) for one in listen]
        self.listening = ListenService(doors, self.sessions)

        def call(node: enode.Node) -> Deferred[Any]:
            endpoint = endpointFor(reactor, node.host, node.tcp)
            return RLPxClientEndpoint(endpoint, key, node.public_key, **wire).connect(self.sessions)

        self.dialing = DialService(call, Dialer(jitter), roster, self.feed, wheel, netrestrict)
        for service in (self.household, self.listening, self.dialing):  # the last stops first
            service.setServiceParent(self)
        for peer in staticPeers:
            self.dialing.addPeer(peer)
        self._tellFork(chain.head())
        self._unobserve: Callable[[], None] = chain.observeHead(self._headChanged)

    def startService(self) -> None:
        """Listen and call."""
        super().startService()
        self.listening.started.addCallbacks(self._nowListening, lambda failure: failure)

    def stopService(self) -> Deferred[None]:
        """Let nobody in, call nobody, say goodbye.  Fires when all is over."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(NodeStopped())

        def leaveTheClock(result: None) -> None:
            self._wheel.stop()

        return super().stopService().addCallback(leaveTheClock)

    def _nowListening(self, ports: list[Any]) -> list[Any]:
        address: Any = ports[0].getHost() if ports else None
        self._port = getattr(address, "port", 0)
        if self._port:
            self.local.set_ports(self._port, self.local.record.get(UDP) or 0)
            # Until somebody tells us better: an address that at least this machine can call.
            unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
            self.local.set_fallback_ip(unspecified.get(address.host, address.host))
        return ports

    def addPeer(self, node: enode.Node) -> bool:
        """
        Keep a connection to this node: call it, and again whenever it is gone.

        @return: False when there are too many static peers.
        @raise ethp2p.errors.ConfigError: it has no address to call.
        """
        return self.dialing.addPeer(node)

    def removePeer(self, node: enode.Node) -> bool:
        """
        Stop wanting this node, and disconnect it.

        @return: whether it was wanted or connected.
        """
        wanted = self.dialing.removePeer(node.node_id)
        place = self.household.roster.get(node.node_id)
        if place is not None:
            place.session.disconnect(DisconnectReason.REQUESTED)
        return wanted or place is not None

    def seekFrom(self, source: NodeSource) -> None:
        """From now on call nodes that C{source} finds, too, while there is room for them."""
        self.dialing.seekFrom(source)

    def _hello(self) -> LocalHello:
        return LocalHello(self.client, self.local.public_key, self._port)

    def _sessionEnded(self, node_id: bytes, lasted: float, why: str) -> None:
        self.dialing.sessionEnded(node_id, lasted, why)

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
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(protocol)

    def requestDone(
        self, protocol: EthProtocol, message: str, items: int, size: int, rtt: float, *, result: str
    ) -> None:
        """See L{IEthObserver}."""
        self.feed.publish(
            RequestDone(
                peer=describe(protocol.session), message=message, items=items, size=size, rtt=rtt, result=result
            )
        )

    def messageSeen(self, protocol: EthProtocol, message: messages.Announcement) -> None:
        """See L{IEthObserver}.  A node without a pool has no use for announcements."""
