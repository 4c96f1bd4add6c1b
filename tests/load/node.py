"""
The node under load: a process that L{tests.load.process} asks.
"""

from __future__ import annotations

from collections import Counter
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from ethp2p import networks
from ethp2p.chain import MemoryChain
from ethp2p.crypto.keys import PrivateKey
from ethp2p.events import PeerDropped, PeerStatus, Refused
from ethp2p.interfaces import IEventSink
from ethp2p.node import Node
from ethp2p.peers import Policy
from ethp2p.peers.admission import blocks_of
from ethp2p.peers.store import SqlitePeerStore
from ethp2p.peers.throttle import MAX_WAITING
from tests.load.process import Trouble, cpu, resident, serve, starved

#: Connections that the kernel holds for us, as Twisted's endpoints have it.
BACKLOG = 50


@implementer(IEventSink)
class Watch:
    """
    Looks at the node's books with every event and every few milliseconds.
    """

    def __init__(self, reactor: Any, node: Node) -> None:
        self._reactor = reactor
        self._books = node.household.books
        self._sessions = node.household.sessions
        #: The most that there was of each.
        self.peaks: Counter[str] = Counter()
        #: Limits that were broken, and by how much.
        self.broken: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.looks = 0
        #: The longest that something was late, seconds.
        self.lag = 0.0
        self._due = 0.0
        self._loop = LoopingCall(self._tick)
        node.feed.subscribe(self)

    def start(self, every: float) -> None:
        """Look this often, and forget how late things were."""
        if self._loop.running:
            self._loop.stop()
        self.lag = 0.0
        self._due = self._reactor.seconds() + every
        self._loop.start(every, now=False)

    def _tick(self) -> None:
        now = self._reactor.seconds()
        self.lag = max(self.lag, now - self._due)
        self._due = now + (self._loop.interval or 0.0)
        self._look()
        self._recount()

    def eventHappened(self, event: object) -> None:
        """Count it, and look."""
        self.events[type(event).__name__] += 1
        if isinstance(event, Refused):
            self.events[f"refused {event.rule}"] += 1
        elif isinstance(event, PeerDropped) and event.added:
            self.events["lost a peer"] += 1
        elif isinstance(event, PeerStatus):
            self.events["met"] += 1
        self._look()

    def _look(self) -> None:
        self.looks += 1
        books = self._books
        policy, roster, doorman, census = books.policy, books.roster, books.doorman, books.roster.census()
        for what, value, limit in (
            ("peers", census.peers, policy.max_peers),
            ("callers", census.inbound, policy.max_inbound),
            ("called", roster.dialed, policy.max_dialed),
            ("handshakes", doorman.pending, policy.max_pending),
            ("waiting", doorman.waiting, MAX_WAITING),
            ("sessions", len(self._sessions), None),
        ):
            self.peaks[what] = max(self.peaks[what], value)
            if limit is not None and value > limit:
                self.broken[what] = max(self.broken[what], value - limit)

    def _recount(self) -> None:
        roster = self._books.roster
        places = list(roster)
        there = Counter(block for place in places for block in (blocks_of(place.host) or ()))
        census = roster.census(host="127.0.0.1")
        if (census.peers, census.inbound) != (len(places), sum(place.inbound for place in places)):
            self.broken["count of peers"] += 1
        if census.same_ip != max(there.values(), default=0):
            self.broken["count by address"] += 1


class NodeUnderLoad:
    """A node of mainnet at its genesis, with its books on disk, that listens on a port of 127.0.0.1."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._trouble = Trouble()
        self._folder = TemporaryDirectory()

    async def open(self, **policy: Any) -> str:
        """Start.  @return: where it is."""
        self._node = Node(
            self._reactor,
            PrivateKey.generate(),
            MemoryChain(networks.named("mainnet")),
            listen=[TCP4ServerEndpoint(self._reactor, 0, BACKLOG, "127.0.0.1")],
            policy=Policy(**policy),
            store=SqlitePeerStore(f"{self._folder.name}/peers.sqlite"),
        )
        self._watch = Watch(self._reactor, self._node)
        self._node.startService()
        await self._node.listening.started
        return self._node.local.node.url

    async def watch(self, every: float) -> None:
        """Look at limits every so many seconds."""
        self._watch.start(every)

    async def memory(self) -> int:
        """KiB."""
        return resident()

    async def figures(self) -> dict[str, Any]:
        """All that was seen so far."""
        household, watch = self._node.household, self._watch
        places = household.roster.added()
        return {
            "peers": len(places),
            "answering": sum(getattr(place.session, "rtt", None) is not None for place in places),
            "doorman": household.books.doorman.pending + household.books.doorman.waiting,
            "sessions": len(household.sessions),
            "peaks": watch.peaks,
            "broken": watch.broken,
            "events": watch.events,
            "looks": watch.looks,
            "lag": watch.lag,
            "cpu": cpu(),
            "starved": starved(),
            "trouble": self._trouble.words,
        }

    async def close(self) -> dict[str, int]:
        """Stop.  @return: what is left of it: sessions, deadlines and connections."""
        await self._node.stopService()
        await deferLater(self._reactor, 0.5)
        household = self._node.household
        left = {"peers": len(household.roster), "sessions": len(household.sessions)}
        left["connections"] = self._node.traffic.connections
        left["deadlines"] = len(self._node._wheel)
        self._folder.cleanup()
        return left


def main() -> None:
    """Answer."""

    def answers(reactor: Any) -> dict[str, Any]:
        node = NodeUnderLoad(reactor)
        return {name: getattr(node, name) for name in ("open", "watch", "memory", "figures", "close")}

    serve(answers)


if __name__ == "__main__":
    main()
