"""
Nodes by their records: each signature is checked once, however often the record comes by.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Hashable, TypeVar

from ethp2p.discv5.limits import MAX_VERIFIED
from ethp2p.enode import Node
from ethp2p.enr import Record

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """
    A map of at most C{cap} entries; what was not used for the longest time goes first.
    """

    __slots__ = ("_entries", "cap")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now used; or None."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def set(self, key: K, value: V) -> None:
        """Keep a value."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.cap:
            self._entries.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Forget, and give what was kept."""
        return self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


class Verified:
    """
    Nodes of which the record was seen and verified.  Lookups are told of the same ones again and again, and
    checking a record costs fifty times as much as finding it here.  Engines of one process may share one.
    """

    __slots__ = ("_nodes", "_version")

    def __init__(self, cap: int = MAX_VERIFIED, version: int | None = None) -> None:
        """
        @param version: the IP version at which nodes can be reached, if it is only one.
        """
        self._version = version
        self._nodes: Recent[bytes, Node] = Recent(cap)

    def node(self, raw: bytes) -> Node:
        """
        @param raw: an encoded record.
        @raise WireError: it does not hold, or is of an identity scheme that is not known.
        """
        node = self._nodes.get(raw)
        if node is None:
            node = Node.from_record(Record.decode(raw), self._version)
            self._nodes.set(raw, node)
        return node

    def __len__(self) -> int:
        return len(self._nodes)
