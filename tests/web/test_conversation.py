"""
A conversation: answers in order, events to who asked, and what a listener costs that does not read.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.events import Feed, HeadChanged, PeerAdded
from ethp2p.web.conversation import MAX_LISTENERS, MAX_QUEUED, MAX_SUBSCRIPTIONS, MAX_WAITING, Switchboard
from ethp2p.web.service import nodeRegistry
from tests.web.support import FakeNode
from tests.web.test_notices import DROPPED, ENDS, PEER

ADDED = PeerAdded(peer=PEER, shared=("eth/69",))


class FakeLine:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.reading = True
        self.closed = False
        self.room: int | None = None
        self.conversation: Any = None

    def sendText(self, text: bytes) -> None:
        self.sent.append(text)
        if self.room is not None:
            self.room -= 1
            if self.room == 0:
                self.conversation.congested()

    def pauseReading(self) -> None:
        assert self.reading
        self.reading = False

    def resumeReading(self) -> None:
        assert not self.reading
        self.reading = True

    def hangUp(self) -> None:
        self.closed = True

    def take(self) -> list[Any]:
        sent, self.sent = self.sent, []
        return [json.loads(text) for text in sent]


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = FakeNode()
        self.waiting: list[Deferred[object]] = []
        registry = nodeRegistry(self.node)
        registry.register("later", self.later)
        self.switchboard = Switchboard(registry, self.node)
        self.line = self.connect()

    def later(self) -> Deferred[object]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def connect(self) -> FakeLine:
        line = FakeLine()
        line.conversation = self.switchboard.talk(line)
        return line

    def ask(self, method: str, *params: object, request_id: int = 1, line: FakeLine | None = None) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        (line or self.line).conversation.heard(body.encode())

    def call(self, method: str, *params: object, line: FakeLine | None = None) -> Any:
        self.ask(method, *params, line=line)
        [answer] = (line or self.line).take()
        return answer.get("result", answer.get("error", {}).get("code"))

    def results(self) -> list[Any]:
        """What subscriptions told since the last time."""
        return [notice["params"]["result"] for notice in self.line.take()]

    def test_calls(self) -> None:
        self.assertEqual(self.call("net_version"), "11155111")
        self.assertEqual(self.call("nothing"), -32601)
        self.line.conversation.heard(b'[{"jsonrpc":"2.0","id":1,"method":"net_version"}, 5]')
        self.assertEqual(len(self.line.take()[0]), 2)

    def test_a_notification_is_not_answered(self) -> None:
        self.line.conversation.heard(b'{"jsonrpc":"2.0","method":"net_version"}')
        self.assertEqual(self.line.sent, [])

    def test_answers_come_in_order(self) -> None:
        self.ask("later", request_id=1)
        self.ask("net_version", request_id=2)
        self.ask("later", request_id=3)
        self.assertEqual(self.line.sent, [])
        self.assertEqual(len(self.waiting), 1, "the third call was made before the first was answered")
        self.waiting[0].callback("a")
        self.assertEqual([(each["id"], each["result"]) for each in self.line.take()], [(1, "a"), (2, "11155111")])
        self.waiting[1].callback("b")
        self.assertEqual(self.line.take()[0]["result"], "b")

    def test_calls_that_wait_have_a_cap(self) -> None:
        self.ask("later")
        big = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "web3_sha3", "params": ["0x" + "00" * 1000]}).encode()
        while self.line.reading:
            self.assertLessEqual(self.line.conversation._size, MAX_WAITING)
            self.line.conversation.heard(big)
        self.waiting[0].callback(None)
        self.assertTrue(self.line.reading)
        self.assertEqual(self.line.conversation._size, 0)
        self.assertGreater(len(self.line.sent), MAX_WAITING // len(big))

    def test_no_call_is_made_for_who_does_not_read(self) -> None:
        self.line.conversation.congested()
        self.ask("later")
        self.ask("net_version")
        self.assertEqual((self.line.sent, self.waiting), ([], []))
        self.line.conversation.relieved()
        self.waiting[0].callback(1)
        self.assertEqual(len(self.line.take()), 2)

    def test_congestion_between_two_calls(self) -> None:
        self.line.room = 1
        self.line.conversation.congested()
        for request_id in range(3):
            self.ask("net_version", request_id=request_id)
        for request_id in range(3):
            self.line.room = 1
            self.line.conversation.relieved()
            self.assertEqual([answer["id"] for answer in self.line.take()], [request_id])

    def test_peer_events(self) -> None:
        subscription = self.call("admin_subscribe", "peerEvents")
        self.node.feed.publish(ADDED)
        self.node.feed.publish(HeadChanged(number=1, hash=b"\x01"))
        self.node.feed.publish(DROPPED)
        added, dropped = self.line.take()
        self.assertEqual(
            added,
            {
                "jsonrpc": "2.0",
                "method": "admin_subscription",
                "params": {
                    "subscription": subscription,
                    "result": {"type": "add", **ENDS},
                },
            },
        )
        self.assertEqual(dropped["params"]["result"]["type"], "drop")

    def test_household_events(self) -> None:
        self.call("ethp2p_subscribe", "events")
        self.node.feed.publish(HeadChanged(number=1, hash=b"\x01"))
        [notice] = self.line.take()
        self.assertEqual(notice["method"], "ethp2p_subscription")
        self.assertEqual(notice["params"]["result"]["hash"], "0x01")

    def test_two_subscriptions(self) -> None:
        first, second = self.call("admin_subscribe", "peerEvents"), self.call("ethp2p_subscribe", "events")
        self.assertNotEqual(first, second)
        self.node.feed.publish(ADDED)
        self.assertEqual([notice["params"]["subscription"] for notice in self.line.take()], [first, second])

    def test_the_id_comes_before_the_first_event(self) -> None:
        def busy() -> Deferred[object]:
            self.node.feed.publish(ADDED)
            return self.later()

        self.switchboard.registry.register("busy", busy)
        calls = [("admin_subscribe", ["peerEvents"]), ("busy", [])]
        batch = [{"jsonrpc": "2.0", "id": 1, "method": method, "params": params} for method, params in calls]
        self.line.conversation.heard(json.dumps(batch).encode())
        self.node.feed.publish(DROPPED)
        self.assertEqual(self.line.sent, [])
        self.waiting[0].callback(None)
        answers, *notices = self.line.take()
        self.assertEqual(answers[0]["result"], notices[0]["params"]["subscription"])
        self.assertEqual([notice["params"]["result"]["type"] for notice in notices], ["add", "drop"])

    def test_unsubscribe(self) -> None:
        for namespace, topic in (("admin", "peerEvents"), ("ethp2p", "events")):
            subscription = self.call(f"{namespace}_subscribe", topic)
            self.assertIs(self.call(f"{namespace}_unsubscribe", subscription), True)
            self.assertEqual(self.call(f"{namespace}_unsubscribe", subscription), -32000)
        self.node.feed.publish(ADDED)
        self.assertEqual(self.line.sent, [])
        self.assertEqual((self.node.feed._sinks, self.switchboard.listeners.used), ([], 0))

    def test_no_such_subscription(self) -> None:
        for method, params in (
            ("admin_subscribe", ["events"]),
            ("ethp2p_subscribe", ["peerEvents"]),
            ("admin_subscribe", ["x" * 100_000]),
            ("admin_subscribe", [None]),
            ("admin_subscribe", [[]]),
        ):
            self.assertEqual(self.call(method, *params), -32601)
        for params in ([], ["peerEvents", 1]):
            self.assertEqual(self.call("admin_subscribe", *params), -32602)
        for subscription in ("0x9", None, [], {}, 1):
            self.assertEqual(self.call("admin_unsubscribe", subscription), -32000)

    def test_subscriptions_of_one_connection_have_a_cap(self) -> None:
        ids = [self.call("admin_subscribe", "peerEvents") for _ in range(MAX_SUBSCRIPTIONS)]
        self.assertEqual(len(set(ids)), MAX_SUBSCRIPTIONS)
        self.assertEqual(self.call("ethp2p_subscribe", "events"), -32000)
        self.call("admin_unsubscribe", ids[0])
        self.assertIsInstance(self.call("ethp2p_subscribe", "events"), str)

    def test_listeners_have_a_cap_and_leave_room_for_the_node(self) -> None:
        self.assertLess(2 * MAX_LISTENERS, Feed.MAX_SUBSCRIBERS, "a WebService and an IPCService together")
        lines = [self.connect() for _ in range(MAX_LISTENERS)]
        for line in lines:
            self.assertIsInstance(self.call("admin_subscribe", "peerEvents", line=line), str)
        self.assertEqual(self.call("admin_subscribe", "peerEvents"), -32000)
        lines[0].conversation.over()
        self.assertIsInstance(self.call("admin_subscribe", "peerEvents"), str)

    def test_a_feed_that_is_full(self) -> None:
        for _ in range(Feed.MAX_SUBSCRIBERS):
            self.node.feed.queue(1)
        self.assertEqual(self.call("admin_subscribe", "peerEvents"), -32000)
        self.assertEqual(self.switchboard.listeners.used, 0)

    def test_a_slow_reader_loses_the_oldest_and_is_told(self) -> None:
        self.call("ethp2p_subscribe", "events")
        self.line.conversation.congested()
        for number in range(MAX_QUEUED + 5):
            self.node.feed.publish(HeadChanged(number=number, hash=b""))
        self.assertEqual(self.line.sent, [])
        self.line.conversation.relieved()
        gap, *told = self.results()
        self.assertEqual(gap, {"kind": "sink_gap", "lost": 5})
        self.assertEqual([event["number"] for event in told], list(range(5, MAX_QUEUED + 5)))
        self.node.feed.publish(HeadChanged(number=0, hash=b""))
        self.assertEqual([event["number"] for event in self.results()], [0])

    def test_a_slow_reader_of_peer_events(self) -> None:
        self.call("admin_subscribe", "peerEvents")
        self.line.conversation.congested()
        for _ in range(MAX_QUEUED + 1):
            self.node.feed.publish(ADDED)
        self.line.conversation.relieved()
        self.assertEqual(self.results()[0], {"type": "sink_gap", "lost": 1})

    def test_congestion_between_two_events(self) -> None:
        self.call("ethp2p_subscribe", "events")
        self.line.room = 2
        for number in range(5):
            self.node.feed.publish(HeadChanged(number=number, hash=b""))
        told = self.results()
        for room in (1, 2, 2):
            self.line.room = room
            self.line.conversation.relieved()
            told += self.results()
        self.assertEqual([event["number"] for event in told], list(range(5)))

    def test_the_end_forgets_everything(self) -> None:
        given_up: list[object] = []
        self.switchboard.registry.register("for ever", lambda: Deferred(given_up.append))
        self.call("admin_subscribe", "peerEvents")
        self.call("ethp2p_subscribe", "events")
        self.ask("for ever")
        self.ask("net_version")
        for _ in range(2):
            self.line.conversation.over()
        self.assertEqual(len(given_up), 1)
        self.ask("net_version")
        self.node.feed.publish(ADDED)
        self.line.conversation.relieved()
        self.assertEqual((self.line.sent, self.node.feed._sinks, self.switchboard.listeners.used), ([], [], 0))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_method_that_does_not_give_up(self) -> None:
        async def stubborn() -> str:
            try:
                await Deferred()
            except CancelledError:
                return "anyway"
            return "never"

        self.switchboard.registry.register("stubborn", stubborn)
        self.ask("stubborn")
        self.line.conversation.over()
        self.assertEqual(self.line.sent, [])

    def test_garbage(self) -> None:
        self.call("admin_subscribe", "peerEvents")
        self.line.conversation.garbage("not this")
        self.line.conversation.garbage("not this")
        self.assertEqual(
            self.line.take(), [{"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not this"}}]
        )
        self.assertTrue(self.line.closed)
        self.node.feed.publish(ADDED)
        self.assertEqual(self.line.sent, [])
