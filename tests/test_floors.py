"""
The house: a room imports itself and lower floors only, and rooms on one floor do not know each other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ethp2p

#: On the ground floor each room names the rooms it may know.
GROUND = {
    "codec": set(),
    "crypto": {"codec"},
    "enr": {"codec", "crypto"},
    "enode": {"codec", "crypto", "enr"},
    "blocks": {"codec", "crypto"},
    "networks": {"codec", "crypto", "blocks", "enr", "enode"},
}
#: Above it, a room may know all that is below.  Events are told by the household and above.
FLOORS = [
    {*GROUND, "sqlitefile"},
    {"kademlia", "discv4", "discv5", "dnsdisc", "nat"},
    {"discovery"},
    {"rlpx"},
    {"devp2p"},
    {"eth"},
    {"events", "order"},
    {"peers", "chain"},
    {"node"},
    {"web"},
]
ROOF = {"config", "kinds", "tap", "cli", "console", "doctor", "lastwords", "whole", "sandbox", "testing"}
#: Known by every room, knowing none: the vocabulary.
COMMON = {"", "errors", "interfaces", "limits"}
#: The household does not know which wire a peer came over.
WIRES = {"rlpx", "devp2p", "eth"}
#: Engines are given the time, their randomness, and nothing to write to.
ENGINES = {"wire", "state", "frames", "handshake"}
WORLD = {"twisted", "asyncio", "socket", "time", "random", "secrets", "logging"}


def allowed(room: str) -> set[str]:
    """The rooms that C{room} may know."""
    if room in COMMON:
        return COMMON
    if room in GROUND:
        return COMMON | GROUND[room] | {room}
    if room in ROOF:
        return COMMON.union(*FLOORS) | ROOF
    below = next((index for index, rooms in enumerate(FLOORS) if room in rooms), 0)
    return (COMMON.union(*FLOORS[:below]) | {room}) - (WIRES if room == "peers" else set())


def imports(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Every module that a source imports, wherever the import stands, also those for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            yield from ([f"{module}.{alias.name}" for alias in node.names] if module == "ethp2p" else [module])


def violations(path: str, source: str) -> list[str]:
    """
    What one file of the house imports and must not.

    @param path: below the house, e.g. C{eth/wire.py}.
    """
    parts = path.removesuffix(".py").split("/")
    room = "" if parts[0] == "__init__" else parts[0]
    engine = parts[-1] in ENGINES and room not in ROOF
    outside = WORLD if engine else {"twisted"} if room in COMMON | GROUND.keys() else set()
    found = []
    for name in imports(ast.parse(source, path), ["ethp2p", *parts[:-1]]):
        first, _, rest = name.partition(".")
        if first == "ethp2p":
            known = rest.partition(".")[0]
            if known not in allowed(room) and not (known.startswith("__") and known.endswith("__")):
                found.append(f"{path}: {room or 'ethp2p'} must not know {known}")
        elif first in outside:
            found.append(f"{path}: bytes and values only, no {name}")
    return found


class FloorTests(SynchronousTestCase):
    house = Path(ethp2p.__file__).parent

    def test_nobody_looks_upstairs(self) -> None:
        sources = sorted(self.house.rglob("*.py"))
        self.assertGreater(len(sources), 10)
        found = []
        for source in sources:
            found += violations(source.relative_to(self.house).as_posix(), source.read_text("utf-8"))
        self.assertEqual(found, [])

    def test_every_room_has_a_floor(self) -> None:
        known = COMMON.union(ROOF, *FLOORS)
        rooms = {path.stem for path in self.house.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
        self.assertEqual(sorted(rooms - known - {"__init__"}), [])


class ViolationTests(SynchronousTestCase):
    """The check itself: what it must see, and what it must let pass."""

    def test_seen(self) -> None:
        for path, source in (
            ("codec/rlp.py", "from ethp2p.crypto.keccak import keccak256"),
            ("crypto/ecies.py", "import ethp2p.enr"),
            ("blocks/header.py", "from ethp2p.networks import Network"),
            ("enr/record.py", "from ethp2p import enode"),
            ("enode/node.py", "from ..blocks import Header"),
            ("rlpx/frames.py", "from ethp2p.devp2p import Session"),
            ("eth/service.py", "def late():\n    from ethp2p.chain import MemoryChain"),
            ("eth/wire.py", "if TYPE_CHECKING:\n    from ethp2p.peers import Roster"),
            ("peers/roster.py", "from ethp2p.rlpx.protocol import RLPxFactory"),
            ("peers/roster.py", "from ethp2p.devp2p import Hello"),
            ("peers/roster.py", "from ethp2p import eth"),
            ("peers/roster.py", "from ethp2p.chain import MemoryChain"),
            ("chain/files.py", "from ethp2p.peers import Roster"),
            ("node/service.py", "from ethp2p.web import Registry"),
            ("node/service.py", "from ethp2p.testing.network import MemoryNetwork"),
            ("node/service.py", "from ethp2p import config"),
            ("web/rpc.py", "from ethp2p.cli import main"),
            ("errors.py", "from ethp2p.codec import rlp"),
            ("limits.py", "from twisted.internet import task"),
            ("enode/iterators.py", "from twisted.internet.defer import Deferred"),
            ("devp2p/state.py", "import twisted.internet.defer"),
            ("rlpx/handshake.py", "import random"),
            ("rlpx/frames.py", "from time import monotonic"),
            ("eth/wire.py", "import logging"),
            ("__init__.py", "from ethp2p.node import Node"),
        ):
            self.assertEqual(len(violations(path, source)), 1, f"{path}: {source}")

    def test_let_pass(self) -> None:
        for path, source in (
            ("codec/rlp.py", "from ethp2p.errors import WireError"),
            ("networks/genesis.py", "from ethp2p.enode import Node\nfrom ethp2p.blocks import Header"),
            ("enode/node.py", "from . import cidr\nfrom .cidr import Netrestrict\nfrom ..enr import Record"),
            ("rlpx/protocol.py", "from twisted.internet.protocol import Protocol\nfrom ethp2p import __version__"),
            ("eth/state.py", "from ethp2p.eth.wire import Status\nfrom ethp2p.devp2p import tracker"),
            ("peers/roster.py", "from ethp2p.events import PeerAdded\nfrom ethp2p.enode import Node"),
            ("node/service.py", "from ethp2p import events, peers, chain, eth, rlpx"),
            ("tap.py", "from ethp2p.cli import main\nfrom ethp2p.web import Registry"),
            ("testing/frames.py", "import random\nfrom twisted.internet import task"),
        ):
            self.assertEqual(violations(path, source), [], path)
