"""
Channels without a session: one that only writes down, and two that are tied together.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ethp2p.errors import DisconnectReason, PeerDisconnected, RemoteProtocolError
from ethp2p.eth import EthFactory, EthProtocol, SilentObserver
from ethp2p.eth.messages import Announcement, Message, Status
from ethp2p.eth.state import status_of
from ethp2p.eth.wire import decode, encode
from ethp2p.interfaces import IChain, IChannel
from tests.chain.building import small_chain


@implementer(IChannel)
class FakeChannel:
    """
    Keeps what is written until it is taken; ends as a session does.
    """

    name = "eth"

    def __init__(self, protocol: EthProtocol) -> None:
        self.protocol = protocol
        self.session = protocol.session
        self.version = protocol.version
        self.written: list[tuple[int, bytes]] = []
        self.failed: RemoteProtocolError | None = None
        self.producer: Any = None
        self.paused = False
        self._held: deque[tuple[int, bytes]] = deque()
        #: Raised by the next C{writeMessage}, if anything.
        self.refuses: Exception | None = None

    def connect(self) -> None:
        self.protocol.makeConnection(self)

    def deliver(self, code: int, payload: bytes) -> None:
        """A message comes, as the session would hand it on."""
        if self.failed is not None:
            return
        if self.paused:
            self._held.append((code, payload))
            return
        try:
            self.protocol.messageReceived(code, payload)
        except RemoteProtocolError as error:
            self.fail(error)

    def hear(self, message: Message) -> None:
        """The same from a value."""
        self.deliver(*encode(self.version, message))

    def said(self) -> list[Message]:
        """What was written since the last time."""
        written, self.written = self.written, []
        return [decode(self.version, code, payload) for code, payload in written]

    def end(self, reason: DisconnectReason | None = None) -> None:
        if self.producer is not None:
            producer, self.producer = self.producer, None
            producer.stopProducing()
        self.protocol.connectionLost(Failure(PeerDisconnected(reason)))

    def fail(self, error: RemoteProtocolError) -> None:
        assert self.failed is None, "ended twice"
        self.failed = error
        self.end(error.reason)

    def writeMessage(self, code: int, payload: bytes) -> None:
        if self.refuses is not None:
            refused, self.refuses = self.refuses, None
            raise refused
        self.written.append((code, payload))

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        while self._held and not self.paused:
            self.deliver(*self._held.popleft())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        raise NotImplementedError

    def loseConnection(self) -> None:
        raise NotImplementedError

    def abortConnection(self) -> None:
        raise NotImplementedError

    def getPeer(self) -> Any:
        raise NotImplementedError

    def getHost(self) -> Any:
        raise NotImplementedError


class Spy(SilentObserver):
    """
    Writes down what it hears.
    """

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.requests: list[tuple[str, int, str]] = []
        self.figures: list[tuple[int, float]] = []
        self.seen: list[Announcement] = []

    def statusReceived(self, protocol: EthProtocol, status: Status) -> None:
        self.statuses.append(status)

    def requestDone(
        self, protocol: EthProtocol, message: str, items: int, size: int, rtt: float, *, result: str
    ) -> None:
        self.requests.append((message, items, result))
        self.figures.append((size, rtt))

    def messageSeen(self, protocol: EthProtocol, message: Announcement) -> None:
        self.seen.append(message)


class Side:
    """
    A factory, and one peer of it on a L{FakeChannel}.
    """

    def __init__(self, chain: IChain, version: int, clock: Clock, **options: Any) -> None:
        self.spy = Spy()
        self.factory = EthFactory(chain, self.spy, clock=clock, **options)
        self.protocol = self.factory.buildCapability(object(), version)
        self.channel = FakeChannel(self.protocol)
        self.channel.connect()


class Pair:
    """
    Two sides that hear each other when the clock moves.
    """

    def __init__(self, left: IChain, right: IChain, version: int = 69) -> None:
        self.clock = Clock()
        self.left, self.right = Side(left, version, self.clock), Side(right, version, self.clock)
        self.turn()

    def turn(self) -> None:
        """Carry messages to and fro until both are silent."""
        sides = self.left.channel, self.right.channel
        while sides[0].written or sides[1].written:
            for here, there in (sides, sides[::-1]):
                written, here.written = here.written, []
                for code, payload in written:
                    there.deliver(code, payload)
        self.clock.advance(0)


class Met(SynchronousTestCase):
    """Us, met, and a peer whose every word is ours to choose."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.chain = small_chain(12)
        self.side = self.met(69)
        self.channel, self.protocol = self.side.channel, self.side.protocol

    def met(self, version: int, **options: Any) -> Side:
        side = Side(self.chain, version, self.clock, **options)
        side.channel.said()
        side.channel.hear(status_of(self.chain, version))
        self.assertEqual(side.channel.said(), [])
        return side

    def asked(self) -> Any:
        """The one message that we sent."""
        (message,) = self.channel.said()
        return message
