"""
An attack, and what has to hold all the while.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable
from random import Random
from time import monotonic
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from ethp2p.discv4 import limits as limits4
from tests.fuzz.caps import Measure, measures, rows
from tests.fuzz.datagrams import VICTIMS, Mutator
from tests.fuzz.town import Addr, Town

#: Hostile datagrams between two looks at the maps, and at the memory.
LOOK = 500
LONG_LOOK = 20_000
#: Of so many hostile datagrams the last come all at once.
TIDE, FLOOD = 25_000, 5_000
#: Seconds that pass on average for each of the others.
PACE = 0.003
#: Bytes that memory may grow in the second half of an attack.
GROWTH = 32 << 20
#: So many datagrams are the least of which memory can be judged.
FEWEST = 100_000


class Broken(AssertionError):
    """
    Something does not hold.
    """


class Attack:
    """
    One run.

    @ivar hostile: datagrams, by what was done to them.
    @ivar honest: datagrams of peers, by kind.
    @ivar peaks: of each map, the most that was in it, and its cap.
    @ivar worst: the highest ratio there was of bytes out to bytes in, of all that have proven nothing.
    @ivar memory: MiB resident, at each look.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.hostile: Counter[str] = Counter()
        self.honest: Counter[str] = Counter()
        self.peaks: dict[str, tuple[int, int]] = {}
        self.memory: list[float] = []
        self.sent = 0
        self.worst = 0.0
        self._rng = Random(seed)
        self._in: Counter[str] = Counter()
        self._out: Counter[str] = Counter()
        self._wrong: list[str] = []  # what was seen where raising might be caught
        self._last: tuple[bytes, Addr] = b"", ("", 0)
        self._count = 0
        self._victims = {host for host, _ in VICTIMS}
        self.town = Town(Random(self._rng.random()), self._told)
        self.mutator = Mutator(Random(self._rng.random()), self.town)

    def run(
        self,
        *,
        count: int | None = None,
        seconds: float | None = None,
        progress: Callable[[Attack], object] = lambda attack: None,
    ) -> None:
        """
        Attack, until C{count} hostile datagrams were sent or C{seconds} of real time have passed.

        @param progress: called at every look.
        @raise Broken: something does not hold.  It says how to see it again.
        """
        began = monotonic()
        globalLogPublisher.addObserver(self._log)  # type: ignore[arg-type]
        try:
            while (count is None or self._count < count) and (seconds is None or monotonic() - began < seconds):
                self._step()
                if self._count % LOOK == 0:
                    self.look()
                    progress(self)
            self.look()
            self.town.stop()
            if self._wrong:
                raise Broken(self._wrong[0])
        except Exception as error:
            raise self._broken(error) from error
        finally:
            globalLogPublisher.removeObserver(self._log)  # type: ignore[arg-type]
        if self._count >= FEWEST:
            half = len(self.memory) // 2
            grown = (self.memory[-1] - self.memory[half]) * 2**20
            if grown > GROWTH:
                raise Broken(f"seed {self.seed}: memory has grown by {grown / 2**20:.0f} MiB in the second half")

    def look(self) -> None:
        """@raise Broken: a map holds more than it may."""
        looked: list[Measure] = [*measures(self.town.service)]
        if self._count % LONG_LOOK == 0:
            looked.append(rows(self.town.service))
            gc.collect()
            self.memory.append(resident())
        for name, size, cap in looked:
            self.peaks[name] = max(self.peaks.get(name, (0, 0))[0], size), cap
            if size > cap:
                raise Broken(f"{name} holds {size}, more than {cap}")

    def _step(self) -> None:
        rng, town = self._rng, self.town
        if self._count % TIDE < TIDE - FLOOD:
            town.pass_time(1800.0 if rng.random() < 1e-5 else rng.expovariate(1 / PACE))
        while town.said:
            friend, data = town.said.popleft()
            self.mutator.keep(friend, data)
            if rng.random() < 0.15:
                self._attack("worsened", self.mutator.worsen(friend, data), friend.addr)
            if rng.random() < 0.9:
                self.honest[self.mutator.kind_of(data)] += 1
                self._deliver(data, friend.addr)
        self._attack(*self.mutator.next())

    def _attack(self, kind: str, data: bytes, addr: Addr) -> None:
        self._count += 1
        self.hostile[kind] += 1
        self._deliver(data, addr)

    def _deliver(self, data: bytes, addr: Addr) -> None:
        self._last = data, addr
        if addr[0] in self._victims:
            self._in[addr[0]] += len(data)
        self.town.deliver(data, addr)
        if self._wrong:
            raise Broken(self._wrong[0])

    def _told(self, data: bytes, addr: Addr) -> None:
        self.sent += 1
        host = addr[0]
        if host in self._victims:
            self._out[host] += len(data)
            self.worst = max(self.worst, self._out[host] / (self._in[host] or 1))
            if self._out[host] > limits4.AMPLIFICATION * self._in[host]:
                said = f"{host} has sent {self._in[host]} bytes and proven nothing, and gets {self._out[host]}"
                self._wrong.append(said)

    def _log(self, event: dict[str, Any]) -> None:
        if event.get("log_failure") is not None or event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            said = failure.getTraceback() if isinstance(failure, Failure) else str(event)
            self._wrong.append(f"logged: {said}")

    def _broken(self, error: Exception) -> Broken:
        data, (host, port) = self._last
        what = error if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        return Broken(
            f"{what}\nseed {self.seed}, after {self._count} hostile datagrams; the last one came from {host} {port}:\n"
            f"{data.hex()}\nagain: python -m tests.fuzz --seed {self.seed} --count {self._count}"
        )


def resident() -> float:
    """MiB of this process in memory, now; 0.0 where that cannot be told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0
