"""
Runs everything and prints the tables:
C{python -m benchmarks [--quick] [--runs N] [rlpx | discovery | simulation | household] [NAME ...]}.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from subprocess import CalledProcessError
from typing import Any

import attrs

from benchmarks import drivers, household, simulation
from benchmarks.drivers import Driver, Measured, MeasurementFailed, cores
from tests.interop.toolchain import ToolMissing, ToolMissingInCI


@attrs.frozen
class Row:
    """One line of the table."""

    title: str
    value: Callable[[Measured], float]


@attrs.frozen
class Scenario:
    """One kind of measurement and what is read from it."""

    task: Mapping[str, Any]
    #: Units for each driver that takes part, so that all are busy for about a second or more.
    counts: Mapping[str, int]
    rows: Sequence[Row]


def _rate(measured: Measured) -> float:
    return measured.dial["units"] / measured.dial["wall"]


def _cpu(side: str, unit: float) -> Callable[[Measured], float]:
    def value(measured: Measured) -> float:
        found: Mapping[str, float] = getattr(measured, side)
        return found["cpu"] / found["units"] * unit

    return value


def _grown(side: str) -> Callable[[Measured], float]:
    def value(measured: Measured) -> float:
        found: Mapping[str, float] = getattr(measured, side)
        return found["grown"] / found["units"]

    return value


def _handshakes(parallel: int, counts: Mapping[str, int]) -> Scenario:
    return Scenario(
        {"scenario": "handshakes", "parallel": parallel},
        counts,
        [
            Row(f"full handshakes/s, {parallel} at a time", _rate),
            Row("   CPU ms each, calling", _cpu("dial", 1e3)),
            Row("   CPU ms each, called", _cpu("serve", 1e3)),
        ],
    )


def _messages(title: str, size: int, counts: Mapping[str, int]) -> Scenario:
    small = size < 1 << 16
    rate = Row(f"messages/s, {title}", _rate) if small else Row(f"MB/s, {title}", lambda m: _rate(m) * size / 1e6)
    unit, word = (1e6, "us") if small else (1e3, "ms")
    return Scenario(
        {"scenario": "messages", "size": size},
        counts,
        [
            rate,
            Row(f"   CPU {word} each, sending", _cpu("dial", unit)),
            Row(f"   CPU {word} each, receiving", _cpu("serve", unit)),
        ],
    )


def _answers(protocol: str, request: str, title: str, counts: Mapping[str, int]) -> Scenario:
    return Scenario(
        {"protocol": protocol, "request": request, "parallel": IN_FLIGHT},
        counts,
        [Row(f"{title}/s", _rate), Row("   CPU us each, answering", _cpu("serve", 1e6))],
    )


#: Questions under way at once.
IN_FLIGHT = 16

#: When the side that asks uses more than this share of its core, it is what limits the rate.
BUSY = 0.9

RLPX = [
    _handshakes(1, {"ethp2p": 1000, "EthereumJS": 100, "geth": 2000, "least": 2000}),
    _handshakes(8, {"ethp2p": 2000, "EthereumJS": 160, "geth": 4000, "least": 4000}),
    _messages("100 B", 100, {"ethp2p": 100_000, "EthereumJS": 20_000, "geth": 200_000}),
    _messages("1 KiB", 1 << 10, {"ethp2p": 80_000, "EthereumJS": 10_000, "geth": 150_000}),
    _messages("64 KiB", 1 << 16, {"ethp2p": 4000, "EthereumJS": 200, "geth": 5000}),
    _messages("1 MiB", 1 << 20, {"ethp2p": 250, "EthereumJS": 15, "geth": 300}),
    Scenario(
        {"scenario": "idle"},
        {"ethp2p": 200, "EthereumJS": 200, "geth": 200},
        [
            Row("KiB per idle peer, called (200)", _grown("serve")),
            Row("KiB per idle peer, calling (200)", _grown("dial")),
        ],
    ),
]

DISCV4 = [
    _answers("discv4", "ping", "pings", {"ethp2p": 20_000, "EthereumJS": 1500, "geth": 30_000}),
    _answers("discv4", "findnode", "findnodes of 16", {"ethp2p": 15_000, "EthereumJS": 1500, "geth": 15_000}),
]

DISCV5 = [
    _answers("discv5", "handshake", "handshakes, with a ping", {"ethp2p": 5000, "ChainSafe": 250, "geth": 8000}),
    _answers("discv5", "ping", "pings", {"ethp2p": 40_000, "ChainSafe": 10_000, "geth": 60_000}),
    _answers("discv5", "findnode", "findnodes of 16", {"ethp2p": 10_000, "ChainSafe": 4000, "geth": 30_000}),
]

#: One unit in so many is done before the measurement, but for idle peers: enough to load and to compile.
WARMUP_SHARE = 5
IDLE_WARMUP = 20


def _run(driver: Driver, scenario: Scenario, asking: Driver | None) -> Measured:
    count = scenario.counts[driver.name]
    warmup = IDLE_WARMUP if scenario.task.get("scenario") == "idle" else max(1, count // WARMUP_SHARE)
    if asking is not None:
        return drivers.measure_answers(driver, asking, **scenario.task, count=count, warmup=warmup)
    return drivers.measure(driver, **scenario.task, count=count, warmup=warmup)


@attrs.frozen
class Chapter:
    """One table."""

    title: str
    #: What is measured with it.
    drivers: Mapping[str, Callable[[], Driver]]
    scenarios: Sequence[Scenario]
    #: Who asks all of them; None where each speaks with itself.
    asking: Callable[[], Driver] | None = None


#: By what is asked for on the command line.
CHAPTERS: Mapping[str, Sequence[Chapter]] = {
    "rlpx": [
        Chapter(
            "RLPx",
            {
                "ethp2p": drivers.ours,
                "EthereumJS": drivers.ethereumjs,
                "geth": drivers.geth,
                "least": drivers.least,
            },
            RLPX,
        ),
    ],
    "discovery": [
        Chapter(
            f"Discovery v4, {IN_FLIGHT} in flight",
            {"ethp2p": drivers.ours_discovery, "EthereumJS": drivers.ethereumjs_discovery, "geth": drivers.geth},
            DISCV4,
            drivers.geth,
        ),
        Chapter(
            f"Discovery v5, {IN_FLIGHT} in flight",
            {"ethp2p": drivers.ours_discovery, "ChainSafe": drivers.chainsafe, "geth": drivers.geth},
            DISCV5,
            drivers.geth,
        ),
    ],
}
NAMES = sorted({name for chapters in CHAPTERS.values() for chapter in chapters for name in chapter.drivers})


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - len(str(int(value))) + (value < 100))}f}"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(median(values))} ({_number(min(values))}-{_number(max(values))})"


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> str:
    other = median(theirs) if mine and theirs else 0.0
    return f"{median(mine) / other:.2f}" if other > 0 else "-"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]])
        for row in rows
    )


@attrs.frozen
class Cast:
    """Those of a chapter who are asked for and can be had; who cannot has said why."""

    measured: Sequence[Driver]
    asking: Driver | None

    @classmethod
    def of(cls, chapter: Chapter, names: Sequence[str]) -> Cast:
        """@param names: who is asked for."""
        try:
            asking = None if chapter.asking is None else chapter.asking()
        except (ToolMissing, ToolMissingInCI):
            return cls([], None)
        measured = []
        for name, driver in chapter.drivers.items():
            if name in names:
                try:
                    measured.append(driver())
                except (ToolMissing, ToolMissingInCI):
                    continue
        return cls(measured, asking)


def _progress(words: str) -> None:
    """Where somebody watches, one line that changes."""
    if sys.stderr.isatty():
        print(f"\r{words:78}\r", end="", file=sys.stderr, flush=True)


@attrs.frozen
class Found:
    """What was found in one chapter."""

    #: By scenario, row and driver: its first row's title, its title, and its name.
    values: dict[tuple[str, str, str], list[float]] = attrs.field(factory=dict)
    #: By scenario and driver: runs in which the asking side had no time left, and answers that did not come.
    bounded: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    lost: Counter[tuple[str, str]] = attrs.field(factory=Counter)

    def add(self, scenario: Scenario, driver: Driver, measured: Measured) -> None:
        """One measurement."""
        title = scenario.rows[0].title
        for row in scenario.rows:
            self.values.setdefault((title, row.title, driver.name), []).append(row.value(measured))
        if "lost" in measured.dial:
            self.lost[title, driver.name] += int(measured.dial["lost"])
            self.bounded[title, driver.name] += measured.dial["cpu"] / measured.dial["wall"] > BUSY


def _measure(chapter: Chapter, cast: Cast, words: str, found: Found) -> None:
    """One run of a chapter."""
    for scenario in chapter.scenarios:
        for driver in cast.measured:
            if driver.name not in scenario.counts:
                continue
            _progress(f"{words}: {chapter.title}: {scenario.rows[0].title}, {driver.name}")
            found.add(scenario, driver, _run(driver, scenario, cast.asking))


def _show(chapter: Chapter, cast: Cast, found: Found) -> None:
    names = [driver.name for driver in cast.measured]
    others = names[1:] if names[0] == "ethp2p" else []
    table = [["", *names, *[f"ethp2p/{name}" for name in others]]]
    for scenario in chapter.scenarios:
        title = scenario.rows[0].title
        for row in scenario.rows:
            values = {name: found.values.get((title, row.title, name), []) for name in names}
            more = [name for name in names if row.title == title and found.bounded[title, name]]
            cells = [_cell(values[name]) + ("+" if name in more else "") for name in names]
            table.append([row.title, *cells, *[_ratio(values["ethp2p"], values[name]) for name in others]])
    print(f"\n{chapter.title}: {'; '.join(driver.version for driver in cast.measured)}\n\n{_table(table)}")
    if found.bounded.total():
        print("+ or more: the side that asked was busy all the time")
    for (title, name), count in (+found.lost).items():
        print(f"{title}, {name}: {count} answers did not come in time")


def main() -> int:
    """Measure and print; 1 when a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ethp2p and others, side by side.")
    parser.add_argument("--quick", action="store_true", help="one run")
    parser.add_argument("--runs", type=int, default=5, help="runs, interleaved (default: 5)")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help=f"what to measure, of {', '.join([*CHAPTERS, *ALONE])}, and with whom, of {', '.join(NAMES)} "
        "(default: all)",
    )
    options = parser.parse_args()
    unknown = set(options.words) - set(CHAPTERS) - set(NAMES) - set(ALONE)
    if unknown:
        parser.error(f"no table and no implementation is called {', '.join(sorted(unknown))}")
    runs = 1 if options.quick else max(1, options.runs)
    names = [name for name in NAMES if name in options.words] or NAMES
    alone = [name for name in ALONE if name in options.words or not options.words]
    if alone and options.words and not set(options.words) & set(CHAPTERS):
        return max([ALONE[name](options.quick) for name in alone])
    asked = [name for name in CHAPTERS if name in options.words] or list(CHAPTERS)
    chapters = [(chapter, Cast.of(chapter, names)) for name in asked for chapter in CHAPTERS[name]]
    chapters = [(chapter, cast) for chapter, cast in chapters if cast.measured]
    if not chapters:
        return 1
    found = {chapter.title: Found() for chapter, _ in chapters}
    for run in range(runs):
        for chapter, cast in chapters:
            try:
                _measure(chapter, cast, f"run {run + 1} of {runs}", found[chapter.title])
            except MeasurementFailed as error:
                print(f"\n{error}", file=sys.stderr)
                return 1
    _progress("")
    where = "one core a side" if cores()[0] is not None else "both sides on one core"
    print(f"{f'median (least-most) of {runs} runs' if runs > 1 else 'one run'}, {where}; the last columns are ratios:")
    print("more is better where a row is per second, less where it is CPU or KiB")
    for chapter, cast in chapters:
        _show(chapter, cast, found[chapter.title])
    return max([ALONE[name](options.quick) for name in alone], default=0)


def _simulate(quick: bool) -> int:
    """One run, since its time is nearly the same every time and its result is the same."""
    try:
        measured = simulation.measure(quick, _progress)
    except CalledProcessError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    _progress("")
    print(f"\nSimulation of ethp2p, one datagram in five lost\n\n{_table(simulation.rows(measured))}")
    return 0


def _burden(quick: bool) -> int:
    return 0 if household.run(quick) else 1


#: What ethp2p does without others: by what is asked for on the command line.
ALONE: Mapping[str, Callable[[bool], int]] = {"simulation": _simulate, "household": _burden}


if __name__ == "__main__":
    sys.exit(main())
