"""
C{python -m tests.fuzz [--seconds N | --count N] [--seed N]}: attack, and say how it went.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from random import SystemRandom
from time import monotonic, process_time

from tests.fuzz.attack import Attack, Broken

#: Seconds between two lines of progress.
EVERY = 5.0


def main() -> int:
    """Attack; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile datagrams for discovery.")
    parser.add_argument("--seconds", type=float, help="how long (default: 60, unless --count is given)")
    parser.add_argument("--count", type=int, help="how many hostile datagrams")
    parser.add_argument("--seed", type=int, help="of a run to repeat (default: drawn)")
    options = parser.parse_args()
    seed = SystemRandom().randrange(2**32) if options.seed is None else options.seed
    seconds = 60.0 if options.seconds is None and options.count is None else options.seconds
    attack = Attack(seed)
    began = next_line = monotonic()

    def progress(attack: Attack) -> None:
        nonlocal next_line
        if monotonic() >= next_line:
            next_line = monotonic() + EVERY
            memory = f"{attack.memory[-1]:.0f} MiB" if attack.memory else "-"
            print(f"{monotonic() - began:6.0f} s  {attack.hostile.total():>9,} hostile  {memory}", flush=True)

    print(f"seed {seed}", flush=True)
    try:
        attack.run(count=options.count, seconds=seconds, progress=progress)
    except Broken as error:
        print(f"\nbroken: {error}", file=sys.stderr)
        return 1
    wall = monotonic() - began
    total = attack.hostile.total()
    print(f"\n{total:,} hostile datagrams in {wall:.0f} s ({process_time():.0f} s of CPU), {total / wall:,.0f}/s:")
    print(_shown(attack.hostile))
    print(f"{attack.honest.total():,} honest ones between them:")
    print(_shown(attack.honest))
    print(f"{attack.sent:,} sent; unproven addresses got at most {attack.worst:.2f} times what they sent")
    if attack.memory:
        first, last, most = attack.memory[0], attack.memory[-1], max(attack.memory)
        print(f"memory: {first:.0f} MiB at first, {last:.0f} at last, {most:.0f} at most")
    full = sorted(attack.peaks.items(), key=lambda item: item[1][0] / item[1][1], reverse=True)
    print("fullest: " + ", ".join(f"{name} {size} of {cap}" for name, (size, cap) in full[:12]))
    return 0


def _shown(counts: Counter[str]) -> str:
    return "  " + ", ".join(f"{kind} {number:,}" for kind, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
