"""
Tables of rounds for the two checkpoints, and the matrix of what binds whom.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import DisconnectReason
from ethp2p.peers import admission
from ethp2p.peers.admission import (
    MATRIX,
    REASONS,
    Candidate,
    Census,
    Kind,
    Refusal,
    Rule,
    add_peer,
    blocks_of,
    post_handshake,
)
from ethp2p.peers.policy import Policy

HOST = "95.33.21.2"

#: One connection of each kind, with nothing wrong.
CANDIDATES = {
    Kind.DIALED: Candidate(b"\x01" * 32, HOST, False, False, False, "toy/1", ("toy/1",)),
    Kind.STATIC: Candidate(b"\x01" * 32, HOST, False, False, True, "toy/1", ("toy/1",)),
    Kind.INBOUND: Candidate(b"\x01" * 32, HOST, True, False, False, "toy/1", ("toy/1",)),
    Kind.TRUSTED: Candidate(b"\x01" * 32, HOST, True, True, False, "toy/1", ("toy/1",)),
}

#: What breaks each rule, and no other, for somebody: census, policy, ban, and what is other about the candidate.
FAULTS: dict[Rule, dict[str, Any]] = {
    Rule.NETRESTRICT: {"policy": Policy(netrestrict="10.0.0.0/8")},
    Rule.BANNED: {"banned": "sent nonsense"},
    Rule.USELESS: {"candidate": {"shared": ()}},
    Rule.CLIENT_NAME: {"policy": Policy(refuse_clients=["^toy"])},
    Rule.TOO_MANY_PEERS: {"census": Census(peers=50)},
    Rule.TOO_MANY_INBOUND: {"census": Census(peers=34, inbound=34)},
    Rule.PER_IP: {"census": Census(peers=2, same_ip=2), "policy": Policy(max_peers_per_ip=2)},
    Rule.PER_SUBNET: {"census": Census(peers=3, same_subnet=3), "policy": Policy(max_peers_per_subnet=3)},
}
#: Asked only when Hello is known.
LATE = {Rule.USELESS, Rule.CLIENT_NAME}
#: Decided elsewhere: at the door, by the service, by the roster.
ELSEWHERE = {Rule.THROTTLED, Rule.BUSY, Rule.QUITTING, Rule.SELF, Rule.ALREADY_CONNECTED, Rule.TIE}


def ask(checkpoint: Any, kind: Kind, fault: dict[str, Any]) -> Refusal | None:
    candidate = attrs.evolve(CANDIDATES[kind], **fault.get("candidate", {}))
    census, policy = fault.get("census", Census()), fault.get("policy", Policy())
    refusal: Refusal | None = checkpoint(candidate, census, policy, fault.get("banned", ""))
    return refusal


class MatrixTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every rule is in the matrix and has a reason; each is tried here or decided elsewhere."""
        self.assertEqual((set(MATRIX), set(REASONS)), (set(Rule), set(Rule)))
        self.assertEqual(set(FAULTS) | ELSEWHERE, set(Rule))
        self.assertEqual([rule.value for rule in Rule], [rule.name.lower() for rule in Rule])

    def test_kinds(self) -> None:
        """Trust is above all else, and a static peer that calls us is a caller."""
        for inbound, trusted, static, kind in [
            (False, False, False, Kind.DIALED),
            (False, False, True, Kind.STATIC),
            (True, False, False, Kind.INBOUND),
            (True, False, True, Kind.INBOUND),
            (False, True, False, Kind.TRUSTED),
            (False, True, True, Kind.TRUSTED),
            (True, True, False, Kind.TRUSTED),
            (True, True, True, Kind.TRUSTED),
        ]:
            self.assertIs(Candidate(b"", HOST, inbound, trusted, static).kind, kind)

    def test_matrix(self) -> None:
        """Each rule binds those that the matrix says, at the checkpoints where it can be known."""
        for kind in Kind:
            self.assertIsNone(ask(post_handshake, kind, {}))
            self.assertIsNone(ask(add_peer, kind, {}))
            for rule, fault in FAULTS.items():
                for checkpoint in (post_handshake, add_peer):
                    bound = kind in MATRIX[rule] and not (rule in LATE and checkpoint is post_handshake)
                    refusal = ask(checkpoint, kind, fault)
                    self.assertEqual(refusal is not None, bound, (rule, kind, checkpoint))
                    if refusal is not None:
                        self.assertEqual((refusal.rule, refusal.reason), (rule, REASONS[rule]))

    def test_documented(self) -> None:
        """The table in the module's docstring is the matrix."""
        lines = (admission.__doc__ or "").splitlines()
        start = next(number for number, line in enumerate(lines) if line.split()[:1] == ["rule"])
        columns = {kind: lines[start].index(kind.value) for kind in Kind}
        told = {}
        for line in lines[start + 1 :]:
            if not line.strip():
                break
            told[Rule(line.split()[0])] = {kind for kind, at in columns.items() if line[at : at + 3] == "yes"}
        self.assertEqual(told, {rule: set(kinds) for rule, kinds in MATRIX.items()})


class CheckpointTests(SynchronousTestCase):
    def test_edges(self) -> None:
        """One place fewer, and there is room."""
        for kind, census, policy, rule in [
            (Kind.DIALED, Census(peers=49), Policy(), None),
            (Kind.DIALED, Census(peers=50), Policy(), Rule.TOO_MANY_PEERS),
            (Kind.DIALED, Census(peers=51), Policy(), Rule.TOO_MANY_PEERS),
            (Kind.DIALED, Census(peers=34, inbound=34), Policy(), None),
            (Kind.INBOUND, Census(peers=33, inbound=33), Policy(), None),
            (Kind.INBOUND, Census(peers=34, inbound=34), Policy(), Rule.TOO_MANY_INBOUND),
            (Kind.INBOUND, Census(peers=50, inbound=34), Policy(), Rule.TOO_MANY_PEERS),
            (Kind.INBOUND, Census(), Policy(max_peers=1), Rule.TOO_MANY_INBOUND),  # the one place is for dialing
            (Kind.DIALED, Census(), Policy(max_peers=1), None),
            (Kind.DIALED, Census(), Policy(max_peers=0), Rule.TOO_MANY_PEERS),
            (Kind.STATIC, Census(), Policy(max_peers=0), Rule.TOO_MANY_PEERS),
            (Kind.TRUSTED, Census(), Policy(max_peers=0), None),
            (Kind.INBOUND, Census(same_ip=1, same_subnet=1), Policy(), None),  # 0 sets no limit
            (Kind.INBOUND, Census(same_ip=1), Policy(max_peers_per_ip=2), None),
            (Kind.STATIC, Census(same_ip=2), Policy(max_peers_per_ip=2), Rule.PER_IP),
            (Kind.DIALED, Census(same_ip=1, same_subnet=2), Policy(max_peers_per_subnet=2), Rule.PER_SUBNET),
        ]:
            refusal = post_handshake(CANDIDATES[kind], census, policy)
            self.assertIs(refusal and refusal.rule, rule, (kind, census))

    def test_what_comes_first(self) -> None:
        """With everything wrong at once, what cannot change is told before what can; trust leaves the former."""
        wrong = {
            "candidate": {"shared": ()},
            "census": Census(99, 99, 99, 99),
            "policy": Policy(
                netrestrict="10.0.0.0/8", refuse_clients=["toy"], max_peers_per_ip=1, max_peers_per_subnet=1
            ),
            "banned": "nonsense",
        }
        told = []
        for fix in (
            {"policy": Policy(refuse_clients=["toy"], max_peers_per_ip=1, max_peers_per_subnet=1)},
            {"banned": ""},
            {"candidate": {}},
            {"policy": Policy(max_peers_per_ip=1, max_peers_per_subnet=1)},
            {"census": Census(1, 99, 99, 99)},
            {"census": Census(1, 1, 99, 99)},
            {"census": Census(1, 1, 0, 99)},
            {"census": Census(1, 1, 0, 0)},
        ):
            refusal = ask(add_peer, Kind.INBOUND, wrong)
            assert refusal is not None
            told.append(refusal.rule)
            wrong.update(fix)
        self.assertEqual(
            told,
            [
                Rule.NETRESTRICT,
                Rule.BANNED,
                Rule.USELESS,
                Rule.CLIENT_NAME,
                Rule.TOO_MANY_PEERS,
                Rule.TOO_MANY_INBOUND,
                Rule.PER_IP,
                Rule.PER_SUBNET,
            ],
        )
        self.assertIsNone(ask(add_peer, Kind.INBOUND, wrong))

    def test_words(self) -> None:
        """An operator reads which number it was."""
        for rule, words in {
            Rule.NETRESTRICT: "95.33.21.2 is outside 10.0.0.0/8",
            Rule.BANNED: "banned: sent nonsense",
            Rule.USELESS: "no capability in common",
            Rule.CLIENT_NAME: "clients like '^toy' are refused",
            Rule.TOO_MANY_PEERS: "all 50 places are taken",
            Rule.TOO_MANY_INBOUND: "all 34 places for callers are taken",
            Rule.PER_IP: "2 peers are at 95.33.21.2 already",
            Rule.PER_SUBNET: "3 peers are in the subnet of 95.33.21.2 already",
        }.items():
            refusal = ask(add_peer, Kind.INBOUND, FAULTS[rule])
            assert refusal is not None
            self.assertEqual(refusal.detail, words)

    def test_reasons(self) -> None:
        """Who finds no room hears that there are too many, never silence."""
        full = {rule for rule, reason in REASONS.items() if reason is DisconnectReason.TOO_MANY_PEERS}
        self.assertEqual(
            full - {Rule.THROTTLED, Rule.BUSY},
            {Rule.TOO_MANY_PEERS, Rule.TOO_MANY_INBOUND, Rule.PER_IP, Rule.PER_SUBNET},
        )

    def test_no_address(self) -> None:
        """What has no address is in no network."""
        for host in ("", "a name"):
            candidate = attrs.evolve(CANDIDATES[Kind.TRUSTED], host=host)
            refusal = post_handshake(candidate, Census(), Policy(netrestrict="0.0.0.0/0"))
            assert refusal is not None
            self.assertEqual(refusal.detail, f"{host or 'no address'} is outside 0.0.0.0/0")
            self.assertIsNone(post_handshake(candidate, Census(), Policy()))


class BlockTests(SynchronousTestCase):
    def test_same(self) -> None:
        """Which hosts share an address, and which a subnet: an IPv4 /24, an IPv6 /64."""
        for one, other, same_ip, same_subnet in [
            ("95.33.21.2", "95.33.21.2", True, True),
            ("95.33.21.2", "95.33.21.200", False, True),
            ("95.33.21.2", "95.33.22.2", False, False),
            ("95.33.21.2", "::ffff:95.33.21.2", True, True),
            ("2a01:4f8::1", "2a01:04f8:0::0001", True, True),
            ("2a01:4f8::1", "2a01:4f8:0:0:ffff::1", False, True),
            ("2a01:4f8::1", "2a01:4f8:0:1::1", False, False),
        ]:
            left, right = blocks_of(one), blocks_of(other)
            assert left is not None and right is not None
            self.assertEqual((left[0] == right[0], left[1] == right[1]), (same_ip, same_subnet), (one, other))

    def test_exempt(self) -> None:
        """The local network is, and what is no address."""
        for host in ("127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.1.1", "::1", "fe80::1", "fd00::1", "", "name"):
            self.assertIsNone(blocks_of(host), host)
