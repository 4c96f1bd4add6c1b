"""
NATs on a virtual network: boxes that hosts are behind, and share one address outside.

    >>> home = network.nat([alice, bob], "198.51.100.7", NatKind.PORT_RESTRICTED_CONE)

Whom a port outside is open to, once a host inside sent something to 203.0.113.1 port 9::

    FULL_CONE               everybody
    RESTRICTED_CONE         203.0.113.1, from any port
    PORT_RESTRICTED_CONE    203.0.113.1 port 9
    SYMMETRIC               203.0.113.1 port 9; what is sent to others comes from other ports

A NAT may be behind a NAT: give its outside address among the inside ones of the other.

Source: RFC 3489 section 5 names the kinds; RFC 4787 sections 4 to 6 say how they should behave.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from random import Random

import attrs

from ethp2p.limits import ExpiringMap
from ethp2p.testing.tcp import Place

#: Seconds that a mapping and what it is open to live after something was last sent out (RFC 4787, REQ-5: at least).
LIFETIME = 120.0
#: Mappings at once, half of the ports; the one longest unused goes first.
MAX_MAPPINGS = 32768
#: Remotes that a mapping is open to at once, the one longest unsent to goes first; Linux tracks as many flows.
MAX_REMOTES = 65536


class NatKind(Enum):
    """How a NAT maps, and whom it lets in."""

    FULL_CONE = "full cone"
    RESTRICTED_CONE = "restricted cone"
    PORT_RESTRICTED_CONE = "port-restricted cone"
    SYMMETRIC = "symmetric"


@attrs.frozen
class Mapping:
    """
    A port outside that stands for a place inside.
    """

    inside: Place
    #: What of the remotes has to match for it to be open to them.
    remotes: ExpiringMap[Hashable, bool]


class Nat:
    """
    One box.

    Only what is sent out keeps a mapping alive (RFC 4787, REQ-6): a stranger cannot hold one open.

    @ivar external: its address outside.
    @ivar kind: a L{NatKind}.
    @ivar hairpin: whether hosts inside reach each other at the outside address.
    """

    def __init__(self, external: str, kind: NatKind, *, lifetime: float, hairpin: bool, rng: Random) -> None:
        self.external = external
        self.kind = kind
        self.hairpin = hairpin
        self._lifetime = lifetime
        self._rng = rng
        # Both are set together, and so expire together: the port of each flow from inside, and what is behind a port.
        self._ports: ExpiringMap[Hashable, int] = ExpiringMap(MAX_MAPPINGS, lifetime)
        self._mappings: ExpiringMap[int, Mapping] = ExpiringMap(MAX_MAPPINGS, lifetime)

    def known(self, inside: Place, remote: Place, now: float) -> Place | None:
        """Where C{remote} sees C{inside}, or None when nothing is mapped."""
        port = self._ports.get(self._flow(inside, remote), now)
        return None if port is None else (self.external, port)

    def outbound(self, inside: Place, remote: Place, now: float) -> Place:
        """Something is sent out.  @return: where it comes from, seen from outside."""
        flow = self._flow(inside, remote)
        port = self._ports.get(flow, now)
        mapping = None if port is None else self._mappings.get(port, now)
        if port is None or mapping is None:
            port = self._free(inside[1], now)
            mapping = Mapping(inside, ExpiringMap(MAX_REMOTES, self._lifetime))
        self._ports.set(flow, port, now)
        self._mappings.set(port, mapping, now)
        mapping.remotes.set(self._open_to(remote), True, now)
        return (self.external, port)

    def inbound(self, remote: Place, port: int, now: float) -> Place | None:
        """Something comes.  @return: where it belongs inside, or None when it is not let in."""
        if remote[0] == self.external and not self.hairpin:
            return None
        mapping = self._mappings.get(port, now)
        if mapping is None or mapping.remotes.get(self._open_to(remote), now) is None:
            return None
        return mapping.inside

    def _flow(self, inside: Place, remote: Place) -> Hashable:
        return (inside, remote) if self.kind is NatKind.SYMMETRIC else inside

    def _open_to(self, remote: Place) -> Hashable:
        if self.kind is NatKind.FULL_CONE:
            return None
        return remote[0] if self.kind is NatKind.RESTRICTED_CONE else remote

    def _free(self, wanted: int, now: float) -> int:
        """The same port as inside where that is free; a symmetric NAT's cannot be guessed."""
        port = self._rng.randint(1024, 65535) if self.kind is NatKind.SYMMETRIC else wanted
        while self._mappings.get(port, now) is not None:
            port = self._rng.randint(1024, 65535)
        return port

    def mapped(self, now: float) -> int:
        """How many mappings live."""
        self._mappings.expire(now)
        return len(self._mappings)

    def __repr__(self) -> str:
        return f"<Nat {self.external} ({self.kind.value})>"
