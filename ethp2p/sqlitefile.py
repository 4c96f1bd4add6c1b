"""
A SQLite file of ours: how it is made, opened, refused, and found to be damaged.

It is for one process alone, with no file of shared memory beside it: two would write over each other.  A process that
dies loses nothing by that, only a machine that does, and no commit waits for a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

#: What is wrong with a file that was ours and can be no more (sqlite.org, "Result and Error Codes").
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: What is wrong with a place where nothing can be written, as opposed to a file that is not for us.
_NO_PLACE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Damaged(Exception):
    """What is in the file cannot be read any more."""

    def __str__(self) -> str:
        return "it is damaged"


class Foreign(Exception):
    """The file is not for us."""


@attrs.frozen
class Format:
    """
    Whose file it is, and what is in it.
    """

    #: C{application_id} in the file.
    application: int
    #: C{user_version} in the file.
    version: int
    #: What makes the tables, with semicolons between.
    schema: str
    #: What makes of a file of version 1 one of version 2, and so on.
    steps: tuple[str, ...] = ()
    #: Whether damage to an index alone is damage.  The rows can all be read still, but none can be taken out any more.
    indexes: bool = False

    def open(self, path: Path | None) -> sqlite3.Connection:
        """
        The file, with its tables in it.

        @param path: None for one in memory.
        @raise Foreign: it is of another program or of a newer version; not a byte of it has changed.
        @raise Damaged: it is damaged.
        @raise sqlite3.Error: it cannot be opened, or another process has it open.
        """
        if path is not None and path.exists() and path.stat().st_size:
            self._look(path)
        db = sqlite3.connect(":memory:" if path is None else path, timeout=0.0, isolation_level=None)
        db.text_factory = _text
        try:
            with _finding_damage():
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("BEGIN IMMEDIATE")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version < self.version:
                    for statement in self.steps[version - 1 :] if version else self.schema.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {self.version}")
                    db.execute(f"PRAGMA application_id = {self.application}")
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _look(self, path: Path) -> None:
        """Whether the file is one of ours and whole, without changing anything."""
        beside = [path.with_name(path.name + end) for end in ("-shm", "-wal")]
        made = [other for other in beside if not other.exists()]  # SQLite makes them, empty, for who only reads
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=0.0, isolation_level=None, uri=True)
        db.text_factory = _text
        alone = False  # once it can be read, and until it is closed, nobody else has it open to write
        try:
            with _finding_damage():
                tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                alone = True
                application = db.execute("PRAGMA application_id").fetchone()[0]
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if tables and application != self.application:
                    raise Foreign("it is a database of another program")
                if version > self.version:
                    raise Foreign(
                        f"it is of format {version}, written by a newer ethp2p: this one knows {self.version}"
                    )
                check = "integrity_check" if self.indexes else "quick_check"
                if db.execute(f"PRAGMA {check}(1)").fetchone()[0] != "ok":
                    raise Damaged
        except Damaged:
            alone = True
            raise
        finally:
            for other in made if alone else ():
                other.unlink(missing_ok=True)
            db.close()


def _text(raw: bytes) -> str:
    """A text whose bytes have changed on the disk must not keep all others from being read."""
    return raw.decode(errors="replace")


@contextmanager
def _finding_damage() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:  # of SQLite's own words, which quote what is damaged
        raise Damaged from None
    except sqlite3.Error as error:
        if _code(error) in _DAMAGE:
            raise Damaged from None
        raise


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def no_place(error: Exception) -> bool:
    """Whether the disk is full or cannot be written: nothing is wrong with what is in the file."""
    return _code(error) in _NO_PLACE if isinstance(error, sqlite3.Error) else isinstance(error, OSError)


def words(error: Exception) -> str:
    """What went wrong, on one line."""
    if _code(error) == sqlite3.SQLITE_BUSY:
        return "another process has it open"
    return "it is damaged" if _code(error) in _DAMAGE else " ".join(str(error).split()) or "it is damaged"
