"""
L{ethp2p.chain.files}: geth's files, whole and damaged.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import Block, Body
from ethp2p.chain import files, load_chain
from ethp2p.chain.files import MAX_BLOCK, read_blocks
from ethp2p.codec import rlp
from ethp2p.errors import ConfigError, WireError
from ethp2p.networks import from_genesis
from tests.chain.building import geth_chain, next_block
from tests.data import ethtest

GENESIS_JSON = {
    "config": {"chainId": 1337, "londonBlock": 0, "terminalTotalDifficulty": 0, "shanghaiTime": 0},
    "gasLimit": "0x1c9c380",
    "difficulty": "0x0",
    "alloc": {},
}


class GethTests(SynchronousTestCase):
    """The chain of geth's conformance suite."""

    def test_loaded(self) -> None:
        chain = geth_chain()
        head = json.loads((ethtest() / "headblock.json").read_text())
        self.assertEqual(chain.head().number, 600)
        self.assertEqual("0x" + chain.head().hash.hex(), head["hash"])
        self.assertEqual(chain.head().timestamp, 6000)
        self.assertEqual(chain.network.network_id, 3503995874084926)
        self.assertEqual(
            chain.totalDifficulty(), int(json.loads((ethtest() / "genesis.json").read_text())["difficulty"], 16)
        )

    def test_bytes_kept(self) -> None:
        chain = geth_chain()
        with (ethtest() / "chain.rlp").open("rb") as file:
            raws = [raw for _, raw in read_blocks(file)]
        self.assertEqual(len(raws), 600)
        for number in (1, 54, 600):
            found = chain.hashAt(number) or b""
            header, *body = rlp.split(raws[number - 1])
            self.assertEqual(chain.rawHeader(found), header)
            self.assertEqual(chain.rawBody(found), rlp.join(body))


class ReadBlocksTests(SynchronousTestCase):
    def read(self, data: bytes) -> list[tuple[int, bytes]]:
        return list(read_blocks(BytesIO(data)))

    def test_one_after_another(self) -> None:
        blocks = [b"\xc0", b"\xc2\x01\x02", rlp.encode([bytes(60)]), rlp.encode([bytes(70000)])]
        self.assertEqual([raw for _, raw in self.read(b"".join(blocks))], blocks)
        self.assertEqual([offset for offset, _ in self.read(b"".join(blocks))], [0, 1, 4, 4 + len(blocks[2])])
        self.assertEqual(self.read(b""), [])

    def test_damaged(self) -> None:
        whole = rlp.encode([bytes(300)])
        table = {
            b"\xc0\x80": "no block begins at byte 1",
            b"\xc0" + whole[:-1]: "ends within the block at byte 1",
            b"\xc0\xf9\x01": "no block begins at byte 1",
            b"\xff" + b"\xff" * 8: f"more than {MAX_BLOCK}",
        }
        for data, words in table.items():
            self.assertIn(words, str(self.assertRaises(WireError, self.read, data)))

    def test_declared_size_is_not_read(self) -> None:
        """A length over the cap is refused before anything is allocated for it."""
        asked: list[int] = []

        class Spy(BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                asked.append(size or 0)
                return super().read(size)

        self.assertRaises(WireError, list, read_blocks(Spy(b"\xfb" + (MAX_BLOCK + 1).to_bytes(4, "big") + bytes(9))))
        self.assertEqual(asked, [1, 4])

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Blocks that add up to the file, or WireError."""
        try:
            blocks = self.read(data)
        except WireError:
            return
        self.assertEqual(b"".join(raw for _, raw in blocks), data)


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        (self.directory / "genesis.json").write_text(json.dumps(GENESIS_JSON))
        genesis = from_genesis(self.directory / "genesis.json").genesis_header
        assert genesis is not None
        self.genesis = genesis
        self.blocks: list[bytes] = []
        parent = genesis
        for _ in range(4):
            block = next_block(parent)
            self.blocks.append(block.encode())
            parent = block.header

    def load(self, data: bytes) -> int:
        (self.directory / "chain.rlp").write_bytes(data)
        return load_chain(self.directory).head().number

    def test_with_and_without_genesis(self) -> None:
        self.assertEqual(self.load(b"".join(self.blocks)), 4)
        genesis = Block(self.genesis, Body((), (), ())).encode()
        self.assertEqual(self.load(genesis + b"".join(self.blocks)), 4)
        self.assertEqual(self.load(b""), 0)

    def test_damaged(self) -> None:
        one, two, three, _ = self.blocks
        other = Block(next_block(self.genesis, b"other").header, Body((), (), ())).encode()
        table = [
            (one + two[:-1], f"within the block at byte {len(one)}"),
            (one + three, f"block at byte {len(one)}: the parent of block 3"),
            (one + one, f"block at byte {len(one)}: the parent of block 1"),
            (one + b"\xc2\x01\x02", f"block at byte {len(one)}: "),
            (other, "block at byte 0: the body of block 1"),
            (
                Block(next_block(self.genesis).header.__class__(), Body()).encode(),
                "block at byte 0: the parent of block 0",
            ),
        ]
        for data, words in table:
            error = self.assertRaises(ConfigError, self.load, data)
            self.assertIn("chain.rlp is damaged: ", str(error))
            self.assertIn(words, str(error))

    def test_missing(self) -> None:
        error = self.assertRaises(ConfigError, load_chain, self.directory)
        self.assertIn("chain.rlp: No such file", str(error))
        (self.directory / "genesis.json").unlink()
        self.assertIn("genesis.json", str(self.assertRaises(ConfigError, load_chain, self.directory)))

    def test_oversize(self) -> None:
        self.patch(files, "MAX_BLOCK", 100)
        self.assertIn("more than 100", str(self.assertRaises(ConfigError, self.load, self.blocks[0])))
