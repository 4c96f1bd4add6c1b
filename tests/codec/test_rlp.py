"""RLP: against an independent implementation, against hostile bytes, and the shapes on top."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import rlp as independent
from hypothesis import example, given
from hypothesis import strategies as st
from rlp.exceptions import RLPException
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.codec.rlp import MAX_DEPTH, MAX_ITEMS, Shape
from ethp2p.errors import OversizeError, WireError

LENGTHS = st.sampled_from([0, 1, 2, 54, 55, 56, 57, 255, 256, 257, 65535, 65536])
STRINGS = st.binary(max_size=70) | LENGTHS.map(lambda length: b"\x7f" * length)
ITEMS = st.recursive(STRINGS, lambda items: st.lists(items, max_size=60), max_leaves=25)
#: Bytes that look like RLP more often than random ones do.
RLPISH = st.lists(
    st.sampled_from([0x00, 0x01, 0x7F, 0x80, 0x81, 0x82, 0xB7, 0xB8, 0xB9, 0xBF, 0xC0, 0xC1, 0xC2, 0xF7, 0xF8, 0xFF]),
    max_size=12,
).map(bytes)


def _damage(item: rlp.Item, where: int, value: int) -> bytes:
    data = bytearray(rlp.encode(item))
    data[where % len(data)] = value
    return bytes(data)


#: One byte changed in what was right.
DAMAGED = st.builds(_damage, ITEMS, st.integers(0), st.integers(0, 255))

#: Yellow Paper, appendix B, and the examples every implementation publishes.
VECTORS: list[tuple[str, Any]] = [
    ("80", b""),
    ("00", b"\0"),
    ("7f", b"\x7f"),
    ("8180", b"\x80"),
    ("83646f67", b"dog"),
    ("c0", []),
    ("c88363617483646f67", [b"cat", b"dog"]),
    ("c7c0c1c0c3c0c1c0", [[], [[]], [[], [[]]]]),
    ("b7" + "61" * 55, b"a" * 55),
    ("b838" + "61" * 56, b"a" * 56),
    ("f7" + "61" * 55, [b"a"] * 55),
    ("f838" + "61" * 56, [b"a"] * 56),
    ("b90100" + "61" * 256, b"a" * 256),
    ("f90100" + "61" * 256, [b"a"] * 256),
]

#: Each has a canonical twin, or none; both would let two byte strings mean one value.
REFUSED = {
    "no bytes": "",
    "a byte in a needless string": "8100",
    "0x7f in a needless string": "817f",
    "short string cut short": "83646f",
    "short list cut short": "c3c0",
    "string that runs past its list": "c283646f67",
    "item that runs past its list into another": "c4c2836161",
    "list that runs past its list": "c2c280",
    "bytes after a string": "83646f6700",
    "bytes after a byte": "0000",
    "bytes after a list": "c000",
    "two items": "8080",
    "long form for 55 bytes": "b837" + "61" * 55,
    "long form for nothing": "b800",
    "long list for 55 bytes": "f837" + "61" * 55,
    "length with a leading zero": "b90038" + "61" * 56,
    "list length with a leading zero": "f90038" + "61" * 56,
    "length missing": "b8",
    "list length missing": "f8",
    "length cut short": "b901",
    "long string cut short": "b838" + "61" * 55,
    "long list cut short": "f838" + "61" * 55,
    "length of 2**64 - 1": "bf" + "ff" * 8,
    "list length of 2**64 - 1": "ff" + "ff" * 8,
    "length of 8 bytes inside a list": "c9bf" + "ff" * 8,
    "needless string inside a list": "c28101",
    "0x81 at the very end of a list": "c181",
    "long form inside a list": "c3b80161",
}


def _refusal(decode: Callable[[bytes], object], text: str) -> Exception | None:
    try:
        decode(bytes.fromhex(text))
    except WireError as error:
        return error
    return None


def _nested(depth: int) -> bytes:
    data = b"\xc0"
    for _ in range(depth - 1):
        data = rlp.join([data])
    return data


class AgainstAnotherImplementation(SynchronousTestCase):
    @given(ITEMS)
    def test_encodes_alike(self, item: rlp.Item) -> None:
        self.assertEqual(rlp.encode(item), independent.encode(item))

    @given(ITEMS)
    def test_round_trip(self, item: rlp.Item) -> None:
        self.assertEqual(rlp.decode(rlp.encode(item)), item)

    @given(st.binary(max_size=120) | RLPISH | DAMAGED)
    @example(b"\xc4\xc2\x83aa")
    def test_accepts_and_refuses_alike(self, data: bytes) -> None:
        try:
            theirs = independent.decode(data, strict=True)
        except (RLPException, IndexError):
            self.assertRaises(WireError, rlp.decode, data)
            return
        self.assertEqual(rlp.decode(data), theirs)

    @given(st.binary(max_size=60) | RLPISH)
    def test_what_decodes_is_canonical(self, data: bytes) -> None:
        """One value, one encoding: nothing that is hashed can be written in two ways."""
        try:
            item = rlp.decode(data)
        except WireError:
            return
        self.assertEqual(rlp.encode(item), data)


class DecodeTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        for text, item in VECTORS:
            data = bytes.fromhex(text)
            self.assertEqual(rlp.decode(data), item, text[:20])
            self.assertEqual(rlp.encode(item), data, text[:20])

    def test_refused(self) -> None:
        for name, text in REFUSED.items():
            self.assertIsInstance(_refusal(rlp.decode, text), WireError, name)

    def test_other_kinds_of_buffer(self) -> None:
        data = bytes.fromhex("c88363617483646f67")
        for buffer in (bytearray(data), memoryview(data)):
            decoded = rlp.decode(buffer)  # type: ignore[arg-type]
            self.assertEqual(decoded, [b"cat", b"dog"])
            self.assertIs(type(decoded[0]), bytes)
            self.assertEqual(rlp.split(buffer), [b"\x83cat", b"\x83dog"])  # type: ignore[arg-type]
            self.assertEqual(rlp.encode([buffer]), rlp.encode([data]))

    def test_tuples_encode_as_lists(self) -> None:
        self.assertEqual(rlp.encode((b"cat", (b"dog",))), rlp.encode([b"cat", [b"dog"]]))


class BombTests(SynchronousTestCase):
    """Hostile shapes meet a cap, not the machine's memory or Python's stack."""

    def test_depth(self) -> None:
        self.assertEqual(rlp.encode(rlp.decode(_nested(MAX_DEPTH))), _nested(MAX_DEPTH))
        self.assertRaises(WireError, rlp.decode, _nested(MAX_DEPTH + 1))

    def test_depth_is_the_callers_choice(self) -> None:
        self.assertEqual(rlp.decode(_nested(2), max_depth=2), [[]])
        self.assertRaises(WireError, rlp.decode, _nested(3), max_depth=2)
        self.assertEqual(rlp.decode(b"\xc1\x80", max_depth=1), [b""])
        self.assertRaises(WireError, rlp.decode, _nested(2), max_depth=1)

    def test_depth_that_breaks_recursive_decoders(self) -> None:
        self.assertRaises(WireError, rlp.decode, _nested(20_000))

    def test_depth_that_goes_up_and_down(self) -> None:
        """Only lists inside each other count, not lists beside each other."""
        data = rlp.join([_nested(MAX_DEPTH - 1)] * 40)
        self.assertEqual(rlp.encode(rlp.decode(data)), data)

    def test_width(self) -> None:
        self.assertEqual(len(rlp.decode(rlp.join([b"\xc0"] * 100), max_items=100)), 100)
        self.assertRaises(OversizeError, rlp.decode, rlp.join([b"\xc0"] * 101), max_items=100)
        self.assertRaises(OversizeError, rlp.decode, rlp.join([b"\x01"] * 101), max_items=100)
        self.assertRaises(OversizeError, rlp.decode, rlp.join([b"\x82ab"] * 101), max_items=100)

    def test_lists_and_strings_count_together(self) -> None:
        """Seven items, however they are nested."""
        data = bytes.fromhex("c7c0c1c0c3c0c1c0")
        rlp.decode(data, max_items=7)
        self.assertRaises(OversizeError, rlp.decode, data, max_items=6)

    def test_width_by_default(self) -> None:
        """A full message of the smallest items."""
        self.assertRaises(OversizeError, rlp.decode, rlp.join([b"\x80" * (MAX_ITEMS + 1)]))

    def test_declared_lengths_allocate_nothing(self) -> None:
        for head in ("bb7fffffff", "fb7fffffff", "bfffffffffffffffff", "ffffffffffffffffff"):
            self.assertRaises(WireError, rlp.decode, bytes.fromhex(head) + bytes(100))
            self.assertRaises(WireError, rlp.split, bytes.fromhex(head) + bytes(100))


class SplitTests(SynchronousTestCase):
    @given(st.lists(ITEMS, max_size=20))
    def test_spans_are_the_items_own_bytes(self, items: list[rlp.Item]) -> None:
        data = rlp.encode(items)
        spans = rlp.split(data)
        self.assertEqual([rlp.decode(span) for span in spans], items)
        self.assertEqual(rlp.join(spans), data)

    def test_does_not_look_into_items(self) -> None:
        """Damage within an item is seen when the item is decoded, not before."""
        inside = bytes.fromhex("c28101")
        self.assertEqual(rlp.split(rlp.join([b"\x01", inside])), [b"\x01", inside])

    def test_refused(self) -> None:
        for name, text in REFUSED.items():
            self.assertIsInstance(_refusal(lambda data: list(map(rlp.decode, rlp.split(data))), text), WireError, name)
        self.assertRaises(WireError, rlp.split, b"\x83dog")

    def test_width(self) -> None:
        data = rlp.join([b"\x80"] * 5)
        self.assertEqual(len(rlp.split(data, max_items=5)), 5)
        self.assertRaises(OversizeError, rlp.split, data, max_items=4)


class FirstTests(SynchronousTestCase):
    @given(ITEMS, st.binary(max_size=50))
    def test_what_follows_does_not_matter(self, item: rlp.Item, rest: bytes) -> None:
        """EIP-8: a list, and padding of any kind."""
        encoded = rlp.encode(item)
        self.assertEqual(rlp.first(encoded + rest), encoded)

    def test_refused(self) -> None:
        for text in ("", "83646f", "c3c0", "8101", "b837" + "61" * 55, "f8", "bf" + "ff" * 8):
            self.assertIsInstance(_refusal(rlp.first, text), WireError, text)


@attrs.frozen
class Pair:
    number: int
    name: bytes
    extra: int | None = None
    more: tuple[int, ...] | None = None


PAIR = rlp.record(Pair, number=rlp.UINT64, name=rlp.BYTES, optional=0)
LONG = rlp.record(
    Pair, number=rlp.UINT64, name=rlp.BYTES, extra=rlp.UINT8, more=rlp.list_of(rlp.UINT8, most=3), optional=2
)
OPEN = rlp.record(Pair, number=rlp.UINT64, name=rlp.BYTES, open_ended=True)


class ShapeTests(SynchronousTestCase):
    def check(self, shape: Shape[Any], good: dict[str, Any], bad: tuple[str, ...]) -> None:
        for text, value in good.items():
            self.assertEqual(shape.decode(bytes.fromhex(text)), value)
            self.assertEqual(shape.encode(value).hex(), text)
        for text in bad:
            self.assertRaises(WireError, shape.decode, bytes.fromhex(text))

    def test_integers(self) -> None:
        self.check(rlp.UINT8, {"80": 0, "01": 1, "7f": 127, "8180": 128, "81ff": 255}, ("00", "820100", "c0", "820001"))
        self.check(
            rlp.UINT64, {"80": 0, "88" + "ff" * 8: 2**64 - 1}, ("00", "89" + "01" * 9, "c101", "8800" + "11" * 7)
        )
        self.check(rlp.UINT256, {"a0" + "ff" * 32: 2**256 - 1}, ("a1" + "01" * 33, "a000" + "01" * 31))

    @given(st.integers(0, 2**256 - 1))
    def test_integer_round_trip(self, value: int) -> None:
        self.assertEqual(rlp.UINT256.decode(rlp.UINT256.encode(value)), value)

    def test_strings(self) -> None:
        self.check(rlp.fixed(2), {"820000": b"\0\0"}, ("80", "00", "83000000", "c20000", "c0"))
        self.check(rlp.at_most(2), {"80": b"", "05": b"\5", "820000": b"\0\0"}, ("83000000", "c0"))
        self.check(rlp.BYTES, {"80": b"", "83646f67": b"dog"}, ("c0",))
        self.check(rlp.TEXT, {"80": "", "82c3a9": "\u00e9"}, ("81ff", "82c328", "c0"))
        self.check(rlp.BOOL, {"80": False, "01": True}, ("00", "02", "820001", "c0", "c101"))
        self.check(rlp.HASH, {"a0" + "00" * 32: bytes(32)}, ("80", "9f" + "00" * 31))
        self.check(rlp.ADDRESS, {"94" + "00" * 20: bytes(20)}, ("80", "95" + "00" * 21))

    def test_lists(self) -> None:
        self.check(rlp.list_of(rlp.UINT8, most=2), {"c0": (), "c20102": (1, 2)}, ("80", "c3010203", "c100", "c1c0"))
        self.assertRaises(OversizeError, rlp.list_of(rlp.UINT8, most=2).decode, bytes.fromhex("c3010203"))
        self.check(rlp.list_of(rlp.list_of(rlp.UINT8)), {"c3c0c101": ((), (1,))}, ("c101",))

    def test_absent(self) -> None:
        self.check(rlp.empty_or(rlp.ADDRESS), {"80": None, "94" + "11" * 20: b"\x11" * 20}, ("c0", "01"))

    def test_any(self) -> None:
        self.check(rlp.ANY, {"80": b"", "c101": [b"\1"]}, ("8101",))


class RecordTests(SynchronousTestCase):
    def test_exact(self) -> None:
        self.assertEqual(PAIR.decode(bytes.fromhex("c20161")), Pair(1, b"a"))
        self.assertEqual(PAIR.encode(Pair(1, b"a")).hex(), "c20161")
        for text in ("c101", "c3016102", "80", "c2c061", "c0"):
            self.assertRaises(WireError, PAIR.decode, bytes.fromhex(text))

    def test_optional_from_the_end(self) -> None:
        for value, text in (
            (Pair(1, b"a"), "c20161"),
            (Pair(1, b"a", 5), "c3016105"),
            (Pair(1, b"a", 5, (7,)), "c5016105c107"),
        ):
            self.assertEqual(LONG.decode(bytes.fromhex(text)), value)
            self.assertEqual(LONG.encode(value).hex(), text)
        self.assertRaises(WireError, LONG.decode, bytes.fromhex("c101"))
        self.assertRaises(WireError, LONG.decode, bytes.fromhex("c6016105c10709"))

    def test_open_ended_ignores_what_comes_after(self) -> None:
        """EIP-8: tomorrow's peers may say more."""
        self.assertEqual(OPEN.decode(bytes.fromhex("c50161c2c001")), Pair(1, b"a"))
        self.assertRaises(WireError, OPEN.decode, bytes.fromhex("c101"))

    def test_an_error_names_the_field_and_keeps_its_kind(self) -> None:
        with self.assertRaises(WireError) as caught:
            PAIR.decode(bytes.fromhex("c20061"))
        self.assertEqual(str(caught.exception), "Pair.number: an integer with leading zeros")
        with self.assertRaises(OversizeError) as caught:
            LONG.decode(bytes.fromhex("c8016105c401020304"))
        self.assertTrue(str(caught.exception).startswith("Pair.more: "))
        with self.assertRaises(WireError) as caught:
            rlp.record(Box, pair=PAIR).decode(bytes.fromhex("c3c201c0"))
        self.assertEqual(str(caught.exception), "Box.pair: Pair.name: a list where a string belongs")

    @given(st.binary(max_size=40) | RLPISH)
    def test_any_bytes_give_a_value_or_a_wire_error(self, data: bytes) -> None:
        for shape in (PAIR, LONG):
            try:
                value = shape.decode(data)
            except WireError:
                continue
            self.assertEqual(shape.encode(value), data)


@attrs.frozen
class Box:
    pair: Pair
