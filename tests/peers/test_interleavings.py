"""
Whatever happens in whatever order: no limit is passed, nothing leaks, everything promised comes, and the same seed
does the same again.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import DisconnectReason
from ethp2p.events import PeerAdded, PeerStatus
from ethp2p.node import Node
from ethp2p.peers import Policy
from ethp2p.peers.roster import Roster
from tests.node.support import Diary, Town
from tests.peers.throng import Broken, Throng
from tests.spawn import DEADLINE, ROOT

#: What must have come about many times in a long walk, or it shows nothing.
OFTEN = [*Throng.STEPS, "PeerAdded", "PeerDropped", "DialFailed", "BanAdded", "BanRemoved", "some wait"]
SOMETIMES = [
    *(
        "both called",
        "full",
        "too_many_peers",
        "too_many_inbound",
        "per_ip",
        "per_subnet",
        "throttled",
        "busy",
        "banned",
    ),
    *("netrestrict", "client_name", "self", "already_connected"),
]


def waiting() -> int:
    """How many Deferreds there are that have not fired."""
    gc.collect()
    return sum(type(one) is Deferred and not one.called for one in gc.get_objects())


class ThrongTests(SynchronousTestCase):
    def walk(self, seed: int, steps: int, *, quiet: bool = True) -> tuple[str, Counter[str]]:
        """@return: the digest of all that happened, and how often each thing did."""
        before = waiting()
        throng = Throng(seed)
        digest, seen = throng.run(steps, quiet=quiet), throng.seen
        del throng
        self.assertEqual(waiting(), before, "Deferreds that never fire")
        self.assertEqual(self.flushLoggedErrors(), [])
        return digest, seen

    def test_ten_thousand_steps(self) -> None:
        """Calls, handshakes, drops, trust, bans and policies in a random order; and the same once more."""
        digest, seen = self.walk(1, 10_000)
        self.assertEqual({name: seen[name] for name in OFTEN if seen[name] < 25}, {})
        self.assertEqual({name: seen[name] for name in SOMETIMES if not seen[name]}, {})
        self.assertEqual(self.walk(1, 10_000), (digest, seen))

    def test_other_seeds(self) -> None:
        """Other seeds, other traces."""
        digests = {self.walk(seed, 1000)[0] for seed in range(2, 6)}
        self.assertEqual(len(digests), 4)

    def test_stopped_in_the_middle(self) -> None:
        """A household that stops while all goes on leaves nothing behind."""
        for seed in range(100, 130):
            self.walk(seed, 120, quiet=False)

    def test_same_in_another_process(self) -> None:
        """Nothing hangs on the order of a set, or on an address in memory."""
        program = "from tests.peers.throng import Throng; print(Throng(7).run(500))"
        for salt in ("1", "2"):
            found = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
                timeout=DEADLINE,
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": salt},
            )
            self.assertEqual(found.stdout.strip(), self.walk(7, 500)[0], found.stderr)

    def test_it_would_be_found(self) -> None:
        """The walk notices a place that is not given back, and a limit that is passed."""
        for name in ("release", "_check"):
            patch = self.patch(Roster, name, lambda *args: None)
            self.assertRaises(Broken, Throng(1).run, 1000)
            patch.restore()


class NodeTests(SynchronousTestCase):
    """The same, much shorter, over RLPx, devp2p and eth."""

    def crowd(self, seed: int, steps: int) -> tuple[str, Counter[str]]:
        """Nodes that call one in their middle, which has few places and changes its mind."""
        town = Town(seed=seed)
        rng, network, seen = town.network.rng, town.network, Counter[str]()
        hub, diary = town.node(1, policy=Policy(max_peers=4, dial_ratio=2))
        roster, doorman = hub.household.roster, hub.household.books.doorman
        others: dict[int, tuple[Node, Diary]] = {}
        promised: list[Deferred[object]] = []
        stopping: list[Deferred[None]] = []
        distrusted = False

        def step(name: str) -> None:
            nonlocal distrusted
            number = rng.randrange(2, 10)
            address = town.address(number)
            if name == "join" and number not in others:
                host = network.hosts.get(f"10.0.0.{number}")
                others[number] = town.node(number, host=host, staticPeers=[town.address(1)])
            elif name == "quit" and number in others:
                stopping.append(others.pop(number)[0].stopService())
            elif name == "drop" and roster.added():
                rng.choice(roster.added()).session.disconnect(DisconnectReason.REQUESTED)
            elif name == "abort" and roster.added():
                rng.choice(roster.added()).session.abort()
            elif name == "add":
                promised.append(hub.addPeer(address))
            elif name == "remove":
                promised.append(hub.removePeer(address))
            elif name == "trust":
                trusted = rng.random() < 0.5
                distrusted = distrusted or not trusted
                promised.append(hub.household.trust(address, trusted))
            elif name == "ban":
                promised.append(hub.household.ban(address.node_id.hex(), 2.0, "for a reason"))
            elif name == "policy":
                distrusted = False
                hub.household.setPolicy(Policy(max_peers=rng.randrange(7), min_peers=0, dial_ratio=rng.randrange(1, 4)))
                network.advance(0.0)
            else:
                return
            seen[name] += 1

        def check() -> None:
            policy, census, places = hub.household.books.policy, roster.census(), list(roster)
            self.assertEqual(census.peers, sum(not place.trusted for place in places))
            self.assertEqual(roster.dialed, sum(not place.inbound for place in places))
            if not distrusted:
                self.assertLessEqual(census.peers, policy.max_peers)
                self.assertLessEqual(census.inbound, policy.max_inbound)
            self.assertLessEqual(doorman.pending, policy.max_pending)

        names = ["join", "quit", "drop", "abort", "add", "remove", "trust", "ban", "policy"]
        for _ in range(steps):
            step(rng.choices(names, [8, 2, 2, 2, 3, 2, 2, 1, 2])[0])
            for _ in range(8):  # in between, too
                network.advance(rng.choice([0.005, 0.02, 0.1]))
                check()
        for node, _ in others.values():
            stopping.append(node.stopService())
        network.advance(10.0)
        self.assertEqual((len(roster), len(hub.household.sessions), doorman.pending), (0, 0, 0))
        stopping.append(hub.stopService())
        network.advance(10.0)
        for one in (*promised, *stopping):
            self.successResultOf(one)
        self.assertEqual(network.clock.getDelayedCalls(), [])
        seen += Counter(type(event).__name__ for event in diary.events)
        return "\n".join(map(repr, diary.events)), seen

    def test_three_hundred_steps(self) -> None:
        """Whole nodes join, quit and are dropped while the one in their middle changes its mind."""
        _, seen = self.crowd(1, 300)
        self.assertEqual(self.flushLoggedErrors(), [])
        for kind in (PeerAdded, PeerStatus):
            self.assertGreater(seen[kind.__name__], 30)
        for name in ("join", "quit", "drop", "abort", "add", "remove", "trust", "ban", "policy"):
            self.assertGreater(seen[name], 5, name)

    def test_same_seed(self) -> None:
        """The same seed does the same, bit for bit; another one does not."""
        one, other, third = (self.crowd(seed, 40)[0] for seed in (2, 2, 3))
        self.assertEqual(one, other)
        self.assertNotEqual(one, third)
