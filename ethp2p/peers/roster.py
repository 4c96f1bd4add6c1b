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

        When two nodes call each other at the same moment, both keep the call that the node with the smaller
        id made, so that exactly one survives.

        @raise NotAdmitted: there is no place for this peer; nothing was reserved.
        """
        node_id, trusted = session.node_id, session.node_id in self.trusted
        if node_id == self.own_id:
            raise NotAdmitted(DisconnectReason.SELF)
        other = self._places.get(node_id)
        if other is not None:
            if other.stage is Stage.ADDED or other.inbound == session.inbound:
                raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED)
            we_call = self.own_id < node_id
            if session.inbound == we_call:
                raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED, "both called at once")
            del self._places[node_id]
            other.session.disconnect(DisconnectReason.ALREADY_CONNECTED, "both called at once")
        elif not trusted:
            if self._count() >= self.max_peers:
                raise NotAdmitted(DisconnectReason.TOO_MANY_PEERS, f"all {self.max_peers} places are taken")
            if session.inbound and self._count(inbound=True) >= self.max_inbound:
                raise NotAdmitted(
                    DisconnectReason.TOO_MANY_PEERS, f"all {self.max_inbound} places for callers are taken"
                )
        self._places[node_id] = Place(session, session.inbound, trusted, node_id in self.static, now)

    def add(self, session: ISession) -> None:
        """
        The checkpoint after Hello: keep the place reserved.

        @raise NotAdmitted: the place went to another session of the same peer.
        """
        place = self._places.get(session.node_id)
        if place is None or place.session is not session:
            raise NotAdmitted(DisconnectReason.ALREADY_CONNECTED)
        place.stage = Stage.ADDED

    def release(self, session: ISession) -> Place | None:
        """The session ended.  @return: the place it had, if it had one."""
        place = self._places.get(session.node_id)
        if place is None or place.session is not session:
            return None
        return self._places.pop(session.node_id)

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
