"""
Nodes passed on: who is told of whom agrees with what the other side believes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv4 import relay, wire
from ethp2p.discv4.limits import ANSWER_SIZE, LOW_PORT, MAX_TOLD
from ethp2p.enode.cidr import as_ip
from tests.discv4.support import key, node

#: Some of each kind, and any.
IPS = st.one_of(
    st.sampled_from(
        ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "fe80::1", "fd00::1", "51.15.0.1", "2a00::1"]
        + ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "203.0.113.1", "2001:db8::1", "ff02::1"]
    ).map(as_ip),
    st.ip_addresses().map(lambda ip: as_ip(str(ip))),
)


class RelayTests(SynchronousTestCase):
    @given(IPS, IPS)
    def test_told_and_believed(self, teller: IPv4Address | IPv6Address, ip: IPv4Address | IPv6Address) -> None:
        """
        An asker is told of a node exactly when one that is where the asker is could have told of it, too.
        """
        there = node(5, str(ip))
        told = relay.tell([there], teller)
        believed = relay.believe(wire.Neighbor(ip.packed, 30303, 30303, there.public_key.raw), teller)
        self.assertEqual(told != [], believed is not None)
        if believed is not None:
            self.assertEqual(believed, there)
            self.assertEqual(told, [wire.neighbor(ip, 30303, 30303, there.public_key)])

    def test_believe(self) -> None:
        here = as_ip("51.15.0.1")
        raw = key(5).public_key.raw
        for ip, udp, public_key, good in (
            (bytes((51, 15, 0, 2)), LOW_PORT + 1, raw, True),
            (bytes((51, 15, 0, 2)), LOW_PORT, raw, False),
            (bytes((51, 15, 0, 2)), 0, raw, False),
            (bytes((51, 15, 0, 2)), 30303, bytes(64), False),
            (bytes(10) + b"\xff\xff" + bytes((51, 15, 0, 2)), 30303, raw, True),
            (bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2)), 30303, raw, False),
            (b"", 30303, raw, False),
            (bytes(5), 30303, raw, False),
        ):
            self.assertEqual(relay.believe(wire.Neighbor(ip, udp, 0, public_key), here) is not None, good)

    def test_caps(self) -> None:
        """The first that may be told; what is kept to be told again is bounded."""
        nodes = [node(number, f"51.15.{number}.1") for number in range(2, 40)]
        asker = as_ip("51.15.0.1")
        self.assertEqual(len(relay.tell(nodes, asker)), ANSWER_SIZE)
        self.assertEqual(relay.tell(nodes, asker), relay.tell(nodes[:ANSWER_SIZE], asker))
        self.assertEqual(relay._prepare.cache_info().maxsize, MAX_TOLD)
