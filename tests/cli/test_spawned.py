"""
The program itself, on loopback: a few runs of what everything else shows in memory.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc import NodeSet
from ethp2p.enr import Record
from tests.cli.support import ENVIRONMENT

#: Seconds for what takes less than one when the machine has nothing else to do.
PATIENCE = 60.0
PROGRAM = [sys.executable, "-c", "import sys; from ethp2p.cli import main; sys.exit(main())"]


class ProgramTests(SynchronousTestCase):
    def run_program(self, *args: str, status: int = 0) -> str:
        done = subprocess.run(
            [*PROGRAM, *args],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (status, int(status != 0)), done.stderr)
        return done.stdout

    @contextmanager
    def listening(self, protocol: str) -> Iterator[str]:
        """A node that takes part.  @return: its record."""
        command = [*PROGRAM, protocol, "listen", "--addr", "127.0.0.1:0", "--bootnodes", ""]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            try:
                yield child.stdout.readline().strip()
                child.send_signal(signal.SIGINT)
                child.wait(PATIENCE)
                self.assertEqual((child.returncode, child.stderr.read()), (130, ""))
            finally:
                child.kill()

    def test_v4(self) -> None:
        file = self.mktemp()
        with self.listening("discv4") as record:
            self.run_program("discv4", "crawl", file, "--bootnodes", record, "--addr", "127.0.0.1:0")
        self.assertEqual([node.text for node in NodeSet.read(file).records], [record])

    def test_v5(self) -> None:
        with self.listening("discv5") as record:
            pong = json.loads(self.run_program("discv5", "ping", record, "--json"))
        self.assertEqual((pong["seenAt"]["ip"], pong["seq"]), ("127.0.0.1", Record.parse(record).seq))

    def test_failure(self) -> None:
        nowhere = f"enode://{PrivateKey.generate().public_key.raw.hex()}"
        self.assertEqual(self.run_program("discv4", "resolve", nowhere, "--bootnodes=", status=1), "")
