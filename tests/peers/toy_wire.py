"""
A wire of lines, and households that speak it: the household has to do without RLPx, devp2p and eth.

Both sides say ``AM <enode URL>``, which is believed; then ``HELLO <client> <languages with commas between them>``.
``BYE <reason> <words>`` ends it.  Anything else is an offence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey
from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason, NotAdmitted, PeerDisconnected, RemoteProtocolError, WireError
from ethp2p.events import Feed
from ethp2p.interfaces import IEventSink, ISession
from ethp2p.limits import WheelTimer
from ethp2p.peers import Household, Policy
from ethp2p.peers.dialing import Watched, endpointFor
from ethp2p.peers.store import IPeerStore
from ethp2p.testing.network import Host, MemoryNetwork

PORT = 7
#: Seconds for the two greetings, and for the last words.
PATIENCE, CLOSING = 5.0, 2.0
#: What unix time is when a network begins.
EPOCH = 1_700_000_000.0


class ToyTimeout(RemoteProtocolError):
    """The peer did not greet in time."""

    reason = DisconnectReason.PING_TIMEOUT


@implementer(ISession)
class ToySession(LineOnlyReceiver):
    """One connection."""

    delimiter = b"\n"
    MAX_LENGTH = 1024

    def __init__(self, home: Home, expected: Node | None = None) -> None:
        self.home = home
        self.expected = expected
        self.inbound = expected is None
        self.node: Any = None
        self.client = ""
        self.capabilities: tuple[str, ...] = ()
        self.shared: tuple[str, ...] = ()
        self.ended: PeerDisconnected | None = None
        self.met: Deferred[ToySession] = Deferred(lambda _: self.abort())
        #: What the peer said on leaving.
        self.heard: list[tuple[DisconnectReason, str]] = []
        self._timer: Any = None

    @property
    def node_id(self) -> bytes:
        node_id: bytes = self.node.node_id
        return node_id

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self.address, self.local = self._transport.getPeer(), self._transport.getHost()
        self._timer = self.home.wheel.call_later(PATIENCE, lambda: self._guard(self._late))
        if self.home.speaks:
            self.say("AM", self.home.node.url)

    def say(self, *words: str) -> None:
        self.sendLine(" ".join(words).encode())

    def lineReceived(self, line: bytes) -> None:
        if self.ended is None:
            self._guard(self._hear, *line.decode().split(" "))

    def _hear(self, verb: str, *words: str) -> None:
        if verb == "AM" and self.node is None:
            node = Node.parse(words[0])
            if self.expected is not None and node.node_id != self.expected.node_id:
                raise WireError("somebody else answered")
            self.node = node
            try:
                self.home.household.sessions.identityProven(self)
            finally:
                self.met.callback(self)
            if self.ended is None:
                self.say("HELLO", self.home.client, ",".join(self.home.languages))
        elif verb == "HELLO" and self.node is not None and not self.client:
            self.client, self.capabilities = words[0], tuple(words[1].split(","))
            self.shared = tuple(one for one in self.capabilities if one in self.home.languages)
            self.home.household.sessions.helloReceived(self)
            if self.ended is None:
                self._timer.cancel()
                self.home.household.sessions.ready(self)
        elif verb == "BYE":
            self.heard.append((DisconnectReason(int(words[0])), " ".join(words[1:])))
            self._end(PeerDisconnected(*self.heard[0][:1], detail=self.heard[0][1]))
            self._transport.loseConnection()
        else:
            raise WireError(f"nobody says {verb}")

    def _late(self) -> None:
        raise ToyTimeout

    def _guard(self, call: Callable[..., object], *args: Any) -> None:
        try:
            call(*args)
        except NotAdmitted as refusal:
            self.disconnect(refusal.reason, refusal.detail)
        except (RemoteProtocolError, ConfigError, ValueError, IndexError) as error:
            fault = error if isinstance(error, RemoteProtocolError) else WireError(str(error))
            if self.node is not None:
                self.home.household.sessions.offenceSeen(self, fault.offence, str(fault))
            self.disconnect(fault.reason, str(fault))

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        """Say why and close."""
        if self.ended is None:
            self._end(PeerDisconnected(reason, by_us=True, detail=detail))
            self.say("BYE", str(int(reason)), detail)
            self._timer = self.home.wheel.call_later(CLOSING, self._transport.abortConnection)
            self._transport.loseConnection()

    def abort(self) -> None:
        """Close without a word."""
        self._end(PeerDisconnected(by_us=True, detail="aborted"))
        self._transport.abortConnection()

    def _end(self, ended: PeerDisconnected) -> None:
        self.ended = self.ended or ended
        self._timer.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(PeerDisconnected(detail=reason.getErrorMessage()))
        self._timer.cancel()
        ended = self.ended
        assert ended is not None
        if self.node is None and self.inbound:
            self.home.household.doorway.settled(self.address)
        elif self.node is not None:
            self.home.household.sessions.sessionEnded(self, ended)
        if not self.inbound and not self.met.called:
            self.met.errback(ended)


class ToyFactory(Factory):
    """Builds a session for each connection."""

    noisy = False

    def __init__(self, home: Home, expected: Node | None = None) -> None:
        self._home = home
        self._expected = expected

    def buildProtocol(self, addr: Any) -> ToySession:
        session = ToySession(self._home, self._expected)
        self._home.sessions.append(session)
        return session


@implementer(IEventSink)
class Home:
    """
    A household on a host.

    @ivar events: all that it told.
    @ivar sessions: all that there were, the oldest first.
    @ivar speaks: whether it greets.
    """

    def __init__(
        self,
        host: Host,
        number: int,
        policy: Policy,
        *,
        store: IPeerStore | None = None,
        client: str = "toy",
        languages: Iterable[str] = ("toy/1",),
        ports: Iterable[int] = (PORT,),
        random: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.host = host
        self.client = client
        self.languages = tuple(languages)
        self.speaks = True
        self.events: list[object] = []
        self.sessions: list[ToySession] = []
        self.node = Node(key(number).public_key, host.addresses[0], PORT)
        self.wheel = WheelTimer(host)
        feed = Feed()
        feed.subscribe(self)
        self.household = Household(
            self.node.node_id,
            policy,
            feed,
            self.wheel,
            clock=host,
            wall=lambda: EPOCH + host.seconds(),
            random=random,
            store=store,
        )
        doors = [self.household.doorway.guard(TCP4ServerEndpoint(host, port)) for port in ports]
        self.household.open(doors, ToyFactory(self), self.call)

    def call(self, node: Node, connected: Callable[[], object]) -> Deferred[Any]:
        """See L{ethp2p.peers.dialing.DialService}."""
        endpoint = Watched(endpointFor(self.host, node.host, node.tcp), connected)
        return endpoint.connect(ToyFactory(self, node)).addCallback(lambda session: session.met)

    def ring(self, other: Home | Node) -> list[Any]:
        """Call somebody once.  @return: what comes of it: a session whose peer is known, or a failure."""
        outcome: list[Any] = []
        node = other.node if isinstance(other, Home) else other
        self.call(node, lambda: None).addBoth(outcome.append)
        return outcome

    def eventHappened(self, event: object) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def peers(self) -> set[bytes]:
        """Who is here."""
        return {place.session.node_id for place in self.household.roster.added()}

    def session(self, other: Home) -> ToySession:
        """The one with this peer that goes on."""
        (session,) = (
            place.session for place in self.household.roster.added() if place.session.node_id == other.node.node_id
        )
        assert isinstance(session, ToySession)
        return session

    def verdict(self, subject: Home | str) -> str:
        """What an operator is told of somebody."""
        return self.household.explain(subject if isinstance(subject, str) else subject.node.node_id.hex()).verdict

    @property
    def goodbyes(self) -> list[tuple[DisconnectReason, str]]:
        """What peers told it on leaving."""
        return [heard for session in self.sessions for heard in session.heard]


def key(number: int) -> PrivateKey:
    """Always the same."""
    return PrivateKey.parse(number.to_bytes(32, "big"))


class ToyTestCase(SynchronousTestCase):
    """
    Homes on one network.

    @ivar log: the lines that were logged.
    """

    def setUp(self) -> None:
        self.network = MemoryNetwork()
        self.log: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("ethp2p"):
            self.log.append(formatEvent(event))

    def home(self, number: int, address: str = "", *, host: Host | None = None, **options: Any) -> Home:
        """
        A household that runs, at 10.0.0.C{number} or elsewhere.

        @param options: of L{Home}, and of L{Policy}.
        """
        names = [name for name in options if name in Policy.__annotations__]
        policy = Policy(**{name: options.pop(name) for name in names})
        home = Home(host or self.network.host(address or f"10.0.0.{number}"), number, policy, **options)
        home.household.startService()
        return home

    def public(self, number: int, **options: Any) -> Home:
        """The same at a public address."""
        return self.home(number, f"20.0.{number}.1", **options)

    def meet(self, one: Home, *others: Home) -> None:
        """Have the others call one, and wait until all are peers."""
        for other in others:
            other.ring(one)
        ids = {other.node.node_id for other in others}
        self.network.run_until(lambda: ids <= one.peers and all(one.node.node_id in other.peers for other in others))

    def stop(self, home: Home) -> None:
        """Within the time that each part has."""
        self.network.wait_for(home.household.stopService(), limit=3.5)
        home.wheel.stop()
