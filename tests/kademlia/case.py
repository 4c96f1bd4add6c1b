"""
A driver over an engine played by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Node
from ethp2p.kademlia.driver import (
    Driver,
)
from ethp2p.kademlia.engine import ByDistance, ByTarget
from tests.kademlia.nodes import LOCAL, public_key
from tests.kademlia.toy import VOCABULARY, HandEngine, PongInfo

E = TypeVar("E")
US = public_key(LOCAL)


class Case(SynchronousTestCase):
    by: type[ByTarget] | type[ByDistance] = ByTarget

    def begin(self, bootnodes: Sequence[Node] = (), start: bool = True, **more: Any) -> None:
        self.now = 100.0
        self.engine = HandEngine()
        self.driver = Driver(self.by(self.engine, VOCABULARY), US, rng=Random(1), bootnodes=bootnodes, **more)
        self.told: list[Any] = []
        if start:
            self.driver.start(self.now, 0.0)
            self.take()

    def take(self) -> None:
        while (event := self.driver.next_event()) is not None:
            self.told.append(event)

    def turn(self, *events: Any) -> None:
        """Let the engine tell something."""
        self.engine.events.extend(events)
        self.driver.receive_events(self.now, 0.0)
        self.take()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.driver.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.driver.handle_timer(self.now, 0.0)
            self.take()
        self.now = until

    def of(self, kind: type[E]) -> list[E]:
        """What was told of a kind, once."""
        found = [event for event in self.told if isinstance(event, kind)]
        self.told = [event for event in self.told if not isinstance(event, kind)]
        return found

    def finish(self, result: Sequence[Node] = ()) -> None:
        """Answer all questions until there are none."""
        while self.engine.whom("find"):
            self.engine.answer("find", tuple(result))
            self.turn()

    def fail_all(self, what: str) -> None:
        while self.engine.whom(what):
            self.engine.fail(what)
            self.turn()

    def pass_check(self, each: Node, info: PongInfo | None = None) -> None:
        """Let time pass until a node is pinged, and let it answer."""
        while each.node_id not in [other.node_id for other in self.engine.whom("ping")]:
            self.advance(0.5)
        self.engine.answer("ping", info or PongInfo(), each)
        self.turn()
