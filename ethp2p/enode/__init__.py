"""
Nodes: who they are and where, as text and as values; and this node's own record, kept true.

Speaks C{enode://} URLs (as geth's documentation gives them; there is no EIP) and C{enr:} texts (EIP-778), and
CIDR lists.  The endpoint vote follows geth's figures.  Floor 0.

Where others differ:

 - geth takes any text as a host, ignores unknown query parameters and a path, and takes C{@:port} without a
   host.  Here each is an error that says so, since each is somebody's typing mistake.
 - Like geth, an IPv4 address written as IPv6 (C{::ffff:1.2.3.4}) is the IPv4 address.
 - geth predicts the endpoint that most others named; here it has to be more than half of them, and hosts of
   one public /24 or IPv6 /64 have one voice together.
"""

from ethp2p.enode.cidr import Netrestrict
from ethp2p.enode.local import LocalNode, SeqFile, SeqStore
from ethp2p.enode.node import Node

__all__ = ["LocalNode", "Netrestrict", "Node", "SeqFile", "SeqStore"]
