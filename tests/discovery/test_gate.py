"""
The rate of each source.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery import gate as module
from ethp2p.discovery.gate import MAX_SOURCES, PACKET_BURST, PACKET_RATE, Gate
from ethp2p.enode import Netrestrict


def passed(gate: Gate, host: str, count: int, now: float = 0.0) -> int:
    """How many of C{count} datagrams are admitted."""
    return sum(gate.admits(host, now) for _ in range(count))


class GateTests(SynchronousTestCase):
    def test_rate(self) -> None:
        gate = Gate()
        self.assertEqual(passed(gate, "9.9.9.9", 1000), PACKET_BURST)
        self.assertEqual(passed(gate, "9.9.9.9", 1000, 2.0), 2 * PACKET_RATE)
        self.assertEqual(gate.limited, 2000 - PACKET_BURST - 2 * PACKET_RATE)

    def test_each_has_its_own(self) -> None:
        gate = Gate(burst=5)
        self.assertEqual(passed(gate, "9.9.9.9", 9), 5)
        self.assertEqual(passed(gate, "9.9.9.10", 9), 5)

    def test_one_line_is_one_source(self) -> None:
        """Anybody has a /64 of IPv6 addresses."""
        gate = Gate(burst=5)
        self.assertEqual(sum(gate.admits(f"2a00:1:2:3::{number:x}", 0.0) for number in range(9)), 5)
        self.assertEqual(passed(gate, "2a00:1:2:4::1", 9), 5)

    def test_local_network(self) -> None:
        gate = Gate(burst=5)
        for host in ("127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fe80::1", "fd00::1"):
            self.assertEqual(passed(gate, host, 100), 100)
        self.assertEqual(gate.limited, 0)

    def test_bounded(self) -> None:
        """Whoever speaks stays known; whoever was silent for longest is forgotten."""
        self.assertEqual(MAX_SOURCES, 8192)
        self.patch(module, "MAX_SOURCES", 10)
        gate = Gate(burst=1)
        for number in range(1000):
            gate.admits(f"9.9.{number // 250}.{number % 250}", 0.0)
            self.assertEqual(gate.admits("8.8.8.8", 0.0), number == 0)
        self.assertEqual(len(gate), 10)

    def test_restricted(self) -> None:
        gate = Gate(Netrestrict.parse("10.0.0.0/8"))
        self.assertEqual([passed(gate, host, 3) for host in ("10.0.0.1", "9.9.9.9", "127.0.0.1")], [3, 0, 0])
        self.assertEqual((gate.refused, gate.limited, len(gate)), (6, 0, 1))
