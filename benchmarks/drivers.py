"""
The implementations' drivers, and how one measurement is made with a pair of their processes.

A driver is a command that takes one argument, a JSON object.  It prints lines of JSON.

In the benchmarks of RLPx both sides are of one implementation:

  - C{role}: C{serve} or C{dial};
  - C{scenario}: C{handshakes}, C{messages} or C{idle};
  - C{port} of 127.0.0.1 to serve on; C{enode} to dial;
  - C{warmup} and C{count}: units that come before the measurement, and in it: handshakes, messages or peers;
  - C{size}: bytes of a message; C{parallel}: handshakes under way at once.

The serving side begins with C{{"enode": ...}}.  Both do the warm-up, print
C{{"warm": true}} and wait for a line of input; then they do the units and print C{units}, C{wall} and C{cpu} in
seconds, for C{idle} also C{grown}, the KiB of resident memory that the connections brought; and stay until their
input ends.

In the benchmarks of discovery one and the same program asks all the others; it signs its questions before the
measurement, so as not to be what is measured:

  - C{role}: C{answer} or C{ask};
  - C{protocol}: C{discv4} or C{discv5};
  - C{port} of 127.0.0.1 to answer on; C{node}, an enode URL or a record as text, to ask;
  - C{request}: C{ping}, C{findnode} or, in discovery v5, C{handshake}: a ping from a node that was never seen before;
  - C{warmup}, C{count} and C{parallel} as above.

The answering side begins with C{{"enode": ..., "enr": ...}}, and for each line of input prints C{cpu}, what it has used
so far.  The asking side does as the sides above, and says how many answers were C{lost} and asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from threading import Timer
from typing import Any

import attrs

import ethp2p
from tests.interop import toolchain
from tests.interop.process import free_port

#: One measurement that takes longer than this many seconds has failed.
LIMIT = 300.0

#: For glibc's allocator.  Left alone it gives the memory of a large message back to the system as soon as it is free,
#: and takes it again page by page for the next: half a millisecond for each megabyte.
KEEP_FREED = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}

_HERE = Path(__file__).resolve().parent


class MeasurementFailed(Exception):
    """A driver ended before it had measured; its own words are on stderr."""


@attrs.frozen
class Driver:
    """One implementation."""

    name: str
    #: What exactly is measured.
    version: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Measured:
    """What the two sides of one measurement found.  Who answers serves, and who asks dials."""

    serve: Mapping[str, float]
    dial: Mapping[str, float]


def ours() -> Driver:
    """ethp2p, with what is installed beside it."""
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    try:
        fast = f"with the fast extra (safe-pysha3 {metadata.version('safe-pysha3')})"
    except metadata.PackageNotFoundError:
        fast = "WITHOUT the fast extra (safe-pysha3)"
    argv = (sys.executable, "-m", "benchmarks.ours.driver")
    return Driver("ethp2p", f"ethp2p {ethp2p.__version__} {fast}, {python}", argv, KEEP_FREED)


def ethereumjs() -> Driver:
    """EthereumJS's devp2p library, as it comes."""
    node = toolchain.command("node")
    modules = toolchain.ensure("ethereumjs-devp2p")
    version = f"@ethereumjs/devp2p {toolchain.ETHEREUMJS_DEVP2P.version}, node {_said(node, '--version')}"
    argv = (node, "--expose-gc", str(_HERE / "ethereumjs" / "driver.cjs"))
    return Driver("EthereumJS", version, argv, {"NODE_PATH": str(modules)})


def least() -> Driver:
    """What any handshake on Twisted and libsecp256k1 costs, whoever makes it."""
    argv = (sys.executable, "-m", "benchmarks.ours.least")
    version = f"least: Twisted {metadata.version('Twisted')} and coincurve {metadata.version('coincurve')} alone"
    return Driver("least", version, argv, KEEP_FREED)


def ours_discovery() -> Driver:
    """Discovery of ethp2p."""
    return attrs.evolve(ours(), argv=(sys.executable, "-m", "benchmarks.ours.discovery"))


def ethereumjs_discovery() -> Driver:
    """Discovery v4 of EthereumJS's devp2p library."""
    driver = ethereumjs()
    return attrs.evolve(driver, argv=(driver.argv[0], str(_HERE / "ethereumjs" / "dpt.cjs")))


def chainsafe() -> Driver:
    """ChainSafe's discovery v5, as it comes."""
    node = toolchain.command("node")
    modules = toolchain.ensure("chainsafe-discv5")
    version = f"@chainsafe/discv5 {toolchain.CHAINSAFE_DISCV5.version}, node {_said(node, '--version')}"
    return Driver("ChainSafe", version, (node, str(_HERE / "chainsafe" / "discv5.mjs")), {"NODE_PATH": str(modules)})


def geth() -> Driver:
    """go-ethereum's p2p.Server and p2p/discover, compiled from the driver's source beside this file."""
    source = _HERE / "geth"
    names = ["go.mod", "go.sum", *sorted(path.name for path in source.glob("*.go"))]
    content = hashlib.sha256(b"".join((source / name).read_bytes() for name in names))

    def install(into: Path) -> None:
        toolchain.run(["go", "build", "-o", str(into / "driver"), "."], cwd=source)

    folder = f"geth-driver-v{toolchain.GETH_VERSION}-{content.hexdigest()[:12]}"
    command = str(toolchain.once(folder, install, ("go",)) / "driver")
    built = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return Driver("geth", f"go-ethereum {toolchain.GETH_VERSION} p2p, {built}", (command,))


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


class _Side:
    """One driver process, on one core where there are two."""

    def __init__(self, driver: Driver, core: int | None, task: Mapping[str, Any]) -> None:
        usable = os.sched_getaffinity(0)
        if core is not None:  # what is started inherits it
            os.sched_setaffinity(0, {core})
        try:
            self._process = subprocess.Popen(
                [*driver.argv, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_HERE.parent,
                env={**os.environ, **driver.environment},
            )
        finally:
            os.sched_setaffinity(0, usable)
        self._watch = Timer(LIMIT, self._process.kill)
        self._watch.start()

    def hear(self) -> Any:
        """The next line it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementFailed(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    def go(self) -> None:
        """Let it measure."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Dismiss it."""
        self._watch.cancel()
        self._process.kill()
        self._process.communicate()


def cores() -> tuple[int | None, int | None]:
    """For the serving and the dialing side; no choice where there is one core only."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def measure(driver: Driver, **task: Any) -> Measured:
    """
    One measurement.

    @raise MeasurementFailed: a driver failed, or took too long.
    """
    near, far = cores()
    server = _Side(driver, near, {"role": "serve", "port": free_port(), **task})
    try:
        client = _Side(driver, far, {"role": "dial", "enode": server.hear()["enode"], **task})
        try:
            for side in (server, client):
                side.hear()
            server.go()
            client.go()
            return Measured(server.hear(), client.hear())
        finally:
            client.end()
    finally:
        server.end()


def measure_answers(driver: Driver, asking: Driver, **task: Any) -> Measured:
    """
    One measurement of discovery.

    @raise MeasurementFailed: a driver failed, or took too long.
    """
    near, far = cores()
    server = _Side(driver, near, {"role": "answer", "port": free_port(), "protocol": task["protocol"]})
    try:
        where = server.hear()
        node = where["enode"] if task["protocol"] == "discv4" else where["enr"]
        client = _Side(asking, far, {"role": "ask", "node": node, **task})
        try:
            client.hear()
            server.go()
            before = server.hear()["cpu"]
            client.go()
            asked = client.hear()
            server.go()
            return Measured({"units": asked["units"], "cpu": server.hear()["cpu"] - before}, asked)
        finally:
            client.end()
    finally:
        server.end()
