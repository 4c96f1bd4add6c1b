"""
The command line: which verbs there are, and what each does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import ethp2p
from ethp2p.errors import ConfigError, P2PError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

T = TypeVar("T")

#: Most characters of a record that are read from stdin: it has 404.
MAX_TEXT = 4096


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage before it."""
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 3600")
    return seconds


def _parser() -> _Parser:
    parser = _Parser("ethp2p", description="Ethereum's peer-to-peer stack, from the console.")
    parser.add_argument("--version", action="version", version=f"ethp2p {ethp2p.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(parent: Any, name: str, help: str, function: Callable[[argparse.Namespace], None] | None) -> _Parser:
        made: _Parser = parent.add_parser(name, help=help, description=help)
        made.set_defaults(function=function)
        return made

    verb(verbs, "run", "Run a node, as twistd -n --pidfile= ethp2p does; see ethp2p run --help.", None)

    key = verb(verbs, "key", "Make and show node keys.", None).add_subparsers(metavar="VERB", required=True)
    made = verb(key, "generate", "Write a new private key to FILE, readable by its owner only.", _key_generate)
    made.add_argument("file", metavar="FILE")
    made = verb(key, "to-id", "Print the node id of the key in FILE.", _key_to_id)
    made.add_argument("file", metavar="FILE")
    made = verb(key, "to-enode", "Print the enode URL of the key in FILE.", _key_to_enode)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--ip", default="127.0.0.1", metavar="HOST", help="address or host name [default: %(default)s]")
    made.add_argument("--tcp", type=_port, default=30303, metavar="PORT", help="[default: %(default)s]")
    made.add_argument("--udp", type=_port, default=30303, metavar="PORT", help="[default: %(default)s]")

    made = verb(verbs, "enrdump", "Print what a node record says.", _enrdump)
    made.add_argument("record", metavar="ENR", help="the record as enr:..., or - to read it from stdin")

    rlpx = verb(verbs, "rlpx", "Talk to a peer over RLPx.", None).add_subparsers(metavar="VERB", required=True)
    made = verb(rlpx, "ping", "Call a peer and print its Hello.", _rlpx_ping)
    made.add_argument("node", metavar="NODE", help="enode://... or enr:...")
    made.add_argument("--nodekey", metavar="FILE", help="file with our private key; by default a new one is made")
    made.add_argument("--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="[default: %(default)g]")
    made.add_argument("--json", action="store_true", help="print it as JSON")

    verb(verbs, "networks", "Print the networks known by name.", _networks)
    return parser


def _run(options: Sequence[str]) -> None:
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "-n", "--pidfile=", "ethp2p", *options]
    run()


def _key_generate(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import PrivateKey, save_key

    save_key(given.file, PrivateKey.generate())


def _key_to_id(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import load_key

    print(load_key(given.file).public_key.node_id.hex())


def _key_to_enode(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import load_key
    from ethp2p.enode import Node

    print(Node(load_key(given.file).public_key, given.ip, given.tcp, given.udp).url)


def _enrdump(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import record_lines
    from ethp2p.enr import Record

    text = sys.stdin.read(MAX_TEXT) if given.record == "-" else given.record
    print("\n".join(record_lines(Record.parse(text.strip()))))


def _networks(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import network_lines

    print("\n".join(network_lines(time.time())))


def _rlpx_ping(given: argparse.Namespace) -> None:
    from twisted.internet.endpoints import HostnameEndpoint

    from ethp2p.cli.greet import greet
    from ethp2p.cli.show import hello_json, hello_lines
    from ethp2p.crypto.keys import PrivateKey, load_key
    from ethp2p.devp2p.wire import Hello
    from ethp2p.enode import Node

    node = Node.parse(given.node)
    if not node.host or not node.tcp:
        raise ConfigError(f"{given.node!r} has no address to call")
    key = PrivateKey.generate() if given.nodekey is None else load_key(given.nodekey)

    def ping(reactor: Any) -> Deferred[Hello]:
        endpoint = HostnameEndpoint(reactor, node.host.encode("ascii"), node.tcp, timeout=given.timeout)
        return greet(endpoint, node.public_key, key, reactor, given.timeout)

    hello = _with_reactor(ping)
    print(hello_json(hello) if given.json else "\n".join(hello_lines(hello)))


def _with_reactor(function: Callable[[Any], Deferred[T]]) -> T:
    """Run the global reactor until the Deferred has fired.  @return: its result.  @raise Exception: its error."""
    from twisted.internet.task import react
    from twisted.python.failure import Failure

    outcome: list[Any] = []

    def main(reactor: Any) -> Deferred[None]:
        return function(reactor).addBoth(outcome.append)

    try:
        react(main)
    except SystemExit:
        if not outcome:
            raise KeyboardInterrupt from None
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: what stands after C{ethp2p}; of this process by default.
    @return: the exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["run"]:  # what follows is for twistd to understand
            _run(words[1:])
        else:
            given = _parser().parse_args(words)
            given.function(given)
        sys.stdout.flush()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except P2PError as error:
        print("ethp2p:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough, as in "ethp2p networks | head -1"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
