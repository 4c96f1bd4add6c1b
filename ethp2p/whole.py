"""
A node with its windows and its discovery, as its settings say: what C{twistd -n ethp2p} runs.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.blocks import Header
from ethp2p.chain import MemoryChain, load_chain
from ethp2p.config import NodeConfig
from ethp2p.console import Console
from ethp2p.devp2p import client_name, discover
from ethp2p.discovery.database import NodeDatabase, NoPlace
from ethp2p.discovery.service import DiscoveryService
from ethp2p.doctor import Facts, examine
from ethp2p.enode import LocalNode
from ethp2p.enr.entries import TCP, UDP
from ethp2p.errors import ConfigError
from ethp2p.lastwords import dieWith
from ethp2p.nat import NatService, Outside, Setting, Transport, address_warning
from ethp2p.networks import NAMES, Network
from ethp2p.node import Node
from ethp2p.order import OrderedService
from ethp2p.peers.dialing import objection_to
from ethp2p.peers.postgres import PostgresPeerStore
from ethp2p.peers.store import IPeerStore, SqlitePeerStore
from ethp2p.web import Finding, IPCService, WebService
from ethp2p.web.service import nodeRegistry
from ethp2p.web.view import NodeView


def _load_chain(config: NodeConfig) -> MemoryChain:
    network = config.load_network()
    if config.chain is None:
        return MemoryChain(network)
    chain = load_chain(config.chain)
    if chain.network.genesis_hash != network.genesis_hash:
        raise ConfigError(f"chain '{config.chain}': its genesis is not the one of network '{config.network}'")
    return chain


def _peer_store(config: NodeConfig, reactor: Any) -> IPeerStore:
    where = config.peer_store
    return PostgresPeerStore(where, reactor) if where.startswith("postgres") else SqlitePeerStore(where)


class _Whole(OrderedService):
    """
    What a node and a bootnode have in common: a datadir, a key, a record that is kept true, and discovery.

    @ivar database: the nodes known from the last time, and the record's seq.
    @ivar discovery: None when it is turned off, or before the node listens.
    """

    _log = Logger()

    def __init__(self, config: NodeConfig, reactor: Any) -> None:
        """
        @raise ConfigError: a file or directory that a setting names cannot be used.
        """
        super().__init__(reactor)
        self._reactor = reactor
        self._config = config
        self._key = config.load_nodekey()
        self._began = 0.0
        #: Why the nodes met are not kept between runs; empty when they are.
        self.trouble = ""
        self.database = self._openDatabase(config.make_datadir() / "nodes.sqlite")
        self.discovery: DiscoveryService | None = None
        self.nat: NatService | None = None

    def _openDatabase(self, path: Path) -> NodeDatabase:
        """The file; where it cannot be written, a database in memory."""
        try:
            return NodeDatabase(path)
        except NoPlace as error:
            self._doWithoutFile(error)
            return NodeDatabase(None)

    def _doWithoutFile(self, error: NoPlace) -> None:
        self.trouble = str(error)
        self._log.warn("{why}; the node goes on without keeping whom it finds", why=self.trouble)

    def startService(self) -> None:
        """Open the database, here where twistd has become a daemon if it does, and start what there is."""
        try:
            self.database.resume()
        except NoPlace as error:
            self._doWithoutFile(error)
        except ConfigError as error:
            dieWith(self._reactor, str(error))
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop all of it, the newest first, and close the database."""

        def close(result: None) -> None:
            self.database.close()

        return super().stopService().addCallback(close)

    def _discover(self, local: LocalNode, network: Network, listen: list[tuple[str, int]], **options: Any) -> None:
        """Begin to look for nodes, and to be found, at these UDP addresses."""
        config = self._config
        self._mapPorts(local, listen)
        if config.no_discovery or (config.no_discv4 and config.no_discv5) or not listen:
            return
        self.discovery = DiscoveryService(
            self._reactor,
            local,
            wall=time.time,
            listen=listen,
            bootnodes=config.find_bootnodes(network),
            network=network,
            database=self.database,
            v4=not config.no_discv4,
            v5=not config.no_discv5,
            dns=network.dns if config.dns is None else config.dns,
            netrestrict=config.netrestrict,
            **options,
        )
        self.discovery.setServiceParent(self)
        self.discovery.started.addErrback(self._deaf)

    def _mapPorts(self, local: LocalNode, listen: list[tuple[str, int]]) -> None:
        """Learn our address outside, and have our ports open there."""

        def changed(outside: Outside) -> None:
            local.set_static_ip(outside.address or "0.0.0.0")
            if listen:
                port = listen[0][1]
                tcp, udp = (outside.external(transport, port) or port for transport in (Transport.TCP, Transport.UDP))
                local.set_ports(tcp if local.record.get(TCP) else 0, udp if local.record.get(UDP) else 0)
            self._log.info("our address outside is {address}", address=outside.address or "not known")

        self.nat = NatService(self._reactor, Setting.parse(self._config.nat), changed)
        for host, port in listen:
            for transport in (Transport.TCP, Transport.UDP):
                self.nat.mapPort(transport, port, host)
        self.nat.setServiceParent(self)

    def _introduce(self, local: LocalNode, network: Network) -> None:
        own = local.node
        self._log.info("enode: {url}", url=own.url)
        self._log.info("record: {text}", text=local.record.text)
        warning = address_warning(own.host, network.name)
        if warning is not None and self._config.network in NAMES and not self._config.no_discovery:
            self._log.warn("{warning}", warning=warning)

    def _deaf(self, failure: Failure) -> None:
        first = failure.value.subFailure if isinstance(failure.value, FirstError) else failure
        dieWith(self._reactor, first.getErrorMessage())


class WholeNode(_Whole):
    """
    The node, and its windows and its discovery unless they are turned off.  Says where it is when all of it listens;
    when a part cannot, the program ends with that part's reason.

    @ivar web: the windows, or None.
    """

    def __init__(self, config: NodeConfig, reactor: Any) -> None:
        """
        @raise ConfigError: a file or directory that a setting names cannot be used.
        """
        chain = _load_chain(config)
        super().__init__(config, reactor)
        self.node = Node(
            reactor,
            self._key,
            chain,
            listen=[serverFromString(reactor, endpoint) for endpoint in config.listen],
            staticPeers=config.static_peers,
            trustedPeers=config.trusted_peers,
            policy=config.policy(),
            store=_peer_store(config, reactor),
            capabilities=discover(),
            client=client_name(config.identity),
            seqStore=self.database.seq_store(self._key.public_key.node_id),
        )
        self.node.feed.subscribe(Console(reactor.seconds))
        self.web: WebService | None = None
        self.ipc: IPCService | None = None
        view = NodeView(self.node, self.setConfig, lambda: examine(self._facts()), self._readiness)
        if config.http:  # the first to start is the last to stop
            self.web = WebService(config.http, view, reactor)
            self.web.setServiceParent(self)
        if config.ipc:
            self.ipc = self._openIPC(config, view)
        self.node.setServiceParent(self)
        self.database.pause()

    def _openIPC(self, config: NodeConfig, view: NodeView) -> IPCService | None:
        """The unix socket.  Where nobody has asked for it by name, the node can do without."""
        asked = config.ipc != str(config.datadir / "ethp2p.ipc")

        def doWithout(why: object) -> str:
            self._log.warn("no unix socket for JSON-RPC: {why}", why=str(why))
            self.ipc = None
            return ""

        try:
            ipc = IPCService(config.ipc, nodeRegistry(view), view, self._reactor)
        except ConfigError as error:
            if asked:
                raise
            doWithout(error)
            return None
        if not asked:
            ipc.started.addErrback(lambda failure: doWithout(failure.value))
        ipc.setServiceParent(self)
        return ipc

    def setConfig(self, values: Mapping[str, object]) -> dict[str, object]:
        """
        Change settings while the node runs: all of them, or none.

        @param values: by option name.
        @return: all settings that can be changed so, as they are now.
        @raise ConfigError: one cannot be changed so, or has a value that cannot be used.
        """
        config = self._asOfNow().changed(values)
        household, policy = self.node.household, config.policy()
        for node in config.static_peers:
            objection = objection_to(node, policy)
            if objection:
                raise ConfigError(f"static-peer {objection}")
        self._config = config
        if self.discovery is not None:
            self.discovery.restrict(config.netrestrict)
        household.setPolicy(
            policy,
            tuple(values),
            static=config.static_peers if "static-peer" in values else None,
            trusted=config.trusted_peers if "trusted-peer" in values else None,
        )
        return config.live()

    def _asOfNow(self) -> NodeConfig:
        """The settings, with whom the operator has named one by one since."""
        household = self.node.household
        trusted = {node.node_id: node for node in (*self._config.trusted_peers, *household.trusted())}
        return attrs.evolve(
            self._config,
            static_peers=tuple([callee.node for callee in household.books.dialer.static()]),
            trusted_peers=tuple([node for node_id, node in trusted.items() if node_id in household.roster.trusted]),
        )

    def _readiness(self) -> list[Finding]:
        """What the node depends on.  Without a place to keep its peers it still does its work."""
        trouble, ports = self.node.household.keeper.trouble, self.node.listening.ports
        return [
            Finding("listening", bool(ports), "peers can call" if ports else "peers cannot call"),
            Finding("peer store", not trouble, trouble or "peers and bans are kept", matters=False),
            Finding("node database", not self.trouble, self.trouble or "nodes found are kept", matters=False),
        ]

    def _facts(self) -> Facts:
        """What the doctor looks at."""
        config, node, books = self._config, self.node, self.node.household.books
        chain, own = node.chain, node.local.node
        head, network = chain.head(), chain.network
        discovery = self.discovery
        v4 = None if discovery is None or discovery.v4 is None else discovery.v4.engine
        ports = [port.getHost() for port in node.listening.ports]
        key = config.key_file()
        datadir, seen = config.datadir, key.stat() if key is not None and os.path.exists(key) else None
        dns = network.dns if config.dns is None else config.dns
        trouble = node.household.keeper.trouble
        return Facts(
            network=network.name,
            genesis_hash=network.genesis_hash,
            network_id=network.network_id,
            fork_id=network.fork_id(head.number, head.timestamp),
            head_number=head.number,
            head_time=head.timestamp,
            wall=time.time(),
            uptime=self._reactor.seconds() - self._began,
            packets_timed=0 if v4 is None else sum(v4.received.values()),
            packets_expired=0 if v4 is None else v4.ignored["expired"],
            tcp_ports=tuple(address.port for address in ports if hasattr(address, "port")),
            udp_ports=() if discovery is None else (own.udp,),
            address=own.host,
            nat=config.nat,
            nat_state="" if self.nat is None or self.nat.outside.address is None else str(self.nat.outside.address),
            key_file="" if key is None else str(key),
            key_mode=None if seen is None else seen.st_mode & 0o777,
            key_owner=0 if seen is None else seen.st_uid,
            user=os.getuid(),
            datadir=str(datadir),
            datadir_writable=os.access(datadir, os.W_OK),
            datadir_free=shutil.disk_usage(datadir).free,
            store_ok=not trouble,
            store_state=trouble or "peers and bans are kept",
            inbound=books.roster.inbound,
            dialed=books.roster.dialed,
            min_peers=books.policy.min_peers,
            max_peers=books.policy.max_peers,
            static_peers=len(books.roster.static),
            bans=len(books.bans),
            discovery=discovery is not None,
            bootnodes=len(config.find_bootnodes(network)),
            dns_lists=len(dns),
            found_nodes=0 if discovery is None else len(discovery.nodes(liveOnly=False)),
            funnel=books.journeys.funnel(),
        )

    def startService(self) -> None:
        """Start all of it."""
        self._began = self._reactor.seconds()
        super().startService()
        started: list[Deferred[Any]] = [self.node.listening.started]
        if self.web is not None:
            started.append(self.web.started)
        if self.ipc is not None:
            started.append(self.ipc.started)
        gatherResults(started, consumeErrors=True).addCallback(self._listening).addErrback(self._deaf)

    def _listening(self, _: object) -> None:
        chain = self.node.chain
        addresses: list[Any] = [port.getHost() for port in self.node.listening.ports]
        listen = [(address.host, address.port) for address in addresses if hasattr(address, "port")]
        self._discover(
            self.node.local,
            chain.network,
            listen,
            head=lambda: (chain.head().number, chain.head().timestamp),
        )
        self._introduce(self.node.local, chain.network)
        if self.discovery is not None:
            self.node.seekFrom(self.discovery.source)
            self._followForks(self.discovery)
        if self.web is not None:
            self._log.info("JSON-RPC: {url}", url=self.web.url)
        if self.ipc is not None:
            self._log.info("unix socket: {path}", path=self.ipc.path)

    def _followForks(self, discovery: DiscoveryService) -> None:
        """Nodes that were of another network may be of ours once our head has passed a fork, and the reverse."""
        chain = self.node.chain
        known = chain.network.fork_id(chain.head().number, chain.head().timestamp)

        def headChanged(head: Header) -> None:
            nonlocal known
            fork_id = chain.network.fork_id(head.number, head.timestamp)
            if fork_id != known:
                known = fork_id
                discovery.forkChanged()

        chain.observeHead(headChanged)


class Bootnode(_Whole):
    """
    Discovery alone: helps nodes to find each other, and has no peers.
    """

    def __init__(self, config: NodeConfig, reactor: Any) -> None:
        """
        @raise ConfigError: a file or directory that a setting names cannot be used.
        """
        super().__init__(config, reactor)
        self.local = LocalNode(
            self._key,
            wall_ms=int(time.time() * 1000),
            store=self.database.seq_store(self._key.public_key.node_id),
        )
        self.database.pause()

    def startService(self) -> None:
        """Listen."""
        super().startService()
        network = self._config.load_network()
        self._discover(self.local, network, self._config.udp_addresses())
        if self.discovery is None:
            dieWith(self._reactor, "a bootnode without discovery has nothing to do")
            return
        self.discovery.started.addCallback(lambda _: self._introduce(self.local, network))
