"""
What is in a C{nodes.json}, and those of its nodes that somebody wants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Union

from ethp2p.dnsdisc import NodeSet, SeenNode
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import ETH, SNAP
from ethp2p.errors import RemoteProtocolError, WireError
from ethp2p.networks import ForkId, Network

Filter = Callable[[SeenNode], bool]


def attribute_counts(records: Iterable[Record]) -> dict[str, int]:
    """How many records have each key, sorted by key."""
    counts = Counter(ascii(key)[2:-1] for record in records for key, _ in record.pairs)
    return dict(sorted(counts.items()))


def within(network: Union[IPv4Network, IPv6Network]) -> Filter:
    """Those at an address of this network."""

    def wanted(node: SeenNode) -> bool:
        ip = Node.from_record(node.record).ip
        return ip is not None and ip in network

    return wanted


def seen_for(seconds: float) -> Filter:
    """Those between whose first and last answer was so much time."""

    def wanted(node: SeenNode) -> bool:
        first, last = node.first_response, node.last_response
        return first is not None and last is not None and last - first >= seconds

    return wanted


def of_network(network: Network) -> Filter:
    """
    Those whose record tells of this chain, at whatever fork, as geth's tool has it: also those that have missed
    the newest one.
    """

    def wanted(node: SeenNode) -> bool:
        try:
            entry = node.record.get(ETH)
            if entry is None:
                return False
            network.check_fork_id(ForkId(entry.fork_hash, entry.fork_next), 0, 0)
        except RemoteProtocolError:  # malformed, or of another chain
            return False
        return True

    return wanted


def serves_snap(node: SeenNode) -> bool:
    """Those whose record tells that they speak snap."""
    try:
        return node.record.get(SNAP) is not None
    except WireError:
        return False


def select(nodes: NodeSet, filters: Iterable[Filter], limit: int | None = None) -> NodeSet:
    """
    The nodes that pass all filters.

    @param limit: how many of them, those with the highest scores.
    """
    filters = list(filters)
    kept = {node_id: node for node_id, node in nodes.nodes.items() if all(wanted(node) for wanted in filters)}
    if limit is not None:
        best = sorted(kept.items(), key=lambda item: (-item[1].score, item[0]))
        kept = dict(best[:limit])
    return NodeSet(kept)
