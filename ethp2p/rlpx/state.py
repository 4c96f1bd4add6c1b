"""
The RLPx connection as an engine: bytes in, events and bytes out.

Source: devp2p rlpx.md; EIP-8.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Union

import attrs

from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.errors import LocalProtocolError, RemoteProtocolError
from ethp2p.rlpx import wire
from ethp2p.rlpx.frames import FrameReader, FrameWriter, MessageReceived, block_cipher, stream_cipher
from ethp2p.rlpx.handshake import Drawn, Initiator, Secrets, answer
from ethp2p.rlpx.limits import MAX_FIRST_FRAME, MAX_FRAME, PIECE


@attrs.frozen
class HandshakeDone:
    """
    The peer proved who it is; messages may be written.
    """

    remote: PublicKey


__all__ = ["Connection", "Event", "HandshakeDone", "MessageReceived"]

Event = Union[HandshakeDone, MessageReceived]


class Connection:
    """
    One side of an RLPx connection.

    After an error in what the peer sent it is deaf: it takes no more bytes and gives no more events.  It can
    still write, so that the peer may be told why.
    """

    __slots__ = (
        "_buffer",
        "_deaf",
        "_form",
        "_initiator",
        "_key",
        "_max_first_frame",
        "_out",
        "_random",
        "_reader",
        "_unmade",
        "_writer",
        "bytes_in",
        "bytes_out",
        "messages_in",
        "messages_out",
        "pending",
    )

    def __init__(
        self,
        key: PrivateKey,
        remote: PublicKey | None = None,
        *,
        random: RandomBytes,
        eip8: bool = True,
        max_first_frame: int = MAX_FIRST_FRAME,
    ) -> None:
        """
        @param key: our static key.
        @param remote: the key of the peer that we call; None when it calls us.
        @param random: what keys, nonces and padding are drawn from.
        @param eip8: the form of the handshake, when we call.
        @param max_first_frame: most bytes that the peer's first frame may have.
        """
        self._key = key
        self._random = random
        self._max_first_frame = max_first_frame
        self._buffer = b""  # until there is a reader
        self._form: tuple[bool, int] | None = None
        self._deaf = False
        self._reader: FrameReader | None = None
        self._writer: FrameWriter | None = None
        self._initiator: Initiator | None = None
        self._out: list[bytes] = []
        self._unmade: deque[Iterator[bytes]] = deque()  # frames that are made as they are sent
        #: Bytes that wait for L{data_to_send}.
        self.pending = 0
        self.bytes_in = self.bytes_out = 0
        self.messages_in = self.messages_out = 0
        if remote is not None:
            self._initiator = Initiator(key, remote, Drawn.draw(random), random=random, eip8=eip8)
            self._send(self._initiator.auth)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer.  What they mean is known when L{next_event} is asked."""
        self.bytes_in += len(data)
        if self._reader is not None:
            self._reader.data += data
        elif not self._deaf:
            self._buffer += data

    def next_event(self) -> Event | None:
        """
        @return: the next thing that happened; None when more bytes are needed.
        @raise RemoteProtocolError: the peer broke a rule; a subclass in L{ethp2p.rlpx.errors} says which.
        """
        try:
            if self._reader is None:
                return self._shake_hands()
            event = self._reader.next_message()
        except RemoteProtocolError:
            self._deaf = True
            self._buffer = b""
            self._reader = self._initiator = None
            raise
        if event is not None:
            self.messages_in += 1
            if self.messages_in == 1:
                self._reader.max_frame = MAX_FRAME
        return event

    def write_message(self, code: int, payload: bytes) -> None:
        """
        Send a message.

        @raise LocalProtocolError: the handshake is not done; C{payload} is over the limit; C{code} is no code.
        """
        if self._writer is None:
            raise LocalProtocolError("a message before the handshake is done")
        length, parts = self._writer.write(code, payload)
        if length > PIECE or self._unmade:
            self._unmade.append(parts)
        else:
            self._out += parts
        self.pending += length
        self.messages_out += 1

    def data_to_send(self, most: int = sys.maxsize) -> bytes:
        """
        What waits to be sent, once.

        @param most: about how many bytes; the rest of big messages is not even made before it is asked for.
        """
        made = 0
        while self._unmade and made < most:
            for part in self._unmade[0]:
                self._out.append(part)
                made += len(part)
                if made >= most:
                    break
            else:
                self._unmade.popleft()
        data = b"".join(self._out)
        self._out.clear()
        self.pending -= len(data)
        self.bytes_out += len(data)
        return data

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        self.pending += len(data)

    def _shake_hands(self) -> HandshakeDone | None:
        if self._deaf:
            return None
        buffer = self._buffer
        if self._form is None:
            expected = (
                (wire.PLAIN_AUTH, wire.LEAST_AUTH) if self._initiator is None else (wire.PLAIN_ACK, wire.LEAST_ACK)
            )
            self._form = wire.measure(buffer, *expected)
        if self._form is None:
            return None
        eip8, length = self._form
        if len(buffer) < length:
            return None
        packet = wire.Packet(eip8, buffer[:length])
        self._buffer = buffer[length:]
        if self._initiator is not None:
            secrets = self._initiator.read_ack(packet)
            self._initiator = None
        else:
            ack, secrets = answer(self._key, packet, self._draw, random=self._random)
            self._send(ack)
        return self._open(secrets)

    def _draw(self) -> Drawn:
        return Drawn.draw(self._random)

    def _open(self, secrets: Secrets) -> HandshakeDone:
        stream, block = stream_cipher(secrets.aes), block_cipher(secrets.mac)
        self._writer = FrameWriter(stream, block, secrets.egress)
        self._reader = FrameReader(stream, block, secrets.ingress, self._buffer)
        self._buffer = b""
        self._reader.max_frame = self._max_first_frame
        return HandshakeDone(secrets.remote)
