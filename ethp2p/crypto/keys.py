"""
secp256k1 keys as Ethereum's peers use them, on libsecp256k1.

A public key is 64 bytes, x then y; a node's id is the Keccak-256 of them (EIP-778, "v4" scheme).

The library comes with coincurve, whose classes check and convert at every step what is known to be right here;
so its functions are called directly.  They read as many bytes as they need without asking: what comes from outside is
of the right length before it gets to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Union

import attrs
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import ConfigError, WireError

RandomBytes = Callable[[int], bytes]

_int = int.from_bytes

_CONTEXT = GLOBAL_CONTEXT.ctx
_POINT = ffi.typeof("secp256k1_pubkey *")
_SIGNATURE = ffi.typeof("secp256k1_ecdsa_signature *")
_RECOVERABLE = ffi.typeof("secp256k1_ecdsa_recoverable_signature *")
_BYTES = ffi.typeof("unsigned char[]")
_INT, _SIZE = ffi.typeof("int *"), ffi.typeof("size_t *")

#: How many points there are: secrets, and the two numbers of a signature, are below it.
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _parse(data: bytes) -> Any:
    point = ffi.new(_POINT)
    if not lib.secp256k1_ec_pubkey_parse(_CONTEXT, point, data, len(data)):
        raise WireError("not a point on secp256k1")
    return point


def _serialize(point: Any, size: int, form: int) -> bytes:
    out = ffi.new(_BYTES, size)
    lib.secp256k1_ec_pubkey_serialize(_CONTEXT, out, ffi.new(_SIZE, size), point, form)
    return bytes(ffi.buffer(out))


def _compressed(point: Any) -> bytes:
    return _serialize(point, 33, lib.SECP256K1_EC_COMPRESSED)


def _raw(point: Any) -> bytes:
    return _serialize(point, 65, lib.SECP256K1_EC_UNCOMPRESSED)[1:]


@attrs.define(eq=False, repr=False)
class PublicKey:
    """
    A point on secp256k1, checked when made.  Equal and hashed by its 64 bytes.
    """

    #: x and y, 64 bytes.
    raw: bytes
    _point: Any
    _node_id: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> PublicKey:
        """
        @param data: 64 bytes (x, y), 65 (0x04 first) or 33 (compressed).
        @raise WireError: of another length, or not on the curve.
        """
        if len(data) == 64:
            return cls(bytes(data), _parse(b"\x04" + data))
        if len(data) not in (33, 65):
            raise WireError(f"a public key of {len(data)} bytes")
        if len(data) == 65 and data[0] != 4:  # libsecp256k1 takes X9.62's hybrid forms 6 and 7 too; nobody else does
            raise WireError("a public key of 65 bytes that does not begin with 4")
        point = _parse(bytes(data))
        return cls(bytes(data[1:]) if len(data) == 65 else _raw(point), point)

    @property
    def node_id(self) -> bytes:
        """Keccak-256 of the key, 32 bytes."""
        if self._node_id is None:
            self._node_id = keccak256(self.raw)
        return self._node_id

    def compressed(self) -> bytes:
        """The 33-byte form."""
        return _compressed(self._point)

    def verify(self, signature: bytes, digest: bytes) -> bool:
        """
        @param signature: r and s, 64 bytes; a high s is refused, so that nobody but the signer can make a second
            signature of the same.
        @param digest: the 32 bytes signed.
        """
        if len(signature) != 64 or len(digest) != 32:
            return False
        parsed = ffi.new(_SIGNATURE)
        return bool(
            lib.secp256k1_ecdsa_signature_parse_compact(_CONTEXT, parsed, signature)
            and lib.secp256k1_ecdsa_verify(_CONTEXT, parsed, digest, self._point)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<PublicKey {self.raw.hex()[:16]}>"


@attrs.frozen(eq=False, repr=False)
class PrivateKey:
    """
    A secp256k1 secret.  Its repr shows the public key only.
    """

    #: The 32 secret bytes.
    secret: bytes

    @classmethod
    def parse(cls, secret: bytes) -> PrivateKey:
        """
        @param secret: 32 bytes, between 1 and the group order.
        @raise ConfigError: it is not.
        """
        if len(secret) != 32 or not lib.secp256k1_ec_seckey_verify(_CONTEXT, secret):
            raise ConfigError("a private key is 32 bytes between 1 and the order of secp256k1")
        return cls(secret)

    @classmethod
    def generate(cls, random: RandomBytes = os.urandom) -> PrivateKey:
        """A new key from C{random}."""
        while True:
            try:
                return cls.parse(random(32))
            except ConfigError:  # one draw in 2**128
                continue

    @cached_property
    def public_key(self) -> PublicKey:
        """What others know of it.  Made when first asked for: the caller in RLPx never needs its one-time key's."""
        point = ffi.new(_POINT)
        lib.secp256k1_ec_pubkey_create(_CONTEXT, point, self.secret)
        return PublicKey(_raw(point), point)

    def shared_point(self, other: PublicKey) -> bytes:
        """The point that both sides can compute, compressed to 33 bytes (discv5)."""
        point = ffi.new(_POINT, other._point[0])
        lib.secp256k1_ec_pubkey_tweak_mul(_CONTEXT, point, self.secret)
        return _compressed(point)

    def ecdh(self, other: PublicKey) -> bytes:
        """The x coordinate of the shared point, 32 bytes, unhashed (RLPx, "ecdh.agree")."""
        return self.shared_point(other)[1:]

    def ecdh_signer(self, signature: bytes, digest: bytes) -> bytes:
        """
        L{ecdh} with who signed C{digest}: the same as C{key.ecdh(recover(signature, digest))} for one multiplication
        on the curve less.  With the point R and the number s of the signature, and the digest z, the signer's key is
        (s R - z G) / r; so a signature in which s and z are multiplied by our secret is one by the shared point.

        For a key that is used once: how long the multiplication takes may tell of the secret.

        @raise WireError: no key can have signed this.
        """
        _check_signature(signature, digest)
        s = _int(signature[32:64])
        if s >= _ORDER:
            raise WireError("a signature that no key can have made")
        secret = _int(self.secret)
        signature = signature[:32] + (s * secret % _ORDER).to_bytes(32) + signature[64:]
        return _compressed(_recover(signature, (_int(digest) * secret % _ORDER).to_bytes(32)))[1:]

    def sign(self, digest: bytes) -> bytes:
        """A recoverable signature of 32 bytes: r, s and the recovery id (0 to 3), 65 bytes."""
        if len(digest) != 32:
            raise ValueError(f"a digest of {len(digest)} bytes, not 32")
        signature, out, recovery_id = ffi.new(_RECOVERABLE), ffi.new(_BYTES, 64), ffi.new(_INT)
        lib.secp256k1_ecdsa_sign_recoverable(_CONTEXT, signature, digest, self.secret, ffi.NULL, ffi.NULL)
        lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_CONTEXT, out, recovery_id, signature)
        return bytes(ffi.buffer(out)) + bytes([recovery_id[0]])

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.public_key!r}>"


def _check_signature(signature: bytes, digest: bytes) -> None:
    if len(signature) != 65 or len(digest) != 32:
        raise WireError(f"a signature of {len(signature)} bytes over {len(digest)}, not of 65 over 32")


def _recover(signature: bytes, digest: bytes) -> Any:
    parsed, point = ffi.new(_RECOVERABLE), ffi.new(_POINT)
    parse = lib.secp256k1_ecdsa_recoverable_signature_parse_compact
    if (
        signature[64] > 3
        or not parse(_CONTEXT, parsed, signature, signature[64])
        or not lib.secp256k1_ecdsa_recover(_CONTEXT, point, parsed, digest)
    ):
        raise WireError("a signature that no key can have made")
    return point


def recover(signature: bytes, digest: bytes) -> PublicKey:
    """
    Who signed C{digest}.

    @param signature: 65 bytes as L{PrivateKey.sign} gives them.
    @param digest: the 32 bytes signed.
    @raise WireError: no key can have signed this.
    """
    _check_signature(signature, digest)
    point = _recover(signature, digest)
    return PublicKey(_raw(point), point)


def load_key(path: Union[str, "os.PathLike[str]"]) -> PrivateKey:
    """
    Read a key file: 64 hex digits, as geth writes them.

    @raise ConfigError: the file cannot be read or holds no key.
    """
    try:
        return PrivateKey.parse(bytes.fromhex(Path(path).read_text("ascii").strip()))
    except OSError as error:
        raise ConfigError(f"cannot read key file {path}: {error.strerror}") from None
    except (ValueError, ConfigError):
        raise ConfigError(f"key file {path} does not hold 64 hex digits of a private key") from None


def save_key(path: Union[str, "os.PathLike[str]"], key: PrivateKey) -> None:
    """
    Write a new key file that only its owner can read (0600), never over an existing one.

    @raise ConfigError: it exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write key file {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)  # whatever the umask
        file.write(key.secret.hex() + "\n")
