"""
Plays one side of the handshakes with nothing but what no RLPx on Twisted and libsecp256k1 can do without: a TCP
connection, packets of the same sizes, and the operations on the curve.  What it costs is the limit that the other
figures are read against; ciphers, hashes and everything written in Python come on top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from benchmarks.ours.driver import Driver, main
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enode import Node

#: Sizes of the packets as ethp2p and geth send them, about: auth, then ack and Hello together, then Hello.
AUTH, ACK, HELLO = 507, 573, 160

_DIGEST = bytes(range(32))


class Calling(Protocol):
    """The side that calls."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._got = 0

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        key, remote = self._identity.key, self._identity.remote
        self._ephemeral, once = PrivateKey.generate(), PrivateKey.generate()
        key.ecdh(remote)
        self._ephemeral.sign(_DIGEST)
        once.ecdh(remote)
        _ = once.public_key
        self.transport.writeSomeData(bytes(AUTH))

    def dataReceived(self, data: bytes) -> None:
        self._got += len(data)
        if self._got == ACK + HELLO:
            self._identity.key.ecdh(self._identity.remote)
            self._ephemeral.ecdh(self._identity.remote)
            self.transport.writeSomeData(bytes(HELLO))
            self._identity.called(self)

    def hangUp(self) -> None:
        """Close."""
        self.transport.loseConnection()


class Called(Protocol):
    """The side that is called."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._got = 0

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        before, self._got = self._got, self._got + len(data)
        if before < AUTH <= self._got:
            key, remote = self._identity.key, self._identity.remote
            ephemeral, once = PrivateKey.generate(), PrivateKey.generate()
            key.ecdh(remote)
            key.ecdh(remote)
            ephemeral.ecdh_signer(self._identity.signature, _DIGEST)
            _ = ephemeral.public_key
            once.ecdh(remote)
            _ = once.public_key
            self.transport.writeSomeData(bytes(ACK + HELLO))
        if self._got == AUTH + HELLO:
            self._identity.called(self)


class Identity:
    """A key, and the connections that it has."""

    def __init__(self, driver: Driver, arrived: Callable[[Any], None] | None = None, port: int = 0) -> None:
        self._driver = driver
        self._port = port
        self.key = PrivateKey.generate()
        self.remote: PublicKey = PrivateKey.generate().public_key
        self.signature = PrivateKey.generate().sign(_DIGEST)
        self._calls: deque[Deferred[Calling]] = deque()
        self.called = arrived or self._called
        kind = Calling if arrived is None else Called
        self._factory = Factory.forProtocol(lambda: kind(self))  # type: ignore[arg-type]
        self._factory.noisy = False

    async def listen(self) -> Node:
        """@return: where."""
        await TCP4ServerEndpoint(self._driver.reactor, self._port, interface="127.0.0.1").listen(self._factory)
        return Node(self.key.public_key, "127.0.0.1", self._port, self._port)

    def _called(self, call: Calling) -> None:
        self._calls.popleft().callback(call)

    def connect(self) -> Deferred[Calling]:
        """One connection, with as many bytes both ways as Hello has."""
        node = self._driver.node
        assert node is not None
        waiting: Deferred[Calling] = Deferred()
        self._calls.append(waiting)
        below = TCP4ClientEndpoint(self._driver.reactor, node.host, node.tcp)
        below.connect(self._factory).addErrback(waiting.errback)
        return waiting


class Least(Driver):
    """One side, of handshakes only."""

    identity = Identity


if __name__ == "__main__":
    main(Least)
