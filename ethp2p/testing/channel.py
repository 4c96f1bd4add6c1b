"""
Two message transports, joined: what a capability or a message protocol sits on, without RLPx under it.

    >>> pair = channel_pair("toy", 1, length=2)
    >>> pair.open(here, there)
    >>> here.guess(50)
    >>> pair.flush()
    >>> pair.left.sent
    [(0, b'\\xc12')]

Nothing moves until L{ChannelPair.flush} or L{ChannelPair.step}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence, PeerDisconnected, RemoteProtocolError
from ethp2p.interfaces import IChannel, ISession

#: Most bytes of a message, as on a devp2p session.
MAX_MESSAGE = 2**24 - 1
#: A producer is paused when more bytes than this wait for the other side.
HIGH_WATER = 256 * 1024


@implementer(ISession)
@attrs.define(eq=False)
class StubSession:
    """
    The peer, as a capability sees it, and what was asked of it.
    """

    node_id: bytes
    inbound: bool
    address: Any
    node: Any
    client: str
    capabilities: tuple[str, ...]
    shared: tuple[str, ...]
    local: Any = None
    #: What was booked against the peer: offence and evidence.
    offences: list[tuple[Offence, str]] = attrs.Factory(list)
    #: Reason and detail of every disconnect that was asked for.
    disconnects: list[tuple[DisconnectReason, str]] = attrs.Factory(list)
    _channel: Any = None

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        """Say why and close."""
        self._channel.disconnect(reason, detail)

    def abort(self) -> None:
        """Close without a word."""
        self._channel.abortConnection()


@implementer(IChannel, IPushProducer)
class MemoryChannel:
    """
    One end.

    @ivar sent: every message written, as code and payload.
    @ivar protocol: what sits on it.
    @ivar ended: how the connection ended, or None.
    @ivar paused: whether the protocol wants no messages now.
    """

    peer: MemoryChannel

    def __init__(self, name: str, version: int, session: StubSession, length: int | None) -> None:
        self.name = name
        self.version = version
        self.session = session
        self.length = length
        self.protocol: Any = None
        self.sent: list[tuple[int, bytes]] = []
        self.ended: PeerDisconnected | None = None
        self.paused = False
        self._waiting: deque[tuple[int, bytes]] = deque()  # for the other side
        self._size = 0
        self._farewell: PeerDisconnected | None = None  # what the other side ended with
        self._told = False
        self._producer: Any = None
        self._producerPaused = False

    # IMessageTransport

    def writeMessage(self, code: int, payload: bytes) -> None:
        """
        Send; nothing happens once the connection ended.

        @raise LocalProtocolError: a code that the protocol does not have, or a payload over L{MAX_MESSAGE}.
        """
        if not isinstance(payload, bytes):
            raise TypeError(f"a payload is bytes, not {type(payload).__name__}")
        if code < 0 or (self.length is not None and code >= self.length):
            raise LocalProtocolError(f"{self.name}/{self.version} has no message {code}")
        if len(payload) > MAX_MESSAGE:
            raise LocalProtocolError(f"a message of {len(payload)} bytes")
        if self.ended is None:
            self.sent.append((code, payload))
            self._waiting.append((code, payload))
            self._size += len(payload)
            self._regulate()

    def pauseProducing(self) -> None:
        """Let messages wait."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Take messages again, when they are delivered next."""
        self.paused = False

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        @param producer: an C{IPushProducer}.
        @raise LocalProtocolError: there is one already, or it is not a push producer.
        """
        if self._producer is not None or not streaming:
            raise LocalProtocolError("there is a producer already" if streaming else "push producers only")
        if self.ended is not None:
            producer.stopProducing()
            return
        self._producer, self._producerPaused = producer, False
        self._regulate()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def loseConnection(self) -> None:
        """Close; the other side gets what was written first."""
        self._end(PeerDisconnected(DisconnectReason.REQUESTED, by_us=True), DisconnectReason.REQUESTED)

    def abortConnection(self) -> None:
        """Close; what was written and not delivered is lost."""
        self._waiting.clear()
        self._end(PeerDisconnected(by_us=True, detail="aborted"), None)

    def getPeer(self) -> Any:
        """The other side's address."""
        return self.session.address

    def getHost(self) -> Any:
        """This side's address."""
        return self.peer.session.address

    # IChannel

    def fail(self, error: RemoteProtocolError) -> None:
        """Book what the peer did, and disconnect."""
        if self.ended is None:
            self.session.offences.append((error.offence, str(error)))
            self.disconnect(error.reason, str(error))

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        """End the session; what was written and not delivered is lost."""
        if self.ended is None:
            self.session.disconnects.append((reason, detail))
            self._waiting.clear()
            self._end(PeerDisconnected(reason, by_us=True, detail=detail), reason)

    # the other side

    def step(self) -> bool:
        """
        Take one message from the other side, or its end.

        @return: False when there was nothing to take.
        """
        waiting = self.peer._waiting
        if self.ended is None and waiting and not self.paused:
            code, payload = waiting.popleft()
            self.peer._size -= len(payload)
            self.peer._regulate()
            try:
                self.protocol.messageReceived(code, payload)
            except RemoteProtocolError as error:
                self.fail(error)
            return True
        if self.ended is None and self._farewell is not None and not waiting:
            self._end(self._farewell, None)
        if self.ended is None or self._told:
            return False
        self._told = True
        self.protocol.connectionLost(Failure(self.ended))
        return True

    def _end(self, ended: PeerDisconnected, reason: DisconnectReason | None) -> None:
        if self.ended is not None:
            return
        self.ended = ended
        self.peer._farewell = self.peer._farewell or PeerDisconnected(reason)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    def _regulate(self) -> None:
        full = self._size > (0 if self._producerPaused else HIGH_WATER)
        if self._producer is not None and full is not self._producerPaused:
            self._producerPaused = full
            if full:
                self._producer.pauseProducing()
            else:
                self._producer.resumeProducing()


@attrs.frozen
class ChannelPair:
    """
    Both ends.  Unpacks into left and right.
    """

    left: MemoryChannel
    right: MemoryChannel

    def __iter__(self) -> Iterator[MemoryChannel]:
        return iter((self.left, self.right))

    def open(self, left: Any, right: Any) -> None:
        """Put a protocol on each end, the left one first."""
        for channel, protocol in zip(self, (left, right)):
            channel.protocol = protocol
        for channel in self:
            channel.protocol.makeConnection(channel)

    def step(self) -> bool:
        """Give each side one message, or the end.  @return: whether anything happened."""
        return any([self.left.step(), self.right.step()])

    def flush(self, most: int = 100_000) -> None:
        """
        Deliver until nothing waits that can be delivered.

        @raise RuntimeError: they still talk after C{most} steps.
        """
        for _ in range(most):
            if not self.step():
                return
        raise RuntimeError(f"two protocols still talk after {most} steps")


def channel_pair(name: str = "test", version: int = 1, *, length: int | None = None) -> ChannelPair:
    """
    @param length: how many message codes there are; None for any.
    @return: two channels, each the other's peer.  The left one called.
    """
    ends = []
    for number, inbound in ((2, False), (1, True)):
        shared = f"{name}/{version}"
        address = IPv4Address("TCP", f"10.0.0.{number}", 30303)
        session = StubSession(bytes([number]) * 32, inbound, address, None, f"stub {number}", (shared,), (shared,))
        ends.append(MemoryChannel(name, version, session, length))
        session._channel = ends[-1]
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    return ChannelPair(*ends)
