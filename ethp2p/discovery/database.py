"""
The nodes we know, between one run and the next: where they were, when they answered, how often they did not.

What is told is gathered in memory and written by L{NodeDatabase.flush} in one transaction, so that a process that is
killed at any moment leaves a whole file that lacks what was told since.  Wall times are Unix time in seconds, and all
of them are given.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Union

import attrs

from ethp2p.crypto.keys import PublicKey
from ethp2p.discovery.schema import FORMAT, put_aside
from ethp2p.enode import Node
from ethp2p.enode.local import MAX_SEQ
from ethp2p.enr import Record
from ethp2p.errors import ConfigError, P2PError, WireError
from ethp2p.kademlia import subnets
from ethp2p.sqlitefile import Damaged, Foreign, no_place, words

#: Most nodes kept, about 12 MiB.  Those that never answered go first, then those not seen for longest.
MAX_NODES = 20_000
#: Most nodes of one public /24 or /64, so that one subnet with many keys cannot push out the others.
MAX_PER_SUBNET = 32
#: Most addresses remembered for a node and a protocol; a node that moves for ever must not fill the disk.
MAX_ADDRESSES = 4
#: Most nodes gathered until they are written unasked: a transaction that large takes about 15 ms.
MAX_PENDING = 256
#: Most nodes that one L{NodeDatabase.expire} forgets.
MAX_EXPIRED = 1024
#: Seconds that a node is kept that never answered, and one that did.
LIFETIME = 24 * 3600.0
LIVE_LIFETIME = 5 * 24 * 3600.0
#: Seeds for a start, the time in seconds since they must have answered, and how many a public subnet may give.
SEEDS = 30
SEED_AGE = 5 * 24 * 3600.0
SEEDS_PER_SUBNET = 2

_SET_NODE = """
INSERT INTO nodes (id, key, host, tcp, udp, record, seq, subnet, first_seen, last_seen, last_pong, checks)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    host = excluded.host, tcp = excluded.tcp, udp = excluded.udp, subnet = excluded.subnet,
    record = CASE WHEN excluded.seq IS NULL OR excluded.seq < seq THEN record ELSE excluded.record END,
    seq = CASE WHEN excluded.seq IS NULL OR excluded.seq < seq THEN seq ELSE excluded.seq END,
    last_seen = max(last_seen, excluded.last_seen),
    last_pong = coalesce(max(last_pong, excluded.last_pong), last_pong, excluded.last_pong),
    checks = coalesce(excluded.checks, checks)
"""
_SET_ADDRESS = """
INSERT INTO addresses (node, protocol, ip, last_seen, last_pong, failures)
SELECT number, ?2, ?3, ?4, ?5, ?6 FROM nodes WHERE id = ?1
ON CONFLICT DO UPDATE SET
    last_seen = max(last_seen, excluded.last_seen),
    last_pong = coalesce(max(last_pong, excluded.last_pong), last_pong, excluded.last_pong),
    failures = excluded.failures + CASE WHEN ?7 THEN 0 ELSE failures END
"""
_TRIM_ADDRESSES = """
DELETE FROM addresses WHERE node = (SELECT number FROM nodes WHERE id = ?1) AND protocol = ?2 AND ip IN (
    SELECT ip FROM addresses JOIN nodes ON number = node WHERE id = ?1 AND protocol = ?2
    ORDER BY addresses.last_seen DESC LIMIT -1 OFFSET ?3)
"""
_TRIM_SUBNET = """
DELETE FROM nodes WHERE number IN (
    SELECT number FROM nodes WHERE subnet = ? ORDER BY last_pong IS NOT NULL DESC, last_seen DESC LIMIT -1 OFFSET ?)
"""
_TRIM_NODES = """
DELETE FROM nodes WHERE number IN (
    SELECT number FROM nodes ORDER BY last_pong IS NOT NULL, last_seen LIMIT max(0, (SELECT count(*) FROM nodes) - ?))
"""
_EXPIRE = """
DELETE FROM nodes WHERE number IN (
    SELECT number FROM nodes
    WHERE last_pong IS NULL AND last_seen < ?1 OR last_pong IS NOT NULL AND last_seen < ?2 LIMIT ?3)
"""
_NODE = "SELECT key, host, tcp, udp, record FROM nodes WHERE number = ?"


class NoPlace(ConfigError):
    """The node database cannot be kept here: the disk is full, or cannot be written."""


class DatabaseFailed(P2PError):
    """The node database cannot be written."""


@attrs.frozen
class Address:
    """
    How a node was at one IP address, asked in one protocol.
    """

    protocol: str
    ip: str
    last_seen: float
    #: None when it never answered there.
    last_pong: float | None
    #: FINDNODE in a row without an answer.
    failures: int


@attrs.frozen
class Known:
    """
    All that is written of a node.
    """

    node: Node
    first_seen: float
    last_seen: float
    #: None when it never answered.
    last_pong: float | None
    #: Liveness checks passed.
    checks: int
    addresses: tuple[Address, ...]


@attrs.define
class _AddressNews:
    seen: float
    pong: float | None = None
    answered: bool = False
    failures: int = 0


@attrs.define
class _News:
    """What is gathered of a node: nothing but failures when it has not been seen."""

    node: Node
    first_seen: float
    last_seen: float | None = None
    pong: float | None = None
    checks: int | None = None
    addresses: dict[tuple[str, str], _AddressNews] = attrs.field(factory=dict)


class NodeDatabase:
    """
    One file, used by one process.

    @ivar damaged: None, or where the file went that was here and was damaged; this one is new then.
    @ivar lost: how much was told that could not be written and for which there was no more room.
    """

    def __init__(
        self,
        path: Union[str, "os.PathLike[str]", None],
        *,
        most: int = MAX_NODES,
        lifetime: float = LIFETIME,
        live_lifetime: float = LIVE_LIFETIME,
    ) -> None:
        """
        Open the file, or make it.

        A damaged file is put aside with C{.damaged} added to its name, in place of an earlier one, and a new one is
        begun: what was in it can be found again on the network, and a node that does not start cannot.

        @param path: None keeps everything in memory.
        @param most: how many nodes.
        @param lifetime: seconds that a node is kept that never answered.
        @param live_lifetime: seconds that a node is kept that did.
        @raise ConfigError: it cannot be opened, is in use, of a newer version or of another program; it has not
            been touched then.  L{NoPlace}: there is nothing wrong with it, but it cannot be written.
        """
        self.most = most
        self.lifetime = lifetime
        self.live_lifetime = live_lifetime
        self.damaged: Path | None = None
        self.lost = 0
        self._news: dict[bytes, _News] = {}
        self._forgotten: set[bytes] = set()
        self._path = None if path is None else Path(path)
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        path = self._path
        try:
            try:
                return FORMAT.open(path)
            except Damaged:
                assert path is not None
                self.damaged = put_aside(path)
                return FORMAT.open(path)
        except (sqlite3.Error, OSError, Damaged, Foreign) as error:
            kind = NoPlace if no_place(error) else ConfigError
            raise kind(f"cannot open the node database {path}: {words(error)}") from None

    # what happened

    def seen(self, node: Node, wall: float) -> None:
        """We have heard of a node, or from it.  One without an IP address is not kept."""
        self._note(node, wall)

    def ponged(self, node: Node, protocol: str, wall: float) -> None:
        """
        A node has answered.

        @param protocol: such as C{v4}.
        """
        news = self._note(node, wall)
        if news is not None:
            news.pong = wall
            self._note_address(news, protocol, wall).pong = wall

    def checked(self, node: Node, checks: int, wall: float) -> None:
        """So many liveness checks a node has passed by now."""
        news = self._note(node, wall)
        if news is not None:
            news.checks = checks

    def answered(self, node: Node, protocol: str, wall: float) -> None:
        """A node has answered FINDNODE: earlier failures are forgiven."""
        news = self._note(node, wall)
        if news is not None:
            at = self._note_address(news, protocol, wall)
            at.answered, at.failures = True, 0

    def failed(self, node: Node, protocol: str, wall: float) -> None:
        """A node has not answered FINDNODE.  Of one that is not known nothing is kept."""
        news = self._note(node, wall, seen=False)
        if news is not None:
            self._note_address(news, protocol, wall).failures += 1

    def forget(self, node: Node) -> None:
        """A node is of no use: it is of another chain."""
        self._news.pop(node.node_id, None)
        self._make_room()
        self._forgotten.add(node.node_id)

    # what is known

    def get(self, node_id: bytes) -> Known | None:
        """
        @param node_id: 32 bytes.
        @raise DatabaseFailed: the file does not work any more.
        """
        with self._reading():
            row = self._db.execute(
                "SELECT number, first_seen, last_seen, last_pong, coalesce(checks, 0) FROM nodes WHERE id = ?",
                (node_id,),
            ).fetchone()
            node = row and self._node(row[0])
            if node is None:
                return None
            addresses = self._db.execute(
                "SELECT protocol, ip, last_seen, last_pong, failures FROM addresses WHERE node = ?"
                " ORDER BY protocol, last_seen DESC",
                row[:1],
            )
            _, first_seen, last_seen, last_pong, checks = row
            at = tuple(Address(*address) for address in addresses)
            return Known(node, first_seen, last_seen, last_pong, checks, at)

    def seeds(
        self, wall: float, rng: Random, *, protocol: str | None = None, count: int = SEEDS, max_age: float = SEED_AGE
    ) -> list[Node]:
        """
        Nodes to begin with: drawn by chance from those that have answered lately, no more than
        L{SEEDS_PER_SUBNET} of any public subnet, and less failing ones before more failing ones.

        @param protocol: the one in which they have answered; None for any.
        @param max_age: how many seconds ago at most.
        @raise DatabaseFailed: the file does not work any more.
        """
        with self._reading():
            rows = self._db.execute(
                "SELECT node, subnet, min(failures) FROM addresses JOIN nodes ON number = node"
                " WHERE addresses.last_pong >= ? AND protocol = coalesce(?, protocol) GROUP BY node ORDER BY id",
                (wall - max_age, protocol),
            ).fetchall()
            rng.shuffle(rows)
            rows.sort(key=lambda row: int(row[2]))
            found: list[Node] = []
            taken: Counter[str] = Counter()
            for number, subnet, _ in rows:
                if len(found) >= count:
                    break
                if subnet is not None and taken[subnet] >= SEEDS_PER_SUBNET:
                    continue
                node = self._node(number)
                if node is not None:
                    taken[subnet] += 1
                    found.append(node)
            return found

    def __len__(self) -> int:
        with self._reading():
            return int(self._db.execute("SELECT count(*) FROM nodes").fetchone()[0])

    def seq_store(self, node_id: bytes) -> OwnSeq:
        """Where our own record's seq is kept, for L{ethp2p.enode.LocalNode}."""
        return OwnSeq(self, node_id)

    # the file

    def pause(self) -> None:
        """
        Let go of the file until L{resume}: whoever forks, as twistd does to become a daemon, leaves its locks behind
        and must have no file of SQLite open.  One in memory stays.
        """
        if self._path is not None:
            self._db.close()

    def resume(self) -> None:
        """
        Open the file again.

        @raise ConfigError: as when it was made.  What is told then is kept in memory.
        """
        if self._path is None:
            return
        try:
            self._db = self._open()
        except ConfigError:
            self._path = None
            self._db = self._open()
            raise

    def flush(self) -> None:
        """
        Write what is gathered.

        @raise DatabaseFailed: the file does not work; it is tried again next time.
        """
        if not self._news and not self._forgotten:
            return
        with self._working():
            self._write()
        self._drop()

    def expire(self, wall: float) -> int:
        """
        Forget nodes that have not been seen for too long, L{MAX_EXPIRED} at most.

        @return: how many.
        @raise DatabaseFailed: the file does not work.
        """
        self.flush()
        with self._working():
            limits = wall - self.lifetime, wall - self.live_lifetime, MAX_EXPIRED
            return self._db.execute(_EXPIRE, limits).rowcount

    def close(self) -> None:
        """
        Write what is gathered and let go of the file.

        @raise DatabaseFailed: it could not be written.
        """
        try:
            self.flush()
        finally:
            self._drop()
            self._db.close()

    def _note(self, node: Node, wall: float, *, seen: bool = True) -> _News | None:
        if node.ip is None:
            return None
        news = self._news.get(node.node_id)
        if news is None:
            self._make_room()
            news = self._news[node.node_id] = _News(node, wall)
        if seen:
            news.node = _newest(news.node, node)
            news.last_seen = wall if news.last_seen is None else max(news.last_seen, wall)
        return news

    @staticmethod
    def _note_address(news: _News, protocol: str, wall: float) -> _AddressNews:
        key = protocol, news.node.host
        if key not in news.addresses and len(news.addresses) >= 2 * MAX_ADDRESSES:
            del news.addresses[next(iter(news.addresses))]
        at = news.addresses.setdefault(key, _AddressNews(wall))
        at.seen = max(at.seen, wall)
        return at

    def _make_room(self) -> None:
        if len(self._news) + len(self._forgotten) < MAX_PENDING:
            return
        try:
            self.flush()
        except DatabaseFailed:  # whoever calls flush by the clock hears of it
            self.lost += len(self._news)
            self._drop()

    def _drop(self) -> None:
        self._news.clear()
        self._forgotten.clear()

    def _write(self) -> None:
        seen = [news for news in self._news.values() if news.last_seen is not None]
        at = [
            (node_id, protocol, ip, news)
            for node_id, known in self._news.items()
            for (protocol, ip), news in known.addresses.items()
        ]
        self._db.executemany("DELETE FROM nodes WHERE id = ?", [(node_id,) for node_id in self._forgotten])
        self._db.executemany(_SET_NODE, map(_row, seen))
        self._db.executemany(
            _SET_ADDRESS, [(*key, news.seen, news.pong, news.failures, news.answered) for *key, news in at]
        )
        self._db.executemany(_TRIM_ADDRESSES, {(node_id, protocol, MAX_ADDRESSES) for node_id, protocol, _, _ in at})
        self._db.executemany(_TRIM_SUBNET, {(_subnet(news.node), MAX_PER_SUBNET) for news in seen})
        self._db.execute(_TRIM_NODES, (self.most,))

    def _node(self, number: int) -> Node | None:
        """The node of a row; None when the row cannot have been written by us."""
        key, host, tcp, udp, record = self._db.execute(_NODE, (number,)).fetchone()
        try:
            return Node(PublicKey.parse(key), host, tcp, udp, None if record is None else Record.decode(record))
        except (WireError, ConfigError, TypeError):
            return None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.flush()
        with _failing():
            yield

    @contextmanager
    def _working(self) -> Iterator[None]:
        """A transaction."""
        with _failing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # it is the first error that tells what is wrong
                    self._db.execute("ROLLBACK")
                raise


@attrs.frozen
class OwnSeq:
    """
    A L{SeqStore<ethp2p.enode.SeqStore>} in the node database.  It is written at once.
    """

    _database: NodeDatabase
    _id: bytes

    def load(self) -> int | None:
        """The seq last saved; None when there is none, or nothing that makes sense."""
        with _failing(ConfigError):
            row = self._database._db.execute("SELECT seq FROM own WHERE id = ?", (self._id,)).fetchone()
        return row[0] if row is not None and type(row[0]) is int and 0 <= row[0] < MAX_SEQ else None

    def save(self, seq: int) -> None:
        """@raise ConfigError: it cannot be saved."""
        with _failing(ConfigError):
            self._database._db.execute("REPLACE INTO own (id, seq) VALUES (?, ?)", (self._id, seq))


@contextmanager
def _failing(error: type[P2PError] = DatabaseFailed) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failure:
        raise error(f"the node database does not work: {words(failure)}") from None


def _subnet(node: Node) -> str | None:
    subnet = None if node.ip is None else subnets.Place.of(node.ip).subnet
    return None if subnet is None else "{}/{:x}".format(*subnet)


def _newest(old: Node, new: Node) -> Node:
    """Where it was last, and its newest record."""
    if old.record is not None and (new.record is None or new.record.seq < old.record.seq):
        return attrs.evolve(new, record=old.record)
    return new


def _row(news: _News) -> tuple[Any, ...]:
    node = news.node
    record = node.record
    return (
        node.node_id,
        node.public_key.raw,
        node.host,
        node.tcp,
        node.udp,
        None if record is None else record.encode(),
        None if record is None else record.seq.to_bytes(8),
        _subnet(node),
        news.first_seen,
        news.last_seen,
        news.pong,
        news.checks,
    )
