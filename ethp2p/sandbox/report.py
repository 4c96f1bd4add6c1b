"""
The sandbox's console.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, TextIO

from ethp2p import __version__
from ethp2p.events import Peer, PeerDropped
from ethp2p.sandbox.cast import Part

if TYPE_CHECKING:
    from ethp2p.sandbox.service import Player

_COLUMNS = "{:<6} {:>11} {:>16} {:>11} {:>11} {:>9} {:>7} {:>11}"


def _size(count: int) -> str:
    return f"{count:,} B" if count < 10_000 else f"{count / 1000:,.0f} kB"


class Report:
    """
    Prints what happens, a line each, and a table now and then.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def _print(self, text: str = "") -> None:
        print(text, file=self._out, flush=True)

    def headline(self, nodes: int, period: float) -> None:
        """What this is."""
        self._print(f"ethp2p {__version__} sandbox: a private network of {nodes} nodes in this process, on loopback.")
        self._print("They know one of them, find each other by discv4 and discv5, and meet over RLPx.  A chain of")
        self._print(
            f"signed transfers grows every {period:g} s; they download it from each other and verify it.  One has"
        )
        self._print("another genesis and is refused.  Ctrl-C ends it.")
        self._print()

    def introduce(self, part: Part, url: str) -> None:
        """One node."""
        versions = "eth/" + ",".join(map(str, part.versions))
        finding = "discv" + ",".join(map(str, part.discovery))
        self._print(f"{part.name:<5} {versions:<16} {finding:<9} {part.role:<20} {url}")

    def gap(self) -> None:
        """An empty line."""
        self._print()

    def met(self, now: float, caller: str, called: str, language: str, peer: Peer) -> None:
        """Two nodes met."""
        offers = " ".join(peer.capabilities)
        self._print(f"{now:7.2f} s  {caller:>5} -> {called:<5} met      {peer.client}  [{offers}]: {language}")

    def refused(self, now: float, caller: str, called: str, event: PeerDropped) -> None:
        """A node was refused, or lost."""
        words = "refused" if event.by_us else "parted"
        reason = event.reason.words if event.reason is not None else "connection lost"
        offers = " ".join(event.peer.capabilities)
        why = f"{reason}: {event.detail}" if event.detail else reason
        self._print(f"{now:7.2f} s  {caller:>5} -> {called:<5} {words:<8} {event.peer.client}  [{offers}]: {why}")

    def table(self, now: float, players: Sequence[Player]) -> None:
        """How everybody is."""
        self._print()
        heads = ("node", "peers in/out", "head", "received", "sent", "requests", "failed", "round trip")
        self._print(f"{now:7.2f} s  " + _COLUMNS.format(*heads))
        for player in players:
            places = player.node.household.roster.added()
            inbound = sum(place.inbound for place in places)
            head = player.chain.head()
            trips = player.round_trips
            self._print(
                " " * 11
                + _COLUMNS.format(
                    player.part.name,
                    f"{inbound} / {len(places) - inbound}",
                    f"{head.number} {head.hash.hex()[:8]}",
                    _size(player.node.traffic.total("bytes_in")),
                    _size(player.node.traffic.total("bytes_out")),
                    player.requests,
                    player.failed,
                    f"{median(trips) * 1000:.1f} ms" if trips else "-",
                )
            )
        self._print()

    def verdict(self, absent: Sequence[str]) -> None:
        """Whether all went as it should."""
        if not absent:
            self._print("check: every expected meeting, refusal and verified download happened")
        for sentence in absent:
            self._print(f"check: {sentence}")
