"""
Getting one tree whole.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.dnsdisc import download
from ethp2p.dnsdisc.download import TRIES, Download, Downloaded, DownloadFailed, NoAnswer, Progress
from ethp2p.dnsdisc.state import MAX_LOOKUPS, Lookup
from ethp2p.dnsdisc.tree import Tree
from ethp2p.dnsdisc.wire import BRANCH, BadEntry, hash_of
from ethp2p.errors import OversizeError
from tests.dnsdisc.support import (
    EIP_LINK,
    KEY,
    MORE_URL,
    RECORDS,
    ZONE,
    NameServer,
    forged,
    key,
    link_to,
    published,
    records,
    texts,
)


def result(server: NameServer, engine: Download) -> Any:
    """Its last event."""
    return server.run(engine)[-1]


class DownloadTests(SynchronousTestCase):
    def test_example(self) -> None:
        event = result(NameServer(ZONE), Download(EIP_LINK))
        self.assertIsInstance(event, Downloaded)
        self.assertEqual(sorted(texts(event.tree.records)), sorted(RECORDS))
        self.assertEqual(texts(event.tree.links), [MORE_URL])
        self.assertEqual((event.tree.seq, event.tree.to_txt("n")), (1, ZONE))

    def test_progress(self) -> None:
        events = NameServer(ZONE).run(Download(EIP_LINK))
        progress = [event for event in events if isinstance(event, Progress)]
        self.assertEqual((progress[0], progress[-1]), (Progress(0, 2), Progress(5, 5)))

    def test_bad_node(self) -> None:
        """geth's tree with one record that is none."""
        zone = {
            "n": "enrtree-root:v1 e=INDMVBZEEQ4ESVYAKGIYU74EAA l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq=3 "
            "sig=Vl3AmunLur0JZ3sIyJPSH6A3Vvdp4F40jWQeCmkIhmcgwE4VC5U9wpK8C_uL_CMY29fd6FAhspRvq2z_VysTLAA",
            "C7HRFPF3BLGF3YR4DY5KX3SMBE.n": MORE_URL,
            "INDMVBZEEQ4ESVYAKGIYU74EAA.n": "enr:-----",
        }
        event = result(NameServer(zone), Download(EIP_LINK))
        self.assertIsInstance(event, DownloadFailed)
        self.assertTrue(str(event.error).startswith("INDMVBZEEQ4ESVYAKGIYU74EAA.n: "), event)

    def test_many(self) -> None:
        links = [link_to(f"d{number}") for number in range(40)]
        server = NameServer(published("n", records(200), links, seq=9))
        event = result(server, Download(link_to("n"), rate=1e4))
        self.assertEqual(event.tree, Tree.build(records(200), links, 9).sign(KEY))
        self.assertEqual(len(server.asked), len(set(server.asked)))
        self.assertEqual([name for name in server.asked if name.startswith("d")], [])  # no link is followed

    def test_empty(self) -> None:
        event = result(NameServer(published("n", [])), Download(link_to("n")))
        self.assertEqual((event.tree.records, event.tree.links), ((), ()))

    def test_one_of_each(self) -> None:
        tree = Tree.build(records(1), [EIP_LINK]).sign(KEY)
        self.assertEqual(result(NameServer(tree.to_txt("n")), Download(link_to("n"))).tree, tree)

    def test_wrong_key(self) -> None:
        event = result(NameServer(ZONE), Download(link_to("n", key(5))))
        self.assertIsInstance(event.error, BadEntry)

    def test_tries_again(self) -> None:
        left = dict.fromkeys(ZONE, TRIES - 1)

        def lose(name: str) -> str | None:
            left[name] -= 1
            return "lost" if left[name] >= 0 else None

        server = NameServer(ZONE)
        server.instead = lose
        self.assertIsInstance(result(server, Download(EIP_LINK)), Downloaded)
        self.assertEqual(len(server.asked), TRIES * len(ZONE))

    def test_gives_up(self) -> None:
        server = NameServer(ZONE)
        server.instead = lambda name: "lost" if name.startswith("H4FHT") else None
        event = result(server, Download(EIP_LINK))
        self.assertIsInstance(event.error, NoAnswer)
        self.assertEqual(str(event.error), "H4FHT4B454P6UXFD7JCYQ5PWDY.n: lost")
        self.assertEqual(server.asked.count("H4FHT4B454P6UXFD7JCYQ5PWDY.n"), TRIES)

    def test_deaf_afterwards(self) -> None:
        server = NameServer()
        engine = Download(EIP_LINK)
        server.run(engine)
        engine.answered(1, [b"x"], 0.0)
        engine.failed(2, "x", 0.0)
        self.assertEqual((engine.lookups(99.0), engine.next_event(), engine.next_timer()), ([], None, None))

    def test_mixed_up(self) -> None:
        [record] = records(1)
        for nodes, links in ((MORE_URL, BRANCH), (BRANCH, record.text)):
            event = result(NameServer(forged("n", [MORE_URL, record.text], nodes, links)), Download(link_to("n")))
            self.assertIsInstance(event.error, BadEntry)

    def test_pace(self) -> None:
        server = NameServer(published("n", records(60)))
        server.run(Download(link_to("n")))
        self.assertAlmostEqual(server.now, (len(server.asked) - 10) / 3)

    def test_lookups_at_one_time(self) -> None:
        server, engine = NameServer(published("n", records(60))), Download(link_to("n"))
        most = 0
        for _ in range(9):
            lookups = engine.lookups(1e6)
            most = max(most, len(lookups))
            for lookup in lookups:
                server.answer(engine, lookup)
        self.assertEqual(most, MAX_LOOKUPS)

    def test_too_many(self) -> None:
        self.patch(download, "MAX_HASHES", 50)
        event = result(NameServer(published("n", records(60))), Download(link_to("n"), rate=1e4))
        self.assertIsInstance(event.error, OversizeError)
        self.assertIn("50", str(event.error))

    def test_repeated_children(self) -> None:
        entries = [records(1)[0].text]
        for _ in range(20):
            entries.append(BRANCH + ",".join([hash_of(entries[-1])] * 100))
        server = NameServer(forged("n", entries, entries[-1]))
        event = result(server, Download(link_to("n"), rate=1e4))
        self.assertEqual(texts(event.tree.records), entries[:1])
        self.assertEqual(len(server.asked), 21 + 2)

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=30)), max_size=80))
    def test_any_answers(self, script: list[tuple[int, bytes]]) -> None:
        zone = published("n", records(20), [EIP_LINK])
        engine = Download(link_to("n"))
        held: list[Lookup] = []
        for step, (kind, data) in enumerate(script):
            held += engine.lookups(float(step))
            if held:
                lookup = held.pop()
                good = zone[lookup.name].encode()
                if kind == 0:
                    engine.failed(lookup.token, "lost", 0.0)
                else:
                    engine.answered(lookup.token, [[data], [data, good], [good], []][kind - 1], 0.0)
            while (event := engine.next_event()) is not None:
                if isinstance(event, Downloaded):
                    self.assertEqual(event.tree.to_txt("n"), zone)
