"""
What a chain is made of: headers, transactions, bodies, receipts, blocks, and the roots that bind them.

Speaks the RLP of blocks from Frontier to Amsterdam (Yellow Paper, section 4; EIP-2718 and those named at each
field), in the strict shapes of C{codec}.  A value read from bytes keeps them, so that hashing, serving and
comparing never encode again.  What a body holds stays unparsed until it is wanted.  Floor 0.

Known discrepancies: no state, no execution, no KZG; a high s in a signature is refused everywhere, though
Frontier's rules took it; the Bloom filter in a receipt has to be that of its logs.
"""

from ethp2p.blocks.account import Account, genesis_state_root
from ethp2p.blocks.block import Block
from ethp2p.blocks.body import Body, Withdrawal
from ethp2p.blocks.envelope import unwrap, wrap
from ethp2p.blocks.header import EMPTY_OMMERS_HASH, Header
from ethp2p.blocks.receipt import Log, Receipt, logs_bloom, receipts_root
from ethp2p.blocks.sidecar import Sidecar, versioned_hash
from ethp2p.blocks.transaction import AccessListEntry, Authorization, Transaction, TxType
from ethp2p.blocks.trie import EMPTY_ROOT, ordered_root, secure_root, trie_root

__all__ = [
    "EMPTY_OMMERS_HASH",
    "EMPTY_ROOT",
    "AccessListEntry",
    "Account",
    "Authorization",
    "Block",
    "Body",
    "Header",
    "Log",
    "Receipt",
    "Sidecar",
    "Transaction",
    "TxType",
    "Withdrawal",
    "genesis_state_root",
    "logs_bloom",
    "ordered_root",
    "receipts_root",
    "secure_root",
    "trie_root",
    "unwrap",
    "versioned_hash",
    "wrap",
]
