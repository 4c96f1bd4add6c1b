"""
The feed: who hears what, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ethp2p.events import BanAdded, Feed, HeadChanged, PeerAdded, PeerDropped, PeerStatus
from ethp2p.interfaces import IEventSink
from tests.node.support import Diary, Town


@implementer(IEventSink)
@attrs.define
class List:
    """Equal to any other that has heard the same."""

    heard: list[object] = attrs.Factory(list)

    def eventHappened(self, event: object) -> None:
        self.heard.append(event)


@implementer(IEventSink)
@attrs.define
class Acting:
    """Does something about what it hears."""

    act: Callable[[object], object]

    def eventHappened(self, event: object) -> None:
        self.act(event)


class SubscribingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.feed = Feed()

    def test_equal_subscribers(self) -> None:
        """Who unsubscribes is the one that hears no more, though another be equal to it."""
        first, second = List(), List()
        self.feed.subscribe(first)
        self.feed.subscribe(second)()
        self.feed.publish("event")
        self.assertEqual((first.heard, second.heard), (["event"], []))

    def test_twice(self) -> None:
        """Who has subscribed twice hears once more after one of the two is over, however often that is said."""
        sink = List()
        self.feed.subscribe(sink)
        stop = self.feed.subscribe(sink)
        stop()
        stop()
        self.feed.publish("event")
        self.assertEqual(sink.heard, ["event"])

    def test_unsubscribed_by_one_before(self) -> None:
        """Who is unsubscribed by one that hears first does not hear even that."""
        deaf = List()
        self.feed.subscribe(Acting(lambda _: stop()))
        stop = self.feed.subscribe(deaf)
        self.feed.publish("event")
        self.assertEqual(deaf.heard, [])


class OrderTests(SynchronousTestCase):
    def test_caused(self) -> None:
        """What a subscriber causes by what it hears, all hear after that."""
        town = Town()
        node, _ = town.node(1)

        def banish(event: object) -> None:
            if isinstance(event, PeerStatus):
                for peer in node.ethPeers():
                    peer.session.abort()
            elif isinstance(event, PeerDropped):
                node.household.ban(event.peer.node_id.hex(), 60, "left")

        diary = Diary()
        node.feed.subscribe(Acting(banish))
        node.feed.subscribe(diary)
        town.node(2, listen=False, staticPeers=[town.address(1)])
        town.network.advance(1.0)
        kinds = (PeerAdded, PeerStatus, PeerDropped, BanAdded)
        self.assertEqual([type(event) for event in diary.events if isinstance(event, kinds)], list(kinds))

    def test_circle(self) -> None:
        """A subscriber that answers each event with another is stopped and logged; the feed works on."""
        self.patch(Feed, "MAX_CAUSED", 64)
        feed, heard = Feed(), List()
        feed.subscribe(Acting(lambda event: feed.publish(event)))
        feed.subscribe(heard)
        feed.publish("round")
        self.assertEqual(heard.heard, ["round"] * (feed.MAX_CAUSED + 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        feed.publish("again")
        self.assertEqual(heard.heard[-1], "again")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_more_and_more(self) -> None:
        """Nor does one that answers each event with two of them make the feed hold more than so many."""
        self.patch(Feed, "MAX_CAUSED", 64)
        feed, heard = Feed(), List()
        feed.subscribe(Acting(lambda event: (feed.publish(event), feed.publish(event))))
        feed.subscribe(heard)
        feed.publish("round")
        self.assertEqual(len(heard.heard), 65)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))

    def test_many_at_once(self) -> None:
        """One event may cause any number of others."""
        feed, heard = Feed(), List()

        def tell(event: object) -> None:
            if event == "begin":
                for number in range(1000):
                    feed.publish(HeadChanged(number=number, hash=bytes(32)))

        feed.subscribe(Acting(tell))
        feed.subscribe(heard)
        feed.publish("begin")
        self.assertEqual([getattr(event, "number", event) for event in heard.heard], ["begin", *range(1000)])
