"""
The sandbox on a memory network, on virtual time; and once as people run it.
"""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import enode, networks
from ethp2p.chain import MemoryChain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.node import Node
from ethp2p.sandbox.cast import CAST, meetings
from ethp2p.sandbox.service import Sandbox
from ethp2p.sandbox.verdict import DOWNLOADS, Evidence, missing
from ethp2p.testing.network import MemoryNetwork
from tests.spawn import twistd


def perfect() -> Evidence:
    """Everything as it should be."""
    good, refused = meetings()
    evidence = Evidence(newest=20, made=4)
    for meeting in good:
        evidence.met[meeting.pair] = meeting.version
        for asker, asked in (meeting.pair, meeting.pair[::-1]):
            evidence.verified[asker, asked] |= set(DOWNLOADS)
    for meeting in refused:
        evidence.refused[meeting.pair] = "genesis 0x1 is not ours"
    evidence.heads = {part.name: (20, True) for part in CAST if not part.stranger}
    return evidence


class VerdictTests(SynchronousTestCase):
    def test_perfect(self) -> None:
        """Nothing is missing when nothing is."""
        self.assertEqual(missing(perfect()), [])

    def test_each_absence_is_named(self) -> None:
        """Whatever did not happen has its own sentence."""

        def spoil(change: Any) -> list[str]:
            evidence = perfect()
            change(evidence)
            return missing(evidence)

        table = [
            (lambda e: e.met.pop(("anna", "ben")), "anna and ben did not meet"),
            (lambda e: e.met.update({("anna", "ben"): 66}), "anna and ben agreed on eth/66, not on eth/67"),
            (
                lambda e: e.verified["cara", "dan"].discard("GetReceipts"),
                "cara has no verified answer to GetReceipts from dan",
            ),
            (
                lambda e: e.verified["dan", "cara"].discard("GetReceipts"),
                "dan has no verified answer to GetReceipts from cara",
            ),
            (lambda e: e.refused.clear(), "anna did not refuse eve"),
            (
                lambda e: e.refused.update({("anna", "eve"): "too many peers"}),
                "anna refused eve for another reason than its genesis: too many peers",
            ),
            (lambda e: e.met.update({("anna", "eve"): 69}), "anna met eve, which has another genesis"),
            (lambda e: setattr(e, "made", 0), "no block was made"),
            (lambda e: e.heads.update(dan=(20, False)), "dan is on another chain than the one it follows"),
            (lambda e: e.heads.update(dan=(3, True)), "dan is at block 3 only, the chain at 20"),
            (lambda e: e.surprises.append("anna and ben parted: why"), "anna and ben parted: why"),
        ]
        for change, sentence in table:
            self.assertEqual(spoil(change), [sentence])

    def test_cast(self) -> None:
        """Every version of eth is the one that some pair agrees on."""
        good, refused = meetings()
        self.assertEqual({meeting.version for meeting in good}, {66, 67, 68, 69})
        self.assertEqual([meeting.pair for meeting in refused], [("anna", "eve")])
        self.assertNotIn(("ben", "dan"), [meeting.pair for meeting in good])  # discv4 here, discv5 there


class SandboxTests(SynchronousTestCase):
    def test_virtual(self) -> None:
        """Twenty seconds on a virtual clock: everything happens, and is printed in order."""
        network = MemoryNetwork(start=1000.0)
        out = io.StringIO()
        sandbox = Sandbox(network.host("10.0.0.1"), out=out)
        sandbox.startService()
        network.advance(21.0)
        sandbox.judge()
        self.assertEqual(missing(sandbox.evidence), [])
        lines = out.getvalue().splitlines()
        self.assertIn("sandbox", lines[0])
        enodes = [index for index, line in enumerate(lines) if "enode://" in line]
        events = [index for index, line in enumerate(lines) if " -> " in line]
        tables = [index for index, line in enumerate(lines) if "peers in/out" in line]
        self.assertEqual(len(enodes), 5)
        self.assertEqual(len([line for line in lines if " met " in line]), 5)
        self.assertEqual(len(tables), 4)
        self.assertLess(enodes[-1], events[0])
        self.assertLess(events[0], tables[0])
        [refusal, *_] = [line for line in lines if "refused" in line and "->" in line]
        self.assertIn("genesis", refusal)
        self.assertIn("is not ours", refusal)
        network.wait_for(sandbox.stopService(), limit=20.0)

    def test_guests(self) -> None:
        """A peer from outside is met, asked and seen off like the five, and is no matter of the verdict."""
        network = MemoryNetwork(start=1000.0)
        host = network.host("127.0.0.1")
        out = io.StringIO()
        sandbox = Sandbox(host, out=out)
        sandbox.startService()
        network.advance(5.0)
        anna = sandbox.players["anna"]
        url, chain = anna.node.local.node.url, anna.chain
        key = PrivateKey.parse(bytes([1]) * 32)
        listen = [TCP4ServerEndpoint(host, 30000, interface="127.0.0.1")]
        guest = Node(host, key, chain, listen=listen, staticPeers=[enode.Node.parse(url)], client="visitor")
        other = Node(host, PrivateKey.parse(bytes([2]) * 32), MemoryChain(networks.named("mainnet")))
        for node in (guest, other):
            node.startService()
        network.wait_for(guest.whenEthPeer())
        other.addPeer(enode.Node.parse(url))
        sandbox.players["dan"].node.addPeer(enode.Node(key.public_key, "127.0.0.1", 30000))
        network.advance(5.0)
        for node in (guest, other):
            network.wait_for(node.stopService())
        network.advance(20.0)
        sandbox.judge()
        self.assertEqual(missing(sandbox.evidence), [])
        lines = [line for line in out.getvalue().splitlines() if "guest" in line]
        self.assertEqual(len([line for line in lines if "guest -> anna  met      visitor" in line]), 1)
        self.assertEqual(len([line for line in lines if "dan -> guest met      visitor" in line]), 1)
        self.assertEqual(len([line for line in lines if "guest -> anna  parted   visitor" in line]), 1)
        self.assertTrue([line for line in lines if "guest -> anna  refused" in line and "is not ours" in line])
        network.wait_for(sandbox.stopService(), limit=20.0)

    def test_repeats(self) -> None:
        """The chain is the same in every run."""
        heads = []
        for seed in (1, 2):
            network = MemoryNetwork(seed=seed)
            sandbox = Sandbox(network.host("10.0.0.1"), out=io.StringIO())
            heads.append(sandbox.players["anna"].chain.head().hash)
        self.assertEqual(heads[0], heads[1])


class SpawnedTests(SynchronousTestCase):
    def test_check(self) -> None:
        """C{twistd -n ethp2p sandbox --seconds 20 --check} exits 0: real sockets, real time."""
        ended = twistd("ethp2p", "sandbox", "--seconds", "20", "--check")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        self.assertIn("check: every expected meeting, refusal and verified download happened", ended.stdout)
