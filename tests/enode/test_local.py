import os
from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey
from ethp2p.enode.local import MAX_SEQ, LocalNode, SeqFile
from ethp2p.enode.node import Node
from ethp2p.enode.vote import MIN_STATEMENTS, WINDOW
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry, EthEntry
from ethp2p.enr.record import MAX_SIZE
from ethp2p.errors import ConfigError, LocalProtocolError

KEY = PrivateKey.parse(b"\x21" * 32)
WALL = 1_800_000_000_000
X = Entry(b"x", rlp.UINT64)


class Store:
    """A store in memory that can be told to fail."""

    def __init__(self, seq=None):
        self.seq = seq
        self.broken = False

    def load(self):
        return self.seq

    def save(self, seq):
        if self.broken:
            raise ConfigError("disk full")
        self.seq = seq


def host(number, version=4):
    return f"2400:{number:x}::1" if version == 6 else f"8.{number // 256}.{number % 256}.8"


def vote(local, addr, count=MIN_STATEMENTS, now=0.0, start=0):
    for number in range(start, start + count):
        local.statement(addr, host(number, ip_address(addr[0]).version), now)


class Records(SynchronousTestCase):
    def test_first(self):
        local = LocalNode(KEY, wall_ms=WALL, tcp=30303, udp=30304)
        self.assertEqual(local.record.seq, WALL)
        self.assertEqual(local.node, Node(KEY.public_key, "", 30303, 30304, local.record))
        self.assertEqual((local.node_id, local.public_key), (KEY.public_key.node_id, KEY.public_key))

    def test_signed_only_when_changed(self):
        local = LocalNode(KEY, wall_ms=WALL)
        first = local.record
        self.assertIs(local.record, first)
        local.set_entry(X, 3)
        local.set_entry(entries.SNAP, True)
        self.assertEqual((local.record.seq, local.record.get(X)), (WALL + 1, 3))
        local.set_entry(X, 3)
        self.assertEqual(local.record.seq, WALL + 1)
        local.set_entry(X, 4)
        local.set_entry(X, 3)
        self.assertEqual(local.record.seq, WALL + 1)
        local.set_entry(X, None)
        self.assertEqual(local.record.seq, WALL + 2)
        self.assertIsNone(local.record.get(X))
        self.assertTrue(local.record.get(entries.SNAP))
        self.assertNotEqual(local.record, first)

    def test_signed_with_all_that_has_changed(self):
        """Whatever is set shows in the next record, and only then is there another."""
        local = LocalNode(KEY, wall_ms=WALL)
        for change, entry, value in (
            (lambda: local.set_ports(1, 0), entries.TCP, 1),
            (lambda: local.set_ports(1, 2), entries.UDP, 2),
            (lambda: local.set_fallback_ip("10.0.0.1"), entries.IP, ip_address("10.0.0.1")),
            (lambda: vote(local, ("9.9.9.9", 3)), entries.UDP, 3),
            (lambda: local.set_static_ip("10.0.0.3"), entries.IP, ip_address("10.0.0.3")),
            (lambda: local.set_entry(X, 4), X, 4),
        ):
            before = local.record
            self.assertNotEqual(before.get(entry), value)
            change()
            self.assertEqual((local.record.get(entry), local.record.seq), (value, before.seq + 1))
            self.assertIs(local.record, local.record)

    def test_refuses(self):
        local = LocalNode(KEY, wall_ms=WALL)
        first = local.record
        for entry, value in (
            (entries.ID, "v4"),
            (entries.SECP256K1, KEY.public_key),
            (entries.UDP, 1),
            (entries.IP6, None),
            (X, 1 << 64),
            (entries.ETH, EthEntry(b"", 0)),
            (Entry(b"long", rlp.BYTES), b"a" * 200),
        ):
            self.assertRaises(LocalProtocolError, local.set_entry, entry, value)
        self.assertRaises(LocalProtocolError, local.set_ports, 65536, 0)
        self.assertRaises(LocalProtocolError, LocalNode, KEY, wall_ms=WALL, udp=-1)
        self.assertRaises(ValueError, local.set_static_ip, "localhost")
        self.assertIs(local.record, first)

    def test_a_full_record_has_room_for_any_endpoint(self):
        local = LocalNode(KEY, wall_ms=MAX_SEQ - 1, tcp=1)
        filler = Entry(b"filler", rlp.BYTES)
        for size in range(56, MAX_SIZE):
            try:
                local.set_entry(filler, b"a" * size)
            except LocalProtocolError:
                break
        local.set_static_ip("255.255.255.254")
        vote(local, ("2400::ffff", 65535))
        local.set_ports(65535, 65534)
        record = local.record
        self.assertEqual(len(record.get(filler)), size - 1)
        self.assertEqual(
            [record.get(entry) for entry in (entries.TCP, entries.UDP, entries.UDP6)], [65535, 65534, 65535]
        )
        self.assertLessEqual(len(record.encode()), MAX_SIZE)


class Endpoints(SynchronousTestCase):
    def where(self, local):
        record = local.record
        names = (entries.IP, entries.UDP, entries.IP6, entries.UDP6)
        return tuple(None if record.get(n) is None else str(record.get(n)) for n in names), record.seq - WALL

    def test_static_over_predicted_over_fallback(self):
        """geth's localnode_test.go, TestLocalNodeEndpoint, told anew."""
        local = LocalNode(KEY, wall_ms=WALL)
        self.assertEqual(self.where(local), ((None, None, None, None), 0))
        local.set_fallback_ip("127.0.0.1")
        local.set_ports(0, 80)
        self.assertEqual(self.where(local), (("127.0.0.1", "80", None, None), 1))
        vote(local, ("9.0.1.2", 81), MIN_STATEMENTS - 1)
        self.assertEqual(self.where(local), (("127.0.0.1", "80", None, None), 1))
        vote(local, ("9.0.1.2", 81), 1, start=50)
        self.assertEqual(self.where(local), (("9.0.1.2", "81", None, None), 2))
        local.set_static_ip("9.0.1.3")
        self.assertEqual(self.where(local), (("9.0.1.3", "80", None, None), 3))
        local.set_static_ip("0.0.0.0")
        self.assertEqual(self.where(local), (("9.0.1.2", "81", None, None), 4))
        vote(local, ("9.0.1.2", 81), 1, now=WINDOW, start=60)  # the others are too old now
        self.assertEqual(self.where(local), (("127.0.0.1", "80", None, None), 5))
        local.set_fallback_ip("0.0.0.0")
        self.assertEqual(self.where(local), ((None, "80", None, None), 6))

    def test_families_are_apart(self):
        local = LocalNode(KEY, wall_ms=WALL, udp=30303)
        vote(local, ("2400::1", 30303))
        self.assertEqual(self.where(local)[0], (None, "30303", "2400::1", None))
        vote(local, ("9.0.0.1", 40000))
        self.assertEqual(self.where(local)[0], ("9.0.0.1", "40000", "2400::1", "30303"))
        self.assertEqual(local.node.host, "9.0.0.1")
        local.set_static_ip("2400::2")
        self.assertEqual(self.where(local)[0], ("9.0.0.1", "40000", "2400::2", "30303"))
        for number in range(3 * MIN_STATEMENTS):
            local.statement(("::ffff:9.0.0.2", 1), host(number), 0)
        self.assertEqual(self.where(local)[0][:2], ("9.0.0.2", "1"))
        for number in range(9 * MIN_STATEMENTS):  # whoever sees us by one does not see where we are by the other
            local.statement(("9.0.0.3", 1), host(number, 6), 0)
            local.statement(("2400::3", 1), host(number, 4), 0)
        self.assertEqual(self.where(local)[0][:3], ("9.0.0.2", "1", "2400::2"))
        local.set_static_ip("::")
        self.assertEqual(self.where(local)[0][2:], ("2400::1", "30303"))

    def test_nonsense_has_no_voice(self):
        local = LocalNode(KEY, wall_ms=WALL)
        for addr in (("127.0.0.1", 1), ("192.168.0.1", 1), ("0.0.0.0", 1), ("9.0.0.1", 0), ("9.0.0.1", 65536)):
            vote(local, addr, 2 * MIN_STATEMENTS)
            self.assertEqual(self.where(local), ((None, None, None, None), 0))
        for number in range(MIN_STATEMENTS):  # but within a private network that is where we are
            local.statement(("192.168.0.1", 5), f"192.168.0.{number + 2}", 0)
        self.assertEqual(self.where(local)[0], ("192.168.0.1", "5", None, None))

    def test_full_cone(self):
        local = LocalNode(KEY, wall_ms=WALL)
        local.contact(host(0), 0)
        vote(local, ("9.0.1.2", 81), 1)
        self.assertFalse(local.full_cone(4, 0))
        vote(local, ("9.0.1.2", 81), 2)
        self.assertTrue(local.full_cone(4, 0))
        self.assertFalse(local.full_cone(6, 0))


class Seqs(SynchronousTestCase):
    def file(self):
        return SeqFile(Path(self.mktemp()))

    def test_kept(self):
        file = self.file()
        self.assertIsNone(file.load())
        local = LocalNode(KEY, wall_ms=WALL, store=file)
        self.assertEqual(local.record.seq, WALL)
        local.set_entry(X, 1)
        self.assertEqual(local.record.seq, WALL + 1)
        self.assertEqual(file.load(), WALL + 1)
        # the clock has gone back since
        self.assertEqual(LocalNode(KEY, wall_ms=WALL - 9, store=file).record.seq, WALL + 2)
        # and forward again
        self.assertEqual(LocalNode(KEY, wall_ms=WALL + 9, store=file).record.seq, WALL + 9)
        self.assertEqual(os.listdir(os.path.dirname(os.path.abspath(file.path))).count(file.path.name + ".new"), 0)

    def test_damaged(self):
        file = self.file()
        for damage in (
            b"",
            b"\n",
            b"17",
            b"-5\n",
            b"1e9\n",
            b"\xff\xfe\n",
            b" 5\n",
            b"5\n\n",
            b"9" * 19 + b"\n",
            b"1" * 99,
        ):
            Path(file.path).write_bytes(damage)
            self.assertIsNone(file.load(), damage)
            self.assertEqual(LocalNode(KEY, wall_ms=WALL, store=file).record.seq, WALL)
            self.assertEqual(file.load(), WALL)

    def test_written_whole(self):
        """Whatever happens on the way, the file holds the old seq or the new one."""
        file = self.file()
        file.save(5)

        def crash(descriptor):
            self.assertEqual(file.load(), 5)
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", crash)
        self.assertIn("No space left", str(self.assertRaises(ConfigError, file.save, 6)))
        self.assertEqual(file.load(), 5)

    def test_unusable_store_is_found_at_the_start(self):
        missing = SeqFile(Path(self.mktemp()) / "seq")
        self.assertIn("cannot write", str(self.assertRaises(ConfigError, LocalNode, KEY, wall_ms=WALL, store=missing)))
        directory = Path(self.mktemp())
        directory.mkdir()
        self.assertIn("cannot read", str(self.assertRaises(ConfigError, SeqFile(directory).load)))

    def test_store_that_fails_later(self):
        store = Store()
        local = LocalNode(KEY, wall_ms=WALL, store=store)
        self.assertIsNone(local.store_error)
        store.broken = True
        self.assertEqual(local.record.seq, WALL)
        self.assertIn("disk full", str(local.store_error))
        local.set_entry(X, 1)
        store.broken = False
        self.assertEqual(local.record.seq, WALL + 1)
        self.assertIsNone(local.store_error)
        self.assertEqual(store.seq, WALL + 1)

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("set"), st.integers(0, 3)),
                st.tuples(st.just("restart"), st.integers(WALL - 50, WALL + 50)),
                st.tuples(st.just("read"), st.none()),
            ),
            max_size=30,
        )
    )
    def test_never_two_records_of_one_seq(self, steps):
        """Over changes and restarts with any clock: what is signed later is newer."""
        store = Store()
        local, seen = LocalNode(KEY, wall_ms=WALL, store=store), []
        for step, value in steps:
            if step == "set":
                local.set_entry(X, value)
            elif step == "restart":
                local = LocalNode(KEY, wall_ms=value, store=store)
            elif not seen or local.record != seen[-1]:
                seen.append(local.record)
        seqs = [record.seq for record in seen]
        self.assertEqual(seqs, sorted(set(seqs)))
