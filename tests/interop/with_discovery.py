"""
ethp2p and others who find nodes: go-ethereum and the conformance suites of its C{devp2p} tool, EthereumJS's
discv4, ChainSafe's discv5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from ethp2p.chain import load_chain
from ethp2p.enode import Node
from ethp2p.kademlia.distance import log_distance
from tests.data import ethtest
from tests.interop.peers import ChainsafeDiscv5, EthereumjsDPT, Geth, call, run_devp2p
from tests.interop.process import until
from tests.interop.us import MEETING, Finder, Us
from tests.interop.with_geth import node_of

#: Seconds for two nodes to find each other through a third.  They look for each other when they start, which may be
#: too early, and then only now and then.
FINDING = 60.0

#: How often the conformance suites are run, one after the other, against one node.
RUNS = 3

SUITE_V4 = (
    "Ping/Basic",
    "Ping/WrongTo",
    "Ping/WrongFrom",
    "Ping/ExtraData",
    "Ping/ExtraDataWrongFrom",
    "Ping/PastExpiration",
    "Ping/WrongPacketType",
    "Ping/BondThenPingWithWrongFrom",
    "ENRRequest",
    "Findnode/WithoutEndpointProof",
    "Findnode/BasicFindnode",
    "Findnode/UnsolicitedNeighbors",
    "Findnode/PastExpiration",
    "Amplification/InvalidPongHash",
    "Amplification/WrongIP",
)

SUITE_V5 = (
    "Ping",
    "PingLargeRequestID",
    "PingMultiIP",
    "HandshakeResend",
    "TalkRequest",
    "FindnodeZeroDistance",
    "FindnodeResults",
)


class Stoppable(Protocol):
    """A peer of any kind."""

    async def stop(self) -> None:
        """End it."""


class DiscoveryTestCase(TestCase):
    """
    With a room for the files of a test.
    """

    timeout = 180
    log = Logger()

    def setUp(self) -> None:
        self.room = Path(self.mktemp()).absolute()

    def stops(self, peer: Stoppable) -> None:
        """Stop it at the end of the test."""
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.stop()))

    def ours(self, *bootnodes: str, v4: bool = True, v5: bool = True) -> Finder:
        """Discovery of ours."""
        finder = Finder(*bootnodes, v4=v4, v5=v5)
        self.stops(finder)
        return finder


class Suite(DiscoveryTestCase):
    """
    C{twistd -n ethp2p} and geth's C{devp2p} tool.
    """

    timeout = 600

    async def suite(self, names: tuple[str, ...], *arguments: str) -> None:
        """Run a suite again and again; all of it must pass each time.  What it says is kept in the log."""
        for _ in range(RUNS):
            done = await run_devp2p(
                *arguments[:2],
                *("--tap", "--listen1=127.0.0.1", "--listen2=127.0.0.2"),
                *arguments[2:],
                folder=self.room,
            )
            self.log.info("{output}", output=done.output)
            self.assertEqual(done.tap, dict.fromkeys(names, True), done.output)
            self.assertEqual(done.code, 0, done.output)

    async def test_v4(self) -> None:
        """
        C{devp2p discv4 test} finds no fault, three times.
        """
        node = await node_of(self, self.room)
        await self.suite(SUITE_V4, "discv4", "test", f"--remote={node.enode}")

    async def test_v5(self) -> None:
        """
        C{devp2p discv5 test} finds no fault, three times.
        """
        node = await node_of(self, self.room)
        await self.suite(SUITE_V5, "discv5", "test", node.enr)


class WithGeth(DiscoveryTestCase):
    """
    geth, which speaks one of the two protocols, and we, who speak both.  Both know only a third node, which is ours.
    """

    async def test_calls_v4(self) -> None:
        """
        C{twistd -n ethp2p} finds geth by discv4, and calls.
        """
        await self.calls("v4")

    async def test_calls_v5(self) -> None:
        """
        C{twistd -n ethp2p} finds geth by discv5, and calls.
        """
        await self.calls("v5")

    async def test_called_v4(self) -> None:
        """
        geth finds us by discv4, and calls.
        """
        await self.called("v4")

    async def test_called_v5(self) -> None:
        """
        geth finds us by discv5, and calls.
        """
        await self.called("v5")

    async def calls(self, protocol: str) -> None:
        """geth calls nobody."""
        third = self.ours()
        geth = await self.geth(protocol, third, dials=False)
        node = await node_of(self, self.room, f"--bootnodes={third.enr}")
        wanted = Node.parse(geth.enode).node_id.hex()

        async def met() -> bool:
            peers = await call(node.url, "admin_peers")
            return any(peer["id"] == wanted and not peer["network"]["inbound"] for peer in peers)

        await until(met, FINDING)

    async def called(self, protocol: str) -> None:
        """We call nobody."""
        third = self.ours()
        us = Us(load_chain(ethtest()))
        self.stops(us)
        await us.listen()
        self.stops(Finder(third.enr, peer=us))
        geth = await self.geth(protocol, third)
        peer = await us.met(FINDING)
        self.assertTrue(peer.session.inbound)
        self.assertIn("Geth/v1.17.5", peer.session.client)
        (shown,) = await until(lambda: geth.rpc("admin_peers"), MEETING)
        self.assertEqual(shown["id"], us.key.public_key.node_id.hex())

    async def geth(self, protocol: str, third: Finder, *, dials: bool = True) -> Geth:
        """One that speaks this protocol, and knows a third node."""
        flag = f"--bootnodes={third.enode if protocol == 'v4' else third.enr}"
        geth = await Geth.start(self.room / "geth", ethtest(), flag, discovery=[protocol], dials=dials)
        self.stops(geth)
        return geth


class WithEthereumjs(DiscoveryTestCase):
    """
    @ethereumjs/devp2p's DPT, which proves no endpoint before it asks, and has no record.
    """

    async def test_questions(self) -> None:
        """
        Ping and FindNode, both ways.
        """
        us = self.ours(v5=False)
        other = self.ours(us.enode, v5=False)
        dpt = await self.dpt()
        theirs = Node.parse(dpt.enode)
        for one in (us, other):
            assert one.service.v4 is not None
            pong = await one.service.v4.ping(theirs)
            self.assertEqual(pong.endpoint, ("127.0.0.1", Node.parse(one.enode).udp))
            await dpt.seen("added", lambda added, one=one: added["id"] in one.enode)  # it pings who pinged it
        assert us.service.v4 is not None
        told = await us.service.v4.findNode(theirs, bytes(64))
        self.assertIn(other.local.node_id, [node.node_id for node in told])
        dpt.do("ping", enode=us.enode)
        await dpt.seen("pong", lambda pong: pong["id"] in us.enode)
        await until(lambda: us.alive(other), FINDING)
        dpt.do("find", enode=us.enode, target="11" * 64)  # the library does not show the keys in the answer
        asked, told_of = Node.parse(us.enode).udp, Node.parse(other.enode).udp
        named = await dpt.seen("named", lambda named: named["from"] == asked)
        self.assertIn(told_of, [node["port"] for node in named["nodes"]])

    async def test_third(self) -> None:
        """
        Knowing a third node only, which is ours, each finds the other.
        """
        third = self.ours()
        us = self.ours(third.enode)
        dpt = await self.dpt(third.enode)
        await us.find(Node.parse(dpt.enode).node_id, FINDING)
        await dpt.seen("added", lambda added: added["id"] in us.enode, FINDING)

    async def dpt(self, *bootnodes: str) -> EthereumjsDPT:
        """A peer."""
        dpt = await EthereumjsDPT.start(self.room, *bootnodes)
        self.stops(dpt)
        return dpt


class WithChainsafe(DiscoveryTestCase):
    """
    @chainsafe/discv5.
    """

    async def test_asked(self) -> None:
        """
        What we ask, it answers: PING, FINDNODE, TALKREQ.
        """
        us, other = self.ours(), self.ours()
        theirs = await self.chainsafe()
        node = Node.parse(theirs.enr)
        for one in (us, other):
            assert one.service.v5 is not None
            pong = await one.service.v5.ping(node)
            self.assertEqual(pong.endpoint, ("127.0.0.1", Node.parse(one.enr).udp))
        assert us.service.v5 is not None
        self.assertEqual(await us.service.v5.talk(node, b"parrot", b"polly"), b"polly")
        asked = await theirs.event("asked")
        self.assertEqual((asked["id"], asked["protocol"]), (us.local.node_id.hex(), "parrot"))
        record = await us.service.v5.requestRecord(node)
        self.assertEqual(record.text, theirs.enr)
        told = await us.service.v5.findNode(node, [log_distance(node.node_id, other.local.node_id)])
        self.assertIn(other.local.node_id, [node.node_id for node in told])

    async def test_asks(self) -> None:
        """
        What it asks, we answer: PING, FINDNODE, TALKREQ.
        """
        us = self.ours(v4=False)
        other = self.ours(us.enr, v4=False)
        assert us.service.v5 is not None
        us.service.v5.handleTalk(b"reverse", lambda node, message: message[::-1])
        theirs = await self.chainsafe()
        theirs.do("ping", enr=us.enr)
        pong = await theirs.event("pong")
        self.assertEqual((pong["ip"], pong["port"]), ("127.0.0.1", Node.parse(theirs.enr).udp))
        for protocol, answer in (("reverse", b"cba"), ("unknown", b"")):
            theirs.do("talk", enr=us.enr, protocol=protocol, message=b"abc".hex())
            self.assertEqual((await theirs.event("answer"))["message"], answer.hex())
        await until(lambda: us.alive(other), FINDING)
        theirs.do("find", enr=us.enr, distances=[0, log_distance(us.local.node_id, other.local.node_id)])
        told = self.ids(await theirs.event("nodes"))
        self.assertIn(us.local.node_id.hex(), told)
        self.assertIn(other.local.node_id.hex(), told)

    async def test_third(self) -> None:
        """
        Knowing a third node only, which is ours, each finds the other.
        """
        third = self.ours()
        us = self.ours(third.enr)
        theirs = await self.chainsafe(third.enr)
        theirs.do("lookup", id=us.local.node_id.hex())  # by itself it looks for nobody
        await theirs.event("closest")
        await us.find(bytes.fromhex(theirs.id), FINDING)

        async def found() -> bool:
            theirs.do("lookup", id=us.local.node_id.hex())
            return us.local.node_id.hex() in self.ids(await theirs.event("closest"))

        await until(found, FINDING)

    async def chainsafe(self, *bootnodes: str) -> ChainsafeDiscv5:
        """A peer."""
        theirs = await ChainsafeDiscv5.start(self.room, *bootnodes)
        self.stops(theirs)
        return theirs

    @staticmethod
    def ids(told: Mapping[str, Any]) -> list[str]:
        """Of the nodes that it shows."""
        return [node["id"] for node in told["nodes"]]
