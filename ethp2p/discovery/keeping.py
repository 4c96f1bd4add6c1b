"""
The node database by the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.logger import Logger

from ethp2p.discovery.database import MAX_EXPIRED, DatabaseFailed, NodeDatabase
from ethp2p.enode import Node
from ethp2p.limits import SteadyClock

#: Seconds between two writes: what is lost when the process is killed.
FLUSH_INTERVAL = 1.0
#: Seconds between two searches for what is too old.
EXPIRE_INTERVAL = 3600.0


class Keeper:
    """
    Writes what is gathered, and forgets what is old.  A database that fails is told of once, and again when it works:
    discovery goes on without it.

    @ivar failure: why it does not work at present, or None.
    """

    _log = Logger()

    def __init__(self, database: NodeDatabase, clock: SteadyClock, wall: Callable[[], float]) -> None:
        """@param wall: gives Unix time."""
        self.database = database
        self.failure: str | None = None
        self._clock = clock
        self._wall = wall
        self._timer: Any = None
        self._expireAt = 0.0

    def start(self) -> None:
        """Begin."""
        damaged = self.database.damaged
        if damaged is not None:
            self._log.warn("the node database was damaged: it is {path} now, and a new one is begun", path=str(damaged))
        self._expireAt = self._clock.seconds()
        self._timer = self._clock.callLater(FLUSH_INTERVAL, self._work)

    def stop(self) -> None:
        """Write the last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._try(self.database.flush)

    def seeds(self, protocol: str | None, rng: Random) -> list[Node]:
        """Nodes to begin with; none when the database fails."""
        found: list[Node] = []
        self._try(lambda: found.extend(self.database.seeds(self._wall(), rng, protocol=protocol)))
        return found

    def _work(self) -> None:
        self._timer = self._clock.callLater(FLUSH_INTERVAL, self._work)
        if self._clock.seconds() < self._expireAt:
            self._try(self.database.flush)
        else:
            self._try(self._expire)

    def _expire(self) -> None:
        if self.database.expire(self._wall()) < MAX_EXPIRED:  # else there is more
            self._expireAt = self._clock.seconds() + EXPIRE_INTERVAL

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except DatabaseFailed as error:
            if self.failure is None:
                self._log.warn("{error}", error=str(error))
            self.failure = str(error)
        else:
            if self.failure is not None:
                self._log.info("the node database works again")
            self.failure = None
