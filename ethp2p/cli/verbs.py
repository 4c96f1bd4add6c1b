"""
The command line: the verbs that need no network, and how all of them begin and end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

import ethp2p
from ethp2p.cli import running, verbs_discovery, verbs_household, verbs_lists, verbs_peers
from ethp2p.cli.parsing import Parser, group, port, verb
from ethp2p.errors import ConfigError, P2PError

#: Most characters of a record that are read from stdin: it has 404.
MAX_TEXT = 4096


def _parser() -> Parser:
    parser = Parser("ethp2p", description="Ethereum's peer-to-peer stack, from the console.")
    parser.add_argument("--version", action="version", version=f"ethp2p {ethp2p.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    help = "Run a node, as twistd -n --pidfile= ethp2p does; see ethp2p run --help."
    verbs.add_parser("run", help=help, description=help)  # what follows is for twistd to understand

    key = group(verbs, "key", "Make and show node keys.")
    made = verb(key, "generate", "Write a new private key to FILE, readable by its owner only.", _key_generate)
    made.add_argument("file", metavar="FILE")
    made = verb(key, "to-id", "Print the node id of the key in FILE.", _key_to_id)
    made.add_argument("file", metavar="FILE")
    made = verb(key, "to-enode", "Print the enode URL of the key in FILE.", _key_to_enode)
    _endpoint(made, "address or host name")
    made = verb(key, "to-enr", "Print a node record of the key in FILE.", _key_to_enr)
    _endpoint(made, "address")

    made = verb(verbs, "enrdump", "Print what a node record says.", _enrdump)
    made.add_argument("record", metavar="ENR", help="the record as enr:..., or - to read it from stdin")

    verbs_discovery.add(verbs)
    verbs_lists.add(verbs)
    verbs_peers.add(verbs)
    verbs_household.add(verbs)
    verb(verbs, "networks", "Print the networks known by name.", _networks)
    return parser


def _endpoint(made: Parser, host: str) -> None:
    made.add_argument("file", metavar="FILE")
    made.add_argument("--ip", default="127.0.0.1", metavar="HOST", help=f"{host} [default: %(default)s]")
    made.add_argument("--tcp", type=port, default=30303, metavar="PORT", help="[default: %(default)s]")
    made.add_argument("--udp", type=port, default=30303, metavar="PORT", help="[default: %(default)s]")


def _say(given: argparse.Namespace, value: object, lines: Iterable[str]) -> None:
    from ethp2p.cli.show import as_json

    print(as_json(value) if given.json else "\n".join(lines))


def _run(options: Sequence[str]) -> None:
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "-n", "--pidfile=", "ethp2p", *options]
    run()


def _key_generate(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import as_json
    from ethp2p.crypto.keys import PrivateKey, save_key

    key = PrivateKey.generate()
    save_key(given.file, key)
    if given.json:
        print(as_json({"id": key.public_key.node_id.hex()}))


def _key_to_id(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import load_key

    node_id = load_key(given.file).public_key.node_id.hex()
    _say(given, {"id": node_id}, [node_id])


def _key_to_enode(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import load_key
    from ethp2p.enode import Node

    url = Node(load_key(given.file).public_key, given.ip, given.tcp, given.udp).url
    _say(given, {"enode": url}, [url])


def _key_to_enr(given: argparse.Namespace) -> None:
    from ethp2p.crypto.keys import load_key
    from ethp2p.enode.cidr import as_ip
    from ethp2p.enr import Record
    from ethp2p.enr.entries import IP, IP6, TCP, UDP

    try:
        ip = as_ip(given.ip)
    except ValueError:
        raise ConfigError(f"{given.ip!r} is not an IP address") from None
    entries = {IP if ip.version == 4 else IP6: ip, TCP: given.tcp, UDP: given.udp}
    record = Record.sign(load_key(given.file), 0, {entry: value for entry, value in entries.items() if value})
    _say(given, {"enr": record.text}, [record.text])


def _enrdump(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import record_lines, record_value
    from ethp2p.enr import Record

    text = sys.stdin.read(MAX_TEXT) if given.record == "-" else given.record
    record = Record.parse(text.strip())
    _say(given, record_value(record), record_lines(record))


def _networks(given: argparse.Namespace) -> None:
    from ethp2p.cli.show import network_lines, network_values

    now = running.wall()
    _say(given, network_values(now), network_lines(now))


def main(argv: Sequence[str] | None = None) -> int:
    """
    @param argv: what stands after C{ethp2p}; of this process by default.
    @return: the exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    status = 0
    try:
        if words[:1] == ["run"]:  # what follows is for twistd to understand
            _run(words[1:])
        else:
            given = _parser().parse_args(words)
            status = int(given.function(given) or 0)
        if sys.stdout is not None:  # as with >&-
            sys.stdout.flush()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except P2PError as error:
        print("ethp2p:", " ".join(str(error).split()), file=sys.stderr)
        return 3 if isinstance(error, running.NotReached) else 1
    except OSError as error:
        if sys.stdout is not None:  # what is left cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader has seen enough, as in "ethp2p networks | head -1"
            print(f"ethp2p: {error.filename or 'stdout'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status
