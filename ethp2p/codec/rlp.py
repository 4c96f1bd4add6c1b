"""
RLP: strict, canonical, and safe on bytes from a stranger.

The decoder is iterative and linear; depth and number of items are capped, so neither deep nesting nor wide
lists cost more than their length.  On top of it stand I{shapes}, the field tables of the specifications::

    PING = record(Ping, version=UINT64, sender=ENDPOINT, expiration=UINT64)
    PING.decode(data)     # -> Ping, or WireError that names the field
    PING.encode(ping)     # -> bytes

Source: Ethereum Yellow Paper, appendix B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, Union

import attrs

from ethp2p.errors import OversizeError, WireError

#: Deepest nesting of lists accepted.  The deepest message of any protocol here needs 9.
MAX_DEPTH = 32
#: Most items (strings and lists together) accepted in one decoding: bounds memory at about 90 MiB.
MAX_ITEMS = 1 << 20

Item = Union[bytes, "list[Item]"]
T = TypeVar("T")


def _header(data: bytes, start: int, end: int) -> tuple[int, int, bool]:
    """
    Read the item header at C{start}.

    @return: where its payload starts and ends, and whether it is a list.
    """
    prefix = data[start]
    if prefix < 0x80:
        return start, start + 1, False
    is_list = prefix >= 0xC0
    short = prefix - (0xC0 if is_list else 0x80)
    if short < 56:
        first = start + 1
        last = first + short
        if last > end:
            raise WireError(f"RLP item at byte {start} runs past its container")
        if short == 1 and not is_list and data[first] < 0x80:
            raise WireError(f"RLP byte at {start} has a needless length prefix")
        return first, last, is_list
    first = start + 1 + short - 55
    if first > end:
        raise WireError(f"RLP length at byte {start} is cut short")
    length = int.from_bytes(data[start + 1 : first], "big")
    if length < 56 or data[start + 1] == 0:
        raise WireError(f"RLP length at byte {start} is not in its shortest form")
    last = first + length
    if last > end:
        raise WireError(f"RLP item at byte {start} runs past its container")
    return first, last, is_list


def decode(data: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS) -> Item:
    """
    Decode exactly one item.

    @return: C{bytes}, or a list of items.
    @raise WireError: not canonical RLP, bytes left over, nested deeper than C{max_depth}.
    @raise OversizeError: more than C{max_items} items.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    size = len(data)
    if not size:
        raise WireError("RLP of no bytes")
    first, last, is_list = _header(data, 0, size)
    if last != size:
        raise WireError(f"{size - last} bytes after the RLP item")
    if not is_list:
        return data[first:last]
    root: list[Item] = []
    here = root
    add = here.append
    ends: list[tuple[int, list[Item]]] = []  # the lists we are inside of, outermost first
    pos, end, left = first, last, max_items
    while True:
        while pos < end:
            left -= 1
            if left < 0:
                raise OversizeError(f"more than {max_items} RLP items")
            prefix = data[pos]
            if prefix < 0x80:
                add(data[pos : pos + 1])
                pos += 1
                continue
            if prefix <= 0xB7:
                after = pos + prefix - 0x7F
                if after > end:
                    raise WireError(f"RLP item at byte {pos} runs past its container")
                if prefix == 0x81 and data[pos + 1] < 0x80:
                    raise WireError(f"RLP byte at {pos} has a needless length prefix")
                add(data[pos + 1 : after])
                pos = after
                continue
            first, last, is_list = _header(data, pos, end)
            if not is_list:
                add(data[first:last])
                pos = last
                continue
            if len(ends) + 2 > max_depth:
                raise WireError(f"RLP nested deeper than {max_depth}")
            child: list[Item] = []
            add(child)
            ends.append((end, here))
            here, pos, end = child, first, last
            add = here.append
        if not ends:
            return root
        end, here = ends.pop()
        add = here.append


def split(data: bytes, *, max_items: int = MAX_ITEMS) -> list[bytes]:
    """
    The raw encodings of the items of one list, not looked into: C{decode} each when it is needed, hash a
    header or a transaction from its own bytes.

    @raise WireError: not a list, items that run past it, bytes left over.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    size = len(data)
    if not size:
        raise WireError("RLP of no bytes")
    pos, end, is_list = _header(data, 0, size)
    if not is_list:
        raise WireError("RLP string where a list belongs")
    if end != size:
        raise WireError(f"{size - end} bytes after the RLP list")
    spans: list[bytes] = []
    while pos < end:
        if len(spans) >= max_items:
            raise OversizeError(f"more than {max_items} RLP items")
        last = _header(data, pos, end)[1]
        spans.append(data[pos:last])
        pos = last
    return spans


def first(data: bytes) -> bytes:
    """
    The encoding of the first item, without what follows it (the padding that EIP-8 allows).

    @raise WireError: no item begins here, or it runs past the end.
    """
    if not data:
        raise WireError("RLP of no bytes")
    return data[: _header(data, 0, len(data))[1]]


#: Every byte as a string: a byte below 0x80 is its own encoding, another the prefix of what is short.
_BYTE = tuple(bytes((byte,)) for byte in range(0x100))


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return _BYTE[offset + length]
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return _BYTE[offset + 55 + len(size)] + size


def encode(item: Any) -> bytes:
    """Encode bytes, or a list or tuple of items."""
    if isinstance(item, (bytes, bytearray, memoryview)):
        if len(item) == 1 and item[0] < 0x80:
            return bytes(item)
        return _prefix(len(item), 0x80) + item
    spans: list[bytes] = []
    for part in item:
        if type(part) is bytes:  # nearly all are, and long lists of them: no call for what is short
            length = len(part)
            if length != 1 or part[0] >= 0x80:
                spans.append(_BYTE[0x80 + length] if length < 56 else _prefix(length, 0x80))
            spans.append(part)
        else:
            spans.append(encode(part))
    body = b"".join(spans)
    return _prefix(len(body), 0xC0) + body


def join(spans: Iterable[bytes]) -> bytes:
    """A list from the encodings of its items: the reverse of L{split}."""
    body = b"".join(spans)
    return _prefix(len(body), 0xC0) + body


@attrs.frozen
class Shape(Generic[T]):
    """
    How one field stands in RLP: C{load} takes a decoded item to a value or raises L{WireError}, C{dump}
    goes back.
    """

    load: Callable[[Item], T]
    dump: Callable[[T], Any]

    def decode(self, data: bytes) -> T:
        """@raise WireError: C{data} is not one canonical item of this shape."""
        return self.load(decode(data))

    def encode(self, value: T) -> bytes:
        """The canonical encoding of C{value}."""
        return encode(self.dump(value))


def _dump_uint(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def uint(bits: int) -> Shape[int]:
    """An unsigned integer of at most C{bits} bits, big-endian, without leading zeros."""
    size = bits // 8

    def load(item: Item) -> int:
        if type(item) is not bytes:
            raise WireError("a list where an integer belongs")
        if len(item) > size:
            raise WireError(f"an integer of more than {bits} bits")
        if item[:1] == b"\0":
            raise WireError("an integer with leading zeros")
        return int.from_bytes(item, "big")

    return Shape(load, _dump_uint)


def fixed(size: int) -> Shape[bytes]:
    """A byte string of exactly C{size} bytes."""

    def load(item: Item) -> bytes:
        if type(item) is not bytes or len(item) != size:
            raise WireError(f"not a string of {size} bytes")
        return item

    return Shape(load, bytes)


def at_most(size: int) -> Shape[bytes]:
    """A byte string of up to C{size} bytes."""

    def load(item: Item) -> bytes:
        if type(item) is not bytes or len(item) > size:
            raise WireError(f"not a string of at most {size} bytes")
        return item

    return Shape(load, bytes)


def _load_bytes(item: Item) -> bytes:
    if type(item) is not bytes:
        raise WireError("a list where a string belongs")
    return item


def _load_text(item: Item) -> str:
    try:
        return _load_bytes(item).decode()
    except UnicodeDecodeError:
        raise WireError("text that is not UTF-8") from None


def _load_bool(item: Item) -> bool:
    if item == b"":
        return False
    if item == b"\x01":
        return True
    raise WireError("neither true nor false")


def _same(item: Any) -> Any:
    return item


BYTES: Shape[bytes] = Shape(_load_bytes, bytes)
TEXT: Shape[str] = Shape(_load_text, str.encode)
BOOL: Shape[bool] = Shape(_load_bool, lambda value: b"\x01" if value else b"")
#: Any item at all, as L{decode} gives it.
ANY: Shape[Any] = Shape(_same, _same)
UINT8, UINT16, UINT32, UINT64, UINT256 = (uint(bits) for bits in (8, 16, 32, 64, 256))
HASH, ADDRESS = fixed(32), fixed(20)


def list_of(shape: Shape[T], *, most: int | None = None) -> Shape[tuple[T, ...]]:
    """A list of values of one shape, at most C{most} of them."""

    def load(item: Item) -> tuple[T, ...]:
        if type(item) is not list:
            raise WireError("a string where a list belongs")
        if most is not None and len(item) > most:
            raise OversizeError(f"a list of {len(item)}, more than {most}")
        return tuple([shape.load(part) for part in item])

    return Shape(load, lambda values: [shape.dump(value) for value in values])


def empty_or(shape: Shape[T]) -> Shape[T | None]:
    """A value that may be absent, written as the empty string."""
    return Shape(
        lambda item: None if item == b"" else shape.load(item),
        lambda value: b"" if value is None else shape.dump(value),
    )


def record(cls: type[T], *, optional: int = 0, open_ended: bool = False, **fields: Shape[Any]) -> Shape[T]:
    """
    A list with one item a field, in the order given, built into C{cls} by position.

    @param optional: how many of the last fields may be missing (None then, and only from the end on).
    @param open_ended: whether items after the last field are ignored (EIP-8) or refused.
    """
    names = tuple(fields)
    loads = [shape.load for shape in fields.values()]
    dumps = [(name, shape.dump) for name, shape in fields.items()]
    most = len(names)
    least = most - optional

    def load(item: Item) -> T:
        if type(item) is not list:
            raise WireError(f"{cls.__name__} is not a list")
        count = len(item)
        if count < least or (count > most and not open_ended):
            raise WireError(f"{cls.__name__} has {count} fields, not {least if not optional else f'{least} to {most}'}")
        values: list[Any] = []
        try:
            for read, part in zip(loads, item):
                values.append(read(part))
        except WireError as error:
            raise type(error)(f"{cls.__name__}.{names[len(values)]}: {error}") from None
        if count < most:
            values += [None] * (most - count)
        return cls(*values)

    def dump(value: T) -> list[Any]:
        if not optional:
            return [write(getattr(value, name)) for name, write in dumps]
        present = most
        while present > least and getattr(value, names[present - 1]) is None:
            present -= 1
        return [write(getattr(value, name)) for name, write in dumps[:present]]

    return Shape(load, dump)
