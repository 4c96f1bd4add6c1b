"""
Leases, by tables of what happens and what is to be done.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.nat.leases import LEAST_REFRESH, LIFETIME, MAX_FAILURES, REFRESH, RETRY, Lease, Map, Mapped, Unmap
from ethp2p.nat.wire import Transport

PORT = 30303


def commands(lease: Lease) -> list[Any]:
    """What it wants done."""
    found = []
    while (command := lease.next_command()) is not None:
        found.append(command)
    return found


class LeaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lease = Lease(Transport.TCP, PORT)

    def play(self, *rounds: tuple[float, str, list[Any], float | None]) -> None:
        """
        @param rounds: when, what happens, what it wants done then, and when it wants to be woken.
        """
        for now, what, expected, due in rounds:
            words = what.split()
            if words[0] == "granted":
                self.lease.granted(int(words[1]), float(words[2]) if len(words) > 2 else LIFETIME, now)
            elif words[0] == "refused":
                self.lease.refused("no", now)
            elif words[0] == "time":
                self.lease.handle_timer(now)
            else:
                getattr(self.lease, words[0])()
            self.assertEqual(commands(self.lease), expected, f"at {now}: {what}")
            self.assertEqual(self.lease.next_timer(), due, f"at {now}: {what}")

    def test_figures(self) -> None:
        self.assertEqual((LIFETIME, REFRESH, RETRY, MAX_FAILURES), (600, 480.0, 300.0, 5))

    def test_held_and_given_back(self) -> None:
        self.play(
            (0, "start", [Map(PORT)], None),
            (1, "granted 30303", [Mapped(PORT)], 481.0),
            (480, "time", [], 481.0),
            (481, "time", [Map(PORT)], None),
            (482, "granted 30303", [], 962.0),
            (962, "time", [Map(PORT)], None),
            (963, "granted 30303", [], 1443.0),
            (1000, "stop", [Unmap(PORT)], None),
            (1001, "unmapped", [], None),
        )
        self.assertTrue(self.lease.ended)

    def test_another_port(self) -> None:
        self.play(
            (0, "start", [Map(PORT)], None),
            (0, "granted 40000", [Mapped(40000)], 480.0),
            (480, "time", [Map(40000)], None),
            (480, "granted 40001", [Mapped(40001)], 960.0),
        )
        self.assertEqual(self.lease.external, 40001)
        self.play((500, "stop", [Unmap(40001)], None))

    def test_shorter_times(self) -> None:
        for granted, due in ((3600, 480.0), (600, 480.0), (500, 400.0), (100, 80.0), (1, LEAST_REFRESH)):
            lease = Lease(Transport.UDP, PORT)
            lease.start()
            lease.granted(PORT, granted, 0.0)
            self.assertEqual(lease.next_timer(), due)

    def test_never_granted(self) -> None:
        self.lease.start()
        commands(self.lease)
        for number in range(20):
            self.play(
                (number * 1000, "refused", [], number * 1000 + RETRY),
                (number * 1000 + RETRY, "time", [Map(PORT)], None),
            )
        self.assertEqual((self.lease.external, self.lease.why), (0, "no"))

    def test_granted_at_last(self) -> None:
        self.play(
            (0, "start", [Map(PORT)], None),
            (1, "refused", [], 301.0),
            (301, "time", [Map(PORT)], None),
            (302, "granted 30303", [Mapped(PORT)], 782.0),
        )

    def test_four_failures_are_borne(self) -> None:
        self.play((0, "start", [Map(PORT)], None), (0, "granted 30303", [Mapped(PORT)], 480.0))
        now = 480.0
        for _ in range(MAX_FAILURES - 1):
            self.play((now, "time", [Map(PORT)], None), (now, "refused", [], now + RETRY))
            now += RETRY
        self.assertEqual(self.lease.external, PORT)
        self.play((now, "time", [Map(PORT)], None), (now, "granted 30303", [], now + REFRESH))
        now += REFRESH
        for _ in range(MAX_FAILURES - 1):  # they count anew
            self.play((now, "time", [Map(PORT)], None), (now, "refused", [], now + RETRY))
            now += RETRY
        self.assertEqual(self.lease.external, PORT)

    def test_five_are_not(self) -> None:
        self.play((0, "start", [Map(PORT)], None), (0, "granted 40000", [Mapped(40000)], 480.0))
        now = 480.0
        for _ in range(MAX_FAILURES - 1):
            self.play((now, "time", [Map(40000)], None), (now, "refused", [], now + RETRY))
            now += RETRY
        self.play(
            (now, "time", [Map(40000)], None),
            (now, "refused", [Unmap(40000), Mapped(0)], now + RETRY),
            (now + 1, "unmapped", [], now + RETRY),
            (now + RETRY, "time", [Map(PORT)], None),  # from the beginning
            (now + RETRY, "granted 30303", [Mapped(PORT)], now + RETRY + REFRESH),
        )

    def test_renew(self) -> None:
        """The gateway was restarted, or is another one."""
        self.play(
            (0, "renew", [], None),
            (0, "start", [Map(PORT)], None),
            (0, "renew", [], None),
            (0, "granted 30303", [Mapped(PORT)], 480.0),
            (100, "renew", [Map(PORT)], None),
            (100, "renew", [], None),
            (101, "granted 30304", [Mapped(30304)], 581.0),
            (200, "renew", [Map(30304)], None),
            (200, "refused", [], 500.0),
            (210, "renew", [Map(30304)], None),
        )

    def test_renew_while_waiting(self) -> None:
        self.play(
            (0, "start", [Map(PORT)], None),
            (0, "refused", [], 300.0),
            (10, "renew", [Map(PORT)], None),
        )

    def test_stops(self) -> None:
        held: list[tuple[float, str, list[Any], float | None]] = [
            (0, "start", [Map(PORT)], None),
            (0, "granted 7", [Mapped(7)], 480.0),
        ]
        for before, after in (
            ([], [(1, "stop", [], None)]),
            ([(0, "start", [Map(PORT)], None), (0, "refused", [], 300.0)], [(1, "stop", [], None)]),
            ([(0, "start", [Map(PORT)], None)], [(1, "stop", [], None), (2, "refused", [], None)]),
            (
                [(0, "start", [Map(PORT)], None)],
                [(1, "stop", [], None), (2, "granted 7", [Unmap(7)], None), (3, "unmapped", [], None)],
            ),
            (held, [(1, "stop", [Unmap(7)], None), (2, "renew", [], None), (3, "unmapped", [], None)]),
            (
                [*held, (1, "renew", [Map(7)], None)],
                [(2, "stop", [], None), (3, "refused", [Unmap(7)], None), (4, "unmapped", [], None)],
            ),
            (
                [*held, (1, "renew", [Map(7)], None)],
                [(2, "stop", [], None), (3, "granted 8", [Unmap(8)], None), (4, "unmapped", [], None)],
            ),
        ):
            self.lease = Lease(Transport.UDP, PORT)
            self.play(*before)
            self.play(*after[:-1])
            self.assertFalse(self.lease.ended)
            self.play(*after[-1:])
            self.assertTrue(self.lease.ended)
            self.play((9, "stop", [], None), (9, "renew", [], None), (9, "unmapped", [], None), (9, "time", [], None))

    @given(st.lists(st.sampled_from(["answer", "refuse", "time", "renew", "unmapped"]), max_size=60), st.booleans())
    def test_any_course(self, course: list[str], stop: bool) -> None:
        """At most one request is under way, and once stopped, what was mapped is given back."""
        lease, now = Lease(Transport.TCP, PORT), 0.0
        asked = mapped = unmapping = 0

        def do() -> None:
            nonlocal asked, mapped, unmapping
            for command in commands(lease):
                if isinstance(command, Map):
                    asked += 1
                elif isinstance(command, Unmap):
                    self.assertEqual(command.external, mapped)
                    mapped, unmapping = 0, unmapping + 1
            self.assertLessEqual(asked, 1)

        lease.start()
        do()
        for what in course:
            now += 1
            if what in ("answer", "refuse") and asked:
                asked = 0
                if what == "answer":
                    mapped = 1000 + int(now)
                    lease.granted(mapped, LIFETIME, now)
                else:
                    lease.refused("no", now)
            elif what == "time":
                now = lease.next_timer() or now
                lease.handle_timer(now)
            elif what == "renew":
                lease.renew()
            elif what == "unmapped" and unmapping:
                unmapping -= 1
                lease.unmapped()
            do()
        if stop:
            lease.stop()
            do()
            if asked:
                asked = 0
                lease.refused("no", now)
                do()
            self.assertEqual(mapped, 0)
            while unmapping:
                unmapping -= 1
                lease.unmapped()
            self.assertTrue(lease.ended)
