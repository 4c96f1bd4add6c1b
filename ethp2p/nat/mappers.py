"""
Those who can be asked: a NAT-PMP gateway, STUN servers.  L{ethp2p.nat.upnp} has the third.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from ethp2p.enode.cidr import is_ip
from ethp2p.limits import WheelTimer
from ethp2p.nat.protocol import AskingProtocol, NatFailed
from ethp2p.nat.setting import STUN_PORT
from ethp2p.nat.state import PMP_TRIES, NatPmp, Stun
from ethp2p.nat.wire import IPAddress, Transport

#: Servers asked when none is given.  They learn our address and that somebody asks for it, nothing else.
STUN_SERVERS = (
    ("stun.l.google.com", 19302),
    ("stun.cloudflare.com", STUN_PORT),
    ("stun.nextcloud.com", STUN_PORT),
    ("stun.sipgate.net", STUN_PORT),
    ("stun.voip.blackberry.com", STUN_PORT),
    ("global.stun.twilio.com", STUN_PORT),
)
#: How many of them are asked before we give up for this time.
MAX_SERVERS = 3


class Mapper(Protocol):
    """
    Somebody who can be asked.
    """

    #: For logs.
    name: str
    #: Whether it maps ports, or only knows the address.
    maps: bool

    def externalAddress(self) -> Deferred[IPAddress]:
        """The address outside.  Fails with L{NatFailed}."""

    def addMapping(self, transport: Transport, internal: int, external: int, lifetime: int) -> Deferred[Any]:
        """Map a port.  Fires with the port outside and the seconds granted; fails with L{NatFailed}."""

    def deleteMapping(self, transport: Transport, internal: int, external: int) -> Deferred[Any]:
        """Map it no more.  Fails with L{NatFailed}."""

    def close(self) -> None:
        """Ask nothing more."""


def _listen(reactor: Any, protocol: AskingProtocol[Any], interface: str = "") -> None:
    try:
        reactor.listenUDP(0, protocol, interface=interface)
    except CannotListenError as error:
        raise NatFailed(f"no UDP port to ask from: {error.socketError}") from None


class PmpMapper:
    """
    A NAT-PMP gateway.
    """

    maps = True

    def __init__(
        self, reactor: Any, wheel: WheelTimer, gateway: str, restarted: Callable[[], object], *, tries: int = PMP_TRIES
    ) -> None:
        """
        @param reactor: provides C{IReactorUDP}.
        @param restarted: called when the gateway has forgotten its mappings.
        @param tries: how often each question is sent.
        @raise NatFailed: there is no UDP port.
        """
        self.name = f"NAT-PMP at {gateway}"
        self.engine = NatPmp(gateway, tries=tries)
        self._protocol = AskingProtocol(self.engine, wheel, restarted)
        _listen(reactor, self._protocol)

    def externalAddress(self) -> Deferred[IPAddress]:
        """See L{Mapper}."""
        return self._protocol.ask(self.engine.ask_address).addCallback(lambda answer: answer.address)

    def addMapping(self, transport: Transport, internal: int, external: int, lifetime: int) -> Deferred[Any]:
        """See L{Mapper}."""
        asking = self._protocol.ask(lambda now: self.engine.ask_mapping(transport, internal, external, lifetime, now))
        return asking.addCallback(lambda answer: (answer.external, answer.lifetime))

    def deleteMapping(self, transport: Transport, internal: int, external: int) -> Deferred[Any]:
        """See L{Mapper}."""
        return self._protocol.ask(lambda now: self.engine.ask_mapping(transport, internal, 0, 0, now))

    def close(self) -> None:
        """See L{Mapper}."""
        self._protocol.close()


class StunMapper:
    """
    STUN servers, one asked after the other until one answers.
    """

    maps = False

    def __init__(
        self,
        reactor: Any,
        wheel: WheelTimer,
        servers: Sequence[tuple[str, int]] = STUN_SERVERS,
        *,
        random: Callable[[int], bytes],
        choose: Callable[[int], int],
    ) -> None:
        """
        @param reactor: provides C{IReactorUDP} and C{IReactorPluggableNameResolver}.
        @param servers: host and port each.
        @param random: bytes for transaction ids.
        @param choose: a random number below its argument.
        """
        self.name = f"STUN at {servers[0][0]}" if len(servers) == 1 else "STUN"
        self._reactor = reactor
        self._wheel = wheel
        self._servers = tuple(servers)
        self._random = random
        self._choose = choose
        #: By interface, the port to ask from.
        self._protocols: dict[str, AskingProtocol[Stun]] = {}
        self._closed = False

    def externalAddress(self) -> Deferred[IPAddress]:
        """See L{Mapper}."""
        return Deferred.fromCoroutine(self._ask())

    def addMapping(self, transport: Transport, internal: int, external: int, lifetime: int) -> Deferred[Any]:
        """See L{Mapper}."""
        return fail(NatFailed("STUN maps no ports"))

    def deleteMapping(self, transport: Transport, internal: int, external: int) -> Deferred[Any]:
        """See L{Mapper}."""
        return fail(NatFailed("STUN maps no ports"))

    def close(self) -> None:
        """See L{Mapper}."""
        self._closed = True
        for protocol in self._protocols.values():
            protocol.close()

    async def _ask(self) -> IPAddress:
        servers = list(self._servers)
        why = NatFailed()
        for _ in range(min(MAX_SERVERS, len(servers))):
            host, port = servers.pop(self._choose(len(servers)))
            try:
                return await self._ask_one(host, port)
            except NatFailed as error:
                if self._closed:
                    raise
                why = error
        raise why

    async def _ask_one(self, host: str, port: int) -> IPAddress:
        address = host if is_ip(host) else await _resolve(self._reactor, host)
        if self._closed:
            raise NatFailed("it was closed")
        protocol = self._protocol("::" if ":" in address else "")
        answer = await protocol.ask(lambda now: protocol.engine.ask_address((address, port), now))
        return answer.address  # type: ignore[no-any-return]

    def _protocol(self, interface: str) -> AskingProtocol[Stun]:
        protocol = self._protocols.get(interface)
        if protocol is None:
            protocol = AskingProtocol(Stun(random=self._random), self._wheel)
            _listen(self._reactor, protocol, interface)
            self._protocols[interface] = protocol
        return protocol


@implementer(IResolutionReceiver)
class _First:
    """Waits for the first address of a name."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._address = ""
        self.result: Deferred[str] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing is known yet."""

    def addressResolved(self, address: Any) -> None:
        """Take the first."""
        self._address = self._address or address.host

    def resolutionComplete(self) -> None:
        """Tell."""
        if self.result.called:  # cancelled
            return
        if self._address:
            self.result.callback(self._address)
        else:
            self.result.errback(NatFailed(f"there is no address for the STUN server {self._host}"))


def _resolve(reactor: Any, host: str) -> Deferred[str]:
    receiver = _First(host)
    reactor.nameResolver.resolveHostName(receiver, host, addressTypes=[IPv4Address], transportSemantics="UDP")
    return receiver.result
