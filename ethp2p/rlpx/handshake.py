"""
The two sides of the handshake, and the secrets that come out of it.

Pure: what a side draws at random is a value, L{Drawn}, so that a published vector runs as a connection does.

Source: devp2p rlpx.md, "Initial Handshake" and "MAC".
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ethp2p.crypto.keccak import RunningHash, keccak256, running_keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.errors import WireError
from ethp2p.rlpx import wire
from ethp2p.rlpx.errors import BadHandshake


@attrs.frozen
class Drawn:
    """
    What one side draws for one handshake.
    """

    ephemeral: PrivateKey
    #: 32 bytes.
    nonce: bytes = attrs.field(repr=False)
    #: Varies the size of the packet.
    padding: bytes = attrs.field(repr=False)

    @classmethod
    def draw(cls, random: RandomBytes) -> Drawn:
        """Fresh ones, with 100 to 300 bytes of padding as EIP-8 recommends; nobody sees that they are zeros."""
        return cls(PrivateKey.generate(random), random(32), bytes(100 + int.from_bytes(random(2)) % 201))


@attrs.frozen(repr=False, eq=False)
class Secrets:
    """
    What both sides know after the handshake, seen from one of them.
    """

    #: The other side's static key, proven.
    remote: PublicKey
    #: 32 bytes each.
    aes: bytes
    mac: bytes
    egress: RunningHash
    ingress: RunningHash


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(32)


def _agree(
    ephemeral_key: bytes, initiator_nonce: bytes, recipient_nonce: bytes, auth: bytes, ack: bytes
) -> tuple[bytes, bytes, RunningHash, RunningHash]:
    """The secrets for AES and MAC, then the MAC states of what the initiator sends and what the recipient sends."""
    shared = keccak256(ephemeral_key + keccak256(recipient_nonce + initiator_nonce))
    aes = keccak256(ephemeral_key + shared)
    mac = keccak256(ephemeral_key + aes)
    return (
        aes,
        mac,
        running_keccak256(_xor(mac, recipient_nonce) + auth),
        running_keccak256(_xor(mac, initiator_nonce) + ack),
    )


class Initiator:
    """
    The side that calls: sends C{auth}, then reads ack.
    """

    __slots__ = ("_drawn", "_key", "_remote", "auth")

    def __init__(
        self, key: PrivateKey, remote: PublicKey, drawn: Drawn, *, random: RandomBytes, eip8: bool = True
    ) -> None:
        """
        @param key: our static key.
        @param remote: the static key of the peer, who alone can read auth.
        @param random: for the encryption.
        @param eip8: whether to send the EIP-8 form or the plain one before it.
        """
        self._key = key
        self._remote = remote
        self._drawn = drawn
        auth = wire.Auth(
            signature=drawn.ephemeral.sign(_xor(key.ecdh(remote), drawn.nonce)),
            public_key=key.public_key.raw,
            nonce=drawn.nonce,
        )
        #: The auth packet, to be sent.
        self.auth = (
            wire.encode_auth(auth, remote, padding=drawn.padding, random=random)
            if eip8
            else wire.encode_plain_auth(auth, drawn.ephemeral.public_key, remote, random=random)
        )

    def read_ack(self, packet: wire.Packet) -> Secrets:
        """
        @param packet: the peer's answer.
        @raise BadHandshake: it is not for us or not well made; only the holder of the peer's key can make one.
        """
        try:
            ack = wire.decode_ack(self._key, packet)
            ephemeral = PublicKey.parse(ack.ephemeral)
        except WireError as error:
            raise BadHandshake(f"bad ack: {error}") from None
        drawn = self._drawn
        aes, mac, egress, ingress = _agree(
            drawn.ephemeral.ecdh(ephemeral), drawn.nonce, ack.nonce, self.auth, packet.data
        )
        return Secrets(self._remote, aes, mac, egress, ingress)


def answer(
    key: PrivateKey, packet: wire.Packet, draw: Callable[[], Drawn], *, random: RandomBytes
) -> tuple[bytes, Secrets]:
    """
    The side that is called: read auth, make ack in the form that the peer used.

    @param key: our static key.
    @param packet: the auth packet.
    @param draw: called when auth could be read, so that a stranger's costs no more than looking at it.
    @param random: for the encryption.
    @return: the ack packet, to be sent, and the secrets.
    @raise BadHandshake: the packet is not for us, not well made, or its signature proves nothing.
    """
    try:
        auth = wire.decode_auth(key, packet)
        remote = PublicKey.parse(auth.public_key)
        signed = _xor(key.ecdh(remote), auth.nonce)
        drawn = draw()
        shared = drawn.ephemeral.ecdh_signer(auth.signature, signed)
    except WireError as error:
        raise BadHandshake(f"bad auth: {error}") from None
    reply = wire.Ack(ephemeral=drawn.ephemeral.public_key.raw, nonce=drawn.nonce)
    ack = (
        wire.encode_ack(reply, remote, padding=drawn.padding, random=random)
        if packet.eip8
        else wire.encode_plain_ack(reply, remote, random=random)
    )
    aes, mac, ingress, egress = _agree(shared, auth.nonce, drawn.nonce, packet.data, ack)
    return ack, Secrets(remote, aes, mac, egress, ingress)
