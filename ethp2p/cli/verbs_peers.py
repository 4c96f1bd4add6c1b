"""
The verbs that call a peer: C{rlpx ping} and C{status}.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ethp2p.cli import running
from ethp2p.cli.parsing import Parser, group, network, own_key, seconds, verb

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from ethp2p.cli.greet import Findings
    from ethp2p.devp2p.wire import Hello


def add(verbs: Any) -> None:
    """Add them."""
    rlpx = group(verbs, "rlpx", "Talk to a peer over RLPx.")
    made = verb(rlpx, "ping", "Call a peer and print its Hello.", _rlpx_ping)
    _common(made)
    made = verb(verbs, "status", "Call a peer and print which chain it follows, with a verdict.", _status)
    _common(made)
    made.add_argument(
        "--network",
        type=network,
        metavar="NAME|FILE",
        help="the network that it should be on, by name or genesis.json; exit status 1 if it does not go with it",
    )


def _common(made: Parser) -> None:
    made.add_argument("node", metavar="NODE", help="enode://... or enr:...")
    made.add_argument("--nodekey", metavar="HEX|FILE", help="our private key; by default a new one is made")
    made.add_argument("--timeout", type=seconds, default=5.0, metavar="SECONDS", help="[default: %(default)g]")


def _rlpx_ping(given: argparse.Namespace) -> None:
    from ethp2p.cli.greet import endpoint_of, greet
    from ethp2p.cli.show import as_json, hello_lines, hello_value
    from ethp2p.enode import Node

    node, key = Node.parse(given.node), own_key(given.nodekey)
    endpoint_of(None, node)  # whether there is one

    def ping(reactor: Any) -> Deferred[Hello]:
        endpoint = endpoint_of(reactor, node, given.timeout)
        return greet(endpoint, node.public_key, key, reactor, given.timeout)

    hello = running.with_reactor(ping)
    print(as_json(hello_value(hello)) if given.json else "\n".join(hello_lines(hello)))


def _status(given: argparse.Namespace) -> int:
    from ethp2p.cli.greet import Pretence, endpoint_of, probe
    from ethp2p.cli.show import as_json, hello_lines, hello_value, status_lines, status_value
    from ethp2p.cli.verdict import FAR, judge
    from ethp2p.enode import Node
    from ethp2p.networks import named

    node, key, now = Node.parse(given.node), own_key(given.nodekey), running.wall()
    ours = given.network or named("mainnet")
    pretence = Pretence(ours, ours.fork_id(FAR, int(now)))
    endpoint_of(None, node)

    def ask(reactor: Any) -> Deferred[Findings]:
        endpoint = endpoint_of(reactor, node, given.timeout)
        return probe(endpoint, node.public_key, key, reactor, given.timeout, pretence=pretence)

    findings = running.with_reactor(ask)
    value: dict[str, Any] = {}
    lines: list[str] = []
    agrees = True
    if findings.hello is not None:
        value |= hello_value(findings.hello)
        lines += hello_lines(findings.hello)
    if findings.status is not None:
        verdict = judge(findings.status, now, given.network)
        agrees = given.network is None or verdict.agrees is True
        value |= status_value(findings.status, verdict)
        lines += status_lines(findings.status, verdict)
    if lines:
        print(as_json(value) if given.json else "\n".join(lines))
    if findings.failure is not None:
        raise findings.failure
    return 0 if agrees else 1
