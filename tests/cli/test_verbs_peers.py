"""
C{rlpx ping} and C{status}: what they print, and how they end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint

from ethp2p import networks
from ethp2p.chain import MemoryChain
from ethp2p.cli import running
from ethp2p.cli.greet import Findings
from ethp2p.errors import DisconnectReason, PeerDisconnected
from ethp2p.eth.messages import Status66
from ethp2p.networks import ForkId
from ethp2p.node import Node
from ethp2p.peers import Policy
from ethp2p.sandbox.chainmaker import ChainMaker
from tests.cli.support import NetworkCase
from tests.cli.test_greet import HELLO_OF_PEER
from tests.discovery.support import address, key

SEPOLIA = networks.named("sepolia")
ID = key(1).public_key.node_id.hex()
URL = f"enode://{key(1).public_key.raw.hex()}@{address(1)}:30303"


class PeerCase(NetworkCase):
    def start(self, chain: MemoryChain | None = None, **settings: Any) -> Node:
        host = self.network.host(address(1))
        settings.setdefault("policy", Policy(inbound_throttle=0))  # each verb calls anew
        listen = [TCP4ServerEndpoint(host, 30303)]
        node = Node(host, key(1), chain or MemoryChain(SEPOLIA), listen=listen, client="Peer/v1", **settings)
        node.startService()
        self.addCleanup(lambda: self.network.wait_for(node.stopService()))
        return node

    def leaves_nothing(self) -> None:
        """The last of the connection is still under way."""


class PingTests(PeerCase):
    def test_ping(self) -> None:
        self.start()
        self.assertEqual(
            self.works("rlpx", "ping", URL).splitlines(),
            [
                f"Node ID:      {ID}",
                "Name:         Peer/v1",
                "Caps:         eth/66 eth/67 eth/68 eth/69",
                "Version:      5",
                "Listen port:  30303",
            ],
        )
        self.assertEqual(
            self.value("rlpx", "ping", URL),
            {
                "id": ID,
                "name": "Peer/v1",
                "caps": ["eth/66", "eth/67", "eth/68", "eth/69"],
                "version": 5,
                "listenPort": 30303,
            },
        )

    def test_nobody(self) -> None:
        self.assertIn("cannot be reached", self.fails(1, "rlpx", "ping", URL))
        self.fails(1, "rlpx", "ping", f"{address(1)}:30303")
        self.assertIn("no address to call", self.fails(1, "rlpx", "ping", URL.partition("@")[0]))

    def test_refused(self) -> None:
        self.start(policy=Policy(max_peers=0))
        self.assertEqual(self.fails(1, "rlpx", "ping", URL), "ethp2p: the peer disconnected: too many peers")

    def test_failures_are_one_line(self) -> None:
        def with_reactor(function: object) -> None:
            raise PeerDisconnected(DisconnectReason.TOO_MANY_PEERS)

        self.patch(running, "with_reactor", with_reactor)
        self.assertEqual(self.fails(1, "rlpx", "ping", URL), "ethp2p: the peer disconnected: too many peers")


class StatusTests(PeerCase):
    def test_status(self) -> None:
        self.start()
        genesis = SEPOLIA.genesis_hash.hex()
        self.assertEqual(
            self.works("status", URL).splitlines()[5:],
            [
                "Protocol:      eth/69",
                "Network ID:    11155111",
                f"Genesis:       {genesis}",
                "Fork ID:       fe3366e7/1735371",
                f"Head:          {genesis}, block 0; has blocks from 0",
                "Verdict:       on sepolia, and has not passed the fork of block 1735371 yet: it is syncing",
            ],
        )
        value = self.value("status", URL)
        self.assertEqual((value["id"], value["name"]), (ID, "Peer/v1"))
        self.assertEqual(
            value["eth"],
            {
                "version": 69,
                "networkId": 11155111,
                "genesis": f"0x{genesis}",
                "forkId": {"hash": "0xfe3366e7", "next": 1735371},
                "earliestBlock": 0,
                "latestBlock": 0,
                "latestBlockHash": f"0x{genesis}",
            },
        )
        self.assertEqual((value["network"], value["agrees"]), ("sepolia", True))

    def test_wanted_network(self) -> None:
        """The exit status says whether it goes with that."""
        self.start()
        self.assertIn("on sepolia, and has not passed", self.works("status", URL, "--network", "sepolia"))
        self.assertEqual(self.run_main("status", URL, "--network", "mainnet", "--json"), 1)
        self.assertEqual(self.err.getvalue(), "")
        value = json.loads(self.out.getvalue())
        self.assertEqual((value["agrees"], value["verdict"]), (False, "on sepolia, and not on mainnet"))

    def test_genesis_file(self) -> None:
        maker = ChainMaker(b"town")
        file = Path(self.mktemp())
        file.write_text(json.dumps(maker.genesis()))
        self.start(MemoryChain(networks.from_genesis(file)))
        self.assertIn("genesis is not known here", self.works("status", URL))
        self.assertTrue(self.value("status", URL, "--network", str(file))["agrees"])

    def test_older(self) -> None:
        """Up to eth/68 a Status tells of a head and its difficulty."""
        status = Status66(67, 1, 17, b"\x05" * 32, networks.named("mainnet").genesis_hash, ForkId(b"\1\2\3\4", 5))
        self.patch(running, "with_reactor", lambda function: Findings(HELLO_OF_PEER, 67, status))
        head = f"{'05' * 32}, total difficulty 17"
        self.assertIn(f"Head:          {head}", self.works("status", URL).splitlines())
        value = self.value("status", URL)
        self.assertEqual((value["eth"]["difficulty"], value["eth"]["head"]), (17, f"0x{'05' * 32}"))
        self.assertFalse(value["agrees"])

    def test_hello_and_no_more(self) -> None:
        """It is told who has refused us."""
        refused = Findings(HELLO_OF_PEER, 69, None, PeerDisconnected(DisconnectReason.TOO_MANY_PEERS))
        self.patch(running, "with_reactor", lambda function: refused)
        self.assertEqual(self.run_main("status", URL), 1)
        self.assertIn("Geth/v1.17.5", self.out.getvalue())
        self.assertEqual(self.last_words(), "ethp2p: the peer disconnected: too many peers")

    def test_nobody(self) -> None:
        self.assertIn("cannot be reached", self.fails(1, "status", URL))
        self.assertIn("no address to call", self.fails(1, "status", URL.partition("@")[0]))
        self.fails(1, "status", URL, "--nodekey", "nowhere")
