"""
Following a peer's chain.
"""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Header
from ethp2p.chain import Follower
from ethp2p.chain.follow import BATCH, PATIENCE
from ethp2p.codec import rlp
from ethp2p.eth import EthProtocol, messages, wire
from ethp2p.events import OffenceBooked
from tests.node.support import Town


class Slow(EthProtocol):
    """Gives one block at a time, and each after long thought."""

    def answer(self, request: messages.Request) -> messages.Message:
        whole = super().answer(request)
        if isinstance(whole, messages.BlockBodies):
            return messages.BlockBodies(whole.request_id, whole.items[:1])
        return whole

    def messageReceived(self, code: int, payload: bytes) -> None:
        think = 9.0 if self.status else 0.0
        self.factory.wheel.call_later(think, lambda: super(Slow, self).messageReceived(code, payload))


class SlowPeerTests(SynchronousTestCase):
    def test_others_are_asked(self) -> None:
        """A peer that takes nine seconds for each block does not keep those of the others away."""
        town = Town(blocks=20)
        town.node(1, blocks=20, ethProtocol=Slow)
        town.node(2, blocks=20)
        chain = town.chain()
        node, _ = town.node(3, chain=chain, staticPeers=[town.address(1)])
        slow = town.network.wait_for(node.whenEthPeer())
        follower = Follower(chain, node.ethPeers, town.network.clock)
        follower.startService()
        town.network.advance(0.1)
        node.addPeer(town.address(2))
        town.network.run_until(lambda: chain.head().number == 20, limit=PATIENCE + 5.0)
        self.assertIn(slow, node.ethPeers())
        follower.stopService()
        self.assertEqual(follower._asked, {})
        before = follower.appended
        town.network.advance(300.0)
        self.assertEqual(follower.appended, before)

    def test_alone(self) -> None:
        """What a slow peer gives is taken, too."""
        town = Town(blocks=3)
        town.node(1, blocks=3, ethProtocol=Slow)
        chain = town.chain()
        node, _ = town.node(2, chain=chain, staticPeers=[town.address(1)])
        town.network.wait_for(node.whenEthPeer())
        follower = Follower(chain, node.ethPeers, town.network.clock)
        follower.startService()
        town.network.run_until(lambda: chain.head().number == 3, limit=60.0)


class NothingTests(SynchronousTestCase):
    def test_told(self) -> None:
        """A peer that has no receipts for its blocks gives nothing, and that is logged once."""
        town = Town(blocks=3)
        served = town.chain()
        for block, _ in town.blocks:
            served.append(block)
        town.node(1, chain=served)
        chain = town.chain()
        node, _ = town.node(2, chain=chain, staticPeers=[town.address(1)])
        town.network.wait_for(node.whenEthPeer())
        follower = Follower(chain, node.ethPeers, town.network.clock)
        with capturedLogs() as told:
            follower.startService()
            town.network.advance(10.0)
        who = town.address(1).node_id.hex()[:8]
        self.assertEqual(
            [formatEvent(event) for event in told if event["log_level"] is LogLevel.warn],
            [f"{who} says it has blocks 0 to 3, and gives nothing from block 1 on, or no receipts"],
        )
        follower.stopService()
        follower = Follower(chain, node.ethPeers, town.network.clock, receipts=False)
        follower.startService()
        town.network.advance(10.0)
        self.assertEqual(chain.head().number, 3)


class Heavy(EthProtocol):
    """Has a block whose receipts are more than a message may carry, and sends them all the same, as geth does."""

    block = b""

    def _serve(self, request: messages.Request) -> None:
        if isinstance(request, messages.GetReceipts) and self.block in request.hashes:
            assert self._channel is not None
            answer = rlp.encode([rlp.UINT64.dump(request.request_id), [bytes(wire.MAX_MESSAGE)]])
            self._channel.writeMessage(wire.Code.RECEIPTS, answer)
        else:
            super()._serve(request)


class HeavyBlockTests(SynchronousTestCase):
    def test_heavy(self) -> None:
        """What comes before it is taken; then the peer, which can do nothing about it, is told of and left in peace."""
        town = Town(blocks=20)
        self.patch(Heavy, "block", town.blocks[12][0].header.hash)
        server, _ = town.node(1, blocks=20, ethProtocol=Heavy)
        chain = town.chain()
        node, diary = town.node(2, chain=chain, staticPeers=[town.address(1)])
        [peer] = [town.network.wait_for(node.whenEthPeer())]
        follower = Follower(chain, node.ethPeers, town.network.clock)
        with capturedLogs() as told:
            follower.startService()
            town.network.advance(60.0)
        self.assertEqual(chain.head().number, 12)
        [warning] = [formatEvent(event) for event in told if event["log_level"] is LogLevel.warn]
        self.assertIn("cannot send what follows: receipts of block 13: an answer of 10,48", warning)
        self.assertLess(server.eth.served, 30)
        self.assertEqual((diary.of(OffenceBooked), node.ethPeers()), ([], [peer]))
        follower.stopService()


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
