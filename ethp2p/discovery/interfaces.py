"""
Where other people's ways of finding nodes plug in, and who uses them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class INodeSource(Interface):
    """
    Gives nodes to call, one after the other, as long as somebody asks.
    """

    name: str = Attribute("What it is called in counters and logs.")

    def start() -> None:
        """Nodes may be asked for from now on."""

    def nextNode() -> Deferred[Any]:
        """
        @return: fires with an L{ethp2p.enode.Node} when there is one, and can be cancelled; fails with
            L{ethp2p.discovery.sources.SourceEnded} when there will be none any more, and with
            L{ethp2p.errors.LocalProtocolError} when too many wait already.
        """

    def stop() -> None:
        """Look for nothing any more; those who wait are told with L{ethp2p.discovery.sources.SourceEnded}."""
