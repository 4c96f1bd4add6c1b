"""
Accounts, as far as a genesis block needs them.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ethp2p.blocks.trie import secure_root
from ethp2p.codec import rlp
from ethp2p.codec.rlp import HASH, UINT64, UINT256
from ethp2p.crypto.keccak import keccak256


@attrs.frozen
class Account:
    """An account in the state."""

    #: In wei.
    balance: int = 0
    nonce: int = 0
    code: bytes = attrs.field(default=b"", repr=False)
    #: Values by slot, 32 bytes each.
    storage: Mapping[bytes, bytes] = attrs.field(factory=dict, repr=False)

    @property
    def storage_root(self) -> bytes:
        """The root of its storage; a slot of zeros is the same as none."""
        slots = {slot: value.lstrip(b"\0") for slot, value in self.storage.items()}
        return secure_root({slot: rlp.encode(value) for slot, value in slots.items() if value})

    def encode(self) -> bytes:
        """
        As the state trie has it: C{[nonce, balance, storage root, code hash]}.

        Source: Yellow Paper, section 4.1.
        """
        return rlp.encode(
            [
                UINT64.dump(self.nonce),
                UINT256.dump(self.balance),
                HASH.dump(self.storage_root),
                HASH.dump(keccak256(self.code)),
            ]
        )


def genesis_state_root(alloc: Mapping[bytes, Account]) -> bytes:
    """
    The state root of a genesis block.

    @param alloc: accounts by address, 20 bytes.  Empty ones count: at genesis nothing clears them.
    """
    return secure_root({address: account.encode() for address, account in alloc.items()})
