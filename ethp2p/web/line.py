"""
What a WebSocket and a unix socket have in common: a connection that a conversation is held over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.web.conversation import Switchboard
from ethp2p.web.doorkeeper import GOODBYE


@implementer(IPushProducer)
class StreamLine(Protocol, ABC):
    """
    Between a transport and a conversation: tells the conversation when the transport is full, and the transport
    when the conversation has heard enough.
    """

    def __init__(self, switchboard: Switchboard, reactor: Any) -> None:
        self._reactor = reactor
        self._last: IDelayedCall | None = None
        self.conversation = switchboard.talk(self)

    @property
    def _wire(self) -> Any:
        assert self.transport is not None
        return self.transport

    def connectionMade(self) -> None:
        """Hear from the transport when it is full."""
        self._wire.registerProducer(self, True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self.conversation.over()
        if self._last is not None and self._last.active():
            self._last.cancel()

    def readConnectionLost(self) -> None:
        """Nothing more will be heard."""
        self.conversation.heardLast()

    def pauseProducing(self) -> None:
        """The transport is full."""
        self.conversation.congested()

    def resumeProducing(self) -> None:
        """It is not any more."""
        self.conversation.relieved()

    def stopProducing(self) -> None:
        """It is gone; L{connectionLost} comes next."""
        self.conversation.congested()

    def pauseReading(self) -> None:
        """See L{ethp2p.web.conversation.Line}."""
        self._wire.pauseProducing()

    def resumeReading(self) -> None:
        """See L{ethp2p.web.conversation.Line}."""
        self._wire.resumeProducing()

    @property
    def closing(self) -> bool:
        """Whether we have hung up."""
        return self._last is not None

    def hangUp(self) -> None:
        """Let the other read what was written, for L{GOODBYE} seconds, and close."""
        if self._last is None:
            self._last = self._reactor.callLater(GOODBYE, lambda: self._wire.abortConnection())
            self.conversation.over()
            self._wire.unregisterProducer()
            self._wire.loseConnection()

    @abstractmethod
    def sendText(self, text: bytes) -> None:
        """See L{ethp2p.web.conversation.Line}."""
