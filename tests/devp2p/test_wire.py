"""
Hello and Disconnect as bytes.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.devp2p import wire
from ethp2p.devp2p.wire import Capability, Disconnect, Hello
from ethp2p.errors import DisconnectReason, OversizeError, WireError

KEY = bytes(range(64))
#: EIPS/eip-8.md, "devp2p Base Protocol": another version, and items after the fifth.  The text there says version
#: 22; the bytes say 0x37.
EIP8_HELLO = bytes.fromhex(
    "f87137916b6e6574682f76302e39312f706c616e39cdc5836574683dc6846d6f726b1682270fb840"
    "fda1cff674c90c9a197539fe3dfb53086ace64f83ed7c6eabec741f7f381cc803e52ab2cd55d5569"
    "bce4347107a310dfd5f88a010cd2ffd1005ca406f1842877c883666f6f836261720304"
)


def items(**changed: object) -> list[object]:
    """The items of a Hello, some of them changed."""
    fields: dict[str, object] = {
        "version": b"\x05",
        "client": b"peer",
        "capabilities": [[b"eth", b"\x44"]],
        "port": b"\x76\x5f",
        "key": KEY,
    }
    return list((fields | changed).values())


def names() -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8)


class HelloTests(SynchronousTestCase):
    def test_vector_of_eip_8(self) -> None:
        self.assertEqual(
            Hello.decode(EIP8_HELLO),
            Hello(
                0x37,
                "kneth/v0.91/plan9",
                (Capability("eth", 61), Capability("mork", 22)),
                9999,
                bytes.fromhex(
                    "fda1cff674c90c9a197539fe3dfb53086ace64f83ed7c6eabec741f7f381cc80"
                    "3e52ab2cd55d5569bce4347107a310dfd5f88a010cd2ffd1005ca406f1842877"
                ),
            ),
        )

    def test_tolerated(self) -> None:
        for changed, field, value in (
            ({"port": b"\x00"}, "listen_port", 0),  # EthereumJS
            ({"port": b"\x00\x76\x5f"}, "listen_port", 30303),
            ({"port": b""}, "listen_port", 0),
            ({"capabilities": []}, "capabilities", ()),
            ({"client": b""}, "client", ""),
            ({"client": b"a\x1b[31m\nb"}, "client", "a\ufffd[31m\ufffdb"),
            ({"client": b"\xff\xfe"}, "client", "\ufffd\ufffd"),
            ({"client": b"x" * 1000}, "client", "x" * wire.MAX_CLIENT),
            ({"key": bytes(64)}, "node_key", bytes(64)),
            ({"extra": [b"more"], "still": b""}, "version", 5),
        ):
            self.assertEqual(getattr(Hello.decode(rlp.encode(items(**changed))), field), value, changed)

    def test_refused(self) -> None:
        for changed, words in (
            ({"version": b"\x00\x05"}, "Hello.version"),
            ({"version": b"\x01" * 9}, "Hello.version"),
            ({"client": [b"peer"]}, "Hello.client"),
            ({"capabilities": b"eth"}, "Hello.capabilities"),
            ({"capabilities": [[b"eth"]]}, "Capability has 1 fields"),
            ({"capabilities": [[b"", b"\x01"]]}, "a name of 0 bytes"),
            ({"capabilities": [[b"ninebytes", b"\x01"]]}, "a name of 9 bytes"),
            ({"capabilities": [[b"\xc3\xa4", b"\x01"]]}, "not printable ASCII"),
            ({"capabilities": [[b"a b", b"\x01"]]}, "not printable ASCII"),
            ({"capabilities": [[b"e\x07", b"\x01"]]}, "not printable ASCII"),
            ({"port": b"\x01" * 9}, "Hello.listen_port"),
            ({"port": []}, "Hello.listen_port"),
            ({"key": KEY[1:]}, "Hello.node_key"),
            ({"key": KEY + b"\x00"}, "Hello.node_key"),
        ):
            error = self.assertRaises(WireError, Hello.decode, rlp.encode(items(**changed)))
            self.assertIn(words, str(error))
        for payload in (b"", b"\xc0", b"\x80", rlp.encode(items()[:4]), rlp.encode(items()) + b"\x00"):
            self.assertRaises(WireError, Hello.decode, payload)

    def test_caps(self) -> None:
        most = [[b"c%d" % number, b"\x01"] for number in range(wire.MAX_CAPABILITIES)]
        self.assertEqual(len(Hello.decode(rlp.encode(items(capabilities=most))).capabilities), wire.MAX_CAPABILITIES)
        self.assertRaises(OversizeError, Hello.decode, rlp.encode(items(capabilities=[*most, [b"one", b"\x01"]])))
        room = wire.MAX_BASE_MESSAGE - len(rlp.encode(items(extra=bytes(1000)))) + 1000
        self.assertEqual(len(rlp.encode(items(extra=bytes(room)))), wire.MAX_BASE_MESSAGE)
        Hello.decode(rlp.encode(items(extra=bytes(room))))
        self.assertRaises(OversizeError, Hello.decode, rlp.encode(items(extra=bytes(room + 1))))

    @given(
        st.builds(
            Hello,
            st.integers(0, 2**64 - 1),
            st.text(st.characters(categories=["L", "N", "P"]), max_size=100),
            st.lists(st.builds(Capability, names(), st.integers(0, 2**64 - 1)), max_size=20).map(tuple),
            st.integers(0, 65535),
            st.binary(min_size=64, max_size=64),
        )
    )
    def test_round_trip(self, hello: Hello) -> None:
        self.assertEqual(Hello.decode(hello.encode()), hello)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, payload: bytes) -> None:
        try:
            hello = Hello.decode(payload)
        except WireError:
            return
        self.assertEqual(len(hello.node_key), 64)


class DisconnectTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for payload, reason in (
            ("c104", DisconnectReason.TOO_MANY_PEERS),
            ("04", DisconnectReason.TOO_MANY_PEERS),
            ("c180", DisconnectReason.REQUESTED),
            ("c100", DisconnectReason.REQUESTED),
            ("c0", DisconnectReason.REQUESTED),
            ("80", DisconnectReason.REQUESTED),
            ("00", DisconnectReason.REQUESTED),
            ("", DisconnectReason.REQUESTED),
            ("c20480", DisconnectReason.TOO_MANY_PEERS),
            ("c10c", 0x0C),
            ("c142", 0x42),
            ("c3820100", 0x100),
        ):
            self.assertEqual(Disconnect.decode(bytes.fromhex(payload)).reason, reason, payload)

    def test_refused(self) -> None:
        for payload in ("c1c0", "0404", "c104ff", "c2", "8a" + "01" * 10):
            self.assertRaises(WireError, Disconnect.decode, bytes.fromhex(payload))
        self.assertRaises(OversizeError, Disconnect.decode, bytes(wire.MAX_BASE_MESSAGE + 1))

    def test_every_reason_comes_back(self) -> None:
        for reason in DisconnectReason:
            self.assertEqual(Disconnect.decode(Disconnect(reason).encode()), Disconnect(reason))
        self.assertEqual(Disconnect(DisconnectReason.REQUESTED).encode().hex(), "c180")
        self.assertEqual(Disconnect(0x42).encode().hex(), "c142")

    @given(st.binary(max_size=20))
    def test_any_bytes(self, payload: bytes) -> None:
        try:
            self.assertGreaterEqual(Disconnect.decode(payload).reason, 0)
        except WireError:
            pass
