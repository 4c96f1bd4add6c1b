"""
A chain in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger
from zope.interface import implementer

from ethp2p.blocks import EMPTY_ROOT, Block, Body, Header, Receipt, receipts_root
from ethp2p.errors import ConfigError, LocalProtocolError
from ethp2p.interfaces import IChain
from ethp2p.networks import Network

HeadObserver = Callable[[Header], object]


class UnfitBlock(LocalProtocolError):
    """The block does not follow the head, or is not whole."""


@implementer(IChain)
class MemoryChain:
    """
    One branch of blocks from the genesis on, the bytes of each as they came.
    """

    #: Most head observers: more means that somebody forgets to unsubscribe.
    MAX_OBSERVERS = 64
    _log = Logger()

    def __init__(self, network: Network, genesis: Header | None = None) -> None:
        """
        @param genesis: block 0; by default the network's own.
        @raise ConfigError: the network does not bring its genesis header, or it is not C{genesis}.
        """
        genesis = genesis or network.genesis_header
        if genesis is None:
            raise ConfigError(f"the genesis header of {network.name} is not known")
        if genesis.hash != network.genesis_hash:
            raise ConfigError(f"0x{genesis.hash.hex()} is not the genesis of {network.name}")
        self.network = network
        self._head = genesis
        self._difficulty = genesis.difficulty
        # By number:
        self._hashes = [genesis.hash]
        self._headers = [genesis.encode()]
        self._bodies = [Body((), (), None if genesis.withdrawals_root is None else ()).encode()]
        self._receipts: dict[int, tuple[Receipt, ...]] = {0: ()}
        self._numbers = {genesis.hash: 0}
        self._observers: list[HeadObserver] = []

    def append(self, block: Block, receipts: Iterable[Receipt] | None = None) -> None:
        """
        Add the next block, and tell the observers.

        @param receipts: its receipts, if they are to be served.  A block without transactions has none, and
            needs not be told.
        @raise UnfitBlock: its parent is not the head, its number not the next, or its body or receipts are
            not its header's.
        """
        header, body = block.header, block.body
        if header.parent_hash != self._head.hash:
            raise UnfitBlock(f"the parent of block {header.number} is not our head ({self._head.number})")
        if header.number != self._head.number + 1:
            raise UnfitBlock(f"block {header.number} does not follow block {self._head.number}")
        if not body.matches(header):
            raise UnfitBlock(f"the body of block {header.number} is not its header's")
        if receipts is not None:
            receipts = tuple(receipts)
            if receipts_root(receipts) != header.receipts_root:
                raise UnfitBlock(f"the receipts of block {header.number} are not its header's")
        elif header.receipts_root == EMPTY_ROOT:
            receipts = ()
        if receipts is not None:
            self._receipts[header.number] = receipts
        self._numbers[header.hash] = header.number
        self._hashes.append(header.hash)
        self._headers.append(header.encode())
        self._bodies.append(body.encode())
        self._difficulty += header.difficulty
        self._head = header
        for observer in tuple(self._observers):
            try:
                observer(header)
            except Exception:  # noqa: BLE001  one observer's fault must not keep the head from the others
                self._log.failure("head observer failed at block {number}", number=header.number)

    def observeHead(self, observer: HeadObserver) -> Callable[[], None]:
        """
        Call C{observer} with each new head.

        @return: call it to stop.
        @raise RuntimeError: there are L{MAX_OBSERVERS} already.
        """
        if len(self._observers) >= self.MAX_OBSERVERS:
            raise RuntimeError(f"more than {self.MAX_OBSERVERS} observers of one chain's head")
        self._observers.append(observer)

        def stop() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return stop

    def head(self) -> Header:
        """See L{IChain}."""
        return self._head

    def earliest(self) -> int:
        """See L{IChain}."""
        return 0

    def totalDifficulty(self) -> int:
        """See L{IChain}."""
        return self._difficulty

    def hashAt(self, number: int) -> bytes | None:
        """See L{IChain}."""
        return self._hashes[number] if 0 <= number < len(self._hashes) else None

    def numberOf(self, blockHash: bytes) -> int | None:
        """See L{IChain}."""
        return self._numbers.get(blockHash)

    def rawHeader(self, blockHash: bytes) -> bytes | None:
        """See L{IChain}."""
        number = self._numbers.get(blockHash)
        return None if number is None else self._headers[number]

    def rawBody(self, blockHash: bytes) -> bytes | None:
        """See L{IChain}."""
        number = self._numbers.get(blockHash)
        return None if number is None else self._bodies[number]

    def receipts(self, blockHash: bytes) -> tuple[Receipt, ...] | None:
        """See L{IChain}."""
        number = self._numbers.get(blockHash)
        return None if number is None else self._receipts.get(number)
