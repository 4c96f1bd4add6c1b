"""What the tests of the discovery v5 room share."""

from __future__ import annotations

from hashlib import sha256
from heapq import heappop, heappush
from ipaddress import IPv4Address
from random import Random
from typing import Any

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv5 import wire
from ethp2p.discv5.session import Addr, Session, initiate
from ethp2p.discv5.state import Asked, Discv5, Event
from ethp2p.enode import LocalNode, Node
from ethp2p.enr.entries import IP, UDP
from ethp2p.enr.record import Record

PING = wire.Ping(b"hi", 1)


class Tape:
    """Randomness that is the same every time: first what is given, then what a hash makes."""

    def __init__(self, *given: bytes, seed: object = "") -> None:
        self.given = list(given)
        self.seed = seed
        self.count = 0

    def __call__(self, size: int) -> bytes:
        if self.given:
            data = self.given.pop(0)
            assert len(data) == size, f"{size} bytes drawn, {len(data)} given"
            return data
        self.count += 1
        return sha256(f"{self.seed}/{self.count}".encode()).digest()[:size].ljust(size, b"\x55")


def key_of(number: int) -> PrivateKey:
    return PrivateKey.parse(sha256(b"discv5 %d" % number).digest())


def record_of(number: int, host: str = "10.0.0.1", udp: int = 30303, seq: int = 1) -> Record:
    return Record.sign(key_of(number), seq, {IP: IPv4Address(host), UDP: udp})


def node_of(number: int, host: str = "10.0.0.1", udp: int = 30303, seq: int = 1) -> Node:
    return Node.from_record(record_of(number, host, udp, seq))


def local_of(number: int, host: str = "10.0.0.1", udp: int = 30303) -> LocalNode:
    local = LocalNode(key_of(number), wall_ms=1000 + number, udp=udp)
    local.set_static_ip(host)
    return local


def events(engine: Discv5) -> list[Event]:
    """All that C{engine} has to tell now."""
    told: list[Event] = []
    while (event := engine.next_event()) is not None:
        told.append(event)
    return told


class Peer:
    """An engine on a L{Net}.  It writes down what happens and answers Asked with all that it knows."""

    def __init__(self, net: Net, number: int, host: str, udp: int = 30303) -> None:
        self.net = net
        self.number = number
        self.addr: Addr = (host, udp)
        self.known: list[Node] = []
        self.told: list[Event] = []
        self.boot()

    def boot(self) -> None:
        """Start, or start again and know nothing."""
        self.local = local_of(self.number, *self.addr)
        self.engine = Discv5(self.local, random=Tape(seed=(self.number, self.net.now)))

    @property
    def node(self) -> Node:
        return self.local.node

    def of(self, kind: type[Any]) -> list[Any]:
        """What happened of one kind, once."""
        found = [event for event in self.told if type(event) is kind]
        self.told = [event for event in self.told if type(event) is not kind]
        return found

    def drain(self) -> None:
        for event in events(self.engine):
            self.told.append(event)
            if type(event) is Asked:
                self.engine.send_nodes(event.token, self.known, self.net.now, 0.0)

    def ping(self, other: Peer) -> int:
        return self.engine.ping(other.node, self.net.now, 0.0)

    def find(self, other: Peer, *distances: int) -> int:
        return self.engine.find_node(other.node, distances, self.net.now, 0.0)


class Net:
    """Engines, and between them a network that loses and reorders, on a virtual clock."""

    def __init__(self, *, seed: int = 0, loss: float = 0.0, jitter: float = 0.0) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.jitter = jitter
        self.now = 100.0
        self.peers: dict[Addr, Peer] = {}
        self.carried: list[tuple[Addr, Addr, bytes]] = []
        self._heap: list[tuple[float, int, Addr, Addr, bytes]] = []

    def peer(self, number: int, host: str = "") -> Peer:
        peer = Peer(self, number, host or f"10.0.0.{number}")
        self.peers[peer.addr] = peer
        return peer

    def collect(self) -> None:
        """Take what the engines want to send."""
        for peer in self.peers.values():
            peer.drain()
            for datagram, to in peer.engine.datagrams_to_send():
                self.carried.append((peer.addr, to, datagram))
                if self.rng.random() >= self.loss:
                    when = self.now + 0.01 + self.rng.random() * self.jitter
                    heappush(self._heap, (when, len(self.carried), peer.addr, to, datagram))

    def run(self, seconds: float = 5.0) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            self.collect()
            timers = [(when, peer) for peer in self.peers.values() if (when := peer.engine.next_timer()) is not None]
            timer = min(timers, key=lambda pair: pair[0], default=None)
            arrival = self._heap[0][0] if self._heap else until
            if timer is not None and timer[0] < arrival and timer[0] <= until:
                self.now = max(self.now, timer[0])
                timer[1].engine.handle_timer(self.now, 0.0)
            elif self._heap and arrival <= until:
                self.now, _, source, to, datagram = heappop(self._heap)
                if to in self.peers:
                    self.peers[to].engine.receive_datagram(datagram, source, self.now, 0.0)
            else:
                self.now = until
                return


class Stranger:
    """
    A node by hand: it says what it is told to, honest or not, to one engine, and reads what comes back.
    """

    def __init__(
        self, number: int, engine: Discv5, addr: Addr = ("10.9.9.9", 30303), record: Record | None = None
    ) -> None:
        self.key = key_of(number)
        self.node_id = self.key.public_key.node_id
        self.record = record or record_of(number, *addr)
        self.engine = engine
        self.addr = addr
        self.now = 100.0
        self.session: Session | None = None
        self.random = Tape(seed=("stranger", number))
        self._mask = wire.Mask(self.node_id)
        self._other = wire.Mask(engine.local.node_id)

    def deliver(self, datagram: bytes, addr: Addr | None = None) -> list[bytes]:
        """@return: the datagrams that come back; all must come to where this one came from."""
        addr = addr or self.addr
        self.engine.receive_datagram(datagram, addr, self.now, 0.0)
        return self.answers(addr)

    def answers(self, addr: Addr | None = None) -> list[bytes]:
        addr = addr or self.addr
        out = self.engine.datagrams_to_send()
        assert all(to == addr for _, to in out), out
        return [datagram for datagram, _ in out]

    def noise(self, nonce: bytes | None = None, size: int = 20) -> bytes:
        """A packet that cannot be read."""
        nonce = nonce or self.random(12)
        head = wire.ordinary_head(self.random(16), nonce, self.node_id)
        return wire.encode_packet(self._other, head, self.random(size))

    def sealed(self, plain: bytes) -> bytes:
        """A packet in the session."""
        assert self.session is not None
        return self.session.seal(self.node_id, plain, self.random(24))[1]

    def say(self, message: wire.Message) -> list[wire.Message]:
        """In the session.  @return: what it is answered."""
        return self.read(self.deliver(self.sealed(wire.encode_message(message))))

    def challenge(self, addr: Addr | None = None) -> wire.WhoAreYou:
        """Be challenged."""
        (answer,) = self.deliver(self.noise(), addr)
        packet = wire.decode_packet(answer, self._mask)
        assert isinstance(packet, wire.WhoAreYou)
        return packet

    def handshake(self, challenge: wire.WhoAreYou, plain: bytes, record: Record | None = None) -> bytes:
        """An honest handshake packet."""
        self.session, _, datagram = initiate(
            self.key,
            record or self.record,
            self.engine.local.node,
            ("10.0.0.1", 30303),
            self._other,
            challenge,
            plain,
            self.random,
        )
        return datagram

    def meet(self, message: wire.Message = PING) -> list[wire.Message]:
        """A whole handshake.  @return: what it is answered."""
        return self.read(self.deliver(self.handshake(self.challenge(), wire.encode_message(message))))

    def unmask(self, datagram: bytes) -> wire.Packet:
        return wire.decode_packet(datagram, self._mask)

    def read(self, datagrams: list[bytes]) -> list[wire.Message]:
        """The messages in packets of the session."""
        messages = []
        for datagram in datagrams:
            packet = self.unmask(datagram)
            assert isinstance(packet, wire.Ordinary), packet
            assert self.session is not None
            plain = self.session.open(packet)
            assert plain is not None
            messages.append(wire.decode_message(plain))
        return messages
