"""
Host names on a virtual network: a table, the same for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer


@implementer(IHostResolution)
@attrs.frozen
class Resolution:
    """A name being looked up; all is over at once here."""

    name: str

    def cancel(self) -> None:
        """Nothing is left to cancel."""


@implementer(IHostnameResolver)
@attrs.frozen
class HostNames:
    """
    Looks names up in a table; IP addresses stand for themselves.
    """

    names: Mapping[str, str]

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: Any = "TCP",
    ) -> Resolution:
        """Tell the receiver the address of C{hostName}, or none when the table has none of a wanted type."""
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        literal = ":" in hostName or hostName.replace(".", "").isdigit()
        address = hostName if literal else self.names.get(hostName)
        if address is not None:
            kind = IPv6Address if ":" in address else IPv4Address
            if addressTypes is None or kind in addressTypes:
                resolutionReceiver.addressResolved(kind(transportSemantics, address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution
