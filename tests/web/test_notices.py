"""
Every event has a JSON form, and nothing of it is lost.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import events
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.web.notices import household_event, peer_event

PEER = events.Peer(
    node_id=b"\x0a" * 32,
    inbound=True,
    address="10.0.0.2:51234",
    local="10.0.0.1:30303",
    client="Geth",
    capabilities=("eth/69",),
)
DROPPED = events.PeerDropped(
    peer=PEER, added=True, by_us=False, reason=DisconnectReason.TOO_MANY_PEERS, detail="", duration=1.5
)
ID = "0a" * 32
#: What geth's console is told of the two ends.
ENDS = {"peer": ID, "local": "10.0.0.1:30303", "remote": "10.0.0.2:51234"}


def example(kind: type) -> Any:
    """One event of a class, with a value in each field."""
    values = {
        "peer": PEER,
        "node_id": PEER.node_id,
        "hash": b"\x01",
        "reason": "why",
        "offence": Offence.FLOOD,
        "status": {"genesis": b"\x02", "fork_id": [b"\x03", 4], "td": 2**70},
        "shared": ("eth/69",),
        "names": ("max-peers",),
    }
    return kind(**{field.name: values.get(field.name, 1) for field in attrs.fields(kind)})


class HouseholdEventTests(SynchronousTestCase):
    def test_all(self) -> None:
        kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and attrs.has(kind)]
        kinds.remove(events.Peer)
        self.assertGreater(len(kinds), 10)
        for kind in kinds:
            told = json.loads(json.dumps(household_event(example(kind)), allow_nan=False))
            self.assertEqual(set(told), {"kind", "event", *(field.name for field in attrs.fields(kind))})
            self.assertRegex(told["kind"], "^[a-z_]+$")

    def test_kinds(self) -> None:
        for kind, expected in (
            (events.DialFailed, ("dial", "dial_failed")),
            (events.DialProgress, ("dial", "dial_progress")),
            (events.PeerAdded, ("peer_hello", "peer_added")),
            (events.PeerStatus, ("peer_status", "peer_status")),
            (events.PeerDropped, ("peer_disconnected", "peer_dropped")),
            (events.ScoreChanged, ("score", "score_changed")),
            (events.BanAdded, ("ban", "ban_added")),
            (events.BanRemoved, ("ban", "ban_removed")),
            (events.RequestDone, ("request", "request_done")),
            (events.HeadChanged, ("head_changed", "head_changed")),
        ):
            told = household_event(example(kind))
            self.assertEqual((told["kind"], told["event"]), expected)

    def test_values(self) -> None:
        self.assertEqual(
            household_event(DROPPED),
            {
                "kind": "peer_disconnected",
                "event": "peer_dropped",
                "peer": {
                    "node_id": "0x" + ID,
                    "inbound": True,
                    "address": "10.0.0.2:51234",
                    "local": "10.0.0.1:30303",
                    "client": "Geth",
                    "capabilities": ["eth/69"],
                },
                "added": True,
                "by_us": False,
                "reason": "too_many_peers",
                "detail": "",
                "duration": 1.5,
            },
        )
        status = household_event(example(events.PeerStatus))["status"]
        self.assertEqual(status, {"genesis": "0x02", "fork_id": ["0x03", 4], "td": 2**70})
        self.assertEqual(household_event(example(events.OffenceBooked))["offence"], "flood")


class PeerEventTests(SynchronousTestCase):
    def test_add(self) -> None:
        told = peer_event(events.PeerAdded(peer=PEER, shared=("eth/69",)))
        self.assertEqual(told, {"type": "add", **ENDS})

    def test_drop(self) -> None:
        told = {"type": "drop", "error": "too many peers", **ENDS}
        self.assertEqual(peer_event(DROPPED), told)
        self.assertEqual(peer_event(attrs.evolve(DROPPED, detail="no slot")), told | {"error": "no slot"})
        del told["error"]
        self.assertEqual(peer_event(attrs.evolve(DROPPED, reason=None)), told)

    def test_who_never_came_does_not_go(self) -> None:
        self.assertIsNone(peer_event(attrs.evolve(DROPPED, added=False)))
        self.assertIsNone(peer_event(events.HeadChanged(number=1, hash=b"")))
