"""
How a node's household is shown.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli import household

ID = "0123456789abcdef" * 4
ENODE = f"enode://{'ab' * 64}@10.0.0.2:30303"
PEER: dict[str, Any] = {
    "enode": ENODE,
    "id": ID,
    "name": "Geth/v1.17.5",
    "caps": ["eth/68", "eth/69"],
    "network": {
        "localAddress": "10.0.0.1:30303",
        "remoteAddress": "10.0.0.2:51234",
        "inbound": True,
        "trusted": True,
        "static": True,
    },
    "protocols": {"eth": {"version": 69}, "snap": "handshake"},
}
BAN: dict[str, Any] = {
    "scope": "ip",
    "subject": "192.0.2.1",
    "since": 1_700_000_000,
    "until": 1_700_043_200,
    "reason": "floods",
    "by": "operator",
}
KNOWN: dict[str, Any] = {
    "subject": ID,
    "id": ID,
    "verdict": "It is no peer now: it had too many",
    "next": "It is called again in 35 s.",
    "enode": ENODE,
    "client": "Geth/v1.17.5",
    "capabilities": ["eth/69", "snap/1"],
    "connected": None,
    "attempts": [
        {
            "began": 1_700_000_100.5,
            "address": "10.0.0.2:30303",
            "inbound": False,
            "stages": [{"stage": "tcp", "seconds": 0.012}, {"stage": "auth", "seconds": 0.05}],
            "cause": "too_many_peers",
            "words": "the peer disconnected: too many peers",
        },
        {
            "began": 1_700_000_000,
            "address": "10.0.0.2:30303",
            "inbound": False,
            "stages": [],
            "cause": "refused",
            "words": "nobody listens there",
        },
        {"began": 1_699_999_000, "address": "10.0.0.2:5", "inbound": True, "stages": [], "cause": None, "words": ""},
    ],
    "refusals": [{"at": 1_699_999_000.5, "address": "10.0.0.2:5", "rule": "banned", "words": "banned: floods"}],
    "score": 43.4,
    "ledger": [
        {"what": "TIMEOUT", "delta": -7.04, "score": 43.4, "evidence": "GetBlockHeaders in 5 s", "ago": 12.3},
        {"what": "useful_data", "delta": 0.5, "score": 50.44, "evidence": "", "ago": 7300.0},
    ],
    "ban": BAN,
}
#: What would wipe a terminal.
NASTY = "\x1b[2J\r\nme"
TAMED = r"\x1b[2J\r\nme"


class PeerTests(SynchronousTestCase):
    def test_peers(self) -> None:
        dialed = {**PEER, "id": "f" * 64, "name": "x" * 200, "protocols": {}}
        dialed["network"] = {"remoteAddress": "[2001:db8::1]:30303", "inbound": False, "trusted": False}  # older geth
        self.assertEqual(
            list(household.peer_lines([PEER, dialed])),
            [
                "id                     flags           address              speaks  client",
                "0123456789abcdef  in   static,trusted  10.0.0.2:51234       eth/69  Geth/v1.17.5",
                f"ffffffffffffffff  out                  [2001:db8::1]:30303          {'x' * 40}",
                "2 peers: 1 in, 1 out",
            ],
        )

    def test_none(self) -> None:
        self.assertEqual(list(household.peer_lines([])), ["no peers; 'ethp2p doctor' says what is in the way"])

    def test_strangers(self) -> None:
        lines = list(household.peer_lines([{**PEER, "name": NASTY}]))
        self.assertTrue(lines[1].endswith(TAMED), lines)


class BanTests(SynchronousTestCase):
    def test_bans(self) -> None:
        lasting = {**BAN, "scope": "node", "subject": ID, "until": None, "by": "reputation", "reason": NASTY}
        self.assertEqual(
            list(household.ban_lines([BAN, lasting])),
            [
                f"scope  subject{' ' * 57}  until                    by          reason",
                f"ip     192.0.2.1{' ' * 55}  2023-11-15 10:13:20 UTC  operator    floods",
                f"node   {ID}  forever                  reputation  {TAMED}",
            ],
        )
        self.assertEqual(list(household.ban_lines([])), ["no bans"])

    def test_sentence(self) -> None:
        for ban, words in (
            (BAN, "banned until 2023-11-15 10:13:20 UTC, by operator: floods"),
            ({**BAN, "until": None, "reason": ""}, "banned forever, by operator"),
            ({**BAN, "until": None, "kept": True}, "banned forever, by operator: floods"),
            (
                {**BAN, "until": None, "kept": False},
                "banned forever, by operator: floods; but it cannot be kept, and is over when the node stops",
            ),
            ({**BAN, "until": 1e300}, "banned until time 1e+300, by operator: floods"),
        ):
            self.assertEqual(household.ban_sentence(ban), words)


class FunnelTests(SynchronousTestCase):
    def test_funnel(self) -> None:
        funnel = {
            "stages": {"found": 40, "fork_ok": 38, "tcp": 20, "auth": 20, "hello": 19, "status": 4, "minute": 3},
            "failures": {"tcp": {"refused": 6, "timeout": 12}, "hello": {"too_many_peers": 15}, "odd": {"x": 1}},
        }
        self.assertEqual(
            list(household.funnel_lines(funnel)),
            [
                "stage    calls  ended before it",
                "found    40",
                "fork ok  38",
                "TCP      20     12 timeout, 6 refused",
                "auth     20",
                "Hello    19     15 too many peers",
                "Status   4",
                "1 min    3",
                "odd      0      1 x",
            ],
        )
        self.assertEqual(len(list(household.funnel_lines({"stages": {}, "failures": {}}))), 8)


class ExplainTests(SynchronousTestCase):
    def test_explain(self) -> None:
        self.assertEqual(
            list(household.explain_lines(KNOWN)),
            [
                "It is no peer now: it had too many.",
                "It is called again in 35 s.",
                "Its client is Geth/v1.17.5, offers eth/69 snap/1.",
                f"Its id is {ID}.",
                f"Its URL is {ENODE} .",
                "Calls, newest first:",
                "  2023-11-14 22:15:00 UTC we called 10.0.0.2:30303: TCP after 0.01 s, auth after 0.05 s; "
                "the peer disconnected: too many peers",
                "  2023-11-14 22:13:20 UTC we called 10.0.0.2:30303: refused (nobody listens there)",
                "  2023-11-14 21:56:40 UTC it called us from 10.0.0.2:5: not over yet",
                "Not let in when it called, newest first:",
                "  2023-11-14 21:56:40 UTC from 10.0.0.2:5: banned: floods",
                "Its score is 43 of 100.",
                "  12 s ago: -7.0 to 43.4, timeout (GetBlockHeaders in 5 s)",
                "  2 h ago: +0.5 to 50.4, useful data",
                "192.0.2.1 is banned until 2023-11-15 10:13:20 UTC, by operator: floods.",
            ],
        )

    def test_connected(self) -> None:
        known = {**KNOWN, "verdict": "It is a peer.", "next": "", "connected": PEER, "ban": None}
        known |= {"attempts": [], "refusals": []}
        lines = list(household.explain_lines({**known, "ledger": []}))
        self.assertEqual(
            lines[:2], ["It is a peer.", f"It called us from {self.remote}; {self.speaks}; static and trusted."]
        )
        self.assertEqual(
            lines[-2:], ["There was no call, neither way.", "Its score is 43 of 100, and nothing was booked."]
        )
        out = {
            **PEER,
            "network": {**PEER["network"], "inbound": False, "static": False, "trusted": False},
            "protocols": {},
        }
        lines = list(household.explain_lines({**known, "connected": out}))
        self.assertEqual(lines[1], f"We called it at {self.remote}; speaks nothing yet with us.")

    remote = "10.0.0.2:51234"
    speaks = "speaks eth/69 with us"

    def test_unknown(self) -> None:
        """Of somebody never heard of there is little to say."""
        nothing = dict.fromkeys(KNOWN)
        nothing |= {"verdict": "Nothing is known of it", "attempts": [], "ledger": []}
        self.assertEqual(
            list(household.explain_lines(nothing)), ["Nothing is known of it.", "There was no call, neither way."]
        )

    def test_sentences(self) -> None:
        """They begin and end as sentences do, whatever they were put together from."""
        for said, shown in (
            ("it is here", "It is here."),
            ("Nobody listens: refused..", "Nobody listens: refused."),
            ("too long ...", "Too long ..."),
            ("is it?", "Is it?"),
        ):
            lines = list(household.explain_lines({**dict.fromkeys(KNOWN), "verdict": said}))
            self.assertEqual(lines[0], shown)

    def test_strangers(self) -> None:
        attempt = {**KNOWN["attempts"][0], "words": NASTY, "address": NASTY}
        entry = {**KNOWN["ledger"][0], "evidence": NASTY, "what": NASTY}
        words = dict.fromkeys(("verdict", "next", "client", "id", "enode"), NASTY)
        known = {**KNOWN, **words, "capabilities": [NASTY], "attempts": [attempt], "ledger": [entry]}
        known["refusals"] = [{**KNOWN["refusals"][0], "words": NASTY, "address": NASTY}]
        for line in household.explain_lines({**known, "ban": {**BAN, "reason": NASTY, "subject": NASTY}}):
            self.assertTrue(line.isprintable(), line)


class OtherTests(SynchronousTestCase):
    def test_findings(self) -> None:
        well = {"name": "clock", "ok": True, "words": "right within 1 s"}
        ill = {"name": "network id", "ok": False, "words": "5, and not 1"}
        self.assertEqual(
            list(household.finding_lines([well, ill])),
            ["ok     clock       right within 1 s", "FAULT  network id  5, and not 1", "1 of 2 to look after"],
        )
        self.assertEqual(list(household.finding_lines([well]))[-1], "all is well")

    def test_settings(self) -> None:
        settings = {"max-peers": 50, "netrestrict": None, "weights": {"timeout": 7}}
        self.assertEqual(
            list(household.setting_lines(settings)),
            ["max-peers    50", "netrestrict  null", 'weights      {"timeout": 7}'],
        )
