"""
Trees built, signed and written out.
"""

from __future__ import annotations

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.dnsdisc.tree import MAX_CHILDREN, Tree, parse_url
from ethp2p.dnsdisc.wire import BadEntry, Branch, Link, Root, has_hash
from ethp2p.enr.entries import UDP, Entry
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, LocalProtocolError
from tests.dnsdisc.support import EIP_LINK, KEY, MORE_URL, RECORDS, URL_KEY, ZONE, key, link_to, records, texts


class ExampleTests(SynchronousTestCase):
    """The zone of the EIP, made again from its nodes."""

    def test_zone(self) -> None:
        tree = Tree.build(map(Record.parse, RECORDS), [parse_url(MORE_URL)], 1)
        signature = ZONE["n"].rpartition("sig=")[2]
        self.assertEqual(tree.with_signature(signature, KEY.public_key).to_txt("n"), ZONE)

    def test_signature_of_others(self) -> None:
        tree = Tree.build(map(Record.parse, RECORDS), [parse_url(MORE_URL)], 1)
        signature = ZONE["n"].rpartition("sig=")[2]
        self.assertRaises(LocalProtocolError, tree.with_signature, signature, key(1).public_key)
        self.assertRaises(BadEntry, tree.with_signature, "AAAA", KEY.public_key)
        newer = Tree.build(map(Record.parse, RECORDS), [parse_url(MORE_URL)], 2)
        self.assertRaises(LocalProtocolError, newer.with_signature, signature, KEY.public_key)


class BuildTests(SynchronousTestCase):
    def test_empty(self) -> None:
        tree = Tree.build([])
        self.assertEqual(tree.root.nodes, tree.root.links)
        self.assertEqual(texts(tree.entries.values()), ["enrtree-branch:"])
        self.assertEqual((tree.records, tree.links, tree.seq), ((), (), 1))

    def test_one(self) -> None:
        [record] = records(1)
        tree = Tree.build([record], [EIP_LINK])
        self.assertEqual(tree.entries, {tree.root.nodes: record, tree.root.links: EIP_LINK})

    def test_shapes(self) -> None:
        for count in (2, 13, 14, 15, 26, 27, 169, 170, 183):
            nodes = records(count)
            tree = Tree.build(nodes)
            branches = [entry for entry in tree.entries.values() if isinstance(entry, Branch) and entry.children]
            self.assertTrue(all(2 <= len(branch.children) <= MAX_CHILDREN for branch in branches))
            self.assertEqual(len(tree.records), count)
            ids = [record.node_id or b"" for record in tree.records]
            self.assertEqual(ids, sorted(record.node_id or b"" for record in nodes))

    def test_entries_fit_a_packet(self) -> None:
        tree = Tree.build(records(40), [link_to(f"l{number}.nodes.example.org") for number in range(40)])
        for name, text in tree.sign(KEY).to_txt("snap.mainnet.ethdisco.net").items():
            self.assertLess(39 + len(name) + len(text), 512)

    def test_names_are_hashes(self) -> None:
        for name, entry in Tree.build(records(30)).entries.items():
            self.assertEqual(len(name), 26)
            self.assertTrue(has_hash(entry.text, name))

    def test_order_does_not_matter(self) -> None:
        nodes = records(30)
        self.assertEqual(Tree.build(nodes), Tree.build(reversed(nodes)))

    def test_newest_of_a_node(self) -> None:
        old, new = records(3, seq=1), records(2, seq=2)
        tree = Tree.build([*new, *old])
        self.assertEqual(tree, Tree.build([*new, old[2]]))

    def test_links_once_in_order(self) -> None:
        links = [link_to("b"), link_to("a"), link_to("B"), link_to("c")]
        self.assertEqual(texts(Tree.build([], links).links), texts([links[0], links[1], links[3]]))

    def test_bad_port(self) -> None:
        wide: Entry[int] = Entry(b"udp", rlp.UINT64)
        with self.assertRaises(LocalProtocolError):
            Tree.build([Record.sign(key(1), 1, {wide: 70000})])
        self.assertEqual(len(Tree.build([Record.sign(key(1), 1, {UDP: 65535})]).records), 1)

    def test_unknown_scheme(self) -> None:
        pairs = [b"id", b"v9"]
        record = Record.decode(rlp.encode([b"", b"\x01", *pairs]))
        self.assertRaises(LocalProtocolError, Tree.build, [record])

    def test_seq(self) -> None:
        for seq in (-1, 1 << 64):
            self.assertRaises(LocalProtocolError, Tree.build, [], (), seq)

    @settings(max_examples=20)
    @given(st.integers(0, 60), st.integers(0, 30))
    def test_round_trip(self, nodes: int, links: int) -> None:
        tree = Tree.build(records(nodes), [link_to(f"d{number}") for number in range(links)], 7).sign(KEY)
        zone = tree.to_txt("n")
        self.assertTrue(Root.parse(zone["n"]).signed_by(KEY.public_key))
        self.assertEqual(len(zone), len(tree.entries) + 1)
        self.assertEqual((len(tree.records), len(tree.links)), (nodes, links))
        self.assertEqual(Tree.build(tree.records, tree.links, 7).sign(KEY), tree)


class ZoneFileTests(SynchronousTestCase):
    def test_records(self) -> None:
        tree = Tree.build(records(20), [EIP_LINK]).sign(KEY)
        first, *lines = tree.to_zone("nodes.example.org").splitlines()
        self.assertEqual(first, "$ORIGIN nodes.example.org.")
        answers = {}
        for line in lines:
            name, ttl, *kind = shlex.split(line)  # strings in quotes are read alike
            self.assertEqual((int(ttl), *kind[:2]), (1800 if name == "@" else 2419200, "IN", "TXT"))
            self.assertTrue(all(0 < len(string) <= 255 for string in kind[2:]))
            answers["nodes.example.org" if name == "@" else f"{name}.nodes.example.org"] = "".join(kind[2:])
        self.assertEqual(answers, tree.to_txt("nodes.example.org"))

    def test_long_texts_are_cut(self) -> None:
        [root, *others] = Tree.build(records(13)).sign(KEY).to_zone("n").splitlines()[1:]
        self.assertEqual(root.count('"'), 2)
        self.assertEqual(max(line.count('"') for line in others), 4)

    def test_bad_domain(self) -> None:
        tree = Tree.build([])
        for domain in ("", "a b", "n.", 'n"'):
            self.assertRaises(ConfigError, tree.to_txt, domain)
            self.assertRaises(ConfigError, tree.to_zone, domain)


class UrlTests(SynchronousTestCase):
    def test_parse(self) -> None:
        self.assertEqual(parse_url(f"enrtree://{URL_KEY}@n"), EIP_LINK)

    def test_errors_say_what(self) -> None:
        for text, words in (
            ("http://x", "starts with 'enrtree://'"),
            ("enrtree://nodes.example.org", "no key"),
            (f"enrtree://{URL_KEY}@a..b", "domain"),
            (f"enrtree://{'A' * 53}@n", "key"),
        ):
            self.assertIn(words, str(self.assertRaises(ConfigError, parse_url, text)))

    def test_link_is_frozen_and_checked(self) -> None:
        self.assertRaises(BadEntry, Link, KEY.public_key, "not a domain")
