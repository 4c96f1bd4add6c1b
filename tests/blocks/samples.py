"""
Blocks to test with: geth's test chain, and ways to damage what is whole.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from ethp2p.blocks import Block
from ethp2p.codec import rlp
from tests.data import ethtest

#: A block before Merge with a legacy transaction, from go-ethereum's C{core/types/block_test.go}.
FRONTIER_BLOCK = bytes.fromhex(
    "f90260f901f9a083cafc574e1f51ba9dc0568fc617a08ea2429fb384059c972f13b19fa1c8dd55a01dcc4de8dec75d7aab85b567b6cc"
    "d41ad312451b948a7413f0a142fd40d49347948888f1f195afa192cfee860698584c030f4c9db1a0ef1552a40b7165c3cd773806b9e0"
    "c165b75356e0314bf0706f279c729f51e017a05fe50b260da6308036625b850b5d6ced6d0a9f814c0688bc91ffb7b7a3a54b67a0bc37"
    "d79753ad738a6dac4921e57392f145d8887476de3f783dfa7edae9283e52b90100" + "00" * 256 + "8302000001832fefd88252"
    "08845506eb0780a0bd4472abb6659ebe3ee06ee4d7b72a00a9f4d001caca51342001075469aff49888a13a5a8c8f2bb1c4f861f85f80"
    "0a82c35094095e7baea6a6c7c4c2dfeb977efac326af552d870a801ba09bea4c4daac7c7c52e093e6a4c35dbbcf8856f1af7b059ba20"
    "253e70848d094fa08a8fae537ce25ed8cb5af9adac3f141af69bd515bd2ba031522df09b97dd72b1c0"
)


@cache
def raw_blocks() -> list[bytes]:
    """Blocks 1 to 600 of geth's test chain."""
    chain = (ethtest() / "chain.rlp").read_bytes()
    return rlp.split(rlp.join([chain]))  # the file is the blocks in a row: an outer list makes them one item


@cache
def blocks() -> list[Block]:
    """The same, decoded."""
    return [Block.decode(raw) for raw in raw_blocks()]


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """C{whole} with some bytes replaced by others, or none; also bytes of no meaning, and RLP of none."""
    trees = st.recursive(st.binary(max_size=40), lambda inner: st.lists(inner, max_size=6), max_leaves=30)
    cuts = st.tuples(st.integers(0, len(whole)), st.integers(0, 3), st.binary(max_size=3))
    replaced = cuts.map(lambda cut: whole[: cut[0]] + cut[2] + whole[cut[0] + cut[1] :])
    return st.one_of(replaced, trees.map(rlp.encode), st.binary(max_size=200))
