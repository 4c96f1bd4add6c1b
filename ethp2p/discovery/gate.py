"""
Whose datagrams are looked at: a question that has to cost less than looking.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address
from typing import Union

from ethp2p.enode import Netrestrict
from ethp2p.enode.cidr import is_lan
from ethp2p.limits import TokenBucket

#: Datagrams of one IPv4 address or IPv6 /64: so many at once...
PACKET_BURST = 256
#: ...and so many a second.  At 0.13 ms for an answered Ping one host can use a hundredth of a processor; a node asks
#: us a few things a minute, and a crawler a few a second.
PACKET_RATE = 64.0
#: Most sources remembered; the one not heard for longest goes first.  Bounds memory at about 3 MiB.
MAX_SOURCES = 8192


class Gate:
    """
    A rate for each source, and none for the local network.

    @ivar netrestrict: the only networks to hear, None for all; may be changed at any time.
    @ivar limited: datagrams over the rate of their source.
    @ivar refused: datagrams from elsewhere than the networks we are restricted to.
    """

    def __init__(
        self, netrestrict: Netrestrict | None = None, *, burst: float = PACKET_BURST, rate: float = PACKET_RATE
    ) -> None:
        self.limited = self.refused = 0
        self.netrestrict = netrestrict
        self._burst = burst
        self._rate = rate
        self._sources: OrderedDict[Union[str, int], TokenBucket | None] = OrderedDict()

    def admits(self, host: str, now: float) -> bool:
        """
        Whether to look at a datagram.

        @param host: the IP address it came from, IPv4 where it is IPv4 inside IPv6.
        """
        if self.netrestrict is not None and host not in self.netrestrict:
            self.refused += 1
            return False
        source = host if ":" not in host else int(IPv6Address(host)) >> 64  # what one line has is one source
        try:
            bucket = self._sources[source]
        except KeyError:
            if len(self._sources) >= MAX_SOURCES:
                self._sources.popitem(last=False)
            bucket = self._sources[source] = None if is_lan(host) else TokenBucket(self._burst, self._rate)
        else:
            self._sources.move_to_end(source)
        if bucket is None or bucket.take(now):
            return True
        self.limited += 1
        return False

    def __len__(self) -> int:
        return len(self._sources)
