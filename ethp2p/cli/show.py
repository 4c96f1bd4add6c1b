"""
Values as people and programs read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ethp2p import networks
from ethp2p.crypto.keys import PublicKey
from ethp2p.devp2p.wire import Hello
from ethp2p.enode import Node
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry
from ethp2p.enr.record import Record
from ethp2p.errors import WireError
from ethp2p.networks.forkid import FIRST_TIMESTAMP

_FAR = 1 << 62

_SHOWN: dict[bytes, tuple[Entry[Any], Callable[[Any], str]]] = {
    entry.key: (entry, show)
    for entry, show in (
        (entries.ID, repr),
        (entries.SECP256K1, lambda key: key.compressed().hex()),
        (entries.IP, str),
        (entries.IP6, str),
        (entries.TCP, str),
        (entries.TCP6, str),
        (entries.UDP, str),
        (entries.UDP6, str),
        (entries.ETH, lambda eth: f"{eth.fork_hash.hex()}/{eth.fork_next}"),
        (entries.SNAP, lambda _: "yes"),
        (entries.BSC, lambda _: "yes"),
    )
}


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def record_lines(record: Record) -> Iterator[str]:
    """What a node record says, as geth's C{devp2p enrdump} does: who, the enode URL, and each pair."""
    if record.public_key is not None:
        yield f"Node ID: {record.public_key.node_id.hex()}"
        yield f"URLv4:   {Node.from_record(record).url}"
    else:
        yield f"Node ID: not known, the identity scheme is {record.scheme!r}"
    yield f"Record has sequence number {record.seq} and {len(record.pairs)} key/value pairs."
    yield from _table([("", ascii(key)[1:], _entry(record, key, raw)) for key, raw in record.pairs])


def _entry(record: Record, key: bytes, raw: bytes) -> str:
    if key in _SHOWN:
        entry, show = _SHOWN[key]
        try:
            return show(record.get(entry))
        except WireError:
            return f"{raw.hex()} (malformed)"
    return raw.hex()


def hello_json(hello: Hello) -> str:
    """A Hello as one JSON object."""
    return json.dumps(
        {
            "id": PublicKey.parse(hello.node_key).node_id.hex(),
            "name": hello.client,
            "caps": list(map(str, hello.capabilities)),
            "version": hello.version,
            "listenPort": hello.listen_port,
        }
    )


def hello_lines(hello: Hello) -> Iterable[str]:
    """A Hello in lines."""
    return _table(
        (
            ("Node ID:", PublicKey.parse(hello.node_key).node_id.hex()),
            ("Name:", hello.client),
            ("Caps:", " ".join(map(str, hello.capabilities))),
            ("Version:", str(hello.version)),
            ("Listen port:", str(hello.listen_port)),
        )
    )


def network_lines(now: float) -> Iterable[str]:
    """
    The networks known by name, with the fork id of a node that is in sync.

    @param now: seconds since 1970.
    """
    rows = [("name", "network id", "genesis", "fork id", "next fork")]
    for name in networks.NAMES:
        network = networks.named(name)
        fork_id = network.fork_id(_FAR, int(now))
        rows.append(
            (name, str(network.network_id), network.genesis_hash.hex(), fork_id.hash.hex(), _fork(fork_id.next))
        )
    return _table(rows)


def _fork(number: int) -> str:
    if number == 0:
        return "none known"
    if number < FIRST_TIMESTAMP:
        return f"block {number}"
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
