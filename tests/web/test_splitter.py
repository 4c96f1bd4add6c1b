"""
Where one JSON text ends and the next begins.
"""

from __future__ import annotations

import json
from time import process_time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.web.http import MAX_BODY
from ethp2p.web.registry import ParseError
from ethp2p.web.splitter import Splitter

_LEAF = st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\{}[]\n\u00e9'), max_size=8)
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


def split(*pieces: bytes) -> list[bytes]:
    splitter, texts = Splitter(), []
    for piece in pieces:
        splitter.receive_data(piece)
        while (text := splitter.next_text()) is not None:
            texts.append(text)
    return texts


class SplitterTests(SynchronousTestCase):
    def test_texts(self) -> None:
        for stream, texts in (
            (b"", []),
            (b" \r\n\t", []),
            (b"{}", [b"{}"]),
            (b" {} \n [1]{}", [b"{}", b"[1]", b"{}"]),
            (b'{"a":"}"}', [b'{"a":"}"}']),
            (rb'{"a":"\"}"}{', [rb'{"a":"\"}"}']),
            (rb'["\\"][', [rb'["\\"]']),
            (b"[[[", []),
            (b'{"a":"', []),
        ):
            self.assertEqual(split(stream), texts, stream)
            self.assertEqual(split(*(bytes([byte]) for byte in stream)), texts, stream)

    def test_what_begins_nothing(self) -> None:
        for stream in (b"1", b'"x"', b"null", b"}", b"]", b"GET / HTTP/1.1\r\n", b"\x00", b"\xff", b"{}x", b"{} ,{}"):
            with self.assertRaises(ParseError, msg=stream):
                split(stream)

    def test_whether_it_is_json_is_not_asked_here(self) -> None:
        self.assertEqual(split(b"{]{}"), [b"{]", b"{}"])

    def test_longest(self) -> None:
        text = b"[" + b"1" * (MAX_BODY - 2) + b"]"
        self.assertEqual(split(text + b"{}"), [text, b"{}"])
        self.assertRaises(ParseError, split, b" " + text[:-1] + b"1]")
        self.assertRaises(ParseError, split, text[:-1], b"1]")

    def test_a_text_without_end(self) -> None:
        splitter = Splitter()
        with self.assertRaises(ParseError):
            for _ in range(64):
                splitter.receive_data(b'["' + b"x" * 65536)
                splitter.next_text()
                self.assertLessEqual(len(splitter._data), MAX_BODY)
        self.assertLess(len(splitter._data), MAX_BODY + 100_000)

    def test_space_is_not_kept(self) -> None:
        splitter = Splitter()
        for _ in range(40):
            splitter.receive_data(b" " * 65536)
            self.assertIsNone(splitter.next_text())
            self.assertEqual(len(splitter._data), 0)

    def test_each_byte_is_looked_at_once(self) -> None:
        began = process_time()
        splitter = Splitter()
        for piece in [b"["] + [b"[" * 64] * 5_000:
            splitter.receive_data(piece)
            self.assertIsNone(splitter.next_text())
        self.assertLess(process_time() - began, 5.0)

    @given(st.lists(st.lists(_JSON, max_size=3) | st.dictionaries(st.text(max_size=4), _JSON, max_size=3)), st.data())
    def test_chopped_anywhere(self, values: list[object], data: st.DataObject) -> None:
        stream = b" \n".join(json.dumps(value, ensure_ascii=False).encode() for value in values)
        cut = data.draw(st.integers(0, len(stream)))
        self.assertEqual([json.loads(text) for text in split(stream[:cut], stream[cut:])], values)

    @given(st.binary(max_size=64))
    def test_any_bytes(self, stream: bytes) -> None:
        try:
            texts = split(stream)
        except ParseError:
            return
        self.assertTrue(b"".join(texts) in stream or texts)
