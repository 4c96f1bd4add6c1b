"""
The entries of a record that have a meaning here.  Anybody may define more::

    QUIC = Entry(b"quic", rlp.UINT16)
    record.get(QUIC)    # -> int or None

Source: EIP-778 (devp2p enr.md, "Record Structure"); C{eth}: devp2p enr-entries/eth.md, EIP-2124.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any, Generic, Literal, TypeVar

import attrs

from ethp2p.codec import rlp
from ethp2p.crypto.keys import PublicKey
from ethp2p.errors import WireError

V = TypeVar("V")
A = TypeVar("A", IPv4Address, IPv6Address)


@attrs.frozen
class Entry(Generic[V]):
    """
    A key of a record and how its value stands in RLP.  Two entries are the same when their keys are.
    """

    key: bytes
    shape: rlp.Shape[V] = attrs.field(eq=False, repr=False)


@attrs.frozen
class EthEntry:
    """
    Which chain a node follows: the parts of its fork id (EIP-2124).
    """

    #: CRC32 of the genesis hash and the forks passed, 4 bytes.
    fork_hash: bytes
    #: Block number or timestamp of the next fork known, 0 for none.
    fork_next: int


def _address(cls: type[A], size: int) -> rlp.Shape[A]:
    packed = rlp.fixed(size)
    return rlp.Shape(lambda item: cls(packed.load(item)), lambda address: address.packed)


def _load_key(item: rlp.Item) -> PublicKey:
    return PublicKey.parse(_COMPRESSED.load(item))


def _load_eth(item: rlp.Item) -> EthEntry:
    if type(item) is not list or not item:
        raise WireError("not a list that starts with a fork id")
    return _FORK_ID.load(item[0])  # what follows is for the future (enr-entries/eth.md)


def _dump_eth(value: EthEntry) -> list[Any]:
    return [_FORK_ID.dump(value)]


def _load_mark(item: rlp.Item) -> Literal[True]:
    if type(item) is not list:
        raise WireError("a string where a list belongs")
    return True


_COMPRESSED = rlp.fixed(33)
_FORK_ID = rlp.record(EthEntry, fork_hash=rlp.fixed(4), fork_next=rlp.UINT64)
#: A capability that says only that it is spoken: True, or not there.
_MARK: rlp.Shape[Literal[True]] = rlp.Shape(_load_mark, lambda value: [])

#: Name of the identity scheme.
ID = Entry(b"id", rlp.TEXT)
#: The node's key, compressed to 33 bytes on the wire.
SECP256K1 = Entry(b"secp256k1", rlp.Shape(_load_key, PublicKey.compressed))
IP = Entry(b"ip", _address(IPv4Address, 4))
IP6 = Entry(b"ip6", _address(IPv6Address, 16))
#: Ports.  Those without a 6 hold for both addresses unless the one with a 6 is there.
TCP = Entry(b"tcp", rlp.UINT16)
TCP6 = Entry(b"tcp6", rlp.UINT16)
UDP = Entry(b"udp", rlp.UINT16)
UDP6 = Entry(b"udp6", rlp.UINT16)
#: What the node speaks.
ETH = Entry(b"eth", rlp.Shape(_load_eth, _dump_eth))
SNAP = Entry(b"snap", _MARK)
BSC = Entry(b"bsc", _MARK)
