"""
A network of many hosts in memory, on one virtual clock.

    >>> network = MemoryNetwork(seed=1)
    >>> alice, bob = network.host("10.0.0.1"), network.host("10.0.0.2")
    >>> listening = TCP4ServerEndpoint(alice, 30303).listen(factory)
    >>> protocol = network.wait_for(TCP4ClientEndpoint(bob, "10.0.0.1", 30303).connect(other))
    >>> port = alice.listenUDP(30303, datagramProtocol)
    >>> network.advance(60.0)

A host is a reactor: hand it wherever one is asked for.  The same seed gives the same events at the same times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import attrs
from twisted.internet import interfaces
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.testing.clock import VirtualClock
from ethp2p.testing.names import HostNames
from ethp2p.testing.nat import LIFETIME, Nat, NatKind
from ethp2p.testing.packets import Link, Packet
from ethp2p.testing.tcp import Connector, Place, Port, Stream, is_ip, is_loopback
from ethp2p.testing.udp import DatagramPort

#: Bytes underway and unread in one direction of a connection before its writer must wait.
WINDOW = 65536


@implementer(
    interfaces.IReactorTime,
    interfaces.IReactorTCP,
    interfaces.IReactorUDP,
    interfaces.IReactorPluggableNameResolver,
)
class Host:
    """
    One machine.  It is the reactor of the programs on it.

    @ivar addresses: its IP addresses, the first of a family used to call from.
    @ivar alive: False once it vanished.
    @ivar plugged: whether its cable is in.
    """

    def __init__(self, network: MemoryNetwork, addresses: tuple[str, ...]) -> None:
        self.network = network
        self.addresses = addresses
        self.alive = True
        self.plugged = True
        self.ports: dict[Place, Port] = {}
        self.sockets: dict[Place, DatagramPort] = {}
        self.nameResolver = HostNames(network.names)
        self._ephemeral = 49152

    # IReactorTime

    def seconds(self) -> float:
        """The virtual time."""
        return self.network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> DelayedCall:
        """Call when C{delay} virtual seconds have passed, if this machine is there still."""
        return self.network.clock.callWhile(self, delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> list[DelayedCall]:
        """This machine's calls still to come."""
        return [call for call in self.network.clock.getDelayedCalls() if call.owner is self]  # type: ignore[attr-defined]

    # IReactorPluggableNameResolver

    def installNameResolver(self, resolver: Any) -> Any:
        """Take another resolver.  @return: the one before."""
        before, self.nameResolver = self.nameResolver, resolver
        return before

    # IReactorTCP

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """
        Listen.  @param port: 0 for any that is free.

        @raise twisted.internet.error.CannotListenError: taken, or not an address of this machine.
        """
        listening = Port(self, port, factory, interface)
        listening.startListening()
        return listening

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Connector:
        """Call C{host}, an IP address."""
        connector = Connector(self, (host, port), factory, timeout, bindAddress)
        connector.connect()
        return connector

    # IReactorUDP

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> DatagramPort:
        """
        Listen for datagrams.  @param port: 0 for any that is free.

        @param maxPacketSize: longer datagrams are cut off.
        @raise twisted.internet.error.CannotListenError: taken, or not an address of this machine.
        """
        listening = DatagramPort(self, port, protocol, interface, maxPacketSize)
        listening.startListening()
        return listening

    # the machine itself

    def source(self, destination: str) -> str:
        """The address from which this machine speaks to C{destination}."""
        if is_loopback(destination):
            return destination
        family = ":" in destination
        return next((address for address in self.addresses if (":" in address) is family), self.addresses[0])

    def ephemeral(self, taken: Iterable[Place] | None = None) -> int:
        """
        A port number to call from or to listen on.

        @param taken: what it must not be, for UDP.
        """
        taken = self.ports if taken is None else taken
        while True:
            self._ephemeral = self._ephemeral + 1 if self._ephemeral < 65535 else 49152
            if not any(port == self._ephemeral for _, port in taken):
                return self._ephemeral

    def listening(self, address: str, port: int) -> Port | None:
        """Who answers calls to C{address} and C{port}."""
        anywhere = "::" if ":" in address else "0.0.0.0"
        return self.ports.get((address, port)) or self.ports.get((anywhere, port))

    def receive(self, source: Place, destination: Place, data: bytes | None) -> None:
        """A datagram is here.  @param data: None for the word that nobody took one of ours."""
        if not self.alive:
            return
        address, number = destination
        socket = self.sockets.get(destination) or self.sockets.get(("::" if ":" in address else "0.0.0.0", number))
        if (socket is None or not socket.receive(source, data)) and data is not None:
            self.network.post(self, destination, source, None)

    def unplug(self) -> None:
        """Pull the cable: its programs go on, and no packet comes or goes."""
        self.plugged = False

    def plug(self) -> None:
        """Put the cable back: TCP sends again what did not come through."""
        self.plugged = True
        self.network.resend()

    def vanish(self) -> None:
        """
        Power off: no farewell to anybody, none of its calls comes any more, its programs are not told.  A new
        host may take its addresses, and knows nothing of the old connections.
        """
        self.alive = False
        for address in self.addresses:
            del self.network.hosts[address]

    def __repr__(self) -> str:
        return f"<Host {' '.join(self.addresses)}{'' if self.alive else ' (vanished)'}>"


class MemoryNetwork:
    """
    Hosts, the links between them, and their time.

    @ivar clock: the L{VirtualClock} of all hosts.
    @ivar rng: where all chance comes from.
    @ivar names: what host names stand for, C{{"boot.example": "10.0.0.1"}}, on every host.
    @ivar tap: None, or called with every L{Packet}.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        latency: float = 0.01,
        bandwidth: float | None = None,
        loss: float = 0.0,
        jitter: float = 0.0,
        duplication: float = 0.0,
        chop: bool = True,
        window: int = WINDOW,
        start: float = 0.0,
    ) -> None:
        """
        @param latency: seconds one way, for links that are not told otherwise.
        @param bandwidth: bytes a second, likewise; None for no limit.
        @param loss: how likely a datagram is lost, likewise; from 0 to 1.
        @param jitter: seconds that a datagram is late at most, likewise.
        @param duplication: how likely a datagram comes twice, likewise; from 0 to 1.
        @param chop: whether the pieces that arrive are cut at random bytes, as TCP may.
        @param window: bytes underway and unread in one direction of a connection.
        @param start: the virtual time now.
        """
        self.clock = VirtualClock(start)
        self.rng = Random(seed)
        self.chop = chop
        self.window = window
        self.names: dict[str, str] = {}
        self.tap: Callable[[Packet], object] | None = None
        self.hosts: dict[str, Host] = {}
        #: Streams with something underway that did not come through.
        self.stalled: dict[Stream, None] = {}
        self._default = Link(latency, bandwidth, loss=loss, jitter=jitter, duplication=duplication)
        self._loopback = Link(0.0)
        self._links: dict[tuple[str, str], Link] = {}
        self._nats: dict[str, Nat] = {}
        #: The NAT that an address is behind.
        self._behind: dict[str, Nat] = {}

    def host(self, *addresses: str) -> Host:
        """
        A new machine.

        @param addresses: its IP addresses, IPv4 or IPv6.
        """
        if not addresses:
            raise ValueError("a host needs an address")
        for address in addresses:
            if address in self.hosts or address in self._nats:
                raise ValueError(f"{address} is taken")
        host = Host(self, addresses)
        self.hosts.update(dict.fromkeys(addresses, host))
        self.resend()
        return host

    def nat(
        self,
        inside: Iterable[Host | str],
        external: str,
        kind: NatKind,
        *,
        lifetime: float = LIFETIME,
        hairpin: bool = False,
    ) -> Nat:
        """
        Put hosts behind a NAT; do so before the links are set.  Addresses inside are nobody else's either, anywhere
        on the network.

        For TCP it lets calls out and none in, and leaves the callers' addresses as they are.

        @param inside: addresses, or hosts, for those of their addresses that are of the same IP version.
        @param external: the address outside that all of them share.
        @param lifetime: seconds that a mapping lives after something was last sent out.
        @param hairpin: whether hosts inside reach each other at the outside address.
        """
        if external in self.hosts or external in self._nats:
            raise ValueError(f"{external} is taken")
        groups = [(one,) if isinstance(one, str) else one.addresses for one in inside]
        behind = [address for group in groups for address in group if (":" in address) is (":" in external)]
        for address in [external, *behind]:
            if not is_ip(address):
                raise ValueError(f"{address!r} is not an IP address")
        for address in behind:
            if address in self._behind or address in self._faces(external).values():
                raise ValueError(f"{address} is behind a NAT already, or would be behind itself")
        nat = self._nats[external] = Nat(external, kind, lifetime=lifetime, hairpin=hairpin, rng=self.rng)
        self._behind.update(dict.fromkeys(behind, nat))
        return nat

    # links

    def link(
        self,
        one: str,
        other: str,
        *,
        latency: float | None = None,
        bandwidth: float | None = None,
        loss: float | None = None,
        jitter: float | None = None,
        duplication: float | None = None,
    ) -> None:
        """
        Set how it is between two addresses, both ways; what is None stays as it is.

        The way from inside a L{NAT<nat>} to outside is that of the NAT, for all who are behind it.
        """
        settings = {"latency": latency, "bandwidth": bandwidth, "loss": loss, "jitter": jitter}
        settings["duplication"] = duplication
        for link in (self._own_link(one, other), self._own_link(other, one)):
            for name, value in settings.items():
                if value is not None:
                    setattr(link, name, value)

    def cut(self, one: str, other: str) -> None:
        """Let nothing through between two addresses.  TCP keeps what it has and waits."""
        self._own_link(one, other).up = self._own_link(other, one).up = False

    def heal(self, one: str, other: str) -> None:
        """Let everything through again."""
        self._own_link(one, other).up = self._own_link(other, one).up = True
        self.resend()

    def partition(self, one: list[str], other: list[str]) -> None:
        """Cut every link between two groups of addresses."""
        for here in one:
            for there in other:
                self.cut(here, there)

    def resend(self) -> None:
        """Something may come through again: TCP tries."""
        stalled, self.stalled = self.stalled, {}
        for stream in stalled:
            stream.resend()

    # time

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.clock.seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def run_until(self, predicate: Callable[[], object], limit: float = 60.0) -> None:
        """
        Let time pass until C{predicate()} is true, looking after every event.

        @raise TimeoutError: it is not, C{limit} virtual seconds later.
        """
        until = self.now + limit
        while not predicate():
            if not self.clock.step(until) and not predicate():
                raise TimeoutError(f"not within {limit} virtual seconds")

    def wait_for(self, deferred: Deferred[Any], limit: float = 60.0) -> Any:
        """
        Let time pass until C{deferred} fires.

        @return: its result.  Its failure is raised.
        @raise TimeoutError: it did not, C{limit} virtual seconds later.
        """
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.run_until(lambda: results, limit)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    # packets

    def find(self, source: Host, address: str) -> Host | None:
        """The machine that C{source} reaches at C{address}."""
        if is_loopback(address):
            return source
        if self._behind.get(address) not in self._faces(source.source(address)):
            return None
        return self.hosts.get(address)

    def passes(self, source: str, destination: str) -> bool:
        """Whether a packet comes through."""
        if is_loopback(destination):
            return True
        here, there = self.hosts.get(source), self.hosts.get(destination)
        if here is None or there is None or here is there:
            return here is not None and here is there
        link = self._links.get(self.ends(source, destination))
        return here.plugged and there.plugged and (link is None or link.up)

    def ends(self, one: str, other: str) -> tuple[str, str]:
        """The two ends of the link between two addresses: where they face each other."""
        if not self._behind:
            return one, other
        here, there = self._faces(one), self._faces(other)
        inmost = next(nat for nat in here if nat in there)
        return here[inmost], there[inmost]

    def carry(
        self, source: Place, destination: Place, kind: str, data: bytes, arrive: Callable[..., object], *args: Any
    ) -> None:
        """Put a packet on its way; C{arrive} is called when its time has come, whether it L{passes} or not."""
        if self.tap is not None:
            self.tap(Packet(self.now, source, destination, kind, data))
        link = self._link(*self.ends(source[0], destination[0]))
        self.clock.at(link.arrival(self.now, len(data)), arrive, *args)

    def post(self, host: Host, source: Place, destination: Place, data: bytes | None) -> None:
        """
        Put a datagram on its way, from C{host}, to come once, twice or not at all.

        @param data: None for ICMP's word that nobody took one.
        """
        now, address = self.clock.seconds(), destination[0]
        local = is_loopback(address) or address in host.addresses
        if not local:
            if not (host.alive and host.plugged):
                return
            if self._behind:
                seen = self._cross(source, destination, data is None, now)
                if seen is None:
                    return
                source = seen
        if self.tap is not None:
            self.tap(Packet(now, source, destination, "icmp" if data is None else "udp", data or b""))
        if local:
            self.clock.at(now, host.receive, source, destination, data)
            return
        link = self._link(source[0], address)
        if link.up:
            for when in link.arrivals(now, len(data or b""), self.rng):
                self.clock.at(when, self._arrive, source, destination, data)

    def _arrive(self, source: Place, destination: Place, data: bytes | None) -> None:
        link = self._links.get((source[0], destination[0]))
        if link is not None and not link.up:
            return
        while (host := self.hosts.get(destination[0])) is None:
            nat = self._nats.get(destination[0])
            inside = None if nat is None else nat.inbound(source, destination[1], self.clock.seconds())
            if inside is None:
                return
            destination = inside
        if host.plugged:
            host.receive(source, destination, data)

    def _cross(self, source: Place, destination: Place, icmp: bool, now: float) -> Place | None:
        """Out of every NAT up to where the destination is.  @return: the source, seen from there."""
        there = self._behind.get(destination[0])
        seen: Place | None = source
        while seen is not None and (nat := self._behind.get(seen[0])) is not there:
            if nat is None:
                return None  # it is behind one that the source is not behind
            seen = nat.known(seen, destination, now) if icmp else nat.outbound(seen, destination, now)
        return seen

    def _faces(self, address: str) -> dict[Nat | None, str]:
        """How an address looks from behind each NAT that it is behind, and from outside of all."""
        faces: dict[Nat | None, str] = {}
        while (nat := self._behind.get(address)) is not None:
            faces[nat] = address
            address = nat.external
        faces[None] = address
        return faces

    def _link(self, source: str, destination: str) -> Link:
        if is_loopback(destination):
            return self._loopback
        link = self._links.get((source, destination))
        if link is None and self._default.bandwidth is None:
            return self._default
        return link or self._own_link(source, destination)

    def _own_link(self, source: str, destination: str) -> Link:
        return self._links.setdefault(self.ends(source, destination), attrs.evolve(self._default))
