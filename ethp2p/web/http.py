"""
The windows over HTTP: one door for all of them, which looks at every request before any resource does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from io import BytesIO
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ethp2p.web.facade import Finding
from ethp2p.web.registry import Registry

#: Most bytes of a request's body.
MAX_BODY = 1 << 20
#: How much more of a body that is too long is read and dropped, so that its sender hears the answer.
MAX_DROPPED = 8 << 20
#: Seconds a connection may be idle.
IDLE = 60.0
#: What a JSON-RPC call may call itself.  A web page can send any other type to any host without asking first.
CONTENT_TYPES = frozenset((b"application/json", b"application/json-rpc", b"application/jsonrequest"))
#: What is at which path.
WHERE = (
    "POST / is JSON-RPC 2.0, GET /ws is the same with subscriptions, GET /metrics is for Prometheus, "
    "GET /livez and /readyz are health"
)

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")


class Channel(HTTPChannel):
    """
    One connection.  While its client does not take our answers, nothing more is read or begun for it.

    Twisted's own holds back only what comes between two requests.  Its transport is full in the middle of one, when the
    answer is written, and then it reads on: answers would pile up without end.
    """

    def pauseProducing(self) -> None:
        """The transport is full."""
        super().pauseProducing()
        self.paused = True
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is not any more: go on, first with what was read already."""
        self.paused = False
        super().resumeProducing()
        self.dataReceived(b"")

    def readConnectionLost(self) -> None:
        """The client will ask no more: the answer under way is its last."""
        if any(request.whole for request in self.requests):
            self.persistent = False
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close, once all is taken that was written; L{IDLE} seconds are given for that."""
        self.setTimeout(IDLE)
        super().loseConnection()

    def timeoutConnection(self) -> None:
        """Nothing has come, or not all was taken."""
        transport: Any = self.transport
        if transport.disconnecting:
            self.forceAbortClient()
        else:
            super().timeoutConnection()


class BoundedRequest(Request):
    """
    Holds L{MAX_BODY} bytes of a body and no more.
    """

    received = 0
    #: Whether all of it has come.
    whole = False

    def process(self) -> None:
        """Answer it."""
        self.whole = True
        super().process()

    def gotLength(self, length: int | None) -> None:
        """In memory always, however much is promised."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep it, drop it, or hang up."""
        self.received += len(data)
        if self.received <= MAX_BODY:
            super().handleContentChunk(data)
        elif self.received > MAX_BODY + MAX_DROPPED:
            self.channel.forceAbortClient()


class Refusal(Resource):
    """
    The same answer to every method: one line of text.
    """

    isLeaf = True

    def __init__(self, code: int, line: str) -> None:
        super().__init__()
        self.code = code
        self.line = line

    def render(self, request: BoundedRequest) -> bytes:
        """Say it."""
        return textPage(request, self.line, self.code)


class NotFound(Refusal):
    """
    Nothing is here.
    """

    def __init__(self) -> None:
        super().__init__(404, "there is nothing here")


def page(request: BoundedRequest, kind: bytes, body: bytes, code: int = 200) -> bytes:
    """Give C{body}, which no browser is to take for anything but C{kind}."""
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Cache-Control", b"no-store")
    return body


def textPage(request: BoundedRequest, line: str, code: int = 200) -> bytes:
    """Give one line of text."""
    return page(request, b"text/plain; charset=utf-8", line.encode() + b"\n", code)


def _safe_host(header: bytes) -> bool:
    """Whether a Host header names an address or C{localhost}."""
    match = _HOST.fullmatch(header.decode("latin-1").lower())
    if match is None:
        return False
    host = match[1].strip("[]")
    if host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Door(Site):
    """
    Every request comes through here.

    A web page that a user visits can call this port with the user's own browser.  If its author's name server
    first gives the author's address and then ours (DNS rebinding), the browser even shows the page our answers.
    Such a request carries the author's name as its Host, so only C{localhost} and addresses are let in, which
    nobody can point elsewhere.  A page from elsewhere that asks openly is told by its Origin.
    """

    protocol = Channel  # type: ignore[assignment]  # it need not tell HTTP/2 apart
    requestFactory = BoundedRequest
    displayTracebacks = False
    noisy = False

    def __init__(self, root: IResource, reactor: IReactorTime) -> None:
        super().__init__(root, timeout=IDLE, reactor=reactor, parsePOSTFormSubmission=False)

    def getResourceFor(self, request: Any) -> IResource:
        """The resource asked for, or why not."""
        return self._objection(request) or super().getResourceFor(request)

    def _objection(self, request: Any) -> IResource | None:
        if request.received > MAX_BODY:
            request.setHeader(b"Connection", b"close")
            return Refusal(413, f"a request has at most {MAX_BODY} bytes")
        hosts = request.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) != 1 or not _safe_host(hosts[0]):
            return Refusal(403, "this host name is not one of mine")
        allowed = (b"http://" + hosts[0].lower(), b"https://" + hosts[0].lower())
        if any(origin.lower() not in allowed for origin in request.requestHeaders.getRawHeaders(b"Origin", [])):
            return Refusal(403, "pages from elsewhere may not ask here")
        return None

    def log(self, request: Any) -> None:
        """No access log: a line for every health check helps nobody."""

    def startFactory(self) -> None:
        """No access log, and no clock for it."""

    def stopFactory(self) -> None:
        """No access log to close."""


class Root(Resource):
    """
    C{/}: JSON-RPC for programs, and where everything is for people.
    """

    def __init__(self, registry: Registry, title: Callable[[], str]) -> None:
        """
        @param title: a line about this node.
        """
        super().__init__()
        self._registry = registry
        self._title = title

    def getChild(self, path: bytes, request: BoundedRequest) -> IResource:
        """C{/} is this, anything else that has no resource is nothing."""
        return self if path == b"" and not request.postpath else NotFound()

    def render_GET(self, request: BoundedRequest) -> bytes:
        """For people."""
        return textPage(request, f"{self._title()}: {WHERE}")

    def render_POST(self, request: BoundedRequest) -> bytes | int:
        """For programs."""
        kinds = request.requestHeaders.getRawHeaders(b"Content-Type", [b""])
        if kinds[0].partition(b";")[0].strip().lower() not in CONTENT_TYPES:
            return textPage(request, "send JSON-RPC as application/json", 415)
        assert request.content is not None  # from gotLength on
        answer: Deferred[bytes] = self._registry.answer(request.content.read())
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: answer.cancel())

        def answered(body: bytes) -> None:
            if gone.called:
                return
            if body:
                request.setHeader(b"Content-Length", b"%d" % len(body))
                request.write(page(request, b"application/json", body))
            else:
                request.setResponseCode(204)
            request.finish()

        def failed(failure: Failure) -> None:
            if not gone.called:
                request.processingFailed(failure)

        answer.addCallback(answered).addErrback(failed)
        return NOT_DONE_YET


class Health(Resource):
    """
    Whether the node is well, and all that it depends on: 200, or 503 when something that matters is not there.
    """

    def __init__(self, look: Callable[[], Iterable[Finding]]) -> None:
        super().__init__()
        self._look = look

    def render_GET(self, request: BoundedRequest) -> bytes:
        """One object: C{ok}, and C{checks}, each with C{name}, C{ok}, C{matters} and C{detail}."""
        found = list(self._look())
        ok = all(finding.ok for finding in found if finding.matters)
        checks = [{"name": each.name, "ok": each.ok, "matters": each.matters, "detail": each.words} for each in found]
        body = json.dumps({"ok": ok, "checks": checks}).encode() + b"\n"
        return page(request, b"application/json", body, 200 if ok else 503)
