"""
The node database by the clock.
"""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery import database as database_module
from ethp2p.discovery import keeping as module
from ethp2p.discovery.database import NodeDatabase
from ethp2p.discovery.keeping import EXPIRE_INTERVAL, FLUSH_INTERVAL, Keeper
from ethp2p.limits import LEAST_DELAY, SteadyClock
from tests.discovery.support import node

DAY = 24 * 3600.0


class KeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = NodeDatabase(None)
        self.addCleanup(self.database.close)
        self.keeper = Keeper(self.database, SteadyClock(self.clock), lambda: 1e9 + self.clock.seconds())
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def log(self, event: dict[str, object]) -> None:
        if event.get("log_namespace") == "ethp2p.discovery.keeping.Keeper":
            self.assertIn(event["log_level"], (LogLevel.warn, LogLevel.info))
            self.logged.append(str(event["log_format"]).format(**event))

    def test_written_within_the_interval(self) -> None:
        """What a kill can cost is the last second; what was promised is five."""
        self.assertLess(2 * FLUSH_INTERVAL, 5)
        self.keeper.start()
        for tick in range(30):
            self.database.ponged(node(1 + tick), "v4", 1e9 + self.clock.seconds())
            self.clock.advance(0.1)
            held = self.database._db.execute("SELECT count(*) FROM nodes").fetchone()[0]
            self.assertGreaterEqual(held, tick - 10)
        self.keeper.stop()
        self.assertEqual(self.database._db.execute("SELECT count(*) FROM nodes").fetchone()[0], 30)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_expires(self) -> None:
        """At the start and each hour, in parts."""
        self.patch(database_module, "MAX_EXPIRED", 2)
        self.patch(module, "MAX_EXPIRED", 2)
        for number in range(1, 6):
            self.database.seen(node(number), 1e9 - 2 * DAY)
        self.database.seen(node(6), 1e9 - DAY + 1800)
        self.keeper.start()
        held = []
        for _ in range(4):
            self.clock.advance(FLUSH_INTERVAL)
            held.append(len(self.database))
        self.assertEqual(held, [4, 2, 1, 1])
        self.clock.pump([1.0] * int(EXPIRE_INTERVAL))
        self.assertEqual(len(self.database), 0)
        self.keeper.stop()

    def test_fails_and_works_again(self) -> None:
        """Both are told once."""
        self.keeper.start()
        self.database._db.execute("PRAGMA query_only = ON")
        self.database.ponged(node(1), "v4", 1e9)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.keeper.seeds("v4", Random(1)), [])
        self.assertIn("readonly", self.keeper.failure or "")
        self.database._db.execute("PRAGMA query_only = OFF")
        self.clock.pump([1.0] * 5)
        self.assertIsNone(self.keeper.failure)
        self.assertEqual(self.keeper.seeds("v4", Random(1)), [node(1)])
        self.keeper.stop()
        self.assertEqual(len(self.logged), 2)

    def test_damage_is_told(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"junk" * 1000)
        self.keeper = Keeper(NodeDatabase(path), SteadyClock(self.clock), lambda: 1e9)
        self.keeper.start()
        self.keeper.stop()
        self.keeper.database.close()
        self.assertEqual(
            self.logged, [f"the node database was damaged: it is {path}.damaged now, and a new one is begun"]
        )


class SteadyTests(SynchronousTestCase):
    def test_never_back(self) -> None:
        clock = Clock()
        clock.rightNow = 1000.0
        steady = SteadyClock(clock)
        clock.advance(5)
        self.assertEqual(steady.seconds(), 5.0)
        clock.rightNow = 10.0
        self.assertEqual(steady.seconds(), 5.0)
        clock.advance(1)
        self.assertEqual(steady.seconds(), 6.0)

    def test_delays(self) -> None:
        """No delay is so short that time does not pass."""
        clock = Clock()
        steady = SteadyClock(clock)
        called: list[int] = []
        steady.callLater(-5, called.append, 1)
        steady.callAt(0.0, called.append, 2)
        steady.callAt(3.0, called.append, 3)
        self.assertEqual([call.getTime() for call in clock.getDelayedCalls()], [LEAST_DELAY, LEAST_DELAY, 3.0])
        clock.advance(3)
        self.assertEqual(called, [1, 2, 3])
