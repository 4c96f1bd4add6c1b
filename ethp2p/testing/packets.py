"""
What goes over a virtual network's wires.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Packet:
    """
    Something put on the wire.
    """

    time: float
    #: Where from and where to: address and port.
    source: tuple[str, int]
    destination: tuple[str, int]
    #: For TCP C{syn}, C{syn-ack}, C{ack}, C{data}, C{fin} or C{rst}.
    kind: str
    data: bytes = b""


@attrs.define
class Link:
    """
    One direction of the way from one address to another.
    """

    #: Seconds that a byte is underway.
    latency: float
    #: Bytes a second, None for as many as there are.
    bandwidth: float | None = None
    #: Whether anything comes through.
    up: bool = True
    _free: float = attrs.field(init=False, default=0.0)

    def arrival(self, now: float, size: int) -> float:
        """When C{size} bytes that are sent now arrive, after those sent before."""
        if self.bandwidth is None:
            return now + self.latency
        self._free = max(now, self._free) + size / self.bandwidth
        return self._free + self.latency
