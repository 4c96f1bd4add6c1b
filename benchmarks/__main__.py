"""
Runs everything and prints the table: C{python -m benchmarks [--quick] [--runs N] [NAME ...]}.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import attrs

from benchmarks.drivers import Driver, Measured, MeasurementFailed, cores, ethereumjs, geth, measure, ours
from tests.interop.toolchain import ToolMissing, ToolMissingInCI

DRIVERS: Mapping[str, Callable[[], Driver]] = {"ethp2p": ours, "EthereumJS": ethereumjs, "geth": geth}


@attrs.frozen
class Row:
    """One line of the table."""

    title: str
    value: Callable[[Measured], float]


@attrs.frozen
class Scenario:
    """One kind of measurement and what is read from it."""

    task: Mapping[str, Any]
    #: Units for each driver, so that all are busy for about a second or more.
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


SCENARIOS = [
    _handshakes(1, {"ethp2p": 1000, "EthereumJS": 100, "geth": 2000}),
    _handshakes(8, {"ethp2p": 2000, "EthereumJS": 160, "geth": 4000}),
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

#: One unit in so many is done before the measurement, but for idle peers: enough to load and to compile.
WARMUP_SHARE = 5
IDLE_WARMUP = 20


def _run(driver: Driver, scenario: Scenario) -> Measured:
    count = scenario.counts[driver.name]
    warmup = IDLE_WARMUP if scenario.task["scenario"] == "idle" else max(1, count // WARMUP_SHARE)
    return measure(driver, **scenario.task, count=count, warmup=warmup)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - len(str(int(value))) + (value < 100))}f}"


def _cell(values: Sequence[float]) -> str:
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(median(values))} ({_number(min(values))}-{_number(max(values))})"


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> str:
    other = median(theirs)
    return f"{median(mine) / other:.2f}" if other > 0 else "-"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]])
        for row in rows
    )


def _drivers(names: Sequence[str]) -> list[Driver]:
    drivers = []
    for name in names:
        try:
            drivers.append(DRIVERS[name]())
        except (ToolMissing, ToolMissingInCI):  # it has said why
            continue
    return drivers


def _progress(words: str) -> None:
    """Where somebody watches, one line that changes."""
    if sys.stderr.isatty():
        print(f"\r{words:78}\r", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; 1 when a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="ethp2p and others, side by side.")
    parser.add_argument("--quick", action="store_true", help="one run")
    parser.add_argument("--runs", type=int, default=5, help="runs, interleaved (default: 5)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRIVERS)} (default: all)")
    options = parser.parse_args()
    unknown = set(options.names) - set(DRIVERS)
    if unknown:
        parser.error(f"no implementation is called {', '.join(sorted(unknown))}")
    runs = 1 if options.quick else max(1, options.runs)
    drivers = _drivers([name for name in DRIVERS if name in (options.names or DRIVERS)])
    if not drivers:
        return 1
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in range(runs):
        for scenario in SCENARIOS:
            for driver in drivers:
                _progress(f"run {run + 1} of {runs}: {scenario.rows[0].title}, {driver.name}")
                try:
                    measured = _run(driver, scenario)
                except MeasurementFailed as error:
                    print(f"\n{error}", file=sys.stderr)
                    return 1
                for row in scenario.rows:
                    key = (scenario.rows[0].title, row.title, driver.name)
                    found.setdefault(key, []).append(row.value(measured))
    _progress("")
    print("; ".join(driver.version for driver in drivers))
    where = "one core a side" if cores()[0] is not None else "both sides on one core"
    print(f"{f'median (least-most) of {runs} runs' if runs > 1 else 'one run'}, {where}; the last columns are ratios:")
    print("more is better where a row is per second, less where it is CPU or KiB\n")
    others = [driver.name for driver in drivers[1:]] if drivers[0].name == "ethp2p" else []
    table = [["", *[driver.name for driver in drivers], *[f"ethp2p/{name}" for name in others]]]
    for scenario in SCENARIOS:
        for row in scenario.rows:
            values = {driver.name: found[scenario.rows[0].title, row.title, driver.name] for driver in drivers}
            ratios = [_ratio(values["ethp2p"], values[name]) for name in others]
            table.append([row.title, *[_cell(values[driver.name]) for driver in drivers], *ratios])
    print(_table(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
