"""
Tables of rounds for the two checkpoints.
"""

from __future__ import annotations

import contextlib

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import DisconnectReason, NotAdmitted
from ethp2p.peers.roster import Roster

ME = b"\x50" * 32


@attrs.define(eq=False)
class FakeSession:
    """As much of a session as the roster looks at."""

    node_id: bytes
    inbound: bool = True
    ended: DisconnectReason | None = None

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        self.ended = reason


def peer(number: int, inbound: bool = True) -> FakeSession:
    return FakeSession(bytes([number]) * 32, inbound)


class RosterTests(SynchronousTestCase):
    def refused(self, roster: Roster, session: FakeSession) -> DisconnectReason:
        return self.assertRaises(NotAdmitted, roster.reserve, session, 0.0).reason

    def test_limits(self) -> None:
        """MaxPeers in all, the dialed share kept free of callers (geth: MaxPeers / DialRatio)."""
        for most, ratio, dialed, inbound in [(50, 3, 16, 34), (2, 3, 1, 1), (1, 3, 1, 0), (0, 3, 0, 0), (9, 1, 9, 0)]:
            roster = Roster(ME, most, ratio)
            self.assertEqual((roster.max_dialed, roster.max_inbound), (dialed, inbound))
            for number in range(inbound):
                roster.reserve(peer(number), 0.0)
            self.assertEqual(self.refused(roster, peer(100)), DisconnectReason.TOO_MANY_PEERS)
            for number in range(dialed):
                roster.reserve(peer(101 + number, inbound=False), 0.0)
            self.assertEqual(self.refused(roster, peer(200, inbound=False)), DisconnectReason.TOO_MANY_PEERS)
            self.assertEqual(len(roster), most)

    def test_trusted(self) -> None:
        """A trusted peer comes in above the limits and takes nobody's place."""
        trusted = peer(9)
        roster = Roster(ME, 1, trusted={trusted.node_id})
        roster.reserve(peer(1, inbound=False), 0.0)
        roster.reserve(trusted, 0.0)
        self.assertEqual(len(roster), 2)
        roster.release(roster.get(b"") or peer(1))  # no place of that session: nothing happens
        self.assertEqual(len(roster), 2)

    def test_static_does_not_bypass(self) -> None:
        """Only trust goes over MaxPeers."""
        static = peer(9, inbound=False)
        roster = Roster(ME, 1, static={static.node_id})
        roster.reserve(peer(1, inbound=False), 0.0)
        self.assertEqual(self.refused(roster, static), DisconnectReason.TOO_MANY_PEERS)

    def test_self(self) -> None:
        """We do not talk to ourselves, trusted or not."""
        roster = Roster(ME, trusted={ME})
        self.assertEqual(self.refused(roster, FakeSession(ME)), DisconnectReason.SELF)

    def test_already_connected(self) -> None:
        """An added peer stays; another connection in the same direction is refused."""
        for number in (1, 0x60):  # smaller and larger than we
            roster = Roster(ME)
            first = peer(number)
            roster.reserve(first, 0.0)
            roster.add(first)
            self.assertEqual(self.refused(roster, peer(number)), DisconnectReason.ALREADY_CONNECTED)
            place = roster.get(first.node_id)
            assert place is not None
            self.assertIs(place.session, first)

    def test_both_call(self) -> None:
        """The smaller id refuses the second call; the larger lets it be, and keeps whichever says Hello."""
        small, large = b"\x01" * 32, b"\xee" * 32
        for first_inbound in (True, False):
            roster = Roster(small)
            first = FakeSession(large, first_inbound)
            roster.reserve(first, 0.0)
            second = FakeSession(large, not first_inbound)
            self.assertEqual(self.refused(roster, second), DisconnectReason.ALREADY_CONNECTED)
            roster.add(first)
            self.assertEqual(self.refused(roster, second), DisconnectReason.ALREADY_CONNECTED)
            for first_says_hello in (True, False):
                for chosen_is_second in (True, False):
                    roster = Roster(large, 1, 1)
                    sessions = [FakeSession(small, first_inbound), FakeSession(small, not first_inbound)]
                    if not first_inbound or roster.max_inbound:
                        roster.reserve(sessions[0], 0.0)
                    else:
                        continue
                    if first_says_hello:
                        roster.add(sessions[0])
                    roster.reserve(sessions[1], 0.0)
                    self.assertEqual(len(roster), 1)
                    chosen, lost = sessions[::-1] if chosen_is_second else sessions
                    roster.add(chosen)
                    self.assertIs(chosen.ended, None)
                    self.assertEqual(lost.ended, DisconnectReason.ALREADY_CONNECTED if chosen_is_second else None)
                    roster.release(lost)
                    place = roster.get(small)
                    assert place is not None
                    self.assertIs(place.session, chosen)
                    self.assertEqual(place.inbound, chosen.inbound)

    def test_second_call_outlives_the_first(self) -> None:
        """Let through beside another that ends, a call has its place; a third one is not let through."""
        roster = Roster(b"\xee" * 32)
        first, second = peer(1, inbound=True), peer(1, inbound=False)
        roster.reserve(first, 0.0)
        roster.reserve(second, 0.0)
        for inbound in (True, False):
            self.assertEqual(self.refused(roster, peer(1, inbound)), DisconnectReason.ALREADY_CONNECTED)
        roster.release(first)
        self.assertEqual((len(roster), roster.dialed), (1, 1))
        roster.add(second)
        self.assertEqual((first.ended, second.ended), (None, None))
        roster.release(second)
        self.assertEqual(len(roster), 0)

    @given(
        st.lists(
            st.tuples(st.sampled_from(["reserve", "add", "release"]), st.integers(0, 12), st.booleans()), max_size=120
        )
    )
    def test_never_over(self, steps: list[tuple[str, int, bool]]) -> None:
        """Whatever the order of events, no limit is exceeded and no place leaks."""
        roster = Roster(ME, 4, 2, trusted={bytes([12]) * 32})
        alive: list[FakeSession] = []
        for step, number, inbound in steps:
            if step == "reserve":
                session = peer(number, inbound)
                try:
                    roster.reserve(session, 0.0)
                    alive.append(session)
                except NotAdmitted:
                    pass
            elif alive:
                session = alive[number % len(alive)]
                if step == "release" or session.ended:
                    alive.remove(session)
                    roster.release(session)
                elif roster.get(session.node_id) is None:
                    with contextlib.suppress(NotAdmitted):
                        roster.add(session)
            untrusted = [place for place in roster if not place.trusted]
            self.assertLessEqual(len(untrusted), 4)
            self.assertLessEqual(sum(place.inbound for place in untrusted), 2)
        for session in alive:
            roster.release(session)
        self.assertEqual(len(roster), 0)
