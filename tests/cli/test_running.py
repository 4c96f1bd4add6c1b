"""
How work is shown while it is done.
"""

from __future__ import annotations

from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli.running import SHOW_INTERVAL, Progress, bar


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 5.0

    def seconds(self) -> float:
        return self.now

    def test_terminal(self) -> None:
        out = _Terminal()
        with Progress(out, self.seconds) as progress:
            progress.show("one")
            progress.show("two")  # too soon for anybody to read
            self.now += SHOW_INTERVAL
            progress.show("x" * 1000)
        first, rest = out.getvalue()[:7], out.getvalue()[7:]
        self.assertEqual(first, "\rone\x1b[K")
        self.assertRegex(rest, r"^\rx{20,999}\x1b\[K\r\x1b\[K$")

    def test_nothing_to_clear(self) -> None:
        out = _Terminal()
        with Progress(out, self.seconds):
            pass
        self.assertEqual(out.getvalue(), "")

    def test_elsewhere(self) -> None:
        out = StringIO()
        with Progress(out, self.seconds) as progress:
            progress.show("one")
        self.assertEqual(out.getvalue(), "")

    def test_bar(self) -> None:
        self.assertEqual(bar(5, 20), "[#####...............] 5/20")
        self.assertEqual(bar(0, 0), "[....................] 0/0")
        self.assertEqual(bar(7, 7), "[####################] 7/7")
