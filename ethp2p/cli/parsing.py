"""
How the command line is read: verbs, and what stands for a value.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Union

from ethp2p.errors import ConfigError

if TYPE_CHECKING:
    from ethp2p.crypto.keys import PrivateKey
    from ethp2p.enode import Node
    from ethp2p.networks import Network

T = TypeVar("T")

#: Longest time that may be given, in seconds: thirty days.
MAX_SECONDS = 30 * 24 * 3600.0

_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|ms|s|m|h)")
_NUMBER = re.compile(r"[0-9]{1,9}\.?[0-9]{0,9}|\.[0-9]{1,9}")


class Parser(argparse.ArgumentParser):
    """
    Says what is wrong in one line.
    """

    def error(self, message: str) -> NoReturn:
        """One line, without the usage before it."""
        print(f"{self.prog}: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def group(parent: Any, name: str, help: str) -> Any:
    """A word that verbs follow.  @return: their parent."""
    return parent.add_parser(name, help=help, description=help).add_subparsers(metavar="VERB", required=True)


def verb(parent: Any, name: str, help: str, function: Callable[[argparse.Namespace], object]) -> Parser:
    """A verb, with C{--json} as every verb has it."""
    made: Parser = parent.add_parser(name, help=help, description=help)
    made.add_argument("--json", action="store_true", help="print it as JSON")
    made.set_defaults(function=function)
    return made


def checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    """A value that is refused with the words of its L{ConfigError}."""

    def value(text: str) -> T:
        try:
            return convert(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def port(text: str) -> int:
    """A port number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """A number from 1."""
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 999999")
    return int(text)


def uint64(text: str) -> int:
    """A number of at most 64 bits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 1 << 64):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 2**64-1")
    return int(text)


def seconds(text: str) -> float:
    """
    A time, as seconds or as Go writes it: C{30m}, C{1h30m0s}, C{500ms}.
    """
    total = 0.0
    if _NUMBER.fullmatch(text):
        total = float(text)
    elif len(text) <= 64 and re.fullmatch(f"(?:{_PART.pattern})+", text):
        total = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    if not 0 < total <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0 up to 30 days, such as 5, 1.5s or 1h30m")
    return total


def network_range(text: str) -> Union[IPv4Network, IPv6Network]:
    """Addresses: C{10.0.0.0/8}."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a network such as 10.0.0.0/8") from None


def place(text: str) -> tuple[str, int | None]:
    """An IP address, and a port if there is one: C{1.2.3.4}, C{1.2.3.4:30303}, C{::1}, C{[::1]:30303}."""
    from ethp2p.enode.cidr import as_ip

    match = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?|([^:]*)(?::([0-9]+))?", text)
    host, number = (text, None) if match is None else (match[1] or match[3], match[2] or match[4])
    try:
        return str(as_ip(host or "")), None if number is None else port(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address, nor one with a port") from None


def places(text: str) -> tuple[tuple[str, int | None], ...]:
    """Several, with commas between them."""
    return tuple(place(part.strip()) for part in text.split(","))


@checked
def nodes(text: str) -> tuple[Node, ...]:
    """Nodes as C{enode://...} or C{enr:...}, with commas between them; none at all if there is nothing."""
    from ethp2p.enode import Node

    return tuple(Node.parse(part.strip()) for part in text.split(",")) if text.strip() else ()


@checked
def network(text: str) -> Network:
    """A network, by its name or its C{genesis.json}."""
    import os

    from ethp2p import networks

    if text in networks.NAMES:
        return networks.named(text)
    if not os.path.isfile(text):
        names = ", ".join(networks.NAMES)
        raise ConfigError(f"{text[:64]!r} is neither a known network ({names}) nor a genesis.json file")
    return networks.from_genesis(text)


def own_key(text: str | None) -> PrivateKey:
    """
    A private key: 64 hex digits, or a file that holds them; a new one if nothing is given.

    @raise ConfigError: neither.
    """
    from ethp2p.crypto.keys import PrivateKey, load_key

    if text is None:
        return PrivateKey.generate()
    digits = text.removeprefix("0x")
    return PrivateKey.parse(bytes.fromhex(digits)) if re.fullmatch(r"[0-9a-fA-F]{64}", digits) else load_key(text)
