"""
An engine that is watched: what the nodes of a protocol do is noted in the database, and the driver above sees the
engine as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

from ethp2p.discovery.database import NodeDatabase
from ethp2p.enode import LocalNode, Node
from ethp2p.enr import Record
from ethp2p.kademlia import Vocabulary
from ethp2p.kademlia.engine import Dialect


class Witness:
    """
    Has the verbs that a L{driver<ethp2p.kademlia.Driver>} needs of an engine.
    """

    def __init__(
        self,
        engine: Any,
        speak: Callable[[Any, Vocabulary], Dialect],
        vocabulary: Vocabulary,
        protocol: str,
        *,
        database: NodeDatabase,
        local: LocalNode,
        wall: Callable[[], float],
        admits: Callable[[Node], bool],
    ) -> None:
        """
        @param engine: C{Discv4} or C{Discv5}.
        @param speak: C{ByTarget} or C{ByDistance}.
        @param protocol: its name in the database.
        @param local: told whom we write to first, which shows whether others can reach us unasked.
        @param admits: whether to note anything of a node.
        """
        #: For the driver.
        self.dialect = speak(self, vocabulary)
        self._engine = engine
        self._vocabulary = vocabulary
        self._protocol = protocol
        self._database = database
        self._local = local
        self._wall = wall
        self._admits = admits
        self._questions: set[int] = set()

    def stop(self) -> None:
        """All questions are about to be given up: those who were asked are not to blame."""
        self._questions.clear()

    def next_event(self) -> Any:
        """The engine's next event, noted."""
        event = self._engine.next_event()
        if event is not None:
            self._note(event)
        return event

    def next_timer(self) -> float | None:
        """The engine's."""
        due: float | None = self._engine.next_timer()
        return due

    def handle_timer(self, now: float, wall: float) -> None:
        """The engine's."""
        self._engine.handle_timer(now, wall)

    def ping(self, node: Node, now: float, wall: float) -> int:
        """The engine's."""
        if node.ip is not None:
            self._local.contact(node.ip, now)
        token: int = self._engine.ping(node, now, wall)
        return token

    def request_record(self, node: Node, now: float, wall: float) -> int:
        """The engine's."""
        token: int = self._engine.request_record(node, now, wall)
        return token

    def find_node(self, node: Node, aim: Any, now: float, wall: float) -> int:
        """The engine's.  Whether it is answered is what is counted of a node."""
        token: int = self._engine.find_node(node, aim, now, wall)
        self._questions.add(token)
        return token

    def send_nodes(self, token: Any, nodes: Sequence[Union[Node, Record]], now: float, wall: float) -> None:
        """The engine's."""
        self._engine.send_nodes(token, nodes, now, wall)

    def _note(self, event: Any) -> None:
        vocabulary, database = self._vocabulary, self._database
        if isinstance(event, vocabulary.answered):
            asked = event.token in self._questions
            self._questions.discard(event.token)
            node = self.dialect.renewed(event.node, event.result) if isinstance(event.result, Record) else event.node
            if not self._admits(node):
                database.forget(node)
                return
            database.ponged(node, self._protocol, self._wall())
            if asked:
                database.answered(node, self._protocol, self._wall())
        elif isinstance(event, vocabulary.failed):
            if event.token in self._questions:
                self._questions.discard(event.token)
                database.failed(event.node, self._protocol, self._wall())
        elif isinstance(event, vocabulary.met) and self.dialect.proven(event) and self._admits(event.node):
            database.ponged(event.node, self._protocol, self._wall())
