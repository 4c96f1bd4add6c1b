"""
twistd in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Seconds for a process that starts, says its line and ends.
DEADLINE = 30

_PROGRAM = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"


def start(*args: str, cwd: str | None = None, first: Sequence[str] = ("-n", "--pidfile=")) -> subprocess.Popen[str]:
    """
    C{twistd -n --pidfile= ...} of this checkout, its output piped.

    @param first: in place of C{-n --pidfile=}.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *first, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
    )


def finish(process: subprocess.Popen[str], deadline: float = DEADLINE) -> subprocess.CompletedProcess[str]:
    """Wait for its end; whatever comes, no process is left behind."""
    try:
        out, err = process.communicate(timeout=deadline)
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def twistd(*args: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return finish(start(*args, cwd=cwd))
