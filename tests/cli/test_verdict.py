"""
What a Status means.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli.verdict import FAR, fork_network, fork_text, judge
from ethp2p.eth.messages import Status69
from ethp2p.networks import ForkId, Network, named

MAINNET = named("mainnet")
#: All forks of mainnet that are known here have passed.
NOW = 1_800_000_000.0
CANCUN = 1710338135


def status(fork_id: ForkId, network: Network = MAINNET, **changes: object) -> Status69:
    told = Status69(69, network.network_id, network.genesis_hash, fork_id, 0, 5, b"\x01" * 32)
    return attrs.evolve(told, **changes)  # type: ignore[arg-type]


class JudgeTests(SynchronousTestCase):
    def judged(self, told: Status69, agrees: bool | None, words: str, now: float = NOW) -> None:
        verdict = judge(told, now)
        self.assertEqual((verdict.agrees, verdict.words), (agrees, words))

    def test_in_sync(self) -> None:
        for name in ("mainnet", "sepolia", "hoodi", "bsc"):
            network = named(name)
            told = status(network.fork_id(FAR, int(NOW)), network)
            self.judged(told, True, f"on {name}, and knows all its forks")
            self.assertEqual(judge(told, NOW).network, name)

    def test_syncing(self) -> None:
        words = "on mainnet, and has not passed the fork of {} yet: it is syncing"
        self.judged(status(MAINNET.fork_id(0, 0)), True, words.format("block 1150000"))
        self.judged(status(MAINNET.fork_id(FAR, CANCUN - 1)), True, words.format("2024-03-13 13:55:35 UTC"))

    def test_stale(self) -> None:
        """It does not know of a fork that has passed."""
        before = MAINNET.fork_id(FAR, CANCUN - 1)
        words = "on mainnet, but does not know the fork of 2024-03-13 13:55:35 UTC: it needs an update"
        self.judged(status(ForkId(before.hash)), False, words)

    def test_next_fork(self) -> None:
        now = CANCUN - 100.0
        before = MAINNET.fork_id(FAR, int(now))
        at = "2024-03-13 13:55:35 UTC"
        self.judged(status(before), True, f"on mainnet, and knows of the next fork, {at}", now)
        words = f"on mainnet, and does not know of the next fork: it needs an update before {at}"
        self.judged(status(ForkId(before.hash)), True, words, now)
        words = "on mainnet, and knows of a fork that is not known here, 2027-01-15 08:00:01 UTC"
        self.judged(status(ForkId(before.hash, int(NOW) + 1)), True, words, now)
        ahead = MAINNET.fork_id(FAR, CANCUN)
        self.judged(status(ahead), True, "on mainnet, and is ahead of our clock", now)

    def test_other_forks(self) -> None:
        words = "has the genesis of mainnet, but forks that are not mainnet's, or not known here"
        self.judged(status(ForkId(b"\1\2\3\4")), False, words)
        own = MAINNET.fork_id(FAR, int(NOW))
        words = "on mainnet, but expects a fork at 2024-03-13 13:55:36 UTC, which mainnet has passed without"
        self.judged(status(ForkId(own.hash, CANCUN + 1)), False, words)

    def test_network_id(self) -> None:
        told = status(MAINNET.fork_id(0, 0), network_id=61)
        self.judged(told, False, "has the genesis of mainnet, but network id 61 and not 1")

    def test_unknown(self) -> None:
        told = status(ForkId(b"\1\2\3\4"), network_id=1337, genesis_hash=b"\x05" * 32)
        self.judged(told, None, "on network 1337, whose genesis is not known here")
        self.assertIsNone(judge(told, NOW).network)

    def test_wanted(self) -> None:
        own = Network("town", 1337, 1337, b"\x05" * 32, fork_blocks=(7,))
        told = status(own.fork_id(7, 0), own)
        self.assertEqual(judge(told, NOW, own).words, "on town, and knows all its forks")
        self.assertEqual(judge(told, NOW, MAINNET).words, "on network 1337, and not on mainnet")
        verdict = judge(status(MAINNET.fork_id(0, 0)), NOW, own)
        self.assertEqual((verdict.network, verdict.agrees), ("mainnet", False))
        self.assertEqual(verdict.words, "on mainnet, and not on town")


class ForkTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(fork_text(15050000), "block 15050000")
        self.assertEqual(fork_text(CANCUN), "2024-03-13 13:55:35 UTC")
        self.assertEqual(fork_text(2**64 - 1), "time 18446744073709551615")

    def test_network(self) -> None:
        for name in ("mainnet", "sepolia", "hoodi", "holesky", "bsc", "chapel"):
            self.assertEqual(fork_network(named(name).fork_id(FAR, int(NOW)), NOW), name)
        self.assertIsNone(fork_network(ForkId(b"\1\2\3\4"), NOW))
