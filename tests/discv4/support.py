"""What the tests of the discovery v4 room share."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv4 import wire
from ethp2p.discv4.limits import EXPIRATION
from ethp2p.discv4.state import Addr, Discv4, Event
from ethp2p.enode import LocalNode, Node

M = TypeVar("M")

#: Unix time when the engines' clock is 0.
WALL = 1_763_720_000.0
US: Addr = ("10.0.0.1", 30303)
THEM: Addr = ("10.0.0.2", 30304)


def key(number: int) -> PrivateKey:
    """A key, the same every time."""
    return PrivateKey.parse(number.to_bytes(32))


def local(number: int = 1, addr: Addr = US) -> LocalNode:
    """A local node with that key at that address."""
    node = LocalNode(key(number), wall_ms=int(WALL * 1000), tcp=addr[1], udp=addr[1])
    node.set_static_ip(addr[0])
    return node


def node(number: int, host: str = "", port: int = 30303) -> Node:
    """A node, by default at an address that has the number in it."""
    return Node(key(number).public_key, host or f"10.1.{number >> 8}.{number & 255}", port, port)


def endpoint(addr: Addr, tcp: int = 0) -> wire.Endpoint:
    """As it stands in packets."""
    return wire.Endpoint(wire.pack_ip(addr[0]), addr[1], tcp)


def expiration(wall: float = WALL) -> int:
    """Of a packet that is sent now."""
    return int(wall + EXPIRATION)


def said(packet: bytes) -> wire.Message:
    """What a packet says."""
    assert wire.is_packet(packet)
    return wire.message_of(packet)


class Stranger:
    """
    Somebody with a key and a socket, who has L{engine} at the other end and sends it whatever the test wants.
    """

    def __init__(self, engine: Discv4, number: int = 2, addr: Addr = THEM) -> None:
        self.engine = engine
        self.key = key(number)
        self.addr = addr
        self.now = 0.0
        #: Packets that came, not yet looked at.
        self.inbox: list[bytes] = []
        #: Bytes to and fro.
        self.sent = self.got = 0

    @property
    def node(self) -> Node:
        """The stranger as a node."""
        return Node(self.key.public_key, self.addr[0], 0, self.addr[1])

    def send_raw(self, packet: bytes, addr: Addr | None = None) -> bool:
        """Send bytes, from another address if told so."""
        self.sent += len(packet)
        taken = self.engine.receive_datagram(packet, addr or self.addr, self.now, WALL + self.now)
        self.fetch()
        return taken

    def send(self, message: wire.Message, addr: Addr | None = None) -> bytes:
        """Send a packet.  @return: its hash."""
        packet = wire.encode(self.key, message)
        assert self.send_raw(packet, addr)
        return wire.packet_hash(packet)

    def fetch(self) -> None:
        """Take what the engine sends; it must be for us."""
        for packet, addr in self.engine.datagrams_to_send():
            assert addr == self.addr, f"a packet to {addr}"
            self.got += len(packet)
            self.inbox.append(packet)

    def take(self, kind: type[M]) -> tuple[M, bytes]:
        """The next packet, which must be of this kind, and its hash."""
        packet = self.inbox.pop(0)
        message = said(packet)
        assert isinstance(message, kind), message
        return message, wire.packet_hash(packet)

    def ping(self, **changes: Any) -> wire.Ping:
        """A Ping as it should be, but for C{changes}."""
        fields: dict[str, Any] = {
            "version": 4,
            "sender": endpoint(self.addr, 30303),
            "recipient": endpoint(US),
            "expiration": expiration(WALL + self.now),
        }
        return wire.Ping(**{**fields, **changes})

    def pong(self, ping_hash: bytes, **changes: Any) -> wire.Pong:
        """A Pong, likewise."""
        fields = {"recipient": endpoint(US), "ping_hash": ping_hash, "expiration": expiration(WALL + self.now)}
        return wire.Pong(**{**fields, **changes})

    def find_node(self, target: bytes = bytes(64), **changes: Any) -> wire.FindNode:
        """A FindNode, likewise."""
        return wire.FindNode(**{"target": target, "expiration": expiration(WALL + self.now), **changes})

    def bond(self) -> None:
        """Ping, be pinged, answer: as a node that comes by itself."""
        self.send(self.ping())
        self.take(wire.Pong)
        _, ping_hash = self.take(wire.Ping)
        self.send(self.pong(ping_hash))
        assert not self.inbox

    def events(self) -> list[Event]:
        """All that the engine has to tell."""
        told: list[Event] = []
        while (event := self.engine.next_event()) is not None:
            told.append(event)
        return told

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass.  @return: what happened."""
        until = self.now + seconds
        while (due := self.engine.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.engine.handle_timer(self.now, WALL + self.now)
            self.fetch()
        self.now = until
        return self.events()


class Ether:
    """
    Engines by address, and what is between them: packets take a while, overtake each other, and are lost.
    """

    def __init__(self, seed: int = 0, *, loss: float = 0.0, latency: tuple[float, float] = (0.005, 0.05)) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.latency = latency
        self.now = 0.0
        self.engines: dict[Addr, Discv4] = {}
        self.owners: dict[Addr, Callable[[Event], object]] = {}
        self._underway: list[tuple[float, int, bytes, Addr, Addr]] = []
        self._count = 0

    def join(self, addr: Addr, engine: Discv4, owner: Callable[[Event], object]) -> None:
        """Put an engine there."""
        self.engines[addr] = engine
        self.owners[addr] = owner

    def settle(self) -> None:
        """Tell the owners, send what is to be sent."""
        for addr, engine in self.engines.items():
            while (event := engine.next_event()) is not None:
                self.owners[addr](event)
            for data, to in engine.datagrams_to_send():
                if self.rng.random() >= self.loss:
                    self._count += 1
                    arrival = self.now + self.rng.uniform(*self.latency)
                    heappush(self._underway, (arrival, self._count, data, addr, to))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self.settle()
        while True:
            timers = [(due, addr) for addr, engine in self.engines.items() if (due := engine.next_timer()) is not None]
            next_timer = min(timers, default=(until + 1, US))
            next_packet = self._underway[0][0] if self._underway else until + 1
            self.now = max(self.now, min(next_timer[0], next_packet))
            if self.now > until:
                self.now = until
                return
            if next_packet <= next_timer[0]:
                _, _, data, source, to = heappop(self._underway)
                if to in self.engines:
                    self.engines[to].receive_datagram(data, source, self.now, WALL + self.now)
            else:
                self.engines[next_timer[1]].handle_timer(self.now, WALL + self.now)
            self.settle()
