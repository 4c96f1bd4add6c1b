"""The engine pump, on a small engine of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import WireError
from ethp2p.testing.pump import Pump, Side, at, bytewise, randomly, whole


class Countdown:
    """Lines of digits: answers each with one less, and 0 with nothing.  A letter breaks the rules."""

    def __init__(self, first: int | None = None) -> None:
        self.buffer = bytearray()
        self.out = bytearray(b"" if first is None else b"%d\n" % first)
        self.pieces: list[bytes] = []

    def receive_data(self, data: bytes) -> None:
        self.pieces.append(data)
        self.buffer += data

    def next_event(self) -> int | None:
        line, newline, rest = self.buffer.partition(b"\n")
        if not newline:
            return None
        if not line.isdigit():
            self.out += b"shame\n"
            raise WireError("not a number")
        self.buffer = rest
        number = int(line)
        if number:
            self.out += b"%d\n" % (number - 1)
        return number

    def data_to_send(self) -> bytes:
        data, self.out = bytes(self.out), bytearray()
        return data


class PumpTests(SynchronousTestCase):
    def test_until_quiet(self) -> None:
        pump = Pump(Countdown(12), Countdown())
        pump.run()
        self.assertEqual(pump.right.events, [12, 10, 8, 6, 4, 2, 0])
        self.assertEqual(pump.left.events, [11, 9, 7, 5, 3, 1])
        self.assertEqual(bytes(pump.left.sent), b"12\n10\n8\n6\n4\n2\n0\n")

    @given(st.integers(0, 1000), st.lists(st.integers(0, 40)))
    def test_chopping_does_not_matter(self, seed: int, cuts: list[int]) -> None:
        plain, chopped = (
            Pump(Countdown(12), Countdown()),
            Pump(Countdown(12), Countdown(), to_left=randomly(seed), to_right=at(*cuts)),
        )
        plain.run()
        chopped.run()
        self.assertEqual(plain.left.events, chopped.left.events)
        self.assertEqual(plain.right.events, chopped.right.events)

    def test_an_engine_that_talks_without_end(self) -> None:
        engine = Countdown(1)
        engine.data_to_send = lambda: b"0\n"  # type: ignore[method-assign]
        self.assertRaises(RuntimeError, Pump(engine, Countdown()).run, rounds=10)

    def test_an_error_is_kept_and_the_last_words_are_carried(self) -> None:
        pump = Pump(Countdown(), Countdown())
        pump.left.engine.out += b"3\nx\n5\n"
        pump.run()
        self.assertEqual(pump.right.events, [3])
        self.assertEqual(str(pump.right.error), "not a number")
        self.assertEqual(bytes(pump.right.sent), b"2\nshame\n")
        self.assertEqual(str(pump.left.error), "not a number")

    def test_reactions(self) -> None:
        pump = Pump(Countdown(2), Countdown())
        pump.right.react = lambda side, event: side.engine.out.extend(b"0\n")
        pump.run()
        self.assertEqual(pump.left.events, [1, 0, 0])

    def test_one_side_alone(self) -> None:
        side = Side(Countdown(), chop=bytewise)
        side.feed(b"7\n")
        self.assertEqual((side.events, side.engine.pieces, side.take()), ([7], [b"7", b"\n"], b"6\n"))


class ChopTests(SynchronousTestCase):
    @given(st.binary(max_size=500), st.integers(0, 50), st.lists(st.integers(0, 500)))
    def test_nothing_is_lost(self, data: bytes, seed: int, cuts: list[int]) -> None:
        for chop in (whole, bytewise, randomly(seed), at(*cuts)):
            self.assertEqual(b"".join(chop(data)), data)

    def test_at_counts_from_the_beginning_of_the_stream(self) -> None:
        chop = at(2, 5, 6, 100)
        self.assertEqual(
            [list(chop(data)) for data in (b"abc", b"def", b"ghi")], [[b"ab", b"c"], [b"de", b"f"], [b"ghi"]]
        )

    def test_randomly_is_the_same_every_time(self) -> None:
        data = bytes(3000)
        pieces = [[len(piece) for piece in randomly(seed)(data)] for seed in (3, 3, 4)]
        self.assertEqual(pieces[0], pieces[1])
        self.assertNotEqual(pieces[0], pieces[2])
        self.assertGreater(len(pieces[0]), 3)
