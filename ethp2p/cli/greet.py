"""
A call that is over when the peer has said who it is.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.codec import snappy
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.devp2p import client_name
from ethp2p.devp2p.wire import DISCONNECT, HELLO, P2P_VERSION, Capability, Disconnect, Hello
from ethp2p.errors import DisconnectReason, P2PError, PeerDisconnected, WireError
from ethp2p.interfaces import IMessageProtocol
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxAddress, RLPxClientEndpoint


class Unreachable(P2PError):
    """The peer cannot be reached."""


@implementer(IMessageProtocol)
class Greeting:
    """
    Says Hello, hears Hello, and says goodbye.

    @ivar heard: fires with the peer's L{Hello}; fails with L{PeerDisconnected} or what else came of it.
    """

    def __init__(self, hello: Hello) -> None:
        self.heard: Deferred[Hello] = Deferred(lambda _: self._transport.abortConnection())
        self._hello = hello
        self._transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Say Hello at once: some peers wait for it."""
        self._transport = transport
        transport.writeMessage(HELLO, self._hello.encode())

    def messageReceived(self, code: int, payload: bytes) -> None:
        """The first message is all that matters."""
        if self.heard.called:
            return
        if code == HELLO:
            hello = Hello.decode(payload)
            goodbye = Disconnect(DisconnectReason.REQUESTED).encode()
            self._transport.writeMessage(DISCONNECT, snappy.compress(goodbye) if hello.version >= 5 else goodbye)
            self._transport.loseConnection()
            self.heard.callback(hello)
        elif code == DISCONNECT:
            reason = Disconnect.decode(payload).reason
            self._transport.loseConnection()
            if isinstance(reason, DisconnectReason):
                self.heard.errback(PeerDisconnected(reason))
            else:
                self.heard.errback(PeerDisconnected(detail=f"reason {reason:#04x}, which has no name"))
        else:
            raise WireError(f"message {code:#04x} before Hello")

    def connectionLost(self, reason: Failure) -> None:
        """It ended before its time."""
        if not self.heard.called:
            known = isinstance(reason.value, P2PError)
            self.heard.errback(
                reason if known else PeerDisconnected(detail="before Hello: " + reason.getErrorMessage())
            )


class _Greetings(Factory):
    noisy = False

    def __init__(self, hello: Hello) -> None:
        self._hello = hello

    def buildProtocol(self, addr: RLPxAddress) -> Greeting:  # type: ignore[override]
        return Greeting(self._hello)


def greet(
    endpoint: IStreamClientEndpoint, remote: PublicKey, key: PrivateKey, clock: Any, timeout: float
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
    # Some peers say nothing to one that they share no language with.
    languages = (Capability("eth", 68), Capability("eth", 69))
    hello = Hello(P2P_VERSION, client_name(), languages, 0, key.public_key.raw)
    rlpx = RLPxClientEndpoint(endpoint, key, remote, clock=clock, wheel=WheelTimer(clock))

    async def call() -> Hello:
        try:
            greeting = await rlpx.connect(_Greetings(hello))
        except (ConnectError, DNSLookupError) as error:
            raise Unreachable(f"the peer cannot be reached: {error}") from None
        result: Hello = await greeting.heard
        return result

    def late(value: object, after: float) -> Failure:
        return Failure(Unreachable(f"the peer did not say Hello within {after:g} s"))

    return Deferred.fromCoroutine(call()).addTimeout(timeout, clock, late)
