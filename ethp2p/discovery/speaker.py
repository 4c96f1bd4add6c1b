"""
One discovery protocol in Twisted's clothes: its engine, its view of the network, and questions that return Deferreds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from ethp2p.discv5 import Talked
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.errors import LocalProtocolError, P2PError, RequestTimeout
from ethp2p.kademlia import Driver, Table, Vocabulary
from ethp2p.kademlia.driver import LookupDone
from ethp2p.limits import SteadyClock


class DiscoveryStopped(P2PError):
    """Discovery has stopped."""


class Speaker:
    """
    One protocol, C{v4} or C{v5}.

    @ivar engine: C{Discv4} or C{Discv5}.
    @ivar talkHandlers: of v5, by the name of a protocol inside of TALKREQ: called with who asks and the message,
        returns the answer.  Say the name in the engine's C{talk_protocols} too; L{handleTalk} does both.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        engine: Any,
        driver: Driver,
        vocabulary: Vocabulary,
        *,
        clock: SteadyClock,
        wall: Callable[[], float],
        tell: Callable[[Speaker, Any], object],
    ) -> None:
        """
        @param wall: gives Unix time.
        @param tell: called with this and every event of the driver but those that answer a question made here.
        """
        self.name = name
        self.engine = engine
        self.driver = driver
        self.talkHandlers: dict[bytes, Callable[[Node, bytes], bytes]] = {}
        self._vocabulary = vocabulary
        self._clock = clock
        self._wall = wall
        self._tell = tell
        self._waiting: dict[int, Deferred[Any]] = {}
        self._lookups: dict[int, Deferred[Any]] = {}
        self._stopped = False
        #: Set by L{ethp2p.discovery.protocol.Sockets}: sends what there is to send.
        self.stirred: Callable[[], object] = lambda: None

    @property
    def table(self) -> Table:
        """The nodes it knows."""
        return self.driver.table

    # questions

    def ping(self, node: Node) -> Deferred[Any]:
        """See whether a node is there.  @return: fires with a C{PongInfo}; fails with L{RequestTimeout}."""
        return self._request(self.engine.ping, node)

    def findNode(self, node: Node, aim: Any) -> Deferred[tuple[Node, ...]]:
        """
        Ask one node for nodes.

        @param aim: of v4 a target of 64 bytes, of v5 distances.
        @return: fires with the nodes; fails with L{RequestTimeout}.
        """
        return self._request(self.engine.find_node, node, aim)

    def requestRecord(self, node: Node) -> Deferred[Record]:
        """Ask a node for its record.  @return: fires with it; fails with L{RequestTimeout}."""
        return self._request(self.engine.request_record, node)

    def talk(self, node: Node, protocol: bytes, message: bytes) -> Deferred[bytes]:
        """Of v5: say something in another protocol.  @return: fires with the answer; fails with L{RequestTimeout}."""
        return self._request(self.engine.talk, node, protocol, message)

    def lookup(self, target: bytes) -> Deferred[tuple[Node, ...]]:
        """
        Look for the nodes nearest to a target.

        @param target: of v4 64 bytes, as of a public key; of v5 the 32 of an id.
        @return: fires with at most 16, the nearest first; fails with L{LocalProtocolError} when too many lookups
            wait.
        """
        return self._begin(self.driver.lookup, target)

    def lookUpAnybody(self) -> Deferred[tuple[Node, ...]]:
        """L{lookup} of a target drawn by chance."""
        return self._begin(self.driver.random_lookup)

    def handleTalk(self, protocol: bytes, handler: Callable[[Node, bytes], bytes] | None) -> None:
        """
        Of v5: answer another protocol from now on; with None no longer.

        @param handler: must return at once.  What it raises is logged, and the answer is empty; so it is when its
            answer is larger than a packet can carry.
        """
        if handler is None:
            self.talkHandlers.pop(protocol, None)
        else:
            self.talkHandlers[protocol] = handler
        self.engine.talk_protocols.clear()
        self.engine.talk_protocols.update(self.talkHandlers)

    # the sockets

    def turn(self, now: float, wall: float) -> None:
        """Take up what the engine has to tell."""
        self.driver.receive_events(now, wall)
        while (event := self.driver.next_event()) is not None:
            self._take(event)

    def start(self) -> None:
        """Questions may be asked from now on."""
        self._stopped = False

    def stop(self) -> None:
        """End all that is under way; who waits is told."""
        self._stopped = True
        self.driver.stop()
        self.engine.fail_all("discovery has stopped")
        self.turn(self._clock.seconds(), self._wall())
        for waiting in (self._waiting, self._lookups):
            while waiting:
                waiting.popitem()[1].errback(DiscoveryStopped())

    def _take(self, event: Any) -> None:
        vocabulary = self._vocabulary
        if isinstance(event, LookupDone):
            lookup = self._lookups.pop(event.token, None)
            if lookup is not None:
                lookup.callback(event.nodes)
        elif isinstance(event, vocabulary.answered):
            waiting = self._waiting.pop(event.token, None)
            if waiting is not None:
                waiting.callback(event.result)
        elif isinstance(event, vocabulary.failed):
            waiting = self._waiting.pop(event.token, None)
            if waiting is not None:
                waiting.errback(RequestTimeout(getattr(event, "why", "")))
        elif isinstance(event, Talked):
            self._answer(event)
        else:
            self._tell(self, event)

    def _answer(self, talked: Talked) -> None:
        handler = self.talkHandlers.get(talked.protocol)
        if handler is not None:
            with self._log.failuresHandled("{protocol!r} could not answer", protocol=talked.protocol):
                self.engine.send_talk(talked.token, handler(talked.node, talked.message))
                return
        self.engine.send_talk(talked.token, b"")

    def _request(self, verb: Callable[..., int], *args: Any) -> Deferred[Any]:
        if self._stopped:
            return fail(DiscoveryStopped())
        token = verb(*args, self._clock.seconds(), self._wall())

        def cancel(_: object) -> None:
            self._waiting.pop(token, None)

        waiting: Deferred[Any] = Deferred(cancel)
        self._waiting[token] = waiting
        self.stirred()
        return waiting

    def _begin(self, verb: Callable[..., int], *args: Any) -> Deferred[Any]:
        if self._stopped:
            return fail(DiscoveryStopped())
        try:
            token = verb(*args, self._clock.seconds(), self._wall())
        except LocalProtocolError:
            return fail()

        def cancel(_: object) -> None:
            self._lookups.pop(token, None)
            self.driver.cancel(token)

        lookup: Deferred[Any] = Deferred(cancel)
        self._lookups[token] = lookup
        self.stirred()
        return lookup
