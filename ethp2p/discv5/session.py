"""
Sessions: what two nodes share after a handshake, and the handshake's two sides.

Source: devp2p discv5/discv5-theory.md, "Sessions".
"""

from __future__ import annotations

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ethp2p.crypto.keys import PrivateKey, RandomBytes
from ethp2p.discv5 import keys, wire
from ethp2p.discv5.limits import MAX_PACKET, MAX_SENT
from ethp2p.discv5.nodes import Verified
from ethp2p.enode import Node
from ethp2p.enode.cidr import as_ip
from ethp2p.enr import Record
from ethp2p.errors import LocalProtocolError, Offence, WireError

#: Host and port.
Addr = tuple[str, int]
#: A session, or a challenge, is with a node id at an address.
Key = tuple[bytes, Addr]


class BadProof(WireError):
    """A handshake does not prove the identity that it claims."""

    offence = Offence.BAD_HANDSHAKE


class Session:
    """
    Keys that we share with a node at one address.
    """

    __slots__ = ("_pong_end", "_read", "_seq_told", "_write", "addr", "mask", "met_at", "node", "older", "sent")

    def __init__(self, node: Node, addr: Addr, mask: wire.Mask, write_key: bytes, read_key: bytes) -> None:
        """
        @param mask: the node's.
        @param write_key: 16 bytes, what we seal with.
        @param read_key: 16 bytes, what the node seals with.
        """
        self.node = node
        self.addr = addr
        #: The session before this one.  When both sides began a handshake at once, the other may write with it.
        self.older: Session | None = None
        #: Messages sealed: the first part of the nonce, so that none comes twice.
        self.sent = 0
        self.mask = mask
        #: When the engine's owner last heard of the node.
        self.met_at = 0.0
        self._seq_told = -1
        self._pong_end = b""
        self._write = AESGCM(write_key)
        self._read = AESGCM(read_key)

    @property
    def key(self) -> Key:
        """Whom it is with."""
        return self.node.node_id, self.addr

    @property
    def spent(self) -> bool:
        """Whether no more messages may be sealed."""
        return self.sent >= MAX_SENT

    def pong_end(self, enr_seq: int) -> bytes:
        """
        What our answers to its pings end with.

        @param enr_seq: of our record.
        """
        if enr_seq != self._seq_told:
            self._seq_told = enr_seq
            self._pong_end = wire.pong_end(enr_seq, as_ip(self.addr[0]).packed, self.addr[1])
        return self._pong_end

    def next_nonce(self, drawn: bytes) -> bytes:
        """@param drawn: 8 random bytes."""
        self.sent = sent = self.sent + 1
        return sent.to_bytes(4) + drawn

    def seal(self, source: bytes, plain: bytes, drawn: bytes) -> tuple[bytes, bytes]:
        """
        An ordinary packet.

        @param drawn: 24 random bytes.
        @return: its nonce, and the packet.
        """
        nonce = self.next_nonce(drawn[16:])
        return nonce, self.finish(wire.ordinary_head(drawn[:16], nonce, source), nonce, plain)

    def finish(self, head: bytes, nonce: bytes, plain: bytes) -> bytes:
        """A packet from its head and its message."""
        return wire.encode_packet(self.mask, head, self._write.encrypt(nonce, plain, head))

    def open(self, packet: wire.Ordinary | wire.Handshake) -> bytes | None:
        """The message, or None when it was not sealed in this session nor the one before."""
        try:
            return self._read.decrypt(packet.nonce, packet.sealed, packet.head)
        except InvalidTag:
            return None if self.older is None else self.older.open(packet)


@attrs.define
class Challenge:
    """
    A WHOAREYOU that we sent.
    """

    #: Of the node that it went to.
    mask: wire.Mask
    #: The datagram, for sending it again.
    packet: bytes
    #: What the handshake must sign.
    data: bytes
    #: The node, if its record was known: then C{enr-seq} told of that.
    node: Node | None
    #: Handshakes that answered it and failed.
    tries: int = 0


def initiate(
    key: PrivateKey,
    record: Record,
    node: Node,
    addr: Addr,
    mask: wire.Mask,
    challenge: wire.WhoAreYou,
    plain: bytes,
    random: RandomBytes,
) -> tuple[Session, bytes, bytes]:
    """
    Answer a challenge.

    @param key: ours.
    @param mask: the node's.
    @param record: ours; it is sent when the challenge tells of an older one, or none.
    @param plain: the message that the handshake carries.
    @return: the session, the nonce of the packet, and the packet.
    @raise LocalProtocolError: the message does not fit beside the handshake.
    """
    source = key.public_key.node_id
    own = PrivateKey.generate(random)
    ephemeral = own.public_key.compressed()
    signature = keys.sign_id(key, challenge.head, ephemeral, node.node_id)
    ours, theirs = keys.derive_keys(keys.ecdh(own, b"\x04" + node.public_key.raw), challenge.head, source, node.node_id)
    session = Session(node, addr, mask, ours, theirs)
    drawn = random(24)
    nonce = session.next_nonce(drawn[16:])
    sent = record.encode() if challenge.enr_seq < record.seq or not challenge.enr_seq else b""
    packet = session.finish(wire.handshake_head(drawn[:16], nonce, source, signature, ephemeral, sent), nonce, plain)
    if len(packet) > MAX_PACKET:
        raise LocalProtocolError(f"the request is {len(packet) - MAX_PACKET} bytes too long to go with a handshake")
    return session, nonce, packet


def accept(
    key: PrivateKey, challenge: Challenge, packet: wire.Handshake, addr: Addr, verified: Verified
) -> tuple[Session, bytes]:
    """
    Check the answer to a challenge.

    @param key: ours.
    @return: the session, whose node has the newest record, and the message that came along.
    @raise BadProof: the identity is not proven.
    @raise WireError: the record or the ephemeral key is none.
    """
    node = _newest(challenge.node, packet, verified)
    us = key.public_key.node_id
    if not keys.verify_id(node.public_key, packet.signature, challenge.data, packet.ephemeral, us):
        raise BadProof
    secret = keys.ecdh(key, packet.ephemeral)
    theirs, ours = keys.derive_keys(secret, challenge.data, packet.source, us)
    session = Session(node, addr, challenge.mask, ours, theirs)
    plain = session.open(packet)
    if plain is None:
        raise BadProof("a handshake whose message was sealed with other keys")
    return session, plain


def _newest(known: Node | None, packet: wire.Handshake, verified: Verified) -> Node:
    if not packet.record:
        if known is None:
            raise BadProof("a handshake without the record that it needs")
        return known
    node = verified.node(packet.record)
    if node.node_id != packet.source:
        raise BadProof("the record in a handshake is another node's")
    return node if known is None or seq_of(known) < seq_of(node) else known


def seq_of(node: Node) -> int:
    """The seq of its record, 0 without one."""
    return 0 if node.record is None else node.record.seq
