"""
The public networks.  C{public.json} has each as a genesis file with C{stateRoot} in place of C{alloc}, and where
to meet its nodes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import attrs

from ethp2p.errors import ConfigError
from ethp2p.networks.genesis import from_genesis
from ethp2p.networks.network import Network

_PUBLIC: dict[str, dict[str, Any]] = json.loads(files(__package__).joinpath("public.json").read_text("utf-8"))

#: What L{named} knows.
NAMES = tuple(_PUBLIC)


@cache
def named(name: str) -> Network:
    """
    A public network, one of L{NAMES}.

    @raise ConfigError: there is none of that name.
    """
    entry = _PUBLIC.get(name)
    if entry is None:
        raise ConfigError(f"no network is named {name!r}; there are {', '.join(NAMES)}")
    meet = {"bootnodes": tuple(entry["bootnodes"]), "dns": tuple(entry["dns"]), "port": entry["port"]}
    return attrs.evolve(from_genesis(entry, name=name), **meet)
