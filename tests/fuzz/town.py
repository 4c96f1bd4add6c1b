"""
The node under attack, and peers that speak with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from ethp2p.crypto.keys import PrivateKey
from ethp2p.discovery.protocol import DiscoveryProtocol
from ethp2p.discovery.service import DiscoveryService
from ethp2p.discv4.events import Asked as Asked4
from ethp2p.discv4.state import Discv4
from ethp2p.discv5.events import Asked as Asked5
from ethp2p.discv5.events import Talked
from ethp2p.discv5.state import Discv5
from ethp2p.enode import LocalNode, Node

Addr = tuple[str, int]

#: Unix time when it begins.
START = 1_800_000_000.0
PORT = 30303
#: Where the node is.
HERE = "20.0.0.1", PORT
#: A protocol inside of discv5 that the node speaks.
TALK = b"echo"


class FakePort:
    """A socket that hands what it is to send to the town."""

    def __init__(self, interface: str, port: int, sent: Callable[[bytes, Addr], object]) -> None:
        self._at = interface, port
        self.write = sent

    def getHost(self) -> IPv4Address | IPv6Address:
        """As C{IListeningPort} has it."""
        return (IPv6Address if ":" in self._at[0] else IPv4Address)("UDP", *self._at)

    def stopListening(self) -> Deferred[None]:
        """As C{IListeningPort} has it."""
        return succeed(None)


class FakeReactor(Clock):
    """Virtual time, and sockets without a network."""

    def __init__(self, sent: Callable[[bytes, Addr], object]) -> None:
        super().__init__()
        self.rightNow = START
        self._sent = sent
        self.protocols: dict[bool, DiscoveryProtocol] = {}  # by whether it is of IPv6

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> FakePort:
        """As C{IReactorUDP} has it."""
        listening = FakePort(interface, port, self._sent)
        self.protocols[":" in interface] = protocol
        protocol.makeConnection(listening)
        return listening


class Friend:
    """
    A peer with both protocols, which asks the node things and answers what it asks.

    @ivar locals: who it is in v4 and in v5.
    """

    def __init__(self, number: int, addr: Addr, rng: Random) -> None:
        self.addr = addr
        self.key = PrivateKey.parse(rng.randbytes(31).rjust(32, b"\1"))
        self.local = LocalNode(self.key, wall_ms=int(START * 1000), tcp=PORT, udp=addr[1])
        # Some say that they are elsewhere, or nowhere.
        claims = {5: "10.1.2.3", 6: "127.0.0.1", 7: None}
        claimed = claims.get(number % 8, addr[0])
        if claimed is not None:
            self.local.set_static_ip(claimed)
        self._rng = rng
        self.boot()

    def boot(self) -> None:
        """Start, or start again and know nothing."""
        self.v4 = Discv4(self.local)
        self.v5 = Discv5(self.local, random=self._rng.randbytes)
        self.v5.talk_protocols.add(TALK)

    def take(self, data: bytes, addr: Addr, now: float) -> None:
        """The node has sent this."""
        if not self.v4.receive_datagram(data, addr, now, now):
            self.v5.receive_datagram(data, addr, now, now)

    def ask(self, node: Node, now: float) -> None:
        """Ask the node something."""
        rng = self._rng
        questions: list[Callable[[], object]] = [
            lambda: self.v4.ping(node, now, now),
            lambda: self.v4.find_node(node, rng.randbytes(64), now, now),
            lambda: self.v4.request_record(node, now, now),
            lambda: self.v5.ping(node, now, now),
            lambda: self.v5.find_node(node, [0, *rng.sample(range(240, 257), 5)], now, now),
            lambda: self.v5.talk(node, rng.choice([TALK, b"none"]), rng.randbytes(rng.randrange(200)), now, now),
        ]
        rng.choice(questions)()

    def turn(self, now: float, known: list[Node]) -> list[bytes]:
        """@return: what it has to say to the node."""
        out: list[bytes] = []
        engines: tuple[Any, Any] = self.v4, self.v5
        for engine in engines:
            due = engine.next_timer()
            if due is not None and due <= now:
                engine.handle_timer(now, now)
            while (event := engine.next_event()) is not None:
                if isinstance(event, (Asked4, Asked5)):
                    engine.send_nodes(event.token, self._rng.sample(known, min(len(known), 40)), now, now)
                elif isinstance(event, Talked):
                    engine.send_talk(event.token, event.message)
            out += [data for data, _ in engine.datagrams_to_send()]
        return out


class Town:
    """
    @ivar said: what the friends have to say to the node, each with who says it.
    @ivar told: called with all that the node sends.
    """

    def __init__(self, rng: Random, told: Callable[[bytes, Addr], object], friends: int = 24) -> None:
        self.rng = rng
        self.told = told
        self.reactor = FakeReactor(self._sent)
        self.said: deque[tuple[Friend, bytes]] = deque(maxlen=1024)
        local = LocalNode(PrivateKey.parse(b"\2" * 32), wall_ms=int(START * 1000), tcp=PORT, udp=PORT)
        local.set_static_ip(HERE[0])
        local.set_static_ip("2600::1")
        # Some share a subnet, or even an address.
        places = [(f"30.{n // 3}.0.{1 + n % 3 // 2}", PORT + n) for n in range(friends - friends // 4)]
        places += [(f"2600:{n:x}::1", PORT) for n in range(1, friends // 4 + 1)]
        self.friends = [Friend(number, addr, Random(rng.random())) for number, addr in enumerate(places)]
        self.at = {friend.addr: friend for friend in self.friends}
        self.known = [friend.local.node for friend in self.friends]
        self.known = [node for node in self.known if node.host]
        self.service = DiscoveryService(
            self.reactor,
            local,
            wall=self.reactor.seconds,
            listen=[("0.0.0.0", PORT), ("::", PORT)],
            bootnodes=[node for node in self.known if (node.host, node.udp) in self.at][:3],
            rng=Random(rng.random()),
            random=Random(rng.random()).randbytes,
        )
        assert self.service.v5 is not None
        self.service.v5.handleTalk(TALK, lambda node, message: message)
        self.node = local.node
        self.here = {False: HERE, True: ("2600::1", PORT)}
        self.service.startService()
        self._want()

    @property
    def now(self) -> float:
        """The time."""
        return self.reactor.seconds()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the friends do something now and then."""
        self.reactor.advance(seconds)
        friend = self.rng.choice(self.friends)
        drawn = self.rng.random()
        if drawn < 0.002:
            friend.boot()
        elif drawn < 0.3:
            friend.ask(self.node, self.now)
        self.listen_to(friend)

    def listen_to(self, friend: Friend) -> None:
        """Hear what a friend has to say."""
        self.said.extend((friend, data) for data in friend.turn(self.now, self.known))

    def deliver(self, data: bytes, addr: Addr) -> None:
        """A datagram reaches the node."""
        self.reactor.protocols[":" in addr[0]].datagramReceived(data, addr)

    def stop(self) -> None:
        """End."""
        self.service.stopService()
        self.reactor.advance(1.0)  # nobody is given anything any more

    def _sent(self, data: bytes, addr: Addr) -> None:
        self.told(data, addr)
        friend = self.at.get(addr)
        if friend is not None:
            friend.take(data, self.here[":" in addr[0]], self.now)
            self.listen_to(friend)

    def _want(self) -> None:
        """Somebody always wants nodes, so that lookups go on."""
        wanted = self.service.source.nextNode()
        wanted.addCallbacks(self._given, lambda stopped: None)

    def _given(self, node: Node) -> None:
        self.reactor.callLater(0.5, self._want)
