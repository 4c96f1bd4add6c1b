"""
The foreign peers, pinned, and where they are installed.

Everything lands in one folder outside the checkout: C{$ETHP2P_INTEROP_CACHE}, else C{ethp2p-interop} in
C{$XDG_CACHE_HOME} or C{~/.cache}.  A tool's folder carries its version and appears there whole or not at all, so
that runs side by side, and runs that were cut short, never see half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import SkipTest

import attrs

#: go-ethereum, for C{geth}, C{devp2p} and the benchmark driver.
GETH_VERSION = "1.17.5"

#: An install that takes longer than this many seconds is given up.  geth takes a few minutes on two cores.
INSTALL_TIMEOUT = 1800.0

#: How many lines of a failed install's output are shown.
TAIL = 8


class ToolMissing(SkipTest):
    """A foreign peer cannot be had here."""


class ToolMissingInCI(Exception):
    """A foreign peer cannot be had here, where all of them must be."""


@attrs.frozen
class GoTools:
    """Commands of one Go module, installed together."""

    module: str
    version: str
    commands: tuple[str, ...]

    needs = ("go",)

    @property
    def folder(self) -> str:
        """Where they live in the cache."""
        return f"go-v{self.version}"

    def install(self, into: Path) -> None:
        """Compile the commands into C{into/bin}."""
        packages = [f"{self.module}/cmd/{command}@v{self.version}" for command in self.commands]
        run(["go", "install", *packages], cwd=into, GOBIN=str(into / "bin"))


@attrs.frozen
class NpmPackage:
    """One package of npm, with what it depends on in a folder of its own.  Its scripts are not run."""

    package: str
    version: str
    #: Packages and versions that must stand beside it, where what it asks for itself is not to be had.
    beside: Mapping[str, str] = attrs.field(factory=dict)

    needs = ("node", "npm")

    @property
    def folder(self) -> str:
        """Where it lives in the cache."""
        return f"npm-{self.package.strip('@').replace('/', '-')}-{self.version}"

    def install(self, into: Path) -> None:
        """Download the package into C{into/node_modules}."""
        dependencies = {self.package: self.version, **self.beside}
        manifest = {"name": "ethp2p-interop", "private": True, "dependencies": dependencies}
        (into / "package.json").write_text(json.dumps(manifest))
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-progress"], cwd=into)


GO_ETHEREUM = GoTools("github.com/ethereum/go-ethereum", GETH_VERSION, ("geth", "devp2p"))
ETHEREUMJS_DEVP2P = NpmPackage("@ethereumjs/devp2p", "10.0.0")
ETHEREUMJS_CLIENT = NpmPackage("@ethereumjs/client", "0.10.4")
#: Later ones ask for a release of the second that nobody can have.
CHAINSAFE_DISCV5 = NpmPackage("@chainsafe/discv5", "11.0.0", {"@chainsafe/enr": "5.0.0"})

#: What C{ensure} takes: each tool's package, and its path inside the package's folder.
TOOLS: Mapping[str, tuple[GoTools | NpmPackage, str]] = {
    "geth": (GO_ETHEREUM, "bin/geth"),
    "devp2p": (GO_ETHEREUM, "bin/devp2p"),
    "ethereumjs-devp2p": (ETHEREUMJS_DEVP2P, "node_modules"),
    "ethereumjs-client": (ETHEREUMJS_CLIENT, "node_modules/@ethereumjs/client/dist/esm/bin/cli.js"),
    "chainsafe-discv5": (CHAINSAFE_DISCV5, "node_modules"),
}


def cache() -> Path:
    """The folder that holds all foreign tools."""
    named = os.environ.get("ETHP2P_INTEROP_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ethp2p-interop"


def ensure(name: str) -> Path:
    """
    The path of a tool in L{TOOLS}, installed first where that was not done yet.

    @raise ToolMissing: it cannot be had here.
    @raise ToolMissingInCI: the same, where C{CI=true}.
    """
    package, path = TOOLS[name]
    return once(package.folder, package.install, package.needs) / path


def once(folder: str, install: Callable[[Path], None], needs: Sequence[str]) -> Path:
    """
    A folder in the cache, filled by C{install} the first time it is asked for.

    @param folder: its name, which says the version.
    @param install: fills the empty folder that it is given.
    @param needs: the commands that C{install} runs.
    """
    home = cache() / folder
    if home.is_dir():
        return home
    if folder in _refused:  # trying again would take as long and say the same
        raise missing(folder, _refused[folder])
    for name in needs:
        command(name)
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_name(f".{folder}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.is_dir():  # another run was faster
            return home
        say(f"installing {folder} ...")
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f".{folder}-", dir=home.parent, ignore_cleanup_errors=True) as room:
            try:
                fresh = Path(room) / "fresh"
                fresh.mkdir()
                install(fresh)
            except (OSError, subprocess.SubprocessError) as error:
                raise missing(folder, f"the install failed: {error}") from error
            fresh.rename(home)
        say(f"installed {folder} in {time.monotonic() - begun:.0f} s")
    return home


def command(name: str) -> str:
    """
    The path of a command that the machine must have.

    @raise ToolMissing: it is not on C{PATH}.
    @raise ToolMissingInCI: the same, where C{CI=true}.
    """
    path = shutil.which(name)
    if path is None:
        raise missing(name, f"no {name} on PATH")
    return path


_refused: dict[str, str] = {}


def missing(name: str, why: str) -> Exception:
    """What to raise about a tool that cannot be had; said aloud the first time."""
    line = f"FOREIGN PEER MISSING: {name}: {why}"
    if name not in _refused:
        _refused[name] = why
        say(line)
    return ToolMissingInCI(line) if os.environ.get("CI") == "true" else ToolMissing(line)


def run(argv: Sequence[str], cwd: Path, **environment: str) -> None:
    """
    Run to the end, quietly.

    @raise subprocess.SubprocessError: it failed or took too long; the message ends with the last of its output.
    """
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=INSTALL_TIMEOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode:
        words = " / ".join(done.stdout.splitlines()[-TAIL:])
        raise subprocess.SubprocessError(f"{' '.join(argv[:2])} ended with {done.returncode}: {words}")


def say(line: str) -> None:
    """One line about progress."""
    print(f"interop: {line}", file=sys.stderr, flush=True)
