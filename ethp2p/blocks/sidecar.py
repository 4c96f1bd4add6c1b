"""
What travels beside a blob transaction and never enters a block: blobs, commitments and proofs.

Source: EIP-4844, "Networking"; EIP-7594 (version 1: one proof a cell); EIP-8070 (blobs left out).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import attrs

from ethp2p.codec import rlp
from ethp2p.errors import WireError

#: Bytes of a blob: 4096 field elements.
BLOB_SIZE = 131072
#: Cells a blob is extended to, each with a proof in version 1.
CELLS_PER_BLOB = 128
#: Most blobs accepted in one transaction.  More do not fit in the largest message that RLPx carries.
MAX_BLOBS = 128

_BLOBS = rlp.list_of(rlp.fixed(BLOB_SIZE), most=MAX_BLOBS)
_COMMITMENTS = rlp.list_of(rlp.fixed(48), most=MAX_BLOBS)
_PROOFS = rlp.list_of(rlp.fixed(48), most=MAX_BLOBS * CELLS_PER_BLOB)


@attrs.frozen
class Sidecar:
    """
    The sidecar of one transaction.  From eth/72 on C{blobs} is empty and the cells are asked for apart.
    """

    #: 0 (EIP-4844) or 1 (EIP-7594).
    version: int
    blobs: tuple[bytes, ...] = attrs.field(repr=False)
    #: 48 bytes each, as many as blobs.
    commitments: tuple[bytes, ...] = attrs.field(repr=False)
    #: 48 bytes each: one a blob in version 0, one a cell in version 1.
    proofs: tuple[bytes, ...] = attrs.field(repr=False)

    @classmethod
    def decode(cls, items: Sequence[bytes]) -> Sidecar:
        """
        Read the encoded items that follow the transaction in its network form: the version, which version 0
        leaves out, blobs, commitments and proofs.

        @raise ethp2p.errors.WireError: not a sidecar of a known version.
        """
        version = 0
        if len(items) == 4:
            version = rlp.UINT8.decode(items[0])
            if version != 1:
                raise WireError(f"a sidecar of version {version}")
            items = items[1:]
        if len(items) != 3:
            raise WireError(f"a sidecar of {len(items)} lists, not 3")
        return cls(version, _BLOBS.decode(items[0]), _COMMITMENTS.decode(items[1]), _PROOFS.decode(items[2]))

    def encode(self) -> list[bytes]:
        """The encoded items: the reverse of L{decode}."""
        lists = [_BLOBS.encode(self.blobs), _COMMITMENTS.encode(self.commitments), _PROOFS.encode(self.proofs)]
        return [rlp.UINT8.encode(self.version), *lists] if self.version else lists

    def matches(self, versioned_hashes: Sequence[bytes]) -> bool:
        """
        Whether the counts agree and the commitments are those that the transaction names.  The blobs
        themselves are not checked: that takes KZG.
        """
        count = len(versioned_hashes)
        proofs = count * (CELLS_PER_BLOB if self.version else 1)
        return (
            (len(self.commitments), len(self.proofs)) == (count, proofs)
            and (len(self.blobs) == count or not self.blobs)
            and all(map(_commits_to, self.commitments, versioned_hashes))
        )


def versioned_hash(commitment: bytes) -> bytes:
    """What a transaction names a blob by, 32 bytes (EIP-4844, C{kzg_to_versioned_hash})."""
    return b"\x01" + sha256(commitment).digest()[1:]


def _commits_to(commitment: bytes, name: bytes) -> bool:
    return versioned_hash(commitment) == name
