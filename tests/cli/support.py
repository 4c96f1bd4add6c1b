"""
The command line in a test: what it prints, its exit status, and a network in memory for it to speak to.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p.cli import main, running
from ethp2p.discovery.service import DiscoveryService
from tests.discovery import support

_PATHS = (str(Path(ethp2p.__file__).parents[1]), os.environ.get("PYTHONPATH"))
#: For a Python of its own, wherever it is started.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, _PATHS))}


class VerbCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def run_main(self, *args: str) -> int:
        for stream in (self.out, self.err):
            stream.truncate(0)
            stream.seek(0)
        return main(args)

    def works(self, *args: str) -> str:
        """@return: what a verb prints that ends well."""
        self.assertEqual((self.run_main(*args), self.err.getvalue()), (0, ""))
        return self.out.getvalue()

    def value(self, *args: str) -> Any:
        """The same, with C{--json}: one line."""
        text = self.works(*args, "--json")
        self.assertEqual(text.count("\n"), 1)
        return json.loads(text)

    def fails(self, status: int, *args: str) -> str:
        """@return: the one line of a verb that fails, and prints nothing else."""
        self.assertEqual((self.run_main(*args), self.out.getvalue()), (status, ""))
        return self.last_words()

    def last_words(self) -> str:
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]


class NetworkCase(VerbCase):
    """
    Discovery services on a virtual network, and a machine for the verbs.
    """

    def setUp(self) -> None:
        super().setUp()
        self.network = support.network()
        self.host = self.network.host("9.9.9.9")
        self.services: list[DiscoveryService] = []
        self.patch(running, "wall", self.host.seconds)
        self.patch(running, "with_reactor", self.with_reactor)
        self.addCleanup(self.stop)

    def with_reactor(self, function: Callable[[Any], Deferred[Any]]) -> Any:
        result = self.network.wait_for(function(self.host), 3600.0)
        self.leaves_nothing()
        return result

    def leaves_nothing(self) -> None:
        self.assertEqual((self.host.sockets, self.host.getDelayedCalls()), ({}, []))

    def serve(self, number: int, *bootnodes: DiscoveryService, **settings: Any) -> DiscoveryService:
        nodes = [service.local.node for service in bootnodes]
        service = support.serve(self.network, number, *nodes, **settings)
        self.services.append(service)
        return service

    def town(self, count: int, protocol: str = "v4", first: int = 1) -> list[DiscoveryService]:
        """So many that know each other; the first is everybody's bootnode."""
        only = {"v4": protocol == "v4", "v5": protocol == "v5"}
        boot = self.serve(first, **only)
        services = [boot, *(self.serve(number, boot, **only) for number in range(first + 1, first + count))]
        self.network.run_until(lambda: all(len(service.nodes()) == count - 1 for service in services))
        return services

    def stop(self) -> None:
        for service in self.services:
            self.network.wait_for(service.stopService())
