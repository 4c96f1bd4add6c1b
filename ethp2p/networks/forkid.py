"""
Fork ids: four bytes that say which chain a node is on, and how far along its forks.

Source: EIP-2124; EIP-6122 for forks by timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from zlib import crc32

import attrs

from ethp2p.codec import rlp
from ethp2p.errors import DisconnectReason, Offence, RemoteProtocolError

#: When mainnet began, in seconds since 1970.  A larger C{next} than this is a timestamp: block numbers take
#: centuries to get there.
FIRST_TIMESTAMP = 1438269973


@attrs.frozen
class ForkId:
    """What a node says of its chain in Status and in its record."""

    #: CRC-32 of the genesis hash and the forks passed, 4 bytes.
    hash: bytes
    #: Block number or timestamp of the next fork that it knows, or 0.
    next: int = 0

    def __str__(self) -> str:
        return f"{self.hash.hex()}/{self.next}"


#: C{[hash, next]}.
FORK_ID: rlp.Shape[ForkId] = rlp.record(ForkId, hash=rlp.fixed(4), next=rlp.UINT64)


class ForkRejected(RemoteProtocolError):
    """The peer's fork id does not go with this chain."""

    reason = DisconnectReason.USELESS_PEER
    offence = Offence.WRONG_CHAIN


class RemoteStale(ForkRejected):
    """The peer does not know a fork that this chain has passed: it needs an update."""


class LocalIncompatible(ForkRejected):
    """The peer is on another chain, or has passed a fork that this node does not know."""


def ascending(forks: Iterable[int]) -> tuple[int, ...]:
    """Forks in their order, each once, without those that are rules from the genesis block on."""
    return tuple(sorted(set(forks) - {0}))


@attrs.frozen
class ForkSchedule:
    """
    The forks of one chain.  Those active at genesis do not count, several at once count as one.
    """

    genesis_hash: bytes
    #: Forks by block number, which all come before those by time.
    blocks: tuple[int, ...] = attrs.field(converter=ascending)
    #: Forks by timestamp, in seconds since 1970, all after that of genesis.
    times: tuple[int, ...] = attrs.field(converter=ascending)

    @cached_property
    def _forks(self) -> tuple[int, ...]:
        return self.blocks + self.times

    @cached_property
    def _hashes(self) -> tuple[bytes, ...]:
        """The hash before the first fork, and after each."""
        checksum = crc32(self.genesis_hash)
        checksums = [checksum]
        for fork in self._forks:
            checksum = crc32(fork.to_bytes(8, "big"), checksum)
            checksums.append(checksum)
        return tuple(checksum.to_bytes(4, "big") for checksum in checksums)

    def _passed(self, number: int, timestamp: int) -> int:
        """How many forks a chain with this head has passed."""
        for index, fork in enumerate(self._forks):
            if fork > (number if index < len(self.blocks) else timestamp):
                return index
        return len(self._forks)

    def fork_id(self, number: int, timestamp: int) -> ForkId:
        """
        The fork id at a head.

        @param timestamp: the head's, in seconds since 1970.
        """
        passed = self._passed(number, timestamp)
        return ForkId(self._hashes[passed], self._forks[passed] if passed < len(self._forks) else 0)

    def check(self, remote: ForkId, number: int, timestamp: int) -> None:
        """
        Whether a peer may be on this chain, going by its fork id and our head (EIP-2124, "Validation rules").

        @raise RemoteStale: it stopped before a fork that we have passed.
        @raise LocalIncompatible: its forks are not ours.
        """
        passed = self._passed(number, timestamp)
        if remote.hash not in self._hashes:
            raise LocalIncompatible(f"fork {remote} is not one of this chain")
        theirs = self._hashes.index(remote.hash)
        if theirs == passed:
            by_block = passed < len(self.blocks) or not self.times
            if self._came(remote.next, number if by_block else timestamp, timestamp):
                raise LocalIncompatible(f"fork {remote} names a next fork that passed here unnoticed")
        elif theirs < passed and remote.next != self._forks[theirs]:
            raise RemoteStale(f"fork {remote} does not go on to {self._forks[theirs]}")

    @staticmethod
    def _came(fork: int, head: int, timestamp: int) -> bool:
        """Whether a fork that only the peer knows has passed here, by block number or by time."""
        return 0 < fork <= head or FIRST_TIMESTAMP < fork <= timestamp
