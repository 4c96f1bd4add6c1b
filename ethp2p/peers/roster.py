"""
Who is here, and the two checkpoints that decide who may be.

A place is reserved when a peer's identity is proven, kept when its Hello is accepted, and released when the
session ends: no race between handshakes can exceed a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

import attrs

from ethp2p.errors import DisconnectReason, NotAdmitted
from ethp2p.interfaces import ISession


class Stage(Enum):
    """How far a peer has come."""

    RESERVED = "identity proven"
    ADDED = "added"


@attrs.define(eq=False)
class Place:
    """One peer's place at the table."""

    session: ISession
    inbound: bool
    trusted: bool
    static: bool
    since: float
    stage: Stage = Stage.RESERVED


@attrs.define
class Roster:
    """
    @ivar own_id: our node id, 32 bytes.
    @ivar max_peers: most peers at one time; trusted ones come on top.
    @ivar dial_ratio: one place in this many is kept for peers we call.
    """

    own_id: bytes
    max_peers: int = 50
    dial_ratio: int = 3
    trusted: set[bytes] = attrs.field(factory=set)
    static: set[bytes] = attrs.field(factory=set)
    _places: dict[bytes, Place] = attrs.field(factory=dict, init=False)
    #: The second call of a peer that has a place already, until it is known which of the two lives.
    _beside: dict[bytes, ISession] = attrs.field(factory=dict, init=False)

    @property
    def max_dialed(self) -> int:
        """Most peers that we called (geth: at least one, unless there is no room at all)."""
        return max(1, self.max_peers // self.dial_ratio) if self.max_peers else 0

    @property
    def max_inbound(self) -> int:
        """Most peers that called us."""
        return self.max_peers - self.max_dialed

    def reserve(self, session: ISession, now: float) -> None:
        """
        The checkpoint after the cryptographic handshake.

        When two nodes call each other at the same moment, one of them must choose which call lives, or each might
        end the other's.  The smaller id chooses: it refuses the call that comes second, before Hello.  The larger
        id waits for its choice: a second call is let through without a place of its own, and has the peer's when
        a Hello shows that it was chosen or the first call ends.

        @raise NotAdmitted: there is no place for this peer; nothing was reserved.
        """
        node_id, trusted = session.node_id, session.node_id in self.trusted
        if node_id == self.own_id:
            raise NotAdmitted(DisconnectReason.SELF)
        other = self._places.get(node_id)
        if other is not None:
            if other.inbound == session.inbound or self.own_id < node_id or node_id in self._beside:
                raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED)
            self._beside[node_id] = session
            return
        if not trusted:
            if self._count() >= self.max_peers:
                raise NotAdmitted(DisconnectReason.TOO_MANY_PEERS, f"all {self.max_peers} places are taken")
            if session.inbound and self._count(inbound=True) >= self.max_inbound:
                raise NotAdmitted(
                    DisconnectReason.TOO_MANY_PEERS, f"all {self.max_inbound} places for callers are taken"
                )
        self._places[node_id] = Place(session, session.inbound, trusted, node_id in self.static, now)

    def add(self, session: ISession) -> None:
        """
        The checkpoint after Hello: keep the place reserved, or take over that of the same peer's other call.

        @raise NotAdmitted: the peer's place is another session's.
        """
        place = self._places.get(session.node_id)
        if place is None:
            raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED)
        first = place.session
        if first is not session:
            if self._beside.pop(session.node_id, None) is not session:
                raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED)
            place.session, place.inbound = session, session.inbound
        place.stage = Stage.ADDED
        if first is not session:
            first.disconnect(DisconnectReason.ALREADY_CONNECTED, "both called at once")

    def release(self, session: ISession) -> None:
        """The session ended: its place is free, unless the same peer's other call waits for it."""
        node_id = session.node_id
        if self._beside.get(node_id) is session:
            del self._beside[node_id]
            return
        place = self._places.get(node_id)
        if place is None or place.session is not session:
            return
        heir = self._beside.pop(node_id, None)
        if heir is None:
            del self._places[node_id]
        else:
            place.session, place.inbound, place.stage = heir, heir.inbound, Stage.RESERVED

    def get(self, node_id: bytes) -> Place | None:
        """The place of an added peer."""
        place = self._places.get(node_id)
        return place if place is not None and place.stage is Stage.ADDED else None

    def added(self) -> list[Place]:
        """The peers that passed both checkpoints, oldest first."""
        return [place for place in self._places.values() if place.stage is Stage.ADDED]

    @property
    def dialed(self) -> int:
        """How many have a place that we called."""
        return sum(not place.inbound for place in self._places.values())

    def known(self) -> Collection[bytes]:
        """Ids of all that have a place."""
        return self._places.keys()

    def __iter__(self) -> Iterator[Place]:
        return iter(tuple(self._places.values()))

    def __len__(self) -> int:
        return len(self._places)

    def _count(self, *, inbound: bool | None = None) -> int:
        return sum(
            not place.trusted and (inbound is None or place.inbound == inbound) for place in self._places.values()
        )
