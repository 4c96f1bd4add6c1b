"""
Who has proven where it is, and to whom we have.

Source: devp2p discv4.md, "Endpoint Proof".
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address
from math import inf

import attrs

from ethp2p.discv4.limits import BOND_LIFETIME, GREETING_LIFETIME, MAX_BONDS, MAX_BONDS_PER_HOST


@attrs.define(eq=False)
class Bond:
    """
    What is known of a key at an IP address.
    """

    #: When it answered our Ping.
    proven: float
    #: When we last answered its Ping, which proved us to it.
    greeted: float = -inf
    #: When the engine's owner last heard of it.
    told: float = -inf
    #: The TCP port that it said.
    tcp: int = 0

    def knows_us(self, now: float) -> bool:
        """Whether it can be asked for something without more ado."""
        return self.greeted + GREETING_LIFETIME > now


_Key = tuple[str, bytes]


def _group(host: str) -> str:
    """Whose addresses count together: any subscriber line has a whole /64 of IPv6."""
    return str(IPv6Address(int(IPv6Address(host)) >> 64 << 64)) if ":" in host else host


class Bonds:
    """
    The proofs, by IP address and key; the one longest not renewed goes first.
    """

    def __init__(self, most: int = MAX_BONDS, per_host: int = MAX_BONDS_PER_HOST) -> None:
        """
        @param most: how many are remembered.
        @param per_host: how many of one IPv4 address or IPv6 /64.
        """
        self.most = most
        self.per_host = per_host
        self._bonds: OrderedDict[_Key, Bond] = OrderedDict()
        self._groups: dict[str, OrderedDict[_Key, None]] = {}

    def any_at(self, host: str) -> bool:
        """Whether any key may be proven at C{host}: no need to find out whose the packet is otherwise."""
        return _group(host) in self._groups

    def get(self, host: str, public_key: bytes, now: float) -> Bond | None:
        """The proof, while it is good."""
        bond = self._bonds.get((host, public_key))
        if bond is None or bond.proven + BOND_LIFETIME > now:
            return bond
        self._forget((host, public_key))
        return None

    def prove(self, host: str, public_key: bytes, now: float) -> Bond:
        """It has answered our Ping."""
        key = host, public_key
        bond = self._bonds.get(key)
        if bond is None:
            bond = Bond(now)
            group = self._groups.setdefault(_group(host), OrderedDict())
            if len(group) >= self.per_host:
                self._forget(next(iter(group)))
            elif len(self._bonds) >= self.most:
                self._forget(next(iter(self._bonds)))
            self._groups.setdefault(_group(host), group)[key] = None
            self._bonds[key] = bond
        else:
            bond.proven = now
            self._bonds.move_to_end(key)
            self._groups[_group(host)].move_to_end(key)
        return bond

    def _forget(self, key: _Key) -> None:
        del self._bonds[key]
        name = _group(key[0])
        group = self._groups[name]
        del group[key]
        if not group:
            del self._groups[name]

    def __len__(self) -> int:
        return len(self._bonds)
