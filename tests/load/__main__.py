"""
C{python -m tests.load [--seconds N] [--calls N] [--peers N]}: burden a node, and say how it went.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.load.process import WorkerFailed
from tests.load.trials import Trial, crowd, flood

#: The share of the time in which strangers call.
SHARE = 0.5
#: How often a trial is made, if others keep the machine too busy to tell.
TRIES = 3


def judge(trial: Callable[[], Trial], tries: int = TRIES) -> bool:
    """Make it, print it, and say whether all held."""
    for left in reversed(range(tries)):
        try:
            found = trial()
        except WorkerFailed as error:
            print(f"\n{error}", file=sys.stderr)
            return False
        print(f"\n{found}", flush=True)
        if not found.doubtful or not left:
            return not found.broken
        print(f"  but others had the node's core for {found.starved:.0%} of the time: once more")
    raise AssertionError("unreachable")


def main() -> int:
    """Both trials; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="A node under load.")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long peers stay (default: 10)")
    parser.add_argument("--calls", type=int, default=400, help="calls in half of that time (default: 400)")
    parser.add_argument("--peers", type=int, default=100, help="peers at one time (default: 100)")
    options = parser.parse_args()
    flooded = judge(lambda: flood(options.calls, options.seconds * SHARE))
    crowded = judge(lambda: crowd(options.peers, options.seconds))
    return 0 if flooded and crowded else 1


if __name__ == "__main__":
    sys.exit(main())
