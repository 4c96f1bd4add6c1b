"""
Nodes passed on: which of them to believe from whom, and which to tell to whom.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import attrs

from ethp2p.crypto.keys import PublicKey
from ethp2p.discv4 import wire
from ethp2p.discv4.limits import ANSWER_SIZE, LOW_PORT, MAX_TOLD
from ethp2p.enode.cidr import Address, Scope, check_relay, is_habitable, scope_of
from ethp2p.enode.node import Node
from ethp2p.enr.record import Record
from ethp2p.errors import RemoteProtocolError, WireError


def believe(told: wire.Neighbor, source: Address) -> Node | None:
    """
    The node that a sender told us of; None when no node can be there, or the sender cannot know it.

    @param source: where the sender is.
    """
    ip = wire.unpack_ip(told.ip)
    if ip is None or told.udp <= LOW_PORT:
        return None
    try:
        check_relay(source, ip)
        return Node(PublicKey.parse(told.public_key), ip, told.tcp, told.udp)
    except RemoteProtocolError:
        return None


def check_record(record: Record, public_key: PublicKey, source: Address) -> None:
    """
    Whether a sender's record can be its own.

    @raise RemoteProtocolError: it is not signed by C{public_key}, or has an address that cannot be the sender's.
    """
    if record.public_key != public_key:
        raise WireError("it is of another node")
    ip = Node.from_record(record).ip
    if ip is not None:
        check_relay(source, ip)


def tell(nodes: Iterable[Node | Record], asker: Address) -> list[bytes]:
    """
    The first L{ANSWER_SIZE} of C{nodes} that an asker can be told of, encoded for Neighbors.

    @param asker: where it is.
    """
    scope = scope_of(asker)
    told: list[bytes] = []
    for node in nodes:
        prepared = _prepare(Node.from_record(node) if isinstance(node, Record) else node)
        if prepared is not None and prepared.scope <= scope:
            told.append(prepared.encoded)
            if len(told) == ANSWER_SIZE:
                break
    return told


@attrs.frozen
class _Prepared:
    """A node to be told of many times."""

    encoded: bytes
    #: How near somebody has to be who may be told of it: what C{check_relay} finds, once for all askers.
    scope: Scope


@lru_cache(MAX_TOLD)
def _prepare(node: Node) -> _Prepared | None:
    ip = node.ip
    if ip is None or not node.udp or not is_habitable(ip):
        return None
    return _Prepared(wire.neighbor(ip, node.udp, node.tcp, node.public_key), scope_of(ip))
