"""
The Twisted shell of a session, and the factory that an RLPx connection builds it with.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import attrs
from twisted.internet.interfaces import IProtocolFactory, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p import __version__
from ethp2p.crypto.keys import PublicKey
from ethp2p.devp2p.channel import Channel
from ethp2p.devp2p.multiplex import Multiplexer, QueueFull
from ethp2p.devp2p.state import (
    DevP2P,
    DisconnectReceived,
    HelloReceived,
    MessageReceived,
    PongReceived,
)
from ethp2p.devp2p.wire import MAX_CAPABILITY_NAME, P2P_VERSION, Capability, Hello
from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason, NotAdmitted, PeerDisconnected, RemoteProtocolError
from ethp2p.interfaces import ICapabilityFactory, IHousehold, IMessageProtocol, ISession
from ethp2p.limits import Clock, Deadline, WheelTimer

#: Bytes between two Pings that tell a peer that reads or writes slowly from one that dribbles.
PROGRESS = 16 * 1024

_log = Logger()


def client_name(identity: str = "") -> str:
    """
    What we call ourselves, in the form that crawlers read: C{ethp2p/v0.1.0/linux-x86_64/python3.11}.

    @param identity: the operator's own word, put after the first.
    """
    words = ["ethp2p", identity, f"v{__version__}", f"{platform.system()}-{platform.machine()}".lower()]
    return "/".join([*filter(None, words), f"python{sys.version_info.major}.{sys.version_info.minor}"])


@attrs.frozen
class LocalHello:
    """
    What we say of ourselves.
    """

    client: str
    public_key: PublicKey
    listen_port: int = 0


@implementer(ISession, IMessageProtocol, IPushProducer)
class Session:
    """
    One connected peer.

    The household is asked when the identity is proven and again after Hello, and told once how it ended.  Its
    attributes may be read at any time; the counters are plain integers, their bytes those of payloads on the wire.
    """

    __slots__ = (
        "__weakref__",
        "_factory",
        "_lost",
        "_progress",
        "_reading",
        "_timer",
        "bytes_in",
        "bytes_out",
        "capabilities",
        "channels",
        "client",
        "code",
        "congested",
        "connected_at",
        "ended",
        "engine",
        "hello",
        "local",
        "messages_in",
        "messages_out",
        "peer",
        "queue",
        "rtt",
        "shared",
        "transport",
    )

    def __init__(self, factory: SessionFactory, peer: Any, engine: DevP2P) -> None:
        self._factory = factory
        #: The L{ethp2p.rlpx.RLPxAddress}, or what has its attributes.
        self.peer = peer
        self.engine = engine
        self.queue = Multiplexer()
        self.transport: Any = None
        #: Whether the transport asked us to write no more.
        self.congested = False
        #: The peer's Hello, or None before it.
        self.hello: Hello | None = None
        self.client = ""
        self.capabilities: tuple[str, ...] = ()
        self.shared: tuple[str, ...] = ()
        self.local: Any = None
        #: By name, what both sides speak, in the order of the codes; empty again when the connection is gone.
        self.channels: dict[str, Channel] = {}
        #: When, by the factory's clock.
        self.connected_at = 0.0
        #: Seconds the newest Ping took, or None.
        self.rtt: float | None = None
        #: How and by whom it was ended, or None while it goes on.
        self.ended: PeerDisconnected | None = None
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self._lost = False
        self._reading = True
        self._progress: tuple[int, int] | None = None
        self._timer = Deadline(factory.wheel)
        #: The code on the wire of the message under way, for evidence.
        self.code: int | None = None

    @property
    def public_key(self) -> Any:
        """The peer's proven L{ethp2p.crypto.keys.PublicKey}."""
        return self.peer.public_key

    @property
    def node_id(self) -> bytes:
        """The peer's proven id, 32 bytes."""
        return self.peer.node_id  # type: ignore[no-any-return]

    @property
    def inbound(self) -> bool:
        """Whether the peer called us."""
        return self.peer.inbound  # type: ignore[no-any-return]

    @property
    def address(self) -> Any:
        """Its transport address."""
        return self.peer.address

    @property
    def node(self) -> Node:
        """The peer's key, and its address; of one that called us, the port is the one it says it listens on."""
        port = getattr(self.address, "port", 0)
        if self.inbound:
            port = self.hello.listen_port if self.hello is not None else 0
        return Node(self.public_key, getattr(self.address, "host", ""), port if 0 <= port <= 0xFFFF else 0, 0)

    def protocols(self) -> dict[str, Mapping[str, Any]]:
        """By name, what each capability says of itself; nothing of one that fails to."""
        shown: dict[str, Mapping[str, Any]] = {}
        for name, channel in self.channels.items():
            shown[name] = {}
            with _log.failuresHandled("{shared} cannot describe itself", shared=str(channel.shared)):
                shown[name] = channel.capability.describe()
        return shown

    # --- the connection, as its transport drives it

    def makeConnection(self, transport: Any) -> None:
        """The identity is proven: ask the household, and say Hello."""
        self.transport = transport
        self.local = transport.getHost()
        self.connected_at = self._factory.seconds()
        transport.registerProducer(self, True)
        self.guard(self._greet)

    def messageReceived(self, code: int, payload: bytes) -> None:
        """A message as it came off the wire."""
        self.guard(self._receive, code, payload)

    def transportFailed(self, error: RemoteProtocolError) -> None:
        """The transport below found that the peer broke a rule."""
        self.code = None
        self.guard(self.offend, error, str(error))

    def connectionLost(self, reason: Any) -> None:
        """The connection is gone: tell the capabilities, then the household."""
        if self._lost:
            return
        self._lost = True
        if self.ended is None:
            value = reason.value
            if isinstance(value, RemoteProtocolError):  # the transport has cut it off, and nobody was told
                self._end(PeerDisconnected(value.reason, by_us=True, detail=str(value)))
                self.guard(self._factory.household.offenceSeen, self, value.offence, str(value))
            else:
                self._end(value if isinstance(value, PeerDisconnected) else PeerDisconnected(detail=str(value)))
        failure = Failure(self.ended)
        channels, self.channels = self.channels, {}
        for channel in channels.values():
            self.guard(channel.connectionLost, failure)
        self.guard(self._factory.household.sessionEnded, self, self.ended)

    def pauseProducing(self) -> None:
        """The transport has enough: what is written from now on waits in its lane."""
        self.congested = True

    def resumeProducing(self) -> None:
        """The transport takes more, so the peer reads."""
        self.congested = False
        self.code = None
        self.engine.sign_of_life()
        self.guard(self._drain)

    def stopProducing(self) -> None:
        """The transport takes nothing any more; C{connectionLost} follows."""
        self.congested = True

    # --- how it ends

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        """
        Say why and close.  What waits to be sent is dropped.  Does nothing when the session has ended.

        @param detail: for our own books; the wire carries the reason only.
        """
        if self.ended is None:
            self.engine.disconnect(reason)
            self._end(PeerDisconnected(reason, by_us=True, detail=detail))
            self._close()

    def loseConnection(self) -> None:
        """Send everything that waits, then disconnect because it was asked for."""
        if self.ended is None:
            self._writeOwn()
            while (message := self.queue.take()) is not None:
                self.transport.writeMessage(*message)
            self.disconnect(DisconnectReason.REQUESTED)

    def abort(self) -> None:
        """Close without a word."""
        if self.ended is None:
            self._end(PeerDisconnected(by_us=True, detail="aborted"))
            self.transport.abortConnection()

    def _end(self, ended: PeerDisconnected) -> None:
        """From here on the session is deaf, and all that it held is let go."""
        self.ended = ended
        self.engine.close()
        self._timer.stop()
        self.queue.clear()
        for channel in self.channels.values():
            self.guard(channel.stop)

    def _close(self) -> None:
        self._writeOwn()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # --- the one door for what goes wrong

    def guard(self, call: Callable[..., object], *args: Any) -> None:
        """
        Call what may find the peer, or us, at fault, and draw the consequences.  For the session's channels.
        """
        try:
            try:
                call(*args)
            except RemoteProtocolError as error:
                self.offend(error, self._evidence(error))
            except NotAdmitted as refusal:
                self.disconnect(refusal.reason, refusal.detail)
        except Exception:  # noqa: BLE001  a bug of ours, in this or another room: one session ends, not the node
            _log.failure("bug in a session with {peer}", peer=self.node_id.hex())
            self.disconnect(DisconnectReason.SUBPROTOCOL_ERROR, "a bug on our side")

    def offend(self, error: RemoteProtocolError, evidence: str) -> None:
        """Book what the peer did, and disconnect."""
        if self.ended is None:
            try:
                self._factory.household.offenceSeen(self, error.offence, evidence)
            finally:
                self.disconnect(error.reason, evidence)

    def _evidence(self, error: RemoteProtocolError) -> str:
        code = self.code
        if code is None:
            return str(error)
        for channel in self.channels.values():
            shared = channel.shared
            if shared.offset <= code < shared.offset + shared.length:
                return f"{shared} message 0x{code - shared.offset:02x}: {error}"
        return f"message 0x{code:02x}: {error}"

    # --- receiving

    def _greet(self) -> None:
        self._factory.household.identityProven(self)
        self.engine.start(self._factory.wheel.seconds())
        self._flush()
        self._arm()

    def _receive(self, code: int, payload: bytes) -> None:
        self.code = code
        self.messages_in += 1
        self.bytes_in += len(payload)
        event = self.engine.receive_message(code, payload, self._factory.wheel.seconds())
        if type(event) is MessageReceived:
            channel = self.channels[event.shared.name]
            channel.messages_in += 1
            channel.bytes_in += len(payload)
            channel.messageReceived(event.code, event.payload)
            return
        if type(event) is HelloReceived:
            self._helloReceived(event)
        elif type(event) is PongReceived:
            self.rtt = event.rtt
        elif type(event) is DisconnectReceived:
            self._disconnectReceived(event)
        self._flush()

    def _helloReceived(self, event: HelloReceived) -> None:
        self.hello = event.hello
        self.client = event.hello.client
        self.capabilities = tuple([str(offer) for offer in event.hello.capabilities])
        self.shared = tuple([str(shared) for shared in event.shared])
        if not event.shared:
            raise NotAdmitted(DisconnectReason.USELESS_PEER, "no capability in common")
        self._factory.household.helloReceived(self)
        if self.ended is not None:
            return
        for shared in event.shared:
            capability = self._factory.offers[shared.name].buildCapability(self, shared.version)
            self.channels[shared.name] = Channel(self, shared, capability)
        self._arm()
        for channel in self.channels.values():
            if self.ended is None:
                channel.connected = True
                channel.capability.makeConnection(channel)

    def _disconnectReceived(self, event: DisconnectReceived) -> None:
        if isinstance(event.reason, DisconnectReason):
            self._end(PeerDisconnected(event.reason))
        else:
            self._end(PeerDisconnected(detail=f"unknown reason 0x{event.reason:02x}"))
        self._close()

    # --- sending

    def enqueue(self, channel: Channel, code: int, payload: bytes) -> None:
        """
        For a channel: what cannot be sent now.

        @raise QueueFull: the channel's lane is over its cap; the session ends.
        """
        try:
            self.queue.put(channel.lane, code, payload)
        except QueueFull as error:
            self.disconnect(DisconnectReason.SUBPROTOCOL_ERROR, f"{channel.shared}: {error}")
            raise
        if channel.lane.full:
            self.regulate()

    def _flush(self) -> None:
        if not self.congested:
            self._writeOwn()

    def _writeOwn(self) -> None:
        for code, payload in self.engine.messages_to_send():
            self.messages_out += 1
            self.bytes_out += len(payload)
            self.transport.writeMessage(code, payload)

    def _drain(self) -> None:
        self._flush()
        while not self.congested and (message := self.queue.take()) is not None:
            self.transport.writeMessage(*message)
        self.regulate()

    def regulate(self) -> None:
        """
        For the channels: pause who writes too much, and do not read from a peer that does not read itself, or
        while a capability does not listen.
        """
        for channel in self.channels.values():
            channel.regulate()
        reading = not any(channel.holding for channel in self.channels.values())
        if reading is not self._reading and self.ended is None:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    # --- time

    def _arm(self) -> None:
        due = self.engine.next_timer()
        if due is not None:
            self._timer.set(due, self._tick)

    def _tick(self) -> None:
        self.guard(self._keepalive)

    def _keepalive(self) -> None:
        self.code = None
        if self._moved() or not all(channel.listening for channel in self.channels.values()):
            self.engine.sign_of_life()  # a big message is on its way, or it is we who do not read
        self.engine.handle_timer(self._factory.wheel.seconds())
        self._flush()
        self._arm()

    def _moved(self) -> bool:
        """Whether much came since we looked last, or was taken of what waits: a Ping's answer comes after all of it."""
        before, self._progress = self._progress, getattr(self.transport, "progress", None)
        if before is None or self._progress is None:
            return False
        came, taken = [now - then for now, then in zip(self._progress, before)]
        return came >= PROGRESS or (self.congested and taken >= PROGRESS)


@implementer(IProtocolFactory)
class SessionFactory:
    """
    Builds a L{Session} for each proven identity: the inner factory of an RLPx connection.
    """

    def __init__(
        self,
        local: Union[LocalHello, Callable[[], LocalHello]],
        capabilities: Sequence[ICapabilityFactory],
        household: IHousehold,
        *,
        wheel: WheelTimer,
        clock: Clock | None = None,
    ) -> None:
        """
        @param local: what we say of ourselves, or what gives it for each session (the port may come late).
        @param capabilities: what we offer, one factory for each name.
        @param wheel: for deadlines and round trips; shared by all sessions.
        @param clock: for C{connected_at} only; by default the wheel.
        @raise ConfigError: a capability that Hello cannot carry, or the same name twice.
        """
        self._local = local if callable(local) else lambda: local
        self.household = household
        self.wheel = wheel
        self.seconds = (clock or wheel).seconds
        #: By name.
        self.offers: dict[str, ICapabilityFactory] = {}
        for factory in capabilities:
            name = factory.name
            if not (name.isascii() and name.isprintable() and 0 < len(name) <= MAX_CAPABILITY_NAME and " " not in name):
                raise ConfigError(f"capability name {name!r} is not 1 to {MAX_CAPABILITY_NAME} ASCII characters")
            if name in self.offers:
                raise ConfigError(f"capability {name!r} is offered twice")
            self.offers[name] = factory
        self._versions = {name: dict(factory.versions) for name, factory in self.offers.items()}
        self._offered = tuple(
            [Capability(name, version) for name in sorted(self._versions) for version in sorted(self._versions[name])]
        )
        #: What we said last, and our Hello that says it: nearly always it is the same again.
        self._said: tuple[LocalHello, Hello] | None = None

    def buildProtocol(self, addr: Any) -> Any:
        """
        @param addr: the L{ethp2p.rlpx.RLPxAddress}: C{public_key}, C{node_id}, C{address}, C{inbound}.
        @return: a L{Session}.
        """
        return Session(self, addr, DevP2P(self._hello(self._local()), self._versions, addr.public_key.raw))

    def _hello(self, local: LocalHello) -> Hello:
        if self._said is None or self._said[0] != local:
            hello = Hello(P2P_VERSION, local.client, self._offered, local.listen_port, local.public_key.raw)
            self._said = local, hello
        return self._said[1]

    def doStart(self) -> None:
        """Somebody listens or calls with this factory.  Nothing to do: sessions hold all there is."""

    def doStop(self) -> None:
        """Nobody does any more."""
