"""
A household whose store does not work: a disk that is full or may not be written, a server that is not there.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from unittest import SkipTest

from twisted.internet.defer import Deferred

from ethp2p.peers import Policy
from ethp2p.peers.keeping import FLUSH
from ethp2p.peers.postgres import PostgresPeerStore
from ethp2p.peers.store import SqlitePeerStore
from tests.peers import test_postgres
from tests.peers.toy_wire import Home, ToyTestCase


class DiskTests(ToyTestCase):
    """A real file that cannot be written."""

    def test_full_disk(self) -> None:
        """A disk that is full, and has room again."""
        path = self.mktemp()
        store = SqlitePeerStore(path)
        one = self.home(1, store=store)
        database = store._db
        assert isinstance(database, sqlite3.Connection)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        number, kept = 0, True
        while kept:
            number += 1
            _, kept = self.successResultOf(one.household.ban(f"192.0.{number >> 8}.{number & 255}", None, "x" * 200))
            self.assertLess(number, 500)
        self.network.advance(60.0)
        told = [line for line in self.log if "not kept" in line]
        self.assertEqual(len(told), 1, told)
        self.assertIn("database or disk is full", told[0])
        self.assertEqual(one.household.keeper.trouble, told[0].partition("without: ")[2])
        database.execute("PRAGMA max_page_count = 1000000")
        self.network.advance(2 * FLUSH)
        self.assertEqual(one.household.keeper.trouble, "")
        self.stop(one)
        one = self.home(1, host=one.host, store=SqlitePeerStore(path))
        self.assertEqual(len(one.household.books.bans), number)

    def test_read_only(self) -> None:
        """A file that may not be written any more, as when its file system is mounted anew after an error."""
        store = SqlitePeerStore(self.mktemp())
        one = self.home(1, store=store)
        database = store._db
        assert isinstance(database, sqlite3.Connection)
        database.execute("PRAGMA query_only = ON")
        self.assertFalse(self.successResultOf(one.household.ban("192.0.2.1", None, ""))[1])
        self.network.advance(60.0)
        self.assertEqual(len([line for line in self.log if "attempt to write a readonly database" in line]), 1)
        self.assertTrue(one.household.running)
        database.execute("PRAGMA query_only = OFF")
        self.network.advance(2 * FLUSH)
        self.assertEqual(one.household.keeper.trouble, "")
        self.assertEqual(len(self.successResultOf(store.loadBans())), 1)

    def test_no_directory(self) -> None:
        """A place where no file can be made; and then it can."""
        directory = Path(self.mktemp())
        one = self.home(1, store=SqlitePeerStore(directory / "peers.sqlite"))
        one.household.ban("192.0.2.1", None, "")
        self.network.advance(30.0)
        self.assertEqual(len([line for line in self.log if "is not a directory" in line]), 1)
        directory.mkdir()
        self.network.advance(2 * FLUSH)
        self.assertEqual(one.household.keeper.trouble, "")
        self.stop(one)
        one = self.home(1, host=one.host, store=SqlitePeerStore(directory / "peers.sqlite"))
        self.assertEqual(len(one.household.books.bans), 1)


class ServerTests(test_postgres.Base, ToyTestCase):
    """A real server that comes and goes."""

    def setUp(self) -> None:
        ToyTestCase.setUp(self)
        test_postgres.Base.setUp(self)
        server = test_postgres.server()
        if server is None:
            raise SkipTest("POSTGRESQL THAT GOES AND COMES NOT TESTED: no server of our own to stop")
        self.server = server
        self.addCleanup(self.up)

    def up(self) -> None:
        if self.server._process is None:
            self.server.start()
            self.outside = self.psycopg.connect(self.server.dsn, autocommit=True)

    def pass_(self, seconds: float) -> None:
        """Let time pass, on the network and in the store's thread."""
        for _ in range(round(seconds / FLUSH)):
            self.network.advance(FLUSH)
            flushed: Deferred[bool] = self.homes[-1].household.keeper.flush()
            self.threads.wait(flushed)

    def start(self) -> Home:
        store = PostgresPeerStore(self.dsn, self.threads)
        host = self.network.hosts.get("10.0.0.1") or self.network.host("10.0.0.1")
        self.homes = [Home(host, 1, Policy(), store=store)]
        self.homes[-1].household.startService()
        return self.homes[-1]

    def end(self, home: Home) -> None:
        stopped = home.household.stopService()
        self.network.advance(1.0)  # for its peers to go
        self.threads.wait(stopped)
        home.wheel.stop()

    def test_not_there(self) -> None:
        """Down at the start, there later, gone again: one line for each, and nothing that was decided is lost."""
        self.server.stop()
        one, two = self.start(), self.home(2)
        verb = one.household.ban("192.0.2.1", None, "while it was down")
        self.threads.wait(verb)
        self.assertFalse(self.successResultOf(verb)[1])
        self.meet(one, two)
        self.pass_(4 * FLUSH)
        self.assertIn("cannot be opened", one.household.keeper.trouble)
        self.assertEqual(len([line for line in self.log if "not kept" in line]), 1)
        self.up()
        self.pass_(FLUSH)
        self.assertEqual((one.household.keeper.trouble, self.log[-1]), ("", "peers and bans are kept again"))
        self.server.stop()
        one.household.ban("192.0.2.2", None, "while it was gone")
        one.household.addPeer(two.node)
        self.pass_(3 * FLUSH)
        self.assertEqual(len([line for line in self.log if "not kept" in line]), 2)
        self.up()
        self.pass_(FLUSH)
        self.end(one)
        one = self.start()
        self.pass_(FLUSH)
        self.assertEqual({ban.subject for ban in one.household.books.bans}, {"192.0.2.1", "192.0.2.2"})
        self.assertEqual(one.household.roster.static, {two.node.node_id})
        self.end(one)
