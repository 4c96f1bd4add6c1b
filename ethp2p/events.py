"""
What happens in a node, as frozen values, and the feed that carries them to whoever listens.

Classes and their fields are never renamed, only added to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ethp2p.errors import DisconnectReason, LocalProtocolError, Offence
from ethp2p.interfaces import IEventSink


@attrs.frozen(kw_only=True)
class Peer:
    """Who an event is about."""

    #: 32 bytes.
    node_id: bytes
    inbound: bool
    #: The transport address, as C{host:port}.
    address: str
    #: Our end of the connection, likewise.
    local: str = ""
    #: Client name and capabilities (C{eth/69}) from Hello; empty before it.
    client: str = ""
    capabilities: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class DialFailed:
    """An outgoing connection did not become a session."""

    node_id: bytes
    address: str
    #: What went wrong, in words.
    reason: str
    #: How many times in a row it failed.
    attempt: int
    #: Seconds until the next try; None when there will be none, unless discovery finds the node again.
    retry_in: float | None


@attrs.frozen(kw_only=True)
class PeerAdded:
    """A peer passed both checkpoints."""

    peer: Peer
    #: The capabilities both sides share, as C{eth/69}.
    shared: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PeerStatus:
    """A peer's view of its chain was received and agrees with ours."""

    peer: Peer
    protocol: str
    #: Fields of the Status message.
    status: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class PeerDropped:
    """A session is over, or was refused before it was one."""

    peer: Peer
    #: Whether L{PeerAdded} was told before.
    added: bool
    by_us: bool
    reason: DisconnectReason | None
    #: The rule or the network error behind it, in words.
    detail: str
    #: Seconds from the cryptographic handshake to the end.
    duration: float


@attrs.frozen(kw_only=True)
class OffenceBooked:
    """A peer did something wrong."""

    peer: Peer
    offence: Offence
    #: What message, which rule.
    evidence: str


@attrs.frozen(kw_only=True)
class RequestDone:
    """A peer answered a request of ours, and the answer was checked."""

    peer: Peer
    #: The message asked with, e.g. C{GetBlockHeaders}.
    message: str
    items: int
    #: Size of the answer, decompressed.
    size: int
    #: Seconds from asking to answer.
    rtt: float
    #: C{ok}, C{timeout}, C{too_large} or C{invalid}.
    result: str


@attrs.frozen(kw_only=True)
class HeadChanged:
    """Our chain has another head."""

    number: int
    hash: bytes


@attrs.frozen(kw_only=True)
class DialProgress:
    """A call has come one stage further."""

    node_id: bytes
    address: str
    #: Whether it is one of theirs.
    inbound: bool
    #: C{tcp}, C{auth}, C{hello}, C{status} or C{minute}, as L{ethp2p.peers.journeys.Stage} names them.
    stage: str


@attrs.frozen(kw_only=True)
class Refused:
    """A checkpoint, or the door before it, let somebody not in."""

    #: C{host:port}.
    address: str
    #: 32 bytes; None at the door, where nobody has proven who they are.
    node_id: bytes | None
    inbound: bool
    #: The rule, as L{ethp2p.peers.admission.Rule} names it.
    rule: str
    #: The same in words.
    detail: str


@attrs.frozen(kw_only=True)
class ScoreChanged:
    """A peer's reputation has changed."""

    node_id: bytes
    #: The offence or merit, in lower case.
    what: str
    delta: float
    #: Afterwards, from 0 to 100.
    score: float
    #: What message, which rule.
    evidence: str
    #: What follows: C{none}, C{disconnect} or C{ban}.
    action: str
    #: Whether it does not follow, because nothing but watching is wanted.
    dry_run: bool


@attrs.frozen(kw_only=True)
class BanAdded:
    """A node, an address or a network may not come in any more."""

    #: C{node}, C{ip} or C{subnet}.
    scope: str
    subject: str
    #: Unix time of its end; None when it has none.
    until: int | None
    reason: str
    #: Who decided: C{operator} or C{reputation}.
    by: str


@attrs.frozen(kw_only=True)
class BanRemoved:
    """A ban is over."""

    scope: str
    subject: str
    #: C{expired}, C{lifted}, or C{displaced} by another when there were too many.
    why: str


@attrs.frozen(kw_only=True)
class PolicyChanged:
    """The operator has changed settings while the node runs."""

    #: Names of the options that have other values now.
    names: tuple[str, ...]


@implementer(IEventSink)
class Subscription:
    """
    What a reader has not read yet, such as a WebSocket.  When it is too slow, the oldest is lost and counted.
    """

    unsubscribe: Callable[[], None]

    def __init__(self, cap: int, kinds: tuple[type, ...]) -> None:
        self._waiting: deque[object] = deque(maxlen=cap)
        self._kinds = kinds
        self._lost = 0
        self._some: Deferred[None] | None = None
        #: How many were lost since the beginning.
        self.lost = 0

    def eventHappened(self, event: object) -> None:
        """See L{IEventSink}."""
        if self._kinds and not isinstance(event, self._kinds):
            return
        if len(self._waiting) == self._waiting.maxlen:
            self._lost += 1
            self.lost += 1
        self._waiting.append(event)
        if self._some is not None:
            some, self._some = self._some, None
            some.callback(None)

    def take(self) -> tuple[list[object], int]:
        """All that waits, oldest first, and how many before them were lost since the last time."""
        events, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._lost = 0
        return events, lost

    def whenSome(self) -> Deferred[None]:
        """Fires when L{take} has something.  One may wait at a time; cancel it to wait no more."""
        if self._waiting:
            return succeed(None)
        if self._some is not None:
            raise LocalProtocolError("somebody waits for these events already")

        def cancelled(_: object) -> None:
            self._some = None

        self._some = Deferred(cancelled)
        return self._some

    def close(self) -> None:
        """Hear no more."""
        self.unsubscribe()
        self._waiting.clear()
        if self._some is not None:
            self._some.cancel()


@attrs.define(eq=False)
class _Place:
    """A subscriber's; None in it once it has left."""

    sink: IEventSink | None


class Feed:
    """
    Carries events to its subscribers, at once and in order: what one of them causes by what it hears is told when
    all have heard that.  A subscriber that raises is logged, and the others still hear.
    """

    #: Most subscribers at one time: more means that somebody forgets to unsubscribe.
    MAX_SUBSCRIBERS = 64
    #: Most events that subscribers cause by hearing one, and one another: more means that they go round in circles.
    MAX_CAUSED = 1 << 16
    _log = Logger()

    def __init__(self) -> None:
        self._sinks: list[_Place] = []
        #: Events that wait until the one being told is told; None when none is.
        self._waiting: deque[object] | None = None
        self._caused = 0

    def subscribe(self, sink: IEventSink) -> Callable[[], None]:
        """
        Tell C{sink} of every event from now on.

        @return: call it to stop.
        @raise RuntimeError: there are L{MAX_SUBSCRIBERS} already.
        """
        if len(self._sinks) >= self.MAX_SUBSCRIBERS:
            raise RuntimeError(f"more than {self.MAX_SUBSCRIBERS} subscribers to one feed")
        place = _Place(sink)
        self._sinks.append(place)

        def unsubscribe() -> None:
            place.sink = None
            if place in self._sinks:
                self._sinks.remove(place)

        return unsubscribe

    def queue(self, cap: int, *kinds: type) -> Subscription:
        """
        Keep events for a reader that takes them when it can.

        @param cap: how many to keep.
        @param kinds: of these classes only; of all, by default.
        @raise RuntimeError: there are L{MAX_SUBSCRIBERS} already.
        """
        subscription = Subscription(cap, kinds)
        subscription.unsubscribe = self.subscribe(subscription)
        return subscription

    def publish(self, event: object) -> None:
        """
        Tell everybody.

        @raise RuntimeError: a subscriber causes it by what it hears, and L{MAX_CAUSED} were caused so already.
        """
        if self._waiting is not None:
            if self._caused >= self.MAX_CAUSED:
                raise RuntimeError(f"{self.MAX_CAUSED} events were caused by hearing one")
            self._caused += 1
            self._waiting.append(event)
            return
        self._waiting, self._caused = deque([event]), 0
        try:
            while self._waiting:
                self._tell(self._waiting.popleft())
        finally:
            self._waiting = None

    def _tell(self, event: object) -> None:
        for place in tuple(self._sinks):
            try:
                if place.sink is not None:  # one who heard before may have unsubscribed it
                    place.sink.eventHappened(event)
            except Exception:  # noqa: BLE001  one deaf listener must not stop the node
                self._log.failure("event sink failed on {event}", event=type(event).__name__)
