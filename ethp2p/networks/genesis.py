"""
Reading genesis files in geth's format.

All forks that the C{config} has are found by the end of their names, C{Block} or C{Time}, whichever chain
invented them; everything else that is not known is ignored.  Names are taken in upper or lower case, and
numbers as JSON numbers or as decimal or hexadecimal strings, as geth takes them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Union

import attrs

from ethp2p.blocks import EMPTY_ROOT, Account, Header, genesis_state_root
from ethp2p.crypto.keccak import keccak256
from ethp2p.errors import ConfigError, LocalProtocolError
from ethp2p.networks.network import Network

#: Wei per gas in the first block of a chain that has EIP-1559 from the start.
INITIAL_BASE_FEE = 1_000_000_000
#: Gas limit for a file that says 0.
DEFAULT_GAS_LIMIT = 4_712_388
#: SHA-256 of no requests (EIP-7685).
EMPTY_REQUESTS_HASH = sha256(b"").digest()
#: Keccak-256 of the RLP of an empty list (EIP-7928).
EMPTY_BLOCK_ACCESS_LIST_HASH = keccak256(b"\xc0")

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,64}|[0-9]{0,78}")
_HEX = re.compile(r"(?:0[xX])?((?:[0-9a-fA-F]{2})*)")


def _number(value: object, bits: int, where: str) -> int:
    number = value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = int(value, 16) if value[1:2] in ("x", "X") else int(value or "0")
    if type(number) is not int or not 0 <= number < 1 << bits:
        raise ConfigError(f"{where}: not a number of up to {bits} bits: {value!r:.80}")
    return number


def _data(value: object, where: str, size: int | None = None) -> bytes:
    found = _HEX.fullmatch(value) if isinstance(value, str) else None
    data = bytes.fromhex(found[1]) if found else None
    if data is None or size not in (None, len(data)):
        raise ConfigError(f"{where}: not {'' if size is None else f'{size} '}bytes in hexadecimal: {value!r:.80}")
    return data


def _slot(value: object, where: str) -> bytes:
    """A storage key or value: up to 32 bytes, filled with zeros in front."""
    data = _data(value, where)
    if len(data) > 32:
        raise ConfigError(f"{where}: more than 32 bytes")
    return data.rjust(32, b"\0")


@attrs.frozen
class _Object:
    """A JSON object with its place in the file, so that an error can name the field."""

    where: str
    #: By lower-case name, without those that are null.
    values: Mapping[str, Any]
    #: Each name as the file has it.
    spelling: Mapping[str, str]

    @classmethod
    def of(cls, value: object, where: str) -> _Object:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: not a JSON object")
        values = {str(name).lower(): part for name, part in value.items() if part is not None}
        return cls(where, values, {str(name).lower(): str(name) for name in value})

    def get(self, name: str) -> Any:
        return self.values.get(name.lower())

    def need(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise ConfigError(f"{self.at(name)}: missing")
        return value

    def at(self, name: str) -> str:
        name = self.spelling.get(name.lower(), name)
        return f"{self.where}.{name}" if ": " in self.where else f"{self.where}: {name}"

    def number(self, name: str, default: int = 0, bits: int = 64) -> int:
        value = self.get(name)
        return default if value is None else _number(value, bits, self.at(name))

    def data(self, name: str, default: bytes, size: int | None = None) -> bytes:
        value = self.get(name)
        return default if value is None else _data(value, self.at(name), size)

    def child(self, name: str) -> _Object:
        return _Object.of(self.need(name), self.at(name))


def from_genesis(
    source: Union[str, "os.PathLike[str]", Mapping[str, Any]],
    *,
    name: str | None = None,
    network_id: int | None = None,
) -> Network:
    """
    The network that a genesis file starts.

    @param source: the file, or what was read from it.
    @param name: what to call it; C{chain-} and the chain id unless given.
    @param network_id: the chain id unless given.
    @raise ConfigError: the file cannot be read or used; the message names the file and the field.
    """
    if isinstance(source, Mapping):
        root = _Object.of(source, "genesis")
    else:
        root = _Object.of(_load(Path(source)), str(source))
    config = root.child("config")
    chain_id = _number(config.need("chainId"), 64, config.at("chainId"))
    for flag in ("enableUBTAtGenesis", "enableVerkleAtGenesis"):
        if config.get(flag):
            raise ConfigError(f"{config.at(flag)}: only Merkle-Patricia state is supported")
    forks = {
        fork: _number(value, 64, config.at(fork))
        for fork, value in config.values.items()
        if fork.endswith(("block", "time"))
    }
    header = _header(root, forks)
    try:
        genesis_hash = header.hash
    except LocalProtocolError as error:  # say, Shanghai from the start, but not London
        raise ConfigError(f"{root.where}: {error}") from None
    return Network(
        name=name or f"chain-{chain_id}",
        network_id=chain_id if network_id is None else network_id,
        chain_id=chain_id,
        genesis_hash=genesis_hash,
        genesis_header=header,
        fork_blocks=tuple(at for fork, at in forks.items() if fork.endswith("block")),
        fork_times=tuple(at for fork, at in forks.items() if fork.endswith("time") and at > header.timestamp),
    )


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read genesis file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"genesis file {path} is not JSON: {error}") from None


def _header(root: _Object, forks: Mapping[str, int]) -> Header:
    """The genesis block's header, with the fields of the forks that are active from the start."""
    number, timestamp = root.number("number"), root.number("timestamp")
    london = forks.get("londonblock", number + 1) <= number

    def active(fork: str) -> bool:
        return london and forks.get(fork, timestamp + 1) <= timestamp

    has_base_fee = london or root.get("baseFeePerGas") is not None
    cancun, amsterdam = active("cancuntime"), active("amsterdamtime")
    for required in ("gasLimit", "difficulty"):
        root.need(required)
    return Header(
        parent_hash=root.data("parentHash", bytes(32), 32),
        beneficiary=root.data("coinbase", bytes(20), 20),
        state_root=_state_root(root),
        difficulty=root.number("difficulty", bits=80),
        number=number,
        gas_limit=root.number("gasLimit") or DEFAULT_GAS_LIMIT,
        gas_used=root.number("gasUsed"),
        timestamp=timestamp,
        extra_data=root.data("extraData", b""),
        prev_randao=root.data("mixHash", bytes(32), 32),
        nonce=root.number("nonce").to_bytes(8, "big"),
        base_fee_per_gas=root.number("baseFeePerGas", INITIAL_BASE_FEE, bits=256) if has_base_fee else None,
        withdrawals_root=EMPTY_ROOT if active("shanghaitime") else None,
        blob_gas_used=root.number("blobGasUsed") if cancun else None,
        excess_blob_gas=root.number("excessBlobGas") if cancun else None,
        parent_beacon_block_root=bytes(32) if cancun else None,
        requests_hash=EMPTY_REQUESTS_HASH if active("praguetime") else None,
        block_access_list_hash=EMPTY_BLOCK_ACCESS_LIST_HASH if amsterdam else None,
        slot_number=root.number("slotNumber") if amsterdam else None,
    )


def _state_root(root: _Object) -> bytes:
    """From C{alloc}; or C{stateRoot}, which is how a file may leave a large C{alloc} out."""
    if root.get("alloc") is None and root.get("stateRoot") is not None:
        return root.data("stateRoot", b"", 32)
    alloc = root.child("alloc")
    return genesis_state_root(
        {_data(address, alloc.at(address), 20): _account(alloc.child(address)) for address in alloc.spelling}
    )


def _account(account: _Object) -> Account:
    account.need("balance")
    slots = _Object.of(account.get("storage") or {}, account.at("storage"))
    return Account(
        balance=account.number("balance", bits=256),
        nonce=account.number("nonce"),
        code=account.data("code", b""),
        storage={_slot(slot, slots.at(slot)): _slot(value, slots.at(slot)) for slot, value in slots.values.items()},
    )
