"""
What may stand behind C{--nat}, and what addresses are good for.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError
from ethp2p.nat import Method, Setting, address_warning, wants_mapping
from ethp2p.nat.advice import is_global
from ethp2p.nat.gateway import default_gateway, guess_gateway, read_gateway


class SettingTests(SynchronousTestCase):
    def test_good(self) -> None:
        for text, setting in (
            ("", Setting(Method.NONE)),
            ("none", Setting(Method.NONE)),
            ("off", Setting(Method.NONE)),
            ("any", Setting(Method.ANY)),
            ("auto", Setting(Method.ANY)),
            ("on", Setting(Method.ANY)),
            (" ANY ", Setting(Method.ANY)),
            ("upnp", Setting(Method.UPNP)),
            ("UPnP", Setting(Method.UPNP)),
            ("natpmp", Setting(Method.NATPMP)),
            ("pmp", Setting(Method.NATPMP)),
            ("nat-pmp", Setting(Method.NATPMP)),
            ("pmp:192.168.0.1", Setting(Method.NATPMP, "192.168.0.1")),
            ("natpmp:10.0.0.138", Setting(Method.NATPMP, "10.0.0.138")),
            ("extip:77.12.33.4", Setting(Method.EXTIP, "77.12.33.4")),
            ("IP:77.12.33.4", Setting(Method.EXTIP, "77.12.33.4")),
            ("extip:2001:DB8::1", Setting(Method.EXTIP, "2001:db8::1")),
            ("extip:[2001:db8::1]", Setting(Method.EXTIP, "2001:db8::1")),
            ("extip:::ffff:1.2.3.4", Setting(Method.EXTIP, "1.2.3.4")),
            ("extip:127.0.0.1", Setting(Method.EXTIP, "127.0.0.1")),
            ("stun", Setting(Method.STUN)),
            ("stun:1.2.3.4:1234", Setting(Method.STUN, "1.2.3.4", 1234)),
            ("stun:1.2.3.4", Setting(Method.STUN, "1.2.3.4", 3478)),
            ("stun:[2001:db8::1]:3479", Setting(Method.STUN, "2001:db8::1", 3479)),
            ("stun:[2001:db8::1]", Setting(Method.STUN, "2001:db8::1", 3478)),
            ("stun:2001:db8::1", Setting(Method.STUN, "2001:db8::1", 3478)),
            ("stun:stun.example.org", Setting(Method.STUN, "stun.example.org", 3478)),
            ("stun:stun.example.org:19302", Setting(Method.STUN, "stun.example.org", 19302)),
        ):
            self.assertEqual(Setting.parse(text), setting, text)
            self.assertEqual(Setting.parse(str(setting)), setting)

    def test_bad(self) -> None:
        for text, words in (
            ("magic", "'magic' is no way"),
            ("any:", "after the colon"),
            ("upnp:192.168.0.1", "takes nothing"),
            ("any:1.2.3.4", "takes nothing"),
            ("none:1", "takes nothing"),
            ("extip", "needs the address"),
            ("extip:", "after the colon"),
            ("extip:example.org", "not an IP address"),
            ("extip:0.0.0.0", "not the address of a host"),
            ("extip:255.255.255.255", "not the address of a host"),
            ("extip:224.0.0.1", "not the address of a host"),
            ("extip:fe80::1%eth0", "not the address of a host"),
            ("extip:1.2.3.4:30303", "not an IP address"),
            ("pmp:gateway", "not an IP address"),
            ("pmp:fe80::1", "IPv4"),
            ("stun:", "after the colon"),
            ("stun:1.2.3", "not an IP address"),
            ("stun:1.2.3.4:0", "not a number"),
            ("stun:1.2.3.4:65536", "not a number"),
            ("stun:1.2.3.4:x", "not a number"),
            ("stun:host:", "not a number"),
            ("stun:[::1]x", "[address]:port"),
            ("stun:[::1", "[address]:port"),
            ("stun:[host]:1", "not an IP address"),
            ("stun:a b", "neither"),
            ("stun:-a.org", "neither"),
        ):
            error = str(self.assertRaises(ConfigError, Setting.parse, text))
            self.assertIn(words, error, text)
            self.assertNotIn("\n", error)

    @given(st.text(max_size=40), st.sampled_from(["", "stun:", "extip:", "pmp:"]))
    def test_any_text(self, rest: str, start: str) -> None:
        try:
            setting = Setting.parse(start + rest)
        except ConfigError:
            return
        self.assertEqual(Setting.parse(str(setting)), setting)


class AdviceTests(SynchronousTestCase):
    def test_global(self) -> None:
        for address in ("8.8.8.8", "81.2.3.4", "2a01:4f8::1", "::ffff:8.8.8.8"):
            self.assertTrue(is_global(address), address)
            self.assertIsNone(address_warning(address, "mainnet"))
        for address in (
            *("0.0.0.0", "127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.9.9", "100.64.0.1"),
            *("100.127.255.254", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00::1"),
            *("2001:db8::1", "::ffff:10.0.0.1"),
        ):
            self.assertFalse(is_global(address), address)
        self.assertTrue(is_global("100.128.0.1"))

    def test_warning(self) -> None:
        line = address_warning("172.17.0.2", "mainnet") or ""
        self.assertIn("172.17.0.2", line)
        self.assertIn("mainnet", line)
        self.assertIn("--nat extip:", line)
        self.assertNotIn("\n", line)
        for host in ("", "boot.example.org"):
            self.assertIsNone(address_warning(host, "mainnet"))

    def test_wants_mapping(self) -> None:
        for host in ("", "0.0.0.0", "::", "81.2.3.4"):
            self.assertTrue(wants_mapping(host), host)
        for host in ("127.0.0.1", "127.8.8.8", "::1", "192.168.1.5", "10.0.0.1", "fe80::1", "fd00::5", "2a01:4f8::1"):
            self.assertFalse(wants_mapping(host), host)


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
tun0\t00000000\t0100000A\t0003\t0\t0\t50\t00000080\t0\t0\t0
"""


class GatewayTests(SynchronousTestCase):
    def test_default_route(self) -> None:
        self.assertEqual(str(default_gateway(ROUTES)), "192.168.1.254")

    def test_none(self) -> None:
        for text in ("", ROUTES.splitlines()[0], "\n".join(ROUTES.splitlines()[::3]), "x\ny z\n" * 5):
            self.assertIsNone(default_gateway(text))

    @given(st.text("0123456789ABCDEF \t\n", max_size=60))
    def test_any_text(self, text: str) -> None:
        self.assertIsNone(default_gateway(text))

    def test_read(self) -> None:
        path = self.mktemp()
        self.assertIsNone(read_gateway(path))
        with open(path, "w") as file:
            file.write(ROUTES)
        self.assertEqual(str(read_gateway(path)), "192.168.1.254")

    def test_guess(self) -> None:
        for local, guess in (
            ("192.168.7.33", "192.168.7.1"),
            ("10.1.2.3", "10.1.2.1"),
            ("8.8.8.8", None),
            ("127.0.0.1", None),
            ("fd00::1", None),
            ("", None),
        ):
            found = guess_gateway(local)
            self.assertEqual(None if found is None else str(found), guess)
