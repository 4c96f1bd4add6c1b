"""
A program that answers JSON-RPC on a virtual network, over HTTP and as a unix socket would.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from ethp2p.testing.network import MemoryNetwork
from ethp2p.web.registry import Registry

ADDRESS = "10.0.0.1"
#: Where it answers over HTTP.
URL = f"http://{ADDRESS}:8650/"
#: Where the unix sockets are: a port of TCP for each path, as a virtual network has none of them.
SOCKETS = 9000


class _Page(Resource):
    isLeaf = True

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def render_POST(self, request: Any) -> Any:
        assert request.getHeader("content-type") == "application/json"
        self._registry.answer(request.content.read()).addCallback(request.write).addCallback(lambda _: request.finish())
        return NOT_DONE_YET


class _Socket(Protocol):
    factory: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard += data
        try:
            json.loads(self.factory.heard)
        except ValueError:
            return
        self.factory.registry.answer(bytes(self.factory.heard)).addCallback(self.transport.write)  # type: ignore[union-attr]
        self.factory.heard.clear()


class Fixed(Protocol):
    """Says one thing whatever it hears, and hangs up if it is told to."""

    def __init__(self, answer: bytes, last: bool = False) -> None:
        self._answer, self._last = answer, last

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self._answer)
        self._answer = b""
        if self._last:
            self.transport.loseConnection()


class Answering:
    """
    The machine that asks, C{host}, and the one that answers.

    @ivar calls: what was asked, as method and parameters.
    @ivar results: what to answer by method; what is called if it can be.
    """

    def __init__(self) -> None:
        self.network = MemoryNetwork(chop=True)
        self.host: Any = self.network.host("10.0.0.9")
        self.host.connectUNIX = self._connectUNIX
        self._server = self.network.host(ADDRESS)
        self._paths: dict[str, int] = {}
        self.calls: list[tuple[str, list[Any]]] = []
        self.results: dict[str, Any] = {}

    def registry(self) -> Registry:
        made = Registry()
        for name, result in self.results.items():
            made.register(name, self._method(name, result))
        return made

    def _method(self, name: str, result: Any) -> Callable[..., Any]:
        def method(*params: Any) -> Any:
            self.calls.append((name, list(params)))
            return result(*params) if callable(result) else result

        return method

    def serve(self) -> None:
        """Over HTTP, at L{URL}."""
        site = Site(_Page(self.registry()), reactor=self._server)
        site.noisy = site.displayTracebacks = False
        site.log = lambda request: None
        self._server.listenTCP(8650, site)

    def serveSocket(self, path: str) -> None:
        """As a unix socket at C{path}."""
        factory: Any = Factory.forProtocol(_Socket)
        factory.registry, factory.heard = self.registry(), bytearray()
        self.listen(path, factory)

    def listen(self, path: str | int, factory: Any) -> None:
        """Anything, at a unix socket or a TCP port."""
        factory.noisy = False
        if isinstance(path, str):
            path = self._paths.setdefault(path, SOCKETS + len(self._paths))
        self._server.listenTCP(path, factory)

    def say(self, path: str | int, answer: bytes, last: bool = False) -> None:
        """The same to everybody."""
        self.listen(path, Factory.forProtocol(lambda: Fixed(answer, last)))

    def _connectUNIX(self, path: Any, factory: Any, timeout: float, checkPID: bool = False) -> Any:
        return self.host.connectTCP(ADDRESS, self._paths.get(os.fsdecode(path), 1), factory, timeout)

    def with_reactor(self, function: Callable[[Any], Deferred[Any]]) -> Any:
        """In place of L{ethp2p.cli.running.with_reactor}."""
        return self.network.wait_for(function(self.host), 3600.0)
