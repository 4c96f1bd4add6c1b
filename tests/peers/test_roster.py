"""
Tables of rounds for who is here.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import ConfigError, DisconnectReason, NotAdmitted
from ethp2p.peers.admission import Census, Rule
from ethp2p.peers.policy import Policy
from ethp2p.peers.roster import MAX_TRUSTED, Place, Roster

ME = b"\x50" * 32


@attrs.frozen
class FakeAddress:
    host: str
    port: int = 30303


@attrs.define(eq=False)
class FakeSession:
    """As much of a session as the roster looks at."""

    node_id: bytes
    inbound: bool = True
    address: FakeAddress = FakeAddress("127.0.0.1")
    client: str = "toy/1"
    shared: tuple[str, ...] = ("toy/1",)
    ended: DisconnectReason | None = None

    def disconnect(self, reason: DisconnectReason, detail: str = "") -> None:
        self.ended = reason


def peer(number: int, inbound: bool = True, host: str = "127.0.0.1") -> Any:
    return FakeSession(bytes([number]) * 32, inbound, FakeAddress(host))


class RosterCase(SynchronousTestCase):
    def refused(self, roster: Roster, session: Any, banned: str = "") -> DisconnectReason:
        return self.assertRaises(NotAdmitted, roster.reserve, session, 0.0, banned).reason

    def rule(self, roster: Roster, session: Any, banned: str = "") -> Rule | None:
        """What the first checkpoint says; when nothing, the place is reserved."""
        try:
            roster.reserve(session, 0.0, banned)
        except NotAdmitted as error:
            return Rule(error.rule)
        return None

    def join(self, roster: Roster, session: Any, now: float = 0.0) -> Any:
        roster.reserve(session, now)
        roster.add(session, now=now)
        return session

    def place(self, roster: Roster, session: Any) -> Place:
        place = roster.get(session.node_id)
        assert place is not None
        return place


class RosterTests(RosterCase):
    def test_limits(self) -> None:
        """MaxPeers in all, the dialed share kept free of callers (geth: MaxPeers / DialRatio)."""
        for most, ratio, dialed, inbound in [(50, 3, 16, 34), (2, 3, 1, 1), (1, 3, 1, 0), (0, 3, 0, 0), (9, 1, 9, 0)]:
            roster = Roster(ME, Policy(max_peers=most, dial_ratio=ratio))
            for number in range(inbound):
                roster.reserve(peer(number), 0.0)
            self.assertEqual(self.refused(roster, peer(100)), DisconnectReason.TOO_MANY_PEERS)
            for number in range(dialed):
                roster.reserve(peer(101 + number, inbound=False), 0.0)
            self.assertEqual(self.refused(roster, peer(200, inbound=False)), DisconnectReason.TOO_MANY_PEERS)
            self.assertEqual((len(roster), roster.inbound, roster.dialed), (most, inbound, dialed))
            self.assertEqual(roster.census(), Census(most, inbound))

    def test_at_capacity(self) -> None:
        """geth's test of a full server: only trust lets one in, given before or at run time, and taken again."""
        roster = Roster(ME, Policy(max_peers=3))
        for number in range(1, 4):
            self.join(roster, peer(number, inbound=number == 1))
        known, other = peer(8), peer(9)
        self.assertTrue(roster.trust(known.node_id))
        self.assertFalse(roster.trust(known.node_id))
        self.assertIs(self.rule(roster, other), Rule.TOO_MANY_PEERS)
        self.assertIs(self.rule(roster, known), None)
        self.assertTrue(next(place for place in roster if place.session is known).trusted)
        roster.release(known)
        self.assertTrue(roster.untrust(known.node_id))
        self.assertFalse(roster.untrust(known.node_id))
        self.assertIs(self.rule(roster, known), Rule.TOO_MANY_PEERS)
        roster.trust(other.node_id)
        self.assertIs(self.rule(roster, other), None)

    def test_no_room_at_all(self) -> None:
        """geth's test with MaxPeers 0: a trusted peer comes in, is told that it is useless, and is out again."""
        roster = Roster(ME, Policy(max_peers=0))
        session = FakeSession(b"\x01" * 32, False, shared=())
        for _ in range(2):
            self.assertIs(self.rule(roster, session), Rule.TOO_MANY_PEERS)
            roster.trust(session.node_id)
            self.assertIs(self.rule(roster, session), None)
            error = self.assertRaises(NotAdmitted, roster.add, session)
            self.assertEqual((error.reason, error.rule), (DisconnectReason.USELESS_PEER, "useless"))
            roster.release(session)
            roster.untrust(session.node_id)
        self.assertEqual(len(roster), 0)

    def test_refusals(self) -> None:
        """Reason, rule and words come from the checkpoint; nothing is reserved."""
        roster = Roster(ME, Policy(max_peers=2, dial_ratio=2, netrestrict="127.0.0.0/8, 95.33.0.0/16"))
        roster.reserve(peer(1), 0.0)
        for session, banned, reason, rule, words in [
            (FakeSession(ME), "", DisconnectReason.SELF, "self", "self"),
            (peer(1), "", DisconnectReason.ALREADY_CONNECTED, "already_connected", "already connected"),
            (
                peer(2),
                "",
                DisconnectReason.TOO_MANY_PEERS,
                "too_many_inbound",
                "too many peers: all 1 places for callers are taken",
            ),
            (
                peer(2, host="10.0.0.1"),
                "",
                DisconnectReason.REQUESTED,
                "netrestrict",
                "requested: 10.0.0.1 is outside 127.0.0.0/8,95.33.0.0/16",
            ),
            (peer(2), "bad data", DisconnectReason.REQUESTED, "banned", "requested: banned: bad data"),
        ]:
            error = self.assertRaises(NotAdmitted, roster.reserve, session, 0.0, banned)
            self.assertEqual((error.reason, error.rule, str(error)), (reason, rule, words))
            self.assertEqual(len(roster), 1)

    def test_trusted(self) -> None:
        """A trusted peer comes in above the limits and takes nobody's place."""
        roster = Roster(ME, Policy(max_peers=1))
        trusted = peer(9)
        roster.trusted.add(trusted.node_id)
        roster.reserve(trusted, 0.0)
        roster.reserve(peer(1, inbound=False), 0.0)
        self.assertEqual((len(roster), roster.inbound, roster.census()), (2, 1, Census(1, 0)))
        roster.release(peer(1))  # no place of that session: nothing happens
        self.assertEqual(len(roster), 2)

    def test_trust_while_here(self) -> None:
        """Trust given to a peer that is here makes room; taken away it counts again, and nobody is disconnected."""
        roster = Roster(ME, Policy(max_peers=2, dial_ratio=2))
        first, second = self.join(roster, peer(1)), peer(2)
        self.assertIs(self.rule(roster, second), Rule.TOO_MANY_INBOUND)
        roster.trust(first.node_id)
        self.assertTrue(self.place(roster, first).trusted)
        self.join(roster, second)
        roster.untrust(first.node_id)
        self.assertFalse(self.place(roster, first).trusted)
        self.assertEqual((roster.census(), first.ended, second.ended), (Census(2, 2), None, None))
        self.assertEqual([place.session for place in roster.excess()], [second])
        self.assertIs(self.rule(roster, peer(3)), Rule.TOO_MANY_PEERS)
        roster.release(first)
        roster.release(second)
        self.assertEqual(roster.census(), Census())

    def test_trusted_are_bounded(self) -> None:
        roster = Roster(ME)
        for number in range(MAX_TRUSTED):
            roster.trust(number.to_bytes(32, "big"))
        self.assertRaises(ConfigError, roster.trust, b"\xff" * 32)
        self.assertFalse(roster.trust(bytes(32)))  # one of them already
        roster.untrust(bytes(32))
        self.assertTrue(roster.trust(b"\xff" * 32))

    def test_static_does_not_bypass(self) -> None:
        """Only trust goes over MaxPeers."""
        for max_peers, occupied in ((1, True), (0, False)):
            roster = Roster(ME, Policy(max_peers=max_peers))
            static = peer(9, inbound=False)
            roster.static.add(static.node_id)
            if occupied:
                roster.reserve(peer(1, inbound=False), 0.0)
            self.assertIs(self.rule(roster, static), Rule.TOO_MANY_PEERS)

    def test_flags(self) -> None:
        """dyn-dialed, static-dialed, inbound, trusted; what an operator changes shows at once."""
        roster = Roster(ME)
        caller, called = self.join(roster, peer(1)), self.join(roster, peer(2, inbound=False))

        def flags(session: Any) -> tuple[bool, bool, bool, bool]:
            place = self.place(roster, session)
            return place.dyn_dialed, place.static_dialed, place.inbound, place.trusted

        self.assertEqual((flags(caller), flags(called)), ((False, False, True, False), (True, False, False, False)))
        for session in (caller, called):
            roster.static.add(session.node_id)
            roster.trust(session.node_id)
        self.assertEqual((flags(caller), flags(called)), ((False, False, True, True), (False, True, False, True)))
        self.assertEqual((self.place(roster, caller).static, self.place(roster, caller).host), (True, "127.0.0.1"))
        roster.static.clear()
        self.assertEqual(flags(called), (True, False, False, True))

    def test_self(self) -> None:
        """We do not talk to ourselves, trusted or not."""
        roster = Roster(ME)
        roster.trust(ME)
        self.assertEqual(self.refused(roster, FakeSession(ME)), DisconnectReason.SELF)

    def test_already_connected(self) -> None:
        """An added peer stays; another connection in the same direction is refused, trusted or not."""
        for number in (1, 0x60):  # smaller and larger than we
            roster = Roster(ME)
            first = self.join(roster, peer(number))
            for _ in range(2):
                self.assertIs(self.rule(roster, peer(number)), Rule.ALREADY_CONNECTED)
                self.assertIs(self.place(roster, first).session, first)
                roster.trust(first.node_id)

    def test_pending_is_cleaned_up(self) -> None:
        """geth's test of pending callers: while one is at Hello, a second is refused; after it, the next may come."""
        roster = Roster(ME)
        one, two = peer(1), peer(1)
        roster.reserve(one, 0.0)
        self.assertIs(self.rule(roster, two), Rule.ALREADY_CONNECTED)
        self.assertEqual((roster.get(one.node_id), roster.added(), list(roster.known())), (None, [], [one.node_id]))
        self.assertRaises(NotAdmitted, roster.add, two)
        roster.release(two)
        roster.release(one)
        self.assertRaises(NotAdmitted, roster.add, one)
        self.join(roster, two)
        self.assertEqual([place.session for place in roster.added()], [two])

    def test_times(self) -> None:
        roster, session = Roster(ME), peer(1)
        roster.reserve(session, 3.0)
        roster.add(session, now=5.0)
        place = self.place(roster, session)
        self.assertEqual((place.since, place.added_at), (3.0, 5.0))
        roster.add(session)
        self.assertEqual(place.added_at, 3.0)

    def test_second_checkpoint(self) -> None:
        """What has changed since the first one counts, and so does what Hello says; the place is kept till release."""
        for change, banned, client, rule in [
            ({"max_peers": 1}, "", "toy/1", "too_many_peers"),
            ({"dial_ratio": 9, "max_peers": 2}, "", "toy/1", "too_many_inbound"),
            ({"netrestrict": "10.0.0.0/8"}, "", "toy/1", "netrestrict"),
            ({"refuse_clients": ["toy"]}, "", "toy/1", "client_name"),
            ({}, "nonsense", "toy/1", "banned"),
            ({}, "", "toy/1", ""),
        ]:
            roster = Roster(ME, Policy(max_peers=6, min_peers=0))
            self.join(roster, peer(1))
            late = peer(2)
            late.client = ""
            roster.reserve(late, 0.0)
            late.client = client
            roster.policy = roster.policy.changed(**change)
            if rule:
                self.assertEqual(self.assertRaises(NotAdmitted, roster.add, late, banned).rule, rule)
                self.assertEqual((len(roster), len(roster.added())), (2, 1))
            else:
                roster.add(late, banned)
            roster.release(late)
            self.assertEqual(roster.census(), Census(1, 1))


class BlockLimitTests(RosterCase):
    """BSC's MaxPeersPerIP, and the same for subnets."""

    def test_per_ip(self) -> None:
        for inbound in (True, False):
            roster = Roster(ME, Policy(max_peers_per_ip=2))
            for number, host, rule in [
                (1, "95.33.21.2", None),
                (2, "::ffff:95.33.21.2", None),
                (3, "95.33.21.2", Rule.PER_IP),
                (4, "95.33.21.3", None),
                (5, "127.0.0.1", None),
                (6, "127.0.0.1", None),
                (7, "127.0.0.1", None),
            ]:
                self.assertIs(self.rule(roster, peer(number, inbound, host)), rule)
            self.assertEqual(roster.census(host="95.33.21.2"), Census(6, 6 * inbound, 2, 3))
            self.assertEqual(roster.census(b"\x01" * 32, "95.33.21.2"), Census(5, 5 * inbound, 1, 2))
            self.assertEqual(roster.census(host="127.0.0.1"), Census(6, 6 * inbound))

    def test_per_subnet(self) -> None:
        roster = Roster(ME, Policy(max_peers_per_subnet=2))
        for number, host, rule in [
            (1, "95.33.21.2", None),
            (2, "95.33.21.3", None),
            (3, "95.33.21.4", Rule.PER_SUBNET),
            (4, "95.33.22.4", None),
            (5, "2a01:4f8::1", None),
            (6, "2a01:4f8::2", None),
            (7, "2a01:4f8::ffff:0:0:3", Rule.PER_SUBNET),
            (8, "2a01:4f8:0:1::3", None),
        ]:
            self.assertIs(self.rule(roster, peer(number, host=host)), rule, host)

    def test_room_again(self) -> None:
        """Who leaves, and who becomes trusted, makes room; trusted ones come above it."""
        roster = Roster(ME, Policy(max_peers_per_ip=1))
        host = "95.33.21.2"
        one = peer(1, host=host)
        for session, rule in [(one, None), (peer(2, host=host), Rule.PER_IP)]:
            self.assertIs(self.rule(roster, session), rule)
        roster.trust(b"\x02" * 32)
        self.assertIs(self.rule(roster, peer(2, host=host)), None)
        roster.release(one)
        self.assertIs(self.rule(roster, peer(3, host=host)), None)
        self.assertIs(self.rule(roster, peer(4, host=host)), Rule.PER_IP)
        roster.trust(b"\x03" * 32)
        self.assertIs(self.rule(roster, peer(4, host=host)), None)

    def test_address_of_the_time(self) -> None:
        """A session that tells another address later takes no other place with it."""
        roster, session = Roster(ME), peer(1, host="95.33.21.2")
        roster.reserve(session, 0.0)
        session.address = FakeAddress("95.33.99.9")
        roster.release(session)
        self.assertEqual(roster.census(host="95.33.21.2"), Census())
        self.assertEqual(roster.census(host="95.33.99.9"), Census())


class TieTests(RosterCase):
    """Two nodes that call each other at once."""

    def test_both_call(self) -> None:
        """The smaller id refuses the second call; the larger lets it be, and keeps whichever says Hello."""
        small, large = b"\x01" * 32, b"\xee" * 32
        for first_inbound in (True, False):
            roster = Roster(small)
            first = FakeSession(large, first_inbound)
            roster.reserve(first, 0.0)  # type: ignore[arg-type]
            second = FakeSession(large, not first_inbound)
            self.assertIs(self.rule(roster, second), Rule.TIE)
            roster.add(first)  # type: ignore[arg-type]
            self.assertIs(self.rule(roster, second), Rule.ALREADY_CONNECTED)
            for first_says_hello in (True, False):
                for chosen_is_second in (True, False):
                    roster = Roster(large, Policy(max_peers=2))
                    sessions: list[Any] = [FakeSession(small, first_inbound), FakeSession(small, not first_inbound)]
                    roster.reserve(sessions[0], 0.0)
                    if first_says_hello:
                        roster.add(sessions[0])
                    roster.reserve(sessions[1], 0.0)
                    self.assertEqual((len(roster), roster.census()), (1, Census(1, 1)))
                    chosen, lost = sessions[::-1] if chosen_is_second else sessions
                    roster.add(chosen)
                    self.assertIs(chosen.ended, None)
                    self.assertEqual(lost.ended, DisconnectReason.ALREADY_CONNECTED if chosen_is_second else None)
                    roster.release(lost)
                    place = self.place(roster, chosen)
                    self.assertIs(place.session, chosen)
                    self.assertEqual(place.inbound, chosen.inbound)
                    self.assertEqual((roster.census(), roster.dialed), (Census(1, chosen.inbound), not chosen.inbound))
                    roster.release(chosen)
                    self.assertEqual((len(roster), roster.census(), roster.dialed), (0, Census(), 0))

    def test_second_call_outlives_the_first(self) -> None:
        """Let through beside another that ends, a call has its place; a third one is not let through."""
        roster = Roster(b"\xee" * 32)
        first, second = peer(1, inbound=True), peer(1, inbound=False)
        roster.reserve(first, 0.0)
        roster.reserve(second, 0.0)
        for inbound in (True, False):
            self.assertIs(self.rule(roster, peer(1, inbound)), Rule.ALREADY_CONNECTED)
        roster.release(first)
        self.assertEqual((len(roster), roster.dialed), (1, 1))
        roster.add(second)
        self.assertEqual((first.ended, second.ended), (None, None))
        roster.release(second)
        self.assertEqual(len(roster), 0)

    def test_both_calls_go(self) -> None:
        """Of a peer that is one too many both calls have to go, or the one that is left would come in instead."""
        roster = Roster(b"\xee" * 32, Policy(max_peers=4, dial_ratio=2))
        called = self.join(roster, peer(1, inbound=False))
        calling = peer(1, inbound=True)
        self.assertIs(self.rule(roster, calling), None)
        roster.policy = roster.policy.changed(dial_ratio=1)  # no more callers
        self.assertEqual([place.session for place in roster.excess()], [called, calling])
        roster.release(called)
        self.assertEqual([place.session for place in roster.excess()], [calling])
        roster.release(calling)
        self.assertEqual((roster.excess(), roster.census()), ([], Census()))

    def test_no_second_call_above_limits(self) -> None:
        """A call beside another passes the checkpoint, too: taking over must not bring one caller too many."""
        roster = Roster(b"\xee" * 32, Policy(max_peers=4, dial_ratio=2, max_peers_per_ip=1))
        full = [self.join(roster, peer(number)) for number in (1, 2)]
        called = self.join(roster, peer(3, inbound=False))
        self.assertIs(self.rule(roster, peer(3)), Rule.TOO_MANY_INBOUND)
        roster.release(full.pop())
        self.assertIs(self.rule(roster, peer(3), banned="nonsense"), Rule.BANNED)
        second = peer(3, host="95.33.21.2")
        self.assertIs(self.rule(roster, second), None)
        # Until it is known which of the two lives, both are counted.
        self.assertIs(self.rule(roster, peer(4)), Rule.TOO_MANY_INBOUND)
        self.assertIs(self.rule(roster, peer(4, False, "95.33.21.2")), Rule.PER_IP)
        self.assertEqual(roster.census(host="95.33.21.2"), Census(2, 2, 1, 1))
        roster.release(second)
        self.assertEqual(roster.census(host="95.33.21.2"), Census(2, 1))
        self.assertIs(self.place(roster, called).session, called)

    def test_trust_goes_for_both(self) -> None:
        """Both calls of a peer are of one who is trusted, or neither."""
        roster = Roster(b"\xee" * 32)
        first, second = peer(1), peer(1, inbound=False)
        roster.reserve(first, 0.0)
        roster.reserve(second, 0.0)
        roster.trust(first.node_id)
        self.assertEqual((roster.census(), roster.inbound), (Census(), 1))
        roster.release(first)
        self.assertEqual([place.trusted for place in roster], [True])
        roster.untrust(first.node_id)
        self.assertEqual((roster.census(), roster.dialed), (Census(1, 0), 1))


class LivePolicyTests(RosterCase):
    def roster(self) -> Roster:
        """Six callers, 1 to 6 in that order, and three whom we called, 7 to 9; 2 is trusted, 6 and 9 are static."""
        roster = Roster(ME, Policy(max_peers=9, dial_ratio=3))
        roster.trust(b"\x02" * 32)
        roster.static.update((b"\x06" * 32, b"\x09" * 32))
        for number in range(1, 10):
            host = f"95.33.{number // 3}.{number % 2}"
            self.join(roster, peer(number, inbound=number < 7, host=host), now=float(number))
        return roster

    def test_excess(self) -> None:
        """Over limits that were lowered, the newest go first, static ones last and trusted ones never."""
        for change, expected in [
            ({}, []),
            ({"max_peers": 8}, []),
            ({"max_peers": 7, "dial_ratio": 3}, [8]),
            ({"max_peers": 6, "dial_ratio": 3}, [5, 8]),
            ({"max_peers": 4, "dial_ratio": 4}, [5, 4, 8, 7]),
            ({"max_peers": 2, "min_peers": 0, "dial_ratio": 2}, [5, 4, 3, 1, 8, 7]),
            ({"max_peers": 1, "min_peers": 0}, [5, 4, 3, 1, 6, 8, 7]),
            ({"max_peers": 0, "min_peers": 0}, [5, 4, 3, 1, 6, 8, 7, 9]),
            ({"dial_ratio": 1}, [5, 4, 3, 1, 6]),
            ({"max_peers_per_ip": 1}, [8, 5]),
            ({"max_peers_per_subnet": 1}, [8, 7, 5, 4]),
            ({"max_peers_per_subnet": 1, "max_peers": 4}, [8, 7, 5, 4]),
        ]:
            roster = self.roster()
            roster.policy = roster.policy.changed(**change)
            excess = roster.excess()
            self.assertEqual([place.session.node_id[0] for place in excess], expected, change)
            for place in excess:
                roster.release(place.session)
            self.assertEqual(roster.excess(), [])
            self.assertIsNotNone(roster.get(b"\x02" * 32))

    def test_raised(self) -> None:
        """A higher limit lets the next one in at once."""
        roster = Roster(ME, Policy(max_peers=1))
        self.join(roster, peer(1, inbound=False))
        self.assertIs(self.rule(roster, peer(2, inbound=False)), Rule.TOO_MANY_PEERS)
        roster.policy = roster.policy.changed(max_peers=2)
        self.assertIs(self.rule(roster, peer(2, inbound=False)), None)
        self.assertIs(self.rule(roster, peer(3, inbound=False)), Rule.TOO_MANY_PEERS)

    def test_unwelcome(self) -> None:
        """Networks bind all who are here, names only those who are not trusted; being too many is no such reason."""
        for change, expected in [
            ({"max_peers": 0, "min_peers": 0, "max_peers_per_ip": 1}, {}),
            ({"refuse_clients": ["toy"]}, dict.fromkeys([1, 3, 4, 5, 6, 7, 8, 9], Rule.CLIENT_NAME)),
            ({"netrestrict": "95.33.1.0/24, 95.33.2.0/24"}, dict.fromkeys([1, 2, 9], Rule.NETRESTRICT)),
        ]:
            roster = self.roster()
            roster.policy = roster.policy.changed(**change)
            found = {place.session.node_id[0]: refusal.rule for place, refusal in roster.unwelcome()}
            self.assertEqual(found, expected)
