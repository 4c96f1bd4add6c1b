"""
Whether an answer is what was asked for.  Pure: each function gives the checked values one by one, and None now and
then in between, so that a shell can do the hashing in slices.

An answer may always be shorter than asked.  Some clients leave out a block they lack where others end the
answer (EIP-7975 settled it); such an answer is good up to the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ethp2p.blocks import Body, Header, Receipt
from ethp2p.blocks.trie import ordered_root_steps
from ethp2p.errors import Offence
from ethp2p.eth.messages import HeaderQuery
from ethp2p.eth.state import EthError
from ethp2p.eth.wire import decode_receipts_steps


class BadData(EthError):
    """The peer's answer is not what was asked for."""

    offence = Offence.BAD_DATA


def headers(query: HeaderQuery, items: Sequence[bytes]) -> Iterator[Header]:
    """
    @param items: raw headers.
    @raise BadData: too many, a first that is not the origin, numbers out of step, or neighbours that are not
        parent and child.
    @raise ethp2p.errors.WireError: not headers.
    """
    if len(items) > query.amount:
        raise BadData(f"{len(items)} headers, {query.amount} were asked for")
    step = -query.skip - 1 if query.reverse else query.skip + 1
    before: Header | None = None
    for header in map(Header.decode, items):
        if before is None:
            if query.origin not in (header.number, header.hash):
                wanted = query.origin if isinstance(query.origin, int) else f"0x{query.origin.hex()}"
                raise BadData(f"the first header is block {header.number}, not {wanted}")
        else:
            if header.number != before.number + step:
                raise BadData(f"header {header.number} comes after header {before.number}, {step} apart asked for")
            child, parent = (before, header) if query.reverse else (header, before)
            if query.skip == 0 and child.parent_hash != parent.hash:
                raise BadData(f"the parent of header {child.number} is not the header {parent.number} sent with it")
        yield header
        before = header


def _at_most(asked: Sequence[Header], items: Sequence[bytes]) -> None:
    if len(items) > len(asked):
        raise BadData(f"{len(items)} blocks answered, {len(asked)} were asked for")


def bodies(asked: Sequence[Header], items: Sequence[bytes]) -> Iterator[Body | None]:
    """
    @param asked: the headers of the blocks asked for, in order.
    @param items: raw bodies.
    @raise BadData: too many, or one that is of none of these blocks.
    @raise ethp2p.errors.WireError: not bodies.
    """
    _at_most(asked, items)
    for at, body in enumerate(map(Body.decode, items)):
        yield from body.roots_in_steps()
        if not body.matches(asked[at]):
            root = body.transactions_root()
            if any(root == later.transactions_root for later in asked[at + 1 :]):
                return
            raise BadData(f"the body for block {asked[at].number} is not its header's")
        yield body


def receipts(asked: Sequence[Header], items: Sequence[bytes], version: int) -> Iterator[tuple[Receipt, ...] | None]:
    """
    @param asked: the headers of the blocks asked for, in order.
    @param items: raw lists of receipts, in the form of C{version}.
    @raise BadData: too many, or a list that is of none of these blocks.
    @raise ethp2p.errors.WireError: not lists of receipts.
    """
    _at_most(asked, items)
    for at, raw in enumerate(items):
        found = yield from decode_receipts_steps(raw, version)
        root = yield from ordered_root_steps([receipt.encode() for receipt in found])
        if root != asked[at].receipts_root:
            if any(root == later.receipts_root for later in asked[at + 1 :]):
                return
            raise BadData(f"the receipts for block {asked[at].number} are not its header's")
        yield found
