"""
The numbers of the household: all that an operator may set, also while it runs.

A policy is checked when it is made, so there is no other than a valid one; to change it is to make the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import attrs

from ethp2p.enode import Netrestrict
from ethp2p.errors import ConfigError
from ethp2p.peers import patterns
from ethp2p.peers.patterns import Pattern
from ethp2p.peers.reputation import check_weights

#: Fewer peers than this, and a node that may have as many looks harder (geth says that it looks for peers).
FEW = 3


def _setting(default: Any, convert: Callable[[Any], Any]) -> Any:
    """A value that is checked, or made from what an operator gives; what is wrong with it is told with its name."""

    def named(value: Any, field: attrs.Attribute[Any]) -> Any:
        try:
            return convert(value)
        except ConfigError as error:
            raise ConfigError(f"{field.name}: {error}") from None

    return attrs.field(default=default, converter=attrs.Converter(named, takes_field=True))


def _number(default: Any, least: float, most: float, *, whole: bool = True) -> Any:
    """A number in a range; one that is not C{whole} may have a fraction."""

    def check(value: Any) -> Any:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            raise ConfigError(f"{value!r:.64} is not a {'whole ' * whole}number")
        if not least <= value <= most:
            raise ConfigError(f"{value!r:.64} is not from {least:,} to {most:,}")
        return value

    return _setting(default, check)


def _switch(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r:.64} is not true or false")
    return value


def _netrestrict(value: Any) -> Netrestrict | None:
    if value is None or isinstance(value, Netrestrict):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"{value!r:.64} is not a list of networks such as 10.0.0.0/8")
    return Netrestrict.parse(value)


def _patterns(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (tuple, list)) or any(not isinstance(one, str) for one in value):
        raise ConfigError(f"{value!r:.64} is not a list of patterns")
    steps = sum(len(Pattern.parse(one)) for one in value)
    if steps > patterns.MAX_STEPS:  # all of them are searched for in every name
        raise ConfigError(f"the patterns have {steps:,} steps together, more than {patterns.MAX_STEPS:,}")
    return tuple(value)


def _weights(value: Any) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r:.64} is not a table of offences and merits with their points")
    check_weights(value)
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Policy:
    """
    What the household goes by.

    @raise ConfigError: a value cannot be used; one line that begins with its name.
    """

    #: Most peers at one time; trusted ones come on top.
    max_peers: int = _number(50, 0, 100_000)
    #: With fewer, the node looks harder and says so; at most C{max_peers}.
    min_peers: int = _number(attrs.Factory(lambda self: min(FEW, self.max_peers), takes_self=True), 0, 100_000)
    #: One place in this many is kept for peers that we call.
    dial_ratio: int = _number(3, 1, 100_000)
    #: Most handshakes of callers at one time (geth: MaxPendingPeers).
    max_pending: int = _number(50, 1, 10_000)
    #: Most peers at one IP address; 0 sets no limit.  The local network is exempt.
    max_peers_per_ip: int = _number(0, 0, 100_000)
    #: Most peers in one IPv4 /24 or IPv6 /64; 0 sets no limit.  The local network is exempt.
    max_peers_per_subnet: int = _number(0, 0, 100_000)
    #: Seconds before one host may call again; 0 sets no limit.
    inbound_throttle: float = _number(30.0, 0, 3600, whole=False)
    #: Whether that goes for the local network, too.
    throttle_lan: bool = _setting(False, _switch)
    #: The only networks that peers may be in; None is all.
    netrestrict: Netrestrict | None = _setting(None, _netrestrict)  # noqa: RUF009  it makes a field
    #: L{ethp2p.peers.patterns} of client names to have nothing to do with.
    refuse_clients: tuple[str, ...] = _setting((), _patterns)
    #: Points of offences and merits, by name in lower case, where they are not L{ethp2p.peers.reputation}'s.
    weights: Mapping[str, float] = _setting(MappingProxyType({}), _weights)
    #: Scores below which a peer is disconnected, and banned; 50 is where everybody starts.
    disconnect_below: float = _number(20.0, 0, 50, whole=False)
    ban_below: float = _number(5.0, 0, 50, whole=False)
    #: How long a ban for a bad score lasts.
    ban_seconds: float = _number(43_200.0, 1, 31_536_000, whole=False)
    #: Whether scores are kept, but nothing follows from them.
    reputation_dry_run: bool = _setting(False, _switch)
    #: Whether a full node sends one peer away now and then, so that newcomers get in.
    rotate: bool = _setting(True, _switch)

    def __attrs_post_init__(self) -> None:
        if self.min_peers > self.max_peers:
            raise ConfigError(f"min_peers: {self.min_peers} is over max_peers, which is {self.max_peers}")
        if self.ban_below > self.disconnect_below:
            raise ConfigError(f"ban_below: {self.ban_below:g} is over disconnect_below, {self.disconnect_below:g}")

    @property
    def max_dialed(self) -> int:
        """Most peers that we called (geth: at least one, unless there is no room at all)."""
        return max(1, self.max_peers // self.dial_ratio) if self.max_peers else 0

    @property
    def max_inbound(self) -> int:
        """Most peers that called us."""
        return self.max_peers - self.max_dialed

    def refuses(self, client: str) -> str | None:
        """The first pattern in C{refuse_clients} that is found in a client's name, or None."""
        return next((one for one in self.refuse_clients if Pattern.parse(one).search(client)), None)

    def changed(self, **values: Any) -> Policy:
        """
        The same with other values: all of them, or none.

        @raise ConfigError: there is no such setting, or it cannot have this value.
        """
        names = [field.name for field in attrs.fields(Policy)]
        for name in values:
            if name not in names:
                close = get_close_matches(name, names, 1)
                raise ConfigError(f"{name:.64}: no such setting" + (f"; did you mean {close[0]}?" if close else ""))
        return attrs.evolve(self, **values)
