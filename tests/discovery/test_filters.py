"""
Which nodes are of our network.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.discovery.filters import ForkFilter, NoFilter
from ethp2p.enode import Node
from ethp2p.enr import Entry, EthEntry
from ethp2p.enr.entries import ETH
from ethp2p.networks import named
from tests.discovery.support import node, recorded

MAINNET, SEPOLIA = named("mainnet"), named("sepolia")
#: A head after the last fork known, and one before the first.
NOW, GENESIS = (20_000_000, 1_900_000_000), (0, 0)


def of(network: Any, head: tuple[int, int]) -> Node:
    """A node of this network."""
    fork_id = network.fork_id(*head)
    return recorded(1, entries={ETH: EthEntry(fork_id.hash, fork_id.next)})


def saying(key: bytes, value: object) -> Node:
    """A node with this in its record."""
    return recorded(1, entries={Entry(key, rlp.Shape(lambda item: item, lambda item: item)): value})


class FilterTests(SynchronousTestCase):
    def check(self, head: tuple[int, int], which: Node, admits: bool, wants: bool) -> None:
        verdict = ForkFilter(MAINNET, lambda: head)
        self.assertEqual((verdict.admits(which), verdict.wants(which)), (admits, wants))

    def test_rounds(self) -> None:
        for head, which, admits, wants in (
            (NOW, of(MAINNET, NOW), True, True),
            (GENESIS, of(MAINNET, GENESIS), True, True),
            (GENESIS, of(MAINNET, NOW), True, True),  # ahead of us
            (NOW, of(SEPOLIA, NOW), False, False),
            (GENESIS, of(SEPOLIA, GENESIS), False, False),
            (NOW, node(1), True, True),  # perhaps
            (NOW, recorded(1), True, False),  # a bootnode
            (NOW, saying(b"eth2", b"\x01" * 16), False, False),
            (NOW, saying(b"opstack", b"\x01"), False, False),
            (NOW, saying(b"eth", b"not a fork id"), False, False),
            (NOW, saying(b"snap", []), True, False),
        ):
            self.check(head, which, admits, wants)

    def test_with_another_entry(self) -> None:
        """A client of both kinds is of ours by its fork id."""
        fork_id = MAINNET.fork_id(*NOW)
        eth2 = Entry(b"eth2", rlp.BYTES)
        both = recorded(1, entries={ETH: EthEntry(fork_id.hash, fork_id.next), eth2: b"\x01" * 16})
        self.check(NOW, both, True, True)

    def test_head_moves(self) -> None:
        """The head is asked for each time."""
        head = [GENESIS]
        verdict = ForkFilter(MAINNET, lambda: head[0])
        stale = recorded(1, entries={ETH: EthEntry(MAINNET.fork_id(*GENESIS).hash, 0)})  # knows of no fork
        self.assertTrue(verdict.admits(stale))
        head[0] = NOW
        self.assertFalse(verdict.admits(stale))

    def test_none(self) -> None:
        for which in (node(1), recorded(1), of(SEPOLIA, NOW)):
            self.assertTrue(NoFilter().admits(which) and NoFilter().wants(which))
