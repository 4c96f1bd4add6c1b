"""
Transactions: legacy, and types 1 to 4.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from typing import Any

import attrs

from ethp2p.blocks import signature
from ethp2p.blocks.envelope import open_envelope, seal_envelope
from ethp2p.blocks.sidecar import BLOB_SIZE, Sidecar
from ethp2p.codec import rlp
from ethp2p.codec.rlp import ADDRESS, BYTES, HASH, UINT8, UINT64, UINT256
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import LocalProtocolError, WireError


class TxType(IntEnum):
    """The types of transactions (EIP-2718)."""

    #: With or without EIP-155.
    LEGACY = 0
    #: EIP-2930.
    ACCESS_LIST = 1
    #: EIP-1559.
    DYNAMIC_FEE = 2
    #: EIP-4844.
    BLOB = 3
    #: EIP-7702.
    SET_CODE = 4


@attrs.frozen
class AccessListEntry:
    """An address and the storage keys of it that a transaction says it will use (EIP-2930)."""

    address: bytes
    #: 32 bytes each.
    storage_keys: tuple[bytes, ...] = ()


@attrs.frozen
class Authorization:
    """An account's word that it runs the code of C{address} (EIP-7702)."""

    #: 0 for any chain.
    chain_id: int
    address: bytes
    nonce: int
    y_parity: int = 0
    r: int = 0
    s: int = 0

    @property
    def signing_hash(self) -> bytes:
        """What the account signs."""
        return keccak256(b"\x05" + rlp.encode(_AUTHORIZATION.dump(self)[:3]))

    @property
    def authority(self) -> bytes:
        """
        The address of the account.

        @raise ethp2p.errors.WireError: the signature is not valid.
        """
        return signature.signer(self.y_parity, self.r, self.s, self.signing_hash)

    def sign(self, key: PrivateKey) -> Authorization:
        """The same with C{key}'s signature."""
        parity, r, s = signature.sign(key, self.signing_hash)
        return attrs.evolve(self, y_parity=parity, r=r, s=s)


@attrs.frozen(eq=False, kw_only=True)
class Transaction:
    """
    A transaction of any type.  Fields that its type does not have are left at their defaults and are not
    encoded.  Amounts are in wei.  Transactions are equal when their network forms are.
    """

    tx_type: int = TxType.LEGACY
    #: None in a legacy transaction that any chain may take (before EIP-155).
    chain_id: int | None = None
    nonce: int = 0
    #: Types 0 and 1; per gas.
    gas_price: int = 0
    #: Types 2 to 4, as the next.
    max_priority_fee_per_gas: int = 0
    max_fee_per_gas: int = 0
    gas_limit: int = 0
    #: None to create a contract, which types 3 and 4 cannot.
    to: bytes | None = None
    value: int = 0
    data: bytes = attrs.field(default=b"", repr=False)
    access_list: tuple[AccessListEntry, ...] = ()
    #: Type 3, as the next.
    max_fee_per_blob_gas: int = 0
    blob_versioned_hashes: tuple[bytes, ...] = ()
    #: Type 4.
    authorization_list: tuple[Authorization, ...] = ()
    #: In legacy transactions 27 or 28, or those of EIP-155; in others the parity, 0 or 1.
    v: int = 0
    r: int = 0
    s: int = 0
    #: Type 3, outside of blocks.
    sidecar: Sidecar | None = None

    @classmethod
    def decode(cls, opaque: bytes) -> Transaction:
        """
        Read the opaque form in which a block has it.

        @raise ethp2p.errors.WireError: not a transaction of a known type, or a field out of its bounds.
        """
        kind, payload = open_envelope(opaque)
        table = _SIGNED.get(kind)
        if table is None:
            raise WireError(f"transaction type {kind} is not known")
        item = rlp.decode(payload, max_depth=_MAX_DEPTH)
        if type(item) is not list or len(item) != len(table):
            raise WireError(f"a transaction of type {kind} is not a list of {len(table)}")
        values: dict[str, Any] = {}
        for (name, shape), part in zip(table.items(), item):
            try:
                values[name] = shape.load(part)
            except WireError as error:
                raise type(error)(f"Transaction.{name}: {error}") from None
        if kind == TxType.LEGACY and values["v"] >= 35:
            values["chain_id"] = (values["v"] - 35) // 2
        return cls(tx_type=kind, **values)._with_raw(opaque)

    @classmethod
    def decode_network(cls, opaque: bytes) -> Transaction:
        """
        Read the opaque form in which peers send it outside of blocks: as L{decode}, but a blob transaction may
        bring its sidecar (EIP-4844, "Networking").

        @raise ethp2p.errors.WireError: as L{decode}, or the sidecar is not one.
        """
        if opaque[:1] == b"\x03":
            items = rlp.split(opaque[1:])
            if items and items[0] >= b"\xc0":
                bare = b"\x03" + items[0]
                return attrs.evolve(cls.decode(bare), sidecar=Sidecar.decode(items[1:]))._with_raw(bare)
        return cls.decode(opaque)

    def _with_raw(self, raw: bytes) -> Transaction:
        object.__setattr__(self, "raw", bytes(raw))
        return self

    @cached_property
    def raw(self) -> bytes:
        """
        The opaque form in which a block has it: as it came in, or encoded when first asked for.

        @raise LocalProtocolError: a field that this type needs is missing.
        """
        return seal_envelope(self.tx_type, rlp.encode(self._items(_SIGNED)))

    def encode(self) -> bytes:
        """The same as C{raw}."""
        return self.raw

    def encode_network(self) -> bytes:
        """The opaque form in which it is sent outside of blocks, with its sidecar."""
        if self.sidecar is None:
            return self.raw
        return self.raw[:1] + rlp.join((self.raw[1:], *self.sidecar.encode()))

    @cached_property
    def size(self) -> int:
        """Length of the network form in bytes, as NewPooledTransactionHashes gives it (EIP-5793)."""
        return len(self.encode_network())

    @cached_property
    def hash(self) -> bytes:
        """Keccak-256 of the opaque form, which has no sidecar."""
        return keccak256(self.raw)

    @property
    def signing_hash(self) -> bytes:
        """What the sender signs."""
        items = self._items(_FIELDS)
        if self.tx_type == TxType.LEGACY and self.chain_id is not None:
            items += [UINT256.dump(self.chain_id), b"", b""]
        return keccak256(seal_envelope(self.tx_type, rlp.encode(items)))

    @cached_property
    def sender(self) -> bytes:
        """
        The address whose key signed it, 20 bytes.  Whether C{chain_id} is the right one, the caller knows.

        @raise ethp2p.errors.WireError: the signature is not valid, its s is in the upper half (EIP-2, though
            Frontier took those), or the chain id is 0.
        """
        if self.chain_id == 0:
            raise WireError("a transaction for chain id 0")
        return signature.signer(self.v - self._first_v, self.r, self.s, self.signing_hash)

    def sign(self, key: PrivateKey) -> Transaction:
        """The same with C{key}'s signature."""
        parity, r, s = signature.sign(key, self.signing_hash)
        return attrs.evolve(self, v=self._first_v + parity, r=r, s=s)

    @property
    def fee_cap(self) -> int:
        """Most that is paid for a unit of gas, in any type."""
        return max(self.gas_price, self.max_fee_per_gas)

    @property
    def tip_cap(self) -> int:
        """Most that the block's beneficiary gets for a unit of gas, in any type."""
        return max(self.gas_price, self.max_priority_fee_per_gas)

    @property
    def max_cost(self) -> int:
        """What the sender must own: value, and gas and blob gas at the highest price allowed."""
        blobs = len(self.blob_versioned_hashes) * BLOB_SIZE * self.max_fee_per_blob_gas
        return self.value + self.gas_limit * self.fee_cap + blobs

    @property
    def _first_v(self) -> int:
        """The v that says parity 0 (EIP-155)."""
        if self.tx_type != TxType.LEGACY:
            return 0
        return 27 if self.chain_id is None else 35 + 2 * self.chain_id

    def _items(self, tables: dict[int, dict[str, rlp.Shape[Any]]]) -> list[Any]:
        if self.tx_type not in tables:
            raise LocalProtocolError(f"transaction type {self.tx_type} is not known")
        items = []
        for name, shape in tables[self.tx_type].items():
            value = getattr(self, name)
            if value is None and shape is not _TO:
                raise LocalProtocolError(f"a transaction of type {self.tx_type} needs {name}")
            items.append(shape.dump(value))
        return items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw and self.sidecar == other.sidecar

    def __hash__(self) -> int:
        return hash(self.raw)


_AUTHORIZATION = rlp.record(
    Authorization, chain_id=UINT256, address=ADDRESS, nonce=UINT64, y_parity=UINT8, r=UINT256, s=UINT256
)
_TO = rlp.empty_or(ADDRESS)
_CALL: dict[str, rlp.Shape[Any]] = {"gas_limit": UINT64, "to": _TO, "value": UINT256, "data": BYTES}
_ACCESS: dict[str, rlp.Shape[Any]] = {
    "access_list": rlp.list_of(rlp.record(AccessListEntry, address=ADDRESS, storage_keys=rlp.list_of(HASH)))
}
_FEES: dict[str, rlp.Shape[Any]] = {"max_priority_fee_per_gas": UINT256, "max_fee_per_gas": UINT256}
_DYNAMIC_FEE = {"chain_id": UINT256, "nonce": UINT64, **_FEES, **_CALL, **_ACCESS}
#: The fields of each type, in order, without the signature.
_FIELDS: dict[int, dict[str, rlp.Shape[Any]]] = {
    TxType.LEGACY: {"nonce": UINT64, "gas_price": UINT256, **_CALL},
    TxType.ACCESS_LIST: {"chain_id": UINT256, "nonce": UINT64, "gas_price": UINT256, **_CALL, **_ACCESS},
    TxType.DYNAMIC_FEE: _DYNAMIC_FEE,
    TxType.BLOB: {
        **_DYNAMIC_FEE,
        "to": ADDRESS,
        "max_fee_per_blob_gas": UINT256,
        "blob_versioned_hashes": rlp.list_of(HASH),
    },
    TxType.SET_CODE: {**_DYNAMIC_FEE, "to": ADDRESS, "authorization_list": rlp.list_of(_AUTHORIZATION)},
}
_SIGNED = {kind: {**table, "v": UINT256, "r": UINT256, "s": UINT256} for kind, table in _FIELDS.items()}
#: Transaction, access list, entry, storage keys.
_MAX_DEPTH = 4
