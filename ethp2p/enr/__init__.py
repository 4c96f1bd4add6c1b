"""
Node records: what a node says about itself, signed.

Speaks EIP-778 (devp2p enr.md) with the "v4" identity scheme, and the entries of enr-entries/eth.md.  Floor 0:
bytes in, frozen values out.

Where others differ:

 - Records of an identity scheme nobody here knows are carried untouched, without key or id; geth refuses them.
 - The whole record has to be canonical RLP, inside lists too; geth looks only at the outer items.
 - C{snap} and C{bsc} have no specification.  They are what geth and BSC write: a list, empty today.
"""

from ethp2p.enr.entries import Entry, EthEntry
from ethp2p.enr.record import BadSignature, Record

__all__ = ["BadSignature", "Entry", "EthEntry", "Record"]
