"""
Directories and node sets as geth's tool has them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.dnsdisc import Definition, NodeSet, SeenNode, Tree, nodeset
from ethp2p.dnsdisc.nodeset import NEVER, from_time, to_time
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError
from tests.dnsdisc.support import KEY, MORE_URL, RECORDS, URL_KEY, key, link_to, records

#: As geth's C{devp2p dns sign} writes it, with the EIP's own signature over its three records and one link.
GETH_INFO = {
    "url": f"enrtree://{URL_KEY}@nodes.example.org",
    "seq": 1,
    "signature": "o908WmNp7LibOfPsr4btQwatZJ5URBr2ZAuxvK4UWHlsB9sUOTJQaGAlLPVAhM__XJesCHxLISo94z5Z2a463gA",
    "links": [MORE_URL],
    "lastModified": "2026-11-21T11:36:40.110134236+01:00",
}


class DirectoryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def write(self, name: str, value: Any) -> None:
        self.directory.mkdir(exist_ok=True)
        text = value if isinstance(value, str) else json.dumps(value)
        (self.directory / name).write_text(text)

    def info(self) -> Any:
        return json.loads((self.directory / "enrtree-info.json").read_text())


class DefinitionTests(DirectoryTestCase):
    def test_geths(self) -> None:
        self.write("enrtree-info.json", GETH_INFO)
        NodeSet.of(map(Record.parse, RECORDS)).write(self.directory / "nodes.json")
        definition = Definition.read(self.directory)
        self.assertEqual(definition.seq, 1)
        self.assertEqual(definition.tree().to_txt("n")["n"], definition.tree().root.text)
        definition.write_info(self.directory, 1795257400.0)
        self.assertEqual(self.info(), {**GETH_INFO, "lastModified": "2026-11-21T10:36:40Z"})

    def test_sign_and_change(self) -> None:
        unsigned = Definition(tuple(records(20)), (link_to("other"),))
        self.assertRaises(ConfigError, unsigned.tree)
        signed = unsigned.sign(KEY, domain="nodes.example.org")
        signed.write(self.directory, 0.0)
        again = Definition.read(self.directory)
        self.assertEqual(again, signed)
        self.assertEqual((again.seq, again.url), (1, link_to("nodes.example.org")))
        self.assertTrue(again.tree().root.signed_by(KEY.public_key))
        NodeSet.of(records(19)).write(self.directory / "nodes.json")
        changed = Definition.read(self.directory)
        self.assertIn("signed again", str(self.assertRaises(ConfigError, changed.tree)))
        newer = changed.sign(key(2))  # by another key, where it was
        self.assertEqual((newer.seq, newer.url), (2, link_to("nodes.example.org", key(2))))
        self.assertEqual(len(newer.tree().records), 19)
        self.assertEqual(newer.sign(KEY, seq=77).seq, 77)

    def test_write_info_leaves_nodes(self) -> None:
        self.write("nodes.json", {})
        before = (self.directory / "nodes.json").stat().st_mtime_ns
        Definition((), ()).sign(KEY, domain="n").write_info(self.directory, 0.0)
        self.assertEqual((self.directory / "nodes.json").stat().st_mtime_ns, before)

    def test_of_a_tree(self) -> None:
        tree = Tree.build(records(30), [link_to("b"), link_to("a")], 5).sign(KEY)
        definition = Definition.of(tree, link_to("n"))
        definition.write(self.directory, 0.0)
        self.assertEqual(Definition.read(self.directory).tree(), tree)

    def test_never_signed(self) -> None:
        self.write("nodes.json", {})
        definition = Definition.read(self.directory)
        self.assertEqual(definition, Definition(()))
        self.write("enrtree-info.json", {"url": "", "seq": 0, "signature": None, "links": None})
        self.assertEqual(Definition.read(self.directory), definition)
        definition.write_info(self.directory, 0.0)
        self.assertEqual(self.info(), {"seq": 0, "links": [], "lastModified": "1970-01-01T00:00:00Z"})

    def test_without_domain(self) -> None:
        self.assertIn("domain", str(self.assertRaises(ConfigError, Definition(()).sign, KEY)))
        self.assertRaises(ConfigError, Definition(()).sign, KEY, domain="a b")
        self.assertRaises(ConfigError, Definition(()).sign, KEY, domain="n", seq=1 << 64)

    def test_bad_info(self) -> None:
        self.write("nodes.json", {})
        for value in (
            "{",
            "[" * 100_000,
            [],
            {"seq": -1},
            {"seq": "1"},
            {"seq": True},
            {"seq": 1 << 64},
            {"url": 5},
            {"url": "http://x"},
            {"links": MORE_URL},
            {"links": [5]},
            {"links": ["enrtree://x@y"]},
            {"signature": []},
            {"url": 0},
        ):
            self.write("enrtree-info.json", value)
            error = self.assertRaises(ConfigError, Definition.read, self.directory)
            self.assertIn("enrtree-info.json", str(error))
            self.assertNotIn("\n", str(error))

    def test_bad_signature(self) -> None:
        self.write("nodes.json", {})
        self.write("enrtree-info.json", {**GETH_INFO, "signature": "AAAA"})
        self.assertRaises(ConfigError, Definition.read(self.directory).tree)

    def test_no_nodes(self) -> None:
        self.write("enrtree-info.json", GETH_INFO)
        self.assertIn("nodes.json", str(self.assertRaises(ConfigError, Definition.read, self.directory)))

    def test_cannot_be_written(self) -> None:
        self.directory.write_text("a file")
        self.assertRaises(ConfigError, Definition(()).write, self.directory, 0.0)


class NodeSetTests(DirectoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory.mkdir()
        self.path = self.directory / "nodes.json"

    def test_round_trip(self) -> None:
        [one, two] = records(2)
        seen = NodeSet(
            {one.node_id or b"": SeenNode(one, 5, 1.5, 2.25, 1795257400.0), two.node_id or b"": SeenNode(two)}
        )
        seen.write(self.path)
        self.assertEqual(NodeSet.read(self.path), seen)
        value = json.loads(self.path.read_text())
        self.assertEqual(list(value), sorted(value))
        entry = value[(two.node_id or b"").hex()]
        never = {"firstResponse": NEVER, "lastResponse": NEVER, "lastCheck": NEVER}
        self.assertEqual(entry, {"seq": 1, "record": two.text, **never})

    def test_geths_times(self) -> None:
        [record] = records(1)
        fields = {"seq": 1, "record": record.text, "score": 3, "lastCheck": "2026-11-21T11:36:40.123456789+01:00"}
        self.path.write_text(json.dumps({(record.node_id or b"").hex(): fields}))
        [node] = NodeSet.read(self.path).nodes.values()
        self.assertEqual((node.score, node.first_response), (3, None))
        self.assertAlmostEqual(node.last_check or 0, 1795257400.123456)

    def test_records(self) -> None:
        seen = NodeSet.of(records(9))
        self.assertEqual(Tree.build(seen.records), Tree.build(records(9)))
        ids = [record.node_id or b"" for record in seen.records]
        self.assertEqual(ids, sorted(ids))

    def test_unknown_scheme(self) -> None:
        record = Record.decode(rlp.encode([b"", b"\x01", b"id", b"v9"]))
        self.assertRaises(ConfigError, NodeSet.of, [record])

    def test_bad(self) -> None:
        [record, other] = records(2)
        name = (record.node_id or b"").hex()
        good = {"seq": 1, "record": record.text}
        for value in (
            [],
            {name: []},
            {name: {"seq": 1}},
            {name: {**good, "seq": 2}},
            {name: {**good, "record": other.text}},
            {name: {**good, "record": "enr:-----"}},
            {name: {**good, "record": 5}},
            {name: {**good, "score": "5"}},
            {name: {**good, "lastCheck": "yesterday"}},
            {name: {**good, "lastCheck": 5}},
            {"xyz": good},
            {"00": good},
        ):
            self.path.write_text(json.dumps(value))
            error = self.assertRaises(ConfigError, NodeSet.read, self.path)
            self.assertIn("nodes.json", str(error))
            self.assertNotIn("\n", str(error))

    def test_too_large(self) -> None:
        self.patch(nodeset, "MAX_FILE", 100)
        self.path.write_text(json.dumps({}) + " " * 99)
        self.assertIn("100 bytes", str(self.assertRaises(ConfigError, NodeSet.read, self.path)))

    def test_written_whole_or_not_at_all(self) -> None:
        NodeSet.of(records(1)).write(self.path)
        before = self.path.read_bytes()
        (self.directory / "nodes.json.new").mkdir()
        self.assertRaises(ConfigError, NodeSet.of(records(2)).write, self.path)
        self.assertEqual(self.path.read_bytes(), before)
        os.rmdir(self.directory / "nodes.json.new")

    def test_times_as_geth_writes_them(self) -> None:
        """Go's RFC 3339: a fraction ends with no zero, and there is none when there is nothing to say."""
        for seconds, text in (
            (1_800_000_000.0, "2027-01-15T08:00:00Z"),
            (1_800_000_000.5, "2027-01-15T08:00:00.5Z"),
            (1_800_000_010.1629, "2027-01-15T08:00:10.1629Z"),
            (1_800_000_000.123456, "2027-01-15T08:00:00.123456Z"),
            (None, "0001-01-01T00:00:00Z"),
        ):
            self.assertEqual(to_time(seconds), text)

    @settings(max_examples=50)
    @given(st.one_of(st.none(), st.integers(0, 4_000_000_000).map(float)))
    def test_times(self, seconds: float | None) -> None:
        self.assertEqual(from_time(to_time(seconds)), seconds)
