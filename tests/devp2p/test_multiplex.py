"""
Whose turn it is, and how much may wait.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.devp2p.multiplex import (
    HARD_CAP,
    HIGH_WATER,
    LOW_WATER,
    MESSAGE_COST,
    QUANTUM,
    Lane,
    Multiplexer,
    QueueFull,
)


def drained(queue: Multiplexer) -> list[int]:
    """The codes of everything that waits, in the order of sending."""
    codes = []
    while (message := queue.take()) is not None:
        codes.append(message[0])
    return codes


class FairnessTests(SynchronousTestCase):
    def share(self, sizes: list[int], counts: list[int], takes: int) -> Counter[int]:
        """Bytes that each lane sent in the first C{takes} messages, where lane n writes code n."""
        queue = Multiplexer()
        lanes = [Lane() for _ in sizes]
        for code, (lane, size, count) in enumerate(zip(lanes, sizes, counts)):
            for _ in range(count):
                queue.put(lane, code, bytes(size))
        sent: Counter[int] = Counter()
        for _ in range(takes):
            message = queue.take()
            assert message is not None
            sent[message[0]] += len(message[1]) + MESSAGE_COST
        return sent

    def test_equal_bytes(self) -> None:
        """Whatever the sizes of their messages, lanes with enough to send get the same bytes."""
        for sizes, counts, takes in (
            ([100, 100], [900, 900], 1000),
            ([100, 10_000], [1500, 15], 700),
            ([100, 60_000], [2000, 60], 1200),
            ([100, 3_000_000], [20_000, 2], 15_500),
            ([0, 500, 20_000], [4000, 600, 20], 3000),
        ):
            sent = self.share(sizes, counts, takes)
            spread = max(sent.values()) - min(sent[code] for code in range(len(sizes)))
            self.assertLessEqual(spread, 2 * QUANTUM + max(sizes) + MESSAGE_COST, (sizes, sent))

    def test_large_does_not_hold_up_small(self) -> None:
        queue, bulk, small = Multiplexer(), Lane(), Lane()
        for _ in range(4):
            queue.put(bulk, 1, bytes(1_000_000))
        for _ in range(20):
            queue.put(small, 2, b"soon")
        self.assertEqual(drained(queue), [2] * 20 + [1] * 4)

    def test_order_within_a_lane(self) -> None:
        queue, one, other = Multiplexer(), Lane(), Lane()
        for code in range(200):
            queue.put(one, code, bytes(code * 37 % 5000))
            queue.put(other, 1000 + code, bytes(code * 91 % 30_000))
        order = drained(queue)
        self.assertEqual([code for code in order if code < 1000], list(range(200)))
        self.assertEqual([code for code in order if code >= 1000], list(range(1000, 1200)))

    def test_no_savings_from_lonely_times(self) -> None:
        """A lane that saved up for a large message and then was alone has no right to a burst."""
        queue, greedy, other = Multiplexer(), Lane(), Lane()
        queue.put(greedy, 1, bytes(2_000_000))
        for _ in range(100):
            queue.put(other, 2, bytes(15_000))
        while queue.take() != (2, bytes(15_000)) or len(queue.turns) > 1:
            pass
        for _ in range(50):
            queue.put(greedy, 1, bytes(10_000))
            queue.put(other, 2, bytes(10_000))
        first = [message[0] for message in (queue.take() for _ in range(20)) if message is not None]
        self.assertGreaterEqual(first.count(2), 8)

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50_000)), max_size=60))
    def test_all_is_sent_once(self, writes: list[tuple[int, int]]) -> None:
        queue = Multiplexer()
        lanes = [Lane() for _ in range(4)]
        written: list[list[int]] = [[], [], [], []]
        for number, (which, size) in enumerate(writes):
            queue.put(lanes[which], number, bytes(size))
            written[which].append(number)
        order = drained(queue)
        self.assertEqual(sorted(order), list(range(len(writes))))
        for numbers in written:
            self.assertEqual([code for code in order if code in numbers], numbers)
        self.assertEqual([(lane.size, lane.full, lane.overflowing) for lane in lanes], [(0, False, False)] * 4)
        self.assertEqual(queue.turns, [])


class WaterTests(SynchronousTestCase):
    def test_marks(self) -> None:
        """Full above the high mark until the low; overflowing above the cap until the high."""
        queue, lane = Multiplexer(), Lane()
        piece = bytes(32 * 1024 - MESSAGE_COST)
        full_from, over_from = [], []
        while not lane.overflowing:
            queue.put(lane, 0, piece)
            full_from += [lane.size] * lane.full
            over_from += [lane.size] * lane.overflowing
        self.assertEqual(full_from[0], HIGH_WATER + 32 * 1024)
        self.assertEqual(over_from[0], HARD_CAP + 32 * 1024)
        self.assertRaises(QueueFull, queue.put, lane, 0, b"")
        while lane.overflowing:
            queue.take()
        self.assertEqual((lane.size, lane.full), (HIGH_WATER, True))
        while lane.full:
            queue.take()
        self.assertEqual(lane.size, LOW_WATER)

    def test_bounded(self) -> None:
        """A lane holds at most the cap and one message, even of empty messages."""
        for size in (0, 100_000, 10_000_000):
            queue, lane = Multiplexer(), Lane()
            for _ in range(100_000):
                try:
                    queue.put(lane, 0, bytes(size))
                except QueueFull:
                    break
            self.assertGreater(lane.size, HARD_CAP)
            self.assertLessEqual(lane.size, HARD_CAP + size + MESSAGE_COST)

    def test_clear(self) -> None:
        queue, lane = Multiplexer(), Lane()
        queue.put(lane, 0, bytes(HARD_CAP + 1))
        queue.clear()
        self.assertEqual((lane.size, lane.full, lane.overflowing, queue.take()), (0, False, False, None))
        queue.put(lane, 7, b"again")
        self.assertEqual(queue.take(), (7, b"again"))
