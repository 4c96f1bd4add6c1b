"""
A node with many peers, and under a flood of callers: C{python -m benchmarks household}.

Measured as L{tests.load} does it, at full size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.load.process import WorkerFailed
from tests.load.trials import Trial, crowd, flood

FLOOD = (2000, 10.0)
QUICK_CROWD, CROWD = (100, 20.0), (1000, 300.0)


def run(quick: bool) -> int:
    """Measure and print; 1 when a limit was broken or a measurement failed."""
    trials: Sequence[Callable[[], Trial]] = (
        lambda: flood(*FLOOD),
        lambda: crowd(*(QUICK_CROWD if quick else CROWD)),
    )
    broken = False
    for trial in trials:
        try:
            found = trial()
        except WorkerFailed as error:
            print(f"\n{error}", flush=True)
            return 1
        print(f"\n{found}", flush=True)
        broken = broken or bool(found.broken)
    return int(broken)
