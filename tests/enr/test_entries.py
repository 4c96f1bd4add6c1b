from ipaddress import IPv4Address, IPv6Address

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry, EthEntry
from ethp2p.enr.record import Record
from ethp2p.errors import WireError

FORK = bytes.fromhex("07c9462e")
IP6 = bytes.fromhex("20014860000020010000000000000068")

#: (entry, raw value, what it means)
GOOD = [
    (entries.IP, b"\x7f\x00\x00\x01", IPv4Address("127.0.0.1")),
    (entries.IP6, IP6, IPv6Address("2001:4860:0:2001::68")),
    (entries.TCP, b"\x76\x5f", 30303),
    (entries.TCP6, b"", 0),
    (entries.UDP, b"\xff\xff", 65535),
    (entries.UDP6, b"\x01", 1),
    (entries.ETH, [[FORK, b""]], EthEntry(FORK, 0)),
    (entries.ETH, [[FORK, b"\x01\x00"], b"future", [b"more"]], EthEntry(FORK, 256)),
    (entries.SNAP, [], True),
    (entries.SNAP, [b"future"], True),
    (entries.BSC, [], True),
]
BAD = [
    (entries.IP, b"\x7f\x00\x01"),
    (entries.IP, IP6),
    (entries.IP, [b"\x7f\x00\x00\x01"]),
    (entries.IP6, b"\x7f\x00\x00\x01"),
    (entries.TCP, b"\x00"),
    (entries.TCP, b"\x00\x50"),
    (entries.TCP, b"\x01\x00\x00"),
    (entries.UDP, [b"\x50"]),
    (entries.ETH, b""),
    (entries.ETH, []),
    (entries.ETH, [FORK, b""]),
    (entries.ETH, [[FORK]]),
    (entries.ETH, [[FORK, b"", b""]]),
    (entries.ETH, [[FORK[:3], b""]]),
    (entries.ETH, [[FORK, b"\x01" * 9]]),
    (entries.SNAP, b""),
    (entries.BSC, b"\x01"),
    (entries.ID, [b"v4"]),
    (entries.SECP256K1, b"\x02" * 32),
]
KEY = PrivateKey.parse(b"\x11" * 32)


def carrying(key, item):
    """A record in which a value stands as it is."""
    pairs = sorted([(b"id", b"v9"), (key, item)])
    return Record.decode(rlp.encode([b"", b"\x01", *pairs[0], *pairs[1]]))


class Entries(SynchronousTestCase):
    def test_good(self):
        for entry, item, value in GOOD:
            with self.subTest(entry=entry.key, item=item):
                self.assertEqual(carrying(entry.key, item).get(entry), value)
                self.assertEqual(entry.shape.load(entry.shape.dump(value)), value)

    def test_bad(self):
        for entry, item in BAD:
            with self.subTest(entry=entry.key, item=item):
                error = self.assertRaises(WireError, carrying(b"zz", item).get, Entry(b"zz", entry.shape))
                self.assertIn("'zz'", str(error))

    def test_absent(self):
        record = Record.sign(KEY, 1, {})
        for entry, _, _ in GOOD:
            self.assertIsNone(record.get(entry))

    def test_written_as_specified(self):
        """enr-entries/eth.md: [[forkHash, forkNext]]."""
        record = Record.sign(KEY, 1, {entries.ETH: EthEntry(FORK, 5), entries.SNAP: True})
        self.assertEqual(dict(record.pairs)[b"eth"].hex(), "c7c68407c9462e05")
        self.assertEqual(dict(record.pairs)[b"snap"].hex(), "c0")
        self.assertEqual(len(dict(record.pairs)[b"secp256k1"]), 34)

    def test_same_when_the_keys_are(self):
        self.assertEqual(len({entries.TCP, Entry(b"tcp", rlp.BYTES), entries.UDP}), 2)
