"""
L{ethp2p.eth.serve}: what is answered, and how much at most.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Body, Header, Log, Receipt
from ethp2p.chain import MemoryChain
from ethp2p.eth import serve
from ethp2p.eth.messages import (
    BlockBodies,
    BlockHeaders,
    GetBlockBodies,
    GetBlockHeaders,
    GetNodeData,
    GetPooledTransactions,
    GetReceipts,
    HeaderQuery,
    NodeData,
    PooledTransactions,
    Receipts,
)
from ethp2p.eth.wire import decode_receipts, encode
from tests.chain.building import NETWORK, geth_chain, grow, headers_of, receipts, small_chain

MOST = 2**64 - 1


class HeaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chain = geth_chain()

    def numbers(self, origin: int | bytes, amount: int, skip: int = 0, reverse: bool = False) -> list[int]:
        found = serve.headers(self.chain, HeaderQuery(origin, amount, skip, reverse))
        headers = [Header.decode(raw) for raw in found]
        for header, raw in zip(headers, found):
            self.assertIs(raw, self.chain.rawHeader(header.hash))  # the very bytes: nothing was encoded again
        return [header.number for header in headers]

    def test_table(self) -> None:
        """Each from a number and from the hash of that block."""
        for origin, amount, skip, reverse, wanted in (
            (0, 2, 0, False, [0, 1]),
            (1, 2, 1, False, [1, 3]),
            (1, 4, 1, False, [1, 3, 5, 7]),
            (33, 3, 0, False, [33, 34, 35]),
            (5, 3, 0, True, [5, 4, 3]),
            (5, 3, 1, True, [5, 3, 1]),
            (5, 9, 0, True, [5, 4, 3, 2, 1, 0]),
            (5, 9, 1, True, [5, 3, 1]),
            (4, 9, 3, True, [4, 0]),
            (600, 3, 0, False, [600]),
            (598, 9, 0, False, [598, 599, 600]),
            (598, 9, 2, False, [598]),
            (0, 3, 299, False, [0, 300, 600]),
            (7, 0, 0, False, []),
            (7, 0, 0, True, []),
            (600, 1, 0, True, [600]),
        ):
            block_hash = self.chain.hashAt(origin)
            assert block_hash is not None
            self.assertEqual(self.numbers(origin, amount, skip, reverse), wanted)
            self.assertEqual(self.numbers(block_hash, amount, skip, reverse), wanted)

    def test_whole_chain(self) -> None:
        self.assertEqual(self.numbers(0, serve.MAX_SERVED), list(range(601)))
        self.assertEqual(self.numbers(600, MOST, 0, True), list(range(600, -1, -1)))

    def test_unknown_origin(self) -> None:
        for origin in (601, 2**63, MOST, b"\x01" * 32, bytes(32)):
            for reverse in (False, True):
                self.assertEqual(self.numbers(origin, 5, 0, reverse), [])

    def test_overflow(self) -> None:
        """Numbers do not wrap around to blocks that were not asked for."""
        for skip in (MOST, MOST - 1, MOST - 5, 2**63):
            for amount in (2, MOST):
                self.assertEqual(self.numbers(7, amount, skip), [7])
                self.assertEqual(self.numbers(7, amount, skip, True), [7])
                self.assertEqual(self.numbers(self.chain.hashAt(7) or b"", amount, skip), [7])

    def test_off_the_canonical_chain(self) -> None:
        """A known block of another branch is given alone: what follows it is not known."""
        stray = self.chain.hashAt(7)
        assert stray is not None

        class Forked(MemoryChain):
            def numberOf(self, blockHash: bytes) -> int | None:
                return 7 if blockHash == stray else super().numberOf(blockHash)

            def rawHeader(self, blockHash: bytes) -> bytes | None:
                return b"stray" if blockHash == stray else super().rawHeader(blockHash)

        forked = grow(Forked(NETWORK), 9)
        self.assertEqual(serve.headers(forked, HeaderQuery(stray, 5)), (b"stray",))
        self.assertEqual(serve.headers(forked, HeaderQuery(stray, 0)), ())

    def test_count(self) -> None:
        self.assertEqual(serve.MAX_SERVED, 1024)
        self.patch(serve, "MAX_SERVED", 10)
        self.assertEqual(self.numbers(1, 11), list(range(1, 11)))
        self.assertEqual(self.numbers(1, MOST), list(range(1, 11)))

    def test_bytes(self) -> None:
        self.assertEqual(serve.SOFT_LIMIT, 2 * 1024 * 1024)
        three = sum(len(self.chain.rawHeader(self.chain.hashAt(number) or b"") or b"") for number in (100, 101, 102))
        self.patch(serve, "SOFT_LIMIT", three)
        self.assertEqual(self.numbers(100, 9), [100, 101, 102])
        self.patch(serve, "SOFT_LIMIT", three + 1)
        self.assertEqual(self.numbers(100, 9), [100, 101, 102, 103])

    @given(st.integers(0, MOST), st.integers(0, MOST), st.integers(0, MOST), st.booleans())
    def test_any_query(self, origin: int, amount: int, skip: int, reverse: bool) -> None:
        self.within(origin, amount, skip, reverse)

    @given(st.integers(0, 610), st.integers(0, 700), st.integers(0, 40), st.booleans())
    def test_any_near_query(self, origin: int, amount: int, skip: int, reverse: bool) -> None:
        self.within(origin, amount, skip, reverse)

    def within(self, origin: int, amount: int, skip: int, reverse: bool) -> None:
        chain = small_chain(20)
        step = -(skip + 1) if reverse else skip + 1
        wanted = []
        number = origin
        while 0 <= number <= 20 and len(wanted) < amount:
            wanted.append(chain.rawHeader(chain.hashAt(number) or b""))
            number += step
        self.assertEqual(list(serve.headers(chain, HeaderQuery(origin, amount, skip, reverse))), wanted)


class BodyTests(SynchronousTestCase):
    def test_geths_question(self) -> None:
        chain = geth_chain()
        hashes = [chain.hashAt(number) or b"" for number in (54, 75)]
        found = serve.bodies(chain, hashes)
        for block_hash, raw in zip(hashes, found, strict=True):
            self.assertIs(raw, chain.rawBody(block_hash))
            self.assertTrue(Body.decode(raw).matches(Header.decode(chain.rawHeader(block_hash) or b"")))

    def test_stops_at_the_first_gap(self) -> None:
        chain = small_chain()
        known = [header.hash for header in headers_of(chain, 1, 4)]
        self.assertEqual(len(serve.bodies(chain, known)), 4)
        self.assertEqual(len(serve.bodies(chain, known[:2] + [bytes(32)] + known[2:])), 2)
        self.assertEqual(serve.bodies(chain, [bytes(32), *known]), ())
        self.assertEqual(serve.bodies(chain, []), ())

    def test_the_same_one_often(self) -> None:
        """A short question with a long answer: the caps hold all the same."""
        chain = small_chain(2)
        self.assertEqual(len(serve.bodies(chain, [chain.hashAt(2) or b""] * 4096)), serve.MAX_SERVED)

    def test_limits(self) -> None:
        chain = small_chain()
        known = [header.hash for header in headers_of(chain, 1, 12)]
        sizes = [len(chain.rawBody(each) or b"") for each in known]
        self.patch(serve, "SOFT_LIMIT", sum(sizes[:5]))
        self.assertEqual(len(serve.bodies(chain, known)), 5)
        self.patch(serve, "HARD_LIMIT", sum(sizes[:4]))
        self.assertEqual(len(serve.bodies(chain, known)), 4)
        self.patch(serve, "HARD_LIMIT", sum(sizes[:4]) - 1)
        self.assertEqual(len(serve.bodies(chain, known)), 3)
        self.patch(serve, "HARD_LIMIT", sizes[0] - 1)
        self.assertEqual(serve.bodies(chain, known), ())


class ReceiptTests(SynchronousTestCase):
    def test_in_the_form_of_the_version(self) -> None:
        chain = small_chain()
        hashes = [header.hash for header in headers_of(chain, 0, 5)]
        for version in (66, 67, 68, 69):
            found = serve.receipts(chain, hashes, version)
            decoded = [decode_receipts(raw, version) for raw in found]
            self.assertEqual(decoded, [(), *[receipts(number) for number in range(1, 6)]])

    def test_stops_at_the_first_gap(self) -> None:
        chain = grow(grow(small_chain(3), 1, with_receipts=False), 2)
        hashes = [header.hash for header in headers_of(chain, 1, 6)]
        self.assertEqual(len(serve.receipts(chain, hashes, 69)), 3)
        self.assertEqual(serve.receipts(chain, [bytes(32), *hashes], 69), ())

    def test_bytes(self) -> None:
        chain = small_chain()
        hashes = [header.hash for header in headers_of(chain, 1, 12)]
        sizes = [len(raw) for raw in serve.receipts(chain, hashes, 69)]
        self.assertEqual((len(sizes), serve.RECEIPTS_LIMIT), (12, 512 * 1024))
        self.patch(serve, "RECEIPTS_LIMIT", sum(sizes[:4]))
        self.assertEqual(len(serve.receipts(chain, hashes, 69)), 4)
        self.patch(serve, "RECEIPTS_LIMIT", sum(sizes[:4]) + 1)
        self.assertEqual(len(serve.receipts(chain, hashes, 69)), 5)

    def test_too_much_for_a_message(self) -> None:
        """Receipts of more than a message holds end the answer before them, and cost no error."""

        class Heavy(MemoryChain):
            def receipts(self, blockHash: bytes) -> tuple[Receipt, ...] | None:
                found = super().receipts(blockHash)
                if self.numberOf(blockHash) != 3:
                    return found
                return (Receipt(2, b"\x01", 1, (Log(bytes(20), (), bytes(serve.HARD_LIMIT)),)),)

        chain = grow(Heavy(NETWORK), 4)
        request = GetReceipts(7, tuple(header.hash for header in headers_of(chain, 1, 4)))
        for version in (68, 69):
            reply = serve.answer(chain, version, request)
            self.assertEqual(len(reply.items), 2)
            encode(version, reply)

    def test_hard_limit_fits_a_message(self) -> None:
        class Full(MemoryChain):
            def rawBody(self, blockHash: bytes) -> bytes | None:
                return b"\xfa" + (serve.HARD_LIMIT - 4).to_bytes(3, "big") + bytes(serve.HARD_LIMIT - 4)

        reply = serve.answer(Full(NETWORK), 69, GetBlockBodies(MOST, (bytes(32),) * 3))
        self.assertEqual(len(reply.items), 1)
        encode(69, reply)


class AnswerTests(SynchronousTestCase):
    def test_every_request(self) -> None:
        chain = small_chain()
        block_hash = chain.hashAt(2) or b""
        table = [
            (GetBlockHeaders(5, HeaderQuery(2, 1)), BlockHeaders(5, (chain.rawHeader(block_hash) or b"",))),
            (GetBlockBodies(0, (block_hash,)), BlockBodies(0, (chain.rawBody(block_hash) or b"",))),
            (GetReceipts(MOST, (bytes(32),)), Receipts(MOST, ())),
            (GetPooledTransactions(7, (block_hash,)), PooledTransactions(7, ())),
            (GetNodeData(8, (block_hash,)), NodeData(8, ())),
        ]
        for request, reply in table:
            self.assertEqual(serve.answer(chain, 66, request), reply)
