"""
Child processes of the interop ring: read by lines, bounded in time, and never left behind.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

T = TypeVar("T")

#: Lines of output kept for waiting and for error messages.
LINES = 4000

#: Seconds between SIGTERM and SIGKILL.
GRACE = 8.0

#: Seconds from one question to the next in L{until}.
PAUSE = 0.05

#: Ports to give to peers: outside the range from which the kernel picks the ports of outgoing connections.
FIRST_PORT, LAST_PORT = 20000, 31999


class PeerFailed(Exception):
    """A child process ended, or did not do what was waited for.  The message ends with its last output."""


@attrs.frozen
class Finished:
    """A child process that ran to its end."""

    code: int | None
    output: str

    @property
    def tap(self) -> dict[str, bool]:
        """Its verdicts, where its output is in TAP: the name of each test, and whether it passed."""
        verdicts = re.findall(r"^(not ok|ok) \d+ (?:- )?(.*?)\s*$", self.output, re.MULTILINE)
        return {name: word == "ok" for word, name in verdicts}


class Child(ProcessProtocol):
    """
    A running child process.  What it prints, on either stream, is kept as lines.
    """

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str] = {}) -> None:
        self.name = Path(argv[0]).name
        self.lines: deque[str] = deque(maxlen=LINES)
        self._unread: deque[str] = deque(maxlen=LINES)
        self._partial = {1: b"", 2: b""}
        self._waiting: list[tuple[Callable[[str], Any], Deferred[Any]]] = []
        self._ended: list[Deferred[None]] = []
        #: How it ended: its exit status, or the signal that killed it as a negative number.
        self.code: int | None = None
        self.running = True
        folder.mkdir(parents=True, exist_ok=True)
        reactor.spawnProcess(self, argv[0], argv, env={**os.environ, **environment}, path=str(folder))

    def childDataReceived(self, fd: int, data: bytes) -> None:
        *lines, self._partial[fd] = (self._partial[fd] + data).split(b"\n")
        for line in lines:
            self._lineReceived(line.decode("utf-8", "replace").rstrip("\r"))

    def processEnded(self, reason: Failure) -> None:
        for rest in self._partial.values():
            if rest:
                self._lineReceived(rest.decode("utf-8", "replace"))
        self.running = False
        self.code = -reason.value.signal if reason.value.signal else reason.value.exitCode
        waiting, self._waiting = self._waiting, []
        for _, waiter in waiting:
            waiter.errback(self.failure(f"ended with {self.code}"))
        ended, self._ended = self._ended, []
        for one in ended:
            one.callback(None)

    def _lineReceived(self, line: str) -> None:
        self.lines.append(line)
        for entry in self._waiting:
            found = entry[0](line)
            if found is not None:
                self._waiting.remove(entry)
                entry[1].callback(found)
                return
        self._unread.append(line)

    def tell(self, line: str) -> None:
        """Give it a line of input."""
        self.transport.write(line.encode() + b"\n")

    def until(self, match: Callable[[str], T | None], seconds: float) -> Deferred[T]:
        """
        Wait for a line of which C{match} makes something.  Lines that came before count, but each only once.

        @return: what C{match} made; fails with L{PeerFailed} when the process ends, or after C{seconds}.
        """
        waiter: Deferred[T] = Deferred(lambda _: self._waiting.remove((match, waiter)))
        for line in self._unread:
            found = match(line)
            if found is not None:
                self._unread.remove(line)
                waiter.callback(found)
                return waiter
        if not self.running:
            waiter.errback(self.failure(f"ended with {self.code}"))
            return waiter
        self._waiting.append((match, waiter))
        return waiter.addTimeout(seconds, reactor, lambda *_: self._late(seconds))

    def ended(self, seconds: float) -> Deferred[None]:
        """Wait for the end; fails with L{PeerFailed} after C{seconds}."""
        over: Deferred[None] = Deferred(lambda _: self._ended.remove(over))
        if not self.running:
            over.callback(None)
            return over
        self._ended.append(over)
        return over.addTimeout(seconds, reactor, lambda *_: self._late(seconds))

    def _late(self, seconds: float) -> Any:
        raise self.failure(f"was waited for in vain for {seconds:g} s")

    def failure(self, what: str) -> PeerFailed:
        """An error that says what the process did, with its last output."""
        return PeerFailed("\n   ".join([f"{self.name} {what}", *list(self.lines)[-20:]]))

    async def stop(self, kindly: bool = True) -> None:
        """End the process and return when it is gone.  Killed if not C{kindly}, or when it takes too long."""
        for signal in ("TERM", "KILL") if kindly else ("KILL",):
            if not self.running:
                return
            with suppress(ProcessExitedAlready):  # its end is on the way here
                self.transport.signalProcess(signal)
            try:
                await self.ended(GRACE)
            except PeerFailed:
                if signal == "KILL":
                    raise


async def run(argv: Sequence[str], folder: Path, seconds: float, environment: Mapping[str, str] = {}) -> Finished:
    """Run a command to its end; fails with L{PeerFailed} after C{seconds}."""
    child = Child(argv, folder, environment)
    try:
        await child.ended(seconds)
    finally:
        await child.stop()
    return Finished(child.code, "\n".join(child.lines))


async def until(condition: Callable[[], Any], seconds: float) -> Any:
    """
    Ask until the answer, or what it gives when awaited, is true; then return it.  Fails with C{AssertionError}
    after C{seconds}.
    """
    for _ in range(round(seconds / PAUSE)):
        answer = condition()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        await deferLater(reactor, PAUSE)
    raise AssertionError(f"waited in vain for {seconds:g} s")


_candidates = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, neither TCP nor UDP, and that was not given out before."""
    for number in _candidates:
        port = FIRST_PORT + number % (LAST_PORT - FIRST_PORT + 1)
        try:
            with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
    raise AssertionError("unreachable")
