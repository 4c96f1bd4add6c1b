"""
Tables of rounds for the score.
"""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError, Offence
from ethp2p.peers import reputation as module
from ethp2p.peers.reputation import (
    BEST,
    HALF_LIFE,
    MAX_ENTRIES,
    MAX_EVIDENCE,
    START,
    TRUSTED_PENALTY,
    WEIGHTS,
    Action,
    Judgement,
    Merit,
    Reputation,
    check_weights,
)

A, B = b"a" * 32, b"b" * 32
NONE, DISCONNECT, BAN = Action.NONE, Action.DISCONNECT, Action.BAN
BAD_MESSAGE, TIMEOUT, BAD_DATA = Offence.BAD_MESSAGE, Offence.TIMEOUT, Offence.BAD_DATA


class RoundTests(SynchronousTestCase):
    def check(self, rounds: list[tuple[float, Offence | Merit, float, Action]], reputation: Reputation) -> None:
        """Each round: when, what, the score after it, and what follows."""
        for now, deed, score, action in rounds:
            if isinstance(deed, Offence):
                judgement = reputation.book(A, deed, "a rule", now)
            else:
                judgement = reputation.reward(A, deed, "a message", now)
            self.assertAlmostEqual(judgement.score, score, 6, f"at {now}")
            self.assertIs(judgement.action, action, f"at {now}")
            self.assertEqual(reputation.score(A, now), judgement.score)

    def test_offences(self) -> None:
        """Points add up until they disconnect, and then ban."""
        self.check(
            [(0, BAD_MESSAGE, 34, NONE), (0, BAD_MESSAGE, 18, DISCONNECT), (0, BAD_MESSAGE, 2, BAN)], Reputation()
        )

    def test_at_once(self) -> None:
        """Whoever breaks a rule of the protocol and has no merits is banned; who has them is judged by its score."""
        self.check([(0, Offence.BAD_PROTOCOL, 0, BAN)], Reputation())
        merits: list[tuple[float, Offence | Merit, float, Action]] = [
            (0, Merit.USEFUL_DATA, 51.0 + count, NONE) for count in range(15)
        ]
        self.check([*merits, (0, Offence.BAD_PROTOCOL, 15, DISCONNECT)], Reputation())

    def test_decay(self) -> None:
        """Half of the way back every half hour, from below and from above."""
        self.check(
            [
                (0, BAD_MESSAGE, 34, NONE),
                (HALF_LIFE, BAD_MESSAGE, 26, NONE),
                (3 * HALF_LIFE, TIMEOUT, 40, NONE),
                (4 * HALF_LIFE, Merit.USEFUL_DATA, 46, NONE),
            ],
            Reputation(),
        )
        reputation = Reputation()
        for _ in range(20):
            reputation.reward(A, Merit.USEFUL_DATA, "", 0.0)
        for halves, score in [(0, 70.0), (1, 60.0), (2, 55.0), (10_000, START)]:
            self.assertAlmostEqual(reputation.score(A, halves * HALF_LIFE), score)

    def test_limits(self) -> None:
        """A score stays from 0 to 100, and the ledger tells the points that counted."""
        reputation = Reputation()
        for _ in range(200):
            self.assertLessEqual(reputation.reward(A, Merit.USEFUL_DATA, "", 0.0).score, BEST)
        self.assertEqual(reputation.score(A, 0.0), BEST)
        self.assertEqual(reputation.ledger(A)[0].delta, 50.0)
        for _ in range(9):
            self.assertGreaterEqual(reputation.book(B, BAD_DATA, "", 0.0).score, 0.0)
        self.assertEqual([entry.delta for entry in reputation.ledger(B)][:3], [-25.0, -25.0, 0.0])

    def test_every_offence_bans(self) -> None:
        """Repeated at the pace that the documentation names, each ends in a ban; a little slower, it does not."""
        for offence in Offence:
            weight = WEIGHTS[offence]
            share = weight / (START - 5.0)
            pace = -HALF_LIFE * math.log2(1 - share) if share < 1 else math.inf
            for wait, banned in [(min(pace, 1e6) * 0.95, True), (pace * 1.05, False)]:
                reputation, actions = Reputation(), []
                if not math.isfinite(wait):
                    continue
                for count in range(1000):
                    actions.append(reputation.book(A, offence, "", count * wait).action)
                    if actions[-1] is BAN:
                        break
                self.assertEqual(BAN in actions, banned, (offence, wait))
                if banned and weight < 16:
                    self.assertIn(DISCONNECT, actions)

    def test_weight_of_nothing(self) -> None:
        """An offence that weighs nothing is noted and has no consequence, not even for whoever has a bad score."""
        reputation = Reputation({"timeout": 0})
        reputation.book(A, BAD_DATA, "", 0.0)
        reputation.book(A, BAD_MESSAGE, "", 0.0)
        for _ in range(100):
            self.assertEqual(reputation.book(A, TIMEOUT, "late", 0.0), Judgement(9.0, 9.0, NONE, NONE))
        self.assertEqual({entry.what for entry in reputation.ledger(A)}, {TIMEOUT})
        self.assertIs(reputation.book(A, Offence.UNSOLICITED, "", 0.0).action, DISCONNECT)

    def test_bans_off(self) -> None:
        reputation = Reputation(ban_below=0)
        self.assertEqual({reputation.book(A, BAD_DATA, "", 0.0).action for _ in range(9)}, {NONE, DISCONNECT})

    def test_dry_run(self) -> None:
        """Nothing follows, and it is told what would."""
        dry, wet = Reputation(dry_run=True), Reputation()
        for _ in range(5):
            judged, real = dry.book(A, BAD_MESSAGE, "", 0.0), wet.book(A, BAD_MESSAGE, "", 0.0)
            self.assertIs(judged.action, NONE)
            self.assertEqual((judged.would, judged.score), (real.action, real.score))
        self.assertIs(judged.would, BAN)

    def test_trusted(self) -> None:
        """A trusted peer loses little, comes to no harm, and comes to none when it is trusted no more."""
        reputation = Reputation()
        judgement = reputation.book(A, Offence.BAD_PROTOCOL, "", 0.0, trusted=True)
        self.assertEqual(judgement, Judgement(START - TRUSTED_PENALTY, START, NONE, NONE))
        for _ in range(100):
            judgement = reputation.book(A, Offence.BAD_PROTOCOL, "", 0.0, trusted=True)
            self.assertIs(judgement.would, NONE)
        self.assertEqual(judgement.score, reputation.disconnect_below)
        self.assertIs(reputation.book(A, TIMEOUT, "", 0.0).action, DISCONNECT)

    def test_trusted_later(self) -> None:
        """Trust does not lift a score that is bad already."""
        reputation = Reputation()
        for _ in range(2):
            reputation.book(A, BAD_MESSAGE, "", 0.0)
        self.assertEqual(reputation.book(A, BAD_MESSAGE, "", 0.0, trusted=True), Judgement(18.0, 18.0, NONE, NONE))

    def test_clock_steps_back(self) -> None:
        """It neither forgives nor punishes."""
        reputation = Reputation()
        reputation.book(A, BAD_MESSAGE, "", 1000.0)
        self.assertEqual(reputation.score(A, 0.0), 34.0)
        self.assertEqual(reputation.book(A, TIMEOUT, "", 0.0).score, 30.0)
        self.assertEqual(reputation.score(A, 1000.0), 30.0)

    @given(
        st.lists(
            st.tuples(st.sampled_from([*Offence, *Merit]), st.floats(-10, 1e5), st.booleans(), st.sampled_from([A, B])),
            max_size=40,
        )
    )
    def test_always(self, deeds: list[tuple[Offence | Merit, float, bool, bytes]]) -> None:
        """Scores stay in their limits, and what follows is what the score says."""
        reputation, now = Reputation(), 0.0
        for deed, wait, trusted, who in deeds:
            now += wait
            before = reputation.score(who, now)
            if isinstance(deed, Merit):
                judgement = reputation.reward(who, deed, "", now)
                self.assertGreaterEqual(judgement.score, before)
                self.assertIs(judgement.action, NONE)
            else:
                judgement = reputation.book(who, deed, "", now, trusted=trusted)
                self.assertLessEqual(judgement.score, before)
                follows = BAN if judgement.score < 5 else DISCONNECT if judgement.score < 20 else NONE
                self.assertIs(judgement.action, NONE if trusted else follows)
            self.assertEqual(judgement.before, before)
            self.assertTrue(0 <= judgement.score <= BEST)
            self.assertEqual(reputation.score(who, now), judgement.score)


class LedgerTests(SynchronousTestCase):
    def test_entries(self) -> None:
        reputation = Reputation()
        self.assertEqual(reputation.ledger(A), ())
        reputation.book(A, BAD_MESSAGE, "BlockHeaders: not a list", 1.0)
        reputation.reward(A, Merit.USEFUL_DATA, "BlockBodies", 2.0)
        reputation.book(A, TIMEOUT, "GetReceipts: 30 s", 3.0)
        reputation.reward(A, Merit.USEFUL_DATA, "BlockHeaders", 3.0)
        told = [(e.at, e.what, e.evidence, e.times) for e in reputation.ledger(A)]
        self.assertEqual(
            told,
            [
                (1.0, BAD_MESSAGE, "BlockHeaders: not a list", 1),
                (3.0, TIMEOUT, "GetReceipts: 30 s", 1),
                (3.0, Merit.USEFUL_DATA, "BlockHeaders", 2),
            ],
        )
        first, late, merits = reputation.ledger(A)
        self.assertEqual((first.delta, first.score), (-16.0, 34.0))
        self.assertAlmostEqual(late.score, 31.0, 1)
        self.assertEqual(merits.delta, 2.0)
        self.assertEqual(merits.score, reputation.score(A, 3.0))

    def test_bounded(self) -> None:
        """The newest offences are kept, and no number of merits pushes one out."""
        reputation = Reputation()
        for number in range(MAX_ENTRIES + 5):
            reputation.book(A, TIMEOUT, f"request {number}", float(number))
        for number in range(1000):
            for merit in Merit:
                reputation.reward(A, merit, "", 100.0 + number)
        ledger = reputation.ledger(A)
        self.assertEqual(len(ledger), MAX_ENTRIES + len(Merit))
        self.assertEqual(ledger[0].evidence, "request 5")
        self.assertEqual([entry.times for entry in ledger[-3:]], [1000] * 3)

    def test_evidence_bounded(self) -> None:
        """A peer's own words may be in it."""
        reputation = Reputation()
        for text in ("x" * MAX_EVIDENCE, "x" * (MAX_EVIDENCE + 1), "x" * 1_000_000):
            reputation.book(A, TIMEOUT, text, 0.0)
        same, cut, long = reputation.ledger(A)
        self.assertEqual(same.evidence, "x" * MAX_EVIDENCE)
        self.assertEqual((len(cut.evidence), cut.evidence[-4:]), (MAX_EVIDENCE, "x..."))
        self.assertEqual(long.evidence, cut.evidence)


class MemoryTests(SynchronousTestCase):
    def test_remembered(self) -> None:
        """Those about whom there is least to say are forgotten; time does not change who that is."""
        self.patch(module, "MAX_REMEMBERED", 16)
        reputation = Reputation()
        ids = [bytes([number]) * 32 for number in range(40)]
        reputation.book(ids[0], BAD_DATA, "long ago", 0.0)
        for number in range(1, 16):
            offence = TIMEOUT if number % 2 else BAD_MESSAGE
            reputation.book(ids[number], offence, "", HALF_LIFE)
        self.assertEqual(len(reputation), 16)
        reputation.book(ids[16], TIMEOUT, "", HALF_LIFE)
        self.assertEqual(len(reputation), 15)
        gone = [number for number in range(17) if not reputation.ledger(ids[number])]
        self.assertEqual(gone, [1, 3])
        for number in range(17, 40):
            reputation.book(ids[number], Offence.FLOOD, "", 2 * HALF_LIFE)
            self.assertLessEqual(len(reputation), 16)
        self.assertTrue(reputation.ledger(ids[39]))
        self.assertEqual(reputation.score(ids[1], 0.0), START)

    def test_asking_is_free(self) -> None:
        """Nobody is remembered for being asked about."""
        reputation = Reputation()
        reputation.score(A, 0.0)
        reputation.reset(A, 0.0)
        reputation.ledger(A)
        self.assertEqual(len(reputation), 0)

    def test_reset(self) -> None:
        """Who comes back from a ban is not banned again for the next trifle (reth#2410); the evidence stays."""
        reputation = Reputation()
        for _ in range(3):
            judgement = reputation.book(A, BAD_MESSAGE, "", 0.0)
        self.assertIs(judgement.action, BAN)
        reputation.reset(A, 10.0)
        self.assertEqual(reputation.score(A, 10.0), START)
        self.assertIs(reputation.book(A, BAD_MESSAGE, "", 10.0).action, NONE)
        self.assertEqual(len(reputation.ledger(A)), 4)

    def test_restored(self) -> None:
        """A score comes back from the store, one that bans does not; nor does one that is none."""
        earlier = Reputation()
        earlier.book(A, BAD_MESSAGE, "", 0.0)
        earlier.book(B, Offence.BAD_PROTOCOL, "", 0.0)
        self.assertEqual(earlier.snapshot(HALF_LIFE), {A: 42.0, B: 25.0})
        reputation = Reputation()
        for score, restored in [
            (42.0, 42.0),
            (5.0, 5.0),
            (4.9, START),
            (0.0, START),
            (100.0, 100.0),
            (-1.0, START),
            (101.0, START),
            (math.nan, START),
        ]:
            reputation.restore(A, score, 1000.0)
            self.assertEqual(reputation.score(A, 1000.0), restored)
        self.assertEqual(reputation.snapshot(0.0), {A: START})


class ConfigTests(SynchronousTestCase):
    def test_weights(self) -> None:
        self.assertEqual(check_weights({}), WEIGHTS)
        self.assertEqual({*WEIGHTS}, {*Offence, *Merit})
        changed = check_weights({"bad_message": 3, "useful_data": 0.1})
        self.assertEqual((changed[BAD_MESSAGE], changed[Merit.USEFUL_DATA]), (3.0, 0.1))
        self.assertEqual(changed[TIMEOUT], WEIGHTS[TIMEOUT])

    def test_bad_weights(self) -> None:
        for weights, words in [
            ({"BAD_MESSAGE": 1.0}, "there is no offence or merit 'BAD_MESSAGE'; there are bad_protocol"),
            ({"x" * 1000: 1.0}, "there is no offence or merit"),
            ({"timeout": -1}, "the weight of timeout is -1, which is not a number from 0 to 100"),
            ({"timeout": 100.1}, "100.1"),
            ({"timeout": math.nan}, "nan"),
            ({"timeout": math.inf}, "inf"),
            ({"timeout": "4"}, "'4'"),
            ({"timeout": True}, "True"),
            ({"timeout": None}, "None"),
        ]:
            error = self.assertRaises(ConfigError, check_weights, weights)
            self.assertIn(words, str(error))
            self.assertLess(len(str(error)), 400)
            self.assertNotIn("\n", str(error))

    def test_configure(self) -> None:
        """All or nothing, and scores stay."""
        reputation = Reputation()
        reputation.book(A, BAD_MESSAGE, "", 0.0)
        for settings in [
            {"weights": {"timeout": -1}, "disconnect_below": 30.0},
            {"weights": {"timeout": 1}, "disconnect_below": 51.0},
            {"disconnect_below": 30.0, "ban_below": 31.0},
            {"ban_below": 21.0, "dry_run": True},
            {"disconnect_below": 4.0},
            {"ban_below": -1.0},
            {"ban_below": math.nan},
        ]:
            self.assertRaises(ConfigError, reputation.configure, **settings)
            self.assertEqual(
                (reputation.weights, reputation.disconnect_below, reputation.ban_below, reputation.dry_run),
                (WEIGHTS, 20.0, 5.0, False),
            )
        reputation.configure(weights={"timeout": 1}, disconnect_below=40, ban_below=10)
        self.assertEqual(reputation.book(A, TIMEOUT, "", 0.0), Judgement(33.0, 34.0, DISCONNECT, DISCONNECT))
        reputation.configure(dry_run=True)
        self.assertEqual(reputation.book(A, TIMEOUT, "", 0.0), Judgement(32.0, 33.0, NONE, DISCONNECT))
        reputation.configure(weights={})
        self.assertEqual(reputation.weights, WEIGHTS)
