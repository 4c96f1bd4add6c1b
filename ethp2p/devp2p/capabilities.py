"""
The languages that are installed: each a plugin, so that third parties' stand beside our own.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import getPlugins

from ethp2p.interfaces import ICapabilityFactory


def discover(package: Any = None) -> list[ICapabilityFactory]:
    """
    Every capability factory among the plugins, sorted by name.  A plugin is an object in a module of the package
    that provides C{twisted.plugin.IPlugin} as well.

    @param package: where plugins are looked for; C{twisted.plugins} unless given.
    """
    return sorted(getPlugins(ICapabilityFactory, package), key=lambda factory: factory.name)
