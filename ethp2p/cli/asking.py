"""
A question to a node that runs: JSON-RPC over HTTP, or over its unix socket.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ethp2p.cli.running import NotReached
from ethp2p.cli.show import clean
from ethp2p.config import NodeConfig
from ethp2p.errors import ConfigError, P2PError
from ethp2p.web.ipc import LONGEST
from ethp2p.web.registry import MAX_ANSWER

#: A node's unix socket, in its data directory.
SOCKET = "ethp2p.ipc"
#: Where a node answers over HTTP unless told otherwise.
URL = "http://127.0.0.1:8650/"

_START = "start one with 'twistd -n --pidfile= ethp2p', or say with --rpc where one answers"


class CallFailed(P2PError):
    """The node said why it does not do this."""


@attrs.frozen
class Place:
    """
    Where a node answers: one of both.
    """

    url: str = ""
    path: str = ""

    @classmethod
    def find(cls, rpc: str | None = None, datadir: str | None = None) -> Place:
        """
        @param rpc: C{http://...} or the path of a unix socket; as given.
        @param datadir: else, the data directory of the node.  By default that of a node not told otherwise, and
            where no socket is, L{URL}.  In a directory that was named it must be the socket: a node on that port
            need not be the one that is meant.
        @raise ConfigError: neither a URL nor a path.
        """
        if rpc is not None:
            return cls._given(rpc)
        if datadir is not None:
            return cls._socket(str(NodeConfig(datadir=Path(datadir)).datadir / SOCKET))
        path = str(NodeConfig().datadir / SOCKET)
        return cls._socket(path) if os.path.exists(path) else cls(url=URL)

    @classmethod
    def _given(cls, rpc: str) -> Place:
        scheme, found, rest = rpc.partition("://")
        if not found:
            return cls._socket(rpc)
        if scheme != "http" or not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[!-~]*)?", rest):
            raise ConfigError(f"--rpc {rpc[:128]!r}: neither http://HOST:PORT/ nor the path of a unix socket")
        return cls(url=rpc)

    @classmethod
    def _socket(cls, path: str) -> Place:
        if not 0 < len(os.fsencode(path)) <= LONGEST:
            raise ConfigError(f"{path!r}: no path of a unix socket, which has at most {LONGEST} bytes")
        return cls(path=path)

    def __str__(self) -> str:
        return self.url or self.path


def ask(reactor: Any, place: Place, seconds: float, method: str, *params: Any) -> Deferred[Any]:
    """
    @param reactor: provides what the place takes: C{IReactorTime} and C{IReactorTCP} or C{IReactorUNIX}.
    @param seconds: for the question and its answer.
    @param params: JSON values.
    @return: fires with the result, a JSON value.  Fails with L{NotReached} when no node answers, L{CallFailed} when
        it answers with an error.  Cancel it to ask no more.
    """
    asking = Deferred.fromCoroutine(_ask(reactor, place, seconds, method, params))
    late = NotReached(f"the node at {place} did not answer within {seconds:g} s")
    return asking.addTimeout(seconds, reactor, lambda value, after: Failure(late))


async def _ask(reactor: Any, place: Place, seconds: float, method: str, params: tuple[Any, ...]) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    try:
        if place.path:
            answer = await _over_socket(reactor, place.path, seconds, body)
        else:
            answer = await _over_http(reactor, place.url, seconds, body)
    except (ConnectError, DNSLookupError) as error:
        raise NotReached(f"no node answers at {place} ({_why(error)}): {_START}") from None
    except (ConnectionLost, ResponseFailed):
        raise NotReached(f"the connection to {place} was lost before the answer") from None
    return _result(place, answer)


def _why(error: Exception) -> str:
    number = getattr(error, "osError", None)
    return os.strerror(number).lower() if number else str(error).rstrip(".").lower()


def _result(place: Place, answer: bytes) -> Any:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        raise CallFailed(clean(str(value["error"].get("message") or "the node failed, and did not say why")))
    if not isinstance(value, dict) or "result" not in value:
        raise NotReached(f"what answers at {place} does not speak JSON-RPC")
    return value["result"]


class _Gathered(Protocol):
    """
    Keeps what comes, as far as an answer is long.

    @ivar whole: fires with it.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self.whole: Deferred[bytes] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self._data += data
        if len(self._data) > MAX_ANSWER:
            self._end(NotReached(f"an answer of more than {MAX_ANSWER} bytes, which no node gives"))
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There is no more."""
        self._end(bytes(self._data) if reason.check(ResponseDone) else ConnectionLost())

    def _end(self, result: Any) -> None:
        if not self.whole.called:
            self.whole.callback(result) if isinstance(result, bytes) else self.whole.errback(result)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Asker(_Gathered):
    """
    One question over a stream of JSON values, as geth's C{ipc}.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def connectionMade(self) -> None:
        """Ask."""
        assert self.transport is not None
        self.transport.write(self._body + b"\n")

    def dataReceived(self, data: bytes) -> None:
        """Nothing but the answer's own end says that it is whole."""
        super().dataReceived(data)
        if self.whole.called or not self._data[-8:].rstrip().endswith(b"}"):
            return
        try:
            json.loads(self._data)
        except ValueError:  # a bracket further inside
            return
        except RecursionError:  # no answer of ours; the reader says so
            pass
        self._end(bytes(self._data))
        assert self.transport is not None
        self.transport.loseConnection()


async def _over_socket(reactor: Any, path: str, seconds: float, body: bytes) -> bytes:
    factory = Factory.forProtocol(lambda: _Asker(body))
    factory.noisy = False
    asker: _Asker = await UNIXClientEndpoint(reactor, path, seconds).connect(factory)
    return await asker.whole


@implementer(IBodyProducer)
class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All of it is written at once."""

    def resumeProducing(self) -> None:
        """See L{pauseProducing}."""

    def stopProducing(self) -> None:
        """See L{pauseProducing}."""


async def _over_http(reactor: Any, url: str, seconds: float, body: bytes) -> bytes:
    headers = Headers({"Content-Type": ["application/json"]})
    agent = Agent(reactor, connectTimeout=seconds)
    response = await agent.request(b"POST", url.encode("ascii"), headers, _Body(body))
    gathered = _Gathered()
    response.deliverBody(gathered)
    answer = await gathered.whole
    if response.code != 200:
        line = clean(answer[:256].decode("utf-8", "replace").partition("\n")[0])
        raise NotReached(f"what answers at {url} is no node that may be asked: {response.code} {line}".rstrip())
    return answer
