"""
The verbs that ask a running node about its peers, and tell it what to do with them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from ethp2p.cli import running
from ethp2p.cli.parsing import Parser, group, seconds, verb
from ethp2p.errors import ConfigError

if TYPE_CHECKING:
    #: A JSON-RPC method and its parameters to its result.
    Call = Callable[..., Awaitable[Any]]
    Lines = Callable[[Any], Iterable[str]]

#: Of a ban whose end is not given, in seconds.
BAN = 12 * 3600.0
#: Longest ban that has an end, in days: ten years.
MAX_DAYS = 3650
#: Fewest digits that name a peer by the beginning of its id: the console shows as many.
SHORTEST = 8

_SUBJECT = "enode://..., enr:..., a node id, or the beginning of a peer's"


def add(verbs: Any) -> None:
    """Add them."""
    _asking(verbs, "peers", "Who is connected.", _peers)
    peer = group(verbs, "peer", "Peers of a running node, one at a time.")
    help = "Call a node, and again whenever it is gone; exit status 1 if there is no room for one more."
    _asking(peer, "add", help, _add, subject=_SUBJECT)
    help = "Stop calling a node, and disconnect it; exit status 1 if there is no such peer."
    _asking(peer, "remove", help, _remove, subject=_SUBJECT)
    _asking(peer, "trust", "Let a node in even when all places are taken.", _trust, subject=_SUBJECT)
    _asking(peer, "untrust", "Trust it no longer; it stays connected.", _untrust, subject=_SUBJECT)
    bannable = f"{_SUBJECT}; an IP address, or a network such as 192.0.2.0/24"
    made = _asking(peer, "ban", "Let nobody in who is this, and disconnect who is here.", _ban, subject=bannable)
    made.add_argument("--for", dest="ban_time", type=ban_time, default=BAN, metavar="TIME", help=_BAN_HELP)
    made.add_argument("--reason", default="", metavar="TEXT", help="kept with the ban, for people")
    _asking(peer, "unban", "Lift a ban; exit status 1 if there is none.", _unban, subject=bannable)
    help = "All that is known of a node or an address, and why it is or is not a peer."
    _asking(peer, "explain", help, _explain, subject=f"{_SUBJECT}; or an IP address")
    _asking(verbs, "bans", "The bans in force.", _bans)
    _asking(verbs, "funnel", "How far the node's calls came, and what ended them.", _funnel)
    help = "Look at everything that keeps a node from finding peers; exit status 1 if something is to be done."
    _asking(verbs, "doctor", help, _doctor)
    config = group(verbs, "config", "Settings of a running node.")
    help = "Change settings while it runs, all or none; prints those that can be changed so."
    made = _asking(config, "set", help, _config_set)
    made.add_argument("settings", type=setting, nargs="*", metavar="NAME=VALUE", help="a text, or JSON")


def _asking(parent: Any, name: str, help: str, function: Any, *, subject: str = "") -> Parser:
    made = verb(parent, name, help, function)
    if subject:
        made.add_argument("subject", metavar="SUBJECT", help=subject)
    where = "where the node answers, http://... or a unix socket [default: that in its data directory, or port 8650]"
    made.add_argument("--rpc", metavar="URL|PATH", help=where)
    made.add_argument("--datadir", metavar="DIR", help="the node's data directory [default: a node's default]")
    made.add_argument("--timeout", type=seconds, default=10.0, metavar="TIME", help="[default: %(default)g s]")
    return made


_BAN_HELP = "as 30m, 2h, 7d or forever [default: 12h]"


def ban_time(text: str) -> float | None:
    """How long a ban is, in seconds: C{90}, C{30m}, C{1d12h}, up to L{MAX_DAYS}; None is C{forever}."""
    if text == "forever":
        return None
    match = re.fullmatch(r"(?:([0-9]{1,4})d)?(.*)", text, re.DOTALL)
    assert match is not None
    days = int(match[1] or 0)
    if days > MAX_DAYS or (match[1] and not days and not match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from 1d to {MAX_DAYS}d, nor forever")
    return days * 86400.0 + (seconds(match[2]) if match[2] or not match[1] else 0.0)


def setting(text: str) -> tuple[str, Any]:
    """C{NAME=VALUE}: what is no JSON is a text."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return name, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _ask(given: argparse.Namespace, work: Callable[[Call], Any]) -> Any:
    """Ask the node that is meant, as often as C{work} does.  @return: what it returns."""
    from functools import partial

    from twisted.internet.defer import Deferred

    from ethp2p.cli.asking import Place, ask

    place = Place.find(given.rpc, given.datadir)
    return running.with_reactor(
        lambda reactor: Deferred.fromCoroutine(work(partial(ask, reactor, place, given.timeout)))
    )


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever program answers there, it may answer anything."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise running.NotReached("what answers there is no node of this kind: its answer has another shape") from None


def _say(given: argparse.Namespace, result: Any, lines: Lines) -> None:
    from ethp2p.cli.show import as_json

    with _reading():
        text = as_json(result) if given.json else "\n".join(lines(result))
    print(text)


def _show(given: argparse.Namespace, method: str, lines: Lines) -> Any:
    async def work(call: Call) -> Any:
        return await call(method)

    result = _ask(given, work)
    _say(given, result, lines)
    return result


def _decide(given: argparse.Namespace, method: str, yes: str, no: str = "") -> int:
    """Ask for something that is done or not, of a node by its URL."""

    async def work(call: Call) -> Any:
        return await call(method, await _url(call, given.subject))

    done = _ask(given, work)
    _say(given, done, lambda done: [yes if done else no])
    return 0 if done else 1


async def _peers_by_id(call: Call, start: str) -> dict[str, str]:
    """The enode URLs of peers by their ids, of those that begin so."""
    peers = await call("admin_peers")
    with _reading():
        urls = {peer["id"]: peer["enode"] for peer in peers if peer["id"].startswith(start)}
    if len(urls) > 1:
        raise ConfigError(f"{len(urls)} peers have ids that begin with {start}: give more of it")
    return urls


def _digits(text: str) -> str:
    """A node id, or its beginning; empty if it is neither."""
    digits = text.removeprefix("0x").lower()
    return digits if re.fullmatch(f"[0-9a-f]{{{SHORTEST},64}}", digits) else ""


async def _subject(call: Call, text: str) -> str:
    """What the node understands: ids are whole there."""
    digits = _digits(text)
    if not digits or len(digits) == 64:
        return digits or text
    for node_id in await _peers_by_id(call, digits):
        return node_id
    raise ConfigError(f"no peer has an id that begins with {digits}; give all of it")


async def _url(call: Call, text: str) -> str:
    """What geth's methods understand: nothing but URLs and records."""
    digits = _digits(text)
    if not digits:
        return text
    for url in (await _peers_by_id(call, digits)).values():
        return url
    known = await call("ethp2p_explainPeer", digits) if len(digits) == 64 else {}
    with _reading():
        if known.get("enode"):
            return str(known["enode"])
    raise ConfigError(f"no URL is known of a node with the id {digits}: give its enode://...")


def _peers(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import peer_lines

    _show(given, "admin_peers", peer_lines)


def _add(given: argparse.Namespace) -> int:
    yes = "it is called from now on, and again whenever it is gone"
    return _decide(given, "admin_addPeer", yes, "not added: there is no room for one more")


def _remove(given: argparse.Namespace) -> int:
    return _decide(given, "admin_removePeer", "it is called no more, and disconnected", "there is no such peer")


def _trust(given: argparse.Namespace) -> int:
    yes = "it comes in from now on, even when all places are taken"
    return _decide(given, "admin_addTrustedPeer", yes, "not trusted: there is no room for one more")


def _untrust(given: argparse.Namespace) -> int:
    yes = "it needs a free place from now on, as anybody does; if it is here, it stays"
    return _decide(given, "admin_removeTrustedPeer", yes, "it was not trusted")


def _ban(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import ban_sentence
    from ethp2p.cli.show import clean

    async def work(call: Call) -> Any:
        return await call("ethp2p_ban", await _subject(call, given.subject), given.ban_time, given.reason)

    _say(given, _ask(given, work), lambda ban: [f"{clean(ban['subject'])} is {ban_sentence(ban)}"])


def _unban(given: argparse.Namespace) -> int:
    async def work(call: Call) -> Any:
        return await call("ethp2p_unban", _digits(given.subject) or given.subject)

    lifted = _ask(given, work)
    _say(given, lifted, lambda lifted: ["the ban is lifted" if lifted else "there is no such ban"])
    return 0 if lifted else 1


def _explain(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import explain_lines

    async def work(call: Call) -> Any:
        return await call("ethp2p_explainPeer", await _subject(call, given.subject))

    _say(given, _ask(given, work), explain_lines)


def _bans(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import ban_lines

    _show(given, "ethp2p_bans", ban_lines)


def _funnel(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import funnel_lines

    _show(given, "ethp2p_dialFunnel", funnel_lines)


def _doctor(given: argparse.Namespace) -> int:
    from ethp2p.cli.household import finding_lines

    findings = _show(given, "ethp2p_doctor", finding_lines)
    with _reading():
        return 0 if all(one["ok"] for one in findings) else 1


def _config_set(given: argparse.Namespace) -> None:
    from ethp2p.cli.household import setting_lines

    names = [name for name, _ in given.settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice")

    async def work(call: Call) -> Any:
        return await call("ethp2p_setConfig", dict(given.settings))

    _say(given, _ask(given, work), setting_lines)
