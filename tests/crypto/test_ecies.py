"""ECIES: the published packets, round trips, and every way to tamper."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.ecies import OVERHEAD, decrypt, encrypt
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import WireError

ALICE = PrivateKey.parse(b"\x11" * 32)
BOB = PrivateKey.parse(b"\x22" * 32)


class Tape:
    """Randomness that repeats itself, and remembers what was asked."""

    def __init__(self, *given: bytes) -> None:
        self.given = list(given)
        self.asked: list[int] = []

    def __call__(self, size: int) -> bytes:
        self.asked.append(size)
        return self.given.pop(0) if self.given else b"\x33" * size


class RoundTripTests(SynchronousTestCase):
    @given(st.binary(max_size=300), st.binary(max_size=8))
    def test_round_trip(self, message: bytes, beside: bytes) -> None:
        sealed = encrypt(BOB.public_key, message, beside, random=Tape())
        self.assertEqual(len(sealed), len(message) + OVERHEAD)
        self.assertEqual(decrypt(BOB, sealed, beside), message)

    def test_all_randomness_is_asked_for(self) -> None:
        """The one-time key and the counter come from the parameter, so the same ones seal the same way."""
        tape = Tape()
        one = encrypt(BOB.public_key, b"message", random=tape)
        self.assertEqual(tape.asked, [32, 16])
        self.assertEqual(one, encrypt(BOB.public_key, b"message", random=Tape()))
        self.assertNotEqual(one, encrypt(BOB.public_key, b"message", random=Tape(b"\x44" * 32)))
        self.assertNotEqual(one[81:], encrypt(BOB.public_key, b"message", random=Tape(b"\x33" * 32, b"\x44" * 16))[81:])

    def test_a_draw_that_is_no_key_is_drawn_again(self) -> None:
        tape = Tape(bytes(32), b"\xff" * 32)
        self.assertEqual(decrypt(BOB, encrypt(BOB.public_key, b"message", random=tape)), b"message")
        self.assertEqual(tape.asked, [32, 32, 32, 16])

    def test_layout(self) -> None:
        sealed = encrypt(BOB.public_key, b"message", random=Tape())
        self.assertEqual(sealed[:65], b"\x04" + PrivateKey.parse(b"\x33" * 32).public_key.raw)
        self.assertEqual(sealed[65:81], b"\x33" * 16)


class RefusalTests(SynchronousTestCase):
    sealed = encrypt(BOB.public_key, b"a message", b"beside", random=Tape())

    @given(st.integers(0, len(sealed) * 8 - 1))
    def test_any_bit_matters(self, bit: int) -> None:
        changed = bytearray(self.sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with self.assertRaises(WireError):
            decrypt(BOB, bytes(changed), b"beside")

    @given(st.integers(0, len(sealed) - 1))
    def test_any_missing_end_matters(self, size: int) -> None:
        with self.assertRaises(WireError):
            decrypt(BOB, self.sealed[:size], b"beside")

    def test_for_somebody_else(self) -> None:
        with self.assertRaisesRegex(WireError, "tag"):
            decrypt(ALICE, self.sealed, b"beside")

    def test_what_goes_beside_matters(self) -> None:
        for beside in (b"", b"Beside", b"besid"):
            with self.assertRaisesRegex(WireError, "tag"):
                decrypt(BOB, self.sealed, beside)

    def test_what_goes_beside_cannot_move_inside(self) -> None:
        """The tag covers ciphertext and data in a row, so only the fixed place of the tag keeps them apart."""
        moved = self.sealed[:-32] + b"beside" + self.sealed[-32:]
        self.assertEqual(decrypt(BOB, moved)[:9], b"a message")  # which is why RLPx puts the size there

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        for start in (b"", b"\x04", self.sealed[:65]):
            with self.assertRaises(WireError):
                decrypt(BOB, start + data)
