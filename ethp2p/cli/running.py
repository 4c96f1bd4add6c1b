"""
Work that takes a reactor and a while: how it is begun, shown and broken off.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from ethp2p.errors import P2PError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

T = TypeVar("T")

#: Seconds between two changes of the line that shows how far it is.
SHOW_INTERVAL = 0.2
#: Characters of a bar.
BAR = 20


class NotReached(P2PError):
    """No node answers there.  The exit status is its own, so that a script knows this from an answer it dislikes."""


def wall() -> float:
    """Unix time in seconds."""
    return time.time()


def with_reactor(function: Callable[[Any], Deferred[T]]) -> T:
    """
    Run the global reactor until the Deferred has fired.  When the program is told to end before, the Deferred is
    cancelled, and what it does then is waited for.

    @return: its result.
    @raise KeyboardInterrupt: told to end.
    @raise Exception: its error.
    """
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted.python.failure import Failure

    outcome: list[Any] = []
    interrupted: list[Deferred[None]] = []

    def main(reactor: Any) -> Deferred[None]:
        work = function(reactor)

        def stop() -> Deferred[None] | None:
            if outcome:
                return None
            interrupted.append(Deferred())
            work.cancel()
            return interrupted[0]

        def over(result: Any) -> None:
            outcome.append(result)
            for waiting in interrupted:
                waiting.callback(None)

        reactor.addSystemEventTrigger("before", "shutdown", stop)
        return work.addBoth(over)

    try:
        react(main)
    except SystemExit:
        if interrupted or not outcome:
            raise KeyboardInterrupt from None
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


def bar(done: int, total: int) -> str:
    """How much is done: C{[#####...............] 5/20}."""
    filled = BAR * done // total if total else 0
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}"


class Progress:
    """
    A line on a terminal that is written over; elsewhere there is none.
    """

    def __init__(self, stream: TextIO, seconds: Callable[[], float] = time.monotonic) -> None:
        """@param seconds: tells the time: the line changes no more often than people can read."""
        self._stream = stream if stream.isatty() else None
        self._seconds = seconds
        self._next: float | None = None

    def show(self, line: str) -> None:
        """Show this now."""
        now = self._seconds()
        if self._stream is None or (self._next is not None and now < self._next):
            return
        self._next = now + SHOW_INTERVAL
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r{line[:width]}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away, for what comes after."""
        if self._stream is not None and self._next is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._next = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()
