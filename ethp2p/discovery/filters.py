"""
Which nodes are of our network, as far as their records tell.

Source: EIP-2124 ("Stale software examples", "Discovery"), EIP-6122; devp2p enr-entries/eth.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from ethp2p.enode import Node
from ethp2p.enr import EthEntry, Record
from ethp2p.enr.entries import ETH
from ethp2p.errors import RemoteProtocolError
from ethp2p.networks import ForkId, Network

#: Number and timestamp of our head.
Head = tuple[int, int]
#: Entries that tell of a network of another kind, for records that have no C{eth}: consensus clients and the nodes of
#: roll-ups live in the same tables.
OTHERS = frozenset({b"eth2", b"opstack"})


class NodeFilter(Protocol):
    """Decides about nodes by their records."""

    def admits(self, node: Node) -> bool:
        """Whether it may have a place in the table: nothing speaks against it."""

    def wants(self, node: Node) -> bool:
        """Whether to call it: its record, if it has one, says that it is of ours."""


@attrs.frozen
class NoFilter:
    """Any node, of whatever network."""

    def admits(self, node: Node) -> bool:
        """Always."""
        return True

    def wants(self, node: Node) -> bool:
        """Always."""
        return True


@attrs.frozen
class ForkFilter:
    """
    By fork id.
    """

    network: Network
    #: Tells our head; it is asked for each node.
    head: Callable[[], Head]

    def admits(self, node: Node) -> bool:
        """
        One without C{eth} in its record may be a bootnode or a light one, and helps to find others; one that has
        another chain there does not.
        """
        record = node.record
        if record is None:
            return True
        keys = {key for key, _ in record.pairs}
        if ETH.key not in keys:
            return not keys & OTHERS
        return self._agrees(record)

    def wants(self, node: Node) -> bool:
        """
        A node without a record has been asked for it in vain, or was given to us by hand: only its Status will tell.
        """
        return node.record is None or self._agrees(node.record)

    def _agrees(self, record: Record) -> bool:
        try:
            entry: EthEntry | None = record.get(ETH)
            if entry is None:
                return False
            self.network.check_fork_id(ForkId(entry.fork_hash, entry.fork_next), *self.head())
        except RemoteProtocolError:  # malformed, or of another chain
            return False
        return True
