"""
What a Status means, in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import attrs

from ethp2p import networks
from ethp2p.eth.messages import Status
from ethp2p.networks import ForkId, ForkRejected, Network, RemoteStale
from ethp2p.networks.forkid import FIRST_TIMESTAMP

#: A head far ahead of any: of a node that is in sync.
FAR = 1 << 62


@attrs.frozen
class Verdict:
    """
    Which network a peer is on, and whether it goes with it.
    """

    #: By name; None when its genesis is not known here.
    network: str | None
    #: Whether a node in sync would keep it as a peer; None when its network is not known.
    agrees: bool | None
    words: str


def fork_text(number: int) -> str:
    """When a fork is: C{block 15050000}, or C{2024-03-13 13:55:35 UTC}."""
    if number < FIRST_TIMESTAMP:
        return f"block {number}"
    try:
        return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # some nodes say that a fork is at the end of time
        return f"time {number}"


def known_networks() -> Iterator[Network]:
    """Those known by name."""
    return map(networks.named, networks.NAMES)


def judge(status: Status, now: float, wanted: Network | None = None) -> Verdict:
    """
    @param now: Unix time.
    @param wanted: the network that it should be on; by default any that is known by name.
    """
    if wanted is not None and wanted.genesis_hash == status.genesis_hash:
        return _judge(wanted, status, int(now))
    network = next((one for one in known_networks() if one.genesis_hash == status.genesis_hash), None)
    if wanted is not None:
        where = f"network {status.network_id}" if network is None else network.name
        return Verdict(None if network is None else network.name, False, f"on {where}, and not on {wanted.name}")
    if network is None:
        return Verdict(None, None, f"on network {status.network_id}, whose genesis is not known here")
    return _judge(network, status, int(now))


def fork_network(fork_id: ForkId, now: float) -> str | None:
    """Of a node that says no more than its fork id, as in its record: the network known by name that it goes with."""
    for network in known_networks():
        try:
            network.check_fork_id(fork_id, FAR, int(now))
        except ForkRejected:
            continue
        return network.name
    return None


def _judge(network: Network, status: Status, now: int) -> Verdict:
    name, theirs, ours = network.name, status.fork_id, network.fork_id(FAR, now)
    if status.network_id != network.network_id:
        words = f"has the genesis of {name}, but network id {status.network_id} and not {network.network_id}"
        return Verdict(name, False, words)
    try:
        network.check_fork_id(theirs, FAR, now)
    except RemoteStale:
        due = _after(network, theirs)
        return Verdict(name, False, f"on {name}, but does not know the fork of {fork_text(due)}: it needs an update")
    except ForkRejected:
        if theirs.hash == ours.hash:
            words = f"on {name}, but expects a fork at {fork_text(theirs.next)}, which {name} has passed without"
        else:
            words = f"has the genesis of {name}, but forks that are not {name}'s, or not known here"
        return Verdict(name, False, words)
    if theirs.hash != ours.hash:
        due = _after(network, theirs)
        ahead = not due or due > max(now, FIRST_TIMESTAMP)
        words = "is ahead of our clock" if ahead else f"has not passed the fork of {fork_text(due)} yet: it is syncing"
        return Verdict(name, True, f"on {name}, and {words}")
    if theirs.next == ours.next:
        rest = "knows all its forks" if not ours.next else f"knows of the next fork, {fork_text(ours.next)}"
    elif theirs.next:
        rest = f"knows of a fork that is not known here, {fork_text(theirs.next)}"
    else:
        rest = f"does not know of the next fork: it needs an update before {fork_text(ours.next)}"
    return Verdict(name, True, f"on {name}, and {rest}")


def _after(network: Network, fork_id: ForkId) -> int:
    """The fork that follows the one a node has passed last; 0 when there is none."""
    forks = [(number, 0) for number in network.fork_blocks] + [(FAR, time) for time in network.fork_times]
    for number, time in [(0, 0), *forks]:
        passed = network.fork_id(number, time)
        if passed.hash == fork_id.hash:
            return passed.next
    return 0
