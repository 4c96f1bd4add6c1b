"""
Tables of rounds for static dialing.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.peers import dialer as module
from ethp2p.peers.dialer import FAR_BACKOFF, GOOD_SESSION, JITTER, MAX_BACKOFF, NEAR_BACKOFF, Dialer

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def steady() -> float:
    return 0.0


class DialerTests(SynchronousTestCase):
    def test_calls_once(self) -> None:
        """A wanted peer is called at once, and not again while the call is under way or the peer is here."""
        dialer = Dialer(steady)
        self.assertTrue(dialer.add(A, 10.0))
        self.assertTrue(dialer.add(A, 11.0))
        self.assertEqual(dialer.next_calls((), 10.0), [A])
        self.assertEqual(dialer.next_calls((), 10.0), [])
        dialer.connected(A)
        self.assertEqual(dialer.next_calls({A}, 10.0), [])
        self.assertIsNone(dialer.next_timer({A}))

    def test_backoff(self) -> None:
        """Each failure doubles the wait up to the cap; near peers start lower than far ones."""
        for near, first in [(True, NEAR_BACKOFF), (False, FAR_BACKOFF)]:
            dialer, now, wait = Dialer(steady), 0.0, first
            dialer.add(A, now, near=near)
            for attempt in range(1, 14):
                self.assertEqual(dialer.next_calls((), now), [A])
                peer = dialer.failed(A, "connection refused", now)
                assert peer is not None
                self.assertEqual((peer.failures, peer.last), (attempt, "connection refused"))
                self.assertEqual(dialer.next_timer(()), now + wait)
                self.assertEqual(dialer.next_calls((), now + wait - 0.01), [])
                now, wait = now + wait, min(MAX_BACKOFF, wait * 2)
            self.assertEqual(wait, MAX_BACKOFF)

    def test_jitter(self) -> None:
        """The wait is stretched by at most its share."""
        dialer = Dialer(lambda: 1.0)
        dialer.add(A, 0.0)
        dialer.next_calls((), 0.0)
        dialer.failed(A, "", 0.0)
        self.assertAlmostEqual(dialer.next_timer(()) or 0.0, FAR_BACKOFF * (1 + JITTER))

    def test_session_lengths(self) -> None:
        """A long session wipes the failures; short ones count as failures."""
        for lasted, waits in [(GOOD_SESSION, [NEAR_BACKOFF] * 4), (1.0, [NEAR_BACKOFF * 2**n for n in range(4)])]:
            dialer, now = Dialer(steady), 0.0
            dialer.add(A, now, near=True)
            for wait in waits:
                self.assertEqual(dialer.next_calls((), now), [A])
                dialer.connected(A)
                dialer.ended(A, lasted, "too many peers", now)
                self.assertEqual(dialer.next_timer(()), now + wait)
                now += wait

    def test_removed_during_call(self) -> None:
        """A peer that is no longer wanted is not called again."""
        dialer = Dialer(steady)
        dialer.add(A, 0.0)
        dialer.next_calls((), 0.0)
        self.assertTrue(dialer.remove(A))
        self.assertFalse(dialer.remove(A))
        self.assertIsNone(dialer.failed(A, "refused", 0.0))
        self.assertIsNone(dialer.ended(A, 0.0, "gone", 0.0))
        self.assertIsNone(dialer.next_timer(()))

    def test_active_cap(self) -> None:
        """Only so many calls at once, the longest due first."""
        dialer = Dialer(steady, max_active=2)
        for number, node_id in enumerate((C, B, A)):
            dialer.add(node_id, float(number))
        self.assertEqual(dialer.next_calls((), 5.0), [C, B])
        self.assertEqual(dialer.next_calls((), 5.0), [])
        dialer.connected(C)
        self.assertEqual(dialer.next_calls({C}, 5.0), [A])

    def test_found(self) -> None:
        """A found node is called once in a while, unless it is here or called anyway."""
        dialer = Dialer(steady)
        dialer.add(B, 0.0)
        self.assertFalse(dialer.found(B, (), 0.0))
        self.assertFalse(dialer.found(A, {A}, 0.0))
        self.assertTrue(dialer.found(A, (), 0.0))
        self.assertEqual(dialer.calling, 1)
        self.assertIsNone(dialer.failed(A, "refused", 1.0))
        self.assertEqual(dialer.calling, 0)
        self.assertFalse(dialer.found(A, (), module.HISTORY - 0.1))
        self.assertTrue(dialer.found(A, (), module.HISTORY))
        dialer.connected(A)
        self.assertEqual(dialer.calling, 0)

    def test_wanted(self) -> None:
        """Twice as many calls as free places, within the cap, less those under way."""
        for dialed, most, under_way, wanted in [
            (0, 16, 0, 32),
            (0, 50, 0, module.MAX_ACTIVE_DIALS),
            (15, 16, 0, 2),
            (16, 16, 0, 0),
            (17, 16, 0, 0),
            (0, 16, 5, 27),
            (15, 16, 5, 0),
        ]:
            dialer = Dialer(steady)
            for number in range(under_way):
                dialer.found(bytes([number]), (), 0.0)
            self.assertEqual(dialer.wanted(dialed, most), wanted)

    def test_history_cap(self) -> None:
        """Only so many calls are remembered."""
        self.patch(module, "MAX_HISTORY", 2)
        dialer = Dialer(steady)
        for node_id in (A, B, C):
            dialer.found(node_id, (), 0.0)
            dialer.failed(node_id, "", 0.0)
        self.assertTrue(dialer.found(A, (), 1.0))
        self.assertFalse(dialer.found(C, (), 1.0))

    def test_table_cap(self) -> None:
        """The table does not grow over its cap; one already in it is still welcome."""
        self.patch(module, "MAX_STATIC_PEERS", 2)
        dialer = Dialer(steady)
        self.assertTrue(dialer.add(A, 0.0))
        self.assertTrue(dialer.add(B, 0.0))
        self.assertFalse(dialer.add(C, 0.0))
        self.assertTrue(dialer.add(A, 0.0))
