"""
Where parts of ethp2p meet each other, and where other people's parts plug in.

A message transport carries whole messages, each a code and a payload, as a byte transport carries bytes.  An
RLPx connection is one; so is the channel that a devp2p session gives to each capability.  What sits on one is
a message protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import Attribute, Interface

from ethp2p.errors import DisconnectReason, Offence, PeerDisconnected, RemoteProtocolError


class IMessageTransport(Interface):
    """
    A connection that carries messages.  Also an C{IPushProducer} (towards the protocol above) and an
    C{IConsumer} (for a producer that the protocol above registers).
    """

    def writeMessage(code: int, payload: bytes) -> None:
        """
        Send a message.  Never blocks; a writer of much registers a producer and heeds it.

        @raise ethp2p.errors.LocalProtocolError: over the size limit, or a code outside the protocol.
        """

    def pauseProducing() -> None:
        """Deliver no more messages until told to."""

    def resumeProducing() -> None:
        """Deliver messages again, the ones already here first."""

    def registerProducer(producer: Any, streaming: bool) -> None:
        """Tell C{producer} to pause when too much waits to be sent, and to resume after."""

    def unregisterProducer() -> None:
        """Forget the producer."""

    def loseConnection() -> None:
        """Close after everything written is sent."""

    def abortConnection() -> None:
        """Close now."""

    def getPeer() -> Any:
        """The remote address."""

    def getHost() -> Any:
        """The local address."""


class IMessageProtocol(Interface):
    """
    What sits on a message transport.
    """

    def makeConnection(transport: Any) -> None:
        """The transport is ready; messages may be written."""

    def messageReceived(code: int, payload: bytes) -> None:
        """
        A message came.

        @raise ethp2p.errors.RemoteProtocolError: it breaks a rule.  The transport books the offence and
            disconnects with the error's reason.
        """

    def connectionLost(reason: Any) -> None:
        """The connection is gone; C{reason} is a C{Failure}, often of L{PeerDisconnected}."""


class ISession(Interface):
    """
    One connected peer, whichever wire it came over.
    """

    node_id: bytes = Attribute("The peer's proven id, 32 bytes.")
    inbound: bool = Attribute("Whether the peer called us.")
    address: Any = Attribute("Its transport address (C{IAddress}).")
    local: Any = Attribute("Our end of the connection (C{IAddress}).")
    node: Any = Attribute("Where it says it can be called, an L{ethp2p.enode.Node}; None if that is not known.")
    client: str = Attribute("The client name it gave, empty before Hello.")
    capabilities: tuple[str, ...] = Attribute("What it offered, as 'eth/69'.")
    shared: tuple[str, ...] = Attribute(
        "What both sides speak, each at its highest common version; empty before Hello."
    )

    def disconnect(reason: DisconnectReason, detail: str = "") -> None:
        """Say why and close.  Both come back to the household when the session has ended."""

    def abort() -> None:
        """Close without a word."""


class IHousehold(Interface):
    """
    Who decides about peers.  A session asks at the two checkpoints and reports what it saw.
    """

    def identityProven(session: Any) -> None:
        """
        The checkpoint after the cryptographic handshake: the id is known.

        @raise ethp2p.errors.NotAdmitted: the peer may not come in; its reason is sent.
        """

    def helloReceived(session: Any) -> None:
        """
        The checkpoint after Hello: client and capabilities are known.

        @raise ethp2p.errors.NotAdmitted: the peer may not come in; its reason is sent.
        """

    def offenceSeen(session: Any, offence: Offence, evidence: str) -> None:
        """The peer did something wrong; C{evidence} names the message and the rule."""

    def sessionEnded(session: Any, ended: PeerDisconnected) -> None:
        """The session is over.  Called once for every session that reached C{identityProven}."""


class ICapability(IMessageProtocol):
    """
    A language spoken with one peer.  Its transport is an L{IChannel}; codes start at 0.
    """

    def describe() -> Mapping[str, Any]:
        """What C{admin_peers} shows under C{protocols}: JSON values."""


class ICapabilityFactory(Interface):
    """
    Offers a capability to peers.  Found among plugins, or handed to the node.
    """

    name: str = Attribute("Up to 8 ASCII letters, e.g. 'eth'.")
    versions: Mapping[int, int] = Attribute("Each version spoken, with how many message codes it has.")

    def buildCapability(session: Any, version: int) -> Any:
        """
        @param session: the peer, an L{ISession}.
        @return: an L{ICapability} for this peer and version.
        """


class IChannel(IMessageTransport):
    """
    A capability's transport: its share of a session.
    """

    name: str = Attribute("The capability's name.")
    version: int = Attribute("The version agreed.")
    session: Any = Attribute("The L{ISession} it belongs to.")

    def fail(error: RemoteProtocolError) -> None:
        """The peer broke a rule, seen outside C{messageReceived}: book the offence and disconnect."""

    def disconnect(reason: DisconnectReason, detail: str = "") -> None:
        """End the whole session."""


class IChain(Interface):
    """
    A chain to serve from and to check peers against.  Everything is given as the exact RLP of the block, so
    that serving never encodes again.  Hashes are 32 bytes.
    """

    network: Any = Attribute("The L{ethp2p.networks.Network}.")

    def head() -> Any:
        """The head's L{ethp2p.blocks.Header}."""

    def earliest() -> int:
        """Number of the oldest block whose body can be served."""

    def totalDifficulty() -> int:
        """Of the head, for Status up to eth/68."""

    def hashAt(number: int) -> bytes | None:
        """The canonical block's hash."""

    def numberOf(blockHash: bytes) -> int | None:
        """The number of a known block."""

    def rawHeader(blockHash: bytes) -> bytes | None:
        """RLP of the header."""

    def rawBody(blockHash: bytes) -> bytes | None:
        """RLP of the body: C{[transactions, uncles, withdrawals?]}."""

    def receipts(blockHash: bytes) -> Any:
        """A tuple of L{ethp2p.blocks.Receipt}, or None when they are not known."""

    def observeHead(observer: Any) -> Any:
        """
        Call C{observer} with each new head's header.

        @return: call it to stop.
        """


class IEventSink(Interface):
    """
    Takes events from the feed.
    """

    def eventHappened(event: Any) -> None:
        """One of L{ethp2p.events}.  Must return at once."""
