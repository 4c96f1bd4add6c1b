"""
What the household knows, in one place: its services share it, and none of them owns it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from ethp2p.enode.cidr import is_ip
from ethp2p.errors import Offence
from ethp2p.peers.admission import Rule
from ethp2p.peers.bans import Ban, BanList
from ethp2p.peers.dialer import Dialer, Seats
from ethp2p.peers.journeys import Journeys
from ethp2p.peers.policy import Policy
from ethp2p.peers.reputation import Reputation
from ethp2p.peers.roster import Roster
from ethp2p.peers.throttle import Doorman, Refused


@attrs.define(eq=False)
class Books:
    """
    @ivar own_id: our node id, 32 bytes.
    @ivar policy: what the operator has set.
    @ivar random: gives numbers from 0 up to 1.
    @ivar wall: tells unix time.
    @ivar roster: who is here.
    @ivar doorman: who may come to the door.
    @ivar dialer: whom to call, and when.
    @ivar journeys: what became of our calls.
    @ivar reputation: what we hold of whom, and why.
    @ivar bans: who may not come in.
    """

    own_id: bytes
    policy: Policy
    random: Callable[[], float]
    wall: Callable[[], float]
    roster: Roster = attrs.field(init=False)
    doorman: Doorman = attrs.field(init=False)
    dialer: Dialer = attrs.field(init=False)
    journeys: Journeys = attrs.field(factory=Journeys, init=False)
    reputation: Reputation = attrs.field(init=False)
    bans: BanList = attrs.field(factory=BanList, init=False)
    #: How many offences were booked, by kind.
    offences: Counter[Offence] = attrs.field(factory=Counter, init=False)
    #: How many were not let in, by the rule.
    refusals: Counter[str] = attrs.field(factory=Counter, init=False)
    #: How many sessions ended, by who ended them (C{us}, C{them}, C{nobody}) and the reason in words.
    partings: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.roster = Roster(self.own_id, self.policy)
        self.doorman = Doorman(self.policy)
        self.dialer = Dialer(self.random, self.own_id, banned=self.banned, trusted=self.roster.trusted)
        self.reputation = Reputation()
        self.set_policy(self.policy)

    def set_policy(self, policy: Policy) -> None:
        """Go by other settings from now on."""
        self.policy = policy
        self.roster.policy = policy
        self.doorman.policy = policy
        self.dialer.netrestrict = policy.netrestrict
        self.reputation.configure(
            weights=policy.weights,
            disconnect_below=policy.disconnect_below,
            ban_below=policy.ban_below,
            dry_run=policy.reputation_dry_run,
        )

    def seats(self) -> Seats:
        """How many peers there are, and may be."""
        policy, roster = self.policy, self.roster
        return Seats(
            dialed=roster.dialed,
            max_dialed=policy.max_dialed,
            free=max(0, policy.max_peers - roster.census().peers),
            min_peers=policy.min_peers,
        )

    def ban_of(self, node_id: bytes | None, host: str | None) -> Ban | None:
        """The ban that keeps this node, or whoever is at this address, out now."""
        return self.bans.find(node_id, host, self.wall()) if len(self.bans) else None

    def banned(self, node_id: bytes | None, host: str | None) -> str:
        """The same in words; empty if there is none."""
        ban = self.ban_of(node_id, host)
        return "" if ban is None else ban.reason or "no reason was given"

    def forbidden(self, node_id: bytes | None, host: str) -> Refused | None:
        """Why there is nothing to do with this node, or with whoever is at this address, in either direction."""
        netrestrict = self.policy.netrestrict
        if netrestrict is not None and is_ip(host) and host not in netrestrict:
            return Refused(f"{host} is outside {netrestrict}", Rule.NETRESTRICT)
        banned = self.banned(node_id, host)
        return Refused(f"banned: {banned}", Rule.BANNED) if banned else None
