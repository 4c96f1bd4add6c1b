"""
Tables of rounds for the checks of the table's nodes.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.kademlia.revalidate import FAST_INTERVAL, SLOW_INTERVAL, Revalidator
from ethp2p.kademlia.table import Entry, Table
from tests.kademlia.nodes import LOCAL, at


class RevalidatorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table(LOCAL, rng=Random(1))
        self.table.ready = True
        self.revalidator = Revalidator(Random(2))

    def add(self, number: int, now: float = 0.0, quiet: float = 0.0) -> Entry:
        self.revalidator.follow(self.table.add_inbound(at(256, number), now, quiet=quiet), now)
        entry = self.table.get(at(256, number).node_id)
        assert entry is not None
        return entry

    def check(self) -> tuple[float, list[Entry]]:
        """Let time pass until somebody is to be checked."""
        now = 0.0
        entries: list[Entry] = []
        while not entries:
            due = self.revalidator.next_timer()
            assert due is not None and due < 1000
            now, entries = due, self.revalidator.next_checks(due)
        return now, entries

    def test_nobody(self) -> None:
        self.assertIsNone(self.revalidator.next_timer())
        self.assertEqual(self.revalidator.next_checks(100.0), [])

    def test_new_node(self) -> None:
        """It is checked within the interval, once, and is live when it has answered."""
        entry = self.add(1, 10.0)
        due = self.revalidator.next_timer()
        assert due is not None and 10.0 <= due <= 10.0 + FAST_INTERVAL
        self.assertEqual(self.revalidator.next_checks(due - 0.001), [])
        now, entries = self.check()
        self.assertEqual((now, entries), (due, [entry]))
        self.assertEqual([self.revalidator.next_checks(now + later) for later in range(1, 20)], [[]] * 19)
        self.revalidator.passed(entry, now + 20)
        self.assertEqual((entry.checks, entry.live, entry.checking), (1, True, False))

    def test_intervals(self) -> None:
        """New nodes are checked three times as often as those that have passed."""
        for number in range(10):
            self.add(number)
        rates = []
        for _ in range(2):
            checks, until = 0, (self.revalidator.next_timer() or 0) + 600
            while (now := self.revalidator.next_timer() or 0) < until:
                for entry in self.revalidator.next_checks(now):
                    checks += 1
                    entry.checking = False
            rates.append(checks)
            for entry in self.table:
                self.revalidator.passed(entry, now)
        for rate, interval in zip(rates, (FAST_INTERVAL, SLOW_INTERVAL)):
            self.assertTrue(0.85 < rate / (600 / (interval / 2)) < 1.15, rates)

    def test_everybody_in_turn(self) -> None:
        entries = {self.add(number) for number in range(16)}
        checked: set[Entry] = set()
        while checked != entries:
            now, due = self.check()
            checked.update(due)
            for entry in due:
                entry.checking = False
        self.assertLess(now, 16 * FAST_INTERVAL * 4)

    def test_failures(self) -> None:
        """A failed check takes two thirds of the credit, and who has none left is dropped."""
        for checks, survives in (
            (0, []),
            (1, []),
            (2, []),
            (3, [1]),
            (8, [2]),
            (9, [3, 1]),
            (26, [8, 2]),
            (27, [9, 3, 1]),
        ):
            self.setUp()
            entry = self.add(1)
            for number in range(checks):
                self.revalidator.passed(entry, float(number))
            left = []
            while not self.revalidator.failed(entry, 100.0):
                left.append(entry.checks)
            self.assertEqual(left, survives, checks)

    def test_failed_is_fast(self) -> None:
        """After a failure the next check comes soon."""
        entry = self.add(1)
        for _ in range(9):
            self.revalidator.passed(entry, 1.0)
        slow = self.revalidator.next_timer()
        assert slow is not None and 1.0 <= slow <= 1.0 + SLOW_INTERVAL
        self.revalidator.failed(entry, 50.0)
        fast = self.revalidator.next_timer()
        assert fast is not None and 50.0 <= fast <= 50.0 + FAST_INTERVAL

    def test_moved_is_fast(self) -> None:
        entry = self.add(1)
        self.revalidator.passed(entry, 1.0)
        changes = self.table.add_inbound(at(256, 1, "10.0.0.2"), 50.0)
        self.revalidator.follow(changes, 50.0)
        due = self.revalidator.next_timer()
        assert due is not None and 50.0 <= due <= 50.0 + FAST_INTERVAL
        self.assertFalse(entry.live)

    def test_quiet(self) -> None:
        """Who wants to be left alone is left alone, and then checked."""
        entry = self.add(1, 0.0, quiet=30.0)
        now, entries = self.check()
        self.assertEqual(entries, [entry])
        self.assertGreaterEqual(now, 30.0)
        self.assertLess(now, 30.0 + FAST_INTERVAL)

    def test_gone_meanwhile(self) -> None:
        """The answer of somebody who has left the table brings nobody back."""
        entry = self.add(1)
        now, _ = self.check()
        self.revalidator.follow(self.table.delete(entry.node.node_id, now), now)
        self.assertEqual((len(self.revalidator), self.revalidator.next_timer()), (0, None))
        self.revalidator.passed(entry, now)
        self.assertFalse(self.revalidator.failed(entry, now))
        self.assertEqual((len(self.revalidator), self.revalidator.next_timer()), (0, None))
