"""
Answers to what peers ask, from any L{IChain}.  Pure, and bounded whatever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ethp2p.eth import messages, wire
from ethp2p.interfaces import IChain

#: An answer is closed once it has this many bytes (caps/eth.md).
SOFT_LIMIT = 2 * 1024 * 1024
#: The same for receipts: they are put together for the asker, and may have to be encoded for it, 30 ms a megabyte
#: in which nobody else is answered.
RECEIPTS_LIMIT = 512 * 1024
#: Most bytes of items in an answer: leaves room for the lists and the number around them.
HARD_LIMIT = wire.MAX_MESSAGE - 64
#: Most headers, bodies or receipt lists in an answer: bounds the look-ups that one message can cause.
MAX_SERVED = 1024


def _fill(items: Iterable[bytes | None], enough: int) -> tuple[bytes, ...]:
    """Items up to the first that is missing or would burst the message, or until there is enough."""
    taken: list[bytes] = []
    size = 0
    for item in islice(items, MAX_SERVED):
        if item is None or size + len(item) > HARD_LIMIT:
            break
        taken.append(item)
        size += len(item)
        if size >= enough:
            break
    return tuple(taken)


def _walk(chain: IChain, query: messages.HeaderQuery) -> Iterator[bytes]:
    """Hashes of the blocks asked for."""
    if isinstance(query.origin, bytes):
        number = chain.numberOf(query.origin)
        if number is None:
            return
        if chain.hashAt(number) != query.origin:  # known, but what follows it is another branch's
            yield query.origin
            return
    else:
        number = query.origin
    step = -query.skip - 1 if query.reverse else query.skip + 1
    last = chain.head().number  # also keeps numbers of 2**64 and more, by skip, away from any store
    while 0 <= number <= last and (block_hash := chain.hashAt(number)) is not None:
        yield block_hash
        number += step


def headers(chain: IChain, query: messages.HeaderQuery) -> tuple[bytes, ...]:
    """Raw headers; none if the origin is not known."""
    hashes = islice(_walk(chain, query), min(query.amount, MAX_SERVED))
    return _fill(map(chain.rawHeader, hashes), SOFT_LIMIT)


def bodies(chain: IChain, hashes: Iterable[bytes]) -> tuple[bytes, ...]:
    """Raw bodies, up to the first one that is not here: gaps would leave the asker to guess."""
    return _fill(map(chain.rawBody, hashes), SOFT_LIMIT)


def receipts(chain: IChain, hashes: Iterable[bytes], version: int) -> tuple[bytes, ...]:
    """Raw lists of receipts as C{version} has them, up to the first one that is not here."""
    known = map(chain.receipts, hashes)
    return _fill((None if each is None else wire.encode_receipts(each, version) for each in known), RECEIPTS_LIMIT)


def answer(chain: IChain, version: int, request: messages.Request) -> messages.Reply:
    """The reply to any request.  There is no pool and no state here, so those replies are empty."""
    match request:
        case messages.GetBlockHeaders(number, query):
            return messages.BlockHeaders(number, headers(chain, query))
        case messages.GetBlockBodies(number, hashes):
            return messages.BlockBodies(number, bodies(chain, hashes))
        case messages.GetReceipts(number, hashes):
            return messages.Receipts(number, receipts(chain, hashes, version))
        case messages.GetPooledTransactions(number):
            return messages.PooledTransactions(number, ())
        case messages.GetNodeData(number):
            return messages.NodeData(number, ())
