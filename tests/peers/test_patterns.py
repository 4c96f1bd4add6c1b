"""
Patterns that find what C{re} finds, and that no name can make slow.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError
from ethp2p.peers.patterns import MAX_NAME, MAX_PATTERN, MAX_STEPS, Pattern

atoms = st.sampled_from([*"ab.-", r"\.", r"\d", r"\w", r"\b", "[ab]", "[^a]", "[]a]", r"[\]a-c]", "^", "$", "{", "a{}"])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda both: f"(?:{both[0]}|{both[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{,2}", "{1,}"])).map(
            lambda both: f"({both[0]}){both[1]}"
        ),
    ),
    max_leaves=6,
)


class PatternTests(SynchronousTestCase):
    @given(expressions, st.booleans(), st.lists(st.text("abAB.-{}]1 ", max_size=8), min_size=1, max_size=5))
    def test_as_re(self, text: str, ignore: bool, names: list[str]) -> None:
        """It finds what C{re} finds."""
        text = "(?i)" * ignore + text
        pattern, other = Pattern.parse(text), re.compile(text)
        for name in names:
            self.assertEqual(pattern.search(name), other.search(name) is not None, (text, name))

    @given(st.text("ab()[]{}|*+?\\^$.,12i:-", max_size=14))
    def test_any_text(self, text: str) -> None:
        """Any text is a pattern that C{re} takes, too, or a ConfigError; whatever it is, it can be searched for."""
        try:
            pattern = Pattern.parse(text)
        except ConfigError:
            return
        found = pattern.search("ab1")
        try:
            other = re.compile(text)
        except (re.error, OverflowError):  # such as a repeated ^, which does no harm here
            return
        self.assertEqual(found, other.search("ab1") is not None)

    def test_refused(self) -> None:
        """What needs the other way of searching, and what is no pattern."""
        for text, why in [
            ("", "from 1 to 128 characters"),
            ("a" * (MAX_PATTERN + 1), "from 1 to 128 characters"),
            ("(?=a)", "'(?=' is not taken here"),
            ("(?<!a)b", "'(?<' is not taken here"),
            ("(?P<n>a)", "'(?P' is not taken here"),
            ("a(?i)b", "'(?i' is not taken here"),
            (r"(a)\1", "is not taken here"),
            (r"\pL", "is not taken here"),
            ("a\\", "is not taken here"),
            ("*a", "nothing to repeat"),
            ("a**", "multiple repeat"),
            ("a*+", "multiple repeat"),
            ("a{3,2}", "more at least than at most"),
            ("(a", "missing )"),
            ("a)", "unbalanced parenthesis"),
            ("[a", "missing ]"),
            ("[z-a]", "bad character range"),
            ("a{513}", f"more than {MAX_STEPS} steps"),
            ("a{999999999}", f"more than {MAX_STEPS} steps"),
            ("((a{9}){9}){9}", f"more than {MAX_STEPS} steps"),
            ("(a{200}|b{200}|c{200})", f"more than {MAX_STEPS} steps"),
            ("(" * MAX_PATTERN, "missing )"),
        ]:
            line = str(self.assertRaises(ConfigError, Pattern.parse, text))
            self.assertIn(why, line)
            self.assertNotIn("\n", line)

    def test_name_is_cut(self) -> None:
        """Only so much of a name is looked at."""
        pattern = Pattern.parse("b")
        self.assertTrue(pattern.search("a" * (MAX_NAME - 1) + "b"))
        self.assertFalse(pattern.search("a" * MAX_NAME + "b"))

    def test_no_name_is_slow(self) -> None:
        """Patterns that keep C{re} busy for years cost at most one look for each character and step."""
        looks = 0

        @attrs.frozen
        class Counted:
            inner: re.Pattern[str]

            def match(self, name: str, at: int) -> re.Match[str] | None:
                nonlocal looks
                looks += 1
                return self.inner.match(name, at)

        for text in (
            "(a+)+$",
            "(a|a)*b",
            "(a*)*b",
            "a?" * 40 + "a" * 40 + "b",
            "(.*.*)*x",
            "(a|b|ab)*c",
            "(a{0,9}){0,9}b",
        ):
            pattern = Pattern.parse(text)
            steps: Any = tuple(Counted(step) if isinstance(step, re.Pattern) else step for step in pattern._steps)
            looks = 0
            self.assertFalse(Pattern(text, steps).search("a" * (MAX_NAME - 1) + "!"))
            self.assertLessEqual(looks, (MAX_NAME + 1) * len(steps))
