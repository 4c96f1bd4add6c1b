"""
A capability's share of a session: the transport that it sees.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ethp2p.devp2p.multiplex import Lane
from ethp2p.devp2p.state import Shared
from ethp2p.errors import DisconnectReason, LocalProtocolError, RemoteProtocolError
from ethp2p.interfaces import ICapability, IChannel

if TYPE_CHECKING:
    from ethp2p.devp2p.protocol import Session

#: Most messages held for a capability that paused.  Its transport is paused with it, so that only what was
#: under way can come; more is a transport that does not keep its promise.
MAX_HELD = 1024


@implementer(IChannel)
class Channel:
    """
    What a capability writes to, and is paused by.  The counters are plain integers; bytes are those of payloads
    on the wire.
    """

    __slots__ = (
        "__weakref__",
        "_held",
        "_paused",
        "_producer",
        "_producerPaused",
        "_releasing",
        "bytes_in",
        "bytes_out",
        "capability",
        "connected",
        "lane",
        "messages_in",
        "messages_out",
        "session",
        "shared",
    )

    def __init__(self, session: Session, shared: Shared, capability: ICapability) -> None:
        self.session = session
        self.shared = shared
        self.capability = capability
        self.lane = Lane()
        #: Whether the capability has been given its transport.
        self.connected = False
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self._producer: Any = None
        self._producerPaused = False
        self._paused = False
        self._releasing = False
        #: What came for a capability that paused; None while messages go straight to it.
        self._held: deque[tuple[int, bytes]] | None = None

    @property
    def name(self) -> str:
        """The capability's name."""
        return self.shared.name

    @property
    def version(self) -> int:
        """The version agreed."""
        return self.shared.version

    def writeMessage(self, code: int, payload: bytes) -> None:
        """
        Send a message; nothing happens once the session has ended.

        @raise LocalProtocolError: a code that the capability does not have, too large, or written on and on to
            a peer that does not read (L{ethp2p.devp2p.multiplex.QueueFull}; the session ends).
        """
        session = self.session
        if session.ended is not None:
            return
        shared = self.shared
        packed = session.engine.pack_message(shared, code, payload)
        if session.congested or session.queue.turns:
            session.enqueue(self, shared.offset + code, packed)
        else:
            session.transport.writeMessage(shared.offset + code, packed)
        size = len(packed)
        self.messages_out += 1
        self.bytes_out += size
        session.messages_out += 1
        session.bytes_out += size

    def messageReceived(self, code: int, payload: bytes) -> None:
        """The session routes a message to the capability."""
        if self._held is None:
            self.capability.messageReceived(code, payload)
        elif len(self._held) < MAX_HELD:
            self._held.append((code, payload))
        else:
            raise LocalProtocolError(f"the transport is paused, and {MAX_HELD} messages came for {self.shared}")

    def pauseProducing(self) -> None:
        """Hold the capability's messages.  The whole session stops reading: it has one wire."""
        self._paused = True
        if self._held is None:
            self._held = deque()
        self.session.regulate()

    def resumeProducing(self) -> None:
        """Deliver what was held, in order, and then what comes."""
        self._paused = False
        if self._held is not None and not self._releasing:
            self.session.guard(self._release)

    def _release(self) -> None:
        held = self._held
        assert held is not None
        self._releasing = True
        try:
            while held and not self._paused and self.session.ended is None:
                code, payload = held.popleft()
                self.session.code = self.shared.offset + code
                self.capability.messageReceived(code, payload)
        finally:
            self._releasing = False
        if not self._paused:
            self._held = None
        self.session.regulate()

    def stopProducing(self) -> None:
        """End the session."""
        self.loseConnection()

    @property
    def holding(self) -> bool:
        """Whether the peer must not be read because of this channel."""
        return self._held is not None or self.lane.overflowing

    @property
    def listening(self) -> bool:
        """Whether messages go straight to the capability."""
        return self._held is None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        @param producer: an C{IPushProducer}.
        @raise LocalProtocolError: there is one already, or it is not a push producer.
        """
        if self._producer is not None:
            raise LocalProtocolError(f"{self.shared} has a producer already")
        if not streaming:
            raise LocalProtocolError("a channel takes push producers only")
        if self.session.ended is not None:
            producer.stopProducing()
            return
        self._producer = producer
        self._producerPaused = False
        self.regulate()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def regulate(self) -> None:
        """Pause or resume the producer as the lane asks."""
        if self._producer is not None and self._producerPaused is not self.lane.full:
            self._producerPaused = self.lane.full
            tell = self._producer.pauseProducing if self._producerPaused else self._producer.resumeProducing
            self.session.guard(tell)

    def stop(self) -> None:
        """The session has ended: nothing is held, nothing produced."""
        self._held = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    def connectionLost(self, reason: Any) -> None:
        """
        Tell the capability, if it has ever been given its transport, and let go of it: what is left of a session is
        not to wait for the garbage collector.
        """
        capability = self.capability
        del self.capability
        if self.connected:
            capability.connectionLost(reason)

    def fail(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule, seen outside C{messageReceived}: book the offence and disconnect."""
        self.session.guard(self.session.offend, error, f"{self.shared}: {error}")

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        """End the whole session."""
        self.session.disconnect(reason, detail)

    def loseConnection(self) -> None:
        """End the whole session after everything written is sent."""
        self.session.loseConnection()

    def abortConnection(self) -> None:
        """End the whole session now."""
        self.session.abort()

    def getPeer(self) -> Any:
        """The peer's L{ethp2p.rlpx.RLPxAddress} or the like."""
        return self.session.peer

    def getHost(self) -> Any:
        """Our own address."""
        return self.session.transport.getHost()
