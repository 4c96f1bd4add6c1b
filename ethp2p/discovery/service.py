"""
Discovery as a service: sockets, protocols, what is known from the last time, and a stream of nodes to call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.logger import Logger

from ethp2p.crypto.keys import RandomBytes
from ethp2p.discovery.database import NodeDatabase
from ethp2p.discovery.filters import ForkFilter, Head, NodeFilter, NoFilter
from ethp2p.discovery.gate import Gate
from ethp2p.discovery.interfaces import INodeSource
from ethp2p.discovery.keeping import Keeper
from ethp2p.discovery.names import resolveNode
from ethp2p.discovery.port import DiscoveryPort
from ethp2p.discovery.protocol import READ_SIZE, DiscoveryProtocol, Sockets
from ethp2p.discovery.sources import DNSSource, ListSource, LookupSource, NodeMix
from ethp2p.discovery.speaker import Speaker
from ethp2p.discovery.witness import Witness
from ethp2p.discv4 import state as state4
from ethp2p.discv5 import state as state5
from ethp2p.discv5.nodes import Verified
from ethp2p.dnsdisc import DNSNodeSource, parse_url
from ethp2p.enode import LocalNode, Netrestrict, Node
from ethp2p.enr.entries import TCP
from ethp2p.errors import P2PError
from ethp2p.kademlia import ByDistance, ByTarget, Driver, Vocabulary
from ethp2p.kademlia.driver import EndpointSeen, NodeAlive, NodeFound, SeedsWanted
from ethp2p.limits import SteadyClock, WheelTimer
from ethp2p.networks import Network


class CannotListen(P2PError):
    """Other nodes cannot reach us at this UDP address."""


class DiscoveryService(Service):
    """
    Finds nodes and lets itself be found.  It needs nothing of the rest of the house::

        local = LocalNode(key, wall_ms=int(time.time() * 1000))
        discovery = DiscoveryService(reactor, local, bootnodes=bootnodes, wall=time.time)
        discovery.startService()
        node = await discovery.source.nextNode()

    @ivar local: who we are; what others say of our address goes there.
    @ivar started: fires once all sockets are open, with their ports; fails with L{CannotListen}.  Another one for each
        start.
    @ivar source: nodes to call, an L{INodeSource}.
    @ivar v4: that protocol, or None.
    @ivar v5: likewise.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        local: LocalNode,
        *,
        wall: Callable[[], float],
        listen: Sequence[tuple[str, int]] = (("0.0.0.0", 30303),),
        bootnodes: Iterable[Node] = (),
        network: Network | None = None,
        head: Callable[[], Head] = lambda: (0, 0),
        database: NodeDatabase | None = None,
        v4: bool = True,
        v5: bool = True,
        dns: Iterable[str] = (),
        resolver: Any = None,
        sources: Iterable[INodeSource] = (),
        netrestrict: Netrestrict | None = None,
        observer: Callable[[str, Any], object] | None = None,
        rng: Random | None = None,
        random: RandomBytes = os.urandom,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime} and C{IReactorUDP}; and C{IReactorPluggableNameResolver} if a bootnode
            has a name instead of an address.
        @param wall: gives Unix time in seconds, as C{time.time}.
        @param listen: addresses and UDP ports of the sockets.  Both IP versions on one port are C{0.0.0.0} and C{::}.
            Port 0 is any that is free, the same one for all.
        @param bootnodes: whom to begin with.
        @param network: nodes of another one are not given, by their fork id; with None they are.
        @param head: number and timestamp of our chain's head; see L{forkChanged}.
        @param database: what is known from the last time, and what is learned goes there.  It is not closed here.
            None keeps it in memory.
        @param dns: C{enrtree://} URLs of node lists.
        @param resolver: an C{IResolver} for these; None makes one of the system's.
        @param sources: more sources of nodes to call.
        @param netrestrict: the only networks to speak to.
        @param observer: called with C{v4} or C{v5} and each event of L{ethp2p.kademlia.driver}.  What it raises is
            logged.
        @param rng: for choices that others should not foresee.
        @param random: bytes for keys and nonces.
        @raise ethp2p.errors.ConfigError: what is in C{dns} is no such URL.
        """
        self.local = local
        self.started: Deferred[list[IListeningPort]] = Deferred()
        self.ports: list[IListeningPort] = []
        self._reactor = reactor
        self._wall = wall
        self._listenAt = tuple(listen)
        self._families = {6 if ":" in interface else 4 for interface, _ in self._listenAt}
        #: The only IP version that we can reach, if it is one only.
        self._version = next(iter(self._families)) if len(self._families) == 1 else None
        self._netrestrict = netrestrict
        self._observer = observer
        self._rng = rng = SystemRandom() if rng is None else rng
        self._clock = SteadyClock(reactor)
        self._wheel = WheelTimer(reactor)  # for DNS: it turns only while something is looked up
        self._filter: NodeFilter = NoFilter() if network is None else ForkFilter(network, head)
        self.keeper = Keeper(NodeDatabase(None) if database is None else database, self._clock, wall)
        bootnodes = tuple(bootnodes)
        self._named = [node for node in bootnodes if node.host and node.ip is None]
        self._resolving: set[Deferred[Any]] = set()
        placed = [node.placed(self._version) for node in bootnodes if node.ip is not None]
        self._witnesses: list[Witness] = []
        self.v4 = self._speaker("v4", state4.Discv4(local), state4, ByTarget, placed) if v4 else None
        self.v5 = None
        if v5:
            engine = state5.Discv5(local, random=random, verified=Verified(version=self._version))
            self.v5 = self._speaker("v5", engine, state5, partial(ByDistance, version=self._version), placed)
        self.speakers = tuple(speaker for speaker in (self.v4, self.v5) if speaker is not None)
        self.sockets = Sockets(self.speakers, Gate(netrestrict), clock=self._clock, wall=wall)
        links = [parse_url(url) for url in dns]
        self._lookups = {
            speaker.name: LookupSource(f"disc{speaker.name}", speaker.lookUpAnybody, self._clock)
            for speaker in self.speakers
        }
        known = ListSource("seeds", lambda: self._seeds(None))
        mixed: list[INodeSource] = [known, *self._lookups.values(), *sources]
        if links:

            def readLists() -> DNSNodeSource:
                asked = resolver or _systemResolver(reactor)
                return DNSNodeSource(asked, links, wheel=self._wheel, choose=rng.randrange)

            mixed.append(DNSSource("dns", readLists))
        self.source = NodeMix(
            mixed,
            clock=self._clock,
            local_id=local.node_id,
            nodeFilter=self._filter,
            mayCall=self._permitted,
            version=self._version,
        )

    # lifetime

    def startService(self) -> None:
        """Open the sockets and begin."""
        super().startService()
        if self.started.called:
            self.started = Deferred()
        self.sockets.start()
        try:
            self._listen()
        except CannotListenError as error:
            self._close().addBoth(lambda _: None)
            why = getattr(error.socketError, "strerror", None) or error.socketError
            self.started.errback(CannotListen(f"cannot listen on UDP {error.interface or '*'}:{error.port}: {why}"))
            return
        self._tellPorts()
        self.keeper.start()
        now = self._clock.seconds()
        for speaker in self.speakers:
            speaker.driver.start(now, self._wall(), self._seeds(speaker.name))
        self.source.start()
        self._resolveBootnodes(self.speakers)
        self.sockets.turn()
        self.started.callback(self.ports)

    def stopService(self) -> Deferred[Any]:
        """Ask nobody anything, tell who waits, close the sockets, write what was learned.  Fires when all is over."""
        running = self.running
        super().stopService()
        if not running:
            return maybeDeferred(lambda: None)
        for resolving in list(self._resolving):
            resolving.cancel()
        self.source.stop()
        for witness in self._witnesses:
            witness.stop()
        self.sockets.stop()
        self.keeper.stop()
        self._wheel.stop()
        return self._close()

    def forkChanged(self) -> None:
        """Our chain's head has passed a fork, so that other nodes are of our network now."""
        for speaker in self.speakers:
            speaker.driver.readmit(self._clock.seconds())
        self.sockets.turn()

    def restrict(self, netrestrict: Netrestrict | None) -> None:
        """Speak to these networks only from now on.  Who is in a table from elsewhere is heard no more, nor given."""
        self._netrestrict = self.sockets.gate.netrestrict = netrestrict

    def nodes(self, *, liveOnly: bool = True) -> list[Node]:
        """The nodes in the tables, those of both protocols once."""
        found: dict[bytes, Node] = {}
        for speaker in self.speakers:
            for node in speaker.table.nodes(live_only=liveOnly):
                if node.node_id not in found or node.record is not None:
                    found[node.node_id] = node
        return list(found.values())

    # making

    def _speaker(self, name: str, engine: Any, module: Any, speak: Any, bootnodes: list[Node]) -> Speaker:
        vocabulary = Vocabulary.of(module)
        witness = Witness(
            engine,
            speak,
            vocabulary,
            name,
            database=self.keeper.database,
            local=self.local,
            wall=self._wall,
            admits=self._filter.admits,
        )
        self._witnesses.append(witness)
        driver = Driver(
            witness.dialect,
            self.local.public_key,
            rng=self._rng,
            bootnodes=bootnodes,
            admit=self._filter.admits,
            may_contact=self._reachable,
        )
        return Speaker(name, engine, driver, vocabulary, clock=self._clock, wall=self._wall, tell=self._tell)

    def _seeds(self, protocol: str | None) -> list[Node]:
        return [node.placed(self._version) for node in self.keeper.seeds(protocol, self._rng)]

    def _permitted(self, node: Node) -> bool:
        return self._netrestrict is None or node.host in self._netrestrict

    def _reachable(self, node: Node) -> bool:
        ip = node.ip
        return ip is not None and ip.version in self._families and self._permitted(node)

    # sockets

    def _listen(self) -> None:
        number = 0
        for interface, port in self._listenAt:
            listening = self._open(interface, port or number)
            self.ports.append(listening)
            number = number or listening.getHost().port

    def _open(self, interface: str, number: int) -> Any:
        protocol: DiscoveryProtocol = self.sockets.add(interface)
        if IReactorFDSet.providedBy(self._reactor):
            port = DiscoveryPort(number, protocol, interface, READ_SIZE, self._reactor)
            port.startListening()
            return port
        return self._reactor.listenUDP(number, protocol, interface=interface, maxPacketSize=READ_SIZE)

    def _close(self) -> Deferred[Any]:
        ports, self.ports = self.ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)

    def _tellPorts(self) -> None:
        """Our record is to say where we are: at least the port, and until somebody knows better, this machine."""
        if not self.ports:
            return
        address: Any = self.ports[0].getHost()
        self.local.set_ports(self.local.record.get(TCP) or 0, address.port)
        if not self.local.node.host:
            unspecified = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
            self.local.set_fallback_ip(unspecified.get(address.host, address.host))

    # what happens

    def _tell(self, speaker: Speaker, event: Any) -> None:
        if isinstance(event, NodeFound):
            self._lookups[speaker.name].found(event.node)
        elif isinstance(event, NodeAlive):
            self.keeper.database.checked(event.node, event.checks, self._wall())
        elif isinstance(event, EndpointSeen):
            self.local.statement(event.endpoint, event.node.host, self._clock.seconds())
        elif isinstance(event, SeedsWanted):
            speaker.driver.add_seeds(self._seeds(speaker.name), self._clock.seconds(), self._wall())
            self._resolveBootnodes([speaker])
        if self._observer is not None:
            with self._log.failuresHandled("who is told of what discovery does raised an error"):
                self._observer(speaker.name, event)

    def _resolveBootnodes(self, speakers: Sequence[Speaker]) -> None:
        """Names are looked up each time: what was behind them may have moved."""
        for bootnode in self._named:
            resolving = resolveNode(self._reactor, self._clock, bootnode, self._families)
            self._resolving.add(resolving)
            resolving.addBoth(self._resolved, speakers, resolving)

    def _resolved(self, node: Any, speakers: Sequence[Speaker], resolving: Deferred[Any]) -> None:
        self._resolving.discard(resolving)
        if isinstance(node, Node) and self.running:  # else there is no such name, now
            for speaker in speakers:
                speaker.driver.add_seeds([node], self._clock.seconds(), self._wall())
            self.sockets.turn()


def _systemResolver(reactor: Any) -> Any:
    from ethp2p.discovery.resolver import SystemResolver  # takes a while, and is not always needed

    return SystemResolver(reactor)
