"""
Node sets: what is in them, and filters.
"""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

from ethp2p import networks
from ethp2p.cli import nodesets
from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc import NodeSet, SeenNode
from ethp2p.enr import EthEntry, Record
from ethp2p.enr.entries import ETH, IP, IP6, SNAP, TCP, UDP, Entry
from tests.cli.support import VerbCase

START = 1_700_000_000.0
MAINNET, SEPOLIA = networks.named("mainnet"), networks.named("sepolia")


def seen(number: int, entries: dict[Entry[Any], Any]) -> SeenNode:
    """With a score of its number, and thousands of seconds old as many."""
    key = PrivateKey.parse(number.to_bytes(32))
    last = START + 1000 * number
    return SeenNode(Record.sign(key, number, {TCP: 30303, UDP: 30303, **entries}), number, START, last, last)


def eth(network: networks.Network, number: int, time: int) -> dict[Entry[Any], Any]:
    fork_id = network.fork_id(number, time)
    return {ETH: EthEntry(fork_id.hash, fork_id.next)}


def node_set(*nodes: SeenNode) -> NodeSet:
    return NodeSet({node.record.node_id: node for node in nodes if node.record.node_id is not None})


NODES = (
    seen(1, {IP: ip_address("10.0.1.1"), **eth(MAINNET, 1 << 62, 1_800_000_000)}),
    seen(2, {IP: ip_address("10.0.0.2"), **eth(MAINNET, 0, 0)}),
    seen(3, {IP: ip_address("10.0.1.3"), SNAP: True}),
    seen(4, {IP6: ip_address("2001:db8::4"), **eth(SEPOLIA, 0, 0)}),
    seen(5, {Entry(b"snap", rlp.BYTES): b"x", Entry(b"eth", rlp.BYTES): b"x"}),
    SeenNode(seen(6, {}).record, 6),
    # Has missed Cancun.
    seen(7, {ETH: EthEntry(MAINNET.fork_id(1 << 62, 1_700_000_000).hash, 0)}),
)


class NodeSetTests(VerbCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.mktemp()
        node_set(*NODES).write(self.file)

    def test_info(self) -> None:
        text = self.works("nodeset", "info", self.file)
        self.assertEqual(
            text,
            "Set contains 7 nodes.\nENR attribute counts:\n       eth: 5\n        id: 7\n        ip: 3\n       ip6: 1\n"
            " secp256k1: 7\n      snap: 2\n       tcp: 7\n       udp: 7\n",
        )
        value = self.value("nodeset", "info", self.file)
        self.assertEqual((value["nodes"], value["attributes"]["snap"]), (7, 2))

    def test_info_of_none(self) -> None:
        empty = self.mktemp()
        NodeSet({}).write(empty)
        self.assertEqual(self.works("nodeset", "info", empty), "Set contains 0 nodes.\nENR attribute counts:\n")
        self.assertIn("no such file", self.fails(1, "nodeset", "info", empty + "x"))

    def test_filters(self) -> None:
        for args, numbers in (
            ((), [1, 2, 3, 4, 5, 6, 7]),
            (("-limit", "2"), [6, 7]),
            (("-limit", "0"), []),
            (("-limit", "-1"), [1, 2, 3, 4, 5, 6, 7]),
            (("-ip", "10.0.1.0/24"), [1, 3]),
            (("-ip", "2001:db8::/32"), [4]),
            (("-min-age", "1h"), [4, 5, 7]),
            (("-min-age", "4000"), [4, 5, 7]),
            (("-eth-network", "mainnet"), [1, 2, 7]),
            (("--eth-network", "sepolia"), [4]),
            (("-snap",), [3]),
            (("-snap", "-ip", "10.0.0.2/32"), []),
            (("-eth-network", "mainnet", "--limit", "1"), [7]),
        ):
            text = self.works("nodeset", "filter", self.file, *args)
            self.assertEqual(sorted(node["seq"] for node in json.loads(text).values()), numbers, args)

    def test_what_is_left_is_as_it_was(self) -> None:
        out = self.mktemp()
        with open(out, "w") as file:
            file.write(self.works("nodeset", "filter", self.file))
        self.assertEqual(NodeSet.read(out), NodeSet.read(self.file))

    def test_ties(self) -> None:
        """The same nodes every time."""
        alike = node_set(*(SeenNode(node.record, 1) for node in NODES))
        best = nodesets.select(alike, [], 3)
        self.assertEqual(list(best.nodes), sorted(alike.nodes)[:3])

    def test_library(self) -> None:
        chosen = nodesets.select(
            node_set(*NODES), [nodesets.within(ip_network("10.0.0.0/8")), nodesets.seen_for(2000.0)], 1
        )
        self.assertEqual([node.score for node in chosen.nodes.values()], [3])
