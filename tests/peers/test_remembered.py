"""
Whom a household that begins again calls first: nobody gets that place by a short visit.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from twisted.internet.defer import Deferred

from ethp2p.enode import Node
from ethp2p.errors import DisconnectReason
from ethp2p.peers.dialer import DRY, GOOD_SESSION
from ethp2p.peers.keeping import FLUSH, REFRESH
from ethp2p.peers.store import KnownPeer, MemoryPeerStore
from tests.peers.toy_wire import PORT, Home, ToyTestCase, key


class Found:
    """Gives these nodes, then none."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)

    def nextNode(self) -> Deferred[Node]:
        asked: Deferred[Node] = Deferred()
        if self.nodes:
            asked.callback(self.nodes.pop(0))
        return asked


class RestartTests(ToyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = MemoryPeerStore()

    def ours(self, **options: Any) -> Home:
        """The household that ends and begins again; it may call four."""
        options = {"max_peers": 12, "rotate": False, "inbound_throttle": 0.0, "store": self.store, **options}
        return self.home(1, **options)

    def kill(self, home: Home) -> None:
        """End it without a word to the store."""
        kept = deepcopy(self.store)
        self.stop(home)
        self.store = kept

    def known(self) -> dict[bytes, KnownPeer]:
        """What the store has, by node id."""
        return {peer.node_id: peer for peer in self.successResultOf(self.store.loadPeers())}

    def hold(self, one: Home, *others: Home, seconds: float = 3600.0) -> None:
        """Have it call these, which discovery found, and keep them."""
        one.household.dialing.seekFrom(Found(*(other.node for other in others)))
        self.network.run_until(lambda: one.peers >= {other.node.node_id for other in others}, limit=10.0)
        self.network.advance(seconds)

    def visit(self, one: Home, *others: Home, seconds: float) -> None:
        """Have these call it, stay a while, and leave."""
        for other in others:
            self.meet(one, other)
            self.network.advance(seconds)
            for session in other.sessions:
                session.disconnect(DisconnectReason.REQUESTED)
            self.network.run_until(lambda: other.node.node_id not in one.peers, limit=10.0)  # noqa: B023

    def dialed(self, home: Home) -> set[bytes]:
        return {place.session.node_id for place in home.household.roster.added() if not place.inbound}

    def test_short_visits(self) -> None:
        """Forty callers who stay two seconds get no place that peers had whom we held for an hour."""
        one = self.ours()
        friends = [self.home(number) for number in range(2, 6)]
        callers = [self.home(number) for number in range(10, 50)]
        self.hold(one, *friends)
        self.visit(one, *callers, seconds=2.0)
        self.kill(one)
        one = self.ours(host=one.host)
        self.network.advance(DRY + 5.0)
        self.assertEqual(self.dialed(one), {friend.node.node_id for friend in friends})

    def test_long_visits(self) -> None:
        """Callers who stay long enough are remembered, and called after all whom we have reached."""
        one = self.ours()
        friends = [self.home(number) for number in (2, 3)]
        callers = [self.home(number) for number in range(10, 16)]
        self.hold(one, *friends)
        self.visit(one, *callers, seconds=GOOD_SESSION + 1.0)
        self.kill(one)
        reached = {node_id for node_id, peer in self.known().items() if peer.reached}
        self.assertEqual(reached, {friend.node.node_id for friend in friends})
        one = self.ours(host=one.host)
        self.network.advance(5.0)
        self.assertEqual(self.dialed(one), reached)
        self.network.advance(DRY)
        self.assertEqual(len(self.dialed(one) - reached), 2)  # nobody else is found

    def test_while_it_stays(self) -> None:
        """Not at once, but then now and then it is written down that a peer is of use, and again when it has left."""
        one, two = self.ours(), self.home(2)
        self.hold(one, two, seconds=GOOD_SESSION - 2.0)
        self.assertEqual(self.known(), {})
        times = []
        for _ in range(3):
            self.network.advance(REFRESH + FLUSH)
            times.append(self.known()[two.node.node_id].last_success)
        self.assertEqual(len(set(times)), 3)
        one.session(two).disconnect(DisconnectReason.REQUESTED)
        self.network.advance(FLUSH)
        self.assertGreater(self.known()[two.node.node_id].last_success, times[-1])

    def test_operator(self) -> None:
        """What an operator says of a peer that is not here does not take from it that it was of use."""
        one, two = self.ours(), self.home(2)
        self.hold(one, two)
        self.stop(two)
        self.network.run_until(lambda: not one.peers, limit=10.0)
        one.household.trust(two.node)
        self.network.advance(FLUSH)
        peer = self.known()[two.node.node_id]
        self.assertTrue(peer.trusted and peer.reached and peer.last_success)

    def test_where_a_caller_says_it_is(self) -> None:
        """The address at which we have reached a peer stands, whatever it says when it calls."""
        one, two = self.ours(), self.home(2)
        self.hold(one, two)
        one.session(two).disconnect(DisconnectReason.REQUESTED)
        self.network.advance(1.0)
        url, two.node = two.node.url, Node(key(2).public_key, "10.0.0.2", PORT + 1)
        self.visit(one, two, seconds=REFRESH + GOOD_SESSION)
        self.network.advance(FLUSH)
        self.assertEqual(self.known()[two.node.node_id].url, url)

    def test_others_have_half(self) -> None:
        """Whoever fills the store has half of the places at most while discovery finds others."""
        nodes = [self.home(number).node for number in range(10, 30)]
        self.store.savePeers(
            [KnownPeer(node_id=node.node_id, url=node.url, last_success=1, reached=True) for node in nodes]
        )
        found = [self.home(number).node for number in range(2, 6)]
        one = self.ours()
        self.network.advance(DRY / 2)
        self.assertEqual(len(self.dialed(one)), 2)
        one.household.dialing.seekFrom(Found(*found))
        self.network.advance(DRY)
        self.assertEqual(len(self.dialed(one)), 4)
        self.assertEqual(len(self.dialed(one) & {node.node_id for node in found}), 2)
        place = next(place for place in one.household.roster if place.session.node_id == found[0].node_id)
        place.session.disconnect(DisconnectReason.REQUESTED)
        self.network.advance(DRY / 2)
        self.assertEqual(len(self.dialed(one) & {node.node_id for node in found}), 2)
