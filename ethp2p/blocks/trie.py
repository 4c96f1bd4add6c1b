"""
Merkle-Patricia tries, of which only the root is wanted: nothing is stored.

A key's nibbles are the digits of its hex form, and the entries are sorted, so that every node is a slice of
them.

Source: Ethereum Yellow Paper, appendix D.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def _node(entries: list[tuple[str, bytes]], start: int, end: int, depth: int) -> bytes:
    """The node for the entries from C{start} up to C{end}, whose keys share their first C{depth} nibbles."""
    key, value = entries[start]
    if end - start == 1:
        return _short(key[depth:], "3", "20", rlp.encode(value))
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
        branch[int(nibble, 16)] = _reference(_node(entries, first, after, fork + 1))
        first = after
    node = rlp.join(branch)
    return node if fork == depth else _short(key[depth:fork], "1", "00", _reference(node))


def trie_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """
    The root hash of the trie of C{pairs}, 32 bytes.  An empty value is the same as no entry.

    @raise ValueError: a key of more than L{MAX_KEY} bytes.
    """
    entries = sorted((key.hex(), value) for key, value in pairs.items() if value)
    if any(len(key) > 2 * MAX_KEY for key, _ in entries):
        raise ValueError(f"a trie key of more than {MAX_KEY} bytes")
    return keccak256(_node(entries, 0, len(entries), 0)) if entries else EMPTY_ROOT


def ordered_root(values: Iterable[bytes]) -> bytes:
    """
    The root of a list, as a header has it for transactions, receipts and withdrawals: each value under the
    RLP of its index.
    """
    return trie_root({rlp.UINT64.encode(index): value for index, value in enumerate(values)})


def secure_root(pairs: Mapping[bytes, bytes]) -> bytes:
    """The root with each value under the Keccak-256 of its key, as state and storage are kept."""
    return trie_root({keccak256(key): value for key, value in pairs.items()})
