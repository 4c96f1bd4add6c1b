"""
Engines with each other, on a network that delays, reorders and loses.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4.state import Addr, Answered, Asked, Discv4, Event, Failed, Met
from ethp2p.enode import LocalNode, Node
from tests.discv4.support import THEM, US, WALL, Ether, local

TARGET = b"\x07" * 64


class Owner:
    """Knows whom it met, and tells of them."""

    def __init__(self, ether: Ether, number: int, addr: Addr) -> None:
        self.ether = ether
        self.local: LocalNode = local(number, addr)
        self.engine = Discv4(self.local)
        self.known: dict[bytes, Node] = {}
        self.ended: dict[int, Answered | Failed] = {}
        ether.join(addr, self.engine, self.hear)

    @property
    def node(self) -> Node:
        return Node(self.local.public_key, self.local.node.host, 30303, self.local.node.udp)

    def hear(self, event: Event) -> None:
        now, wall = self.ether.now, WALL + self.ether.now
        if isinstance(event, Met):
            self.known[event.node.node_id] = event.node
        elif isinstance(event, Asked):
            self.engine.send_nodes(event.token, list(self.known.values()), now, wall)
        else:
            assert event.token not in self.ended, "ended twice"
            self.ended[event.token] = event

    def find(self, other: Node) -> Answered | Failed:
        token = self.engine.find_node(other, TARGET, self.ether.now, WALL + self.ether.now)
        self.ether.run(2.0)
        return self.ended[token]


class PairTests(SynchronousTestCase):
    def test_well(self) -> None:
        """Nothing lost: each request is answered, from a standing start."""
        ether = Ether()
        alice, bob = Owner(ether, 1, US), Owner(ether, 2, THEM)
        engine, now = alice.engine, (0.0, WALL)
        tokens = [engine.ping(bob.node, *now), engine.find_node(bob.node, TARGET, *now)]
        tokens.append(engine.request_record(bob.node, *now))
        ether.run(2.0)
        answers = [alice.ended[token] for token in tokens]
        self.assertEqual([type(answer) for answer in answers], [Answered] * 3)
        assert isinstance(answers[2], Answered)
        self.assertEqual(answers[2].result, bob.local.record)
        self.assertEqual((engine.requests, engine.proofs, engine.next_timer()), (0, 0, None))
        self.assertIn(alice.local.node_id, bob.known)

    def test_a_node_restarts(self) -> None:
        """It has forgotten us, and yet the first question is answered."""
        ether = Ether()
        alice, bob = Owner(ether, 1, US), Owner(ether, 2, THEM)
        self.assertIsInstance(alice.find(bob.node), Answered)
        bob = Owner(ether, 2, THEM)
        self.assertIsInstance(alice.find(bob.node), Answered)

    def test_we_restart(self) -> None:
        """It remembers us, and does not ping us: it is asked all the same."""
        ether = Ether()
        alice, bob = Owner(ether, 1, US), Owner(ether, 2, THEM)
        self.assertIsInstance(alice.find(bob.node), Answered)
        alice = Owner(ether, 1, US)
        self.assertIsInstance(alice.find(bob.node), Answered)

    def test_lossy(self) -> None:
        """
        A fifth of all packets lost: every request ends once, most first questions are answered, more of the later
        ones, and each node gets an answer in the end.
        """
        ether = Ether(seed=5, loss=0.2)
        boot = Owner(ether, 1, US)
        nodes = [Owner(ether, number, (f"10.0.1.{number}", 30303)) for number in range(2, 42)]
        results = [[isinstance(each.find(boot.node), Answered) for _ in range(4)] for each in nodes]
        self.assertGreater(sum(result[0] for result in results), 20)
        self.assertGreater(sum(result[-1] for result in results), 28)
        self.assertTrue(all(map(any, results)))
        for each in (boot, *nodes):
            engine = each.engine
            self.assertEqual((engine.requests, engine.proofs, engine.next_timer()), (0, 0, None))
            self.assertEqual(engine._remotes, {})
            self.assertEqual(engine.ignored["malformed"] + engine.ignored["amplification"], 0)
            self.assertEqual(len(each.ended), engine._token)

    def test_repeatable(self) -> None:
        """The same seed, the same run."""

        def run() -> list[object]:
            ether = Ether(seed=9, loss=0.3)
            alice, bob = Owner(ether, 1, US), Owner(ether, 2, THEM)
            for _ in range(5):
                alice.find(bob.node)
            return [alice.ended, alice.engine.received, bob.engine.received]

        self.assertEqual(run(), run())
