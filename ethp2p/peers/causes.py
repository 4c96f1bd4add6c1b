"""
What an error says of how a call or a session ended, whichever wire it came over.
"""

from __future__ import annotations

from twisted.internet import error as net
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from ethp2p.errors import (
    DisconnectReason,
    NotAdmitted,
    Offence,
    PeerDisconnected,
    RemoteProtocolError,
    RequestTimeout,
)
from ethp2p.peers.admission import Rule
from ethp2p.peers.backoff import Cause

#: The errors of transports, the special before the general.
_TRANSPORT: tuple[tuple[type[BaseException], Cause], ...] = (
    (CancelledError, Cause.REQUESTED),
    (net.ConnectingCancelledError, Cause.REQUESTED),
    (net.ConnectionRefusedError, Cause.REFUSED),
    (net.TimeoutError, Cause.TIMEOUT),
    (net.TCPTimedOutError, Cause.TIMEOUT),
    (DeferredTimeout, Cause.TIMEOUT),
    (RequestTimeout, Cause.TIMEOUT),
    (net.NoRouteError, Cause.UNREACHABLE),
    (net.DNSLookupError, Cause.UNREACHABLE),
    (net.ConnectError, Cause.UNREACHABLE),
    (net.ConnectionClosed, Cause.LOST),
    (ConnectionRefusedError, Cause.REFUSED),
    (TimeoutError, Cause.TIMEOUT),
    (ConnectionError, Cause.LOST),
    (OSError, Cause.UNREACHABLE),
)
_REASONS: dict[DisconnectReason | None, Cause] = {
    None: Cause.LOST,
    DisconnectReason.REQUESTED: Cause.REQUESTED,
    DisconnectReason.TCP_ERROR: Cause.LOST,
    DisconnectReason.BREACH_OF_PROTOCOL: Cause.BREACH,
    DisconnectReason.USELESS_PEER: Cause.USELESS,
    DisconnectReason.TOO_MANY_PEERS: Cause.TOO_MANY_PEERS,
    DisconnectReason.ALREADY_CONNECTED: Cause.ALREADY_CONNECTED,
    DisconnectReason.INCOMPATIBLE_VERSION: Cause.INCOMPATIBLE,
    DisconnectReason.NULL_IDENTITY: Cause.BAD_HANDSHAKE,
    DisconnectReason.CLIENT_QUITTING: Cause.QUITTING,
    DisconnectReason.UNEXPECTED_IDENTITY: Cause.UNEXPECTED_IDENTITY,
    DisconnectReason.SELF: Cause.SELF,
    DisconnectReason.PING_TIMEOUT: Cause.TIMEOUT,
    DisconnectReason.SUBPROTOCOL_ERROR: Cause.BREACH,
}
#: Offences that say more than the reason that was sent.
_OFFENCES: dict[Offence, Cause] = {
    Offence.WRONG_CHAIN: Cause.WRONG_CHAIN,
    Offence.BAD_HANDSHAKE: Cause.BAD_HANDSHAKE,
    Offence.TIMEOUT: Cause.TIMEOUT,
    Offence.UNREACHABLE: Cause.UNREACHABLE,
}
#: The household's rules: they say more than the reason that was sent.
_RULES: dict[str, Cause] = {
    rule.value: cause
    for rule, cause in {
        Rule.SELF: Cause.SELF,
        Rule.ALREADY_CONNECTED: Cause.ALREADY_CONNECTED,
        Rule.TIE: Cause.ALREADY_CONNECTED,
        Rule.TOO_MANY_PEERS: Cause.TOO_MANY_PEERS,
        Rule.TOO_MANY_INBOUND: Cause.TOO_MANY_PEERS,
        Rule.USELESS: Cause.USELESS,
        Rule.BANNED: Cause.BANNED,
        Rule.NETRESTRICT: Cause.NETRESTRICT,
        Rule.QUITTING: Cause.REQUESTED,  # it is we who quit
        Rule.PER_IP: Cause.NOT_ADMITTED,
        Rule.PER_SUBNET: Cause.NOT_ADMITTED,
        Rule.CLIENT_NAME: Cause.NOT_ADMITTED,
        Rule.THROTTLED: Cause.NOT_ADMITTED,
        Rule.BUSY: Cause.NOT_ADMITTED,
    }.items()
}


def words_of(failure: Failure) -> str:
    """The error in words, without the number and the full stop that Twisted adds to those of TCP."""
    error = failure.value
    text = failure.getErrorMessage() or type(error).__name__
    if isinstance(error, net.ConnectError) and error.osError is not None:
        text = text.partition(": ")[0]
    return text.rstrip(".")


def cause_of(failure: Failure | BaseException, offence: Offence | None = None) -> Cause:
    """
    @param failure: why a call failed or a session ended.
    @param offence: what was booked of the peer in that session, if anything: the end itself does not tell.
    """
    error = failure.value if isinstance(failure, Failure) else failure
    reason = getattr(error, "reason", None)
    if isinstance(error, NotAdmitted):
        return _RULES.get(error.rule) or _REASONS.get(error.reason, Cause.OTHER)
    if isinstance(error, RemoteProtocolError):
        offence = error.offence
    if isinstance(error, (PeerDisconnected, RemoteProtocolError)):
        if reason is not DisconnectReason.UNEXPECTED_IDENTITY and offence in _OFFENCES:
            return _OFFENCES[offence]
        return _REASONS.get(reason, Cause.OTHER)
    return next((cause for kind, cause in _TRANSPORT if isinstance(error, kind)), Cause.OTHER)
