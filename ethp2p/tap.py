"""
C{twistd ethp2p}: options, and the service they ask for.

C{twistd -n ethp2p [node] ...} runs a node, C{twistd -n ethp2p bootnode ...} one that only helps others to find each
other, C{twistd -n ethp2p sandbox} a whole private network.  What is given
before C{node} counts as given after it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.python import usage

import ethp2p
from ethp2p.config import OPTIONS, Option, Settings, assemble
from ethp2p.errors import ConfigError, P2PError
from ethp2p.lastwords import say


def _refuse(error: Exception) -> NoReturn:
    """Instead of twistd's way with a C{UsageError}, which puts the whole help before it and on stdout."""
    say(str(error))
    raise SystemExit(1)


class _Options(usage.Options):
    def opt_version(self) -> None:
        """Print ethp2p's version and exit."""
        print("ethp2p", ethp2p.__version__)
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        """Options only."""
        if args:
            raise usage.UsageError(f"there is nothing to do with {args[0]!r}")


class NodeOptions(_Options):
    """
    A node's options.  What the command line says is kept as it is, by name; all is judged at the end.

    @ivar given: each option's values in the order given.
    """

    longdesc = "Join a network.  A default gives way to the configuration file, and the file to the command line."
    optParameters: Sequence[Sequence[object]] = [
        ["config", None, None, "A TOML file; its keys are these options' names."]
    ]
    optFlags: Sequence[Sequence[object]] = [
        ["print-config", None, "Print the effective configuration as TOML and exit."]
    ]

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, list[str]] = {}


def _keeper(option: Option) -> Callable[..., None]:
    def keep(self: NodeOptions, value: str) -> None:
        self.given.setdefault(option.name, []).append(value)

    def switch(self: NodeOptions) -> None:
        keep(self, "true")

    words = option.help + (f"  [default: {option.default}]" if option.default else "")
    keep.__doc__ = f"{option.meta}: {words}"
    switch.__doc__ = words
    return switch if option.flag else keep


for _option in OPTIONS:
    setattr(NodeOptions, "opt_" + _option.name.replace("-", "_"), _keeper(_option))


def _seconds(name: str) -> Callable[[str], float]:
    def convert(text: str) -> float:
        if not re.fullmatch(r"[0-9]{0,6}\.?[0-9]{0,6}", text) or not re.search("[1-9]", text):
            raise ConfigError(f"--{name} {text!r}: not a number of seconds above 0")
        return float(text)

    return convert


def _base_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= 65000:
        raise ConfigError(f"--port {text!r}: not a whole number from 1 to 65000")
    return int(text)


class BootnodeOptions(NodeOptions):
    """
    A bootnode's options: a node's.  Those about peers have no meaning for it.
    """

    longdesc = "Help nodes to find each other, and have no peers."


class SandboxOptions(_Options):
    """
    The sandbox's options: C{seconds} (float or None), C{check} (0 or 1), C{port} (int or None), C{period} (float).
    """

    longdesc = "Run a whole private network on loopback, nothing else needed."
    optParameters: Sequence[Sequence[object]] = [
        ["seconds", None, None, "Stop after so many seconds.", _seconds("seconds")],
        ["port", None, None, "First of the TCP ports to use; free ones by default.", _base_port],
        ["period", None, 2.0, "Seconds between blocks.", _seconds("period")],
    ]
    optFlags: Sequence[Sequence[object]] = [
        ["check", None, "Judge after --seconds: exit status 1 unless all went as it should."]
    ]

    def postOptions(self) -> None:
        """There has to be an end to judge at."""
        if self["check"] and self["seconds"] is None:
            raise usage.UsageError("--check judges at the end: say with --seconds when that is")


class Options(NodeOptions):
    """
    What stands after C{twistd ethp2p}.

    @ivar settings: of a node, the configuration and its sources; None for the sandbox.
    """

    synopsis = "[options]"
    subCommands = [
        ["node", None, NodeOptions, "Join a network (the default)."],
        ["bootnode", None, BootnodeOptions, "Help nodes to find each other, and nothing else."],
        ["sandbox", None, SandboxOptions, "Run a private network on loopback."],
    ]
    defaultSubCommand = "node"
    subOptions: _Options

    settings: Settings | None = None

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        A bad option or value is one line on stderr and exit status 1.
        """
        try:
            super().parseOptions(options)
        except (usage.UsageError, P2PError) as error:
            _refuse(error)

    def postOptions(self) -> None:
        """
        Judge what was given before and after C{node}, together.  (A sub-command's C{postOptions} runs first,
        when this half is not known yet.)
        """
        inner = self.subOptions
        outer = [f"--{name}" for name in self.given] + [
            f"--{name}" for name in ("config", "print-config") if self[name]
        ]
        if not isinstance(inner, NodeOptions):
            if outer:
                raise usage.UsageError(f"{outer[0]} is an option of a node, not of the {self.subCommand}")
            return
        given = {option.name: self.given.get(option.name, []) + inner.given.get(option.name, []) for option in OPTIONS}
        self.settings = assemble(
            {name: values for name, values in given.items() if values}, inner["config"] or self["config"]
        )
        if self["print-config"] or inner["print-config"]:
            sys.stdout.write(self.settings.toml())
            raise SystemExit(0)


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    @param options: parsed.
    @param reactor: the global one by default.
    """
    if reactor is None:
        from twisted.internet import reactor
    try:
        if options.settings is not None:
            from ethp2p.whole import Bootnode, WholeNode

            kind = Bootnode if isinstance(options.subOptions, BootnodeOptions) else WholeNode
            return kind(options.settings.config, reactor)
        from ethp2p.sandbox.service import makeSandbox

        service: IService = makeSandbox(options.subOptions, reactor)
        return service
    except P2PError as error:
        _refuse(error)
