"""
JSON-RPC 2.0: what is a call, what is answered, and what a hostile caller can make of it.
"""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError, P2PError
from ethp2p.web import registry
from ethp2p.web.registry import MAX_BATCH, InvalidParams, Registry

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


class Dangerous(P2PError):
    """The cable is cut."""


def _fail(error: Exception) -> None:
    raise error


class RegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiting: Deferred[object] = Deferred()
        self.registry = Registry()
        self.registry.register("subtract", lambda minuend, subtrahend: minuend - subtrahend)
        self.registry.register("echo", lambda *values: list(values))
        self.registry.register("later", lambda: self.waiting)
        self.registry.register("refuse", lambda: _fail(InvalidParams("not that")))
        self.registry.register("misset", lambda: _fail(ConfigError("not a number")))
        self.registry.register("cut", lambda: _fail(Dangerous()))
        self.registry.register("secret", lambda: _fail(RuntimeError("password")))
        self.registry.register("strange", lambda: {1, 2})

    def raw(self, body: bytes) -> bytes:
        return self.successResultOf(self.registry.answer(body))

    def ask(self, body: object) -> Any:
        return json.loads(self.raw(json.dumps(body).encode()))

    def call(self, method: str, params: object = (), request_id: object = 1) -> Any:
        return self.ask({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})

    def code(self, answer: Any) -> int:
        self.assertEqual(set(answer), {"jsonrpc", "id", "error"})
        code: int = answer["error"]["code"]
        return code

    def test_by_position_and_by_name(self) -> None:
        for params in ([42, 23], {"subtrahend": 23, "minuend": 42}):
            self.assertEqual(self.call("subtract", params), {"jsonrpc": "2.0", "id": 1, "result": 19})

    def test_params_may_be_missing_or_null(self) -> None:
        self.assertEqual(self.ask({"jsonrpc": "2.0", "id": 1, "method": "echo"})["result"], [])
        self.assertEqual(self.call("echo", None)["result"], [])

    def test_ids_come_back(self) -> None:
        for request_id in (0, -1, 1.5, "", "abc", None, 2**70):
            self.assertEqual(self.call("echo", [], request_id)["id"], request_id)

    def test_ids_that_are_none(self) -> None:
        for request_id in (True, [], {}, [1]):
            answer = self.call("echo", [], request_id)
            self.assertEqual((self.code(answer), answer["id"]), (-32600, None))
        for text in (b"1e999", b"-1e999"):
            answer = json.loads(self.raw(b'{"jsonrpc":"2.0","method":"echo","id":%s}' % text))
            self.assertEqual(self.code(answer), -32600)

    def test_not_json(self) -> None:
        bodies = (
            b"",
            b"{",
            b"\xff",
            b"nul",
            b"[NaN]",
            b"[Infinity]",
            b"[" * 100_000,
            b"1" * 10_000,
            b"{'a':1}",
            b"\x00",
        )
        for body in bodies:
            answer = json.loads(self.raw(body))
            self.assertEqual((self.code(answer), answer["id"]), (-32700, None), body[:20])

    def test_not_a_request(self) -> None:
        for body in (
            1,
            "x",
            None,
            True,
            {},
            {"jsonrpc": "2.0"},
            {"jsonrpc": "1.0", "method": "echo"},
            {"method": "echo"},
        ):
            self.assertEqual(self.code(self.ask(body)), -32600, body)
        self.assertEqual(self.code(self.ask({"jsonrpc": "2.0", "method": 1, "id": 7})), -32600)
        self.assertEqual(self.ask({"jsonrpc": "2.0", "method": 1, "id": 7})["id"], 7)

    def test_unknown_method(self) -> None:
        answer = self.call("eth_blockNumber")
        self.assertEqual(self.code(answer), -32601)
        self.assertEqual(answer["error"]["message"], "the method eth_blockNumber does not exist")
        self.assertLess(len(self.call("x" * 100_000)["error"]["message"]), 200)

    def test_params_that_do_not_fit(self) -> None:
        for params in ([1], [1, 2, 3], {"minuend": 1}, {"a": 1, "b": 2}, "ab", 5, True):
            self.assertEqual(self.code(self.call("subtract", params)), -32602, params)

    def test_errors(self) -> None:
        self.assertEqual(self.call("refuse")["error"], {"code": -32602, "message": "not that"})
        self.assertEqual(self.call("misset")["error"], {"code": -32602, "message": "not a number"})
        self.assertEqual(self.call("cut")["error"], {"code": -32000, "message": "The cable is cut."})

    def test_a_fault_of_ours_is_logged_and_not_told(self) -> None:
        for method, error in (("secret", RuntimeError), ("strange", TypeError)):
            answer = self.call(method)
            self.assertEqual(self.code(answer), -32603)
            self.assertNotIn("password", json.dumps(answer))
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_a_fault_with_types_inside_a_method_is_not_blamed_on_the_caller(self) -> None:
        self.assertEqual(self.code(self.call("subtract", ["a", "b"])), -32603)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_notifications(self) -> None:
        self.assertEqual(self.raw(b'{"jsonrpc":"2.0","method":"echo"}'), b"")
        self.assertEqual(self.raw(b'{"jsonrpc":"2.0","method":"nothing"}'), b"")
        self.assertEqual(self.raw(b'[{"jsonrpc":"2.0","method":"echo"}]'), b"")

    def test_later(self) -> None:
        answer = self.registry.answer(b'{"jsonrpc":"2.0","id":1,"method":"later"}')
        self.assertNoResult(answer)
        self.waiting.callback(5)
        self.assertEqual(json.loads(self.successResultOf(answer))["result"], 5)

    def test_failing_later(self) -> None:
        answer = self.registry.answer(b'{"jsonrpc":"2.0","id":1,"method":"later"}')
        self.waiting.errback(Dangerous())
        self.assertEqual(json.loads(self.successResultOf(answer))["error"]["code"], -32000)

    def test_cancelling_gives_up_the_call(self) -> None:
        given_up = []
        self.waiting = Deferred(given_up.append)
        answer = self.registry.answer(b'[{"jsonrpc":"2.0","id":1,"method":"later"}]')
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(given_up, [self.waiting])

    def test_batch(self) -> None:
        call = {"jsonrpc": "2.0", "method": "echo", "params": [1]}
        answers = self.ask([{**call, "id": 1}, call, 5, {**call, "id": "x"}])
        self.assertEqual([answer["id"] for answer in answers], [1, None, "x"])
        self.assertEqual(answers[1]["error"]["code"], -32600)

    def test_batch_cap(self) -> None:
        call = {"jsonrpc": "2.0", "method": "echo", "id": 1}
        self.assertEqual(len(self.ask([call] * MAX_BATCH)), MAX_BATCH)
        for batch in ([], [call] * (MAX_BATCH + 1)):
            self.assertEqual(self.code(self.ask(batch)), -32600)

    def test_answer_cap(self) -> None:
        big = {"jsonrpc": "2.0", "method": "echo", "params": ["x" * 400], "id": 1}
        called = []
        self.registry.register("count", lambda: called.append(1))
        with patch.object(registry, "MAX_ANSWER", 1000):
            answers = self.ask([*[big] * 5, {"jsonrpc": "2.0", "method": "count", "id": 2}])
            self.assertEqual(self.code(self.call("echo", ["x" * 2000])), -32003)
        self.assertIn("result", answers[0])
        self.assertEqual([self.code(answer) for answer in answers[2:]], [-32003] * 4)
        self.assertEqual(called, [], "a call was made whose answer had no room")

    def test_no_call_is_made_after_an_answer_too_large(self) -> None:
        called: list[int] = []

        def ask() -> str:
            called.append(1)
            return "x" * 2000

        self.registry.register("long", ask)
        one = {"jsonrpc": "2.0", "method": "long", "id": 1}
        for batch in ([one] * 5, [{"jsonrpc": "2.0", "method": "long"}] * 5):
            with patch.object(registry, "MAX_ANSWER", 1000):
                self.successResultOf(self.registry.answer(json.dumps(batch).encode()))
            self.assertEqual(len(called), 1)
            called.clear()

    def test_a_name_is_taken_once(self) -> None:
        self.assertRaises(ValueError, self.registry.register, "echo", len)
        self.assertEqual(self.registry.names()[0], "cut")

    def test_a_child_has_its_own_first(self) -> None:
        child = Registry(self.registry)
        child.register("echo", lambda: "mine")
        child.register("extra", lambda: 1)
        self.assertEqual(set(child.names()), {*self.registry.names(), "extra"})
        for method, params, result in (("echo", [], "mine"), ("subtract", [3, 2], 1), ("extra", [], 1)):
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
            self.assertEqual(json.loads(self.successResultOf(child.answer(body)))["result"], result)
        self.assertEqual(self.call("echo")["result"], [])
        self.assertEqual(self.code(self.call("extra")), -32601)

    @given(st.binary(max_size=200))
    def test_any_bytes_get_an_answer(self, body: bytes) -> None:
        self.assertIn("error", json.loads(self.raw(body)))

    @given(_JSON)
    def test_any_json_gets_an_answer(self, value: object) -> None:
        answer = self.raw(json.dumps(value).encode())
        for each in json.loads(answer) if answer.startswith(b"[") else [json.loads(answer)]:
            self.assertIn(each["error"]["code"], (-32700, -32600))
