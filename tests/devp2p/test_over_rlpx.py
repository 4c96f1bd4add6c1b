"""
Two sessions over real RLPx connections, on a network in memory that holds 64 KiB a direction.
"""

from __future__ import annotations

import gc
import weakref
from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p import LocalHello, Session, SessionFactory
from ethp2p.devp2p.multiplex import HARD_CAP, HIGH_WATER
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint, RLPxServerEndpoint
from ethp2p.testing.network import MemoryNetwork
from tests.devp2p.fakes import Household, Language, LanguageFactory

KEYS = [PrivateKey.parse(bytes([number]) * 32) for number in (1, 2)]
KIB = 1024


class Side:
    """One node with two languages."""

    def __init__(self, network: MemoryNetwork, index: int) -> None:
        self.host = network.host(f"10.0.0.{index + 1}")
        self.key = KEYS[index]
        self.household = Household()
        self.offers = [LanguageFactory("eth", {68: 17}), LanguageFactory("snap", {1: 8})]
        wheel = WheelTimer(self.host)
        local = LocalHello(f"node {index}", self.key.public_key)
        self.sessions = SessionFactory(local, self.offers, self.household, wheel=wheel)
        self.options: dict[str, Any] = {"clock": self.host, "wheel": wheel, "random": Random(index).randbytes}

    @property
    def eth(self) -> Language:
        return self.offers[0].built[0]

    @property
    def snap(self) -> Language:
        return self.offers[1].built[0]

    @property
    def session(self) -> Session:
        session: Session = self.eth.channel.session
        return session


class PairTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = MemoryNetwork(seed=7)
        self.alice, self.bob = alice, bob = Side(self.network, 0), Side(self.network, 1)
        server = TCP4ServerEndpoint(bob.host, 30303)
        self.network.wait_for(RLPxServerEndpoint(server, bob.key, **bob.options).listen(bob.sessions))
        client = TCP4ClientEndpoint(alice.host, "10.0.0.2", 30303)
        calling = RLPxClientEndpoint(client, alice.key, bob.key.public_key, **alice.options)
        self.network.wait_for(calling.connect(alice.sessions))
        self.network.run_until(lambda: alice.offers[1].built and bob.offers[1].built)

    def check_ended(self, by: Side, reason: DisconnectReason) -> None:
        """Both were told once, and agree who it was and why."""
        self.network.advance(3)
        for side in (self.alice, self.bob):
            (ended,) = side.household.ended
            self.assertEqual((ended.reason, ended.by_us), (reason, side is by))
            self.assertEqual((side.eth.lost, side.snap.lost), ([ended], [ended]))

    def test_met(self) -> None:
        for side, other, inbound in ((self.alice, self.bob, False), (self.bob, self.alice, True)):
            session = side.session
            self.assertEqual((session.node_id, session.inbound), (other.key.public_key.node_id, inbound))
            self.assertEqual(session.shared, ("eth/68", "snap/1"))
        self.assertEqual(self.alice.session.client, "node 1")

    def test_an_hour_of_silence(self) -> None:
        self.network.advance(3600)
        for side in (self.alice, self.bob):
            self.assertIsNone(side.session.ended)
            rtt = side.session.rtt
            assert rtt is not None
            self.assertTrue(0.02 <= rtt < 0.03, rtt)
            self.assertTrue(1 + 2 * 235 < side.session.messages_in < 1 + 2 * 240)

    def test_goodbye(self) -> None:
        self.alice.session.disconnect(DisconnectReason.CLIENT_QUITTING)
        self.check_ended(self.alice, DisconnectReason.CLIENT_QUITTING)

    def test_goodbye_to_one_who_does_not_read(self) -> None:
        self.bob.eth.channel.pauseProducing()
        for _ in range(4):
            self.alice.eth.channel.writeMessage(0, Random(0).randbytes(100 * KIB))
        self.network.advance(1)
        self.assertGreater(self.alice.eth.channel.lane.size, 0)
        self.alice.session.disconnect(DisconnectReason.CLIENT_QUITTING)
        self.network.advance(3)
        self.assertEqual([ended.reason for ended in self.alice.household.ended], [DisconnectReason.CLIENT_QUITTING])

    def test_what_is_left_does_not_wait_for_the_garbage_collector(self) -> None:
        """A node that meets many peers would else hold the last thousands of them, and go through them all again."""
        self.network.advance(1)
        self.alice.session.disconnect(DisconnectReason.CLIENT_QUITTING)
        self.network.advance(3)
        left = [weakref.ref(side.session) for side in (self.alice, self.bob)]
        left += [weakref.ref(side.session.transport) for side in (self.alice, self.bob)]
        gc.disable()
        try:
            for side in (self.alice, self.bob):
                for offer in side.offers:
                    offer.built.clear()
            self.assertEqual([one() for one in left], [None] * 4)
        finally:
            gc.enable()

    def test_damaged_frame(self) -> None:
        self.bob.session.transport._tcp.write(bytes(32))
        self.check_ended(self.alice, DisconnectReason.BREACH_OF_PROTOCOL)
        self.assertEqual([offence for offence, _ in self.alice.household.offences], [Offence.BAD_MESSAGE])

    def test_bulk_and_small_both_ways(self) -> None:
        """Megabytes of one language do not hold up, or reorder, the other's small messages."""
        chunks = [Random(number).randbytes(100 * KIB) for number in range(20)]
        for side in (self.alice, self.bob):
            for chunk in chunks:
                side.eth.channel.writeMessage(1, chunk)
            for number in range(100):
                side.snap.channel.writeMessage(2, bytes([number]))
        sides = (self.alice, self.bob)
        self.network.run_until(lambda: all(len(side.snap.received) == 100 for side in sides))
        for side in sides:
            self.assertLess(len(side.eth.received), 5)
        self.network.run_until(lambda: all(len(side.eth.received) == 20 for side in sides))
        for side in sides:
            self.assertEqual(side.eth.received, [(1, chunk) for chunk in chunks])
            self.assertEqual(side.snap.received, [(2, bytes([number])) for number in range(100)])
            self.assertEqual(side.session.queue.turns, [])

    def test_a_producer_over_the_wire(self) -> None:
        """A writer that heeds its pauses sends sixteen megabytes with a lane that stays small."""
        channel = self.alice.eth.channel
        chunk, largest = Random(1).randbytes(32 * KIB), 0

        class Writer:
            left = 512
            going = True

            def pauseProducing(self) -> None:
                self.going = False

            def stopProducing(self) -> None:
                self.going = False

            def resumeProducing(self) -> None:
                nonlocal largest
                self.going = True
                while self.going and self.left:
                    self.left -= 1
                    channel.writeMessage(1, chunk)
                    largest = max(largest, channel.lane.size)

        writer = Writer()
        channel.registerProducer(writer, True)
        writer.resumeProducing()
        self.network.run_until(lambda: len(self.bob.eth.received) == 512, limit=600)
        self.assertLess(largest, HIGH_WATER + 2 * len(chunk))

    def test_a_peer_that_stops_reading(self) -> None:
        """We stop reading it too, keep a bounded lot, and give it up before long; it is told the end at once."""
        alice, bob = self.alice, self.bob
        alice.eth.reaction = lambda code, payload: alice.eth.channel.writeMessage(1, Random(0).randbytes(500 * KIB))
        bob.session.transport._tcp.pauseProducing()
        for _ in range(40):
            bob.eth.channel.writeMessage(0, b"more")
            self.network.advance(0.1)
        self.assertLess(alice.eth.channel.lane.size, HARD_CAP + 600 * KIB)
        self.assertLess(len(alice.eth.received), 20)
        self.network.advance(40)
        (ended,) = alice.household.ended
        self.assertTrue(ended.by_us)
        self.assertEqual([offence for offence, _ in alice.household.offences], [Offence.TIMEOUT])
