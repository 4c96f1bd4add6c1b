"""
The doctor: for each finding, facts of a node that is well, and facts of one that is not.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.doctor import Facts, examine, in_words, span
from ethp2p.networks import ForkId
from ethp2p.peers.backoff import Cause

SEPOLIA = networks.named("sepolia")
MAINNET = networks.named("mainnet")
WALL = 1_790_000_000.0
HEAD = 25_000_000
FORK_ID = MAINNET.fork_id(HEAD, int(WALL) - 12)
DAY = 86400.0

WELL = Facts(
    network="mainnet",
    genesis_hash=MAINNET.genesis_hash,
    network_id=1,
    fork_id=FORK_ID,
    head_number=HEAD,
    head_time=int(WALL) - 12,
    wall=WALL,
    uptime=2 * DAY,
    clock_offset=0.2,
    tcp_ports=(30303,),
    udp_ports=(30303,),
    address="8.8.4.4",
    nat="any",
    nat_state="UPnP mapped 2 ports",
    key_file="/data/nodekey",
    key_mode=0o600,
    key_owner=1000,
    user=1000,
    datadir="/data",
    datadir_free=10 << 30,
    inbound=20,
    dialed=16,
    bootnodes=4,
    found_nodes=300,
    funnel={
        "stages": {"found": 400, "fork_ok": 300, "tcp": 200, "auth": 190, "hello": 180, "status": 60, "minute": 40},
        "failures": {"tcp": {"timeout": 60, "refused": 40}, "hello": {"too_many_peers": 120}},
    },
)
#: Nobody has called, and it has called nobody with success.
LONELY: dict[str, Any] = {"inbound": 0, "dialed": 0}
PRIVATE: dict[str, Any] = {"network": "town", "genesis_hash": b"\x05" * 32, "network_id": 1337}
NO_CALLS: dict[str, Any] = {"funnel": {"stages": {}, "failures": {}}}


def _funnel(stage: str, cause: str, count: int, status: int = 0, total: int = 40) -> dict[str, Any]:
    return {"funnel": {"stages": {"found": total, "status": status}, "failures": {stage: {cause: count}}}}


#: Name of the finding, what is different from WELL, whether it is well so, and some of the words.
CASES: list[tuple[str, dict[str, Any], bool, str]] = [
    ("genesis", {}, True, "is that of mainnet"),
    ("genesis", PRIVATE, True, "started from the same genesis.json"),
    ("genesis", {**PRIVATE, "network_id": 1}, False, "start it with --network mainnet, or give genesis.json an id"),
    ("genesis", {**PRIVATE, "network": "sepolia"}, False, "is not that of sepolia"),
    ("network id", {}, True, "1"),
    ("network id", PRIVATE, True, "1337"),
    ("network id", {"network_id": 5}, False, "5 with the genesis of mainnet, where all others have 1"),
    ("fork id", {}, True, f"{FORK_ID} with the head at block 25000000; no further fork is known"),
    ("fork id", {"fork_id": ForkId(b"\1\2\3\4")}, False, f"01020304/0 at block 25000000, where mainnet has {FORK_ID}"),
    ("fork id", {**PRIVATE, "fork_id": ForkId(b"\1\2\3\4", 5)}, True, "the next fork is block 5"),
    (
        "fork id",
        {**PRIVATE, "fork_id": ForkId(b"\1\2\3\4", int(WALL + 2 * DAY))},
        True,
        "the next fork is 2026-09-23 14:13:20 UTC, in 2 d: see that all your nodes know it",
    ),
    ("fork id", {**PRIVATE, "head_time": int(WALL - 5 * 3600)}, True, "5 h old"),
    ("clock", {}, True, "right within 1 s"),
    ("clock", {"clock_offset": -9.0}, True, "right within 9 s"),
    ("clock", {"clock_offset": 31.0}, False, "it is 31 s ahead: set it by NTP"),
    ("clock", {"clock_offset": -7200.0}, False, "it is 2 h behind"),
    ("clock", {"clock_offset": None}, True, "nothing has been heard to compare it with"),
    ("clock", {"clock_offset": None, "newest_head": int(WALL) - 3}, True, "what others say fits it"),
    (
        "clock",
        {"clock_offset": None, "newest_head": int(WALL) + 60},
        False,
        "it is 60 s behind the newest block of a peer",
    ),
    ("clock", {"clock_offset": None, "packets_timed": 50, "packets_expired": 2}, True, "what others say fits it"),
    ("clock", {"clock_offset": None, "packets_timed": 50, "packets_expired": 26}, False, "26 of 50 discovery packets"),
    ("clock", {"clock_offset": None, "packets_timed": 9, "packets_expired": 9}, True, "nothing has been heard"),
    ("key", {}, True, "/data/nodekey can be read by its owner only"),
    ("key", {"key_file": ""}, True, "not kept in a file"),
    ("key", {"key_mode": 0o100640}, False, "can be read by others (mode 0640): chmod 600 /data/nodekey"),
    ("key", {"key_owner": 0}, False, "belongs to user 0, who can become this node: chown 1000 /data/nodekey"),
    ("key", {"key_mode": None}, False, "is gone"),
    ("data directory", {}, True, "/data can be written, 10240 MiB are free"),
    ("data directory", {"datadir_free": None}, True, "/data can be written"),
    ("data directory", {"datadir_writable": False}, False, "/data cannot be written"),
    ("data directory", {"datadir_free": 7 << 20}, False, "/data has 7 MiB left"),
    ("store", {}, True, "peers and bans are kept"),
    ("store", {"store_state": "SQLite, 5 peers"}, True, "SQLite, 5 peers"),
    ("store", {"store_ok": False, "store_state": "the disk is full"}, False, "the disk is full; mend that"),
    ("store", {"store_ok": False}, False, "the store failed"),
    ("ports", {}, True, "TCP 30303, UDP 30303; 20 called us"),
    ("ports", {"inbound": 0, "uptime": 60.0}, True, "TCP 30303, UDP 30303"),
    ("ports", {"inbound": 0, **PRIVATE}, True, "TCP 30303, UDP 30303"),
    ("ports", {"udp_ports": (), "discovery": False}, True, "TCP 30303; 20 called us"),
    ("ports", {"tcp_ports": ()}, False, "nobody can call: the node listens on no TCP port; see --listen and --port"),
    ("ports", {"udp_ports": ()}, False, "TCP 30303, but no UDP: discovery hears nothing"),
    (
        "ports",
        {"inbound": 0},
        False,
        "nobody has called in 2 d, or nobody has stayed: let TCP 30303, UDP 30303 through",
    ),
    ("nat", {}, True, "others are told 8.8.4.4 (UPnP mapped 2 ports)"),
    ("nat", {"address": "10.0.0.5"}, True, "others are told 10.0.0.5, and yet they call"),
    ("nat", {"address": "", **PRIVATE, **LONELY}, True, "others are told no address, as private networks may"),
    ("nat", {"address": "", "nat": "none", **LONELY}, False, "our address is not known: let --nat any ask the router"),
    ("nat", {"address": "10.0.0.5", "nat": "none", **LONELY}, False, "others are told 10.0.0.5, where nobody outside"),
    (
        "nat",
        {"address": "100.64.0.1", "nat_state": "a provider's network", **LONELY},
        False,
        "--nat any did not help (a provider's network): give it with --nat extip:ADDRESS",
    ),
    ("discovery", {}, True, "knows 300 nodes"),
    ("discovery", {"discovery": False, "static_peers": 2}, True, "off; there are 2 static peers to call"),
    ("discovery", {"discovery": False, **LONELY}, False, "off, and there are no static peers"),
    ("discovery", {"found_nodes": 0, "uptime": 5.0, "dns_lists": 1}, True, "began 5 s ago with 5 places to ask"),
    (
        "discovery",
        {"found_nodes": 0, "dns_lists": 1},
        False,
        "nobody has answered in 2 d, of 4 bootnodes and 1 DNS list",
    ),
    ("discovery", {"found_nodes": 0, "bootnodes": 0, **LONELY}, False, "there is nowhere to begin: give --bootnodes"),
    ("discovery", {"found_nodes": 0, "bootnodes": 0}, True, "there is nowhere to begin"),
    (
        "dialing",
        {},
        True,
        "60 of 400 calls met a node of this chain; of 400 calls 120 ended before Hello: all their places",
    ),
    ("dialing", NO_CALLS, True, "no calls yet"),
    ("dialing", {**NO_CALLS, **LONELY, "uptime": 5.0}, True, "no calls yet"),
    ("dialing", {**NO_CALLS, **LONELY}, False, "no call in 2 d, though there is somebody to call"),
    ("dialing", {**NO_CALLS, **LONELY, "found_nodes": 0}, True, "no calls yet"),
    ("dialing", {"funnel": {}}, True, "no calls yet"),
    ("dialing", {"funnel": {"stages": {"found": 1, "status": 1}}}, True, "1 call, 1 met a node of this chain"),
    ("dialing", _funnel("tcp", "refused", 4, total=4), True, "of 4 calls 4 ended before TCP: nobody listens there"),
    ("dialing", _funnel("tcp", "refused", 36, status=4), True, "4 of 40 calls met a node of this chain"),
    (
        "dialing",
        _funnel("status", "wrong_chain", 38, status=2),
        False,
        "of 40 calls 38 ended before Status: another network; see that network, genesis and forks are those",
    ),
    ("dialing", _funnel("hello", "too_many_peers", 40), False, "all their places are taken; leave it running"),
    ("dialing", _funnel("hello", "useless", 40), False, "they speak no protocol of ours"),
    ("dialing", _funnel("tcp", "refused", 40), False, "nobody listens there; see that the nodes run"),
    ("dialing", _funnel("tcp", "timeout", 40), False, "see whether a firewall holds back TCP that goes out"),
    ("dialing", _funnel("tcp", "unreachable", 40), False, "a network, a route and a name server"),
    ("dialing", _funnel("auth", "bad_handshake", 40), False, "the keys in the enode URLs"),
    ("dialing", _funnel("auth", "unexpected_identity", 40), False, "find out their enode URLs again"),
    ("dialing", _funnel("hello", "already_connected", 40), False, "no other node runs with the same key"),
    ("dialing", _funnel("hello", "self", 40), False, "take its own URL out"),
    ("dialing", _funnel("found", "banned", 40), False, "'ethp2p bans' shows why"),
    ("dialing", _funnel("found", "netrestrict", 40), False, "let their networks in"),
    ("dialing", _funnel("hello", "lost", 40), False, "see whether something on the way cuts it"),
    ("dialing", _funnel("status", "breach", 40), False, "'ethp2p peer explain NODE' tells which"),
    ("dialing", _funnel("hello", "incompatible", 40), False, "see whether an update of ethp2p is due"),
    ("dialing", _funnel("hello", "not_admitted", 40), False, "'ethp2p config set' shows"),
    ("dialing", _funnel("hello", "quitting", 40), False, "they are going down; leave it running"),
    ("dialing", _funnel("hello", "sun_spots", 40), False, "ended before Hello: sun spots; 'ethp2p peer explain NODE'"),
    ("peers", {}, True, "36 peers, 20 in and 16 out, of at most 50"),
    ("peers", {"max_peers": 1, "inbound": 0, "dialed": 1}, True, "1 peer, 0 in and 1 out, of at most 1"),
    ("peers", {"max_peers": 0, **LONELY}, False, "none are wanted: --max-peers is 0"),
    ("peers", {**LONELY, "dialed": 2}, False, "at least 3 are wanted; see the other findings, and 'ethp2p funnel'"),
    ("peers", {**LONELY, "uptime": 5.0}, False, "it started 5 s ago: wait a little"),
    ("peers", {**LONELY, "bans": 12}, False, "the 12 bans in force"),
]


class FindingTests(SynchronousTestCase):
    def test_well(self) -> None:
        self.assertEqual([one.name for one in examine(WELL) if not one.ok], [])

    def test_table(self) -> None:
        for name, changes, ok, words in CASES:
            (found,) = [one for one in examine(attrs.evolve(WELL, **changes)) if one.name == name]
            self.assertEqual(found.ok, ok, (name, changes, found))
            self.assertIn(words, found.words, (name, changes))

    def test_both_ways(self) -> None:
        """The table has a case of each kind for each finding."""
        seen = {(name, ok) for name, _, ok, _ in CASES}
        self.assertEqual(seen, {(one.name, ok) for one in examine(WELL) for ok in (True, False)})

    def test_causes(self) -> None:
        """Of every cause there is something to say, but for those that mean nothing."""
        for cause in Cause:
            changes = _funnel("hello", cause.value, 40)
            (found,) = [one for one in examine(attrs.evolve(WELL, **changes)) if one.name == "dialing"]
            general = "tells it of one of them" in found.words
            self.assertEqual(general, cause in (Cause.REQUESTED, Cause.OTHER), cause)

    def test_one_fault(self) -> None:
        """Most faults are found under one name, so that they are looked for in one place."""
        for name, changes, ok, _ in CASES:
            if not ok and name in ("clock", "key", "data directory", "store", "network id"):
                faults = [one.name for one in examine(attrs.evolve(WELL, **changes)) if not one.ok]
                self.assertEqual(faults, [name])

    def test_one_line(self) -> None:
        for _, changes, _, _ in CASES:
            for one in examine(attrs.evolve(WELL, **changes)):
                self.assertNotIn("\n", one.words)
                self.assertNotEqual(one.words, "")

    def test_nothing_known(self) -> None:
        """A node that has just begun is judged without a slip."""
        facts = Facts(
            network="sepolia",
            genesis_hash=SEPOLIA.genesis_hash,
            network_id=SEPOLIA.network_id,
            fork_id=SEPOLIA.fork_id(0, 0),
            head_number=0,
            head_time=0,
            wall=WALL,
            uptime=0.0,
        )
        faults = [one.name for one in examine(facts) if not one.ok]
        self.assertEqual(faults, ["ports", "nat", "discovery", "peers"])


class WordTests(SynchronousTestCase):
    def test_span(self) -> None:
        for seconds, words in (
            (0.0, "0 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (7199.0, "120 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 d"),
            (400 * DAY, "400 d"),
            (3650 * DAY, "10 years"),
        ):
            self.assertEqual(span(seconds), words)

    def test_in_words(self) -> None:
        for name, words in (("minute", "1 min"), ("fork_ok", "fork ok"), ("TIMEOUT", "timeout"), ("tcp", "TCP")):
            self.assertEqual(in_words(name), words)
