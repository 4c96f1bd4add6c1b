"""
Nodes by number, where they are, and discovery on a virtual network.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discovery.service import DiscoveryService
from ethp2p.enode import LocalNode, Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, TCP, UDP, Entry
from ethp2p.testing.network import Host, MemoryNetwork

#: When virtual time begins, Unix time.
START = 1_800_000_000.0


@cache
def key(number: int) -> PrivateKey:
    """The key of node C{number}, 1 and up."""
    return PrivateKey.parse(number.to_bytes(32))


def address(number: int) -> str:
    """A public address, each of another /24."""
    return f"{20 + number // 65536}.{number // 256 % 256}.{number % 256}.1"


def node(number: int, host: str | None = None, port: int = 30303) -> Node:
    """Node C{number}, without a record."""
    return Node(key(number).public_key, address(number) if host is None else host, port, port)


def recorded(
    number: int,
    host: str | None = None,
    port: int = 30303,
    *,
    seq: int = 1,
    entries: dict[Entry[Any], Any] | None = None,
) -> Node:
    """Node C{number} with a record."""
    ip = node(number, host).ip
    return Node.from_record(Record.sign(key(number), seq, {IP: ip, TCP: port, UDP: port, **(entries or {})}))


def serve(
    memory: MemoryNetwork, number: int, *bootnodes: Node, host: Host | None = None, **settings: Any
) -> DiscoveryService:
    """Node C{number} with discovery, on a host of its own, at port 30303 of its address; started."""
    at = settings.pop("at", address(number))
    host = memory.host(at) if host is None else host
    local = settings.pop("local", None) or LocalNode(key(number), wall_ms=int(memory.now * 1000), tcp=30303)
    rng = Random(number)
    given = {"listen": [(at, 30303)], "rng": rng, "random": rng.randbytes, "wall": host.seconds, **settings}
    service = DiscoveryService(host, local, bootnodes=bootnodes, **given)
    service.startService()
    return service


def network(seed: int = 1, **settings: Any) -> MemoryNetwork:
    """A network whose clock is about right."""
    return MemoryNetwork(seed=seed, start=START, **settings)
