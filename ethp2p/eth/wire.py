"""
The messages of eth/66 to eth/69: bytes to frozen values and back.

L{VERSIONS} is the whole protocol as data: which version has which message under which code, and how it is
laid out.

Source: devp2p caps/eth.md; EIP-2481 (66), EIP-4938 (67), EIP-5793 (68), EIP-7642 (69).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Generic, TypeVar

import attrs

from ethp2p.blocks import Receipt, unwrap, wrap
from ethp2p.blocks.body import MAX_PARTS
from ethp2p.blocks.steps import Steps, finish
from ethp2p.codec import rlp
from ethp2p.errors import LocalProtocolError, OversizeError, WireError
from ethp2p.eth.messages import (
    BlockBodies,
    BlockHeaders,
    BlockId,
    BlockRangeUpdate,
    GetBlockBodies,
    GetBlockHeaders,
    GetNodeData,
    GetPooledTransactions,
    GetReceipts,
    HeaderQuery,
    Message,
    NewBlock,
    NewBlockHashes,
    NewPooledTransactionHashes66,
    NewPooledTransactionHashes68,
    NodeData,
    PooledTransactions,
    Receipts,
    Request,
    Status66,
    Status69,
    TooLarge,
    Transactions,
)
from ethp2p.networks import FORK_ID

#: Most bytes of one message, uncompressed: what all clients enforce.
MAX_MESSAGE = 10 * 1024 * 1024
#: Most transactions in one Transactions message, as geth enforces.
MAX_TRANSACTIONS = 5000
#: Most announcements in one NewPooledTransactionHashes (caps/eth.md gives it as the limit to respect).
MAX_ANNOUNCED = 4096
#: Most blocks in one NewBlockHashes.  An honest peer announced a handful.
MAX_NEW_BLOCKS = 1024
#: Most hashes in one request: four times what anybody serves.
MAX_HASHES = 4096
#: Most items in one reply: nobody is asked for more.
MAX_ITEMS = 4096

#: Replies of which the part that belongs to one block may be more than a message can carry.
OF_ONE_BLOCK = (BlockBodies, Receipts)

T = TypeVar("T")


class Code(IntEnum):
    """
    Message codes, counted from the capability's offset.
    """

    STATUS = 0x00
    NEW_BLOCK_HASHES = 0x01
    TRANSACTIONS = 0x02
    GET_BLOCK_HEADERS = 0x03
    BLOCK_HEADERS = 0x04
    GET_BLOCK_BODIES = 0x05
    BLOCK_BODIES = 0x06
    NEW_BLOCK = 0x07
    NEW_POOLED_TRANSACTION_HASHES = 0x08
    GET_POOLED_TRANSACTIONS = 0x09
    POOLED_TRANSACTIONS = 0x0A
    GET_NODE_DATA = 0x0D
    NODE_DATA = 0x0E
    GET_RECEIPTS = 0x0F
    RECEIPTS = 0x10
    BLOCK_RANGE_UPDATE = 0x11


@attrs.frozen
class Field(Generic[T]):
    """
    One field of a message, between its raw span and its value.  C{load} raises L{WireError}, C{dump}
    L{LocalProtocolError}.
    """

    load: Callable[[bytes], T]
    dump: Callable[[T], bytes]


@attrs.frozen
class Layout:
    """
    How a message lies in bytes: its fields in order.  One that is C{bare} is its only field, without a list
    around it.
    """

    cls: type[Any]
    fields: Mapping[str, Field[Any]]
    bare: bool = False

    def decode(self, data: bytes) -> Any:
        """@raise WireError: C{data} does not follow this layout."""
        spans = [data] if self.bare else rlp.split(data, max_items=len(self.fields) + 1)
        if len(spans) != len(self.fields):
            raise WireError(f"{self.cls.__name__} has {len(spans)} fields, not {len(self.fields)}")
        values: list[Any] = []
        for (name, field), span in zip(self.fields.items(), spans):
            try:
                values.append(field.load(span))
            except WireError as error:
                raise type(error)(f"{self.cls.__name__}.{name}: {error}") from None
        try:
            return self.cls(*values)
        except LocalProtocolError as error:
            raise WireError(f"{self.cls.__name__}: {error}") from None

    def encode(self, message: Any) -> bytes:
        """@raise LocalProtocolError: a field is over its cap."""
        spans = [field.dump(getattr(message, name)) for name, field in self.fields.items()]
        return spans[0] if self.bare else rlp.join(spans)


def _within(items: Sequence[Any], most: int) -> None:
    if len(items) > most:
        raise LocalProtocolError(f"{len(items)} items, more than {most}")


def _shaped(shape: rlp.Shape[T], inside: int = 0) -> Field[T]:
    """C{inside} is how many items it has within: where a hash belongs, nobody makes us read 10 MiB of others."""
    return Field(lambda raw: shape.load(rlp.decode(raw, max_items=inside)), shape.encode)


def _list_of(shape: rlp.Shape[T], most: int, inside: int = 0) -> Field[tuple[T, ...]]:
    whole = _shaped(rlp.list_of(shape, most=most), (most + 1) * (inside + 1))

    def dump(values: tuple[T, ...]) -> bytes:
        _within(values, most)
        return whole.dump(values)

    return Field(whole.load, dump)


def _hashes(most: int) -> Field[tuple[bytes, ...]]:
    """Hashes lie 33 bytes apart, so they are cut out, not parsed: a tenth of the cost on 4,096 of them."""

    def load(raw: bytes) -> tuple[bytes, ...]:
        count = len(raw) // 33
        inner = raw[len(raw) - 33 * count :]
        if inner[::33] != b"\xa0" * count or rlp.join((inner,)) != raw:
            raise WireError("not a list of 32-byte hashes")
        if count > most:
            raise OversizeError(f"{count} hashes, more than {most}")
        return tuple([inner[at : at + 32] for at in range(1, len(inner), 33)])

    def dump(hashes: tuple[bytes, ...]) -> bytes:
        _within(hashes, most)
        if any(len(each) != 32 for each in hashes):
            raise LocalProtocolError("a hash that is not of 32 bytes")
        return rlp.join([b"\xa0" + each for each in hashes])

    return Field(load, dump)


def _load_raw(span: bytes) -> bytes:
    if span[0] < 0xC0:
        raise WireError("a string where a list belongs")
    return span


def _raw_lists(most: int) -> Field[tuple[bytes, ...]]:
    """A list of lists, each left as it came."""

    def load(raw: bytes) -> tuple[bytes, ...]:
        return tuple(map(_load_raw, rlp.split(raw, max_items=most)))

    def dump(spans: tuple[bytes, ...]) -> bytes:
        _within(spans, most)
        return rlp.join(spans)

    return Field(load, dump)


def _transactions(most: int) -> Field[tuple[bytes, ...]]:
    def load(raw: bytes) -> tuple[bytes, ...]:
        return tuple(map(unwrap, rlp.split(raw, max_items=most)))

    def dump(transactions: tuple[bytes, ...]) -> bytes:
        _within(transactions, most)
        return rlp.join(map(wrap, transactions))

    return Field(load, dump)


def _load_origin(item: rlp.Item) -> int | bytes:
    return item if type(item) is bytes and len(item) == 32 else rlp.UINT64.load(item)


def _dump_origin(origin: int | bytes) -> bytes:
    return origin if isinstance(origin, bytes) else rlp.UINT64.dump(origin)


_QUERY = rlp.record(
    HeaderQuery,
    origin=rlp.Shape(_load_origin, _dump_origin),
    amount=rlp.UINT64,
    skip=rlp.UINT64,
    reverse=rlp.BOOL,
)
_BLOCK_ID = rlp.record(BlockId, hash=rlp.HASH, number=rlp.UINT64)
_NUMBER, _BIG, _HASH = _shaped(rlp.UINT64), _shaped(rlp.UINT256), _shaped(rlp.HASH)
_RAW: Field[bytes] = Field(_load_raw, bytes)


def _numbered(cls: type[Any], **fields: Field[Any]) -> Layout:
    """A request or a reply: its number first, chosen by who asks and repeated by who answers (EIP-2481)."""
    return Layout(cls, {"request_id": _NUMBER, **fields})


_TIP: dict[str, Field[Any]] = {"earliest": _NUMBER, "latest": _NUMBER, "latest_hash": _HASH}
_WHO: dict[str, Field[Any]] = {"version": _NUMBER, "network_id": _NUMBER}
_GENESIS: dict[str, Field[Any]] = {"genesis_hash": _HASH, "fork_id": _shaped(FORK_ID, inside=2)}
_ASKED = _hashes(MAX_HASHES)

_ETH66: dict[int, Layout] = {
    Code.STATUS: Layout(Status66, {**_WHO, "total_difficulty": _BIG, "head_hash": _HASH, **_GENESIS}),
    Code.NEW_BLOCK_HASHES: Layout(NewBlockHashes, {"blocks": _list_of(_BLOCK_ID, MAX_NEW_BLOCKS, inside=2)}, bare=True),
    Code.TRANSACTIONS: Layout(Transactions, {"transactions": _transactions(MAX_TRANSACTIONS)}, bare=True),
    Code.GET_BLOCK_HEADERS: _numbered(GetBlockHeaders, query=_shaped(_QUERY, inside=8)),
    Code.BLOCK_HEADERS: _numbered(BlockHeaders, items=_raw_lists(MAX_ITEMS)),
    Code.GET_BLOCK_BODIES: _numbered(GetBlockBodies, hashes=_ASKED),
    Code.BLOCK_BODIES: _numbered(BlockBodies, items=_raw_lists(MAX_ITEMS)),
    Code.NEW_BLOCK: Layout(NewBlock, {"block": _RAW, "total_difficulty": _BIG}),
    Code.NEW_POOLED_TRANSACTION_HASHES: Layout(
        NewPooledTransactionHashes66, {"hashes": _hashes(MAX_ANNOUNCED)}, bare=True
    ),
    Code.GET_POOLED_TRANSACTIONS: _numbered(GetPooledTransactions, hashes=_ASKED),
    Code.POOLED_TRANSACTIONS: _numbered(PooledTransactions, items=_transactions(MAX_ITEMS)),
    Code.GET_NODE_DATA: _numbered(GetNodeData, hashes=_ASKED),
    Code.NODE_DATA: _numbered(NodeData, items=_list_of(rlp.BYTES, MAX_ITEMS)),
    Code.GET_RECEIPTS: _numbered(GetReceipts, hashes=_ASKED),
    Code.RECEIPTS: _numbered(Receipts, items=_raw_lists(MAX_ITEMS)),
}
_ETH67 = {code: layout for code, layout in _ETH66.items() if code not in (Code.GET_NODE_DATA, Code.NODE_DATA)}
_ETH68 = _ETH67 | {
    Code.NEW_POOLED_TRANSACTION_HASHES: Layout(
        NewPooledTransactionHashes68,
        {
            "types": _shaped(rlp.at_most(MAX_ANNOUNCED)),
            "sizes": _list_of(rlp.UINT32, MAX_ANNOUNCED),
            "hashes": _hashes(MAX_ANNOUNCED),
        },
    ),
}
_ETH69 = _ETH68 | {
    Code.STATUS: Layout(Status69, {**_WHO, **_GENESIS, **_TIP}),
    Code.BLOCK_RANGE_UPDATE: Layout(BlockRangeUpdate, _TIP),
}


@attrs.frozen
class Version:
    """
    One version of the protocol: how many codes it takes of the session's, and the messages it has.
    """

    number: int
    length: int
    messages: Mapping[int, Layout]
    codes: Mapping[type[Any], int] = attrs.field(init=False)

    @codes.default
    def _index(self) -> Mapping[type[Any], int]:
        return {layout.cls: code for code, layout in self.messages.items()}


#: Every version spoken here.
VERSIONS: Mapping[int, Version] = {
    version.number: version
    for version in (
        Version(66, 17, _ETH66),
        Version(67, 17, _ETH67),
        Version(68, 17, _ETH68),
        Version(69, 18, _ETH69),
    )
}


#: Which message answers which.
REPLY_CODES: Mapping[type[Request], Code] = {
    GetBlockHeaders: Code.BLOCK_HEADERS,
    GetBlockBodies: Code.BLOCK_BODIES,
    GetPooledTransactions: Code.POOLED_TRANSACTIONS,
    GetNodeData: Code.NODE_DATA,
    GetReceipts: Code.RECEIPTS,
}


def encode(version: int, message: Message) -> tuple[int, bytes]:
    """
    @return: the message's code and its bytes.
    @raise LocalProtocolError: C{version} has no such message, or it is over a cap.
    """
    code = VERSIONS[version].codes.get(type(message))
    if code is None:
        raise LocalProtocolError(f"eth/{version} has no {type(message).__name__}")
    payload = VERSIONS[version].messages[code].encode(message)
    if len(payload) > MAX_MESSAGE:
        raise LocalProtocolError(f"{type(message).__name__} of {len(payload)} bytes, more than {MAX_MESSAGE}")
    return code, payload


def decode(version: int, code: int, payload: bytes) -> Message:
    """
    @raise WireError: C{version} has no such code, or the bytes do not follow its layout.
    @raise OversizeError: a cap is passed.
    """
    layout = VERSIONS[version].messages.get(code)
    if layout is None:
        raise WireError(f"eth/{version} has no message {code:#04x}")
    if len(payload) > MAX_MESSAGE:
        raise OversizeError(f"{layout.cls.__name__} of {len(payload)} bytes, more than {MAX_MESSAGE}")
    message: Message = layout.decode(payload)
    return message


def too_large(version: int, code: int, payload: bytes) -> TooLarge | None:
    """
    Tell whose reply is over L{MAX_MESSAGE}, of those that may be, L{OF_ONE_BLOCK}.

    @return: None where that is not so: L{decode} judges it.
    @raise WireError: it does not begin with a number.
    """
    layout = VERSIONS[version].messages.get(code)
    if layout is None or layout.cls not in OF_ONE_BLOCK or len(payload) <= MAX_MESSAGE:
        return None
    request_id, *_ = rlp.split(payload, max_items=2) or [b""]
    return TooLarge(rlp.UINT64.decode(request_id), len(payload))


def decode_receipts(raw: bytes, version: int) -> tuple[Receipt, ...]:
    """
    One block's item of L{Receipts}.

    @raise WireError: not receipts in the form of C{version}, or more than L{MAX_PARTS}.
    """
    return finish(decode_receipts_steps(raw, version))


def decode_receipts_steps(raw: bytes, version: int) -> Steps[tuple[Receipt, ...]]:
    """L{decode_receipts} in steps."""
    found: list[Receipt] = []
    for span in rlp.split(raw, max_items=MAX_PARTS):
        steps = Receipt.decode_steps(unwrap(span)) if version < 69 else Receipt.decode_eth69_steps(span)
        found.append((yield from steps))
        yield
    return tuple(found)


def encode_receipts(receipts: Iterable[Receipt], version: int) -> bytes:
    """The reverse of L{decode_receipts}."""
    if version < 69:
        return rlp.join([wrap(receipt.encode()) for receipt in receipts])
    return rlp.join([receipt.encode_eth69() for receipt in receipts])
