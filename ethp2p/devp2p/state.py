"""
A session without I/O: Hello, snappy, message codes, keepalive.

A message makes at most one event, so C{receive_message} returns it.  The engine's own messages (Hello, Ping,
Pong, Disconnect) collect in C{messages_to_send}, one of each at most: a peer that asks and does not read costs
no more than that.

Source: devp2p rlpx.md, "Capability Messaging"; EIP-706.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Union

import attrs

from ethp2p.codec import snappy
from ethp2p.devp2p.wire import (
    BASE_LENGTH,
    DISCONNECT,
    EMPTY,
    HELLO,
    MAX_BASE_MESSAGE,
    PING,
    PONG,
    Capability,
    Disconnect,
    Hello,
)
from ethp2p.errors import (
    DisconnectReason,
    LocalProtocolError,
    Offence,
    OversizeError,
    RemoteProtocolError,
    WireError,
)
from ethp2p.limits import TokenBucket

#: Most bytes of a message, decompressed.  Looked at before anything is allocated (EIP-706).
MAX_MESSAGE = (1 << 24) - 1
#: The oldest version of "p2p" that can be met; snappy came with the next.
LEAST_VERSION = 4
SNAPPY_VERSION = 5
#: Seconds within which the peer's Hello must come.
HELLO_TIMEOUT = 5.0
#: Seconds from one Ping to the next.
PING_INTERVAL = 15.0
#: Seconds after a Ping within which the peer must show that it lives; not more than L{PING_INTERVAL}.
PING_TIMEOUT = 15.0
#: Pings and the like taken at once, and a second.  Honest peers send one in several seconds; conformance
#: suites ten a second for one second.
BASE_BURST, BASE_RATE = 32, 2.0


class BadHello(RemoteProtocolError):
    """The peer did not begin the session as the specification says."""

    offence = Offence.BAD_HANDSHAKE


class IncompatibleVersion(BadHello):
    """The peer speaks a version of the p2p protocol that is too old."""

    reason = DisconnectReason.INCOMPATIBLE_VERSION


class NullIdentity(BadHello):
    """The peer gave no identity in Hello."""

    reason = DisconnectReason.NULL_IDENTITY


class UnexpectedIdentity(BadHello):
    """The identity in Hello is not the one proven in the handshake."""

    reason = DisconnectReason.UNEXPECTED_IDENTITY


class HelloTimeout(RemoteProtocolError):
    """The peer sent no Hello in time."""

    reason = DisconnectReason.PING_TIMEOUT
    offence = Offence.TIMEOUT


class PingTimeout(RemoteProtocolError):
    """The peer fell silent and did not answer Ping."""

    reason = DisconnectReason.PING_TIMEOUT
    offence = Offence.TIMEOUT


class PingFlood(RemoteProtocolError):
    """The peer sends more Pings than any honest peer needs to."""

    offence = Offence.FLOOD


class Phase(Enum):
    """
    How far a session is.
    """

    HELLO = "waits for Hello"
    RUNNING = "exchanges messages"
    CLOSED = "is deaf"


@attrs.frozen
class Shared:
    """
    A capability that both sides speak, and its place among the message codes.
    """

    name: str
    version: int
    #: Its code 0 on the wire.
    offset: int
    #: How many codes it has.
    length: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@attrs.frozen
class HelloReceived:
    """The peer said who it is.  C{shared} is in the order of offsets, and empty when nothing is shared."""

    hello: Hello
    shared: tuple[Shared, ...]


@attrs.define
class MessageReceived:
    """
    A message for a shared capability, decompressed; C{code} counts from 0.  Not frozen: that would double the cost of
    making it, which is paid for each message.
    """

    shared: Shared
    code: int
    payload: bytes


@attrs.frozen
class PongReceived:
    """The peer answered our newest Ping, C{rtt} seconds after it was due."""

    rtt: float


@attrs.frozen
class DisconnectReceived:
    """The peer ended the session; C{reason} is a number when the specification does not name it."""

    reason: Union[DisconnectReason, int]


Event = Union[HelloReceived, MessageReceived, PongReceived, DisconnectReceived]


def match_capabilities(ours: Mapping[str, Mapping[int, int]], theirs: Iterable[Capability]) -> tuple[Shared, ...]:
    """
    Agree on languages: of each name the highest common version, sorted by name, codes from L{BASE_LENGTH} on.

    @param ours: by name, each version we speak and how many codes it has.
    """
    best: dict[str, int] = {}
    for offer in theirs:
        if offer.version in ours.get(offer.name, ()):
            best[offer.name] = max(offer.version, best.get(offer.name, offer.version))
    shared = []
    offset = BASE_LENGTH
    for name in sorted(best):
        version = best[name]
        length = ours[name][version]
        shared.append(Shared(name, version, offset, length))
        offset += length
    return tuple(shared)


@attrs.define(eq=False)
class DevP2P:
    """
    One side of a session.  After an error or a Disconnect it is deaf; its last words wait in
    C{messages_to_send}.
    """

    #: Our Hello.
    _hello: Hello
    #: By name, each version we speak and how many codes it has.
    _ours: Mapping[str, Mapping[int, int]]
    #: The key that the peer proved in the handshake, 64 bytes.
    _remote_key: bytes
    phase: Phase = attrs.field(init=False, default=Phase.HELLO)
    _snappy: bool = attrs.field(init=False, default=False)
    #: The shared capability of each code from L{BASE_LENGTH} on.
    _routes: tuple[Shared, ...] = attrs.field(init=False, default=())
    _outbox: dict[int, bytes] = attrs.field(init=False, factory=dict)
    _bucket: TokenBucket | None = attrs.field(init=False, default=None)
    #: When Hello went out, then when the newest Ping did.
    _spoke: float = attrs.field(init=False, default=0.0)
    _unanswered: int = attrs.field(init=False, default=0)
    #: Whether the peer showed that it lives since the newest Ping.
    _alive: bool = attrs.field(init=False, default=True)

    def start(self, now: float) -> None:
        """
        Say Hello.

        @raise LocalProtocolError: our own Hello is over the cap.
        """
        if self.phase is Phase.CLOSED:
            return
        payload = self._hello.encode()
        if len(payload) > MAX_BASE_MESSAGE:
            raise LocalProtocolError(f"our Hello has {len(payload)} bytes, more than {MAX_BASE_MESSAGE}")
        self._outbox[HELLO] = payload
        self._spoke = now

    def receive_message(self, code: int, payload: bytes, now: float) -> Event | None:
        """
        Take a message as it came off the wire.

        @raise RemoteProtocolError: it breaks a rule; Disconnect with the error's reason waits to be sent.
        """
        try:
            if code < BASE_LENGTH or self.phase is not Phase.RUNNING:
                return self._receive_base(code, payload, now)
            try:
                shared = self._routes[code - BASE_LENGTH]
            except IndexError:
                raise RemoteProtocolError(f"message code 0x{code:02x} belongs to no shared capability") from None
            if self._snappy:
                payload = snappy.decompress(payload, MAX_MESSAGE)
            elif len(payload) > MAX_MESSAGE:
                raise OversizeError(f"message of {len(payload)} bytes, more than {MAX_MESSAGE}")
            self._alive = True
            return MessageReceived(shared, code - shared.offset, payload)
        except RemoteProtocolError as error:
            self.disconnect(error.reason)
            raise

    def _receive_base(self, code: int, payload: bytes, now: float) -> Event | None:
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is Phase.HELLO and code not in (HELLO, DISCONNECT):
            raise BadHello(f"first message has code 0x{code:02x}, neither Hello nor Disconnect")
        if len(payload) > MAX_BASE_MESSAGE:
            raise OversizeError(f"p2p message 0x{code:02x} of {len(payload)} bytes, more than {MAX_BASE_MESSAGE}")
        if code == DISCONNECT:
            reason = _read_disconnect(payload).reason
            self.close()
            return DisconnectReceived(reason)
        if code == HELLO:
            if self.phase is not Phase.HELLO:
                raise RemoteProtocolError("a second Hello")
            return self._receive_hello(payload, now)
        if self._bucket is None:
            self._bucket = TokenBucket(BASE_BURST, BASE_RATE)
        if not self._bucket.take(now):
            raise PingFlood(f"more than {BASE_BURST} p2p messages at once and {BASE_RATE:g} a second")
        self._alive = True
        if code == PING:
            self._outbox[PONG] = self._packed(EMPTY)
        elif code == PONG and self._unanswered:
            self._unanswered -= 1
            if not self._unanswered:  # else it answers an older Ping, and measures nothing
                return PongReceived(max(0.0, now - self._spoke))
        return None

    def _receive_hello(self, payload: bytes, now: float) -> HelloReceived:
        hello = Hello.decode(payload)
        self._snappy = hello.version >= SNAPPY_VERSION
        if hello.version < LEAST_VERSION:
            raise IncompatibleVersion(f"p2p version {hello.version}, older than {LEAST_VERSION}")
        if not any(hello.node_key):
            raise NullIdentity
        if hello.node_key != self._remote_key:
            raise UnexpectedIdentity
        shared = match_capabilities(self._ours, hello.capabilities)
        self._routes = tuple([one for one in shared for _ in range(one.length)])
        self.phase = Phase.RUNNING
        self._spoke = now
        return HelloReceived(hello, shared)

    def pack_message(self, shared: Shared, code: int, payload: bytes) -> bytes:
        """
        The payload of a message of C{shared} as it goes on the wire, with the code C{shared.offset + code}.

        @raise LocalProtocolError: a code that the capability does not have, or over L{MAX_MESSAGE} bytes.
        """
        if not 0 <= code < shared.length:
            raise LocalProtocolError(f"{shared} has no message 0x{code:02x}")
        if len(payload) > MAX_MESSAGE:
            raise LocalProtocolError(f"{shared} message 0x{code:02x} of {len(payload)} bytes, more than {MAX_MESSAGE}")
        return snappy.compress(payload) if self._snappy else payload

    def _packed(self, payload: bytes) -> bytes:
        return snappy.compress(payload) if self._snappy else payload

    def disconnect(self, reason: DisconnectReason) -> None:
        """End the session with Disconnect as the last word, unless it has ended."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._outbox[DISCONNECT] = self._packed(Disconnect(reason).encode())

    def close(self) -> None:
        """Go deaf without a last word, unless there is one."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._outbox.clear()

    def messages_to_send(self) -> list[tuple[int, bytes]]:
        """The engine's own messages: codes and payloads for the wire, each given once."""
        if not self._outbox:
            return []
        messages = list(self._outbox.items())
        self._outbox.clear()
        return messages

    def sign_of_life(self) -> None:
        """
        The peer took something from us, or we chose not to listen: its silence proves nothing until the
        next Ping.
        """
        self._alive = True

    def next_timer(self) -> float | None:
        """When C{handle_timer} wants to be called."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is Phase.HELLO:
            return self._spoke + HELLO_TIMEOUT
        return self._spoke + (PING_INTERVAL if self._alive else PING_TIMEOUT)

    def handle_timer(self, now: float) -> None:
        """
        Ping, or give the peer up.

        @raise RemoteProtocolError: the peer did not say Hello, or does not live.
        """
        if self.phase is Phase.CLOSED:
            return
        try:
            if self.phase is Phase.HELLO:
                if now >= self._spoke + HELLO_TIMEOUT:
                    raise HelloTimeout
                return
            if not self._alive and now >= self._spoke + PING_TIMEOUT:
                raise PingTimeout
        except RemoteProtocolError as error:
            self.disconnect(error.reason)
            raise
        if now >= self._spoke + PING_INTERVAL:
            self._unanswered += PING not in self._outbox
            self._outbox[PING] = self._packed(EMPTY)
            self._spoke = now
            self._alive = False


def _read_disconnect(payload: bytes) -> Disconnect:
    """
    Plain or compressed, whatever was agreed.  No payload is both: as RLP a compressed one is a byte with others
    after it, and as snappy a plain one declares more than it holds.
    """
    try:
        return Disconnect.decode(payload)
    except WireError as error:
        try:
            return Disconnect.decode(snappy.decompress(payload, MAX_BASE_MESSAGE))
        except WireError:
            raise error from None
