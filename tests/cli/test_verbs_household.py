"""
The verbs that ask a running node: what they ask it, what they print, and how they end.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import succeed

from ethp2p.cli import running
from ethp2p.errors import ConfigError
from tests.cli.answering import URL, Answering
from tests.cli.support import VerbCase
from tests.cli.test_household import BAN, ENODE, ID, KNOWN, PEER

OTHER = {**PEER, "id": f"{ID[:20]}{'0' * 44}", "enode": ENODE.replace("ab", "cd")}


class HouseholdCase(VerbCase):
    def setUp(self) -> None:
        super().setUp()
        self.node = Answering()
        self.patch(running, "with_reactor", self.node.with_reactor)

    def serve(self, **results: Any) -> None:
        self.node.results = results
        self.node.serve()

    def run_main(self, *args: str) -> int:
        return super().run_main(*args, "--rpc", URL)

    def says(self, status: int, *args: str) -> str:
        """@return: the one line of a verb whose answer is yes or no."""
        self.assertEqual((self.run_main(*args), self.err.getvalue()), (status, ""))
        text = self.out.getvalue()
        self.assertEqual(text.count("\n"), 1)
        return text


class ListTests(HouseholdCase):
    def test_peers(self) -> None:
        self.serve(admin_peers=[PEER])
        self.assertEqual(self.works("peers").splitlines()[-1], "1 peer: 1 in, 0 out")
        self.assertEqual(self.value("peers"), [PEER])
        self.assertEqual(self.node.calls[0], ("admin_peers", []))

    def test_bans(self) -> None:
        self.serve(ethp2p_bans=[BAN])
        self.assertIn("floods", self.works("bans"))
        self.assertEqual(self.value("bans"), [BAN])

    def test_funnel(self) -> None:
        funnel = {"stages": {"found": 5}, "failures": {"tcp": {"refused": 5}}}
        self.serve(ethp2p_dialFunnel=funnel)
        self.assertIn("5 refused", self.works("funnel"))
        self.assertEqual(self.value("funnel"), funnel)

    def test_doctor(self) -> None:
        """The exit status tells whether there is something to do."""
        findings = [{"name": "clock", "ok": True, "words": "right"}]
        self.serve(ethp2p_doctor=findings)
        self.assertEqual(self.works("doctor"), "ok  clock  right\nall is well\n")
        self.assertEqual(self.value("doctor"), findings)
        findings.append({"name": "nat", "ok": False, "words": "our address is not known"})
        self.assertEqual((self.run_main("doctor"), self.err.getvalue()), (1, ""))
        self.assertIn("FAULT  nat", self.out.getvalue())
        self.assertEqual(self.run_main("doctor", "--json"), 1)
        self.assertEqual(json.loads(self.out.getvalue()), findings)


class DecisionTests(HouseholdCase):
    methods = (
        ("add", "admin_addPeer"),
        ("remove", "admin_removePeer"),
        ("trust", "admin_addTrustedPeer"),
        ("untrust", "admin_removeTrustedPeer"),
    )

    def test_done(self) -> None:
        self.serve(**{method: True for _, method in self.methods})
        for name, method in self.methods:
            self.assertTrue(self.says(0, "peer", name, ENODE))
            self.assertEqual(self.node.calls[-1], (method, [ENODE]))
            self.assertIs(self.value("peer", name, ENODE), True)

    def test_not_done(self) -> None:
        self.serve(**{method: False for _, method in self.methods})
        for name, _ in self.methods:
            self.assertIn("no", self.says(1, "peer", name, ENODE))
            self.assertEqual(self.says(1, "peer", name, ENODE, "--json"), "false\n")

    def test_by_id(self) -> None:
        """A node that is here needs no URL, and what the table shows of its id is enough."""
        self.serve(admin_peers=[PEER], admin_removePeer=True)
        for text in (ID, ID[:8], f"0x{ID.upper()}"):
            self.works("peer", "remove", text)
            self.assertEqual(self.node.calls[-1], ("admin_removePeer", [ENODE]))

    def test_by_id_of_the_past(self) -> None:
        self.serve(admin_peers=[], ethp2p_explainPeer=KNOWN, admin_addPeer=True)
        self.works("peer", "add", ID)
        self.assertEqual(self.node.calls[-2:], [("ethp2p_explainPeer", [ID]), ("admin_addPeer", [ENODE])])

    def test_unknown_id(self) -> None:
        self.serve(admin_peers=[PEER, OTHER], ethp2p_explainPeer={**KNOWN, "enode": None})
        for text, words in (
            ("f" * 64, "no URL is known"),
            ("f" * 16, "no URL is known"),
            (ID[:16], "2 peers have ids that begin with"),
        ):
            self.assertIn(words, self.fails(1, "peer", "remove", text))

    def test_refused(self) -> None:
        """The node's own words."""

        def refuse(url: str) -> bool:
            raise ConfigError("it has no address to call")

        self.serve(admin_addPeer=refuse)
        self.assertEqual(self.fails(1, "peer", "add", ENODE), "ethp2p: it has no address to call")


class BanTests(HouseholdCase):
    def test_ban(self) -> None:
        self.serve(ethp2p_ban=lambda *given: succeed(BAN))
        words = "192.0.2.1 is banned until 2023-11-15 10:13:20 UTC, by operator: floods\n"
        self.assertEqual(self.works("peer", "ban", "192.0.2.1"), words)
        self.assertEqual(self.value("peer", "ban", "192.0.2.0/24", "--for", "7d", "--reason", "floods"), BAN)
        asked = [params for _, params in self.node.calls]
        self.assertEqual(asked, [["192.0.2.1", 43200.0, ""], ["192.0.2.0/24", 7 * 86400.0, "floods"]])

    def test_times(self) -> None:
        self.serve(ethp2p_ban=BAN)
        for text, seconds in (
            ("forever", None),
            ("30m", 1800.0),
            ("2h", 7200.0),
            ("1d12h", 129600.0),
            ("90", 90.0),
            ("3650d", 3650 * 86400.0),
        ):
            self.works("peer", "ban", "192.0.2.1", "--for", text)
            self.assertEqual(self.node.calls[-1][1][1], seconds)
        for text in ("", "0", "0d", "-5", "3651d", "7dd", "d", "inf", "never", "9999999999d", "1d0s"):
            self.assertIn("--for", self.fails(2, "peer", "ban", "192.0.2.1", f"--for={text}"))

    def test_by_id(self) -> None:
        self.serve(ethp2p_ban=BAN, ethp2p_explainPeer=KNOWN, admin_peers=[PEER])
        for text in (ID, ID[:8]):
            self.works("peer", "ban", text)
            self.assertEqual(self.node.calls[-1][1][0], ID)
            self.works("peer", "explain", text)
            self.assertEqual(self.node.calls[-1], ("ethp2p_explainPeer", [ID]))
        self.assertIn("no peer has an id", self.fails(1, "peer", "ban", "f" * 16))

    def test_unban(self) -> None:
        self.serve(ethp2p_unban=lambda subject: succeed(subject == "192.0.2.1"))
        self.assertEqual(self.says(0, "peer", "unban", "192.0.2.1"), "the ban is lifted\n")
        self.assertEqual(self.says(1, "peer", "unban", "192.0.2.2"), "there is no such ban\n")
        self.assertEqual(self.says(1, "peer", "unban", "192.0.2.2", "--json"), "false\n")

    def test_explain(self) -> None:
        self.serve(ethp2p_explainPeer=KNOWN)
        self.assertIn("Its score is 43 of 100.", self.works("peer", "explain", "10.0.0.2"))
        self.assertEqual(self.value("peer", "explain", ENODE), KNOWN)
        self.assertEqual([params for _, params in self.node.calls], [["10.0.0.2"], [ENODE]])


class ConfigTests(HouseholdCase):
    def test_set(self) -> None:
        self.serve(ethp2p_setConfig=lambda values: succeed({"max-peers": 60, **values}))
        text = self.works("config", "set", "max-peers=60", "netrestrict=10.0.0.0/8", "a=b=c", "rotate=false", "x=NaN")
        self.assertEqual(text.splitlines()[0], "max-peers    60")
        values = {"max-peers": 60, "netrestrict": "10.0.0.0/8", "a": "b=c", "rotate": False, "x": "NaN"}
        self.assertEqual(self.node.calls[-1], ("ethp2p_setConfig", [values]))
        self.assertEqual(self.value("config", "set"), {"max-peers": 60})

    def test_mistakes(self) -> None:
        for text in ("max-peers", "=5", "="):
            self.assertIn("is not NAME=VALUE", self.fails(2, "config", "set", text))
        self.assertIn("max-peers is given twice", self.fails(1, "config", "set", "max-peers=5", "max-peers=6"))


class NobodyTests(HouseholdCase):
    verbs = (
        ("peers",),
        ("peer", "add", ENODE),
        ("peer", "remove", ID),
        ("peer", "ban", ID[:8]),
        ("peer", "unban", ID),
        ("peer", "explain", "10.0.0.2"),
        ("bans",),
        ("funnel",),
        ("doctor",),
        ("config", "set", "max-peers=5"),
    )

    def test_nobody(self) -> None:
        """A script can tell this from every other answer."""
        for words in self.verbs:
            line = self.fails(3, *words)
            self.assertTrue(line.startswith(f"ethp2p: no node answers at {URL} ("), line)
            self.assertIn("start one with 'twistd -n --pidfile= ethp2p'", line)

    def test_somebody_else(self) -> None:
        """What answers there is JSON-RPC of another kind."""
        for shape in (None, 5, "text", [1], [{"id": 5}]):
            self.node = Answering()
            self.patch(running, "with_reactor", self.node.with_reactor)
            names = ("admin_peers", "ethp2p_bans", "ethp2p_ban", "ethp2p_explainPeer", "ethp2p_doctor")
            self.serve(**dict.fromkeys((*names, "ethp2p_dialFunnel", "ethp2p_setConfig"), shape))
            for words in self.verbs:
                if words[:2] not in (("peer", "add"), ("peer", "unban")):  # what these hear is yes or no
                    self.assertIn("another shape", self.fails(3, *words), (shape, words))

    def test_datadir(self) -> None:
        self.assertEqual(VerbCase.run_main(self, "peers", "--datadir", "/nowhere"), 3)
        self.assertIn("no node answers at /nowhere/ethp2p.ipc", self.last_words())

    def test_usage(self) -> None:
        self.assertEqual(VerbCase.run_main(self, "peers", "--rpc", "https://127.0.0.1/"), 1)
        self.assertIn("neither http://", self.last_words())
        for words in (("peer",), ("peer", "ban"), ("config",), ("peer", "sing", "x")):
            self.fails(2, *words)
