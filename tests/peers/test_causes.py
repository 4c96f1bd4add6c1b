"""
What each error says of how a call or a session ended.
"""

from __future__ import annotations

from twisted.internet import error as net
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import (
    ConfigError,
    DisconnectReason,
    NotAdmitted,
    Offence,
    PeerDisconnected,
    RemoteProtocolError,
    RequestTimeout,
    WireError,
)
from ethp2p.peers import causes
from ethp2p.peers.admission import REASONS, Rule
from ethp2p.peers.backoff import Cause
from ethp2p.peers.causes import cause_of


class Impostor(RemoteProtocolError):
    """It is somebody else."""

    reason = DisconnectReason.UNEXPECTED_IDENTITY


class Stranger(RemoteProtocolError):
    """It follows another chain."""

    reason = DisconnectReason.USELESS_PEER
    offence = Offence.WRONG_CHAIN


class Garbled(WireError):
    """Its handshake makes no sense."""

    offence = Offence.BAD_HANDSHAKE


class Silent(RemoteProtocolError):
    """It says nothing."""

    reason = DisconnectReason.TCP_ERROR
    offence = Offence.TIMEOUT


class CauseTests(SynchronousTestCase):
    def test_errors(self) -> None:
        for error, cause in [
            (net.ConnectionRefusedError(), Cause.REFUSED),
            (ConnectionRefusedError(), Cause.REFUSED),
            (net.TimeoutError(), Cause.TIMEOUT),
            (net.TCPTimedOutError(), Cause.TIMEOUT),
            (TimeoutError(), Cause.TIMEOUT),
            (RequestTimeout(), Cause.TIMEOUT),
            (net.NoRouteError(), Cause.UNREACHABLE),
            (net.DNSLookupError(), Cause.UNREACHABLE),
            (net.UnknownHostError(), Cause.UNREACHABLE),
            (net.ConnectError(), Cause.UNREACHABLE),
            (OSError(101, "Network is unreachable"), Cause.UNREACHABLE),
            (net.ConnectionLost(), Cause.LOST),
            (net.ConnectionDone(), Cause.LOST),
            (net.ConnectionAborted(), Cause.LOST),
            (ConnectionResetError(), Cause.LOST),
            (CancelledError(), Cause.REQUESTED),
            (net.ConnectingCancelledError(None), Cause.REQUESTED),
            (Impostor(), Cause.UNEXPECTED_IDENTITY),
            (Stranger(), Cause.WRONG_CHAIN),
            (Garbled(), Cause.BAD_HANDSHAKE),
            (Silent(), Cause.TIMEOUT),
            (WireError(), Cause.BREACH),
            (RemoteProtocolError(), Cause.BREACH),
            (ConfigError("what?"), Cause.OTHER),
            (ZeroDivisionError(), Cause.OTHER),
        ]:
            self.assertIs(cause_of(Failure(error)), cause, repr(error))
            self.assertIs(cause_of(error), cause, repr(error))

    def test_reasons(self) -> None:
        """Every reason to disconnect, whoever gave it."""
        for reason, cause in [
            (None, Cause.LOST),
            (DisconnectReason.REQUESTED, Cause.REQUESTED),
            (DisconnectReason.TCP_ERROR, Cause.LOST),
            (DisconnectReason.BREACH_OF_PROTOCOL, Cause.BREACH),
            (DisconnectReason.USELESS_PEER, Cause.USELESS),
            (DisconnectReason.TOO_MANY_PEERS, Cause.TOO_MANY_PEERS),
            (DisconnectReason.ALREADY_CONNECTED, Cause.ALREADY_CONNECTED),
            (DisconnectReason.INCOMPATIBLE_VERSION, Cause.INCOMPATIBLE),
            (DisconnectReason.NULL_IDENTITY, Cause.BAD_HANDSHAKE),
            (DisconnectReason.CLIENT_QUITTING, Cause.QUITTING),
            (DisconnectReason.UNEXPECTED_IDENTITY, Cause.UNEXPECTED_IDENTITY),
            (DisconnectReason.SELF, Cause.SELF),
            (DisconnectReason.PING_TIMEOUT, Cause.TIMEOUT),
            (DisconnectReason.SUBPROTOCOL_ERROR, Cause.BREACH),
        ]:
            for by_us in (True, False):
                self.assertIs(cause_of(PeerDisconnected(reason, by_us=by_us)), cause)
            if reason is not None:
                self.assertIs(cause_of(NotAdmitted(reason)), cause)
        self.assertEqual(set(causes._REASONS), {None, *DisconnectReason})

    def test_offences(self) -> None:
        """What was booked tells more than what was said, except of who it was."""
        for reason, offence, cause in [
            (DisconnectReason.SUBPROTOCOL_ERROR, Offence.WRONG_CHAIN, Cause.WRONG_CHAIN),
            (DisconnectReason.USELESS_PEER, Offence.WRONG_CHAIN, Cause.WRONG_CHAIN),
            (DisconnectReason.TCP_ERROR, Offence.TIMEOUT, Cause.TIMEOUT),
            (DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE, Cause.BREACH),
            (DisconnectReason.UNEXPECTED_IDENTITY, Offence.BAD_HANDSHAKE, Cause.UNEXPECTED_IDENTITY),
        ]:
            self.assertIs(cause_of(PeerDisconnected(reason, by_us=True), offence), cause)

    def test_rules(self) -> None:
        """Every rule of ours has its cause, and what bans and networks refuse is told apart."""
        self.assertEqual(set(causes._RULES), {rule.value for rule in Rule})
        for rule, cause in [
            (Rule.BANNED, Cause.BANNED),
            (Rule.NETRESTRICT, Cause.NETRESTRICT),
            (Rule.SELF, Cause.SELF),
            (Rule.TIE, Cause.ALREADY_CONNECTED),
            (Rule.USELESS, Cause.USELESS),
            (Rule.PER_IP, Cause.NOT_ADMITTED),
            (Rule.CLIENT_NAME, Cause.NOT_ADMITTED),
            (Rule.TOO_MANY_INBOUND, Cause.TOO_MANY_PEERS),
            (Rule.QUITTING, Cause.REQUESTED),
        ]:
            self.assertIs(cause_of(NotAdmitted(REASONS[rule], "", rule.value)), cause)
