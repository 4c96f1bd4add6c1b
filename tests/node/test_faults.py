"""
Peers that misbehave in time rather than in bytes: each ends as docs/operator.rst has it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.config import NodeConfig
from ethp2p.devp2p import LocalHello, SessionFactory
from ethp2p.devp2p.state import PING_INTERVAL, PING_TIMEOUT
from ethp2p.devp2p.wire import PING
from ethp2p.errors import Offence
from ethp2p.eth import EthFactory
from ethp2p.events import OffenceBooked, PeerDropped, PeerStatus, Refused
from ethp2p.limits import WheelTimer
from ethp2p.node import Node
from ethp2p.peers import Policy
from ethp2p.peers.keeping import FLUSH
from ethp2p.rlpx import RLPxClientEndpoint, limits
from ethp2p.testing.household import RecordingHousehold
from ethp2p.whole import WholeNode
from tests.node.support import PORT, Diary, Town


class Dribble:
    """A TCP transport that sends a byte a second."""

    def __init__(self, transport: Any, clock: Any) -> None:
        self._transport = transport
        self._clock = clock
        self._left = bytearray()

    def write(self, data: bytes) -> None:
        """Begin to send, or send after the rest."""
        if not self._left:
            self._clock.callLater(1.0, self._send)
        self._left += data

    def _send(self) -> None:
        self._transport.write(bytes(self._left[:1]))
        del self._left[:1]
        if self._left:
            self._clock.callLater(1.0, self._send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DeafToPing:
    """What sits on a message transport, and hears all but Ping."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def messageReceived(self, code: int, payload: bytes) -> None:
        if code != PING:
            self._inner.messageReceived(code, payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Guest:
    """
    A peer that calls a node from a host of its own, and is well-behaved until told otherwise.
    """

    def __init__(self, town: Town, number: int, address: str = "") -> None:
        self.town = town
        self.host = town.network.hosts.get(address) or town.network.host(address or f"10.0.0.{number}")
        self.wheel = WheelTimer(self.host)
        self.household = RecordingHousehold()
        self.eth = EthFactory(town.chain(5), clock=self.host, wheel=self.wheel)
        self._sessions = SessionFactory(
            LocalHello("guest", town.key(number).public_key), [self.eth], self.household, wheel=self.wheel
        )
        self.key = town.key(number)

    def call(self, node: Node) -> None:
        """Call it, at 10.0.0.1."""
        endpoint = RLPxClientEndpoint(
            TCP4ClientEndpoint(self.host, "10.0.0.1", PORT),
            self.key,
            node.local.public_key,
            clock=self.host,
            wheel=self.wheel,
            random=self.town.network.rng.randbytes,
        )
        endpoint.connect(self._sessions).addErrback(lambda failure: None)

    def meet(self, node: Node, diary: Diary) -> Any:
        """The session, when both know that they follow one chain."""
        self.call(node)
        self.town.network.run_until(lambda: self.eth.protocols and diary.of(PeerStatus))
        return self.household.hellos[0]


class MisbehaviourTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.town = Town(blocks=5)
        self.node, self.diary = self.town.node(1, blocks=5)
        # Well-behaved others are there all the time, and stay.
        self.town.node(50, blocks=5, staticPeers=[self.town.address(1)])
        self.town.network.run_until(lambda: self.diary.of(PeerStatus))
        self.diary.events.clear()

    def ends(self, least: float, most: float, offence: Offence | None, words: str, guest: Guest) -> None:
        """Its session ends after so many seconds, we are the ones who end it, and an operator can read why."""
        began = self.town.network.now
        self.town.network.run_until(lambda: self.diary.of(PeerDropped))
        took = self.town.network.now - began
        self.assertTrue(least <= took <= most, took)
        [dropped] = self.diary.of(PeerDropped)
        self.assertTrue(dropped.by_us)
        self.assertEqual([event.offence for event in self.diary.of(OffenceBooked)], [offence] if offence else [])
        verdict = self.node.household.explain(guest.key.public_key.node_id.hex()).verdict
        self.assertIn(words, verdict)
        self.well()

    def well(self) -> None:
        """The others are here still, and nobody else."""
        self.town.network.advance(limits.CLOSE_TIMEOUT + 0.5)
        self.assertEqual(len(self.node.household.roster), 1)
        self.assertEqual((self.node.traffic.connections, self.node.household.doorway.inside), (1, 0))

    def test_stops_reading(self) -> None:
        """It asks and asks, and reads no answer: cut off when nothing could be sent for a while."""
        guest = Guest(self.town, 2)
        session = guest.meet(self.node, self.diary)
        [eth] = guest.eth.protocols
        session.transport._tcp.pauseProducing()
        for _ in range(200):
            eth.getBlockHeaders(1, 5).addErrback(lambda failure: None)
        self.ends(
            limits.WRITE_TIMEOUT - 1.0,
            limits.WRITE_TIMEOUT + 2.0,
            Offence.TIMEOUT,
            "The peer has not read what we sent for too long.",
            guest,
        )

    def test_dribbles_in_the_handshake(self) -> None:
        """A byte a second buys no time; nobody knows who it was, so nothing is held against it."""
        lost: list[float] = []

        class Slow(Protocol):
            def connectionMade(slf) -> None:
                tcp = Dribble(slf.transport, slow)
                tcp.write(b"\x01\x90\x04" + bytes(400))

            def connectionLost(slf, reason: Any = None) -> None:
                lost.append(self.town.network.now)

        slow = self.town.network.host("10.0.0.2")
        began = self.town.network.now
        TCP4ClientEndpoint(slow, "10.0.0.1", PORT).connect(Factory.forProtocol(Slow))
        self.town.network.run_until(lambda: lost)
        took = lost[0] - began
        self.assertTrue(limits.HANDSHAKE_TIMEOUT <= took <= limits.HANDSHAKE_TIMEOUT + 0.5, took)
        self.assertEqual((self.diary.of(PeerDropped), self.diary.of(OffenceBooked)), ([], []))
        self.well()

    def test_dribbles(self) -> None:
        """Bytes alone are no sign of life: one whole message in the time of a Ping is."""
        guest = Guest(self.town, 2)
        session = guest.meet(self.node, self.diary)
        rlpx = session.transport
        rlpx._sendNow = None
        rlpx._tcp = Dribble(rlpx._tcp, guest.host)
        session.transport.writeMessage(PING, b"\xc0" * 100)
        self.ends(
            PING_INTERVAL,
            PING_INTERVAL + PING_TIMEOUT + 1.0,
            Offence.TIMEOUT,
            "It did not answer in time, when it called: we disconnected: ping timeout",
            guest,
        )

    def test_never_answers_pings(self) -> None:
        """It takes all that it gets and says nothing more."""
        guest = Guest(self.town, 2)
        session = guest.meet(self.node, self.diary)
        session._timer.stop()  # nor does it ask
        session.transport._inner = DeafToPing(session)
        self.ends(
            PING_INTERVAL,
            limits.READ_TIMEOUT + 1.0,
            Offence.TIMEOUT,
            "It did not answer in time, when it called: we disconnected: ",
            guest,
        )

    def every_second(self, guest: Guest, seconds: int, *, leave: Callable[[Any], object]) -> None:
        for _ in range(seconds):
            guest.call(self.node)
            self.town.network.advance(0.5)
            for session in guest.household.present:
                leave(session)
            self.town.network.advance(0.5)

    def test_reconnects_every_second(self) -> None:
        """From elsewhere it comes in once in 30 s, and is turned away unread the other times; from near, each time."""
        for address, met in (("20.0.0.2", 2), ("10.0.0.2", 60)):
            self.setUp()
            guest = Guest(self.town, 2, address)
            self.every_second(guest, 60, leave=lambda session: session.abort())
            self.assertEqual(len(guest.household.hellos), met)
            refused = [event for event in self.diary.of(Refused) if event.rule == "throttled"]
            self.assertEqual(len(refused), 60 - met)
            self.assertEqual(self.diary.of(OffenceBooked), [])
            self.well()

    def test_reconnects_while_it_is_here(self) -> None:
        """A second session beside the first is refused, and the first goes on."""
        guest = Guest(self.town, 2)
        guest.meet(self.node, self.diary)
        self.every_second(guest, 20, leave=lambda session: None)
        self.assertEqual({event.rule for event in self.diary.of(Refused)}, {"already_connected"})
        self.assertEqual(len(self.node.household.roster), 2)
        self.assertEqual(self.node.traffic.connections, 2)


class TimeOutTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Requests that are not answered lead to the door, and in the end to a ban."""
        town = Town(blocks=5)
        node, diary = town.node(1, blocks=5, policy=Policy(weights={"timeout": 15}))
        guest = Guest(town, 2)
        guest.meet(node, diary)
        [eth] = guest.eth.protocols
        eth._requestReceived = lambda message, size: None  # type: ignore[method-assign]
        [peer] = node.ethPeers()
        for _ in range(4):
            peer.getBlockHeaders(1, 5).addErrback(lambda failure: None)
        town.network.run_until(lambda: diary.of(PeerDropped))
        self.assertEqual([event.offence for event in diary.of(OffenceBooked)], [Offence.TIMEOUT] * 4)
        known = node.household.explain(guest.key.public_key.node_id.hex())
        self.assertIn("did not answer in time: no answer to GetBlockHeaders in 10.0 s", known.verdict)
        self.assertEqual(len(node.household.books.bans), 1)


class ReadinessTests(SynchronousTestCase):
    def test_store(self) -> None:
        """Without a place to keep its peers the node is ready, and says what is wrong; and when it is right again."""
        directory = Path(self.mktemp())
        reactor = MemoryReactorClock()
        missing = directory / "elsewhere"
        settings = NodeConfig(
            datadir=directory, http="none", ipc="none", peer_store=str(missing / "peers.sqlite"), no_discovery=True
        )
        whole = WholeNode(settings, reactor)
        whole.startService()
        findings = {finding.name: finding for finding in whole._readiness()}
        self.assertFalse(findings["peer store"].ok)
        self.assertFalse(findings["peer store"].matters)
        self.assertIn("is not a directory", findings["peer store"].words)
        self.assertTrue(findings["listening"].ok)
        missing.mkdir()
        for _ in range(round(3 * FLUSH)):
            reactor.advance(1.0)
        self.assertTrue(all(finding.ok for finding in whole._readiness()))
        self.successResultOf(whole.stopService())
