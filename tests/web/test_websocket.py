"""
A conversation over a WebSocket, through the same door as everything else.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from ethp2p.events import PeerAdded
from ethp2p.web import WebService
from ethp2p.web.doorkeeper import GOODBYE, MAX_CONNECTIONS
from ethp2p.web.http import IDLE, MAX_BODY
from ethp2p.web.websocket import PING
from tests.web.support import Client, FakeNode, close_half
from tests.web.test_notices import ID, PEER

#: The example of RFC 6455, section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
VERSION = b'{"jsonrpc":"2.0","id":1,"method":"net_version"}'
SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"admin_subscribe","params":["peerEvents"]}'


class Browser(Client):
    """Speaks WebSocket over a client's connection."""

    def __init__(self, factory: Any) -> None:
        super().__init__(factory)
        self.frames = Connection(ConnectionType.CLIENT)

    def upgrade(self, **headers: str | None) -> Any:
        asked: dict[str, str | None] = {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec_websocket_key": KEY,
            "sec_websocket_version": "13",
        }
        response = self.request("GET /ws", **(asked | headers))
        self.transport.clear()
        return response

    def open(self) -> Browser:
        assert self.upgrade().code == 101
        return self

    def frame(self, *events: Event) -> None:
        self.send(b"".join(self.frames.send(event) for event in events))

    def events(self) -> list[Event]:
        data = self.transport.value()
        self.transport.clear()
        self.frames.receive_data(data)
        return list(self.frames.events())

    def texts(self) -> list[Any]:
        return [json.loads(event.data) for event in self.events() if isinstance(event, TextMessage)]

    def closed(self) -> int:
        """The code it was closed with."""
        [code] = [event.code for event in self.events() if isinstance(event, CloseConnection)]
        assert self.transport.disconnecting
        return code


class WebSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.node = FakeNode()
        self.service = WebService("tcp:8650:interface=127.0.0.1", self.node, self.reactor)
        self.service.startService()
        self.factory = self.reactor.tcpServers[0][1]
        self.browsers: list[Browser] = []

    def tearDown(self) -> None:
        for browser in self.browsers:
            if browser.protocol.wrappedProtocol is not None:
                self.lose(browser)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.node.feed._sinks, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def browser(self) -> Browser:
        browser = Browser(self.factory)
        self.browsers.append(browser)
        return browser

    def lose(self, browser: Browser) -> None:
        browser.protocol.connectionLost(Failure(ConnectionDone()))

    def test_handshake(self) -> None:
        response = self.browser().upgrade()
        self.assertEqual(response.code, 101)
        self.assertEqual(response.headers["sec-websocket-accept"], ACCEPT.lower())
        self.assertNotIn("sec-websocket-extensions", response.headers)

    def test_handshake_as_browsers_send_it(self) -> None:
        response = self.browser().upgrade(
            connection="keep-alive, Upgrade",
            upgrade="WebSocket",
            origin="http://127.0.0.1:8650",
            sec_websocket_extensions="permessage-deflate; client_max_window_bits",
        )
        self.assertEqual(response.code, 101)
        self.assertNotIn("sec-websocket-extensions", response.headers)

    def test_the_same_door(self) -> None:
        for headers in (
            {"host": "evil.example"},
            {"host": None},
            {"origin": "http://evil.example"},
            {"origin": "null"},
        ):
            self.assertEqual(self.browser().upgrade(**headers).code, 403, headers)

    def test_no_handshake(self) -> None:
        for code, headers in (
            (426, {"upgrade": None}),
            (426, {"upgrade": "h2c"}),
            (426, {"connection": None}),
            (426, {"connection": "close"}),
            (426, {"sec_websocket_version": None}),
            (426, {"sec_websocket_version": "8"}),
            (400, {"sec_websocket_key": None}),
            (400, {"sec_websocket_key": ""}),
            (400, {"sec_websocket_key": "AAAA"}),
            (400, {"sec_websocket_key": "!" * 24}),
            (400, {"sec_websocket_key": "\u00e9" * 24}),
        ):
            response = self.browser().upgrade(**headers)
            self.assertEqual(response.code, code, headers)
        self.assertEqual(self.browser().upgrade(sec_websocket_version="8").headers["sec-websocket-version"], "13")

    def test_calls(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(VERSION.decode()))
        self.assertEqual(browser.texts(), [{"jsonrpc": "2.0", "id": 1, "result": "11155111"}])
        browser.frame(BytesMessage(VERSION), TextMessage("{"))
        answers = browser.texts()
        self.assertEqual((answers[0]["result"], answers[1]["error"]["code"]), ("11155111", -32700))

    def test_chopped_anywhere(self) -> None:
        browser = self.browser().open()
        half = len(VERSION) // 2
        first = TextMessage(VERSION[:half].decode(), message_finished=False)
        data = browser.frames.send(first) + browser.frames.send(Ping(b"x"))
        data += browser.frames.send(TextMessage(VERSION[half:].decode()))
        for byte in data:
            browser.send(bytes([byte]))
        pong, answer = browser.events()
        self.assertEqual(pong, Pong(b"x"))
        self.assertIn("11155111", answer.data)

    def test_events(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(SUBSCRIBE.decode()))
        [answer] = browser.texts()
        self.node.feed.publish(PeerAdded(peer=PEER, shared=()))
        [notice] = browser.texts()
        self.assertEqual(notice["params"]["subscription"], answer["result"])
        self.assertEqual(notice["params"]["result"]["peer"], ID)

    def test_largest_message(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(VERSION.decode().ljust(MAX_BODY)))
        self.assertEqual(len(browser.texts()), 1)
        browser.frame(TextMessage(" " * (MAX_BODY + 1)))
        self.assertEqual(browser.closed(), 1009)

    def test_a_message_without_end(self) -> None:
        browser = self.browser().open()
        line = browser.protocol.wrappedProtocol
        for _ in range(100):
            browser.frame(TextMessage(" " * 65536, message_finished=False))
            self.assertLessEqual(len(line._message), MAX_BODY + 65536)
            if line.closing:
                break
        self.assertEqual(browser.closed(), 1009)

    def test_a_frame_that_promises_too_much(self) -> None:
        browser = self.browser().open()
        browser.send(b"\x81\xff" + (1 << 40).to_bytes(8) + b"\x00" * 4)
        sent = 0
        while not browser.transport.disconnecting and sent < 2 * MAX_BODY:
            browser.send(b" " * 65536)
            sent += 65536
        self.assertLessEqual(sent, MAX_BODY + 65536)

    def test_what_is_no_frame(self) -> None:
        for data, code in (
            (b"\x81\x02{}", 1002),  # not masked
            (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
            (b"\x83\x80\x00\x00\x00\x00", 1002),  # reserved opcode
            (b"\x81\x82\x00\x00\x00\x00\xff\xff", 1007),  # no UTF-8
            (b"\x80\x80\x00\x00\x00\x00", 1002),  # continues nothing
        ):
            browser = self.browser().open()
            browser.send(data + VERSION)
            self.assertEqual(browser.closed(), code, data)
            browser.send(data)  # nobody listens any more

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        browser = self.browser().open()
        browser.send(data)
        self.lose(browser)
        self.reactor.advance(GOODBYE)

    def test_they_close(self) -> None:
        mask = b"\x00" * 4
        for payload, code in (
            (b"", 1005),  # no code at all, and none is sent back
            (b"\x03\xe8", 1000),
            (b"\x03\xe9bye", 1001),
            (b"\x0f\xa0" + b"y" * 123, 4000),
            (b"\x03", 1002),
            (b"\x00\x01", 1002),
            (b"\x03\xed", 1002),
            (b"\x03\xe8\xff", 1007),
        ):
            browser = self.browser().open()
            browser.send(b"\x88" + bytes([0x80 + len(payload)]) + mask + payload)
            self.assertEqual(browser.closed(), code, payload)
            browser.send(b"\x81\x80" + mask)  # nobody listens any more

    def test_they_close_and_leave_subscriptions(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(SUBSCRIBE.decode()), CloseConnection(1000))
        self.assertEqual(self.node.feed._sinks, [])

    def test_they_leave_without_a_word(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(SUBSCRIBE.decode()))
        close_half(browser.protocol)
        self.assertEqual(self.node.feed._sinks, [])
        self.assertTrue(browser.transport.disconnecting)

    def test_who_does_not_let_go_is_cut_off(self) -> None:
        browser = self.browser().open()
        browser.send(b"\x00")
        browser.send(b"\x00\x00")
        self.assertTrue(browser.transport.disconnecting)
        self.reactor.advance(GOODBYE)
        self.assertTrue(browser.transport.disconnected)

    def test_pings(self) -> None:
        browser = self.browser().open()
        for _ in range(3):
            self.reactor.advance(PING)
            [ping] = browser.events()
            browser.frame(ping.response())
        self.assertGreater(3 * PING, IDLE, "nothing else may end an idle connection")
        self.assertFalse(browser.transport.disconnecting)
        self.reactor.advance(PING)
        self.assertFalse(browser.transport.disconnected)
        self.reactor.advance(PING)
        self.assertTrue(browser.transport.disconnected)

    def test_a_reader_that_is_slow(self) -> None:
        browser = self.browser().open()
        browser.frame(TextMessage(SUBSCRIBE.decode()))
        browser.events()
        line = browser.transport.producer
        self.assertIs(line, browser.protocol.wrappedProtocol)
        line.pauseProducing()
        self.node.feed.publish(PeerAdded(peer=PEER, shared=()))
        browser.frame(TextMessage(VERSION.decode()))
        self.assertEqual(browser.transport.value(), b"")
        line.resumeProducing()
        self.assertEqual(len(browser.texts()), 2)

    def test_pings_of_who_does_not_read(self) -> None:
        browser = self.browser().open()
        line = browser.transport.producer
        line.pauseProducing()
        for number in range(100):
            browser.frame(Ping(b"%d" % number))
        self.assertEqual(browser.transport.value(), b"")
        line.resumeProducing()
        self.assertEqual(browser.events(), [Pong(b"99")])
        line.resumeProducing()
        self.assertEqual(browser.events(), [])
        browser.frame(Ping(b"next"))
        self.assertEqual(browser.events(), [Pong(b"next")])

    def test_a_caller_that_calls_too_much(self) -> None:
        self.service.registry.register("later", Deferred)
        browser = self.browser().open()
        browser.frame(TextMessage('{"jsonrpc":"2.0","id":1,"method":"later"}'))
        for _ in range(2):
            self.assertEqual(browser.transport.producerState, "producing")
            browser.frame(TextMessage(VERSION.decode().ljust(MAX_BODY * 3 // 4)))
        self.assertEqual(browser.transport.producerState, "paused")

    def test_connections_are_shared(self) -> None:
        for _ in range(MAX_CONNECTIONS):
            self.browser().open()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.lose(self.browsers[0])
        self.browser().open()

    def test_stop_says_goodbye(self) -> None:
        browser, other = self.browser().open(), self.browser()
        stopped = self.service.stopService()
        self.assertEqual(browser.closed(), 1001)
        self.assertTrue(other.transport.disconnecting)
        self.lose(browser)
        self.lose(other)
        self.successResultOf(stopped)

    def test_stop_does_not_wait(self) -> None:
        browser = self.browser().open()
        stopped = self.service.stopService()
        self.reactor.advance(GOODBYE)
        self.assertTrue(browser.transport.disconnected)
        self.lose(browser)
        self.successResultOf(stopped)
