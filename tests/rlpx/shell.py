"""A shell under test, and what stands above, below and on the other side of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import (
    RemoteProtocolError,
)
from ethp2p.limits import WheelTimer
from ethp2p.rlpx.protocol import RLPxAddress, RLPxFactory, RLPxProtocol
from ethp2p.rlpx.state import Connection, MessageReceived
from tests.rlpx.common import ALICE, BOB, Tape, events


class Inner:
    """A message protocol that writes down what happens to it."""

    def __init__(self, address: RLPxAddress) -> None:
        self.address = address
        self.transport: Any = None
        self.messages: list[tuple[int, bytes]] = []
        self.failed: list[RemoteProtocolError] = []
        self.lost: list[Failure] = []

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.writeMessage(0, b"hello")

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.messages.append((code, payload))

    def transportFailed(self, error: RemoteProtocolError) -> None:
        self.failed.append(error)
        self.transport.writeMessage(1, bytes((error.reason,)))

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


class InnerFactory:
    """Builds L{Inner}s, or what a test wants instead."""

    def __init__(self, build: Any = Inner) -> None:
        self.build = build
        self.built: list[Any] = []
        self.running = 0

    def buildProtocol(self, addr: RLPxAddress) -> Any:
        self.built.append(self.build(addr))
        return self.built[-1]

    def doStart(self) -> None:
        self.running += 1

    def doStop(self) -> None:
        self.running -= 1


class Producer:
    """A producer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Transport(StringTransport):
    """TCP that lets itself be cut off, and counts writes."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.7", 4000))
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def taken(self) -> bytes:
        """What was written since last asked."""
        data = self.value()
        self.clear()
        return data


class ShellCase(SynchronousTestCase):
    """One of our shells over a L{Transport}, and an engine that plays the peer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = WheelTimer(self.clock)

    def start(self, *, isClient: bool = False, build: Any = Inner, **options: Any) -> None:
        """Bob's shell: called by Alice's engine, or calling her."""
        self.innerFactory = InnerFactory(build)
        self.factory = RLPxFactory(
            BOB,
            self.innerFactory,
            clock=self.clock,
            wheel=self.wheel,
            isClient=isClient,
            remote=ALICE.public_key if isClient else None,
            random=Tape(seed="bob"),
            **options,
        )
        self.peer = Connection(ALICE, None if isClient else BOB.public_key, random=Tape(seed="alice"))
        self.transport = Transport()
        self.shell: RLPxProtocol = self.factory.buildProtocol(None)
        self.shell.makeConnection(self.transport)  # type: ignore[arg-type]

    def open(self, **options: Any) -> Any:
        """The same, after the handshake and Bob's Hello.  Returns the inner protocol."""
        self.start(**options)
        self.peer.receive_data(self.transport.taken())
        events(self.peer)
        self.shell.dataReceived(self.peer.data_to_send())
        self.peer.receive_data(self.transport.taken())
        events(self.peer)
        return self.innerFactory.built[0]

    def say(self, *messages: tuple[int, bytes]) -> None:
        """Messages from the peer, in one read."""
        for code, payload in messages:
            self.peer.write_message(code, payload)
        self.shell.dataReceived(self.peer.data_to_send())

    def heard(self) -> list[tuple[int, bytes]]:
        """Messages to the peer since last asked."""
        self.peer.receive_data(self.transport.taken())
        return [(event.code, event.payload) for event in events(self.peer) if isinstance(event, MessageReceived)]

    def lose(self, reason: Exception | None = None) -> None:
        self.shell.connectionLost(Failure(reason or ConnectionDone()))

    def pass_(self, seconds: float) -> None:
        """Time goes by, as smoothly as the wheel needs."""
        self.clock.pump([0.1] * round(seconds * 10))

    def quiet(self) -> None:
        """Nothing is left on the reactor."""
        self.pass_(0.3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.wheel), 0)
