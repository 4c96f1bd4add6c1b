"""
Chains to serve from and to check peers against.

L{MemoryChain} keeps every block in memory as the bytes it came in; L{load_chain} fills one from a directory
with C{genesis.json} and C{chain.rlp}, as C{geth export} and the conformance suites write them; L{Follower} grows
one by what peers have.  Floor 5.

A block is accepted when it is whole: its parent is the head, its number the next, its body and receipts what
its header says.  No transaction is run and no seal is checked, so only what is trusted belongs here.
"""

from ethp2p.chain.files import load_chain
from ethp2p.chain.follow import Follower, OtherBranch, fetch_blocks
from ethp2p.chain.memory import MemoryChain, UnfitBlock

__all__ = ["Follower", "MemoryChain", "OtherBranch", "UnfitBlock", "fetch_blocks", "load_chain"]
