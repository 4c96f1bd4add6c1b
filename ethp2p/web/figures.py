"""
A node's numbers of this moment, read from the plain counters that its parts keep.
"""

from __future__ import annotations

from collections.abc import Iterator

from ethp2p.errors import Offence
from ethp2p.node import Node
from ethp2p.peers.admission import Rule
from ethp2p.peers.journeys import Stage
from ethp2p.rlpx import Traffic
from ethp2p.web.facade import Sample


def samples(node: Node) -> Iterator[Sample]:
    """All of them; no label has a value that a peer could choose."""
    yield from _peers(node)
    yield from _calls(node)
    yield from _conduct(node)
    yield from _traffic(node.traffic)
    yield Sample("head_number", "gauge", "Number of our head block.", node.chain.head().number)


def _peers(node: Node) -> Iterator[Sample]:
    household = node.household
    roster, policy = household.roster, household.books.policy
    for direction, count in (("in", roster.inbound), ("out", roster.dialed)):
        yield Sample("peers", "gauge", "Peers, by who called whom.", count, {"dir": direction})
    for direction, count in (("in", policy.max_inbound), ("out", policy.max_dialed)):
        yield Sample("peers_most", "gauge", "Most peers, by who called whom.", count, {"dir": direction})
    doorway = household.doorway
    yield Sample("callers_waiting", "gauge", "Callers that wait at the door, unread.", doorway.waiting)
    yield Sample("callers_inside", "gauge", "Callers whose handshake goes on.", doorway.inside)


def _calls(node: Node) -> Iterator[Sample]:
    funnel = node.household.books.journeys.funnel()
    for stage in Stage:
        words = "Calls of ours that came to a stage."
        yield Sample("dials", "counter", words, funnel["stages"][stage.label], {"stage": stage.label})
    for label, causes in funnel["failures"].items():
        for cause, count in causes.items():
            words = "Calls of ours that ended before a stage, by cause."
            yield Sample("dials_failed", "counter", words, count, {"stage": label, "cause": cause})
    yield Sample("dials_under_way", "gauge", "Calls under way.", node.household.books.dialer.calling)


def _conduct(node: Node) -> Iterator[Sample]:
    books = node.household.books
    for rule in Rule:
        words = "Peers and callers not let in, by rule."
        yield Sample("refused", "counter", words, books.refusals[rule.value], {"rule": rule.value})
    for offence in Offence:
        kind = offence.name.lower()
        yield Sample("offences", "counter", "Offences booked, by kind.", books.offences[offence], {"kind": kind})
    for (by, reason), count in books.partings.items():
        words = "Sessions that ended, by who ended them and why."
        yield Sample("disconnects", "counter", words, count, {"by": by, "reason": reason})
    yield Sample("bans", "gauge", "Bans in force.", len(books.bans))


def _traffic(traffic: Traffic) -> Iterator[Sample]:
    for direction in ("in", "out"):
        labels = {"dir": direction}
        count = traffic.total(f"messages_{direction}")
        yield Sample("messages", "counter", "Messages over all connections.", count, labels)
        yield Sample("bytes", "counter", "Bytes over all connections.", traffic.total(f"bytes_{direction}"), labels)
    for result, count in (("ok", traffic.handshakes_ok), ("failed", traffic.handshakes_failed)):
        yield Sample("handshakes", "counter", "Cryptographic handshakes.", count, {"result": result})
