from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.enr import entries
from ethp2p.enr.entries import Entry
from ethp2p.enr.record import MAX_SIZE, MAX_TEXT, BadSignature, Record
from ethp2p.errors import LocalProtocolError, Offence, OversizeError, WireError

KEY = PrivateKey.parse(bytes.fromhex("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291"))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

#: The example of EIP-778.
EXAMPLE_TEXT = (
    "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8A"
    "AAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8"
)
EXAMPLE_ID = "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7"
#: geth's node_test.go, pyRecord: the same record as bytes, made by another implementation.
EXAMPLE = bytes.fromhex(
    "f884b8407098ad865b00a582051940cb9cf36836572411a47278783077011599ed5cd16b76f2635f4e234738f30813a89eb9137e3e3df526"
    "6e3a1f11df72ecf1145ccb9c01826964827634826970847f00000189736563703235366b31a103ca634cae0d49acb401d8a4c6b6fe8c55b7"
    "0d115bf400769cc1400f3258cd31388375647082765f"
)

#: Records of others' boot nodes, with keys that mean nothing here: (text, ip, ip6, tcp, udp, udp6, all keys).
FOREIGN = [
    (
        "enr:-KG4QMOEswP62yzDjSwWS4YEjtTZ5PO6r65CPqYBkgTTkrpaedQ8uEUo1uMALtJIvb2w_WWEVmg5yt1UAuK1ftxUU7QDhGV0aDKQu6TalgMAAA"
        "D__________4JpZIJ2NIJpcIQEnfA2iXNlY3AyNTZrMaEDfol8oLr6XJ7FsdAYE7lpJhKMls4G_v6qQOGKJUWGb_uDdGNwgiMog3VkcIIjKA",
        ("4.157.240.54", None, 9000, 9000, None),
        [b"eth2", b"id", b"ip", b"secp256k1", b"tcp", b"udp"],
    ),
    (
        "enr:-Le4QPUXJS2BTORXxyx2Ia-9ae4YqA_JWX3ssj4E_J-3z1A-HmFGrU8BpvpqhNabayXeOZ2Nq_sbeDgtzMJpLLnXFgAChGV0aDKQtTA_KgEAAA"
        "AAIgEAAAAAAIJpZIJ2NIJpcISsaa0Zg2lwNpAkAIkHAAAAAPA8kv_-awoTiXNlY3AyNTZrMaEDHAD2JKYevx89W0CcFJFiskdcEzkH_Wdv9iW42qLK"
        "79ODdWRwgiMohHVkcDaCI4I",
        ("172.105.173.25", "2400:8907::f03c:92ff:fe6b:a13", None, 9000, 9090),
        [b"eth2", b"id", b"ip", b"ip6", b"secp256k1", b"udp", b"udp6"],
    ),
]


def signed(*pairs, seq=b"\x01", key=KEY, signature=None):
    """A record of our own making, good or not; each pair is a key and a raw RLP value."""
    spans = [rlp.encode(seq)]
    for name, raw in pairs:
        spans += rlp.encode(name), raw
    if signature is None:
        signature = key.sign(keccak256(rlp.join(spans)))[:64]
    return rlp.join([rlp.encode(signature), *spans])


V4 = (b"id", rlp.encode(b"v4"))
PUBLIC = (b"secp256k1", rlp.encode(KEY.public_key.compressed()))


class Vectors(SynchronousTestCase):
    def test_example(self):
        record = Record.parse(EXAMPLE_TEXT)
        self.assertEqual(record, Record.decode(EXAMPLE))
        self.assertEqual(record.encode(), EXAMPLE)
        self.assertEqual(record.text, EXAMPLE_TEXT)
        self.assertEqual((record.seq, record.scheme), (1, "v4"))
        self.assertEqual(record.node_id.hex(), EXAMPLE_ID)
        self.assertEqual(record.public_key, KEY.public_key)
        self.assertEqual(record.get(entries.IP), IPv4Address("127.0.0.1"))
        self.assertEqual(record.get(entries.UDP), 30303)
        self.assertEqual(record.get(entries.SECP256K1), KEY.public_key)
        self.assertIsNone(record.get(entries.TCP))
        self.assertEqual([key for key, _ in record.pairs], [b"id", b"ip", b"secp256k1", b"udp"])
        self.assertEqual(record.pairs[3], (b"udp", bytes.fromhex("82765f")))
        self.assertIn(EXAMPLE_ID[:16], repr(record))

    def test_signed_anew_the_example_is_the_same(self):
        made = Record.sign(KEY, 1, {entries.UDP: 30303, entries.IP: IPv4Address("127.0.0.1")})
        self.assertEqual(made.text, EXAMPLE_TEXT)

    def test_foreign(self):
        names = (entries.IP, entries.IP6, entries.TCP, entries.UDP, entries.UDP6)
        for text, values, keys in FOREIGN:
            record = Record.parse(text)
            got = [record.get(entry) for entry in names]
            self.assertEqual([str(v) if isinstance(v, (IPv4Address, IPv6Address)) else v for v in got], list(values))
            self.assertEqual([key for key, _ in record.pairs], keys)
            self.assertEqual(record.text, text)


class Decoding(SynchronousTestCase):
    def test_bad_signature(self):
        for position in (10, 60, 68, len(EXAMPLE) - 1):  # in r, in s, the seq, in the UDP port
            data = bytearray(EXAMPLE)
            data[position] ^= 2
            error = self.assertRaises(BadSignature, Record.decode, bytes(data))
            self.assertIs(error.offence, Offence.BAD_DATA)
        other = PrivateKey.parse(b"\x01" * 32)
        self.assertRaises(BadSignature, Record.decode, signed(V4, PUBLIC, key=other))
        for signature in (b"", b"\x01" * 63, b"\x00" * 64, b"\x01" * 65):
            self.assertRaises(BadSignature, Record.decode, signed(V4, PUBLIC, signature=signature))

    def test_the_other_s_is_refused(self):
        """Else anybody could make a second record of a seq, with other bytes."""
        r, s = EXAMPLE[4:36], int.from_bytes(EXAMPLE[36:68], "big")
        self.assertRaises(BadSignature, Record.decode, EXAMPLE[:4] + r + (ORDER - s).to_bytes(32, "big") + EXAMPLE[68:])

    def test_malformed(self):
        table = {
            "nothing": b"",
            "a string": b"\x83abc",
            "an empty list": b"\xc0",
            "signature alone": b"\xc1\x01",
            "a key without a value": rlp.join(rlp.split(EXAMPLE)[:-1]),
            "no identity scheme": signed(PUBLIC),
            "identity scheme as a list": signed((b"id", b"\xc1\x01")),
            "identity scheme not text": signed((b"id", b"\x81\xff")),
            "no key": signed(V4),
            "a key of 32 bytes": signed(V4, (b"secp256k1", rlp.encode(b"\x02" * 32))),
            "a key of 65 bytes": signed(V4, (b"secp256k1", rlp.encode(b"\x04" + KEY.public_key.raw))),
            "a key off the curve": signed(V4, (b"secp256k1", rlp.encode(b"\x02" + b"\xff" * 32))),
            "not sorted": signed(PUBLIC, V4),
            "twice": signed(V4, V4, PUBLIC),
            "a seq of 9 bytes": signed(V4, PUBLIC, seq=b"\x01" * 9),
            "a seq with a leading zero": signed(V4, PUBLIC, seq=b"\x00\x01"),
            "a seq that is a list": signed(V4, PUBLIC, seq=[]),
            "a key that is a list": rlp.encode([b"", b"\x01", [b"id"], b"v5"]),
            "a signature that is a list": rlp.encode([[], b"\x01", b"id", b"v5"]),
            "not canonical inside a value": signed(V4, PUBLIC, (b"x", b"\xc2\x81\x01")),
            "bytes after it": EXAMPLE + b"\x00",
            "cut short": EXAMPLE[:-1],
        }
        for name, data in table.items():
            with self.subTest(name):
                self.assertLessEqual(len(data), MAX_SIZE)
                self.assertRaises(WireError, Record.decode, data)

    def test_size_cap(self):
        room = MAX_SIZE - len(signed(V4, PUBLIC, (b"x", rlp.encode(b""))))
        fits = [n for n in range(room - 8, room + 8) if len(signed(V4, PUBLIC, (b"x", rlp.encode(b"a" * n)))) <= 300]
        record = Record.decode(signed(V4, PUBLIC, (b"x", rlp.encode(b"a" * fits[-1]))))
        self.assertEqual(len(record.encode()), MAX_SIZE)
        self.assertEqual(len(record.text), MAX_TEXT)
        self.assertEqual(Record.parse(record.text), record)
        over = signed(V4, PUBLIC, (b"x", rlp.encode(b"a" * (fits[-1] + 1))))
        self.assertEqual(len(over), MAX_SIZE + 1)
        self.assertRaises(OversizeError, Record.decode, over)
        self.assertRaises(OversizeError, Record.parse, record.text + "A")

    def test_unknown_scheme_is_carried(self):
        data = rlp.encode([b"whatever", b"\x07", b"id", b"v9", b"key", [b"a", [b"b"]]])
        record = Record.decode(data)
        self.assertEqual(record.encode(), data)
        self.assertEqual(Record.parse(record.text), record)
        self.assertEqual((record.scheme, record.seq, record.signature), ("v9", 7, b"whatever"))
        self.assertIsNone(record.public_key)
        self.assertIsNone(record.node_id)
        self.assertEqual(record.pairs[1], (b"key", rlp.encode([b"a", [b"b"]])))
        self.assertIn("v9", repr(record))

    def test_any_bytes_are_keys(self):
        data = signed((b"", b"\x80"), V4, PUBLIC, (b"\xff\x00", b"\xc0"))
        self.assertEqual(Record.decode(data).get(Entry(b"\xff\x00", rlp.list_of(rlp.BYTES))), ())
        error = self.assertRaises(WireError, Record.decode(data).get, Entry(b"\xff\x00", rlp.BYTES))
        self.assertIn("\\xff", str(error))

    def test_equal_by_bytes(self):
        again = Record.decode(bytearray(EXAMPLE))
        self.assertEqual(len({Record.decode(EXAMPLE), again, Record.sign(KEY, 2, {})}), 2)

    @given(st.binary(max_size=MAX_SIZE + 10))
    def test_any_bytes(self, data):
        try:
            record = Record.decode(data)
        except WireError:
            return
        self.assertEqual(record.encode(), data)

    @given(st.data())
    def test_any_damage(self, data):
        """One byte of a good record changed: never another record of the same key."""
        position = data.draw(st.integers(0, len(EXAMPLE) - 1))
        damaged = bytearray(EXAMPLE)
        damaged[position] ^= data.draw(st.integers(1, 255))
        try:
            record = Record.decode(bytes(damaged))
        except WireError:
            return
        self.assertNotEqual(record.scheme, "v4")

    @given(st.lists(st.one_of(st.binary(max_size=12), st.lists(st.binary(max_size=4), max_size=3)), max_size=9))
    def test_any_list(self, items):
        data = rlp.encode(items)
        try:
            record = Record.decode(data)
        except WireError:
            return
        self.assertEqual(record.encode(), data)


class Text(SynchronousTestCase):
    def test_strict(self):
        body = EXAMPLE_TEXT[4:]
        stray = chr(ord(body[-1]) + 1)  # other bits past the last byte
        table = {
            "": "starts with",
            "enr:": "base64url",
            "enr:x": "cut short",
            "ENR:" + body: "starts with",
            body: "starts with",
            EXAMPLE_TEXT + "=": "base64url",
            EXAMPLE_TEXT + "\n": "base64url",
            " " + EXAMPLE_TEXT: "starts with",
            EXAMPLE_TEXT[:50] + " " + EXAMPLE_TEXT[50:]: "base64url",
            EXAMPLE_TEXT.replace("_", "/"): "base64url",
            EXAMPLE_TEXT.replace("-", "+"): "base64url",
            EXAMPLE_TEXT[:-1] + stray: "stray bits",
            EXAMPLE_TEXT[:-1] + "é": "base64url",
        }
        for text, words in table.items():
            with self.subTest(text):
                self.assertIn(words, str(self.assertRaises(WireError, Record.parse, text)))

    @given(st.text(max_size=60))
    def test_any_text(self, text):
        self.assertRaises(WireError, Record.parse, text)  # too short to be signed by anybody

    @given(st.text(alphabet="ABCDwxyz0189-_", max_size=40))
    def test_any_base64(self, digits):
        try:
            record = Record.parse("enr:" + digits)
        except WireError:
            return
        self.assertEqual(record.text, "enr:" + digits)


class Signing(SynchronousTestCase):
    def test_refuses(self):
        table = [
            (1, {entries.TCP: 65536}),
            (1, {entries.TCP: -1}),
            (1, {entries.ETH: entries.EthEntry(b"abc", 0)}),
            (1, {entries.ETH: entries.EthEntry(b"abcd", 1 << 64)}),
            (1, {entries.ID: "v4"}),
            (1, {entries.SECP256K1: KEY.public_key}),
            (1, {Entry(b"x", rlp.BYTES): b"a" * 200}),
            (-1, {}),
            (1 << 64, {}),
        ]
        for seq, values in table:
            with self.subTest(seq=seq, values=values):
                self.assertRaises(LocalProtocolError, Record.sign, KEY, seq, values)

    def test_least_and_most(self):
        self.assertEqual(Record.sign(KEY, 0, {}).seq, 0)
        self.assertEqual(Record.sign(KEY, (1 << 64) - 1, {}).seq, (1 << 64) - 1)

    @given(
        st.integers(0, (1 << 64) - 1),
        st.fixed_dictionaries(
            {},
            optional={
                entries.IP: st.ip_addresses(v=4),
                entries.IP6: st.ip_addresses(v=6),
                entries.TCP: st.integers(0, 65535),
                entries.TCP6: st.integers(0, 65535),
                entries.UDP: st.integers(0, 65535),
                entries.UDP6: st.integers(0, 65535),
                entries.ETH: st.builds(
                    entries.EthEntry, st.binary(min_size=4, max_size=4), st.integers(0, (1 << 64) - 1)
                ),
                entries.SNAP: st.just(True),
                entries.BSC: st.just(True),
                Entry(b"zz", rlp.BYTES): st.binary(max_size=40),
            },
        ),
    )
    def test_round_trip(self, seq, values):
        record = Record.sign(KEY, seq, values)
        again = Record.parse(record.text)
        self.assertEqual(again, record)
        self.assertEqual((again.seq, again.public_key), (seq, KEY.public_key))
        self.assertEqual({entry: again.get(entry) for entry in values}, values)
        self.assertEqual(len(again.pairs), len(values) + 2)
