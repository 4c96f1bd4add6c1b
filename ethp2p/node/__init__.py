"""
A whole node: the household of one Ethereum network, composed from the floors below.

L{Node} is a C{MultiService} that any Twisted program can run; C{twistd -n ethp2p} runs one.  Floor 5.
"""

from ethp2p.node.service import Node

__all__ = ["Node"]
