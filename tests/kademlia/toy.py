"""
Engines that know no packets: one that a test plays by hand, and a network of them with loss and latency.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.kademlia.driver import Driver
from ethp2p.kademlia.engine import ByDistance, ByTarget, Vocabulary


@attrs.frozen
class PongInfo:
    endpoint: tuple[str, int] | None = None
    seq: int | None = None


@attrs.frozen
class Answered:
    token: int
    node: Node
    result: Any
    rtt: float = 0.05


@attrs.frozen
class Failed:
    token: int
    node: Node
    why: str = "timeout"


@attrs.frozen
class Asked:
    token: object
    node: Node
    target: bytes = b""
    distances: tuple[int, ...] = ()


@attrs.frozen
class Met:
    node: Node
    addr: tuple[str, int] = ("", 0)
    info: PongInfo | None = None


@attrs.frozen
class Talked:
    """Not for the driver."""

    message: bytes


VOCABULARY = Vocabulary(Answered, Failed, Asked, Met)


class HandEngine:
    """
    Does nothing by itself.

    @ivar requests: those under way by token: what, whom, and the target or distances.
    @ivar answers: what was given to C{send_nodes}.
    """

    def __init__(self) -> None:
        self.requests: dict[int, tuple[str, Node, Any]] = {}
        self.answers: list[tuple[object, Sequence[Node | Record]]] = []
        self.events: deque[Any] = deque()
        self.timer: float | None = None
        self.timed: list[float] = []
        self._token = 0

    def next_event(self) -> Any:
        return self.events.popleft() if self.events else None

    def next_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float, wall: float) -> None:
        self.timed.append(now)
        self.timer = None

    def ping(self, node: Node, now: float, wall: float) -> int:
        return self._begin("ping", node)

    def request_record(self, node: Node, now: float, wall: float) -> int:
        return self._begin("record", node)

    def find_node(self, node: Node, what: Any, now: float, wall: float) -> int:
        return self._begin("find", node, what)

    def send_nodes(self, token: object, nodes: Sequence[Node | Record], now: float, wall: float) -> None:
        self.answers.append((token, nodes))

    def _begin(self, what: str, node: Node, more: Any = None) -> int:
        self._token += 1
        self.requests[self._token] = what, node, more
        return self._token

    # for the test

    def whom(self, what: str) -> list[Node]:
        """Who is being asked."""
        return [node for kind, node, _ in self.requests.values() if kind == what]

    def answer(self, what: str, result: Any, node: Node | None = None) -> None:
        """Answer the oldest such request, or that to a certain node."""
        token = self._find(what, node)
        self.events.append(Answered(token, self.requests.pop(token)[1], result))

    def fail(self, what: str, node: Node | None = None) -> None:
        token = self._find(what, node)
        self.events.append(Failed(token, self.requests.pop(token)[1]))

    def _find(self, what: str, node: Node | None) -> int:
        return next(
            token
            for token, (kind, asked, _) in self.requests.items()
            if kind == what and (node is None or asked.node_id == node.node_id)
        )


class World:
    """
    Many nodes and their drivers, with the time as a heap.

    @ivar drivers: by id.
    @ivar requests: how many there were, by kind.
    """

    def __init__(self, seed: int, *, loss: float = 0.0, latency: float = 0.05, timeout: float = 0.5) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.latency = latency
        self.timeout = timeout
        self.now = 0.0
        self.drivers: dict[bytes, Driver] = {}
        self.engines: dict[bytes, WorldEngine] = {}
        self.events: dict[bytes, list[Any]] = {}
        self.requests = dict.fromkeys(("ping", "record", "find"), 0)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._bare: dict[tuple[bytes, str, int], Node] = {}

    def bare(self, node: Node) -> Node:
        """Without its record, as discv4 tells of it."""
        key = node.node_id, node.host, node.udp
        if key not in self._bare:
            self._bare[key] = attrs.evolve(node, record=None)
        return self._bare[key]

    def add(self, node: Node, by: type[ByTarget] | type[ByDistance], **more: Any) -> Driver:
        engine = self.engines[node.node_id] = WorldEngine(self, node, by is ByTarget)
        driver = Driver(by(engine, VOCABULARY), node.public_key, rng=Random(self.rng.random()), **more)
        self.drivers[node.node_id] = driver
        self.events[node.node_id] = []
        return driver

    def start(self) -> None:
        for node_id, driver in self.drivers.items():
            driver.start(self.now, self.now)
            self.settle(node_id)

    def leave(self, node_id: bytes) -> None:
        """Gone without a word."""
        del self.drivers[node_id], self.engines[node_id]

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, call))

    def settle(self, node_id: bytes) -> None:
        """What an owner does after every datagram and timer."""
        driver, engine = self.drivers[node_id], self.engines[node_id]
        driver.receive_events(self.now, self.now)
        while (event := driver.next_event()) is not None:
            self.events[node_id].append(event)
        due = driver.next_timer()
        if due is not None and (engine.alarm is None or due < engine.alarm):
            engine.alarm = due
            self.later(due - self.now, lambda: self._ring(node_id, due))

    def _ring(self, node_id: bytes, due: float) -> None:
        engine = self.engines.get(node_id)
        if engine is not None and engine.alarm == due:
            engine.alarm = None
            self.drivers[node_id].handle_timer(self.now, self.now)
            self.settle(node_id)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.now = until


class WorldEngine:
    """
    A request reaches the other's engine or is lost, and so does the answer.
    """

    def __init__(self, world: World, node: Node, bare: bool) -> None:
        self.world = world
        self.node = node
        self.alarm: float | None = None
        self._bare = bare
        self._events: deque[Any] = deque()
        self._token = 0
        self._open: set[int] = set()
        self._met: set[bytes] = set()

    def next_event(self) -> Any:
        return self._events.popleft() if self._events else None

    def next_timer(self) -> None:
        return None

    def handle_timer(self, now: float, wall: float) -> None:
        raise AssertionError("no timer")

    def ping(self, node: Node, now: float, wall: float) -> int:
        return self._request("ping", node, None)

    def request_record(self, node: Node, now: float, wall: float) -> int:
        return self._request("record", node, None)

    def find_node(self, node: Node, what: Any, now: float, wall: float) -> int:
        return self._request("find", node, what)

    def send_nodes(self, token: Any, nodes: Sequence[Node | Record], now: float, wall: float) -> None:
        asker, number, asked = token
        told = [node for node in nodes if isinstance(node, Node)][:16]
        if self._bare:
            told = [self.world.bare(node) for node in told]
        asker.arrive(self.world.latency, Answered(number, asked, tuple(told)))

    def arrive(self, delay: float, event: Any) -> None:
        """Unless it is lost."""
        if self.world.rng.random() >= self.world.loss:
            self.world.later(delay, lambda: self._take(event))

    def _take(self, event: Any) -> None:
        if isinstance(event, (Answered, Failed)):
            if event.token not in self._open:
                return
            self._open.remove(event.token)
        if self.node.node_id in self.world.engines:
            self._events.append(event)
            self.world.settle(self.node.node_id)

    def _request(self, kind: str, node: Node, what: Any) -> int:
        world = self.world
        world.requests[kind] += 1
        self._token += 1
        token = self._token
        self._open.add(token)
        world.later(world.timeout, lambda: self._take(Failed(token, node)))
        if world.rng.random() >= world.loss:
            world.later(world.latency, lambda: self._deliver(kind, token, node, what))
        return token

    def _deliver(self, kind: str, token: int, node: Node, what: Any) -> None:
        other = self.world.engines.get(node.node_id)
        if other is None or (other.node.host, other.node.udp) != (node.host, node.udp):
            return
        me = self.world.bare(self.node) if self._bare else self.node
        if self.node.node_id not in other._met:
            other._met.add(self.node.node_id)
            other._take(Met(me, (me.host, me.udp)))
        record = other.node.record
        if kind == "find":
            more = {"target": what} if self._bare else {"distances": tuple(what)}
            other._take(Asked((self, token, node), me, **more))
        else:
            seq = None if record is None else record.seq
            result = PongInfo((me.host, me.udp), seq) if kind == "ping" else record
            self.arrive(self.world.latency, Answered(token, node, result, 2 * self.world.latency))
