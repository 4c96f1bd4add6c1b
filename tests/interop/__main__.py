"""
Installs the peers and runs the ring: C{python -m tests.interop [trial arguments or modules]}.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from tests.interop import toolchain

MODULES = ("tests.interop.with_geth", "tests.interop.with_ethereumjs")


def main(arguments: list[str]) -> NoReturn:
    """Become trial, unless a peer is missing in CI."""
    for name in toolchain.TOOLS:
        try:
            toolchain.ensure(name)
        except toolchain.ToolMissing:  # said aloud; its tests are skipped
            continue
        except toolchain.ToolMissingInCI:
            sys.exit(1)
    modules = () if any(argument.startswith("tests.") for argument in arguments) else MODULES
    os.execv(sys.executable, [sys.executable, "-m", "twisted.trial", *arguments, *modules])


if __name__ == "__main__":
    main(sys.argv[1:])
