"""
What may be set, and what may not.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Netrestrict
from ethp2p.errors import ConfigError
from ethp2p.peers.policy import Policy


class PolicyTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """geth's figures, where it has them."""
        policy = Policy()
        self.assertEqual((policy.max_peers, policy.dial_ratio, policy.max_pending), (50, 3, 50))
        self.assertEqual((policy.inbound_throttle, policy.throttle_lan), (30.0, False))
        self.assertEqual((policy.min_peers, policy.max_peers_per_ip, policy.max_peers_per_subnet), (3, 0, 0))
        self.assertEqual((policy.netrestrict, policy.refuse_clients, dict(policy.weights)), (None, (), {}))

    def test_shares(self) -> None:
        """MaxPeers / DialRatio places for those we call, at least one; the rest for callers."""
        for most, ratio, dialed, inbound in [
            (50, 3, 16, 34),
            (50, 2, 25, 25),
            (50, 100, 1, 49),
            (2, 3, 1, 1),
            (1, 3, 1, 0),
            (0, 3, 0, 0),
            (9, 1, 9, 0),
        ]:
            policy = Policy(max_peers=most, dial_ratio=ratio)
            self.assertEqual((policy.max_dialed, policy.max_inbound), (dialed, inbound), (most, ratio))

    def test_few(self) -> None:
        """Nobody has to set min_peers for a small node; who does, hears of a contradiction."""
        for most, fewest in [(0, 0), (2, 2), (3, 3), (50, 3)]:
            self.assertEqual(Policy(max_peers=most).min_peers, fewest)
        self.assertEqual(Policy(max_peers=4, min_peers=4).min_peers, 4)

    def test_bad(self) -> None:
        """One line that begins with the setting's name."""
        table: list[tuple[dict[str, Any], str]] = [
            ({"max_peers": -1}, "max_peers: -1 is not from 0 to 100,000"),
            ({"max_peers": 100_001}, "max_peers: 100001 is not from 0 to 100,000"),
            ({"max_peers": 2.0}, "max_peers: 2.0 is not a whole number"),
            ({"max_peers": True}, "max_peers: True is not a whole number"),
            ({"max_peers": "9"}, "max_peers: '9' is not a whole number"),
            ({"max_peers": 2, "min_peers": 3}, "min_peers: 3 is over max_peers, which is 2"),
            ({"dial_ratio": 0}, "dial_ratio: 0 is not from 1 to 100,000"),
            ({"max_pending": 0}, "max_pending: 0 is not from 1 to 10,000"),
            ({"max_peers_per_ip": -1}, "max_peers_per_ip: -1 is not from 0 to 100,000"),
            ({"max_peers_per_subnet": None}, "max_peers_per_subnet: None is not a whole number"),
            ({"inbound_throttle": float("nan")}, "inbound_throttle: nan is not a number"),
            ({"inbound_throttle": float("inf")}, "inbound_throttle: inf is not a number"),
            ({"inbound_throttle": -0.5}, "inbound_throttle: -0.5 is not from 0 to 3,600"),
            ({"throttle_lan": 1}, "throttle_lan: 1 is not true or false"),
            ({"netrestrict": "10.0.0.0/8,x"}, "netrestrict: 'x' is not a network such as 10.0.0.0/8"),
            ({"netrestrict": 10}, "netrestrict: 10 is not a list of networks such as 10.0.0.0/8"),
            ({"refuse_clients": "Geth"}, "refuse_clients: 'Geth' is not a list of patterns"),
            ({"refuse_clients": [1]}, "refuse_clients: [1] is not a list of patterns"),
            ({"refuse_clients": ["a", "(b"]}, "refuse_clients: the pattern '(b': missing ) at position 2"),
            ({"weights": [1]}, "weights: [1] is not a table of offences and merits with their points"),
            ({"disconnect_below": 51}, "disconnect_below: 51 is not from 0 to 50"),
            ({"ban_below": 21}, "ban_below: 21 is over disconnect_below, 20"),
            ({"ban_seconds": 0}, "ban_seconds: 0 is not from 1 to 31,536,000"),
            ({"reputation_dry_run": "no"}, "reputation_dry_run: 'no' is not true or false"),
            ({"rotate": None}, "rotate: None is not true or false"),
        ]
        tried = {name for values, _ in table for name in values}
        self.assertEqual({field.name for field in attrs.fields(Policy)} - tried, set())
        for values, line in table:
            for make in (Policy, Policy().changed):
                self.assertEqual(str(self.assertRaises(ConfigError, make, **values)), line)
        line = str(self.assertRaises(ConfigError, Policy, weights={"rudeness": 1}))
        self.assertTrue(line.startswith("weights: ") and "'rudeness'" in line, line)

    def test_converted(self) -> None:
        """Settings may come as JSON gives them."""
        policy = Policy(netrestrict="10.0.0.0/8", refuse_clients=["bot"], weights={"timeout": 2}, inbound_throttle=5)
        self.assertEqual(policy.netrestrict, Netrestrict.parse("10.0.0.0/8"))
        self.assertEqual((policy.refuse_clients, dict(policy.weights)), (("bot",), {"timeout": 2}))

    def test_frozen(self) -> None:
        """Nobody changes a policy behind the household's back."""
        weights = {"timeout": 2.0}
        policy = Policy(weights=weights)
        weights["timeout"] = 3.0
        self.assertEqual(policy.weights["timeout"], 2.0)
        self.assertFalse(hasattr(policy.weights, "__setitem__"))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, policy, "max_peers", 1)

    def test_changed(self) -> None:
        """All or nothing."""
        policy = Policy()
        after = policy.changed(max_peers=9, dial_ratio=9)
        self.assertEqual((after.max_peers, after.dial_ratio, after.max_pending), (9, 9, 50))
        self.assertRaises(ConfigError, policy.changed, max_peers=9, dial_ratio=0)
        self.assertEqual((policy.max_peers, policy.dial_ratio), (50, 3))
        for name, line in [
            ("max_peer", "max_peer: no such setting; did you mean max_peers?"),
            ("colour", "colour: no such setting"),
        ]:
            self.assertEqual(str(self.assertRaises(ConfigError, policy.changed, **{name: 1})), line)

    def test_refuses(self) -> None:
        """The pattern is found anywhere in the name, as BSC's PeerFilterPatterns are."""
        policy = Policy(refuse_clients=["Geth/v1.4.9.*", "(?i)bot", "^besu/.*-SNAPSHOT$"])
        for client, pattern in [
            ("Geth/v1.4.9-beta/linux-amd64/go1.22", "Geth/v1.4.9.*"),
            ("Geth/v1.4.90", "Geth/v1.4.9.*"),
            ("Geth/v1.5.0", None),
            ("SnoopBot/1.0", "(?i)bot"),
            ("besu/v25.1-SNAPSHOT", "^besu/.*-SNAPSHOT$"),
            ("besu/v25.1-SNAPSHOT/linux", None),
            ("", None),
        ]:
            self.assertEqual(policy.refuses(client), pattern, client)

    def test_together(self) -> None:
        """All patterns are searched for in every name, so their steps are counted together."""
        many = ["a{100}"] * 5
        self.assertEqual(len(Policy(refuse_clients=many).refuse_clients), 5)
        line = str(self.assertRaises(ConfigError, Policy, refuse_clients=[*many, "b{13}"]))
        self.assertEqual(line, "refuse_clients: the patterns have 513 steps together, more than 512")
