"""
The memory of proofs: how long, how many, and who goes first.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4.bonds import Bonds
from ethp2p.discv4.limits import BOND_LIFETIME, GREETING_LIFETIME, MAX_BONDS, MAX_BONDS_PER_HOST

HOST = "192.0.2.1"


def name(number: int) -> bytes:
    return number.to_bytes(64)


class BondsTests(SynchronousTestCase):
    def test_key_and_host(self) -> None:
        """A proof is of a key at an address, not of one of them."""
        bonds = Bonds()
        bond = bonds.prove(HOST, name(1), 0.0)
        self.assertIs(bonds.get(HOST, name(1), 1.0), bond)
        self.assertIsNone(bonds.get(HOST, name(2), 1.0))
        self.assertIsNone(bonds.get("192.0.2.2", name(1), 1.0))
        self.assertTrue(bonds.any_at(HOST))
        self.assertFalse(bonds.any_at("192.0.2.2"))

    def test_lifetime(self) -> None:
        bonds = Bonds()
        bonds.prove(HOST, name(1), 0.0)
        self.assertIsNotNone(bonds.get(HOST, name(1), BOND_LIFETIME - 1))
        bonds.prove(HOST, name(1), BOND_LIFETIME - 1)
        self.assertIsNotNone(bonds.get(HOST, name(1), BOND_LIFETIME + 1))
        self.assertIsNone(bonds.get(HOST, name(1), 2 * BOND_LIFETIME))
        self.assertEqual(len(bonds), 0)
        self.assertFalse(bonds.any_at(HOST))

    def test_greeting(self) -> None:
        bond = Bonds().prove(HOST, name(1), 0.0)
        self.assertFalse(bond.knows_us(0.0))
        bond.greeted = 5.0
        self.assertTrue(bond.knows_us(GREETING_LIFETIME))
        self.assertFalse(bond.knows_us(GREETING_LIFETIME + 5.0))

    def test_cap(self) -> None:
        """The one longest not renewed goes first."""
        bonds = Bonds(3)
        for number in (1, 2, 3, 1, 4):
            bonds.prove(f"192.0.2.{number}", name(number), 0.0)
        self.assertEqual(
            [number for number in range(5) if bonds.get(f"192.0.2.{number}", name(number), 0.0)], [1, 3, 4]
        )
        self.assertEqual((Bonds().most, Bonds().per_host), (MAX_BONDS, MAX_BONDS_PER_HOST))

    def test_cap_of_a_host(self) -> None:
        """One host with many keys pushes out its own only."""
        bonds = Bonds(10, per_host=3)
        bonds.prove("192.0.2.9", name(0), 0.0)
        for number in range(1, 50):
            bonds.prove(HOST, name(number), 0.0)
        self.assertEqual(len(bonds), 4)
        self.assertIsNotNone(bonds.get("192.0.2.9", name(0), 0.0))
        self.assertIsNotNone(bonds.get(HOST, name(47), 0.0))
        self.assertIsNone(bonds.get(HOST, name(46), 0.0))

    def test_cap_of_a_subscriber(self) -> None:
        """Any line has 2**64 IPv6 addresses."""
        bonds = Bonds(10, per_host=3)
        for number in range(1, 50):
            bonds.prove(f"2001:db8:0:1::{number:x}", name(1), 0.0)
        self.assertEqual(len(bonds), 3)
        bonds.prove("2001:db8:0:2::1", name(1), 0.0)
        self.assertEqual(len(bonds), 4)
        self.assertIsNone(bonds.get("2001:db8:0:1::99", name(1), 0.0))

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.booleans()), max_size=60))
    def test_bounded(self, steps: list[tuple[int, int, bool]]) -> None:
        """Whatever is proven and expires in whatever order, the caps hold and the two views agree."""
        bonds = Bonds(8, per_host=3)
        now = 0.0
        for host, number, later in steps:
            now += BOND_LIFETIME / 4 if later else 0.0
            bonds.get(f"192.0.2.{host}", name(number + 1), now)
            bond = bonds.prove(f"192.0.2.{host}", name(number), now)
            self.assertIs(bonds.get(f"192.0.2.{host}", name(number), now), bond)
            self.assertLessEqual(len(bonds), 8)
            groups = [len(group) for group in bonds._groups.values()]
            self.assertEqual(sum(groups), len(bonds))
            self.assertTrue(all(0 < size <= 3 for size in groups))
