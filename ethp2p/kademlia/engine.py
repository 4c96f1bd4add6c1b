"""
What the driver needs of a discovery protocol's engine, and the two ways in which the protocols ask for nodes.

An engine proves endpoints by itself where its protocol wants that before a question, gives every request one
answer or failure, takes answers only from the address asked, and leaves out of them what a node cannot know
or nobody can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol, Union

import attrs

from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PublicKey
from ethp2p.enode import Node
from ethp2p.enode.cidr import Scope, scope_of
from ethp2p.enr import Record
from ethp2p.kademlia.distance import nearby_distances
from ethp2p.kademlia.table import BUCKET_SIZE, Table


class PongInfo(Protocol):
    """The result of a ping."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where the node sees us, if it says."""

    @property
    def seq(self) -> int | None:
        """Of its record, if it says."""


class Answered(Protocol):
    """A request of ours has its answer."""

    @property
    def token(self) -> int:
        """What the request returned."""

    @property
    def node(self) -> Node:
        """As it was asked."""

    @property
    def result(self) -> Any:
        """A L{PongInfo}, a tuple of nodes, or a L{Record}."""

    @property
    def rtt(self) -> float:
        """Seconds it took."""


class Failed(Protocol):
    """A request of ours will have no answer."""

    @property
    def token(self) -> int:
        """What the request returned."""

    @property
    def node(self) -> Node:
        """As it was asked."""


class Asked(Protocol):
    """Somebody whose endpoint is proven asks for nodes: by C{target}, or by C{distances}."""

    @property
    def token(self) -> object:
        """For C{send_nodes}."""

    @property
    def node(self) -> Node:
        """Who asks."""


class AskedByTarget(Asked, Protocol):
    """As discv4 has it."""

    @property
    def target(self) -> bytes:
        """64 bytes, as of a public key."""


class AskedByDistance(Asked, Protocol):
    """As discv5 has it."""

    @property
    def distances(self) -> Sequence[int]:
        """Logarithmic distances from us; the engine itself gives our own record for 0."""


class Met(Protocol):
    """A node has come by itself and proven its endpoint; may be told again each time that it comes."""

    @property
    def node(self) -> Node:
        """Who it is."""


@attrs.frozen
class Vocabulary:
    """
    The classes of an engine's events.  What is of none of them the driver passes on.
    """

    answered: type[Answered]
    failed: type[Failed]
    asked: type[Asked]
    met: type[Met]

    @classmethod
    def of(cls, module: Any) -> Vocabulary:
        """Those of a module that calls them by these names."""
        return cls(module.Answered, module.Failed, module.Asked, module.Met)


class Engine(Protocol):
    """What both protocols have."""

    def next_event(self) -> Any:
        """The next thing that happened, or None."""

    def next_timer(self) -> float | None:
        """When C{handle_timer} is to be called."""

    def handle_timer(self, now: float, wall: float, /) -> None:
        """Let happen what is due."""

    def ping(self, node: Node, now: float, wall: float, /) -> int:
        """See whether a node is there.  @return: the request's token."""

    def request_record(self, node: Node, now: float, wall: float, /) -> int:
        """Ask a node for its record.  @return: the request's token."""

    def send_nodes(self, token: Any, nodes: Sequence[Union[Node, Record]], now: float, wall: float, /) -> None:
        """Answer an L{Asked}; also with no node at all."""


class TargetEngine(Engine, Protocol):
    """As discv4 has it."""

    def find_node(self, node: Node, target: bytes, now: float, wall: float, /) -> int:
        """Ask for the nodes near a public key, 64 bytes.  @return: the request's token."""


class DistanceEngine(Engine, Protocol):
    """As discv5 has it."""

    def find_node(self, node: Node, distances: Sequence[int], now: float, wall: float, /) -> int:
        """Ask for nodes at distances from the one asked.  @return: the request's token."""


class Dialect(Protocol):
    """One of the two ways."""

    @property
    def engine(self) -> Engine:
        """Whom it speaks through."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the engine."""

    def target_of(self, key: PublicKey) -> bytes:
        """The target of a lookup for a node."""

    def random_target(self, rng: Random) -> bytes:
        """The target of a lookup for anybody."""

    def id_of(self, target: bytes) -> bytes:
        """Where a target is, 32 bytes."""

    def find_node(self, node: Node, target: bytes, now: float, wall: float) -> int:
        """Ask for what brings us nearer to a target."""

    def choose(self, table: Table, asked: Any) -> list[Node]:
        """The answer to an L{Asked}."""

    def proven(self, met: Any) -> bool:
        """Whether the endpoint that a L{Met} has proven is the one that others will be told."""

    def renewed(self, node: Node, record: Record) -> Node:
        """A node that has given us its record."""


def _scope(asked: Asked) -> Scope:
    """Of who asks.  One whose record has no address may be anywhere: its engine, which knows, sorts them out."""
    return scope_of(asked.node.host) if asked.node.host else Scope.LOOPBACK


@attrs.frozen
class ByTarget:
    """
    discv4: nodes are asked for those they know nearest to a public key, and are told of with their endpoint
    alone; the record has to be asked for.
    """

    engine: TargetEngine
    vocabulary: Vocabulary

    def target_of(self, key: PublicKey) -> bytes:
        return key.raw

    def random_target(self, rng: Random) -> bytes:
        return rng.randbytes(64)  # need not be on the curve: only its hash counts

    def id_of(self, target: bytes) -> bytes:
        return keccak256(target)

    def find_node(self, node: Node, target: bytes, now: float, wall: float) -> int:
        return self.engine.find_node(node, target, now, wall)

    def choose(self, table: Table, asked: AskedByTarget) -> list[Node]:
        return table.closest(keccak256(asked.target), scope=_scope(asked))

    def proven(self, met: Met) -> bool:
        return True  # it is where its packets came from

    def renewed(self, node: Node, record: Record) -> Node:
        """
        It stays where it has answered: what its record says may be older, or an address behind a NAT.  Only
        the TCP port is better known to the record, when it speaks of the same host.
        """
        told = Node.from_record(record, None if node.ip is None else node.ip.version)
        tcp = told.tcp if told.tcp and told.host == node.host else node.tcp
        return attrs.evolve(node, record=record, tcp=tcp)


@attrs.frozen
class ByDistance:
    """
    discv5: nodes are asked for those at some logarithmic distances, and are told of with their record.
    """

    engine: DistanceEngine
    vocabulary: Vocabulary
    #: The IP version at which nodes can be reached, if it is only one.
    version: int | None = None

    def target_of(self, key: PublicKey) -> bytes:
        return key.node_id

    def random_target(self, rng: Random) -> bytes:
        return rng.randbytes(32)

    def id_of(self, target: bytes) -> bytes:
        return target

    def find_node(self, node: Node, target: bytes, now: float, wall: float) -> int:
        return self.engine.find_node(node, nearby_distances(target, node.node_id), now, wall)

    def choose(self, table: Table, asked: AskedByDistance) -> list[Node]:
        return table.at_distances(asked.distances, BUCKET_SIZE, scope=_scope(asked), but=asked.node.node_id)

    def proven(self, met: Any) -> bool:
        """Its record may say something else than its packets' source."""
        return bool(met.addr == (met.node.host, met.node.udp))

    def renewed(self, node: Node, record: Record) -> Node:
        """It is where its record says, since that is what others are told."""
        return Node.from_record(record, self.version)
