"""
What kinds of values settings have: each function takes a text, from the command line, or what TOML gives, and returns
the value, or raises L{ConfigError} that says what is wrong with it and does not name it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.endpoints import serverFromString

from ethp2p import enode, networks
from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc import parse_url
from ethp2p.enode import Netrestrict
from ethp2p.errors import ConfigError
from ethp2p.nat.setting import Setting
from ethp2p.peers.patterns import Pattern
from ethp2p.peers.reputation import check_weights

#: What stands where a secret would.
HIDDEN = "(hidden)"
#: In place of a list: the network's own.
OWN = "network"


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ConfigError("not a text")
    return value


def path(value: object) -> Path:
    """Absolute from the start, because twistd changes the working directory."""
    said = str(value) if isinstance(value, Path) else text(value)
    if not said or "\0" in said:
        raise ConfigError("not a path")
    try:
        return Path(said).expanduser().absolute()
    except RuntimeError:
        raise ConfigError("no home directory is known here") from None


def integer(low: int, high: int) -> Callable[[object], int]:
    """A whole number within bounds, both included."""

    def convert(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"not a whole number from {low} to {high}")
        return value

    return convert


def number(low: float, high: float) -> Callable[[object], float]:
    """A number within bounds, both included."""

    def convert(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            value = float(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"not a number from {low:g} to {high:g}")
        return float(value)

    return convert


def weight(value: object) -> tuple[str, float]:
    """C{timeout=2}, or the pair that it makes."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        value = f"{value[0]}={value[1]}"
    name, _, points = text(value).partition("=")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", points.strip()):
        raise ConfigError("not an offence, '=' and a number of points, as in timeout=2")
    pair = name.strip().lower().replace("-", "_"), float(points)
    check_weights(dict([pair]))
    return pair


def pattern(value: object) -> str:
    """A pattern for client names."""
    Pattern.parse(text(value))
    return text(value)


def store(value: object) -> str:
    """Where peers are kept: a file, or the URL of a PostgreSQL database."""
    said = text(value)
    if HIDDEN in said:
        raise ConfigError("a password is not shown in a printed configuration; give it, or leave it to ~/.pgpass")
    return said if said.startswith(("postgres://", "postgresql://")) else str(path(said))


def without_password(store: str) -> str:
    """The same, for people to read."""
    return re.sub(r"(?<=://)([^:@/]*):[^@/]*@", rf"\1:{HIDDEN}@", re.sub(r"(?<=password=)[^&]*", HIDDEN, store))


def ipc(value: object) -> str:
    """The path of a unix socket; empty for none."""
    return "" if value in ("", "none") else str(path(value))


def endpoint(value: object) -> str:
    """A server endpoint, as Twisted describes them."""
    said = text(value)
    try:
        serverFromString(cast(Any, None), said)  # parsed only; listening comes later
    except Exception as error:  # noqa: BLE001  each kind of endpoint fails in its own way
        raise ConfigError(f"not a server endpoint: {' '.join(str(error).split())}") from None
    found = tcp(said)
    if found is not None and not 0 <= found[1] <= 0xFFFF:
        raise ConfigError(f"port {found[1]} is not a number from 0 to 65535")
    return said


def tcp(endpoint: str) -> tuple[str, int] | None:
    """Interface and port of an endpoint that can be parsed; None when it has nothing to do with TCP."""
    kind, *parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", endpoint)]
    if kind not in ("tcp", "tcp6"):
        return None
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    everywhere = "::" if kind == "tcp6" else "0.0.0.0"
    return named.get("interface", plain[1] if len(plain) > 1 else "") or everywhere, int(named.get("port") or plain[0])


def http(value: object) -> str:
    """A server endpoint that is for this machine, or this user, unless it says otherwise; empty for none."""
    if value in ("", "none"):
        return ""
    said = endpoint(value)
    kind, *rest = re.split(r"(?<!\\):", said)
    ours_alone = {"tcp": "interface=127.0.0.1", "tcp6": r"interface=\:\:1", "unix": "mode=600"}.get(kind, "")
    positional = [part for part in rest if "=" not in part]
    stated = len(positional) > 1 or any(part.split("=")[0] == ours_alone.split("=")[0] for part in rest)
    return said if stated or not ours_alone else f"{said}:{ours_alone}"


def network(value: object) -> str:
    """The name of a network, or the file of its genesis."""
    said = text(value)
    if said in networks.NAMES:
        return said
    where = path(said)
    if not os.path.isfile(where):
        raise ConfigError(f"neither a known network ({', '.join(networks.NAMES)}) nor a genesis.json file")
    return str(where)


def chain(value: object) -> Path | None:
    """A directory with a chain; None for none."""
    if value in (None, ""):
        return None
    where = path(value)
    if not os.path.isfile(where / "genesis.json"):
        raise ConfigError("not a directory with a genesis.json")
    return where


def nodekey(value: object) -> str:
    """A private key in hexadecimal digits, or the file it is in."""
    said = text(value)
    if said == HIDDEN:
        raise ConfigError("a key is not shown in a printed configuration; give the key or its file")
    digits = said.removeprefix("0x").lower()
    if re.fullmatch(r"[0-9a-f]{32,}", digits):
        if len(digits) != 64:
            raise ConfigError(f"a private key is 64 hex digits, this has {len(digits)}")
        PrivateKey.parse(bytes.fromhex(digits))
        return digits
    return str(path(said))


def peer(value: object) -> enode.Node:
    """A node that can be called.  The error names it."""
    if isinstance(value, enode.Node):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"{value!r} is not a text")
    return enode.Node.parse(value)


def flag(value: object) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ConfigError("neither true nor false")


def listed(convert: Callable[[str], Any]) -> Callable[[object], tuple[Any, ...] | None]:
    """Texts with commas between them, or a TOML list; None where L{OWN} says that the network's are to be taken."""

    def convert_all(value: object) -> tuple[Any, ...] | None:
        if value is None or value == OWN:
            return None
        parts = text(value).split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ConfigError("neither a text nor a list")
        return tuple([convert(part.strip() if isinstance(part, str) else part) for part in parts if part != ""])

    return convert_all


def dns(value: object) -> str:
    """The URL of a node list."""
    parse_url(text(value))
    return text(value)


def nat(value: object) -> str:
    """How to learn our address."""
    Setting.parse(text(value))
    return text(value)


def netrestrict(value: object) -> Netrestrict | None:
    """Networks; None for all."""
    if value is None or isinstance(value, Netrestrict):
        return value
    return Netrestrict.parse(text(value)) if value else None


def identity(value: object) -> str:
    """A word for the client name."""
    said = text(value)
    if not re.fullmatch(r"[!-.0-~]{0,32}", said):
        raise ConfigError("not at most 32 printable ASCII characters without spaces and slashes")
    return said


def each(convert: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """One or several of a kind, as a tuple."""

    def convert_all(value: object) -> tuple[Any, ...]:
        return tuple(convert(item) for item in (value if isinstance(value, (list, tuple)) else [value]))

    return convert_all
