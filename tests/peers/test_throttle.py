"""
Tables of rounds for the door: how often a host may call, and how many handshakes go on.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.peers.admission import Rule
from ethp2p.peers.policy import Policy
from ethp2p.peers.throttle import (
    HANDSHAKE_BURST,
    HANDSHAKE_COST,
    HANDSHAKE_SHARE,
    MAX_CALLERS,
    MAX_WAITING,
    ROUNDING,
    Doorman,
    Refused,
    Throttle,
    Welcome,
)

OPEN = Policy(inbound_throttle=0)


def host(number: int) -> str:
    """A host of its own for every number."""
    return f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1"


class ThrottleTests(SynchronousTestCase):
    def rounds(self, throttle: Throttle, *rounds: tuple[float, str, float]) -> None:
        for now, caller, wait in rounds:
            self.assertAlmostEqual(throttle.wait(caller, now), wait, msg=f"{caller} at {now}")

    def test_once_in_30_s(self) -> None:
        """A host may call each 30 s; calls between are not remembered, so who keeps trying does get in."""
        self.rounds(
            Throttle(Policy()),
            (0.0, "95.33.21.2", 0.0),
            (0.0, "95.33.21.2", 30.0),
            (0.0, "95.33.21.3", 0.0),
            (20.0, "95.33.21.2", 10.0),
            (29.5, "95.33.21.2", 0.5),
            (30.0, "95.33.21.2", 0.0),
            (31.0, "95.33.21.2", 29.0),
            (31.0, "95.33.21.3", 0.0),
        )

    def test_one_host(self) -> None:
        """An IPv4 address in either form is one host, and so is an IPv6 /64."""
        self.rounds(
            Throttle(Policy()),
            (0.0, "95.33.21.2", 0.0),
            (1.0, "::ffff:95.33.21.2", 29.0),
            (1.0, "2a01:4f8::1", 0.0),
            (2.0, "2a01:4f8::2", 29.0),
            (2.0, "2a01:4f8:0:1::1", 0.0),
            (2.0, "somewhere", 0.0),
            (3.0, "somewhere", 29.0),
        )

    def test_lan(self) -> None:
        """The local network may call as it likes, unless the policy says otherwise."""
        for caller in ("127.0.0.1", "10.0.0.7", "192.168.1.1", "::1", "fe80::1", "fd00::1"):
            self.rounds(Throttle(Policy()), (0.0, caller, 0.0), (0.0, caller, 0.0))
            self.rounds(Throttle(Policy(throttle_lan=True)), (0.0, caller, 0.0), (0.0, caller, 30.0))

    def test_policy_changes(self) -> None:
        """The interval of now counts, whatever it was when the host called."""
        throttle = Throttle(Policy())
        self.rounds(throttle, (0.0, "95.33.21.2", 0.0), (1.0, "95.33.21.2", 29.0))
        throttle.policy = Policy(inbound_throttle=5)
        self.rounds(throttle, (1.0, "95.33.21.2", 4.0), (6.0, "95.33.21.2", 0.0))
        throttle.policy = Policy(inbound_throttle=0)
        self.rounds(throttle, (6.0, "95.33.21.2", 0.0), (6.0, "95.33.21.2", 0.0))

    def test_bounded(self) -> None:
        """However many hosts call, so many are remembered, and none for longer than the interval."""
        throttle = Throttle(Policy())
        for number in range(MAX_CALLERS + 100):
            throttle.wait(host(number), 0.0)
        self.assertEqual(len(throttle), MAX_CALLERS)
        self.rounds(throttle, (1.0, host(MAX_CALLERS), 29.0), (1.0, host(0), 0.0))
        throttle.wait("95.33.21.2", 32.0)
        self.assertEqual(len(throttle), 1)


class DoormanTests(SynchronousTestCase):
    def fill(self, doorman: Doorman, many: int, now: float = 0.0, first: int = 0) -> None:
        for number in range(first, first + many):
            doorman.arrive(host(number), now)

    def test_throttled(self) -> None:
        """geth's inbound throttle: the second call is closed, and says why and for how long."""
        doorman = Doorman(Policy())
        self.assertIs(doorman.arrive("95.33.21.2", 0.0), Welcome.COME)
        refused = Refused("called again too soon, may in 18 s", Rule.THROTTLED)
        self.assertEqual(doorman.arrive("95.33.21.2", 12.1), refused)
        self.assertEqual((doorman.pending, doorman.waiting), (1, 0))
        doorman.settled()
        self.assertIs(doorman.arrive("95.33.21.2", 30.0), Welcome.COME)

    def test_tokens(self) -> None:
        """So many handshakes go on at one time; the next callers wait, and come in as others are done."""
        doorman = Doorman(Policy(max_pending=2))
        verdicts = [doorman.arrive(host(number), 0.0) for number in range(4)]
        self.assertEqual(verdicts, [Welcome.COME] * 2 + [Welcome.WAIT] * 2)
        self.assertFalse(doorman.next_welcome(0.0))
        self.assertIsNone(doorman.next_timer(0.0))  # time alone does not help
        doorman.settled()
        self.assertEqual(doorman.next_timer(0.0), 0.0)
        self.assertIs(doorman.arrive(host(9), 0.0), Welcome.WAIT)  # nobody comes in before those in line
        self.assertTrue(doorman.next_welcome(0.0))
        self.assertFalse(doorman.next_welcome(0.0))
        self.assertEqual((doorman.pending, doorman.waiting), (2, 2))
        doorman.left()
        doorman.left()
        doorman.settled()
        self.assertFalse(doorman.next_welcome(0.0))  # nobody is in line any more
        self.assertIsNone(doorman.next_timer(0.0))
        doorman.settled()
        self.assertEqual((doorman.pending, doorman.waiting), (0, 0))

    def test_line_is_bounded(self) -> None:
        """Beyond, callers are turned away, and may call again at once: nothing is held against them."""
        doorman = Doorman(Policy(max_pending=1))
        self.fill(doorman, 1 + MAX_WAITING)
        refused = Refused(f"{MAX_WAITING} callers wait already", Rule.BUSY)
        for _ in range(2):
            self.assertEqual(doorman.arrive("95.33.21.2", 0.0), refused)
        self.assertEqual((doorman.pending, doorman.waiting), (1, MAX_WAITING))
        doorman.left()
        self.assertIs(doorman.arrive("95.33.21.2", 0.0), Welcome.WAIT)

    def test_policy_changes(self) -> None:
        """A change counts from now on; handshakes that go on are not broken off."""
        doorman = Doorman(Policy(max_pending=3))
        self.fill(doorman, 4)
        doorman.policy = Policy(max_pending=1)
        for pending in (3, 2, 1):
            self.assertEqual(doorman.pending, pending)
            self.assertFalse(doorman.next_welcome(0.0))
            doorman.settled()
        self.assertTrue(doorman.next_welcome(0.0))
        doorman.policy = Policy(max_pending=9, inbound_throttle=0)
        for _ in range(2):
            self.assertIs(doorman.arrive("95.33.21.2", 0.0), Welcome.COME)

    def test_budget(self) -> None:
        """After a second of work at once, handshakes begin as fast as half of a core can do them."""
        doorman = Doorman(OPEN)
        at_once = round(HANDSHAKE_BURST / HANDSHAKE_COST)
        for now in (0.0, 3600.0):  # an hour of quiet earns no more
            for _ in range(at_once):
                self.assertIs(doorman.arrive(host(0), now), Welcome.COME)
                doorman.settled()
            self.assertIs(doorman.arrive(host(0), now), Welcome.WAIT)
            due = doorman.next_timer(now)
            assert due is not None
            self.assertAlmostEqual(due, now + HANDSHAKE_COST / HANDSHAKE_SHARE)
            self.assertFalse(doorman.next_welcome((now + due) / 2))
            self.assertTrue(doorman.next_welcome(due))
            doorman.settled()

    def test_flood(self) -> None:
        """
        2,000 callers in a second: never more than the tokens, the line, and half of a core
        together with the burst; and in the end everything is given back.
        """
        doorman, rng = Doorman(Policy(max_pending=50)), Random(4)
        going: list[float] = []
        work, come, away = 0.0, 0, 0
        for tick in range(2000):
            now = tick * 0.0005
            for over in [end for end in going if end <= now]:
                going.remove(over)
                doorman.settled()
            verdict = doorman.arrive(host(tick), now)
            away += isinstance(verdict, Refused)
            begun = int(verdict is Welcome.COME)
            while doorman.next_welcome(now):
                begun += 1
            for _ in range(begun):
                going.append(now + rng.uniform(0.01, 0.04))
                work += HANDSHAKE_COST
                come += 1
            self.assertLessEqual(len(going), 50)
            self.assertEqual((doorman.pending, doorman.waiting <= MAX_WAITING), (len(going), True))
            self.assertLessEqual(work, HANDSHAKE_BURST + HANDSHAKE_SHARE * now + ROUNDING)
        self.assertEqual(come + away + doorman.waiting, 2000)
        self.assertGreater(come, 900)
        now += 1000.0
        for _ in going:
            doorman.settled()
        while doorman.waiting:
            self.assertTrue(doorman.next_welcome(now))
            doorman.settled()
            now += 1.0
        self.assertEqual((doorman.pending, doorman.waiting), (0, 0))

    def test_time_stands_still(self) -> None:
        """A time that does not pass, or goes back, earns nothing."""
        doorman = Doorman(OPEN)
        while doorman.arrive(host(0), 100.0) is Welcome.COME:
            doorman.settled()
        for now in (99.0, 0.0, 99.999, 100.0):
            self.assertFalse(doorman.next_welcome(now))
        self.assertTrue(doorman.next_welcome(100.01))
