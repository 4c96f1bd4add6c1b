"""
The documentation tells what there is.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p.config import OPTIONS
from ethp2p.testing.channel import channel_pair
from ethp2p.testing.toy import ToyProtocol, Verdict

DOCS = Path(__file__).resolve().parent.parent / "docs"


class DocsTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The operator's table has every option, with its default, and no other."""
        text = (DOCS / "operator.rst").read_text("utf-8")
        rows = {name: row for row, name in re.findall(r"^(``--([\w-]+)`` .*(?:\n {30,}.*)*)", text, re.M)}
        self.assertEqual(set(rows), {option.name for option in OPTIONS})
        for option in OPTIONS:
            self.assertIn(option.default, rows[option.name])

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
