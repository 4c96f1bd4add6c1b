"""
The service that lets peers in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from ethp2p.errors import P2PError


class CannotListen(P2PError):
    """Peers cannot call us at this address."""


class ListenService(Service):
    """
    Listens on every endpoint, or on none: one that cannot be had stops the others and is told.

    @ivar started: fires once all are listening, with their ports; fails with L{CannotListen}.  Another one for each
        start.
    """

    def __init__(self, endpoints: Sequence[IStreamServerEndpoint], factory: IProtocolFactory) -> None:
        self._endpoints = endpoints
        self._factory = factory
        self.ports: list[IListeningPort] = []
        self.started: Deferred[list[IListeningPort]] = Deferred()

    def startService(self) -> None:
        """Begin to listen."""
        super().startService()
        if self.started.called:
            self.started = Deferred()
        Deferred.fromCoroutine(self._listen()).chainDeferred(self.started)

    async def _listen(self) -> list[IListeningPort]:
        for endpoint in self._endpoints:
            try:
                self.ports.append(await endpoint.listen(self._factory))
            except CannotListenError as error:
                await self.stopService()
                why = getattr(error.socketError, "strerror", None) or error.socketError
                raise CannotListen(f"cannot listen on {error.interface or '*'}:{error.port}: {why}") from None
        return self.ports

    def stopService(self) -> Deferred[Any]:
        """Let nobody in any more.  Fires when every port is closed."""
        super().stopService()
        ports, self.ports = self.ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])
