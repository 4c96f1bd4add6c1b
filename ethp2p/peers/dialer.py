"""
Whom to call, and when to call again.

A table of static peers, each called until it is connected and again after it is lost; and nodes that discovery
found, each called once in a while as long as there is room.  Pure: told what happened and the time, it answers with
the calls to make.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from ethp2p.limits import ExpiringMap

#: Most calls under way at one time (geth: maxActiveDials).
MAX_ACTIVE_DIALS = 50
#: Most static peers.
MAX_STATIC_PEERS = 1024
#: First wait before calling a neighbour on this machine or network again, seconds.
NEAR_BACKOFF = 1.0
#: First wait for others.  Peers refuse an address that calls again within 30 s (geth: inboundThrottleTime).
FAR_BACKOFF = 35.0
#: Seconds for which a found node is not called a second time (geth: dialHistoryExpiration).
HISTORY = 35.0
#: Most calls remembered for that.
MAX_HISTORY = 4096
#: The wait doubles with each failure up to this many seconds.
MAX_BACKOFF = 600.0
#: A session that lasted this long wipes the failures before it, seconds.
GOOD_SESSION = 60.0
#: Each wait is stretched by up to this share, so that peers lost together are not called together.
JITTER = 0.1


@attrs.define
class StaticPeer:
    """One peer that we want."""

    node_id: bytes
    #: Whether it is on this machine or network, where nobody throttles.
    near: bool
    due: float = 0.0
    failures: int = 0
    calling: bool = False
    #: The newest failure in words.
    last: str = ""


@attrs.define
class Dialer:
    """
    @ivar random: gives numbers from 0 up to 1.
    """

    random: Callable[[], float]
    max_active: int = MAX_ACTIVE_DIALS
    _peers: dict[bytes, StaticPeer] = attrs.field(factory=dict, init=False)
    _found: set[bytes] = attrs.field(factory=set, init=False)
    _history: ExpiringMap[bytes, bool] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._history = ExpiringMap(MAX_HISTORY, HISTORY)

    @property
    def calling(self) -> int:
        """Calls under way."""
        return len(self._found) + sum(peer.calling for peer in self._peers.values())

    def wanted(self, dialed: int, max_dialed: int) -> int:
        """
        How many found nodes to call now: twice as many as there are places for, since most come to nothing
        (geth: freeDialSlots).

        @param dialed: peers that we called and have.
        @param max_dialed: how many of them there may be.
        """
        return max(0, min((max_dialed - dialed) * 2, self.max_active) - self.calling)

    def found(self, node_id: bytes, connected: Collection[bytes], now: float) -> bool:
        """
        Discovery found a node.

        @return: whether to call it now; then it counts as being called until L{failed}, L{connected} or L{ended}.
        """
        if node_id in connected or node_id in self._peers or self._history.get(node_id, now):
            return False
        self._history.set(node_id, True, now)
        self._found.add(node_id)
        return True

    def add(self, node_id: bytes, now: float, *, near: bool = False) -> bool:
        """
        Want this peer from now on.

        @return: whether it is wanted: False only when there are L{MAX_STATIC_PEERS} others.
        """
        if node_id not in self._peers and len(self._peers) >= MAX_STATIC_PEERS:
            return False
        self._peers.setdefault(node_id, StaticPeer(node_id, near, due=now))
        return True

    def remove(self, node_id: bytes) -> bool:
        """Want it no longer.  @return: whether it was wanted."""
        return self._peers.pop(node_id, None) is not None

    def get(self, node_id: bytes) -> StaticPeer | None:
        """What is known of a wanted peer."""
        return self._peers.get(node_id)

    def next_calls(self, connected: Collection[bytes], now: float) -> list[bytes]:
        """Whom to call now; each counts as being called until L{failed} or L{ended}."""
        free = self.max_active - self.calling
        calls: list[bytes] = []
        for peer in sorted(self._peers.values(), key=lambda peer: peer.due):
            if len(calls) >= free or peer.due > now:
                break
            if not peer.calling and peer.node_id not in connected:
                peer.calling = True
                calls.append(peer.node_id)
        return calls

    def next_timer(self, connected: Collection[bytes]) -> float | None:
        """When L{next_calls} may have an answer, if nothing else happens before."""
        return min(
            (peer.due for peer in self._peers.values() if not peer.calling and peer.node_id not in connected),
            default=None,
        )

    def failed(self, node_id: bytes, why: str, now: float) -> StaticPeer | None:
        """A call did not become a session.  @return: the peer with its next C{due}, if it is still wanted."""
        self._found.discard(node_id)
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.calling = False
            peer.last = why
            self._wait(peer, now)
        return peer

    def connected(self, node_id: bytes) -> None:
        """There is a session now, whoever called."""
        self._found.discard(node_id)
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.calling = False

    def ended(self, node_id: bytes, lasted: float, why: str, now: float) -> StaticPeer | None:
        """A session ended after C{lasted} seconds: call again after the wait."""
        self._found.discard(node_id)
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.calling = False
            peer.last = why
            if lasted >= GOOD_SESSION:
                peer.failures = 0
            self._wait(peer, now)
        return peer

    def _wait(self, peer: StaticPeer, now: float) -> None:
        first = NEAR_BACKOFF if peer.near else FAR_BACKOFF
        wait = min(MAX_BACKOFF, first * 2 ** min(peer.failures, 16))
        peer.failures += 1
        peer.due = now + wait * (1 + JITTER * self.random())
