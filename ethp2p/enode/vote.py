"""
Where the others see us: behind a NAT a node learns its own address only from what peers say.

A decision without clock or sockets: statements and the time go in, a prediction comes out.  Figures as geth's.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import attrs

from ethp2p.enode.cidr import IPAddress, is_lan
from ethp2p.limits import ExpiringMap

#: Fewest hosts, of as many subnets, that have to name an endpoint before it is believed.
MIN_STATEMENTS = 10
#: How long a statement counts, seconds.
WINDOW = 300.0
#: How long we remember that we wrote to a host first, seconds.
CONTACT_WINDOW = 600.0
#: Most statements kept; the oldest goes first.  Bounds memory at about 500 KiB.
MAX_STATEMENTS = 1024
#: Most contacts kept; the oldest goes first.  Bounds memory at about 1 MiB.
MAX_CONTACTS = 4096

#: The bits left out of an address where all of a subnet are one, for each IP version: a /24 is the smallest that is
#: routed, and any subscriber line has a whole /64.
_HOST_BITS = {4: 8, 6: 64}

Endpoint = tuple[IPAddress, int]


@attrs.frozen
class _Statement:
    endpoint: Endpoint
    at: float
    asked: bool


def _voter(host: IPAddress) -> IPAddress:
    """Who has one voice: else one with a subnet, and a key for each address in it, could say where we are."""
    if is_lan(host):
        return host
    bits = _HOST_BITS[host.version]
    return type(host)(int(host) >> bits << bits)


class EndpointVote:
    """
    The vote on one endpoint: ours, in one IP family.  A host's later statement replaces its earlier one, and that of
    another host in its public /24 or /64.
    """

    def __init__(
        self,
        *,
        window: float = WINDOW,
        contact_window: float = CONTACT_WINDOW,
        least: int = MIN_STATEMENTS,
        most: int = MAX_STATEMENTS,
    ) -> None:
        self.window = window
        self.least = least
        self.most = most
        self._statements: OrderedDict[IPAddress, _Statement] = OrderedDict()  # the oldest first
        self._counts: Counter[Endpoint] = Counter()
        self._contacts: ExpiringMap[IPAddress, bool] = ExpiringMap(MAX_CONTACTS, contact_window)

    def statement(self, endpoint: Endpoint, by: IPAddress, now: float) -> None:
        """C{by} says that it sees us at C{endpoint}."""
        self._expire(now)
        voter = _voter(by)
        if voter in self._statements:
            self._forget(voter)
        elif len(self._statements) >= self.most:
            self._forget(next(iter(self._statements)))
        asked = self._contacts.get(voter, now) is not None
        self._statements[voter] = _Statement(endpoint, now, asked)
        self._counts[endpoint] += 1

    def contact(self, to: IPAddress, now: float) -> None:
        """We sent something to C{to}, which a NAT would have taken for leave to answer."""
        self._contacts.set(_voter(to), True, now)

    def predicted(self, now: float) -> Endpoint | None:
        """The endpoint that enough hosts, and more than half of all, have named lately; or None."""
        self._expire(now)
        for endpoint, count in self._counts.most_common(1):
            if count >= self.least and 2 * count > len(self._statements):
                return endpoint
        return None

    def full_cone(self, now: float) -> bool:
        """Whether a host that we had not written to has reached us, so that anybody can."""
        self._expire(now)
        return not all(statement.asked for statement in self._statements.values())

    def _expire(self, now: float) -> None:
        while self._statements:
            voter, statement = next(iter(self._statements.items()))
            if statement.at + self.window > now:
                return
            self._forget(voter)

    def _forget(self, voter: IPAddress) -> None:
        endpoint = self._statements.pop(voter).endpoint
        self._counts[endpoint] -= 1
        if not self._counts[endpoint]:
            del self._counts[endpoint]

    def __len__(self) -> int:
        return len(self._statements)
