"""
Why somebody is no peer, over the real wire and through the node's windows: of each kind of failure its own sentence,
within five seconds; here it is half of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import enode, networks
from ethp2p.chain import MemoryChain
from ethp2p.devp2p import LocalHello
from ethp2p.enode import Netrestrict
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.events import DialFailed, PeerDropped, PeerStatus, Refused
from ethp2p.node import Node
from ethp2p.peers import Policy
from ethp2p.peers.dialing import DIAL_TIMEOUT
from ethp2p.rlpx.limits import HANDSHAKE_TIMEOUT
from ethp2p.sandbox.chainmaker import ChainMaker
from ethp2p.web.view import NodeView
from tests.node.support import PORT, Diary, Town

#: Seconds after which an operator asks what has happened.
SOON = 0.5


class Silent(Protocol):
    """Connects and says nothing."""


def explained(node: Node, subject: str) -> dict[str, Any]:
    """What the windows say of somebody."""
    return NodeView(node, lambda values: {}, list, list).explainPeer(subject)


class ExplainTests(SynchronousTestCase):
    """
    Each case makes something happen between a node and another one, and tells which and when it has happened; who
    calls whom is up to C{inbound}.
    """

    inbound = False

    def setUp(self) -> None:
        self.town = Town(blocks=3)

    def told(self, one: dict[str, Any], two: dict[str, Any]) -> str:
        """Have two nodes with these options meet.  @return: what the first is told of the second."""
        caller, callee = (2, 1) if self.inbound else (1, 2)
        (two if self.inbound else one)["staticPeers"] = [self.town.address(callee)]
        nodes = {caller: None, callee: self.town.node(callee, **(one if callee == 1 else two))}
        nodes[caller] = self.town.node(caller, **(one if caller == 1 else two))
        assert nodes[1] is not None
        node, diary = nodes[1]
        self.happens(lambda: diary.of(PeerDropped) or diary.of(DialFailed))
        return self.verdict(node, self.town.address(2))

    def happens(self, happened: Callable[[], object], limit: float = 60.0) -> None:
        self.town.network.run_until(happened, limit)

    def verdict(self, node: Node, who: enode.Node) -> str:
        self.town.network.advance(SOON)
        said = explained(node, who.url)
        if said["attempts"]:  # else nobody has told its id yet, and it is known by its address
            self.assertEqual(explained(node, who.node_id.hex())["verdict"], said["verdict"])
        self.assertIsNone(said["connected"])
        return str(said["verdict"])

    def chain(self, **changes: Any) -> MemoryChain:
        chain = MemoryChain(attrs.evolve(self.town.ethereum, **changes))
        for block, receipts in self.town.blocks:
            chain.append(block, receipts)
        return chain

    def wrong_genesis(self) -> str:
        elsewhere = networks.from_genesis(ChainMaker(b"elsewhere").genesis(), name="elsewhere")
        return self.told({}, {"chain": MemoryChain(elsewhere)})

    def wrong_network(self) -> str:
        return self.told({}, {"chain": self.chain(network_id=4711)})

    def fork_rejected(self) -> str:
        return self.told({"chain": self.chain(fork_blocks=(1,))}, {"chain": self.chain(fork_blocks=(2,))})

    def useless(self) -> str:
        return self.told({"ethVersions": [66]}, {"ethVersions": [69]})

    def client_name(self) -> str:
        return self.told({"policy": Policy(refuse_clients=("^evil",))}, {"client": "evil/1.0"})

    def test_each_has_its_sentence(self) -> None:
        """What is read of each, and that no two are the same."""
        told: dict[str, str] = {}
        for name, words in self.cases.items():
            self.setUp()
            told[name] = getattr(self, name)()
            self.assertIn(words, told[name], name)
        self.assertEqual(len(set(told.values())), len(told), told)
        when = "when it called" if self.inbound else "when it was called"
        self.assertTrue(all(when in verdict for name, verdict in told.items() if name not in self.timeless), told)

    timeless = ("banned", "netrestrict")
    cases = {
        "wrong_genesis": "It follows another chain, ",
        "wrong_network": "network id",
        "fork_rejected": "fork",
        "useless": "The two had nothing to talk about, ",
        "client_name": "A rule of the operator keeps it out, ",
        "full": "All places were taken, ",
        "refused": "Nobody listens at its address, ",
        "timeout": "It did not answer in time, ",
        "deaf": "did not finish the handshake in time",
        "bad_id": "It hung up at once, as who has another key does, or who does not let us in, ",
        "other_key": "Somebody with another key answered at its address, ",
        "no_pong": "The peer has been silent for too long",
        "banned": "It is banned for ever: it lied.",
        "netrestrict": "It is not one to have to do with: 10.0.0.2 is outside 192.168.0.0/16.",
    }

    # --- which only callers see

    def called(self, who: enode.Node, limit: float = 60.0, **options: Any) -> str:
        node, diary = self.town.node(1, staticPeers=[who], **options)
        self.happens(lambda: diary.of(DialFailed) or diary.of(PeerDropped), limit)
        return self.verdict(node, who)

    def full(self) -> str:
        self.town.node(2, policy=Policy(max_peers=1))
        return self.called(self.town.address(2))

    def refused(self) -> str:
        self.town.network.host("10.0.0.2")
        return self.called(self.town.address(2))

    def timeout(self) -> str:
        return self.called(self.town.address(2), DIAL_TIMEOUT + 1.0)

    def deaf(self) -> str:
        self.town.network.host("10.0.0.2").listenTCP(PORT, Factory.forProtocol(Silent))
        return self.called(self.town.address(2), HANDSHAKE_TIMEOUT + 1.0)

    def bad_id(self) -> str:
        self.town.node(2)
        return self.called(enode.Node(self.town.key(9).public_key, "10.0.0.2", PORT))

    def other_key(self) -> str:
        two, _ = self.town.node(2)
        two.sessions._local = lambda: LocalHello("liar", self.town.key(9).public_key)
        return self.called(self.town.address(2))

    def no_pong(self) -> str:
        """Its cable is pulled while the two talk."""
        self.town.node(2)
        node, diary = self.town.node(1, staticPeers=[self.town.address(2)])
        self.happens(lambda: diary.of(PeerStatus))
        self.town.network.hosts["10.0.0.2"].unplug()
        self.happens(lambda: diary.of(PeerDropped))
        self.town.network.advance(SOON)
        return str(explained(node, self.town.address(2).url)["verdict"])

    def banned(self) -> str:
        node, _ = self.town.node(1)
        self.town.node(2)
        node.household.ban(self.town.address(2).url, None, "it lied")
        node.addPeer(self.town.address(2))
        return self.verdict(node, self.town.address(2))

    def netrestrict(self) -> str:
        node, _ = self.town.node(1, staticPeers=[self.town.address(2)])
        node.household.setPolicy(Policy(netrestrict=Netrestrict.parse("192.168.0.0/16")))
        return self.verdict(node, self.town.address(2))


class ExplainCallersTests(ExplainTests):
    """The same of peers that call."""

    inbound = True
    cases = {
        "wrong_genesis": "It follows another chain, ",
        "wrong_network": "network id",
        "fork_rejected": "fork",
        "useless": "The two had nothing to talk about, ",
        "client_name": "A rule of the operator keeps it out, ",
        "full": "All places were taken, ",
        "other_key": "Somebody with another key answered at its address, ",
        "banned": "It is banned for ever: it lied.",
        "netrestrict": "It is not one to have to do with: 10.0.0.2 is outside 192.168.0.0/16.",
    }

    def visited(self, diary: Diary, node: Node) -> str:
        self.town.node(2, staticPeers=[self.town.address(1)])
        self.happens(lambda: diary.of(PeerDropped) or diary.of(Refused))
        return self.verdict(node, self.town.address(2))

    def full(self) -> str:
        node, diary = self.town.node(1, policy=Policy(max_peers=1))
        return self.visited(diary, node)

    def other_key(self) -> str:
        node, diary = self.town.node(1)
        two, _ = self.town.node(2, staticPeers=[self.town.address(1)])
        two.sessions._local = lambda: LocalHello("liar", self.town.key(9).public_key)
        self.happens(lambda: diary.of(PeerDropped))
        self.assertEqual(diary.of(PeerDropped)[0].reason, DisconnectReason.UNEXPECTED_IDENTITY)
        return self.verdict(node, self.town.address(2))

    def banned(self) -> str:
        node, diary = self.town.node(1)
        node.household.ban("10.0.0.2", None, "it lied")
        return self.visited(diary, node)

    def netrestrict(self) -> str:
        node, diary = self.town.node(1, policy=Policy(netrestrict=Netrestrict.parse("192.168.0.0/16")))
        return self.visited(diary, node)


class WindowTests(SynchronousTestCase):
    def test_all_there_is(self) -> None:
        """What the window shows beside the sentence: the attempts with their stages, the score with its evidence."""
        town = Town()
        one, diary = town.node(1)
        town.node(2, staticPeers=[town.address(1)])
        town.network.run_until(lambda: diary.of(PeerStatus))
        [peer] = one.ethPeers()
        one.household.sessions.offenceSeen(peer.session, Offence.TIMEOUT, "a test")
        said = explained(one, town.address(2).node_id.hex())
        self.assertEqual(said["verdict"].partition(".")[0], "It is a peer")
        [attempt] = said["attempts"]
        self.assertEqual([stage["stage"] for stage in attempt["stages"]], ["tcp", "auth", "hello", "status"])
        self.assertEqual((attempt["inbound"], attempt["cause"]), (True, None))
        [entry] = [entry for entry in said["ledger"] if entry["what"] == "timeout"]
        self.assertEqual((entry["delta"], entry["evidence"], said["score"]), (-4.0, "a test", 46.0))
        self.assertEqual(said["connected"]["id"], town.address(2).node_id.hex())
        self.assertEqual(said["next"], "it is here")
