"""
Who is here.

A place is reserved when a peer's identity is proven, kept when its Hello is accepted, and released when the
session ends: no race between handshakes can exceed a limit.  Counts are kept as peers come and go; nothing here
looks at all of them for each handshake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import Enum

import attrs

from ethp2p.errors import ConfigError, DisconnectReason, NotAdmitted
from ethp2p.interfaces import ISession
from ethp2p.peers.admission import (
    REASONS,
    Block,
    Candidate,
    Census,
    Refusal,
    Rule,
    add_peer,
    blocks_of,
    post_handshake,
)
from ethp2p.peers.policy import Policy

#: Most trusted peers: each may come in above all limits.
MAX_TRUSTED = 1024


class Stage(Enum):
    """How far a peer has come."""

    RESERVED = "identity proven"
    ADDED = "added"


@attrs.define(eq=False)
class Place:
    """One peer's place at the table."""

    session: ISession
    #: Its address, as it was when it came.
    host: str
    inbound: bool
    trusted: bool
    #: When the place was reserved.
    since: float
    _statics: Collection[bytes] = attrs.field(repr=False)
    stage: Stage = Stage.RESERVED
    #: When its Hello was accepted.
    added_at: float | None = None
    #: What its limits are counted in; fixed, so that what was counted is what is taken back.
    blocks: tuple[Block, ...] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.blocks = blocks_of(self.host) or ()

    @property
    def static(self) -> bool:
        """Whether the peer is wanted always, as of now."""
        return self.session.node_id in self._statics

    @property
    def static_dialed(self) -> bool:
        """Whether we called it, and always do."""
        return not self.inbound and self.static

    @property
    def dyn_dialed(self) -> bool:
        """Whether we called it because discovery found it."""
        return not self.inbound and not self.static

    def candidate(self) -> Candidate:
        """As the checkpoints see it."""
        session = self.session
        return Candidate(
            session.node_id, self.host, self.inbound, self.trusted, self.static, session.client, session.shared
        )


@attrs.define
class Roster:
    """
    @ivar own_id: our node id, 32 bytes.
    @ivar policy: the limits.  May be replaced at any time; who is over the new ones tells L{excess}.
    @ivar trusted: ids of peers above the limits; change them by L{trust} and L{untrust} once there are peers.
    @ivar static: ids of peers that are wanted always.
    """

    own_id: bytes
    policy: Policy = attrs.field(factory=Policy)
    trusted: set[bytes] = attrs.field(factory=set, init=False)
    static: set[bytes] = attrs.field(factory=set, init=False)
    _places: dict[bytes, Place] = attrs.field(factory=dict, init=False)
    #: The second call of a peer that has a place already, until it is known which of the two lives.
    _beside: dict[bytes, Place] = attrs.field(factory=dict, init=False)
    #: Of all peers: how many we called.  Of those that are not trusted: all, callers, and in each address and subnet.
    _dialed: int = attrs.field(default=0, init=False)
    _peers: int = attrs.field(default=0, init=False)
    _inbound: int = attrs.field(default=0, init=False)
    _blocks: Counter[Block] = attrs.field(factory=Counter, init=False)

    def reserve(self, session: ISession, now: float, banned: str = "") -> None:
        """
        The checkpoint after the cryptographic handshake.

        When two nodes call each other at the same moment, one of them must choose which call lives, or each might
        end the other's.  The smaller id chooses: it refuses the call that comes second, before Hello.  The larger
        id waits for its choice: a second call is let through without a place of its own, and has the peer's when
        a Hello shows that it was chosen or the first call ends.  Until then both calls count where they differ, so
        that there is room whichever lives.

        @param banned: the ban's reason in words, if the peer or its address is banned.
        @raise NotAdmitted: there is no place for this peer; nothing was reserved.
        """
        node_id = session.node_id
        if node_id == self.own_id:
            raise _refused(Rule.SELF)
        host = getattr(session.address, "host", "")
        place = Place(session, host, session.inbound, node_id in self.trusted, now, self.static)
        first = self._places.get(node_id)
        if first is not None:
            if first.inbound == place.inbound or node_id in self._beside:
                raise _refused(Rule.ALREADY_CONNECTED)
            if self.own_id < node_id:
                added = first.stage is Stage.ADDED
                raise _refused(Rule.ALREADY_CONNECTED) if added else _refused(Rule.TIE, "both called at once")
        self._check(post_handshake, place, banned)
        with self._counted(node_id):
            (self._places if first is None else self._beside)[node_id] = place

    def add(self, session: ISession, banned: str = "", *, now: float | None = None) -> None:
        """
        The checkpoint after Hello: keep the place reserved, or take over that of the same peer's other call.

        @param now: what L{Place.added_at} is to be; by default when the place was reserved.
        @raise NotAdmitted: the peer's place is another session's, or what Hello says, or what has changed since the
            first checkpoint, forbids it.  What was reserved stays so until L{release}.
        """
        node_id = session.node_id
        first, second = self._places.get(node_id), self._beside.get(node_id)
        if first is not None and first.session is session:
            place = first
        elif second is not None and second.session is session:
            place = second
        else:
            raise _refused(Rule.ALREADY_CONNECTED)
        self._check(add_peer, place, banned)
        place.stage = Stage.ADDED
        place.added_at = place.since if now is None else now
        if first is not None and place is second:
            with self._counted(node_id):
                self._places[node_id] = self._beside.pop(node_id)
            first.session.disconnect(DisconnectReason.ALREADY_CONNECTED, "both called at once")

    def release(self, session: ISession) -> None:
        """The session ended: its place is free, unless the same peer's other call waits for it."""
        node_id = session.node_id
        place, beside = self._places.get(node_id), self._beside.get(node_id)
        with self._counted(node_id):
            if beside is not None and beside.session is session:
                del self._beside[node_id]
            elif place is not None and place.session is session:
                if beside is None:
                    del self._places[node_id]
                else:
                    self._places[node_id] = self._beside.pop(node_id)

    def trust(self, node_id: bytes) -> bool:
        """
        Let this peer come in above the limits from now on; if it is here, it takes nobody's place any more.

        @return: whether it was not trusted before.
        @raise ConfigError: there are L{MAX_TRUSTED}.
        """
        if node_id not in self.trusted and len(self.trusted) >= MAX_TRUSTED:
            raise ConfigError(f"there are {MAX_TRUSTED:,} trusted peers already")
        before = len(self.trusted)
        self.trusted.add(node_id)
        self._set_trusted(node_id, True)
        return len(self.trusted) > before

    def untrust(self, node_id: bytes) -> bool:
        """
        Trust it no more.  If it is here it stays, and counts.

        @return: whether it was trusted.
        """
        was = node_id in self.trusted
        self.trusted.discard(node_id)
        self._set_trusted(node_id, False)
        return was

    def excess(self) -> list[Place]:
        """
        Who has to go for the limits to hold, after the policy has changed or a peer is trusted no more: the newest
        first, static peers only when no others are left, trusted ones never.  Of a peer that has two calls both are
        given, or the other one would come in its place.  Ending their sessions is left to the caller.
        """
        order = [place for place in reversed(self._places.values()) if not place.trusted]
        order.sort(key=lambda place: (place.static, -place.since))
        policy, blocks, peers, inbound = self.policy, Counter(self._blocks), self._peers, self._inbound
        limits = (policy.max_peers_per_ip, policy.max_peers_per_subnet)
        gone: list[Place] = []

        def crowded(place: Place) -> bool:
            pairs = (pair for call in self._calls(place) for pair in zip(limits, call.blocks))
            return any(0 < limit < blocks[block] for limit, block in pairs)

        def uninvited(place: Place) -> bool:
            return inbound > policy.max_inbound and self._called(place)

        def surplus(place: Place) -> bool:
            return peers > policy.max_peers

        for over in (crowded, uninvited, surplus):  # who goes for the narrower limit makes room in the wider ones
            stay = []
            for place in order:
                if over(place):
                    gone.extend(self._calls(place))
                    peers -= 1
                    inbound -= self._called(place)
                    blocks.subtract(self._held(place))
                else:
                    stay.append(place)
            order = stay
        return gone

    def unwelcome(self) -> list[tuple[Place, Refusal]]:
        """
        Who is here and, by what the policy says now about networks and client names, would not be let in, and why.
        """
        found = []
        for place in self.added():
            refusal = add_peer(place.candidate(), Census(), self.policy)
            if refusal is not None and refusal.rule in (Rule.NETRESTRICT, Rule.CLIENT_NAME):
                found.append((place, refusal))
        return found

    def get(self, node_id: bytes) -> Place | None:
        """The place of an added peer."""
        place = self._places.get(node_id)
        return place if place is not None and place.stage is Stage.ADDED else None

    def added(self) -> list[Place]:
        """The peers that passed both checkpoints, oldest first."""
        return [place for place in self._places.values() if place.stage is Stage.ADDED]

    def census(self, node_id: bytes = b"", host: str = "") -> Census:
        """
        The counts that limits are held against.

        @param node_id: a peer to leave out.
        @param host: where C{same_ip} and C{same_subnet} are counted.
        """
        with self._counted(node_id):
            ip, subnet = blocks_of(host) or (None, None)
            counts = (self._blocks.get(block, 0) if block is not None else 0 for block in (ip, subnet))
            return Census(self._peers, self._inbound, *counts)

    @property
    def max_peers(self) -> int:
        """See L{Policy}."""
        return self.policy.max_peers

    @property
    def dialed(self) -> int:
        """How many have a place that we called."""
        return self._dialed

    @property
    def inbound(self) -> int:
        """How many have a place that called us."""
        return len(self._places) - self._dialed

    def known(self) -> Collection[bytes]:
        """Ids of all that have a place."""
        return self._places.keys()

    def __iter__(self) -> Iterator[Place]:
        return iter(tuple(self._places.values()))

    def __len__(self) -> int:
        return len(self._places)

    def _check(self, checkpoint: Callable[..., Refusal | None], place: Place, banned: str) -> None:
        census = self.census(place.session.node_id, place.host)
        refusal = checkpoint(place.candidate(), census, self.policy, banned)
        if refusal is not None:
            raise NotAdmitted(refusal.reason, refusal.detail, refusal.rule.value)

    def _set_trusted(self, node_id: bytes, trusted: bool) -> None:
        with self._counted(node_id):
            for places in (self._places, self._beside):
                if node_id in places:
                    places[node_id].trusted = trusted

    # --- counting

    @contextmanager
    def _counted(self, node_id: bytes) -> Iterator[None]:
        """Within, this peer is not counted; after, it is as it then is."""
        self._count(node_id, -1)
        try:
            yield
        finally:
            self._count(node_id, 1)

    def _count(self, node_id: bytes, by: int) -> None:
        place = self._places.get(node_id)
        if place is None:
            return
        self._dialed += by * (not place.inbound)
        if place.trusted:
            return
        self._peers += by
        self._inbound += by * self._called(place)
        for block in self._held(place):
            self._blocks[block] += by
            if not self._blocks[block]:
                del self._blocks[block]

    def _calls(self, place: Place) -> list[Place]:
        """Its own call, and the same peer's other one."""
        beside = self._beside.get(place.session.node_id)
        return [place] if beside is None else [place, beside]

    def _called(self, place: Place) -> bool:
        """Whether the peer called us, be it with the call beside."""
        return any(call.inbound for call in self._calls(place))

    def _held(self, place: Place) -> set[Block]:
        """The address and the subnet of each of the peer's calls."""
        return {block for call in self._calls(place) for block in call.blocks}


def _refused(rule: Rule, detail: str = "") -> NotAdmitted:
    return NotAdmitted(REASONS[rule], detail, rule.value)
