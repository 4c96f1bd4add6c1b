"""The guessing game: on a channel pair, and over two whole nodes on a virtual network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p import LocalHello, SessionFactory
from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence, PeerDisconnected
from ethp2p.interfaces import ICapability, ICapabilityFactory
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint, RLPxServerEndpoint
from ethp2p.testing.channel import channel_pair
from ethp2p.testing.household import RecordingHousehold
from ethp2p.testing.network import MemoryNetwork
from ethp2p.testing.toy import ANSWER, GUESS, MAX_GUESSES, NUMBER, Number, ToyFactory, ToyProtocol, Verdict, find


class ToyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = channel_pair("toy", 1, length=2)
        self.here, self.there = ToyProtocol(7), ToyProtocol(42)
        self.pair.open(self.here, self.there)

    def test_interfaces(self) -> None:
        verifyObject(ICapability, self.here)
        factory = ToyFactory(7)
        verifyObject(ICapabilityFactory, factory)
        game = factory.buildCapability(self.pair.left.session, 1)
        self.assertEqual((factory.games, game.secret), ([game], 7))

    def test_verdicts(self) -> None:
        verdicts = [self.here.guess(number) for number in (41, 42, 43)]
        self.assertEqual(self.here.describe(), {"version": 1, "open": 3})
        self.pair.flush()
        self.assertEqual(
            [self.successResultOf(verdict) for verdict in verdicts], [Verdict.LARGER, Verdict.RIGHT, Verdict.SMALLER]
        )
        self.assertEqual(self.pair.left.sent, [(GUESS, b"\xc1\x29"), (GUESS, b"\xc1\x2a"), (GUESS, b"\xc1\x2b")])
        self.assertEqual(self.pair.right.sent, [(ANSWER, b"\xc1\x01"), (ANSWER, b"\xc1\x80"), (ANSWER, b"\xc1\x02")])

    def test_every_number_is_found_in_seven_guesses(self) -> None:
        for secret in range(1, 101):
            self.there.secret = secret
            found = Deferred.fromCoroutine(find(self.here))
            self.pair.flush()
            number, guesses = self.successResultOf(found)
            self.assertEqual(number, secret)
            self.assertLessEqual(guesses, 7)

    def test_a_liar_does_not_keep_us_guessing(self) -> None:
        for verdict in (Verdict.LARGER, Verdict.SMALLER):
            found = Deferred.fromCoroutine(find(self.here))
            for _ in range(10):
                if found.called:
                    break
                self.here.messageReceived(ANSWER, NUMBER.encode(Number(verdict)))
            self.successResultOf(found)
            self.pair.right._waiting.clear()

    def test_offences(self) -> None:
        for code, payload, offence in (
            (ANSWER, b"\xc1\x01", Offence.UNSOLICITED),
            (GUESS, b"\x01", Offence.BAD_MESSAGE),
            (GUESS, b"\xc2\x01\x01", Offence.BAD_MESSAGE),
            (GUESS, b"\xc3\x82\x01\x00", Offence.BAD_MESSAGE),
        ):
            self.setUp()
            self.pair.left.writeMessage(code, payload)
            self.pair.flush()
            self.assertEqual(self.pair.right.session.offences[0][0], offence)

    def test_a_verdict_that_is_none(self) -> None:
        verdict = self.here.guess(1)
        self.pair.right.writeMessage(ANSWER, b"\xc1\x03")
        self.pair.left.step()
        self.assertEqual(self.pair.left.session.offences[0][0], Offence.BAD_MESSAGE)
        self.pair.flush()
        self.failureResultOf(verdict, PeerDisconnected)

    def test_guesses_fail_when_the_peer_goes(self) -> None:
        guesses = [self.here.guess(1), self.here.guess(2)]
        self.pair.right.abortConnection()
        self.pair.flush()
        for guess in guesses:
            self.failureResultOf(guess, PeerDisconnected)
        self.failureResultOf(self.here.guess(3), LocalProtocolError)

    def test_not_too_many_at_once(self) -> None:
        guesses = [self.here.guess(1) for _ in range(MAX_GUESSES)]
        self.failureResultOf(self.here.guess(1), LocalProtocolError)
        self.pair.flush()
        self.assertEqual({self.successResultOf(guess) for guess in guesses}, {Verdict.LARGER})

    def test_a_cancelled_guess_does_not_shift_the_others(self) -> None:
        first, second = self.here.guess(41), self.here.guess(43)
        first.cancel()
        self.failureResultOf(first)
        self.pair.flush()
        self.assertIs(self.successResultOf(second), Verdict.SMALLER)


class Player:
    """A machine that plays, with all floors under the game."""

    def __init__(self, network: MemoryNetwork, address: str, secret: int) -> None:
        self.host = network.host(address)
        self.key = PrivateKey.generate(network.rng.randbytes)
        self.toy = ToyFactory(secret)
        self.household = RecordingHousehold()
        self.options: dict[str, Any] = {
            "clock": self.host,
            "wheel": WheelTimer(self.host),
            "random": network.rng.randbytes,
        }
        hello = LocalHello(f"player at {address}", self.key.public_key)
        self.sessions = SessionFactory(hello, [self.toy], self.household, wheel=self.options["wheel"])

    def listen(self) -> Any:
        return RLPxServerEndpoint(TCP4ServerEndpoint(self.host, 30303), self.key, **self.options).listen(self.sessions)

    def call(self, other: Player) -> Any:
        tcp = TCP4ClientEndpoint(self.host, other.host.addresses[0], 30303)
        return RLPxClientEndpoint(tcp, self.key, other.key.public_key, **self.options).connect(self.sessions)


class WholeStackTests(SynchronousTestCase):
    """Every floor at once, chopped at random bytes, in virtual time."""

    def setUp(self) -> None:
        self.network = MemoryNetwork(seed=3, start=1_700_000_000.0)
        self.alice, self.bob = Player(self.network, "10.0.0.1", 42), Player(self.network, "10.0.0.2", 99)
        self.alice.listen()
        self.network.wait_for(self.bob.call(self.alice))
        self.network.run_until(lambda: self.alice.toy.games and self.bob.toy.games)

    def test_a_game(self) -> None:
        for player, secret in ((self.bob, 42), (self.alice, 99)):
            found = Deferred.fromCoroutine(find(player.toy.games[0]))
            self.assertEqual(self.network.wait_for(found)[0], secret)
        self.assertEqual(self.alice.household.offences + self.bob.household.offences, [])

    def test_the_end(self) -> None:
        guess = self.alice.toy.games[0].guess(50)
        self.bob.household.present[0].disconnect(DisconnectReason.CLIENT_QUITTING)
        failed = self.failureResultOf_(guess)
        self.assertEqual(failed.reason, DisconnectReason.CLIENT_QUITTING)
        self.network.advance(1)
        self.assertEqual(self.alice.household.ended[0][1].reason, DisconnectReason.CLIENT_QUITTING)
        self.assertTrue(self.bob.household.ended[0][1].by_us)

    def test_a_cheat_is_booked_and_thrown_out(self) -> None:
        self.bob.toy.games[0].channel.writeMessage(ANSWER, NUMBER.encode(Number(Verdict.RIGHT)))
        self.network.advance(1)
        session, offence, evidence = self.alice.household.offences[0]
        self.assertEqual((session.node_id, offence), (self.bob.key.public_key.node_id, Offence.UNSOLICITED))
        self.assertIn("toy/1", evidence)
        self.assertEqual(self.bob.household.ended[0][1].reason, DisconnectReason.BREACH_OF_PROTOCOL)

    def test_a_peer_that_vanished_is_found_out(self) -> None:
        guess = self.alice.toy.games[0].guess(50)
        self.bob.host.vanish()
        self.network.run_until(lambda: self.alice.household.ended, limit=120)
        self.failureResultOf(guess, PeerDisconnected)

    def failureResultOf_(self, deferred: Deferred[Any]) -> Any:
        return self.assertRaises(PeerDisconnected, self.network.wait_for, deferred)
