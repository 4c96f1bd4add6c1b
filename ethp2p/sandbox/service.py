"""
The sandbox: five nodes, a growing chain, and a console that tells what happens.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

import attrs
from twisted.application.service import IService, Service
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ethp2p import enode, networks
from ethp2p.chain import Follower, MemoryChain
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p import client_name
from ethp2p.discovery.service import DiscoveryService
from ethp2p.errors import DisconnectReason
from ethp2p.events import PeerDropped, PeerStatus, RequestDone
from ethp2p.interfaces import IEventSink
from ethp2p.lastwords import dieWith, exitWith
from ethp2p.node import Node
from ethp2p.order import OrderedService
from ethp2p.sandbox.cast import CAST, Part
from ethp2p.sandbox.chainmaker import ChainMaker
from ethp2p.sandbox.report import Report
from ethp2p.sandbox.verdict import Evidence, missing

#: Blocks that are there before anybody meets.
FIRST_BLOCKS = 16
#: Seconds between two rounds of a follower.
FOLLOW_PERIOD = 0.5
#: Seconds between two tables.
TABLE_PERIOD = 5.0
#: Who is none of the five: anybody on this machine may call them.
GUEST = "guest"


@attrs.define
class Player:
    """One node of the sandbox, with what it counted."""

    part: Part
    node: Node
    chain: MemoryChain
    requests: int = 0
    failed: int = 0
    round_trips: list[float] = attrs.field(factory=list)


@implementer(IEventSink)
class Listener:
    """Hears one player's node."""

    def __init__(self, sandbox: Sandbox, player: Player) -> None:
        self._sandbox = sandbox
        self._player = player

    def eventHappened(self, event: object) -> None:
        """See L{IEventSink}."""
        self._sandbox.heard(self._player, event)


class Sandbox(OrderedService):
    """
    @ivar players: by name.
    @ivar evidence: what was seen so far.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        seconds: float | None = None,
        check: bool = False,
        port: int | None = None,
        period: float = 2.0,
        out: TextIO | None = None,
    ) -> None:
        """
        @param seconds: stop after so many; None for never.
        @param check: whether to judge at the end, with exit status 1 if anything is missing.
        @param port: first of the TCP ports; free ones if None.
        @param period: seconds between blocks.
        @param out: where to print.
        """
        super().__init__(reactor)
        self._reactor = reactor
        self._seconds = seconds
        self._check = check
        self._period = period
        self._status = 0
        self._began = 0.0
        self._ids: dict[bytes, str] = {}
        self._report = Report(out or sys.__stdout__ or sys.stdout)
        self.evidence = Evidence()
        self.players: dict[str, Player] = {}
        self._maker = ChainMaker(b"ethp2p sandbox")
        strange = ChainMaker(b"ethp2p sandbox, another one")
        for index, part in enumerate(CAST):
            maker = strange if part.stranger else self._maker
            self._add(part, networks.from_genesis(maker.genesis(), name="sandbox"), port + index if port else 0)
        for _ in range(FIRST_BLOCKS):
            self._grow()

    def _add(self, part: Part, network: networks.Network, port: int) -> None:
        key = PrivateKey.parse(keccak256(b"ethp2p sandbox " + part.name.encode()))
        chain = MemoryChain(network)
        node = Node(
            self._reactor,
            key,
            chain,
            listen=[TCP4ServerEndpoint(self._reactor, port, interface="127.0.0.1")],
            ethVersions=part.versions,
            client=client_name(part.name),
        )
        player = Player(part, node, chain)
        self.players[part.name] = player
        self._ids[node.local.node_id] = part.name
        node.feed.subscribe(Listener(self, player))
        node.setServiceParent(self)
        if not part.makes_blocks:
            Follower(chain, node.ethPeers, self._reactor, period=FOLLOW_PERIOD).setServiceParent(self)

    @property
    def _maker_of_blocks(self) -> Player:
        return next(player for player in self.players.values() if player.part.makes_blocks)

    def _grow(self) -> None:
        self._maker_of_blocks.chain.append(*self._maker.next_block())

    def startService(self) -> None:
        """Let them listen; then let them call each other."""
        self._began = self._reactor.seconds()
        self._report.headline(len(CAST), self._period)
        super().startService()
        listening = gatherResults([player.node.listening.started for player in self.players.values()])
        failures: list[Any] = []
        listening.addCallbacks(lambda _: self._introduce(), failures.append)
        listening.addErrback(failures.append)
        if failures:
            cause = getattr(failures[0].value, "subFailure", failures[0])
            dieWith(self._reactor, cause.getErrorMessage())

    def _introduce(self) -> None:
        """All listen: let them find each other."""
        for player in self.players.values():
            self._discover(player)
        for player in self.players.values():
            self._report.introduce(player.part, player.node.local.node.url)
        self._report.gap()
        for player in self.players.values():
            if player.part.stranger:  # it finds nobody of its own chain
                player.node.addPeer(self._bootnode)
        for period, call in [(self._period, self._grow), (TABLE_PERIOD, self._table)]:
            Repeated(self._reactor, period, call).setServiceParent(self)
        if self._seconds is not None:
            self._reactor.callLater(self._seconds, self._end)

    @property
    def _bootnode(self) -> enode.Node:
        return self.players[CAST[0].name].node.local.node

    def _discover(self, player: Player) -> None:
        node, first = player.node, player.part is CAST[0]
        address: Any = node.listening.ports[0].getHost()
        chain = node.chain
        discovery = DiscoveryService(
            self._reactor,
            node.local,
            wall=self._reactor.seconds,
            listen=[(address.host, address.port)],
            bootnodes=() if first else [self._bootnode],
            network=chain.network,
            head=lambda: (chain.head().number, chain.head().timestamp),
            v4=4 in player.part.discovery,
            v5=5 in player.part.discovery,
        )
        discovery.setServiceParent(self)
        discovery.started.addErrback(lambda failure: dieWith(self._reactor, failure.getErrorMessage()))
        node.seekFrom(discovery.source)

    def heard(self, player: Player, event: object) -> None:
        """What a player's node tells."""
        name = player.part.name
        if isinstance(event, PeerStatus):
            other = self._ids.get(event.peer.node_id)
            version = event.status["version"]
            if other is not None:
                self.evidence.met[self._pair(name, other)] = version
            if not event.peer.inbound:  # each meeting is told once, by the one that called
                self._report.met(self._now(), name, other or GUEST, f"eth/{version}", event.peer)
            elif other is None:
                self._report.met(self._now(), GUEST, name, f"eth/{version}", event.peer)
        elif isinstance(event, PeerDropped):
            self._dropped(name, event)
        elif isinstance(event, RequestDone):
            player.requests += 1
            player.failed += event.result != "ok"
            player.round_trips.append(event.rtt)
            other = self._ids.get(event.peer.node_id)
            if event.result == "ok" and event.items and other is not None:
                self.evidence.verified[name, other].add(event.message)

    def _pair(self, one: str, other: str) -> tuple[str, str]:
        first, second = sorted((one, other), key=list(self.players).index)
        return first, second

    def _dropped(self, name: str, event: PeerDropped) -> None:
        other = self._ids.get(event.peer.node_id)
        if not self.running or event.reason is DisconnectReason.ALREADY_CONNECTED:  # both had called at once
            return
        if other is None:
            self._report.refused(self._now(), GUEST, name, event)
        elif self.players[other].part.stranger:
            self.evidence.refused[self._pair(name, other)] = event.detail
            self._report.refused(self._now(), other, name, event)
        elif not self.players[name].part.stranger:
            self.evidence.surprises.append(f"{name} and {other} parted: {event.detail or event.reason}")
            self._report.refused(self._now(), other, name, event)

    def _table(self) -> None:
        self._report.table(self._now(), list(self.players.values()))
        for player in self.players.values():
            player.round_trips.clear()

    def _now(self) -> float:
        return float(self._reactor.seconds() - self._began)

    def _end(self) -> None:
        if self._check:
            self.judge()
        exitWith(self._reactor, self._status) if self._status else self._reactor.stop()

    def judge(self) -> None:
        """Say whether everything happened that should, and remember it for the exit status."""
        newest = self._maker_of_blocks.chain
        self.evidence.newest = newest.head().number
        self.evidence.made = newest.head().number - FIRST_BLOCKS
        for name, player in self.players.items():
            if not player.part.stranger:
                head = player.chain.head()
                self.evidence.heads[name] = head.number, newest.hashAt(head.number) == head.hash
        absent = missing(self.evidence)
        self._report.verdict(absent)
        self._status = 1 if absent else 0


class Repeated(Service):
    """
    Calls something every so many seconds while it runs, the first time after one period.
    """

    def __init__(self, reactor: Any, period: float, call: Any) -> None:
        self._loop = LoopingCall(call)
        self._loop.clock = reactor
        self._period = period

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._loop.start(self._period, now=False)

    def stopService(self) -> None:
        """End."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()


def makeSandbox(options: Mapping[str, Any], reactor: Any) -> IService:
    """
    @param options: C{seconds}, C{check}, C{port} and C{period}, as L{ethp2p.tap.SandboxOptions} has them.
    """
    return Sandbox(
        reactor,
        seconds=options["seconds"],
        check=bool(options["check"]),
        port=options["port"],
        period=options["period"],
    )
