"""
The three implementations' drivers, and how one measurement is made with a pair of their processes.

A driver is a command that takes one argument, a JSON object:

  - C{role}: C{serve} or C{dial};
  - C{scenario}: C{handshakes}, C{messages} or C{idle};
  - C{port} of 127.0.0.1 to serve on; C{enode} to dial;
  - C{warmup} and C{count}: units that come before the measurement, and in it: handshakes, messages or peers;
  - C{size}: bytes of a message; C{parallel}: handshakes under way at once.

It prints lines of JSON.  The serving side begins with C{{"enode": ...}}.  Both do the warm-up, print
C{{"warm": true}} and wait for a line of input; then they do the units and print C{units}, C{wall} and C{cpu} in
seconds, for C{idle} also C{grown}, the KiB of resident memory that the connections brought; and stay until their
input ends.
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
    """What the two sides of one measurement found."""

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
    return Driver("ethp2p", f"ethp2p {ethp2p.__version__} {fast}, {python}", argv)


def ethereumjs() -> Driver:
    """EthereumJS's devp2p library, as it comes."""
    node = toolchain.command("node")
    modules = toolchain.ensure("ethereumjs-devp2p")
    version = f"@ethereumjs/devp2p {toolchain.ETHEREUMJS_DEVP2P.version}, node {_said(node, '--version')}"
    argv = (node, "--expose-gc", str(_HERE / "ethereumjs" / "driver.cjs"))
    return Driver("EthereumJS", version, argv, {"NODE_PATH": str(modules)})


def geth() -> Driver:
    """go-ethereum's p2p.Server, compiled from the driver's source beside this file."""
    source = _HERE / "geth"
    content = hashlib.sha256(b"".join((source / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))

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
