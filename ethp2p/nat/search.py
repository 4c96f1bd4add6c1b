"""
Finding somebody to ask, as the setting says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from ethp2p.limits import WheelTimer
from ethp2p.nat.gateway import guess_gateway, read_gateway
from ethp2p.nat.mappers import STUN_SERVERS, Mapper, PmpMapper, StunMapper
from ethp2p.nat.protocol import NatFailed
from ethp2p.nat.setting import Method, Setting
from ethp2p.nat.state import PMP_PROBE_TRIES, PMP_TRIES
from ethp2p.nat.upnp import InThread, UPnPMapper

#: An address that only serves to see which way a packet would go; none is sent (RFC 5737).
_SOMEWHERE = "192.0.2.1"


@attrs.frozen
class Means:
    """
    What the search and those it finds work with.
    """

    #: Provides C{IReactorUDP} and C{IReactorPluggableNameResolver}.
    reactor: Any
    wheel: WheelTimer
    #: Bytes for transaction ids.
    random: Callable[[int], bytes]
    #: A random number below its argument.
    choose: Callable[[int], int]
    inThread: InThread
    #: Gives a module by its name.
    load: Callable[[str], Any]
    #: The gateway of the routing table, or None.
    gateway: Callable[[], Any] = read_gateway


def find(setting: Setting, means: Means, restarted: Callable[[], object]) -> Deferred[Mapper]:
    """
    Find somebody to ask.

    @param setting: of a method that asks somebody.
    @param restarted: called when a gateway has forgotten its mappings.
    @return: fires with the first that answers; fails with L{NatFailed}.  It can be cancelled.
    """
    if setting.method is Method.STUN:
        servers = [(setting.host, setting.port)] if setting.host else STUN_SERVERS
        return succeed(StunMapper(means.reactor, means.wheel, servers, random=means.random, choose=means.choose))
    if setting.method is Method.UPNP:
        return _upnp(means)
    if setting.method is Method.NATPMP:
        return _pmp(means, setting.host, restarted, PMP_TRIES if setting.host else PMP_PROBE_TRIES)
    if setting.method is Method.ANY:
        return _race([_upnp(means), _pmp(means, "", restarted, PMP_PROBE_TRIES)])
    return fail(NatFailed(f"{setting} asks nobody"))


def local_address(reactor: Any) -> str:
    """The address from which this machine speaks to the Internet, "" if it cannot.  Nothing is sent."""
    protocol = DatagramProtocol()
    protocol.noisy = False
    try:
        port = reactor.listenUDP(0, protocol)
    except CannotListenError:
        return ""
    try:
        assert protocol.transport is not None
        protocol.transport.connect(_SOMEWHERE, 9)
        return str(port.getHost().host)
    except OSError:
        return ""
    finally:
        port.stopListening()


def _upnp(means: Means) -> Deferred[Mapper]:
    found: Deferred[Any] = UPnPMapper.find(means.inThread, means.choose, means.load)
    return found


def _pmp(means: Means, gateway: str, restarted: Callable[[], object], tries: int) -> Deferred[Mapper]:
    return Deferred.fromCoroutine(_find_pmp(means, gateway, restarted, tries))


async def _find_pmp(means: Means, host: str, restarted: Callable[[], object], tries: int) -> Mapper:
    gateway = host or means.gateway() or guess_gateway(local_address(means.reactor))
    if not gateway:
        raise NatFailed("no gateway is known that could speak NAT-PMP")
    mapper = PmpMapper(means.reactor, means.wheel, str(gateway), restarted, tries=tries)
    try:
        await mapper.externalAddress()
    except Exception:
        mapper.close()
        raise
    mapper.engine.tries = PMP_TRIES
    return mapper


def _race(searches: Sequence[Deferred[Mapper]]) -> Deferred[Mapper]:
    reasons: list[str] = []

    def end(_: object = None) -> None:
        for search in searches:
            search.cancel()

    def won(mapper: Mapper) -> None:
        if result.called:
            mapper.close()
            return
        result.callback(mapper)
        end()

    def lost(failure: Failure) -> None:
        reasons.append(failure.getErrorMessage())
        if len(reasons) == len(searches) and not result.called:
            result.errback(NatFailed("; ".join(reasons)))

    result: Deferred[Mapper] = Deferred(end)
    for search in searches:
        search.addCallbacks(won, lost)
    return result
