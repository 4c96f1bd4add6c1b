"""
Which gateway to ask, when nobody told us.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address

from ethp2p.enode.cidr import is_private

#: Where Linux shows its IPv4 routes.
ROUTES = "/proc/net/route"

_GATEWAY_FLAG = 0x2


def default_gateway(routes: str) -> IPv4Address | None:
    """
    The gateway of the default route with the lowest metric.

    @param routes: what L{ROUTES} holds; lines that make no sense are passed over.
    """
    best: tuple[int, IPv4Address] | None = None
    for line in routes.splitlines()[1:]:
        fields = line.split()
        try:
            destination, gateway, flags = (int(field, 16) for field in fields[1:4])
            metric, mask = int(fields[6]), int(fields[7], 16)
        except (ValueError, IndexError):
            continue
        if destination == 0 and mask == 0 and flags & _GATEWAY_FLAG and (best is None or metric < best[0]):
            best = metric, IPv4Address(gateway.to_bytes(4, sys.byteorder))
    return None if best is None else best[1]


def read_gateway(path: str = ROUTES) -> IPv4Address | None:
    """The gateway of this machine, where it has such a file."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return default_gateway(file.read(1 << 16))
    except OSError:
        return None


def guess_gateway(local: str) -> IPv4Address | None:
    """
    Where the gateway of most home networks is: the first address of the /24.

    @param local: this machine's address; a guess makes sense only when it is private.
    """
    try:
        ip = IPv4Address(local)
    except ValueError:
        return None
    return IPv4Address(int(ip) & 0xFFFFFF00 | 1) if is_private(ip) else None
