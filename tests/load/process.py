"""
Processes that are asked questions: a line of JSON each, answered by one.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from threading import Timer
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.logger import LogLevel, globalLogPublisher
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

ROOT = Path(__file__).resolve().parent.parent.parent
#: Most errors of a process that are printed in full.
MAX_PRINTED = 3

Answer = Callable[..., Awaitable[object]]


class WorkerFailed(Exception):
    """A process ended, or answered with an error; more is on stderr."""


class Worker:
    """
    A process, as the one sees it that asks.  To be used in C{with}.
    """

    def __init__(self, module: str, limit: float) -> None:
        """
        @param module: a program that calls L{serve}.
        @param limit: seconds that it may live.
        """
        argv = [sys.executable, "-m", module]
        self._module = module
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, bufsize=1
        )
        self._watch = Timer(limit, self._process.kill)
        self._watch.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._process.kill()
        self._process.communicate()

    def tell(self, what: str, **values: Any) -> None:
        """Ask, and L{hear} the answer later."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, values]) + "\n")

    def hear(self) -> Any:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self._module} ended with {self._process.wait()}")
        answer, wrong = json.loads(line)
        if wrong:
            raise WorkerFailed(f"{self._module}: {wrong}")
        return answer

    def ask(self, what: str, **values: Any) -> Any:
        """Ask, and wait for the answer."""
        self.tell(what, **values)
        return self.hear()


class _Desk(LineReceiver):
    """The asked one's side."""

    delimiter = b"\n"

    def __init__(self, answers: Mapping[str, Answer], over: Deferred[None]) -> None:
        self._answers = answers
        self._over = over
        self._turn: Deferred[Any] = succeed(None)  # one question after the other

    def lineReceived(self, line: bytes) -> None:
        what, values = json.loads(line)

        def answer(_: object) -> Deferred[object]:
            return Deferred.fromCoroutine(_awaited(self._answers[what](**values)))

        self._turn.addCallback(answer).addCallbacks(self._say, self._sayWrong)

    def _say(self, answer: object) -> None:
        self.sendLine(json.dumps([answer, ""]).encode())

    def _sayWrong(self, failure: Failure) -> None:
        failure.printTraceback()
        self.sendLine(json.dumps([None, failure.getErrorMessage() or failure.type.__name__]).encode())

    def connectionLost(self, reason: object = None) -> None:
        self._over.callback(None)


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer


class Trouble:
    """Keeps what is logged as an error, and prints the first of it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event: Mapping[str, Any]) -> None:
        if event["log_level"] < LogLevel.error:
            return
        failure = event.get("log_failure")
        self.words.append("an error was logged" if failure is None else failure.getErrorMessage())
        if len(self.words) <= MAX_PRINTED:
            print(self.words[-1] if failure is None else failure.getTraceback(), file=sys.stderr)


def serve(answers: Callable[[Any], Mapping[str, Answer]]) -> None:
    """
    Answer questions on standard input until it ends.

    @param answers: given the reactor, what is asked and who answers.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def begin(reactor: Any) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        StandardIO(_Desk(answers(reactor), over), reactor=reactor)
        return over

    react(begin)


def cpu() -> float:
    """Seconds that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def starved() -> float:
    """Seconds that this process had work and no core, because others used them; 0 where Linux does not tell."""
    told = Path("/proc/self/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def resident() -> int:
    """Resident memory of this process in KiB, after letting go of what can be let go."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
