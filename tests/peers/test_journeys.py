"""
What became of each call, and of all of them.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.peers import journeys as module
from ethp2p.peers.backoff import Cause
from ethp2p.peers.journeys import MAX_ATTEMPTS, MINUTE, Journeys, Stage, host_of

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
WALL = 1_700_000_000.0
NOBODY = {"found": 0, "fork_ok": 0, "tcp": 0, "auth": 0, "hello": 0, "status": 0, "minute": 0}


class RoundTests(SynchronousTestCase):
    """Tables of rounds: each is one call's stages with their times, how it ended, and what is counted then."""

    def test_funnel(self) -> None:
        journeys = Journeys()
        stages: dict[str, int] = dict(NOBODY)
        failures: dict[str, dict[str, int]] = {}
        for reached, cause, ended, passed, missed in [
            ([], Cause.REFUSED, 1.0, [], "tcp"),
            ([], Cause.TIMEOUT, 15.0, [], "tcp"),
            ([], Cause.TIMEOUT, 15.0, [], "tcp"),
            ([(Stage.TCP, 0.1)], Cause.BAD_HANDSHAKE, 0.2, ["tcp"], "auth"),
            ([(Stage.TCP, 0.1), (Stage.AUTH, 0.2)], Cause.TOO_MANY_PEERS, 0.3, ["tcp", "auth"], "hello"),
            ([(Stage.HELLO, 0.3)], Cause.WRONG_CHAIN, 0.5, ["tcp", "auth", "hello"], "status"),  # those before, too
            (
                [(Stage.HELLO, 0.3), (Stage.STATUS, 0.4)],
                Cause.USELESS,
                9.0,
                ["tcp", "auth", "hello", "status"],
                "minute",
            ),
            ([(Stage.STATUS, 0.4)], Cause.LOST, 99.0, ["tcp", "auth", "hello", "status", "minute"], None),
            ([(Stage.AUTH, 0.2)], Cause.LOST, 99.0, ["tcp", "auth"], "hello"),  # a minute, but never a peer
        ]:
            journeys.begin(A, "9.9.9.9:30303", 100.0, WALL)
            for stage, at in reached:
                self.assertTrue(journeys.reached(A, stage, 100.0 + at))
            attempt = journeys.ended(A, cause, cause.words, 100.0 + ended)
            assert attempt is not None
            self.assertEqual((attempt.cause, attempt.words), (cause, cause.words))
            self.assertAlmostEqual(attempt.lasted, ended)
            self.assertEqual([stage.label for stage, _ in attempt.reached], passed)
            for stage_name in passed:
                stages[stage_name] += 1
            if missed is not None:
                counts = failures.setdefault(missed, {})
                counts[cause.value] = counts.get(cause.value, 0) + 1
            self.assertEqual(journeys.funnel(), {"stages": stages, "failures": failures})

    def test_inbound_does_not_count(self) -> None:
        """Who calls us is remembered, but the funnel is of our calls."""
        journeys = Journeys()
        journeys.begin(A, "9.9.9.9:5", 0.0, WALL, inbound=True)
        self.assertTrue(journeys.reached(A, Stage.HELLO, 1.0, inbound=True))
        self.assertFalse(journeys.reached(A, Stage.HELLO, 1.0))
        journeys.ended(A, Cause.LOST, "", 2.0, inbound=True)
        self.assertEqual(journeys.funnel(), {"stages": NOBODY, "failures": {}})
        self.assertTrue(journeys.attempts(A)[0].inbound)

    def test_found(self) -> None:
        """What discovery finds is counted before it is called."""
        journeys = Journeys()
        journeys.found()
        journeys.found(fork_ok=False)
        funnel = journeys.funnel()
        self.assertEqual(funnel["stages"], NOBODY | {"found": 2, "fork_ok": 1})
        self.assertEqual(funnel["failures"], {"fork_ok": {"wrong_chain": 1}})

    def test_foreign(self) -> None:
        """A node of another chain is not called, and it is remembered why."""
        journeys = Journeys()
        journeys.foreign(A, "9.9.9.9:30303", "fork 0x01020304 is not one of this chain", WALL)
        [attempt] = journeys.attempts(A)
        self.assertEqual((attempt.cause, attempt.began), (Cause.WRONG_CHAIN, WALL))
        self.assertIs(attempt.missed, Stage.FORK_OK)
        self.assertEqual(journeys.by_host("9.9.9.9"), (A,))
        self.assertEqual(
            journeys.funnel(), {"stages": NOBODY | {"found": 1}, "failures": {"fork_ok": {"wrong_chain": 1}}}
        )

    def test_attempts(self) -> None:
        """Each attempt is kept with what happened when; a stage is told once, and never goes back."""
        journeys = Journeys()
        journeys.begin(A, "9.9.9.9:30303", 10.0, WALL)
        self.assertTrue(journeys.reached(A, Stage.AUTH, 10.5))
        self.assertFalse(journeys.reached(A, Stage.AUTH, 10.6))
        self.assertFalse(journeys.reached(A, Stage.TCP, 10.7))
        [attempt] = journeys.attempts(A)
        self.assertEqual(attempt.reached, ((Stage.TCP, 0.5), (Stage.AUTH, 0.5)))
        self.assertEqual((attempt.address, attempt.began, attempt.cause), ("9.9.9.9:30303", WALL, None))
        self.assertIs(attempt.missed, Stage.HELLO)
        journeys.ended(A, Cause.TOO_MANY_PEERS, "too many peers", 11.0, by_us=True)
        self.assertIsNone(journeys.ended(A, Cause.LOST, "", 12.0))
        self.assertFalse(journeys.reached(A, Stage.HELLO, 12.0))
        self.assertTrue(journeys.attempts(A)[0].by_us)
        self.assertEqual(journeys.attempts(B), ())

    def test_both_call(self) -> None:
        """A call of ours and one of theirs at the same time are two attempts."""
        journeys = Journeys()
        journeys.begin(A, "9.9.9.9:30303", 0.0, WALL)
        journeys.begin(A, "9.9.9.9:4444", 0.1, WALL, inbound=True)
        journeys.reached(A, Stage.AUTH, 0.2, inbound=True)
        self.assertEqual([attempt.inbound for attempt in journeys.attempts(A)], [False, True])
        journeys.ended(A, Cause.ALREADY_CONNECTED, "", 0.3)
        self.assertEqual([attempt.cause for attempt in journeys.attempts(A)], [Cause.ALREADY_CONNECTED, None])

    def test_forgotten_end(self) -> None:
        """A call whose end nobody told ends when the next one begins."""
        journeys = Journeys()
        journeys.begin(A, "9.9.9.9:1", 0.0, WALL)
        journeys.begin(A, "9.9.9.9:2", 5.0, WALL)
        self.assertEqual([attempt.cause for attempt in journeys.attempts(A)], [Cause.OTHER, None])

    def test_minute(self) -> None:
        """A session has arrived after a minute: told by the timer, once."""
        journeys = Journeys()
        self.assertIsNone(journeys.next_timer())
        for node_id, began in [(A, 0.0), (B, 10.0), (C, 20.0)]:
            journeys.begin(node_id, "9.9.9.9:1", began, WALL, inbound=node_id == B)
            journeys.reached(node_id, Stage.HELLO, began + 1.0, inbound=node_id == B)
        self.assertEqual(journeys.next_timer(), 1.0 + MINUTE)
        self.assertEqual(journeys.handle_timer(MINUTE), [])
        self.assertEqual(journeys.handle_timer(11.0 + MINUTE), [(A, False), (B, True)])
        journeys.ended(C, Cause.LOST, "", 30.0)
        self.assertIsNone(journeys.next_timer())
        self.assertEqual(journeys.handle_timer(1000.0), [])
        self.assertEqual(journeys.attempts(A)[0].reached[-1], (Stage.MINUTE, 1.0 + MINUTE))
        self.assertEqual(journeys.funnel()["stages"]["minute"], 1)
        self.assertIsNone(journeys.attempts(A)[0].missed)

    def test_hosts(self) -> None:
        """Who was met at a host, by the address as it is written."""
        journeys = Journeys()
        for node_id, address in [(A, "9.9.9.9:1"), (B, "9.9.9.9:2"), (C, "[2a00::1]:3"), (A, "9.9.9.9:4")]:
            journeys.begin(node_id, address, 0.0, WALL)
        self.assertEqual(journeys.by_host("9.9.9.9"), (B, A))
        self.assertEqual(journeys.by_host("2a00::1"), (C,))
        self.assertEqual(journeys.by_host("9.9.9.8"), ())
        self.assertEqual(host_of("node.example:30303"), "node.example")

    def test_refused(self) -> None:
        """Callers that are not let in, by id or by host, and by rule."""
        journeys = Journeys()
        journeys.refused(A, "9.9.9.9:1", "too_many_inbound", "all 34 places for callers are taken", WALL)
        journeys.refused("9.9.9.9", "9.9.9.9:2", "throttled", "called 3 s ago", WALL + 3)
        [refusal] = journeys.refusals(A)
        self.assertEqual((refusal.at, refusal.rule), (WALL, "too_many_inbound"))
        self.assertEqual([refusal.words for refusal in journeys.refusals("9.9.9.9")], ["called 3 s ago"])
        self.assertEqual(journeys.refusals(B), ())
        self.assertEqual(journeys.refusals_by_rule, {"too_many_inbound": 1, "throttled": 1})


class CapTests(SynchronousTestCase):
    def test_nodes(self) -> None:
        """The oldest is forgotten first, but not one that is here."""
        self.patch(module, "MAX_NODES", 2)
        journeys = Journeys()
        for node_id in (A, B, C):
            journeys.begin(node_id, "9.9.9.9:1", 0.0, WALL)
            if node_id != A:
                journeys.ended(node_id, Cause.LOST, "", 1.0)
        self.assertEqual([len(journeys.attempts(node_id)) for node_id in (A, B, C)], [1, 0, 1])

    def test_nodes_all_here(self) -> None:
        """When all are here, the cap holds all the same."""
        self.patch(module, "MAX_NODES", 2)
        journeys = Journeys()
        for node_id in (A, B, C):
            journeys.begin(node_id, "9.9.9.9:1", 0.0, WALL)
            journeys.reached(node_id, Stage.HELLO, 0.0)
        self.assertEqual(len(journeys), 2)
        self.assertEqual(len(journeys.handle_timer(MINUTE)), 2)

    def test_attempts(self) -> None:
        """Of a node the newest attempts are kept, and of a caller the newest refusals; their words are cut."""
        journeys = Journeys()
        for number in range(2 * MAX_ATTEMPTS):
            journeys.begin(A, "9.9.9.9:1", 0.0, WALL + number)
            journeys.ended(A, Cause.OTHER, "x" * 10_000, 1.0)
            journeys.refused(A, "y" * 10_000, "banned", "x" * 10_000, WALL + number)
        attempts, refusals = journeys.attempts(A), journeys.refusals(A)
        self.assertEqual([attempt.began - WALL for attempt in attempts], [*range(MAX_ATTEMPTS, 2 * MAX_ATTEMPTS)])
        self.assertEqual(len(refusals), MAX_ATTEMPTS)
        longest = [len(attempts[0].words), len(refusals[0].words), len(refusals[0].address)]
        self.assertEqual(longest, [module.MAX_WORDS] * 3)

    def test_hosts(self) -> None:
        """Only so many hosts, and so many ids of each."""
        self.patch(module, "MAX_HOSTS", 2)
        self.patch(module, "MAX_IDS", 2)
        journeys = Journeys()
        for node_id in (A, B, C):
            journeys.begin(node_id, "9.9.9.9:1", 0.0, WALL)
        self.assertEqual(journeys.by_host("9.9.9.9"), (B, C))
        for host in ("1.1.1.1", "2.2.2.2"):
            journeys.begin(A, f"{host}:1", 0.0, WALL)
        known = [host for host in ("9.9.9.9", "1.1.1.1", "2.2.2.2") if journeys.by_host(host)]
        self.assertEqual(known, ["1.1.1.1", "2.2.2.2"])

    def test_refused(self) -> None:
        """Only so many refused callers, and so many rules counted apart."""
        self.patch(module, "MAX_REFUSED", 2)
        self.patch(module, "MAX_RULES", 2)
        journeys = Journeys()
        for number, who in enumerate((A, B, C)):
            journeys.refused(who, "9.9.9.9:1", f"rule {number}", "", WALL)
        self.assertEqual([len(journeys.refusals(who)) for who in (A, B, C)], [0, 1, 1])
        self.assertEqual(journeys.refusals_by_rule, {"rule 0": 1, "rule 1": 1, "other": 1})

    @given(st.integers(0, 2**32))
    def test_any_order(self, seed: int) -> None:
        """Whatever is told, and in whatever order: the funnel narrows, and each call of ours is counted once."""
        rng, journeys, now, begun = Random(seed), Journeys(), 0.0, 0
        for _ in range(60):
            node_id, told = rng.choice([A, B, C]), rng.randrange(4)
            inbound = rng.random() < 0.3
            options: dict[str, Any] = {"inbound": inbound}
            if told == 0:
                journeys.begin(node_id, "9.9.9.9:1", now, WALL, **options)
                begun += not inbound
            elif told == 1:
                journeys.reached(node_id, rng.choice([Stage.TCP, Stage.AUTH, Stage.HELLO]), now, **options)
            elif told == 2:
                journeys.ended(node_id, rng.choice(list(Cause)), "", now, **options)
            else:
                journeys.handle_timer(now)
            now += rng.choice([0.1, 10.0, 70.0])
        for node_id in (A, B, C):
            journeys.ended(node_id, Cause.LOST, "", now)
        funnel = journeys.funnel()
        counts = [funnel["stages"][name] for name in ("tcp", "auth", "hello", "minute")]
        assert counts == sorted(counts, reverse=True), counts
        failed = sum(sum(causes.values()) for causes in funnel["failures"].values())
        assert failed + funnel["stages"]["minute"] == begun
