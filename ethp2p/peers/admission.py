"""
Who may come in: the two checkpoints, as functions of who asks, who is here and the policy.

The first is passed when a peer's identity is proven, the second when its Hello is known; the second asks everything
again, since peers came and the policy may have changed in between.  What a connection is bound by::

    rule               dialed  static  inbound  trusted
    netrestrict        yes     yes     yes      yes
    banned             yes     yes     yes      yes
    throttled                          yes      yes
    busy                               yes      yes
    quitting           yes     yes     yes      yes
    self               yes     yes     yes      yes
    already_connected  yes     yes     yes      yes
    tie                yes     yes     yes      yes
    useless            yes     yes     yes      yes
    client_name        yes     yes     yes
    too_many_peers     yes     yes     yes
    too_many_inbound                   yes
    per_ip             yes     yes     yes
    per_subnet         yes     yes     yes

So only trust goes above limits; being static means to be called again and again, and no more (geth's rules, too).
A static peer that calls us is inbound.  C{throttled} and C{busy} are the door's, where nobody has proven who he is,
so that not even trust helps.  C{self}, C{already_connected} and C{tie} are decided by the roster, C{quitting} by the
service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain

import attrs

from ethp2p.enode.cidr import Scope, as_ip, scope_of
from ethp2p.errors import DisconnectReason
from ethp2p.peers.policy import Policy


class Rule(Enum):
    """Why somebody is not let in."""

    NETRESTRICT = "netrestrict"
    BANNED = "banned"
    THROTTLED = "throttled"
    BUSY = "busy"
    QUITTING = "quitting"
    SELF = "self"
    ALREADY_CONNECTED = "already_connected"
    TIE = "tie"
    USELESS = "useless"
    CLIENT_NAME = "client_name"
    TOO_MANY_PEERS = "too_many_peers"
    TOO_MANY_INBOUND = "too_many_inbound"
    PER_IP = "per_ip"
    PER_SUBNET = "per_subnet"


class Kind(Enum):
    """How a connection came about, as far as rules care."""

    #: We called a node that discovery found.
    DIALED = "dialed"
    #: We called a peer that we always want.
    STATIC = "static"
    #: The peer called us.
    INBOUND = "inbound"
    #: Either way, and the peer is trusted.
    TRUSTED = "trusted"


_ALL = frozenset(Kind)
_CALLERS = frozenset({Kind.INBOUND, Kind.TRUSTED})
_LIMITED = _ALL - {Kind.TRUSTED}

#: Which kinds each rule binds.  The functions below go by it.
MATRIX: Mapping[Rule, frozenset[Kind]] = {
    Rule.NETRESTRICT: _ALL,
    Rule.BANNED: _ALL,
    Rule.THROTTLED: _CALLERS,
    Rule.BUSY: _CALLERS,
    Rule.QUITTING: _ALL,
    Rule.SELF: _ALL,
    Rule.ALREADY_CONNECTED: _ALL,
    Rule.TIE: _ALL,
    Rule.USELESS: _ALL,
    Rule.CLIENT_NAME: _LIMITED,
    Rule.TOO_MANY_PEERS: _LIMITED,
    Rule.TOO_MANY_INBOUND: frozenset({Kind.INBOUND}),
    Rule.PER_IP: _LIMITED,
    Rule.PER_SUBNET: _LIMITED,
}

#: What the peer is told.  There are no codes for bans and networks; at the door it is told nothing.
REASONS: Mapping[Rule, DisconnectReason] = {
    Rule.NETRESTRICT: DisconnectReason.REQUESTED,
    Rule.BANNED: DisconnectReason.REQUESTED,
    Rule.THROTTLED: DisconnectReason.TOO_MANY_PEERS,
    Rule.BUSY: DisconnectReason.TOO_MANY_PEERS,
    Rule.QUITTING: DisconnectReason.CLIENT_QUITTING,
    Rule.SELF: DisconnectReason.SELF,
    Rule.ALREADY_CONNECTED: DisconnectReason.ALREADY_CONNECTED,
    Rule.TIE: DisconnectReason.ALREADY_CONNECTED,
    Rule.USELESS: DisconnectReason.USELESS_PEER,
    Rule.CLIENT_NAME: DisconnectReason.USELESS_PEER,
    Rule.TOO_MANY_PEERS: DisconnectReason.TOO_MANY_PEERS,
    Rule.TOO_MANY_INBOUND: DisconnectReason.TOO_MANY_PEERS,
    Rule.PER_IP: DisconnectReason.TOO_MANY_PEERS,
    Rule.PER_SUBNET: DisconnectReason.TOO_MANY_PEERS,
}

#: An address or a subnet: IP version, the leading bits as a number, how many bits are left out.
Block = tuple[int, int, int]
#: Bits of a host within its subnet, by IP version: a /24 is the smallest that is routed, a /64 is what one line gets.
_HOST_BITS = {4: 8, 6: 64}


def blocks_of(host: str) -> tuple[Block, Block] | None:
    """
    The address and the subnet that a peer's limits are counted in.

    @return: None on the local network, which is exempt, and when C{host} is no address.
    """
    try:
        ip = as_ip(host)
    except ValueError:
        return None
    if scope_of(host) is not Scope.PUBLIC:
        return None
    number, bits = int(ip), _HOST_BITS[ip.version]
    return (ip.version, number, 0), (ip.version, number >> bits, bits)


@attrs.frozen
class Candidate:
    """Who asks to come in."""

    #: 32 bytes.
    node_id: bytes
    #: Its IP address.
    host: str
    #: Whether it called us.
    inbound: bool
    trusted: bool
    static: bool
    #: What its Hello says, and what both sides speak; empty before.
    client: str = ""
    shared: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Its column in L{MATRIX}."""
        if self.trusted:
            return Kind.TRUSTED
        if self.inbound:
            return Kind.INBOUND
        return Kind.STATIC if self.static else Kind.DIALED


@attrs.frozen
class Census:
    """
    Who is here already, the candidate itself and trusted peers not counted.
    """

    peers: int = 0
    inbound: int = 0
    #: At the candidate's address, and in its subnet; 0 on the local network.
    same_ip: int = 0
    same_subnet: int = 0


@attrs.frozen
class Refusal:
    """Why a candidate may not come in."""

    rule: Rule
    reason: DisconnectReason
    #: The rule in words, with its numbers.
    detail: str


def post_handshake(candidate: Candidate, census: Census, policy: Policy, banned: str = "") -> Refusal | None:
    """
    The checkpoint after the cryptographic handshake: the id is proven.

    @param banned: the ban's reason in words, if there is one.
    @return: None when the candidate may come in.
    """
    return _first(candidate, chain(_place(candidate, policy, banned), _room(candidate, census, policy)))


def add_peer(candidate: Candidate, census: Census, policy: Policy, banned: str = "") -> Refusal | None:
    """The checkpoint after Hello; see L{post_handshake}.  What a peer is counts before whether there is room."""
    return _first(
        candidate,
        chain(_place(candidate, policy, banned), _hello(candidate, policy), _room(candidate, census, policy)),
    )


_Faults = Iterator[tuple[Rule, str]]


def _first(candidate: Candidate, faults: Iterable[tuple[Rule, str]]) -> Refusal | None:
    kind = candidate.kind
    for rule, detail in faults:
        if kind in MATRIX[rule]:
            return Refusal(rule, REASONS[rule], detail)
    return None


def _place(candidate: Candidate, policy: Policy, banned: str) -> _Faults:
    if policy.netrestrict is not None and candidate.host not in policy.netrestrict:
        yield Rule.NETRESTRICT, f"{candidate.host or 'no address'} is outside {policy.netrestrict}"
    if banned:
        yield Rule.BANNED, f"banned: {banned}"


def _hello(candidate: Candidate, policy: Policy) -> _Faults:
    if not candidate.shared:
        yield Rule.USELESS, "no capability in common"
    pattern = policy.refuses(candidate.client)
    if pattern is not None:
        yield Rule.CLIENT_NAME, f"clients like {pattern!r} are refused"


def _room(candidate: Candidate, census: Census, policy: Policy) -> _Faults:
    if census.peers >= policy.max_peers:
        yield Rule.TOO_MANY_PEERS, f"all {policy.max_peers} places are taken"
    if census.inbound >= policy.max_inbound:
        yield Rule.TOO_MANY_INBOUND, f"all {policy.max_inbound} places for callers are taken"
    if 0 < policy.max_peers_per_ip <= census.same_ip:
        yield Rule.PER_IP, f"{census.same_ip} peers are at {candidate.host} already"
    if 0 < policy.max_peers_per_subnet <= census.same_subnet:
        yield Rule.PER_SUBNET, f"{census.same_subnet} peers are in the subnet of {candidate.host} already"
