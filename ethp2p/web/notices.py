"""
Events as JSON: as geth's console expects them, and as L{ethp2p.events} has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import attrs

from ethp2p import events
from ethp2p.events import PeerAdded, PeerDropped

#: The schema's kind of an event, where it is not its class's name.
KINDS: Mapping[type, str] = {
    events.DialProgress: "dial",
    events.DialFailed: "dial",
    events.PeerAdded: "peer_hello",
    events.PeerDropped: "peer_disconnected",
    events.RequestDone: "request",
    events.ScoreChanged: "score",
    events.BanAdded: "ban",
    events.BanRemoved: "ban",
}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _json(value: Any) -> Any:
    if isinstance(value, Enum):  # before the numbers: some are both
        return value.name.lower()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(each) for each in value]
    if attrs.has(type(value)):
        return {field.name: _json(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return str(value)


def household_event(event: object) -> dict[str, Any]:
    """
    Any event of L{ethp2p.events}: its fields, C{kind} as L{KINDS} has it, and C{event}, its class in snake case.
    Bytes are C{0x} and hex; a reason or an offence is its name in lower case.
    """
    name = _snake(type(event).__name__)
    return {"kind": KINDS.get(type(event), name), "event": name, **_json(event)}


def _ends(peer: events.Peer) -> dict[str, str]:
    return {"peer": peer.node_id.hex(), "local": peer.local, "remote": peer.address}


def peer_event(event: object) -> dict[str, Any] | None:
    """
    A peer that came or went, as geth's C{PeerEvent}; None for anything else.  Who was refused never was a peer.
    """
    match event:
        case PeerAdded(peer=peer):
            return {"type": "add", **_ends(peer)}
        case PeerDropped(peer=peer, added=True, reason=reason, detail=detail):
            error = detail or ("" if reason is None else reason.words)
            return {"type": "drop", **({"error": error} if error else {}), **_ends(peer)}
    return None


def household_gap(lost: int) -> dict[str, Any]:
    """So many events are missing before the next."""
    return {"kind": "sink_gap", "lost": lost}


def peer_gap(lost: int) -> dict[str, Any]:
    """The same, where the kind of an event is its C{type}."""
    return {"type": "sink_gap", "lost": lost}
