"""
Many nodes on one virtual clock: what they cost in time and memory, and whether their lookups find what there is.

One datagram in five is lost.  A I{whole} node is a C{DiscoveryService} with real packets and cryptography on a host of
its own; a I{driver} has the table, the lookups and the checks over an engine without packets, and is for networks ten
times as large.  Each network is a process of its own: C{python -m benchmarks.simulation whole|drivers NODES [SECONDS]}.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from random import Random
from time import perf_counter, process_time
from typing import Any

from ethp2p.kademlia import driver
from ethp2p.kademlia.engine import ByTarget
from tests.fuzz.attack import resident
from tests.kademlia.toy import World
from tests.simulation import test_thousand as thousand
from tests.simulation.town import Town
from tests.simulation.truth import is_right

#: Kind and number of nodes.
FULL = (("whole", 1000), ("drivers", 10_000))
QUICK = (("whole", 100), ("drivers", 1000))
#: Virtual seconds that the nodes take to come, and that they have to find each other.
COMING, FINDING = 20.0, 40.0
LOOKUPS = 100
#: Virtual seconds between two lines of progress.
STEP = 5.0

Progress = Callable[[str], object]


def run(kind: str, nodes: int, finding: float = FINDING, progress: Progress = lambda words: None) -> Mapping[str, Any]:
    """
    One network, in this process.

    @param finding: virtual seconds from when the last node has come until lookups are tried.
    """
    # Three lookups of four in a refresh are for anybody.  They only make it easier, and cost most of the time.
    driver.RANDOM_LOOKUPS = 0
    before, began, cpu = resident(), perf_counter(), process_time()
    grow = _whole if kind == "whole" else _drivers
    virtual, right = grow(nodes, finding, progress)
    used = resident() - before
    return {
        "kind": kind,
        "nodes": nodes,
        "virtual": virtual,
        "wall": perf_counter() - began,
        "cpu": process_time() - cpu,
        "memory": used,
        "each": used * 1024 / nodes,
        "right": right,
        "lookups": LOOKUPS,
    }


def _whole(nodes: int, finding: float, progress: Progress) -> tuple[float, int]:
    town = Town(1, "v4")
    began = town.network.now
    town.grow(nodes, nodes / COMING, lambda count: progress(f"{count} nodes") if count % 100 == 0 else None)
    _advance(town.network.advance, finding, progress)
    right = town.look(LOOKUPS)
    return town.network.now - began, right


def _drivers(nodes: int, finding: float, progress: Progress) -> tuple[float, int]:
    world = World(1, loss=thousand.LOSS)
    people = thousand.grow(world, ByTarget, nodes, nodes / COMING)
    progress(f"{nodes} nodes")
    _advance(world.advance, finding, progress)
    ids = [node.node_id for node in people]
    found = thousand.look(world, people, Random(1), LOOKUPS)
    return world.now, sum(is_right(nodes, goal, ids, who.node_id) for who, goal, nodes in found)


def _advance(advance: Callable[[float], object], seconds: float, progress: Progress) -> None:
    passed = 0.0
    while passed < seconds:
        advance(min(STEP, seconds - passed))
        passed += STEP
        progress(f"{min(passed, seconds):.0f} of {seconds:.0f} virtual seconds")


def measure(quick: bool, progress: Progress) -> list[Mapping[str, Any]]:
    """
    All networks, one after the other.

    @raise subprocess.CalledProcessError: one of them did not work.
    """
    measured = []
    for kind, nodes in QUICK if quick else FULL:
        progress(f"simulation: {nodes:,} {kind}")
        command = [sys.executable, "-m", "benchmarks.simulation", kind, str(nodes)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        measured.append(json.loads(done.stdout))
    return measured


def rows(measured: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table."""
    table = [["", "nodes", "virtual s", "wall s", "CPU s", "MiB", "KiB a node", "lookups right"]]
    for each in measured:
        numbers = [f"{each[name]:,.0f}" for name in ("nodes", "virtual", "wall", "cpu", "memory", "each")]
        table.append([each["kind"], *numbers, f"{each['right']} of {each['lookups']}"])
    return table


def main() -> int:
    """One network; what was measured goes to standard output as JSON, progress to standard error."""
    kind, nodes, *seconds = sys.argv[1:]

    def progress(words: str) -> None:
        if sys.stderr.isatty() or seconds:
            print(f"{process_time():.0f} s of CPU: {words}, {resident():.0f} MiB", file=sys.stderr, flush=True)

    print(json.dumps(run(kind, int(nodes), float(seconds[0]) if seconds else FINDING, progress)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
