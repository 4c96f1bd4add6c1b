"""
The service that makes the dialer's calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from ethp2p.enode import Netrestrict
from ethp2p.enode import Node as NodeAddress
from ethp2p.enode.cidr import is_ip, is_lan, is_loopback
from ethp2p.errors import ConfigError
from ethp2p.events import DialFailed, Feed
from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.peers.dialer import Dialer
from ethp2p.peers.roster import Roster

#: Seconds for TCP to connect (geth: defaultDialTimeout).
DIAL_TIMEOUT = 15.0


def endpointFor(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """A TCP endpoint for an address or a host name; names are resolved at every call."""
    if not is_ip(host):
        return HostnameEndpoint(reactor, host.encode("idna"), port, timeout=DIAL_TIMEOUT)
    if ":" in host:
        return TCP6ClientEndpoint(reactor, host, port, timeout=DIAL_TIMEOUT)
    return TCP4ClientEndpoint(reactor, host, port, timeout=DIAL_TIMEOUT)


class NodeSource(Protocol):
    """Where nodes come from: L{ethp2p.discovery.INodeSource}, as far as dialing needs it."""

    def nextNode(self) -> Deferred[NodeAddress]:
        """The next node found.  Can be cancelled."""


class DialService(Service):
    """
    Keeps calling the static peers until they are here, and found nodes while there is room.

    @ivar attempts: calls made.
    @ivar failures: calls that became no session.
    """

    def __init__(
        self,
        call: Callable[[NodeAddress], Deferred[Any]],
        dialer: Dialer,
        roster: Roster,
        feed: Feed,
        wheel: WheelTimer,
        netrestrict: Netrestrict | None = None,
    ) -> None:
        """
        @param call: connects to a node; fires when its identity is proven, or fails.
        @param netrestrict: the only networks to call.
        """
        self._netrestrict = netrestrict
        self._source: NodeSource | None = None
        self._seeking: Deferred[NodeAddress] | None = None
        self._connect = call
        self._dialer = dialer
        self._roster = roster
        self._feed = feed
        self._wheel = wheel
        self._addresses: dict[bytes, NodeAddress] = {}
        self._calls: dict[bytes, Deferred[Any]] = {}
        self._timer: WheelCall | None = None
        self.attempts = 0
        self.failures = 0

    def addPeer(self, node: NodeAddress) -> bool:
        """
        Keep a connection to this node.

        @return: False when there are too many static peers.
        @raise ConfigError: its address has no host or no TCP port.
        """
        if not node.host or not node.tcp:
            raise ConfigError(f"{node.url} has no address to call")
        if not self._permitted(node):
            raise ConfigError(f"{node.url} is outside the networks to have to do with")
        near = is_ip(node.host) and (is_loopback(node.host) or is_lan(node.host))
        if not self._dialer.add(node.node_id, self._wheel.seconds(), near=near):
            return False
        self._addresses[node.node_id] = node
        self._roster.static.add(node.node_id)
        self.pump()
        return True

    def removePeer(self, node_id: bytes) -> bool:
        """Stop wanting this node.  @return: whether it was wanted."""
        self._addresses.pop(node_id, None)
        self._roster.static.discard(node_id)
        call = self._calls.get(node_id)
        if call is not None:
            call.cancel()
        return self._dialer.remove(node_id)

    def seekFrom(self, source: NodeSource) -> None:
        """Call nodes that C{source} finds, too."""
        self._source = source
        self.pump()

    def _permitted(self, node: NodeAddress) -> bool:
        return self._netrestrict is None or node.ip is None or node.ip in self._netrestrict

    def startService(self) -> None:
        """Start calling."""
        super().startService()
        self.pump()

    def stopService(self) -> None:
        """Call nobody any more, and give up the calls under way."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
        if self._seeking is not None:
            self._seeking.cancel()
        for call in tuple(self._calls.values()):
            call.cancel()

    def sessionEnded(self, node_id: bytes, lasted: float, why: str) -> None:
        """A session is over: its peer is called again when its time has come."""
        self._dialer.ended(node_id, lasted, why, self._wheel.seconds())
        self.pump()

    def pump(self) -> None:
        """Make the calls that are due, and come back when the next one is."""
        if not self.running:
            return
        connected = self._roster.known()
        for node_id in self._dialer.next_calls(connected, self._wheel.seconds()):
            self._call(self._addresses[node_id])
        if self._timer is not None:
            self._timer.cancel()
        self._seek()
        due = self._dialer.next_timer(self._roster.known())
        self._timer = None if due is None else self._wheel.call_later(due - self._wheel.seconds(), self.pump)

    def _seek(self) -> None:
        """Ask for one found node, if there is room for it and none is asked for already."""
        if self._source is None or self._seeking is not None:
            return
        if not self._dialer.wanted(self._roster.dialed, self._roster.max_dialed):
            return
        self._seeking = seeking = self._source.nextNode()
        seeking.addCallbacks(self._found, self._notFound)

    def _found(self, node: NodeAddress) -> None:
        self._seeking = None
        now = self._wheel.seconds()
        usable = self.running and node.host and node.tcp and self._permitted(node)
        if usable and self._dialer.found(node.node_id, self._roster.known(), now):
            self._call(node)
        self._wheel.call_later(0.0, self.pump)  # not at once: a source may have many nodes ready

    def _notFound(self, failure: Failure) -> None:
        self._seeking = None
        if not failure.check(CancelledError):  # there will be none any more
            self._source = None

    def _call(self, node: NodeAddress) -> None:
        self.attempts += 1
        call = self._connect(node)
        self._calls[node.node_id] = call

        def connected(session: object) -> None:
            self._dialer.connected(node.node_id)

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError):  # removed, or stopping
                return
            self.failures += 1
            why = failure.getErrorMessage() or type(failure.value).__name__
            peer = self._dialer.failed(node.node_id, why, self._wheel.seconds())
            self._feed.publish(
                DialFailed(
                    node_id=node.node_id,
                    address=f"{node.host}:{node.tcp}",
                    reason=why,
                    attempt=1 if peer is None else peer.failures,
                    retry_in=None if peer is None else peer.due - self._wheel.seconds(),
                )
            )

        def done(_: object) -> None:
            del self._calls[node.node_id]
            self.pump()

        call.addCallbacks(connected, failed).addBoth(done)
