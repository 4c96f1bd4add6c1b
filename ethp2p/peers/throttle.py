"""
Who may begin a handshake now, before anything is known of a caller but its address.

A handshake costs cryptography, which is bought by a TCP connection that costs next to nothing.  So a host may come
only so often, only so many handshakes go on at one time, and all of them together may use half of one core: a flood
of fresh connections waits in line, and is turned away beyond that, while established peers go on being served.
"""

from __future__ import annotations

import math
from enum import Enum
from ipaddress import IPv6Address
from typing import Union

import attrs

from ethp2p.enode.cidr import Scope, as_ip, scope_of
from ethp2p.limits import ExpiringMap
from ethp2p.peers.admission import Rule
from ethp2p.peers.policy import Policy

#: Most hosts whose last call is remembered; beyond, the oldest may call again too early.
MAX_CALLERS = 16_384
#: Most connections that wait for their handshake; beyond, callers are turned away.
MAX_WAITING = 256
#: How much of one core the handshakes of callers may use.
HANDSHAKE_SHARE = 0.5
#: Seconds of work that may be done at once after a quiet time.
HANDSHAKE_BURST = 1.0
#: Seconds of work that a handshake is taken to cost; RLPx's costs our side less.
HANDSHAKE_COST = 0.001
#: Seconds by which sums of times may be off.
ROUNDING = 1e-9


class Throttle:
    """
    How often each host may call.  An IPv6 /64 is one host: it is what one line gets, and its owner has as many
    addresses as he likes.

    @ivar policy: its C{inbound_throttle} and C{throttle_lan} count.  May be replaced at any time.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._callers: ExpiringMap[Union[str, int], float] = ExpiringMap(MAX_CALLERS, policy.inbound_throttle)

    def wait(self, host: str, now: float) -> float:
        """
        @return: seconds until this host may call; 0.0 when it may now, and then it is remembered that it did.
            Calls that come too early do not put it off.
        """
        interval = self._callers.lifetime = self.policy.inbound_throttle
        if not interval:
            return 0.0
        caller: Union[str, int] = host
        try:
            ip = as_ip(host)
        except ValueError:
            pass  # what is no address is known by its name
        else:
            if scope_of(host) is not Scope.PUBLIC and not self.policy.throttle_lan:
                return 0.0
            caller = int(ip) >> 64 if isinstance(ip, IPv6Address) else str(ip)
        since = self._callers.get(caller, now)
        left = 0.0 if since is None else since + interval - now
        if left > 0.0:
            return left
        self._callers.set(caller, now, now)
        return 0.0

    def __len__(self) -> int:
        return len(self._callers)


class Welcome(Enum):
    """What one who calls is to do."""

    COME = "come in"
    WAIT = "wait in line"


@attrs.frozen
class Refused:
    """The caller is turned away."""

    words: str
    rule: Rule


class Doorman:
    """
    Decides about each caller.  Who was told to come counts until L{settled}; who was told to wait, until
    L{next_welcome} lets one in or L{left}.

    @ivar waiting: how many stand in line.
    @ivar pending: how many handshakes go on.
    """

    def __init__(self, policy: Policy) -> None:
        self._throttle = Throttle(policy)
        self.waiting = 0
        self.pending = 0
        self._budget = HANDSHAKE_BURST
        self._then = 0.0

    @property
    def policy(self) -> Policy:
        """Its C{max_pending} and what L{Throttle} takes from it count.  May be replaced at any time."""
        return self._throttle.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._throttle.policy = policy

    def arrive(self, host: str, now: float) -> Union[Welcome, Refused]:
        """Somebody calls from this host."""
        may_come = not self.waiting and self._may_begin(now)
        if not may_come and self.waiting >= MAX_WAITING:
            return Refused(f"{self.waiting} callers wait already", Rule.BUSY)
        wait = self._throttle.wait(host, now)
        if wait:
            return Refused(f"called again too soon, may in {math.ceil(wait)} s", Rule.THROTTLED)
        if may_come:
            self._begin()
            return Welcome.COME
        self.waiting += 1
        return Welcome.WAIT

    def next_welcome(self, now: float) -> bool:
        """Whether one who waits may come in now; then it is in line no more."""
        if not self.waiting or not self._may_begin(now):
            return False
        self.waiting -= 1
        self._begin()
        return True

    def left(self) -> None:
        """One who waited has gone."""
        assert self.waiting, "nobody waits"
        self.waiting -= 1

    def settled(self) -> None:
        """A handshake is over, well or badly."""
        assert self.pending, "no handshake goes on"
        self.pending -= 1

    def next_timer(self, now: float) -> float | None:
        """When L{next_welcome} may say yes because of the time alone; None when other things have to happen first."""
        if not self.waiting or self.pending >= self.policy.max_pending:
            return None
        self._earn(now)
        return now + max(0.0, HANDSHAKE_COST - self._budget) / HANDSHAKE_SHARE

    def _may_begin(self, now: float) -> bool:
        self._earn(now)
        return self.pending < self.policy.max_pending and self._budget + ROUNDING >= HANDSHAKE_COST

    def _begin(self) -> None:
        self.pending += 1
        self._budget -= HANDSHAKE_COST

    def _earn(self, now: float) -> None:
        passed = max(0.0, now - self._then)
        self._budget = min(HANDSHAKE_BURST, self._budget + passed * HANDSHAKE_SHARE)
        self._then += passed
