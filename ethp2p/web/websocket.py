"""
C{/ws}: a conversation over a WebSocket.

Source: RFC 6455.  The frames are wsproto's.  Twisted's own C{WebSocketResource} is not used: it gathers a message
without end, so that one visitor could fill the memory.  No extension is accepted, compression neither: a small
message cannot become a large one.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from ethp2p.web.conversation import Switchboard
from ethp2p.web.doorkeeper import Visitor
from ethp2p.web.http import MAX_BODY, BoundedRequest, textPage
from ethp2p.web.line import StreamLine

#: Seconds between two pings.  Who has sent nothing at all from one to the next is gone.
PING = 30.0


class WebSocketLine(StreamLine):
    """
    One WebSocket.
    """

    def __init__(self, switchboard: Switchboard, reactor: Any, sockets: set[WebSocketLine]) -> None:
        super().__init__(switchboard, reactor)
        self._frames = Connection(ConnectionType.SERVER)
        self._message = bytearray()
        self._full = False
        self._unanswered: Ping | None = None
        self._alive = True
        self._pinging: IDelayedCall | None = None
        self._sockets = sockets

    def connectionMade(self) -> None:
        """It is open: the handshake is done."""
        super().connectionMade()
        self._sockets.add(self)
        self._pinging = self._reactor.callLater(PING, self._ping)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is closed."""
        super().connectionLost(reason)
        self._sockets.discard(self)
        self._stopPinging()

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """It is not any more."""
        self._full = False
        super().resumeProducing()
        if self._unanswered is not None and not self.closing:
            self._pong(self._unanswered)

    def _pong(self, ping: Ping) -> None:
        """While the transport is full, only the newest is kept to be answered (RFC 6455, section 5.5.3)."""
        self._unanswered = ping if self._full else None
        if not self._full:
            self._wire.write(self._frames.send(ping.response()))

    def _stopPinging(self) -> None:
        if self._pinging is not None and self._pinging.active():
            self._pinging.cancel()

    def _ping(self) -> None:
        if not self._alive:
            self._wire.abortConnection()
            return
        self._alive = False
        self._wire.write(self._frames.send(Ping(b"")))
        self._pinging = self._reactor.callLater(PING, self._ping)

    def dataReceived(self, data: bytes) -> None:
        """Frames, chopped anywhere."""
        if self.closing:
            return
        self._alive = True
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, TextMessage):
                self._gather(event.data.encode(), event.message_finished)
            elif isinstance(event, BytesMessage):
                self._gather(event.data, event.message_finished)
            elif isinstance(event, Ping):
                self._pong(event)
            elif isinstance(event, CloseConnection):
                self.close(event.code, event.reason or "")
            if self.closing:
                return

    def _gather(self, data: bytes | bytearray, whole: bool) -> None:
        self._message += data
        if len(self._message) > MAX_BODY:
            self.close(CloseReason.MESSAGE_TOO_BIG, f"a message has at most {MAX_BODY} bytes")
        elif whole:
            message, self._message = bytes(self._message), bytearray()
            self.conversation.heard(message)

    def sendText(self, text: bytes) -> None:
        """See L{ethp2p.web.conversation.Line}."""
        self._wire.write(self._frames.send(TextMessage(text.decode())))

    def close(self, code: int, why: str = "") -> None:
        """Say why, and hang up."""
        if self.closing:
            return
        self._wire.write(self._frames.send(CloseConnection(code, why)))
        self._message.clear()
        self._stopPinging()
        super().hangUp()

    def hangUp(self) -> None:
        """Close because what came was no JSON-RPC, or could not be answered."""
        self.close(CloseReason.NORMAL_CLOSURE)


def _tokens(request: BoundedRequest, name: bytes) -> set[bytes]:
    values = request.requestHeaders.getRawHeaders(name, [])
    return {token.strip().lower() for value in values for token in value.split(b",")}


def _key(request: BoundedRequest) -> bytes | None:
    """What the client wants proven, or None: 16 bytes in base64 (RFC 6455, section 4.1)."""
    keys = request.requestHeaders.getRawHeaders(b"Sec-WebSocket-Key", [])
    try:
        return keys[0] if len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16 else None
    except binascii.Error:
        return None


def _upgrade(request: BoundedRequest, line: str) -> bytes:
    request.setHeader(b"Upgrade", b"websocket")
    body = textPage(request, line)
    request.setResponseCode(426, b"Upgrade Required")
    return body


class WebSocketResource(Resource):
    """
    The handshake (RFC 6455, section 4.2).  Host and Origin were looked at by L{ethp2p.web.http.Door}.
    """

    def __init__(self, switchboard: Switchboard, reactor: Any) -> None:
        super().__init__()
        self._switchboard = switchboard
        self._reactor = reactor
        self._sockets: set[WebSocketLine] = set()

    def render_GET(self, request: BoundedRequest) -> bytes | int:
        """From here on it is no HTTP any more."""
        key, visitor = _key(request), request.channel.transport
        if b"websocket" not in _tokens(request, b"Upgrade") or b"upgrade" not in _tokens(request, b"Connection"):
            return _upgrade(request, "this is for WebSockets: JSON-RPC 2.0 with subscriptions")
        if request.requestHeaders.getRawHeaders(b"Sec-WebSocket-Version") != [b"13"]:
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            return _upgrade(request, "version 13 is spoken here")
        if key is None or not isinstance(visitor, Visitor):
            return textPage(request, "this is no WebSocket handshake", 400)
        request.channel.setTimeout(None)
        visitor.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\n\r\n" % generate_accept_token(key)
        )
        visitor.upgrade(WebSocketLine(self._switchboard, self._reactor, self._sockets))
        return NOT_DONE_YET

    def goodbye(self) -> None:
        """Close them all: we go."""
        for socket in tuple(self._sockets):
            socket.close(CloseReason.GOING_AWAY)
