"""
The windows as a service.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import WrappingFactory

from ethp2p.errors import P2PError
from ethp2p.web.admin import adminRegistry
from ethp2p.web.facade import INodeFacade
from ethp2p.web.http import Door, Health, Root

#: Most connections at one time.
MAX_CONNECTIONS = 128
#: Seconds that a stopping server gives its clients to read what they asked for.
GOODBYE = 1.0


class Doorkeeper(WrappingFactory):
    """
    Counts who comes in, so that nobody takes all our sockets, and sees everybody out.
    """

    noisy = False

    def __init__(self, door: Door, reactor: Any) -> None:
        super().__init__(door)
        self._reactor = reactor
        self._empty: Deferred[None] | None = None

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
        last = self._reactor.callLater(GOODBYE, self._abort)
        for protocol in tuple(self.protocols):
            protocol.unregisterProducer()
            protocol.loseConnection()
        return done.addBoth(lambda _: last.cancel() if last.active() else None)

    def _abort(self) -> None:
        for protocol in tuple(self.protocols):
            protocol.abortConnection()


class CannotListen(P2PError):
    """The windows cannot be opened at this address."""


class WebService(Service):
    """
    Listens, and answers for a node.

    @ivar registry: the methods that can be called; more may be registered.
    @ivar root: the resource of C{/}; more may be put beside it.
    @ivar started: fires with L{url} once it listens; fails with L{CannotListen}.
    """

    def __init__(self, endpoint: str, facade: INodeFacade, reactor: Any) -> None:
        """
        @param endpoint: where to listen, a Twisted server endpoint as text.
        """
        self.endpoint = endpoint
        self.registry = adminRegistry(facade)
        self.root = Root(self.registry, lambda: facade.client)
        self.root.putChild(b"livez", Health(lambda: True))
        self.root.putChild(b"readyz", Health(lambda: facade.listening))
        self.started: Deferred[str] = Deferred()
        self._reactor = reactor
        self._doorkeeper = Doorkeeper(Door(self.root, reactor), reactor)
        self._port: IListeningPort | None = None

    @property
    def url(self) -> str:
        """Where to ask, as a browser takes it (for a unix socket the endpoint); empty when not listening."""
        if self._port is None:
            return ""
        address = self._port.getHost()
        if not isinstance(address, (IPv4Address, IPv6Address)):
            return self.endpoint
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        return f"http://[{host}]:{address.port}/" if ":" in host else f"http://{host}:{address.port}/"

    def startService(self) -> None:
        """Begin to listen."""
        super().startService()
        Deferred.fromCoroutine(self._listen()).chainDeferred(self.started)

    async def _listen(self) -> str:
        try:
            self._port = await serverFromString(self._reactor, self.endpoint).listen(self._doorkeeper)
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or error.socketError
            raise CannotListen(f"cannot listen on {self.endpoint}: {why}") from None
        return self.url

    async def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._doorkeeper.dismiss()

    def stopService(self) -> Deferred[None]:
        """Close the door and see everybody out.  Fires when all are gone, L{GOODBYE} seconds later at most."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())
