"""
Packets and messages as bytes and as values.

A packet is C{masking-iv || masked header || sealed message}.  Its header unmasked, with the IV before it, is its
I{head}: what the seal covers and, of a WHOAREYOU, what the handshake signs (the challenge-data).

Source: devp2p discv5/discv5-wire.md, "Packet Encoding" and "Protocol Messages".
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, ClassVar, Union

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from ethp2p.codec import rlp
from ethp2p.discv5.limits import MAX_MESSAGE, MAX_NODES, MAX_PACKET, MIN_PACKET
from ethp2p.enr.record import MAX_SIZE as MAX_RECORD
from ethp2p.errors import LocalProtocolError, OversizeError, WireError

PROTOCOL_ID = b"discv5"
VERSION = 1
ORDINARY, WHOAREYOU, HANDSHAKE = range(3)

IV_SIZE = 16
TAG_SIZE = 16
ID_NONCE_SIZE = 16
NONCE_SIZE = 12
#: Of the "v4" identity scheme: r and s; a compressed point.
SIGNATURE_SIZE = 64
EPHEMERAL_SIZE = 33

_STATIC = Struct(">6sHB12sH")
_HEAD_SIZE = IV_SIZE + _STATIC.size
#: The authdata of an ordinary packet: its source.
_SOURCE_SIZE = 32
_ORDINARY_START = PROTOCOL_ID + bytes((0, VERSION, ORDINARY))
_ORDINARY_SIZE = bytes((0, _SOURCE_SIZE))
_WHOAREYOU = Struct(">16sQ")
_HANDSHAKE = Struct(">32sBB")


class NotDiscv5(WireError):
    """The datagram is not a discovery v5 packet for this node."""


class UnknownMessage(WireError):
    """The message is of a type that is not spoken here."""


class Mask:
    """
    What hides the headers of packets to one node: AES-CTR under a key that everybody knows who knows the node.
    One context is kept, since making one costs ten times as much as using it.
    """

    __slots__ = ("_reset", "_update")

    def __init__(self, node_id: bytes) -> None:
        context = Cipher(AES(node_id[:16]), CTR(bytes(16))).encryptor()
        self._reset = context.reset_nonce
        self._update = context.update

    def start(self, iv: bytes) -> Callable[[bytes], bytes]:
        """@return: masks and unmasks, piece after piece, what follows C{iv}."""
        self._reset(iv)
        return self._update


@attrs.define
class Ordinary:
    """
    A packet with a message under the keys of a session, or with random bytes that ask for a handshake.
    """

    nonce: bytes
    #: Node id of who sent it, as it says.
    source: bytes
    head: bytes
    sealed: bytes


@attrs.define
class WhoAreYou:
    """
    A challenge: the packet with C{nonce} could not be read, prove yourself.
    """

    nonce: bytes
    id_nonce: bytes
    #: The seq of the newest record known of the other, 0 for none.
    enr_seq: int
    head: bytes


@attrs.define
class Handshake:
    """
    A packet with a message and the answer to a challenge.
    """

    nonce: bytes
    source: bytes
    signature: bytes
    #: A point, compressed; not checked.
    ephemeral: bytes
    #: The sender's record, not checked; empty for none.
    record: bytes
    head: bytes
    sealed: bytes


Packet = Union[Ordinary, WhoAreYou, Handshake]


def ordinary_head(iv: bytes, nonce: bytes, source: bytes) -> bytes:
    """The head of an L{Ordinary} packet."""
    return iv + _ORDINARY_START + nonce + _ORDINARY_SIZE + source


def whoareyou_head(iv: bytes, nonce: bytes, id_nonce: bytes, enr_seq: int) -> bytes:
    """The head of a L{WhoAreYou} packet: its challenge-data."""
    return iv + _STATIC.pack(PROTOCOL_ID, VERSION, WHOAREYOU, nonce, 24) + _WHOAREYOU.pack(id_nonce, enr_seq)


def handshake_head(
    iv: bytes, nonce: bytes, source: bytes, signature: bytes, ephemeral: bytes, record: bytes = b""
) -> bytes:
    """The head of a L{Handshake} packet."""
    authdata = _HANDSHAKE.pack(source, len(signature), len(ephemeral)) + signature + ephemeral + record
    return iv + _STATIC.pack(PROTOCOL_ID, VERSION, HANDSHAKE, nonce, len(authdata)) + authdata


def encode_packet(mask: Mask, head: bytes, sealed: bytes = b"") -> bytes:
    """A packet ready to be sent; C{mask} is its recipient's."""
    iv = head[:IV_SIZE]
    return iv + mask.start(iv)(head[IV_SIZE:]) + sealed


def decode_packet(data: bytes, mask: Mask) -> Packet:
    """
    @param mask: our own.
    @raise NotDiscv5: too short or too long, masked for another, or another protocol.
    @raise WireError: anything else wrong.
    """
    size = len(data)
    if not MIN_PACKET <= size <= MAX_PACKET:
        raise NotDiscv5(f"a packet of {size} bytes")
    iv = data[:IV_SIZE]
    unmask = mask.start(iv)
    header = unmask(data[IV_SIZE : _HEAD_SIZE + _SOURCE_SIZE])  # all of it in one step, in the packets that are most
    protocol_id, version, flag, nonce, auth_size = _STATIC.unpack_from(header)
    if protocol_id != PROTOCOL_ID:
        raise NotDiscv5("not masked for us, or another protocol")
    if version != VERSION:
        raise WireError(f"a packet of version {version}")
    end = _HEAD_SIZE + auth_size
    if end > size:
        raise WireError("a header that runs past its packet")
    if auth_size > _SOURCE_SIZE:
        header += unmask(data[_HEAD_SIZE + _SOURCE_SIZE : end])
    elif auth_size < _SOURCE_SIZE:
        header = header[: _STATIC.size + auth_size]
    authdata = header[_STATIC.size :]
    head = iv + header
    sealed = data[end:]
    if flag == WHOAREYOU:
        if auth_size != _WHOAREYOU.size or sealed:
            raise WireError("a WHOAREYOU of another size")
        id_nonce, enr_seq = _WHOAREYOU.unpack(authdata)
        return WhoAreYou(nonce, id_nonce, enr_seq, head)
    if len(sealed) < TAG_SIZE:
        raise WireError("a packet without a message")
    if flag == ORDINARY:
        if auth_size != _SOURCE_SIZE:
            raise WireError("an ordinary packet without its source alone in the header")
        return Ordinary(nonce, authdata, head, sealed)
    if flag == HANDSHAKE:
        return _decode_handshake(nonce, authdata, head, sealed)
    raise WireError(f"a packet with flag {flag}")


def _decode_handshake(nonce: bytes, authdata: bytes, head: bytes, sealed: bytes) -> Handshake:
    if len(authdata) < _HANDSHAKE.size + SIGNATURE_SIZE + EPHEMERAL_SIZE:
        raise WireError("a handshake cut short")
    source, signature_size, ephemeral_size = _HANDSHAKE.unpack_from(authdata)
    if (signature_size, ephemeral_size) != (SIGNATURE_SIZE, EPHEMERAL_SIZE):
        raise WireError("a handshake of an identity scheme that is not known here")
    middle = _HANDSHAKE.size + SIGNATURE_SIZE
    end = middle + EPHEMERAL_SIZE
    if len(authdata) - end > MAX_RECORD:
        raise OversizeError(f"a record of {len(authdata) - end} bytes in a handshake")
    return Handshake(
        nonce, source, authdata[_HANDSHAKE.size : middle], authdata[middle:end], authdata[end:], head, sealed
    )


# messages


@attrs.frozen
class Ping:
    """
    Are you there?
    """

    code: ClassVar[int] = 0x01
    #: Up to 8 bytes, the asker's choice.
    request_id: bytes
    #: The seq of the sender's record.
    enr_seq: int


@attrs.frozen
class Pong:
    """
    The answer to L{Ping}, with where it came from.
    """

    code: ClassVar[int] = 0x02
    request_id: bytes
    enr_seq: int
    #: 4 or 16 bytes.
    recipient_ip: bytes
    recipient_port: int


@attrs.frozen
class FindNode:
    """
    Whom do you know at these logarithmic distances from you?  0 is yourself.
    """

    code: ClassVar[int] = 0x03
    request_id: bytes
    distances: tuple[int, ...]


@attrs.frozen
class Nodes:
    """
    The answer to L{FindNode}, or a part of it.
    """

    code: ClassVar[int] = 0x04
    request_id: bytes
    #: How many packets the answer has.
    total: int
    #: Encoded, and not checked.
    records: tuple[bytes, ...]


@attrs.frozen
class TalkRequest:
    """
    A message of another protocol.
    """

    code: ClassVar[int] = 0x05
    request_id: bytes
    protocol: bytes
    message: bytes


@attrs.frozen
class TalkResponse:
    """
    The answer to L{TalkRequest}; empty when the protocol is not spoken.
    """

    code: ClassVar[int] = 0x06
    request_id: bytes
    message: bytes


Message = Union[Ping, Pong, FindNode, Nodes, TalkRequest, TalkResponse]


def _load_ip(item: rlp.Item) -> bytes:
    if type(item) is not bytes or len(item) not in (4, 16):
        raise WireError("not an IP address of 4 or 16 bytes")
    return item


_REQUEST_ID = rlp.at_most(8)
_SHAPES: dict[type[Any], rlp.Shape[Any]] = {
    Ping: rlp.record(Ping, request_id=_REQUEST_ID, enr_seq=rlp.UINT64),
    Pong: rlp.record(
        Pong,
        request_id=_REQUEST_ID,
        enr_seq=rlp.UINT64,
        recipient_ip=rlp.Shape(_load_ip, bytes),
        recipient_port=rlp.UINT16,
    ),
    FindNode: rlp.record(FindNode, request_id=_REQUEST_ID, distances=rlp.list_of(rlp.UINT64)),
    TalkRequest: rlp.record(TalkRequest, request_id=_REQUEST_ID, protocol=rlp.BYTES, message=rlp.BYTES),
    TalkResponse: rlp.record(TalkResponse, request_id=_REQUEST_ID, message=rlp.BYTES),
}


def _decode_nodes(data: bytes) -> Nodes:
    fields = rlp.split(data)
    if len(fields) != 3:
        raise WireError(f"Nodes has {len(fields)} fields, not 3")
    records = rlp.split(fields[2], max_items=MAX_NODES)
    return Nodes(_REQUEST_ID.decode(fields[0]), rlp.UINT8.decode(fields[1]), tuple(records))


def _encode_nodes(nodes: Nodes) -> bytes:
    start = [rlp.encode(nodes.request_id), rlp.UINT8.encode(nodes.total)]
    return rlp.join([*start, rlp.join(nodes.records)])


_DECODERS: dict[int, Callable[[bytes], Message]] = {cls.code: shape.decode for cls, shape in _SHAPES.items()}
_DECODERS[Nodes.code] = _decode_nodes
_ENCODERS: dict[type[Any], Callable[[Any], bytes]] = {cls: shape.encode for cls, shape in _SHAPES.items()}
_ENCODERS[Nodes] = _encode_nodes
_CODES = {cls: bytes((cls.code,)) for cls in _ENCODERS}


def encode_message(message: Message) -> bytes:
    """
    Type and data, before sealing.

    @raise LocalProtocolError: larger than a packet can carry.
    """
    cls = type(message)
    plain = _CODES[cls] + _ENCODERS[cls](message)
    if len(plain) > MAX_MESSAGE:
        raise LocalProtocolError(f"a message of {len(plain)} bytes, more than {MAX_MESSAGE}")
    return plain


def decode_message(plain: bytes) -> Message:
    """
    @param plain: a message whose seal was good.
    @raise UnknownMessage: of another type.
    @raise WireError: it is malformed, or its request id has more than 8 bytes.
    """
    if not plain:
        raise WireError("an empty message")
    decode = _DECODERS.get(plain[0])
    if decode is None:
        raise UnknownMessage(f"a message of type {plain[0]}")
    return decode(plain[1:])


def is_ping(plain: bytes) -> bool:
    """Whether a message is a L{Ping}, for L{answer_ping}."""
    return plain[:1] == _CODES[Ping]


def pong_end(enr_seq: int, recipient_ip: bytes, recipient_port: int) -> bytes:
    """What all L{Pong}s to one asker end with, encoded; for L{answer_ping}."""
    values = rlp.UINT64.dump(enr_seq), recipient_ip, rlp.UINT16.dump(recipient_port)
    return b"".join(map(rlp.encode, values))


def answer_ping(plain: bytes, end: bytes) -> bytes:
    """
    The L{Pong} to a L{Ping}, the same bytes that L{decode_message} and L{encode_message} give, in 1.6 us instead of
    3.9: these two are most of all messages.

    @param end: from L{pong_end}.
    @raise WireError: the Ping is malformed.
    """
    items = rlp.decode(plain[1:])
    if type(items) is not list or len(items) != 2:
        raise WireError("Ping is not a list of 2 fields")
    request_id = _REQUEST_ID.load(items[0])
    rlp.UINT64.load(items[1])
    return _CODES[Pong] + rlp.join((rlp.encode(request_id), end))
