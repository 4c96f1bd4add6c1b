"""
A gateway and a STUN server that follow a script, on a virtual network; and a miniupnpc of our own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import DatagramProtocol

from ethp2p.nat.wire import COOKIE, Transport

GATEWAY = "192.168.1.1"
OURS = "192.168.1.77"
EXTERNAL = "81.2.3.4"


def pmp_address(address: str = EXTERNAL, *, epoch: int = 1000, code: int = 0) -> bytes:
    """A gateway's answer to the question for its address."""
    return struct.pack(">BBHI", 0, 128, code, epoch) + ip_address(address).packed


def pmp_mapping(
    transport: Transport, internal: int, external: int, lifetime: int = 600, *, epoch: int = 1000, code: int = 0
) -> bytes:
    """A gateway's answer to a mapping."""
    return struct.pack(">BBHIHHI", 0, 128 + transport, code, epoch, internal, external, lifetime)


def stun_answer(request: bytes, address: str = EXTERNAL, port: int = 4321, *, kind: int = 0x0101) -> bytes:
    """A STUN server's answer."""
    packed = ip_address(address).packed
    mask = request[4:20]
    masked = bytes(one ^ other for one, other in zip(packed, mask))
    value = struct.pack(">BBH", 0, 1 if len(packed) == 4 else 2, port ^ (COOKIE >> 16)) + masked
    attribute = struct.pack(">HH", 0x0020, len(value)) + value
    return struct.pack(">HHI", kind, len(attribute), COOKIE) + request[8:20] + attribute


class Gateway(DatagramProtocol):
    """
    A NAT-PMP gateway.
    """

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.started = clock.seconds()
        self.address = EXTERNAL
        self.asked: list[tuple[Any, ...]] = []
        #: By transport and internal port: the port outside.
        self.mapped: dict[tuple[Transport, int], int] = {}
        #: Ports that are somebody else's.
        self.taken: set[int] = set()
        self.lifetime = 600
        self.code = 0
        self.silent = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer."""
        epoch = int(self.clock.seconds() - self.started)
        if datagram == b"\0\0":
            self.asked.append(("address",))
            answer = pmp_address(self.address, epoch=epoch, code=self.code)
        else:
            _, opcode, _, internal, external, lifetime = struct.unpack(">BBHHHI", datagram)
            transport = Transport(opcode)
            self.asked.append((transport.name, internal, external, lifetime))
            if not self.silent and not self.code:
                if lifetime:
                    while external in self.taken:
                        external += 1
                    self.mapped[transport, internal] = external
                else:
                    self.mapped.pop((transport, internal), None)
            granted = min(lifetime, self.lifetime)
            answer = pmp_mapping(transport, internal, external, granted, epoch=epoch, code=self.code)
        if not self.silent and self.transport is not None:
            self.transport.write(answer, addr)

    def restart(self) -> None:
        """Off and on again: everything is forgotten."""
        self.started = self.clock.seconds()
        self.mapped.clear()


class StunServer(DatagramProtocol):
    """
    Answers with what C{answer} makes of a request.
    """

    def __init__(self, answer: Callable[[bytes, Any], bytes | None] = lambda data, addr: stun_answer(data)) -> None:
        self.answer = answer
        self.asked = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer, or not."""
        self.asked += 1
        answer = self.answer(datagram, addr)
        if answer is not None and self.transport is not None:
            self.transport.write(answer, addr)


class MiniUPnPc:
    """
    The module C{miniupnpc}, as far as it is used, with one gateway.  It raises bare exceptions, as that does.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        #: By port and transport: host, port, seconds.
        self.mapped: dict[tuple[int, str], tuple[str, int, int]] = {}
        self.external = EXTERNAL
        self.devices = 1
        self.lanaddr = OURS
        self.discoverdelay = 0
        #: What C{addportmapping} raises next.
        self.errors: list[str] = []
        self.permanent_only = False
        self.tells_owner = True

    def UPnP(self) -> MiniUPnPc:
        """The class of the module."""
        return self

    def discover(self) -> int:
        """Look for devices."""
        self.calls.append(("discover", self.discoverdelay))
        if not self.devices:
            raise Exception("Success")
        return self.devices

    def selectigd(self) -> str:
        """Take the first that is a gateway."""
        if self.devices < 0:
            raise Exception("No UPnP device discovered")
        return "http://192.168.1.1/control"

    def externalipaddress(self) -> str:
        """The address outside."""
        self.calls.append(("address",))
        if not self.external:
            raise Exception("HTTP error")
        return self.external

    def getspecificportmapping(self, port: int, proto: str) -> tuple[str, int, str, bool, int] | None:
        """Whose a port is."""
        if not self.tells_owner:
            raise Exception("Invalid Action")
        entry = self.mapped.get((port, proto))
        return None if entry is None else (entry[0], entry[1], "x", True, entry[2])

    def addportmapping(
        self, port: int, proto: str, host: str, internal: int, text: str, remote: str, time: int
    ) -> bool:
        """Map."""
        self.calls.append(("add", port, proto, host, internal, time))
        if self.errors:
            raise Exception(self.errors.pop(0))
        if self.permanent_only and time:
            raise Exception("OnlyPermanentLeasesSupported")
        self.mapped[port, proto] = (host, internal, time)
        return True

    def deleteportmapping(self, port: int, proto: str) -> bool:
        """End."""
        self.calls.append(("delete", port, proto))
        if (port, proto) not in self.mapped:
            raise Exception("NoSuchEntryInArray")
        del self.mapped[port, proto]
        return True


class Thread:
    """
    The thread: does what it is given at once, or when told to.
    """

    def __init__(self) -> None:
        self.waits = False
        self.waiting: list[Callable[[], None]] = []
        self.most = 0

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Do it."""
        if not self.waits:
            return maybeDeferred(function, *args)
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: maybeDeferred(function, *args).chainDeferred(result))
        self.most = max(self.most, len(self.waiting))
        return result

    def work(self) -> None:
        """Do the next."""
        self.waiting.pop(0)()
