"""
What is noted of what an engine tells.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.database import Known, NodeDatabase
from ethp2p.discovery.witness import Witness
from ethp2p.discv4.state import Answered, Failed, Met, PongInfo
from ethp2p.discv5 import state as state5
from ethp2p.enode import LocalNode, Node
from ethp2p.kademlia import ByDistance, ByTarget, Vocabulary
from tests.discovery.support import key, node, recorded

PONG = PongInfo(("9.9.9.9", 30303), 1)


class Engine:
    """Gives tokens, and the events it is given."""

    def __init__(self) -> None:
        self.events: deque[Any] = deque()
        self.asked: list[tuple[str, Any]] = []

    def next_event(self) -> Any:
        return self.events.popleft() if self.events else None

    def ask(self, verb: str, *args: Any) -> int:
        self.asked.append((verb, args))
        return len(self.asked)

    def next_timer(self) -> float:
        return 5.0

    def __getattr__(self, verb: str) -> Any:
        return lambda *args: self.ask(verb, *args)


class WitnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = NodeDatabase(None)
        self.addCleanup(self.database.close)
        self.engine = Engine()
        self.local = LocalNode(key(99), wall_ms=0)
        self.wall = 100.0
        self.witness = self.make(ByTarget, Vocabulary(Answered, Failed, Met, Met))

    def make(self, speak: Any, vocabulary: Vocabulary) -> Witness:
        return Witness(
            self.engine,
            speak,
            vocabulary,
            "v4",
            database=self.database,
            local=self.local,
            wall=lambda: self.wall,
            admits=lambda which: which.record is None or which.record.seq < 100,
        )

    def told(self, *events: Any) -> None:
        self.engine.events.extend(events)
        for event in events:
            self.assertIs(self.witness.next_event(), event)
        self.assertIsNone(self.witness.next_event())

    def known(self, which: Node) -> Known:
        known = self.database.get(which.node_id)
        assert known is not None
        return known

    def test_verbs(self) -> None:
        """All are the engine's, and their answers too."""
        one = node(1)
        self.assertEqual(self.witness.ping(one, 1.0, 2.0), 1)
        self.assertEqual(self.witness.find_node(one, b"t" * 64, 1.0, 2.0), 2)
        self.assertEqual(self.witness.request_record(one, 1.0, 2.0), 3)
        self.witness.send_nodes("token", [one], 1.0, 2.0)
        self.witness.handle_timer(1.0, 2.0)
        self.assertEqual(self.witness.next_timer(), 5.0)
        self.assertEqual(
            self.engine.asked,
            [
                ("ping", (one, 1.0, 2.0)),
                ("find_node", (one, b"t" * 64, 1.0, 2.0)),
                ("request_record", (one, 1.0, 2.0)),
                ("send_nodes", ("token", [one], 1.0, 2.0)),
                ("handle_timer", (1.0, 2.0)),
            ],
        )
        self.assertIs(self.witness.dialect.engine, self.witness)

    def test_answers(self) -> None:
        one = node(1)
        self.told(Answered(1, one, PONG, 0.1))
        known = self.known(one)
        self.assertEqual((known.last_pong, known.addresses[0].failures), (100.0, 0))
        record = recorded(1).record
        assert record is not None
        self.wall = 200.0
        self.told(Answered(2, one, record, 0.1))
        known = self.known(one)
        self.assertEqual((known.node, known.last_pong), (attrs.evolve(one, record=record), 200.0))

    def test_failures(self) -> None:
        """Only FINDNODE counts, and an answer to it forgives."""
        one = node(1)
        self.told(Answered(self.witness.ping(one, 0.0, 0.0), one, PONG, 0.1))
        self.told(Failed(self.witness.ping(one, 0.0, 0.0), one, ""))
        tokens = [self.witness.find_node(one, b"", 0.0, 0.0) for _ in range(3)]
        self.assertEqual(self.known(one).addresses[0].failures, 0)
        self.told(Failed(tokens[0], one, ""), Failed(tokens[1], one, ""))
        self.assertEqual(self.known(one).addresses[0].failures, 2)
        self.told(Answered(tokens[2], one, (), 0.1))
        self.assertEqual(self.known(one).addresses[0].failures, 0)
        self.assertEqual(self.witness._questions, set())

    def test_met(self) -> None:
        self.told(Met(node(1), PONG))
        self.assertEqual(self.known(node(1)).last_pong, 100.0)

    def test_met_elsewhere(self) -> None:
        """A node of v5 that comes from another address than its record says has not answered there."""
        self.witness = self.make(ByDistance, Vocabulary.of(state5))
        self.told(state5.Met(recorded(1), ("9.9.9.9", 30303)))
        self.assertEqual(len(self.database), 0)
        self.told(state5.Met(recorded(1), (recorded(1).host, 30303)))
        self.assertEqual(len(self.database), 1)

    def test_of_another_chain(self) -> None:
        """It is forgotten as soon as that is known."""
        one, record = node(1), recorded(1, seq=100).record
        self.told(Answered(1, one, PONG, 0.1))
        self.assertEqual(len(self.database), 1)
        self.told(Answered(2, one, record, 0.1), Met(attrs.evolve(one, record=record), PONG))
        self.assertEqual(len(self.database), 0)

    def test_contact(self) -> None:
        """Whoever we wrote to first does not show that anybody can reach us."""
        self.witness.ping(node(1), 0.0, 0.0)
        self.local.statement(("9.9.9.9", 30303), node(1).host, 1.0)
        self.assertFalse(self.local.full_cone(4, 2.0))
        self.local.statement(("9.9.9.9", 30303), node(2).host, 1.0)
        self.assertTrue(self.local.full_cone(4, 2.0))
