"""
Plays one side of a benchmark with ethp2p; see L{benchmarks.drivers} for the words that it and the harness
exchange.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater, react
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p.protocol import LocalHello, SessionFactory
from ethp2p.enode import Node
from ethp2p.errors import Offence, PeerDisconnected
from ethp2p.interfaces import ICapability, ICapabilityFactory, IHousehold
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxClientEndpoint, RLPxServerEndpoint

#: Message codes of the capability bench/1.
DATA, DONE = 0, 1

#: Identities that take turns at calling: none comes back before its last connection is forgotten.
IDENTITIES = 64


@attrs.frozen
class Task:
    """What the harness asks for."""

    role: str
    scenario: str
    port: int = 0
    enode: str = ""
    warmup: int = 0
    count: int = 0
    size: int = 0
    parallel: int = 1


class Words(LineReceiver):
    """What is said to the harness and heard from it."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self.heard: DeferredQueue[None] = DeferredQueue()

    def lineReceived(self, line: bytes) -> None:
        self.heard.put(None)

    def connectionLost(self, reason: object = None) -> None:
        self.heard.put(None)

    def say(self, **words: Any) -> None:
        """One line of JSON."""
        self.sendLine(json.dumps(words).encode())


@implementer(IHousehold)
class OpenHouse:
    """Lets everybody in, and ends the program at the first offence."""

    def identityProven(self, session: Any) -> None:
        pass

    def helloReceived(self, session: Any) -> None:
        pass

    def offenceSeen(self, session: Any, offence: Offence, evidence: str) -> None:
        sys.exit(f"ethp2p driver: {offence}: {evidence}")

    def sessionEnded(self, session: Any, ended: PeerDisconnected) -> None:
        pass


@implementer(ICapability)
class Bench:
    """The capability bench/1 with one peer.  A push producer, for the side that sends."""

    def __init__(self, arrived: Callable[[Bench], None]) -> None:
        self._arrived = arrived
        self.received: Callable[[int, bytes], None] = lambda code, payload: None
        self.channel: Any = None
        self.paused = False
        self.resumed: Callable[[], None] = lambda: None

    def makeConnection(self, channel: Any) -> None:
        self.channel = channel
        self._arrived(self)

    def hangUp(self) -> None:
        """Close TCP; a session would say Disconnect first."""
        self.channel.session.transport.loseConnection()

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.received(code, payload)

    def connectionLost(self, reason: Any) -> None:
        pass

    def describe(self) -> Mapping[str, Any]:
        return {}

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.resumed()

    def stopProducing(self) -> None:
        self.paused = True


@implementer(ICapabilityFactory)
class BenchFactory:
    """Offers bench/1, and tells about each peer that speaks it."""

    name = "bench"
    versions: Mapping[int, int] = {1: 2}

    def __init__(self, arrived: Callable[[Bench], None]) -> None:
        self._arrived = arrived

    def buildCapability(self, session: Any, version: int) -> Bench:
        return Bench(self._arrived)


class Identity:
    """A key, and the sessions that it has."""

    def __init__(self, driver: Driver, arrived: Callable[[Bench], None] | None = None, port: int = 0) -> None:
        self._driver = driver
        self._port = port
        self.key = PrivateKey.generate()
        self._calls: deque[Deferred[Bench]] = deque()
        self.sessions = SessionFactory(
            LocalHello(client="bench", public_key=self.key.public_key, listen_port=port),
            [BenchFactory(arrived or self._called)],
            OpenHouse(),
            clock=driver.reactor,
            wheel=driver.wheel,
        )

    async def listen(self) -> Node:
        """@return: where."""
        driver, port = self._driver, self._port
        below = TCP4ServerEndpoint(driver.reactor, port, interface="127.0.0.1")
        await RLPxServerEndpoint(below, self.key, clock=driver.reactor, wheel=driver.wheel).listen(self.sessions)
        return Node(self.key.public_key, "127.0.0.1", port, port)

    @cached_property
    def _endpoint(self) -> RLPxClientEndpoint:
        driver, node = self._driver, self._driver.node
        below = TCP4ClientEndpoint(driver.reactor, node.host, node.tcp)
        return RLPxClientEndpoint(below, self.key, node.public_key, clock=driver.reactor, wheel=driver.wheel)

    def _called(self, bench: Bench) -> None:
        self._calls.popleft().callback(bench)

    def connect(self) -> Deferred[Bench]:
        """One connection, with Hello both ways."""
        call: Deferred[Bench] = Deferred()
        self._calls.append(call)
        self._endpoint.connect(self.sessions).addCallbacks(lambda _: None, call.errback)
        return call


class Driver:
    """One side of a scenario."""

    #: Who serves and dials.
    identity: Callable[..., Any] = Identity

    def __init__(self, reactor: Any, task: Task) -> None:
        self.reactor = reactor
        self.task = task
        self.wheel = WheelTimer(reactor)
        #: Who is dialed.
        self.node = Node.parse(task.enode) if task.enode else None
        self.words = Words()
        StandardIO(self.words, reactor=reactor)

    async def run(self, units: Callable[[], Awaitable[object]]) -> None:
        """Say that the warm-up is over, wait for the word to go, measure the units, and stay until dismissed."""
        idle = self.task.scenario == "idle"
        self.words.say(warm=True)
        await self.words.heard.get()
        resident = _rss() if idle else 0
        begun, used = time.monotonic(), _cpu()
        await units()
        result = {"units": self.task.count, "wall": time.monotonic() - begun, "cpu": _cpu() - used}
        if idle:
            await deferLater(self.reactor, 1.0)
            result["grown"] = _rss() - resident
        self.words.say(**result)
        await self.words.heard.get()

    async def serve(self) -> None:
        """Accept; count what comes."""
        task = self.task
        messages = task.scenario == "messages"
        phases = [_Countdown(1), _Countdown(1)] if messages else [_Countdown(task.warmup), _Countdown(task.count)]
        left = deque(phases)

        def unit() -> None:
            if left[0].tick():
                left.popleft()

        def arrived(bench: Bench) -> None:
            if not messages:
                unit()
                return
            counts = deque([task.warmup, task.count])

            def received(code: int, payload: bytes) -> None:
                if len(payload) != task.size:
                    sys.exit(f"ethp2p driver: got {len(payload)} bytes instead of {task.size}")
                counts[0] -= 1
                if not counts[0]:
                    counts.popleft()
                    bench.channel.writeMessage(DONE, b"\xc0")
                    unit()

            bench.received = received

        where = await self.identity(self, arrived, task.port).listen()
        self.words.say(enode=where.url)
        await phases[0].over
        await self.run(lambda: phases[1].over)

    async def handshakes(self) -> None:
        """Connect and hang up."""
        task = self.task
        identities = deque([self.identity(self) for _ in range(IDENTITIES)])

        async def worker(share: int) -> None:
            for _ in range(share):
                identity = identities.popleft()
                (await identity.connect()).hangUp()
                identities.append(identity)

        async def workers(total: int) -> None:
            shares = [(total + turn) // task.parallel for turn in range(task.parallel)]
            await DeferredList(
                [Deferred.fromCoroutine(worker(share)) for share in shares], fireOnOneErrback=True, consumeErrors=True
            )

        await workers(task.warmup)
        await self.run(lambda: workers(task.count))

    async def idle(self) -> None:
        """Connect and stay."""
        identities = [Identity(self) for _ in range(self.task.warmup + self.task.count)]

        async def each(some: list[Identity]) -> None:
            for identity in some:
                await identity.connect()

        await each(identities[: self.task.warmup])
        await self.run(lambda: each(identities[self.task.warmup :]))

    async def messages(self) -> None:
        """Send, and wait for the acknowledgement."""
        payload = os.urandom(self.task.size)
        bench = await Identity(self).connect()
        bench.channel.registerProducer(bench, True)

        async def send(count: int) -> None:
            acknowledged: Deferred[int] = Deferred()
            bench.received = lambda code, _: acknowledged.callback(code)
            write, left = bench.channel.writeMessage, count

            def pump() -> None:
                nonlocal left
                while left and not bench.paused:
                    left -= 1
                    write(DATA, payload)

            bench.resumed = pump
            pump()
            if await acknowledged != DONE:
                sys.exit("ethp2p driver: not an acknowledgement")

        await send(self.task.warmup)
        await self.run(lambda: send(self.task.count))


class _Countdown:
    """Fires C{over} after so many ticks."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.over: Deferred[None] = Deferred()

    def tick(self) -> bool:
        """@return: whether this was the last."""
        self._left -= 1
        if not self._left:
            self.over.callback(None)
        return not self._left


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _rss() -> int:
    """Resident memory in KiB, after giving back what can be given back."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def main(side: Callable[[Any, Task], Driver] = Driver) -> None:
    """Do what the argument says."""
    task = Task(**json.loads(sys.argv[1]))

    def begin(reactor: Any) -> Deferred[None]:
        driver = side(reactor, task)
        return Deferred.fromCoroutine(driver.serve() if task.role == "serve" else getattr(driver, task.scenario)())

    react(begin)


if __name__ == "__main__":
    main()
