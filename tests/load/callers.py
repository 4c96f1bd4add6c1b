"""
Those who call the node: a process that L{tests.load.process} asks.

A caller is the least that the node takes for a peer: RLPx with a fresh key, Hello, the node's own Status given back,
and a Pong for each Ping.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.codec import snappy
from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p.wire import (
    BASE_LENGTH,
    DISCONNECT,
    EMPTY,
    HELLO,
    P2P_VERSION,
    PING,
    PONG,
    Capability,
    Disconnect,
    Hello,
)
from ethp2p.enode import Node
from ethp2p.errors import DisconnectReason
from ethp2p.interfaces import IMessageProtocol
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint
from tests.load.process import cpu, serve

#: Seconds for a caller to come in or to hear why not.
PATIENCE = 60.0
#: What becomes of a call that comes in.
IN = "came in"


@implementer(IMessageProtocol)
class Caller:
    """
    One connection to the node.

    @ivar outcome: fires with L{IN}, with the reason in the node's Disconnect, or with how it went wrong; once.
    @ivar rtts: seconds that each ping took.
    @ivar unanswered: when each ping was sent that has no answer yet.
    @ivar answered: how many of the node's pings were.
    @ivar ended: how it ended, if it did after it came in.
    """

    def __init__(self) -> None:
        self.key = PrivateKey.generate()
        self.outcome: Deferred[str] = Deferred()
        self.rtts: list[float] = []
        self.unanswered: deque[float] = deque()
        self.answered = 0
        self.ended = ""
        self._settled = False
        self._transport: Any = None

    def settle(self, words: str) -> None:
        """It is decided what becomes of it, or it is over."""
        if not self._settled:
            self._settled = True
            self.outcome.callback(words)
        elif words != IN:
            self.ended = self.ended or words

    def failed(self, failure: Failure) -> None:
        """There is no connection."""
        self.settle(type(failure.value).__name__)

    # IMessageProtocol

    def makeConnection(self, transport: Any) -> None:
        """The handshake is done: say Hello."""
        self._transport = transport
        key = self.key.public_key.raw
        transport.writeMessage(HELLO, Hello(P2P_VERSION, "caller", (Capability("eth", 69),), 0, key).encode())

    def messageReceived(self, code: int, payload: bytes) -> None:
        """What the node says."""
        if code == DISCONNECT:
            plain = payload if not self.hello else snappy.decompress(payload, 64)
            reason = Disconnect.decode(plain).reason
            self.settle(reason.words if isinstance(reason, DisconnectReason) else f"reason {reason}")
        elif code == HELLO:
            self.hello = True
        elif code == PING:
            self.answered += 1
            self._transport.writeMessage(PONG, PACKED)
        elif code == PONG:
            self.rtts.append(time.monotonic() - self.unanswered.popleft())
        elif code == BASE_LENGTH:  # its Status; ours is the same
            self._transport.writeMessage(code, payload)
            self.settle(IN)

    def connectionLost(self, reason: Any) -> None:
        """It is over."""
        self.settle(f"closed without a word ({type(reason.value).__name__})")

    # what it does

    hello = False

    def ping(self) -> None:
        """Ask whether the node lives, unless it is over."""
        if not self.ended:
            self.unanswered.append(time.monotonic())
            self._transport.writeMessage(PING, PACKED)

    def leave(self) -> None:
        """Go, in order."""
        if not self.ended:
            self.ended = "left"
            self._transport.writeMessage(
                DISCONNECT, snappy.compress(Disconnect(DisconnectReason.CLIENT_QUITTING).encode())
            )
            self._transport.loseConnection()


PACKED = snappy.compress(EMPTY)


class _CallerFactory(Factory):
    """Gives the connection to its caller."""

    noisy = False

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def buildProtocol(self, addr: Any) -> Any:
        return self._caller


def percentile(values: list[float], share: float) -> float:
    """The least value that so many percent of C{values} do not exceed; 0 when there are none."""
    return sorted(values)[max(0, -(-len(values) * int(share) // 100) - 1)] if values else 0.0


class Callers:
    """All callers of this process."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._wheel = WheelTimer(reactor)
        self._inside: list[Caller] = []

    async def enter(self, url: str, count: int, seconds: float) -> dict[str, Any]:
        """
        Call the node so many times, evenly in so many seconds, whatever becomes of the calls before.

        @return: how many had which outcome, and how long that took.
        """
        node = Node.parse(url)
        began, outcomes, took = time.monotonic(), Counter[str](), list[float]()
        late = 0.0

        async def one(when: float) -> None:
            nonlocal late
            await deferLater(self._reactor, max(0.0, began + when - time.monotonic()))
            caller, called = Caller(), time.monotonic()
            late = max(late, called - began - when)
            below = TCP4ClientEndpoint(self._reactor, node.host, node.tcp, timeout=PATIENCE)
            endpoint = RLPxClientEndpoint(below, caller.key, node.public_key, clock=self._reactor, wheel=self._wheel)
            endpoint.connect(_CallerFactory(caller)).addErrback(caller.failed)
            late_answer = self._reactor.callLater(PATIENCE, caller.settle, "no answer")
            outcome = await caller.outcome
            if late_answer.active():
                late_answer.cancel()
            took.append(time.monotonic() - called)
            outcomes[outcome] += 1
            if outcome == IN:
                self._inside.append(caller)

        calls = [Deferred.fromCoroutine(one(number * seconds / count)) for number in range(count)]
        await gatherResults(calls, consumeErrors=True)
        return {
            "outcomes": outcomes,
            "wall": time.monotonic() - began,
            "late": late,
            "median": percentile(took, 50),
            "p99": percentile(took, 99),
            "cpu": cpu(),
        }

    async def ping(self, every: float, seconds: float) -> dict[str, Any]:
        """
        All inside ping, not all at once, for so many seconds.

        @return: what it took, how many pings have no answer, and how many peers are gone.
        """
        turn = every / len(self._inside)
        for caller in self._inside:
            caller.rtts.clear()
        waiting, began = deque(self._inside), time.monotonic()

        def one() -> None:
            waiting[0].ping()
            waiting.rotate(-1)

        def some(times: int) -> None:
            for _ in range(times):
                one()

        loop = LoopingCall.withCount(some)
        loop.clock = self._reactor
        loop.start(turn, now=False)
        await deferLater(self._reactor, seconds)
        loop.stop()
        while any(caller.unanswered and not caller.ended for caller in self._inside):
            if time.monotonic() - began > seconds + PATIENCE:
                break
            await deferLater(self._reactor, 0.05)
        rtts = [rtt for caller in self._inside for rtt in caller.rtts]
        return {
            "pings": len(rtts),
            "median": percentile(rtts, 50),
            "p99": percentile(rtts, 99),
            "most": max(rtts, default=0.0),
            "unanswered": sum(len(caller.unanswered) for caller in self._inside),
            "answered": sum(caller.answered for caller in self._inside),
            "gone": Counter(caller.ended for caller in self._inside if caller.ended),
        }

    async def leave(self) -> int:
        """All inside go.  @return: how many."""
        leaving, self._inside = self._inside, []
        for caller in leaving:
            caller.leave()
        return len(leaving)


def main() -> None:
    """Answer."""

    def answers(reactor: Any) -> dict[str, Any]:
        callers = Callers(reactor)
        return {name: getattr(callers, name) for name in ("enter", "ping", "leave")}

    serve(answers)


if __name__ == "__main__":
    main()
