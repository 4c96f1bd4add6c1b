"""
The shell: datagrams to and fro, one timer, and requests as Deferreds.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4 import Answered, Asked, Discv4, Discv4Protocol, Event, Met, PongInfo, wire
from ethp2p.discv4.limits import ANSWER_TIMEOUT
from ethp2p.discv4.state import Addr
from ethp2p.enode import LocalNode, Node
from ethp2p.errors import RequestTimeout
from ethp2p.testing.network import MemoryNetwork
from tests.discv4.support import THEM, US, WALL, local, node

TARGET = b"\x07" * 64


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = MemoryNetwork(seed=1)
        self.told: list[Event] = []
        self.local, self.us, self.port = self.listen(1, US)
        self.other, self.them, _ = self.listen(2, THEM)

    def listen(self, number: int, addr: Addr) -> tuple[LocalNode, Discv4Protocol, IListeningPort]:
        host = self.network.host(addr[0])
        owner = self.told.append if number == 1 else self.serve
        here = local(number, addr)
        protocol = Discv4Protocol(Discv4(here), owner, clock=host, wall=lambda: WALL + host.seconds())
        return here, protocol, host.listenUDP(addr[1], protocol)

    def serve(self, event: Event) -> None:
        """What the other's owner does."""
        if isinstance(event, Asked):
            self.them.sendNodes(event.token, [node(9)])

    def idle(self) -> bool:
        """Whether no timer is left, on any host."""
        return not self.network.clock.getDelayedCalls()

    def test_requests(self) -> None:
        """Each as a Deferred, and none of their events for the owner."""
        theirs = self.other.node
        results = [self.us.ping(theirs), self.us.findNode(theirs, TARGET), self.us.requestRecord(theirs)]
        self.network.advance(1.0)
        record = self.other.record
        expected = [PongInfo(US, record.seq), (node(9),), record]
        self.assertEqual([self.successResultOf(result) for result in results], expected)
        self.assertEqual(self.told, [])
        self.assertTrue(self.idle())

    def test_times_out(self) -> None:
        nobody = node(77)
        results = [self.us.ping(nobody), self.us.findNode(nobody, TARGET), self.us.requestRecord(nobody)]
        self.assertEqual(len(self.network.clock.getDelayedCalls()), 1)
        self.network.advance(ANSWER_TIMEOUT - 0.01)
        for result in results:
            self.assertNoResult(result)
        self.network.advance(0.02)
        for result in results:
            self.assertEqual(str(self.failureResultOf(result, RequestTimeout).value), "no pong")
        self.assertTrue(self.idle())

    def test_earlier_deadline(self) -> None:
        """One that comes before the one that the timer is set for."""
        self.network.wait_for(self.us.requestRecord(self.other.node))
        lost = self.us.ping(node(77))
        start = self.network.now
        self.network.wait_for(self.us.findNode(self.other.node, TARGET))
        self.assertLess(self.network.now - start, 0.2)
        self.network.advance(1)
        self.failureResultOf(lost, RequestTimeout)

    def test_cancelled(self) -> None:
        """The answer is told to the owner, as of any request that nobody waits for here."""
        result = self.us.ping(self.other.node)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.network.advance(1)
        self.assertEqual([type(event) for event in self.told], [Answered])

    def test_met_and_asked(self) -> None:
        """The owner is told of those who come, and answers when it likes."""
        result = self.them.findNode(self.local.node, TARGET)
        self.network.run_until(lambda: len(self.told) == 2)
        met, asked = self.told
        assert isinstance(met, Met) and isinstance(asked, Asked)
        self.assertEqual((met.node.node_id, asked.target), (self.other.node_id, TARGET))
        self.network.advance(0.2)
        self.us.sendNodes(asked.token, [node(8)])
        self.assertEqual(self.network.wait_for(result), (node(8),))

    def test_request_from_a_callback(self) -> None:
        results: list[Deferred[object]] = []
        first = self.us.ping(self.other.node)
        first.addCallback(lambda _: results.append(self.us.requestRecord(self.other.node)))
        self.network.advance(1)
        self.assertEqual(self.successResultOf(results[0]), self.other.record)

    def test_failing_owner(self) -> None:
        """An owner that raises is a fault of ours: it is logged, and the next event comes all the same."""
        failing = [True, False]

        def serve(event: Event) -> None:
            if isinstance(event, Asked) and failing.pop(0):
                raise ValueError
            self.serve(event)

        self.them._owner = serve
        self.network.wait_for(self.us.findNode(self.other.node, TARGET))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_unsendable(self) -> None:
        """No way there from here, or of the other IP version: as if lost."""
        for host in ("2a00::1", "51.15.0.1"):
            result = self.us.ping(Node(node(5).public_key, host, 30303, 30303))
            self.network.advance(1)
            self.failureResultOf(result, RequestTimeout)
        self.assertEqual(self.us.unsendable, 2)

    def test_closed(self) -> None:
        """No Deferred is left, and no timer; who asks after that is told."""
        results = [self.us.ping(self.other.node), self.us.findNode(self.other.node, TARGET)]
        self.port.stopListening()
        self.network.advance(0.001)
        for result in results:
            self.assertEqual(str(self.failureResultOf(result, RequestTimeout).value), "closed")
        self.failureResultOf(self.us.ping(self.other.node), RequestTimeout)
        self.network.advance(1)
        self.assertTrue(self.idle())

    def test_noise(self) -> None:
        """Of no use, and no trouble."""
        for data in (b"", bytes(63), bytes(1300), wire.encode(local(3).key, wire.ENRRequest(0))):
            self.us.datagramReceived(data, ("10.0.0.9", 5))
        self.assertEqual(self.told, [])
        self.assertTrue(self.idle())


class ClockTests(SynchronousTestCase):
    def test_steps_back(self) -> None:
        """The reactor's clock may be set: deadlines come later, and come."""
        clock = Clock()
        clock.advance(1000.0)
        protocol = Discv4Protocol(Discv4(local()), lambda _: None, clock=clock, wall=lambda: WALL)

        class Void:
            def write(self, data: bytes, addr: Addr) -> None:
                pass

        protocol.transport = Void()  # type: ignore[assignment]
        result = protocol.ping(node(2))
        clock.rightNow -= 100.0
        clock.advance(0.2)
        self.assertNoResult(result)
        clock.advance(100.0)
        clock.pump([0.1] * 10)
        self.failureResultOf(result, RequestTimeout)
