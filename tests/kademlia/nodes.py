"""
Nodes by the hundred, with ids as the test wants them.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from random import Random
from typing import Any, cast

from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enode import Node
from ethp2p.enr import EthEntry, Record
from ethp2p.enr.entries import ETH, IP, TCP, UDP, Entry

LOCAL = bytes(32)


def public_key(node_id: bytes) -> PublicKey:
    """A key that nobody has, of the id that the test needs."""
    return PublicKey(node_id + node_id[::-1], cast(Any, None), node_id)


def node(node_id: bytes, host: str = "10.0.0.1", udp: int = 30303) -> Node:
    return Node(public_key(node_id), host, udp, udp)


def id_at(distance: int, number: int = 0) -> bytes:
    """An id at a logarithmic distance from L{LOCAL}; different numbers give different ids."""
    low = number.bit_length()
    assert low < distance
    return ((1 << (distance - 1)) | number).to_bytes(32, "big")


def at(distance: int, number: int = 0, host: str = "10.0.0.1") -> Node:
    """A node at a logarithmic distance from L{LOCAL}, by default on the local network."""
    return node(id_at(distance, number), host)


def random_host(rng: Random) -> str:
    """A public IPv4 address."""
    return f"{rng.randrange(11, 100)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def random_node(rng: Random, host: str | None = None) -> Node:
    return node(rng.randbytes(32), random_host(rng) if host is None else host)


def secret(number: int) -> PrivateKey:
    return PrivateKey.parse(number.to_bytes(32, "big"))


def signed(key: PrivateKey, seq: int = 1, host: str = "10.0.0.1", port: int = 30303, fork: bytes = b"main") -> Record:
    entries: dict[Entry[Any], Any] = {IP: IPv4Address(host), UDP: port, TCP: port, ETH: EthEntry(fork, 0)}
    return Record.sign(key, seq, entries)


def on_main(candidate: Node) -> bool:
    """The filter of the chain "main"; a node without a record may be on it."""
    entry = None if candidate.record is None else candidate.record.get(ETH)
    return candidate.record is None or (entry is not None and entry.fork_hash == b"main")
