"""
Peers that read slowly or not at all, and capabilities that do not listen.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.devp2p.channel import MAX_HELD
from ethp2p.devp2p.multiplex import HARD_CAP, HIGH_WATER, LOW_WATER, QueueFull
from ethp2p.devp2p.wire import DISCONNECT, PING, PONG
from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence, RemoteProtocolError
from tests.devp2p.fakes import Language, LanguageFactory, Producer, Scene

KIB = 1024


def scene(room: int = 0, version: int = 4) -> Scene:
    """Two languages, without snappy so that sizes are as written, and a transport with little room."""
    made = Scene(
        LanguageFactory("eth", {68: 17}),
        LanguageFactory("snap", {1: 8}),
        peerOffers=("eth/68", "snap/1"),
        version=version,
    ).meet()
    made.transport.room = room
    made.transport.unread = 0
    return made


def congested(room: int = 0) -> tuple[Scene, Any, Any]:
    """The same with a peer that does not read; its channels."""
    made = scene(room)
    eth, snap = made.session.channels["eth"], made.session.channels["snap"]
    eth.writeMessage(0, bytes(room + 1))
    assert made.session.congested
    made.heard()
    return made, eth, snap


class OutgoingTests(SynchronousTestCase):
    def test_straight_through(self) -> None:
        made = scene(room=1 << 30)
        eth = made.session.channels["eth"]
        for _ in range(10):
            eth.writeMessage(3, bytes(KIB))
        self.assertEqual(made.heard(), [(19, bytes(KIB))] * 10)
        self.assertIsNone(eth.lane._waiting)

    def test_what_waits_goes_out_in_order(self) -> None:
        made, eth, _ = congested(room=10 * KIB)
        for code in range(17):
            eth.writeMessage(code, bytes(4 * KIB))
        self.assertEqual(made.heard(), [])
        sent = []
        for _ in range(20):
            made.transport.read()
            sent.append([code - 16 for code, _ in made.heard()])
        self.assertEqual([code for turn in sent for code in turn], list(range(17)))
        self.assertLessEqual(max(map(len, sent)), 3)  # as much as there is room for
        self.assertEqual(eth.messages_out, 1 + 17)

    def test_control_messages_first(self) -> None:
        made, eth, _ = congested()
        for _ in range(5):
            eth.writeMessage(1, b"waits")
        made.say(PING, b"\xc0")
        made.transport.room = 1 << 30
        made.transport.read()
        self.assertEqual([code for code, _ in made.heard()], [PONG] + [17] * 5)

    def test_pings_of_a_peer_that_does_not_read(self) -> None:
        made, _, _ = congested()
        for _ in range(20):
            made.say(PING, b"\xc0")
        self.assertEqual(made.heard(), [])
        made.transport.read()
        self.assertEqual(made.heard(), [(PONG, b"\xc0")])

    def test_capabilities_take_turns(self) -> None:
        made, eth, snap = congested()
        for _ in range(20):
            eth.writeMessage(1, bytes(20 * KIB))
        for _ in range(20):
            snap.writeMessage(1, bytes(100))
        order = []
        for _ in range(40):
            made.transport.read()
            order += [code for code, _ in made.heard()]
        self.assertEqual(sorted(order), [17] * 20 + [34] * 20)
        self.assertLess(order.index(34), 2)
        self.assertEqual(order[:22].count(34), 20)  # all that is small, while two of the large went

    def test_producers_follow_the_water(self) -> None:
        made, eth, snap = congested()
        writer, other = Producer(), Producer()
        eth.registerProducer(writer, True)
        snap.registerProducer(other, True)
        while eth.lane.size <= HIGH_WATER - 33 * KIB:
            eth.writeMessage(0, bytes(32 * KIB))
        self.assertEqual(writer.told, [])
        eth.writeMessage(0, bytes(33 * KIB))
        eth.writeMessage(0, bytes(33 * KIB))
        self.assertEqual((writer.told, other.told), (["pause"], []))
        while eth.lane.size > LOW_WATER + 33 * KIB:
            made.transport.read()
        self.assertEqual(writer.told, ["pause"])
        while eth.lane.size > LOW_WATER:
            made.transport.read()
        self.assertEqual((writer.told, other.told), (["pause", "resume"], []))
        self.assertTrue(made.transport.reading)
        self.assertEqual(made.transport.pauses, 0)

    def test_a_producer_that_comes_late(self) -> None:
        _, eth, _ = congested()
        eth.writeMessage(0, bytes(HIGH_WATER))
        writer = Producer()
        eth.registerProducer(writer, True)
        self.assertEqual(writer.told, ["pause"])
        eth.unregisterProducer()
        eth.registerProducer(Producer(), True)

    def test_a_producer_that_writes_when_resumed(self) -> None:
        """It fills its lane again at once, and nothing is lost, doubled or out of order."""
        made, eth, _ = congested(room=50 * KIB)
        count = 0

        class Writer(Producer):
            def resumeProducing(self) -> None:
                nonlocal count
                super().resumeProducing()
                while self.told[-1] == "resume" and count < 1000:
                    eth.writeMessage(0, count.to_bytes(2, "big") + bytes(10 * KIB))
                    count += 1

        writer = Writer()
        eth.registerProducer(writer, True)
        writer.resumeProducing()
        received = []
        for _ in range(1000):
            received += [int.from_bytes(payload[:2], "big") for _, payload in made.heard()]
            self.assertLess(eth.lane.size, HIGH_WATER + 11 * KIB)
            made.transport.read()
        self.assertEqual(received, list(range(1000)))
        self.assertGreater(writer.told.count("pause"), 10)

    def test_a_peer_that_asks_and_does_not_read(self) -> None:
        """A capability that answers each message with a megabyte and heeds nothing."""
        made, eth, _ = congested()
        language = made.offers[0].built[0]
        language.reaction = lambda code, payload: eth.writeMessage(1, bytes(KIB * KIB))
        asked = 0
        while made.transport.reading:
            made.say(16, b"\xc0")
            asked += 1
        self.assertEqual(asked, 4)
        self.assertLess(eth.lane.size, HARD_CAP + KIB * KIB + 1000)
        made.transport.read()
        self.assertFalse(made.transport.reading)
        while not made.transport.reading:
            made.transport.read()
        self.assertLessEqual(eth.lane.size, HIGH_WATER)
        self.assertIsNone(made.session.ended)

    def test_a_writer_that_heeds_nothing(self) -> None:
        made, eth, snap = congested()
        with self.assertRaises(QueueFull) as caught:
            for _ in range(1000):
                eth.writeMessage(1, bytes(100 * KIB))
        self.assertIsInstance(caught.exception, LocalProtocolError)
        self.assertEqual(made.goodbye(), DisconnectReason.SUBPROTOCOL_ERROR)
        self.assertEqual(made.household.offences, [])
        ended = made.session.ended
        assert ended is not None
        self.assertIn("eth/68: ", ended.detail)
        self.assertEqual((eth.lane.size, snap.lane.size, made.session.queue.turns), (0, 0, []))
        eth.writeMessage(1, b"ignored")

    def test_memory_of_a_peer_that_does_not_read(self) -> None:
        """Small messages, which cost the most beyond their bytes, in every lane up to its cap."""
        _, eth, snap = congested()
        tracemalloc.start()
        try:
            for channel in (eth, snap):
                while not channel.lane.overflowing:
                    channel.writeMessage(1, bytes(bytearray(100)))
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        self.assertLess(held, 2 * 1.25 * HARD_CAP)

    def test_it_is_given_up_in_the_end(self) -> None:
        made, eth, _ = congested()
        eth.writeMessage(1, bytes(HARD_CAP + 1))
        self.assertFalse(made.transport.reading)
        made.advance(31)
        self.assertEqual([offence for offence, _ in made.household.offences], [Offence.TIMEOUT])
        self.assertEqual([code for code, _ in made.heard()], [PING, DISCONNECT])

    def test_slow_is_not_dead(self) -> None:
        """A peer that takes a little now and then lives, though we hear nothing from it."""
        made, eth, _ = congested()
        for _ in range(100):
            eth.writeMessage(1, bytes(50 * KIB))
            if eth.lane.overflowing:
                break
        self.assertFalse(made.transport.reading)
        for _ in range(8):
            made.advance(10)
            made.transport.read()
        self.assertIsNone(made.session.ended)

    def test_closing_sends_what_waits(self) -> None:
        made, eth, snap = congested()
        eth.writeMessage(1, b"one")
        snap.writeMessage(1, b"two")
        eth.loseConnection()
        self.assertEqual([code for code, _ in made.heard()], [17, 34, DISCONNECT])

    def test_disconnecting_drops_what_waits(self) -> None:
        made, eth, _ = congested()
        eth.writeMessage(1, bytes(KIB * KIB))
        made.session.disconnect(DisconnectReason.CLIENT_QUITTING)
        self.assertEqual(made.heard(), [(DISCONNECT, b"\xc1\x08")])
        self.assertEqual(eth.lane.size, 0)

    def test_a_transport_that_is_full_from_the_start(self) -> None:
        made = Scene()
        register = made.transport.registerProducer
        made.transport.registerProducer = lambda producer, streaming: (  # type: ignore[method-assign,assignment]
            register(producer, streaming),
            producer.pauseProducing(),
        )
        made.begin()
        self.assertEqual(made.transport.written, [])
        made.transport.read()
        self.assertEqual(len(made.transport.written), 1)


class IncomingTests(SynchronousTestCase):
    def paused(self) -> tuple[Scene, Language, Language]:
        made = scene(room=1 << 30)
        eth, snap = (factory.built[0] for factory in made.offers)
        eth.channel.pauseProducing()
        return made, eth, snap

    def test_held_and_released(self) -> None:
        made, eth, snap = self.paused()
        self.assertFalse(made.transport.reading)
        for code in range(5):
            made.say(16 + code, b"under way")
        made.say(33, b"for another")
        self.assertEqual((eth.received, snap.received), ([], [(0, b"for another")]))
        eth.channel.resumeProducing()
        self.assertEqual([code for code, _ in eth.received], list(range(5)))
        self.assertTrue(made.transport.reading)
        made.say(16, b"as before")
        self.assertEqual(eth.received[-1], (0, b"as before"))

    def test_paused_again_while_released(self) -> None:
        made, eth, _ = self.paused()
        for code in range(6):
            made.say(16 + code, b"")
        eth.reaction = lambda code, payload: eth.channel.pauseProducing() if code % 2 else None
        for seen in (2, 4, 6):
            eth.channel.resumeProducing()
            self.assertEqual([code for code, _ in eth.received], list(range(seen)))
            self.assertFalse(made.transport.reading)
        eth.channel.resumeProducing()
        self.assertTrue(made.transport.reading)
        self.assertEqual((len(eth.received), made.transport.pauses), (6, 1))

    def test_paused_and_resumed_in_each_message(self) -> None:
        """Neither out of order nor one inside the other, however many are held."""
        made, eth, _ = self.paused()
        depth = deepest = 0

        def react(code: int, payload: bytes) -> None:
            nonlocal depth, deepest
            depth += 1
            deepest = max(depth, deepest)
            eth.channel.pauseProducing()
            eth.channel.resumeProducing()
            depth -= 1

        eth.reaction = react
        for number in range(MAX_HELD):
            made.say(16, number.to_bytes(2, "big"))
        eth.channel.resumeProducing()
        self.assertEqual([int.from_bytes(payload, "big") for _, payload in eth.received], list(range(MAX_HELD)))
        self.assertEqual(deepest, 1)
        self.assertTrue(made.transport.reading)

    def test_two_that_do_not_listen(self) -> None:
        made, eth, snap = self.paused()
        snap.channel.pauseProducing()
        eth.channel.resumeProducing()
        self.assertFalse(made.transport.reading)
        snap.channel.resumeProducing()
        self.assertTrue(made.transport.reading)
        self.assertEqual(made.transport.pauses, 1)

    def test_resumed_without_a_pause(self) -> None:
        made = scene()
        made.offers[0].built[0].channel.resumeProducing()
        self.assertEqual((made.transport.reading, made.transport.pauses), (True, 0))

    def test_paused_twice(self) -> None:
        made, eth, _ = self.paused()
        eth.channel.pauseProducing()
        made.say(16, b"")
        eth.channel.resumeProducing()
        self.assertEqual((len(eth.received), made.transport.reading), (1, True))

    def test_held_is_capped(self) -> None:
        """A transport that goes on delivering does not keep its promise."""
        made, _, _ = self.paused()
        for _ in range(MAX_HELD):
            made.say(16, b"")
        self.assertIsNone(made.session.ended)
        made.say(16, b"")
        self.assertEqual(len(self.flushLoggedErrors(LocalProtocolError)), 1)
        self.assertEqual((made.goodbye(), made.household.offences), (DisconnectReason.SUBPROTOCOL_ERROR, []))

    def test_a_breach_among_what_was_held(self) -> None:
        made, eth, _ = self.paused()
        made.say(18, b"")
        made.say(33, b"")

        def react(code: int, payload: bytes) -> None:
            raise RemoteProtocolError("wrong")

        eth.reaction = react
        eth.channel.resumeProducing()
        self.assertEqual(made.household.offences, [(Offence.BAD_PROTOCOL, "eth/68 message 0x02: wrong")])
        self.assertEqual(made.goodbye(), DisconnectReason.BREACH_OF_PROTOCOL)

    def test_ended_while_released(self) -> None:
        made, eth, _ = self.paused()
        for code in range(4):
            made.say(16 + code, b"")
        eth.reaction = lambda code, payload: eth.channel.disconnect(DisconnectReason.REQUESTED) if code == 1 else None
        eth.channel.resumeProducing()
        self.assertEqual([code for code, _ in eth.received], [0, 1])

    def test_silence_while_we_do_not_read(self) -> None:
        """A peer that we do not read cannot answer our Pings, and is not blamed."""
        made, eth, _ = self.paused()
        made.advance(120)
        self.assertIsNone(made.session.ended)
        self.assertGreaterEqual([code for code, _ in made.heard()].count(PING), 7)
        eth.channel.resumeProducing()
        made.advance(50)
        self.assertEqual([offence for offence, _ in made.household.offences], [Offence.TIMEOUT])
