"""
The UDP port of a reactor that waits for sockets: Twisted's, made fit for many small datagrams.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.udp import Port
from twisted.logger import Logger

#: Most datagrams read in one turn of the reactor.  Answers to the first wait for the last: 1 ms when they are small
#: questions of discv5, 8 ms when they are of discv4.
MAX_READ = 64


class DiscoveryPort(Port):
    """
    Its protocol is a L{DiscoveryProtocol<ethp2p.discovery.protocol.DiscoveryProtocol>}, and is given what has come
    since the last time in one call.  What follows from it is then seen to once: that is 5 us less for each datagram,
    nearly half of it because whoever waits for several answers is woken once.

    A port of IPv6 is of IPv6 alone, so that one of IPv4 can have the same number.
    """

    _log = Logger()

    def createInternetSocket(self) -> Any:
        """The socket, not yet bound."""
        made = super().createInternetSocket()
        if self.addressFamily == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return made

    def doRead(self) -> None:
        """Read what there is, and what comes meanwhile: a turn of the reactor costs as much as an answer."""
        left = MAX_READ
        while left and self.connected:
            datagrams = self._read(left)
            if not datagrams:
                break
            left -= len(datagrams)
            with self._log.failuresHandled("discovery could not take {number} datagrams", number=len(datagrams)):
                self.protocol.datagramsReceived(datagrams)

    def _read(self, most: int) -> list[tuple[bytes, Any]]:
        datagrams: list[tuple[bytes, Any]] = []
        receive, size = self.socket.recvfrom, self.maxPacketSize
        # There is nothing more to read; or a host that something was sent to says that nobody is there.
        with suppress(BlockingIOError, InterruptedError, ConnectionError):
            for _ in range(most):
                datagrams.append(receive(size))
        return datagrams

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send.  Twisted looks at each address five times first, which costs as much as sending does.

        @param addr: an IP address of the socket's family, and a port.
        @raise OSError: the system refuses.
        """
        self.socket.sendto(datagram, addr)
