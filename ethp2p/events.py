"""
What happens in a node, as frozen values, and the feed that carries them to whoever listens.

Field names follow the event schema of the documentation: never renamed, only added to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.logger import Logger

from ethp2p.errors import DisconnectReason, Offence
from ethp2p.interfaces import IEventSink


@attrs.frozen(kw_only=True)
class Peer:
    """Who an event is about."""

    #: 32 bytes.
    node_id: bytes
    inbound: bool
    #: The transport address, as C{host:port}.
    address: str
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
    #: C{ok}, C{timeout} or C{invalid}.
    result: str


@attrs.frozen(kw_only=True)
class HeadChanged:
    """Our chain has another head."""

    number: int
    hash: bytes


class Feed:
    """
    Carries events to its subscribers, at once and in order.  A subscriber that raises is logged, and the
    others still hear.
    """

    #: Most subscribers at one time: more means that somebody forgets to unsubscribe.
    MAX_SUBSCRIBERS = 64
    _log = Logger()

    def __init__(self) -> None:
        self._sinks: list[IEventSink] = []

    def subscribe(self, sink: IEventSink) -> Callable[[], None]:
        """
        Tell C{sink} of every event from now on.

        @return: call it to stop.
        @raise RuntimeError: there are L{MAX_SUBSCRIBERS} already.
        """
        if len(self._sinks) >= self.MAX_SUBSCRIBERS:
            raise RuntimeError(f"more than {self.MAX_SUBSCRIBERS} subscribers to one feed")
        self._sinks.append(sink)

        def unsubscribe() -> None:
            if sink in self._sinks:
                self._sinks.remove(sink)

        return unsubscribe

    def publish(self, event: object) -> None:
        """Tell everybody."""
        for sink in tuple(self._sinks):
            try:
                sink.eventHappened(event)
            except Exception:  # noqa: BLE001  one deaf listener must not stop the node
                self._log.failure("event sink failed on {event}", event=type(event).__name__)
