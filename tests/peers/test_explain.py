"""
Why somebody is no peer: of each kind of failure its own sentence, within five seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Netrestrict, Node
from ethp2p.errors import ConfigError, DisconnectReason, Offence
from ethp2p.events import DialFailed, PeerDropped, Refused
from ethp2p.peers.backoff import Cause
from ethp2p.peers.dialing import DIAL_TIMEOUT
from ethp2p.peers.explain import SENTENCES
from tests.peers.toy_wire import PORT, Home, ToyTestCase, key


class Found:
    """Discovery that finds these, and then nobody."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = list(nodes)

    def nextNode(self) -> Deferred[Node]:
        return succeed(self._nodes.pop(0)) if self._nodes else Deferred()


class Silent(Protocol):
    """Answers nothing."""


class DialedTests(ToyTestCase):
    """Those that we call."""

    def called(self, one: Home, node: Node, happened: Callable[[], object], limit: float = 60.0) -> str:
        """Have a node found, and ask when it has happened.  @return: what an operator is told."""
        one.household.dialing.seekFrom(Found(node))
        self.network.run_until(happened, limit)
        at = self.network.now
        verdict = one.verdict(node.url)
        self.assertLess(self.network.now - at, 5.0)
        self.assertEqual(one.verdict(node.node_id.hex()), verdict)
        return verdict

    def failed(self, one: Home) -> Callable[[], object]:
        return lambda: one.of(DialFailed) or one.of(PeerDropped)

    def refused(self) -> str:
        one, nobody = self.home(1), self.network.host("10.0.0.9")
        node = Node(key(9).public_key, nobody.addresses[0], PORT)
        return self.called(one, node, self.failed(one))

    def silent(self) -> str:
        one = self.home(1)
        node = Node(key(9).public_key, "10.0.0.8", PORT)
        return self.called(one, node, self.failed(one), DIAL_TIMEOUT + 1.0)

    def unreachable(self) -> str:
        one = self.home(1)
        return self.called(one, Node(key(9).public_key, "nowhere.example", PORT), self.failed(one))

    def mute(self) -> str:
        one, host = self.home(1), self.network.host("10.0.0.7")
        host.listenTCP(PORT, Factory.forProtocol(Silent))
        return self.called(one, Node(key(9).public_key, "10.0.0.7", PORT), self.failed(one))

    def hung_up(self) -> str:
        one, two = self.home(1), self.home(2)
        two.household.ban("10.0.0.1", None, "")
        return self.called(one, two.node, self.failed(one))

    def bad_id(self) -> str:
        one, two = self.home(1), self.home(2)
        return self.called(one, Node(key(9).public_key, two.node.host, PORT), self.failed(one))

    def full(self) -> str:
        one, two = self.home(1), self.home(2, max_peers=1)
        return self.called(one, two.node, self.failed(one))

    def useless(self) -> str:
        one, two = self.home(1), self.home(2, languages=("latin/1",))
        return self.called(one, two.node, self.failed(one))

    def other_chain(self) -> str:
        one, two = self.home(1), self.home(2)
        ready = one.household.sessions.ready

        def foreign(session: Any) -> None:
            one.household.sessions.offenceSeen(session, Offence.WRONG_CHAIN, "its genesis is another")
            session.disconnect(DisconnectReason.SUBPROTOCOL_ERROR, "its genesis is another")

        one.household.sessions.ready = foreign  # type: ignore[method-assign]
        self.addCleanup(setattr, one.household.sessions, "ready", ready)
        return self.called(one, two.node, self.failed(one))

    def other_chain_by_record(self) -> str:
        one, two = self.home(1), self.home(2)
        one.household.dialing._stranger = lambda node: "its record tells of another fork"
        return self.called(one, two.node, lambda: one.household.books.journeys.funnel()["failures"])

    def banned(self) -> str:
        one, two = self.home(1), self.home(2)
        one.household.ban(two.node.url, None, "it lied")
        return self.called(one, two.node, lambda: one.household.books.dialer.candidates)

    def netrestrict(self) -> str:
        one, two = self.home(1, netrestrict=Netrestrict.parse("10.0.0.0/8")), self.public(2)
        return self.called(one, two.node, lambda: one.household.books.dialer.candidates)

    def self_(self) -> str:
        one = self.home(1)
        return self.called(one, one.node, lambda: one.household.books.dialer.candidates)

    def refused_client(self) -> str:
        one, two = self.home(1, refuse_clients=("^evil",)), self.home(2, client="evil/1")
        return self.called(one, two.node, self.failed(one))

    def quitting(self) -> str:
        one, two = self.home(1), self.home(2)
        one.household.addPeer(two.node)
        self.network.run_until(lambda: two.peers)
        two.household.stopService()
        return self.called(one, two.node, self.failed(one))

    def lost(self) -> str:
        one, two = self.home(1), self.home(2)
        one.household.addPeer(two.node)
        self.network.run_until(lambda: two.peers)
        two.session(one).abort()
        return self.called(one, two.node, self.failed(one))

    def test_each_has_its_sentence(self) -> None:
        """What an operator reads of each, and no two are the same."""
        told: dict[str, str] = {}
        for case, words in [
            (self.refused, "Nobody listens at its address, when it was called: "),
            (self.silent, "It did not answer in time, when it was called: "),
            (self.unreachable, "There is no way to its address, when it was called: "),
            (self.mute, "It did not answer in time, when it was called: we disconnected: ping timeout"),
            (self.hung_up, "It hung up at once, as who has another key does, or who does not let us in"),
            (self.bad_id, "somebody else answered"),
            (self.full, "All places were taken, when it was called: the peer disconnected: too many peers"),
            (self.useless, "The two had nothing to talk about, when it was called: "),
            (self.other_chain, "It follows another chain, when it was called: "),
            (self.other_chain_by_record, "its record tells of another fork"),
            (self.banned, "It is banned for ever: it lied."),
            (self.netrestrict, "It is not one to have to do with: 20.0.2.1 is outside 10.0.0.0/8."),
            (self.self_, "This is the node itself."),
            (self.refused_client, "A rule of the operator keeps it out, when it was called: "),
            (self.quitting, "It was about to stop, when it was called: "),
            (self.lost, "The connection was lost, when it was called: "),
        ]:
            self.network = type(self.network)()
            verdict = case()
            self.assertIn(words, verdict, case.__name__)
            told[case.__name__] = verdict
        self.assertEqual(len(set(told.values())), len(told), told)

    def test_asking_by_address(self) -> None:
        """The same at its address, when it is the only one that was met there."""
        self.refused()
        one = self.home(2)
        one.ring(one.node)
        self.network.advance(1.0)
        self.assertEqual(one.verdict("10.0.0.2"), "This is the node itself.")
        self.assertEqual(one.household.explain("10.0.0.99").next, "no single node is known at this address")

    def test_next(self) -> None:
        """When it is called again, or why not."""
        one, two = self.home(1), self.home(2)
        one.household.addPeer(two.node)
        self.assertEqual(one.verdict(two), "It is being called now.")
        self.network.run_until(lambda: one.peers)
        known = one.household.explain(two.node.url)
        self.assertEqual((known.next, known.verdict), ("it is here", "It is a peer. We called it 0 s ago."))
        two.host.vanish()
        one.session(two).abort()
        self.network.advance(20.0)
        self.assertRegex(one.household.explain(two.node.url).next, r"called again in \d+ s|being called")
        self.assertEqual(one.household.explain(key(9).public_key.node_id.hex()).next, "nobody has told where it is")


class InboundTests(ToyTestCase):
    """Those that call us."""

    def called(self, one: Home, two: Home) -> str:
        two.ring(one)
        self.network.run_until(lambda: one.of(Refused) or one.of(PeerDropped))
        self.network.advance(0.5)
        return one.verdict(two.node.url)

    def test_each_has_its_sentence(self) -> None:
        told = []
        near = Netrestrict.parse("10.0.0.0/8")
        for policy, options, words in [
            ({"max_peers": 1}, {}, "All places were taken, when it called: we disconnected: too many peers"),
            ({}, {"languages": ("latin/1",)}, "The two had nothing to talk about, when it called: "),
            ({"refuse_clients": ("^evil",)}, {"client": "evil/1"}, "clients like '^evil' are refused"),
            ({"netrestrict": near}, {}, "It is not one to have to do with: 20.0.2.1 is outside 10.0.0.0/8."),
        ]:
            self.network = type(self.network)()
            verdict = self.called(self.home(1, **policy), self.public(2, **options))
            self.assertIn(words, verdict)
            told.append(verdict)
        self.assertEqual(len(set(told)), 4)

    def test_at_the_door(self) -> None:
        """Who was sent away unknown can be asked after by its address, or by its id if that is known from elsewhere."""
        one, two = self.public(1), self.public(2)
        self.meet(one, two)
        one.session(two).disconnect(DisconnectReason.REQUESTED)
        self.network.advance(1.0)
        self.assertIn("The connection was ended on purpose, when it called", one.verdict(two))
        two.ring(one)
        self.network.advance(1.0)
        for who in ("20.0.2.1", two.node.url):
            self.assertRegex(one.verdict(who), r"It called, and was not let in: called again too soon, may in 2\d s\.")
        self.network.advance(40.0)
        two.ring(one)
        self.network.advance(1.0)
        self.assertIn("It is a peer. It called us 1 s ago.", one.verdict("20.0.2.1"))

    def test_banned_address(self) -> None:
        """A ban of the address is shown whichever way one asks."""
        one, two = self.public(1), self.public(2)
        self.meet(one, two)
        one.household.ban("20.0.2.1", None, "too loud")
        self.network.advance(1.0)
        for who in ("20.0.2.1", two.node.url, two.node.node_id.hex()):
            self.assertEqual(one.verdict(who), "It is banned for ever: too loud.")
            self.assertEqual([attempt.cause for attempt in one.household.explain(who).attempts], [Cause.BANNED])

    def test_several(self) -> None:
        """At an address where several were met none is singled out."""
        one, two = self.home(1), self.home(2)
        three = self.home(3, host=two.host, ports=(8,))
        self.meet(one, two, three)
        known = one.household.explain("10.0.0.2")
        self.assertEqual(known.verdict, "2 nodes are known at this address.")
        self.assertEqual(set(known.others), {two.node.node_id, three.node.node_id})

    def test_unknown(self) -> None:
        one = self.home(1)
        node = key(9).public_key
        self.assertIn("Nothing is known of it", one.verdict(node.node_id.hex()))
        self.assertIn("Nothing is known of it", one.verdict("192.0.2.1"))
        for subject in ("192.0.2.0/24", "somebody", ""):
            self.assertRaises(ConfigError, one.household.explain, subject)

    def test_ledger(self) -> None:
        """The evidence is there, the newest first."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        for evidence in ("first", "second"):
            one.household.sessions.offenceSeen(one.session(two), Offence.TIMEOUT, evidence)
        known = one.household.explain(two.node.url)
        self.assertEqual(([entry.evidence for entry in known.ledger], round(known.score)), (["second", "first"], 42))


class SentenceTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Every cause has one, and no two the same."""
        self.assertEqual(set(SENTENCES), set(Cause))
        self.assertEqual(len(set(SENTENCES.values())), len(SENTENCES))
