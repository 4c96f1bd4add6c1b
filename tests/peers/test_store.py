"""
Where bans and peers outlive the process.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.errors import ConfigError
from ethp2p.peers import store as module
from ethp2p.peers.bans import OPERATOR, REPUTATION, Ban, BanList, Scope
from ethp2p.peers.store import (
    APPLICATION,
    MAX_CAPABILITIES,
    MAX_CAPABILITY,
    MAX_CLIENT,
    MAX_URL,
    VERSION,
    IPeerStore,
    KnownPeer,
    MemoryPeerStore,
    SqlitePeerStore,
    StoreFailed,
)
from tests.spawn import ROOT

T = TypeVar("T")


#: What made the tables of the first format.
FIRST = """
CREATE TABLE ethp2p_bans (subject TEXT PRIMARY KEY, scope TEXT NOT NULL, since BIGINT NOT NULL, until BIGINT,
    reason TEXT NOT NULL, decided_by TEXT NOT NULL);
CREATE TABLE ethp2p_peers (node_id TEXT PRIMARY KEY, url TEXT NOT NULL, score DOUBLE PRECISION NOT NULL,
    last_success BIGINT NOT NULL, capabilities TEXT NOT NULL, client TEXT NOT NULL, is_static INTEGER NOT NULL,
    is_trusted INTEGER NOT NULL);
CREATE INDEX ethp2p_peers_by_use ON ethp2p_peers (last_success)
"""


def peer(number: int, **fields: Any) -> KnownPeer:
    """Peer C{number}."""
    url = f"enode://{number:0128x}@9.9.9.9:30303"
    return KnownPeer(**{"node_id": number.to_bytes(32), "url": url, "last_success": number, **fields})


def ban(number: int, until: int | None = None, by: str = OPERATOR, since: int = 100, reason: str = "spam") -> Ban:
    """A ban of node C{number}."""
    return Ban(Scope.NODE, number.to_bytes(32).hex(), since, until, reason, by)


class StoreTests:
    """
    What every store does; each is tested by a class that mixes this in.
    """

    def make(self) -> Any:
        """A store with nothing in it, opened."""
        raise NotImplementedError

    def result(self, deferred: Deferred[T]) -> T:
        """What it fires with."""
        return self.successResultOf(deferred)  # type: ignore[attr-defined,no-any-return]

    def failure(self, deferred: Deferred[Any]) -> str:
        """Why the store failed: one line."""
        words = str(self.failureResultOf(deferred, StoreFailed).value)  # type: ignore[attr-defined]
        self.assertNotIn("\n", words)
        return words

    # of trial
    assertEqual: Any
    assertNotIn: Any
    assertIn: Any
    assertTrue: Any
    patch: Any

    def bans(self, store: Any) -> list[Ban]:
        return self.result(store.loadBans())

    def peers(self, store: Any, *limit: int) -> list[KnownPeer]:
        return self.result(store.loadPeers(*limit))

    def test_interface(self) -> None:
        self.assertTrue(verifyObject(IPeerStore, self.make()))

    def test_empty(self) -> None:
        store = self.make()
        self.assertEqual((self.bans(store), self.peers(store)), ([], []))

    def test_bans(self) -> None:
        """Every kind comes back as it was, the last to make room first."""
        store = self.make()
        given = [
            Ban(Scope.SUBNET, "9.9.9.0/24", 3, None, "a 'quoted' \"reason\"; -- ?? %s %% \\ €", OPERATOR),
            Ban(Scope.IP, "2a00::1", (1 << 53) - 1, (1 << 53) - 1, "", OPERATOR),
            ban(1, None, REPUTATION, since=5),
            ban(2, None, REPUTATION, since=4),
            ban(4, 900, REPUTATION, since=3),
            ban(5, 900, REPUTATION, since=3),
            ban(3, 800, REPUTATION),
        ]
        for each in sorted(given, key=lambda each: each.subject, reverse=True):
            self.assertEqual(self.result(store.saveBan(each)), None)
        self.assertEqual(self.bans(store), given)

    def test_ban_again(self) -> None:
        """The later word counts."""
        store = self.make()
        for each in (ban(1), ban(1, 500, REPUTATION, 7, "other"), ban(1, 600)):
            self.result(store.saveBan(each))
            self.assertEqual(self.bans(store), [each])

    def test_remove_ban(self) -> None:
        store = self.make()
        for number in (1, 2):
            self.result(store.saveBan(ban(number)))
        subject = ban(1).subject
        self.result(store.removeBan(Scope.IP, subject))
        self.assertEqual(len(self.bans(store)), 2)
        for _ in range(2):
            self.result(store.removeBan(Scope.NODE, subject))
            self.assertEqual(self.bans(store), [ban(2)])

    def test_most_bans(self) -> None:
        """The same make room as in the list."""
        self.patch(module, "MAX_BANS", 5)
        store = self.make()
        for number, until, by in [
            (1, None, OPERATOR),
            (2, 300, REPUTATION),
            (3, 200, OPERATOR),
            (4, None, REPUTATION),
            (5, 400, REPUTATION),
            (6, 500, REPUTATION),
            (7, 250, OPERATOR),
        ]:
            self.result(store.saveBan(ban(number, until, by)))
        self.assertEqual([each.subject[-1] for each in self.bans(store)], ["1", "7", "3", "4", "6"])

    def test_peers(self) -> None:
        """All that is known comes back."""
        store = self.make()
        given = [
            peer(1, score=0.1 + 0.2, static=True),
            peer(2, score=100.0, last_success=(1 << 53) - 1, capabilities=("eth/69", "snap/1"), client="Geth/v1"),
            peer(3, score=0.0, last_success=0, capabilities=('"', "a,b", ""), client="'; DROP TABLE x; -- €🦄 ?%s"),
        ]
        self.result(store.savePeers(given))
        self.assertEqual(self.peers(store), given)
        self.result(store.savePeers([]))
        self.assertEqual(self.peers(store), given)

    def test_strangers_words(self) -> None:
        """What no database would take, and no terminal should."""
        store = self.make()
        odd = peer(1, client="a\x00b\ud800\x1b[2J\n", capabilities=("\x00/1",))
        self.assertEqual((odd.client, odd.capabilities), ("a?b??[2J?", ("?/1",)))
        self.result(store.savePeers([odd]))
        self.assertEqual(self.peers(store), [odd])

    def test_update(self) -> None:
        """Each field as it was said last, also within one call."""
        store = self.make()
        first, last = peer(1, static=True, client="x"), peer(1, trusted=True, score=3.0, url="enr:-abc", last_success=9)
        self.result(store.savePeers([first, peer(2)]))
        self.result(store.savePeers([first, last]))
        self.assertEqual(self.peers(store), [last, peer(2)])

    def test_of_use(self) -> None:
        """That a peer was of use, and when, stands whatever else is said of it later."""
        store = self.make()
        good, later = peer(1, reached=True, last_success=9), peer(1, last_success=0, score=3.0, client="x")
        for one, other in ((good, later), (later, good)):
            for each in (one, other, later):
                self.result(store.savePeers([each]))
            self.assertEqual(self.peers(store), [attrs.evolve(later, reached=True, last_success=9)])

    def test_order(self) -> None:
        """The pinned ones, then those we reached, then who was of use most lately, then who is thought best of."""
        store = self.make()
        given = [
            peer(5, static=True, trusted=True),
            peer(2, static=True),
            peer(1, trusted=True),
            peer(8, last_success=2, reached=True),
            peer(9),
            peer(3, score=60.0, last_success=8),
            peer(4, score=50.0, last_success=8),
            peer(6, score=50.0, last_success=8),
            peer(7, last_success=0),
        ]
        self.result(store.savePeers(Random(1).sample(given, len(given))))
        self.assertEqual(self.peers(store), given)
        for limit in (0, 1, 4, 9, 1000):
            self.assertEqual(self.peers(store, limit), given[:limit])
        self.assertEqual(self.peers(store, -1), [])

    def test_remove_peer(self) -> None:
        store = self.make()
        self.result(store.savePeers([peer(1, static=True), peer(2)]))
        for _ in range(2):
            self.result(store.removePeer(peer(1).node_id))
            self.assertEqual(self.peers(store), [peer(2)])

    def test_most_peers(self) -> None:
        """Who was of use longest ago goes first; whom the operator wants stays."""
        self.patch(module, "MAX_PEERS", 5)
        store = self.make()
        self.result(store.savePeers([peer(1, static=True), peer(2, trusted=True), peer(3), peer(4), peer(5)]))
        self.result(store.savePeers([peer(6), peer(7)]))
        self.assertEqual([each.last_success for each in self.peers(store)], [2, 1, 7, 6, 5])
        self.result(store.savePeers([peer(number) for number in range(10, 30)]))
        self.assertEqual([each.last_success for each in self.peers(store)], [2, 1, 29, 28, 27])

    def test_most_pinned(self) -> None:
        """Beyond, it is an error, and nothing of it has been saved."""
        self.patch(module, "MAX_PINNED", 3)
        store = self.make()
        given = [peer(3, static=True), peer(2, trusted=True), peer(1, static=True, trusted=True)]
        self.result(store.savePeers(given))
        words = self.failure(store.savePeers([peer(4), peer(5, static=True)]))
        self.assertEqual(words, "cannot keep more than 3 static and trusted peers")
        self.assertEqual(self.peers(store), given)
        self.result(store.savePeers([peer(4), attrs.evolve(given[0], static=False), peer(5, static=True)]))
        self.assertEqual([each.last_success for each in self.peers(store)], [5, 2, 1, 4, 3])

    def test_random(self) -> None:
        """It holds what one does that holds everything in memory."""
        for name in ("MAX_BANS", "MAX_PEERS"):
            self.patch(module, name, 12)
        rng, store, model = Random(1), self.make(), MemoryPeerStore()
        for _ in range(300):
            number = rng.randrange(20)
            verb, *args = rng.choice(
                [
                    ("saveBan", ban(number, rng.choice([None, number, 50]), rng.choice([OPERATOR, REPUTATION]))),
                    ("removeBan", rng.choice([*Scope]), ban(number).subject),
                    ("removePeer", peer(number).node_id),
                    (
                        "savePeers",
                        [
                            peer(
                                rng.randrange(20),
                                score=rng.random() * 100,
                                last_success=rng.randrange(9),
                                reached=rng.random() < 0.2,
                                static=rng.random() < 0.1,
                            )
                            for _ in range(rng.randrange(6))
                        ],
                    ),
                ]
            )
            for each in (store, model):
                self.result(getattr(each, verb)(*args)) if each is store else getattr(each, verb)(*args)
            self.assertEqual(self.bans(store), StoreTests.fired(model.loadBans()))
            self.assertEqual(self.peers(store), StoreTests.fired(model.loadPeers()))

    @staticmethod
    def fired(deferred: Deferred[T]) -> T:
        """What one has fired with already."""
        results: list[T] = []
        deferred.addCallback(results.append)
        return results[0]

    def test_close(self) -> None:
        """Twice does no harm."""
        store = self.make()
        for _ in range(2):
            self.assertEqual(self.result(store.close()), None)


class DurableTests(StoreTests):
    """
    What every store does that outlives the process.
    """

    def unopened(self) -> Any:
        """Another store with the same contents, not opened."""
        raise NotImplementedError

    def test_again(self) -> None:
        store = self.make()
        given = [ban(1), ban(2, 500)], [peer(2, static=True, capabilities=("eth/69",)), peer(1, score=7.5)]
        for each in given[0]:
            self.result(store.saveBan(each))
        self.result(store.savePeers(given[1]))
        self.result(store.close())
        for other in (store, self.unopened()):
            for _ in range(2):
                self.result(other.open())
            self.assertEqual((self.bans(other), self.peers(other)), given)
            self.result(other.close())

    def test_not_open(self) -> None:
        """Neither before nor after."""
        closed = self.make()
        self.result(closed.close())
        for store in (self.unopened(), closed):
            for call in (
                store.loadBans(),
                store.saveBan(ban(1)),
                store.removeBan(Scope.NODE, ban(1).subject),
                store.loadPeers(),
                store.savePeers([peer(1)]),
                store.removePeer(peer(1).node_id),
            ):
                self.assertIn("is not open", self.failure(call))

    def test_ban_list(self) -> None:
        """A list of bans comes back whole, and what ended in the meantime is taken out of both."""
        store, bans = self.make(), BanList()
        for number in range(1, 6):
            each = ban(number, 100 * number)
            bans.add(each)
            self.result(store.saveBan(each))
        again = BanList()
        for each in self.bans(store):
            self.assertEqual(again.add(each), None)
        self.assertEqual(again.listed(0), bans.listed(0))
        for each in again.purge(250):
            self.result(store.removeBan(each.scope, each.subject))
        self.assertEqual({*self.bans(store)}, {*again.listed(250)})
        self.assertEqual(len(again), 3)


class MemoryStoreTests(StoreTests, SynchronousTestCase):
    def make(self) -> MemoryPeerStore:
        store = MemoryPeerStore()
        self.result(store.open())
        return store


class SqliteStoreTests(DurableTests, SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def make(self) -> SqlitePeerStore:
        store = self.unopened()
        self.result(store.open())
        self.addCleanup(store.close)
        return store

    def unopened(self) -> SqlitePeerStore:
        return SqlitePeerStore(self.path)

    def test_one_file(self) -> None:
        """When it is closed there is nothing beside it."""
        store = self.make()
        self.result(store.saveBan(ban(1)))
        self.result(store.close())
        self.assertEqual([each.name for each in self.path.parent.glob(self.path.name + "*")], [self.path.name])

    def test_odd_name(self) -> None:
        """A name that means something in a URI."""
        self.path = self.path.with_name("pe?ers#100%.sqlite")
        for known in ([], [peer(1)]):
            store = self.make()
            self.assertEqual(self.peers(store), known)
            self.result(store.savePeers([peer(1)]))
            self.result(store.close())

    def test_foreign_rows(self) -> None:
        """A row that we cannot have written is passed over."""
        store = self.make()
        for number in range(1, 8):
            self.result(store.saveBan(ban(number)))
        self.result(store.savePeers([peer(number) for number in range(1, 11)]))
        assert store._db is not None
        for number, change in enumerate(
            ["scope = 'ip'", "scope = 'x'", "since = 'x'", "until = -1", "reason = x'00'", "decided_by = 'x'"], 1
        ):
            store._db.execute(f"UPDATE ethp2p_bans SET {change} WHERE subject = ?", (ban(number).subject,))
        self.assertEqual(self.bans(store), [ban(7)])
        for number, change in enumerate(
            [
                "url = x'00'",
                "url = 'a' || char(10)",
                "score = 'x'",
                "score = 101",
                "last_success = -1",
                "capabilities = '5'",
                "client = x'00'",
                "node_id = 'xx'",
                f"capabilities = '{'[' * 100_000}'",
            ],
            1,
        ):
            store._db.execute(f"UPDATE ethp2p_peers SET {change} WHERE node_id = ?", (peer(number).node_id.hex(),))
        self.assertEqual([each.last_success for each in self.peers(store)], [10])

    def test_garbled_texts(self) -> None:
        """Nor does a text that is none any more keep others from being read."""
        store = self.make()
        for number in (1, 2, 3):
            self.result(store.saveBan(ban(number)))
        self.result(store.savePeers([peer(number) for number in (1, 2, 3)]))
        assert store._db is not None
        for change in (
            f"ethp2p_bans SET subject = CAST(x'31ff32' AS TEXT) WHERE subject = '{ban(1).subject}'",
            f"ethp2p_bans SET reason = CAST(x'61ff62' AS TEXT) WHERE subject = '{ban(2).subject}'",
            f"ethp2p_peers SET url = CAST(x'ff' AS TEXT) WHERE node_id = '{peer(1).node_id.hex()}'",
            f"ethp2p_peers SET client = CAST(x'61ff62' AS TEXT) WHERE node_id = '{peer(2).node_id.hex()}'",
        ):
            store._db.execute(f"UPDATE {change}")
        self.assertEqual({each.subject for each in self.bans(store)}, {ban(2).subject, ban(3).subject})
        self.assertEqual({each.node_id for each in self.peers(store)}, {peer(2).node_id, peer(3).node_id})


class SqliteFaultTests(SynchronousTestCase):
    """Each is one clear line, and nothing is lost that was there."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "peers.sqlite"

    def open(self) -> SqlitePeerStore:
        store = SqlitePeerStore(self.path)
        self.successResultOf(store.open())
        self.addCleanup(store.close)
        return store

    def fill(self) -> None:
        store = self.open()
        self.successResultOf(store.saveBan(ban(1)))
        self.successResultOf(store.savePeers([peer(number) for number in range(1, 100)]))
        self.successResultOf(store.close())

    def contents(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in self.directory.iterdir()}

    def refused(self, words: str) -> None:
        """It cannot be opened, says so, and is not open then."""
        store = SqlitePeerStore(self.path)
        error = self.failureResultOf(store.open(), StoreFailed).value
        self.assertEqual(str(error), f"the peer store {self.path} cannot be opened: {words}")
        self.failureResultOf(store.saveBan(ban(9)), StoreFailed)
        self.successResultOf(store.close())

    def test_damaged(self) -> None:
        """It is left as it is: an operator's bans are in it."""
        self.fill()
        good = self.path.read_bytes()
        for ruin in (
            b"not a database, by its looks" * 40,
            good[: len(good) // 2],
            good[:100] + b"\xff" * 9000,
            good.replace(b"CREATE TABLE ethp2p_bans", b"CREATE TABLE ethp2p_ban\xff"),
            good.replace(b"CREATE TABLE ethp2p_bans", b"CREAT\xff TABLE ethp2p_bans"),
        ):
            self.assertNotEqual(ruin, good)
            self.path.write_bytes(ruin)
            self.refused("it is damaged")
            self.assertEqual(self.contents(), {"peers.sqlite": ruin})

    def test_damaged_meanwhile(self) -> None:
        """What is cached is no proof; where the file is read it is told."""
        self.fill()
        store = self.open()
        with self.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (self.path.stat().st_size - 4096))
        assert store._db is not None
        store._db.execute("PRAGMA shrink_memory")
        error = self.failureResultOf(store.loadPeers(), StoreFailed).value
        self.assertEqual(str(error), f"the peer store {self.path} does not work: it is damaged")

    def test_newer(self) -> None:
        self.fill()
        db = sqlite3.connect(self.path)
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.close()
        before = self.contents()
        self.refused(f"it is of format {VERSION + 1}, written by a newer ethp2p: this one knows {VERSION}")
        self.assertEqual(self.contents(), before)

    def test_older(self) -> None:
        """One of the first format keeps all that it has."""
        db = sqlite3.connect(self.path)
        for statement in FIRST.split(";"):
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(
            f"INSERT INTO ethp2p_peers VALUES ('{peer(1).node_id.hex()}', '{peer(1).url}', 50, 1, '[]', '', 1, 0)"
        )
        db.commit()
        db.close()
        for reached in (False, True):  # it is brought up to date once
            store = self.open()
            self.assertEqual(self.successResultOf(store.loadPeers()), [peer(1, static=True, reached=reached)])
            self.successResultOf(store.savePeers([peer(1, static=True, reached=True)]))
            self.successResultOf(store.close())

    def test_of_another_program(self) -> None:
        db = sqlite3.connect(self.path)
        db.execute("CREATE TABLE letters (a)")
        db.close()
        before = self.contents()
        self.refused("it is a database of another program")
        self.assertEqual(self.contents(), before)

    def test_empty(self) -> None:
        """One that was made, and no more."""
        self.path.touch()
        self.fill()

    def test_no_such_place(self) -> None:
        self.path.touch()
        self.path /= "peers.sqlite"
        self.refused(f"{self.path.parent} is not a directory")
        self.path = self.directory / "not" / "here"
        self.refused(f"{self.path.parent} is not a directory")
        self.path = self.directory
        self.refused(f"{self.directory} is a directory")
        self.path = self.directory / ("x" * 256) / "peers.sqlite"  # one that cannot even be looked into
        self.refused("File name too long")

    def test_in_use(self) -> None:
        """By another process, or by this one; and when that ends, it can be opened."""
        self.fill()
        held = "import sys, sqlite3; db = sqlite3.connect(sys.argv[1]); db.execute('BEGIN EXCLUSIVE'); print(); input()"
        ours = (
            "import sys; from ethp2p.peers.store import *; store = SqlitePeerStore(sys.argv[1]);"
            "store.open(); print(); input()"
        )
        for program in (held, ours):
            with subprocess.Popen(
                [sys.executable, "-c", program, str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=ROOT,
            ) as process:
                assert process.stdout is not None
                try:
                    self.assertEqual(process.stdout.readline(), b"\n")
                    self.refused("another process has it open")
                finally:
                    process.kill()
            self.assertEqual(len(self.successResultOf(self.open().loadBans())), 1)
            self.doCleanups()
        self.open()
        self.refused("another process has it open")

    def test_full_disk(self) -> None:
        """What finds no room fails, what is there can be read, and it goes on once there is room."""
        store = self.open()
        db = store._db
        assert db is not None
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 3}")
        saved = 0
        while True:
            batch = [peer(number) for number in range(saved + 1, saved + 11)]
            ended = store.savePeers(batch)
            errors: list[Any] = []
            ended.addErrback(errors.append)
            if errors:
                break
            saved += 10
        self.assertEqual(str(errors[0].value), f"the peer store {self.path} does not work: database or disk is full")
        self.assertGreater(saved, 0)
        self.assertEqual(len(self.successResultOf(store.loadPeers())), saved)
        self.failureResultOf(store.savePeers(batch), StoreFailed)
        db.execute(f"PRAGMA max_page_count = {pages + 100}")
        self.successResultOf(store.savePeers(batch))
        self.successResultOf(store.saveBan(ban(1)))
        self.successResultOf(store.close())
        again = self.open()
        self.assertEqual(len(self.successResultOf(again.loadPeers())), saved + 10)
        self.assertEqual(self.successResultOf(again.loadBans()), [ban(1)])

    def test_full_disk_from_the_start(self) -> None:
        """There is no room for the tables."""
        connect = sqlite3.connect

        def small(*args: Any, **settings: Any) -> sqlite3.Connection:
            db = connect(*args, **settings)
            db.execute("PRAGMA max_page_count = 2")
            return db

        self.patch(sqlite3, "connect", small)
        self.refused("database or disk is full")
        self.patch(sqlite3, "connect", connect)
        self.fill()

    def test_read_only_meanwhile(self) -> None:
        """What is there can be read still."""
        store = self.open()
        self.successResultOf(store.saveBan(ban(1)))
        assert store._db is not None
        store._db.execute("PRAGMA query_only = ON")
        for call in (store.saveBan(ban(2)), store.savePeers([peer(1)]), store.removeBan(Scope.NODE, ban(1).subject)):
            error = self.failureResultOf(call, StoreFailed).value
            self.assertIn("readonly database", str(error))
        self.assertEqual(self.successResultOf(store.loadBans()), [ban(1)])

    def test_read_only_directory(self) -> None:
        """Whether there is a file already or not; told with the name of what may not be written."""
        # Permissions stop nobody who is root, and a directory of root's may be out of others' reach altogether.
        outside = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, outside)
        outside.chmod(0o755)
        user = os.geteuid()
        for there in (False, True):
            self.path = outside / "peers.sqlite"
            if there:
                self.fill()
            outside.chmod(0o555)
            try:
                if not user:
                    os.seteuid(65534)
                self.refused(f"{outside} may not be written")
            finally:
                if not user:
                    os.seteuid(0)
                outside.chmod(0o755)
        self.path.chmod(0o444)
        outside.chmod(0o777)
        try:
            if not user:
                os.seteuid(65534)
            self.refused(f"{self.path} may not be written")
        finally:
            if not user:
                os.seteuid(0)
        self.path.chmod(0o644)
        self.assertEqual(len(self.successResultOf(self.open().loadBans())), 1)


class KnownPeerTests(SynchronousTestCase):
    def test_checked(self) -> None:
        """Nothing comes into a store that it would not give back."""
        for fields in [
            {"node_id": b"x" * 31},
            {"url": "enode://" + "x" * MAX_URL},
            {"url": "enode://\n"},
            {"url": "enode://é"},
            {"score": -0.1},
            {"score": 100.1},
            {"score": float("nan")},
            {"last_success": -1},
            {"last_success": 1 << 53},
        ]:
            error = self.assertRaises(ConfigError, peer, 1, **fields)
            self.assertLess(len(str(error)), 120)

    def test_bounded(self) -> None:
        """What a stranger says of itself is cut."""
        known = peer(1, client="x" * 10_000, capabilities=["y" * 10_000] * 1000)
        self.assertEqual(known.client, "x" * MAX_CLIENT)
        self.assertEqual(known.capabilities, ("y" * MAX_CAPABILITY,) * MAX_CAPABILITIES)
