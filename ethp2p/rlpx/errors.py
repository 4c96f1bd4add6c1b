"""
What can go wrong on an RLPx connection.
"""

from __future__ import annotations

from ethp2p.errors import DisconnectReason, Offence, OversizeError, RemoteProtocolError, WireError


class BadHandshake(WireError):
    """The peer's handshake packet is not for us or not well made."""

    offence = Offence.BAD_HANDSHAKE


class HandshakeTooLarge(BadHandshake):
    """The peer announced a handshake packet larger than any honest one."""

    offence = Offence.OVERSIZE


class HandshakeTimeout(RemoteProtocolError):
    """The peer did not finish the handshake in time."""

    reason = DisconnectReason.TCP_ERROR
    offence = Offence.TIMEOUT


class BadMAC(WireError):
    """A frame is not what the peer sent: its MAC does not fit."""


class BadFrame(WireError):
    """A frame does not begin with a message code."""


class FrameTooLarge(OversizeError):
    """The peer announced a frame larger than it may send now."""


class ReadTimeout(RemoteProtocolError):
    """The peer has been silent for too long."""

    reason = DisconnectReason.TCP_ERROR
    offence = Offence.TIMEOUT


class WriteTimeout(RemoteProtocolError):
    """The peer has not read what we sent for too long."""

    reason = DisconnectReason.TCP_ERROR
    offence = Offence.TIMEOUT


class NotReading(RemoteProtocolError):
    """The peer asks for more than it reads."""

    reason = DisconnectReason.TCP_ERROR
    offence = Offence.FLOOD
