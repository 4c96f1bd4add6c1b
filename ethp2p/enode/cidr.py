"""
What kind of address this is, and whether to believe it from whom.

An IPv4 address inside IPv6 (C{::ffff:1.2.3.4}) is taken for the IPv4 address everywhere: it is the same host,
and a dual-stack socket shows it so.

Source: IANA special-purpose address registries (RFC 6890), RFC 1918, RFC 4193; which of them count follows
geth's C{netutil}.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Union

import attrs

from ethp2p.errors import ConfigError, Offence, RemoteProtocolError

IPAddress = Union[IPv4Address, IPv6Address]
IPNetwork = Union[IPv4Network, IPv6Network]
#: An address as callers have it.
Address = Union[str, IPv4Address, IPv6Address]

#: Most addresses remembered as they were read and judged: the same ones come by again and again, and reading one anew
#: costs 2 us, forty times as much as finding it; judging one 4 us.  Bounds memory at about 2 MiB.
MAX_REMEMBERED = 4096

#: For each IP version, the mask and the first address of each range.
_Ranges = dict[int, list[tuple[int, int]]]


def _ranges(*networks: str) -> _Ranges:
    ranges: _Ranges = {4: [], 6: []}
    for network in map(ip_network, networks):
        ranges[network.version].append((int(network.netmask), int(network.network_address)))
    return ranges


def _inside(ip: IPAddress, ranges: _Ranges) -> bool:
    number = int(ip)  # several times faster than ipaddress
    return any(number & mask == first for mask, first in ranges[ip.version])


_LOOPBACK = ("127.0.0.0/8", "::1/128")
_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
_LOOPBACK_RANGES = _ranges(*_LOOPBACK)
_PRIVATE_RANGES = _ranges(*_PRIVATE)
_LAN_RANGES = _ranges(*_LOOPBACK, *_LINK_LOCAL, *_PRIVATE)
_SPECIAL_RANGES = _ranges(
    "0.0.0.0/8",  # "this" network
    "192.0.0.0/29",  # IPv4 service continuity
    "192.0.0.9/32",  # port control anycast
    "192.0.0.170/31",  # NAT64 discovery
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # multicast tunnels
    "192.88.99.0/24",  # 6to4 relays
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "255.255.255.255/32",  # broadcast
    "100::/64",  # discard
    "2001::/32",  # Teredo
    "2001:1::1/128",  # port control anycast
    "2001:2::/48",  # benchmarks
    "2001:3::/32",  # multicast tunnels
    "2001:4:112::/48",  # AS112
    "2001:5::/32",  # EID
    "2001:10::/28",  # ORCHID
    "2001:20::/28",  # ORCHIDv2
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "ff00::/8",  # multicast
)


class BadRelay(RemoteProtocolError):
    """The peer passed on an address that it cannot know or that nobody can reach."""

    offence = Offence.BAD_DATA


def as_ip(address: Address) -> IPAddress:
    """
    The address as a value, IPv4 where it is IPv4 inside IPv6.

    @raise ValueError: a string that is no address.
    """
    return _read(address) if isinstance(address, str) else _plain(address)


def _plain(ip: IPAddress) -> IPAddress:
    return ip if ip.version == 4 else ip.ipv4_mapped or ip


@lru_cache(MAX_REMEMBERED)
def _read(text: str) -> IPAddress:
    return _plain(ip_address(text))


def is_ip(host: str) -> bool:
    """Whether it is an address, and not a name that has to be resolved first."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: Address) -> bool:
    """Whether it means this very host."""
    return _inside(as_ip(address), _LOOPBACK_RANGES)


def is_private(address: Address) -> bool:
    """Whether it is of a private network (RFC 1918, RFC 4193)."""
    return _inside(as_ip(address), _PRIVATE_RANGES)


def is_lan(address: Address) -> bool:
    """Whether it is local: loopback, link-local or private.  Such peers are exempt from throttles."""
    return _inside(as_ip(address), _LAN_RANGES)


def is_special(address: Address) -> bool:
    """Whether no node can live there: multicast, broadcast, documentation, tunnels."""
    return _inside(as_ip(address), _SPECIAL_RANGES)


class Scope(IntEnum):
    """How far an address means something: only those whose own scope is not wider can use it."""

    PUBLIC = 0
    LAN = 1
    LOOPBACK = 2


@lru_cache(MAX_REMEMBERED)
def scope_of(address: Address) -> Scope:
    """How far it means something."""
    if not is_lan(address):
        return Scope.PUBLIC
    return Scope.LOOPBACK if is_loopback(address) else Scope.LAN


@lru_cache(MAX_REMEMBERED)
def is_habitable(address: Address) -> bool:
    """Whether a node can live there: not unspecified, nor special."""
    ip = as_ip(address)
    return int(ip) != 0 and not is_special(ip)


def check_relay(sender: Address, relayed: Address) -> None:
    """
    Whether to believe an address in a message.  Otherwise anybody on the Internet could make us send packets
    to our own host, to our local network, or to a broadcast address.

    @param sender: where the message came from.
    @param relayed: the address in it.
    @raise BadRelay: unspecified or special; loopback from elsewhere; local from outside.
    """
    scope = scope_of(relayed)
    if is_habitable(relayed) and scope <= scope_of(sender):
        return
    if not int(as_ip(relayed)):
        raise BadRelay("relayed the unspecified address")
    if is_special(relayed):
        raise BadRelay(f"relayed {relayed}, which is of a special network")
    raise BadRelay(f"relayed {relayed} from {'outside' if scope_of(sender) is Scope.PUBLIC else 'another host'}")


def _network(part: str) -> IPNetwork:
    _, slash, prefix = part.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit()):  # a netmask could be read two ways
        raise ValueError(part)
    network = ip_network(part, strict=False)
    if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


@attrs.frozen
class Netrestrict:
    """
    The only networks to talk to.  C{address in netrestrict} holds for addresses; for anything else, such as a
    name that is not yet resolved, it is False.
    """

    networks: tuple[IPNetwork, ...]

    @classmethod
    def parse(cls, text: str) -> Netrestrict:
        """
        @param text: networks as C{10.0.0.0/8} or single addresses, with commas; space around them and empty
            parts do not count.
        @raise ConfigError: a part is neither, or there is none (it would shut everybody out).
        """
        networks = []
        for part in filter(None, map(str.strip, text.split(","))):
            try:
                networks.append(_network(part))
            except ValueError:
                raise ConfigError(f"{part[:64]!r} is not a network such as 10.0.0.0/8") from None
        if not networks:
            raise ConfigError("no network to restrict to")
        return cls(tuple(networks))

    def __contains__(self, address: object) -> bool:
        try:
            ip = as_ip(address)  # type: ignore[arg-type]
        except (ValueError, AttributeError):
            return False
        return any(ip in network for network in self.networks)

    def __str__(self) -> str:
        return ",".join(map(str, self.networks))
