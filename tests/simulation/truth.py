"""
Whether lookups find what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest

from ethp2p.enode import Node
from ethp2p.kademlia.distance import number
from ethp2p.kademlia.lookup import RESULT_SIZE


def nearest(goal: bytes, ids: Iterable[bytes], besides: bytes) -> list[bytes]:
    """
    The true nearest to an id, the nearest first.

    @param besides: who looks, and does not find himself.
    """
    at = number(goal)
    return nsmallest(RESULT_SIZE, (node_id for node_id in ids if node_id != besides), key=lambda i: number(i) ^ at)


def is_right(found: Sequence[Node], goal: bytes, ids: Iterable[bytes], besides: bytes) -> bool:
    """Whether exactly these were found, in their order."""
    return [node.node_id for node in found] == nearest(goal, ids, besides)
