"""
The door that callers come through, before a byte of theirs is read.

Who is banned, from elsewhere, or calls too often is sent away; who comes when too many are at the door already waits
until there is room, unread.  What is behind the door is any wire's factory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.limits import WheelCall, WheelTimer
from ethp2p.peers.admission import Rule
from ethp2p.peers.throttle import Doorman, Refused, Welcome

#: Seconds after which one who waits at the door is sent away.
MAX_WAIT = 10.0
#: Seconds after which one who came in counts no more, should its wire forget to say that the handshake is over.
MAX_HANDSHAKE = 30.0


class _Waiting(Protocol):
    """
    Stands for a caller who waits: its connection is open, and nothing is read from it.
    """

    def __init__(self, doorway: Doorway, wire: IProtocolFactory, address: Any) -> None:
        self.since = doorway.wheel.seconds()
        self._doorway = doorway
        self._wire = wire
        self.address = address

    def connectionMade(self) -> None:
        """Wait."""
        self._transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._doorway.leave(self)

    @property
    def _transport(self) -> Any:
        return self.transport

    def enter(self) -> None:
        """Come in now."""
        transport = self._transport
        inner: Any = self._doorway.enter(self._wire, self.address)
        if inner is None:
            transport.loseConnection()
            return
        transport.protocol = inner
        inner.makeConnection(transport)
        transport.resumeProducing()

    def sendAway(self) -> None:
        """Close it."""
        self._transport.abortConnection()


@attrs.define(eq=False)
class _Caller:
    """One who came in, and whose handshake goes on."""

    since: float
    protocol: Any = None


class Doorway:
    """
    Everybody who is at one of the node's doors now.
    """

    def __init__(
        self,
        doorman: Doorman,
        wheel: WheelTimer,
        objection: Callable[[str], Refused | None],
        refused: Callable[[Any, Refused], object],
    ) -> None:
        """
        @param objection: why nobody from this address may come in, or None.
        @param refused: told of each caller sent away, with its transport address.
        """
        self.wheel = wheel
        self._doorman = doorman
        self._objection = objection
        self._refused = refused
        self._line: deque[_Waiting] = deque()
        self._inside: dict[tuple[str, int], _Caller] = {}  # the oldest first
        self._timer: WheelCall | None = None

    def guard(self, endpoint: IStreamServerEndpoint) -> Guarded:
        """The same endpoint, with this doorway before it."""
        return Guarded(endpoint, self)

    @property
    def waiting(self) -> int:
        """How many wait unread."""
        return len(self._line)

    @property
    def inside(self) -> int:
        """How many handshakes with callers go on."""
        return len(self._inside)

    def arrive(self, wire: IProtocolFactory, address: Any) -> Any:
        """What speaks with this caller; None closes the connection."""
        host = getattr(address, "host", "")
        if not host:  # a local socket: its owner has other ways to trouble us
            return wire.buildProtocol(address)
        verdict = self._objection(host) or self._doorman.arrive(host, self.wheel.seconds())
        if isinstance(verdict, Refused):
            self._refused(address, verdict)
            return None
        if verdict is Welcome.COME:
            return self.enter(wire, address)
        waiting = _Waiting(self, wire, address)
        self._line.append(waiting)
        self._arm()
        return waiting

    def enter(self, wire: IProtocolFactory, address: Any) -> Any:
        """Somebody comes in: the wire's protocol for it."""
        place = _place(address)
        if self._inside.pop(place, None) is not None:  # from one port to two of our doors: one is forgotten
            self._doorman.settled()
        self._inside[place] = caller = _Caller(self.wheel.seconds())
        try:
            caller.protocol = wire.buildProtocol(address)
        finally:
            if caller.protocol is None:
                self.settled(address)
        return caller.protocol

    def settled(self, address: Any) -> None:
        """The caller's handshake is over, well or badly: the next may come in.  Does nothing for others."""
        if self._inside.pop(_place(address), None) is not None:
            self._doorman.settled()
            self.pump()

    def leave(self, waiting: _Waiting) -> None:
        """One waits no more, unless it has come in."""
        if waiting in self._line:
            self._line.remove(waiting)
            self._doorman.left()

    def close(self) -> None:
        """Send away everybody who waits."""
        for waiting in tuple(self._line):
            self.leave(waiting)
            waiting.sendAway()
        self._arm()

    def clear(self) -> None:
        """Cut off everybody whose handshake goes on still."""
        for caller in tuple(self._inside.values()):
            transport = getattr(caller.protocol, "transport", None)
            if transport is not None:
                transport.abortConnection()

    def pump(self) -> None:
        """Let in those for whom there is room."""
        now = self.wheel.seconds()
        while self._inside and now - next(iter(self._inside.values())).since >= MAX_HANDSHAKE:
            del self._inside[next(iter(self._inside))]
            self._doorman.settled()
        while self._line and now - self._line[0].since >= MAX_WAIT:
            waiting = self._line[0]
            self.leave(waiting)
            waiting.sendAway()
            self._refused(waiting.address, Refused(f"has waited {MAX_WAIT:.0f} s at the door", Rule.BUSY))
        while self._line and self._doorman.next_welcome(now):
            self._line.popleft().enter()
        self._arm()

    def _arm(self) -> None:
        """Look again when the doorman may let one in, when one has waited too long, and when one is long inside."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._line:
            return
        now = self.wheel.seconds()
        due = [self._line[0].since + MAX_WAIT]
        if (welcome := self._doorman.next_timer(now)) is not None:
            due.append(welcome)
        if self._inside:
            due.append(next(iter(self._inside.values())).since + MAX_HANDSHAKE)
        self._timer = self.wheel.call_at(min(due), self.pump)


def _place(address: Any) -> tuple[str, int]:
    return getattr(address, "host", ""), getattr(address, "port", 0)


class _Door(Factory):
    """
    Stands before a wire's factory.
    """

    noisy = False

    def __init__(self, wire: IProtocolFactory, doorway: Doorway) -> None:
        self._wire = wire
        self._doorway = doorway

    def logPrefix(self) -> str:
        """What twistd calls it when it listens."""
        return "door for peers"

    def doStart(self) -> None:
        """Start the wire's factory, too."""
        super().doStart()
        self._wire.doStart()

    def doStop(self) -> None:
        """Stop the wire's factory, too."""
        self._wire.doStop()
        super().doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """See L{Doorway.arrive}."""
        return self._doorway.arrive(self._wire, addr)


@implementer(IStreamServerEndpoint)
class Guarded:
    """
    An endpoint with a doorway before it.
    """

    def __init__(self, endpoint: IStreamServerEndpoint, doorway: Doorway) -> None:
        self._endpoint = endpoint
        self._doorway = doorway

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See L{IStreamServerEndpoint}."""
        return self._endpoint.listen(_Door(protocolFactory, self._doorway))
