"""
A household among many hosts on a memory network, to whom anything may happen in any order.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason
from ethp2p.events import Refused
from ethp2p.peers import Policy
from ethp2p.peers.dialing import endpointFor
from ethp2p.peers.store import MemoryPeerStore, StoreFailed
from ethp2p.peers.throttle import MAX_WAITING
from ethp2p.testing.network import Host, MemoryNetwork
from tests.peers.toy_wire import EPOCH, PORT, Home, ToySession, key

OURS = "10.0.0.1"
#: Where others are: some near, some in one subnet, some far from each other.
HOSTS = [
    *(f"10.0.1.{number}" for number in range(1, 7)),
    *(f"95.33.21.{number}" for number in range(1, 7)),
    *(f"95.33.22.{number}" for number in range(1, 4)),
    *("8.8.4.4", "1.2.3.4", "77.1.2.3"),
]
#: Identities beside our own, each at home at one of the hosts.
STRANGERS = 48
NODES = [Node(key(number + 2).public_key, HOSTS[number % len(HOSTS)], PORT) for number in range(STRANGERS)]


class Guest(LineOnlyReceiver):
    """
    The other side of a connection.  What it says is its script: a line with each L{go}, if it is not in a hurry.
    """

    delimiter = b"\n"

    def __init__(self, throng: Throng, script: list[str], hurry: bool) -> None:
        self._throng = throng
        self._script = script
        self._hurry = hurry

    def connectionMade(self) -> None:
        self._throng.guests[self] = None
        while self._hurry and self._script:
            self.go()

    def go(self) -> None:
        """The next thing it does."""
        line = self._script.pop(0) if self._script else ""
        if line == "vanish":
            self.transport.abortConnection()
        elif line == "hang up":
            self.transport.loseConnection()
        elif line:
            self.say(line)

    def say(self, line: str) -> None:
        """Write it."""
        self.sendLine(line.encode())

    def lineReceived(self, line: bytes) -> None:
        if line.startswith(b"BYE"):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del self._throng.guests[self]


class SlowStore:
    """A store whose answers take a while, and that fails now and then."""

    def __init__(self, throng: Throng) -> None:
        self._throng = throng
        self._store = MemoryPeerStore()

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        def ask(*args: Any) -> Deferred[Any]:
            throng = self._throng
            answer: Deferred[Any] = Deferred()

            def give() -> None:
                if not answer.called and throng.rng.random() < throng.store_fails:
                    answer.errback(StoreFailed("the disk is full"))
                elif not answer.called:
                    getattr(self._store, name)(*args).chainDeferred(answer)

            throng.host.callLater(throng.rng.choice((0.0, 0.0, 0.05, 1.0)), give)
            return answer

        return ask


class Source:
    """Where found nodes come from: one, when somebody asks and L{Throng} gives it."""

    def __init__(self) -> None:
        self.asked: Deferred[Node] | None = None

    def nextNode(self) -> Deferred[Node]:
        def cancelled(_: object) -> None:
            self.asked = None

        self.asked = Deferred(cancelled)
        return self.asked


class Broken(AssertionError):
    """A limit was passed, or something leaked."""


def require(holds: object, words: Any) -> None:
    """@raise Broken: it does not hold."""
    if not holds:
        raise Broken(words)


class _Center(Home):
    """The household that all of them call, and that calls them."""

    def __init__(self, throng: Throng, *args: Any, **options: Any) -> None:
        self._throng = throng
        super().__init__(*args, **options)

    def call(self, node: Node, connected: Callable[[], object]) -> Deferred[Any]:
        return self._throng.track("call", super().call(node, connected))

    def eventHappened(self, event: object) -> None:
        self._throng.eventHappened(event)


class Throng:
    """
    @ivar seen: how often each step was taken, and each kind of event told.
    @ivar trace: a digest of all steps and events so far, and when they were.
    """

    STEPS = {
        "call": 30, "go": 30, "both": 6, "leave": 4, "drop": 2, "give": 4, "find": 5,
        "add": 3, "remove": 2, "trust": 2, "untrust": 2, "ban": 2, "unban": 4, "policy": 3, "sets": 1, "rotate": 1,
        "cut": 1, "heal": 2, "store": 1,
    }  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.network = MemoryNetwork(seed=seed)
        self.host = self.network.host(OURS)
        self.seen: Counter[str] = Counter()
        self.trace = hashlib.sha256()
        self.store_fails = 0.0
        self.guests: dict[Guest, None] = {}
        #: What the household has promised, and has not kept yet.
        self.promised: dict[Deferred[Any], str] = {}
        #: By how much each limit may be passed, after the policy was changed or somebody is not trusted any more, until
        #: enough have left.
        self._debts: Counter[str] = Counter()
        self._lenient = False
        self._broken: Broken | None = None
        #: Whether somebody has lost trust since the policy was set.
        self._distrusted = False
        self.source = Source()
        store: Any = SlowStore(self)
        policy = Policy(max_peers=6, dial_ratio=2)
        self.home = home = _Center(self, self.host, 1, policy, store=store, random=rng.random)
        self.household = home.household
        self.hosts = {address: self.network.host(address) for address in HOSTS}
        for host in self.hosts.values():
            host.listenTCP(PORT, self._guests(host))
        self.household.dialing.seekFrom(self.source)
        self.household.startService()
        self.track("listening", self.household.listening.started)

    def _guests(self, host: Host) -> Factory:
        factory = Factory()
        factory.noisy = False
        homes = [node for node in NODES if node.host == host.addresses[0]]
        # One that calls back: an identity that is at home here, most of the time the one that is meant.
        factory.buildProtocol = lambda addr: self._guest(self.rng.choice(homes))  # type: ignore[method-assign]
        return factory

    def _guest(self, node: Node) -> Guest:
        rng = self.rng
        who, hello = f"AM {node.url}", f"HELLO {rng.choice(['good', 'good', 'good', 'evil/1'])} toy/1"
        script = rng.choices(
            [
                [who, hello],
                [who, hello, "BAD"],
                [who, hello, "BYE 4 full"],
                [who, "vanish"],
                [who, "BAD"],
                [who, "hang up"],
                ["BAD"],
                ["hang up"],
                [f"AM {self.home.node.url}", hello],
            ],
            [20, 2, 1, 1, 1, 1, 1, 1, 1],
        )[0]
        return Guest(self, script, rng.random() < 0.7)

    def track(self, name: str, promised: Deferred[Any]) -> Deferred[Any]:
        """Remember it until it has fired."""
        self.promised[promised] = name

        def kept(result: Any) -> Any:
            del self.promised[promised]
            return result

        return promised.addBoth(kept)

    def promise(self, name: str, promised: Deferred[Any]) -> None:
        """L{track}, and write down what comes of it."""
        self.track(name, promised).addCallback(lambda result: self._write(name, result))

    def _write(self, *words: object) -> None:
        self.trace.update(f"{self.network.now:.6f} {words!r}\n".encode())

    def eventHappened(self, event: object) -> None:
        """An event of the household: limits hold at this instant, too."""
        self.seen[type(event).__name__] += 1
        if isinstance(event, Refused):
            self.seen[event.rule] += 1
        self._write(event)
        if not self._lenient:
            try:
                self._limits()
            except Broken as error:  # the feed would log it, and go on
                self._broken = self._broken or error

    # --- what may happen

    def step(self) -> None:
        """Something happens, some time passes, and all is as it should be."""
        rng = self.rng
        name = rng.choices(list(self.STEPS), list(self.STEPS.values()))[0]
        if self.household.roster._beside and rng.random() < 0.3:
            name = "policy"  # both have called: this moment is rare
        self._write(name)
        self.seen[name] += 1
        self._lenient = name in ("untrust", "policy", "sets")
        getattr(self, f"_{name}")()
        if self._lenient:
            self.network.advance(0.0)
            self._lenient = False
            self._debts = +Counter(self._over())
            if not self._distrusted:
                tokens = ("handshakes", "waiting")  # they end in their own time
                require(not set(self._debts) - set(tokens), f"after {name}: over by {self._debts}")
        self.network.advance(rng.choices((0.0, rng.uniform(0, 0.05), rng.uniform(1, 3), 40.0), (40, 56, 3.5, 0.5))[0])
        self.check()

    def _any(self, things: dict[Any, None]) -> Any:
        return self.rng.choice(list(things)) if things else None

    def _call(self, node: Node | None = None) -> None:
        rng = self.rng
        node = rng.choice(NODES) if node is None else node
        host = self.hosts[node.host if rng.random() < 0.8 else rng.choice(HOSTS)]
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: self._guest(node)  # type: ignore[method-assign]
        endpoint = endpointFor(host, OURS, PORT)
        endpoint.connect(factory).addErrback(lambda failure: None)

    def _go(self) -> None:
        guest = self._any(self.guests)
        if guest is not None:
            guest.go()

    def _leave(self) -> None:
        guest = self._any(self.guests)
        if guest is not None:
            self.rng.choice(
                [lambda: guest.say("BYE 8 bye"), guest.transport.loseConnection, guest.transport.abortConnection]
            )()

    def _open(self) -> list[ToySession]:
        """The connections that stand, in the order they came."""
        self.home.sessions[:] = [one for one in self.home.sessions if not getattr(one.transport, "disconnected", False)]
        return self.home.sessions

    def _peer(self) -> ToySession | None:
        known = [one for one in self._open() if one.node is not None and one.ended is None]
        return self.rng.choice(known) if known else None

    def _give(self) -> None:
        session = self._peer()
        if session is not None:
            size, result = self.rng.randrange(100_000), self.rng.choice(["ok", "ok", "timeout"])
            self.household.sessions.requestDone(session, "a question", 1, size, 0.1, result=result)

    def _drop(self) -> None:
        session = self._peer()
        if session is not None:
            self.rng.choice([lambda: session.disconnect(DisconnectReason.REQUESTED), session.abort])()

    def _find(self, node: Node | None = None) -> None:
        asked, self.source.asked = self.source.asked, None
        if asked is not None:
            asked.callback(self.rng.choice(NODES) if node is None else node)

    def _both(self) -> None:
        node = self.rng.choice([node for node in NODES if node.node_id not in self.household.roster.known()])
        self._find(node)
        self.host.callLater(self.rng.uniform(0.0, 0.03), self._call, node)

    def _add(self) -> None:
        try:
            self.promise("addPeer", self.household.addPeer(self.rng.choice(NODES)))
        except ConfigError as error:
            self._write(str(error))

    def _remove(self) -> None:
        self.promise("removePeer", self.household.removePeer(self.rng.choice(NODES)))

    def _trust(self) -> None:
        self.promise("trust", self.household.trust(self.rng.choice(NODES)))

    def _untrust(self) -> None:
        self._distrusted = True
        trusted = [node for node in NODES if node.node_id in self.household.roster.trusted] or NODES
        self.promise("untrust", self.household.trust(self.rng.choice(trusted), False))

    def _sets(self) -> None:
        self._distrusted = True
        self.household.setTrusted(self.rng.sample(NODES, 4))
        if self.household.books.policy.netrestrict is None:
            self.household.setStatic(self.rng.sample(NODES, 4))

    def _ban(self) -> None:
        node = self.rng.choice(NODES)
        subject = self.rng.choice([node.node_id.hex(), node.host, "95.33.21.0/24"])
        seconds = self.rng.choice([None, 5.0, 60.0])
        self.promise("ban", self.household.ban(subject, seconds, "for a reason"))

    def _unban(self) -> None:
        bans = self.household.books.bans.listed(EPOCH + self.network.now)
        if bans:
            self.promise("unban", self.household.unban(self.rng.choice(bans).subject))

    def _policy(self) -> None:
        rng = self.rng
        self._distrusted = False
        self.household.setPolicy(
            Policy(
                max_peers=rng.randrange(12),
                min_peers=0,
                dial_ratio=rng.randrange(1, 4),
                max_pending=rng.randrange(1, 8),
                max_peers_per_ip=rng.choice([0, 0, 1, 2]),
                max_peers_per_subnet=rng.choice([0, 0, 1, 3]),
                inbound_throttle=rng.choice([0.0, 0.0, 0.0, 1.0, 30.0]),
                throttle_lan=rng.random() < 0.1,
                netrestrict=rng.choice([*[None] * 9, "10.0.0.0/8"]),
                refuse_clients=rng.choice([(), (), ("^evil",)]),
                reputation_dry_run=rng.random() < 0.2,
                ban_seconds=60.0,
                rotate=rng.random() < 0.8,
            )
        )

    def _rotate(self) -> None:
        self.household.keeper.rotate()

    def _cut(self) -> None:
        address = self.rng.choice(HOSTS)
        self.network.cut(OURS, address)

    def _heal(self) -> None:
        for address in HOSTS:
            self.network.heal(OURS, address)

    def _store(self) -> None:
        self.store_fails = self.rng.choice([0.0, 0.0, 0.3])

    # --- what must hold

    def _over(self) -> dict[str, int]:
        """By how much each limit is passed now, of a count made anew."""
        books = self.household.books
        policy, roster = books.policy, books.roster
        calls = [[place, *filter(None, [roster._beside.get(place.session.node_id)])] for place in roster]
        counted = [both for both in calls if not both[0].trusted]
        ips, subnets = (
            Counter(block for both in counted for block in {place.blocks[kind] for place in both if place.blocks})
            for kind in (0, 1)
        )
        inbound = sum(any(place.inbound for place in both) for both in counted)
        census = roster.census()
        require((census.peers, census.inbound) == (len(counted), inbound), f"{census}, not {len(counted)}, {inbound}")
        require(roster.dialed == sum(not place.inbound for place in roster), "how many we called")
        require(roster._blocks == ips + subnets, f"{roster._blocks}, not {ips + subnets}")
        over = {
            "peers": len(counted) - policy.max_peers,
            "inbound": inbound - policy.max_inbound,
            "handshakes": books.doorman.pending - policy.max_pending,
            "waiting": books.doorman.waiting - MAX_WAITING,
        }
        for blocks, limit in ((ips, policy.max_peers_per_ip), (subnets, policy.max_peers_per_subnet)):
            over.update({f"in {block}": number - limit for block, number in blocks.items() if limit})
        return over

    def _limits(self) -> None:
        over = +Counter(self._over())
        for name, number in over.items():
            require(number <= self._debts[name], f"{name}: over by {number}, {self._debts[name]} of it known")
        self._debts = over  # it only shrinks

    def check(self) -> None:
        """
        Limits, counts and tokens.

        @raise Broken: one is not right.
        """
        self._limits()
        if self._broken is not None:
            raise self._broken
        household = self.household
        self.seen["both called"] += bool(household.roster._beside)
        self.seen["some wait"] += bool(household.doorway.waiting)
        self.seen["full"] += household.roster.census().peers == household.books.policy.max_peers > 0
        roster, doorman, doorway = household.roster, household.books.doorman, household.doorway
        standings, connections = household.sessions, set(self._open())
        for place in [*roster, *roster._beside.values()]:
            require(place.session in connections, f"the place of a session that is over: {place}")
            require(place.trusted is (place.session.node_id in roster.trusted), f"trusted? {place}")
        known = {one for one in connections if one.node is not None}
        require(set(standings) == known, f"{len(standings)} standings of {len(known)} sessions")
        alive = {one for one in known if one.ended is None}
        placeless = alive - {place.session for place in [*roster, *roster._beside.values()]}
        require(not placeless, f"sessions without a place: {placeless}")
        handshaking = len([one for one in connections if one.inbound and not self._settled(one)])
        require(doorman.pending == doorway.inside == handshaking, f"{doorman.pending} inside, not {handshaking}")
        require(doorman.waiting == doorway.waiting, f"{doorman.waiting} wait, not {doorway.waiting}")
        calling = sum(name == "call" for name in self.promised.values())
        require(household.books.dialer.calling == calling, f"{household.books.dialer.calling} calls, not {calling}")

    def _settled(self, session: ToySession) -> bool:
        """Whether its handshake is over."""
        standing = None if session.node is None else self.household.sessions.standing(session)
        return standing is not None and standing.added is not None

    def settle(self) -> None:
        """
        Nobody comes any more, all go, and time passes.

        @raise Broken: something is left of somebody.
        """
        self._heal()
        self.store_fails = 0.0
        for host in self.hosts.values():
            for port in list(host.ports.values()):
                port.stopListening()
        for _ in range(2):  # calls under way, too
            for guest in list(self.guests):
                guest.transport.abortConnection()
            self.network.advance(60.0)
        self.check()
        household = self.household
        left = {
            "places": len(household.roster),
            "beside": len(household.roster._beside),
            "sessions": len(household.sessions),
            "connections": len(self._open()),
            "at the door": household.doorway.inside + household.doorway.waiting,
            "blocks": len(household.roster._blocks),
            "callers in handshake": len(household.books.dialer._pending),
        }
        require(not any(left.values()), f"left when all are gone: {left}")

    def stop(self) -> None:
        """
        The household stops.

        @raise Broken: something is left of it.
        """
        stopping = self.household.stopService()
        self.track("stop", stopping)
        self.network.wait_for(stopping, limit=20.0)
        self.home.wheel.stop()
        self.network.advance(20.0)
        require(not self._open(), f"{len(self._open())} connections are left")
        require(not self.promised, f"never fired: {Counter(self.promised.values())}")
        calls = self.host.getDelayedCalls()
        require(not calls, f"left on the clock: {calls}")
        require(not len(self.home.wheel), "left on the wheel")

    def run(self, steps: int, *, quiet: bool = True) -> str:
        """
        So many steps, then the end.

        @param quiet: whether all others leave before.
        @return: the digest of all that happened.
        """
        for number in range(steps):
            try:
                self.step()
            except Broken as error:
                raise Broken(f"step {number}: {error}") from None
        if quiet:
            self.settle()
        self.stop()
        return self.trace.hexdigest()
