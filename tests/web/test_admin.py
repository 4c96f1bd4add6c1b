"""
geth's method names and JSON shapes.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.enode import Node
from ethp2p.enr.entries import IP, TCP
from ethp2p.enr.record import Record
from ethp2p.errors import LocalProtocolError
from ethp2p.web import INodeFacade, IPeerInfo
from ethp2p.web.admin import adminRegistry
from tests.web.support import KEY, OTHER, FakeNode, FakePeer

URL = Node(OTHER.public_key, "10.0.0.2", 30303, 30303).url
RECORD = Record.sign(KEY, 7, {IP: IPv4Address("127.0.0.1"), TCP: 30303})


class AdminTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = FakeNode()
        self.registry = adminRegistry(self.node)

    def ask(self, method: str, *params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return json.loads(self.successResultOf(self.registry.answer(body.encode())))

    def call(self, method: str, *params: object) -> Any:
        return self.ask(method, *params)["result"]

    def test_the_fakes_are_true(self) -> None:
        verifyObject(INodeFacade, self.node)
        verifyObject(IPeerInfo, FakePeer())

    def test_names(self) -> None:
        names = {
            "admin": "addPeer addTrustedPeer nodeInfo peers removePeer removeTrustedPeer",
            "net": "listening peerCount version",
            "rpc": "modules",
            "web3": "clientVersion sha3",
        }
        self.assertEqual(
            self.registry.names(),
            tuple(f"{namespace}_{name}" for namespace, each in names.items() for name in each.split()),
        )

    def test_modules(self) -> None:
        self.assertEqual(self.call("rpc_modules"), {"admin": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0"})

    def test_node_info(self) -> None:
        self.node.node = Node.from_record(RECORD)
        self.assertEqual(
            self.call("admin_nodeInfo"),
            {
                "id": KEY.public_key.node_id.hex(),
                "name": "ethp2p/v0.1.0",
                "enode": f"enode://{KEY.public_key.raw.hex()}@127.0.0.1:30303?discport=0",
                "enr": RECORD.text,
                "ip": "127.0.0.1",
                "ports": {"discovery": 0, "listener": 30303},
                "listenAddr": "0.0.0.0:30303",
                "protocols": {"eth": {"network": 11155111}},
            },
        )

    def test_peers(self) -> None:
        self.node.connected = [FakePeer(), FakePeer(node=Node.from_record(RECORD), static=True, inbound=False)]
        plain, signed = self.call("admin_peers")
        self.assertEqual(
            plain,
            {
                "enode": URL,
                "id": OTHER.public_key.node_id.hex(),
                "name": "Geth/v1.17.5",
                "caps": ["eth/68", "eth/69"],
                "network": {
                    "localAddress": "127.0.0.1:30303",
                    "remoteAddress": "10.0.0.2:51234",
                    "inbound": True,
                    "trusted": False,
                    "static": False,
                },
                "protocols": {"eth": {"version": 69}},
            },
        )
        self.assertEqual(signed["enr"], RECORD.text)
        self.assertEqual((signed["network"]["static"], signed["network"]["inbound"]), (True, False))

    def test_add_and_remove(self) -> None:
        self.assertIs(self.call("admin_addPeer", URL), True)
        self.assertIs(self.call("admin_removePeer", URL), True)
        self.assertIs(self.call("admin_addTrustedPeer", URL), True)
        self.assertIs(self.call("admin_removeTrustedPeer", URL), True)
        self.assertEqual(self.node.calls, [("add", URL), ("remove", URL), ("trust", URL), ("untrust", URL)])
        self.node.full = True
        self.assertIs(self.call("admin_addPeer", RECORD.text), False)

    def test_addresses_that_are_none(self) -> None:
        for bad in ("", "enode://1234@1.2.3.4:5", "http://localhost", 5, None, [], {"url": URL}):
            for method in ("admin_addPeer", "admin_removePeer"):
                error = self.ask(method, bad)["error"]
                self.assertEqual(error["code"], -32602)
                self.assertNotIn("\n", error["message"])
        self.assertEqual(self.node.calls, [])

    def test_an_address_that_cannot_be_called(self) -> None:
        def refuse(node: Node) -> bool:
            raise LocalProtocolError("no address to call")

        self.node = FakeNode()
        registry = adminRegistry(self.node)
        self.patch(FakeNode, "addPeer", lambda self, node: refuse(node))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "admin_addPeer", "params": [URL]}).encode()
        error = json.loads(self.successResultOf(registry.answer(body)))["error"]
        self.assertEqual(error, {"code": -32000, "message": "no address to call"})

    def test_net(self) -> None:
        self.assertEqual(self.call("net_version"), "11155111")
        self.assertEqual(self.call("net_peerCount"), "0x0")
        self.node.connected = [FakePeer()] * 17
        self.assertEqual(self.call("net_peerCount"), "0x11")
        self.assertIs(self.call("net_listening"), True)

    def test_web3(self) -> None:
        self.assertEqual(self.call("web3_clientVersion"), "ethp2p/v0.1.0")
        self.assertEqual(
            self.call("web3_sha3", "0x68656c6c6f20776f726c64"),
            "0x47173285a8d7341e5e972fc677286384f802f8ef42a5ec5f03bbfa254cb01fad",
        )
        for bad in ("", "0x1", "68", "0xzz", 5, None):
            self.assertEqual(self.ask("web3_sha3", bad)["error"]["code"], -32602)
