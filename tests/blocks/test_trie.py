"""
Tests of the trie roots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_ROOT, ordered_root, secure_root, trie_root
from ethp2p.blocks.trie import MAX_KEY
from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256

Nibbles = list[int]


def slow_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """
    The Yellow Paper's appendix D, function by function: HP, c and n.
    """

    def hex_prefix(nibbles: Nibbles, leaf: bool) -> bytes:
        flag = 2 * leaf + len(nibbles) % 2
        padded = [flag, *nibbles] if len(nibbles) % 2 else [flag, 0, *nibbles]
        return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2]))

    def reference(entries: list[tuple[Nibbles, bytes]]) -> Any:
        if not entries:
            return b""
        node = compose(entries)
        encoded = rlp.encode(node)
        return node if len(encoded) < 32 else keccak256(encoded)

    def compose(entries: list[tuple[Nibbles, bytes]]) -> list[Any]:
        if len(entries) == 1:
            return [hex_prefix(entries[0][0], True), entries[0][1]]
        shared = 0
        while all(len(key) > shared for key, _ in entries) and len({key[shared] for key, _ in entries}) == 1:
            shared += 1
        if shared:
            return [hex_prefix(entries[0][0][:shared], False), reference([(k[shared:], v) for k, v in entries])]
        children = [reference([(k[1:], v) for k, v in entries if k[:1] == [nibble]]) for nibble in range(16)]
        return [*children, next((v for k, v in entries if not k), b"")]

    entries = [([int(digit, 16) for digit in key.hex()], value) for key, value in pairs.items()]
    return keccak256(rlp.encode(compose(entries) if entries else b""))


class VectorTests(SynchronousTestCase):
    """
    Roots published in C{ethereum/tests}, TrieTests/trietest.json.
    """

    def test_empty(self) -> None:
        """
        The empty trie's root is the well-known one, whichever way it is empty.
        """
        self.assertEqual(EMPTY_ROOT.hex(), "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
        for root in (trie_root({}), trie_root({b"key": b""}), ordered_root([]), secure_root({})):
            self.assertEqual(root, EMPTY_ROOT)

    def test_dogs(self) -> None:
        """
        A key that is a prefix of another has its value in a branch.
        """
        pairs = {b"do": b"verb", b"horse": b"stallion", b"doge": b"coin", b"dog": b"puppy"}
        self.assertEqual(trie_root(pairs).hex(), "5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84")

    def test_insert_middle_leaf(self) -> None:
        """
        Short and long values below one extension.
        """
        pairs = {
            b"key1aa": b"0123456789012345678901234567890123456789xxx",
            b"key1": b"0123456789012345678901234567890123456789Very_Long",
            b"key2bb": b"aval3",
            b"key2": b"short",
            b"key3cc": b"aval3",
            b"key3": b"1234567890123456789012345678901",
        }
        self.assertEqual(trie_root(pairs).hex(), "cb65032e2f76c48b82b5c24b3db8f670ce73982869d38cd39a624f23d62a9e89")

    def test_jeff(self) -> None:
        """
        Keys of 32 bytes with long prefixes in common.
        """
        pairs = {
            "45".rjust(64, "0"): "22b224a1420a802ab51d326e29fa98e34c4f24ea",
            "46".rjust(64, "0"): "67706c2076330000000000000000000000000000000000000000000000000000",
            "697c7b8c961b56f675d570498424ac8de1a918f6".rjust(64, "0"): "6f6f6f6820736f2067726561742c20726561"
            "6c6c6c793f000000000000000000",
            "7ef9e639e2733cb34e4dfc576d4b23f72db776b2".rjust(64, "0"): "4655474156" + "00" * 27,
            "ec4f34c97e43fbb2816cfd95e388353c7181dab1".rjust(64, "0"): "4e616d65526567" + "00" * 25,
            "4655474156" + "00" * 27: "7ef9e639e2733cb34e4dfc576d4b23f72db776b2",
            "4e616d65526567" + "00" * 25: "ec4f34c97e43fbb2816cfd95e388353c7181dab1",
            "6f6f6f6820736f2067726561742c207265616c6c6c793f000000000000000000": "697c7b8c961b56f675d570498424ac8de1"
            "a918f6",
        }
        root = trie_root({bytes.fromhex(key): bytes.fromhex(value) for key, value in pairs.items()})
        self.assertEqual(root.hex(), "9f6221ebb8efe7cff60a716ecb886e67dd042014be444669f0159d8e68b42100")


class PropertyTests(SynchronousTestCase):
    """
    Against the Yellow Paper written out.
    """

    @given(
        st.dictionaries(
            st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), max_size=4).map(bytes),
            st.binary(min_size=1, max_size=40),
            max_size=12,
        )
    )
    def test_any_pairs(self, pairs: dict[bytes, bytes]) -> None:
        """
        Keys of any length, with and without prefixes in common; nodes shorter and longer than a hash.
        """
        self.assertEqual(trie_root(pairs), slow_root(pairs))

    @given(st.lists(st.binary(min_size=1, max_size=60), max_size=300))
    def test_ordered(self, values: list[bytes]) -> None:
        """
        Lists that need one, two and three bytes of index.
        """
        expected = slow_root({rlp.UINT64.encode(index): value for index, value in enumerate(values)})
        self.assertEqual(ordered_root(values), expected)

    @given(st.dictionaries(st.binary(max_size=40), st.binary(min_size=1, max_size=40), max_size=20))
    def test_secure(self, pairs: dict[bytes, bytes]) -> None:
        """
        The keys are hashed first.
        """
        self.assertEqual(secure_root(pairs), slow_root({keccak256(key): value for key, value in pairs.items()}))


class CapTests(SynchronousTestCase):
    """
    Nesting follows the keys, so their length has a cap.
    """

    def test_longest(self) -> None:
        """
        Keys up to the cap that share all they can are no trouble; one byte more is refused.
        """
        nested = {bytes(length): b"value" for length in range(MAX_KEY + 1)}
        self.assertEqual(trie_root(nested), slow_root(nested))
        self.assertRaises(ValueError, trie_root, {bytes(MAX_KEY + 1): b"value"})
