"""
UDP on a virtual network: ports that behave as Twisted's own, over links that lose, delay and double datagrams.

What a real socket refuses is refused here: datagrams that are too long, the wrong family, port 0, and a way
outside from a port that is bound to loopback.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from twisted.internet import error, interfaces
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ethp2p.testing.tcp import Place, is_loopback

if TYPE_CHECKING:
    from ethp2p.testing.network import Host

#: Most bytes in a datagram, by IP version: 65,535 less the headers that count.
MAX_DATAGRAM = {4: 65507, 6: 65527}


@lru_cache(maxsize=65536)
def _version(address: str) -> int:
    return 4 if isIPAddress(address) else 6 if isIPv6Address(address) else 0


def _problem(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@implementer(interfaces.IListeningPort, interfaces.IUDPTransport)
class DatagramPort:
    """
    Where a protocol's datagrams come and go.  IPv4 and IPv6 are apart, also on C{0.0.0.0} and C{::}.
    """

    def __init__(self, host: Host, port: int, protocol: Any, interface: str, maxPacketSize: int) -> None:
        """@raise error.InvalidAddressError: the interface is not an IP address."""
        self.protocol = protocol
        self.maxPacketSize = maxPacketSize
        self._host = host
        self._place: Place = (interface or "0.0.0.0", port)
        self._version = _version(self._place[0])
        if not self._version:
            raise error.InvalidAddressError(interface, "not an IPv4 or IPv6 address.")
        self._longest = MAX_DATAGRAM[self._version]
        self._outside: Place | None = None  # what datagrams to other machines come from
        self._remote: Place | None = None
        self._broadcast = False
        self._stopping: Deferred[None] | None = None

    # IListeningPort

    def startListening(self) -> None:
        """
        Begin.

        @raise error.CannotListenError: the port is taken, or the interface is not one of this host's.
        """
        host, (interface, number) = self._host, self._place
        anywhere = interface in ("0.0.0.0", "::")
        number = number or host.ephemeral(host.sockets)
        problem = 0
        if not anywhere and interface not in host.addresses and not is_loopback(interface):
            problem = errno.EADDRNOTAVAIL
        for other, taken in host.sockets:
            alike = _version(other) == self._version
            if taken == number and alike and (anywhere or other in (interface, "0.0.0.0", "::")):
                problem = errno.EADDRINUSE
        if problem:
            raise error.CannotListenError(interface, number, _problem(problem))
        ours = host.addresses if anywhere else () if is_loopback(interface) else (interface,)
        self._outside = next(((address, number) for address in ours if _version(address) == self._version), None)
        self._place = (interface, number)
        host.sockets[self._place] = self
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None] | None:
        """End: no datagram comes any more, and in the next turn the port is free and the protocol hears of it."""
        if self._host.sockets.get(self._place) is not self or self._stopping is not None:
            return None
        self._stopping = Deferred()
        self._host.callLater(0, self._stopped)
        return self._stopping

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it listens."""
        return (IPv4Address if self._version == 4 else IPv6Address)("UDP", *self._place)

    # IUDPTransport

    def write(self, packet: bytes, addr: Place | None = None) -> None:
        """
        Send a datagram.

        @param addr: an IP address and a port; may be None when connected.
        @raise error.MessageLengthError: more than L{MAX_DATAGRAM}.
        @raise error.InvalidAddressError: a name, or an address of the other family.
        @raise OSError: a real socket would not send this either.
        """
        remote = self._remote
        if remote is not None:
            assert addr in (None, remote), "connected to somebody else"
            addr = remote
        assert addr is not None, "to whom?"
        source = self._source(addr)
        if type(packet) is not bytes:
            packet = bytes(memoryview(packet))
        if len(packet) > self._longest:
            raise error.MessageLengthError("message too long")
        self._host.network.post(self._host, source, addr, packet)

    def writeSequence(self, seq: list[bytes], addr: Place | None = None) -> None:
        """Send a datagram that is in pieces."""
        self.write(b"".join(seq), addr)

    def connect(self, host: str, port: int) -> None:
        """
        Speak with nobody else from now on, and hear when there is nobody.

        @raise RuntimeError: connected already.
        @raise error.InvalidAddressError: a name, or an address of the other family.
        """
        if self._remote is not None:
            raise RuntimeError("already connected, reconnecting is not currently supported")
        place = self._source((host, port))
        del self._host.sockets[self._place]
        self._host.sockets[place] = self
        self._place, self._remote = place, (host, port)

    def getBroadcastAllowed(self) -> bool:
        """What was set; there is no broadcast here."""
        return self._broadcast

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Remember."""
        self._broadcast = bool(enabled)

    # what the host calls

    def receive(self, source: Place, data: bytes | None) -> bool:
        """
        A datagram came; None says that nobody took one of ours.

        @return: False when it is not for this port.
        """
        if self._remote is not None and self._remote != source:
            return False
        if self._stopping is None:
            if data is None:
                if self._remote is not None:
                    self.protocol.connectionRefused()
            else:
                self.protocol.datagramReceived(data[: self.maxPacketSize], source)
        return True

    def _source(self, destination: Place) -> Place:
        address, number = destination
        if _version(address) != self._version:
            raise error.InvalidAddressError(address, f"an IPv{self._version} port writes to IPv{self._version} only")
        if self._host.sockets.get(self._place) is not self:
            raise _problem(errno.EBADF)
        if not number:
            raise _problem(errno.EINVAL)
        if is_loopback(address):
            bound, port = self._place
            return (address, port) if bound in ("0.0.0.0", "::") else self._place
        if self._outside is None:
            raise _problem(errno.EINVAL if is_loopback(self._place[0]) else errno.ENETUNREACH)
        return self._outside

    def _stopped(self) -> None:
        stopping, self._stopping = self._stopping, None
        del self._host.sockets[self._place]
        self._remote = None
        self.protocol.doStop()
        assert stopping is not None
        stopping.callback(None)

    def __repr__(self) -> str:
        return f"<DatagramPort {self._place[0]}:{self._place[1]}>"
