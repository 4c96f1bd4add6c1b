"""
JSON texts out of a stream of bytes, one after the other with nothing but white space between them.

Sans-IO.  It finds where a text ends and no more: whether it is JSON is for its reader to see.
"""

from __future__ import annotations

import re

from ethp2p.web.http import MAX_BODY
from ethp2p.web.registry import ParseError

_SPACE = re.compile(rb"[ \t\r\n]*")
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')


class Splitter:
    """
    Holds at most L{MAX_BODY} bytes, and what came last.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._seen = 0
        self._depth = 0
        self._quoted = False

    def receive_data(self, data: bytes) -> None:
        """More of the stream."""
        self._data += data

    def next_text(self) -> bytes | None:
        """
        The next text, or None when it is not whole yet.

        @raise ParseError: this is neither an object nor a list, or too long.  Nothing after it can be understood.
        """
        data = self._data
        if self._seen == 0:
            space = _SPACE.match(data)
            assert space is not None  # nothing at all is space too
            del data[: space.end()]
            if not data:
                return None
            if data[0] not in b"{[":
                raise ParseError("an object or a list is expected")
        end = self._end()
        if (end or len(data)) > MAX_BODY:
            raise ParseError(f"a request has at most {MAX_BODY} bytes")
        if end is None:
            return None
        text = bytes(data[:end])
        del data[:end]
        self._seen = 0
        return text

    def _end(self) -> int | None:
        """Where the text ends.  Every byte is looked at once, however the stream is chopped."""
        data = self._data
        while True:
            match = (_INSIDE if self._quoted else _OUTSIDE).search(data, self._seen)
            if match is None:
                self._seen = len(data)
                return None
            found = match[0]
            if found == b"\\":
                if match.end() == len(data):  # what it escapes has not come yet
                    self._seen = match.start()
                    return None
                self._seen = match.end() + 1
                continue
            self._seen = match.end()
            if found == b'"':
                self._quoted = not self._quoted
            else:
                self._depth += 1 if found in b"{[" else -1
                if self._depth == 0:
                    return self._seen
