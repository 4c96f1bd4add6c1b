"""
Values as people and programs read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ethp2p import networks
from ethp2p.cli.verdict import FAR, Verdict, fork_text
from ethp2p.crypto.keys import PublicKey
from ethp2p.devp2p.wire import Hello
from ethp2p.enode import Node
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry
from ethp2p.enr.record import Record
from ethp2p.errors import WireError
from ethp2p.eth.messages import Status, Status66

if TYPE_CHECKING:
    from ethp2p.cli.finding import Pong

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


def clean(text: str) -> str:
    """What somebody else wrote, without what would move a terminal's cursor or hide the rest of a line."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in lines, each column as wide as its widest cell."""
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
    yield from table([("", ascii(key)[1:], _entry(record, key, raw)) for key, raw in record.pairs])


def _entry(record: Record, key: bytes, raw: bytes) -> str:
    if key in _SHOWN:
        entry, show = _SHOWN[key]
        try:
            return show(record.get(entry))
        except WireError:
            return f"{raw.hex()} (malformed)"
    return raw.hex()


def record_value(record: Record) -> Mapping[str, Any]:
    """The same, for JSON."""
    known = record.public_key is not None
    return {
        "id": record.node_id.hex() if record.node_id is not None else None,
        "enode": Node.from_record(record).url if known else None,
        "seq": record.seq,
        "pairs": {ascii(key)[2:-1]: _plain(record, key, raw) for key, raw in record.pairs},
    }


def _plain(record: Record, key: bytes, raw: bytes) -> str | int:
    if key in _SHOWN:
        entry, show = _SHOWN[key]
        try:
            value = record.get(entry)
        except WireError:
            return raw.hex()
        return value if isinstance(value, (str, int)) else show(value)
    return raw.hex()


def pong_line(pong: Pong) -> str:
    """As geth's tool says it."""
    return f"node responded to ping (RTT {1000 * pong.rtt:.6g}ms)."


def pong_value(pong: Pong) -> Mapping[str, Any]:
    """An answer to a ping, for JSON."""
    endpoint = None if pong.endpoint is None else {"ip": pong.endpoint[0], "port": pong.endpoint[1]}
    return {"rtt": pong.rtt, "seenAt": endpoint, "seq": pong.seq}


def hello_value(hello: Hello) -> Mapping[str, Any]:
    """A Hello, for JSON."""
    return {
        "id": PublicKey.parse(hello.node_key).node_id.hex(),
        "name": hello.client,
        "caps": list(map(str, hello.capabilities)),
        "version": hello.version,
        "listenPort": hello.listen_port,
    }


def hello_lines(hello: Hello) -> Iterable[str]:
    """A Hello in lines."""
    return table(
        (
            ("Node ID:", PublicKey.parse(hello.node_key).node_id.hex()),
            ("Name:", hello.client),
            ("Caps:", " ".join(map(str, hello.capabilities))),
            ("Version:", str(hello.version)),
            ("Listen port:", str(hello.listen_port)),
        )
    )


def status_value(status: Status, verdict: Verdict) -> Mapping[str, Any]:
    """A Status and what it means, for JSON; as geth's C{admin_peers} where it has the same."""
    value: dict[str, Any] = {
        "version": status.version,
        "networkId": status.network_id,
        "genesis": f"0x{status.genesis_hash.hex()}",
        "forkId": {"hash": f"0x{status.fork_id.hash.hex()}", "next": status.fork_id.next},
    }
    if isinstance(status, Status66):
        value |= {"head": f"0x{status.head_hash.hex()}", "difficulty": status.total_difficulty}
    else:
        value["earliestBlock"], value["latestBlock"] = status.earliest, status.latest
        value["latestBlockHash"] = f"0x{status.latest_hash.hex()}"
    return {"eth": value, "network": verdict.network, "agrees": verdict.agrees, "verdict": verdict.words}


def status_lines(status: Status, verdict: Verdict) -> Iterable[str]:
    """A Status and what it means, in lines."""
    if isinstance(status, Status66):
        head = f"{status.head_hash.hex()}, total difficulty {status.total_difficulty}"
    else:
        head = f"{status.latest_hash.hex()}, block {status.latest}; has blocks from {status.earliest}"
    return table(
        (
            ("Protocol:    ", f"eth/{status.version}"),  # as wide as the lines of Hello
            ("Network ID:", str(status.network_id)),
            ("Genesis:", status.genesis_hash.hex()),
            ("Fork ID:", str(status.fork_id)),
            ("Head:", head),
            ("Verdict:", verdict.words),
        )
    )


def network_values(now: float) -> Sequence[Mapping[str, Any]]:
    """
    The networks known by name, with the fork id of a node that is in sync, for JSON.

    @param now: seconds since 1970.
    """
    values = []
    for network in map(networks.named, networks.NAMES):
        fork_id = network.fork_id(FAR, int(now))
        values.append(
            {
                "name": network.name,
                "networkId": network.network_id,
                "genesis": f"0x{network.genesis_hash.hex()}",
                "forkId": {"hash": f"0x{fork_id.hash.hex()}", "next": fork_id.next},
            }
        )
    return values


def network_lines(now: float) -> Iterable[str]:
    """The same, in lines."""
    rows = [("name", "network id", "genesis", "fork id", "next fork")]
    for network in map(networks.named, networks.NAMES):
        fork_id = network.fork_id(FAR, int(now))
        due = fork_text(fork_id.next) if fork_id.next else "none known"
        rows.append((network.name, str(network.network_id), network.genesis_hash.hex(), fork_id.hash.hex(), due))
    return table(rows)


def attribute_lines(counts: Mapping[str, int], nodes: int) -> Iterator[str]:
    """What the records of a node set have in them, as geth's C{devp2p nodeset info} says it."""
    yield f"Set contains {nodes} nodes."
    yield "ENR attribute counts:"
    width = max(map(len, counts), default=0)
    for key, count in counts.items():
        yield f" {key.rjust(width)}: {count}"


def as_json(value: object) -> str:
    """One line."""
    return json.dumps(value)
