"""The shell: datagrams to the engine, Deferreds for its events, one timer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import Asked, Discv5, Discv5Protocol, Met, PongInfo, QueryFailed, Talked
from ethp2p.discv5.calls import distance
from ethp2p.discv5.limits import REPEAT_AFTER, RESPONSE_TIMEOUT
from ethp2p.enode import Node
from ethp2p.errors import LocalProtocolError
from tests.discv5.common import Tape, local_of, node_of


class Wire:
    """UDP transports of several ports, joined."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, int], Discv5Protocol] = {}
        self.underway: list[tuple[bytes, tuple[str, int], tuple[str, int]]] = []

    def carry(self) -> None:
        while self.underway:
            data, source, to = self.underway.pop(0)
            if to in self.ports:
                self.ports[to].datagramReceived(data, source)


class Transport:
    def __init__(self, wire: Wire, addr: tuple[str, int]) -> None:
        self.wire = wire
        self.addr = addr
        self.error: Exception | None = None

    def write(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.error is not None:
            raise self.error
        self.wire.underway.append((data, self.addr, addr))


class Owner(Discv5Protocol):
    """Takes part."""

    known: tuple[Node, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.met: list[Met] = []

    def nodesAsked(self, asked: Asked) -> Iterable[Node]:
        return self.known

    def nodeMet(self, met: Met) -> None:
        self.met.append(met)

    def talked(self, talked: Talked) -> bytes:
        return talked.message[::-1]


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.alice, self.bob = self.port(1, Discv5Protocol), self.port(2, Owner)
        self.node = self.bob.engine.local.node

    def port(self, number: int, kind: type[Discv5Protocol]) -> Any:
        addr = (f"10.0.0.{number}", 30303)
        protocol = kind(Discv5(local_of(number, *addr), random=Tape(seed=number)), self.clock, lambda: 1e9)
        protocol.makeConnection(Transport(self.wire, addr))  # type: ignore[arg-type]
        self.wire.ports[addr] = protocol
        return protocol

    def result(self, waiting: Deferred[Any]) -> Any:
        self.assertNoResult(waiting)
        self.wire.carry()
        return self.successResultOf(waiting)

    def test_ping(self) -> None:
        info = self.result(self.alice.ping(self.node))
        self.assertEqual(info, PongInfo(("10.0.0.1", 30303), self.bob.engine.local.record.seq))
        self.assertEqual([met.node for met in self.bob.met], [self.alice.engine.local.node])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_find_node(self) -> None:
        node = node_of(7, "10.0.0.7")
        self.bob.known = (node,)
        there = distance(node.node_id, self.node.node_id)
        self.assertEqual(self.result(self.alice.findNode(self.node, [there])), (node,))

    def test_record(self) -> None:
        self.assertEqual(self.result(self.alice.requestRecord(self.node)), self.node.record)

    def test_talk(self) -> None:
        self.bob.engine.talk_protocols.add(b"mirror")
        self.assertEqual(self.result(self.alice.talk(self.node, b"mirror", b"abc")), b"cba")
        self.assertEqual(self.result(self.alice.talk(self.node, b"other", b"abc")), b"")

    def test_bare(self) -> None:
        """Without an owner it answers, and knows nobody."""
        self.alice.engine.talk_protocols.add(b"mute")
        us = self.alice.engine.local.node
        self.assertEqual(self.result(self.bob.findNode(us, [256])), ())
        self.assertEqual(self.result(self.bob.talk(us, b"mute", b"?")), b"")

    def test_timeout(self) -> None:
        waiting = self.alice.ping(node_of(7, "10.0.0.7"))
        self.wire.carry()
        for due in (REPEAT_AFTER, RESPONSE_TIMEOUT):
            (timer,) = self.clock.getDelayedCalls()
            self.assertEqual(timer.getTime(), due)
            self.clock.advance(due - self.clock.seconds())
        error = self.failureResultOf(waiting, QueryFailed).value
        self.assertEqual(str(error), "no answer to our packet in 0.7 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_at_once(self) -> None:
        self.failureResultOf(self.alice.ping(self.alice.engine.local.node), QueryFailed)
        with self.assertRaises(LocalProtocolError):
            self.alice.findNode(self.node, [])

    def test_asking_from_a_callback(self) -> None:
        """What is asked while events are told goes out as well."""
        waiting = self.alice.ping(self.node)
        waiting.addCallback(lambda _: self.alice.requestRecord(self.node))
        self.assertEqual(self.result(waiting), self.node.record)

    def test_cancelled(self) -> None:
        waiting = self.alice.ping(self.node)
        waiting.addErrback(lambda failure: "cancelled")
        waiting.cancel()
        self.assertEqual(self.successResultOf(waiting), "cancelled")
        self.wire.carry()
        self.assertEqual(self.alice._waiting, {})

    def test_system_does_not_take_it(self) -> None:
        """No route, too large, the other family: as if lost on the way."""
        for error in (OSError(101, "no route"), MessageLengthError("large"), ValueError("family")):
            self.alice.transport.error = error
            waiting = self.alice.ping(self.node)
            self.clock.advance(1)
            self.failureResultOf(waiting, QueryFailed)
        self.assertEqual(self.alice.unsendable, 3)

    def test_stop(self) -> None:
        waiting = [self.alice.ping(self.node), self.alice.ping(self.node)]
        self.alice.transport = None
        self.alice.stopProtocol()
        for each in waiting:
            self.assertEqual(str(self.failureResultOf(each, QueryFailed).value), "discovery has stopped")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_with_an_answer_underway(self) -> None:
        self.alice.ping(self.node).addErrback(lambda failure: None)
        self.alice.transport = None
        self.alice.stopProtocol()
        self.wire.carry()
        self.assertEqual(self.wire.underway, [])

    def test_asked_once_more_when_stopped(self) -> None:
        """Who asks again because it has failed is told at once, and no timer is left."""
        again: list[Deferred[Any]] = []
        self.alice.ping(self.node).addErrback(lambda failure: again.append(self.alice.ping(self.node)))
        self.alice.transport = None
        self.alice.stopProtocol()
        self.failureResultOf(again[0], QueryFailed)
        self.failureResultOf(self.alice.ping(self.node), QueryFailed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_steps_back(self) -> None:
        """What is asked after that does not wait until the clock is where it was."""
        self.clock.advance(5000)
        first = self.alice.ping(node_of(7, "10.0.0.7"))
        self.clock.rightNow -= 3600
        second = self.alice.ping(node_of(8, "10.0.0.8"))
        self.clock.pump([0.1] * 8)
        self.failureResultOf(first, QueryFailed)
        self.failureResultOf(second, QueryFailed)
