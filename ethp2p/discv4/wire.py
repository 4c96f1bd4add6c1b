"""
The six packets as values and as bytes.

A packet is C{hash || signature || type || RLP list || anything}.  The hash covers what follows it and proves nothing:
it tells the protocol from others on the same port.  The signature is of the sender, and covers type and list.

Source: devp2p discv4.md, "Wire Protocol"; EIP-8; EIP-868.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Union

import attrs

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey, recover
from ethp2p.discv4.limits import MAX_PACKET
from ethp2p.enode.cidr import IPAddress, as_ip
from ethp2p.errors import LocalProtocolError, WireError

#: The version said in Ping since EIP-8.
VERSION = 4

_HASH_SIZE = 32
_HEAD_SIZE = _HASH_SIZE + 65


class UnknownPacket(WireError):
    """The packet is of a type that is not known here."""


def pack_ip(host: str) -> bytes:
    """
    An address as it stands in packets, 4 or 16 bytes.

    @param host: an IP address in its canonical form.
    """
    return as_ip(host).packed if ":" in host else bytes(map(int, host.split(".")))


def unpack_ip(packed: bytes) -> IPAddress | None:
    """The address of 4 or 16 bytes; None for any other length, as of a node that does not know its own."""
    if len(packed) == 4:
        return IPv4Address(packed)
    return as_ip(IPv6Address(packed)) if len(packed) == 16 else None


@attrs.frozen
class Endpoint:
    """
    Where a node is, as Ping and Pong say it.
    """

    #: 4 or 16 bytes, or whatever was sent.
    ip: bytes
    udp: int
    tcp: int = 0

    @property
    def addr(self) -> tuple[str, int] | None:
        """Host and UDP port, or None when it has no address."""
        ip = unpack_ip(self.ip)
        return None if ip is None else (str(ip), self.udp)


@attrs.frozen
class Ping:
    """
    Are you there?  Answered with Pong.
    """

    version: int
    #: What the sender takes itself to be.  Only the TCP port is of use.
    sender: Endpoint
    recipient: Endpoint
    #: Unix time, seconds.
    expiration: int
    #: Seq of the sender's record, where it says it.
    enr_seq: int | None = None


@attrs.frozen
class Pong:
    """
    The answer to Ping.
    """

    #: Where the Ping came from, as its recipient saw it.
    recipient: Endpoint
    ping_hash: bytes
    expiration: int
    enr_seq: int | None = None


@attrs.frozen
class FindNode:
    """
    Which nodes do you know near this key?
    """

    #: 64 bytes.  Near is what is near to its Keccak-256.
    target: bytes
    expiration: int


@attrs.frozen
class Neighbor:
    """
    A node as Neighbors tells of it: nothing in it is checked.
    """

    ip: bytes
    udp: int
    tcp: int
    #: 64 bytes.
    public_key: bytes


@attrs.frozen
class Neighbors:
    """
    The answer to FindNode, or a part of it.
    """

    nodes: tuple[Neighbor, ...]
    expiration: int


@attrs.frozen
class ENRRequest:
    """
    What is your record?
    """

    expiration: int


@attrs.frozen
class ENRResponse:
    """
    The answer to ENRRequest.
    """

    request_hash: bytes
    #: Encoded, and not looked at.
    record: bytes


Message = Union[Ping, Pong, FindNode, Neighbors, ENRRequest, ENRResponse]


def _load_port(item: rlp.Item) -> int:
    if type(item) is not bytes or len(item) > 2:
        raise WireError("not a port")
    return int.from_bytes(item)  # with leading zeros too: EthereumJS writes port 0 as one zero byte


def _load_seq(item: rlp.Item) -> int | None:
    # EIP-8's own packets, older than EIP-868, have something else in this place.
    return int.from_bytes(item) if type(item) is bytes and len(item) <= 8 else None


_PORT = rlp.Shape(_load_port, rlp.UINT16.dump)
_SEQ = rlp.Shape(_load_seq, lambda seq: rlp.UINT64.dump(seq or 0))
_KEY = rlp.fixed(64)
_ENCODED = rlp.Shape(rlp.encode, rlp.decode)
_ENDPOINT = rlp.record(Endpoint, open_ended=True, ip=rlp.BYTES, udp=_PORT, tcp=_PORT)
_NEIGHBOR = rlp.record(Neighbor, open_ended=True, ip=rlp.BYTES, udp=_PORT, tcp=_PORT, public_key=_KEY)

_SHAPES: dict[int, rlp.Shape[Any]] = {
    1: rlp.record(
        Ping,
        optional=1,
        open_ended=True,
        version=rlp.UINT64,
        sender=_ENDPOINT,
        recipient=_ENDPOINT,
        expiration=rlp.UINT64,
        enr_seq=_SEQ,
    ),
    2: rlp.record(
        Pong,
        optional=1,
        open_ended=True,
        recipient=_ENDPOINT,
        ping_hash=rlp.HASH,
        expiration=rlp.UINT64,
        enr_seq=_SEQ,
    ),
    3: rlp.record(FindNode, open_ended=True, target=_KEY, expiration=rlp.UINT64),
    4: rlp.record(Neighbors, open_ended=True, nodes=rlp.list_of(_NEIGHBOR), expiration=rlp.UINT64),
    5: rlp.record(ENRRequest, open_ended=True, expiration=rlp.UINT64),
    6: rlp.record(ENRResponse, open_ended=True, request_hash=rlp.HASH, record=_ENCODED),
}
_TYPES = {Ping: 1, Pong: 2, FindNode: 3, Neighbors: 4, ENRRequest: 5, ENRResponse: 6}
#: The names of the packets, by type.
NAMES = tuple(kind.__name__ for kind in _TYPES)


def is_packet(datagram: bytes) -> bool:
    """Whether it has the size and the hash of a packet.  No curve operation is spent on it."""
    return _HEAD_SIZE < len(datagram) <= MAX_PACKET and keccak256(datagram[_HASH_SIZE:]) == datagram[:_HASH_SIZE]


def packet_hash(packet: bytes) -> bytes:
    """What answers refer to, 32 bytes."""
    return packet[:_HASH_SIZE]


def name_of(packet: bytes) -> str:
    """Which of L{NAMES} a packet of ours has."""
    return NAMES[packet[_HEAD_SIZE] - 1]


def message_of(packet: bytes) -> Message:
    """
    What it says, of a L{packet<is_packet>}.  Who says it is for L{sender_of}.

    @raise UnknownPacket: of another type.
    @raise WireError: not what its type asks for.
    """
    shape = _SHAPES.get(packet[_HEAD_SIZE])
    if shape is None:
        raise UnknownPacket(f"a packet of type {packet[_HEAD_SIZE]}")
    message: Message = shape.decode(rlp.first(packet[_HEAD_SIZE + 1 :]))
    return message


def sender_of(packet: bytes) -> PublicKey:
    """
    Who signed a L{packet<is_packet>}.

    @raise WireError: nobody can have.
    """
    return recover(packet[_HASH_SIZE:_HEAD_SIZE], keccak256(packet[_HEAD_SIZE:]))


def encode(key: PrivateKey, message: Message) -> bytes:
    """
    The signed packet.

    @raise LocalProtocolError: it would be over L{MAX_PACKET}.
    """
    kind = _TYPES[type(message)]
    return _seal(key, kind, _SHAPES[kind].encode(message))


def neighbor(ip: IPAddress, udp: int, tcp: int, public_key: PublicKey) -> bytes:
    """A node encoded as a part of Neighbors, for L{encode_neighbors}."""
    return _NEIGHBOR.encode(Neighbor(ip.packed, udp, tcp, public_key.raw))


def encode_neighbors(key: PrivateKey, nodes: Sequence[bytes], expiration: int) -> bytes:
    """
    The same as L{encode} gives for Neighbors, of nodes that are encoded already: each is told many times.

    @raise LocalProtocolError: it would be over L{MAX_PACKET}.
    """
    return _seal(key, _TYPES[Neighbors], rlp.join((rlp.join(nodes), rlp.UINT64.encode(expiration))))


def _seal(key: PrivateKey, kind: int, content: bytes) -> bytes:
    body = bytes((kind,)) + content
    signed = key.sign(keccak256(body)) + body
    if _HASH_SIZE + len(signed) > MAX_PACKET:
        raise LocalProtocolError(f"a packet of {_HASH_SIZE + len(signed)} bytes, more than {MAX_PACKET}")
    return keccak256(signed) + signed


def is_expired(expiration: int, wall: float) -> bool:
    """
    Whether the packet is of the past.  The number is signed, as everybody reads it: a time before 1970 is not one in
    the far future.

    @param expiration: 64 bits, as it stands in the packet.
    @param wall: Unix time now, seconds.
    """
    return (expiration if expiration < 1 << 63 else expiration - (1 << 64)) < wall
