"""
A crawl as a table: a row for each node, in JSON, JSON lines or CSV.

Columns are only ever added.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ethp2p.cli.crawl import Crawled, at_record
from ethp2p.cli.verdict import fork_network, judge
from ethp2p.dnsdisc.nodeset import to_time
from ethp2p.enode import Node
from ethp2p.enr.entries import ETH
from ethp2p.errors import WireError
from ethp2p.networks import ForkId

FORMATS = ("json", "jsonl", "csv")

#: The columns.  Of a node that was not probed, or did not say, they are null; in CSV empty.
COLUMNS = (
    "id",
    "enode",
    "record",
    "seq",
    "ip",
    "tcp",
    "udp",
    "score",
    "firstResponse",
    "lastResponse",
    "lastCheck",
    "client",
    "caps",
    "p2pVersion",
    "ethVersion",
    "networkId",
    "genesis",
    "forkHash",
    "forkNext",
    "network",
    "verdict",
    "failure",
)

Row = Mapping[str, Any]


def rows(crawled: Crawled, now: float) -> Iterator[Row]:
    """
    A row for each node that answered, or is in the set, or did not answer and why.

    @param now: Unix time.
    """
    done = set()
    for visit in crawled.visits:
        if visit.record is None and not visit.failure:  # there was no time for it
            continue
        row = _of_node(at_record(visit), now)
        row["failure"] = visit.failure or None
        findings = visit.findings
        if findings is not None:
            row["failure"] = None if findings.failure is None else str(findings.failure)
            if findings.hello is not None:
                row["client"] = findings.hello.client
                row["caps"] = [str(capability) for capability in findings.hello.capabilities]
                row["p2pVersion"] = findings.hello.version
                row["ethVersion"] = findings.version
            status = findings.status
            if status is not None:
                verdict = judge(status, now)
                row |= {
                    "networkId": status.network_id,
                    "genesis": f"0x{status.genesis_hash.hex()}",
                    "forkHash": f"0x{status.fork_id.hash.hex()}",
                    "forkNext": status.fork_id.next,
                    "network": verdict.network,
                    "verdict": verdict.words,
                }
        done.add(visit.node.node_id)
        yield _placed(row, crawled, visit.node.node_id)
    for node_id, seen in crawled.node_set.nodes.items():
        if node_id not in done:
            yield _placed(_of_node(Node.from_record(seen.record), now), crawled, node_id)


def _of_node(node: Node, now: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "id": node.node_id.hex(),
        "enode": node.url,
        "ip": node.host or None,
        "tcp": node.tcp or None,
        "udp": node.udp or None,
    }
    if node.record is not None:
        row |= {"record": node.record.text, "seq": node.record.seq}
        try:
            entry = node.record.get(ETH)
        except WireError:
            entry = None
        if entry is not None:
            fork_id = ForkId(entry.fork_hash, entry.fork_next)
            row |= {"forkHash": f"0x{fork_id.hash.hex()}", "forkNext": fork_id.next}
            row["network"] = fork_network(fork_id, now)
    return row


def _placed(row: dict[str, Any], crawled: Crawled, node_id: bytes) -> Row:
    seen = crawled.node_set.nodes.get(node_id)
    if seen is not None:
        row["score"] = seen.score
        times = {"firstResponse": seen.first_response, "lastResponse": seen.last_response, "lastCheck": seen.last_check}
        row |= {name: None if time is None else to_time(time) for name, time in times.items()}
    return row


def render(table: Iterable[Row], form: str) -> str:
    """
    @param form: one of L{FORMATS}.  In CSV what a node speaks is one cell, with spaces.
    """
    if form == "json":
        return json.dumps(list(table), indent=2) + "\n"
    if form == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in table)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    value = " ".join(value) if isinstance(value, list) else value
    # What a stranger says must not be a formula in somebody's spreadsheet.
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value
