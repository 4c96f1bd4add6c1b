"""
Nodes that have much to tell each other.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.chain import MemoryChain
from ethp2p.errors import RequestTimeout
from ethp2p.eth import EthProtocol
from ethp2p.events import PeerDropped
from tests.chain.building import NETWORK, grow
from tests.node.support import Diary, Town


def heavy_chain() -> MemoryChain:
    """Twenty-one headers of 100 kB each, which no compression makes smaller."""
    chain, rng = MemoryChain(NETWORK), Random(1)
    for _ in range(21):
        grow(chain, 1, extra=rng.randbytes(100_000))
    return chain


class PressureTests(SynchronousTestCase):
    def meet(self) -> tuple[Town, list[EthProtocol], list[Diary]]:
        town, chain = Town(), heavy_chain()
        one, diary = town.node(1, chain=chain)
        two, other = town.node(2, chain=chain, staticPeers=[town.address(1)])
        town.network.run_until(lambda: one.ethPeers() and two.ethPeers())
        return town, [*one.ethPeers(), *two.ethPeers()], [diary, other]

    def test_both_ask_for_much(self) -> None:
        """Neither stops reading for what the other asks, or both would wait for each other."""
        town, peers, diaries = self.meet()
        asked = [peer.getBlockHeaders(1, 20) for peer in peers for _ in range(5)]
        answers = town.network.wait_for(gatherResults(asked))
        self.assertEqual([len(answer) for answer in answers], [20] * 10)
        self.assertEqual([diary.of(PeerDropped) for diary in diaries], [[], []])

    def test_slow_is_not_dead(self) -> None:
        """An answer that takes longer than a Ping may, is no silence: neither of who sends it nor of who takes it."""
        town, peers, diaries = self.meet()
        town.network.link("10.0.0.1", "10.0.0.2", bandwidth=30_000.0)
        asked = peers[0].getBlockHeaders(1, 12)
        town.network.advance(15.0)
        self.failureResultOf(asked, RequestTimeout)
        town.network.advance(35.0)
        self.assertEqual([diary.of(PeerDropped) for diary in diaries], [[], []])
        self.assertFalse(peers[1].session.congested)
        self.assertEqual(len(town.network.wait_for(peers[0].getBlockHeaders(0, 1))), 1)
