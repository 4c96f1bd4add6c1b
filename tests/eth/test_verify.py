"""
L{ethp2p.eth.verify}: lies, and honest answers that are short.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeVar

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Body, Header, Log, Receipt, ordered_root, receipt, receipts_root, trie
from ethp2p.blocks.body import MAX_PARTS
from ethp2p.blocks.receipt import MAX_LOGS, SUCCEEDED
from ethp2p.chain import MemoryChain
from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import DisconnectReason, Offence, OversizeError, RemoteProtocolError, WireError
from ethp2p.eth import serve, verify, wire
from ethp2p.eth.messages import HeaderQuery
from ethp2p.eth.verify import BadData
from tests.chain.building import NETWORK, grow, headers_of, receipts, small_chain

T = TypeVar("T")

CHAIN = small_chain(12)
HEADERS = headers_of(CHAIN, 0, 12)
RAWS = [header.encode() for header in HEADERS]
#: The same numbers on another branch.
OTHERS = [header.encode() for header in headers_of(grow(MemoryChain(NETWORK), 12, extra=b"other"), 0, 12)]


def values(steps: Iterator[T | None]) -> list[T]:
    """What was checked, without the pauses."""
    return [value for value in steps if value is not None]


class HeaderTests(SynchronousTestCase):
    def check(self, query: HeaderQuery, items: list[bytes]) -> list[Header]:
        return list(verify.headers(query, items))

    def test_honest(self) -> None:
        for origin in (0, 5, 12, HEADERS[5].hash):
            for amount in (0, 1, 4, 20):
                for skip in (0, 1, 3):
                    for reverse in (False, True):
                        query = HeaderQuery(origin, amount, skip, reverse)
                        items = serve.headers(CHAIN, query)
                        self.assertEqual([header.encode() for header in self.check(query, list(items))], list(items))
                        self.check(query, list(items[:-1]))

    def test_lies(self) -> None:
        up, down, by_hash = HeaderQuery(4, 3), HeaderQuery(4, 3, 0, True), HeaderQuery(HEADERS[4].hash, 3)
        table = [
            (up, RAWS[4:8], "4 headers, 3 were asked for"),
            (up, RAWS[5:8], "the first header is block 5, not 4"),
            (up, [RAWS[5], RAWS[4]], "the first header is block 5, not 4"),
            (
                by_hash,
                OTHERS[4:7],
                f"the first header is block 4, not 0x{HEADERS[4].hash.hex()}",
            ),
            (by_hash, RAWS[5:7], "the first header is block 5"),
            (up, [RAWS[4], RAWS[6]], "header 6 comes after header 4, 1 apart asked for"),
            (up, [RAWS[4], RAWS[4]], "header 4 comes after header 4"),
            (up, [RAWS[4], RAWS[3]], "header 3 comes after header 4"),
            (up, [RAWS[4], OTHERS[5]], "the parent of header 5 is not the header 4"),
            (up, [RAWS[4], RAWS[5], OTHERS[6]], "the parent of header 6"),
            (down, RAWS[4:6], "header 5 comes after header 4, -1 apart asked for"),
            (down, [RAWS[4], OTHERS[3]], "the parent of header 4 is not the header 3"),
            (HeaderQuery(4, 3, 1), RAWS[4:6], "header 5 comes after header 4, 2 apart asked for"),
            (HeaderQuery(4, 3, 1, True), [RAWS[4], RAWS[3]], "header 3 comes after header 4, -2 apart asked for"),
        ]
        for query, items, words in table:
            error = self.assertRaises(BadData, self.check, query, items)
            self.assertIn(words, str(error))
            self.assertEqual((error.offence, error.reason), (Offence.BAD_DATA, DisconnectReason.SUBPROTOCOL_ERROR))

    def test_other_branch_by_number(self) -> None:
        """Asked by number, whichever branch the peer is on is right; with gaps, links cannot be seen."""
        self.check(HeaderQuery(4, 3), OTHERS[4:7])
        self.check(HeaderQuery(4, 2, 1), [RAWS[4], OTHERS[6]])

    def test_not_headers(self) -> None:
        self.assertRaises(WireError, self.check, HeaderQuery(4, 3), [b"\xc0"])

    def test_one_by_one(self) -> None:
        """Nothing is looked at before it is wanted, so that a shell can stop in between."""
        checked = verify.headers(HeaderQuery(4, 3), [RAWS[4], b"\xc0"])
        self.assertEqual(next(checked).number, 4)
        self.assertRaises(WireError, next, checked)


class BodyTests(SynchronousTestCase):
    bodies = [CHAIN.rawBody(header.hash) or b"" for header in HEADERS]

    def check(self, numbers: list[int], items: list[bytes]) -> list[Body]:
        return values(verify.bodies([HEADERS[number] for number in numbers], items))

    def test_honest(self) -> None:
        numbers = list(range(13))
        self.assertEqual([body.encode() for body in self.check(numbers, self.bodies)], self.bodies)
        self.assertEqual(len(self.check(numbers, self.bodies[:4])), 4)
        self.assertEqual(self.check(numbers, []), [])
        self.assertEqual(self.check([], []), [])

    def test_lies(self) -> None:
        foreign = Body((b"\x02\xc1\x01",), (), ()).encode()
        bare = Body(Body.decode(self.bodies[4]).transactions, ()).encode()
        doubled = Body(Body.decode(self.bodies[4]).transactions * 2, (), ()).encode()
        with_ommer = Body(Body.decode(self.bodies[4]).transactions, (RAWS[1],), ()).encode()
        table = [
            ([4, 5], [foreign], "the body for block 4"),
            ([4, 5], [self.bodies[4], foreign], "the body for block 5"),
            ([4, 5], [self.bodies[4], self.bodies[4]], "the body for block 5"),
            ([5, 4], [self.bodies[5], self.bodies[7]], "the body for block 4"),
            ([4], [bare], "the body for block 4"),
            ([4], [doubled], "the body for block 4"),
            ([4], [with_ommer], "the body for block 4"),
            ([4], [self.bodies[4], self.bodies[5]], "2 blocks answered, 1 were asked for"),
            ([], [foreign], "1 blocks answered, 0 were asked for"),
        ]
        for numbers, items, words in table:
            error = self.assertRaises(BadData, self.check, numbers, items)
            self.assertIn(words, str(error))
            self.assertEqual(error.offence, Offence.BAD_DATA)

    def test_a_gap_ends_the_answer(self) -> None:
        """A peer that left out block 5 is honest; what it sent before that is good."""
        found = self.check([4, 5, 7], [self.bodies[4], self.bodies[7]])
        self.assertEqual([body.encode() for body in found], [self.bodies[4]])

    def test_swapped_is_taken_for_a_gap(self) -> None:
        self.assertEqual(self.check([4, 5], [self.bodies[5], self.bodies[4]]), [])

    def test_not_bodies(self) -> None:
        self.assertRaises(WireError, self.check, [4], [b"\xc1\xc0"])


class ReceiptTests(SynchronousTestCase):
    def test_honest(self) -> None:
        hashes = [header.hash for header in HEADERS]
        for version in (66, 69):
            items = serve.receipts(CHAIN, hashes, version)
            found = values(verify.receipts(HEADERS, items, version))
            self.assertEqual(found, [(), *[receipts(number) for number in range(1, 13)]])
            self.assertEqual(len(values(verify.receipts(HEADERS, items[:3], version))), 3)

    def test_lies(self) -> None:
        one, four, five, eight = serve.receipts(CHAIN, [HEADERS[number].hash for number in (1, 4, 5, 8)], 69)
        table = [
            ([4, 5], [eight], "the receipts for block 4"),
            ([4, 5], [four, four], "the receipts for block 5"),
            ([4], [four, five], "2 blocks answered, 1 were asked for"),
            ([5], [b"\xc0"], "the receipts for block 5"),
        ]
        for numbers, items, words in table:
            asked = [HEADERS[number] for number in numbers]
            error = self.assertRaises(BadData, list, verify.receipts(asked, items, 69))
            self.assertIn(words, str(error))
        self.assertRaises(WireError, list, verify.receipts([HEADERS[1]], [one], 68))

    def test_a_gap_ends_the_answer(self) -> None:
        asked = [HEADERS[2], HEADERS[5], HEADERS[8]]
        items = serve.receipts(CHAIN, [asked[0].hash, asked[2].hash], 69)
        self.assertEqual(values(verify.receipts(asked, items, 69)), [receipts(2)])


class StepTests(SynchronousTestCase):
    """One answer may be 10 MiB of the smallest parts there are: the reactor has its turn while they are checked."""

    #: More than enough for 5 ms.
    MOST = 400

    def hashes(self, steps: Iterator[T | None]) -> tuple[list[T], int]:
        """The checked values, and the most hashes in one step."""
        now = most = 0

        def counting(data: bytes) -> bytes:
            nonlocal now
            now += 1
            return keccak256(data)

        self.patch(trie, "keccak256", counting)
        self.patch(receipt, "keccak256", counting)
        found = []
        for value in steps:
            most, now = max(most, now), 0
            if value is not None:
                found.append(value)
        return found, max(most, now)

    def test_many_parts(self) -> None:
        transactions, withdrawals = (b"\x02" + bytes(40),) * 3000, (b"\xe0" + bytes(32),) * 3000
        body = Body(transactions, (), withdrawals)
        header = attrs.evolve(
            HEADERS[1], transactions_root=ordered_root(transactions), withdrawals_root=ordered_root(withdrawals)
        )
        found, most = self.hashes(verify.bodies([header], [body.encode()]))
        self.assertEqual(found, [body])
        self.assertLess(most, self.MOST)
        self.assertTrue(found[0].matches(header))

    def test_known_roots_are_not_computed_again(self) -> None:
        body = values(verify.bodies([HEADERS[5]], [BodyTests.bodies[5]]))[0]
        self.patch(trie, "keccak256", None)
        self.assertTrue(body.matches(HEADERS[5]))
        self.assertEqual(body.transactions_root(), HEADERS[5].transactions_root)

    def test_many_receipts_and_logs(self) -> None:
        logs = tuple(Log(number.to_bytes(20, "big"), (number.to_bytes(32, "big"),) * 4) for number in range(1000))
        sent = (Receipt(2, SUCCEEDED, 5, logs), *[Receipt(0, b"", gas, logs[:1]) for gas in range(2000)])
        header = attrs.evolve(HEADERS[1], receipts_root=receipts_root(sent))
        for version in (68, 69):
            items = [wire.encode_receipts(sent, version)]
            found, most = self.hashes(verify.receipts([header], items, version))
            self.assertEqual(found, [sent])
            self.assertLess(most, self.MOST)

    def test_caps(self) -> None:
        """What no block can have is refused before it is looked at."""
        empty = rlp.encode([])
        for parts in range(3):
            lists = [empty] * 3
            lists[parts] = rlp.join([empty] * (MAX_PARTS + 1))
            self.assertRaises(OversizeError, list, verify.bodies([HEADERS[1]], [rlp.join(lists)]))
        logs = rlp.join([empty] * (MAX_LOGS + 1))
        status, gas, bloom = rlp.encode(b"\x01"), rlp.encode(b"\x05"), rlp.encode(bytes(256))
        old, new = rlp.join((status, gas, bloom, logs)), rlp.join((rlp.encode(b""), status, gas, logs))
        for version, raw in ((68, old), (69, new)):
            for item in (rlp.join([raw]), rlp.join([empty] * (MAX_PARTS + 1))):
                self.assertRaises(OversizeError, list, verify.receipts([HEADERS[1]], [item], version))
        whole = Body((b"\xc0",) * MAX_PARTS, ()).encode()
        self.assertEqual(len(Body.decode(whole).transactions), MAX_PARTS)

    def test_a_log_of_many_items(self) -> None:
        """A log has a few: so many more are not read."""
        log: list[Any] = [bytes(20), [b""] * 2000, b""]
        raw = rlp.encode([[b"", b"\x01", b"\x05", [log]]])
        self.assertRaises(OversizeError, list, verify.receipts([HEADERS[1]], [raw], 69))


class AnyBytesTests(SynchronousTestCase):
    """Whatever a peer answers, what comes out is checked or is an error that books an offence."""

    @given(st.lists(st.one_of(st.sampled_from(RAWS + OTHERS), st.binary(max_size=30)), max_size=5), st.data())
    def test_headers(self, items: list[bytes], data: st.DataObject) -> None:
        query = HeaderQuery(
            data.draw(st.one_of(st.integers(0, 12), st.sampled_from([header.hash for header in HEADERS]))),
            data.draw(st.integers(0, 5)),
            data.draw(st.integers(0, 2)),
            data.draw(st.booleans()),
        )
        try:
            found = list(verify.headers(query, items))
        except RemoteProtocolError:
            return
        self.assertLessEqual(len(found), query.amount)
        for before, after in pairwise(found):
            self.assertEqual(abs(after.number - before.number), query.skip + 1)
        if found:
            self.assertIn(query.origin, (found[0].number, found[0].hash))

    @given(st.lists(st.one_of(st.sampled_from(BodyTests.bodies), st.binary(max_size=30)), max_size=5))
    def test_bodies(self, items: list[bytes]) -> None:
        asked = HEADERS[3:7]
        try:
            found = values(verify.bodies(asked, items))
        except RemoteProtocolError:
            return
        for header, body in zip(asked, found):
            self.assertTrue(body.matches(header))

    def test_headers_that_differ_in_one_field(self) -> None:
        changed = attrs.evolve(HEADERS[5], gas_used=1).encode()
        self.assertRaises(BadData, list, verify.headers(HeaderQuery(5, 2), [changed, RAWS[6]]))
