"""
Bootnodes with a name.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.names import TIMEOUT, resolveNode
from ethp2p.enode import Node
from ethp2p.testing.names import HostNames
from tests.discovery.support import node


class Reactor(Clock):
    """Looks names up in a table; C{silent} ones get no answer."""

    def __init__(self, **names: str) -> None:
        super().__init__()
        self.names = {name.replace("_", "."): host for name, host in names.items()}
        self.nameResolver = self

    def resolveHostName(self, receiver: object, name: str, *more: object) -> object:
        """As C{IHostnameResolver}."""
        if name == "silent":
            self.receiver = receiver
            return None
        return HostNames(self.names).resolveHostName(receiver, name, *more)  # type: ignore[arg-type]


class ResolveTests(SynchronousTestCase):
    reactor = Reactor(boot_example="9.9.9.9", six_example="2a00::1", odd_example="fe80::1%eth0")

    def resolve(self, host: str, *families: int) -> Node | None:
        return self.successResultOf(resolveNode(self.reactor, self.reactor, node(1, host), families))

    def test_address(self) -> None:
        self.assertEqual(self.resolve("9.9.9.9", 4), node(1, "9.9.9.9"))
        self.assertIsNone(self.resolve("9.9.9.9", 6))

    def test_name(self) -> None:
        self.assertEqual(self.resolve("boot.example", 4, 6), node(1, "9.9.9.9"))
        self.assertEqual(self.resolve("six.example", 4, 6), node(1, "2a00::1"))
        self.assertIsNone(self.resolve("boot.example", 6))
        self.assertIsNone(self.resolve("no.example", 4, 6))
        self.assertIsNone(self.resolve("odd.example", 6))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        resolving = resolveNode(self.reactor, self.reactor, node(1, "silent"), {4})
        self.reactor.advance(TIMEOUT - 0.1)
        self.assertNoResult(resolving)
        self.reactor.advance(0.2)
        self.assertIsNone(self.successResultOf(resolving))
        self.reactor.receiver.resolutionComplete()  # type: ignore[attr-defined]

    def test_cancel(self) -> None:
        resolving = resolveNode(self.reactor, self.reactor, node(1, "silent"), {4})
        resolving.cancel()
        self.failureResultOf(resolving, CancelledError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.receiver.resolutionComplete()  # type: ignore[attr-defined]
