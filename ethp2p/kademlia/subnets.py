"""
Who is likely to be one and the same: addresses are cheap within a subnet and dear across subnets, so limits
for each subnet are what an attacker with many identities runs into (Marcus et al., 2018).
"""

from __future__ import annotations

from collections import Counter
from typing import Union

import attrs

from ethp2p.enode.cidr import IPAddress, Scope, scope_of

#: How much of an address names its subnet: the bits left out, for each IP version.  A /24 is the smallest that
#: is routed; a /64 is what one line gets.
_HOST_BITS = {4: 8, 6: 64}

Subnet = tuple[int, int]


@attrs.frozen
class Place:
    """Where a node is, as far as limits care."""

    ip: IPAddress
    scope: Scope
    #: The /24 or /64; None on the local network, which is exempt.
    subnet: Subnet | None

    @classmethod
    def of(cls, ip: IPAddress) -> Place:
        """The place of an address."""
        scope = scope_of(ip)
        subnet = (ip.version, int(ip) >> _HOST_BITS[ip.version]) if scope is Scope.PUBLIC else None
        return cls(ip, scope, subnet)


@attrs.define
class SubnetLimit:
    """
    So many places for each subnet; None, the local network, has any number.
    """

    limit: int
    _counts: Counter[Subnet] = attrs.field(factory=Counter, init=False)

    def add(self, subnet: Union[Subnet, None]) -> bool:
        """Take a place, or take none and say no."""
        if subnet is None:
            return True
        if self._counts[subnet] >= self.limit:
            return False
        self._counts[subnet] += 1
        return True

    def remove(self, subnet: Union[Subnet, None]) -> None:
        """Give a place back."""
        if subnet is not None:
            self._counts[subnet] -= 1
            if not self._counts[subnet]:
                del self._counts[subnet]
