"""
Merkle-Patricia tries, of which only the root is wanted: nothing is stored.

A key's nibbles are the digits of its hex form, and the entries are sorted, so that every node is a slice of
them.

Source: Ethereum Yellow Paper, appendix D.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from ethp2p.blocks.steps import Steps, finish
from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256

#: Longest key accepted, in bytes.  Nesting follows the keys, two levels a byte, and no trie of Ethereum's has
#: keys longer than a hash.
MAX_KEY = 64

_NOTHING = b"\x80"
#: Root of the trie that holds nothing.
EMPTY_ROOT = keccak256(_NOTHING)


def _short(nibbles: str, odd: str, even: str, content: bytes) -> bytes:
    """A leaf or an extension: a path in hex-prefix encoding, then what is there, encoded already."""
    path = bytes.fromhex(odd + nibbles if len(nibbles) % 2 else even + nibbles)
    return rlp.join((rlp.encode(path), content))


def _reference(node: bytes) -> bytes:
    """How its parent names a node: by hash, or the node itself where that is shorter."""
    return node if len(node) < 32 else b"\xa0" + keccak256(node)


def _leaf(entry: tuple[str, bytes], depth: int) -> bytes:
    key, value = entry
    return _short(key[depth:], "3", "20", rlp.encode(value))


def _node(entries: list[tuple[str, bytes]], start: int, end: int, depth: int) -> Steps[bytes]:
    """The node for the entries from C{start} up to C{end}, two at least, that share their first C{depth} nibbles."""
    yield
    key, value = entries[start]
    fork = depth
    for one, other in zip(key[depth:], entries[end - 1][0][depth:]):  # what the outermost share, all share
        if one != other:
            break
        fork += 1
    branch = [_NOTHING] * 17
    first = start
    if len(key) == fork:
        branch[16] = rlp.encode(value)
        first += 1
    while first < end:
        nibble = entries[first][0][fork]
        after = first + 1
        while after < end and entries[after][0][fork] == nibble:
            after += 1
        alone = after - first == 1
        node = _leaf(entries[first], fork + 1) if alone else (yield from _node(entries, first, after, fork + 1))
        branch[int(nibble, 16)] = _reference(node)
        first = after
    node = rlp.join(branch)
    return node if fork == depth else _short(key[depth:fork], "1", "00", _reference(node))


def _root(entries: list[tuple[str, bytes]]) -> Steps[bytes]:
    """The root hash for entries in the order of their keys."""
    if not entries:
        return EMPTY_ROOT
    return keccak256(_leaf(entries[0], 0) if len(entries) == 1 else (yield from _node(entries, 0, len(entries), 0)))


def trie_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """
    The root hash of the trie of C{pairs}, 32 bytes.  An empty value is the same as no entry.

    @raise ValueError: a key of more than L{MAX_KEY} bytes.
    """
    entries = sorted((key.hex(), value) for key, value in pairs.items() if value)
    if any(len(key) > 2 * MAX_KEY for key, _ in entries):
        raise ValueError(f"a trie key of more than {MAX_KEY} bytes")
    return finish(_root(entries))


def ordered_root_steps(values: Sequence[bytes]) -> Steps[bytes]:
    """L{ordered_root} in steps."""
    count = len(values)
    entries: list[tuple[str, bytes]] = []
    for index in chain(range(1, min(128, count)), range(min(1, count)), range(128, count)):  # as their keys sort
        if values[index]:
            entries.append((rlp.UINT64.encode(index).hex(), values[index]))
        if index % 128 == 0:
            yield
    return (yield from _root(entries))


def ordered_root(values: Iterable[bytes]) -> bytes:
    """
    The root of a list, as a header has it for transactions, receipts and withdrawals: each value under the
    RLP of its index.
    """
    return finish(ordered_root_steps(tuple(values)))


def secure_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """The root with each value under the Keccak-256 of its key, as state and storage are kept."""
    return trie_root({keccak256(key): value for key, value in pairs.items()})
