"""
The record itself: decoded whole or not at all, and encoded again to the very same bytes.

Source: EIP-778 (devp2p enr.md, "RLP Encoding", "Text Encoding", '"v4" Identity Scheme').
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeVar

import attrs

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enr.entries import ID, SECP256K1, Entry
from ethp2p.errors import LocalProtocolError, Offence, OversizeError, WireError

V = TypeVar("V")

#: Most bytes of an encoded record (EIP-778): records travel in packets and in DNS.
MAX_SIZE = 300
#: What the text form starts with.
PREFIX = "enr:"
#: Most characters of the text form.
MAX_TEXT = len(PREFIX) + (MAX_SIZE * 4 + 2) // 3
#: The one identity scheme there is.
V4 = "v4"

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class BadSignature(WireError):
    """The node record is not signed by the key it names."""

    offence = Offence.BAD_DATA


def _text(encoded: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


@attrs.frozen(repr=False)
class Record:
    """
    A signed node record.  L{decode}, L{parse} and L{sign} make them; all three give only records that hold:
    canonical, within L{MAX_SIZE}, keys sorted and unique, and of the "v4" scheme only with a good signature.
    Equal when their bytes are.
    """

    _encoded: bytes
    #: Raised by the node with every change.
    seq: int = attrs.field(eq=False)
    #: Each key with the raw RLP of its value, sorted by key.
    pairs: tuple[tuple[bytes, bytes], ...] = attrs.field(eq=False)
    signature: bytes = attrs.field(eq=False)
    #: Name of the identity scheme.
    scheme: str = attrs.field(eq=False)
    #: The node's key; None when the scheme is not known, and nothing in the record is proven then.
    public_key: PublicKey | None = attrs.field(eq=False)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """
        @raise OversizeError: over L{MAX_SIZE} bytes; nothing was looked at.
        @raise BadSignature: of the "v4" scheme and not signed by its key.
        @raise WireError: anything else wrong.
        """
        if len(data) > MAX_SIZE:
            raise OversizeError(f"a node record of {len(data)} bytes, more than {MAX_SIZE}")
        data = bytes(data)
        items = rlp.decode(data)  # all of it, so that nothing in a record is other than canonical
        if type(items) is not list or len(items) < 2 or len(items) % 2:
            raise WireError("a node record is a list of signature, seq and pairs of key and value")
        spans = rlp.split(data)
        signature = _load("signature", rlp.BYTES, items[0])
        seq = _load("seq", rlp.UINT64, items[1])
        keys = [_load("key", rlp.BYTES, item) for item in items[2::2]]
        if any(key >= after for key, after in pairwise(keys)):
            raise WireError("the keys of a node record are not sorted and unique")
        values = dict(zip(keys, items[3::2]))
        if ID.key not in values:
            raise WireError("a node record without an identity scheme")
        scheme = _load("id", ID.shape, values[ID.key])
        public_key = None
        if scheme == V4:
            if SECP256K1.key not in values:
                raise WireError("a node record without its key")
            public_key = _load("secp256k1", SECP256K1.shape, values[SECP256K1.key])
            if not public_key.verify(signature, keccak256(rlp.join(spans[1:]))):
                raise BadSignature
        return cls(data, seq, tuple(zip(keys, spans[3::2])), signature, scheme, public_key)

    @classmethod
    def parse(cls, text: str) -> Record:
        """
        Read the text form: C{enr:} and unpadded base64url, not one character more or other.

        @raise WireError: as L{decode}, or not this form.
        """
        if not text.startswith(PREFIX):
            raise WireError("the text of a node record starts with 'enr:'")
        if len(text) > MAX_TEXT:
            raise OversizeError(f"the text of a node record of {len(text)} characters, more than {MAX_TEXT}")
        digits = text[len(PREFIX) :]
        if not _BASE64URL.fullmatch(digits):
            raise WireError("the text of a node record is not unpadded base64url")
        try:
            data = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
        except binascii.Error:
            raise WireError("the text of a node record is cut short") from None
        if _text(data) != text:  # else one record would have several texts
            raise WireError("the text of a node record has stray bits at its end")
        return cls.decode(data)

    @classmethod
    def sign(cls, key: PrivateKey, seq: int, entries: Mapping[Entry[Any], Any]) -> Record:
        """
        Make a record of the "v4" scheme.

        @param seq: 0 to 2**64-1.
        @param entries: all but C{id} and C{secp256k1}, which the scheme writes.
        @raise LocalProtocolError: over L{MAX_SIZE} bytes, or a number or value that its entry cannot hold.
        """
        pairs = {ID.key: ID.shape.encode(V4), SECP256K1.key: SECP256K1.shape.encode(key.public_key)}
        for entry, value in entries.items():
            if entry in (ID, SECP256K1):
                raise LocalProtocolError(f"the identity scheme writes {entry.key.decode()!r}")
            pairs[entry.key] = _checked(entry, value)
        spans = [_checked(_SEQ, seq)]
        for name in sorted(pairs):
            spans += rlp.encode(name), pairs[name]
        signature = key.sign(keccak256(rlp.join(spans)))[:64]
        encoded = rlp.join([rlp.encode(signature), *spans])
        if len(encoded) > MAX_SIZE:
            raise LocalProtocolError(f"a node record of {len(encoded)} bytes, more than {MAX_SIZE}")
        return cls.decode(encoded)

    def encode(self) -> bytes:
        """The bytes it was decoded from."""
        return self._encoded

    @property
    def text(self) -> str:
        """The text form, C{enr:...}."""
        return _text(self._encoded)

    @property
    def node_id(self) -> bytes | None:
        """The node's place in the DHT, 32 bytes; None when the scheme is not known."""
        return None if self.public_key is None else self.public_key.node_id

    def get(self, entry: Entry[V]) -> V | None:
        """
        The value of an entry, or None when it is not there.

        @raise WireError: it is there and malformed.
        """
        for key, raw in self.pairs:
            if key == entry.key:
                return _load(key.decode("ascii", "backslashreplace"), entry.shape, rlp.decode(raw))
        return None

    def __repr__(self) -> str:
        who = self.scheme if self.public_key is None else self.public_key.node_id.hex()[:16]
        return f"<Record {who} seq {self.seq}>"


_SEQ = Entry(b"seq", rlp.UINT64)


def _load(name: str, shape: rlp.Shape[V], item: rlp.Item) -> V:
    try:
        return shape.load(item)
    except WireError as error:
        raise type(error)(f"{name!r} of a node record: {error}") from None


def _checked(entry: Entry[V], value: V) -> bytes:
    """
    Encode, and read back: a value out of range must not leave in a record that others refuse.
    """
    try:
        raw = entry.shape.encode(value)
        entry.shape.decode(raw)
    except (WireError, OverflowError) as error:
        raise LocalProtocolError(f"{value!r} cannot be {entry.key!r} of a node record: {error}") from None
    return raw
