"""
Patterns for client names, as an operator writes them, and a search that no name can make slow.

C{re} tries one way after another: with C{(a+)+$} in the configuration, a stranger whose name is forty times C{a} would
stop the node for hours.  Here all ways are followed at once (Thompson, 1968), so that a search costs at most one look
for each character of the name and each step of the pattern; C{re} only judges single characters.  Go's patterns, which
BSC takes for the same purpose (PeerFilterPatterns), behave alike.

A pattern is written as for C{re} and found anywhere in the name.  Not taken is what needs the other way of searching:
looking around, references to groups, possessive repeats; nor are named groups, and of the flags only a leading
C{(?i)} is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Union

import attrs

from ethp2p.errors import ConfigError

#: Longest pattern, in characters.
MAX_PATTERN = 128
#: Most steps of one pattern: about one for each character, and again for each time that one may be repeated.
MAX_STEPS = 512
#: Most characters of a name that are looked at; devp2p keeps as many of one.
MAX_NAME = 256

#: What stands for one character or for a place between two, or a fork: how far on each way goes.
_Step = Union["re.Pattern[str]", tuple[int, ...]]

#: How often something may come.
_REPEAT = re.compile(r"(?P<sign>[*+?])|\{(?P<least>[0-9]*)(?:(?P<comma>,)(?P<most>[0-9]*))?\}")
#: One character out of several.  A bracket that comes first is one of them.
_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.S)
#: One character, or a place: a letter after a backslash must be one of these.
_ESCAPE = re.compile(r"\\(?:[^A-Za-z0-9]|[dDwWsSbBAZtnrfv])", re.S)


@attrs.frozen
class Pattern:
    """
    One pattern, ready to search with.
    """

    text: str
    _steps: tuple[_Step, ...] = attrs.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """
        @raise ConfigError: it is none, is too long, or needs more than L{MAX_STEPS}.
        """
        if not text or len(text) > MAX_PATTERN:
            raise ConfigError(f"a pattern has from 1 to {MAX_PATTERN} characters, not {len(text)}")
        return _parse(text)

    def search(self, name: str) -> bool:
        """Whether it is found in the first L{MAX_NAME} characters of a name."""
        name = name[:MAX_NAME]
        steps, over = self._steps, len(self._steps)
        here: set[int] = set()
        for at in range(len(name) + 1):
            here.add(0)  # it may begin anywhere
            after: set[int] = set()
            open_ways = list(here)
            while open_ways:
                number = open_ways.pop()
                if number == over:
                    return True
                step = steps[number]
                if isinstance(step, tuple):
                    ways = {number + way for way in step} - here
                else:
                    found = step.match(name, at)
                    if found is None:
                        continue
                    if found.end() > at:
                        after.add(number + 1)
                        continue
                    ways = {number + 1} - here
                here |= ways
                open_ways += ways
            here = after
        return False

    def __len__(self) -> int:
        return len(self._steps)


@lru_cache(MAX_STEPS)
def _parse(text: str) -> Pattern:
    reader = _Reader(text)
    try:
        steps = reader.alternatives()
    except re.error as error:
        raise ConfigError(f"the pattern {text!r}: {error.msg}") from None
    if reader.rest:
        raise reader.fault("unbalanced parenthesis")
    return Pattern(text, tuple(steps))


class _Reader:
    """
    Reads a pattern into steps.  Ways are counted from the step they start at, so that steps can be put together
    and repeated as they are.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._flags = re.IGNORECASE if self._take("(?i)") else re.NOFLAG

    @property
    def rest(self) -> str:
        """What is not read yet."""
        return self._text[self._at :]

    def fault(self, why: str) -> ConfigError:
        """What is wrong, and where."""
        return ConfigError(f"the pattern {self._text!r}: {why} at position {self._at}")

    def _take(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        self._at += len(text) * taken
        return taken

    def alternatives(self) -> list[_Step]:
        """As far as a parenthesis closes, or the end."""
        steps = self._sequence()
        while self._take("|"):
            other = self._sequence()
            steps = self._fits([(1, len(steps) + 2), *steps, (len(other) + 1,), *other])
        return steps

    def _sequence(self) -> list[_Step]:
        steps: list[_Step] = []
        while self.rest and self.rest[0] not in "|)":
            steps = self._fits(steps + self._repeated(self._atom()))
        return steps

    def _atom(self) -> list[_Step]:
        repeat = _REPEAT.match(self._text, self._at)
        if repeat and repeat[0] != "{}":
            raise self.fault("nothing to repeat")
        if self._take("("):
            if not self._take("?:") and self.rest.startswith("?"):
                raise self.fault(f"'({self.rest[:2]}' is not taken here")
            steps = self.alternatives()
            if not self._take(")"):
                raise self.fault("missing )")
            return steps
        first = self.rest[0]
        form = {"[": _CLASS, "\\": _ESCAPE}.get(first)
        if form is None:
            atom = first if first in ".^$" else re.escape(first)
            self._at += 1
        else:
            found = form.match(self._text, self._at)
            if found is None:
                raise self.fault(f"{self.rest[:2]!r} is not taken here" if first == "\\" else "missing ]")
            atom = found[0]
            self._at = found.end()
        return [re.compile(atom, self._flags)]

    def _repeated(self, steps: list[_Step]) -> list[_Step]:
        repeat = _REPEAT.match(self._text, self._at)
        if repeat is None or repeat[0] == "{}":
            return steps
        self._at = repeat.end()
        self._take("?")  # as few as possible: whether it is found is the same
        again = _REPEAT.match(self._text, self._at)
        if again and again[0] != "{}":
            raise self.fault("multiple repeat")
        least, most = self._times(repeat)
        if most is not None and most < least:
            raise self.fault("more at least than at most")
        if (least + (1 if most is None else most - least)) * (len(steps) + 2) > MAX_STEPS + 2:
            raise self.fault(f"more than {MAX_STEPS} steps")
        if most is None:
            optional: list[_Step] = [(1, len(steps) + 2), *steps, (-len(steps) - 1,)]
        else:
            optional = [(1, len(steps) + 1), *steps] * (most - least)
        return steps * least + optional

    def _times(self, repeat: re.Match[str]) -> tuple[int, int | None]:
        if repeat["sign"]:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[repeat["sign"]]
        least = int(repeat["least"] or 0)
        if not repeat["comma"]:
            return least, least
        return least, int(repeat["most"]) if repeat["most"] else None

    def _fits(self, steps: list[_Step]) -> list[_Step]:
        if len(steps) > MAX_STEPS:
            raise self.fault(f"more than {MAX_STEPS} steps")
        return steps
