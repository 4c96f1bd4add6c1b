"""Keccak-256: published digests, and both back ends alike."""

from __future__ import annotations

import importlib.util
from unittest import skipUnless

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto import keccak
from ethp2p.crypto.keccak import SMALL, keccak256, running_keccak256

VECTORS = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"\x80": "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",  # the root of an empty trie
    b"\xc0": "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",  # the hash of no uncles
}
#: Around the sponge's rate (136) and the change of back ends.
LENGTHS = (0, 1, 31, 32, 135, 136, 137, 271, 272, 1000, SMALL - 1, SMALL, SMALL + 1, 70_000)


class Keccak256Tests(SynchronousTestCase):
    def test_vectors(self) -> None:
        for data, digest in VECTORS.items():
            self.assertEqual(keccak256(data).hex(), digest)
            self.assertEqual(running_keccak256(data).digest().hex(), digest)

    def test_running_equals_one_shot_and_can_be_read_on_the_way(self) -> None:
        running, absorbed = running_keccak256(b"seed"), b"seed"
        for length in LENGTHS:
            piece = bytes(range(256)) * (length // 256 + 1)
            running.update(piece[:length])
            absorbed += piece[:length]
            self.assertEqual(running.digest(), keccak256(absorbed))
            self.assertEqual(running.digest(), keccak256(absorbed), "reading changed the state")

    @given(st.lists(st.binary(max_size=300), max_size=8))
    def test_pieces_do_not_matter(self, pieces: list[bytes]) -> None:
        running = running_keccak256()
        for piece in pieces:
            running.update(piece)
        self.assertEqual(running.digest(), keccak256(b"".join(pieces)))

    @skipUnless(importlib.util.find_spec("sha3"), "safe-pysha3 (the 'fast' extra) is not installed: one back end only")
    def test_both_back_ends_are_equal(self) -> None:
        small = keccak._small
        assert small is not None, "sha3 is installed, so it must be in use"
        for length in LENGTHS:
            data = (bytes(range(251)) * (length // 251 + 1))[:length]
            self.assertEqual(small(data).digest(), keccak._bulk(data).digest(), f"{length} bytes")
            running_small, running_bulk = small(b"x"), keccak._bulk(b"x")
            for _ in range(3):
                running_small.update(data)
                running_bulk.update(data)
                self.assertEqual(running_small.digest(), running_bulk.digest(), f"running, {length} bytes")

    def test_without_the_small_module_all_is_the_same(self) -> None:
        with_it = [keccak256(bytes(length)) for length in LENGTHS]
        self.patch(keccak, "_small", None)
        self.assertEqual([keccak256(bytes(length)) for length in LENGTHS], with_it)
        self.assertEqual(running_keccak256(b"abc").digest().hex(), VECTORS[b"abc"])
