"""
A short attack, and whether one that finds something says so.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4 import limits, wire
from ethp2p.discv4.limits import AMPLIFICATION
from ethp2p.discv4.state import Discv4
from tests.fuzz.attack import Attack, Broken
from tests.fuzz.town import TALK

#: All that the two protocols have.
PACKETS = {*wire.NAMES, "Ordinary", "WhoAreYou", "Handshake"}


class AttackTests(SynchronousTestCase):
    def broken(self, attack: Attack, count: int = 3000) -> str:
        """What is said about what does not hold."""
        return str(self.assertRaises(Broken, attack.run, count=count))

    def test_short(self) -> None:
        """All holds, and every kind of datagram has its part in it."""
        attack = Attack(1)
        attack.run(count=5000)
        self.assertGreaterEqual(attack.hostile.total(), 5000)
        self.assertEqual(len(attack.hostile), 11)
        self.assertGreater(min(attack.hostile.values()), 100)
        self.assertLessEqual(PACKETS, set(attack.honest))
        self.assertTrue(1 < attack.worst <= AMPLIFICATION)
        self.assertGreater(attack.peaks["v4.bonds"][0], 5)
        self.assertGreater(attack.peaks["v5.sessions"][0], 5)
        self.assertGreater(attack.peaks["v4.table"][0], 5)
        self.assertEqual(attack.town.reactor.getDelayedCalls(), [])

    def test_again(self) -> None:
        """A seed gives the same attack."""

        def run(seed: int) -> tuple[Any, ...]:
            attack = Attack(seed)
            attack.run(count=1000)
            return attack.hostile, attack.honest, attack.sent, attack.peaks

        first = run(2)
        self.assertEqual(first, run(2))
        self.assertNotEqual(first, run(3))

    def test_raised(self) -> None:
        """An exception is found, and told with the datagram that caused it and how to repeat it."""
        message_of = wire.message_of
        caused: list[bytes] = []

        def faulty(packet: bytes) -> Any:
            message = message_of(packet)
            if isinstance(message, wire.FindNode) and message.expiration > 2**32:
                caused.append(packet)
                raise KeyError("planted")
            return message

        self.patch(wire, "message_of", faulty)
        said = self.broken(Attack(4), 20_000)
        self.assertIn("KeyError: 'planted'", said)
        self.assertIn(caused[0].hex(), said)
        again = said.rpartition("--count ")[2]
        self.assertIn(f"--seed 4 --count {again}", said)
        self.assertIn(caused[0].hex(), self.broken(Attack(4), int(again)))

    def test_amplified(self) -> None:
        """An address that has proven nothing gets too much."""
        send = Discv4._send

        def twice(engine: Discv4, *args: Any) -> int:
            send(engine, *args)
            return send(engine, *args)

        self.patch(Discv4, "_send", twice)
        self.assertIn("bytes and proven nothing, and gets", self.broken(Attack(5)))

    def test_overfull(self) -> None:
        """A map holds more than its cap."""
        self.patch(limits, "MAX_PROOFS", 2)  # not what the engine goes by
        self.assertRegex(self.broken(Attack(6)), r"v4.proofs holds \d+, more than 2")

    def test_logged(self) -> None:
        """A failure that is logged is one that was not foreseen."""
        attack = Attack(7)
        assert attack.town.service.v5 is not None
        attack.town.service.v5.handleTalk(TALK, lambda node, message: bytes(1 // 0))
        self.assertIn("ZeroDivisionError", self.broken(attack))
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
