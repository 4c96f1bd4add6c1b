"""
Following a peer's chain.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Header
from ethp2p.chain import Follower
from ethp2p.chain.follow import BATCH
from tests.node.support import Town


class StoppingTests(SynchronousTestCase):
    def test_from_within(self) -> None:
        """Who hears of a new head may stop it there, and let it go on later."""
        blocks = BATCH + 20
        town = Town(blocks=blocks)
        town.node(1, blocks=blocks)
        chain = town.chain()
        node, _ = town.node(2, chain=chain, staticPeers=[town.address(1)])
        town.network.wait_for(node.whenEthPeer())
        follower = Follower(chain, node.ethPeers, town.network.clock)

        def stop(head: Header) -> None:
            if head.number == 10:
                follower.stopService()

        chain.observeHead(stop)
        follower.startService()
        town.network.advance(10.0)
        self.assertEqual((chain.head().number, follower.appended), (10, 10))
        follower.startService()
        town.network.advance(10.0)
        self.assertEqual(chain.head().number, blocks)
        follower.stopService()
        town.network.wait_for(node.stopService())
