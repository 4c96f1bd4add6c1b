"""
A network: the chain its nodes follow, and where to meet the first of them.
"""

from __future__ import annotations

from functools import cached_property

import attrs

from ethp2p.blocks import Header
from ethp2p.networks.forkid import ForkId, ForkSchedule, ascending


@attrs.frozen
class Network:
    """
    What a node needs to know of a network to take part in it.
    """

    name: str
    #: What Status compares; nearly always the same as C{chain_id}.
    network_id: int
    #: What transactions are signed for (EIP-155).
    chain_id: int
    genesis_hash: bytes
    genesis_header: Header | None = None
    #: Block numbers of the forks, in order, without those active at genesis.
    fork_blocks: tuple[int, ...] = attrs.field(default=(), converter=ascending)
    #: Timestamps of the forks that are scheduled by time, the same way.
    fork_times: tuple[int, ...] = attrs.field(default=(), converter=ascending)
    #: C{enode://} URLs.
    bootnodes: tuple[str, ...] = ()
    #: C{enrtree://} URLs (EIP-1459).
    dns: tuple[str, ...] = ()
    #: Where its nodes listen unless told otherwise, TCP and UDP.
    port: int = 30303

    @cached_property
    def _schedule(self) -> ForkSchedule:
        return ForkSchedule(self.genesis_hash, self.fork_blocks, self.fork_times)

    def fork_id(self, number: int, timestamp: int) -> ForkId:
        """
        The fork id of a node whose head has this number and timestamp (EIP-2124, EIP-6122).
        """
        return self._schedule.fork_id(number, timestamp)

    def check_fork_id(self, remote: ForkId, number: int, timestamp: int) -> None:
        """
        Whether a peer with fork id C{remote} may be on this network, seen from a head with this number and
        timestamp.

        @raise ethp2p.networks.ForkRejected: it is not.
        """
        self._schedule.check(remote, number, timestamp)
