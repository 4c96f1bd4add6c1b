"""
Nodes passed on: which of them to believe from whom, and which to tell to whom.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Union

import attrs

from ethp2p.discv5.limits import LAST_SYSTEM_PORT, MAX_TOLD
from ethp2p.enode import Node
from ethp2p.enode.cidr import Address, BadRelay, Scope, check_relay, is_habitable, scope_of
from ethp2p.enr import Record


def distance(one: bytes, other: bytes) -> int:
    """The logarithmic distance of two node ids: 0 when they are equal, else 1 to 256."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_length()


def check_endpoint(source: Address, node: Node) -> None:
    """
    Whether a node can be called where its record says, and may be when C{source} told us of it.

    @raise BadRelay: not.
    """
    if not node.host:
        raise BadRelay("relayed a node without an address")
    check_relay(source, node.host)
    if node.udp <= LAST_SYSTEM_PORT:
        raise BadRelay(f"relayed a node at port {node.udp}")


def tell(
    nodes: Iterable[Union[Node, Record]], us: bytes, distances: Collection[int], asker: bytes, host: str, most: int
) -> list[bytes]:
    """
    The encoded records of the first C{most} nodes, each once, that an asker can be told of: what he would have to
    refuse is left out, and so is himself.

    @param us: our node id.
    @param distances: the logarithmic distances from us that were asked for.
    @param asker: his node id.
    @param host: his IP address.
    """
    here, scope = int.from_bytes(us), scope_of(host)
    left_out = here, int.from_bytes(asker)
    told: dict[int, bytes] = {}
    for node in nodes:
        prepared = _prepare(Node.from_record(node) if isinstance(node, Record) else node)
        if (
            prepared is not None
            and prepared.scope <= scope
            and (prepared.number ^ here).bit_length() in distances
            and prepared.number not in left_out
        ):
            told[prepared.number] = prepared.encoded
            if len(told) == most:
                break
    return [*told.values()]


@attrs.frozen
class _Prepared:
    """A node to be told of many times."""

    encoded: bytes
    #: Its id.
    number: int
    #: How near somebody has to be who may be told of it: what C{check_endpoint} finds, once for all askers.
    scope: Scope


@lru_cache(MAX_TOLD)
def _prepare(node: Node) -> _Prepared | None:
    if node.record is None or node.ip is None or node.udp <= LAST_SYSTEM_PORT or not is_habitable(node.host):
        return None
    return _Prepared(node.record.encode(), int.from_bytes(node.node_id), scope_of(node.host))
