"""
How calls and sessions end, and how long to wait after what before the next call.
"""

from __future__ import annotations

from enum import Enum

import attrs

#: No wait is longer, seconds (reth: the same).
MAX_BACKOFF = 3600.0
#: Peers refuse an address that calls again within 30 s (geth: inboundThrottleTime), so nobody is called sooner.
THROTTLED = 30.0
#: Seconds for which a node is not called a second time (geth: dialHistoryExpiration).
HISTORY = THROTTLED + 5.0
#: First wait after most failures.
FAR_BACKOFF = HISTORY
#: First wait before calling a static peer on this machine or network again, where nobody throttles; and the longest.
NEAR_BACKOFF = 1.0
NEAR_CAP = 60.0
#: Seconds until it is looked again whether a static peer may be called that is banned or outside our networks.
FORBIDDEN_WAIT = 60.0


class Cause(Enum):
    """How a call or a session ended, on any wire."""

    TOO_MANY_PEERS = "too_many_peers"
    USELESS = "useless"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BAD_HANDSHAKE = "bad_handshake"
    BREACH = "breach"
    INCOMPATIBLE = "incompatible"
    UNEXPECTED_IDENTITY = "unexpected_identity"
    WRONG_CHAIN = "wrong_chain"
    ALREADY_CONNECTED = "already_connected"
    SELF = "self"
    BANNED = "banned"
    NETRESTRICT = "netrestrict"
    NOT_ADMITTED = "not_admitted"
    QUITTING = "quitting"
    LOST = "lost"
    REQUESTED = "requested"
    OTHER = "other"

    @property
    def words(self) -> str:
        """The cause as consoles and logs print it."""
        return self.value.replace("_", " ")


@attrs.frozen
class Wait:
    """
    How long to wait before the next call: C{first} seconds, C{growth} times as long after each failure in a row, and
    never more than C{cap}.
    """

    first: float
    growth: float
    cap: float
    #: Whether it may be over without anybody doing anything about it.
    passing: bool = False


_SHORT = Wait(FAR_BACKOFF, 2.0, 600.0, passing=True)
_SILENT = Wait(FAR_BACKOFF, 2.0, 900.0, passing=True)
_LONG = Wait(180.0, 2.0, MAX_BACKOFF)
_LONGEST = Wait(900.0, 2.0, MAX_BACKOFF)
#: What to wait after what.
BACKOFF: dict[Cause, Wait] = {
    Cause.TOO_MANY_PEERS: _SHORT,
    Cause.REFUSED: _SHORT,
    Cause.QUITTING: _SHORT,
    Cause.LOST: _SHORT,
    Cause.OTHER: _SHORT,
    Cause.TIMEOUT: _SILENT,
    Cause.UNREACHABLE: _SILENT,
    Cause.ALREADY_CONNECTED: Wait(FAR_BACKOFF, 1.0, FAR_BACKOFF, passing=True),
    Cause.REQUESTED: Wait(FAR_BACKOFF, 2.0, 600.0),
    Cause.BANNED: Wait(FORBIDDEN_WAIT, 1.0, FORBIDDEN_WAIT, passing=True),
    Cause.NETRESTRICT: Wait(FORBIDDEN_WAIT, 1.0, FORBIDDEN_WAIT, passing=True),
    Cause.USELESS: _LONG,
    Cause.BAD_HANDSHAKE: _LONG,
    Cause.BREACH: _LONG,
    Cause.NOT_ADMITTED: _LONG,
    Cause.INCOMPATIBLE: _LONGEST,
    Cause.UNEXPECTED_IDENTITY: _LONGEST,
    Cause.WRONG_CHAIN: _LONGEST,
    Cause.SELF: Wait(MAX_BACKOFF, 1.0, MAX_BACKOFF),
}
