"""
The unix socket: its file, its stream, and geth's way to use both.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError
from ethp2p.events import PeerAdded
from ethp2p.web import IPCService
from ethp2p.web.doorkeeper import GOODBYE, MAX_CONNECTIONS, PATIENCE, CannotListen
from ethp2p.web.http import MAX_BODY
from ethp2p.web.ipc import LONGEST, clear
from ethp2p.web.service import nodeRegistry
from tests.web.support import FakeNode, close_half
from tests.web.test_notices import ID, PEER
from tests.web.test_websocket import SUBSCRIBE, VERSION


class Caller:
    def __init__(self, factory: Any) -> None:
        self.transport = StringTransport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def texts(self) -> list[Any]:
        data = self.transport.value()
        self.transport.clear()
        assert not data or data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


class _Home(SynchronousTestCase):
    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory(prefix="ipc")  # not in trial's own: its path may be too long for a socket
        self.addCleanup(home.cleanup)
        self.path = str(Path(home.name) / "ethp2p.ipc")
        self.node = FakeNode()

    def service(self, reactor: Any, path: str | None = None) -> IPCService:
        self.registry = nodeRegistry(self.node)
        return IPCService(path or self.path, self.registry, self.node, reactor)

    def socket(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(self.path)
        return bound


class StreamTests(_Home):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.ipc = self.service(self.reactor)
        self.ipc.startService()
        self.assertEqual(self.successResultOf(self.ipc.started), self.path)
        path, self.factory, _, mode, lock = self.reactor.unixServers[0]
        self.assertEqual((path, mode, lock), (self.path, 0o600, False))
        self.caller = Caller(self.factory)

    def tearDown(self) -> None:
        if self.caller.protocol.wrappedProtocol is not None:
            self.caller.lose()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.node.feed._sinks, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_calls(self) -> None:
        self.caller.send(VERSION)
        self.assertEqual(self.caller.texts(), [{"jsonrpc": "2.0", "id": 1, "result": "11155111"}])
        self.caller.send(VERSION + b"\n" + b"[" + VERSION + b"]" + VERSION[:10])
        one, batch = self.caller.texts()
        self.assertEqual((one["result"], len(batch)), ("11155111", 1))
        self.caller.send(VERSION[10:])
        self.assertEqual(len(self.caller.texts()), 1)

    def test_events(self) -> None:
        self.caller.send(SUBSCRIBE)
        [answer] = self.caller.texts()
        self.node.feed.publish(PeerAdded(peer=PEER, shared=()))
        [notice] = self.caller.texts()
        self.assertEqual(notice["params"]["subscription"], answer["result"])
        self.assertEqual(notice["params"]["result"]["peer"], ID)

    def test_no_json(self) -> None:
        self.caller.send(VERSION + b"{]" + VERSION)
        self.assertEqual([answer.get("result") for answer in self.caller.texts()], ["11155111", None, "11155111"])

    def test_garbage(self) -> None:
        self.caller.send(b"GET / HTTP/1.1\r\n" + VERSION)
        [answer] = self.caller.texts()
        self.assertEqual((answer["id"], answer["error"]["code"]), (None, -32700))
        self.assertTrue(self.caller.transport.disconnecting)
        self.caller.send(VERSION)
        self.assertEqual(self.caller.texts(), [])
        self.reactor.advance(GOODBYE)
        self.assertTrue(self.caller.transport.disconnected)

    def test_a_call_too_long(self) -> None:
        self.caller.send(VERSION[:-1] + b" " * MAX_BODY)
        self.assertEqual(self.caller.texts()[0]["error"]["code"], -32700)
        self.assertTrue(self.caller.transport.disconnecting)

    def test_a_reader_that_is_slow(self) -> None:
        line = self.caller.transport.producer
        line.pauseProducing()
        self.caller.send(VERSION)
        self.assertEqual(self.caller.texts(), [])
        line.resumeProducing()
        self.assertEqual(len(self.caller.texts()), 1)

    def test_connection_cap(self) -> None:
        callers = [Caller(self.factory) for _ in range(MAX_CONNECTIONS - 1)]
        self.assertIsNone(self.factory.buildProtocol(None))
        for caller in callers:
            caller.lose()
        Caller(self.factory).lose()

    def test_stop(self) -> None:
        self.caller.send(SUBSCRIBE)
        stopped = self.ipc.stopService()
        self.assertTrue(self.caller.transport.disconnecting)
        self.reactor.advance(GOODBYE)
        self.assertTrue(self.caller.transport.disconnected)
        self.caller.lose()
        self.successResultOf(stopped)

    def test_a_pipe_that_ends(self) -> None:
        later: Deferred[str] = Deferred()
        self.registry.register("later", lambda: later)
        self.caller.send(SUBSCRIBE + b'{"jsonrpc":"2.0","id":1,"method":"later"}' + VERSION)
        self.assertEqual(len(self.caller.texts()), 1)
        close_half(self.caller.protocol)
        self.assertEqual(self.node.feed._sinks, [])
        self.assertFalse(self.caller.transport.disconnecting)
        later.callback("now")
        self.assertEqual([answer["result"] for answer in self.caller.texts()], ["now", "11155111"])
        self.assertTrue(self.caller.transport.disconnecting)

    def test_a_pipe_that_ends_before_its_answer_is_taken(self) -> None:
        line = self.caller.transport.producer
        line.pauseProducing()
        self.caller.send(VERSION)
        close_half(self.caller.protocol)
        self.assertFalse(self.caller.transport.disconnecting)
        line.resumeProducing()
        self.assertEqual(len(self.caller.texts()), 1)
        self.assertTrue(self.caller.transport.disconnecting)

    def test_a_pipe_that_ends_and_an_answer_that_does_not_come(self) -> None:
        given_up: list[object] = []
        self.registry.register("never", lambda: Deferred(given_up.append))
        self.caller.send(b'{"jsonrpc":"2.0","id":1,"method":"never"}')
        close_half(self.caller.protocol)
        self.reactor.advance(PATIENCE)
        self.assertTrue(self.caller.transport.disconnected)
        self.caller.lose()
        self.assertEqual(len(given_up), 1)

    def test_a_pipe_that_ends_with_nothing_to_answer(self) -> None:
        self.caller.send(VERSION[:10])
        close_half(self.caller.protocol)
        self.assertTrue(self.caller.transport.disconnecting)


class FileTests(_Home):
    def refused(self) -> str:
        error = self.assertRaises(CannotListen, clear, self.path)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_nothing_is_there(self) -> None:
        clear(self.path)

    def test_what_a_dead_program_left_behind(self) -> None:
        self.socket().close()
        self.assertTrue(os.path.exists(self.path))
        clear(self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_a_socket_that_is_listened_on(self) -> None:
        self.socket().listen()
        self.assertIn("another node listens there", self.refused())
        self.assertTrue(os.path.exists(self.path))

    def test_a_listener_that_is_busy(self) -> None:
        self.socket().listen(0)
        callers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for caller in callers:
            self.addCleanup(caller.close)
            caller.setblocking(False)
            caller.connect_ex(self.path)
        self.assertIn("another node listens there", self.refused())

    def test_a_file_that_is_none_of_ours(self) -> None:
        Path(self.path).write_text("precious")
        self.assertIn("no socket", self.refused())
        self.assertEqual(Path(self.path).read_text(), "precious")

    def test_a_directory_in_between_that_is_a_file(self) -> None:
        Path(self.path).write_text("precious")
        self.path += "/ethp2p.ipc"
        self.assertIn("Not a directory", self.refused())

    def test_a_path_too_long(self) -> None:
        directory = "/" + "d" * (LONGEST - len("//ethp2p.ipc"))
        self.assertEqual(len(self.service(None, f"{directory}/ethp2p.ipc").path), LONGEST)
        error = self.assertRaises(ConfigError, self.service, None, f"{directory}d/ethp2p.ipc")
        self.assertIn("too long for a unix socket", str(error))
        self.assertRaises(ConfigError, self.service, None, "/" + "\u00e9" * (LONGEST // 2 + 1))

    def test_a_live_one_is_refused(self) -> None:
        self.socket().listen()
        reactor = MemoryReactorClock()
        ipc = self.service(reactor)
        ipc.startService()
        self.failureResultOf(ipc.started, CannotListen)
        self.successResultOf(ipc.stopService())
        self.assertEqual(reactor.unixServers, [])
        self.assertTrue(os.path.exists(self.path))

    def test_what_the_system_refuses(self) -> None:
        reactor = MemoryReactorClock()

        def listenUNIX(*_: Any, **__: Any) -> None:
            raise CannotListenError(None, self.path, OSError(13, "Permission denied"))

        self.patch(reactor, "listenUNIX", listenUNIX)
        ipc = self.service(reactor)
        ipc.startService()
        failure = self.failureResultOf(ipc.started, CannotListen)
        self.assertEqual(failure.getErrorMessage(), f"cannot listen on {self.path}: Permission denied")

    def test_the_real_thing(self) -> None:
        """A real socket, and a reactor of our own that is turned by hand."""
        self.socket().close()
        reactor = SelectReactor()
        ipc = self.service(reactor)
        ipc.startService()
        self.successResultOf(ipc.started)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        client.setblocking(False)
        client.send(VERSION)
        answer = b""
        for _ in range(100):
            reactor.iterate(0)
            try:
                answer = client.recv(4096)
                break
            except BlockingIOError:
                continue
        self.assertEqual(json.loads(answer)["result"], "11155111")
        stopped = ipc.stopService()
        for _ in range(100):
            reactor.iterate(0)
        self.successResultOf(stopped)
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual(client.recv(1), b"")
        for reader in reactor.removeAll():
            reader.connectionLost(Failure(ConnectionDone()))

    def test_a_file_that_somebody_has_removed(self) -> None:
        reactor = SelectReactor()
        ipc = self.service(reactor)
        ipc.startService()
        self.successResultOf(ipc.started)
        os.unlink(self.path)
        stopped = ipc.stopService()
        reactor.iterate(0)
        self.successResultOf(stopped)
        for reader in reactor.removeAll():
            reader.connectionLost(Failure(ConnectionDone()))
