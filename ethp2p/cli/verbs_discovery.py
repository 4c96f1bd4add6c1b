"""
The verbs of node discovery: C{discv4} and C{discv5}, with the options of geth's C{devp2p} tool.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ethp2p.cli import running
from ethp2p.cli.parsing import Parser, count, group, network, nodes, own_key, places, seconds, verb
from ethp2p.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ethp2p.cli.crawl import Crawl, Crawled
    from ethp2p.cli.finding import Terms
    from ethp2p.cli.greet import Findings
    from ethp2p.crypto.keys import PrivateKey
    from ethp2p.dnsdisc import NodeSet
    from ethp2p.enode import Node
    from ethp2p.networks import Network

T = TypeVar("T")

#: Seconds between two looks at the table while we listen.
LOOK_INTERVAL = 1.0


def add(verbs: Any) -> None:
    """Add them."""
    for protocol in ("v4", "v5"):
        parent = group(verbs, f"disc{protocol}", f"Speak node discovery {protocol}.")
        made = verb(parent, "ping", "See whether a node is there.", partial(_ping, protocol))
        _asked(made)
        _common(made, "5")
        if protocol == "v4":
            made = verb(parent, "requestenr", "Ask a node for its record (EIP-868).", partial(_request, protocol))
            _asked(made)
            _common(made, "5")
        made = verb(parent, "resolve", "Find a node, and print its record.", partial(_resolve, protocol))
        _asked(made)
        _common(made, "60")
        made = verb(parent, "listen", "Take part, until Ctrl-C.  Prints our record.", partial(_listen, protocol))
        _common(made, None)
        made = verb(
            parent, "crawl", "Visit every node there is, and update FILE (nodes.json).", partial(_crawl, protocol)
        )
        made.add_argument("file", metavar="FILE", help="the nodes of earlier crawls; made if it is not there")
        _common(made, "30m")
        made.add_argument(
            "--parallel", type=count, default=64, metavar="N", help="visits at once [default: %(default)s]"
        )
        made.add_argument("--probe", action="store_true", help="call each node over RLPx for its Hello and Status")
        made.add_argument("--out", metavar="FILE", help="write a table of all that was found; - is stdout")
        made.add_argument("--format", choices=("json", "jsonl", "csv"), help="of that; by default what FILE ends in")


def _asked(made: Parser) -> None:
    made.add_argument("node", metavar="NODE", help="enode://... or enr:...")


def _common(made: Parser, timeout: str | None) -> None:
    made.add_argument("--bootnodes", type=nodes, metavar="NODES", help="whom to begin with, commas between them")
    made.add_argument(
        "--network",
        type=network,
        metavar="NAME|FILE",
        help="whose bootnodes to begin with, if none are given [default: mainnet]",
    )
    made.add_argument("--nodekey", metavar="HEX|FILE", help="our private key; by default a new one is made")
    made.add_argument(
        "--addr", type=places, metavar="IP:PORT", help="where to listen, several with commas between them"
    )
    made.add_argument("--extaddr", type=places, default=(), metavar="IP[:PORT]", help="what to announce, likewise")
    default = None if timeout is None else seconds(timeout)
    made.add_argument(
        "--timeout", type=seconds, default=default, metavar="TIME", help=f"[default: {timeout or 'none'}]"
    )


def _network(given: argparse.Namespace) -> Network:
    from ethp2p.networks import named

    return given.network or named("mainnet")


def _terms(protocol: str, given: argparse.Namespace, *, alone: bool = False) -> Terms:
    """C{alone}: nobody else has to be known."""
    from ethp2p.cli.finding import Terms
    from ethp2p.enode import Node

    bootnodes = given.bootnodes
    if bootnodes is None:
        bootnodes = () if alone else tuple(map(Node.parse, _network(given).bootnodes))
    listen = None if given.addr is None else tuple((host, port or 0) for host, port in given.addr)
    return Terms(protocol, own_key(given.nodekey), bootnodes, listen, given.extaddr)


def _ping(protocol: str, given: argparse.Namespace) -> None:
    from ethp2p.cli.finding import ping
    from ethp2p.cli.show import as_json, pong_line, pong_value
    from ethp2p.enode import Node

    node, terms = Node.parse(given.node), _terms(protocol, given, alone=True)
    pong = running.with_reactor(lambda reactor: ping(reactor, terms, node, wall=running.wall, timeout=given.timeout))
    print(as_json(pong_value(pong)) if given.json else pong_line(pong))


def _request(protocol: str, given: argparse.Namespace) -> None:
    from ethp2p.cli.finding import request_record
    from ethp2p.cli.show import as_json
    from ethp2p.enode import Node

    node, terms = Node.parse(given.node), _terms(protocol, given, alone=True)
    record = running.with_reactor(
        lambda reactor: request_record(reactor, terms, node, wall=running.wall, timeout=given.timeout)
    )
    print(as_json({"enr": record.text}) if given.json else record.text)


def _resolve(protocol: str, given: argparse.Namespace) -> None:
    from ethp2p.cli.finding import resolve
    from ethp2p.cli.show import as_json
    from ethp2p.enode import Node

    node, terms = Node.parse(given.node), _terms(protocol, given)
    with running.Progress(sys.stderr) as progress:
        progress.show(f"looking for {node.node_id.hex()[:16]} ...")
        record = running.with_reactor(
            lambda reactor: resolve(reactor, terms, node, wall=running.wall, timeout=given.timeout)
        )
    print(as_json({"enr": record.text}) if given.json else record.text)


def _listen(protocol: str, given: argparse.Namespace) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    from ethp2p.cli.finding import Finder
    from ethp2p.cli.show import as_json

    terms = _terms(protocol, given)

    async def listen(reactor: Any, progress: running.Progress) -> None:
        async with Finder(reactor, terms, wall=running.wall) as finder:
            own = finder.local.node
            assert own.record is not None
            value = {"id": own.node_id.hex(), "enode": own.url, "enr": own.record.text}
            print(as_json(value) if given.json else own.record.text, flush=True)
            until = None if given.timeout is None else reactor.seconds() + given.timeout
            while until is None or reactor.seconds() < until:
                table = finder.speaker.table
                live = len(table.nodes(live_only=True))
                progress.show(f"{len(table.nodes(live_only=False))} nodes in the table, {live} of them live")
                rest = LOOK_INTERVAL if until is None else min(LOOK_INTERVAL, until - reactor.seconds())
                await deferLater(reactor, rest)

    with running.Progress(sys.stderr) as progress:
        running.with_reactor(lambda reactor: Deferred.fromCoroutine(listen(reactor, progress)))


def _crawl(protocol: str, given: argparse.Namespace) -> None:
    from ethp2p.cli.crawl import crawl
    from ethp2p.cli.reports import FORMATS, render, rows
    from ethp2p.cli.show import as_json
    from ethp2p.dnsdisc import NodeSet

    out = given.out or ("-" if given.format else None)
    form = given.format or next((form for form in FORMATS if str(out).endswith(f".{form}")), "json")
    for path in filter(None, (given.file, given.out)):  # found out now, and not when hours of work are to be kept
        if not os.path.isdir(Path(path).absolute().parent):
            raise ConfigError(f"{path}: there is no such directory")
    known = NodeSet.read(given.file) if os.path.exists(given.file) else NodeSet({})
    terms = _terms(protocol, given)
    probe = _probe(terms.key, _network(given)) if given.probe else None

    def save(found: NodeSet) -> None:
        found.write(given.file)

    with running.Progress(sys.stderr) as progress:

        def work(reactor: Any) -> Deferred[Crawled]:
            return crawl(
                reactor,
                terms,
                known,
                wall=running.wall,
                timeout=given.timeout,
                parallel=given.parallel,
                probe=None if probe is None else partial(probe, reactor),
                progress=lambda crawl: progress.show(_how_far(crawl)),
                save=save,
            )

        crawled = running.with_reactor(work)
    if out is not None:
        text = render(rows(crawled, running.wall()), form)
        if out == "-":
            sys.stdout.write(text)
            return
        try:
            Path(out).write_text(text, "utf-8")
        except OSError as error:
            raise ConfigError(f"{out}: {error.strerror}") from None
    counts = {name: crawled.counts[name] for name in ("added", "updated", "removed", "recent", "silent", "refused")}
    value = {"nodes": len(crawled.node_set.nodes), "visited": len(crawled.visits), **counts}
    words = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    print(as_json(value) if given.json else f"{given.file}: {value['nodes']} nodes" + (f" ({words})" if words else ""))


def _how_far(crawl: Crawl) -> str:
    counts = crawl.counts
    return (
        f"{running.bar(len(crawl.visits), crawl.known)} visited: {counts['added']} added, {counts['updated']} updated, "
        f"{counts['recent']} recent, {counts['silent']} silent"
    )


def _probe(key: PrivateKey, network: Network) -> Any:
    from ethp2p.cli.greet import Findings, Pretence, endpoint_of, probe
    from ethp2p.cli.verdict import FAR

    pretence = Pretence(network, network.fork_id(FAR, int(running.wall())))

    def call(reactor: Any, node: Node) -> Deferred[Findings]:
        from twisted.internet.defer import succeed

        try:
            endpoint = endpoint_of(reactor, node)
        except ConfigError as error:
            return succeed(Findings(failure=error))
        return probe(endpoint, node.public_key, key, reactor, pretence=pretence)

    return call
