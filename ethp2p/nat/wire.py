"""
The packets of NAT-PMP and of STUN's binding method.

Source: RFC 6886 section 3; RFC 8489 sections 5, 6.3.3 and 14.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Union
from zlib import crc32

import attrs

from ethp2p.errors import OversizeError, WireError

IPAddress = Union[IPv4Address, IPv6Address]


class Transport(IntEnum):
    """What a port is of; the numbers are NAT-PMP's opcodes."""

    UDP = 1
    TCP = 2


# --- NAT-PMP

#: Where gateways listen.
PMP_PORT = 5351
#: Results in words (RFC 6886 section 3.5).
PMP_RESULTS = {
    1: "the gateway does not speak this version",
    2: "the gateway refuses to map ports",
    3: "the gateway has no network itself",
    4: "the gateway can map no more ports",
    5: "the gateway cannot do that",
}
#: Bytes of the longest answer.
MAX_PMP = 16

_ADDRESS_OPCODE = 0
_ANSWER = 0x80


@attrs.frozen
class PmpAddress:
    """
    The gateway's external address.
    """

    #: Seconds since the gateway forgot its mappings, if it ever did.
    epoch: int
    address: IPv4Address


@attrs.frozen
class PmpMapping:
    """
    What the gateway maps, or with lifetime 0 no longer maps.
    """

    epoch: int
    transport: Transport
    internal: int
    external: int
    #: Seconds.
    lifetime: int


@attrs.frozen
class PmpRefusal:
    """
    The gateway does not do what was asked.
    """

    epoch: int
    opcode: int
    code: int

    @property
    def words(self) -> str:
        """Why."""
        return PMP_RESULTS.get(self.code, f"the gateway answers with error {self.code}")


PmpAnswer = Union[PmpAddress, PmpMapping, PmpRefusal]


def encode_pmp_address() -> bytes:
    """Ask for the external address."""
    return bytes((0, _ADDRESS_OPCODE))


def encode_pmp_mapping(transport: Transport, internal: int, external: int, lifetime: int) -> bytes:
    """
    Ask for a mapping.

    @param external: the port wanted, 0 for any.
    @param lifetime: seconds; 0, with external port 0, ends it.
    """
    return struct.pack(">BBHHHI", 0, transport, 0, internal, external, lifetime)


def decode_pmp(data: bytes) -> PmpAnswer:
    """
    @raise OversizeError: over L{MAX_PMP} bytes.
    @raise WireError: not an answer.
    """
    if len(data) > MAX_PMP:
        raise OversizeError(f"a NAT-PMP answer of {len(data)} bytes, more than {MAX_PMP}")
    if len(data) < 8:
        raise WireError(f"a NAT-PMP answer of {len(data)} bytes")
    version, opcode, code, epoch = struct.unpack_from(">BBHI", data)
    if not opcode & _ANSWER:
        raise WireError("a NAT-PMP request")
    opcode ^= _ANSWER
    if version:
        return PmpRefusal(0, opcode, 1)
    if code:
        return PmpRefusal(epoch, opcode, code)
    if opcode == _ADDRESS_OPCODE and len(data) == 12:
        return PmpAddress(epoch, IPv4Address(data[8:]))
    if opcode in (Transport.UDP, Transport.TCP) and len(data) == 16:
        return PmpMapping(epoch, Transport(opcode), *struct.unpack_from(">HHI", data, 8))
    raise WireError(f"a NAT-PMP answer of {len(data)} bytes with opcode {opcode}")


# --- STUN

#: In every packet, so that STUN can be told from what else comes to a port.
COOKIE = 0x2112A442
#: Bytes of a transaction id.
TRANSACTION_SIZE = 12
#: Most bytes of an answer; no honest one is half as long.
MAX_STUN = 1500

_BINDING_REQUEST, _BINDING_SUCCESS, _BINDING_ERROR = 0x0001, 0x0101, 0x0111
_MAPPED_ADDRESS, _ERROR_CODE, _XOR_MAPPED_ADDRESS, _FINGERPRINT = 0x0001, 0x0009, 0x0020, 0x8028
_INTEGRITY, _INTEGRITY_SHA256 = 0x0008, 0x001C
#: Of those that must be understood, the ones that are, or that change nothing without a password.
_UNDERSTOOD = frozenset(
    (_MAPPED_ADDRESS, _ERROR_CODE, _XOR_MAPPED_ADDRESS, _INTEGRITY, _INTEGRITY_SHA256, 0x0006, 0x000A, 0x0014, 0x0015)
)
_OPTIONAL = 0x8000
_FINGERPRINT_XOR = 0x5354554E


@attrs.frozen
class StunAddress:
    """
    Where the server saw our request come from.
    """

    transaction: bytes
    address: IPAddress
    port: int


@attrs.frozen
class StunRefusal:
    """
    The server does not answer.
    """

    transaction: bytes
    code: int


StunAnswer = Union[StunAddress, StunRefusal]


def encode_binding(transaction: bytes) -> bytes:
    """
    Ask where we are seen.

    @param transaction: L{TRANSACTION_SIZE} random bytes.
    """
    return struct.pack(">HHI", _BINDING_REQUEST, 0, COOKIE) + transaction


def decode_stun(data: bytes) -> StunAnswer:
    """
    @raise OversizeError: over L{MAX_STUN} bytes.
    @raise WireError: not an answer to a binding request, or one with a part that may not be ignored.
    """
    if len(data) > MAX_STUN:
        raise OversizeError(f"a STUN answer of {len(data)} bytes, more than {MAX_STUN}")
    if len(data) < 20:
        raise WireError(f"a STUN answer of {len(data)} bytes")
    kind, length, cookie = struct.unpack_from(">HHI", data)
    if kind not in (_BINDING_SUCCESS, _BINDING_ERROR) or cookie != COOKIE or length != len(data) - 20 or length % 4:
        raise WireError("not an answer to a STUN binding request")
    transaction = data[8:20]
    attributes = _attributes(data)
    if kind == _BINDING_ERROR:
        value = attributes.get(_ERROR_CODE, b"")
        return StunRefusal(transaction, value[2] % 8 * 100 + value[3] if len(value) >= 4 else 0)
    if _XOR_MAPPED_ADDRESS in attributes:
        return StunAddress(transaction, *_address(attributes[_XOR_MAPPED_ADDRESS], data[4:20]))
    if _MAPPED_ADDRESS in attributes:  # from servers of RFC 3489
        return StunAddress(transaction, *_address(attributes[_MAPPED_ADDRESS], bytes(16)))
    raise WireError("a STUN answer without an address")


def _attributes(data: bytes) -> dict[int, bytes]:
    attributes: dict[int, bytes] = {}
    at, closed = 20, False
    while at < len(data):
        kind, length = struct.unpack_from(">HH", data, at)
        value = data[at + 4 : at + 4 + length]
        if len(value) < length:
            raise WireError("a STUN attribute is cut short")
        if kind == _FINGERPRINT:
            if length != 4 or int.from_bytes(value, "big") != crc32(data[:at]) ^ _FINGERPRINT_XOR:
                raise WireError("a STUN answer with a wrong fingerprint")
            if at + 8 != len(data):
                raise WireError("a STUN answer goes on behind its fingerprint")
        elif not closed:  # what stands behind the integrity counts for nothing
            if kind < _OPTIONAL and kind not in _UNDERSTOOD:
                raise WireError(f"a STUN attribute 0x{kind:04x} that has to be understood")
            attributes.setdefault(kind, value)
            closed = kind in (_INTEGRITY, _INTEGRITY_SHA256)
        at += 4 + length + -length % 4
    return attributes


def _address(value: bytes, mask: bytes) -> tuple[IPAddress, int]:
    family = value[1] if len(value) in (8, 20) else 0
    port = int.from_bytes(value[2:4], "big") ^ int.from_bytes(mask[:2], "big")
    packed = bytes(one ^ other for one, other in zip(value[4:], mask))
    if family == 1 and len(packed) == 4:
        return IPv4Address(packed), port
    if family == 2 and len(packed) == 16:
        return IPv6Address(packed), port
    raise WireError("an address in a STUN answer that is neither IPv4 nor IPv6")
