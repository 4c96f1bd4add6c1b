"""Snappy: round trips, and blocks that lie about their size."""

from __future__ import annotations

import tracemalloc

import cramjam
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import snappy
from ethp2p.errors import OversizeError, WireError
from ethp2p.testing.frames import snappy_bomb, snappy_lie

LIMIT = 1 << 24


class RoundTripTests(SynchronousTestCase):
    @given(st.binary(max_size=2000))
    def test_round_trip(self, data: bytes) -> None:
        block = snappy.compress(data)
        self.assertEqual(snappy.declared_length(block), len(data))
        self.assertEqual(snappy.decompress(block, len(data)), data)

    def test_a_published_block(self) -> None:
        """Format description, section 2.2: a literal, then a copy that overlaps itself."""
        block = bytes.fromhex("0a046162") + bytes([(8 - 4) << 2 | 1, 2])
        self.assertEqual(snappy.decompress(block, 10), b"ab" * 5)

    def test_large(self) -> None:
        """What is decompressed in place."""
        for size in (snappy.LARGE - 1, snappy.LARGE, 5 * snappy.LARGE + 3):
            for data in (bytes(size), bytes(range(256)) * (size // 256) + bytes(size % 256)):
                block = snappy.compress(data)
                plain = snappy.decompress(block, size)
                self.assertIs(type(plain), bytes)
                self.assertEqual(plain, data)
                self.assertRaises(WireError, snappy.decompress, block[:-1], size)

    def test_nothing(self) -> None:
        self.assertEqual(snappy.decompress(b"\0", 0), b"")
        self.assertEqual(snappy.compress(b""), b"\0")


class BombTests(SynchronousTestCase):
    def test_the_limit_is_exact(self) -> None:
        block = snappy.compress(bytes(1000))
        self.assertEqual(len(snappy.decompress(block, 1000)), 1000)
        self.assertRaises(OversizeError, snappy.decompress, block, 999)

    def test_a_bomb_is_refused_before_it_is_unpacked(self) -> None:
        """What follows the length is never looked at: it is not even snappy here."""
        for name in ("decompress_raw", "decompress_raw_into"):
            self.patch(cramjam.snappy, name, lambda *data: self.fail("unpacked"))
        for length in (LIMIT + 1, 0xFFFFFFFF):
            number = b"".join(bytes([length >> shift & 0x7F | 0x80]) for shift in (0, 7, 14, 21)) + bytes(
                [length >> 28]
            )
            self.assertEqual(snappy.declared_length(number), length)
            with self.assertRaises(OversizeError) as caught:
                snappy.decompress(number + b"\xff" * 50, LIMIT)
            self.assertIn(str(length), str(caught.exception))

    def test_a_real_bomb(self) -> None:
        block = snappy.compress(bytes(LIMIT))
        self.assertLess(len(block), LIMIT // 20)
        self.assertRaises(OversizeError, snappy.decompress, block, LIMIT - 1)

    def test_a_lie_allocates_nothing(self) -> None:
        """A few bytes that declare many cannot hold them."""
        honest = snappy_bomb(100_000)
        self.assertEqual(len(snappy.decompress(honest, LIMIT)), 100_000)
        for length, rest in ((LIMIT, b"\0x"), (1000, bytes(44)), (110_000, honest[3:])):
            lie = snappy_lie(length, rest)
            tracemalloc.start()
            try:
                self.assertRaises(WireError, snappy.decompress, lie, LIMIT)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 20_000)

    def test_lies_about_the_length(self) -> None:
        block = snappy.compress(b"0123456789" * 20)
        self.assertEqual(block[:2], b"\xc8\x01")
        for length in (b"\xc7\x01", b"\xc9\x01", b"\x80\x40", b"\x05", b"\0"):
            self.assertRaises(WireError, snappy.decompress, length + block[2:], LIMIT)


class DamageTests(SynchronousTestCase):
    def test_no_length(self) -> None:
        for data in (b"", b"\x80", b"\xff" * 4, b"\xff" * 5, b"\xff" * 10, b"\xff\xff\xff\xff\x10"):
            self.assertRaises(WireError, snappy.declared_length, data)
            self.assertRaises(WireError, snappy.decompress, data, LIMIT)

    def test_copies_from_before_the_start(self) -> None:
        self.assertRaises(WireError, snappy.decompress, bytes.fromhex("080061") + bytes([0x01 | 3 << 2, 9]), 100)

    def test_cut_short(self) -> None:
        block = snappy.compress(bytes(range(200)))
        for end in range(len(block)):
            self.assertRaises(WireError, snappy.decompress, block[:end], LIMIT)

    @given(st.binary(max_size=60) | st.builds(lambda size, rest: bytes([size]) + rest, st.integers(0, 90), st.binary()))
    def test_any_bytes_give_bytes_or_a_wire_error(self, data: bytes) -> None:
        try:
            plain = snappy.decompress(data, 500)
        except WireError:
            return
        self.assertEqual(len(plain), snappy.declared_length(data))
        self.assertLessEqual(len(plain), 500)
