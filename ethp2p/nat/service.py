"""
The service: finds somebody to ask, keeps ports mapped, and says how the world sees us.
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.enode.cidr import as_ip
from ethp2p.errors import ConfigError
from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.nat.advice import is_global, wants_mapping
from ethp2p.nat.gateway import read_gateway
from ethp2p.nat.leases import Lease, Map, Mapped, Unmap
from ethp2p.nat.mappers import Mapper
from ethp2p.nat.search import Means, find
from ethp2p.nat.setting import Method, Setting
from ethp2p.nat.upnp import InThread, inDaemonThread
from ethp2p.nat.wire import IPAddress, Transport

#: Seconds between questions for the address.
POLL = 120.0
#: Seconds until somebody to ask is looked for again; doubled each time, up to the second.
SEARCH_AGAIN, LAST_SEARCH_AGAIN = 300.0, 3600.0
#: Questions for the address without an answer after which somebody else is looked for.
MAX_MISSES = 5
#: Seconds that giving the ports back may take.
STOP_DEADLINE = 2.0
#: Ports that are kept mapped.
MAX_PORTS = 16


@attrs.frozen
class Outside:
    """
    How the world sees us.
    """

    #: Our address, or None while none is known that the Internet could reach.
    address: IPAddress | None = None
    #: Transport, port of our listener, port outside; only those that are mapped.
    ports: tuple[tuple[Transport, int, int], ...] = ()

    def external(self, transport: Transport, internal: int) -> int:
        """The port outside of our port, 0 where nothing is mapped and our own has to do."""
        for mapped, inside, external in self.ports:
            if (mapped, inside) == (transport, internal):
                return external
        return 0


class NatService(Service):
    """
    Learns the external address, and maps the ports it is told of.  Nobody is asked anything before there is a
    port worth mapping.

    @ivar outside: what is known now, an L{Outside}.
    @ivar mapper: who is asked, or None.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        setting: Setting,
        changed: Callable[[Outside], object],
        *,
        wheel: WheelTimer | None = None,
        random: Callable[[int], bytes] = os.urandom,
        choose: Callable[[int], int] = random.randrange,
        inThread: InThread | None = None,
        load: Callable[[str], Any] = importlib.import_module,
        gateway: Callable[[], Any] = read_gateway,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}, C{IReactorUDP}, C{IReactorPluggableNameResolver}, and without
            C{inThread} also C{IReactorFromThreads}.
        @param changed: told whenever something changes.
        @param wheel: keeps the time; by default one of its own.
        @param random: bytes for transaction ids.
        @param choose: a random number below its argument, for ports and servers.
        @param inThread: calls a blocking function with arguments in a thread, and gives a Deferred.
        @param load: gives a module by its name; UPnP's is C{miniupnpc}.
        @param gateway: gives the machine's gateway, or None.
        """
        self._wheel = WheelTimer(reactor) if wheel is None else wheel
        self._own_wheel = wheel is None
        self.setting = setting
        self.outside = Outside()
        self.mapper: Mapper | None = None
        self._changed = changed
        self._means = Means(
            reactor, self._wheel, random, choose, inThread or partial(inDaemonThread, reactor), load, gateway
        )
        self._leases: dict[tuple[Transport, int], Lease] = {}
        self._searching: Deferred[Any] | None = None
        self._asking: Deferred[Any] | None = None
        self._next: WheelCall | None = None
        self._timer: WheelCall | None = None
        self._misses = self._searches = 0
        self._said = ""
        self._stopped: list[Deferred[None]] = []  # for the last port to be given back

    def mapPort(self, transport: Transport, port: int, host: str = "") -> bool:
        """
        Keep one of our ports mapped.

        @param host: the address that its listener is bound to.
        @return: whether it will be tried; not where nobody is to be asked, or nobody outside is to call.
        @raise ethp2p.errors.ConfigError: too many ports.
        """
        if self.setting.method in (Method.NONE, Method.EXTIP) or not wants_mapping(host):
            return False
        if (transport, port) in self._leases:
            return True
        if len(self._leases) >= MAX_PORTS:
            raise ConfigError(f"more than {MAX_PORTS} ports to map")
        self._leases[transport, port] = lease = Lease(transport, port)
        if self.running:
            if self.mapper is not None:
                self._start(lease)
            else:
                self._begin()
        return True

    def startService(self) -> None:
        """Begin, once there is a port to map."""
        super().startService()
        if self.setting.method is Method.EXTIP:
            self._tell(as_ip(self.setting.host))
        self._begin()

    def stopService(self) -> Deferred[None]:
        """Give the ports back.  Fires when that is done, or after L{STOP_DEADLINE}."""
        super().stopService()
        for call in (self._next, self._timer):
            if call is not None:
                call.cancel()
        self._next = self._timer = None
        for underway in (self._searching, self._asking):
            if underway is not None:
                underway.cancel()
        stopped = Deferred[None]()
        self._stopped.append(stopped)
        late = self._wheel.call_later(STOP_DEADLINE, self._close)
        stopped.addBoth(lambda _: late.cancel())
        for lease in list(self._leases.values()):
            lease.stop()
            self._follow(lease)
        self._check_stopped()
        return stopped

    # --- finding somebody

    def _begin(self) -> None:
        if not self._leases or self._searching is not None or self.mapper is not None or self._next is not None:
            return
        self._searching = searching = find(self.setting, self._means, self._renew)
        searching.addBoth(self._searched)
        searching.addCallbacks(self._found, self._not_found)
        searching.addErrback(self._bug)

    def _searched(self, result: Any) -> Any:
        self._searching = None
        return result

    def _found(self, mapper: Mapper) -> None:
        self.mapper = mapper
        self._misses = self._searches = 0
        self._say("the external address and ports come from {name}", name=mapper.name)
        for lease in list(self._leases.values()):
            self._start(lease)
        self._poll()

    def _not_found(self, failure: Failure) -> None:
        if failure.check(CancelledError) or not self.running:
            return
        self._say("the external address is not known: {why}", why=failure.getErrorMessage())
        wait = min(LAST_SEARCH_AGAIN, SEARCH_AGAIN * 2.0 ** min(self._searches, 8))
        self._searches += 1
        self._next = self._wheel.call_later(wait, self._search_again)

    def _search_again(self) -> None:
        self._next = None
        self._begin()

    def _lose(self) -> None:
        """Who was asked does not answer any more: forget what it told us, and begin anew."""
        self._forget()
        self._tell(None)
        self._begin()

    def _forget(self) -> None:
        mapper, self.mapper = self.mapper, None
        self._leases = {place: Lease(*place) for place in self._leases}
        if mapper is not None:
            mapper.close()

    # --- the address

    def _poll(self) -> None:
        self._next = None
        assert self.mapper is not None
        self._asking = asking = self.mapper.externalAddress()
        asking.addBoth(self._asked)
        asking.addCallbacks(self._learned, self._missed)
        asking.addErrback(self._bug)

    def _asked(self, result: Any) -> Any:
        self._asking = None
        if self.running:
            self._next = self._wheel.call_later(POLL, self._poll)
        return result

    def _learned(self, address: IPAddress) -> None:
        self._misses = 0
        if not is_global(address):
            self._say(
                "the gateway itself is at {address}, behind another NAT: nobody outside can call", address=address
            )
            self._tell(None)
            return
        moved = self.outside.address is not None and self.outside.address != address
        self._tell(address)
        if moved:
            self._renew()

    def _missed(self, failure: Failure) -> None:
        if failure.check(CancelledError) or not self.running:
            return
        self._misses += 1
        self._say("the external address is not known: {why}", why=failure.getErrorMessage())
        if self._misses >= MAX_MISSES:
            if self._next is not None:
                self._next.cancel()
                self._next = None
            self._lose()

    # --- the ports

    def _start(self, lease: Lease) -> None:
        if self.mapper is not None and self.mapper.maps:
            lease.start()
            self._follow(lease)

    def _renew(self) -> None:
        for lease in list(self._leases.values()):
            lease.renew()
            self._follow(lease)

    def _follow(self, lease: Lease) -> None:
        """Do what the lease says."""
        place = lease.transport, lease.internal
        while (command := lease.next_command()) is not None:
            if isinstance(command, Mapped):
                self._tell(self.outside.address)
                continue
            assert self.mapper is not None, "leases are begun with a mapper, and forgotten with it"
            if isinstance(command, Map):
                doing = self.mapper.addMapping(*place, command.external, command.lifetime)
                doing.addCallbacks(self._granted, self._refused, (lease,), {}, (lease,), {})
            else:
                assert isinstance(command, Unmap)
                doing = self.mapper.deleteMapping(*place, command.external)
                doing.addBoth(self._unmapped, lease)
            doing.addErrback(self._bug)
        self._arm()
        self._check_stopped()

    def _granted(self, answer: tuple[int, float], lease: Lease) -> None:
        if self._leases.get((lease.transport, lease.internal)) is lease:
            lease.granted(*answer, self._wheel.seconds())
            self._follow(lease)

    def _refused(self, failure: Failure, lease: Lease) -> None:
        if self._leases.get((lease.transport, lease.internal)) is lease:
            lease.refused(failure.getErrorMessage(), self._wheel.seconds())
            if self.running and not lease.external:
                self._say("port {port} is not mapped: {why}", port=lease.internal, why=lease.why)
            self._follow(lease)

    def _unmapped(self, result: object, lease: Lease) -> None:
        if self._leases.get((lease.transport, lease.internal)) is lease:
            lease.unmapped()
            self._follow(lease)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = [when for lease in self._leases.values() if (when := lease.next_timer()) is not None]
        if due and self.running:
            self._timer = self._wheel.call_later(min(due) - self._wheel.seconds(), self._time)

    def _time(self) -> None:
        self._timer = None
        now = self._wheel.seconds()
        for lease in list(self._leases.values()):
            lease.handle_timer(now)
            self._follow(lease)
        self._arm()

    # --- telling, and the end

    def _tell(self, address: IPAddress | None) -> None:
        ports = tuple((*place, lease.external) for place, lease in self._leases.items() if lease.external)
        outside = Outside(address, ports)
        if outside == self.outside:
            return
        self.outside = outside
        self._log.info(
            "seen from outside we are at {address}, {ports}",
            address=str(address) if address is not None else "an unknown address",
            ports=", ".join(f"{transport.name} {inside} as {port}" for transport, inside, port in ports)
            or "no port mapped",
        )
        with self._log.failuresHandled("who is told of the external address raised an error"):
            self._changed(outside)

    def _say(self, text: str, **fields: Any) -> None:
        """A line, but not the same line again."""
        line = text.format(**fields)
        if line != self._said:
            self._said = line
            self._log.info(text, **{name: str(value) for name, value in fields.items()})

    def _check_stopped(self) -> None:
        if self._stopped and all(lease.ended for lease in self._leases.values()):
            self._close()

    def _close(self) -> None:
        stopped, self._stopped = self._stopped, []
        self._forget()
        self.outside = Outside()
        if self._own_wheel:
            self._wheel.stop()
        if self.running:  # started again meanwhile
            self._begin()
        for each in stopped:
            each.callback(None)

    def _bug(self, failure: Failure) -> None:
        self._log.failure("the external address and ports are not kept up any more", failure)
