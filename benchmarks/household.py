"""
A node with many peers, and under a flood of callers: C{python -m benchmarks household}.

Measured as L{tests.load} does it, at full size.
"""

from __future__ import annotations

from tests.load.__main__ import judge
from tests.load.trials import crowd, flood

#: Calls, and in how many seconds.
FLOOD = (2000, 10.0)
#: Peers, and for how many seconds.
QUICK_CROWD, CROWD = (100, 20.0), (1000, 300.0)


def run(quick: bool) -> bool:
    """Measure and print.  @return: whether all limits held."""
    flooded = judge(lambda: flood(*FLOOD), 1)
    crowded = judge(lambda: crowd(*(QUICK_CROWD if quick else CROWD)), 1)
    return flooded and crowded
