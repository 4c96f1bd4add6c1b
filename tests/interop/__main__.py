"""
Installs the peers and runs the ring: C{python -m tests.interop [trial arguments or modules]}.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn
from unittest import SkipTest

from tests import data
from tests.interop import toolchain

MODULES = (
    "tests.interop.with_geth",
    "tests.interop.with_attach",
    "tests.interop.with_ethereumjs",
    "tests.interop.with_discovery",
    "tests.interop.with_lists",
)


def main(arguments: list[str]) -> NoReturn:
    """Become trial, unless a peer or the chain is missing in CI, where nothing may be skipped."""
    for name in toolchain.TOOLS:
        try:
            toolchain.ensure(name)
        except toolchain.ToolMissing:  # said aloud; its tests are skipped
            continue
        except toolchain.ToolMissingInCI:
            sys.exit(1)
    try:
        data.ethtest()
    except SkipTest as missing:
        if os.environ.get("CI") == "true":
            sys.exit(str(missing))
    modules = () if any(argument.startswith("tests.") for argument in arguments) else MODULES
    os.execv(sys.executable, [sys.executable, "-m", "twisted.trial", *arguments, *modules])


if __name__ == "__main__":
    main(sys.argv[1:])
