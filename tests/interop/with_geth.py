"""
ethp2p and go-ethereum: its node, and the conformance suite of its C{devp2p} tool.
"""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGTERM
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ethp2p import networks
from ethp2p.chain import Follower, MemoryChain, fetch_blocks, load_chain
from ethp2p.errors import DisconnectReason
from ethp2p.eth.messages import Status69
from tests.data import ethtest
from tests.interop.peers import Geth, Twistd, call, run_devp2p
from tests.interop.process import until
from tests.interop.us import MEETING, Us, download

#: Seconds that an idle connection must last: four of geth's pings, and twice its patience.
IDLE = 60.0

#: What must pass of C{devp2p rlpx eth-test}: all that needs neither receipts nor a pool of transactions.
SUITE = (
    "Status",
    "MaliciousHandshake",
    "BlockRangeUpdateExpired",
    "BlockRangeUpdateFuture",
    "BlockRangeUpdateInvalid",
    "GetBlockHeaders",
    "GetNonexistentBlockHeaders",
    "SimultaneousRequests",
    "SameRequestID",
    "ZeroRequestID",
    "GetBlockBodies",
)


def head() -> str:
    """Hash of the test chain's last block."""
    return str(json.loads((ethtest() / "headblock.json").read_text())["hash"])


def folder(test: TestCase) -> Path:
    """For the files of a test."""
    return Path(test.mktemp()).absolute()


async def node_of(test: TestCase, room: Path, *options: str) -> Twistd:
    """
    A node of ours that serves the test chain.  At the end of the test it is stopped; it must go by itself, and
    must never have stumbled.
    """
    node = await Twistd.start(room / "node", f"--chain={ethtest()}", *options)

    async def end() -> None:
        await node.stop()
        test.assertEqual(node.child.code, -SIGTERM)  # twistd passes on the signal that stopped it
        test.assertNotIn("Traceback", "\n".join(node.child.lines))

    test.addCleanup(lambda: Deferred.fromCoroutine(end()))
    return node


async def agreed(url: str) -> list[Any]:
    """The peers of a node, ours or geth's, with whose Status it is done; before, geth shows no more than that."""
    return [peer for peer in await call(url, "admin_peers") if "latestBlock" in peer["protocols"].get("eth", ())]


class GethTestCase(TestCase):
    """
    With a geth of its own for each test.

    @cvar flags: more of geth's command line.
    """

    timeout = 180
    flags: tuple[str, ...] = ()

    async def setUp(self) -> None:
        self.room = folder(self)
        self.geth = await Geth.start(self.room / "geth", ethtest(), *self.flags)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.geth.stop()))

    async def stays(self) -> None:
        """Wait for L{IDLE} seconds; geth must have the same one peer all the time."""
        (before,) = await self.geth.rpc("admin_peers")
        await deferLater(reactor, IDLE)
        (after,) = await self.geth.rpc("admin_peers")
        self.assertEqual(before["network"], after["network"])


class Floors(GethTestCase):
    """
    Our floors without a node, and geth.
    """

    def us(self, chain: MemoryChain, versions: tuple[int, ...] = (66, 67, 68, 69)) -> Us:
        """A peer of ours that is gone at the end of the test."""
        us = Us(chain, versions)
        self.addCleanup(lambda: Deferred.fromCoroutine(us.stop()))
        return us

    async def test_download(self) -> None:
        """
        From the genesis on, all of geth's blocks come over eth/69, and fit.
        """
        chain = MemoryChain(networks.from_genesis(ethtest() / "genesis.json"))
        us = self.us(chain)
        peer = await us.call(self.geth.enode)
        self.assertEqual(peer.version, 69)
        self.assertIn("Geth/v1.17.5", peer.session.client)
        assert isinstance(peer.status, Status69)
        self.assertEqual(f"0x{peer.status.latest_hash.hex()}", head())
        await download(peer, chain, peer.status.latest)
        self.assertEqual(chain.head().number, 600)
        self.assertEqual(f"0x{chain.head().hash.hex()}", head())
        self.assertEqual(us.household.offences, [])

    async def test_receipts(self) -> None:
        """
        Block 11 has more receipts than a message may carry.  geth sends them all the same: it is asked for the others,
        and nothing is held against it.
        """
        served = load_chain(ethtest())
        chain = MemoryChain(served.network)
        us = self.us(chain)
        peer = await us.call(self.geth.enode)
        follower = Follower(chain, lambda: [peer], reactor)
        follower.startService()
        self.addCleanup(follower.stopService)
        await until(lambda: chain.head().number == 10, MEETING)
        for block in await fetch_blocks(peer, 11, 1):
            chain.append(block[0])
        await until(lambda: chain.head().number == 600, MEETING)
        self.assertEqual(f"0x{chain.head().hash.hex()}", head())
        self.assertEqual(us.household.offences, [])

    async def test_called(self) -> None:
        """
        geth calls us, shows us among its peers as we are, and stays.
        """
        us = self.us(load_chain(ethtest()))
        self.assertTrue(await self.geth.rpc("admin_addPeer", await us.listen()))
        peer = await us.met()
        self.assertTrue(peer.session.inbound)
        self.assertEqual(peer.version, 69)
        (shown,) = await until(lambda: agreed(self.geth.url), MEETING)
        self.assertEqual(shown["id"], us.key.public_key.node_id.hex())
        self.assertEqual(shown["name"], "ethp2p/interop")
        self.assertEqual(shown["caps"], ["eth/66", "eth/67", "eth/68", "eth/69"])
        self.assertEqual(
            shown["protocols"]["eth"],
            {"version": 69, "earliestBlock": 0, "latestBlock": 600, "latestBlockHash": head()},
        )
        await self.stays()
        self.assertEqual([session.ended for session in us.household.proven], [None])
        self.assertEqual(us.household.offences, [])
        self.assertIsNotNone(peer.session.rtt)

    async def test_useless(self) -> None:
        """
        geth speaks eth/69 and later.  Offered less, nobody has anything to say, and this is the reason given.
        """
        us = self.us(load_chain(ethtest()), (66, 67, 68))
        await us.dial(self.geth.enode)
        await until(lambda: us.household.ended, 10.0)
        ((_, ended),) = us.household.ended
        self.assertEqual(ended.reason, DisconnectReason.USELESS_PEER)


class Node(GethTestCase):
    """
    C{twistd -n ethp2p} and geth.
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.node = await node_of(self, self.room)

    async def met(self) -> None:
        """Wait for the two to be peers."""
        for url in (self.geth.url, self.node.url):
            await until(lambda url=url: agreed(url), MEETING)

    async def check(self, *, inbound: bool) -> None:
        """Both list the other, with what was agreed."""
        (theirs,) = await self.geth.rpc("admin_peers")
        (ours,) = await call(self.node.url, "admin_peers")
        self.assertEqual(ours["network"]["inbound"], inbound)
        self.assertEqual(theirs["network"]["inbound"], not inbound)
        self.assertEqual(ours["protocols"]["eth"]["version"], 69)
        self.assertEqual(theirs["protocols"]["eth"]["version"], 69)
        self.assertEqual(theirs["protocols"]["eth"]["latestBlockHash"], head())
        self.assertEqual(ours["protocols"]["eth"]["latestBlockHash"], head())
        self.assertIn("Geth/v1.17.5", ours["name"])
        self.assertTrue(theirs["name"].startswith("ethp2p/"), theirs["name"])

    async def test_call(self) -> None:
        """
        Told to, we call geth; both stay.
        """
        self.assertTrue(await call(self.node.url, "admin_addPeer", self.geth.enode))
        await self.met()
        await self.check(inbound=False)
        await self.stays()
        await self.check(inbound=False)

    async def test_called(self) -> None:
        """
        Told to, geth calls us.  When we stop, it hears the reason.
        """
        self.assertTrue(await self.geth.rpc("admin_addPeer", self.node.enode))
        await self.met()
        await self.check(inbound=True)
        await self.node.stop()
        line = await self.geth.child.until(lambda line: line if "Removing p2p peer" in line else None, MEETING)
        self.assertIn("client quitting", line)


class Suite(TestCase):
    """
    C{twistd -n ethp2p} and geth's C{devp2p} tool.
    """

    timeout = 180

    async def setUp(self) -> None:
        self.room = folder(self)
        self.node = await node_of(self, self.room)

    async def test_ping(self) -> None:
        """
        C{devp2p rlpx ping} reads our Hello.
        """
        done = await run_devp2p("rlpx", "ping", self.node.enode, folder=self.room)
        self.assertEqual(done.code, 0, done.output)
        self.assertRegex(done.output, r"Version:5 Name:ethp2p/\S+ Caps:\[eth/66 eth/67 eth/68 eth/69\]")

    async def test_eth(self) -> None:
        """
        C{devp2p rlpx eth-test} finds no fault in how we serve the chain.
        """
        done = await run_devp2p(
            *("rlpx", "eth-test", "--tap"),
            f"--chain={ethtest()}",
            f"--node={self.node.enode}",
            # its engine API is asked in the tests of transactions only
            *("--engineapi=http://127.0.0.1:9", f"--jwtsecret=0x{bytes(32).hex()}"),
            f"--run=^({'|'.join(SUITE)})$",
            folder=self.room,
        )
        self.assertEqual(done.tap, dict.fromkeys(SUITE, True), done.output)
        self.assertEqual(done.code, 0, done.output)
