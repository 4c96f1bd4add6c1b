"""
The node database's file: its tables, and where it goes when it is damaged.
"""

from __future__ import annotations

import os
from pathlib import Path

from ethp2p.sqlitefile import Format

#: The schema's version, as C{user_version} in the file.
VERSION = 1
#: C{application_id} in the file: whose it is.
APPLICATION = 0x65746832

SCHEMA = """
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
"""

#: How the file is told from others.
FORMAT = Format(APPLICATION, VERSION, SCHEMA, indexes=True)


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
