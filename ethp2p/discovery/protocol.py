"""
The sockets: a datagram goes to the protocol that knows it, and what the protocols have to say goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from ethp2p.discovery.gate import Gate
from ethp2p.discovery.speaker import Speaker
from ethp2p.enode.cidr import is_loopback
from ethp2p.limits import ExpiringMap, SteadyClock

#: Bytes that a socket reads of a datagram: more than any of ours has, so that what is longer is seen to be.
READ_SIZE = 2048
#: Endpoints remembered with the socket that they came by, when there are several of one family; and for how long.
MAX_ROUTES = 4096
ROUTE_LIFETIME = 600.0

#: How an IPv4 address stands in IPv6.
_MAPPED = "::ffff:"

Addr = tuple[str, int]


class DiscoveryProtocol(DatagramProtocol):
    """
    One UDP socket, for all protocols.

    @ivar interface: the address it is bound to, C{0.0.0.0} or C{::} for all.
    """

    noisy = False

    def __init__(self, sockets: Sockets, interface: str) -> None:
        self.interface = interface
        self._sockets = sockets

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand it on."""
        self._sockets.datagramsReceived(self, [(datagram, addr)])

    def datagramsReceived(self, datagrams: Iterable[tuple[bytes, Any]]) -> None:
        """Hand several on."""
        self._sockets.datagramsReceived(self, datagrams)


class Sockets:
    """
    All sockets, all protocols, one timer.

    @ivar foreign: datagrams that none of the protocols knows; they get no answer.
    @ivar unsendable: datagrams that no socket took: no route, or no socket of that family.
    """

    def __init__(
        self,
        speakers: Sequence[Speaker],
        gate: Gate,
        *,
        clock: SteadyClock,
        wall: Callable[[], float],
    ) -> None:
        """
        @param speakers: the protocols, in the order in which they are asked whether a datagram is theirs.  discv4
            comes first: its packets have a hash that tells, and discv5's tell only to whom they are addressed.
        @param wall: gives Unix time.
        """
        self.speakers = speakers
        self.gate = gate
        self.foreign = self.unsendable = 0
        self._clock = clock
        self._wall = wall
        self._open: dict[bool, list[DiscoveryProtocol]] = {False: [], True: []}  # by whether it is of IPv6
        self._routes: ExpiringMap[Addr, DiscoveryProtocol] = ExpiringMap(MAX_ROUTES, ROUTE_LIFETIME)
        self._timer: Any = None
        self._timerAt = 0.0
        self._turning = self._again = self._stopped = False
        for speaker in speakers:
            speaker.stirred = self.turn

    def start(self) -> None:
        """Begin, or begin anew: with no socket yet."""
        for sockets in self._open.values():
            sockets.clear()
        self._routes = ExpiringMap(MAX_ROUTES, ROUTE_LIFETIME)
        self._stopped = False
        for speaker in self.speakers:
            speaker.start()

    def add(self, interface: str) -> DiscoveryProtocol:
        """@return: a protocol for one more socket, to be given to C{listenUDP} for this interface."""
        protocol = DiscoveryProtocol(self, interface)
        self._open[":" in interface].append(protocol)
        return protocol

    def datagramsReceived(self, by: DiscoveryProtocol, datagrams: Iterable[tuple[bytes, Any]]) -> None:
        """Datagrams came, and where from.  Nothing that they may hold raises."""
        if self._stopped:
            return
        now, wall = self._clock.seconds(), self._wall()
        for datagram, addr in datagrams:
            self._receive(by, datagram, addr, now, wall)
        self._turn(now, wall)

    def _receive(self, by: DiscoveryProtocol, datagram: bytes, addr: Any, now: float, wall: float) -> None:
        host, port = addr[0], addr[1]
        of_ip6 = ":" in host
        if of_ip6:
            host = host.removeprefix(_MAPPED) if host.startswith(_MAPPED) and "." in host else host
            if "%" in host:  # of this link only: means nothing to others
                return
        if not self.gate.admits(host, now):
            return
        if len(self._open[of_ip6]) > 1:
            self._routes.set((host, port), by, now)
        for speaker in self.speakers:
            if speaker.engine.receive_datagram(datagram, (host, port), now, wall):
                return
        self.foreign += 1

    def turn(self) -> None:
        """Something was asked: send it, and set the timer."""
        self._turn(self._clock.seconds(), self._wall())

    def stop(self) -> None:
        """Send the last of it, and nothing more."""
        for speaker in self.speakers:
            speaker.stop()
        self._flush()
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self, now: float, wall: float) -> None:
        if self._stopped:
            return
        self._again = True
        if self._turning:  # an owner that asks something while it is told something
            return
        self._turning = True
        try:
            while self._again:
                self._again = False
                for speaker in self.speakers:
                    speaker.turn(now, wall)
        finally:
            self._turning = False
            self._flush()
            self._arm()

    def _flush(self) -> None:
        for speaker in self.speakers:
            for datagram, addr in speaker.engine.datagrams_to_send():
                self._send(datagram, addr)

    def _send(self, datagram: bytes, addr: Addr) -> None:
        sockets = self._open[":" in addr[0]]
        if not sockets and ":" not in addr[0]:  # perhaps the one of IPv6 takes IPv4 too
            sockets, addr = self._open[True], (_MAPPED + addr[0], addr[1])
        socket = sockets[0] if len(sockets) == 1 else self._route(sockets, addr)
        try:
            if socket is None or socket.transport is None:
                raise OSError("no socket of this family")
            socket.transport.write(datagram, addr)
        except (OSError, InvalidAddressError, MessageLengthError):  # lost, as it might be on its way
            self.unsendable += 1

    def _route(self, sockets: Sequence[DiscoveryProtocol], addr: Addr) -> DiscoveryProtocol | None:
        """By the socket that they know us by; else by one that leads there."""
        known = self._routes.get(addr, self._clock.seconds())
        if known is not None:
            return known
        near = is_loopback(addr[0])
        leading = (one for one in sockets if one.interface in ("0.0.0.0", "::") or is_loopback(one.interface) == near)
        return next(leading, None)

    def _arm(self) -> None:
        dues = [due for speaker in self.speakers if (due := speaker.driver.next_timer()) is not None]
        if not dues:
            return
        due = min(dues)
        if self._timer is not None and due < self._timerAt:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._clock.callAt(due, self._tick)
            self._timerAt = due

    def _tick(self) -> None:
        self._timer = None
        now, wall = self._clock.seconds(), self._wall()
        self._turning = True
        try:
            for speaker in self.speakers:
                speaker.driver.handle_timer(now, wall)
        finally:
            self._turning = False
            self._turn(now, wall)
