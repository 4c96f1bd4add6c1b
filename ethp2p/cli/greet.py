"""
A call that is over when the peer has said who it is, or also which chain it follows.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.devp2p import client_name
from ethp2p.devp2p.state import DevP2P, DisconnectReceived, HelloReceived, MessageReceived, Shared
from ethp2p.devp2p.wire import P2P_VERSION, Capability, Hello
from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason, P2PError, PeerDisconnected, RemoteProtocolError
from ethp2p.eth import wire as eth
from ethp2p.eth.messages import Status, Status66, Status69
from ethp2p.eth.state import StatusMissing
from ethp2p.interfaces import IMessageProtocol
from ethp2p.limits import WheelTimer
from ethp2p.networks import ForkId, Network
from ethp2p.rlpx import RLPxAddress, RLPxClientEndpoint

#: Seconds for all of a call.
TIMEOUT = 5.0
#: Seconds after its Hello in which a peer may say its Status before we say one.  Most say theirs at once; ours may be
#: of another chain, and a peer that compares before it speaks hangs up.
FIRST_WORD = 1.5


class Unreachable(P2PError):
    """The peer cannot be reached."""


class NoSharedLanguage(P2PError):
    """The peer speaks no version of eth that is spoken here."""


@attrs.define
class Findings:
    """
    What a peer has said of itself, until it said no more.
    """

    hello: Hello | None = None
    #: Of eth, as both speak it.
    version: int | None = None
    #: Which chain it follows.
    status: Status | None = None
    #: Why this is not all; None when it is.
    failure: P2PError | None = None


@attrs.frozen
class Pretence:
    """
    What we say of ourselves to a peer that does not speak first: that we are in sync with this chain.
    """

    network: Network
    fork_id: ForkId

    def status(self, version: int) -> Status:
        """In C{version} of eth."""
        network = self.network
        if version < 69:
            genesis = network.genesis_hash
            return Status66(version, network.network_id, 0, genesis, genesis, self.fork_id)
        return Status69(version, network.network_id, network.genesis_hash, self.fork_id, 0, 0, network.genesis_hash)


@implementer(IMessageProtocol)
class Greeting:
    """
    Says Hello, hears Hello, hears Status if that is wanted, and says goodbye.

    @ivar heard: fires with L{Findings} when there is no more to hear.
    """

    def __init__(self, key: PrivateKey, remote: PublicKey, clock: Any, pretence: Pretence | None) -> None:
        """
        @param key: ours.
        @param remote: the peer's.
        @param clock: an C{IReactorTime}.
        @param pretence: None when Status is not wanted.
        """
        self.heard: Deferred[Findings] = Deferred(lambda _: self._transport.abortConnection())
        # Some peers say nothing to one that they share no language with.
        offers = tuple(Capability("eth", version) for version in sorted(eth.VERSIONS))
        hello = Hello(P2P_VERSION, client_name(), offers, 0, key.public_key.raw)
        lengths = {"eth": {number: version.length for number, version in eth.VERSIONS.items()}}
        self._engine = DevP2P(hello, lengths, remote.raw)
        self._findings = Findings()
        self._pretence = pretence
        self._clock = clock
        self._turn: Any = None
        self._transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Say Hello at once: some peers wait for it."""
        self._transport = transport
        self._engine.start(self._clock.seconds())
        self._flush()

    def messageReceived(self, code: int, payload: bytes) -> None:
        """See L{IMessageProtocol}."""
        if self.heard.called:
            return
        try:
            match self._engine.receive_message(code, payload, self._clock.seconds()):
                case HelloReceived(hello=hello, shared=shared):
                    self._greeted(hello, shared)
                case MessageReceived(code=eth.Code.STATUS, payload=plain):
                    self._status(plain)
                case MessageReceived(code=number):
                    raise StatusMissing(f"message {number:#04x} before Status")
                case DisconnectReceived(reason=DisconnectReason() as reason):
                    self._goodbye(PeerDisconnected(reason))
                case DisconnectReceived(reason=number):
                    self._goodbye(PeerDisconnected(detail=f"reason {number:#04x}, which has no name"))
        except RemoteProtocolError as error:
            self._goodbye(error)
        self._flush()

    def connectionLost(self, reason: Failure) -> None:
        """It ended before its time."""
        when = "Hello" if self._findings.hello is None else "Status"
        lost = PeerDisconnected(detail=f"before {when}: {reason.getErrorMessage()}")
        self._end(reason.value if isinstance(reason.value, P2PError) else lost)

    def giveUp(self, after: float) -> None:
        """The peer is too slow."""
        what = "Hello" if self._findings.hello is None else "Status"
        self._transport.abortConnection()
        self._end(Unreachable(f"the peer did not say {what} within {after:g} s"))

    def _greeted(self, hello: Hello, shared: tuple[Shared, ...]) -> None:
        self._findings.hello = hello
        if self._pretence is None:
            self._goodbye(None)
        elif not shared:
            self._goodbye(NoSharedLanguage())
        else:
            self._findings.version = shared[0].version
            self._turn = self._clock.callLater(FIRST_WORD, self._speak, shared[0], self._pretence)

    def _speak(self, shared: Shared, pretence: Pretence) -> None:
        self._turn = None
        code, payload = eth.encode(shared.version, pretence.status(shared.version))
        self._transport.writeMessage(shared.offset + code, self._engine.pack_message(shared, code, payload))

    def _status(self, payload: bytes) -> None:
        version = self._findings.version
        assert version is not None, "a message of a capability after Hello"
        status = eth.decode(version, eth.Code.STATUS, payload)
        assert isinstance(status, (Status66, Status69))
        self._findings.status = status
        self._goodbye(None)

    def _goodbye(self, failure: P2PError | None) -> None:
        self._engine.disconnect(DisconnectReason.REQUESTED)
        self._flush()
        self._transport.loseConnection()
        self._end(failure)

    def _flush(self) -> None:
        for code, payload in self._engine.messages_to_send():
            self._transport.writeMessage(code, payload)

    def _end(self, failure: P2PError | None) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if not self.heard.called:
            self._findings.failure = failure
            self.heard.callback(self._findings)


class _Greetings(Factory):
    noisy = False

    def __init__(self, *args: Any) -> None:
        self._args = args

    def buildProtocol(self, addr: RLPxAddress) -> Greeting:  # type: ignore[override]
        return Greeting(*self._args)


async def _call(
    endpoint: IStreamClientEndpoint,
    remote: PublicKey,
    key: PrivateKey,
    clock: Any,
    seconds: float,
    pretence: Pretence | None,
) -> Findings:
    rlpx = RLPxClientEndpoint(endpoint, key, remote, clock=clock, wheel=WheelTimer(clock))
    until = clock.seconds() + seconds
    connecting = rlpx.connect(_Greetings(key, remote, clock, pretence))
    late_now = False

    def giveUp() -> None:
        nonlocal late_now
        late_now = True
        connecting.cancel()

    late = clock.callLater(seconds, giveUp)
    try:
        greeting: Greeting = await connecting
    except (ConnectError, DNSLookupError) as error:
        return Findings(failure=Unreachable(f"the peer cannot be reached: {error}"))
    except CancelledError:
        if not late_now:  # it was not we who cancelled
            raise
        return Findings(failure=Unreachable(f"the peer did not say Hello within {seconds:g} s"))
    except P2PError as error:
        return Findings(failure=error)
    finally:
        if late.active():
            late.cancel()
    late = clock.callLater(max(0.0, until - clock.seconds()), greeting.giveUp, seconds)
    try:
        return await greeting.heard
    finally:
        if late.active():
            late.cancel()


def greet(
    endpoint: IStreamClientEndpoint, remote: PublicKey, key: PrivateKey, clock: Any, timeout: float = TIMEOUT
) -> Deferred[Hello]:
    """
    Call a peer to hear its Hello.

    @param endpoint: makes the TCP connection.
    @param remote: the peer's key.
    @param key: ours.
    @param clock: an C{IReactorTime}.
    @param timeout: seconds for all of it.
    @return: fires with its Hello.  Fails with a L{P2PError}: not reached, not RLPx, not this key, or
        disconnected, with its reason.  Cancelling closes the connection.
    """

    async def call() -> Hello:
        findings = await _call(endpoint, remote, key, clock, timeout, None)
        if findings.failure is not None:
            raise findings.failure
        assert findings.hello is not None
        return findings.hello

    return Deferred.fromCoroutine(call())


def probe(
    endpoint: IStreamClientEndpoint,
    remote: PublicKey,
    key: PrivateKey,
    clock: Any,
    timeout: float = TIMEOUT,
    *,
    pretence: Pretence,
) -> Deferred[Findings]:
    """
    Call a peer to hear its Hello and its Status.  It hears no Status of ours unless it waits for one.

    @param pretence: what it hears then.
    @return: fires with what there was to hear, and does not fail; the rest is as in L{greet}.
    """
    return Deferred.fromCoroutine(_call(endpoint, remote, key, clock, timeout, pretence))


def endpoint_of(reactor: Any, node: Node, timeout: float = TIMEOUT) -> IStreamClientEndpoint:
    """
    @return: where a node takes calls.
    @raise ConfigError: it does not say.
    """
    if not node.host or not node.tcp:
        raise ConfigError(f"{node.url} has no address to call")
    return HostnameEndpoint(reactor, node.host.encode("ascii"), node.tcp, timeout=timeout)
