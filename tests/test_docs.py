"""
The documentation tells what there is.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p import networks
from ethp2p.chain import MemoryChain
from ethp2p.config import OPTIONS
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import Offence
from ethp2p.node import Node
from ethp2p.peers import admission
from ethp2p.peers.admission import MATRIX, Kind
from ethp2p.peers.backoff import BACKOFF, Cause
from ethp2p.peers.reputation import WEIGHTS
from ethp2p.testing.channel import channel_pair
from ethp2p.testing.network import MemoryNetwork
from ethp2p.testing.toy import ToyProtocol, Verdict
from ethp2p.web.figures import samples
from ethp2p.web.service import nodeRegistry
from tests.web.support import FakeNode

DOCS = Path(__file__).resolve().parent.parent / "docs"


def table(text: str, head: str) -> list[dict[str, str]]:
    """The rows of a simple table, by column; C{head} is how the line with the columns' names begins."""
    match = re.search(rf"^(=[= ]+)\n({re.escape(head)}.*)\n\1\n((?:.+\n)+?)\1$", text, re.M)
    assert match is not None, head
    starts = [bar.start() for bar in re.finditer(r"=+", match[1])]
    ends = [*starts[1:], None]

    def cells(line: str) -> list[str]:
        return [line[start:end].strip() for start, end in zip(starts, ends)]

    names = cells(match[2])
    return [dict(zip(names, cells(row))) for row in match[3].splitlines()]


class DocsTests(SynchronousTestCase):
    def test_capability(self) -> None:
        """The test that the how-to shows is a test."""
        pair = channel_pair("toy", length=2)
        pair.open(ToyProtocol(secret=42), ToyProtocol(secret=7))
        answer = pair.left.protocol.guess(50)
        pair.flush()
        self.assertEqual(self.successResultOf(answer), Verdict.SMALLER)

    def test_rooms(self) -> None:
        """The picture of the house shows every room."""
        picture = (DOCS / "architecture.rst").read_text("utf-8").split("Still to come")[0]
        for room in Path(ethp2p.__file__).parent.iterdir():
            if room.is_dir() and (room / "__init__.py").exists():
                self.assertRegex(picture, rf"\b{room.name}\b")

    def test_household(self) -> None:
        """The picture of the household shows every module, and no other."""
        picture = (DOCS / "architecture.rst").read_text("utf-8").split("replaced at any time::\n\n")[1]
        lines = [line.ljust(80) for line in picture.partition("\n\n")[0].splitlines()]
        shown = {name for line in lines for name in (line[:15] + line[66:].replace("-", "")).split()}
        self.assertEqual(shown, {path.stem for path in (Path(ethp2p.__file__).parent / "peers").glob("[!_]*.py")})


class OperatorTests(SynchronousTestCase):
    """
    C{operator.rst}.
    """

    text = (DOCS / "operator.rst").read_text("utf-8")

    def test_options(self) -> None:
        """The table has every option, with its default, and no other."""
        rows = {name: row for row, name in re.findall(r"^(``--([\w-]+)`` .*(?:\n {30,}.*)*)", self.text, re.M)}
        self.assertEqual(set(rows), {option.name for option in OPTIONS})
        for option in OPTIONS:
            self.assertIn(option.default, rows[option.name])

    def test_live_options(self) -> None:
        """It says which options can be changed while the node runs."""
        match = re.search(r"These can be changed while the node runs.*?prints them; .*?: (.*?)\.", self.text, re.S)
        assert match is not None
        self.assertEqual(re.findall(r"``([\w-]+)``", match[1]), [option.name for option in OPTIONS if option.live])

    def test_admission(self) -> None:
        """The matrix of rules, there and in the module itself, is the one that is gone by."""
        rows = table(self.text, "rule")
        bound = {row["rule"]: {kind for kind in Kind if row[kind.value] == "yes"} for row in rows}
        self.assertEqual(bound, {rule.value: set(kinds) for rule, kinds in MATRIX.items()})
        head, *lines = re.findall(r"^    (rule .+|\w+ .*yes)$", admission.__doc__ or "", re.M)
        starts = [column.start() for column in re.finditer(r"\S+", head)]
        told = [[line[start:].split(" ")[0] for start in starts] for line in lines]
        self.assertEqual(told, [list(row.values()) for row in rows])

    def test_waits(self) -> None:
        """How long to wait after what."""
        told = {row.pop("after"): list(row.values()) for row in table(self.text, "after")}
        known = {
            cause.value: [f"{n:g}" for n in (wait.first, wait.growth, wait.cap)] for cause, wait in BACKOFF.items()
        }
        self.assertEqual(told, known)

    def test_points(self) -> None:
        """What a deed is worth."""
        told = {row["``--weight``"]: (row["points"], row["whoever"]) for row in table(self.text, "``--weight``")}
        known = {
            deed.name.lower(): (f"{'-' if isinstance(deed, Offence) else '+'}{points:g}", deed.value)
            for deed, points in WEIGHTS.items()
        }
        self.assertEqual(told, known)

    def test_metrics(self) -> None:
        """Every number that can be scraped, and no other."""
        reactor = MemoryNetwork().host("10.0.0.1")
        node = Node(reactor, PrivateKey.generate(), MemoryChain(networks.named("mainnet")))
        books = node.household.books
        books.partings["us", "requested"] += 1
        books.journeys.begin(b"\1" * 32, "10.0.0.2:1", 0.0, 0.0)
        books.journeys.ended(b"\1" * 32, Cause.REFUSED, "", 1.0, by_us=False)
        known = {
            (
                f"ethp2p_{sample.name}" + "_total" * (sample.kind == "counter"),
                sample.kind,
                ", ".join(sample.labels),
                sample.help,
            )
            for sample in samples(node)
        }
        told = [tuple(row.values()) for row in table(self.text, "metric")]
        own = ("ethp2p_series_left_out", "gauge", "", "Series of this scrape over the limit.")
        self.assertEqual(set(told), known | {own})
        self.assertEqual(len(told), len(set(told)))

    def test_methods(self) -> None:
        """Every method of JSON-RPC."""
        for name in nodeRegistry(FakeNode()).names():
            if not name.endswith("_unsubscribe"):
                self.assertIn(f"``{name}``", self.text)
