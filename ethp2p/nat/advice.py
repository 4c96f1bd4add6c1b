"""
What an address is good for.
"""

from __future__ import annotations

from ipaddress import IPv4Network

from ethp2p.enode.cidr import Address, as_ip, is_lan, is_special

#: Between providers and their customers (RFC 6598).
SHARED = IPv4Network("100.64.0.0/10")


def is_global(address: Address) -> bool:
    """
    Whether anybody on the Internet could reach a host there.

    @raise ValueError: not an address.
    """
    ip = as_ip(address)
    return not (ip.is_unspecified or is_lan(ip) or is_special(ip) or ip in SHARED)


def wants_mapping(host: str) -> bool:
    """
    Whether it makes sense to map a port for a listener on C{host}.  C{""} and the unspecified addresses listen
    everywhere, so it does; a loopback or private address was chosen to be reached from there only; and IPv6 has
    no NAT.

    @raise ValueError: not an address.
    """
    if not host:
        return True
    ip = as_ip(host)
    return ip.is_unspecified or (ip.version == 4 and not is_lan(ip))


def address_warning(host: str, network: str) -> str | None:
    """
    The line for somebody whose node tells a public network an address that nobody there can reach.

    @param host: the address announced; "" when there is none.
    @param network: the network's name.
    @return: None when the address is good, or not an address.
    """
    try:
        ip = as_ip(host)
    except ValueError:
        return None
    if is_global(ip):
        return None
    return (
        f"this node tells {network} that it is at {ip}, where nobody outside can reach it; "
        "if it should be found, give its public address with --nat extip:ADDRESS"
    )
