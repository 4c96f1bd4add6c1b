"""
Entries as text: geth's tables of good and bad ones, and any text at all.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.dnsdisc import wire
from ethp2p.dnsdisc.wire import BadEntry, Branch, Link, Root, UnknownEntry, parse_entry, read_entry, read_root
from ethp2p.enr.record import Record
from ethp2p.errors import OversizeError, WireError
from tests.dnsdisc.support import EIP_LINK, KEY, MORE_URL, RECORDS, URL_KEY, ZONE, key, link_to

SIGNATURE = "3FmXuVwpa8Y7OstZTx9PIb1mt8FrW7VpDOFv4AaGCsZ2EIHmhraWhe4NxYhQDlw5MjeFXYMbJjsPeKlHzmJREQE"
E = "QFT4PBCRX4XQCV3VUYJ6BTCEPU"
L = "JGUFMSAGI7KZYB3P7IZW4S5Y3A"
GOOD_ROOT = f"enrtree-root:v1 e={E} l={L} seq=3 sig={SIGNATURE}"
SHORT = "N-YY6UB9xD0hFx1Gmnt7v0RfSxch5tKyry2SRDoLx7B4GfPXagwLxQqyf7gAMvApFn_ORwZQekMWa_pXrcGCtw"


class RootTests(SynchronousTestCase):
    def test_good(self) -> None:
        root = Root.parse(GOOD_ROOT)
        self.assertEqual((root.nodes, root.links, root.seq), (E, L, 3))
        self.assertEqual(
            root.signature.hex(),
            "dc5997b95c296bc63b3acb594f1f4f21bd66b7c16b5bb5690ce16fe006860ac6"
            "761081e686b69685ee0dc588500e5c393237855d831b263b0f78a947ce62511101",
        )
        self.assertEqual(root.text, GOOD_ROOT)
        self.assertEqual(root.signature_text, SIGNATURE)

    def test_bad(self) -> None:
        for text in (
            "",
            "enrtree-root:v1",
            f"enrtree-root:v1 e={E} seq=3 sig={SHORT}",  # no link root
            f"enrtree-root:v1 e={E} l={L} seq=3 sig={SHORT}",  # 64 bytes
            f"enrtree-root:v1 e={E} l={L} seq=3 sig={SIGNATURE}A",
            f"enrtree-root:v1 e={E} l={L} seq=3 sig=A",
            f"enrtree-root:v1 e={E} l={L} seq=3 sig={SIGNATURE[:-1]}F",  # stray bits
            f"enrtree-root:v1 e={E} l={L} seq=3 sig={SIGNATURE}=",
            f"enrtree-root:v1 e={E} l={L} seq=3 sig={SIGNATURE.replace('e', '+', 1)}",
            f"enrtree-root:v1 e={E} l={L} seq=03 sig={SIGNATURE}",
            f"enrtree-root:v1 e={E} l={L} seq=-3 sig={SIGNATURE}",
            f"enrtree-root:v1 e={E} l={L} seq={1 << 64} sig={SIGNATURE}",
            f"enrtree-root:v1 e={E} l={L} seq={'9' * 21} sig={SIGNATURE}",
            f"enrtree-root:v1  e={E} l={L} seq=3 sig={SIGNATURE}",
            f"enrtree-root:v2 e={E} l={L} seq=3 sig={SIGNATURE}",
            f"enrtree-root:v1 l={L} e={E} seq=3 sig={SIGNATURE}",
            f"enrtree-root:v1 e={E.lower()} l={L} seq=3 sig={SIGNATURE}",
            f"enrtree-root:v1 e={E[:18]} l={L} seq=3 sig={SIGNATURE}",
            f"enrtree-root:v1 e={E}{E}A l={L} seq=3 sig={SIGNATURE}",
            GOOD_ROOT + " ",
            GOOD_ROOT + "\n",
        ):
            self.assertRaises(BadEntry, Root.parse, text)

    def test_signed(self) -> None:
        root = Root.parse(ZONE["n"])
        self.assertTrue(root.signed_by(KEY.public_key))
        self.assertFalse(root.signed_by(key(1).public_key))
        mine = Root(E, L, 4).sign(KEY)
        self.assertEqual(Root.parse(mine.text), mine)
        self.assertTrue(mine.signed_by(KEY.public_key))
        for other in (Root(L, E, 4), Root(E, L, 5), Root(E, E, 4)):
            self.assertFalse(Root(other.nodes, other.links, other.seq, mine.signature).signed_by(KEY.public_key))

    def test_never_signed(self) -> None:
        self.assertFalse(Root(E, L, 4).signed_by(KEY.public_key))

    def test_recovery_id_is_of_no_account(self) -> None:
        root = Root.parse(ZONE["n"])
        other = Root(root.nodes, root.links, root.seq, root.signature[:64] + b"\x01")
        self.assertTrue(Root.parse(other.text).signed_by(KEY.public_key))


class EntryTests(SynchronousTestCase):
    def test_branches(self) -> None:
        for text, children in (
            ("enrtree-branch:", ()),
            ("enrtree-branch:AAAAAAAAAAAAAAAAAAAA", ("AAAAAAAAAAAAAAAAAAAA",)),
            ("enrtree-branch:AAAAAAAAAAAAAAAAAAAA,BBBBBBBBBBBBBBBBBBBB", ("A" * 20, "B" * 20)),
            (f"enrtree-branch:{E},{'C' * 52}", (E, "C" * 52)),
        ):
            self.assertEqual(parse_entry(text), Branch(children))
            self.assertEqual(Branch(children).text, text)

    def test_bad_branches(self) -> None:
        for rest in ("1,2", "A" * 53, "A" * 19, "A" * 22, f"{E},", f",{E}", f"{E} ,{E}", E.lower(), f"{E}\n"):
            self.assertRaises(BadEntry, parse_entry, f"enrtree-branch:{rest}")

    def test_links(self) -> None:
        text = f"enrtree://{URL_KEY}@nodes.example.org"
        link = parse_entry(text)
        self.assertEqual(link, Link(KEY.public_key, "nodes.example.org"))
        self.assertEqual(link.text, text)

    def test_case_of_domain(self) -> None:
        one, other = link_to("Nodes.Example.org"), link_to("nodes.example.ORG")
        self.assertEqual((one, hash(one)), (other, hash(other)))
        self.assertEqual(Link.parse(one.text).text, one.text)  # since hashes are over it
        self.assertNotEqual(one, link_to("nodes.example.org", key(1)))

    def test_bad_links(self) -> None:
        for rest in (
            "nodes.example.org",
            "AP62DT7WOTEQZGQZOU474PP3KMEGVTTE7A7NPRXKX3DUD57@nodes.example.org",
            "AP62DT7WONEQZGQZOU474PP3KMEGVTTE7A7NPRXKX3DUD57TQHGIA@nodes.example.org",
            f"{URL_KEY[:-1]}3@nodes.example.org",  # stray bit
            f"{URL_KEY.lower()}@nodes.example.org",
            f"{URL_KEY}=@nodes.example.org",
            f"{URL_KEY}@",
            f"{URL_KEY}@a@b",
            f"{URL_KEY}@nodes..org",
            f"{URL_KEY}@.org",
            f"{URL_KEY}@nodes.example.org.",
            f"{URL_KEY}@nodes.example.org:53",
            f"{URL_KEY}@nodes example.org",
            f"{URL_KEY}@-nodes.org",
            f"{URL_KEY}@{'a' * 64}.org",
            f"{URL_KEY}@n\u00f6des.org",
            f"{URL_KEY}@nodes.org\n",
        ):
            self.assertRaises(BadEntry, Link.parse, f"enrtree://{rest}")

    def test_length_of_domain(self) -> None:
        fits = ".".join(["a" * 49] * 4)
        self.assertEqual(len(fits), wire.MAX_DOMAIN - 1)
        self.assertEqual(link_to(fits).domain, fits)
        self.assertLessEqual(len(f"{'A' * 52}.{fits}"), 253)
        self.assertRaises(BadEntry, link_to, "aa" + fits)

    def test_records(self) -> None:
        for text in RECORDS:
            record = parse_entry(text)
            self.assertIsInstance(record, Record)
            self.assertEqual(record.text, text)

    def test_bad_records(self) -> None:
        padded = (
            "enr:-HW4QLZHjM4vZXkbp-5xJoHsKSbE7W39FPC8283X-y8oHcHPTnDDlIlzL5ArvDUlHZVDPgmFASrh7cWgLOLxj4wprRkHgmlkgnY0iXN"
            "lY3AyNTZrMaEC3t2jLMhDpCDX5mbSEwDn4L3iUfyXzoO8G28XvjGRkrAg="
        )
        for text in (padded, "enr:-----", "enr:", RECORDS[0][:-4]):
            self.assertRaises(WireError, parse_entry, text)

    def test_unknown(self) -> None:
        for text in ("", "foo", "enrtree", "enrtree-x=", "ENR:", "v=spf1 -all", GOOD_ROOT):
            self.assertRaises(UnknownEntry, parse_entry, text)


class ReadTests(SynchronousTestCase):
    """Finding ours among the TXT records at one name."""

    def test_root_among_others(self) -> None:
        texts = [b"v=spf1 -all", b"\xff\xfe", ZONE["n"].encode()]
        self.assertEqual(read_root(texts, EIP_LINK).seq, 1)

    def test_good_root_behind_bad_ones(self) -> None:
        other = Root(E, L, 9).sign(key(1)).text.encode()
        self.assertEqual(read_root([b"enrtree-root:v1 x", other, ZONE["n"].encode()], EIP_LINK).seq, 1)
        self.assertRaises(BadEntry, read_root, [other], EIP_LINK)

    def test_no_root(self) -> None:
        for texts in ([], [b"v=spf1"], [b"enrtree-root:v1"], [b"enrtree-root:v1 \xff"], [MORE_URL.encode()]):
            self.assertRaises(BadEntry, read_root, texts, EIP_LINK)

    def test_entry_among_others(self) -> None:
        name = wire.hash_of(MORE_URL)
        self.assertEqual(name, "C7HRFPF3BLGF3YR4DY5KX3SMBE")
        texts = [b"other", b"\xff", RECORDS[0].encode(), MORE_URL.encode()]
        self.assertEqual(read_entry(texts, name), Link.parse(MORE_URL))

    def test_hash_lengths(self) -> None:
        whole = wire._base32(wire.keccak256(MORE_URL.encode()))
        for size in range(12, 33):
            name = wire._base32(wire.keccak256(MORE_URL.encode())[:size])
            self.assertEqual(wire.check_hash(name), name)
            self.assertTrue(whole.startswith(name[:-1]))
            self.assertEqual(read_entry([MORE_URL.encode()], name).text, MORE_URL)

    def test_wrong_hash(self) -> None:
        name = wire.hash_of(RECORDS[0])
        error = self.assertRaises(BadEntry, read_entry, [RECORDS[1].encode()], name)
        self.assertIn("hash", str(error))
        self.assertRaises(BadEntry, read_entry, [], name)

    def test_right_hash_wrong_text(self) -> None:
        for text in ("enr:-----", "enrtree-branch:1", "whatever"):
            self.assertRaises(WireError, read_entry, [text.encode()], wire.hash_of(text))

    def test_oversize(self) -> None:
        text = "enrtree-branch:" + ",".join([E] * 151)
        self.assertLessEqual(len(text), wire.MAX_TEXT)
        self.assertEqual(read_entry([text.encode()], wire.hash_of(text)), Branch((E,) * 151))
        text += f",{E}"
        self.assertGreater(len(text), wire.MAX_TEXT)
        self.assertRaises(OversizeError, read_entry, [text.encode()], wire.hash_of(text))
        self.assertRaises(OversizeError, read_root, [ZONE["n"].encode() + b" " * wire.MAX_TEXT], EIP_LINK)


HASHES = st.binary(min_size=12, max_size=32).map(wire._base32)


class AnyTests(SynchronousTestCase):
    @given(HASHES, HASHES, st.integers(0, 2**64 - 1), st.binary(min_size=65, max_size=65))
    def test_root_round_trip(self, nodes: str, links: str, seq: int, signature: bytes) -> None:
        root = Root(nodes, links, seq, signature)
        self.assertEqual(Root.parse(root.text), root)

    @given(st.lists(HASHES, max_size=20))
    def test_branch_round_trip(self, children: list[str]) -> None:
        branch = Branch(tuple(children))
        self.assertEqual(parse_entry(branch.text), branch)

    @given(st.integers(1, 2**255), st.from_regex(r"[a-zA-Z_]{1,20}(\.[a-z0-9]{1,9}){0,3}", fullmatch=True))
    def test_link_round_trip(self, number: int, domain: str) -> None:
        link = Link(key(number).public_key, domain)
        self.assertEqual(Link.parse(link.text), link)

    @given(st.text(max_size=60), st.sampled_from(["", "enrtree://", "enrtree-branch:", "enr:", "enrtree-root:v1 e="]))
    def test_any_text(self, rest: str, start: str) -> None:
        for parse in (parse_entry, Root.parse, Link.parse, Branch.parse):
            try:
                value = parse(start + rest)
            except WireError:
                continue
            self.assertEqual(value.text, start + rest)

    @given(st.lists(st.binary(max_size=80), max_size=4))
    def test_any_bytes(self, texts: list[bytes]) -> None:
        self.assertRaises(WireError, read_root, texts, EIP_LINK)
        self.assertRaises(WireError, read_entry, texts, E)

    @given(st.integers(0, len(GOOD_ROOT) - 1), st.characters(min_codepoint=32, max_codepoint=126))
    def test_a_changed_root_is_not_signed(self, at: int, character: str) -> None:
        good = ZONE["n"]
        changed = good[:at] + character + good[at + 1 :]
        if changed[: changed.rindex("=")] == good[: good.rindex("=")] and changed[-2:] != good[-2:]:
            return  # the recovery id is not looked at
        if changed != good:
            self.assertRaises(WireError, read_root, [changed.encode()], EIP_LINK)
