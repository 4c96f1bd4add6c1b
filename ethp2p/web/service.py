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
from twisted.internet.interfaces import IListeningPort

from ethp2p.web.admin import adminRegistry, registerAll
from ethp2p.web.conversation import Switchboard, refuseSubscriptions
from ethp2p.web.doorkeeper import CannotListen, Doorkeeper
from ethp2p.web.facade import Finding, INodeFacade
from ethp2p.web.household import HouseholdMethods
from ethp2p.web.http import Door, Health, Root
from ethp2p.web.metrics import Metrics
from ethp2p.web.registry import Registry
from ethp2p.web.websocket import WebSocketResource

#: That somebody reads it says it all.
_ALIVE = Finding("reactor", True, "it answers")


def nodeRegistry(facade: INodeFacade) -> Registry:
    """Every method of a node."""
    registry = adminRegistry(facade)
    registerAll(registry, HouseholdMethods(facade))
    refuseSubscriptions(registry)
    return registry


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
        self.registry = nodeRegistry(facade)
        self.root = Root(self.registry, lambda: facade.client)
        self.root.putChild(b"livez", Health(lambda: [_ALIVE]))
        self.root.putChild(b"readyz", Health(lambda: facade.readiness()))
        self.root.putChild(b"metrics", Metrics(facade))
        self._sockets = WebSocketResource(Switchboard(self.registry, facade), reactor)
        self.root.putChild(b"ws", self._sockets)
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
        self._sockets.goodbye()
        await self._doorkeeper.dismiss()

    def stopService(self) -> Deferred[None]:
        """Close the door and see everybody out.  Fires when all are gone."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())
