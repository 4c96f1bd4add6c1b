"""
The verbs of node lists: C{dns} and C{nodeset}, with the options of geth's C{devp2p} tool.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ethp2p.cli import running
from ethp2p.cli.parsing import count, group, network, network_range, place, seconds, uint64, verb
from ethp2p.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ethp2p.crypto.keys import PrivateKey
    from ethp2p.dnsdisc import Tree

#: Most bytes of a key file.
MAX_KEY_FILE = 65536
#: Lookups a second for a list that is wanted whole: thousands of names in minutes, and nothing to a name server.
RATE = 20


def add(verbs: Any) -> None:
    """Add them."""
    dns = group(verbs, "dns", "Node lists in DNS (EIP-1459).")
    made = verb(dns, "sync", "Fetch the list at URL, and write it to DIR.", _sync)
    made.add_argument("url", metavar="URL", help="enrtree://KEY@DOMAIN")
    made.add_argument("directory", metavar="DIR", nargs="?", help="by default of the domain's name")
    made.add_argument("--timeout", type=seconds, metavar="TIME", help="for all of it [default: none]")
    made.add_argument("--server", type=place, metavar="IP[:PORT]", help="name server [default: the system's]")
    made.add_argument("--rate", type=count, default=RATE, metavar="N", help="lookups a second [default: %(default)s]")
    made = verb(dns, "sign", "Sign the list in DIR, and print its URL.", _sign)
    made.add_argument("directory", metavar="DIR")
    made.add_argument("keyfile", metavar="KEYFILE", help="64 hex digits, or a key of geth's under a password")
    made.add_argument("--domain", default="", help="where it is published [default: as before, or DIR]")
    made.add_argument("--seq", type=uint64, metavar="N", help="sequence number [default: the next]")
    made = verb(dns, "to-txt", "Print the TXT records of the signed list in DIR, as JSON.", _to_txt)
    made.add_argument("directory", metavar="DIR")
    made.add_argument("out", metavar="OUT", nargs="?", default="-", help="file to write them to")
    made.add_argument("--zone", action="store_true", help="as lines of a zone file instead")

    nodeset = group(verbs, "nodeset", "Sets of nodes in files (nodes.json).")
    made = verb(nodeset, "info", "Print what is in a set.", _info)
    made.add_argument("file", metavar="FILE")
    made = verb(nodeset, "filter", "Print those nodes of a set that pass all filters, as nodes.json.", _filter)
    made.add_argument("file", metavar="FILE")
    made.add_argument("-limit", "--limit", type=_limit, metavar="N", help="so many, those with the highest scores")
    made.add_argument("-ip", "--ip", type=network_range, metavar="CIDR", help="at an address of this network")
    made.add_argument("-min-age", "--min-age", type=seconds, metavar="TIME", help="that have answered for so long")
    made.add_argument(
        "-eth-network", "--eth-network", type=network, metavar="NAME|FILE", help="of this network, by their fork id"
    )
    made.add_argument("-snap", "--snap", action="store_true", help="that speak snap")


def _limit(text: str) -> int | None:
    if text in ("0", "-1"):  # geth: none at all, or all
        return 0 if text == "0" else None
    return count(text)


def _sync(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import as_json
    from ethp2p.dnsdisc import Definition, parse_url

    link = parse_url(given.url)
    directory = given.directory or link.domain
    with running.Progress(sys.stderr) as progress:

        def work(reactor: Any) -> Deferred[Tree]:
            from twisted.names.client import Resolver
            from twisted.python.failure import Failure

            from ethp2p.dnsdisc import downloadTree
            from ethp2p.dnsdisc.download import NoAnswer, Progress
            from ethp2p.limits import WheelTimer

            if given.server is None:
                resolver = Resolver(resolv="/etc/resolv.conf", reactor=reactor)
            else:
                resolver = Resolver(servers=[(given.server[0], given.server[1] or 53)], reactor=reactor)

            def show(entries: Progress) -> None:
                progress.show(f"{running.bar(entries.done, entries.known)} entries")

            syncing = downloadTree(resolver, link, wheel=WheelTimer(reactor), progress=show, rate=given.rate)
            if given.timeout is not None:
                late = NoAnswer(f"{link.domain} could not be read within {given.timeout:g} s")
                syncing.addTimeout(given.timeout, reactor, lambda value, after: Failure(late))
            return syncing

        tree = running.with_reactor(work)
    Definition.of(tree, link).write(directory, running.wall())
    value = {"directory": directory, "seq": tree.seq, "nodes": len(tree.records), "links": len(tree.links)}
    words = f"{directory}: {value['nodes']} nodes and {value['links']} links, seq {tree.seq}"
    print(as_json(value) if given.json else words)


def _sign(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import as_json
    from ethp2p.dnsdisc import Definition

    definition = Definition.read(given.directory)
    known = given.domain or definition.url is not None
    domain = given.domain if known else Path(given.directory).absolute().name
    signed = definition.sign(_signing_key(given.keyfile), domain=domain, seq=given.seq)
    signed.write_info(given.directory, running.wall())
    assert signed.url is not None
    print(as_json({"url": signed.url.text, "seq": signed.seq}) if given.json else signed.url.text)


def _signing_key(path: str) -> PrivateKey:
    from getpass import getpass

    from ethp2p.cli.keystore import unlock
    from ethp2p.crypto.keys import load_key

    try:
        with open(path, "rb") as file:
            start = file.read(MAX_KEY_FILE)
    except OSError as error:
        raise ConfigError(f"cannot read key file {path}: {error.strerror}") from None
    if not start.lstrip().startswith(b"{"):
        return load_key(path)
    if sys.stdin.isatty():
        password = getpass(f"Password of {path}: ")
    else:
        password = sys.stdin.readline(1024).removesuffix("\n")
    return unlock(start.decode("utf-8", "replace"), password)


def _to_txt(given: argparse.Namespace) -> None:
    import json

    from ethp2p.dnsdisc import Definition

    definition = Definition.read(given.directory)
    tree = definition.tree()
    assert definition.url is not None
    domain = definition.url.domain
    text = tree.to_zone(domain) if given.zone else json.dumps(tree.to_txt(domain), indent=4, sort_keys=True) + "\n"
    if given.out == "-":
        sys.stdout.write(text)
        return
    try:
        Path(given.out).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{given.out}: {error.strerror}") from None


def _info(given: argparse.Namespace) -> None:
    from ethp2p.cli.nodesets import attribute_counts
    from ethp2p.cli.show import as_json, attribute_lines
    from ethp2p.dnsdisc import NodeSet

    nodes = NodeSet.read(given.file)
    counts, number = attribute_counts(nodes.records), len(nodes.nodes)
    lines = "\n".join(attribute_lines(counts, number))
    print(as_json({"nodes": number, "attributes": counts}) if given.json else lines)


def _filter(given: argparse.Namespace) -> None:
    import json

    from ethp2p.cli import nodesets
    from ethp2p.dnsdisc import NodeSet

    filters: list[nodesets.Filter] = []
    if given.ip is not None:
        filters.append(nodesets.within(given.ip))
    if given.min_age is not None:
        filters.append(nodesets.seen_for(given.min_age))
    if given.eth_network is not None:
        filters.append(nodesets.of_network(given.eth_network))
    if given.snap:
        filters.append(nodesets.serves_snap)
    found = nodesets.select(NodeSet.read(given.file), filters, given.limit)
    print(json.dumps(found.value(), indent=4))
