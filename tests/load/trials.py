"""
What a node has to stand, and whether it did.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs

from tests.load.process import Worker, WorkerFailed

#: Established peers whose pings are measured while others flood the node.
FRIENDS = 20
#: Seconds that 99 of 100 of their pings may take at most.
MAX_PING = 0.25
#: By how much memory may have grown when all is quiet again.
MAX_GROWTH = 0.10
#: The places of a node, as its operator has it.
MAX_PEERS = 50
#: Seconds between two pings of a peer: no more often for long than the node takes for honest.
PING_EVERY, IDLE_EVERY = 0.45, 15.0
#: Seconds between two looks at the books, beside every event.
LOOK = 0.01
#: Seconds until all is quiet.
QUIET = 3.0
#: When the node has work and no core for more than this share of the time, others keep the machine busy.
STARVED = 0.2
IN, FULL = "came in", "too many peers"


@attrs.define
class Trial:
    """What was found."""

    title: str
    #: Names and values, to be printed.
    rows: list[tuple[str, str]] = attrs.field(factory=list)
    #: What did not hold, in words.
    broken: list[str] = attrs.field(factory=list)
    #: The share of the time in which the node had work and others had its core.
    starved: float = 0.0

    def row(self, name: str, value: str) -> None:
        """One more figure."""
        self.rows.append((name, value))

    def require(self, holds: bool, words: str) -> None:
        """C{words}, in case it does not hold."""
        if not holds:
            self.broken.append(words)

    @property
    def doubtful(self) -> bool:
        """Whether something did not hold, and it may be the machine's fault: others use it."""
        return bool(self.broken) and self.starved > STARVED

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        lines = [self.title, "", *(f"  {name:{width}}  {value}" for name, value in self.rows)]
        return "\n".join([*lines, *(f"  BROKEN: {words}" for words in self.broken)])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _books(trial: Trial, figures: Mapping[str, Any], peaks: Mapping[str, int]) -> None:
    """What holds of the node's books in every trial."""
    most = ", ".join(f"{figures['peaks'].get(name, 0):,} {name} of {limit:,}" for name, limit in peaks.items())
    trial.row("at most", f"{most}, {figures['peaks'].get('sessions', 0):,} sessions; {figures['looks']:,} looks")
    trial.row("latest event", _ms(figures["lag"]))
    trial.require(not figures["broken"], f"limits passed: {_counts(figures['broken'])}")
    trial.require(not figures["trouble"], f"the node logged {len(figures['trouble'])} errors: {figures['trouble'][:3]}")
    trial.require(figures["doorman"] == 0, f"{figures['doorman']} tokens of the doorman are out")
    trial.require(
        figures["sessions"] == figures["peers"], f"{figures['sessions']} sessions of {figures['peers']} peers"
    )


def _cpu(trial: Trial, begun: Mapping[str, Any], done: Mapping[str, Any], seconds: float) -> float:
    """@return: seconds of CPU that the node used."""
    used, waited = (done[name] - begun[name] for name in ("cpu", "starved"))
    trial.starved = waited / seconds
    trial.row("CPU", f"{used:.2f} s, {used / seconds:.1%} of a core, and {waited:.2f} s without one")
    return float(used)


def _closed(trial: Trial, left: Mapping[str, int]) -> None:
    trial.require(not any(left.values()), f"left of a node that stopped: {_counts(left)}")


def flood(calls: int, seconds: float) -> Trial:
    """
    So many strangers call in so many seconds, each with a handshake and a Hello, a node with L{FRIENDS}.
    """
    trial = Trial(f"flood: {calls:,} calls in {seconds:g} s, {MAX_PEERS} places, {FRIENDS} peers there already")
    limit = 4 * seconds + 120
    with (
        Worker("tests.load.node", limit) as node,
        Worker("tests.load.callers", limit) as friends,
        Worker("tests.load.callers", limit) as strangers,
    ):
        url = node.ask("open", max_peers=MAX_PEERS)
        node.ask("watch", every=LOOK)
        entered = friends.ask("enter", url=url, count=FRIENDS, seconds=1.0)["outcomes"]
        if entered != {IN: FRIENDS}:
            raise WorkerFailed(f"of the first {FRIENDS} calls {_counts(entered)}")
        friends.ask("ping", every=PING_EVERY, seconds=QUIET)
        quiet = friends.ask("ping", every=PING_EVERY, seconds=QUIET)
        time.sleep(QUIET)
        before, begun = node.ask("memory"), node.ask("figures")
        node.ask("watch", every=LOOK)  # to take stock of memory has held everything up

        friends.tell("ping", every=PING_EVERY, seconds=seconds)
        flooded = strangers.ask("enter", url=url, count=calls, seconds=seconds)
        done = node.ask("figures")
        pinged = friends.hear()
        stayed = strangers.ask("leave")
        time.sleep(QUIET)
        after, figures = node.ask("memory"), {**node.ask("figures"), "lag": done["lag"]}

        outcomes = flooded["outcomes"]
        refused = sum(outcomes.values()) - outcomes.get(IN, 0)
        inbound = MAX_PEERS - max(1, MAX_PEERS // 3)
        trial.row("outcomes", f"{_counts(outcomes)}; in {flooded['wall']:.1f} s, at most {_ms(flooded['late'])} late")
        trial.row("a stranger waits", f"median {_ms(flooded['median'])}, p99 {_ms(flooded['p99'])}")
        for title, rtts in (("pings, quiet", quiet), ("pings, flooded", pinged)):
            times = f"median {_ms(rtts['median'])}, p99 {_ms(rtts['p99'])}, most {_ms(rtts['most'])}"
            trial.row(title, f"{times} ({rtts['pings']})")
        used = _cpu(trial, begun, done, flooded["wall"])
        trial.row("   a call", _ms(used / calls))
        trial.row("memory", f"{before:,} KiB before, {after:,} KiB after ({after / before - 1:+.1%})")
        _books(trial, figures, {"peers": MAX_PEERS, "callers": inbound, "handshakes": 50, "waiting": 256})
        trial.require(outcomes.get(FULL, 0) == refused, f"not all of {refused} refused heard why: {_counts(outcomes)}")
        trial.require(stayed == inbound - FRIENDS, f"{stayed} strangers came in, not {inbound - FRIENDS}")
        trial.require(pinged["p99"] < MAX_PING, f"p99 of pings is {_ms(pinged['p99'])}, over {_ms(MAX_PING)}")
        trial.require(not pinged["unanswered"], f"{pinged['unanswered']} pings were not answered")
        trial.require(not pinged["gone"], f"peers that were there are gone: {_counts(pinged['gone'])}")
        trial.require(figures["peers"] == FRIENDS, f"{figures['peers']} peers are left, not {FRIENDS}")
        trial.require(after <= before * (1 + MAX_GROWTH), f"memory grew from {before:,} to {after:,} KiB")
        friends.ask("leave")
        _closed(trial, node.ask("close"))
    return trial


def crowd(peers: int, seconds: float) -> Trial:
    """
    So many peers at one time, for so many seconds.
    """
    trial = Trial(f"crowd: {peers:,} peers for {seconds:g} s")
    limit = 2 * seconds + peers / 20 + 120
    places = peers + 100
    with Worker("tests.load.node", limit) as node, Worker("tests.load.callers", limit) as callers:
        url = node.ask("open", max_peers=places, dial_ratio=places)
        callers.ask("enter", url=url, count=FRIENDS, seconds=1.0)  # what is loaded and made once is there
        callers.ask("leave")
        time.sleep(QUIET)
        before = node.ask("memory")
        node.ask("watch", every=1.0)
        entered = callers.ask("enter", url=url, count=peers, seconds=peers / 100)
        time.sleep(QUIET)
        settled, begun = node.ask("memory"), node.ask("figures")
        node.ask("watch", every=1.0)
        pinged = callers.ask("ping", every=IDLE_EVERY, seconds=seconds)
        figures, after = node.ask("figures"), node.ask("memory")

        outcomes, events = entered["outcomes"], figures["events"]
        trial.row("outcomes", f"{_counts(outcomes)}; in {entered['wall']:.1f} s")
        first, last = (settled - before) / peers, (after - before) / peers
        trial.row("memory a peer", f"{first:.1f} KiB at first, {last:.1f} at last")
        trial.row("memory", f"{before:,} KiB without, {settled:,} with them, {after:,} at last")
        times = f"median {_ms(pinged['median'])}, p99 {_ms(pinged['p99'])}, most {_ms(pinged['most'])}"
        trial.row("pings", f"{times} ({pinged['pings']:,} theirs, {pinged['answered']:,} the node's)")
        _cpu(trial, begun, figures, seconds)
        _books(trial, figures, {"peers": places, "callers": places - 1, "handshakes": 50})
        lost = events.get("lost a peer", 0) - FRIENDS
        trial.require(outcomes == {IN: peers}, f"not all came in: {_counts(outcomes)}")
        trial.require(not lost and not pinged["gone"], f"{lost} were dropped: {_counts(pinged['gone'])}")
        trial.require(figures["peers"] == peers, f"{figures['peers']} are there at last")
        trial.require(not pinged["unanswered"], f"{pinged['unanswered']} pings were not answered")
        if seconds > 2 * IDLE_EVERY:  # each had its turn
            trial.require(figures["answering"] == peers, f"only {figures['answering']} answered the node")
        callers.ask("leave")
        time.sleep(QUIET)
        _closed(trial, node.ask("close"))
    return trial
