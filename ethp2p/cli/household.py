"""
A node's household as people read it: what its JSON-RPC answers, in tables and sentences.

Much of it was said by strangers, so every text is L{clean}ed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ethp2p.cli.show import clean, table
from ethp2p.doctor import STAGES, in_words, span

#: Characters of a node id in a table; as many are enough to name a peer.
SHORT = 16
#: Characters of a client's name in a table.
NAME = 40

Value = Mapping[str, Any]


def instant(when: float | None) -> str:
    """A Unix time as people read it; of a ban's end, None is never."""
    if when is None:
        return "forever"
    try:
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"time {when:g}"


def _text(value: object) -> str:
    return "" if value is None else clean(str(value))


def _sentence(value: object) -> str:
    words = _text(value).strip()
    words = words[:1].upper() + words[1:]
    if words.endswith("..") and not words.endswith("..."):  # a sentence that ends with another's words
        words = words[:-1]
    return words if not words or words[-1] in ".!?" else f"{words}."


def _flags(network: Value) -> str:
    return ",".join(flag for flag in ("static", "trusted") if network.get(flag))


def _speaks(protocols: Mapping[str, Any]) -> str:
    """In use, as C{eth/69 snap/1}; geth shows a text where there is no more to say."""
    versions = ((name, value.get("version")) for name, value in protocols.items() if isinstance(value, Mapping))
    return " ".join(f"{_text(name)}/{version}" if version else _text(name) for name, version in versions)


def peer_lines(peers: Sequence[Value]) -> Iterator[str]:
    """C{admin_peers}, in lines."""
    if len(peers) == 0:
        yield "no peers; 'ethp2p doctor' says what is in the way"
        return
    rows = [("id", "", "flags", "address", "speaks", "client")]
    inbound = 0
    for peer in peers:
        network = peer["network"]
        inbound += bool(network["inbound"])
        rows.append(
            (
                _text(peer["id"])[:SHORT],
                "in" if network["inbound"] else "out",
                _flags(network),
                _text(network["remoteAddress"]),
                _speaks(peer.get("protocols") or {}),
                _text(peer["name"])[:NAME],
            )
        )
    yield from table(rows)
    yield f"{len(peers)} {'peer' if len(peers) == 1 else 'peers'}: {inbound} in, {len(peers) - inbound} out"


def ban_lines(bans: Sequence[Value]) -> Iterator[str]:
    """C{ethp2p_bans}, in lines."""
    if len(bans) == 0:
        yield "no bans"
        return
    rows = [("scope", "subject", "until", "by", "reason")]
    rows += [
        (_text(ban["scope"]), _text(ban["subject"]), instant(ban["until"]), _text(ban["by"]), _text(ban["reason"]))
        for ban in bans
    ]
    yield from table(rows)


def ban_sentence(ban: Value) -> str:
    """One ban."""
    until = "forever" if ban["until"] is None else f"until {instant(ban['until'])}"
    why = f": {_text(ban['reason'])}" if ban["reason"] else ""
    kept = "" if ban.get("kept", True) else "; but it cannot be kept, and is over when the node stops"
    return f"banned {until}, by {_text(ban['by'])}{why}{kept}"


def funnel_lines(funnel: Value) -> Iterator[str]:
    """C{ethp2p_dialFunnel}, in lines: how many calls came to each stage, and what ended others before it."""
    stages, failures = funnel["stages"], funnel["failures"]
    rows = [("stage", "calls", "ended before it")]
    for stage in [*STAGES, *sorted(name for name in failures if name not in STAGES)]:
        causes: Mapping[str, int] = failures.get(stage) or {}
        ended = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
        why = ", ".join(f"{count} {_text(in_words(cause))}" for cause, count in ended)
        rows.append((_text(in_words(stage)), str(stages.get(stage, 0)), why))
    yield from table(rows)


def explain_lines(known: Value) -> Iterator[str]:
    """C{ethp2p_explainPeer}, in the order of reading: what is, what comes, and why."""
    yield _sentence(known["verdict"])
    if known.get("next"):
        yield _sentence(known.get("next"))
    connected = known.get("connected")
    if connected:
        network = connected["network"]
        how = "It called us from" if network["inbound"] else "We called it at"
        flags = _flags(network).replace(",", " and ")
        speaks = _speaks(connected.get("protocols") or {}) or "nothing yet"
        yield f"{how} {_text(network['remoteAddress'])}; speaks {speaks} with us{flags and f'; {flags}'}."
    if known.get("client"):
        offers = f", offers {_text(' '.join(known['capabilities']))}" if known.get("capabilities") else ""
        yield f"Its client is {_text(known.get('client'))}{offers}."
    if known.get("id"):
        yield f"Its id is {_text(known.get('id'))}."
    if known.get("enode"):
        yield f"Its URL is {_text(known.get('enode'))} ."
    yield from _attempts(known.get("attempts") or ())
    yield from _refusals(known.get("refusals") or ())
    if known.get("score") is not None:
        ledger = known.get("ledger") or ()
        yield f"Its score is {known['score']:.0f} of 100{'' if ledger else ', and nothing was booked'}."
        for entry in ledger:
            evidence = f" ({_text(entry['evidence'])})" if entry["evidence"] else ""
            what = _text(in_words(entry["what"]))
            yield f"  {span(entry['ago'])} ago: {entry['delta']:+.1f} to {entry['score']:.1f}, {what}{evidence}"
    ban = known.get("ban")
    if ban:
        yield f"{_text(ban['subject'])} is {ban_sentence(ban)}."


def _attempts(attempts: Sequence[Value]) -> Iterator[str]:
    if not attempts:
        yield "There was no call, neither way."
        return
    yield "Calls, newest first:"
    for attempt in attempts:
        how = "it called us from" if attempt["inbound"] else "we called"
        reached = [f"{_text(in_words(one['stage']))} after {one['seconds']:.2f} s" for one in attempt["stages"]]
        parts = [", ".join(reached)] if reached else []
        cause = in_words(attempt["cause"] or "")
        words = attempt["words"] or ""
        end = words if not cause or cause in words.lower() else f"{cause} ({words})" if words else cause
        parts.append(_text(end) or "not over yet")
        yield f"  {instant(attempt['began'])} {how} {_text(attempt['address'])}: {'; '.join(parts)}"


def _refusals(refusals: Sequence[Value]) -> Iterator[str]:
    if refusals:
        yield "Not let in when it called, newest first:"
    for one in refusals:
        yield f"  {instant(one['at'])} from {_text(one['address'])}: {_text(one['words'])}"


def finding_lines(findings: Sequence[Value]) -> Iterator[str]:
    """C{ethp2p_doctor}, in lines."""
    rows = [("ok" if one["ok"] else "FAULT", _text(one["name"]), _text(one["words"])) for one in findings]
    yield from table(rows)
    faults = sum(not one["ok"] for one in findings)
    yield "all is well" if not faults else f"{faults} of {len(findings)} to look after"


def setting_lines(settings: Value) -> Iterator[str]:
    """C{ethp2p_setConfig}, in lines."""
    yield from table([(_text(name), _text(json.dumps(value))) for name, value in settings.items()])
