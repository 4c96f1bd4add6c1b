"""
UPnP gateways through miniupnpc, which blocks and therefore works in a thread.

The package is optional and is imported only when it is wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from ipaddress import ip_address
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

from ethp2p.nat.protocol import NatFailed
from ethp2p.nat.wire import IPAddress, Transport

#: Milliseconds to wait for gateways to answer the broadcast; where there is none, miniupnpc sends it four times.
SEARCH_MS = 1000
#: How often a port is asked for, since many gateways fail at times, before another port is tried.
TRIES = 3
#: Random ports tried then, and where they begin.
OTHER_PORTS, FIRST_PORT = 3, 10_000
#: What gateways show their owner.
DESCRIPTION = "ethp2p"

#: Calls a function in a thread: C{inThread(function, *args)} gives a Deferred.
InThread = Callable[..., Deferred[Any]]


def inDaemonThread(reactor: Any, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """
    Call a function in a thread of its own, for which the end of the process does not wait: a gateway that hangs
    would keep a thread of the reactor's pool, and with it the process, for many seconds.

    @param reactor: provides C{IReactorFromThreads}.
    @return: fires with what the function returns or raises.
    """
    result: Deferred[Any] = Deferred()

    def work() -> None:
        try:
            value = function(*args)
        except Exception:  # noqa: BLE001  it goes on in the reactor
            reactor.callFromThread(result.errback, Failure())
        else:
            reactor.callFromThread(result.callback, value)

    Thread(target=work, name="UPnP", daemon=True).start()
    return result


class NoUPnP(NatFailed):
    """UPnP needs the package miniupnpc: pip install 'ethp2p[upnp]'."""


class UPnPMapper:
    """
    A gateway found by UPnP.  Its calls go to the thread one after the other, as miniupnpc needs it.
    """

    maps = True

    def __init__(self, gateway: Any, inThread: InThread, choose: Callable[[int], int]) -> None:
        """
        @param gateway: a C{miniupnpc.UPnP} that has selected one.
        @param choose: a random number below its argument.
        """
        self.name = "UPnP"
        self._gateway = gateway
        self._inThread = inThread
        self._choose = choose
        self._lock = DeferredLock()
        self._closed = False

    @classmethod
    def find(
        cls, inThread: InThread, choose: Callable[[int], int], load: Callable[[str], Any] = importlib.import_module
    ) -> Deferred[UPnPMapper]:
        """
        Look for a gateway on the local network.

        @param load: gives the module C{miniupnpc}.
        @return: fires with one that is connected; fails with L{NatFailed}.
        """
        return inThread(_find, load).addCallback(cls, inThread, choose)

    def externalAddress(self) -> Deferred[IPAddress]:
        """See L{ethp2p.nat.mappers.Mapper}."""
        return self._call(_address)

    def addMapping(self, transport: Transport, internal: int, external: int, lifetime: int) -> Deferred[Any]:
        """See L{ethp2p.nat.mappers.Mapper}.  A port that is somebody else's is left alone, and another one taken."""
        others = [FIRST_PORT + self._choose(65536 - FIRST_PORT) for _ in range(OTHER_PORTS)]
        return self._call(_map, transport, internal, [external, *others], lifetime)

    def deleteMapping(self, transport: Transport, internal: int, external: int) -> Deferred[Any]:
        """See L{ethp2p.nat.mappers.Mapper}."""
        return self._call(_unmap, transport, internal, external)

    def close(self) -> None:
        """See L{ethp2p.nat.mappers.Mapper}.  What is in the thread ends by itself."""
        self._closed = True

    def _call(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()  # cancelled alone: what is in the thread keeps the lock until it is done
        self._lock.run(self._begin, function, args).chainDeferred(result)
        return result

    def _begin(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Deferred[Any]:
        if self._closed:
            raise NatFailed("it was closed")
        return self._inThread(function, self._gateway, *args)


# --- in the thread.  miniupnpc raises bare Exception for everything.


def _find(load: Callable[[str], Any]) -> Any:
    try:
        module = load("miniupnpc")
    except ImportError:
        raise NoUPnP from None
    gateway = module.UPnP()
    gateway.discoverdelay = SEARCH_MS
    try:
        gateway.discover()
        gateway.selectigd()
    except Exception:  # noqa: BLE001
        raise NatFailed("no UPnP gateway answers") from None
    _address(gateway)  # or it is not connected
    return gateway


def _address(gateway: Any) -> IPAddress:
    try:
        address = ip_address(gateway.externalipaddress())
    except Exception as error:  # noqa: BLE001
        raise NatFailed(f"the UPnP gateway does not tell its address: {error}") from None
    if address.is_unspecified:
        raise NatFailed("the UPnP gateway has no external address")
    return address


def _owner(gateway: Any, transport: Transport, port: int) -> tuple[str, int] | None:
    try:
        entry = gateway.getspecificportmapping(port, transport.name)
    except Exception:  # noqa: BLE001  many cannot say, which must not keep us from asking
        return None
    return (entry[0], entry[1]) if entry else None


def _map(gateway: Any, transport: Transport, internal: int, ports: list[int], lifetime: int) -> tuple[int, int]:
    us = gateway.lanaddr, internal
    why = "every port tried is somebody else's"
    for port in ports:
        if _owner(gateway, transport, port) not in (None, us):
            continue
        for seconds in [lifetime] * TRIES if port == ports[0] else [lifetime]:
            try:
                _add(gateway, transport, port, us, seconds)
            except Exception as error:  # noqa: BLE001
                why = str(error)
            else:
                return port, lifetime
    raise NatFailed(f"the UPnP gateway maps no port: {why}")


def _add(gateway: Any, transport: Transport, port: int, us: tuple[str, int], lifetime: int) -> None:
    description = f"{DESCRIPTION} {transport.name}"
    try:
        gateway.addportmapping(port, transport.name, *us, description, "", lifetime)
    except Exception as error:
        if "OnlyPermanentLeasesSupported" not in str(error):
            raise
        gateway.addportmapping(port, transport.name, *us, description, "", 0)


def _unmap(gateway: Any, transport: Transport, internal: int, external: int) -> None:
    if _owner(gateway, transport, external) not in (None, (gateway.lanaddr, internal)):
        raise NatFailed(f"port {external} of the UPnP gateway is somebody else's by now")
    try:
        gateway.deleteportmapping(external, transport.name)
    except Exception as error:  # noqa: BLE001
        raise NatFailed(f"the UPnP gateway does not end the mapping: {error}") from None
