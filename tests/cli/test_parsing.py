"""
Words of the command line as values.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli import parsing
from ethp2p.crypto.keys import PrivateKey, save_key
from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.sandbox.chainmaker import ChainMaker

KEY = PrivateKey.parse(b"\x01" * 32)


class ParsingTests(SynchronousTestCase):
    def reads(self, convert: Callable[[str], Any], good: dict[str, Any], bad: tuple[str, ...]) -> None:
        for text, value in good.items():
            self.assertEqual(convert(text), value, text)
        for text in bad:
            error = self.assertRaises(argparse.ArgumentTypeError, convert, text)
            self.assertNotIn("\n", str(error))

    def test_numbers(self) -> None:
        self.reads(parsing.port, {"0": 0, "65535": 65535}, ("", "65536", "-1", "1.0", "\u0661", "9" * 5000))
        self.reads(parsing.count, {"1": 1, "999999": 999999}, ("", "0", "-1", "1000000"))
        self.reads(parsing.uint64, {"0": 0, str(2**64 - 1): 2**64 - 1}, ("", "-1", str(2**64), "x"))

    def test_seconds(self) -> None:
        good = {
            "5": 5.0,
            "1.5": 1.5,
            ".5": 0.5,
            "1.5s": 1.5,
            "30m": 1800.0,
            "1h30m0s": 5400.0,
            "500ms": 0.5,
            "720h": 2592000.0,
        }
        bad = ("", "0", "0s", "-1", "nan", "inf", "1e3", "5 s", "s", "1d", "721h", "9" * 400, "1" * 40 + "s", "5\n")
        self.reads(parsing.seconds, good, bad)

    def test_places(self) -> None:
        good = {
            "1.2.3.4": (("1.2.3.4", None),),
            "1.2.3.4:5": (("1.2.3.4", 5),),
            "::1": (("::1", None),),
            "[::1]": (("::1", None),),
            "[::1]:30303,0.0.0.0:0": (("::1", 30303), ("0.0.0.0", 0)),
        }
        self.reads(
            parsing.places, good, ("", "host", "host:5", "1.2.3.4:65536", "1.2.3.4:", "[1.2.3.4", ":5", "1.2.3.4,")
        )

    def test_ranges(self) -> None:
        for text in ("x", "10.0.0.0/33", "10.0.0.0/255.0.0.x"):
            self.assertRaises(argparse.ArgumentTypeError, parsing.network_range, text)
        self.assertEqual(str(parsing.network_range("10.1.2.3/8")), "10.0.0.0/8")

    def test_nodes(self) -> None:
        one, other = Node(KEY.public_key, "1.2.3.4", 5, 6), Node(KEY.public_key, "::1", 7, 7)
        self.reads(
            parsing.nodes,
            {"": (), one.url: (one,), f"{one.url}, {other.url}": (one, other)},
            ("x", f"{one.url},", "enode://xyz"),
        )

    def test_networks(self) -> None:
        self.assertEqual(parsing.network("hoodi").network_id, 560048)
        genesis = Path(self.mktemp())
        genesis.write_text(json.dumps(ChainMaker(b"town").genesis()))
        self.assertEqual(parsing.network(str(genesis)).chain_id, ChainMaker(b"town").genesis()["config"]["chainId"])
        genesis.write_text("{}")
        for text in ("nowhere", str(genesis)):
            self.assertRaises(argparse.ArgumentTypeError, parsing.network, text)

    def test_keys(self) -> None:
        path = self.mktemp()
        save_key(path, KEY)
        for text in (KEY.secret.hex(), "0x" + KEY.secret.hex().upper(), path):
            self.assertEqual(parsing.own_key(text).secret, KEY.secret)
        self.assertNotEqual(parsing.own_key(None).secret, parsing.own_key(None).secret)
        for text in ("", "00" * 32, KEY.secret.hex()[:-1]):
            self.assertRaises(ConfigError, parsing.own_key, text)
