"""
Tables of rounds for the mixing of sources.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.kademlia.fairmix import MAX_WAITING, FairMix

INFINITY = float("inf")


def mix(*names: str, wait: float = 8.0) -> FairMix[str]:
    fair: FairMix[str] = FairMix(wait)
    for name in names:
        fair.add(name)
    return fair


class FairMixTests(SynchronousTestCase):
    def test_nobody(self) -> None:
        fair = mix()
        self.assertIsNone(fair.take(0.0))
        self.assertIsNone(fair.next_timer())
        self.assertEqual((fair.room("a"), fair.offer("a", ["a1"])), (0, 0))

    def test_turns(self) -> None:
        """However fast a source is, all that have something are served alike."""
        fair = mix("a", "b", "c")
        fair.offer("a", ["a1", "a2", "a3", "a4"])
        fair.offer("b", ["b1", "b2"])
        fair.offer("c", ["c1", "c2", "c3"])
        self.assertEqual([fair.take(0.0) for _ in range(6)], ["a1", "b1", "c1", "a2", "b2", "c2"])

    def test_wait(self) -> None:
        """The one whose turn it is is waited for; then anybody will do, and its wait is halved."""
        fair = mix("a", "b")
        fair.offer("b", [f"b{number}" for number in range(20)])
        now, waits = 100.0, []
        for _ in range(5):
            self.assertIsNone(fair.take(now))
            until = fair.next_timer()
            assert until is not None
            self.assertIsNone(fair.take(until - 0.01))
            waits.append(until - now)
            now = until
            self.assertIsNotNone(fair.take(now))
            self.assertIsNotNone(fair.take(now))
        self.assertEqual(waits, [8.0, 4.0, 2.0, 1.0, 0.5])

    def test_in_time(self) -> None:
        """It gives something while it is waited for: its own is taken, and its wait is whole again."""
        fair = mix("a", "b")
        fair.offer("b", ["b1", "b2", "b3"])
        self.assertIsNone(fair.take(0.0))
        self.assertEqual((fair.take(8.0), fair.take(8.0)), ("b1", "b2"))
        self.assertIsNone(fair.take(10.0))
        self.assertEqual(fair.next_timer(), 14.0)
        fair.offer("a", ["a1"])
        self.assertEqual((fair.take(11.0), fair.take(11.0)), ("a1", "b3"))
        self.assertIsNone(fair.take(20.0))
        self.assertEqual(fair.next_timer(), 28.0)

    def test_late(self) -> None:
        """When nobody has anything after the wait, the first to come is taken, without another wait."""
        for first in ("a", "b"):
            fair = mix("a", "b")
            self.assertIsNone(fair.take(0.0))
            self.assertIsNone(fair.take(8.0))
            self.assertIsNone(fair.next_timer())
            fair.offer(first, ["late"])
            self.assertEqual(fair.take(9.0), "late")

    def test_entirely_fair(self) -> None:
        fair = mix("a", "b", wait=INFINITY)
        fair.offer("b", ["b1"])
        self.assertIsNone(fair.take(0.0))
        self.assertIsNone(fair.next_timer())
        self.assertIsNone(fair.take(1e9))
        fair.offer("a", ["a1"])
        self.assertEqual((fair.take(1e9), fair.take(1e9)), ("a1", "b1"))

    def test_room(self) -> None:
        fair = mix("a", "b")
        self.assertEqual(fair.room("a"), MAX_WAITING)
        self.assertEqual(fair.offer("a", ["a"] * (MAX_WAITING + 5)), MAX_WAITING)
        self.assertEqual((fair.room("a"), fair.offer("a", ["more"])), (0, 0))
        self.assertEqual(fair.room("b"), MAX_WAITING)

    def test_remove(self) -> None:
        """A source that ends while it is waited for leaves the turn to the next."""
        fair = mix("a", "b", "c")
        fair.offer("c", ["c1"])
        fair.offer("b", ["b1"])
        self.assertIsNone(fair.take(0.0))
        fair.remove("a")
        fair.remove("a")
        self.assertEqual((fair.take(1.0), fair.take(1.0)), ("b1", "c1"))
        fair.remove("b")
        fair.remove("c")
        self.assertIsNone(fair.take(1.0))

    def test_add_again(self) -> None:
        fair = mix("a")
        fair.offer("a", ["a1"])
        fair.add("a")
        self.assertEqual(fair.take(0.0), "a1")

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=60), st.integers(0, 20))
    def test_nothing_lost(self, offers: list[tuple[str, int]], wait: int) -> None:
        """What was taken comes out once, in its source's order; with time, all of it."""
        fair = mix("a", "b", "c", wait=float(wait))
        given_by: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        out: list[str] = []
        now = 0.0
        for name, count in offers:
            items = [f"{name}{len(given_by[name]) + number}" for number in range(count)]
            given_by[name] += items[: fair.offer(name, items)]
            now += 1.0
            item = fair.take(now)
            out += [] if item is None else [item]
        while len(out) < sum(map(len, given_by.values())):
            item = fair.take(now)
            if item is None:
                timer = fair.next_timer()
                assert timer is not None
                now = timer
            else:
                out.append(item)
        self.assertIsNone(fair.take(now + 100))
        for name, items in given_by.items():
            self.assertEqual([item for item in out if item[0] == name], items)
