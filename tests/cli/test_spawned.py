"""
The program itself, on loopback: a few runs of what everything else shows in memory.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc import NodeSet
from ethp2p.enr import Record
from tests.cli.support import ENVIRONMENT

#: Seconds for what takes one or two when the machine has nothing else to do; then it is killed, and the test fails.
PATIENCE = 20
#: Seconds after which a child ends by itself, even if the test that started it was killed.
LIFETIME = 60

_PROGRAM = f"""
import signal, sys
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm({LIFETIME})
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a program started in the background ignores
from ethp2p.cli import main
sys.exit(main())
"""
#: A node that has to do with nobody.
NODE = ["run", "--no-discovery", "--listen", "tcp:0:interface=127.0.0.1", "--http", "tcp:0"]


@contextmanager
def _running(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A child that is gone afterwards, and that nobody waits for longer than L{PATIENCE}."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as child:
        late = Timer(PATIENCE, child.kill)
        late.start()
        try:
            yield child
        finally:
            child.kill()
            late.cancel()
            late.join()


class ProgramTests(SynchronousTestCase):
    def run_program(self, *args: str, status: int = 0) -> str:
        with _running(*args) as child:
            out, err = child.communicate(timeout=PATIENCE)
            self.assertEqual((child.returncode, len(err.splitlines())), (status, int(status != 0)), err)
            return out

    @contextmanager
    def working(self, *args: str, until: Callable[[str], str | None], end: int, status: int) -> Iterator[str]:
        """
        A child that goes on until it gets a signal.

        @param until: what was waited for, in a line that it prints.
        """
        with _running(*args) as child:
            assert child.stdout is not None and child.stderr is not None
            found = next((found for line in child.stdout if (found := until(line)) is not None), None)
            if found is None:
                self.fail(f"it ended, or was killed after {PATIENCE} s: {child.stderr.read()}")
            yield found
            child.send_signal(end)
            _, err = child.communicate(timeout=PATIENCE)
            self.assertEqual((child.returncode, err), (status, ""))

    def listening(self, protocol: str, end: int) -> AbstractContextManager[str]:
        """A node that takes part.  @return: its record."""
        words = (protocol, "listen", "--addr", "127.0.0.1:0", "--bootnodes", "")
        return self.working(*words, until=str.strip, end=end, status=130)

    def test_v4(self) -> None:
        file = self.mktemp()
        with self.listening("discv4", signal.SIGTERM) as record:
            self.run_program("discv4", "crawl", file, "--bootnodes", record, "--addr", "127.0.0.1:0")
        self.assertEqual([node.text for node in NodeSet.read(file).records], [record])

    def test_v5(self) -> None:
        with self.listening("discv5", signal.SIGINT) as record:
            pong = json.loads(self.run_program("discv5", "ping", record, "--json"))
        self.assertEqual((pong["seenAt"]["ip"], pong["seq"]), ("127.0.0.1", Record.parse(record).seq))

    def test_failure(self) -> None:
        nowhere = f"enode://{PrivateKey.generate().public_key.raw.hex()}"
        self.assertEqual(self.run_program("discv4", "resolve", nowhere, "--bootnodes=", status=1), "")

    def test_running_node(self) -> None:
        """Peers of a node that runs; and of one that does not."""
        datadir = tempfile.mkdtemp()  # a socket's path is short, and trial's may be long
        self.addCleanup(shutil.rmtree, datadir)

        def url(line: str) -> str | None:
            match = re.search(r"JSON-RPC: (http://\S+)", line)
            return None if match is None else match[1]

        node = [*NODE, "--datadir", datadir]
        with self.working(*node, until=url, end=signal.SIGTERM, status=-signal.SIGTERM) as rpc:
            self.assertIn("no peers", self.run_program("peers", "--rpc", rpc))
            peer = f"enode://{PrivateKey.generate().public_key.raw.hex()}@127.0.0.1:1"
            self.assertEqual(self.run_program("peer", "add", peer, "--rpc", rpc, "--json"), "true\n")
        self.run_program("peers", "--rpc", str(Path(datadir) / "ethp2p.ipc"), status=3)
        self.run_program("peers", "--rpc", rpc, status=3)
