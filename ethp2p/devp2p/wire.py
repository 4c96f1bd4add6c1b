"""
The messages of the "p2p" capability as values.  Source: devp2p rlpx.md, '"p2p" Capability'.
"""

from __future__ import annotations

from functools import cached_property
from typing import Union

import attrs

from ethp2p.codec import rlp
from ethp2p.errors import DisconnectReason, OversizeError, WireError

HELLO, DISCONNECT, PING, PONG = 0x00, 0x01, 0x02, 0x03
#: Codes below this belong to "p2p"; the first shared capability begins here.
BASE_LENGTH = 0x10
#: The version of "p2p" that we speak.
P2P_VERSION = 5
#: Most bytes of a message of "p2p", looked at before anything else: a Hello is the largest and needs about 200.
MAX_BASE_MESSAGE = 2048
#: Most capabilities in one Hello: a peer's Hello is kept as long as the session.
MAX_CAPABILITIES = 64
#: Longest capability name, in bytes.
MAX_CAPABILITY_NAME = 8
#: Longest client name kept, in characters; what is beyond is cut off.
MAX_CLIENT = 256

#: The payload of Ping and Pong: an empty list.
EMPTY = b"\xc0"


@attrs.frozen
class Capability:
    """
    A language and its version, as offered in Hello.
    """

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@attrs.frozen
class Hello:
    """
    The first message of either side.
    """

    version: int
    client: str
    capabilities: tuple[Capability, ...]
    listen_port: int
    #: The sender's public key, 64 bytes.
    node_key: bytes

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        """
        Items after the fifth are ignored (EIP-8).

        @raise WireError: not a Hello; L{OversizeError}: over a cap.
        """
        _check_size("Hello", payload)
        return _HELLO.decode(payload)

    @cached_property
    def _payload(self) -> bytes:
        """The encoding, made once: a node says the same to all that it meets."""
        return _HELLO.encode(self)

    def encode(self) -> bytes:
        """The payload."""
        return self._payload


@attrs.frozen
class Disconnect:
    """
    The last message of either side.  A reason that the specification does not name stays a number.
    """

    reason: Union[DisconnectReason, int] = DisconnectReason.REQUESTED

    @classmethod
    def decode(cls, payload: bytes) -> Disconnect:
        """
        Read C{[reason]}, C{[]}, a bare reason, or nothing; the last two were sent by old clients.

        @raise WireError: none of these; L{OversizeError}: over the cap.
        """
        _check_size("Disconnect", payload)
        if payload in (b"", b"\0"):  # zero as a byte is not canonical RLP
            return cls()
        item = rlp.decode(payload)
        if type(item) is list:
            item = item[0] if item else b""
        number = _LENIENT_NUMBER.load(item)
        try:
            return cls(DisconnectReason(number))
        except ValueError:
            return cls(number)

    def encode(self) -> bytes:
        """The payload."""
        return rlp.encode([rlp.UINT64.dump(self.reason)])


def _check_size(name: str, payload: bytes) -> None:
    if len(payload) > MAX_BASE_MESSAGE:
        raise OversizeError(f"{name} of {len(payload)} bytes, more than {MAX_BASE_MESSAGE}")


def _load_number(item: rlp.Item) -> int:
    if type(item) is not bytes or len(item) > 8:
        raise WireError("not a number of at most 64 bits")
    return int.from_bytes(item, "big")


def _load_client(item: rlp.Item) -> str:
    # Any bytes may come, and they end on consoles and pages: no control characters, no broken UTF-8.
    text = rlp.BYTES.load(item).decode("utf-8", "replace")[:MAX_CLIENT]
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "\ufffd" for char in text])


def _load_name(item: rlp.Item) -> str:
    name = rlp.BYTES.load(item)
    if not 0 < len(name) <= MAX_CAPABILITY_NAME:
        raise WireError(f"a name of {len(name)} bytes, not 1 to {MAX_CAPABILITY_NAME}")
    text = name.decode("ascii", "replace")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise WireError("a name that is not printable ASCII")
    return text


_LENIENT_NUMBER = rlp.Shape(_load_number, rlp.UINT64.dump)
_CAPABILITY = rlp.record(Capability, name=rlp.Shape(_load_name, str.encode), version=rlp.UINT64)
_HELLO = rlp.record(
    Hello,
    open_ended=True,
    version=rlp.UINT64,
    client=rlp.Shape(_load_client, str.encode),
    capabilities=rlp.list_of(_CAPABILITY, most=MAX_CAPABILITIES),
    listen_port=_LENIENT_NUMBER,
    node_key=rlp.fixed(64),
)
