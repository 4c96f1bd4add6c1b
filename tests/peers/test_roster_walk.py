"""
Long walks of random steps, in which no limit is ever passed and nothing leaks.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from random import Random
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from ethp2p.errors import NotAdmitted
from ethp2p.peers.admission import Census, blocks_of
from ethp2p.peers.policy import Policy
from ethp2p.peers.roster import Place, Roster
from tests.peers.test_roster import ME, FakeAddress, FakeSession, RosterCase, peer


@attrs.define
class Model:
    """The same as the roster, in the simplest way: a list of sessions, counted anew each time."""

    policy: Policy
    trusted: set[bytes] = attrs.field(factory=set)
    #: Reserved or added, the first call of each peer before its second.
    alive: list[FakeSession] = attrs.field(factory=list)

    def census(self, node_id: bytes, host: str) -> Census:
        blocks = blocks_of(host) or (None, None)
        others = [one for one in self.alive if one.node_id != node_id and one.node_id not in self.trusted]

        def ids(sessions: list[FakeSession]) -> int:
            return len({one.node_id for one in sessions})

        return Census(
            ids(others),
            ids([one for one in others if one.inbound]),
            *(
                ids([one for one in others if block is not None and block in (blocks_of(one.address.host) or ())])
                for block in blocks
            ),
        )

    def room(self, session: FakeSession) -> bool:
        if session.node_id in self.trusted:
            return True
        census, policy = self.census(session.node_id, session.address.host), self.policy
        return (
            census.peers < policy.max_peers
            and (not session.inbound or census.inbound < policy.max_inbound)
            and (not policy.max_peers_per_ip or census.same_ip < policy.max_peers_per_ip)
            and (not policy.max_peers_per_subnet or census.same_subnet < policy.max_peers_per_subnet)
        )


HOSTS = ["127.0.0.1", "95.33.21.2", "95.33.21.3", "95.33.22.2", "2a01:4f8::1", "2a01:4f8::2"]


class WalkTests(RosterCase):
    """Random steps: whatever happens in whatever order, the roster is what the model is."""

    def walk(self, seed: int, steps: int) -> Counter[str]:
        rng = Random(seed)
        policy = Policy(max_peers=6, dial_ratio=2, max_peers_per_ip=3, max_peers_per_subnet=4)
        roster, model, seen = Roster(ME, policy), Model(policy), Counter[str]()
        last: list[Place] | None = []
        for step in range(steps):
            what = rng.choices(
                ["reserve", "add", "release", "trust", "untrust", "policy", "excess"], [9, 7, 4, 1, 1, 1, 2]
            )[0]
            # half of the ids are smaller than ours, half larger: both sides of the tie
            node_id = bytes([rng.choice([*range(6), *range(0x90, 0x96)])]) * 32
            session: Any = FakeSession(node_id, rng.random() < 0.6, FakeAddress(rng.choice(HOSTS)))
            settled = True  # whether limits were kept before, and nothing has lowered them
            if what == "reserve":
                mine = [one for one in model.alive if one.node_id == node_id]
                beside = len(mine) == 1 and mine[0].inbound != session.inbound and node_id < ME
                free = (not mine or beside) and model.room(session)
                self.assertEqual(self.rule(roster, session) is None, free)
                if free:
                    model.alive.append(session)
            elif what == "add" and model.alive:
                session = rng.choice(model.alive)
                try:
                    roster.add(session)
                except NotAdmitted:
                    self.assertFalse(model.room(session))
                    what = "add refused"
                else:
                    self.assertTrue(model.room(session))
                    # the roster ended the other call, if this one was beside it
                    lost = [one for one in model.alive if one.ended is not None]
                    for one in lost:
                        self.assertEqual((one.node_id, one is session), (session.node_id, False))
                        model.alive.remove(one)
                        what = "taken over"
                        if rng.random() < 0.5:
                            roster.release(one)
            elif what == "release" and model.alive:
                session = rng.choice(model.alive)
                model.alive.remove(session)
                roster.release(session)
            elif what == "trust":
                self.assertEqual(roster.trust(node_id), node_id not in model.trusted)
                model.trusted.add(node_id)
            elif what == "untrust":
                self.assertEqual(roster.untrust(node_id), node_id in model.trusted)
                model.trusted.discard(node_id)
                settled = False
            elif what == "policy":
                roster.policy = model.policy = Policy(
                    max_peers=rng.randrange(10),
                    dial_ratio=rng.randrange(1, 4),
                    max_peers_per_ip=rng.randrange(4),
                    max_peers_per_subnet=rng.randrange(5),
                )
                settled = False
            elif what == "excess":
                for place in roster.excess():
                    self.assertFalse(place.trusted)
                    for one in [one for one in model.alive if one.node_id == place.session.node_id]:
                        model.alive.remove(one)
                        roster.release(one)  # type: ignore[arg-type]
                self.assertEqual(roster.excess(), [])
            seen[what] += 1
            self.agree(roster, model)
            # No limit is passed unless it was lowered, or trust was taken; then it grows no worse.
            now = roster.excess()
            if settled and last is not None and not last:
                self.assertEqual(now, [], f"step {step}: {what}")
            last = now
        for session in list(model.alive):
            roster.release(session)
        self.assertEqual((len(roster), roster.dialed, roster.census()), (0, 0, Census()))
        for held in (roster._places, roster._beside, roster._blocks):
            self.assertFalse(held)
        return seen

    def agree(self, roster: Roster, model: Model) -> None:
        alive = {one.node_id for one in model.alive}
        self.assertEqual(set(roster.known()), alive)
        for host in HOSTS:
            self.assertEqual(roster.census(host=host), model.census(b"", host))
        places = list(roster)
        self.assertEqual(roster.dialed, sum(not place.inbound for place in places))
        self.assertEqual(len(places), roster.dialed + roster.inbound)
        for place in places:
            self.assertIn(place.session, model.alive)
            self.assertEqual(place.trusted, place.session.node_id in model.trusted)

    def test_ten_thousand_steps(self) -> None:
        """Connects, handshakes, drops, changes of trust and of policy, in a random order."""
        seen = Counter[str]()
        for seed in range(6):
            seen += self.walk(seed, 2000)
        self.assertEqual(sum(seen.values()), 12_000)
        for what in ("reserve", "add", "add refused", "taken over", "release", "trust", "untrust", "policy", "excess"):
            self.assertGreater(seen[what], 50, what)

    @given(
        st.lists(
            st.tuples(st.sampled_from(["reserve", "add", "release"]), st.integers(0, 12), st.booleans()), max_size=120
        )
    )
    def test_never_over(self, steps: list[tuple[str, int, bool]]) -> None:
        """Whatever the order of events, no limit is exceeded and no place leaks."""
        roster = Roster(ME, Policy(max_peers=4, dial_ratio=2))
        roster.trust(bytes([12]) * 32)
        alive: list[Any] = []
        for step, number, inbound in steps:
            if step == "reserve":
                session = peer(number, inbound)
                with contextlib.suppress(NotAdmitted):
                    roster.reserve(session, 0.0)
                    alive.append(session)
            elif alive:
                session = alive[number % len(alive)]
                if step == "release" or session.ended:
                    alive.remove(session)
                    roster.release(session)
                else:
                    with contextlib.suppress(NotAdmitted):
                        roster.add(session)
            untrusted = [place for place in roster if not place.trusted]
            self.assertLessEqual(len(untrusted), 4)
            self.assertLessEqual(sum(place.inbound for place in untrusted), 2)
        for session in alive:
            roster.release(session)
        self.assertEqual(len(roster), 0)
