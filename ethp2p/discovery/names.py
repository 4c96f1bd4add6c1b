"""
Nodes that are given with a host name: discovery speaks to addresses only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.limits import Clock

T = TypeVar("T")

#: Seconds for a name to be looked up.
TIMEOUT = 5.0

_TYPES = {4: IPv4Address, 6: IPv6Address}


@implementer(IResolutionReceiver)
class _Receiver:
    """Keeps the first address that comes."""

    def __init__(self, result: Deferred[str | None]) -> None:
        self._result = result
        self._host: str | None = None

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing yet."""

    def addressResolved(self, address: Any) -> None:
        """An address."""
        if self._host is None:
            self._host = address.host

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self._result.called:
            self._result.callback(self._host)


def resolveNode(reactor: Any, clock: Clock, node: Node, families: Collection[int]) -> Deferred[Node | None]:
    """
    A node at an address.

    @param reactor: provides C{IReactorPluggableNameResolver}.
    @param node: with an address, or with a name, which is looked up.
    @param families: which IP versions will do.
    @return: fires with None when there is none, or none in time.  It can be cancelled.
    """
    result: Deferred[str | None] = Deferred()
    if node.ip is not None:
        result.callback(node.host)
    else:
        late = clock.callLater(TIMEOUT, _giveUp, result)
        types = [_TYPES[family] for family in sorted(families)]
        reactor.nameResolver.resolveHostName(_Receiver(result), node.host, node.udp, types, "UDP")

        def over(host: T) -> T:
            if late.active():
                late.cancel()
            return host

        result.addBoth(over)

    def place(host: str | None) -> Node | None:
        if not host:
            return None
        try:
            found = attrs.evolve(node, host=host)
        except ConfigError:
            return None
        return found if found.ip is not None and found.ip.version in families else None

    return result.addCallback(place)


def _giveUp(result: Deferred[str | None]) -> None:
    if not result.called:
        result.callback(None)
