"""
What can go wrong between two peers, in one tree.

Each class's docstring is the sentence an operator reads.  A L{RemoteProtocolError} also says what to do
about it: C{reason} is the code sent in Disconnect, C{offence} what reputation books.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class DisconnectReason(IntEnum):
    """
    Why a connection ends, numbered as in Disconnect (devp2p rlpx.md, "Disconnect (0x01)").
    """

    REQUESTED = 0x00
    TCP_ERROR = 0x01
    BREACH_OF_PROTOCOL = 0x02
    USELESS_PEER = 0x03
    TOO_MANY_PEERS = 0x04
    ALREADY_CONNECTED = 0x05
    INCOMPATIBLE_VERSION = 0x06
    NULL_IDENTITY = 0x07
    CLIENT_QUITTING = 0x08
    UNEXPECTED_IDENTITY = 0x09
    SELF = 0x0A
    PING_TIMEOUT = 0x0B
    SUBPROTOCOL_ERROR = 0x10

    @property
    def words(self) -> str:
        """The reason in lower-case words, as consoles and logs print it."""
        return self.name.lower().replace("_", " ")


class Offence(Enum):
    """
    What a peer did wrong, as reputation books it.  Weights are data and live with the household.
    """

    BAD_HANDSHAKE = "sent a handshake that does not follow the specification"
    BAD_MESSAGE = "sent bytes that do not follow the specification"
    BAD_PROTOCOL = "broke a rule of a protocol it negotiated"
    BAD_DATA = "sent data that does not verify"
    OVERSIZE = "sent or declared more than a limit allows"
    UNSOLICITED = "answered what was not asked"
    FLOOD = "sent more messages than any honest peer needs to"
    TIMEOUT = "did not answer in time"
    UNREACHABLE = "could not be reached"
    WRONG_CHAIN = "follows another chain"


class P2PError(Exception):
    """Something went wrong in the peer-to-peer stack."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or type(self).__name__).strip()


class LocalProtocolError(P2PError):
    """This program asked for something that the protocol does not allow."""


class RemoteProtocolError(P2PError):
    """The peer broke a rule of the protocol."""

    reason: DisconnectReason = DisconnectReason.BREACH_OF_PROTOCOL
    offence: Offence = Offence.BAD_PROTOCOL


class WireError(RemoteProtocolError):
    """These bytes do not follow the specification."""

    offence = Offence.BAD_MESSAGE


class OversizeError(WireError):
    """The declared or actual size is over the limit."""

    offence = Offence.OVERSIZE


class PeerDisconnected(P2PError):
    """The connection to the peer ended."""

    def __init__(self, reason: DisconnectReason | None = None, *, by_us: bool = False, detail: str = "") -> None:
        """
        @param reason: the code in Disconnect, or None when the connection just ended.
        @param by_us: whether this side ended it.
        @param detail: the rule or the network error behind it, in words.
        """
        who = "we disconnected" if by_us else "the peer disconnected"
        words = f"{who}: {reason.words}" if reason is not None else "the connection was lost"
        super().__init__(f"{words} ({detail})" if detail else words)
        self.reason = reason
        self.by_us = by_us
        self.detail = detail


class RequestTimeout(P2PError):
    """The peer did not answer a request in time."""


class NotAdmitted(P2PError):
    """A checkpoint refused the connection."""

    def __init__(self, reason: DisconnectReason, detail: str = "", rule: str = "") -> None:
        """
        @param reason: the code sent in Disconnect.
        @param rule: the household's rule that refused it, as C{ethp2p.peers.admission.Rule} names it.
        """
        super().__init__(f"{reason.words}: {detail}" if detail else reason.words)
        self.reason = reason
        self.detail = detail
        self.rule = rule


class ConfigError(P2PError):
    """A setting has a value that cannot be used."""
