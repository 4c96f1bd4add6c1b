"""
kill -9, at any moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.database import NodeDatabase
from tests.discovery.support import node
from tests.discovery.writer import GATHERED, NODES
from tests.spawn import ROOT

#: How often it is killed.
TIMES = 50


@skipUnless(hasattr(os, "fork"), "the writer forks")
class KilledTests(SynchronousTestCase):
    def test_nothing_written_is_lost(self) -> None:
        """The file opens each time, whole, and has all that was told until it was last written."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory.absolute() / "nodes.sqlite"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.discovery.writer", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )
        rng = Random(1)
        begin = 1
        found = []
        try:
            for _ in range(TIMES):
                written = max(self.kill(process, begin, rng), begin - 1)
                database = NodeDatabase(path)
                self.assertIsNone(database.damaged)
                last = self.check(database, written)
                found.append(last - written)
                begin = last + 1
                database.close()
        finally:
            process.kill()
            process.communicate()
        self.assertGreater(begin, TIMES * GATHERED)
        self.assertTrue(all(0 <= more <= GATHERED for more in found), found)

    def kill(self, process: subprocess.Popen[bytes], begin: int, rng: Random) -> int:
        """Let it write for some time.  @return: the last number that it said was written."""
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"%d\n" % begin)
        process.stdin.flush()
        patience = rng.randrange(1, 40)
        written, pid = 0, None
        while (line := process.stdout.readline()) != b"dead\n":
            self.assertTrue(line, "the writer died by itself")
            if line.startswith(b"pid"):
                pid = int(line[3:])
            else:
                written = int(line)
                patience -= 1
            if pid is not None and patience <= 0:
                # Mostly in the midst of something: it goes on while we count.
                os.kill(pid, signal.SIGKILL)
                pid = None
        return written

    def check(self, database: NodeDatabase, written: int) -> int:
        """Every node is as it was told last.  @return: the last number there is."""
        latest = {}
        for index in range(NODES):
            known = database.get(node(index + 1).node_id)
            if known is not None:
                self.assertEqual((known.last_pong, known.last_seen), (known.checks, known.checks))
                self.assertEqual([at.last_pong for at in known.addresses], [known.checks])
                latest[index] = known.checks
        last = max(latest.values())
        self.assertGreaterEqual(last, written)
        for number in range(max(1, last - NODES + 1), last + 1):
            self.assertEqual(latest[number % NODES], number)
        return last
