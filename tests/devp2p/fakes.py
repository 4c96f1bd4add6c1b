"""
A message transport, a household and a capability that do nothing but remember.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.codec import snappy
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.devp2p.protocol import LocalHello, Session, SessionFactory
from ethp2p.devp2p.state import DevP2P, DisconnectReceived
from ethp2p.devp2p.wire import DISCONNECT, HELLO, Capability, Hello
from ethp2p.errors import DisconnectReason, NotAdmitted, Offence, PeerDisconnected
from ethp2p.interfaces import ICapability, ICapabilityFactory, IHousehold, IMessageTransport
from ethp2p.limits import WheelTimer

OURS = PrivateKey.parse(b"\x01" * 32).public_key
THEIRS = PrivateKey.parse(b"\x02" * 32).public_key


@attrs.frozen
class Address:
    """What an RLPx address has."""

    public_key: PublicKey
    address: Any = attrs.field(factory=lambda: IPv4Address("TCP", "192.0.2.1", 30303))
    inbound: bool = True

    @property
    def node_id(self) -> bytes:
        return self.public_key.node_id


@implementer(IMessageTransport)
class MessageTransport:
    """
    Remembers what is written, and pauses its producer after C{room} payload bytes until C{read} is called.
    """

    def __init__(self, room: int | None = None) -> None:
        self.written: list[tuple[int, bytes]] = []
        self.room = room
        self.unread = 0
        self.reading = True
        self.producer: Any = None
        self.closing: str | None = None
        self.pauses = 0

    def writeMessage(self, code: int, payload: bytes) -> None:
        assert self.closing is None, "written after the end"
        self.written.append((code, payload))
        self.unread += len(payload)
        if self.room is not None and self.unread > self.room and self.producer is not None:
            self.producer.pauseProducing()

    def read(self) -> None:
        """The peer reads all there is."""
        self.unread = 0
        if self.producer is not None:
            self.producer.resumeProducing()

    def pauseProducing(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False
        self.pauses += 1

    def resumeProducing(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        assert self.producer is None, "a transport with a producer never closes"
        self.closing = "lose"

    def abortConnection(self) -> None:
        self.closing = "abort"

    def getPeer(self) -> Any:
        return "the peer's address"

    def getHost(self) -> Any:
        return "our address"


@implementer(IHousehold)
class Household:
    """
    Remembers; refuses with C{refuseIdentity} and C{refuseHello}.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.offences: list[tuple[Offence, str]] = []
        self.ended: list[PeerDisconnected] = []
        self.refuseIdentity: Exception | None = None
        self.refuseHello: Exception | None = None

    def identityProven(self, session: Any) -> None:
        self.calls.append("identityProven")
        if self.refuseIdentity is not None:
            raise self.refuseIdentity

    def helloReceived(self, session: Any) -> None:
        self.calls.append("helloReceived")
        if self.refuseHello is not None:
            raise self.refuseHello

    def offenceSeen(self, session: Any, offence: Offence, evidence: str) -> None:
        self.offences.append((offence, evidence))

    def sessionEnded(self, session: Any, ended: PeerDisconnected) -> None:
        self.calls.append("sessionEnded")
        self.ended.append(ended)


@implementer(ICapability)
class Language:
    """
    A capability that remembers, and does what its C{reaction} says with each message.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.channel: Any = None
        self.received: list[tuple[int, bytes]] = []
        self.lost: list[BaseException] = []
        self.reaction: Callable[[int, bytes], object] | None = None

    def makeConnection(self, transport: Any) -> None:
        self.channel = transport

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.received.append((code, payload))
        if self.reaction is not None:
            self.reaction(code, payload)

    def connectionLost(self, reason: Any) -> None:
        self.lost.append(reason.value)

    def describe(self) -> Mapping[str, Any]:
        return {"version": self.version}


@implementer(ICapabilityFactory)
class LanguageFactory:
    """
    Offers a L{Language}.
    """

    def __init__(self, name: str, versions: Mapping[int, int]) -> None:
        self.name = name
        self.versions = versions
        self.built: list[Language] = []

    def buildCapability(self, session: Any, version: int) -> Language:
        self.built.append(Language(version))
        return self.built[-1]


@attrs.frozen
class Producer:
    """Remembers what it was told."""

    told: list[str] = attrs.field(factory=list)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Scene:
    """
    A session of ours, and the test as its peer.
    """

    def __init__(
        self,
        *offers: LanguageFactory,
        room: int | None = None,
        peerOffers: Sequence[str] = ("eth/68",),
        version: int = 5,
    ) -> None:
        self.clock = Clock()
        self.wheel = WheelTimer(self.clock)
        self.household = Household()
        self.offers = offers or (LanguageFactory("eth", {67: 17, 68: 17}),)
        self.factory = SessionFactory(
            LocalHello("ethp2p/test", OURS, 30303), self.offers, self.household, wheel=self.wheel, clock=self.clock
        )
        self.transport = MessageTransport(room)
        self.session: Session = self.factory.buildProtocol(Address(THEIRS))
        self.peerHello = Hello(
            version,
            "peer/v1",
            tuple([Capability(name, int(number)) for name, _, number in map(_parted, peerOffers)]),
            0,
            THEIRS.raw,
        )
        self.snappy = False

    def begin(self) -> Scene:
        """Connect."""
        self.session.makeConnection(self.transport)
        return self

    def meet(self) -> Scene:
        """Connect, and exchange Hellos."""
        self.begin()
        self.session.messageReceived(HELLO, self.peerHello.encode())
        self.snappy = self.peerHello.version >= 5
        self.transport.written.clear()
        return self

    def say(self, code: int, payload: bytes) -> None:
        """A message from the peer."""
        self.session.messageReceived(code, snappy.compress(payload) if self.snappy else payload)

    def heard(self) -> list[tuple[int, bytes]]:
        """What we sent since last asked, decompressed."""
        written, self.transport.written[:] = list(self.transport.written), []
        return [
            (code, snappy.decompress(payload, 1 << 24) if self.snappy and code != HELLO else payload)
            for code, payload in written
        ]

    def goodbye(self) -> DisconnectReason | int | None:
        """The reason in the Disconnect that we sent as the last message, or None."""
        code, payload = self.transport.written[-1] if self.transport.written else (HELLO, b"")
        self.transport.written.clear()
        if code != DISCONNECT:
            return None
        event = DevP2P(self.peerHello, {}, OURS.raw).receive_message(code, payload, 0.0)
        assert isinstance(event, DisconnectReceived)
        return event.reason

    def cut(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.session.connectionLost(Failure(error or ConnectionDone()))

    def advance(self, seconds: float) -> None:
        """Time passes, tick by tick."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


def _parted(offer: str) -> tuple[str, str, str]:
    return offer.partition("/")


def refusal(reason: DisconnectReason) -> NotAdmitted:
    """As a household refuses."""
    return NotAdmitted(reason, "says the test")
