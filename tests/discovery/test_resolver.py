"""
Which DNS servers are asked.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.resolver import SystemResolver


class Asks(SystemResolver):
    """Asks nobody."""

    def _lookup(self, name: object, cls: object, type: object, timeout: object) -> Deferred[object]:
        return Deferred()


class ResolverTests(SynchronousTestCase):
    def test_file(self) -> None:
        """It follows the file, and without one asks this machine; it needs no timer for that."""
        path = Path(self.mktemp())
        clock = Clock()
        resolver = Asks(clock, path)
        self.assertEqual(resolver.dynServers, [("127.0.0.1", 53)])
        for server in ("9.9.9.9", "8.8.8.8"):
            path.write_text(f"# by hand\nnameserver\nnameserver {server}\n")
            resolver.lookupText("nodes.example")
            self.assertEqual(resolver.dynServers, [(server, 53)])
        path.unlink()
        path.mkdir()  # cannot be read
        resolver.lookupText("nodes.example")
        self.assertEqual(resolver.dynServers, [("127.0.0.1", 53)])
        self.assertEqual(clock.getDelayedCalls(), [])
