"""
A crawl as a table.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.cli.crawl import Crawled, Visit
from ethp2p.cli.greet import Findings, Unreachable
from ethp2p.cli.reports import COLUMNS, FORMATS, render, rows
from ethp2p.codec import rlp
from ethp2p.devp2p.wire import Capability, Hello
from ethp2p.dnsdisc import NodeSet, SeenNode
from ethp2p.enr import EthEntry
from ethp2p.enr.entries import ETH, Entry
from ethp2p.eth.messages import Status69
from tests.discovery.support import START, key, node, recorded

MAINNET = networks.named("mainnet")
FORK = MAINNET.fork_id(1 << 62, int(START))
WITH_ETH = recorded(1, entries={ETH: EthEntry(FORK.hash, FORK.next)})
HELLO = Hello(5, "=cmd|'/C calc'!A0", (Capability("eth", 69), Capability("snap", 1)), 0, key(1).public_key.raw)
STATUS = Status69(69, 1, MAINNET.genesis_hash, FORK, 0, 5, b"\x01" * 32)


def table(*visits: Visit, nodes: NodeSet | None = None) -> list[dict[str, Any]]:
    return [dict(row) for row in rows(Crawled(nodes or NodeSet({}), visits, Counter()), START)]


class RowTests(SynchronousTestCase):
    def test_probed(self) -> None:
        assert WITH_ETH.record is not None
        nodes = NodeSet({WITH_ETH.node_id: SeenNode(WITH_ETH.record, 3, START - 60, START, START)})
        visit = Visit(node(1), WITH_ETH.record, findings=Findings(HELLO, 69, STATUS))
        (row,) = table(visit, nodes=nodes)
        self.assertEqual(tuple(row), COLUMNS)
        self.assertEqual(
            row,
            {
                "id": node(1).node_id.hex(),
                "enode": node(1).url,
                "record": WITH_ETH.record.text,
                "seq": 1,
                "ip": "20.0.1.1",
                "tcp": 30303,
                "udp": 30303,
                "score": 3,
                "firstResponse": "2027-01-15T07:59:00Z",
                "lastResponse": "2027-01-15T08:00:00Z",
                "lastCheck": "2027-01-15T08:00:00Z",
                "client": HELLO.client,
                "caps": ["eth/69", "snap/1"],
                "p2pVersion": 5,
                "ethVersion": 69,
                "networkId": 1,
                "genesis": f"0x{MAINNET.genesis_hash.hex()}",
                "forkHash": f"0x{FORK.hash.hex()}",
                "forkNext": 0,
                "network": "mainnet",
                "verdict": "on mainnet, and knows all its forks",
                "failure": None,
            },
        )

    def test_fork_of_record(self) -> None:
        (row,) = table(Visit(node(1), WITH_ETH.record))
        self.assertEqual((row["forkHash"], row["network"], row["verdict"]), (f"0x{FORK.hash.hex()}", "mainnet", None))
        other = recorded(2, entries={ETH: EthEntry(b"\1\2\3\4", 5)})
        broken = recorded(3, entries={Entry(b"eth", rlp.BYTES): b"x"})
        first, second = table(Visit(node(2), other.record), Visit(node(3), broken.record))
        self.assertEqual((first["forkHash"], first["forkNext"], first["network"]), ("0x01020304", 5, None))
        self.assertEqual((second["forkHash"], second["record"] is None), (None, False))

    def test_failures(self) -> None:
        silent = Visit(node(2), failure="no pong")
        refused = Visit(node(1), WITH_ETH.record, findings=Findings(HELLO, failure=Unreachable("too slow")))
        late = Visit(node(3))
        first, second = table(silent, refused, late)
        self.assertEqual((first["failure"], first["client"], first["record"]), ("no pong", None, None))
        self.assertEqual((second["failure"], second["client"]), ("too slow", HELLO.client))

    def test_not_visited(self) -> None:
        assert WITH_ETH.record is not None
        (row,) = table(nodes=NodeSet({WITH_ETH.node_id: SeenNode(WITH_ETH.record)}))
        self.assertEqual((row["id"], row["score"], row["lastCheck"]), (WITH_ETH.node_id.hex(), 0, None))


class RenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        refused = Visit(node(1), WITH_ETH.record, findings=Findings(HELLO, 69, STATUS))
        self.table = table(refused, Visit(node(2), failure="no pong, twice"))

    def test_json(self) -> None:
        self.assertEqual(json.loads(render(self.table, "json")), self.table)
        lines = render(self.table, "jsonl").splitlines()
        self.assertEqual(list(map(json.loads, lines)), self.table)

    def test_csv(self) -> None:
        text = render(self.table, "csv")
        first, second = csv.DictReader(io.StringIO(text))
        self.assertEqual(tuple(first), COLUMNS)
        self.assertEqual((first["caps"], first["tcp"], first["failure"]), ("eth/69 snap/1", "30303", ""))
        self.assertEqual((second["failure"], second["client"]), ("no pong, twice", ""))

    def test_no_formulas(self) -> None:
        """What a stranger says is never run by a spreadsheet."""
        first, _ = csv.DictReader(io.StringIO(render(self.table, "csv")))
        self.assertEqual(first["client"], "'" + HELLO.client)

    def test_nothing(self) -> None:
        self.assertEqual([render([], form) for form in FORMATS], ["[]\n", "", ",".join(COLUMNS) + "\n"])
