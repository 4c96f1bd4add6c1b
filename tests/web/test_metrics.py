"""
The numbers as Prometheus reads them, and that there are never too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from ethp2p.web.facade import Sample
from ethp2p.web.metrics import LABELS, MAX_SERIES, Metrics
from tests.web.support import OTHER, Client, FakeNode, Response, door

#: What a label's value never looks like: an id or a hash, an address, a URL.
_PERSONAL = re.compile(r"[0-9a-fA-F]{16}|\d+\.\d+\.\d+\.\d+|^[0-9a-fA-F]*:[0-9a-fA-F:]+|//|enr:|:\d+$")


def personal(samples: Iterable[Sample]) -> list[Sample]:
    """Those with a label of another name than L{LABELS}, or with a value that could be of one peer alone."""
    return [
        sample
        for sample in samples
        if not set(sample.labels) <= LABELS or any(map(_PERSONAL.search, sample.labels.values()))
    ]


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = FakeNode()

    def scrape(self) -> Response:
        root = Resource()
        root.putChild(b"metrics", Metrics(self.node))
        return Client(door(root)).request("GET /metrics")

    def series(self) -> dict[tuple[str, ...], float]:
        response = self.scrape()
        self.assertEqual(response.code, 200)
        self.assertEqual(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(response.body.decode())
            for sample in family.samples
        }

    def test_kinds(self) -> None:
        self.node.numbers = [
            Sample("peers", "gauge", "Peers.", 3, {"dir": "in"}),
            Sample("dials", "counter", "Calls.", 7, {"stage": "tcp", "result": "refused"}),
            Sample("peers", "gauge", "Peers.", 2, {"dir": "out"}),
            Sample("bans", "gauge", "Bans.", 0),
        ]
        series = self.series()
        self.assertEqual(series["ethp2p_peers", "in"], 3)
        self.assertEqual(series["ethp2p_peers", "out"], 2)
        self.assertEqual(series["ethp2p_dials_total", "refused", "tcp"], 7)
        self.assertEqual(series["ethp2p_bans",], 0)
        text = self.scrape().body.decode()
        self.assertIn("# TYPE ethp2p_dials_total counter\n", text)
        self.assertEqual(text.count("# TYPE ethp2p_peers gauge\n"), 1)

    def test_labels_may_come_in_any_order(self) -> None:
        self.node.numbers = [
            Sample("dials", "counter", "Calls.", 1, {"stage": "tcp", "result": "ok"}),
            Sample("dials", "counter", "Calls.", 2, {"result": "refused", "stage": "tcp"}),
        ]
        self.assertIn('ethp2p_dials_total{result="refused",stage="tcp"} 2.0', self.scrape().body.decode())

    def test_a_value_cannot_end_its_line(self) -> None:
        self.node.numbers = [Sample("peers", "gauge", "Peers.", 1, {"client": 'a"} 5\nethp2p_x 6\\'})]
        series = self.series()
        self.assertEqual(series["ethp2p_peers", 'a"} 5\nethp2p_x 6\\'], 1)
        self.assertNotIn(("ethp2p_x",), series)

    def test_each_scrape_is_of_its_moment(self) -> None:
        for value in (1, 2):
            self.node.numbers = [Sample("peers", "gauge", "Peers.", value)]
            self.assertEqual(self.series()["ethp2p_peers",], value)

    def test_the_process(self) -> None:
        names = {name for name, *_ in self.series()}
        self.assertIn("ethp2p_series_left_out", names)
        self.assertFalse({name for name in names if name.startswith("python_")})

    def test_series_have_a_cap(self) -> None:
        self.node.numbers = [
            Sample("peers", "gauge", "Peers.", 1, {"client": f"c{index}"}) for index in range(MAX_SERIES + 3)
        ]
        series = self.series()
        self.assertEqual(len([name for name, *_ in series if name == "ethp2p_peers"]), MAX_SERIES)
        self.assertEqual(series["ethp2p_series_left_out",], 3)

    def test_a_label_that_is_none_of_ours(self) -> None:
        self.node.numbers = [Sample("peers", "gauge", "Peers.", 1, {"node_id": "x"})]
        self.assertEqual(self.scrape().code, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class PersonalTests(SynchronousTestCase):
    """The check itself: what it must see, and what it must let pass."""

    def test_seen(self) -> None:
        for labels in (
            {"node": "a"},
            {"client": OTHER.public_key.node_id.hex()},
            {"client": "0x" + "ab" * 8},
            {"reason": "192.0.2.1"},
            {"reason": "refused by 192.0.2.1:30303"},
            {"reason": "2001:db8::1"},
            {"reason": "localhost:30303"},
            {"reason": "enode://ab"},
            {"reason": "enr:-ab"},
        ):
            self.assertEqual(len(personal([Sample("x", "gauge", "", 1, labels)])), 1, labels)

    def test_let_pass(self) -> None:
        for labels in ({}, {"dir": "in"}, {"client": "Geth"}, {"reason": "too_many_peers"}, {"proto": "eth/69"}):
            self.assertEqual(personal([Sample("x", "gauge", "", 1, labels)]), [], labels)
