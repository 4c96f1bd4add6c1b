"""
Tables of rounds for rotation.
"""

from __future__ import annotations

from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.peers.churn import LONGEST, PROTECTED, SHORTEST, YOUNG, choose, next_rotation


@attrs.frozen
class Peer:
    inbound: bool = True
    trusted: bool = False
    static: bool = False
    age: float = YOUNG
    merit: float = 0.0


#: A peer whom nothing protects, of each kind.
IN, OUT = Peer(), Peer(inbound=False)


def chosen(places: list[Peer], full_inbound: bool = True, full_dialed: bool = True) -> set[int]:
    """Everybody who may have to go."""
    draws = [choose(places, full_inbound, full_dialed, lambda at=at: at / 256) for at in range(256)]  # type: ignore[misc]
    return {index for index in draws if index is not None}


class ChooseTests(SynchronousTestCase):
    def test_pools(self) -> None:
        """Only a full pool gives one up."""
        places = [IN, OUT, IN, OUT]
        for full_inbound, full_dialed, may_go in [
            (False, False, set()),
            (True, False, {0, 2}),
            (False, True, {1, 3}),
            (True, True, {0, 1, 2, 3}),
        ]:
            self.assertEqual(chosen(places, full_inbound, full_dialed), may_go)

    def test_protected(self) -> None:
        for protected in [
            Peer(trusted=True),
            Peer(static=True),
            Peer(age=YOUNG - 0.1),
            Peer(merit=1.0),
        ]:
            self.assertEqual(chosen([protected, IN]), {1}, protected)
            self.assertEqual(chosen([protected]), set(), protected)
        self.assertEqual(chosen([]), set())

    def test_most_useful(self) -> None:
        """A tenth of each pool by itself, rounded up; of equals those who are here longest; never who gave nothing."""
        self.assertEqual(PROTECTED, 10)
        useful = [Peer(merit=float(number)) for number in range(20)]
        self.assertEqual(chosen(useful), {*range(18)})
        self.assertEqual(chosen([*useful, Peer(merit=5.0)]), {*range(17), 20})
        # One who called us is not measured by those we called.
        self.assertEqual(chosen([*useful, Peer(inbound=False, merit=0.5), OUT]), {*range(18), 21})
        self.assertEqual(chosen([Peer(merit=1.0, age=YOUNG + number) for number in range(10)]), {*range(9)})
        self.assertEqual(chosen([IN] * 30), {*range(30)})

    def test_even(self) -> None:
        """Nobody is likelier to go than another, and a draw at its very end is one."""
        rng, counts = Random(1), [0] * 5
        for _ in range(5000):
            index = choose([IN] * 5, True, True, rng.random)
            assert index is not None
            counts[index] += 1
        self.assertTrue(all(900 < count < 1100 for count in counts), counts)
        self.assertEqual(choose([IN] * 5, True, True, lambda: 1.0), 4)

    @given(
        st.lists(
            st.builds(
                Peer,
                st.booleans(),
                st.booleans(),
                st.booleans(),
                st.sampled_from([0.0, YOUNG, 1e6]),
                st.floats(0, 10),
            ),
            max_size=40,
        ),
        st.booleans(),
        st.booleans(),
        st.floats(0, 1, exclude_max=True),
    )
    def test_always(self, places: list[Peer], full_inbound: bool, full_dialed: bool, draw: float) -> None:
        """Whoever goes is not protected, and had somebody more useful or as useless beside it."""
        index = choose(places, full_inbound, full_dialed, lambda: draw)
        if index is None:
            return
        gone = places[index]
        self.assertFalse(gone.trusted or gone.static or gone.age < YOUNG)
        self.assertTrue(full_inbound if gone.inbound else full_dialed)
        pool = [place for place in places if place.inbound is gone.inbound]
        if gone.merit > 0:
            better = sum(place.merit >= gone.merit for place in pool) - 1
            self.assertGreaterEqual(better * PROTECTED, len(pool))


class NextTests(SynchronousTestCase):
    def test_next(self) -> None:
        """From 3 to 7 minutes."""
        self.assertEqual((SHORTEST, LONGEST), (180.0, 420.0))
        for draw, wait in [(0.0, 180.0), (0.5, 300.0), (1.0, 420.0)]:
            self.assertEqual(next_rotation(lambda draw=draw: draw), wait)  # type: ignore[misc]
