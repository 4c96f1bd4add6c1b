"""
Tests of accounts and the state root.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_ROOT, Account, genesis_state_root, secure_root
from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from tests.data import ethtest


class AccountTests(SynchronousTestCase):
    """
    Accounts in the state trie.
    """

    def test_encoding(self) -> None:
        """
        An account without code and storage has the well-known hashes of nothing.
        """
        self.assertEqual(
            Account(balance=2**256 - 1, nonce=1).encode(),
            rlp.encode([b"\x01", b"\xff" * 32, EMPTY_ROOT, keccak256(b"")]),
        )
        self.assertEqual(Account().encode(), rlp.encode([b"", b"", EMPTY_ROOT, keccak256(b"")]))

    def test_storage(self) -> None:
        """
        Values are numbers without zeros in front; a slot of zeros is none.
        """
        slot, other = bytes(32), b"\x01" * 32
        value = bytes(30) + b"\x01\x00"
        self.assertEqual(
            Account(storage={slot: value, other: bytes(32)}).storage_root,
            secure_root({slot: rlp.encode(b"\x01\x00")}),
        )
        self.assertEqual(Account(storage={other: bytes(32)}).storage_root, EMPTY_ROOT)

    def test_empty_accounts_count(self) -> None:
        """
        An account that has nothing is still an account at genesis.
        """
        self.assertNotEqual(genesis_state_root({bytes(20): Account()}), EMPTY_ROOT)
        self.assertEqual(genesis_state_root({}), EMPTY_ROOT)


class HeadStateTests(SynchronousTestCase):
    """
    The state after geth's test chain.
    """

    def test_roots(self) -> None:
        """
        All 194 accounts, their code, their storage, and the root of it all.
        """
        state = json.loads((ethtest() / "headstate.json").read_text())
        accounts = {}
        for address, entry in state["accounts"].items():
            account = Account(
                balance=int(entry["balance"]),
                nonce=entry["nonce"],
                code=bytes.fromhex(entry.get("code", "")[2:]),
                storage={
                    bytes.fromhex(slot[2:]): bytes.fromhex(value) for slot, value in entry.get("storage", {}).items()
                },
            )
            self.assertEqual(account.storage_root.hex(), entry["root"][2:])
            self.assertEqual(keccak256(account.code).hex(), entry["codeHash"][2:])
            accounts[bytes.fromhex(address[2:])] = account
        self.assertEqual(len(accounts), 194)
        self.assertEqual(
            genesis_state_root(accounts).hex(), "8fcfb02cfca007773bd55bc1c3e50a3c8612a59c87ce057e5957e8bf17c1728b"
        )
