"""
A whole household over a wire of lines: who comes in, who waits, who is called, who has to go.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP6ServerEndpoint
from twisted.internet.protocol import ClientFactory, Protocol

import ethp2p
from ethp2p.enode import Netrestrict
from ethp2p.errors import DisconnectReason, Offence, PeerDisconnected
from ethp2p.events import DialFailed, DialProgress, PeerAdded, PeerDropped, PolicyChanged, Refused
from ethp2p.peers.admission import Rule
from ethp2p.peers.dialing import LOOK
from ethp2p.peers.doors import MAX_HANDSHAKE, MAX_WAIT
from ethp2p.peers.throttle import MAX_WAITING
from tests.peers.toy_wire import PATIENCE, PORT, Home, ToyFactory, ToyTestCase
from tests.test_floors import WIRES, imports

FULL = DisconnectReason.TOO_MANY_PEERS


class WireNeutralTests(ToyTestCase):
    def test_no_wire_within(self) -> None:
        """Nothing that a household over lines is made of has to do with Ethereum's wires."""
        here, house = Path(__file__).parent, Path(ethp2p.__file__).parent
        todo, seen = [(here / "toy_wire.py", ["tests", "peers"]), (Path(__file__), ["tests", "peers"])], set()
        while todo:
            source, package = todo.pop()
            for name in imports(ast.parse(source.read_text("utf-8")), package):
                for module in {name, name.rpartition(".")[0]} - seen:
                    seen.add(module)
                    path = house.parent.joinpath(*module.split("."))
                    if module.startswith("ethp2p."):
                        todo += [(file, module.split(".")) for file in [path / "__init__.py"] if file.exists()]
                        alone = path.with_suffix(".py")
                        todo += [(file, module.split(".")[:-1]) for file in [alone] if file.exists()]
        self.assertIn("ethp2p.peers.roster", seen)
        self.assertEqual([module for module in seen if module.split(".")[1:2] and module.split(".")[1] in WIRES], [])

    def test_meet(self) -> None:
        """Two meet; each is told so, and how far the call came."""
        one, two = self.home(1), self.home(2)
        two.household.addPeer(one.node)
        self.network.run_until(lambda: one.peers and two.peers)
        self.network.advance(61.0)
        for home, other, inbound in [(one, two, True), (two, one, False)]:
            [added] = home.of(PeerAdded)
            self.assertEqual((added.peer.node_id, added.peer.inbound), (other.node.node_id, inbound))
            self.assertEqual(added.shared, ("toy/1",))
            stages = [progress.stage for progress in home.of(DialProgress)]
            self.assertEqual(stages, [*([] if inbound else ["tcp"]), "auth", "hello", "status", "minute"])
        self.assertEqual(one.of(PeerAdded)[0].peer.local, f"10.0.0.1:{PORT}")


class AdmissionTests(ToyTestCase):
    def test_full(self) -> None:
        """Who comes when all places are taken is told so after its identity is known; who is trusted comes in."""
        one = self.home(1, max_peers=2)  # one of them is for peers that we call
        self.meet(one, self.home(2))
        three, four = self.home(3), self.home(4)
        [outcome] = self.wait(three.ring(one))
        self.network.run_until(lambda: three.goodbyes)
        self.assertEqual(three.goodbyes, [(FULL, "all 1 places for callers are taken")])
        self.assertEqual(outcome.node_id, one.node.node_id)
        [refused] = one.of(Refused)
        self.assertEqual((refused.node_id, refused.rule), (three.node.node_id, "too_many_inbound"))
        one.household.trust(four.node)
        self.meet(one, four)
        self.assertEqual(len(one.peers), 2)

    def test_second_checkpoint(self) -> None:
        """What Hello says counts, too: the client's name, and whether there is a language in common."""
        one = self.home(1, refuse_clients=("^evil",))
        evil, deaf = self.home(2, client="evil/1.0"), self.home(3, languages=("latin/1",))
        for home in (evil, deaf):
            home.ring(one)
        self.network.run_until(lambda: evil.goodbyes and not len(one.household.sessions))
        self.assertEqual({refused.rule for refused in one.of(Refused)}, {"client_name", "useless"})
        self.assertEqual({reason for reason, _ in evil.goodbyes}, {DisconnectReason.USELESS_PEER})
        self.assertEqual((len(one.household.roster), one.of(PeerAdded)), (0, []))

    def test_per_address(self) -> None:
        """No more from one address, and from one subnet, than the policy has; neighbours do not count."""
        one = self.public(1, max_peers_per_ip=1, max_peers_per_subnet=2, inbound_throttle=0)
        two = self.public(2)
        self.meet(one, two, self.home(3, "20.0.2.3"), self.home(30), self.home(31), self.home(32))
        again = self.home(5, host=two.host, ports=(PORT + 1,))
        crowd = self.home(6, "20.0.2.6")
        for home in (again, crowd):
            home.ring(one)
        self.network.run_until(lambda: again.goodbyes and crowd.goodbyes)
        self.assertEqual([refused.rule for refused in one.of(Refused)], ["per_ip", "per_subnet"])

    def test_self_and_again(self) -> None:
        """Who calls itself finds out; a second session with the same peer is refused."""
        one, two = self.home(1), self.home(2)
        one.ring(one)
        self.network.run_until(lambda: one.of(Refused))
        self.meet(one, two)
        two.ring(one)
        self.network.advance(1.0)
        self.assertEqual({refused.rule for refused in one.of(Refused)}, {"self", "already_connected"})
        self.assertEqual((len(one.peers), len(two.peers)), (1, 1))

    def test_both_call(self) -> None:
        """Two who always call each other have one session."""
        one, two = self.home(1), self.home(2)
        one.household.addPeer(two.node)
        two.household.addPeer(one.node)
        self.network.advance(60.0)
        for home in (one, two):
            self.assertEqual((len(home.peers), len(home.household.roster), len(home.household.sessions)), (1, 1, 1))

    def test_refused_callers_put_no_call_off(self) -> None:
        """A static peer that is not let in when it calls is called in its own time all the same."""
        one, two = self.home(1, max_peers=1), self.home(2, ports=())  # its only place is for a peer that it calls
        one.household.addPeer(two.node)
        for _ in range(120):
            two.ring(one)
            self.network.advance(0.5)
        self.assertEqual({refused.rule for refused in one.of(Refused)}, {"too_many_inbound"})
        self.assertEqual(one.household.dialing.attempts, 6)  # after 1, 2, 4, 8 and 16 s

    def wait(self, outcome: list[Any]) -> list[Any]:
        self.network.run_until(lambda: outcome)
        return outcome


class Mute(Protocol):
    """Connects and says nothing."""

    lost = False

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


class DoorTests(ToyTestCase):
    def strangers(self, count: int, home: Home, address: str = "30.{}.{}.1") -> list[Mute]:
        """So many at so many addresses come to the door, and say nothing."""
        mutes: list[Mute] = []

        def build() -> Mute:
            mutes.append(Mute())
            return mutes[-1]

        factory = ClientFactory.forProtocol(build)  # type: ignore[arg-type]
        factory.noisy = False
        for number in range(count):
            where = address.format(number >> 8, number & 255)
            host = self.network.hosts.get(where) or self.network.host(where)
            host.connectTCP(home.node.host, PORT, factory)
        self.network.advance(0.05)
        return mutes

    def test_throttle(self) -> None:
        """An address may come once in 30 s; neighbours as often as they like."""
        one, two, near = self.public(1), self.public(2), self.home(3)
        for _ in range(3):
            two.ring(one)
            near.ring(one)
            self.network.advance(1.0)
        self.assertEqual({refused.rule for refused in one.of(Refused) if refused.node_id is None}, {"throttled"})
        self.assertEqual(len([refused for refused in one.of(Refused) if refused.node_id is None]), 2)
        self.assertIn("may in 29 s", one.of(Refused)[0].detail)
        one.session(two).disconnect(DisconnectReason.REQUESTED)
        self.network.advance(26.5)
        two.ring(one)
        self.network.advance(0.4)
        self.assertNotIn(two.node.node_id, one.peers)
        self.network.advance(0.2)
        two.ring(one)
        self.network.advance(0.5)
        self.assertIn(two.node.node_id, one.peers)

    def test_both_ips(self) -> None:
        """At a door for IPv4 and IPv6, who calls over IPv4 is known by the IPv4 address."""
        one, two = self.home(1, "2a00::1"), self.home(2, "::ffff:20.0.2.1")
        one.household.doorway.guard(TCP6ServerEndpoint(one.host, PORT)).listen(ToyFactory(one))
        self.meet(one, two)
        self.assertIn("It is a peer", one.verdict("20.0.2.1"))
        two.ring(one)
        self.network.advance(1.0)
        [refused] = one.of(Refused)
        self.assertRegex(refused.address, r"^20\.0\.2\.1:[0-9]+$")
        self.assertEqual([each.rule for each in one.household.explain("20.0.2.1").refusals], ["throttled"])

    def test_line(self) -> None:
        """While so many handshakes go on others wait unread, and come in when there is room."""
        one, late = self.home(1, max_pending=2), self.home(2)
        mutes = self.strangers(2, one)
        self.network.advance(PATIENCE / 2)
        late.ring(one)
        self.network.advance(1.0)
        doorway = one.household.doorway
        self.assertEqual((doorway.inside, doorway.waiting, one.peers), (2, 1, set()))
        self.network.advance(PATIENCE)
        self.assertEqual((doorway.inside, doorway.waiting), (0, 0))
        self.assertEqual(one.peers, {late.node.node_id})
        self.assertTrue(all(mute.lost for mute in mutes))

    def test_more_room(self) -> None:
        """Who waits comes in when the operator makes room."""
        one, late = self.home(1, max_pending=1), self.home(2)
        self.strangers(1, one)
        late.ring(one)
        self.network.advance(1.0)
        one.household.setPolicy(one.household.books.policy.changed(max_pending=2))
        self.network.advance(0.1)
        self.assertEqual(one.peers, {late.node.node_id})

    def test_line_is_bounded(self) -> None:
        """So many wait; whoever comes then is sent away at once, and who leaves makes room in the line."""
        one = self.home(1, max_pending=1)
        mutes = self.strangers(1 + MAX_WAITING + 3, one)
        doorway = one.household.doorway
        self.assertEqual((doorway.inside, doorway.waiting), (1, MAX_WAITING))
        self.assertEqual(sum(mute.lost for mute in mutes), 3)
        self.assertEqual({refused.rule for refused in one.of(Refused)}, {"busy"})

    def test_nobody_waits_for_ever(self) -> None:
        """Who waits too long is sent away; a wire that does not tell how handshakes end keeps nobody out for long."""
        one = self.home(1, max_pending=1, inbound_throttle=0)
        one.household.sessions._settled = lambda address: None  # type: ignore[assignment]
        self.meet(one, self.home(2))
        [mute] = self.strangers(1, one)
        self.network.advance(MAX_WAIT - 1.0)
        self.assertFalse(mute.lost)
        self.network.advance(1.2)
        self.assertTrue(mute.lost)
        self.assertEqual(
            [(refused.rule, refused.detail) for refused in one.of(Refused)], [("busy", "has waited 10 s at the door")]
        )
        self.network.advance(MAX_HANDSHAKE - MAX_WAIT - 2.0)
        self.strangers(1, one)
        self.assertEqual(one.household.doorway.waiting, 1)
        self.network.advance(2.0)
        self.assertEqual((one.household.doorway.waiting, one.household.doorway.inside), (0, 1))

    def test_two_doors(self) -> None:
        """From one port to two doors: each place that was taken at the door is given back."""
        one = self.home(1, max_pending=2, ports=(PORT, PORT + 1), inbound_throttle=0)
        host = self.network.host("30.0.0.1")
        for round_ in range(3):
            for port in (PORT, PORT + 1):
                host.connectTCP("10.0.0.1", port, ClientFactory.forProtocol(Mute), bindAddress=("", 5000 + round_))
            self.network.advance(2 * PATIENCE)
        self.assertEqual((one.household.doorway.inside, one.household.books.doorman.pending), (0, 0))

    def test_lost_in_line(self) -> None:
        """Who gives up waiting is out of the line as soon as it is its turn."""
        one = self.home(1, max_pending=1)
        self.strangers(2, one)
        self.network.hosts["30.0.1.1"].vanish()
        self.network.advance(30.0)
        self.assertEqual((one.household.doorway.waiting, one.household.books.doorman.pending), (0, 0))

    def test_stop(self) -> None:
        """When the household stops, nobody is left at its door, neither in line nor in the handshake."""
        one = self.home(1, max_pending=1)
        mutes = self.strangers(3, one)
        self.stop(one)
        self.network.advance(0.1)
        self.assertTrue(all(mute.lost for mute in mutes))


class DialingTests(ToyTestCase):
    def test_static(self) -> None:
        """A static peer is called, and again when it is gone; not any more once it is removed."""
        one, two = self.home(1), self.home(2)
        self.assertTrue(self.successResultOf(two.household.addPeer(one.node)))
        self.network.run_until(lambda: one.peers and two.peers)
        one.session(two).disconnect(DisconnectReason.REQUESTED)
        self.network.advance(5.0)
        self.assertEqual((len(two.of(PeerDropped)), two.peers), (1, {one.node.node_id}))
        self.assertTrue(self.successResultOf(two.household.removePeer(one.node)))
        self.network.advance(100.0)
        self.assertEqual((two.peers, two.household.dialing.attempts), (set(), 2))
        self.assertFalse(self.successResultOf(two.household.removePeer(one.node)))

    def test_remove_before_hello(self) -> None:
        """A peer that is removed while it greets does not come in."""
        one, two = self.home(1), self.home(2)
        two.household.addPeer(one.node)
        self.network.run_until(lambda: len(two.household.roster))
        self.assertEqual(two.peers, set())
        two.household.removePeer(one.node)
        self.network.advance(10.0)
        self.assertEqual((two.of(PeerAdded), two.household.dialing.attempts), ([], 1))

    def test_remove_while_calling(self) -> None:
        """A call that is given up is no failure."""
        two = self.home(2)
        gone = self.home(1)
        gone.host.vanish()
        two.household.addPeer(gone.node)
        self.network.advance(1.0)
        two.household.removePeer(gone.node)
        self.network.advance(100.0)
        self.assertEqual((two.of(DialFailed), two.household.dialing.attempts), ([], 1))

    def test_wire_that_raises(self) -> None:
        """A wire that cannot even begin a call has failed it."""
        two = self.home(2)

        def broken(node: Any, connected: Any) -> Any:
            raise ValueError("no such door")

        two.household.dialing._connect = broken
        two.household.addPeer(self.home(1).node)
        self.network.advance(2.0)
        self.assertEqual([failed.reason for failed in two.of(DialFailed)], ["no such door"] * 2)

    def test_too_many_static(self) -> None:
        """More static peers than there may be are not taken."""
        self.patch(ethp2p.peers.dialer, "MAX_STATIC_PEERS", 1)
        two = self.home(2)
        self.assertTrue(self.successResultOf(two.household.addPeer(self.home(1).node)))
        self.assertFalse(self.successResultOf(two.household.addPeer(self.home(3).node)))

    def test_looking(self) -> None:
        """With too few peers a line says so every now and then, and what is in the way; with enough there is none."""
        one = self.home(1, min_peers=1)
        gone = self.home(2)
        gone.host.vanish()
        one.household.addPeer(gone.node)
        self.network.advance(3 * LOOK + 1.0)
        lines = [line for line in self.log if line.startswith("looking for peers (0 of at least 1): ")]
        self.assertIn("1 came to nothing: 1 timeout", " ".join(lines))
        self.assertIn("1 static", lines[-1])
        self.assertTrue(2 <= len(lines) <= 3, lines)
        three = self.home(3)
        one.household.addPeer(three.node)
        self.network.run_until(lambda: one.peers)
        self.log.clear()
        self.network.advance(3 * LOOK)
        self.assertEqual([line for line in self.log if "looking" in line], [])


class LivePolicyTests(ToyTestCase):
    def change(self, home: Home, **values: Any) -> None:
        home.household.setPolicy(home.household.books.policy.changed(**values), tuple(values))
        self.network.advance(1.0)

    def test_fewer_places(self) -> None:
        """Those who came last have to go, and hear why; static ones after others, trusted ones never."""
        one = self.home(1, max_peers=9)
        others = [self.home(number) for number in range(2, 8)]
        trusted, static = others[5], others[4]
        one.household.trust(trusted.node)
        one.household.roster.static.add(static.node.node_id)
        for other in others:
            self.meet(one, other)
            self.network.advance(1.0)
        self.change(one, max_peers=3)  # two for callers
        self.assertEqual(one.peers, {others[0].node.node_id, static.node.node_id, trusted.node.node_id})
        self.assertEqual(others[3].goodbyes, [(FULL, "there are fewer places now")])
        self.assertEqual([event.names for event in one.of(PolicyChanged)], [("max_peers",)])
        self.assertIn("All places were taken", one.verdict(others[3]))

    def test_fewer_places_and_others_trusted(self) -> None:
        """Who is made trusted or static at the same time as places become fewer stays."""
        one = self.home(1, max_peers=9)
        others = [self.home(number) for number in range(2, 6)]
        for other in others:
            self.meet(one, other)
            self.network.advance(1.0)
        policy = one.household.books.policy.changed(max_peers=2, min_peers=0)  # one for callers
        one.household.setPolicy(policy, static=[others[2].node], trusted=[others[3].node])
        self.network.advance(1.0)
        self.assertEqual(one.peers, {others[2].node.node_id, others[3].node.node_id})

    def test_netrestrict(self) -> None:
        """Who is outside the networks that are permitted from now on has to go, trusted or not, and is not called."""
        one, near, far = self.public(1), self.home(2), self.public(3)
        one.household.trust(far.node)
        self.meet(one, near, far)
        one.household.addPeer(far.node)
        self.change(one, netrestrict=Netrestrict.parse("10.0.0.0/8"))
        self.assertEqual(one.peers, {near.node.node_id})
        self.assertIn("20.0.3.1 is outside 10.0.0.0/8", one.verdict(far))
        self.network.advance(300.0)
        self.assertEqual((one.household.dialing.attempts, one.peers), (0, {near.node.node_id}))
        far.ring(one)
        self.network.advance(1.0)
        self.assertEqual([refused.rule for refused in one.of(Refused)], ["netrestrict"])
        self.change(one, netrestrict=None)
        self.network.run_until(lambda: far.node.node_id in one.peers, limit=100.0)

    def test_client_names(self) -> None:
        """Clients that are refused from now on have to go."""
        one, good, evil = self.home(1), self.home(2), self.home(3, client="evil/1.0")
        self.meet(one, good, evil)
        self.change(one, refuse_clients=["^evil"])
        self.assertEqual(one.peers, {good.node.node_id})
        self.assertEqual(evil.goodbyes[0][0], DisconnectReason.USELESS_PEER)
        self.assertIn("A rule of the operator keeps it out", one.verdict(evil))

    def test_more_places(self) -> None:
        """When there are more places the calls that waited for one are made."""
        one = self.home(1, max_peers=1)
        self.meet(one, *[])
        for number in (2, 3):
            one.household.addPeer(self.home(number).node)
        self.network.advance(10.0)
        self.assertEqual(len(one.peers), 1)
        self.change(one, max_peers=6)
        self.network.advance(1.0)
        self.assertEqual(len(one.peers), 2)

    def test_trusted_meanwhile(self) -> None:
        """A static peer that waits for a place is called as soon as it is trusted, since then it needs none."""
        one, two, three = self.home(1, max_peers=1, min_peers=0), self.home(2), self.home(3)
        one.household.addPeer(two.node)
        self.network.run_until(lambda: one.peers)
        one.household.addPeer(three.node)
        self.network.advance(60.0)
        self.assertEqual(len(one.peers), 1)
        one.household.trust(three.node)
        self.network.advance(1.0)
        self.assertEqual(len(one.peers), 2)

    def test_static_and_trusted_sets(self) -> None:
        """All static and all trusted peers may be set at once."""
        one, two, three = self.home(1), self.home(2), self.home(3)
        one.household.setStatic([two.node])
        one.household.setTrusted([two.node, three.node])
        self.network.run_until(lambda: one.peers)
        one.household.setStatic([three.node])
        one.household.setTrusted([three.node])
        self.network.advance(10.0)
        self.assertEqual(one.peers, {three.node.node_id})
        self.assertEqual(one.household.roster.trusted, {three.node.node_id})


class RotationTests(ToyTestCase):
    def full(self, **options: Any) -> tuple[Home, list[Home]]:
        one = self.home(1, max_peers=4, random=lambda: 0.5, **options)
        others = [self.home(number) for number in range(2, 5)]
        self.meet(one, *others)
        return one, others

    def test_one_goes(self) -> None:
        """When full, every few minutes a random peer makes room: none that is young, trusted, or of much use."""
        one, (useful, trusted, other) = self.full()
        one.household.trust(trusted.node)
        late = self.home(5)
        one.household.setPolicy(one.household.books.policy.changed(max_peers=3))
        self.network.advance(1.0)
        self.assertEqual(len(one.peers), 3)
        one.household.sessions.requestDone(one.session(useful), "Question", 5, 1000, 0.1, result="ok")
        self.network.advance(595.0)
        self.assertEqual(one.of(PeerDropped), [])  # all were young
        self.network.advance(300.0)
        [dropped] = one.of(PeerDropped)
        self.assertEqual((dropped.peer.node_id, dropped.reason), (other.node.node_id, FULL))
        self.assertEqual(dropped.detail, "makes room for newcomers")
        self.meet(one, late)
        self.network.advance(550.0)
        self.assertEqual(len(one.of(PeerDropped)), 1)

    def test_trusted_take_no_place(self) -> None:
        """Trusted callers fill no places, so nobody has to make room while there are free ones."""
        one, trusted, other = self.home(1, max_peers=4, dial_ratio=2), self.home(2), self.home(3)
        one.household.trust(trusted.node)
        self.meet(one, trusted, other)  # one of two places for callers is taken
        self.network.advance(2000.0)
        self.assertEqual(one.of(PeerDropped), [])

    def test_full_of_static(self) -> None:
        """When static peers have taken places of callers, a caller makes room for others."""
        one, caller, *static = (self.home(number, max_peers=3, rotate=number == 1) for number in range(1, 5))
        for each in static:
            one.household.addPeer(each.node)
        self.network.run_until(lambda: len(one.peers) == 2)
        self.meet(one, caller)  # all three places are taken, one of two for callers
        self.network.advance(1100.0)
        [dropped] = one.of(PeerDropped)
        self.assertEqual((dropped.peer.node_id, dropped.by_us), (caller.node.node_id, True))

    def test_not_unless_full(self) -> None:
        """While there is room, or when the policy says so, nobody has to go."""
        for options in ({"rotate": False}, {}):
            one, others = self.full(**options)
            if not options:
                self.stop(others[0])
            self.network.advance(2000.0)
            self.assertLessEqual(len(one.of(PeerDropped)), len(others) - len(one.peers))
            self.assertEqual({dropped.by_us for dropped in one.of(PeerDropped)} - {False}, set())
            self.network = type(self.network)()


class LifecycleTests(ToyTestCase):
    def test_summary(self) -> None:
        """How things are, once a minute in one line."""
        one, two, three = self.home(1, max_peers=2), self.home(2), self.home(3)
        self.meet(one, two)
        three.ring(one)
        one.household.sessions.offenceSeen(one.session(two), Offence.TIMEOUT, "no answer")
        one.household.ban("192.0.2.0/24", None, "")
        self.network.advance(61.0)
        [line] = [line for line in self.log if " of 2, " in line]
        self.assertEqual(
            line,
            "1 peers of 2, 0 called and 1 callers; calls: 0 connected, 0 greeted, 0 lasted a minute; "
            "1 not let in, 1 offences, 1 bans",
        )

    def test_stop(self) -> None:
        """Who is here is told goodbye, callers are not let in any more, and nothing is left on the clock."""
        one, two, three = self.home(1), self.home(2), self.home(3)
        self.meet(one, two)
        one.household.addPeer(three.node)
        self.network.run_until(lambda: len(one.peers) == 2)
        self.stop(one)
        self.network.advance(0.1)
        for other in (two, three):
            self.assertEqual(other.goodbyes, [(DisconnectReason.CLIENT_QUITTING, "")])
        self.assertEqual((len(one.household.sessions), len(one.wheel)), (0, 0))
        outcome = two.ring(one)
        self.network.run_until(lambda: outcome)
        self.assertEqual(one.host.getDelayedCalls(), [])

    def test_who_greets_while_we_stop(self) -> None:
        """One whose identity becomes known while the household stops is told so."""
        one, two, three = self.home(1), self.home(2), self.home(3)
        self.meet(one, three)
        self.stuff(one, three)
        two.ring(one)
        self.network.run_until(lambda: len(one.sessions) == 2)
        one.household.stopService()
        self.network.advance(1.0)
        self.assertEqual(two.goodbyes[:1], [(DisconnectReason.CLIENT_QUITTING, "about to stop")])

    def test_stuck_peers(self) -> None:
        """Peers that take no goodbye do not keep the household from stopping in time."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        self.stuff(one, two)
        began = self.network.now
        self.stop(one)
        self.assertLess(self.network.now - began, 3.5)
        self.assertEqual(len(one.household.sessions), 0)

    def stuff(self, one: Home, two: Home) -> None:
        """Have so much on its way to a peer that reads no more that nothing else comes through."""
        two.session(one)._transport.pauseProducing()
        one.session(two)._transport.write(b"x" * 10_000_000)

    def test_again(self) -> None:
        """A household that was stopped can be started again."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        self.network.wait_for(one.household.stopService(), limit=3.5)
        one.household.listening.started = type(one.household.listening.started)()
        one.household.startService()
        self.assertTrue(self.successResultOf(one.household.ban("192.0.2.1", None, ""))[1])
        self.meet(one, two)

    def test_ended_twice_over(self) -> None:
        """How a session ends is told once, with the reason that ended it, whatever comes after."""
        one, two = self.home(1), self.home(2)
        self.meet(one, two)
        session = one.session(two)
        session.disconnect(DisconnectReason.USELESS_PEER, "first")
        one.household.sessions.sendAway(session, Rule.BANNED, "second")
        self.network.advance(1.0)
        [dropped] = one.of(PeerDropped)
        self.assertEqual((dropped.reason, dropped.detail), (DisconnectReason.USELESS_PEER, "first"))
        self.assertIn("nothing to talk about", one.verdict(two))
        one.household.sessions.sendAway(session, Rule.BANNED, "third")
        self.assertIsInstance(session.ended, PeerDisconnected)
