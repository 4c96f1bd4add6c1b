"""
A node: its key and where to reach it.

C{enode://<128 hex digits>@<host>:<TCP port>?discport=<UDP port>} is the older text; C{enr:...} (EIP-778) the
signed one.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TypeVar

import attrs

from ethp2p.crypto.keys import PublicKey
from ethp2p.enode.cidr import Address, IPAddress, as_ip, is_private
from ethp2p.enr.entries import IP, IP6, TCP, TCP6, UDP, UDP6, Entry
from ethp2p.enr.record import PREFIX, Record
from ethp2p.errors import ConfigError, WireError

V = TypeVar("V")

#: What an enode URL starts with.
SCHEME = "enode://"

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOSTNAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
# Resolvers read such names as addresses in forms of their own (127.1, 0x7f.1), past every check of addresses.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_HEX_KEY = re.compile(r"[0-9a-fA-F]{128}")
_PORT = re.compile(r"[0-9]{1,5}")


def _shown(text: str, most: int = 48) -> str:
    """For an error: what was given, not all of it, and safe to print."""
    return repr(text if len(text) <= most else text[:most] + "...")


def _host(host: Address) -> str:
    """
    The one way to write a host.

    @raise ConfigError: neither an address nor a host name.
    """
    text = str(host)
    try:
        ip = as_ip(host)
    except ValueError:
        name = text.lower() if text.isascii() else text  # or lower() makes ASCII of look-alikes
        if not name or (_HOSTNAME.fullmatch(name) and not _NUMERIC_END.fullmatch(name)):
            return name
    else:
        if not (isinstance(ip, IPv6Address) and ip.scope_id):  # a zone means nothing to others
            return str(ip)
    raise ConfigError(f"{_shown(text)} is neither an IP address nor a host name")


def _check_port(node: Node, attribute: attrs.Attribute[int], port: int) -> None:
    if not 0 <= port <= 0xFFFF:
        raise ConfigError(f"{attribute.name} port {port} is not from 0 to 65535")


@attrs.frozen(cache_hash=True)  # tables and caches are asked for the same ones again and again
class Node:
    """
    Who and where.  Equal when everything is.

    @raise ConfigError: a host that cannot be one, a port out of range.
    """

    public_key: PublicKey
    #: An address in its canonical form, a host name in lower case, or "" when it is not known.
    host: str = attrs.field(default="", converter=_host)
    tcp: int = attrs.field(default=0, validator=_check_port)
    udp: int = attrs.field(default=0, validator=_check_port)
    #: The signed record it was made from.
    record: Record | None = None

    @classmethod
    def parse(cls, text: str) -> Node:
        """
        Read C{enode://...} or C{enr:...}.

        @raise ConfigError: it says what is wrong with the text.
        """
        try:
            if text.startswith(SCHEME):
                return _parse_url(text[len(SCHEME) :])
            if text.startswith(PREFIX):
                return cls.from_record(Record.parse(text))
        except (ConfigError, WireError) as error:
            raise ConfigError(f"{_shown(text)}: {error}") from None
        raise ConfigError(f"{_shown(text)} starts with neither 'enode://' nor 'enr:'")

    @classmethod
    def from_record(cls, record: Record, version: int | None = None) -> Node:
        """
        The node that a record tells of, at the more global of its two addresses (IPv4 when they are alike).
        An endpoint entry that is malformed counts as missing, since the rest of the record is signed and good.

        @param version: 4 or 6: at its address of this IP version if it has one, since we can reach no other.
        @raise WireError: the record is of an identity scheme that is not known here.
        """
        if record.public_key is None:
            raise WireError(f"no node can be known by the identity scheme {_shown(record.scheme)}")
        ips = _addresses(record)
        ip = max([ip for ip in ips if ip.version == version] or ips, key=_locality, default=None)
        tcp, udp = _get(record, TCP), _get(record, UDP)
        if ip is not None and ip.version == 6:
            tcp6, udp6 = _get(record, TCP6), _get(record, UDP6)
            tcp = tcp if tcp6 is None else tcp6
            udp = udp if udp6 is None else udp6
        return cls(record.public_key, "" if ip is None else ip, tcp or 0, udp or 0, record)

    @property
    def node_id(self) -> bytes:
        """Keccak-256 of the key, 32 bytes."""
        return self.public_key.node_id

    @property
    def ip(self) -> IPAddress | None:
        """The host as an address; None when it is a name or not known."""
        if not self.host:
            return None
        try:
            return as_ip(self.host)
        except ValueError:
            return None

    def placed(self, version: int | None) -> Node:
        """
        The same node at its address of an IP version, if its record has one.

        @param version: 4, 6, or None for any.
        """
        ip = self.ip
        if version is None or self.record is None or (ip is not None and ip.version == version):
            return self
        other = Node.from_record(self.record, version)
        return self if other.ip is None or other.ip.version != version else other

    @property
    def url(self) -> str:
        """The enode URL; without a host it is the key alone."""
        start = SCHEME + self.public_key.raw.hex()
        if not self.host:
            return start
        host = f"[{self.host}]" if ":" in self.host else self.host
        end = "" if self.udp == self.tcp else f"?discport={self.udp}"
        return f"{start}@{host}:{self.tcp}{end}"

    def __str__(self) -> str:
        return self.url


def _parse_url(text: str) -> Node:
    digits, at, place = text.partition("@")
    if not _HEX_KEY.fullmatch(digits):
        raise ConfigError("the node's key is not 128 hex digits")
    try:
        key = PublicKey.parse(bytes.fromhex(digits))
    except WireError as error:
        raise ConfigError(f"the node's key is {error}") from None
    if not at:
        return Node(key)
    place, _, query = place.partition("?")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        raise ConfigError("there is no port after the host")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ConfigError("in brackets stands what is not an IPv6 address")
    elif ":" in host:
        raise ConfigError("an IPv6 address has to stand in brackets")
    if not host:
        raise ConfigError("there is no host before the port")
    tcp = udp = _parse_port("port", port)
    if query:
        name, _, value = query.partition("=")
        if name != "discport":
            raise ConfigError(f"there is no parameter {_shown(name)}, only 'discport'")
        udp = _parse_port("discport", value)
    return Node(key, host, tcp, udp)


def _parse_port(name: str, text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 0xFFFF:
        raise ConfigError(f"{name} {_shown(text)} is not a number from 0 to 65535")
    return int(text)


def _get(record: Record, entry: Entry[V]) -> V | None:
    try:
        return record.get(entry)
    except WireError:
        return None


def _addresses(record: Record) -> list[IPAddress]:
    ips = [as_ip(ip) for ip in (_get(record, IP), _get(record, IP6)) if ip is not None]
    return [ip for ip in ips if not ip.is_multicast]


def _locality(ip: IPAddress) -> int:
    if ip.is_unspecified:
        return 0
    if ip.is_loopback:
        return 1
    if ip.is_link_local:
        return 2
    return 3 if is_private(ip) else 4
