"""
kill -9, at any moment, with bans and peers changing.

Run as a program, with the path of a store, a household on it goes on changing until it is killed.  For each line on
standard input it makes another writer: a copy of itself, since to start an interpreter takes longer than all the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.enode import Node
from ethp2p.events import Feed
from ethp2p.limits import WheelTimer
from ethp2p.peers import Household, Policy
from ethp2p.peers.bans import OPERATOR, REPUTATION, Ban, Scope
from ethp2p.peers.store import IPeerStore, KnownPeer, MemoryPeerStore, SqlitePeerStore
from tests.spawn import ROOT

#: How often it is killed.
TIMES = 50


#: Whom a household bans, trusts and wants.
NODES = [
    Node(PrivateKey.parse(number.to_bytes(32, "big")).public_key, f"10.0.0.{number}", 7) for number in range(1, 41)
]


def change(store: Any, number: int) -> Any:
    """Change C{number} of a store: always the same, so that whoever knows how many were made knows all there is."""
    rng = Random(number)
    subject = rng.randrange(40).to_bytes(32)
    if rng.random() < 0.4:
        until, by = rng.choice([None, number + 10]), rng.choice([OPERATOR, REPUTATION])
        return store.saveBan(Ban(Scope.NODE, subject.hex(), number, until, f"change {number}", by))
    if rng.random() < 0.3:
        return store.removeBan(Scope.NODE, subject.hex())
    if rng.random() < 0.2:
        return store.removePeer(subject)
    return store.savePeers(
        [
            KnownPeer(
                node_id=rng.randrange(100).to_bytes(32),
                url=f"enode://{number}",
                score=rng.random() * 100,
                last_success=number,
                static=rng.random() < 0.1,
                client=f"change {number}",
            )
            for _ in range(1 + rng.randrange(8))
        ]
    )


class House:
    """A household that runs, and meets nobody."""

    def __init__(self, store: IPeerStore) -> None:
        self.wall = 0
        clock = Clock()
        self.household = Household(
            bytes(32),
            Policy(),
            Feed(),
            WheelTimer(clock),
            clock=clock,
            wall=lambda: self.wall,
            random=lambda: 0.0,
            store=store,
        )
        self.household.open([], Factory(), lambda node, connected: Deferred())
        self.household.startService()

    def decide(self, number: int) -> Any:
        """What its operator does as C{number}: always the same, as L{change}."""
        rng, household = Random(number), self.household
        node, self.wall = rng.choice(NODES), number
        what = rng.random()
        if what < 0.3:
            subject = rng.choice([node.url, node.host, f"10.0.{rng.randrange(9)}.0/24"])
            return household.ban(subject, rng.choice([None, 10_000]), f"change {number}")
        if what < 0.45:
            return household.unban(rng.choice([node.url, node.host]))
        if what < 0.6:
            return household.trust(node, rng.random() < 0.5)
        return household.addPeer(node) if what < 0.85 else household.removePeer(node)

    def books(self) -> tuple[set[Ban], set[bytes], set[bytes]]:
        """Whom it bans, trusts and wants."""
        roster = self.household.roster
        return set(self.household.books.bans), roster.trusted, roster.static


class Writers:
    """Copies of one process, one after the other, each killed while it writes."""

    def __init__(self, module: str, where: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )

    def kill(self, begin: int, patience: int) -> int:
        """
        Let one write, and kill it after so many changes.

        @return: the last change that was acknowledged.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % begin)
        self._process.stdin.flush()
        written, pid = begin - 1, None
        while (line := self._process.stdout.readline()) != b"dead\n":
            if not line:
                raise AssertionError("the writer died by itself")
            if line.startswith(b"pid"):
                pid = int(line[3:])
            else:
                written = int(line)
                patience -= 1
            if pid is not None and patience <= 0:
                # Mostly in the midst of something: it goes on while we count.
                os.kill(pid, signal.SIGKILL)
                pid = None
        return written

    def close(self) -> None:
        """End all of it."""
        self._process.kill()
        self._process.communicate()


def write(make: Callable[[str], Iterator[Any]], change: Callable[[Any, int], Any] = change) -> None:
    """
    Lines in: where to begin.  Lines out: the writer's process id, then the changes acknowledged; C{dead} at its end.

    @param make: gives an open store, or what is on one, for where it is, and then runs until each change is done.
    @param change: makes a change.
    """
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            steps = make(sys.argv[1])
            store = next(steps)
            for number in count(int(line)):
                done = change(store, number)
                done.addCallback(lambda _, number=number: os.write(1, b"%d\n" % number))
                done.addErrback(lambda why: os._exit(1))
                next(steps)
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


def house(path: str) -> Iterator[House]:
    """One on a file; its changes are done when they return."""
    house = House(SqlitePeerStore(path))
    while True:
        yield house


@skipUnless(hasattr(os, "fork"), "the writer forks")
class KilledTests(SynchronousTestCase):
    def test_nothing_acknowledged_is_lost(self) -> None:
        """Each time a household finds again what it decided last, or what it was about to acknowledge."""
        path = Path(self.mktemp()).absolute()
        writers = Writers("tests.peers.test_store_killed", str(path))
        self.addCleanup(writers.close)
        rng, model, begin = Random(1), House(MemoryPeerStore()), 1
        for _ in range(TIMES):
            written = writers.kill(begin, rng.randrange(1, 40))
            for number in range(begin, written + 1):
                model.decide(number)
            begin = written + 1
            found = House(SqlitePeerStore(path))
            self.assertEqual(found.household.keeper.trouble, "")
            if found.books() != model.books():
                model.decide(begin)  # it was killed between writing and saying so
                self.assertEqual(found.books(), model.books())
                begin += 1
            self.successResultOf(found.household.stopService())
        self.assertGreater(begin, TIMES * 10)
        self.assertEqual([len(each) > 5 for each in model.books()], [True, True, True])


if __name__ == "__main__":
    write(house, House.decide)
