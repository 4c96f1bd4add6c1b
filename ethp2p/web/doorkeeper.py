"""
Who looks in at one time: counted at the door, and seen out at the end.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IProtocol, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.errors import P2PError

#: Most connections at one time, WebSockets among them.
MAX_CONNECTIONS = 128
#: Seconds that a client which has nothing more to say has for its answer.  It may as well be gone: nobody can tell.
PATIENCE = 60.0
#: Seconds that a stopping server gives its clients to read what they asked for.
GOODBYE = 1.0


class CannotListen(P2PError):
    """The windows cannot be opened at this address."""


@implementer(IHalfCloseableProtocol)
class Visitor(ProtocolWrapper):
    """
    One connection.
    """

    _end: IDelayedCall | None = None

    def readConnectionLost(self) -> None:
        """They have nothing more to say, as at the end of a pipe, but may wait for the answer."""
        if self._end is None:
            factory: Any = self.factory
            self._end = factory.reactor.callLater(PATIENCE, lambda: self.abortConnection())
        protocol: Any = self.wrappedProtocol
        protocol.readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        if self._end is not None and self._end.active():
            self._end.cancel()
        super().connectionLost(reason)

    def writeConnectionLost(self) -> None:
        """Never: we do not close our half alone."""

    def upgrade(self, protocol: IProtocol) -> None:
        """Speak another protocol from now on."""
        self.unregisterProducer()
        self.wrappedProtocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]  # as good as a transport, through its own


class Doorkeeper(WrappingFactory):
    """
    Counts who comes in, so that nobody takes all our sockets, and sees everybody out.
    """

    noisy = False
    protocol = Visitor

    def __init__(self, door: IProtocolFactory, reactor: Any) -> None:
        super().__init__(door)
        self.reactor = reactor
        self._empty: Deferred[None] | None = None

    def logPrefix(self) -> str:
        """What twistd's log calls what listens."""
        return "window"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """None, which closes the connection, when there are L{MAX_CONNECTIONS}."""
        return None if len(self.protocols) >= MAX_CONNECTIONS else super().buildProtocol(addr)

    def unregisterProtocol(self, p: Protocol) -> None:
        """One has left."""
        super().unregisterProtocol(p)
        if not self.protocols and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def dismiss(self) -> Deferred[None]:
        """Close every connection.  Fires when the last is gone, at most L{GOODBYE} seconds later."""
        done: Deferred[None] = Deferred()
        if not self.protocols:
            done.callback(None)
            return done
        self._empty = done
        last = self.reactor.callLater(GOODBYE, self._abort)
        for protocol in tuple(self.protocols):
            if not protocol.disconnecting:
                protocol.unregisterProducer()
                protocol.loseConnection()
        return done.addBoth(lambda _: last.cancel() if last.active() else None)

    def _abort(self) -> None:
        for protocol in tuple(self.protocols):
            protocol.abortConnection()
