from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode.cidr import (
    BadRelay,
    Netrestrict,
    Scope,
    as_ip,
    check_relay,
    is_habitable,
    is_ip,
    is_lan,
    is_loopback,
    is_private,
    is_special,
    scope_of,
)
from ethp2p.errors import ConfigError

# Facts of geth's netutil/net_test.go, and more.
LAN = [
    "127.0.0.1",
    "10.0.1.1",
    "10.22.0.3",
    "172.31.252.251",
    "192.168.1.4",
    "169.254.1.1",
    "::1",
    "fe80::f4a1:8eff:fec5:9d9d",
    "febf::ab32:2233",
    "fc00::4",
    "fdff::1",
    "::ffff:127.0.0.1",
    "::ffff:10.10.0.2",
]
NOT_LAN = [
    "192.0.2.1",
    "1.0.0.0",
    "172.32.0.1",
    "11.0.0.1",
    "128.0.0.1",
    "fec0::2233",
    "2001:db9::1",
    "::ffff:88.99.100.2",
    "0.0.0.0",
    "::",
]
SPECIAL = [
    "0.0.0.0",
    "0.2.0.8",
    "192.0.2.1",
    "192.0.2.44",
    "192.0.0.9",
    "192.0.0.170",
    "192.0.0.171",
    "198.19.255.255",
    "203.0.113.7",
    "2001:db8:85a3::1",
    "2002::1",
    "2001:0:1::1",
    "255.255.255.255",
    "224.0.0.22",
    "239.1.1.1",
    "ff05::1:3",
    "::ffff:255.255.255.255",
    "::ffff:192.0.2.1",
]
NOT_SPECIAL = [
    "192.0.3.1",
    "1.0.0.0",
    "172.32.0.1",
    "192.0.0.172",
    "240.0.0.1",
    "10.0.0.1",
    "127.0.0.1",
    "fec0::2233",
    "2400::1",
    "2001:200::1",
]

#: (sender, relayed, words of the refusal or None)
RELAYS = [
    ("127.0.0.1", "0.0.0.0", "unspecified"),
    ("192.168.0.1", "0.0.0.0", "unspecified"),
    ("23.55.1.242", "0.0.0.0", "unspecified"),
    ("127.0.0.1", "255.255.255.255", "special"),
    ("192.168.0.1", "255.255.255.255", "special"),
    ("23.55.1.242", "255.255.255.255", "special"),
    ("192.168.0.1", "127.0.2.19", "another host"),
    ("23.55.1.242", "192.168.0.1", "outside"),
    ("127.0.0.1", "127.0.2.19", None),
    ("127.0.0.1", "192.168.0.1", None),
    ("127.0.0.1", "23.55.1.242", None),
    ("192.168.0.1", "192.168.0.1", None),
    ("192.168.0.1", "23.55.1.242", None),
    ("23.55.1.242", "23.55.1.242", None),
    # ours
    ("23.55.1.242", "127.0.0.1", "outside"),
    ("23.55.1.242", "::ffff:127.0.0.1", "outside"),
    ("23.55.1.242", "::ffff:0.0.0.0", "unspecified"),
    ("::ffff:10.0.0.1", "10.0.0.2", None),
    ("2400::1", "::", "unspecified"),
    ("2400::1", "::1", "outside"),
    ("2400::1", "fe80::1", "outside"),
    ("2400::1", "fd00::1", "outside"),
    ("fd00::1", "::1", "another host"),
    ("fd00::1", "10.0.0.1", None),
    ("2400::1", "2400::2", None),
    ("2400::1", "ff02::1", "special"),
]


class Kinds(SynchronousTestCase):
    def test_lan(self):
        for text in LAN:
            self.assertTrue(is_lan(text), text)
            self.assertTrue(is_lan(ip_address(text)), text)
        for text in NOT_LAN:
            self.assertFalse(is_lan(text), text)

    def test_special(self):
        for text in SPECIAL:
            self.assertTrue(is_special(text), text)
        for text in NOT_SPECIAL:
            self.assertFalse(is_special(text), text)

    def test_loopback_and_private(self):
        self.assertEqual([text for text in LAN if is_loopback(text)], ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
        self.assertEqual(
            [text for text in LAN if not is_private(text)],
            ["127.0.0.1", "169.254.1.1", "::1", "fe80::f4a1:8eff:fec5:9d9d", "febf::ab32:2233", "::ffff:127.0.0.1"],
        )

    def test_scope_and_habitable(self):
        """Also when they are remembered, and by text as by value."""
        for _ in range(2):
            for text in LAN + NOT_LAN + SPECIAL + NOT_SPECIAL + ["::", "0.0.0.0", "::ffff:0.0.0.0"]:
                scope = Scope(is_lan(text) + is_loopback(text))
                habitable = not is_special(text) and not as_ip(text).is_unspecified
                self.assertEqual((scope_of(text), is_habitable(text)), (scope, habitable), text)
                self.assertEqual((scope_of(as_ip(text)), is_habitable(as_ip(text))), (scope, habitable), text)
        for _ in range(2):
            self.assertRaises(ValueError, scope_of, "example.org")

    def test_not_an_address(self):
        self.assertEqual(
            [is_ip(text) for text in ("10.0.0.1", "::1", "example.org", "127.1", "")], [True, True] + 3 * [False]
        )
        for kind in (is_lan, is_special, is_loopback, is_private, as_ip):
            self.assertRaises(ValueError, kind, "example.org")

    @given(st.ip_addresses())
    def test_as_the_library_has_it(self, ip):
        """Where the standard library knows the same ranges, both say the same."""
        ip = as_ip(ip)
        self.assertEqual(is_loopback(ip), ip.is_loopback)
        if ip.is_multicast:
            self.assertTrue(is_special(ip))
        if is_lan(ip):
            self.assertTrue(ip.is_private or ip.is_link_local)

    @given(st.ip_addresses(v=4))
    def test_inside_ipv6(self, ip):
        inside = IPv6Address(f"::ffff:{ip}")
        self.assertEqual(as_ip(inside), ip)
        for kind in (is_lan, is_special, is_loopback, is_private):
            self.assertEqual(kind(inside), kind(ip))

    def test_relay(self):
        for sender, relayed, words in RELAYS:
            with self.subTest(sender=sender, relayed=relayed):
                if words is None:
                    check_relay(sender, relayed)
                else:
                    self.assertIn(words, str(self.assertRaises(BadRelay, check_relay, sender, relayed)))


class Restrictions(SynchronousTestCase):
    def test_contains(self):
        allowed = Netrestrict.parse(" 127.0.0.0/8, 23.23.23.23/24,,9.9.9.9,2400::/12 , ::ffff:10.0.0.0/104,")
        self.assertEqual(str(allowed), "127.0.0.0/8,23.23.23.0/24,9.9.9.9/32,2400::/12,10.0.0.0/8")
        for inside in ("127.1.2.3", IPv4Address("23.23.23.1"), "::ffff:127.0.0.1", "9.9.9.9", "240f::1", "10.255.0.1"):
            self.assertIn(inside, allowed)
        for outside in ("128.0.0.1", "23.23.22.23", "9.9.9.8", "2410::1", "::1", "11.0.0.1", "localhost", "", None, 1):
            self.assertNotIn(outside, allowed)

    def test_everything(self):
        everything = Netrestrict.parse("0.0.0.0/0,::/0")
        for address in ("1.2.3.4", "::ffff:1.2.3.4", "2400::1"):
            self.assertIn(address, everything)

    def test_equal(self):
        self.assertEqual(Netrestrict.parse("10.1.1.1/8"), Netrestrict.parse("10.0.0.0/8"))

    def test_wrong(self):
        for text in (
            "127.0.0.0/44",
            "127.0.0.0/-1",
            "127.0.0.0/",
            "127.0.0.0/255.0.0.0",
            "127.0.0/8",
            "10.0.0.0/\u0668",
            "localhost",
            "::/129",
            "10.0.0.0/8/8",
            "x" * 1000,
        ):
            with self.subTest(text):
                error = str(self.assertRaises(ConfigError, Netrestrict.parse, "10.0.0.0/8, " + text))
                self.assertIn(repr(text[:64]), error)
                self.assertLess(len(error), 150)

    def test_nothing(self):
        for text in ("", " ", ",,"):
            self.assertRaises(ConfigError, Netrestrict.parse, text)

    @given(st.text(alphabet="0123456789.:/, abcdef", max_size=30))
    def test_any_text(self, text):
        try:
            allowed = Netrestrict.parse(text)
        except ConfigError:
            return
        self.assertEqual(Netrestrict.parse(str(allowed)), allowed)
        for network in allowed.networks:
            self.assertIn(network.network_address, allowed)
