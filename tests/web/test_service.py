"""
The windows' lifetime: where they are, how many may look in, and how they are closed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.web import WebService
from ethp2p.web.doorkeeper import GOODBYE, MAX_CONNECTIONS, PATIENCE, CannotListen
from ethp2p.web.facade import Finding
from tests.web.support import Client, FakeNode, close_half


class _Port:
    def __init__(self, address: Any) -> None:
        self.address = address

    def getHost(self) -> Any:
        return self.address


class WebServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.node = FakeNode()
        self.service = WebService("tcp:8650:interface=127.0.0.1", self.node, self.reactor)
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def start(self) -> Any:
        self.service.startService()
        port, factory, _, interface = self.reactor.tcpServers[0]
        self.assertEqual((port, interface), (8650, "127.0.0.1"))
        return factory

    def connect(self, factory: Any) -> Client:
        client = Client(factory)
        self.addCleanup(lambda: client.protocol.wrappedProtocol and self.lose(client))
        return client

    def lose(self, client: Client) -> None:
        client.protocol.connectionLost(Failure(ConnectionDone()))

    def test_who_has_nothing_more_to_say_is_answered(self) -> None:
        later: Deferred[str] = Deferred()
        self.service.registry.register("later", lambda: later)
        client = self.connect(self.start())
        body = b'{"jsonrpc":"2.0","id":1,"method":"later"}'
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        close_half(client.protocol)
        self.assertFalse(client.transport.disconnecting)
        later.callback("now")
        self.assertEqual(client.response().json["result"], "now")
        self.assertTrue(client.transport.disconnecting)

    def test_who_has_nothing_more_to_say_does_not_wait_for_ever(self) -> None:
        given_up: list[object] = []
        self.service.registry.register("never", lambda: Deferred(given_up.append))
        client = self.connect(self.start())
        body = b'{"jsonrpc":"2.0","id":1,"method":"never"}'
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        close_half(client.protocol)
        self.reactor.advance(PATIENCE)
        self.assertTrue(client.transport.disconnected)
        self.lose(client)
        self.assertEqual(len(given_up), 1)

    def test_who_has_nothing_more_to_say_is_closed(self) -> None:
        factory = self.start()
        for said in (b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST / HTTP/1.1\r\nContent-"):
            client = self.connect(factory)
            client.send(said)
            close_half(client.protocol)
            self.assertTrue(client.transport.disconnecting, said)

    def test_url(self) -> None:
        self.assertEqual(self.service.url, "")
        self.start()
        self.assertEqual(self.successResultOf(self.service.started), self.service.url)
        self.assertRegex(self.service.url, r"^http://0\.0\.0\.0:[0-9]+/$|^http://127\.0\.0\.1:[0-9]+/$")
        for address, url in (
            (IPv4Address("TCP", "127.0.0.1", 8650), "http://127.0.0.1:8650/"),
            (IPv4Address("TCP", "0.0.0.0", 80), "http://127.0.0.1:80/"),
            (IPv6Address("TCP", "::", 80), "http://[::1]:80/"),
            (UNIXAddress("/run/x"), "tcp:8650:interface=127.0.0.1"),
        ):
            self.service._port = _Port(address)  # type: ignore[assignment]
            self.assertEqual(self.service.url, url)

    def test_everything_is_there(self) -> None:
        client = self.connect(self.start())
        self.assertIs(client.request("GET /livez").json["ok"], True)
        self.assertEqual(client.request("GET /readyz").code, 200)
        self.node.findings = [Finding("listening", False, "the port is taken")]
        self.assertEqual(client.request("GET /readyz").code, 503)
        self.assertEqual(client.request("GET /livez").code, 200)
        self.assertIn(b"ethp2p/v0.1.0", client.request("GET /").body)
        body = b'{"jsonrpc":"2.0","id":1,"method":"net_version"}'
        self.assertEqual(client.request("POST /", body).json["result"], "11155111")
        self.assertIn(b"process_", client.request("GET /metrics").body)
        self.assertEqual(client.request("GET /ws").code, 426)
        for path in ("/ws/x", "/metrics/x", "/livez/x"):
            self.assertEqual(client.request(f"GET {path}").code, 404)

    def test_subscriptions_need_a_conversation(self) -> None:
        client = self.connect(self.start())
        for method in ("admin_subscribe", "admin_unsubscribe", "ethp2p_subscribe", "ethp2p_unsubscribe"):
            body = b'{"jsonrpc":"2.0","id":1,"method":"%s","params":["x"]}' % method.encode()
            error = client.request("POST /", body).json["error"]
            self.assertEqual(error["code"], -32601)
            self.assertIn("/ws", error["message"])

    def test_a_port_that_is_taken(self) -> None:
        taken = OSError(98, "Address already in use")

        def listenTCP(*_: Any, **__: Any) -> None:
            raise CannotListenError("127.0.0.1", 8650, taken)

        self.patch(self.reactor, "listenTCP", listenTCP)
        self.service.startService()
        failure = self.failureResultOf(self.service.started, CannotListen)
        self.assertEqual(
            failure.getErrorMessage(), "cannot listen on tcp:8650:interface=127.0.0.1: Address already in use"
        )
        self.successResultOf(self.service.stopService())

    def test_connection_cap(self) -> None:
        factory = self.start()
        clients = [self.connect(factory) for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(factory.buildProtocol(None))
        self.lose(clients[0])
        self.assertEqual(self.connect(factory).request("GET /livez").code, 200)

    def test_stop_sees_everybody_out(self) -> None:
        factory = self.start()
        polite, deaf = self.connect(factory), self.connect(factory)
        stopped = self.service.stopService()
        self.assertTrue(polite.transport.disconnecting)
        self.assertIsNone(polite.transport.producer)
        self.lose(polite)
        self.assertNoResult(stopped)
        self.reactor.advance(GOODBYE)
        self.assertTrue(deaf.transport.disconnected)
        self.lose(deaf)
        self.successResultOf(stopped)
        self.assertEqual(self.service.url, "")

    def test_stop_with_nobody(self) -> None:
        self.start()
        self.successResultOf(self.service.stopService())

    def test_stop_before_start(self) -> None:
        self.successResultOf(self.service.stopService())
