"""
TCP on a virtual network: ports, connectors, and streams that are Twisted's own transports over memory.

A L{Stream} is a C{twisted.internet.abstract.FileDescriptor}, as a real socket's transport is, so that buffers,
producers, half-closing and closing behave as they do in production; only the socket under it is ours.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.internet import error, interfaces
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from ethp2p.testing.network import Host

#: Seconds after which TCP gives a connection up over which nothing comes through, as Linux does.
PATIENCE = 900.0

_log = Logger()
Place = tuple[str, int]


def _address(place: Place) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in place[0] else IPv4Address)("TCP", *place)


class Mark(Enum):
    """What stands in a stream beside bytes."""

    OPEN = "ack"
    END = "fin"
    RESET = "rst"


@implementer(interfaces.ITCPTransport)
class Stream(FileDescriptor):
    """
    One end of a connection.
    """

    peer: Stream

    def __init__(self, host: Host, local: Place, remote: Place, whenLost: Callable[[Failure], object]) -> None:
        """@param whenLost: called after the protocol's C{connectionLost}."""
        super().__init__(host)  # type: ignore[arg-type]
        self.host = host
        self.local = local
        self.remote = remote
        self.protocol: Any = None
        self._network = host.network
        self._whenLost = whenLost
        self._underway: deque[bytes | Mark] = deque()  # sent and not arrived, in order
        self._missed = 0  # how many of them should have arrived by now
        self._stalls = 0  # how often it came to that
        self._unread = 0  # bytes sent and not read by the other side
        self._inbox = bytearray()
        self._ended: Mark | None = None  # what the other side ended with, once that arrived
        self._reading = self._writing = self._scheduled = self._aborting = False
        self._options: dict[str, bool] = {}

    def open(self, build: Callable[[], Any]) -> None:
        """The connection stands: C{build} gives its protocol, or None to close it again."""

        def begin() -> None:
            self.protocol = Protocol()
            self.connected = 1
            protocol = build()
            if protocol is None:
                self.loseConnection()
                return
            self.protocol = protocol
            self.startReading()
            protocol.makeConnection(self)

        self._do(begin)

    # what a FileDescriptor asks of a socket and its reactor

    def startReading(self) -> None:
        self._reading = True
        self._wake()

    def stopReading(self) -> None:
        self._reading = False

    def startWriting(self) -> None:
        self._writing = True
        self._wake()

    def stopWriting(self) -> None:
        self._writing = False

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self._ended is Mark.RESET:
            return CONNECTION_LOST
        piece = bytes(data[: max(0, self._network.window - self._unread)])
        if piece:
            self._unread += len(piece)
            self._send(piece)
        return len(piece)

    def doRead(self) -> BaseException | None:
        if not self._inbox:
            return CONNECTION_DONE if self._ended is Mark.END else CONNECTION_LOST
        size = min(len(self._inbox), self.bufferSize)
        if self._network.chop:
            size = self._network.rng.randint(1, size)
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        self.peer._taken(size)
        self.protocol.dataReceived(data)
        return None

    def readConnectionLost(self, reason: Failure) -> None:
        """The other side will send no more; a protocol that cannot live with half a connection loses it."""
        half = interfaces.IHalfCloseableProtocol(self.protocol, None)
        if half is None:
            self.connectionLost(reason)
        else:
            half.readConnectionLost()

    def _closeWriteConnection(self) -> None:
        self._send(Mark.END)
        half = interfaces.IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            half.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """Leave, in order or not, and tell the protocol.  Only the first call counts."""
        if self.disconnected:
            return
        super().connectionLost(reason)
        if self._ended is not Mark.RESET:
            if reason.type is error.ConnectionAborted:
                self._send(Mark.RESET)
            elif not self._writeDisconnected:
                self._send(Mark.END)
        self._inbox.clear()
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)
        self._whenLost(reason)

    # ITCPTransport

    def abortConnection(self) -> None:
        """Reset the connection, whatever waits to be sent; the protocol hears of it in the next turn."""
        if self.disconnected or self._aborting:
            return
        self._aborting = True
        reason = Failure(error.ConnectionAborted())
        self.host.callLater(0, self._do, lambda: self.connectionLost(reason))

    def getHost(self) -> IPv4Address | IPv6Address:
        """This side's address."""
        return _address(self.local)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The other side's address."""
        return _address(self.remote)

    def getTcpNoDelay(self) -> bool:
        """What was set; it changes nothing here."""
        return self._options.get("nodelay", False)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember."""
        self._options["nodelay"] = enabled

    def getTcpKeepAlive(self) -> bool:
        """What was set; it changes nothing here."""
        return self._options.get("keepalive", False)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remember."""
        self._options["keepalive"] = enabled

    def __repr__(self) -> str:
        return f"<Stream {self.local[0]}:{self.local[1]} to {self.remote[0]}:{self.remote[1]}>"

    # turns

    def _readable(self) -> bool:
        return self._reading and not self._aborting and (bool(self._inbox) or self._ended is not None)

    def _writable(self) -> bool:
        if not self._writing or self._aborting:
            return False
        waiting = self.dataBuffer or self._tempDataBuffer
        return not waiting or self._unread < self._network.window or self._ended is Mark.RESET

    def _wake(self) -> None:
        if not self._scheduled and (self._writable() or self._readable()):
            self._scheduled = True
            self._network.clock.at(self._network.now, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if not self.host.alive:
            return
        if self._writable():
            self._do(self.doWrite)
        if self._readable():
            self._do(self.doRead)
        self._wake()

    def _do(self, work: Callable[[], BaseException | None]) -> None:
        """As reactors call descriptors: what is returned or raised ends the connection."""
        why = None
        with _log.failuresHandled("Unhandled error on {stream}", stream=self) as raised:
            why = work()
        reason = raised.failure if raised.failure is not None or why is None else Failure(why)
        if reason is not None:
            with _log.failuresHandled("Unhandled error in connectionLost on {stream}", stream=self):
                if work == self.doRead and reason.type is error.ConnectionDone:
                    self.stopReading()
                    self.readConnectionLost(reason)
                else:
                    self.connectionLost(reason)

    # segments

    def _send(self, segment: bytes | Mark) -> None:
        self._underway.append(segment)
        kind, data = ("data", segment) if isinstance(segment, bytes) else (segment.value, b"")
        self._network.carry(self.local, self.remote, kind, data, self._arrive)

    def _arrive(self) -> None:
        """The time has come for one more segment; it is the oldest, so that order is kept whatever happens."""
        network = self._network
        if not self._underway:
            return
        if not self.host.alive:
            self._underway.clear()
        elif not network.passes(self.local[0], self.remote[0]):
            if not self._missed:
                network.stalled[self] = None
                self._stalls += 1
                network.clock.at(network.now + PATIENCE, self._give_up, self._stalls)
            self._missed += 1
        else:
            segment = self._underway.popleft()
            if not self.peer._accept(segment) and segment is not Mark.RESET:
                network.carry(self.remote, self.local, Mark.RESET.value, b"", self._refused)

    def resend(self) -> None:
        """Something may come through again."""
        missed, self._missed = self._missed, 0
        for _ in range(missed):
            self._network.clock.at(self._network.now, self._arrive)

    def _give_up(self, stall: int) -> None:
        if self._missed and stall == self._stalls:
            self._underway.clear()
            self._missed = 0
            self._network.stalled.pop(self, None)
            if not self.disconnected and self.host.alive:
                self._do(lambda: CONNECTION_LOST)

    def _accept(self, segment: bytes | Mark) -> bool:
        """@return: False when there is no such connection at this end (any more)."""
        if self.disconnected or not self.host.alive:
            return segment is Mark.END
        if segment is Mark.OPEN:
            return self._accept_connection()
        if isinstance(segment, bytes):
            self._inbox += segment
        else:
            self._ended = segment
        self._turn()
        return True

    def _accept_connection(self) -> bool:
        port = self.host.listening(*self.local)
        if port is None:
            self.disconnected = 1
            return False
        self.open(lambda: port.factory.buildProtocol(self.getPeer()))
        return True

    def _refused(self) -> None:
        if not self.disconnected and self._network.passes(self.remote[0], self.local[0]):
            self._ended = Mark.RESET
            self._wake()

    def _taken(self, size: int) -> None:
        self._unread -= size
        self._wake()


@implementer(interfaces.IListeningPort)
class Port:
    """
    Where a factory's protocols are called.
    """

    def __init__(self, host: Host, port: int, factory: Any, interface: str) -> None:
        self.factory = factory
        self._host = host
        self._place = (interface or "0.0.0.0", port)

    def startListening(self) -> None:
        """
        Begin.

        @raise error.CannotListenError: the port is taken, or the interface is not one of this host's.
        """
        interface, number = self._place
        anywhere = interface in ("0.0.0.0", "::")
        number = number or self._host.ephemeral()
        problem = 0
        if not anywhere and interface not in self._host.addresses and not is_loopback(interface):
            problem = errno.EADDRNOTAVAIL
        for other, taken in self._host.ports:
            alike = (":" in other) is (":" in interface)
            if taken == number and alike and (anywhere or other in (interface, "0.0.0.0", "::")):
                problem = errno.EADDRINUSE
        if problem:
            refusal = OSError(problem, os.strerror(problem))
            raise error.CannotListenError(interface, number, refusal)
        self._place = (interface, number)
        self._host.ports[self._place] = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """End; connections that stand go on."""
        if self._host.ports.pop(self._place, None) is not None:
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it listens."""
        return _address(self._place)

    def __repr__(self) -> str:
        return f"<Port {self._place[0]}:{self._place[1]}>"


@implementer(interfaces.IConnector)
class Connector(BaseConnector):
    """
    Calls a port.
    """

    def __init__(self, machine: Host, destination: Place, factory: Any, timeout: float, bindAddress: Any) -> None:
        super().__init__(factory, timeout, machine)  # type: ignore[arg-type]
        self.host, self.port = destination
        self.bindAddress = bindAddress
        self._machine = machine

    def _makeTransport(self) -> Any:
        return Attempt(self, self._machine)

    def getDestination(self) -> IPv4Address | IPv6Address:
        """Who is called."""
        return _address((self.host, self.port))


class Attempt:
    """
    A connection on its way: SYN, its answer, and then a L{Stream} in its place.
    """

    def __init__(self, connector: Connector, host: Host) -> None:
        self._connector = connector
        self._host = host
        self._network = host.network
        self._done = False
        bound, port = connector.bindAddress or ("", 0)
        self._remote = (connector.host, connector.port)
        self._local = (bound or host.source(connector.host), port or host.ephemeral())
        if is_ip(connector.host):
            self._call(1.0)
        else:
            unknown = error.DNSLookupError(f"{connector.host} is not an IP address")
            self._network.clock.at(self._network.now, self.failIfNotConnected, unknown)

    def failIfNotConnected(self, why: BaseException) -> None:
        """Give up, if it is not too late for that."""
        if not self._done:
            self._done = True
            self._connector.connectionFailed(Failure(why))

    def _call(self, patience: float) -> None:
        if self._done or not self._host.alive:
            return
        network = self._network
        network.carry(self._local, self._remote, "syn", b"", self._called)
        network.clock.at(network.now + patience, self._call, 2 * patience)  # the packet or its answer may be lost

    def _called(self) -> None:
        network = self._network
        there = network.find(self._host, self._remote[0])
        if there is None or not network.passes(self._local[0], self._remote[0]):
            return
        answer = "rst" if there.listening(*self._remote) is None else "syn-ack"
        network.carry(self._remote, self._local, answer, b"", self._answered, there, answer)

    def _answered(self, there: Host, answer: str) -> None:
        if self._done or not self._host.alive or not self._network.passes(self._remote[0], self._local[0]):
            return
        if answer == "rst":
            self.failIfNotConnected(error.ConnectionRefusedError())
            return
        self._done = True
        connector = self._connector
        ours = Stream(self._host, self._local, self._remote, connector.connectionLost)
        theirs = Stream(there, self._remote, self._local, lambda reason: None)
        ours.peer, theirs.peer = theirs, ours
        ours._send(Mark.OPEN)
        connector.transport = ours  # type: ignore[assignment]
        ours.open(lambda: connector.buildProtocol(ours.getPeer()))


def is_ip(text: str) -> bool:
    """Whether this is an IP address and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an address means the machine itself."""
    return address == "::1" or address.startswith("127.")
