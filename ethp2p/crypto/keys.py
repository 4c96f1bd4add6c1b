"""
secp256k1 keys as Ethereum's peers use them, on libsecp256k1 through coincurve.

A public key is 64 bytes, x then y; a node's id is the Keccak-256 of them (EIP-778, "v4" scheme).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Union

import attrs
import coincurve
from coincurve.context import GLOBAL_CONTEXT
from coincurve.ecdsa import cdata_to_der, deserialize_compact
from coincurve.utils import GROUP_ORDER_INT

from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import ConfigError, WireError

RandomBytes = Callable[[int], bytes]


def _parse(data: bytes) -> coincurve.PublicKey:
    try:
        return coincurve.PublicKey(data)
    except ValueError:
        raise WireError("not a point on secp256k1") from None


@attrs.define(eq=False, repr=False)
class PublicKey:
    """
    A point on secp256k1, checked when made.  Equal and hashed by its 64 bytes.
    """

    #: x and y, 64 bytes.
    raw: bytes
    _point: coincurve.PublicKey
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
        return cls(point.format(False)[1:], point)

    @property
    def node_id(self) -> bytes:
        """Keccak-256 of the key, 32 bytes."""
        if self._node_id is None:
            self._node_id = keccak256(self.raw)
        return self._node_id

    def compressed(self) -> bytes:
        """The 33-byte form."""
        return self._point.format(True)

    def verify(self, signature: bytes, digest: bytes) -> bool:
        """
        @param signature: r and s, 64 bytes; a high s is refused, so that nobody but the signer can make a second
            signature of the same.
        @param digest: the 32 bytes signed.
        """
        if len(signature) != 64:
            return False
        try:
            der = cdata_to_der(deserialize_compact(signature))
            return self._point.verify(der, digest, hasher=None)
        except ValueError:
            return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<PublicKey {self.raw.hex()[:16]}>"


class _Secret(coincurve.PrivateKey):
    """
    Without the x-only key for Schnorr signatures, which would cost as much again as the public key.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.context = GLOBAL_CONTEXT
        self.public_key = coincurve.PublicKey.from_valid_secret(secret)


@attrs.frozen(eq=False, repr=False)
class PrivateKey:
    """
    A secp256k1 secret.  Its repr shows the public key only.
    """

    _key: coincurve.PrivateKey
    public_key: PublicKey

    @classmethod
    def parse(cls, secret: bytes) -> PrivateKey:
        """
        @param secret: 32 bytes, between 1 and the group order.
        @raise ConfigError: it is not.
        """
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < GROUP_ORDER_INT:
            raise ConfigError("a private key is 32 bytes between 1 and the order of secp256k1")
        key = _Secret(secret)
        return cls(key, PublicKey(key.public_key.format(False)[1:], key.public_key))

    @classmethod
    def generate(cls, random: RandomBytes = os.urandom) -> PrivateKey:
        """A new key from C{random}."""
        while True:
            try:
                return cls.parse(random(32))
            except ConfigError:  # one draw in 2**128
                continue

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes."""
        return self._key.secret

    def ecdh(self, other: PublicKey) -> bytes:
        """The x coordinate of the shared point, 32 bytes, unhashed (RLPx, "ecdh.agree")."""
        return other._point.multiply(self._key.secret).format(False)[1:33]

    def sign(self, digest: bytes) -> bytes:
        """A recoverable signature of 32 bytes: r, s and the recovery id (0 to 3), 65 bytes."""
        return self._key.sign_recoverable(digest, hasher=None)

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.public_key!r}>"


def recover(signature: bytes, digest: bytes) -> PublicKey:
    """
    Who signed C{digest}.

    @param signature: 65 bytes as L{PrivateKey.sign} gives them.
    @raise WireError: no key can have signed this.
    """
    if len(signature) != 65:
        raise WireError(f"a signature of {len(signature)} bytes")
    try:
        point = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # noqa: BLE001  coincurve raises bare Exception where no point fits
        raise WireError("a signature that no key can have made") from None
    return PublicKey(point.format(False)[1:], point)


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
