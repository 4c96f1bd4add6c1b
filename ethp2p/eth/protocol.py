"""
The Twisted shell of eth: an L{EthProtocol} for each peer, made by an L{EthFactory}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Cooperator, TaskStopped
from zope.interface import implementer

from ethp2p.blocks import Body, Header, Receipt
from ethp2p.devp2p.requests import Requests
from ethp2p.errors import ConfigError, LocalProtocolError, Offence, P2PError, RemoteProtocolError, RequestTimeout
from ethp2p.eth import messages, serve, verify, wire
from ethp2p.eth.observer import IEthObserver, SilentObserver
from ethp2p.eth.state import Conversation, EthError, StatusTimeout
from ethp2p.interfaces import ICapability, ICapabilityFactory, IChain, IChannel, ISession
from ethp2p.limits import Clock, TokenBucket, WheelCall, WheelTimer

#: Seconds within which the peer's Status must come.
STATUS_TIMEOUT = 5.0
#: Seconds within which a request must be answered.
REQUEST_TIMEOUT = 10.0
#: Most blocks to ask for in one request: nobody serves more.
MAX_ASKED = serve.MAX_SERVED
#: Requests that a peer may make at once, and a second.  A client that syncs makes tens a second.
REQUEST_BURST, REQUEST_RATE = 5000.0, 500.0
#: Most bytes of requests that wait for a peer that does not read; then it is not read either.  Up to it its answers are
#: still heard: two peers that ask each other for much must not both stop reading.
MAX_HELD = 256 * 1024
#: Bytes that a waiting request costs beyond its payload.
REQUEST_COST = 200
#: Seconds for which answers may be checked before the reactor has its turn.
SLICE = 0.005

T = TypeVar("T")


class AnswerTooLarge(P2PError):
    """The answer is larger than any message may be: fewer blocks, or none of them, can be had from this peer."""


class RequestFlood(EthError):
    """The peer asks more often than any honest peer needs to."""

    offence = Offence.FLOOD


@implementer(ICapability, IPushProducer)
class EthProtocol:
    """
    eth with one peer: answers it, and asks it.

    What it is asked for comes as a C{Deferred} that fires with checked values, or fails: with
    L{RequestTimeout}; with L{AnswerTooLarge}; with L{RemoteProtocolError} when the answer is wrong, which ends the
    session too; with
    L{LocalProtocolError} when it cannot be asked; with L{ethp2p.errors.PeerDisconnected} when it goes.
    Cancelling gives the request up.

    @ivar session: the peer.
    @ivar version: the version of eth spoken with it.
    """

    def __init__(self, factory: EthFactory, session: ISession, version: int) -> None:
        self.factory = factory
        self.session = session
        self.version = version
        self._conversation = Conversation(version, factory.chain)
        self._requests = Requests(count(1).__next__, factory.wheel)
        self._bucket = TokenBucket(factory.requestBurst, factory.requestRate)
        self._channel: IChannel | None = None
        self._deadline: WheelCall | None = None
        self._congested = False
        #: Requests to be answered when the peer reads again, and what each costs.
        self._held: deque[tuple[messages.Request, int]] = deque()
        self._heldSize = 0

    @property
    def status(self) -> messages.Status | None:
        """The peer's Status, once it came and fits."""
        return self._conversation.status

    @property
    def range(self) -> messages.BlockRangeUpdate | None:
        """The blocks that the peer has, as it last told; None up to eth/68."""
        return self._conversation.range

    @property
    def head_hash(self) -> bytes:
        """
        The newest block of the peer that we were told of, 32 bytes.

        @raise LocalProtocolError: before its Status.
        """
        if self.range is not None:
            return self.range.latest_hash
        if not isinstance(self.status, messages.Status66):
            raise LocalProtocolError("the peer has not sent Status")
        return self.status.head_hash

    def makeConnection(self, transport: IChannel) -> None:
        """See L{ICapability}.  Status goes out at once: a peer may wait for ours before it sends its own."""
        self._channel = transport
        self._deadline = self.factory.wheel.call_later(STATUS_TIMEOUT, self._statusMissing)
        transport.registerProducer(self, True)
        self.sendMessage(self._conversation.greeting())

    def messageReceived(self, code: int, payload: bytes) -> None:
        """See L{ICapability}."""
        message = self._conversation.receive_message(code, payload)
        if message is None:
            return
        if isinstance(message, messages.REQUESTS):
            self._requestReceived(message, len(payload))
        elif isinstance(message, messages.REPLIES):
            self._requests.settle(code, message.request_id, len(message.items), (message.items, len(payload)))
        elif isinstance(message, messages.TooLarge):
            words = f"an answer of {message.size:,} bytes, more than the {wire.MAX_MESSAGE:,} of a message"
            self._requests.fail(code, message.request_id, AnswerTooLarge(words))
        elif isinstance(message, messages.STATUSES):
            self._statusReceived(message)
        else:
            if isinstance(message, (messages.NewBlock, messages.NewBlockHashes)):  # relics, which ask for nothing
                self.factory.blocksAnnounced += 1
            self.factory.observer.messageSeen(self, message)

    def connectionLost(self, reason: Any) -> None:
        """See L{ICapability}."""
        if self._deadline is not None:
            self._deadline.cancel()
        self.factory.protocols.discard(self)
        self._requests.failAll(reason.value)

    def describe(self) -> Mapping[str, Any]:
        """See L{ICapability}.  The keys are geth's; before Status there is only the version."""
        status, have = self.status, self.range
        shown: dict[str, Any] = {"version": self.version}
        if isinstance(status, messages.Status66):
            shown |= {"difficulty": status.total_difficulty, "head": f"0x{status.head_hash.hex()}"}
        if have is not None:
            latest = f"0x{have.latest_hash.hex()}"
            shown |= {"earliestBlock": have.earliest, "latestBlock": have.latest, "latestBlockHash": latest}
        return shown

    def sendMessage(self, message: messages.Message) -> None:
        """
        Send any message.

        @raise LocalProtocolError: this version does not have it, it is over a cap, or there is no peer.
        """
        if self._channel is None:
            raise LocalProtocolError("not connected")
        self._channel.writeMessage(*wire.encode(self.version, message))

    def headChanged(self) -> None:
        """Tell the peer of our range of blocks, if it should hear and reads what we send."""
        if not self._congested and (update := self._conversation.update()) is not None:
            self.sendMessage(update)

    def _statusReceived(self, status: messages.Status) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.factory.protocols.add(self)
        self.factory.observer.statusReceived(self, status)

    def _statusMissing(self) -> None:
        self._fail(StatusTimeout(f"no Status within {STATUS_TIMEOUT:g} s"))

    def _fail(self, error: RemoteProtocolError) -> None:
        self._conversation.close()
        if self._channel is not None:
            self._channel.fail(error)

    def _requestReceived(self, request: messages.Request, size: int) -> None:
        if not self._bucket.take(self.factory.wheel.seconds()):
            factory = self.factory
            raise RequestFlood(f"over {factory.requestBurst:g} requests at once, {factory.requestRate:g} a second")
        if not self._congested:
            self._serve(request)
            return
        self._held.append((request, size + REQUEST_COST))
        self._heldSize += size + REQUEST_COST
        if self._heldSize > MAX_HELD and self._channel is not None:
            self._channel.pauseProducing()

    def _serve(self, request: messages.Request) -> None:
        self.factory.served += 1
        self.sendMessage(self.answer(request))

    def answer(self, request: messages.Request) -> messages.Message:
        """What to answer, from the chain.  To be overridden by those who play another part."""
        return serve.answer(self.factory.chain, self.version, request)

    def pauseProducing(self) -> None:
        """See L{IPushProducer}: the peer does not read, so what it asks waits: who asks must listen."""
        self._congested = True

    def resumeProducing(self) -> None:
        """See L{IPushProducer}: the peer reads again."""
        self._congested = False
        while self._held and not self._congested:
            request, cost = self._held.popleft()
            self._heldSize -= cost
            self._serve(request)
        if self._heldSize <= MAX_HELD and self._channel is not None:
            self._channel.resumeProducing()

    def stopProducing(self) -> None:
        """See L{IPushProducer}: the session has ended, and C{connectionLost} follows."""
        self._conversation.close()
        self._held.clear()
        self.factory.protocols.discard(self)

    def getBlockHeaders(
        self, origin: int | bytes, amount: int, skip: int = 0, reverse: bool = False
    ) -> Deferred[list[Header]]:
        """
        Ask for headers of the canonical chain.

        @param origin: number or hash of the first.
        @param amount: how many, at most L{MAX_ASKED}.
        @param skip: how many to leave out between one and the next.
        @param reverse: downwards instead of upwards.
        @return: as many as the peer has and cares to send, C{origin} first; linked by hash if C{skip} is 0.
        """
        return Deferred.fromCoroutine(self._getBlockHeaders(origin, amount, skip, reverse))

    async def _getBlockHeaders(self, origin: int | bytes, amount: int, skip: int, reverse: bool) -> list[Header]:
        query = messages.HeaderQuery(origin, amount, skip, reverse)
        return await self._ask(messages.GetBlockHeaders, query, amount, lambda items: verify.headers(query, items))

    def getBlockBodies(self, headers: Iterable[Header]) -> Deferred[list[Body]]:
        """
        Ask for the bodies of blocks, at most L{MAX_ASKED}.

        @return: the bodies of the first blocks, in order, as many as the peer sent.
        """
        asked = tuple(headers)
        hashes = tuple([header.hash for header in asked])
        return Deferred.fromCoroutine(
            self._ask(messages.GetBlockBodies, hashes, len(asked), lambda items: verify.bodies(asked, items))
        )

    def getReceipts(self, headers: Iterable[Header]) -> Deferred[list[tuple[Receipt, ...]]]:
        """
        Ask for the receipts of blocks, at most L{MAX_ASKED}.

        @return: the receipts of the first blocks, in order, as many as the peer sent.
        """
        asked = tuple(headers)
        hashes = tuple([header.hash for header in asked])
        return Deferred.fromCoroutine(
            self._ask(
                messages.GetReceipts, hashes, len(asked), lambda items: verify.receipts(asked, items, self.version)
            )
        )

    async def _ask(
        self,
        request: type[messages.Request],
        asked: Any,
        most: int,
        check: Callable[[messages.Items], Iterator[T | None]],
    ) -> list[T]:
        if self.status is None:
            raise LocalProtocolError("the peer has not sent Status")
        if most > MAX_ASKED:
            raise LocalProtocolError(f"{most} blocks asked for, more than {MAX_ASKED}")
        request_id, answer = self._requests.open(wire.REPLY_CODES[request], most, REQUEST_TIMEOUT)
        try:
            self.sendMessage(request(request_id, asked))
        except LocalProtocolError:
            answer.addErrback(lambda _: None)
            answer.cancel()
            raise
        tell = partial(self.factory.observer.requestDone, self, request.__name__)
        try:
            items, size = await answer
        except RequestTimeout:
            self.factory.timeouts += 1
            tell(0, 0, REQUEST_TIMEOUT, result="timeout")
            raise
        except AnswerTooLarge:
            tell(0, 0, self._requests.tracker.rtt or 0.0, result="too_large")
            raise
        rtt = self._requests.tracker.rtt or 0.0
        try:
            checked = await self.factory.inSlices(check(items))
        except RemoteProtocolError as error:
            tell(len(items), size, rtt, result="invalid")
            self._fail(error)
            raise
        tell(len(items), size, rtt, result="ok")
        return checked


@implementer(ICapabilityFactory)
class EthFactory:
    """
    Offers eth to peers.

    @ivar protocols: those whose Status came and fits, while they are connected.
    @ivar served: requests answered.
    @ivar timeouts: requests of ours that were not.
    @ivar blocksAnnounced: NewBlock and NewBlockHashes that came; nothing is done about them.
    """

    name = "eth"

    def __init__(
        self,
        chain: IChain,
        observer: IEthObserver | None = None,
        versions: Iterable[int] = (66, 67, 68, 69),
        *,
        clock: Clock,
        wheel: WheelTimer | None = None,
        protocol: type[EthProtocol] = EthProtocol,
        requestBurst: float = REQUEST_BURST,
        requestRate: float = REQUEST_RATE,
    ) -> None:
        """
        @param chain: what is served, and compared with the peers' Status.
        @param wheel: for the deadlines; shared with others, or one of C{clock}'s own.
        @param protocol: what speaks with each peer.
        @param requestBurst: requests that one peer may make at once,
        @param requestRate: and a second.
        @raise ConfigError: a version that is not spoken here.
        """
        try:
            self.versions = {version: wire.VERSIONS[version].length for version in versions}
        except KeyError as error:
            raise ConfigError(f"eth/{error.args[0]} is not spoken here") from None
        self.chain = chain
        self.observer = SilentObserver() if observer is None else observer
        self._protocol = protocol
        self.wheel = WheelTimer(clock) if wheel is None else wheel  # one without calls is false
        self.requestBurst, self.requestRate = requestBurst, requestRate
        self.protocols: set[EthProtocol] = set()
        self.served = self.timeouts = self.blocksAnnounced = 0
        self._cooperator = Cooperator(
            terminationPredicateFactory=partial(_sliceOf, clock), scheduler=partial(clock.callLater, 0)
        )

    def buildCapability(self, session: ISession, version: int) -> EthProtocol:
        """See L{ICapabilityFactory}."""
        return self._protocol(self, session, version)

    def headChanged(self) -> None:
        """To be called when the chain has another head: peers hear of it when they should (EIP-7642)."""
        for protocol in tuple(self.protocols):
            protocol.headChanged()

    def inSlices(self, values: Iterator[T | None]) -> Deferred[list[T]]:
        """
        Collect what an iterator gives with much work, and let the reactor have its turn every L{SLICE} seconds.

        @param values: with None where only time has passed.
        @return: fires with all, or with the error that the iterator raised.
        """
        collected: list[T] = []

        def collect() -> Iterator[None]:
            for value in values:
                if value is not None:
                    collected.append(value)
                yield

        task = self._cooperator.cooperate(collect())
        done: Deferred[list[T]] = Deferred(lambda _: task.stop())
        task.whenDone().addCallbacks(
            lambda _: done.callback(collected),
            lambda failure: None if failure.check(TaskStopped) else done.errback(failure),
        )
        return done


def _sliceOf(clock: Clock) -> Callable[[], bool]:
    start = clock.seconds()
    return lambda: not 0 <= clock.seconds() - start < SLICE
