"""
Languages among the plugins.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.devp2p import capabilities, discover
from ethp2p.interfaces import ICapabilityFactory

PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from ethp2p.interfaces import ICapabilityFactory

@implementer(ICapabilityFactory, IPlugin)
class Factory:
    def __init__(self, name):
        self.name = name
        self.versions = {1: 4}

    def buildCapability(self, session, version):
        return None

zebra, ant = Factory("zebra"), Factory("ant")
another = implementer(IPlugin)(type("Another", (), {}))()
not_a_plugin = object()
"""


class DiscoverTests(SynchronousTestCase):
    def test_found_and_sorted(self) -> None:
        name = "capability_plugins_for_a_test"
        package = Path(self.mktemp()).resolve() / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "farm.py").write_text(PLUGIN)
        self.patch(sys, "path", [str(package.parent), *sys.path])
        self.addCleanup(lambda: [sys.modules.pop(module) for module in list(sys.modules) if module.startswith(name)])
        self.assertEqual([factory.name for factory in discover(import_module(name))], ["ant", "zebra"])

    def test_where_twisted_looks(self) -> None:
        """Without a package, C{getPlugins} is left to look in its own."""
        asked: list[tuple[object, ...]] = []

        def getPlugins(*args: object) -> list[object]:
            asked.append(args)
            return []

        self.patch(capabilities, "getPlugins", getPlugins)
        self.assertEqual((discover(), asked), ([], [(ICapabilityFactory, None)]))
