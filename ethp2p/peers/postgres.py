"""
Bans and peers in PostgreSQL, through psycopg, which waits for the server and therefore works in a thread.

The package is optional and is imported only when it is wanted.  Several nodes may share a database: each sees at its
start what the others wrote.  Nodes that should not, have a C{search_path} of their own in their connection string.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.errors import ConfigError
from ethp2p.peers.bans import Ban, Scope
from ethp2p.peers.store import MAX_PEERS, SCHEMA, STEPS, VERSION, IPeerStore, KnownPeer, StoreFailed, Tables

T = TypeVar("T")

#: Most calls that wait for the server; what comes then fails at once.
MAX_WAITING = 1024
#: Seconds for a connection, and milliseconds for a statement and for a lock that somebody else holds.
CONNECT_TIMEOUT = 5
STATEMENT_TIMEOUT, LOCK_TIMEOUT = 5000, 2000
#: Held while the tables are made, so that two nodes that begin at once do not both make them.
_ADVISORY_LOCK = 0x65746870

_SCHEMA = (
    SCHEMA.replace("TEXT", 'TEXT COLLATE "C"')  # sorted by bytes, as everywhere else
    + "; CREATE TABLE ethp2p_schema (version INTEGER NOT NULL)"
    + f"; INSERT INTO ethp2p_schema (version) VALUES ({VERSION})"
)


@implementer(IPeerStore)
class PostgresPeerStore:
    """
    One connection, made when there is something to do and made again when it is lost.  One call after the other, in
    the order in which they were made.
    """

    def __init__(self, dsn: str, reactor: Any) -> None:
        """
        @param dsn: as libpq reads it: C{postgresql://user:password@host/database}, or C{host=... dbname=...}.
        @param reactor: provides C{IReactorFromThreads}.
        @raise ConfigError: psycopg is not installed, or it cannot read C{dsn}.
        """
        try:
            self._psycopg: Any = importlib.import_module("psycopg")
        except ImportError:
            raise ConfigError("PostgreSQL needs the package psycopg: pip install 'ethp2p[postgres]'") from None
        try:
            told = self._psycopg.conninfo.conninfo_to_dict(dsn)
        except self._psycopg.Error:  # whose words have the password in them
            raise ConfigError(
                "this is no PostgreSQL connection string; postgresql://user@host/database is one"
            ) from None
        self.where = f"PostgreSQL database {told.get('dbname', '')!r} at {told.get('host', 'this machine')!r}"
        self._dsn = dsn
        self._reactor = reactor
        self._connection: Any = None
        self._open = False
        self._busy = False
        self._waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def open(self) -> Deferred[None]:
        """See L{IPeerStore}."""
        self._open = True
        return self._call(self._connect)

    def loadBans(self) -> Deferred[list[Ban]]:
        """See L{IPeerStore}."""
        return self._work(Tables.load_bans)

    def saveBan(self, ban: Ban) -> Deferred[None]:
        """See L{IPeerStore}."""
        return self._work(Tables.save_ban, ban)

    def removeBan(self, scope: Scope, subject: str) -> Deferred[None]:
        """See L{IPeerStore}."""
        return self._work(Tables.remove_ban, scope, subject)

    def loadPeers(self, limit: int = MAX_PEERS) -> Deferred[list[KnownPeer]]:
        """See L{IPeerStore}."""
        return self._work(Tables.load_peers, limit)

    def savePeers(self, peers: Sequence[KnownPeer]) -> Deferred[None]:
        """See L{IPeerStore}."""
        return self._work(Tables.save_peers, tuple(peers))

    def removePeer(self, node_id: bytes) -> Deferred[None]:
        """See L{IPeerStore}."""
        return self._work(Tables.remove_peer, node_id)

    def close(self) -> Deferred[None]:
        """See L{IPeerStore}.  What waits is done before."""
        if not self._open:
            return succeed(None)
        self._open = False
        return self._call(self._disconnect)

    # in the reactor's thread

    def _work(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        if not self._open:
            return fail(StoreFailed(f"the peer store in {self.where} is not open"))
        if len(self._waiting) >= MAX_WAITING:
            return fail(StoreFailed(f"{self.where} does not keep up: {MAX_WAITING} calls wait for it"))
        return self._call(lambda: self._transact(work, args))

    def _call(self, function: Callable[[], T]) -> Deferred[T]:
        result: Deferred[T] = Deferred(self._cancelled)
        self._waiting.append((function, result))
        self._next()
        return result

    def _cancelled(self, result: Deferred[Any]) -> None:
        """One that waits is not begun; one that is under way is done, and nobody hears of it."""
        self._waiting = deque(each for each in self._waiting if each[1] is not result)

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        function, result = self._waiting.popleft()

        def done(value: Any) -> None:
            self._busy = False
            self._next()
            if not result.called:  # it may have been cancelled
                result.callback(value)  # a Failure is an errback

        def run() -> None:
            try:
                value = function()
            except Exception:  # noqa: BLE001  it goes on in the reactor
                value = Failure()
            self._reactor.callFromThread(done, value)

        # Not of the reactor's pool: the end of the process does not wait for a server that hangs.
        Thread(target=run, name="PostgreSQL", daemon=True).start()

    # in a thread of its own, one at a time

    def _transact(self, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        fresh = self._connection is None
        try:
            return self._try(work, args)
        except StoreFailed:
            if fresh or self._connection is not None:
                raise
        return self._try(work, args)  # the server was gone in the meantime, and may be there again

    def _try(self, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        self._connect()
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                return work(Tables(cursor, "%s"), *args)
        except self._psycopg.Error as error:
            if self._connection.closed:
                self._connection = None
            raise StoreFailed(f"the peer store in {self.where} does not work: {_words(error)}") from None

    def _connect(self) -> None:
        if self._connection is not None:
            return
        connection = None
        try:
            connection = self._psycopg.connect(
                self._dsn,
                autocommit=True,
                prepare_threshold=None,  # poolers between us and the server do not know them
                connect_timeout=CONNECT_TIMEOUT,
                client_encoding="utf8",
                # A server that has vanished is given up, which its own time-outs cannot see to.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=10_000,
            )
            connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT}")
            connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT}")
            self._prepare(connection)
        except (self._psycopg.Error, StoreFailed) as error:
            if connection is not None:
                connection.close()
            raise StoreFailed(f"the peer store in {self.where} cannot be opened: {_words(error)}") from None
        self._connection = connection

    def _prepare(self, connection: Any) -> None:
        """The tables, made if there are none."""
        with connection.transaction():
            connection.execute(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            if connection.execute("SELECT to_regclass('ethp2p_schema')").fetchone()[0] is None:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                return
            (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM ethp2p_schema").fetchone()
            if version > VERSION:
                raise StoreFailed(f"it is of format {version}, written by a newer ethp2p: this one knows {VERSION}")
            if 0 < version < VERSION:
                for statement in STEPS[version - 1 :]:
                    connection.execute(statement)
                connection.execute(f"UPDATE ethp2p_schema SET version = {VERSION}")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._psycopg.Error):  # nothing is left to be written
                connection.close()


def _words(error: Exception) -> str:
    """What went wrong: the first line, since the others are about the statement."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
