"""
SECURITY.md tells every cap there is, with the value it has.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ethp2p

ROW = re.compile(r"^\| `(?P<name>[\w.]+)` \| (?P<value>[\d,.]+) ?(?P<unit>[^|]*?) \|")


def rows() -> dict[str, float]:
    """The table: full name of the constant to its value."""
    text = (Path(__file__).parent.parent / "SECURITY.md").read_text()
    found = filter(None, map(ROW.match, text.splitlines()))
    return {f"ethp2p.{row['name']}": float(row["value"].replace(",", "")) for row in found}


#: Called MAX_ANYTHING, but not of something that could grow.
NUMBERS = {"ethp2p.blocks.signature.MAX_S", "ethp2p.enode.local.MAX_SEQ"}


def caps() -> dict[str, float]:
    """Every constant called MAX_ANYTHING where it is defined."""
    found = {}
    for module in pkgutil.walk_packages(ethp2p.__path__, "ethp2p."):
        if module.name.startswith("ethp2p.testing"):  # meets no stranger
            continue
        source = importlib.import_module(module.name)
        text = Path(source.__file__ or "").read_text()
        for name in re.findall(r"^(MAX_\w+)(?:: \w+)? = ", text, re.M):
            found[f"{module.name}.{name}"] = float(getattr(source, name))
    return {name: value for name, value in found.items() if name not in NUMBERS}


class SecurityTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The table and the code agree, both ways."""
        told, real = rows(), caps()
        self.assertGreater(len(real), 20)
        self.assertEqual(sorted(real.keys() - told.keys()), [], "caps that SECURITY.md does not tell")
        for name, value in told.items():
            module, _, constant = name.rpartition(".")
            self.assertEqual(value, float(getattr(importlib.import_module(module), constant)), name)
