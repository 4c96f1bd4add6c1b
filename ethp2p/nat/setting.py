"""
C{--nat}: how to learn our external address.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address

import attrs

from ethp2p.enode.cidr import as_ip
from ethp2p.errors import ConfigError

#: Where STUN servers listen (RFC 8489 section 18.6).
STUN_PORT = 3478

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]{1,63})*")
_PORT = re.compile(r"[0-9]{1,5}")


class Method(Enum):
    """A way to learn it, as users name it."""

    NONE = "none"
    ANY = "any"
    UPNP = "upnp"
    NATPMP = "natpmp"
    STUN = "stun"
    EXTIP = "extip"


#: Names that geth takes too.
_ALIASES = {
    "": Method.NONE,
    "off": Method.NONE,
    "auto": Method.ANY,
    "on": Method.ANY,
    "pmp": Method.NATPMP,
    "nat-pmp": Method.NATPMP,
    "ip": Method.EXTIP,
}


@attrs.frozen
class Setting:
    """
    A method with what it needs.
    """

    method: Method
    #: The gateway of NAT-PMP, the STUN server, or our address; "" where none is given.
    host: str = ""
    #: Of the STUN server; 0 elsewhere.
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Setting:
        """
        Read C{any}, C{none}, C{upnp}, C{natpmp[:gateway]}, C{stun[:host[:port]]} or C{extip:address}; geth's other
        names are taken as well, and case does not matter.

        @raise ConfigError: it says what is wrong with the text.
        """
        name, colon, rest = text.strip().partition(":")
        method = _ALIASES.get(name.lower())
        if method is None:
            try:
                method = Method(name.lower())
            except ValueError:
                names = ", ".join(method.value for method in Method)
                raise ConfigError(f"{name[:32]!r} is no way to learn an address; there are {names}") from None
        if colon and not rest:
            raise ConfigError(f"{method.value}: there is nothing after the colon")
        if method is Method.EXTIP:
            if not rest:
                raise ConfigError("extip needs the address, as in extip:203.0.113.5")
            return cls(method, _address(rest))
        if method is Method.STUN and rest:
            return cls(method, *_server(rest))
        if method is Method.NATPMP and rest:
            gateway = _address(rest)
            if not isinstance(as_ip(gateway), IPv4Address):
                raise ConfigError("natpmp: the gateway has an IPv4 address")
            return cls(method, gateway)
        if rest:
            raise ConfigError(f"{method.value} takes nothing after it")
        return cls(method)

    def __str__(self) -> str:
        """The text that L{parse} reads."""
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return ":".join(filter(None, [self.method.value, host, str(self.port or "")]))


def _address(text: str) -> str:
    try:
        ip = as_ip(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(f"{text[:64]!r} is not an IP address") from None
    if ip.is_unspecified or ip.is_multicast or getattr(ip, "scope_id", None) or str(ip) == "255.255.255.255":
        raise ConfigError(f"{text[:64]!r} is not the address of a host")
    return str(ip)


def _server(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ConfigError(f"{text[:64]!r} is not [address]:port")
        return _address(host), _port(port[1:] if port else str(STUN_PORT))
    if text.count(":") > 1:  # an IPv6 address alone
        return _address(text), STUN_PORT
    host, colon, port = text.partition(":")
    if re.fullmatch(r"[0-9.]+", host):
        host = _address(host)
    elif not _NAME.fullmatch(host):
        raise ConfigError(f"{host[:64]!r} is neither an IP address nor a host name")
    return host, _port(port if colon else str(STUN_PORT))


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) <= 0xFFFF:
        raise ConfigError(f"port {text[:16]!r} is not a number from 1 to 65535")
    return int(text)
