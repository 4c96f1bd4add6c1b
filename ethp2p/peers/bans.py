"""
Who may not come in and is not called: a node, an address, or a network.

Times are Unix time in whole seconds, and all of them are given.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterator
from enum import Enum

import attrs

from ethp2p.enode import Netrestrict, Node
from ethp2p.enode.cidr import IPAddress, as_ip
from ethp2p.errors import ConfigError

#: Most bans.  Each costs about 600 bytes; an attacker who gets thousands of identities banned pushes out the bans that
#: end soonest, and never one that an operator gave.
MAX_BANS = 10_000
#: Most characters of a reason: some of it may be a peer's own words.
MAX_REASON = 200
#: Who decides.  An operator's word stands above what follows from a score.
OPERATOR, REPUTATION = "operator", "reputation"

#: What a time may be: far beyond any date, and exact in JSON and every database.
_FOREVER = 1 << 53
_BITS = {4: 32, 6: 128}
_NODE_ID = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")


class Scope(Enum):
    """What a ban is for."""

    NODE = "node"
    IP = "ip"
    SUBNET = "subnet"


def parse_subject(text: str) -> tuple[Scope, str]:
    """
    Whom a ban is for.

    @param text: a node id in hex, an C{enode://} URL or C{enr:} record (whose node is meant, not its address), an IP
        address, or a network such as C{10.0.0.0/8}.
    @return: what it is, and the one way to write it.  A network of one address is that address, and an IPv4 address
        inside IPv6 is the IPv4 address.
    @raise ConfigError: it is none of them, or the network is all there is.
    """
    text = text.strip()
    match = _NODE_ID.fullmatch(text)
    if match:
        return Scope.NODE, match[1].lower()
    if text.startswith(("enode:", "enr:")):
        return Scope.NODE, Node.parse(text).node_id.hex()
    try:
        if "%" in text:  # a zone: of which link an address is means nothing to a ban
            raise ValueError
        (network,) = Netrestrict.parse(text).networks
    except (ConfigError, ValueError):
        raise ConfigError(
            f"{text[:64]!r} is neither a node id, an enode, an ENR, an IP address nor a network such as 10.0.0.0/8"
        ) from None
    if not network.prefixlen:
        raise ConfigError(f"{text[:64]!r} would ban everybody")
    if network.prefixlen < network.max_prefixlen:
        return Scope.SUBNET, str(network)
    return Scope.IP, str(network.network_address)


def _words(text: str) -> str:
    """Safe to print, on one line, and of bounded length."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in line[:MAX_REASON])


def _check_time(_: object, attribute: attrs.Attribute[int], time: object) -> None:
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time < _FOREVER:
        raise ConfigError(f"a ban's {attribute.name} {time!r:.32} is not a Unix time in whole seconds")


def _check_by(_: object, __: attrs.Attribute[str], by: object) -> None:
    if by not in (OPERATOR, REPUTATION):
        raise ConfigError(f"{by!r:.32} cannot decide about bans, only {OPERATOR!r} and {REPUTATION!r}")


@attrs.frozen
class Ban:
    """
    Who may not come in, until when, and why.

    @raise ConfigError: C{subject} is not as L{parse_subject} writes it, or a time is not one.
    """

    scope: Scope
    #: A node id in lower-case hex, an address, or a network.
    subject: str = attrs.field()
    since: int = attrs.field(validator=_check_time)
    #: When it ends; None when it does not.
    until: int | None = attrs.field(validator=attrs.validators.optional(_check_time))
    reason: str = attrs.field(converter=_words)
    #: Who decided: L{OPERATOR} or L{REPUTATION}.
    by: str = attrs.field(validator=_check_by)

    @subject.validator
    def _check_subject(self, _: object, subject: str) -> None:
        if parse_subject(subject) != (self.scope, subject):
            raise ConfigError(f"{subject[:64]!r} is not how to write a ban's {self.scope.value}")

    def over(self, wall: float) -> bool:
        """Whether it has ended."""
        return self.until is not None and self.until <= wall

    def covers(self, node_id: bytes | None, host: str | None) -> bool:
        """
        Whether it is for a peer with this id or at this address.

        @param node_id: 32 bytes; None when it is not known.
        @param host: an address, or a name, at which no ban can be aimed; None when it is not known.
        """
        if self.scope is Scope.NODE:
            return node_id is not None and node_id.hex() == self.subject
        return _ip(host) is not None and host in Netrestrict.parse(self.subject)

    @property
    def lasts(self) -> tuple[bool, int, int]:
        """The greater, the later it makes room: the operator's after others, and those that end later after others."""
        return self.by == OPERATOR, _FOREVER if self.until is None else self.until, self.since


def _ip(host: str | None) -> IPAddress | None:
    try:
        return as_ip(host or "")
    except ValueError:
        return None


#: Where a ban stands in a sorted list, and its subject.
_Order = tuple[tuple[bool, int, int], str]


class BanList:
    """
    At most L{MAX_BANS}, each subject at most once.  To find one takes a look for each length of prefix in use, however
    many bans there are.
    """

    def __init__(self) -> None:
        self._bans: dict[str, Ban] = {}
        #: For each IP version and length of prefix, the bans by the number that the prefix is.
        self._networks: dict[int, dict[int, dict[int, Ban]]] = {4: {}, 6: {}}
        self._by_rank: list[_Order] = []
        self._by_end: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    def get(self, subject: str) -> Ban | None:
        """
        The ban of this very subject, whether it has ended or not.

        @param subject: as L{parse_subject} writes it.
        """
        return self._bans.get(subject)

    def add(self, ban: Ban) -> Ban | None:
        """
        Ban somebody, in place of an earlier ban of the same subject.  An operator's ban takes the place of any; another
        one only that of one that is not an operator's and does not last longer, or has ended.

        @return: who is not in the list because of it: None, or another that had to make room, or C{ban} itself when
            what is there stands above it.
        """
        there = self._bans.get(ban.subject)
        if there is not None:
            if _stands_above(there, ban):
                return ban
            self._drop(there)
        gone = None
        if len(self._bans) >= MAX_BANS:
            first = self._by_end[0] if self._by_end else None
            gone = self._bans[first[1] if first and first[0] <= ban.since else self._by_rank[0][1]]
            if _stands_above(gone, ban):
                return ban
            self._drop(gone)
        self._bans[ban.subject] = ban
        insort(self._by_rank, (ban.lasts, ban.subject))
        if ban.until is not None:
            insort(self._by_end, (ban.until, ban.subject))
        if ban.scope is not Scope.NODE:
            version, length, prefix = _prefix(ban)
            self._networks[version].setdefault(length, {})[prefix] = ban
        return gone

    def remove(self, subject: str) -> Ban | None:
        """
        Lift a ban.

        @param subject: as L{parse_subject} reads it.
        @return: the ban, if there was one.
        @raise ConfigError: there cannot be a ban of this.
        """
        ban = self._bans.get(parse_subject(subject)[1])
        if ban is not None:
            self._drop(ban)
        return ban

    def find(self, node_id: bytes | None, host: str | None, wall: float) -> Ban | None:
        """
        Why somebody may not come in: the ban of the node, else of the address, else of the smallest network.

        @param node_id: 32 bytes; None when it is not known yet.
        @param host: an address, or a name, at which no ban can be aimed; None when it is not known.
        """
        if node_id is not None:
            ban = self._bans.get(node_id.hex())
            if ban is not None and not ban.over(wall):
                return ban
        ip = _ip(host)
        if ip is None:
            return None
        number, bits, lengths = int(ip), _BITS[ip.version], self._networks[ip.version]
        for length in sorted(lengths, reverse=True):
            ban = lengths[length].get(number >> (bits - length))
            if ban is not None and not ban.over(wall):
                return ban
        return None

    def purge(self, wall: float) -> list[Ban]:
        """Take out those that have ended.  @return: them."""
        ended = []
        while self._by_end and self._by_end[0][0] <= wall:
            ban = self._bans[self._by_end[0][1]]
            self._drop(ban)
            ended.append(ban)
        return ended

    def listed(self, wall: float) -> list[Ban]:
        """Those that have not ended, the oldest first."""
        return sorted(
            (ban for ban in self._bans.values() if not ban.over(wall)), key=lambda ban: (ban.since, ban.subject)
        )

    def next_expiry(self) -> int | None:
        """When the next one ends, Unix time; None when none does."""
        return self._by_end[0][0] if self._by_end else None

    def _drop(self, ban: Ban) -> None:
        del self._bans[ban.subject]
        del self._by_rank[bisect_left(self._by_rank, (ban.lasts, ban.subject))]
        if ban.until is not None:
            del self._by_end[bisect_left(self._by_end, (ban.until, ban.subject))]
        if ban.scope is not Scope.NODE:
            version, length, prefix = _prefix(ban)
            lengths = self._networks[version]
            del lengths[length][prefix]
            if not lengths[length]:
                del lengths[length]


def _stands_above(there: Ban, ban: Ban) -> bool:
    """Whether a ban stays when another one comes that needs its place."""
    return ban.by != OPERATOR and not there.over(ban.since) and there.lasts > ban.lasts


def _prefix(ban: Ban) -> tuple[int, int, int]:
    """The IP version, the length of the prefix, and the number that it is."""
    (network,) = Netrestrict.parse(ban.subject).networks
    length = network.prefixlen
    return network.version, length, int(network.network_address) >> (_BITS[network.version] - length)
