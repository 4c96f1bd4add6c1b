"""
Networks: which chain, which forks, which fork id, and where to meet the first nodes.

Knows mainnet, sepolia, hoodi, holesky, BNB Smart Chain and its testnet chapel, and reads genesis files in geth's
format.  Fork ids follow EIP-2124 and EIP-6122.  Floor 0.

Known discrepancies: where the EIPs leave open whether a peer's next fork is a block number or a timestamp, a
number above the time of mainnet's genesis is a timestamp, as in geth.  geth counts the forks of a genesis file
that it knows by name; here every name that ends in C{Block} or C{Time} counts.
"""

from ethp2p.networks.forkid import FORK_ID, ForkId, ForkRejected, ForkSchedule, LocalIncompatible, RemoteStale
from ethp2p.networks.genesis import from_genesis
from ethp2p.networks.network import Network
from ethp2p.networks.public import NAMES, named

__all__ = [
    "FORK_ID",
    "NAMES",
    "ForkId",
    "ForkRejected",
    "ForkSchedule",
    "LocalIncompatible",
    "Network",
    "RemoteStale",
    "from_genesis",
    "named",
]
