"""
Data that is too large for the tree: geth's 600-block test chain and other published vectors.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest import SkipTest

_HERE = Path(__file__).resolve().parent


def shared(name: str) -> Path:
    """
    A folder of shared data, beside the checkout or where C{ETHP2P_DATA} says.

    @raise SkipTest: it is not there.
    """
    root = Path(os.environ.get("ETHP2P_DATA") or _HERE.parent.parent / "shared" / "data")
    if not (root / name).is_dir():
        raise SkipTest(f"SHARED DATA MISSING: no {name}/ in {root}; set ETHP2P_DATA to run this test")
    return root / name


def ethtest() -> Path:
    """geth's devp2p test chain: genesis.json, chain.rlp and more."""
    return shared("ethtest")
