"""
The node database's file: its tables, and how it is opened, refused, or found to be damaged.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ethp2p.errors import ConfigError

#: The schema's version, as C{user_version} in the file.
VERSION = 1
#: C{application_id} in the file: whose it is.
APPLICATION = 0x65746832

SCHEMA = f"""
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL,
    host TEXT NOT NULL,
    tcp INTEGER NOT NULL,
    udp INTEGER NOT NULL,
    record BLOB,
    seq BLOB,              -- of the record, 8 bytes
    subnet TEXT,           -- NULL on the local network
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    last_pong REAL,        -- over whichever protocol, NULL when it never answered
    checks INTEGER
);
CREATE INDEX nodes_by_age ON nodes (last_pong IS NOT NULL, last_seen);
CREATE INDEX nodes_by_subnet ON nodes (subnet, last_pong IS NOT NULL, last_seen);
CREATE TABLE addresses (
    node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
    protocol TEXT NOT NULL,
    ip TEXT NOT NULL,
    last_seen REAL NOT NULL,
    last_pong REAL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (node, protocol, ip)
) WITHOUT ROWID;
CREATE TABLE own (
    id BLOB PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
PRAGMA application_id = {APPLICATION};
"""

#: What is wrong with a file that was ours and can be no more (sqlite.org, "Result and Error Codes").
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Damaged(Exception):
    """What is in the file cannot be read any more."""


def open_file(path: Path | None) -> sqlite3.Connection:
    """
    The file, with its tables in it.

    @param path: None for one in memory.
    @raise ConfigError: it is not for us; not a byte of it has changed.
    @raise Damaged: it is damaged.
    @raise sqlite3.Error: it cannot be opened, or another process has it open.
    """
    if path is not None and path.exists() and path.stat().st_size:
        _look(path)
    db = sqlite3.connect(":memory:" if path is None else path, timeout=0.0, isolation_level=None)
    try:
        with _finding_damage():
            # For this process alone, with no file of shared memory: two would write over each other's seq.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            # A process that dies loses nothing by it, only a machine that does, and no commit waits for a disk.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _look(path: Path) -> None:
    """Whether the file is one of ours, without changing anything."""
    beside = [path.with_name(path.name + end) for end in ("-shm", "-wal")]
    made = [other for other in beside if not other.exists()]  # SQLite makes them, empty, for who only reads
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=0.0, isolation_level=None, uri=True)
    alone = False  # once it can be read, and until it is closed, nobody else has it open to write
    try:
        with _finding_damage():
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            alone = True
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if tables and application != APPLICATION:
                raise ConfigError(f"{path} is a database of another program")
            if version > VERSION:
                raise ConfigError(f"{path} is of format {version}, written by a newer ethp2p: this one knows {VERSION}")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise Damaged
    finally:
        for other in made if alone else ():
            other.unlink(missing_ok=True)
        db.close()


@contextmanager
def _finding_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGE:
            raise Damaged from None
        raise


def put_aside(path: Path) -> Path:
    """Give a file another name, in place of what had it.  @return: that name."""
    aside = path.with_name(path.name + ".damaged")
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    for end in ("-wal", ""):
        old, new = path.with_name(path.name + end), aside.with_name(aside.name + end)
        new.unlink(missing_ok=True)
        if old.exists() and old.stat().st_size:
            os.replace(old, new)
        old.unlink(missing_ok=True)
    return aside


#: What is wrong with a place where nothing can be written, as opposed to a file that is not for us.
_NO_PLACE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def no_place(error: Exception) -> bool:
    """Whether the disk is full or cannot be written: nothing is wrong with what is in the file."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_PLACE
    return isinstance(error, OSError)


def words(error: Exception) -> str:
    """What went wrong, on one line."""
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return "another process has it open"
    return " ".join(str(error).split()) or "it is damaged"
