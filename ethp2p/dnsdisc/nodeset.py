"""
C{nodes.json}: a set of nodes in a file, as geth's C{devp2p} tool reads and writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Union

import attrs

from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, WireError

#: Most bytes of a file that is read: about 150,000 nodes.
MAX_FILE = 64 << 20
#: How geth writes that there was no such time.
NEVER = "0001-01-01T00:00:00Z"

FilePath = Union[str, "os.PathLike[str]"]


def to_time(seconds: float | None) -> str:
    """Unix seconds as geth writes times: RFC 3339, a fraction without zeros at its end."""
    if seconds is None:
        return NEVER
    time = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return (time.rstrip("0") if "." in time else time) + "Z"


def from_time(text: str) -> float | None:
    """
    @return: Unix seconds, or None for L{NEVER}.
    @raise ValueError: not a time.
    """
    when = datetime.fromisoformat(text)
    return None if when.year == 1 else (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def load_json(path: FilePath) -> Any:
    """
    @raise FileNotFoundError: there is no such file.
    @raise ConfigError: it cannot be read, is too large, or no JSON.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError(f"{path}: over {MAX_FILE} bytes")
        return json.loads(data)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None


def save_json(path: FilePath, value: object) -> None:
    """
    Write a file whole or not at all.

    @raise ConfigError: it cannot be written.
    """
    fresh = Path(path).with_name(Path(path).name + ".new")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(json.dumps(value, indent=4))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


@attrs.frozen
class SeenNode:
    """
    A node as a crawler knows it.  Times are Unix seconds, None for never.
    """

    record: Record
    #: Raised by one with each check that the node passed, halved with each that it did not.
    score: int = 0
    first_response: float | None = None
    last_response: float | None = None
    #: When it was last tried.
    last_check: float | None = None


@attrs.frozen
class NodeSet:
    """
    Nodes by id.
    """

    nodes: Mapping[bytes, SeenNode]

    @classmethod
    def of(cls, records: Iterable[Record]) -> NodeSet:
        """
        Of records alone, of which nothing else is known.

        @raise ConfigError: a record of an identity scheme that nobody here knows.
        """
        nodes = {}
        for record in records:
            if record.node_id is None:
                raise ConfigError(f"a record of the identity scheme {record.scheme!r}")
            nodes[record.node_id] = SeenNode(record)
        return cls(nodes)

    @classmethod
    def read(cls, path: FilePath) -> NodeSet:
        """
        @raise ConfigError: the file cannot be read, or a node in it does not agree with its record.
        """
        try:
            value = load_json(path)
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no such file") from None
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: not a JSON object of nodes by id")
        nodes = {}
        for name, fields in value.items():
            try:
                node_id, node = _load(name, fields)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, WireError) as error:
                raise ConfigError(f"{path}: node {name[:64]!r}: {_words(error)}") from None
            nodes[node_id] = node
        return cls(nodes)

    def write(self, path: FilePath) -> None:
        """@raise ConfigError: it cannot be written."""
        save_json(path, self.value())

    def value(self) -> dict[str, Any]:
        """What is in the file, for C{json}."""
        return {node_id.hex(): _dump(self.nodes[node_id]) for node_id in sorted(self.nodes)}

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, sorted by id."""
        return tuple(self.nodes[node_id].record for node_id in sorted(self.nodes))


def _load(name: str, fields: Mapping[str, Any]) -> tuple[bytes, SeenNode]:
    record = Record.parse(fields["record"])
    node_id = bytes.fromhex(name.removeprefix("0x"))
    if record.node_id != node_id:
        raise ValueError("the record is of another node")
    if fields["seq"] != record.seq:
        raise ValueError(f"the record has seq {record.seq}")
    score = fields.get("score", 0)
    if type(score) is not int:
        raise ValueError("the score is not a whole number")
    times = [from_time(fields.get(key, NEVER)) for key in ("firstResponse", "lastResponse", "lastCheck")]
    return node_id, SeenNode(record, score, *times)


def _dump(node: SeenNode) -> dict[str, Any]:
    fields: dict[str, Any] = {"seq": node.record.seq, "record": node.record.text}
    if node.score:
        fields["score"] = node.score
    fields["firstResponse"] = to_time(node.first_response)
    fields["lastResponse"] = to_time(node.last_response)
    fields["lastCheck"] = to_time(node.last_check)
    return fields


def _words(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)
