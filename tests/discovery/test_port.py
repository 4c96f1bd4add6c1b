"""
The UDP port, over a socket played by hand.
"""

from __future__ import annotations

from collections import deque
from socket import IPPROTO_IPV6, IPV6_V6ONLY, has_ipv6
from typing import Any
from unittest import skipUnless

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.port import MAX_READ, DiscoveryPort

HERE = ("9.0.0.2", 30303)


class Datagrams(DatagramProtocol):
    """
    Takes them.

    @ivar batches: those that came in one call.
    @ivar during: called then.
    """

    def __init__(self) -> None:
        self.batches: list[list[tuple[bytes, Any]]] = []
        self.during: Any = lambda: None

    def datagramsReceived(self, datagrams: list[tuple[bytes, Any]]) -> None:
        self.batches.append(datagrams)
        self.during()


class Socket:
    """What comes is said beforehand: datagrams, and errors."""

    def __init__(self) -> None:
        self.coming: deque[bytes | OSError] = deque()
        self.sent: list[tuple[bytes, Any]] = []
        self.sizes: set[int] = set()

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        self.sizes.add(size)
        if not self.coming:
            raise BlockingIOError
        datagram = self.coming.popleft()
        if isinstance(datagram, OSError):
            raise datagram
        return datagram, HERE

    def sendto(self, datagram: bytes, addr: Any) -> None:
        if addr[1] == 9:
            raise PermissionError
        self.sent.append((datagram, addr))


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.protocol = Datagrams()
        self.port = DiscoveryPort(30303, self.protocol, "9.0.0.1", 2048, None)
        self.socket = Socket()
        self.port.socket = self.socket
        self.port.connected = True

    def read(self, *coming: bytes | OSError) -> list[list[bytes]]:
        """@return: what the protocol was given."""
        self.socket.coming.extend(coming)
        self.protocol.batches.clear()
        self.port.doRead()
        self.assertTrue(all(addr == HERE for batch in self.protocol.batches for _, addr in batch))
        return [[datagram for datagram, _ in batch] for batch in self.protocol.batches]

    def test_together(self) -> None:
        """What has come is given in one call."""
        self.assertEqual(self.read(b"one", b"two", b""), [[b"one", b"two", b""]])
        self.assertEqual(self.read(), [])
        self.assertEqual(self.socket.sizes, {2048})

    def test_meanwhile(self) -> None:
        """What comes while that is seen to is read in the same turn."""
        more = deque([b"two", b"three"])
        self.protocol.during = lambda: self.socket.coming.append(more.popleft()) if more else None
        self.assertEqual(self.read(b"one"), [[b"one"], [b"two"], [b"three"]])

    def test_most(self) -> None:
        """A flood leaves time for the rest, whether it was there or comes meanwhile."""
        self.assertEqual([len(batch) for batch in self.read(*[b"x"] * 3 * MAX_READ)], [MAX_READ])
        self.assertEqual(len(self.socket.coming), 2 * MAX_READ)
        self.socket.coming.clear()
        self.protocol.during = lambda: self.socket.coming.append(b"x")
        self.assertEqual(len(self.read(b"x")), MAX_READ)

    def test_stopped_meanwhile(self) -> None:
        """A protocol that closes the port reads no more."""

        def stop() -> None:
            self.port.connected = False
            self.socket.coming.append(b"two")

        self.protocol.during = stop
        self.assertEqual(self.read(b"one"), [[b"one"]])

    def test_nobody_there(self) -> None:
        """That somebody we wrote to is not there, or says so, ends nothing."""
        for error in (ConnectionRefusedError(), ConnectionResetError(), InterruptedError()):
            self.assertEqual(self.read(b"one", error), [[b"one"]])
        self.assertEqual(self.read(ConnectionRefusedError(), b"one"), [])
        self.assertEqual(self.read(), [[b"one"]])

    def test_broken(self) -> None:
        """A socket that does not work is the reactor's to close."""
        self.socket.coming.append(OSError(5, "broken"))
        self.assertRaises(OSError, self.port.doRead)

    def test_protocol_fails(self) -> None:
        """It is logged, and the port goes on."""

        def fail() -> None:
            raise ZeroDivisionError

        self.protocol.during = fail
        self.read(b"one")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.protocol.during = lambda: None
        self.assertEqual(self.read(b"two"), [[b"two"]])

    def test_write(self) -> None:
        self.port.write(b"one", HERE)
        self.assertEqual(self.socket.sent, [(b"one", HERE)])
        self.assertRaises(OSError, self.port.write, b"two", ("9.0.0.1", 9))

    @skipUnless(has_ipv6, "no IPv6 here")
    def test_ip6_alone(self) -> None:
        """A socket of IPv6 leaves the port to one of IPv4."""
        made = DiscoveryPort(0, self.protocol, "::", 2048, None).createInternetSocket()
        self.addCleanup(made.close)
        self.assertEqual(made.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY), 1)
