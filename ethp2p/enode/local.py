"""
This node's own record, kept true while its address and its chain change.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Protocol, TypeVar, Union

import attrs

from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enode.cidr import Address, BadRelay, IPAddress, as_ip, check_relay
from ethp2p.enode.node import Node
from ethp2p.enode.vote import EndpointVote
from ethp2p.enr.entries import ID, IP, IP6, SECP256K1, TCP, TCP6, UDP, UDP6, Entry
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, LocalProtocolError

V = TypeVar("V")

#: A stored seq from here on is damage: no clock in milliseconds comes near, and 2**64 must stay out of reach.
MAX_SEQ = 1 << 63

_SEQ_TEXT = re.compile(rb"[0-9]{1,19}\n")
_OWN = frozenset((ID, SECP256K1, IP, IP6, TCP, TCP6, UDP, UDP6))
#: The longest endpoint there can be.  Other entries have to leave room for it, so that signing cannot fail
#: later, when an address or port becomes known.
_LONGEST: dict[Entry[Any], Any] = {
    IP: IPv4Address("255.255.255.255"),
    IP6: IPv6Address("ffff::1"),
    TCP: 0xFFFF,
    TCP6: 0xFFFF,
    UDP: 0xFFFF,
    UDP6: 0xFFFF,
}


class SeqStore(Protocol):
    """Where the record's seq outlives the process."""

    def load(self) -> int | None:
        """The seq last saved; None when there is none, or nothing that makes sense."""

    def save(self, seq: int) -> None:
        """@raise ConfigError: it cannot be saved."""


@attrs.frozen
class SeqFile:
    """
    The seq in a file of its own, written whole or not at all.
    """

    path: Union[str, "os.PathLike[str]"]

    def load(self) -> int | None:
        """
        The seq last saved; None when there is no file or it is damaged.

        @raise ConfigError: the file is there and cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                text = file.read(32)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from None
        if not _SEQ_TEXT.fullmatch(text) or int(text) >= MAX_SEQ:
            return None
        return int(text)

    def save(self, seq: int) -> None:
        """@raise ConfigError: the file cannot be written."""
        path = Path(self.path)
        fresh = path.with_name(path.name + ".new")
        try:
            with open(fresh, "wb") as file:
                file.write(b"%d\n" % seq)
                file.flush()
                os.fsync(file.fileno())  # before the name changes, else a crash could leave an empty file
            os.replace(fresh, path)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from None


class _Endpoint:
    """What is known of our endpoint in one IP family."""

    __slots__ = ("fallback", "predicted", "static", "vote")

    def __init__(self) -> None:
        self.static: IPAddress | None = None
        self.fallback: IPAddress | None = None
        self.predicted: tuple[IPAddress, int] | None = None
        self.vote = EndpointVote()

    def best(self, udp: int) -> tuple[IPAddress | None, int]:
        """What to announce: the address, and the UDP port in place of C{udp}."""
        if self.static is not None:
            return self.static, udp
        return self.predicted or (self.fallback, udp)


class LocalNode:
    """
    Who and where we are.  L{record} is signed when it is asked for and something has changed, with a raised
    seq.  An address comes from L{set_static_ip}, else from what others say (L{statement}), else from
    L{set_fallback_ip}.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        wall_ms: int,
        store: SeqStore | None = None,
        tcp: int = 0,
        udp: int = 0,
    ) -> None:
        """
        @param wall_ms: the wall clock, in milliseconds since 1970.  The seq starts there, or after the stored
            one if that is later: it goes up even when the store was lost or damaged, or not written last time.
        @param store: where the seq is kept; None keeps it nowhere.
        @param tcp: TCP port to announce, 0 for none.
        @param udp: UDP port to announce where no other is predicted, 0 for none.
        @raise ConfigError: the store does not work.
        @raise LocalProtocolError: a port out of range.
        """
        self.set_ports(tcp, udp)
        self.key = key
        #: The last error of the store, once it has begun to fail; the record goes on without it.
        self.store_error: ConfigError | None = None
        self._store = store
        self._entries: dict[Entry[Any], Any] = {}
        self._endpoints = {4: _Endpoint(), 6: _Endpoint()}
        self._record: Record | None = None
        self._signed: dict[Entry[Any], Any] = {}
        self._changed = True  # perhaps, since it was signed
        stored = store.load() if store is not None else None
        self._seq = max(stored or 0, wall_ms - 1)
        if store is not None:
            store.save(self._seq)  # so that one that cannot be written is found out at the start

    @property
    def public_key(self) -> PublicKey:
        """Our key."""
        return self.key.public_key

    @property
    def node_id(self) -> bytes:
        """Keccak-256 of our key, 32 bytes."""
        return self.key.public_key.node_id

    @property
    def record(self) -> Record:
        """Our record as it stands now."""
        if self._record is None or self._changed:  # it is asked for with every packet
            entries = {**self._entries, **self._endpoint()}
            if self._record is None or entries != self._signed:
                self._raise_seq()
                self._record = Record.sign(self.key, self._seq, entries)
                self._signed = entries
            self._changed = False
        return self._record

    @property
    def node(self) -> Node:
        """We as a node, with the record."""
        return Node.from_record(self.record)

    def set_entry(self, entry: Entry[V], value: V | None) -> None:
        """
        Announce something about us, or with None no longer.

        @raise LocalProtocolError: it is of the endpoint or the identity, which have their own methods; the
            entry cannot hold the value; or the record has no room for it beside the longest endpoint.
        """
        if entry in _OWN:
            raise LocalProtocolError(f"{entry.key.decode()!r} is not set as an entry")
        entries = {other: held for other, held in self._entries.items() if other != entry}
        if value is not None:
            entries[entry] = value
            Record.sign(self.key, MAX_SEQ, {**entries, **_LONGEST})
        self._entries = entries
        self._changed = True

    def set_ports(self, tcp: int, udp: int) -> None:
        """
        The ports to announce, 0 for none; C{udp} where no other is predicted.

        @raise LocalProtocolError: a port out of range.
        """
        if not (0 <= tcp <= 0xFFFF and 0 <= udp <= 0xFFFF):
            raise LocalProtocolError(f"ports {tcp} and {udp} are not from 0 to 65535")
        self._tcp, self._udp = tcp, udp
        self._changed = True

    def set_static_ip(self, address: Address) -> None:
        """
        Announce this address, whatever others say.  C{0.0.0.0} or C{::} takes it back.

        @raise ValueError: not an address.
        """
        ip = as_ip(address)
        self._endpoints[ip.version].static = None if ip.is_unspecified else ip
        self._changed = True

    def set_fallback_ip(self, address: Address) -> None:
        """
        Announce this address while no better is known.  C{0.0.0.0} or C{::} takes it back.

        @raise ValueError: not an address.
        """
        ip = as_ip(address)
        self._endpoints[ip.version].fallback = None if ip.is_unspecified else ip
        self._changed = True

    def statement(self, addr: tuple[Address, int], by: Address, now: float) -> None:
        """
        A host says that it sees our UDP endpoint at C{addr}.

        @param by: the address of that host, proven by an answer to something we sent.
        @param now: seconds, of any clock that goes on.
        """
        ip, port = as_ip(addr[0]), addr[1]
        host = as_ip(by)
        try:
            check_relay(host, ip)
        except BadRelay:  # nothing that we could be reached at from there: no voice
            return
        # What came by IPv6 shows nobody an IPv4 address.  IPv6 lines are cheap, and would outvote all of IPv4.
        if ip.version == host.version and 0 < port <= 0xFFFF:
            endpoint = self._endpoints[ip.version]
            endpoint.vote.statement((ip, port), host, now)
            endpoint.predicted = endpoint.vote.predicted(now)
            self._changed = True

    def contact(self, to: Address, now: float) -> None:
        """We sent a UDP packet to this host without having heard from it."""
        ip = as_ip(to)
        self._endpoints[ip.version].vote.contact(ip, now)

    def full_cone(self, family: int, now: float) -> bool:
        """Whether hosts that we never wrote to can reach us in C{family} (4 or 6), as lately seen."""
        return self._endpoints[family].vote.full_cone(now)

    def _endpoint(self) -> dict[Entry[Any], Any]:
        ip4, udp4 = self._endpoints[4].best(self._udp)
        ip6, udp6 = self._endpoints[6].best(self._udp)
        entries: dict[Entry[Any], Any] = {IP: ip4, IP6: ip6, TCP: self._tcp, UDP: udp4}
        if ip6 is not None and udp6 != udp4:
            entries[UDP6] = udp6
        return {entry: value for entry, value in entries.items() if value}

    def _raise_seq(self) -> None:
        self._seq += 1
        if self._store is None:
            return
        try:
            self._store.save(self._seq)
        except ConfigError as error:  # a full disk is no reason to leave the network
            self.store_error = error
        else:
            self.store_error = None
