"""
Questions to a running node: where it is, what it answers, and what becomes of a question that nobody answers.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli import asking
from ethp2p.cli.asking import SOCKET, CallFailed, Place, ask
from ethp2p.cli.asking import URL as DEFAULT
from ethp2p.cli.running import NotReached
from ethp2p.errors import ConfigError
from ethp2p.web.ipc import LONGEST
from tests.cli.answering import ADDRESS, URL, Answering

PATH = "/run/node.ipc"


class PlaceTests(SynchronousTestCase):
    def test_given(self) -> None:
        for text in ("http://127.0.0.1:8650/", "http://[::1]:8650", "http://node.example", URL):
            self.assertEqual(Place.find(text), Place(url=text))
        self.assertEqual(Place.find("some/node.ipc"), Place(path="some/node.ipc"))
        for text in ("https://127.0.0.1/", "ws://127.0.0.1:8650", "http://", "http://a b/", "http://\u00e9/", ""):
            self.assertRaises(ConfigError, Place.find, text)

    def test_default(self) -> None:
        """The socket where there is one, and else the port."""
        home = Path(tempfile.mkdtemp())  # a socket's path is short, and trial's may be long
        self.addCleanup(shutil.rmtree, home)
        self.patch(os, "environ", {**os.environ, "XDG_DATA_HOME": str(home)})
        self.assertEqual(Place.find(), Place(url=DEFAULT))
        path = home / "ethp2p" / SOCKET
        path.parent.mkdir(parents=True)
        path.touch()
        self.assertEqual(Place.find(), Place(path=str(path)))

    def test_datadir(self) -> None:
        """Where a directory is named, the port of another node is not asked."""
        self.assertEqual(Place.find(datadir="/nowhere"), Place(path="/nowhere/ethp2p.ipc"))

    def test_long_path(self) -> None:
        self.assertEqual(Place.find("x" * LONGEST), Place(path="x" * LONGEST))
        self.assertRaises(ConfigError, Place.find, "x" * (LONGEST + 1))


class AskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = Answering()
        self.node.results = {"echo": lambda *params: list(params), "long": "{" * 300_000, "nothing": None}

    def ask(self, *words: Any, place: Place | None = None) -> Any:
        question = ask(self.node.host, place or Place(url=URL), 10.0, *words)
        try:
            return self.node.network.wait_for(question, 60.0)
        finally:
            self.node.network.advance(1.0)
            self.assertEqual(self.node.host.getDelayedCalls(), [])

    def fails(self, *question: Any, place: Place | None = None) -> str:
        return str(self.assertRaises(NotReached, self.ask, *question, place=place))

    def test_http(self) -> None:
        self.node.serve()
        self.assertEqual(self.ask("echo", 1, {"a": ["\u00e9"]}), [1, {"a": ["\u00e9"]}])
        self.assertEqual(len(self.ask("long")), 300_000)
        self.assertIsNone(self.ask("nothing"))

    def test_socket(self) -> None:
        """The end of an answer is found where it is, whatever it is cut into."""
        self.node.serveSocket(PATH)
        self.assertEqual(self.ask("echo", {"}": "}}"}, "]", place=Place(path=PATH)), [{"}": "}}"}, "]"])
        self.assertEqual(len(self.ask("long", place=Place(path=PATH))), 300_000)

    def test_spaces(self) -> None:
        """As geth, whose answers end in a line."""
        self.node.say(PATH, b' {"jsonrpc": "2.0", "id": 1, "result": {"a": {}}}\r\n')
        self.assertEqual(self.ask("echo", place=Place(path=PATH)), {"a": {}})

    def test_errors(self) -> None:
        self.node.serve()
        error = self.assertRaises(CallFailed, self.ask, "neverheard")
        self.assertEqual(str(error), "the method neverheard does not exist")

    def test_error_words(self) -> None:
        self.node.say(PATH, json.dumps({"id": 1, "error": {"code": 1, "message": "no\x1b[2J way"}}).encode())
        error = self.assertRaises(CallFailed, self.ask, "echo", place=Place(path=PATH))
        self.assertEqual(str(error), r"no\x1b[2J way")

    def test_nobody(self) -> None:
        for place in (Place(url=URL), Place(path=PATH)):
            words = self.fails("echo", place=place)
            self.assertTrue(words.startswith(f"no node answers at {place} ("), words)
            self.assertIn("start one with 'twistd -n --pidfile= ethp2p'", words)

    def test_silence(self) -> None:
        self.node.results = {"echo": Deferred()}
        self.node.serve()
        self.node.serveSocket(PATH)
        self.assertEqual(self.fails("echo"), f"the node at {URL} did not answer within 10 s")
        self.assertIn("did not answer", self.fails("echo", place=Place(path=PATH)))

    def test_cut_off(self) -> None:
        self.node.say(PATH, b'{"result": ', last=True)
        self.node.say(8650, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", last=True)
        self.node.say(8651, b"", last=True)
        for place in (Place(path=PATH), Place(url=URL), Place(url=f"http://{ADDRESS}:8651")):
            self.assertIn("was lost before the answer", self.fails("echo", place=place))

    def test_strangers(self) -> None:
        """Whatever answers there, it is told in one line."""
        answers = (b"[]", b"{}", b'"x"', b"hello", b"\xff", b"[" * 100_000, b'{"error": "no"}')
        for number, answer in enumerate(answers):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
            self.node.say(9500 + number, head + answer)
            place = Place(url=f"http://{ADDRESS}:{9500 + number}")
            self.assertIn("does not speak JSON-RPC", self.fails("echo", place=place))
        self.node.say(9600, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nnot\x1byou\nmore")
        words = self.fails("echo", place=Place(url=f"http://{ADDRESS}:9600"))
        self.assertTrue(words.endswith(r"no node that may be asked: 403 not\x1byou"), words)
        self.node.say(9601, b"SSH-2.0-x\r\n")
        self.assertIn("before the answer", self.fails("echo", place=Place(url=f"http://{ADDRESS}:9601")))

    def test_flood(self) -> None:
        self.patch(asking, "MAX_ANSWER", 5000)
        self.node.say(PATH, b"[" + b" " * 9000)
        self.node.say(8650, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b" " * 9000)
        for place in (Place(path=PATH), Place(url=URL)):
            self.assertIn("more than 5000 bytes", self.fails("echo", place=place))

    def test_cancel(self) -> None:
        self.node.results = {"echo": Deferred()}
        self.node.serveSocket(PATH)
        question = ask(self.node.host, Place(path=PATH), 10.0, "echo")
        self.node.network.advance(1.0)
        question.cancel()
        self.failureResultOf(question, CancelledError)
        self.node.network.advance(1.0)
        self.assertEqual(self.node.host.getDelayedCalls(), [])


class UnixTests(SynchronousTestCase):
    def test_endpoint(self) -> None:
        """The reactor is asked for the socket, and no other."""

        class Reactor(Clock):
            asked: list[Any] = []

            def connectUNIX(self, path: Any, factory: Any, timeout: float, checkPID: bool) -> None:
                self.asked.append((path, timeout, checkPID))

        reactor = Reactor()
        question = ask(reactor, Place(path=PATH), 7.0, "echo")
        self.assertEqual(reactor.asked, [(PATH, 7.0, False)])
        reactor.advance(7.0)
        self.assertIn("did not answer within 7 s", self.failureResultOf(question, NotReached).getErrorMessage())
