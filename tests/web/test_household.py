"""
The household over JSON-RPC.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.web.facade import Finding
from ethp2p.web.household import MAX_REASON, MAX_SUBJECT
from ethp2p.web.service import nodeRegistry
from tests.web.support import FakeNode

INVALID = -32602


class HouseholdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = FakeNode()
        self.registry = nodeRegistry(self.node)

    def ask(self, method: str, params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"ethp2p_{method}", "params": params})
        return json.loads(self.successResultOf(self.registry.answer(body.encode())))

    def call(self, method: str, *params: object) -> Any:
        return self.ask(method, params)["result"]

    def refused(self, method: str, *params: object) -> None:
        self.assertEqual(self.ask(method, params)["error"]["code"], INVALID, (method, params))

    def test_names(self) -> None:
        names = {name for name in self.registry.names() if name.startswith("ethp2p_")}
        expected = "explainPeer ban unban bans dialFunnel setConfig doctor subscribe unsubscribe"
        self.assertEqual(names, {f"ethp2p_{name}" for name in expected.split()})

    def test_modules(self) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"method":"rpc_modules"}'
        modules = json.loads(self.successResultOf(self.registry.answer(body)))["result"]
        self.assertEqual(modules, dict.fromkeys(("admin", "ethp2p", "net", "rpc", "web3"), "1.0"))

    def test_explain(self) -> None:
        self.assertEqual(self.call("explainPeer", "192.0.2.1")["verdict"], "it was never heard of")
        for subject in ("x", "", 5, None, [], "a" * (MAX_SUBJECT + 1)):
            self.refused("explainPeer", subject)

    def test_ban(self) -> None:
        ban = {"scope": "ip", "subject": "192.0.2.1", "seconds": 60, "reason": "rude"}
        self.assertEqual(self.call("ban", "192.0.2.1", 60, "rude"), ban)
        self.assertEqual(self.call("bans"), [ban])
        self.assertIs(self.call("unban", "192.0.2.1"), True)
        self.assertIs(self.call("unban", "192.0.2.1"), False)
        self.assertEqual(self.call("bans"), [])

    def test_ban_by_name_and_by_default(self) -> None:
        self.assertIsNone(self.call("ban", "192.0.2.1")["seconds"])
        named = self.ask("ban", {"subject": "192.0.2.2", "reason": "rude"})["result"]
        self.assertEqual((named["subject"], named["seconds"], named["reason"]), ("192.0.2.2", None, "rude"))

    def test_ban_refused(self) -> None:
        for subject, seconds, reason in (
            (5, 60, ""),
            ("", 60, ""),
            ("a" * (MAX_SUBJECT + 1), 60, ""),
            ("192.0.2.1", 0, ""),
            ("192.0.2.1", -1, ""),
            ("192.0.2.1", "60", ""),
            ("192.0.2.1", True, ""),
            ("192.0.2.1", 60, None),
            ("192.0.2.1", 60, "r" * (MAX_REASON + 1)),
        ):
            self.refused("ban", subject, seconds, reason)
        self.refused("unban", None)
        self.assertEqual(self.node.banned, {})
        self.call("ban", "a" * MAX_SUBJECT, 60, "r" * MAX_REASON)

    def test_funnel(self) -> None:
        self.assertEqual(self.call("dialFunnel")["failures"], {"tcp": {"refused": 2}})

    def test_set_config(self) -> None:
        self.assertEqual(self.call("setConfig", {"max-peers": 30}), {"max-peers": 30})
        self.assertEqual(self.ask("setConfig", {"values": {"max-peers": 20}})["result"], {"max-peers": 20})
        for values in ({"network": "sepolia"}, [], None, "max-peers"):
            self.refused("setConfig", values)
        self.assertEqual(self.node.settings, {"max-peers": 20})

    def test_doctor(self) -> None:
        self.node.findings = [Finding("clock", False, "it is 12 s late: let something set it")]
        found = {"name": "clock", "ok": False, "words": "it is 12 s late: let something set it"}
        self.assertEqual(self.call("doctor"), [found])
