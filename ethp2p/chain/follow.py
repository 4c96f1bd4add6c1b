"""
A chain that grows by what peers have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from ethp2p.blocks import Block, Header
from ethp2p.chain.memory import MemoryChain
from ethp2p.errors import P2PError
from ethp2p.eth import AnswerTooLarge, EthProtocol
from ethp2p.limits import Clock

#: Blocks asked for at a time.
BATCH = 64
#: How many of our newest blocks a peer is asked for at first contact, to see that it is on our branch.
OVERLAP = 32
#: Seconds to wait for one peer before the next one is asked, too.
PATIENCE = 10.0


class OtherBranch(P2PError):
    """The peer's blocks do not fit on ours."""


async def fetch_blocks(
    peer: EthProtocol, first: int, amount: int, *, receipts: bool = False
) -> list[tuple[Block, Any]]:
    """
    Ask one peer for whole blocks: headers that link, bodies and receipts that match them.

    @param first: number of the first.
    @param amount: how many, at most L{ethp2p.eth.MAX_ASKED}.
    @param receipts: whether to fetch them too; None stands in their place otherwise.
    @return: each block with its receipts: the first ones, as many as the peer has and cares to send.
    @raise AnswerTooLarge: the receipts of the first block alone are more than a message can carry.
    @raise P2PError: as L{EthProtocol}'s methods do.
    """
    headers: list[Header] = await peer.getBlockHeaders(first, amount)
    bodies: list[Any] = []
    while len(bodies) < len(headers):
        more = await peer.getBlockBodies(headers[len(bodies) :])
        if not more:
            break
        bodies += more
    lists: list[Any] = await _receipts(peer, headers[: len(bodies)]) if receipts else [None] * len(bodies)
    return [(Block(header, body), list_) for header, body, list_ in zip(headers, bodies, lists)]


async def _receipts(peer: EthProtocol, headers: list[Header]) -> list[Any]:
    """Those of the first blocks, as many as the peer can send; fewer at a time when an answer is too large."""
    lists: list[Any] = []
    most = len(headers)
    while len(lists) < len(headers):
        asked = headers[len(lists) : len(lists) + most]
        try:
            got = await peer.getReceipts(asked)
        except AnswerTooLarge as error:
            most = len(asked) // 2
            if most:
                continue
            if not lists:
                raise AnswerTooLarge(f"receipts of block {asked[0].number}: {error}") from None
            break
        if not got:
            break
        lists += got
    return lists


class Follower(Service):
    """
    Asks the peers in turn for the blocks after our head, checks them, and appends them.  One that is slow is left to
    its time, and keeps the others waiting for L{PATIENCE} seconds at most.

    There is no choice between branches here: the first chain that grows on our head is followed.  For chains
    whose blocks come from one place.

    @ivar appended: blocks taken from peers.
    """

    _log = Logger()

    def __init__(
        self,
        chain: MemoryChain,
        peers: Callable[[], Iterable[EthProtocol]],
        clock: Clock,
        *,
        period: float = 1.0,
        receipts: bool = True,
    ) -> None:
        """
        @param peers: those that can be asked now.
        @param period: seconds between rounds.
        @param receipts: whether to fetch receipts as well.
        """
        self._chain = chain
        self._peers = peers
        self._clock = clock
        self._period = period
        self._receipts = receipts
        self._met: WeakSet[EthProtocol] = WeakSet()
        self._told: WeakSet[EthProtocol] = WeakSet()
        #: Who cannot send us the block after this one.
        self._stuck: WeakKeyDictionary[EthProtocol, int] = WeakKeyDictionary()
        self._asked: dict[EthProtocol, Deferred[None]] = {}
        self._round: Deferred[None] | None = None
        self._next: Any = None
        self._stopped = False
        self.appended = 0

    def startService(self) -> None:
        """Begin with the first round."""
        super().startService()
        self._stopped = False
        self._begin()

    def stopService(self) -> None:
        """Give up what is under way."""
        super().stopService()
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        for asked in list(self._asked.values()):
            asked.cancel()
        if self._round is not None:
            self._round.cancel()

    def _begin(self) -> None:
        self._round = Deferred.fromCoroutine(self._ask_all())
        self._round.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self._round.addErrback(lambda failure: self._log.failure("a round of following failed", failure))
        self._round.addBoth(lambda _: self._rest())

    def _rest(self) -> None:
        if self.running:
            self._next = self._clock.callLater(self._period, self._begin)

    async def _ask_all(self) -> None:
        for peer in list(self._peers()):
            if peer not in self._asked and self._stuck.get(peer) != self._chain.head().number:
                await self._patiently(peer)

    def _patiently(self, peer: EthProtocol) -> Deferred[None]:
        """Ask one peer.  @return: fires when it has given all, or when that takes too long."""
        waited: Deferred[None] = Deferred(lambda _: late.cancel())
        late: Any = self._clock.callLater(PATIENCE, waited.callback, None)
        asked = self._asked[peer] = Deferred.fromCoroutine(self._exhaust(peer))

        def over(_: object) -> None:
            del self._asked[peer]
            if late.active():
                late.cancel()
                waited.callback(None)

        asked.addErrback(lambda failure: failure.trap(CancelledError) and None)
        asked.addErrback(lambda failure: self._log.failure("following failed at a peer", failure))
        asked.addBoth(over)
        return waited

    async def _exhaust(self, peer: EthProtocol) -> None:
        try:
            while not self._stopped and await self.catchUp(peer) == BATCH:
                pass
        except AnswerTooLarge as error:
            self._stuck[peer] = self._chain.head().number
            self._log.warn(
                "{peer} cannot send what follows: {why}", peer=peer.session.node_id.hex()[:8], why=str(error)
            )
        except P2PError as error:  # the session has booked what is the peer's fault
            self._log.debug("following stopped at a peer: {why}", why=str(error))

    async def catchUp(self, peer: EthProtocol) -> int:
        """
        Ask one peer once.

        @return: how many blocks it gave.
        @raise OtherBranch: they do not fit on ours.
        """
        chain = self._chain
        head = chain.head().number
        first = head + 1 if peer in self._met else max(1, head + 1 - OVERLAP)
        blocks = await fetch_blocks(peer, first, BATCH, receipts=self._receipts)
        for block, receipts in blocks:
            if self._stopped:  # by one who heard of the block before
                break
            ours = chain.hashAt(block.header.number)
            if ours is None and block.header.parent_hash == chain.head().hash:
                chain.append(block, receipts)
                self.appended += 1
            elif ours != block.header.hash:
                raise OtherBranch(f"block {block.header.number} is on another branch than ours")
        if blocks:
            self._met.add(peer)
        elif peer not in self._told and (range_ := peer.range) is not None and range_.latest >= first:
            self._told.add(peer)
            self._log.warn(
                "{peer} says it has blocks {earliest} to {latest}, and gives nothing from block {first} on{receipts}",
                peer=peer.session.node_id.hex()[:8],
                earliest=range_.earliest,
                latest=range_.latest,
                first=first,
                receipts=", or no receipts" if self._receipts else "",
            )
        return len(blocks)
