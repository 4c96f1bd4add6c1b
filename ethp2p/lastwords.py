"""
How a program that cannot go on leaves: with one line on stderr and exit status 1, under twistd too.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

_log = Logger()


def say(message: str) -> None:
    """
    One line on the real stderr, which C{sys.stderr} is no longer once twistd has begun to log.
    """
    print("ethp2p:", " ".join(message.split()), file=sys.__stderr__, flush=True)


def dieWith(reactor: Any, message: str) -> None:
    """
    Say why, and end the program with exit status 1; see L{exitWith}.  A daemon has no stderr: its log is told.
    """
    say(message)
    if os.path.samestat(os.fstat(2), os.stat(os.devnull)):
        _log.critical("{message}", message=message)
    exitWith(reactor, 1)


def exitWith(reactor: Any, status: int) -> None:
    """
    Stop the reactor, or let it stop as soon as it starts, so that every service stops in its order; and give
    this exit status then.  May be called from anywhere, a Deferred's callback included.

    twistd has no exit status of its own to give, and swallows a C{SystemExit} while the reactor runs, as does
    a Deferred: so the status is set when the interpreter leaves.
    """
    atexit.register(_leave, status)
    reactor.callWhenRunning(_stop, reactor)


def _stop(reactor: Any) -> None:
    try:
        reactor.stop()
    except ReactorNotRunning:  # it is stopping already
        return


def _leave(status: int) -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(status)
