"""
Discovery for as long as one question takes: ping a node, ask for its record, find it wherever it is.

Each call opens a UDP port of its own, and closes it before it fires::

    pong = await ping(reactor, Terms("v4", PrivateKey.generate()), node, wall=time.time)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discovery.names import resolveNode
from ethp2p.discovery.service import DiscoveryService
from ethp2p.discovery.speaker import Speaker
from ethp2p.enode import LocalNode, Node
from ethp2p.enr import Record
from ethp2p.errors import ConfigError, P2PError

T = TypeVar("T")

#: Seconds that a question to one node may take.
TIMEOUT = 5.0
#: Seconds that the search for one may take.
SEARCH_TIMEOUT = 60.0

Wall = Callable[[], float]


class NotFound(P2PError):
    """The node was not found."""


class NoResponse(P2PError):
    """The node did not respond."""


@attrs.frozen
class Terms:
    """
    Who we are in discovery, and where.
    """

    #: C{v4} or C{v5}.
    protocol: str
    key: PrivateKey
    #: Whom to begin with.
    bootnodes: tuple[Node, ...] = ()
    #: Addresses and ports to listen at.  None: a free port of IPv4, or of IPv6 where the node asked is.
    listen: tuple[tuple[str, int], ...] | None = None
    #: Addresses to announce, and the port if it is not the one that we listen at.
    external: tuple[tuple[str, int | None], ...] = ()


@attrs.frozen
class Pong:
    """
    A node is there.
    """

    #: Seconds.
    rtt: float
    #: Host and port that it sees us at, if it says.
    endpoint: tuple[str, int] | None
    #: Of its record, if it says.
    seq: int | None


class Finder:
    """
    Takes part in one discovery protocol while its block lasts::

        async with Finder(reactor, terms, wall=time.time) as finder:
            nodes = await finder.speaker.lookUpAnybody()

    @ivar service: the whole of it.
    @ivar speaker: the protocol.
    """

    service: DiscoveryService
    speaker: Speaker

    def __init__(self, reactor: Any, terms: Terms, *, wall: Wall, near: Node | None = None, **settings: Any) -> None:
        """
        @param reactor: provides C{IReactorTime}, C{IReactorUDP} and C{IReactorPluggableNameResolver}.
        @param wall: gives Unix time.
        @param near: a node that has to be in reach.
        @param settings: more of L{DiscoveryService}'s.
        """
        self._reactor = reactor
        self._terms = terms
        self._wall = wall
        self._settings = settings
        ip = None if near is None else near.ip
        anywhere = "::" if ip is not None and ip.version == 6 else "0.0.0.0"
        self._listen = ((anywhere, 0),) if terms.listen is None else terms.listen
        #: The IP versions that we can reach.
        self.families = {6 if ":" in host else 4 for host, _ in self._listen}
        #: The bootnodes that have an address.
        self.bootnodes: tuple[Node, ...] = ()

    @property
    def local(self) -> LocalNode:
        """Who we are."""
        return self.service.local

    async def place(self, node: Node) -> Node:
        """
        The node, at an address.

        @raise ConfigError: it has none that we could send to.
        """
        if not node.host or not node.udp:
            raise ConfigError(f"{node.url} has no UDP address")
        placed = await resolveNode(self._reactor, self._reactor, node, self.families)
        if placed is None:
            versions = " and ".join(f"IPv{family}" for family in sorted(self.families))
            raise ConfigError(f"{node.host} has no address that can be reached by {versions}")
        return placed

    async def __aenter__(self) -> Finder:
        looking = [
            resolveNode(self._reactor, self._reactor, node, self.families)
            for node in self._terms.bootnodes
            if node.host and node.udp
        ]
        self.bootnodes = tuple(node for node in await gatherResults(looking, consumeErrors=True) if node is not None)
        protocol = self._terms.protocol
        self.service = DiscoveryService(
            self._reactor,
            LocalNode(self._terms.key, wall_ms=int(self._wall() * 1000)),
            wall=self._wall,
            listen=self._listen,
            bootnodes=self.bootnodes,
            v4=protocol == "v4",
            v5=protocol == "v5",
            **self._settings,
        )
        for host, _ in self._terms.external:
            self.local.set_static_ip(host)
        self.service.startService()
        await self.service.started
        for _, port in self._terms.external:
            if port is not None:
                self.local.set_ports(0, port)
        (self.speaker,) = self.service.speakers
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.service.stopService()


def within(seconds: float | None, clock: Any, work: Coroutine[Any, Any, T], error: P2PError) -> Deferred[T]:
    """
    Work that may take so long.

    @param error: what it fails with when it takes longer; it is cancelled then.
    """
    deferred: Deferred[T] = Deferred.fromCoroutine(work)
    if seconds is not None:
        deferred.addTimeout(seconds, clock, lambda value, after: Failure(error))
    return deferred


def ping(reactor: Any, terms: Terms, node: Node, *, wall: Wall, timeout: float = TIMEOUT) -> Deferred[Pong]:
    """
    See whether a node is there.

    @param timeout: seconds for all of it.
    @return: fires with what it says; fails with L{NoResponse}, or with what L{Finder} raises.
    """

    async def work() -> Pong:
        async with Finder(reactor, terms, wall=wall, near=node) as finder:
            placed = await finder.place(node)
            started = reactor.seconds()
            try:
                info = await finder.speaker.ping(placed)
            except P2PError as error:
                raise NoResponse(f"the node did not respond: {error}") from None
            return Pong(max(0.0, reactor.seconds() - started), info.endpoint, info.seq)

    return within(timeout, reactor, work(), NoResponse(f"the node did not respond within {timeout:g} s"))


def request_record(reactor: Any, terms: Terms, node: Node, *, wall: Wall, timeout: float = TIMEOUT) -> Deferred[Record]:
    """
    Ask a node for its record.

    @param timeout: seconds for all of it.
    @return: fires with it; fails with L{NoResponse}, or with what L{Finder} raises.
    """

    async def work() -> Record:
        async with Finder(reactor, terms, wall=wall, near=node) as finder:
            placed = await finder.place(node)
            try:
                return await finder.speaker.requestRecord(placed)
            except P2PError as error:
                raise NoResponse(f"the node did not give its record: {error}") from None

    return within(timeout, reactor, work(), NoResponse(f"the node did not give its record within {timeout:g} s"))


def resolve(reactor: Any, terms: Terms, node: Node, *, wall: Wall, timeout: float = SEARCH_TIMEOUT) -> Deferred[Record]:
    """
    Find a node by its key: where it was, and if it is not there, where others know it.

    @param node: its address may be old, or missing.
    @param timeout: seconds for all of it.
    @return: fires with its newest record; fails with L{NotFound}, or with what L{Finder} raises.
    """

    async def work() -> Record:
        async with Finder(reactor, terms, wall=wall, near=node) as finder:
            if node.host and node.udp:
                with suppress(P2PError):  # it may not be there any more
                    return await finder.speaker.requestRecord(await finder.place(node))
            target = node.public_key.raw if terms.protocol == "v4" else node.node_id
            for found in await finder.speaker.lookup(target):
                if found.node_id == node.node_id:
                    try:
                        return await finder.speaker.requestRecord(found)
                    except P2PError as error:
                        raise NotFound(f"the node does not answer where others know it: {error}") from None
            raise NotFound("the node was not found")

    return within(timeout, reactor, work(), NotFound(f"the node was not found within {timeout:g} s"))
