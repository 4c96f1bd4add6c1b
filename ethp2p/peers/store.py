"""
What the household knows between one run and the next: bans, and peers.

What is acknowledged is there: a process that is killed at any moment after a Deferred has fired finds it again.
Without a store that works the household goes on, and forgets when it ends; so every failure is one
L{StoreFailed}, in one line.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, Union

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import Attribute, Interface, implementer

from ethp2p.errors import ConfigError, P2PError
from ethp2p.peers.bans import MAX_BANS, OPERATOR, Ban, Scope
from ethp2p.sqlitefile import Damaged, Foreign, Format, no_place, words

T = TypeVar("T")

#: Most peers kept.  Those that only called us go first, then those useful longest ago; static and trusted ones stay.
MAX_PEERS = 4096
#: Most static and trusted peers kept, which is as many as there may be; to save more is an error.
MAX_PINNED = 2048
#: Most characters of an enode URL or a record's text; a record has at most 300 bytes.
MAX_URL = 512
#: Most characters of a peer's client name, most capabilities, and most characters of each.
MAX_CLIENT = 256
MAX_CAPABILITIES = 64
MAX_CAPABILITY = 32

#: The schema's version, as C{user_version} in a SQLite file.
VERSION = 2
#: C{application_id} in a SQLite file: whose it is.
APPLICATION = 0x65746870

#: In the words that SQLite and PostgreSQL share.
SCHEMA = """
CREATE TABLE ethp2p_bans (
    subject TEXT PRIMARY KEY,      -- unique over all scopes
    scope TEXT NOT NULL,
    since BIGINT NOT NULL,         -- Unix time in seconds, as all times
    until BIGINT,                  -- NULL without an end
    reason TEXT NOT NULL,
    decided_by TEXT NOT NULL
);
CREATE TABLE ethp2p_peers (
    node_id TEXT PRIMARY KEY,      -- hex
    url TEXT NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    last_success BIGINT NOT NULL,
    capabilities TEXT NOT NULL,    -- a JSON array
    client TEXT NOT NULL,
    is_static INTEGER NOT NULL,
    is_trusted INTEGER NOT NULL,
    is_reached INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ethp2p_peers_by_use ON ethp2p_peers (last_success)
"""
#: What makes of each older version the next one, likewise.
STEPS = ("ALTER TABLE ethp2p_peers ADD COLUMN is_reached INTEGER NOT NULL DEFAULT 0",)
#: How the SQLite file is told from others.
FORMAT = Format(APPLICATION, VERSION, SCHEMA, STEPS)
_SET_BAN = """
INSERT INTO ethp2p_bans (subject, scope, since, until, reason, decided_by) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (subject) DO UPDATE SET scope = excluded.scope, since = excluded.since, until = excluded.until,
    reason = excluded.reason, decided_by = excluded.decided_by
"""
_SET_PEER = """
INSERT INTO ethp2p_peers (node_id, url, score, last_success, capabilities, client, is_static, is_trusted, is_reached)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (node_id) DO UPDATE SET url = excluded.url, score = excluded.score,
    last_success = CASE WHEN excluded.last_success > ethp2p_peers.last_success
        THEN excluded.last_success ELSE ethp2p_peers.last_success END,
    capabilities = excluded.capabilities, client = excluded.client,
    is_static = excluded.is_static, is_trusted = excluded.is_trusted,
    is_reached = CASE WHEN excluded.is_reached > ethp2p_peers.is_reached
        THEN excluded.is_reached ELSE ethp2p_peers.is_reached END
"""
#: As L{Ban.lasts} has it, the last to make room first.
_BANS = f"""
SELECT {{}} FROM ethp2p_bans
ORDER BY decided_by = '{OPERATOR}' DESC, coalesce(until, {1 << 53}) DESC, since DESC, subject LIMIT ?
"""
_PEERS = """
SELECT {} FROM ethp2p_peers
ORDER BY is_static + is_trusted > 0 DESC, is_reached DESC, last_success DESC, score DESC, node_id LIMIT ?
"""
_TRIM_BANS = "DELETE FROM ethp2p_bans WHERE subject NOT IN (" + _BANS.format("subject") + ")"
_TRIM_PEERS = "DELETE FROM ethp2p_peers WHERE node_id NOT IN (" + _PEERS.format("node_id") + ")"
_BAN_FIELDS = "subject, scope, since, until, reason, decided_by"
_PEER_FIELDS = "node_id, url, score, last_success, capabilities, client, is_static, is_trusted, is_reached"


class StoreFailed(P2PError):
    """What is known of peers cannot be read or written."""


def _clean(text: str, most: int) -> str:
    """A stranger's words, safe to print and for every database."""
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def _clean_client(client: str) -> str:
    return _clean(client, MAX_CLIENT)


def _clean_capabilities(capabilities: Iterable[str]) -> tuple[str, ...]:
    return tuple(_clean(each, MAX_CAPABILITY) for each in tuple(capabilities)[:MAX_CAPABILITIES])


@attrs.frozen(kw_only=True)
class KnownPeer:
    """
    A peer, as it is remembered.

    @raise ConfigError: a field that it cannot have.
    """

    #: 32 bytes.
    node_id: bytes = attrs.field()
    #: C{enode://...} or C{enr:...}.
    url: str = attrs.field()
    #: From 0 to 100; see L{ethp2p.peers.reputation}.
    score: float = attrs.field(default=50.0)
    #: When a session with it was last of use, Unix time in whole seconds; 0 for never.
    last_success: int = attrs.field(default=0)
    #: What it offered, as C{eth/69}.
    capabilities: tuple[str, ...] = attrs.field(default=(), converter=_clean_capabilities)
    client: str = attrs.field(default="", converter=_clean_client)
    static: bool = False
    trusted: bool = False
    #: Whether it was of use when we called it.  Of one that only called us, where it can be called is hearsay.
    reached: bool = False

    def __attrs_post_init__(self) -> None:
        if len(self.node_id) != 32:
            raise ConfigError(f"a node id of {len(self.node_id)} bytes, not 32")
        if len(self.url) > MAX_URL or not (self.url.isascii() and self.url.isprintable()):
            raise ConfigError(f"{self.url[:48]!r} is no enode or ENR")
        if not 0.0 <= self.score <= 100.0:
            raise ConfigError(f"score {self.score!r:.32} is not from 0 to 100")
        if not 0 <= self.last_success < 1 << 53:
            raise ConfigError(f"last_success {self.last_success!r:.32} is not a Unix time in whole seconds")

    @property
    def pinned(self) -> bool:
        """Whether an operator wants it, so that it is never forgotten unasked."""
        return self.static or self.trusted

    def after(self, earlier: KnownPeer | None) -> KnownPeer:
        """The same, with what was learnt earlier and stands: that it was of use."""
        if earlier is None:
            return self
        last_success = max(self.last_success, earlier.last_success)
        return attrs.evolve(self, last_success=last_success, reached=self.reached or earlier.reached)


class IPeerStore(Interface):
    """
    Where bans and peers outlive the process.  Every Deferred may fail with L{StoreFailed}; after that the next call
    tries again.
    """

    where: str = Attribute("What it is and where, for an operator's eyes.")

    def open() -> Deferred[None]:
        """Begin.  What is there and is damaged, of a newer version or of another program is not touched."""

    def loadBans() -> Deferred[list[Ban]]:
        """All bans, L{MAX_BANS} at most, also those that have ended; the last to make room first."""

    def saveBan(ban: Ban) -> Deferred[None]:
        """Keep a ban, in place of one of the same subject."""

    def removeBan(scope: Scope, subject: str) -> Deferred[None]:
        """Forget a ban, if there is one."""

    def loadPeers(limit: int = MAX_PEERS) -> Deferred[list[KnownPeer]]:
        """Peers: the pinned ones first, then those that we reached, of either those of use most lately."""

    def savePeers(peers: Sequence[KnownPeer]) -> Deferred[None]:
        """Keep peers as they are now, L{after<KnownPeer.after>} what is kept of each: all of these or none."""

    def removePeer(node_id: bytes) -> Deferred[None]:
        """Forget a peer, if it is known."""

    def close() -> Deferred[None]:
        """End.  Twice does no harm."""


def _check_pinned(count: int) -> None:
    if count > MAX_PINNED:
        raise StoreFailed(f"cannot keep more than {MAX_PINNED} static and trusted peers")


def _rank_peer(peer: KnownPeer) -> tuple[Any, ...]:
    return not peer.pinned, not peer.reached, -peer.last_success, -peer.score, peer.node_id


@implementer(IPeerStore)
class MemoryPeerStore:
    """
    Keeps nothing beyond the process.
    """

    where = "memory"

    def __init__(self) -> None:
        self._bans: dict[str, Ban] = {}
        self._peers: dict[bytes, KnownPeer] = {}

    def open(self) -> Deferred[None]:
        """See L{IPeerStore}."""
        return succeed(None)

    def loadBans(self) -> Deferred[list[Ban]]:
        """See L{IPeerStore}."""
        return succeed(self._ranked())

    def saveBan(self, ban: Ban) -> Deferred[None]:
        """See L{IPeerStore}."""
        self._bans[ban.subject] = ban
        if len(self._bans) > MAX_BANS:
            self._bans = {kept.subject: kept for kept in self._ranked()[:MAX_BANS]}
        return succeed(None)

    def removeBan(self, scope: Scope, subject: str) -> Deferred[None]:
        """See L{IPeerStore}."""
        ban = self._bans.get(subject)
        if ban is not None and ban.scope is scope:
            del self._bans[subject]
        return succeed(None)

    def loadPeers(self, limit: int = MAX_PEERS) -> Deferred[list[KnownPeer]]:
        """See L{IPeerStore}."""
        return succeed(sorted(self._peers.values(), key=_rank_peer)[: max(0, limit)])

    def savePeers(self, peers: Sequence[KnownPeer]) -> Deferred[None]:
        """See L{IPeerStore}."""

        def save() -> None:
            newest = {peer.node_id: peer for peer in peers}
            known = {**self._peers, **{key: peer.after(self._peers.get(key)) for key, peer in newest.items()}}
            _check_pinned(sum(peer.pinned for peer in known.values()))
            kept = sorted(known.values(), key=_rank_peer)[:MAX_PEERS]
            self._peers = {peer.node_id: peer for peer in kept}

        return maybeDeferred(save)

    def removePeer(self, node_id: bytes) -> Deferred[None]:
        """See L{IPeerStore}."""
        self._peers.pop(node_id, None)
        return succeed(None)

    def close(self) -> Deferred[None]:
        """See L{IPeerStore}."""
        return succeed(None)

    def _ranked(self) -> list[Ban]:
        return sorted(sorted(self._bans.values(), key=lambda ban: ban.subject), key=lambda ban: ban.lasts, reverse=True)


class Cursor(Protocol):
    """As PEP 249 has it."""

    def execute(self, statement: str, parameters: Sequence[Any] = ...) -> Any:
        """Run one statement."""

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> Any:
        """Run one statement many times."""

    def fetchone(self) -> Any:
        """The next row."""

    def fetchall(self) -> list[Any]:
        """All rows."""


@attrs.frozen
class Tables:
    """
    The statements, in the words that SQLite and PostgreSQL share.  Each method wants a transaction around it.

    @ivar mark: what stands for a parameter.
    """

    _cursor: Cursor
    mark: str = "?"

    def load_bans(self) -> list[Ban]:
        """A row that we cannot have written is passed over, here as with peers: somebody else has been there."""
        return list(_readable(_read_ban, self._run(_BANS.format(_BAN_FIELDS), MAX_BANS).fetchall()))

    def save_ban(self, ban: Ban) -> None:
        """See L{IPeerStore.saveBan}."""
        self._run(_SET_BAN, ban.subject, ban.scope.value, ban.since, ban.until, ban.reason, ban.by)
        if self._count("ethp2p_bans") > MAX_BANS:
            self._run(_TRIM_BANS, MAX_BANS)

    def remove_ban(self, scope: Scope, subject: str) -> None:
        """See L{IPeerStore.removeBan}."""
        self._run("DELETE FROM ethp2p_bans WHERE subject = ? AND scope = ?", subject, scope.value)

    def load_peers(self, limit: int) -> list[KnownPeer]:
        """See L{IPeerStore.loadPeers}."""
        return list(_readable(_read_peer, self._run(_PEERS.format(_PEER_FIELDS), max(0, limit)).fetchall()))

    def save_peers(self, peers: Sequence[KnownPeer]) -> None:
        """See L{IPeerStore.savePeers}."""
        # In one order whoever writes: two that lock the same rows the other way round wait for each other for ever.
        rows = sorted(map(_peer_row, {peer.node_id: peer for peer in peers}.values()))
        self._cursor.executemany(_SET_PEER.replace("?", self.mark), rows)
        if any(peer.pinned for peer in peers):
            _check_pinned(self._count("ethp2p_peers WHERE is_static + is_trusted > 0"))
        if self._count("ethp2p_peers") > MAX_PEERS:
            self._run(_TRIM_PEERS, MAX_PEERS)

    def remove_peer(self, node_id: bytes) -> None:
        """See L{IPeerStore.removePeer}."""
        self._run("DELETE FROM ethp2p_peers WHERE node_id = ?", node_id.hex())

    def _count(self, which: str) -> int:
        return int(self._run(f"SELECT count(*) FROM {which}").fetchone()[0])

    def _run(self, statement: str, *parameters: Any) -> Cursor:
        self._cursor.execute(statement.replace("?", self.mark), parameters)
        return self._cursor


def _peer_row(peer: KnownPeer) -> tuple[Any, ...]:
    return (
        peer.node_id.hex(),
        peer.url,
        float(peer.score),
        peer.last_success,
        json.dumps(peer.capabilities),
        peer.client,
        int(peer.static),
        int(peer.trusted),
        int(peer.reached),
    )


def _read_ban(row: Sequence[Any]) -> Ban:
    subject, scope, since, until, reason, by = row
    return Ban(Scope(scope), subject, since, until, reason, by)


def _read_peer(row: Sequence[Any]) -> KnownPeer:
    node_id, url, score, last_success, capabilities, client, static, trusted, reached = row
    return KnownPeer(
        node_id=bytes.fromhex(node_id),
        url=url,
        score=score,
        last_success=last_success,
        capabilities=json.loads(capabilities),
        client=client,
        static=bool(static),
        trusted=bool(trusted),
        reached=bool(reached),
    )


def _readable(read: Callable[[Sequence[Any]], T], rows: Iterable[Sequence[Any]]) -> Iterator[T]:
    for row in rows:
        with suppress(ConfigError, ValueError, TypeError, AttributeError, RecursionError):
            yield read(row)


@implementer(IPeerStore)
class SqlitePeerStore:
    """
    One file, used by one process.  It is written before a call returns, so its Deferreds have always fired; a process
    that dies loses nothing by that, only a machine that does, and nobody waits for a disk.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        self._path = Path(path)
        self._db: sqlite3.Connection | None = None
        self.where = str(path)

    def open(self) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._open)

    def loadBans(self) -> Deferred[list[Ban]]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.load_bans)

    def saveBan(self, ban: Ban) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.save_ban, ban)

    def removeBan(self, scope: Scope, subject: str) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.remove_ban, scope, subject)

    def loadPeers(self, limit: int = MAX_PEERS) -> Deferred[list[KnownPeer]]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.load_peers, limit)

    def savePeers(self, peers: Sequence[KnownPeer]) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.save_peers, peers)

    def removePeer(self, node_id: bytes) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._work, Tables.remove_peer, node_id)

    def close(self) -> Deferred[None]:
        """See L{IPeerStore}."""
        return maybeDeferred(self._close)

    def _open(self) -> None:
        if self._db is None:
            with self._failing("cannot be opened"):
                self._db = FORMAT.open(self._path)

    def _work(self, work: Callable[..., T], *args: Any) -> T:
        with self._failing("does not work"):
            if self._db is None:
                raise sqlite3.ProgrammingError("it is not open")
            self._db.execute("BEGIN")
            try:
                # A cursor left to a traceback would hold the file after it is closed.
                with closing(self._db.cursor()) as cursor:
                    result = work(Tables(cursor), *args)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # it is the first error that tells what is wrong
                    self._db.execute("ROLLBACK")
                raise
            return result

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with self._failing("cannot be closed"):
                db.close()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, Damaged, Foreign) as error:
            raise StoreFailed(f"the peer store {self._path} {what}: {_why(error, self._path)}") from None


def _why(error: Exception, path: Path) -> str:
    """What went wrong, on one line."""
    if isinstance(error, OSError):  # the path cannot even be looked at
        return error.strerror or words(error)
    if not no_place(error):
        return words(error)
    if not path.parent.is_dir():
        return f"{path.parent} is not a directory"
    if path.is_dir():
        return f"{path} is a directory"
    for each in (path.parent, path):
        if each.exists() and not os.access(each, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            return f"{each} may not be written"
    return words(error)
