"""
ethp2p and EthereumJS: its devp2p library, and its client.
"""

from __future__ import annotations

from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ethp2p import networks
from ethp2p.chain import MemoryChain, load_chain
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.eth import EthProtocol
from ethp2p.eth.messages import Status66
from ethp2p.interfaces import IChain
from tests.data import ethtest
from tests.interop.peers import EthereumjsClient, EthereumjsPeer, Standing
from tests.interop.process import until
from tests.interop.us import MEETING, Us, download


def standing(chain: IChain) -> Standing:
    """What a peer with this chain says of it."""
    head = chain.head()
    fork = chain.network.fork_id(head.number, head.timestamp)
    return Standing(
        network_id=chain.network.network_id,
        genesis=f"0x{chain.network.genesis_hash.hex()}",
        fork_hash=f"0x{fork.hash.hex()}",
        fork_next=fork.next,
        total_difficulty=chain.totalDifficulty(),
        head=f"0x{head.hash.hex()}",
    )


class EthereumjsTestCase(TestCase):
    """
    With the test chain on our side.
    """

    timeout = 120

    def setUp(self) -> None:
        self.room = Path(self.mktemp()).absolute()
        self.chain = load_chain(ethtest())

    def us(self, chain: IChain) -> Us:
        """A peer of ours that is gone at the end of the test."""
        us = Us(chain)
        self.stops(us)
        return us

    def stops(self, peer: Us | EthereumjsPeer | EthereumjsClient) -> None:
        """Stop it at the end of the test."""
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.stop()))


class Library(EthereumjsTestCase):
    """
    @ethereumjs/devp2p, which calls and is called: RLPx, Hello and Status both ways.
    """

    async def check(self, theirs: EthereumjsPeer, ours: EthProtocol) -> None:
        """Each heard what the other is."""
        self.assertEqual(ours.version, 68)
        self.assertTrue(ours.session.client.startswith("ethereumjs-devp2p/"), ours.session.client)
        hello = await theirs.event("hello")
        self.assertEqual(hello["client"], "ethp2p/interop")
        self.assertEqual(hello["capabilities"], ["eth/66", "eth/67", "eth/68", "eth/69"])
        status = await theirs.event("status")
        said = standing(self.chain)
        self.assertEqual(
            (status["version"], status["networkId"], status["genesis"], status["td"], status["head"]),
            (68, str(said.network_id), said.genesis, str(said.total_difficulty), said.head),
        )
        self.assertEqual((status["forkHash"], status["forkNext"]), (said.fork_hash, str(said.fork_next)))
        head = self.chain.head()
        self.assertEqual(
            ours.status,
            Status66(
                version=68,
                network_id=said.network_id,
                total_difficulty=said.total_difficulty,
                head_hash=head.hash,
                genesis_hash=self.chain.network.genesis_hash,
                fork_id=self.chain.network.fork_id(head.number, head.timestamp),
            ),
        )

    async def test_call(self) -> None:
        """
        We call; when we go, it hears why.
        """
        theirs = await EthereumjsPeer.listen(self.room, standing(self.chain))
        self.stops(theirs)
        us = self.us(self.chain)
        ours = await us.call(theirs.enode)
        await self.check(theirs, ours)
        ours.session.disconnect(DisconnectReason.TOO_MANY_PEERS)
        ended = await theirs.event("disconnect")
        self.assertEqual((ended["name"], ended["byUs"]), ("TOO_MANY_PEERS", False))

    async def test_called(self) -> None:
        """
        It calls us; its listen port 0, which is not canonical RLP, does not keep it out.
        """
        us = self.us(self.chain)
        theirs = EthereumjsPeer.dial(self.room, await us.listen(), standing(self.chain))
        self.stops(theirs)
        await self.check(theirs, await us.met())
        self.assertEqual(us.household.offences, [])

    async def test_other_network(self) -> None:
        """
        One on another network is told to go, and it is booked.
        """
        us = self.us(self.chain)
        other = attrs.evolve(standing(self.chain), network_id=1)
        theirs = EthereumjsPeer.dial(self.room, await us.listen(), other)
        self.stops(theirs)
        await until(lambda: us.household.ended, MEETING)
        self.assertEqual([offence for _, offence, _ in us.household.offences], [Offence.WRONG_CHAIN])
        ended = await theirs.event("disconnect")
        self.assertEqual(ended["name"], "SUBPROTOCOL_ERROR")


class Client(EthereumjsTestCase):
    """
    @ethereumjs/client.
    """

    async def test_download(self) -> None:
        """
        From the genesis on, all of its blocks come over eth/68, and fit.
        """
        client = await EthereumjsClient.start(self.room, ethtest())
        self.stops(client)
        self.assertEqual(await client.rpc("eth_blockNumber"), hex(self.chain.head().number))
        fresh = MemoryChain(networks.from_genesis(ethtest() / "genesis.json"))
        us = self.us(fresh)
        peer = await us.call(client.enode)
        self.assertEqual(peer.version, 68)
        self.assertIn("EthereumJS/0.10.4", peer.session.client)
        assert isinstance(peer.status, Status66)
        self.assertEqual(peer.status.head_hash, self.chain.head().hash)
        await download(peer, fresh, self.chain.head().number)
        self.assertEqual(fresh.head().hash, self.chain.head().hash)
        self.assertEqual(us.household.offences, [])
