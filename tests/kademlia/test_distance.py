"""
Distances of ids, and places of addresses.
"""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode.cidr import Scope
from ethp2p.kademlia.distance import ABOVE, BELOW, distance, log_distance, nearby_distances
from ethp2p.kademlia.subnets import Place, SubnetLimit
from tests.kademlia.nodes import LOCAL, id_at

IDS = st.binary(min_size=32, max_size=32)


class DistanceTests(SynchronousTestCase):
    def test_bits(self) -> None:
        self.assertEqual(log_distance(LOCAL, LOCAL), 0)
        for bits in (1, 8, 9, 255, 256):
            self.assertEqual(log_distance(LOCAL, id_at(bits)), bits)
            self.assertEqual(distance(LOCAL, id_at(bits)), 1 << (bits - 1))

    @given(IDS, IDS, IDS)
    def test_metric(self, a: bytes, b: bytes, c: bytes) -> None:
        self.assertEqual(distance(a, b), distance(b, a))
        self.assertEqual(distance(a, b) == 0, a == b)
        self.assertLessEqual(distance(a, c), distance(a, b) + distance(b, c))
        self.assertEqual(log_distance(a, b), distance(a, b).bit_length())

    def test_nearby(self) -> None:
        """Below the target's own distance is as near as itself, so that comes before what is above."""
        for bits, expected in (
            (0, [1, 2, 3, 4, 5]),
            (1, [1, 2, 3, 4, 5]),
            (3, [3, 2, 1, 4, 5, 6, 7]),
            (100, [100, 99, 98, 97, 101, 102, 103, 104]),
            (254, [254, 253, 252, 251, 255, 256]),
            (256, [256, 255, 254, 253]),
        ):
            self.assertEqual(nearby_distances(LOCAL, id_at(bits) if bits else LOCAL), expected)

    @given(IDS, IDS)
    def test_nearby_range(self, target: bytes, asked: bytes) -> None:
        found = nearby_distances(target, asked)
        self.assertEqual(len(set(found)), len(found))
        self.assertLessEqual(len(found), 1 + BELOW + ABOVE)
        self.assertTrue(all(1 <= each <= 256 for each in found))


class SubnetTests(SynchronousTestCase):
    def test_places(self) -> None:
        """Who shares a subnet, and how far an address means something."""
        for one, other, same in (
            ("8.8.8.8", "8.8.8.200", True),
            ("8.8.8.8", "8.8.9.8", False),
            ("2a00:1:2:3::1", "2a00:1:2:3:ffff::1", True),
            ("2a00:1:2:3::1", "2a00:1:2:4::1", False),
            ("8.8.8.8", "::808", False),
        ):
            places = Place.of(ip_address(one)), Place.of(ip_address(other))
            self.assertEqual(places[0].subnet == places[1].subnet, same, (one, other))
        for host, scope in (
            ("127.0.0.1", Scope.LOOPBACK),
            ("::1", Scope.LOOPBACK),
            ("10.1.2.3", Scope.LAN),
            ("192.168.0.1", Scope.LAN),
            ("fe80::1", Scope.LAN),
            ("fd00::1", Scope.LAN),
            ("8.8.8.8", Scope.PUBLIC),
            ("2a00::1", Scope.PUBLIC),
        ):
            place = Place.of(ip_address(host))
            self.assertEqual(place.scope, scope, host)
            self.assertEqual(place.subnet is None, scope is not Scope.PUBLIC, host)

    def test_limit(self) -> None:
        limit = SubnetLimit(2)
        subnet = (4, 1)
        self.assertEqual([limit.add(subnet) for _ in range(3)], [True, True, False])
        self.assertTrue(limit.add((4, 2)))
        limit.remove(subnet)
        self.assertEqual([limit.add(subnet) for _ in range(2)], [True, False])
        self.assertTrue(all(limit.add(None) for _ in range(100)))
        limit.remove(None)
