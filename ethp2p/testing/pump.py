"""
Two stream engines joined end to end, with their bytes chopped wherever a test wants.

    >>> pump = Pump(Connection(...), Connection(...), to_right=at(1, 40))
    >>> pump.run()
    >>> pump.right.events
    [HandshakeDone(...)]

What an engine is: C{receive_data(data)}, C{next_event()}, C{data_to_send()}; the architecture page says more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any, Protocol

import attrs

from ethp2p.errors import RemoteProtocolError


class StreamEngine(Protocol):
    """A sans-IO engine over a stream of bytes."""

    def receive_data(self, data: bytes, /) -> object:
        """Bytes came."""

    def next_event(self) -> Any:
        """What happened next, or None."""

    def data_to_send(self) -> bytes:
        """What waits to be sent, once."""


#: Cuts bytes into pieces.
Chop = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> list[bytes]:
    """In one piece."""
    return [data]


def bytewise(data: bytes) -> Iterator[bytes]:
    """Byte by byte."""
    return (data[index : index + 1] for index in range(len(data)))


def at(*positions: int) -> Chop:
    """Cut before these bytes, counted from the first that was ever sent in this direction."""
    sent = 0

    def chop(data: bytes) -> Iterator[bytes]:
        nonlocal sent
        cuts = sorted({position - sent for position in positions if sent < position < sent + len(data)})
        sent += len(data)
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            yield data[start:end]

    return chop


def randomly(seed: int) -> Chop:
    """In pieces of random length, many of them small; the same seed gives the same pieces."""
    rng = Random(seed)

    def chop(data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            end = start + rng.randint(1, rng.choice((1, 3, 17, 100, 5000)))
            yield data[start:end]
            start = end

    return chop


@attrs.define
class Side:
    """
    One of the two engines, and what became of it.
    """

    engine: Any
    #: How the bytes for it are cut.
    chop: Chop = whole
    #: Called with this side and each event; may write through the engine.
    react: Callable[[Side, Any], object] | None = None
    #: Every event so far.
    events: list[Any] = attrs.Factory(list)
    #: Every byte it sent.
    sent: bytearray = attrs.Factory(bytearray)
    #: The rule that the other side broke, when it did.
    error: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> None:
        """Give it bytes, and pull its events after each piece."""
        for piece in self.chop(data):
            self._guard(lambda piece=piece: self.engine.receive_data(piece))  # type: ignore[misc]
            self.drain()

    def drain(self) -> None:
        """Pull its events."""
        while self.error is None:
            event = self._guard(self.engine.next_event)
            if event is None:
                return
            self.events.append(event)
            if self.react is not None:
                self.react(self, event)

    def take(self) -> bytes:
        """What it sends now."""
        data = bytes(self.engine.data_to_send())
        self.sent += data
        return data

    def _guard(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RemoteProtocolError as error:
            self.error = self.error or error
            return None


class Pump:
    """
    Two engines, each other's peer.

    @ivar left: one L{Side}.
    @ivar right: the other.
    """

    def __init__(
        self, left: StreamEngine, right: StreamEngine, *, to_left: Chop = whole, to_right: Chop = whole
    ) -> None:
        """
        @param to_left: how the bytes for the left engine are cut.
        @param to_right: how the bytes for the right engine are cut.
        """
        self.left = Side(left, to_left)
        self.right = Side(right, to_right)

    def run(self, rounds: int = 1000) -> None:
        """
        Carry bytes both ways until neither side has any.  An engine that found an error is still asked for its
        last words.

        @raise RuntimeError: they still talk after C{rounds}.
        """
        for _ in range(rounds):
            self.left.drain()
            self.right.drain()
            to_right, to_left = self.left.take(), self.right.take()
            if not to_left and not to_right:
                return
            self.right.feed(to_right)
            self.left.feed(to_left)
        raise RuntimeError(f"two engines still talk after {rounds} rounds")
