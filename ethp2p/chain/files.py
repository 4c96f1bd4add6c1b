"""
A chain from files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Union

from ethp2p import networks
from ethp2p.blocks import Block
from ethp2p.chain.memory import MemoryChain, UnfitBlock
from ethp2p.errors import ConfigError, WireError

#: Most bytes of one block in a file.  Ethereum's own limit is 10 MiB (EIP-7934).
MAX_BLOCK = 16 * 1024 * 1024


def read_blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """
    Blocks written one after another, and where each begins.  Reads one at a time, never more than
    L{MAX_BLOCK} bytes.

    @raise WireError: the file is cut short, or something else than a block is in it.
    """
    offset = 0
    while head := file.read(1):
        width = max(0, head[0] - 0xF7)
        head += file.read(width)
        if head[0] < 0xC0 or len(head) != 1 + width:
            raise WireError(f"no block begins at byte {offset}")
        length = int.from_bytes(head[1:], "big") if width else head[0] - 0xC0
        if length > MAX_BLOCK:
            raise WireError(f"a block of {length} bytes at byte {offset}, more than {MAX_BLOCK}")
        raw = head + file.read(length)
        if len(raw) != len(head) + length:
            raise WireError(f"the file ends within the block at byte {offset}")
        yield offset, raw
        offset += len(raw)


def load_chain(directory: Union[str, "os.PathLike[str]"]) -> MemoryChain:
    """
    The chain of C{genesis.json} and C{chain.rlp} in C{directory}.  The blocks may begin with the genesis or
    after it.

    @raise ConfigError: a file cannot be read, or is damaged; says which, and where.
    """
    path = Path(directory) / "chain.rlp"
    chain = MemoryChain(networks.from_genesis(Path(directory) / "genesis.json"))
    try:
        with path.open("rb") as file:
            for offset, raw in read_blocks(file):
                _append(chain, offset, raw)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (WireError, UnfitBlock) as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    return chain


def _append(chain: MemoryChain, offset: int, raw: bytes) -> None:
    try:
        block = Block.decode(raw)
        if block.header.number or block.header.hash != chain.network.genesis_hash:
            chain.append(block)
    except (WireError, UnfitBlock) as error:
        raise type(error)(f"block at byte {offset}: {error}") from None
