"""
What comes in over HTTP, and what a hostile page or program can do with it.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.web.facade import Finding
from ethp2p.web.http import CONTENT_TYPES, IDLE, MAX_BODY, MAX_DROPPED, Health, Root
from ethp2p.web.registry import Registry
from tests.web.support import Client, door

CALL = b'{"jsonrpc":"2.0","id":1,"method":"echo","params":["hi"]}'


class HTTPTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()
        self.registry.register("echo", lambda value: value)
        self.found = [Finding("port", True, "30303"), Finding("store", True, "kept in a file", matters=False)]
        root = Root(self.registry, lambda: "ethp2p/v0.1.0")
        root.putChild(b"readyz", Health(lambda: self.found))
        self.door = door(root)
        self.client = Client(self.door)

    def request(self, head: str, body: bytes = b"", **headers: Any) -> Any:
        return Client(self.door).request(head, body, **headers)

    def test_call(self) -> None:
        response = self.request("POST /", CALL)
        self.assertEqual((response.code, response.json), (200, {"jsonrpc": "2.0", "id": 1, "result": "hi"}))
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertNotIn("access-control-allow-origin", response.headers)

    def test_one_connection_asks_twice(self) -> None:
        for _ in range(2):
            self.assertEqual(self.client.request("POST /", CALL).json["result"], "hi")
        self.assertFalse(self.client.transport.disconnecting)

    def test_a_failed_call_is_an_answer(self) -> None:
        for body in (b"{", b'{"jsonrpc":"2.0","id":1,"method":"no"}'):
            response = self.request("POST /", body)
            self.assertEqual(response.code, 200)
            self.assertIn("error", response.json)

    def test_a_notification_has_no_answer(self) -> None:
        response = self.request("POST /", b'{"jsonrpc":"2.0","method":"echo","params":[1]}')
        self.assertEqual((response.code, response.body), (204, b""))

    def test_chopped_anywhere(self) -> None:
        data = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        data += b"Content-Length: %d\r\n\r\n%s" % (len(CALL), CALL)
        for byte in data:
            self.client.send(bytes([byte]))
        self.assertEqual(self.client.response().json["result"], "hi")

    def test_content_types(self) -> None:
        for kind in (*map(bytes.decode, CONTENT_TYPES), "Application/JSON; charset=utf-8"):
            self.assertEqual(self.request("POST /", CALL, content_type=kind).code, 200)
        # what a web page may send to any host unasked
        for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            self.assertEqual(self.request("POST /", CALL, content_type=kind).code, 415, kind)

    def test_hosts(self) -> None:
        good = ("localhost", "LocalHost:8650", "127.0.0.1", "10.1.2.3:80", "[::1]:8650", "[2001:db8::1]")
        for host in good:
            self.assertEqual(self.request("POST /", CALL, host=host).code, 200, host)
        bad = (
            None,
            "",
            ":8650",
            "evil.example",
            "evil.example:8650",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example/127.0.0.1",
            "127.0.0.1:8650, evil.example",
            "[::1",
            "[]",
            "127.1",
            "localhost:1:2",
        )
        for host in bad:
            for head in ("POST /", "GET /", "GET /readyz", "GET /nothing", "OPTIONS /"):
                self.assertEqual(self.request(head, CALL, host=host).code, 403, (host, head))

    def test_two_hosts(self) -> None:
        self.client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(self.client.response().code, 403)

    def test_origins(self) -> None:
        for origin in ("http://127.0.0.1:8650", "https://127.0.0.1:8650", "HTTP://127.0.0.1:8650"):
            self.assertEqual(self.request("POST /", CALL, origin=origin).code, 200, origin)
        bad = ("http://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:8651", "http://localhost:8650")
        for origin in (*bad, "http://127.0.0.1:8650.evil.example"):
            self.assertEqual(self.request("POST /", CALL, origin=origin).code, 403, origin)

    def test_preflight_is_granted_nothing(self) -> None:
        response = self.request("OPTIONS /", host="localhost", origin="http://localhost")
        self.assertGreaterEqual(response.code, 400)
        self.assertNotIn("access-control-allow-origin", response.headers)

    def test_largest_body(self) -> None:
        body = CALL.ljust(MAX_BODY)
        self.assertEqual(self.request("POST /", body).code, 200)
        response = self.request("POST /", body + b" ")
        self.assertEqual(response.code, 413)
        self.assertEqual(response.headers["connection"], "close")

    def test_largest_body_in_chunks(self) -> None:
        self.client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        self.client.send(b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(MAX_BODY // 65536 + 1):
            self.client.send(chunk)
        self.client.send(b"0\r\n\r\n")
        self.assertEqual(self.client.response().code, 413)

    def test_a_body_without_end(self) -> None:
        self.client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
        request = self.client.protocol.requests[-1]
        sent = 0
        while not self.client.transport.disconnected and sent < 2 * MAX_DROPPED:
            self.client.send(b" " * 65536)
            sent += 65536
            self.assertLessEqual(len(request.content.getvalue()), MAX_BODY)
        self.assertTrue(self.client.transport.disconnected)
        self.assertLessEqual(sent, MAX_BODY + MAX_DROPPED + 65536)

    def test_an_idle_connection_is_closed(self) -> None:
        self.client.send(b"POST / HTTP/1.1\r\n")
        self.door.reactor.advance(IDLE + 1)
        self.assertTrue(self.client.transport.disconnecting)

    def test_a_reader_that_is_slow(self) -> None:
        asked: list[int] = []

        def ask(number: int) -> int:
            asked.append(number)
            self.client.transport.producer.pauseProducing()  # as a transport does that the answer has filled
            return number

        self.registry.register("ask", ask)
        for number in range(3):
            body = b'{"jsonrpc":"2.0","id":1,"method":"ask","params":[%d]}' % number
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self.client.send((head % len(body) + body) * 2)
        answered = [0, 0, 1, 1, 2, 2]
        for number in range(1, 7):
            self.assertEqual((asked, self.client.transport.producerState), (answered[:number], "paused"))
            self.client.transport.producer.resumeProducing()
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(self.client.transport.value().count(b'"result"'), 6)

    def test_who_does_not_take_the_last_answer_is_cut_off(self) -> None:
        for headers in ({}, {"connection": "close"}):
            client = Client(self.door)
            self.assertEqual(client.request("POST /", CALL, **headers).code, 200)
            self.assertFalse(client.transport.disconnected)
            self.door.reactor.pump([IDLE, IDLE])
            self.assertTrue(client.transport.disconnected, headers)
            client.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.door.reactor.getDelayedCalls(), [])

    def test_pages(self) -> None:
        response = self.request("GET /")
        self.assertEqual((response.code, response.headers["content-type"]), (200, "text/plain; charset=utf-8"))
        for path in (b"POST / is JSON-RPC", b"/ws", b"/metrics", b"/livez", b"/readyz"):
            self.assertIn(path, response.body)
        for path in ("/x", "//", "/readyz/x", "/.", "/%2e%2e/"):
            self.assertEqual(self.request(f"GET {path}").code, 404, path)
        self.assertEqual(self.request("DELETE /").code, 501)
        self.assertEqual(self.request("POST /readyz", CALL).code, 405)
        self.assertEqual(self.request("HEAD /").body, b"")

    def test_health(self) -> None:
        response = self.request("GET /readyz")
        self.assertEqual((response.code, response.headers["content-type"]), (200, "application/json"))
        checks = [
            {"name": "port", "ok": True, "matters": True, "detail": "30303"},
            {"name": "store", "ok": True, "matters": False, "detail": "kept in a file"},
        ]
        self.assertEqual(response.json, {"ok": True, "checks": checks})

    def test_ill_health(self) -> None:
        for port, store, code in ((True, False, 200), (False, True, 503), (False, False, 503)):
            self.found = [Finding("port", port, ""), Finding("store", store, "the disk is full", matters=False)]
            response = self.request("GET /readyz")
            self.assertEqual((response.code, response.json["ok"]), (code, code == 200))
            self.assertEqual([check["ok"] for check in response.json["checks"]], [port, store])

    def test_no_traceback_for_clients(self) -> None:
        def fail() -> list[Finding]:
            raise RuntimeError("password")

        root = Root(self.registry, lambda: "x")
        root.putChild(b"readyz", Health(fail))
        response = Client(door(root)).request("GET /readyz")
        self.assertEqual(response.code, 500)
        self.assertNotIn(b"password", response.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_caller_that_leaves_is_forgotten(self) -> None:
        given_up: list[object] = []
        self.registry.register("later", lambda: Deferred(given_up.append))
        body = b'{"jsonrpc":"2.0","id":1,"method":"later"}'
        self.client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        self.client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.assertEqual(self.client.transport.value(), b"")
        self.client.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(given_up), 1)
        self.assertEqual(self.client.transport.value(), b"")

    def test_a_method_that_does_not_give_up(self) -> None:
        async def stubborn() -> str:
            try:
                await Deferred()
            except CancelledError:
                return "anyway"
            return "never"

        self.registry.register("stubborn", stubborn)
        body = b'{"jsonrpc":"2.0","id":1,"method":"stubborn"}'
        self.client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        self.client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.client.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.client.transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_an_answer_that_comes_later(self) -> None:
        waiting: Deferred[str] = Deferred()
        self.registry.register("later", lambda: waiting)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "later"}).encode()
        self.client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        self.client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        waiting.callback("now")
        self.assertEqual(self.client.response().json["result"], "now")
