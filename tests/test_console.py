"""
What happens, as an operator reads it.
"""

from __future__ import annotations

import attrs
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import events
from ethp2p.console import CALLERS_AT_ONCE, CALLERS_INTERVAL, Console, sentence
from ethp2p.errors import DisconnectReason, Offence

ID = b"\xab" * 32
DIALED = events.Peer(node_id=ID, inbound=False, address="10.0.0.2:30303", client="Geth/v1", capabilities=("eth/69",))
CALLER = attrs.evolve(DIALED, inbound=True)
DROPPED = events.PeerDropped(
    peer=DIALED, added=True, by_us=True, reason=DisconnectReason.TOO_MANY_PEERS, detail="", duration=12.3
)
REFUSED = events.Refused(address="10.0.0.3:5", node_id=None, inbound=True, rule="throttled", detail="too soon")
BAN = events.BanAdded(scope="ip", subject="10.0.0.3", until=1_700_000_000, reason="floods", by="operator")


class SentenceTests(SynchronousTestCase):
    def test_sentences(self) -> None:
        """
        Each thing that an operator waits for.
        """
        hello = attrs.evolve(DIALED, client="", capabilities=())
        nobody = attrs.evolve(DROPPED, added=False, peer=attrs.evolve(hello, inbound=True))
        for event, words in (
            (
                events.PeerAdded(peer=DIALED, shared=("eth/69",)),
                "-> abababab 10.0.0.2:30303 met: Geth/v1, speaks eth/69 with us, offers eth/69",
            ),
            (
                events.PeerStatus(peer=CALLER, protocol="eth/69", status={"latest": 7}),
                "<- abababab 10.0.0.2:30303 is on our chain: eth/69, head 7",
            ),
            (
                events.PeerStatus(peer=DIALED, protocol="eth/68", status={"head_hash": b"\x01"}),
                "-> abababab 10.0.0.2:30303 is on our chain: eth/68, head 0x01",
            ),
            (DROPPED, "-> abababab 10.0.0.2:30303 we parted after 12 s: too many peers"),
            (
                attrs.evolve(DROPPED, by_us=False, detail="makes room"),
                "-> abababab 10.0.0.2:30303 it parted after 12 s: too many peers (makes room)",
            ),
            (
                attrs.evolve(DROPPED, reason=None),
                "-> abababab 10.0.0.2:30303 lost after 12 s: the connection ended without a word",
            ),
            (
                attrs.evolve(DROPPED, added=False),
                "-> abababab 10.0.0.2:30303 we refused: too many peers; it offers eth/69",
            ),
            (nobody, "<- abababab 10.0.0.2:30303 we refused: too many peers"),
            (
                attrs.evolve(nobody, reason=None, detail="reset"),
                "<- abababab 10.0.0.2:30303 lost before we met: reset",
            ),
            (REFUSED, "<- 10.0.0.3:5 not let in: too soon"),
            (
                events.DialFailed(node_id=ID, address="10.0.0.2:1", reason="no answer.", attempt=2, retry_in=35.2),
                "-> abababab 10.0.0.2:1 not reached: no answer; try 2, again in 35 s",
            ),
            (
                events.DialFailed(node_id=ID, address="10.0.0.2:1", reason="no answer", attempt=2, retry_in=None),
                "-> abababab 10.0.0.2:1 not reached: no answer",
            ),
            (
                events.OffenceBooked(peer=DIALED, offence=Offence.TIMEOUT, evidence="GetBlockBodies"),
                "-> abababab 10.0.0.2:30303 did not answer in time: GetBlockBodies",
            ),
            (BAN, "10.0.0.3 is banned until 2023-11-14 22:13:20 UTC, by operator: floods"),
            (attrs.evolve(BAN, until=None, reason="", by="reputation"), "10.0.0.3 is banned for ever, by reputation"),
            (events.BanRemoved(scope="ip", subject="10.0.0.3", why="expired"), "the ban of 10.0.0.3 is over"),
            (events.BanRemoved(scope="ip", subject="10.0.0.3", why="lifted"), "the ban of 10.0.0.3 is lifted"),
            (
                events.BanRemoved(scope="ip", subject="10.0.0.3", why="displaced"),
                "the ban of 10.0.0.3 gave way to a newer one, since there are too many",
            ),
            (events.PolicyChanged(names=("max-peers", "weight")), "settings changed: max-peers, weight"),
            (events.HeadChanged(number=7, hash=b"\x02"), "head is 7 0x02"),
        ):
            self.assertEqual(sentence(event), words)

    def test_silence(self) -> None:
        """
        What happens all the time, and what is told in other words, has no line of its own.
        """
        for event in (
            events.DialProgress(node_id=ID, address="10.0.0.2:1", inbound=False, stage="tcp"),
            events.ScoreChanged(
                node_id=ID, what="timeout", delta=-4.0, score=46.0, evidence="", action="none", dry_run=False
            ),
            events.RequestDone(peer=DIALED, message="GetBlockHeaders", items=1, size=5, rtt=0.1, result="ok"),
            events.PolicyChanged(names=()),
            attrs.evolve(REFUSED, node_id=ID),  # its session is dropped, too
        ):
            self.assertIsNone(sentence(event))


class ConsoleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.console = Console(self.clock.seconds)
        self.lines: list[str] = []

        def observe(event: dict[str, object]) -> None:
            if "words" in event:
                self.lines.append(str(event["words"]))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_flood(self) -> None:
        """
        A flood of callers is a few lines, and one now and then that says how many there were.  It drowns nothing else.
        """
        refused = attrs.evolve(DROPPED, peer=CALLER, added=False)
        for _ in range(500):
            self.console.eventHappened(REFUSED)
            self.console.eventHappened(refused)
        self.assertEqual(len(self.lines), CALLERS_AT_ONCE)
        self.console.eventHappened(DROPPED)
        self.assertEqual(self.lines[CALLERS_AT_ONCE:], [sentence(DROPPED)])
        self.clock.advance(CALLERS_INTERVAL)
        for _ in range(2):
            self.console.eventHappened(REFUSED)
        words = f"{sentence(REFUSED)}; {1000 - CALLERS_AT_ONCE} more were not let in before"
        self.assertEqual(self.lines[CALLERS_AT_ONCE + 1 :], [words])

    def test_nothing(self) -> None:
        self.console.eventHappened(object())
        self.assertEqual(self.lines, [])
