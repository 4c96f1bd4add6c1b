"""
Whole nodes on a memory network: meeting, refusing, calling again, stopping.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import enode, networks
from ethp2p.chain import MemoryChain
from ethp2p.enr.entries import ETH, TCP
from ethp2p.errors import ConfigError, DisconnectReason, LocalProtocolError, Offence
from ethp2p.events import DialFailed, HeadChanged, OffenceBooked, PeerAdded, PeerDropped, PeerStatus, RequestDone
from ethp2p.node import Node, service
from ethp2p.node.service import NodeStopped
from ethp2p.order import STOP_DEADLINE
from ethp2p.peers import Policy
from ethp2p.peers.dialer import FAR_BACKOFF, NEAR_BACKOFF
from ethp2p.peers.listening import CannotListen
from ethp2p.sandbox.chainmaker import ChainMaker
from tests.chain.building import grow, small_chain
from tests.node.support import PORT, Town


class MeetingTests(SynchronousTestCase):
    def test_meet(self) -> None:
        """A node calls its static peer; both are told the same, and the newest version of eth is agreed on."""
        town = Town(blocks=3)
        _, one = town.node(1, blocks=3)
        _, two = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: one.of(PeerStatus) and two.of(PeerStatus))
        for diary, inbound, number in [(one, True, 2), (two, False, 1)]:
            [added], [status] = diary.of(PeerAdded), diary.of(PeerStatus)
            self.assertEqual(added.peer.inbound, inbound)
            self.assertEqual(added.peer.node_id, town.address(number).node_id)
            self.assertEqual(added.shared, ("eth/69",))
            self.assertEqual(status.protocol, "eth/69")
        self.assertEqual(two.of(PeerStatus)[0].status["latest"], 3)

    def test_download(self) -> None:
        """What a peer has is asked for, verified, and told."""
        town = Town(blocks=5)
        town.node(1, blocks=5)
        node, diary = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(node.ethPeers)
        [peer] = node.ethPeers()
        headers = town.network.wait_for(peer.getBlockHeaders(1, 10))
        self.assertEqual([header.hash for header in headers], [block.header.hash for block, _ in town.blocks])
        bodies = town.network.wait_for(peer.getBlockBodies(headers))
        self.assertEqual([body.encode() for body in bodies], [block.body.encode() for block, _ in town.blocks])
        receipts = town.network.wait_for(peer.getReceipts(headers))
        self.assertEqual(receipts, [receipts for _, receipts in town.blocks])
        self.assertEqual(
            [(done.message, done.items, done.result) for done in diary.of(RequestDone)],
            [("GetBlockHeaders", 5, "ok"), ("GetBlockBodies", 5, "ok"), ("GetReceipts", 5, "ok")],
        )
        self.assertTrue(all(done.rtt > 0.019 for done in diary.of(RequestDone)))  # two ways of 10 ms

    def test_other_genesis(self) -> None:
        """A peer with another genesis is refused, with both hashes, and its offence is booked."""
        town = Town()
        stranger = MemoryChain(networks.from_genesis(ChainMaker(b"elsewhere").genesis(), name="elsewhere"))
        node, one = town.node(1)
        town.node(2, chain=stranger, staticPeers=[town.address(1)])
        town.network.run_until(lambda: one.of(PeerDropped))
        [dropped] = one.of(PeerDropped)
        self.assertTrue(dropped.by_us)
        self.assertEqual(dropped.reason, DisconnectReason.SUBPROTOCOL_ERROR)
        for chain in (stranger, node.chain):
            self.assertIn(chain.head().hash.hex(), dropped.detail)
        self.assertEqual([event.offence for event in one.of(OffenceBooked)], [Offence.WRONG_CHAIN])
        self.assertEqual(node.household.books.offences[Offence.WRONG_CHAIN], 1)
        self.assertEqual(len(node.household.roster), 0)

    def test_useless(self) -> None:
        """Two peers that share no language part as useless."""
        town = Town()
        _, one = town.node(1, ethVersions=[66, 67])
        town.node(2, ethVersions=[68, 69], staticPeers=[town.address(1)])
        town.network.run_until(lambda: one.of(PeerDropped))
        self.assertEqual(one.of(PeerDropped)[0].reason, DisconnectReason.USELESS_PEER)
        self.assertEqual(one.of(PeerAdded), [])

    def test_full(self) -> None:
        """When all places are taken a caller hears TooManyPeers; a trusted one comes in."""
        town = Town()
        node, _ = town.node(1, policy=Policy(max_peers=2), trustedPeers=[town.address(4)])  # one place for callers
        _, two = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: two.of(PeerStatus))
        _, three = town.node(3, staticPeers=[town.address(1)])
        town.network.run_until(lambda: three.of(PeerDropped))
        self.assertEqual(three.of(PeerDropped)[0].reason, DisconnectReason.TOO_MANY_PEERS)
        self.assertFalse(three.of(PeerDropped)[0].by_us)
        _, four = town.node(4, staticPeers=[town.address(1)])
        town.network.run_until(lambda: four.of(PeerStatus))
        self.assertEqual(len(node.household.roster.added()), 2)

    def test_self(self) -> None:
        """A node that calls itself finds out."""
        town = Town()
        node, diary = town.node(1)
        node.addPeer(town.address(1))
        town.network.run_until(lambda: diary.of(PeerDropped))
        self.assertEqual({event.reason for event in diary.of(PeerDropped)}, {DisconnectReason.SELF})

    def test_both_call(self) -> None:
        """Two nodes that call each other at the same moment have one connection in the end."""
        for seed in range(8):
            town = Town(seed=seed)
            one, _ = town.node(1, staticPeers=[town.address(2)])
            two, _ = town.node(2, staticPeers=[town.address(1)])
            town.network.run_until(lambda one=one, two=two: one.ethPeers() and two.ethPeers())
            town.network.advance(120.0)
            for node in (one, two):
                self.assertEqual(len(node.household.roster.added()), 1)
                self.assertEqual(len(node.ethPeers()), 1)
                self.assertEqual(node.traffic.connections, 1)

    def test_waiting_for_a_peer(self) -> None:
        """Who waits for a peer gets the next one, or the one that is here, or hears that the node stopped."""
        town = Town()
        one, _ = town.node(1)
        two, _ = town.node(2, staticPeers=[town.address(1)])
        given_up = one.whenEthPeer()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.assertIs(town.network.wait_for(one.whenEthPeer()), one.ethPeers()[0])
        self.assertIs(self.successResultOf(one.whenEthPeer()), one.ethPeers()[0])
        town.network.wait_for(two.stopService())
        town.network.advance(1.0)
        self.patch(service, "MAX_WAITING", 2)
        waiting = [one.whenEthPeer() for _ in range(2)]
        self.assertRaises(LocalProtocolError, one.whenEthPeer)
        town.network.wait_for(one.stopService())
        for each in waiting:
            self.failureResultOf(each, NodeStopped)

    def test_waiting_while_it_stops(self) -> None:
        """Who loses its peer because the node stops, and waits for another, is told as well."""
        town = Town()
        town.node(2)
        one, _ = town.node(1, staticPeers=[town.address(2)])
        parted: list[str] = []

        async def work() -> None:
            while True:
                peer = await one.whenEthPeer()
                gone = one.feed.queue(1, PeerDropped)
                await gone.whenSome()
                parted.append(peer.session.client)

        working = Deferred.fromCoroutine(work())
        town.network.run_until(one.ethPeers)
        town.network.wait_for(one.stopService())
        self.assertEqual(len(parted), 1)
        self.failureResultOf(working, NodeStopped)

    def test_waiting_for_each_other(self) -> None:
        """Of those who wait when the node stops one may cancel another, or wait again."""
        town = Town()
        one, _ = town.node(1)
        first, second = one.whenEthPeer(), one.whenEthPeer()
        again: list[Deferred[Any]] = []
        first.addErrback(lambda _: (second.cancel(), again.append(one.whenEthPeer())))
        town.network.wait_for(one.stopService())
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(again[0], NodeStopped)

    def test_waiting_while_others_send_it_away(self) -> None:
        """Who waits for a peer is not given one that another who waited has disconnected."""
        town = Town()
        one, _ = town.node(1, staticPeers=[town.address(2)])
        first, second = one.whenEthPeer(), one.whenEthPeer()
        first.addCallback(lambda peer: peer.session.disconnect(DisconnectReason.USELESS_PEER))
        town.node(2)
        town.network.run_until(lambda: first.called)
        self.assertNoResult(second)
        self.assertIn(town.network.wait_for(second, 120.0), one.ethPeers())

    def test_impostor(self) -> None:
        """Whoever answers under a key that is not its own is not met."""
        town = Town()
        town.node(1)
        wrong = enode.Node(town.key(9).public_key, "10.0.0.1", PORT)
        _, diary = town.node(2, staticPeers=[wrong])
        town.network.run_until(lambda: diary.of(DialFailed))
        self.assertEqual(diary.of(PeerAdded), [])

    def test_record(self) -> None:
        """The node's record tells its port and its fork, and changes when they do."""
        town = Town(blocks=1)
        node, _ = town.node(1)
        record = node.local.record
        self.assertEqual(record.get(TCP), PORT)
        entry = record.get(ETH)
        assert entry is not None
        self.assertEqual(entry.fork_hash, town.ethereum.fork_id(0, node.chain.head().timestamp).hash)
        self.assertEqual(node.local.node.tcp, PORT)


class CallingTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """A peer that is not there is called again, after waits that double."""
        town = Town()
        town.network.host("10.0.0.9")
        _, diary = town.node(1, staticPeers=[town.address(9)])  # a private address: near
        town.network.advance(10.0)
        fails = diary.of(DialFailed)
        self.assertEqual([fail.attempt for fail in fails], [1, 2, 3, 4])
        for fail, expected in zip(fails, [1, 2, 4, 8]):
            self.assertAlmostEqual(fail.retry_in, expected * NEAR_BACKOFF, places=3)
        self.assertIn("refused", fails[0].reason)

    def test_far_peers_wait(self) -> None:
        """Who is not on our network is not called again within the 30 s in which peers throttle."""
        town = Town()
        town.network.host("8.8.8.8")
        far = enode.Node(town.key(9).public_key, "8.8.8.8", PORT)
        _, diary = town.node(1, staticPeers=[far])
        town.network.advance(30.0)
        self.assertEqual(len(diary.of(DialFailed)), 1)
        self.assertAlmostEqual(diary.of(DialFailed)[0].retry_in, FAR_BACKOFF, places=3)
        town.network.advance(10.0)
        self.assertEqual(len(diary.of(DialFailed)), 2)

    def test_comes_up_later(self) -> None:
        """A peer that comes up later is met."""
        town = Town()
        _, diary = town.node(1, staticPeers=[town.address(2)])
        town.network.advance(5.0)
        self.assertEqual(diary.of(PeerAdded), [])
        town.node(2)
        town.network.run_until(lambda: diary.of(PeerStatus), limit=20.0)

    def test_call_again(self) -> None:
        """A peer that went away is called again."""
        town = Town()
        one, _ = town.node(1)
        two, diary = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: diary.of(PeerStatus))
        two.household.roster.added()[0].session.disconnect(DisconnectReason.REQUESTED)
        town.network.run_until(lambda: len(diary.of(PeerStatus)) == 2, limit=10.0)
        town.network.run_until(lambda: len(one.household.roster.added()) == 1, limit=10.0)

    def test_remove(self) -> None:
        """A removed peer is disconnected and not called again; removing twice says so."""
        town = Town()
        town.node(1)
        node, diary = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: diary.of(PeerStatus))
        self.assertTrue(self.successResultOf(node.removePeer(town.address(1))))
        town.network.advance(100.0)
        self.assertEqual(len(diary.of(PeerDropped)), 1)
        self.assertEqual(node.dialing.attempts, 1)
        self.assertFalse(self.successResultOf(node.removePeer(town.address(1))))

    def test_remove_while_calling(self) -> None:
        """Removing gives up the call under way."""
        town = Town()
        town.network.host("10.0.0.9").vanish()
        node, _ = town.node(1, staticPeers=[town.address(9)])
        self.assertTrue(self.successResultOf(node.removePeer(town.address(9))))
        town.network.advance(100.0)
        self.assertEqual(node.dialing.attempts, 1)

    def test_no_address(self) -> None:
        """A node without an address cannot be called, and the error says which."""
        town = Town()
        node, _ = town.node(1)
        nowhere = enode.Node(town.key(7).public_key)
        error = self.assertRaises(ConfigError, node.addPeer, nowhere)
        self.assertIn(nowhere.url, str(error))

    def test_host_name(self) -> None:
        """Names are resolved at every call."""
        town = Town()
        town.network.names["boot.example"] = "10.0.0.1"
        named = enode.Node(town.key(1).public_key, "boot.example", PORT)
        _, diary = town.node(2, staticPeers=[named])
        town.node(1)
        town.network.run_until(lambda: diary.of(PeerStatus), limit=100.0)


class Mute(Protocol):
    """Connects and does nothing."""


class StoppingTests(SynchronousTestCase):
    def test_goodbye(self) -> None:
        """A node that stops says that it quits, and everything of it is gone."""
        town = Town()
        one, _ = town.node(1)
        _, two = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: two.of(PeerStatus))
        town.network.wait_for(one.stopService(), limit=STOP_DEADLINE)
        town.network.advance(0.1)
        [dropped] = two.of(PeerDropped)
        self.assertEqual((dropped.reason, dropped.by_us), (DisconnectReason.CLIENT_QUITTING, False))
        self.assertEqual(one.traffic.connections, 0)
        town.network.run_until(lambda: two.of(DialFailed), limit=10.0)  # nobody listens there any more

    def test_clean_reactor(self) -> None:
        """Once a node has stopped, with a peer or in the middle of calls, nothing of it waits on the reactor."""
        town = Town()
        host = town.network.host("10.0.0.1")
        one, _ = town.node(1, host=host, staticPeers=[town.address(3)])
        _, two = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: two.of(PeerStatus))
        town.network.wait_for(one.stopService(), limit=STOP_DEADLINE)
        self.assertEqual(host.getDelayedCalls(), [])

    def test_deaf_peers(self) -> None:
        """Peers that are gone without a word, and strangers in the handshake, do not keep a node from stopping."""
        town = Town()
        one, _ = town.node(1)
        _, two = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: two.of(PeerStatus))
        stranger = town.network.host("10.0.0.66")
        town.network.wait_for(TCP4ClientEndpoint(stranger, "10.0.0.1", PORT).connect(Factory.forProtocol(Mute)))
        town.network.hosts["10.0.0.2"].vanish()
        town.network.wait_for(one.stopService(), limit=STOP_DEADLINE)

    def test_nobody_in_while_stopped(self) -> None:
        """Stopping twice is harmless, and a node can be started again."""
        town = Town()
        node, diary = town.node(1)
        town.network.wait_for(node.stopService(), limit=STOP_DEADLINE)
        node.listening.started = type(node.listening.started)()
        node.startService()
        town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: diary.of(PeerStatus), limit=10.0)

    def test_stopped_twice(self) -> None:
        """By its owner and by the program that ends: both hear when it is over, and neither has to wait longer."""
        town = Town()
        one, _ = town.node(1)
        two, _ = town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: one.ethPeers() and two.ethPeers())
        stopping = [two.stopService(), two.stopService()]
        town.network.advance(1.0)
        for each in stopping:
            self.successResultOf(each)

    def test_leaves_the_chain_alone(self) -> None:
        """A stopped node hears nothing of a chain that others use on, and does not keep them from it."""
        town, chain = Town(), small_chain(1)
        self.patch(MemoryChain, "MAX_OBSERVERS", 2)
        nodes = [town.node(number, chain=chain) for number in (1, 2)]
        for node, _ in nodes:
            town.network.wait_for(node.stopService())
        _, diary = town.node(3, chain=chain)
        grow(chain, 9)  # beyond a fork
        self.assertEqual([len(each.of(HeadChanged)) for each in (diary, *(other for _, other in nodes))], [9, 0, 0])
        again, _ = nodes[0]
        before = again.local.record.get(ETH)
        again.startService()
        self.assertNotEqual(again.local.record.get(ETH), before)

    def test_start_again(self) -> None:
        """A node that was stopped can be started again, and listens where it is told to then."""
        town = Town()
        host = town.network.host("10.0.0.1")
        one, _ = town.node(1, host=host, endpoint=TCP4ServerEndpoint(host, 0))
        two, _ = town.node(2)
        ports = set()
        for _ in range(3):
            [port] = self.successResultOf(one.listening.started)
            number = port.getHost().port
            self.assertEqual(one.local.node.tcp, number)
            two.addPeer(enode.Node(town.key(1).public_key, "10.0.0.1", number))
            town.network.run_until(lambda: one.ethPeers() and two.ethPeers())
            two.removePeer(one.local.node)
            town.network.wait_for(one.stopService())
            ports.add(number)
            one.startService()
        self.assertEqual(len(ports), 3)

    def test_busy_port(self) -> None:
        """A port that another has fails the start with the address and the reason."""
        town = Town()
        first, _ = town.node(1)
        host = town.network.hosts["10.0.0.1"]
        second = Node(host, town.key(2), town.chain(), listen=[TCP4ServerEndpoint(host, PORT)])
        second.startService()
        failure = self.failureResultOf(second.listening.started, CannotListen)
        self.assertIn(str(PORT), failure.getErrorMessage())
        town.network.wait_for(second.stopService(), limit=STOP_DEADLINE)
        self.assertTrue(first.listening.ports)

    def test_head(self) -> None:
        """A new head is told, and the record follows the fork."""
        town = Town(blocks=2)
        chain = town.chain(1)
        _, diary = town.node(1, chain=chain)
        chain.append(*town.blocks[1])
        self.assertEqual([(event.number, event.hash) for event in diary.of(HeadChanged)], [(2, chain.head().hash)])
