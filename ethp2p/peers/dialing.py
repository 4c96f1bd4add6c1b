"""
The service that makes the dialer's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.enode import Node
from ethp2p.enode.cidr import is_ip
from ethp2p.errors import ConfigError
from ethp2p.events import DialFailed, DialProgress, Feed
from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.peers.backoff import Cause
from ethp2p.peers.books import Books
from ethp2p.peers.causes import cause_of, words_of
from ethp2p.peers.journeys import Stage
from ethp2p.peers.policy import Policy
from ethp2p.peers.sessions import join

#: Seconds for TCP to connect (geth: defaultDialTimeout).
DIAL_TIMEOUT = 15.0
#: Seconds between two looks at whether there are too few peers.
LOOK = 10.0


def endpointFor(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """A TCP endpoint for an address or a host name; names are resolved at every call, to IPv4 and IPv6."""
    if not is_ip(host):
        return HostnameEndpoint(reactor, host.encode("idna"), port, timeout=DIAL_TIMEOUT)
    if ":" in host:
        return TCP6ClientEndpoint(reactor, host, port, timeout=DIAL_TIMEOUT)
    return TCP4ClientEndpoint(reactor, host, port, timeout=DIAL_TIMEOUT)


def objection_to(node: Node, policy: Policy) -> str:
    """Why this node is not one to call, whoever wants it; empty if it is."""
    if not node.host or not node.tcp:
        return f"{node.url} has no address to call"
    if policy.netrestrict is not None and node.ip is not None and node.ip not in policy.netrestrict:
        return f"{node.url} is outside the networks to have to do with"
    return ""


@implementer(IStreamClientEndpoint)
class Watched:
    """
    An endpoint that tells when the connection stands, before anything is said over it.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, connected: Callable[[], object]) -> None:
        self._endpoint = endpoint
        self._connected = connected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See L{IStreamClientEndpoint}."""

        def tell(protocol: Any) -> Any:
            self._connected()
            return protocol

        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(tell)


class NodeSource(Protocol):
    """Where nodes come from: L{ethp2p.discovery.INodeSource}, as far as dialing needs it."""

    def nextNode(self) -> Deferred[Node]:
        """The next node found.  Can be cancelled."""


class DialService(Service):
    """
    Keeps calling the static peers until they are here, and found nodes while there is room.

    @ivar attempts: calls made.
    @ivar failures: calls that became no session.
    """

    _log = Logger(namespace="ethp2p")

    def __init__(
        self,
        call: Callable[[Node, Callable[[], object]], Deferred[Any]],
        books: Books,
        feed: Feed,
        wheel: WheelTimer,
        *,
        stranger: Callable[[Node], str] = lambda node: "",
    ) -> None:
        """
        @param call: connects to a node, and tells when the connection stands; fires when the node's identity is
            proven, or fails.
        @param stranger: by what a node's record shows that it follows another chain, in words; empty if it does not.
        """
        self._connect = call
        self._books = books
        self._feed = feed
        self._wheel = wheel
        self._stranger = stranger
        self._source: NodeSource | None = None
        self._seeking: Deferred[Node] | None = None
        self._calls: dict[bytes, Deferred[Any]] = {}
        self._timer: WheelCall | None = None
        self._look: WheelCall | None = None
        self.attempts = 0
        self.failures = 0

    # --- who is wanted

    def addPeer(self, node: Node) -> bool:
        """
        Keep a connection to this node.

        @return: False when there are too many static peers.
        @raise ConfigError: its address has no host or no TCP port, or is outside the networks to have to do with.
        """
        objection = objection_to(node, self._books.policy)
        if objection:
            raise ConfigError(objection)
        if not self._books.dialer.add(node.node_id, node.host, node.tcp, self._wheel.seconds(), node):
            return False
        self._books.roster.static.add(node.node_id)
        self.pump()
        return True

    def removePeer(self, node_id: bytes) -> bool:
        """Stop wanting this node.  @return: whether it was wanted."""
        self._books.roster.static.discard(node_id)
        wanted = self._books.dialer.remove(node_id)
        call = self._calls.get(node_id)
        if call is not None:
            call.cancel()
        return wanted

    def seekFrom(self, source: NodeSource) -> None:
        """Call nodes that C{source} finds, too."""
        self._source = source
        self.pump()

    def remember(self, nodes: Sequence[tuple[Node, bool]]) -> None:
        """Nodes that were good peers the last time, the best first, each with whether we reached it."""
        now = self._wheel.seconds()
        for node, reached in reversed(nodes):
            self._books.dialer.remember(node.node_id, node.host, node.tcp, now, node, reached=reached)
        self.pump()

    # --- lifetime

    def startService(self) -> None:
        """Start calling."""
        super().startService()
        self._look = self._wheel.call_later(LOOK, self._lookAround)
        self.pump()

    def stopService(self) -> None:
        """Call nobody any more, and give up the calls under way."""
        super().stopService()
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        if self._seeking is not None:
            self._seeking.cancel()
        for call in tuple(self._calls.values()):
            call.cancel()

    # --- calling

    def pump(self) -> None:
        """Make the calls that are due, and come back when the next one is."""
        if not self.running:
            return
        books = self._books
        dialer = books.dialer
        for callee in dialer.next_calls(books.roster.known(), books.seats(), self._wheel.seconds()):
            self._call(callee.node)
        if self._timer is not None:
            self._timer.cancel()
        self._seek()
        due = dialer.next_timer(books.roster.known(), books.seats(), self._wheel.seconds())
        self._timer = None if due is None else self._wheel.call_at(due, self.pump)

    def _seek(self) -> None:
        """Ask for one found node, if there is room for it and none is asked for already."""
        if self._source is None or self._seeking is not None:
            return
        if not self._books.dialer.wanted(self._books.seats()):
            return
        self._seeking = seeking = self._source.nextNode()
        seeking.addCallbacks(self._found, self._notFound)

    def _found(self, node: Node) -> None:
        self._seeking = None
        if self.running:
            self._consider(node)
            self._wheel.call_later(0.0, self.pump)  # not at once: a source may have many nodes ready

    def _notFound(self, failure: Failure) -> None:
        self._seeking = None
        if not failure.check(CancelledError):  # there will be none any more
            self._source = None

    def _consider(self, node: Node) -> None:
        """A node was found: call it, unless something speaks against it."""
        books, now = self._books, self._wheel.seconds()
        stranger = self._stranger(node)
        if stranger:
            books.journeys.foreign(node.node_id, join(node.host, node.tcp), stranger, books.wall())
            return
        books.journeys.found()
        known, seats = books.roster.known(), books.seats()
        rejection = books.dialer.found(node.node_id, node.host, node.tcp, known, seats, now, node)
        if rejection is None:
            self._call(node)
        elif forbidden := books.forbidden(node.node_id, node.host):  # worth a word to whoever asks after it
            books.journeys.begin(node.node_id, join(node.host, node.tcp), now, books.wall())
            books.journeys.ended(node.node_id, Cause(forbidden.rule.value), forbidden.words, now, by_us=True)

    def _call(self, node: Node) -> None:
        self.attempts += 1
        node_id, books = node.node_id, self._books
        address = join(node.host, node.tcp)
        books.journeys.begin(node_id, address, self._wheel.seconds(), books.wall())

        def connected() -> None:
            books.journeys.reached(node_id, Stage.TCP, self._wheel.seconds())
            self._feed.publish(DialProgress(node_id=node_id, address=address, inbound=False, stage=Stage.TCP.label))

        def met(session: object) -> None:
            books.dialer.connected(node_id)

        def failed(failure: Failure) -> None:
            now = self._wheel.seconds()
            if failure.check(CancelledError, ConnectingCancelledError):  # removed, or stopping
                books.dialer.given_up(node_id)
                books.journeys.ended(node_id, Cause.REQUESTED, "given up", now, by_us=True)
                return
            self.failures += 1
            cause, why = cause_of(failure), words_of(failure)
            books.journeys.ended(node_id, cause, why, now)
            callee, hungry = books.dialer.failed(node_id, cause, why, now), books.seats().hungry
            self._feed.publish(
                DialFailed(
                    node_id=node_id,
                    address=address,
                    reason=why,
                    attempt=1 if callee is None else callee.failures,
                    retry_in=None if callee is None or not callee.static else callee.ready(hungry=hungry) - now,
                )
            )

        def done(_: object) -> None:
            del self._calls[node_id]
            self.pump()

        call = self._calls[node_id] = maybeDeferred(self._connect, node, connected)
        call.addCallbacks(met, failed).addBoth(done)

    def _lookAround(self) -> None:
        """With too few peers, say what is in the way."""
        self._look = self._wheel.call_later(LOOK, self._lookAround)
        books = self._books
        words = books.dialer.looking(books.roster.known(), books.seats(), self._wheel.seconds())
        if words and (self._source is not None or books.roster.static):
            self._log.info("{words}", words=words)
