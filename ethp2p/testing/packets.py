"""
What goes over a virtual network's wires.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs
from attrs.validators import ge, le

#: Seconds that a datagram waits at most for those before it; a link that is slower than its traffic drops the rest.
QUEUE = 1.0


@attrs.frozen
class Packet:
    """
    Something put on the wire.
    """

    time: float
    #: Where from and where to: address and port.
    source: tuple[str, int]
    destination: tuple[str, int]
    #: For TCP C{syn}, C{syn-ack}, C{ack}, C{data}, C{fin} or C{rst}; C{udp}, and C{icmp} where nobody took that.
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
    #: How likely a datagram is lost, from 0 to 1.  This and what follows is for datagrams: TCP would make up for it.
    loss: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    #: Seconds that a datagram is late at most; any of them is as likely, so that they overtake each other.
    jitter: float = attrs.field(default=0.0, validator=ge(0))
    #: How likely a datagram comes twice, from 0 to 1.
    duplication: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    _free: float = attrs.field(init=False, default=0.0)

    def arrival(self, now: float, size: int) -> float:
        """When C{size} bytes that are sent now arrive, after those sent before."""
        if self.bandwidth is None:
            return now + self.latency
        self._free = max(now, self._free) + size / self.bandwidth
        return self._free + self.latency

    def arrivals(self, now: float, size: int, rng: Random) -> Sequence[float]:
        """When a datagram of C{size} bytes that is sent now arrives: never, once or twice."""
        if self.loss and rng.random() < self.loss:
            return ()
        if self.bandwidth is None:
            when = now + self.latency
        elif self._free > now + QUEUE:
            return ()
        else:
            when = self.arrival(now, size)
        first = when + self.jitter * rng.random() if self.jitter else when
        if self.duplication and rng.random() < self.duplication:
            return (first, when + self.jitter * rng.random())
        return (first,)
