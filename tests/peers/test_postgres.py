"""
Bans and peers in PostgreSQL, on a real server: the one that C{ETHP2P_TEST_POSTGRES} is a connection string for, or one
of our own, thrown away after, when its programs are installed.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from queue import Queue
from random import Random
from typing import Any, TypeVar
from unittest import SkipTest

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError
from ethp2p.peers import postgres as module
from ethp2p.peers.postgres import PostgresPeerStore
from ethp2p.peers.store import VERSION, MemoryPeerStore, StoreFailed
from tests.peers.test_store import FIRST, DurableTests, StoreTests, ban, peer
from tests.peers.test_store_killed import Writers, change, write
from tests.spawn import ROOT

T = TypeVar("T")

#: How often a writer is killed; what PostgreSQL promises is not ours to prove.
TIMES = 10
#: Seconds until something that hangs is a failure.
DEADLINE = 30.0

#: Ends the server when its standard input is closed, so that it does not outlive tests that are killed.
_UNTIL_CLOSED = '"$0" "$@" & pid=$!; read -r _; kill -INT $pid; wait $pid'


class Server:
    """A PostgreSQL of our own on a unix socket, with nothing in it."""

    def __init__(self, programs: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pg"))
        self._programs = programs
        self._user: dict[str, Any] = {}
        if not os.geteuid():  # it refuses to run as root
            try:
                entry = pwd.getpwnam("postgres")
            except KeyError:
                entry = pwd.getpwnam("nobody")
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self.dsn = f"host={self.directory} dbname=postgres user=ethp2p"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        subprocess.run(
            [programs / "initdb", "-D", self.directory / "data", "-U", "ethp2p", "-A", "trust", "-E", "UTF8"]
            + ["--no-sync", "--no-locale"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            **self._user,
        )
        self.start()

    def start(self) -> None:
        """Let it run, and wait until it answers."""
        log = self.directory / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_CLOSED, self._programs / "postgres", "-D", self.directory / "data"]
                + ["-k", self.directory, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=20"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=self.directory,
                **self._user,
            )
        psycopg = importlib.import_module("psycopg")
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                psycopg.connect(self.dsn).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.05)

    def crash(self) -> None:
        """End it as a power cut would, as far as programs go."""
        assert self._process is not None
        os.kill(int((self.directory / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self.stop()

    def stop(self) -> None:
        """End it, and wait."""
        if self._process is not None:
            self._process.communicate(b"\n", DEADLINE)
            self._process = None

    def remove(self) -> None:
        """End it and leave nothing."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@cache
def server() -> Server | None:
    """One of our own, for all tests; None when there are no programs for it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    programs = [Path(path).parent for path in filter(None, [shutil.which("postgres")])] + found
    programs = [path for path in programs if (path / "initdb").exists() and (path / "postgres").exists()]
    return Server(programs[0]) if programs else None


def address() -> str:
    """
    A connection string for a server.

    @raise SkipTest: there is none, or no psycopg.
    """
    try:
        importlib.import_module("psycopg")
    except ImportError:
        raise SkipTest("POSTGRESQL NOT TESTED: psycopg is missing; pip install 'ethp2p[postgres]'") from None
    given = os.environ.get("ETHP2P_TEST_POSTGRES")
    if given:
        return given
    own = server()
    if own is None:
        raise SkipTest("POSTGRESQL NOT TESTED: no initdb and postgres found; install them or set ETHP2P_TEST_POSTGRES")
    return own.dsn


class Threads:
    """A reactor, as far as threads care: their results wait until they are taken."""

    def __init__(self) -> None:
        self._calls: Queue[Callable[[], Any]] = Queue()

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """See C{IReactorFromThreads}."""
        self._calls.put(lambda: function(*args))

    def wait(self, deferred: Deferred[Any]) -> None:
        """Until it has fired."""
        while not deferred.called:
            self._calls.get(timeout=DEADLINE)()


class Base(SynchronousTestCase):
    """Each test has a schema of its own."""

    _numbers = count(1)

    def setUp(self) -> None:
        dsn = address()
        self.psycopg = importlib.import_module("psycopg")
        self.schema = f"ethp2p_test_{os.getpid()}_{next(self._numbers)}"
        self.outside = self.psycopg.connect(dsn, autocommit=True)
        self.addCleanup(lambda: self.outside.close())
        self.outside.execute(f"CREATE SCHEMA {self.schema}")
        self.addCleanup(lambda: self.outside.execute(f"DROP SCHEMA {self.schema} CASCADE"))
        self.outside.execute(f"SET search_path = {self.schema}")
        self.dsn = self.psycopg.conninfo.make_conninfo(
            dsn, options=f"-csearch_path={self.schema}", application_name=self.schema
        )
        self.threads = Threads()

    def result(self, deferred: Deferred[T]) -> T:
        """What it fires with."""
        self.threads.wait(deferred)
        return self.successResultOf(deferred)

    def failure(self, deferred: Deferred[Any]) -> str:
        """Why the store failed: one line."""
        self.threads.wait(deferred)
        words = str(self.failureResultOf(deferred, StoreFailed).value)
        self.assertNotIn("\n", words)
        return words

    def unopened(self) -> PostgresPeerStore:
        return PostgresPeerStore(self.dsn, self.threads)

    def make(self) -> PostgresPeerStore:
        store = self.unopened()
        self.result(store.open())
        self.addCleanup(lambda: self.result(store.close()))
        return store


class PostgresStoreTests(Base, DurableTests):
    """As every store."""

    def test_shared(self) -> None:
        """Two nodes on one database, also when both begin at once; each sees what the other wrote before."""
        stores = [self.unopened() for _ in range(4)]
        for opened in [store.open() for store in stores]:
            self.result(opened)
        for number, store in enumerate(stores, 1):
            self.result(store.saveBan(ban(number)))
        calls = [store.savePeers([peer(number) for number in range(50)]) for store in stores for _ in range(5)]
        for call in calls:
            self.result(call)
        for store in stores:
            self.assertEqual((len(self.bans(store)), len(self.peers(store))), (4, 50))
            self.result(store.close())

    def test_foreign_rows(self) -> None:
        """A row that we cannot have written is passed over."""
        store = self.make()
        for number in (1, 2):
            self.result(store.saveBan(ban(number)))
        self.result(store.savePeers([peer(number) for number in range(1, 6)]))
        self.outside.execute("UPDATE ethp2p_bans SET scope = 'x' WHERE subject = %s", (ban(1).subject,))
        wrong = ["last_success = -1", "score = 'NaN'", "capabilities = '5'", "node_id = 'xx'"]
        for number, fields in enumerate(wrong, 1):
            which = (peer(number).node_id.hex(),)
            self.outside.execute(f"UPDATE ethp2p_peers SET {fields} WHERE node_id = %s", which)
        self.assertEqual((self.bans(store), self.peers(store)), ([ban(2)], [peer(5)]))


class CallTests(Base):
    """One call after the other."""

    def test_order(self) -> None:
        """In the order in which they were made, though nobody waits for them; closing comes last."""
        store = self.unopened()
        fired: list[int] = []
        calls: list[Deferred[Any]] = [store.open()]
        calls += [store.saveBan(ban(1, since=number)) for number in range(50)]
        calls += [store.loadBans(), store.close()]
        for number, call in enumerate(calls):
            call.addCallback(lambda result, number=number: (fired.append(number), result)[1])
        self.threads.wait(calls[-1])
        self.assertEqual(fired, [*range(53)])
        self.assertEqual(self.successResultOf(calls[-2]), [ban(1, since=49)])
        self.assertIn("is not open", self.failure(store.loadBans()))

    def test_waiting(self) -> None:
        """A server that does not keep up gets no more to do."""
        self.patch(module, "MAX_WAITING", 5)
        store = self.make()
        calls = [store.saveBan(ban(number)) for number in range(10)]
        for call in calls[6:]:
            self.assertIn("does not keep up: 5 calls wait for it", self.failure(call))
        self.result(calls[5])
        self.assertEqual(len(self.result(store.loadBans())), 6)

    def test_cancelled(self) -> None:
        """One that waits is not begun, one under way goes on unheard; the others are not touched."""
        store = self.make()
        first, second, third = (store.saveBan(ban(number)) for number in (1, 2, 3))
        for call in (first, second):
            call.cancel()
            self.failureResultOf(call, CancelledError)
        self.result(third)
        self.assertEqual({each.subject for each in self.result(store.loadBans())}, {ban(1).subject, ban(3).subject})


class FaultTests(Base):
    """Each is one clear line, and the store goes on when it is over."""

    def test_gone(self) -> None:
        """There is no server: neither at the start nor later; it is found when it is there."""
        self.dsn = f"host={Path(self.mktemp()).absolute()} dbname=x user=y password=hunter2 connect_timeout=2"
        store = self.unopened()
        for call in (store.open(), store.saveBan(ban(1)), store.loadPeers()):
            words = self.failure(call)
            self.assertIn("the peer store in PostgreSQL database 'x' at '", words)
            self.assertIn("cannot be opened: connection", words)
            self.assertNotIn("hunter2", words)
        self.result(store.close())

    def test_cut(self) -> None:
        """A connection that ends between two calls is made again."""
        store = self.make()
        for number in (1, 2):
            self.result(store.saveBan(ban(number)))
            self.cut()
        self.assertEqual(len(self.result(store.loadBans())), 2)

    def cut(self) -> None:
        """End all connections of stores, and wait until what they were doing is done or undone."""
        self.outside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", (self.schema,)
        )

    def test_crashed(self) -> None:
        """What was acknowledged is there when the server is back; meanwhile each call says what is wrong."""
        own = server() if not os.environ.get("ETHP2P_TEST_POSTGRES") else None
        if own is None:
            raise SkipTest("POSTGRESQL NOT CRASHED: the server is not ours")
        store = self.make()
        self.result(store.saveBan(ban(1)))
        self.outside.close()
        own.crash()
        try:
            for _ in range(2):
                self.assertIn("cannot be opened", self.failure(store.saveBan(ban(2))))
        finally:
            own.start()
            self.outside = self.psycopg.connect(own.dsn, autocommit=True)
        self.result(store.saveBan(ban(3)))
        self.assertEqual({each.subject for each in self.result(store.loadBans())}, {ban(1).subject, ban(3).subject})

    def test_locked(self) -> None:
        """Somebody holds the table: the call fails in time, and the next one works."""
        self.patch(module, "LOCK_TIMEOUT", 50)
        store = self.make()
        with self.outside.transaction():
            self.outside.execute("LOCK TABLE ethp2p_bans IN ACCESS EXCLUSIVE MODE")
            words = self.failure(store.saveBan(ban(1)))
            self.assertIn("does not work: canceling statement due to lock timeout", words)
        self.result(store.saveBan(ban(1)))

    def test_slow(self) -> None:
        """A statement that takes for ever does not."""
        self.patch(module, "STATEMENT_TIMEOUT", 50)
        store = self.make()
        self.outside.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(10); RETURN NEW; END';"
            " CREATE TRIGGER slow BEFORE INSERT ON ethp2p_bans EXECUTE FUNCTION slow()"
        )
        self.assertIn("canceling statement due to statement timeout", self.failure(store.saveBan(ban(1))))
        self.assertEqual(self.result(store.loadBans()), [])

    def test_read_only(self) -> None:
        """What is there can be read."""
        self.result(self.make().saveBan(ban(1)))
        self.dsn = self.psycopg.conninfo.make_conninfo(
            self.dsn, options=f"-csearch_path={self.schema} -cdefault_transaction_read_only=on"
        )
        store = self.make()
        words = self.failure(store.saveBan(ban(2)))
        self.assertIn("does not work: cannot execute INSERT in a read-only transaction", words)
        self.assertEqual(self.result(store.loadBans()), [ban(1)])

    def test_undone(self) -> None:
        """An error in the midst of a call leaves nothing of it."""
        store = self.make()
        self.outside.execute("ALTER TABLE ethp2p_peers ADD CHECK (last_success < 100)")
        self.assertIn("violates check constraint", self.failure(store.savePeers([peer(1), peer(100)])))
        self.assertEqual(self.result(store.loadPeers()), [])

    def test_newer(self) -> None:
        """It is refused, and nothing changes."""
        self.result(self.make().saveBan(ban(1)))
        self.outside.execute("UPDATE ethp2p_schema SET version = version + 1")
        store = self.unopened()
        for call in (store.open(), store.saveBan(ban(2))):
            self.assertIn(f"it is of format {VERSION + 1}, written by a newer ethp2p", self.failure(call))
        self.assertEqual(self.outside.execute("SELECT count(*) FROM ethp2p_bans").fetchone(), (1,))
        self.result(store.close())

    def test_older(self) -> None:
        """A database of the first format keeps all that it has."""
        for statement in FIRST.split(";"):
            self.outside.execute(statement)
        self.outside.execute("CREATE TABLE ethp2p_schema (version INTEGER NOT NULL)")
        self.outside.execute("INSERT INTO ethp2p_schema (version) VALUES (1)")
        row = (peer(1).node_id.hex(), peer(1).url)
        self.outside.execute("INSERT INTO ethp2p_peers VALUES (%s, %s, 50, 1, '[]', '', 1, 0)", row)
        for reached in (False, True):  # it is brought up to date once
            store = self.make()
            self.assertEqual(self.result(store.loadPeers()), [peer(1, static=True, reached=reached)])
            self.result(store.savePeers([peer(1, static=True, reached=True)]))
            self.result(store.close())

    def test_killed(self) -> None:
        """kill -9 in a loop: nothing acknowledged is lost.  See L{tests.peers.test_store_killed}."""
        writers = Writers("tests.peers.test_postgres", self.dsn)
        self.addCleanup(writers.close)
        rng, model, begin = Random(1), MemoryPeerStore(), 1
        store = self.make()
        for _ in range(TIMES):
            written = writers.kill(begin, rng.randrange(1, 20))
            for number in range(begin, written + 1):
                change(model, number)
            begin = written + 1
            self.cut()
            if self.contents(store) != self.held(model):
                change(model, begin)  # it was killed between writing and saying so
                self.assertEqual(self.contents(store), self.held(model))
                begin += 1
        self.assertGreater(begin, TIMES * 5)

    def contents(self, store: PostgresPeerStore) -> tuple[Any, Any]:
        return self.result(store.loadBans()), self.result(store.loadPeers())

    def held(self, model: MemoryPeerStore) -> tuple[Any, Any]:
        return StoreTests.fired(model.loadBans()), StoreTests.fired(model.loadPeers())


class SettingTests(SynchronousTestCase):
    """Without a server."""

    def test_missing(self) -> None:
        """It says what to install."""
        real = importlib.import_module

        def missing(name: str, *args: Any) -> Any:
            if name == "psycopg":
                raise ImportError(name)
            return real(name, *args)

        self.patch(importlib, "import_module", missing)
        error = self.assertRaises(ConfigError, PostgresPeerStore, "host=x", None)
        self.assertEqual(str(error), "PostgreSQL needs the package psycopg: pip install 'ethp2p[postgres]'")

    def test_not_imported(self) -> None:
        """Nobody needs it who does not ask for it."""
        program = "import sys, ethp2p.peers.postgres; sys.exit('psycopg' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode, 0)

    def test_wrong(self) -> None:
        """What cannot be read is told of without what it says: there is a password in it."""
        self.need()
        for dsn in ("postgres//me:hunter2@host/x", "password=hunter2 x", "host=x nothing=hunter2"):
            error = self.assertRaises(ConfigError, PostgresPeerStore, dsn, None)
            self.assertNotIn("hunter2", str(error) + repr(error.__cause__))

    def test_where(self) -> None:
        self.need()
        for dsn, where in [
            ("postgresql://me:hunter2@db.example:5433/peers", "PostgreSQL database 'peers' at 'db.example'"),
            ("dbname=peers password=hunter2", "PostgreSQL database 'peers' at 'this machine'"),
        ]:
            self.assertEqual(PostgresPeerStore(dsn, None).where, where)

    def need(self) -> None:
        try:
            importlib.import_module("psycopg")
        except ImportError:
            raise SkipTest("POSTGRESQL NOT TESTED: psycopg is missing; pip install 'ethp2p[postgres]'") from None


def postgres(dsn: str) -> Iterator[Any]:
    """An open store, and then each call done in its turn."""
    threads = Threads()
    store = PostgresPeerStore(dsn, threads)
    store.open()
    while True:
        yield store
        while store._busy:
            threads._calls.get()()


if __name__ == "__main__":
    write(postgres)
