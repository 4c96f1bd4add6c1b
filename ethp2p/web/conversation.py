"""
A conversation in JSON-RPC over a connection that stays: calls and their answers, in order, and events to who asked.

It knows neither the WebSocket nor the unix socket it is held over.  Subscriptions are geth's, see
U{https://geth.ethereum.org/docs/interacting-with-geth/rpc/pubsub}: C{admin_subscribe} with C{peerEvents},
and our own C{ethp2p_subscribe} with C{events}.

A listener that does not read costs a constant.  While its connection takes no more, no call is made for it and no
event is turned into text; events wait in the feed's queue, the oldest are lost, and it is told how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ethp2p.events import PeerAdded, PeerDropped, Subscription
from ethp2p.limits import Budget
from ethp2p.web.facade import INodeFacade
from ethp2p.web.notices import household_event, household_gap, peer_event, peer_gap
from ethp2p.web.registry import MethodNotFound, ParseError, Registry, RPCError, encode, failed

#: Most subscriptions of one connection.
MAX_SUBSCRIPTIONS = 8
#: Most subscriptions of all connections of one service: the feed has 64 places, and the node itself needs some.
MAX_LISTENERS = 24
#: Most events that wait for one slow reader.
MAX_QUEUED = 1024
#: Most bytes of calls that wait for the one before them; beyond, the connection is not read.
MAX_WAITING = 1 << 20


class Line(Protocol):
    """
    What a conversation is held over.
    """

    def sendText(self, text: bytes) -> None:
        """One JSON text."""

    def pauseReading(self) -> None:
        """Hear no more for now."""

    def resumeReading(self) -> None:
        """Hear again."""

    def hangUp(self) -> None:
        """Send what was written, and close."""


@attrs.frozen
class Topic:
    """Something to subscribe to."""

    kinds: tuple[type, ...]
    tell: Callable[[object], dict[str, Any] | None]
    gap: Callable[[int], dict[str, Any]]


TOPICS = {
    ("admin", "peerEvents"): Topic((PeerAdded, PeerDropped), peer_event, peer_gap),
    ("ethp2p", "events"): Topic((), household_event, household_gap),
}


@attrs.define(eq=False)
class Watch:
    """One subscription."""

    id: str
    namespace: str
    topic: Topic
    queue: Subscription
    #: Not before its id has been told.
    begun: bool = False
    waits: bool = False
    #: Taken from the queue and not sent yet.
    held: deque[dict[str, Any]] = attrs.field(factory=deque)

    def next_notice(self) -> bytes | None:
        """What to send next; None when nothing has happened."""
        while not self.held:
            events, lost = self.queue.take()
            if not events and not lost:
                return None
            if lost:
                self.held.append(self.topic.gap(lost))
            self.held.extend(told for told in map(self.topic.tell, events) if told is not None)
        params = {"subscription": self.id, "result": self.held.popleft()}
        return encode({"jsonrpc": "2.0", "method": f"{self.namespace}_subscription", "params": params})


class Switchboard:
    """
    Begins conversations, and counts who listens in all of them.
    """

    def __init__(self, registry: Registry, facade: INodeFacade) -> None:
        self.registry = registry
        self.listeners = Budget(MAX_LISTENERS)
        self._facade = facade

    def talk(self, line: Line) -> Conversation:
        """Begin one."""
        return Conversation(self, line)

    def listen(self, topic: Topic) -> Subscription:
        """
        @raise RPCError: too many do.
        """
        if not self.listeners.reserve():
            raise RPCError(f"there are {MAX_LISTENERS} subscriptions already")
        try:
            return self._facade.feed.queue(MAX_QUEUED, *topic.kinds)
        except RuntimeError:
            self.listeners.release()
            raise RPCError("too many listen to this node already") from None


def refuseSubscriptions(registry: Registry) -> None:
    """Where there is no conversation, say where there is one."""

    def refuse(*_: object) -> None:
        raise MethodNotFound("notifications are not supported here: ask at /ws, or through the unix socket")

    for namespace, _ in TOPICS:
        registry.register(f"{namespace}_subscribe", refuse)
        registry.register(f"{namespace}_unsubscribe", refuse)


class Conversation:
    """
    Made by L{Switchboard.talk}.
    """

    _log = Logger()

    def __init__(self, switchboard: Switchboard, line: Line) -> None:
        self._switchboard = switchboard
        self._line = line
        self._calls = Registry(switchboard.registry)
        for namespace, _ in TOPICS:
            self._calls.register(f"{namespace}_subscribe", partial(self._subscribe, namespace))
            self._calls.register(f"{namespace}_unsubscribe", self._unsubscribe)
        self._watches: dict[str, Watch] = {}
        self._counted = 0
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._work: Deferred[None] | None = None
        self._congested = self._deaf = self._ending = self._over = False

    def heard(self, body: bytes) -> None:
        """A call, or a batch of them."""
        if self._over:
            return
        self._waiting.append(body)
        self._size += len(body)
        self._goOn()

    def heardLast(self) -> None:
        """Nothing more will come: answer what came, tell of no more events, and hang up."""
        self._ending = True
        for watch in tuple(self._watches.values()):
            self._end(watch)
        self._goOn()

    def garbage(self, why: str) -> None:
        """Something that is none came, and nobody can say where the next begins: say so, and end."""
        if not self._over:
            self._line.sendText(failed(None, ParseError(why)))
            self.over()
            self._line.hangUp()

    def congested(self) -> None:
        """The line takes no more."""
        self._congested = True

    def relieved(self) -> None:
        """It does again."""
        self._congested = False
        for watch in tuple(self._watches.values()):
            self._tell(watch)
        self._goOn()

    def over(self) -> None:
        """The line is gone, or soon will be.  May be called twice."""
        self._over = True
        self._waiting.clear()
        for watch in tuple(self._watches.values()):
            self._end(watch)
        if self._work is not None:
            self._work.cancel()

    def _goOn(self) -> None:
        if self._waiting and self._work is None and not self._congested:
            self._work = Deferred.fromCoroutine(self._answerAll())
            self._work.addErrback(self._failed).addCallback(self._rest)
        deaf = self._size > MAX_WAITING
        if deaf != self._deaf and not self._over:
            self._deaf = deaf
            if deaf:
                self._line.pauseReading()
            else:
                self._line.resumeReading()
        if self._ending and self._work is None and not self._waiting and not self._congested and not self._over:
            self._line.hangUp()

    async def _answerAll(self) -> None:
        while self._waiting and not self._congested:
            body = self._waiting.popleft()
            self._size -= len(body)
            answer = await self._calls.answer(body)
            if self._over:
                return
            if answer:
                self._line.sendText(answer)
            for watch in tuple(self._watches.values()):
                if not watch.begun:
                    watch.begun = True
                    self._tell(watch)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("a conversation failed", failure)
            self._line.hangUp()

    def _rest(self, _: None) -> None:
        self._work = None
        if not self._over:
            self._goOn()

    def _subscribe(self, namespace: str, name: str) -> str:
        topic = TOPICS.get((namespace, name)) if isinstance(name, str) else None
        if topic is None:
            raise MethodNotFound(f"no {str(name)[:64]!r} subscription in the {namespace} namespace")
        if len(self._watches) >= MAX_SUBSCRIPTIONS:
            raise RPCError(f"this connection has {MAX_SUBSCRIPTIONS} subscriptions already")
        queue = self._switchboard.listen(topic)
        self._counted += 1
        watch = Watch(f"0x{self._counted:x}", namespace, topic, queue)
        self._watches[watch.id] = watch
        return watch.id

    def _unsubscribe(self, id: str) -> bool:
        watch = self._watches.get(id) if isinstance(id, str) else None
        if watch is None:
            raise RPCError("subscription not found")
        self._end(watch)
        return True

    def _end(self, watch: Watch) -> None:
        del self._watches[watch.id]
        watch.queue.close()
        self._switchboard.listeners.release()

    def _tell(self, watch: Watch) -> None:
        """All that has happened, as far as the line takes it; then wait for more."""
        while watch.begun and not self._congested and watch.id in self._watches:
            notice = watch.next_notice()
            if notice is None:
                self._await(watch)
                return
            self._line.sendText(notice)

    def _await(self, watch: Watch) -> None:
        if watch.waits:
            return
        watch.waits = True

        def some(_: None) -> None:
            watch.waits = False
            self._tell(watch)

        watch.queue.whenSome().addCallback(some).addErrback(self._failed)
