"""
What a household holds of whom: bans, reputation, and what it knows from the last time.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail

from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason, Offence
from ethp2p.events import BanAdded, BanRemoved, OffenceBooked, PeerDropped, Refused, ScoreChanged
from ethp2p.peers import bans, dialer, keeping, roster
from ethp2p.peers.bans import Ban, Scope
from ethp2p.peers.dialer import GOOD_SESSION, MAX_FORMER, MAX_STATIC_PEERS
from ethp2p.peers.household import MAX_BAN
from ethp2p.peers.keeping import FLUSH, MAX_WAITING
from ethp2p.peers.roster import MAX_TRUSTED
from ethp2p.peers.store import KnownPeer, MemoryPeerStore, SqlitePeerStore, StoreFailed
from tests.peers.toy_wire import EPOCH, Home, ToyTestCase, key

REQUESTED = DisconnectReason.REQUESTED


class BanTests(ToyTestCase):
    def banned(self, home: Home, subject: str, seconds: float | None = None) -> Ban:
        ban, kept = self.successResultOf(home.household.ban(subject, seconds, "a test"))
        self.assertTrue(kept)
        return ban  # type: ignore[no-any-return]

    def test_everywhere(self) -> None:
        """A node, an address and a network: who is here has to go, nobody comes in, nobody is called."""
        for address, subject, scope in [
            ("20.0.2.1", key(2).public_key.node_id.hex(), "node"),
            ("20.0.2.1", "20.0.2.1", "ip"),
            ("20.0.2.1", "20.0.2.0/24", "subnet"),
        ]:
            self.network = type(self.network)()
            one, two = self.public(1, inbound_throttle=0), self.home(2, address)
            self.meet(one, two)
            one.household.addPeer(two.node)
            ban = self.banned(one, subject)
            [added] = one.of(BanAdded)
            self.assertEqual((ban.scope.value, added.scope, added.by), (scope, scope, "operator"))
            self.network.advance(1.0)
            self.assertEqual((one.peers, two.goodbyes), (set(), [(REQUESTED, "banned: a test")]))
            two.ring(one)
            self.network.advance(100.0)
            [refused] = one.of(Refused)
            self.assertEqual((refused.rule, refused.node_id is None), ("banned", scope != "node"))
            self.assertEqual((one.peers, one.household.dialing.attempts), (set(), 0))
            for who in (two, address) if scope != "node" else (two,):
                self.assertEqual(one.verdict(who), "It is banned for ever: a test.")

    def test_expiry(self) -> None:
        """A ban ends when its time is over; that is told, and everybody is as before."""
        one, two = self.home(1), self.home(2)
        one.household.addPeer(two.node)
        self.network.run_until(lambda: one.peers)
        ban = self.banned(one, two.node.url, 90.5)
        self.assertEqual(ban.until, ban.since + 91)
        self.network.advance(1.0)
        self.assertIn("It is banned until 2023-11-14 22:14:51+00:00: a test.", one.verdict(two))
        self.network.advance(84.0)
        self.assertEqual((one.peers, one.of(BanRemoved)), (set(), []))
        self.network.advance(10.0)
        [removed] = one.of(BanRemoved)
        self.assertEqual((removed.subject, removed.why), (two.node.node_id.hex(), "expired"))
        self.assertEqual(len(one.household.books.bans), 0)
        self.network.run_until(lambda: one.peers, limit=10.0)

    def test_unban(self) -> None:
        """A ban that is lifted is over at once, and the node has a fresh start."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        books = one.household.books
        for _ in range(2):
            one.household.sessions.offenceSeen(one.session(two), Offence.BAD_DATA, "a lie")
        self.network.advance(1.0)
        self.assertEqual((len(books.bans), one.peers), (1, set()))
        self.assertTrue(self.successResultOf(one.household.unban(two.node.node_id.hex())))
        self.assertFalse(self.successResultOf(one.household.unban(two.node.node_id.hex())))
        self.assertEqual([removed.why for removed in one.of(BanRemoved)], ["lifted"])
        self.assertEqual(books.reputation.score(two.node.node_id, one.wheel.seconds()), 50.0)
        self.meet(one, two)

    def test_bad_values(self) -> None:
        """A ban of nothing, or for no time, is refused."""
        one = self.home(1)
        for subject, seconds in [("nobody", None), ("0.0.0.0/0", None), ("192.0.2.1", 0), ("192.0.2.1", 2 * MAX_BAN)]:
            self.assertRaises(ConfigError, one.household.ban, subject, seconds, "")
        self.assertEqual(len(one.household.books.bans), 0)

    def test_operator_stands_above(self) -> None:
        """A ban for offences does not shorten the operator's."""
        one, two = self.home(1, reputation_dry_run=False), self.home(2)
        self.meet(one, two)
        session = one.session(two)
        ban = self.banned(one, two.node.node_id.hex())
        one.household.sessions.offenceSeen(session, Offence.BAD_PROTOCOL, "broke it")
        self.assertEqual(list(one.household.books.bans), [ban])

    def test_no_room_for_the_ban(self) -> None:
        """Who is to be banned goes, even when the list is full of bans that stand above."""
        self.patch(bans, "MAX_BANS", 1)
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        self.banned(one, "192.0.2.1")
        one.household.sessions.offenceSeen(one.session(two), Offence.BAD_PROTOCOL, "broke it")
        self.network.advance(1.0)
        self.assertEqual((one.peers, len(one.household.books.bans)), (set(), 1))


class ReputationTests(ToyTestCase):
    def offend(self, home: Home, other: Home, times: int, offence: Offence = Offence.TIMEOUT) -> None:
        for number in range(times):
            if offence is Offence.TIMEOUT:
                home.household.sessions.requestDone(
                    home.session(other), f"Question{number}", 0, 0, 10.0, result="timeout"
                )
            else:
                home.household.sessions.offenceSeen(home.session(other), offence, "a lie")

    def test_time_outs(self) -> None:
        """Who does not answer is told to go; who comes back and goes on so is banned, for as long as the policy has."""
        one, two = self.home(1, ban_seconds=600.0), self.home(2)
        self.meet(one, two)
        self.offend(one, two, 7)
        self.network.advance(0.5)
        self.assertIn(two.node.node_id, one.peers)
        self.offend(one, two, 1)
        self.network.advance(0.5)
        [dropped] = one.of(PeerDropped)
        self.assertEqual((dropped.reason, dropped.by_us), (DisconnectReason.USELESS_PEER, True))
        self.assertIn("its reputation has sunk to 18 of 100: no answer to Question0 in 10.0 s", dropped.detail)
        actions = []
        while not one.of(BanAdded):
            self.meet(one, two)
            self.offend(one, two, 1)
            self.network.advance(0.5)
            actions.append(one.of(ScoreChanged)[-1].action)
        self.assertEqual(actions, ["disconnect"] * 3 + ["ban"])
        [ban] = one.of(BanAdded)
        self.assertEqual((ban.by, round(ban.until - EPOCH - self.network.now, -1)), ("reputation", 600))
        self.assertIn("did not answer in time: no answer to Question0", ban.reason)
        self.assertEqual(one.peers, set())
        self.assertEqual(len(one.of(OffenceBooked)), 12)

    def test_dry_run(self) -> None:
        """In a dry run all is told, and nothing follows."""
        one, two = self.home(1, reputation_dry_run=True), self.home(2)
        self.meet(one, two)
        self.offend(one, two, 3, Offence.BAD_PROTOCOL)
        self.network.advance(1.0)
        self.assertEqual({(score.action, score.dry_run) for score in one.of(ScoreChanged)}, {("ban", True)})
        self.assertEqual((one.of(BanAdded), one.peers), ([], {two.node.node_id}))
        one.household.setPolicy(one.household.books.policy.changed(reputation_dry_run=False))
        self.offend(one, two, 1)
        self.network.advance(1.0)
        self.assertEqual((len(one.of(BanAdded)), one.peers), (1, set()))

    def test_trusted(self) -> None:
        """Nothing follows for who is trusted."""
        one, two = self.home(1), self.home(2)
        one.household.trust(two.node)
        self.meet(one, two)
        self.offend(one, two, 50, Offence.BAD_PROTOCOL)
        self.network.advance(1.0)
        self.assertEqual((one.of(BanAdded), one.peers), ([], {two.node.node_id}))
        self.assertEqual({score.action for score in one.of(ScoreChanged)}, {"none"})

    def test_weights(self) -> None:
        """What an offence costs can be changed while it runs."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        one.household.setPolicy(one.household.books.policy.changed(weights={"timeout": 46.0}))
        self.offend(one, two, 1)
        self.network.advance(1.0)
        self.assertEqual((len(one.of(BanAdded)), one.peers), (1, set()))

    def test_the_reason_that_is_told(self) -> None:
        """Who is banned for what it said hears which rule it broke, not that it is banned."""
        one, two = self.home(1, weights={"bad_message": 100.0}), self.home(2)
        self.meet(one, two)
        two.session(one).say("NONSENSE")
        self.network.run_until(lambda: two.goodbyes)
        self.assertEqual(two.goodbyes, [(DisconnectReason.BREACH_OF_PROTOCOL, "nobody says NONSENSE")])
        self.network.advance(1.0)
        [dropped] = one.of(PeerDropped)
        self.assertEqual((dropped.reason, dropped.detail), two.goodbyes[0])
        self.assertIn("nobody says NONSENSE", one.verdict(two))
        self.assertEqual(len(one.of(BanAdded)), 1)

    def test_merits(self) -> None:
        """Good answers count, and outweigh some that did not come."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        for _ in range(20):
            one.household.sessions.requestDone(one.session(two), "Question", 5, 1000, 1.0, result="ok")
        self.offend(one, two, 10)
        self.network.advance(1.0)
        self.assertEqual(one.peers, {two.node.node_id})
        known = one.household.explain(two.node.url)
        self.assertEqual((round(known.score), len(known.ledger)), (30, 11))

    def test_speed(self) -> None:
        """Who answers faster has the more of it, and who answers with nothing has nothing."""
        one, slow, fast, empty = (self.home(number) for number in (1, 2, 3, 4))
        self.meet(one, slow, fast, empty)
        for other, items, seconds in ((slow, 5, 1.0), (fast, 5, 0.1), (empty, 0, 0.1)):
            one.household.sessions.requestDone(one.session(other), "Question", items, 1000, seconds, result="ok")
        scores = [one.household.explain(other.node.url).score for other in (empty, slow, fast)]
        self.assertEqual([round(score, 1) for score in scores], [50.0, 51.0, 51.5])

    def test_after_the_end(self) -> None:
        """What is reported of a session that is over counts for the peer, and disturbs nothing."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        session = one.session(two)
        session.abort()
        self.network.advance(1.0)
        one.household.sessions.requestDone(session, "Question", 0, 0, 10.0, result="timeout")
        one.household.sessions.ready(session)
        one.household.sessions.offenceSeen(session, Offence.BAD_PROTOCOL, "broke it")
        self.network.advance(1.0)
        self.assertEqual((len(one.of(BanAdded)), len(one.household.sessions)), (1, 0))


class FailingStore(MemoryPeerStore):
    """Does not work when told so; or hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble = ""
        self.hangs = False
        self.hanging: list[Deferred[Any]] = []

    def _do(self, call: Any, *args: Any) -> Deferred[Any]:
        if self.hangs:
            self.hanging.append(Deferred())
            return self.hanging[-1].addCallback(lambda _: self._do(call, *args))
        return fail(StoreFailed(self.trouble)) if self.trouble else call(*args)

    def release(self) -> None:
        self.hangs, hanging, self.hanging = False, self.hanging, []
        for each in hanging:
            each.callback(None)

    def open(self) -> Deferred[None]:
        return self._do(super().open)

    def saveBan(self, ban: Ban) -> Deferred[None]:
        return self._do(super().saveBan, ban)

    def removeBan(self, scope: Scope, subject: str) -> Deferred[None]:
        return self._do(super().removeBan, scope, subject)

    def savePeers(self, peers: Any) -> Deferred[None]:
        return self._do(super().savePeers, peers)


class StoreTests(ToyTestCase):
    def restart(self, home: Home, **options: Any) -> Home:
        """Stop it, and begin again with what it wrote down."""
        self.stop(home)
        return self.home(1, host=home.host, store=SqlitePeerStore(self.path), **options)

    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()

    def test_bans(self) -> None:
        """Bans are there after a restart, those that are over are not."""
        one = self.home(1, store=SqlitePeerStore(self.path))
        for subject, seconds in [("192.0.2.1", None), ("192.0.2.2", 1000), ("198.51.100.0/24", None), ("192.0.2.3", 2)]:
            one.household.ban(subject, seconds, subject)
        one.household.unban("192.0.2.1")
        wanted = [ban for ban in one.household.books.bans if ban.subject != "192.0.2.3"]
        self.stop(one)
        self.network.advance(3.0)
        one = self.home(1, host=one.host, store=SqlitePeerStore(self.path))
        self.network.advance(1.5)
        self.assertEqual(sorted(one.household.books.bans, key=lambda ban: ban.subject), wanted)
        self.assertEqual([removed.subject for removed in one.of(BanRemoved)], ["192.0.2.3"])
        one = self.restart(one)
        self.assertEqual(len(one.household.books.bans), 2)

    def test_peers_added(self) -> None:
        """A peer that was added is called after a restart, at the name that was given; one that was removed is not."""
        self.network.names["two.example"] = "10.0.0.2"
        one, two, three = self.home(1, store=SqlitePeerStore(self.path)), self.home(2), self.home(3)
        named = Node(two.node.public_key, "two.example", two.node.tcp)
        one.household.addPeer(named)
        one.household.addPeer(three.node)
        self.network.run_until(lambda: len(one.peers) == 2, limit=100.0)
        one.household.removePeer(three.node)
        self.network.advance(1.0)
        one = self.restart(one)
        [callee] = one.household.books.dialer.static()
        self.assertEqual((callee.node_id, callee.host), (two.node.node_id, "two.example"))
        self.network.run_until(lambda: two.node.node_id in one.peers, limit=100.0)

    def test_flags(self) -> None:
        """Who is trusted stays so; what is learnt of a peer later takes no flag from it."""
        one, two = self.home(1, store=SqlitePeerStore(self.path)), self.home(2)
        one.household.trust(two.node)
        one.household.addPeer(two.node)
        self.network.run_until(lambda: one.peers)
        one = self.restart(one)
        self.assertEqual(one.household.roster.trusted, {two.node.node_id})
        self.assertEqual(one.household.roster.static, {two.node.node_id})
        one.household.trust(two.node, False)
        one = self.restart(one)
        self.assertEqual(one.household.roster.trusted, set())
        self.assertEqual(one.household.roster.static, {two.node.node_id})

    def test_as_many_as_there_may_be(self) -> None:
        """All static and trusted peers are there after a restart, however many of them there may be."""
        store = MemoryPeerStore()
        nodes = [Node(key(number).public_key, "10.0.0.9", 7) for number in range(2, MAX_TRUSTED + MAX_STATIC_PEERS + 2)]
        pinned = [
            KnownPeer(node_id=node.node_id, url=node.url, trusted=number < MAX_TRUSTED, static=number >= MAX_TRUSTED)
            for number, node in enumerate(nodes)
        ]
        self.successResultOf(store.savePeers(pinned))
        roster = self.home(1, store=store).household.roster
        self.assertEqual((len(roster.trusted), len(roster.static)), (MAX_TRUSTED, MAX_STATIC_PEERS))

    def test_more_than_there_may_be(self) -> None:
        """With those of the configuration: the others are left out, in words, and all else is read."""
        self.patch(roster, "MAX_TRUSTED", 2)
        self.patch(dialer, "MAX_STATIC_PEERS", 2)
        store = FailingStore()
        nodes = [self.home(number).node for number in range(2, 8)]
        store.savePeers([KnownPeer(node_id=node.node_id, url=node.url, trusted=True) for node in nodes[:2]])
        store.savePeers([KnownPeer(node_id=node.node_id, url=node.url, static=True) for node in nodes[2:4]])
        store.savePeers([KnownPeer(node_id=nodes[4].node_id, url=nodes[4].url, last_success=1)])
        store.trouble = "not there"
        one = self.home(1, store=store)
        one.household.roster.trust(nodes[5].node_id)  # as a node does with what it is configured with
        one.household.dialing.addPeer(nodes[5])
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        self.assertEqual((len(one.household.roster.trusted), len(one.household.roster.static)), (2, 2))
        self.assertIn(nodes[4].node_id, one.peers)
        self.assertIn("2 static or trusted peers of the store are over the most there may be", self.log)

    def test_more_good_peers_than_are_called_again(self) -> None:
        """Those that were of use most lately are."""
        store = MemoryPeerStore()
        nodes = [Node(key(number).public_key, "10.0.0.9", 7) for number in range(2, MAX_FORMER + 4)]
        store.savePeers(
            [KnownPeer(node_id=each.node_id, url=each.url, last_success=when) for when, each in enumerate(nodes, 1)]
        )
        dialer = self.home(1, store=store).household.books.dialer
        self.assertEqual(
            [each.node_id for each in nodes if dialer.get(each.node_id) is None], [nodes[0].node_id, nodes[1].node_id]
        )

    def test_of_the_configuration(self) -> None:
        """Who is static and trusted by the configuration alone is so no more when it is taken out of that."""
        one, two = self.home(1, store=SqlitePeerStore(self.path)), self.home(2)
        one.household.roster.trust(two.node.node_id)  # as a node does with what it is configured with
        one.household.dialing.addPeer(two.node)
        self.network.run_until(lambda: one.peers)
        self.network.advance(GOOD_SESSION)
        one = self.restart(one)
        self.assertEqual((one.household.roster.trusted, one.household.roster.static), (set(), set()))
        self.network.run_until(lambda: one.peers)  # a good peer it was
        one.household.trust(two.node)
        one.household.addPeer(two.node)
        one = self.restart(one)
        self.assertEqual((one.household.roster.trusted, one.household.roster.static), ({two.node.node_id},) * 2)

    def test_set_at_once(self) -> None:
        """Who is to be static or trusted, and nobody else, is kept as well as what is said of each."""
        one, two, three = self.home(1, store=SqlitePeerStore(self.path)), self.home(2), self.home(3)
        self.successResultOf(one.household.trust(three.node))
        self.successResultOf(one.household.addPeer(three.node))
        one.household.setTrusted([two.node])
        one.household.setStatic([two.node])
        one = self.restart(one)
        self.assertEqual((one.household.roster.trusted, one.household.roster.static), ({two.node.node_id},) * 2)

    def test_known_peers(self) -> None:
        """Who was a good peer the last time is called again, and what we hold of it is known."""
        one, two, three = self.home(1, store=SqlitePeerStore(self.path)), self.home(2), self.home(3)
        self.meet(one, two)  # it called, and said where it listens
        one.ring(Node(three.node.public_key, "10.0.0.3", 8))  # nobody is there
        self.network.advance(GOOD_SESSION)
        one.household.sessions.offenceSeen(one.session(two), Offence.BAD_DATA, "a lie")
        one = self.restart(one)
        self.assertEqual(round(one.household.books.reputation.score(two.node.node_id, 0.0)), 25)
        self.network.run_until(lambda: one.peers, limit=10.0)
        self.assertEqual((one.peers, one.household.roster.static), ({two.node.node_id}, set()))
        self.assertEqual(one.household.dialing.attempts, 1)

    def test_garbled(self) -> None:
        """What somebody else has written into the store, and cannot be read, keeps nothing else from being read."""
        store = MemoryPeerStore()
        good = self.home(2).node
        store.savePeers(
            [
                KnownPeer(node_id=bytes(32), url="enode://1", last_success=9),
                KnownPeer(node_id=bytes([1]) * 32, url=good.url, last_success=8),
                KnownPeer(node_id=good.node_id, url=good.url, last_success=7),
            ]
        )
        one = self.home(1, store=store)
        self.network.advance(5.0)
        self.assertEqual((one.peers, one.household.dialing.attempts), ({good.node_id}, 1))

    def test_does_not_work(self) -> None:
        """Without a store that works the household goes on; it says so once, and what was decided is kept later."""
        store = FailingStore()
        store.trouble = "the disk is full"
        one, two = self.home(1, store=store), self.home(2)
        self.meet(one, two)
        ban, kept = self.successResultOf(one.household.ban("192.0.2.1", None, ""))
        self.assertFalse(kept)
        self.assertTrue(self.successResultOf(one.household.addPeer(two.node)))
        self.network.advance(10 * FLUSH)
        self.assertEqual(one.household.keeper.trouble, "the disk is full")
        told = [line for line in self.log if "the disk is full" in line]
        self.assertEqual(told, ["peers and bans are not kept, the node goes on without: the disk is full"])
        self.assertEqual(one.peers, {two.node.node_id})
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        self.assertEqual(one.household.keeper.trouble, "")
        self.assertIn("peers and bans are kept again", self.log)
        self.assertEqual(self.successResultOf(store.loadBans()), [ban])
        self.assertEqual([peer.static for peer in self.successResultOf(store.loadPeers())], [True])

    def test_strangers_while_it_does_not_work(self) -> None:
        """However many peers and bans are to be written meanwhile, what the operator decided is among them."""
        self.patch(keeping, "MAX_UNSAVED", 8)
        store = FailingStore()
        gone, wanted = (Node(key(number).public_key, "10.0.0.9", 7) for number in (2, 3))
        store.savePeers([KnownPeer(node_id=gone.node_id, url=gone.url, static=True)])
        store.saveBan(Ban(Scope.IP, "192.0.2.1", 1, None, "", "operator"))
        one = self.home(1, store=store)
        store.trouble = "the disk is full"
        one.household.removePeer(gone)
        one.household.addPeer(wanted)
        one.household.unban("192.0.2.1")
        one.household.ban("192.0.2.2", None, "")
        for number in range(10, 30):
            other = self.home(number)
            self.meet(one, other)
            for _ in range(2):
                one.household.sessions.offenceSeen(one.session(other), Offence.BAD_DATA, "a lie")
            self.network.advance(1.0)
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        flags = {peer.node_id: peer.static for peer in self.successResultOf(store.loadPeers())}
        self.assertEqual((flags[gone.node_id], flags[wanted.node_id], len(flags)), (False, True, 8))
        bans = self.successResultOf(store.loadBans())
        self.assertEqual([ban.subject for ban in bans if ban.scope is Scope.IP], ["192.0.2.2"])
        self.assertEqual(len(bans), 7)

    def test_read_late(self) -> None:
        """What a store tells when it works at last does not undo what was decided meanwhile, nor is it undone."""
        store = FailingStore()
        two, three, four = self.home(2), self.home(3), self.home(4)
        store.savePeers([KnownPeer(node_id=home.node.node_id, url=home.node.url, static=True) for home in (two, three)])
        store.saveBan(Ban(Scope.IP, "192.0.2.1", 1, None, "older", "operator"))
        store.saveBan(Ban(Scope.NODE, four.node.node_id.hex(), 1, None, "older", "operator"))
        store.trouble = "not there"
        one = self.home(1, store=store)
        self.meet(one, two, four)
        one.household.removePeer(three.node)
        one.household.ban("192.0.2.1", None, "newer")
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        self.assertEqual(one.household.roster.static, {two.node.node_id})
        self.assertEqual(one.peers, {two.node.node_id})
        reasons = [ban.reason for ban in self.successResultOf(store.loadBans())]
        self.assertEqual(sorted(reasons), ["newer", "older"])
        flags = {peer.node_id: peer.static for peer in self.successResultOf(store.loadPeers())}
        self.assertEqual(flags, {two.node.node_id: True, three.node.node_id: False})

    def test_flags_read_late(self) -> None:
        """What is said of a peer in one way, before the store was read, changes nothing in the other."""
        store = FailingStore()
        nodes = [self.home(number).node for number in range(2, 7)]
        flags = [(False, True), (True, True), (True, False), (True, True), (False, True)]
        store.savePeers(
            [
                KnownPeer(
                    node_id=node.node_id, url=node.url, static=static, trusted=trusted, last_success=9, client="x"
                )
                for node, (static, trusted) in zip(nodes, flags)
            ]
        )
        store.trouble = "not there"
        one = self.home(1, store=store)
        one.household.addPeer(nodes[0])
        one.household.trust(nodes[1], False)
        one.household.trust(nodes[2])
        one.household.removePeer(nodes[3])
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        self.assertEqual((nodes[3].node_id in one.peers, nodes[4].node_id in one.peers), (False, True))
        static, trusted = ({nodes[number].node_id for number in numbers} for numbers in ((0, 1, 2), (0, 2, 3, 4)))
        for _ in range(2):
            roster = one.household.roster
            self.assertEqual((roster.static, roster.trusted), (static, trusted))
            self.stop(one)
            known = self.successResultOf(store.loadPeers())
            self.assertEqual({(peer.last_success > 8, peer.client != "") for peer in known}, {(True, True)})
            one = self.home(1, host=one.host, store=store)

    def test_no_others_read_late(self) -> None:
        """These and no others: nor whom the store has, when it can be read at last."""
        store = FailingStore()
        old, kept, new = (self.home(number).node for number in (2, 3, 4))
        store.savePeers(
            [KnownPeer(node_id=node.node_id, url=node.url, static=True, trusted=True) for node in (old, kept)]
        )
        store.trouble = "not there"
        one = self.home(1, store=store)
        one.household.setTrusted([kept])
        one.household.setStatic([kept])
        one.household.addPeer(new)
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        for _ in range(2):
            roster = one.household.roster
            self.assertEqual(roster.trusted, {kept.node_id})
            self.assertEqual(roster.static, {kept.node_id, new.node_id})
            self.stop(one)
            one = self.home(1, host=one.host, store=store)

    def test_slow(self) -> None:
        """While a store hangs all who wait for it wait for one next time together; none of it holds up the rest."""
        store = FailingStore()
        one, two = self.home(1, store=store), self.home(2)
        store.hangs = True
        verbs = [one.household.ban(f"192.0.2.{number}", None, "") for number in range(1, 100)]
        self.network.advance(20 * FLUSH)
        for each in verbs:
            self.assertNoResult(each)
        self.assertEqual(len(store.hanging), 1)
        self.meet(one, two)
        store.release()
        self.assertTrue(all(self.successResultOf(each)[1] for each in verbs))
        self.assertEqual(len(self.successResultOf(store.loadBans())), 99)

    def test_bounded(self) -> None:
        """So much waits for a store that does not work; the oldest is given up."""
        self.patch(keeping, "MAX_UNSAVED", 5)
        store = FailingStore()
        store.trouble = "not there"
        one = self.home(1, store=store)
        for number in range(1, 20):
            one.household.ban(f"192.0.2.{number}", None, "")
            one.household.trust(self.home(number + 1).node)
        store.trouble = ""
        self.network.advance(2 * FLUSH)
        subjects = [ban.subject for ban in self.successResultOf(store.loadBans())]
        self.assertEqual(sorted(subjects), [f"192.0.2.{number}" for number in range(15, 20)])
        self.assertEqual(len(self.successResultOf(store.loadPeers())), 5)
        store.hangs = True
        hanging = one.household.ban("192.0.2.100", None, "")
        for number in range(101, 110):
            one.household.ban(f"192.0.2.{number}", None, "")
        store.trouble = "gone"
        store.release()
        self.assertFalse(self.successResultOf(hanging)[1])
        self.assertEqual(len(one.household.keeper._bans), 5)

    def test_many_wait(self) -> None:
        """While a store hangs there is an end to those who wait; what they decided is kept all the same."""
        store = FailingStore()
        one = self.home(1, store=store)
        store.hangs = True
        patient = 1 + MAX_WAITING  # the first one's write hangs, and they wait for the next
        total = patient + 50
        verbs = [one.household.ban(f"192.0.{number >> 8}.{number & 255}", None, "") for number in range(total)]
        self.assertEqual([self.successResultOf(each)[1] for each in verbs[patient:]], [False] * 50)
        self.network.advance(20 * FLUSH)
        for each in verbs[:patient]:
            self.assertNoResult(each)
        store.release()
        self.assertTrue(all(self.successResultOf(each)[1] for each in verbs[:patient]))
        self.assertEqual(len(self.successResultOf(store.loadBans())), total)

    def test_stop_while_it_hangs(self) -> None:
        """A store that does not answer does not keep the household from stopping, and the log has it in one line."""
        store = FailingStore()
        one = self.home(1, store=store)
        store.hangs = True
        one.household.ban("192.0.2.1", None, "")
        self.stop(one)
        self.assertIn("the last changes of peers and bans are not kept: the store does not answer", self.log)
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_outside_its_time(self) -> None:
        """What is decided before the household begins is kept then; after it has ended, it is not."""
        one = self.home(1, store=SqlitePeerStore(self.path))
        self.stop(one)
        self.assertFalse(self.successResultOf(one.household.ban("192.0.2.1", None, ""))[1])
        other = SqlitePeerStore(self.path)
        self.successResultOf(other.open())  # nobody holds it
        self.successResultOf(other.close())
        one.household.listening.started = Deferred()
        one.household.startService()
        self.stop(one)
        one = self.home(1, host=one.host, store=SqlitePeerStore(self.path))
        self.assertEqual(len(one.household.books.bans), 1)

    def test_bug(self) -> None:
        """A store that breaks its promise fails who asked, and the next time is a new one."""
        store = MemoryPeerStore()
        one = self.home(1, store=store)
        works, store.saveBan = store.saveBan, lambda ban: fail(ZeroDivisionError())  # type: ignore[method-assign]
        self.failureResultOf(one.household.ban("192.0.2.1", None, ""), ZeroDivisionError)
        store.saveBan = works  # type: ignore[method-assign]
        self.assertTrue(self.successResultOf(one.household.ban("192.0.2.2", None, ""))[1])
