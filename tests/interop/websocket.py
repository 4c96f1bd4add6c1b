"""
A subscriber to a node's events over its WebSocket.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

#: Seconds for one answer, or one event that is due.
PATIENCE = 20.0


class Subscriber(Protocol):
    """
    One subscription, made with L{subscribe}.
    """

    def __init__(self, url: str, namespace: str, topic: str) -> None:
        self._url = urlsplit(url)
        self._call = {"jsonrpc": "2.0", "id": 1, "method": f"{namespace}_subscribe", "params": [topic]}
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        self._events: DeferredQueue[dict[str, Any]] = DeferredQueue()
        #: Fires once the other side has said that it will tell.
        self.begun: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        """Shake hands."""
        self._send(Request(host=self._url.netloc, target=self._url.path or "/"))

    def dataReceived(self, data: bytes) -> None:
        """Frames, chopped anywhere."""
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, AcceptConnection):
                self._send(TextMessage(json.dumps(self._call)))
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    self._heard(json.loads(text))

    def _send(self, event: Any) -> None:
        assert self.transport is not None
        self.transport.write(self._frames.send(event))

    def _heard(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self._events.put(message["params"]["result"])
        elif "result" in message:
            self.begun.callback(message["result"])
        else:
            self.begun.errback(AssertionError(f"not subscribed: {message}"))

    def next(self) -> Deferred[dict[str, Any]]:
        """The next event."""
        return self._events.get().addTimeout(PATIENCE, reactor)

    async def stop(self) -> None:
        """Hang up."""
        assert self.transport is not None
        self.transport.abortConnection()


async def subscribe(url: str, namespace: str, topic: str) -> Subscriber:
    """
    @param url: C{ws://...}.
    @return: once the other side has agreed to tell.
    """
    where = urlsplit(url)
    factory = Factory.forProtocol(lambda: Subscriber(url, namespace, topic))
    factory.noisy = False
    connecting: Deferred[Subscriber] = TCP4ClientEndpoint(reactor, where.hostname, where.port).connect(factory)
    subscriber = await connecting.addTimeout(PATIENCE, reactor)
    await subscriber.begun.addTimeout(PATIENCE, reactor)
    return subscriber
