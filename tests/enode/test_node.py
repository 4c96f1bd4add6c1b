from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enode.node import Node
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, WireError

ID = (
    "1dd9d65c4552b5eb43d5ad55a2ee3f56c6cbc1c64a5c8d659f51fcd51bace24351232b8d7821617d2b29b54b81cdefb9b3e9c37d7fd5f632"
    "70bcc9e1a6f6a439"
)
KEY = PublicKey.parse(bytes.fromhex(ID))
SIGNER = PrivateKey.parse(bytes.fromhex("45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8"))
RECORD = (
    "enr:-IS4QGrdq0ugARp5T2BZ41TrZOqLc_oKvZoPuZP5--anqWE_J-Tucc1xgkOL7qXl0puJgT7qc2KSvcupc4NCb0nr4tdjgmlkgnY0gmlwhH8A"
    "AAGJc2VjcDI1NmsxoQM6UUF2Rm-oFe1IH_rQkRCi00T2ybeMHRSvw1HDpRvjPYN1ZHCCdl8"
)

#: geth's urlv4_test.go: (what follows the id, host, TCP, UDP).  Each is its own canonical form.
COMPLETE = [
    ("@127.0.0.1:52150", "127.0.0.1", 52150, 52150),
    ("@valid.:3", "valid.", 3, 3),
    ("@[::]:52150", "::", 52150, 52150),
    ("@[2001:db8:3c4d:15::abcd:ef12]:52150", "2001:db8:3c4d:15::abcd:ef12", 52150, 52150),
    ("@127.0.0.1:52150?discport=22334", "127.0.0.1", 52150, 22334),
    ("", "", 0, 0),
    # more of ours
    ("@127.0.0.1:52150?discport=0", "127.0.0.1", 52150, 0),
    ("@127.0.0.1:0", "127.0.0.1", 0, 0),
    ("@127.0.0.1:0?discport=65535", "127.0.0.1", 0, 65535),
    ("@a-b.c_d.example:30303", "a-b.c_d.example", 30303, 30303),
    ("@1.2.3.4.example:30303", "1.2.3.4.example", 30303, 30303),
]

#: (text, canonical form)
OTHER_FORMS = [
    (f"enode://{ID.upper()}@1.2.3.4:1", f"enode://{ID}@1.2.3.4:1"),
    (f"enode://{ID}@1.2.3.4:1?discport=1", f"enode://{ID}@1.2.3.4:1"),
    (f"enode://{ID}@1.2.3.4:030?discport=00", f"enode://{ID}@1.2.3.4:30?discport=0"),
    (f"enode://{ID}@[2001:DB8:0:0::1]:1", f"enode://{ID}@[2001:db8::1]:1"),
    (f"enode://{ID}@Boot.Example:1", f"enode://{ID}@boot.example:1"),
    # as geth has it, IPv4 inside IPv6 is IPv4
    (f"enode://{ID}@[::ffff:1.2.3.4]:1", f"enode://{ID}@1.2.3.4:1"),
    (f"enode://{ID}@[::ffff:102:304]:1", f"enode://{ID}@1.2.3.4:1"),
]

#: (text, words of the error)
WRONG = [
    # geth's urlv4_test.go
    ("enr:", "base64url"),
    ("enr:x", "cut short"),
    (
        "enr:-EmGZm9vYmFyY4JpZIJ2NIJpcIR_AAABiXNlY3AyNTZrMaEDOlFBdkZvqBXtSB_60JEQotNE9sm3jB0Ur8NRw6Ub4z2DdWRwgnZf",
        "not signed",
    ),
    (f"enode://{ID}@127.0.0.1:foo", "port 'foo'"),
    (f"enode://{ID}@127.0.0.1:3?discport=foo", "discport 'foo'"),
    ("", "neither 'enode://' nor 'enr:'"),
    (ID, "neither 'enode://' nor 'enr:'"),
    ("01010101", "neither 'enode://' nor 'enr:'"),
    ("enode://01010101@123.124.125.126:3", "128 hex digits"),
    ("enode://01010101", "128 hex digits"),
    ("http://foobar", "neither 'enode://' nor 'enr:'"),
    ("://foo", "neither 'enode://' nor 'enr:'"),
    # ours
    (f"enode://{ID[:-1]}g@1.2.3.4:1", "128 hex digits"),
    (f"enode://{ID}:pw@1.2.3.4:1", "128 hex digits"),
    (f"enode://{ID}?discport=3", "128 hex digits"),
    (f"enode://{'11' * 64}@1.2.3.4:1", "secp256k1"),
    (f"enode://{ID}@", "no port"),
    (f"enode://{ID}@1.2.3.4", "no port"),
    (f"enode://{ID}@[::1]", "no port"),
    (f"enode://{ID}@:30303", "no host"),
    (f"enode://{ID}@[]:30303", "brackets"),
    (f"enode://{ID}@[1.2.3.4]:30303", "brackets"),
    (f"enode://{ID}@2001:db8::1:30303", "brackets"),
    (f"enode://{ID}@[fe80::1%eth0]:30303", "host name"),
    (f"enode://{ID}@[valid:name]:30303", "host name"),
    (f"enode://{ID}@1.2.3.4:65536", "port '65536'"),
    (f"enode://{ID}@1.2.3.4:-1", "port '-1'"),
    (f"enode://{ID}@1.2.3.4:+1", "port '+1'"),
    (f"enode://{ID}@1.2.3.4:", "port ''"),
    (f"enode://{ID}@1.2.3.4:\u0663", "port '\u0663'"),
    (f"enode://{ID}@1.2.3.4:1/", "port '1/'"),
    (f"enode://{ID}@1.2.3.4:1?discport=", "discport ''"),
    (f"enode://{ID}@1.2.3.4:1?discport=1&discport=2", "discport '1&"),
    (f"enode://{ID}@1.2.3.4:1?dicsport=2", "no parameter 'dicsport'"),
    (f"enode://{ID}@1.2.3.256:1", "host name"),
    (f"enode://{ID}@127.1:1", "host name"),
    (f"enode://{ID}@2130706433:1", "host name"),
    (f"enode://{ID}@0x7f.0x1:1", "host name"),
    (f"enode://{ID}@a..b:1", "host name"),
    (f"enode://{ID}@-a:1", "host name"),
    (f"enode://{ID}@{'a' * 64}:1", "host name"),
    (f"enode://{ID}@{'a.' * 127}a:1", "host name"),
    (f"enode://{ID}@a b:1", "host name"),
    (f"enode://{ID}@b\u00fccher.example:1", "host name"),
    (f"enode://{ID}@\u212aelvin.example:1", "host name"),
    (f"ENODE://{ID}", "neither 'enode://' nor 'enr:'"),
    (f" enode://{ID}", "neither 'enode://' nor 'enr:'"),
    (f"enode://{ID}\n", "128 hex digits"),
    (f"enode://{ID}@1.2.3.4:1\n", "port '1\\n'"),
]

#: geth's node_test.go, TestNodeEndpoints: (entries, host, TCP, UDP)
IP4, IP6 = IPv4Address, IPv6Address
ENDPOINTS = [
    ({}, "", 0, 0),
    ({entries.UDP: 9000}, "", 0, 9000),
    ({entries.TCP: 9000}, "", 9000, 0),
    ({entries.IP: IP4("127.0.0.1")}, "127.0.0.1", 0, 0),
    ({entries.IP: IP4("0.0.0.0")}, "0.0.0.0", 0, 0),
    ({entries.IP6: IP6("2001::ff00:42:8329")}, "2001::ff00:42:8329", 0, 0),
    (
        {entries.IP: IP4("127.0.0.1"), entries.UDP: 30304, entries.IP6: IP6("2001::42"), entries.UDP6: 30306},
        "2001::42",
        0,
        30306,
    ),
    ({entries.IP: IP4("0.0.0.0"), entries.IP6: IP6("::1")}, "::1", 0, 0),
    ({entries.IP: IP4("192.168.2.2"), entries.UDP: 1, entries.IP6: IP6("2001::42"), entries.UDP6: 2}, "2001::42", 0, 2),
    ({entries.IP: IP4("169.254.2.6"), entries.UDP: 1, entries.IP6: IP6("2001::42"), entries.UDP6: 2}, "2001::42", 0, 2),
    (
        {entries.IP: IP4("192.168.2.2"), entries.UDP: 1, entries.IP6: IP6("fd00::1"), entries.UDP6: 2},
        "192.168.2.2",
        0,
        1,
    ),
    (
        {entries.IP: IP4("192.168.2.2"), entries.UDP: 1, entries.IP6: IP6("fe80::1"), entries.UDP6: 2},
        "192.168.2.2",
        0,
        1,
    ),
    # ours
    ({entries.IP: IP4("169.254.2.6"), entries.IP6: IP6("fd00::1")}, "fd00::1", 0, 0),
    ({entries.IP6: IP6("2001::42"), entries.TCP: 1, entries.UDP: 2}, "2001::42", 1, 2),
    ({entries.IP6: IP6("2001::42"), entries.TCP: 1, entries.TCP6: 3, entries.UDP: 2}, "2001::42", 3, 2),
    ({entries.IP6: IP6("2001::42"), entries.TCP: 1, entries.TCP6: 0}, "2001::42", 0, 0),
    ({entries.IP6: IP6("::ffff:1.2.3.4"), entries.TCP: 1, entries.TCP6: 3}, "1.2.3.4", 1, 0),
    ({entries.IP: IP4("224.0.0.1"), entries.TCP: 1}, "", 1, 0),
    ({entries.IP: IP4("1.2.3.4"), Entry(b"tcp", rlp.BYTES): b"\x00\x01", entries.UDP: 2}, "1.2.3.4", 0, 2),
    ({Entry(b"ip", rlp.BYTES): b"\x01", entries.IP6: IP6("2001::42"), entries.UDP: 2}, "2001::42", 0, 2),
]


class Urls(SynchronousTestCase):
    def test_complete(self):
        for rest, host, tcp, udp in COMPLETE:
            with self.subTest(rest):
                node = Node.parse(f"enode://{ID}{rest}")
                self.assertEqual(node, Node(KEY, host, tcp, udp))
                self.assertIsNone(node.record)
                self.assertEqual(node.node_id, KEY.node_id)
                self.assertEqual(node.url, f"enode://{ID}{rest}")
                self.assertEqual(str(node), node.url)

    def test_other_forms(self):
        for text, canonical in OTHER_FORMS:
            with self.subTest(text):
                self.assertEqual(Node.parse(text).url, canonical)
                self.assertEqual(Node.parse(text), Node.parse(canonical))

    def test_wrong(self):
        for text, words in WRONG:
            with self.subTest(text):
                error = str(self.assertRaises(ConfigError, Node.parse, text))
                self.assertIn(words, error)
                self.assertLess(len(error), 200)
                self.assertTrue(error.isprintable())

    def test_endless_text_makes_a_short_error(self):
        for text in ("x" * 10**6, "enode://" + "x" * 10**6, f"enode://{ID}@{'a.' * 10**6}:1", "enr:" + "A" * 10**6):
            self.assertLess(len(str(self.assertRaises(ConfigError, Node.parse, text))), 200)

    @given(st.text(max_size=80), st.sampled_from(["", "enr:", "enode://", f"enode://{ID}", f"enode://{ID}@"]))
    def test_any_text(self, text, start):
        try:
            node = Node.parse(start + text)
        except ConfigError:
            return
        self.assertEqual(Node.parse(node.url), node)

    @given(
        st.one_of(
            st.ip_addresses().map(str),
            st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\.[a-z]{1,9}){1,3}\.?", fullmatch=True),
        ),
        st.integers(0, 65535),
        st.integers(0, 65535),
    )
    def test_round_trip(self, host, tcp, udp):
        node = Node(KEY, host, tcp, udp)
        self.assertEqual(Node.parse(node.url), node)
        self.assertEqual(Node.parse(node.url).url, node.url)


class Values(SynchronousTestCase):
    def test_host_is_made_canonical(self):
        self.assertEqual(Node(KEY, "::FFFF:10.0.0.1").host, "10.0.0.1")
        self.assertEqual(Node(KEY, IPv6Address("2001:db8::1")).host, "2001:db8::1")
        self.assertEqual(Node(KEY, "Example.ORG").host, "example.org")

    def test_refuses(self):
        self.assertRaises(ConfigError, Node, KEY, "a b")
        self.assertRaises(ConfigError, Node, KEY, "1.2.3.4", 65536)
        self.assertRaises(ConfigError, Node, KEY, "1.2.3.4", 1, -1)

    def test_ip(self):
        self.assertEqual(Node(KEY, "10.0.0.1").ip, IPv4Address("10.0.0.1"))
        self.assertEqual(Node(KEY, "::1").ip, IPv6Address("::1"))
        self.assertIsNone(Node(KEY, "example.org").ip)
        self.assertIsNone(Node(KEY).ip)

    def test_equal_by_value(self):
        nodes = {Node(KEY, "1.2.3.4", 1, 1), Node.parse(f"enode://{ID}@1.2.3.4:1"), Node(KEY, "1.2.3.4", 1, 2)}
        self.assertEqual(len(nodes), 2)
        self.assertNotEqual(Node(KEY, "1.2.3.4", 1), Node(SIGNER.public_key, "1.2.3.4", 1))


class Records(SynchronousTestCase):
    def test_parse(self):
        node = Node.parse(RECORD)
        record = Record.sign(SIGNER, 99, {entries.IP: IPv4Address("127.0.0.1"), entries.UDP: 30303})
        self.assertEqual(node, Node(SIGNER.public_key, "127.0.0.1", 0, 30303, record))
        self.assertEqual(node.record.text, RECORD)
        self.assertEqual(node.url, f"enode://{SIGNER.public_key.raw.hex()}@127.0.0.1:0?discport=30303")

    def test_endpoints(self):
        for values, host, tcp, udp in ENDPOINTS:
            with self.subTest(values):
                record = Record.sign(SIGNER, 1, values)
                self.assertEqual(Node.from_record(record), Node(SIGNER.public_key, host, tcp, udp, record))

    def test_the_version_that_can_be_reached(self):
        """Of two addresses the one of that IP version, with its ports (EIP-778); of one address that one."""
        both = {entries.IP: IP4("8.8.8.8"), entries.TCP: 1, entries.UDP: 2, entries.IP6: IP6("2400::1")}
        own = {**both, entries.TCP6: 3, entries.UDP6: 4}
        only = {entries.IP: IP4("8.8.8.8"), entries.TCP: 1, entries.UDP: 2}
        near = {**both, entries.IP: IP4("10.0.0.1")}
        for values, version, endpoint in (
            (both, None, ("8.8.8.8", 1, 2)),
            (both, 4, ("8.8.8.8", 1, 2)),
            (both, 6, ("2400::1", 1, 2)),
            (own, 6, ("2400::1", 3, 4)),
            (own, 4, ("8.8.8.8", 1, 2)),
            (only, 6, ("8.8.8.8", 1, 2)),
            (near, None, ("2400::1", 1, 2)),
            (near, 4, ("10.0.0.1", 1, 2)),
            ({}, 6, ("", 0, 0)),
        ):
            with self.subTest(values=values, version=version):
                record = Record.sign(SIGNER, 1, values)
                expected = Node(SIGNER.public_key, *endpoint, record)
                self.assertEqual(Node.from_record(record, version), expected)
                self.assertEqual(Node.from_record(record).placed(version), expected)

    def test_placed_where_it_is(self):
        """A node that is there already, or without a record, or whose record has nothing there, stays as it is."""
        record = Record.sign(SIGNER, 1, {entries.IP: IP4("8.8.8.8"), entries.IP6: IP6("2400::1"), entries.UDP: 2})
        for node in (
            Node(SIGNER.public_key, "2400::9", 5, 6, record),
            Node(SIGNER.public_key, "9.9.9.9", 5, 6),
            Node(SIGNER.public_key, "9.9.9.9", 5, 6, Record.sign(SIGNER, 1, {entries.IP: IP4("8.8.8.8")})),
        ):
            self.assertIs(node.placed(6), node)
            self.assertIs(node.placed(None), node)

    def test_unknown_scheme(self):
        record = Record.decode(rlp.encode([b"", b"\x01", b"id", b"v9"]))
        self.assertIn("'v9'", str(self.assertRaises(WireError, Node.from_record, record)))
        self.assertRaises(ConfigError, Node.parse, record.text)
