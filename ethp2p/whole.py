"""
A node with its windows, as its settings say: what C{twistd -n ethp2p} runs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.chain import MemoryChain, load_chain
from ethp2p.config import NodeConfig
from ethp2p.console import Console
from ethp2p.devp2p import client_name, discover
from ethp2p.enode import SeqFile
from ethp2p.errors import ConfigError
from ethp2p.lastwords import dieWith
from ethp2p.node import Node
from ethp2p.node.order import OrderedService
from ethp2p.web import WebService
from ethp2p.web.view import NodeView


def _load_chain(config: NodeConfig) -> MemoryChain:
    network = config.load_network()
    if config.chain is None:
        return MemoryChain(network)
    chain = load_chain(config.chain)
    if chain.network.genesis_hash != network.genesis_hash:
        raise ConfigError(f"chain '{config.chain}': its genesis is not the one of network '{config.network}'")
    return chain


class WholeNode(OrderedService):
    """
    The node, and its windows unless they are turned off.  Says where it is when all of it listens, then what
    happens; when a part cannot listen, the program ends with that part's reason.

    @ivar web: the windows, or None.
    """

    _log = Logger()

    def __init__(self, config: NodeConfig, reactor: Any) -> None:
        """
        @raise ConfigError: a file or directory that a setting names cannot be used.
        """
        super().__init__(reactor)
        self._reactor = reactor
        self.node = Node(
            reactor,
            config.load_nodekey(),
            _load_chain(config),
            listen=[serverFromString(reactor, endpoint) for endpoint in config.listen],
            staticPeers=config.static_peers,
            trustedPeers=config.trusted_peers,
            maxPeers=config.max_peers,
            capabilities=discover(),
            client=client_name(config.identity),
            seqStore=SeqFile(config.make_datadir() / "seq"),
        )
        self.node.feed.subscribe(Console())
        self.web: WebService | None = None
        if config.http:
            self.web = WebService(config.http, NodeView(self.node), reactor)
            self.web.setServiceParent(self)  # the first to start is the last to stop
        self.node.setServiceParent(self)

    def startService(self) -> None:
        """Start all of it."""
        super().startService()
        started: list[Deferred[Any]] = [self.node.listening.started]
        if self.web is not None:
            started.append(self.web.started)
        gatherResults(started, consumeErrors=True).addCallbacks(self._listening, self._deaf)

    def _listening(self, _: object) -> None:
        own = self.node.local.node
        self._log.info("enode: {url}", url=own.url)
        self._log.info("record: {text}", text=own.record.text if own.record is not None else "")
        if self.web is not None:
            self._log.info("JSON-RPC: {url}", url=self.web.url)

    def _deaf(self, failure: Failure) -> None:
        first = failure.value.subFailure if isinstance(failure.value, FirstError) else failure
        dieWith(self._reactor, first.getErrorMessage())
