"""
RLPx frames built by hand: honest ones, and ones that no honest peer sends.

Plain steps after devp2p rlpx.md, "Framing" and "MAC", on pycryptodome alone.  It shares no code with
L{ethp2p.rlpx}, so that each can find the other's mistakes.
"""

from __future__ import annotations

from typing import Any

import attrs
from Crypto.Cipher import AES
from Crypto.Hash import keccak

#: C{[capability-id, context-id]}, both zero: what follows the size in a header.
HEADER_DATA = bytes.fromhex("c28080")


def running_mac(seed: bytes) -> Any:
    """A Keccak-256 state that has absorbed C{seed}: where a side's MAC begins."""
    return keccak.new(digest_bits=256, data=seed, update_after_digest=True)


@attrs.frozen
class FrameSecrets:
    """
    What both sides know after a handshake, 32 bytes each, and where their MACs begin.
    """

    aes: bytes
    mac: bytes
    initiator_seed: bytes
    recipient_seed: bytes


def derive_secrets(
    ephemeral_key: bytes, initiator_nonce: bytes, recipient_nonce: bytes, auth: bytes, ack: bytes
) -> FrameSecrets:
    """
    From the handshake to the secrets (rlpx.md, "Initial Handshake").

    @param ephemeral_key: what the two ephemeral keys agree on, 32 bytes.
    @param auth: the initiator's packet as it was sent.
    @param ack: the recipient's packet.
    """
    shared = _keccak(ephemeral_key + _keccak(recipient_nonce + initiator_nonce))
    aes = _keccak(ephemeral_key + shared)
    mac = _keccak(ephemeral_key + aes)
    return FrameSecrets(aes, mac, _xor(mac, recipient_nonce) + auth, _xor(mac, initiator_nonce) + ack)


class FrameBuilder:
    """
    What one side sends, frame by frame.

    After a broken frame the state is as after the honest one, so that the next frame is right again.
    """

    def __init__(self, aes_secret: bytes, mac_secret: bytes, egress_mac: Any) -> None:
        """@param egress_mac: the running MAC of what this side sends, as L{running_mac} gives it."""
        self._cipher = AES.new(aes_secret, AES.MODE_CTR, nonce=b"", initial_value=bytes(16))
        self._mac_cipher = AES.new(mac_secret, AES.MODE_ECB)
        self._mac = egress_mac

    def frame(self, code: int, payload: bytes) -> bytes:
        """An honest frame; C{payload} goes as it is, compressed or not."""
        return self.build(encode_code(code) + payload)

    def build(
        self,
        body: bytes,
        *,
        size: int | None = None,
        header_data: bytes = HEADER_DATA,
        padding: bytes | None = None,
        break_header_mac: bool = False,
        break_body_mac: bool = False,
    ) -> bytes:
        """
        A frame around any body.

        @param size: what the header says; the body's true size by default.
        @param header_data: what follows the size, up to 13 bytes.
        @param padding: what fills the last block; zeros by default.
        """
        header = self.header(len(body) if size is None else size, header_data=header_data, break_mac=break_header_mac)
        if padding is None:
            padding = bytes(-len(body) % 16)
        return header + self.body(body + padding, break_mac=break_body_mac)

    def header(self, size: int, *, header_data: bytes = HEADER_DATA, break_mac: bool = False) -> bytes:
        """The 32 bytes that announce a body of C{size} bytes, which need not follow."""
        plain = size.to_bytes(3, "big") + header_data
        ciphertext = self._cipher.encrypt(plain.ljust(16, b"\0"))
        seed = _xor(self._mac_cipher.encrypt(self._mac.digest()[:16]), ciphertext)
        self._mac.update(seed)
        return ciphertext + _tag(self._mac.digest()[:16], break_mac)

    def body(self, padded: bytes, *, break_mac: bool = False) -> bytes:
        """Encrypt C{padded} as it is, and add its MAC."""
        ciphertext: bytes = self._cipher.encrypt(padded)
        self._mac.update(ciphertext)
        digest = self._mac.digest()[:16]
        self._mac.update(_xor(self._mac_cipher.encrypt(digest), digest))
        return ciphertext + _tag(self._mac.digest()[:16], break_mac)


class FrameOpener:
    """
    Reads what one side sent, and believes nothing.
    """

    def __init__(self, aes_secret: bytes, mac_secret: bytes, ingress_mac: Any) -> None:
        """@param ingress_mac: the running MAC of what that side sends."""
        self._cipher = AES.new(aes_secret, AES.MODE_CTR, nonce=b"", initial_value=bytes(16))
        self._mac_cipher = AES.new(mac_secret, AES.MODE_ECB)
        self._mac = ingress_mac

    def open(self, data: bytes) -> list[bytes]:
        """
        The bodies of whole frames: each begins with a message code.

        @raise ValueError: a MAC is wrong, or the last frame is cut short.
        """
        bodies = []
        while data:
            header, tag, data = data[:16], data[16:32], data[32:]
            self._mac.update(_xor(self._mac_cipher.encrypt(self._mac.digest()[:16]), header))
            if tag != self._mac.digest()[:16]:
                raise ValueError("wrong header MAC")
            size = int.from_bytes(self._cipher.decrypt(header)[:3], "big")
            padded = size + -size % 16
            ciphertext, tag, data = data[:padded], data[padded : padded + 16], data[padded + 16 :]
            self._mac.update(ciphertext)
            digest = self._mac.digest()[:16]
            self._mac.update(_xor(self._mac_cipher.encrypt(digest), digest))
            if tag != self._mac.digest()[:16]:
                raise ValueError("wrong body MAC, or cut short")
            bodies.append(self._cipher.decrypt(ciphertext)[:size])
        return bodies


def encode_code(code: int) -> bytes:
    """A message code as RLP."""
    if code == 0:
        return b"\x80"
    if code < 0x80:
        return bytes([code])
    number = code.to_bytes((code.bit_length() + 7) // 8, "big")
    return bytes([0x80 + len(number)]) + number


def snappy_lie(length: int, rest: bytes = b"\0x") -> bytes:
    """A block that declares C{length} bytes, and then is what C{rest} is: a literal of one byte by default."""
    head = bytearray()
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + rest


def snappy_bomb(length: int) -> bytes:
    """
    An honest block of C{length} zeros, in about a twentieth of the bytes: one literal, then copies of what is
    just behind, 64 bytes each.
    """
    copies, rest = divmod(length - 1, 64)
    last = bytes([(rest - 1) << 2 | 2, 1, 0]) if rest else b""
    return snappy_lie(length, b"\0\0" + bytes([63 << 2 | 2, 1, 0]) * copies + last)


def _keccak(data: bytes) -> bytes:
    digest: bytes = keccak.new(digest_bits=256, data=data).digest()
    return digest


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes([a ^ b for a, b in zip(one, other)])


def _tag(tag: bytes, broken: bool) -> bytes:
    return _xor(tag, b"\1" + bytes(15)) if broken else tag
