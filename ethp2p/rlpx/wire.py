"""
The two handshake messages, auth and ack, as values and as packets.

A packet is C{size || ECIES(RLP list || padding)} since EIP-8 and was C{ECIES(fields)} of a fixed size before.

Source: devp2p rlpx.md, "Initial Handshake"; EIP-8.
"""

from __future__ import annotations

from typing import Union

import attrs

from ethp2p.codec import rlp
from ethp2p.crypto import ecies
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.errors import WireError
from ethp2p.rlpx.errors import BadHandshake, HandshakeTooLarge
from ethp2p.rlpx.limits import MAX_HANDSHAKE_PACKET

#: The handshake's version since EIP-8.
VERSION = 4


@attrs.frozen
class Auth:
    """
    What the initiator says first.

    The signature is by its ephemeral key, over the static shared secret XOR the nonce: it proves both keys.
    """

    #: r, s, recovery id: 65 bytes.
    signature: bytes
    #: The initiator's static key, 64 bytes.
    public_key: bytes
    #: 32 bytes.
    nonce: bytes
    version: int = VERSION


@attrs.frozen
class Ack:
    """
    What the recipient answers.
    """

    #: The recipient's ephemeral key, 64 bytes.
    ephemeral: bytes
    #: 32 bytes.
    nonce: bytes
    version: int = VERSION


AUTH = rlp.record(
    Auth,
    open_ended=True,
    signature=rlp.fixed(65),
    public_key=rlp.fixed(64),
    nonce=rlp.HASH,
    version=rlp.UINT64,
)
ACK = rlp.record(Ack, open_ended=True, ephemeral=rlp.fixed(64), nonce=rlp.HASH, version=rlp.UINT64)

#: Sizes of the packets before EIP-8: the fields, and one byte that told of a token from an earlier session.
PLAIN_AUTH = ecies.OVERHEAD + 65 + 32 + 64 + 32 + 1
PLAIN_ACK = ecies.OVERHEAD + 64 + 32 + 1
#: The shortest ciphertexts that can hold the EIP-8 lists.
LEAST_AUTH = ecies.OVERHEAD + len(AUTH.encode(Auth(bytes(65), bytes(64), bytes(32))))
LEAST_ACK = ecies.OVERHEAD + len(ACK.encode(Ack(bytes(64), bytes(32))))


@attrs.frozen
class Packet:
    """
    One handshake packet, whole, as it came.
    """

    #: Whether it has the EIP-8 form, or the plain one before.
    eip8: bool
    data: bytes


def measure(start: Union[bytes, bytearray], plain: int, least: int) -> tuple[bool, int] | None:
    """
    Tell from its beginning which form a handshake packet has, without a curve operation.

    The plain form begins with a point, 0x04 and 64 bytes; so may an EIP-8 size of 1024 to 1279, but then what
    follows is on the curve by one chance in 2**256 only.

    @param plain: the length of the packet in the form before EIP-8.
    @param least: the shortest EIP-8 ciphertext.
    @return: whether it has the EIP-8 form, and its whole length; None when more bytes are needed to tell.
    @raise BadHandshake: neither form begins like this.
    @raise HandshakeTooLarge: it says that it is longer than L{MAX_HANDSHAKE_PACKET}.
    """
    if len(start) < 3:
        return None
    if start[0] == 0x04:
        if len(start) < 65:
            return None
        try:
            PublicKey.parse(bytes(start[:65]))
        except WireError:
            pass  # then 0x04 is the first byte of a size
        else:
            return False, plain
    size = int.from_bytes(start[:2])
    if size > MAX_HANDSHAKE_PACKET:
        raise HandshakeTooLarge(f"a handshake packet of {size} bytes announced")
    if size < least or start[2] != 0x04:
        raise BadHandshake("not a handshake packet")
    return True, 2 + size


def _seal(recipient: PublicKey, body: bytes, padding: bytes, random: RandomBytes) -> bytes:
    size = (ecies.OVERHEAD + len(body) + len(padding)).to_bytes(2)
    return size + ecies.encrypt(recipient, body + padding, size, random=random)


def _open(key: PrivateKey, packet: Packet) -> bytes:
    """The RLP list without its padding, or the plain fields."""
    data = packet.data
    return rlp.first(ecies.decrypt(key, data[2:], data[:2])) if packet.eip8 else ecies.decrypt(key, data)


def encode_auth(auth: Auth, recipient: PublicKey, *, padding: bytes, random: RandomBytes) -> bytes:
    """An auth packet in the EIP-8 form."""
    return _seal(recipient, AUTH.encode(auth), padding, random)


def encode_plain_auth(auth: Auth, ephemeral: PublicKey, recipient: PublicKey, *, random: RandomBytes) -> bytes:
    """An auth packet in the form before EIP-8, which also has the hash of the ephemeral key."""
    fields = auth.signature + keccak256(ephemeral.raw) + auth.public_key + auth.nonce + b"\x00"
    return ecies.encrypt(recipient, fields, random=random)


def decode_auth(key: PrivateKey, packet: Packet) -> Auth:
    """
    Open an auth packet.  The plain form's hash of the ephemeral key tells nothing that the signature does not.

    @raise WireError: it is not sealed for C{key}, or holds something else.
    """
    body = _open(key, packet)
    if packet.eip8:
        return AUTH.decode(body)
    return Auth(signature=body[:65], public_key=body[97:161], nonce=body[161:193])


def encode_ack(ack: Ack, initiator: PublicKey, *, padding: bytes, random: RandomBytes) -> bytes:
    """An ack packet in the EIP-8 form."""
    return _seal(initiator, ACK.encode(ack), padding, random)


def encode_plain_ack(ack: Ack, initiator: PublicKey, *, random: RandomBytes) -> bytes:
    """An ack packet in the form before EIP-8."""
    return ecies.encrypt(initiator, ack.ephemeral + ack.nonce + b"\x00", random=random)


def decode_ack(key: PrivateKey, packet: Packet) -> Ack:
    """
    Open an ack packet.

    @raise WireError: it is not sealed for C{key}, or holds something else.
    """
    body = _open(key, packet)
    if packet.eip8:
        return ACK.decode(body)
    return Ack(ephemeral=body[:64], nonce=body[64:96])
