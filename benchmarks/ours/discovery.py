"""
Answers in a benchmark with ethp2p's discovery; see L{benchmarks.drivers} for the words that it and the harness
exchange.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discovery.service import DiscoveryService
from ethp2p.enode import LocalNode, Node
from ethp2p.kademlia import revalidate

#: Seconds between two checks of nodes, so that the table is soon full of nodes that may be told of.  Ten a second are
#: no load.
CHECK_INTERVAL = 0.1


class Words(LineReceiver):
    """Says the processor time used so far, whenever asked."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.say(cpu=usage.ru_utime + usage.ru_stime)

    def connectionLost(self, reason: object = None) -> None:
        self.over.callback(None)

    def say(self, **words: Any) -> None:
        """One line of JSON."""
        self.sendLine(json.dumps(words).encode())


def answer(reactor: Any, task: dict[str, Any]) -> Deferred[None]:
    """Discover with one protocol until dismissed."""
    revalidate.FAST_INTERVAL = revalidate.SLOW_INTERVAL = 2 * CHECK_INTERVAL  # the most; on average half of it
    port = task["port"]
    local = LocalNode(PrivateKey.generate(), wall_ms=int(time.time() * 1000))
    local.set_static_ip("127.0.0.1")
    local.set_ports(port, port)
    service = DiscoveryService(
        reactor,
        local,
        wall=time.time,
        listen=[("127.0.0.1", port)],
        v4=task["protocol"] == "discv4",
        v5=task["protocol"] == "discv5",
    )
    service.startService()
    words = Words()
    StandardIO(words, reactor=reactor)
    words.say(enode=Node(local.public_key, "127.0.0.1", port, port).url, enr=local.record.text)
    return words.over


if __name__ == "__main__":
    react(answer, [json.loads(sys.argv[1])])
