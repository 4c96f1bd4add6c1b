"""
Whom the dialer calls: tables of rounds.  A round is what happens at a time, and the calls that follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Netrestrict
from ethp2p.errors import DisconnectReason
from ethp2p.peers import backoff
from ethp2p.peers import dialer as module
from ethp2p.peers.backoff import (
    BACKOFF,
    FAR_BACKOFF,
    HISTORY,
    MAX_BACKOFF,
    NEAR_BACKOFF,
    NEAR_CAP,
    THROTTLED,
    Cause,
)
from ethp2p.peers.dialer import (
    DRY,
    GOOD_SESSION,
    JITTER,
    RESTART_WINDOW,
    RESTARTS,
    TRIES,
    Callee,
    Dialer,
    Rejection,
    Seats,
)

#: Between two rounds of a table, seconds.
STEP = 16.0
ROOMY = Seats(dialed=0, max_dialed=16, free=50)
FULL = Seats(dialed=16, max_dialed=16, free=0)
PORT = 30303


def steady() -> float:
    return 0.0


def ident(number: int) -> bytes:
    return number.to_bytes(32, "big")


def far(number: int) -> str:
    """An address on the Internet."""
    return f"8.8.{number >> 8}.{number & 255}"


def near(number: int) -> str:
    """An address on our own network."""
    return f"10.0.{number >> 8}.{number & 255}"


@attrs.frozen(kw_only=True)
class Round:
    """
    Nodes go by number.

    @ivar joined: peers that came otherwise than by a call of ours; True if they count as dialed.
    @ivar left: peers that left, after a good session.
    @ivar update: what else happens first.
    @ivar found: discovered, some perhaps only taken in a later round.
    @ivar met: calls that become peers.
    @ivar failed: calls that come to nothing.
    @ivar calls: the new calls.
    """

    joined: Mapping[int, bool] = attrs.field(factory=dict)
    left: Sequence[int] = ()
    update: Callable[[World], object] = lambda world: None
    found: Sequence[int] = ()
    met: Sequence[int] = ()
    failed: Sequence[int] = ()
    cause: Cause = Cause.TIMEOUT
    calls: Iterable[int] = ()


class World:
    """What the dialer's owner does, without the calls themselves."""

    def __init__(self, *, max_active: int = 50, max_dialed: int = 16, max_peers: int = 50, min_peers: int = 0) -> None:
        self.dialer = Dialer(steady, own_id=ident(0xFFFF), max_active=max_active)
        self.max_dialed, self.max_peers, self.min_peers = max_dialed, max_peers, min_peers
        self.now = 0.0
        self.peers: dict[bytes, bool] = {}
        self.backlog: deque[tuple[int, str]] = deque()
        self.rejections: list[Rejection] = []

    @property
    def seats(self) -> Seats:
        return Seats(
            dialed=sum(self.peers.values()),
            max_dialed=self.max_dialed,
            free=max(0, self.max_peers - len(self.peers)),
            min_peers=self.min_peers,
        )

    def static(self, *numbers: int, host: Callable[[int], str] = far) -> None:
        for number in numbers:
            self.dialer.add(ident(number), host(number), PORT, self.now, number)

    def pump(self) -> list[int]:
        """The calls to make now, as the owner makes them."""
        made = [callee.node_id for callee in self.dialer.next_calls(self.peers, self.seats, self.now)]
        while self.backlog and self.dialer.wanted(self.seats):
            number, host = self.backlog.popleft()
            verdict = self.dialer.found(ident(number), host, PORT, self.peers, self.seats, self.now, number)
            if verdict is None:
                made.append(ident(number))
            else:
                self.rejections.append(verdict)
        return [int.from_bytes(node_id, "big") for node_id in made]

    def met(self, number: int) -> None:
        self.dialer.connected(ident(number))
        self.peers[ident(number)] = True

    def failed(self, number: int, cause: Cause = Cause.TIMEOUT) -> Callee | None:
        return self.dialer.failed(ident(number), cause, cause.words, self.now)

    def left(self, number: int, cause: Cause = Cause.LOST, lasted: float = GOOD_SESSION) -> None:
        del self.peers[ident(number)]
        self.dialer.ended(ident(number), cause, lasted, cause.words, self.now)

    def find(self, *numbers: int, host: Callable[[int], str] = far) -> None:
        self.backlog.extend((number, host(number)) for number in numbers)


class TableTests(SynchronousTestCase):
    """What go-ethereum's dial tests cover, in our own words, and with what we do otherwise."""

    def play(self, world: World, *rounds: Round) -> None:
        for number, each in enumerate(rounds):
            for joined, dialed in each.joined.items():
                world.peers[ident(joined)] = dialed
            for gone in each.left:
                world.left(gone)
            each.update(world)
            world.find(*each.found)
            for one in each.met:
                world.met(one)
            for one in each.failed:
                world.failed(one, each.cause)
            self.assertEqual(sorted(world.pump()), sorted(each.calls), f"round {number}")
            world.now += STEP

    def test_found(self) -> None:
        """Found nodes are called while there is room: twice as many as there are places."""
        self.play(
            World(max_active=5, max_dialed=4),
            Round(joined={0: True, 1: True, 2: True}, found=[0, 2, 3, 4, 5, 6, 7, 8], calls=[3, 4]),
            Round(failed=[4], calls=[5]),
            Round(met=[3], failed=[5], found=[9]),  # no place is left
            Round(left=[0, 1, 2], found=[10, 11, 12, 13], calls=[6, 7, 8, 9, 10]),  # six slots, but five calls
        )

    def test_netrestrict(self) -> None:
        """Nodes outside our networks are not called; of a name it is not known where it leads."""
        world = World()
        world.dialer.netrestrict = Netrestrict.parse("8.8.2.0/24")
        self.play(world, Round(found=[0x101, 0x201, 0x102, 0x202], calls=[0x201, 0x202]))
        self.assertEqual(world.rejections, [Rejection.NETRESTRICT] * 2)
        world.find(5, host=lambda number: "peer.example")
        self.assertEqual(world.pump(), [5])

    def test_netrestrict_static(self) -> None:
        """A static peer outside them waits until they change, and a former peer as well."""
        world = World()
        world.dialer.netrestrict = Netrestrict.parse("9.9.9.9")
        world.dialer.remember(ident(2), far(2), PORT, 0.0)
        self.play(
            world,
            Round(update=lambda world: world.static(1)),
            Round(update=lambda world: setattr(world.dialer, "netrestrict", None)),
            *[Round()] * 2,
            Round(calls=[1, 2]),
        )
        callee = world.dialer.get(ident(1))
        assert callee is not None
        self.assertIs(callee.cause, Cause.NETRESTRICT)

    def test_static(self) -> None:
        """Static peers are called before found ones, and no more of them than there are places for."""
        self.play(
            World(max_active=5, max_dialed=4, max_peers=4),
            Round(
                joined={1: True, 2: True},
                update=lambda world: world.static(1, 2, 3, 4, 5, 6, 7, 8, 9),
                found=[20],
                calls=[3, 4, 5, 6],
            ),
            Round(met=[3], failed=[4, 5, 6], calls=[7, 8]),  # one place
            Round(joined={7: False}, left=[1], failed=[7, 8], cause=Cause.ALREADY_CONNECTED, calls=[9, 0x14]),
            Round(met=[9]),  # all places are taken
        )

    def test_static_before_found(self) -> None:
        self.play(
            World(max_active=3),
            Round(update=lambda world: world.static(1, 2), found=[3, 4], calls=[1, 2, 3]),
            Round(failed=[1], calls=[4]),
        )

    def test_trusted(self) -> None:
        """Trusted static peers are called when all places are taken; the others are not."""
        world = World(max_dialed=1, max_peers=1)
        world.dialer.trusted = {ident(2)}
        self.play(world, Round(joined={9: True}, update=lambda world: world.static(1, 2), calls=[2]))

    def test_remove(self) -> None:
        """A static peer that is removed is not called again: neither now, nor after its call, nor from memory."""
        self.play(
            World(max_active=1, max_dialed=1, min_peers=1),
            Round(update=lambda world: world.static(1, 2, 3), calls=[1]),
            Round(failed=[1], calls=[2]),
            Round(update=lambda world: [world.dialer.remove(ident(number)) for number in (1, 2, 3)], failed=[2]),
            *[Round()] * 60,
            Round(found=[1], calls=[1]),  # unless discovery finds it
        )

    def test_many(self) -> None:
        """Everybody has a turn before anybody has a second one."""
        world, called = World(max_dialed=2, max_peers=2), []
        world.static(*range(100))
        while len(called) < 100:
            calls = world.pump()
            self.assertLessEqual(len(calls), 4)
            called += calls
            for number in calls:
                world.failed(number)
            world.now += 0.1
        self.assertEqual(sorted(called), list(range(100)))

    def test_history(self) -> None:
        """A node is not called again for a while."""
        self.play(
            World(max_active=3, max_dialed=3),
            Round(update=lambda world: world.static(1, 2, 3), calls=[1, 2, 3]),
            Round(met=[1, 2], failed=[3]),
            Round(),
            Round(),
            Round(calls=[3]),
        )

    def test_resolve(self) -> None:
        """A static peer without an address is called when discovery finds it, and at the new one when it moved."""
        world = World()
        world.dialer.add(ident(1), "", 0, 0.0)
        self.assertEqual(world.pump(), [])
        world.find(1, host=lambda number: "9.0.0.1")
        self.assertEqual(world.pump(), [])  # the answer comes with the next round
        [call] = world.dialer.next_calls(world.peers, world.seats, world.now)
        self.assertEqual((call.host, call.port, call.node), ("9.0.0.1", PORT, 1))
        world.now += STEP
        world.failed(1, Cause.UNREACHABLE)
        world.failed(1, Cause.UNREACHABLE)
        world.find(1, host=lambda number: "9.0.0.2")
        self.assertEqual(world.pump(), [])
        world.now = HISTORY  # and not only after what two failures cost
        [call] = world.dialer.next_calls(world.peers, world.seats, world.now)
        self.assertEqual(call.host, "9.0.0.2")
        world.failed(1, Cause.TOO_MANY_PEERS)  # it is there
        world.find(1, host=lambda number: "9.0.0.3")
        world.pump()
        self.assertEqual(call.host, "9.0.0.2")
        self.assertEqual(world.rejections, [Rejection.STATIC] * 3)

    def test_host_name(self) -> None:
        """A name is handed on at every call, so that it is resolved anew."""
        world = World()
        world.static(1, host=lambda number: "node.example")
        for _ in range(2):
            [call] = world.dialer.next_calls(world.peers, world.seats, world.now)
            self.assertEqual((call.host, call.near), ("node.example", False))
            world.failed(1, Cause.UNREACHABLE)
            world.now += 2 * FAR_BACKOFF

    def test_pending_inbound(self) -> None:
        """Who is calling us is not called at the same time, be it static or found."""
        self.play(
            World(max_active=5, max_dialed=4),
            Round(
                joined={1: True, 2: True},
                update=lambda world: (world.dialer.pending_inbound(ident(3)), world.dialer.pending_inbound(ident(9))),
                found=[3, 4, 5],
                calls=[4, 5],
            ),
            Round(
                update=lambda world: world.dialer.pending_over(ident(3)),
                joined={3: False},
                met=[4],
                failed=[5],
                found=[3, 6],
                calls=[6],
            ),
            Round(
                left=[3],
                update=lambda world: (world.dialer.pending_inbound(ident(7)), world.static(9)),
                found=[3, 7],
                calls=[3],
            ),
            Round(failed=[3, 6], update=lambda world: world.dialer.pending_over(ident(9)), calls=[9]),
        )

    def test_rejections(self) -> None:
        """Each reason not to call a found node."""
        world = World()
        world.dialer.netrestrict = Netrestrict.parse("8.0.0.0/8")
        world.dialer.banned = lambda node_id, host: "spam" if node_id == ident(6) or host == far(7) else ""
        world.static(1)
        world.dialer.pending_inbound(ident(4))
        world.find(10, 11)
        world.pump()
        world.failed(11)
        world.peers[ident(3)] = False
        for number, host, port, expected in [
            (0xFFFF, far(0), PORT, Rejection.SELF),
            (1, far(1), PORT, Rejection.STATIC),
            (2, "", PORT, Rejection.NO_ADDRESS),
            (2, far(2), 0, Rejection.NO_ADDRESS),
            (3, far(3), PORT, Rejection.CONNECTED),
            (4, far(4), PORT, Rejection.PENDING_INBOUND),
            (5, "9.9.9.9", PORT, Rejection.NETRESTRICT),
            (6, far(6), PORT, Rejection.BANNED),
            (7, far(7), PORT, Rejection.BANNED),
            (10, far(10), PORT, Rejection.CALLING),
            (11, far(11), PORT, Rejection.RECENT),
            (12, far(12), PORT, None),
        ]:
            verdict = world.dialer.found(ident(number), host, port, world.peers, world.seats, 0.0)
            self.assertIs(verdict, expected, number)
        self.assertEqual(world.dialer.candidates, 14)
        self.assertEqual(world.dialer.rejected[Rejection.BANNED], 2)
        world.now = HISTORY
        world.dialer.ended(ident(11), Cause.WRONG_CHAIN, 0.0, "", world.now)
        world.now = 2 * HISTORY
        verdict = world.dialer.found(ident(11), far(11), PORT, (), world.seats, world.now)
        self.assertIs(verdict, Rejection.BACKOFF)

    def test_banned_static(self) -> None:
        """A banned static peer is not called until the ban is over: at once when that is told, else a little later."""
        bans = {ident(1): "spam", ident(2): "spam"}
        world = World()
        world.dialer.banned = lambda node_id, host: bans.get(node_id, "")
        self.play(
            world,
            Round(update=lambda world: world.static(1, 2)),
            Round(update=lambda world: (bans.clear(), world.dialer.forgive(ident(1), world.now)), calls=[1]),
            Round(),
            Round(),
            Round(calls=[2]),
        )

    def test_wanted(self) -> None:
        """Twice as many calls as free places, within the cap, less those under way."""
        for dialed, most, under_way, wanted in [
            (0, 16, 0, 32),
            (0, 50, 0, module.MAX_ACTIVE_DIALS),
            (15, 16, 0, 2),
            (16, 16, 0, 0),
            (17, 16, 0, 0),
            (0, 16, 5, 27),
            (15, 16, 5, 0),
        ]:
            world = World()
            world.find(*range(under_way))
            world.pump()
            seats = Seats(dialed=dialed, max_dialed=most, free=most)
            self.assertEqual(world.dialer.wanted(seats), wanted)


class BackoffTests(SynchronousTestCase):
    def waits(self, cause: Cause, host: Callable[[int], str], count: int) -> list[float]:
        """How long a static peer waits each time it ends so."""
        world, waits = World(), []
        world.static(1, host=host)
        for _ in range(count):
            self.assertEqual(world.pump(), [1])
            callee = world.failed(1, cause)
            assert callee is not None
            waits.append(callee.due - world.now)
            world.now = max(callee.ready(hungry=False), world.now) - 0.01
            self.assertEqual(world.pump(), [])
            world.now += 0.02
        return [round(wait) for wait in waits]

    def test_causes(self) -> None:
        """What is waited after each cause: it grows up to a cap."""
        for cause, expected in [
            (Cause.TOO_MANY_PEERS, [35, 70, 140, 280, 560, 600, 600]),
            (Cause.REFUSED, [35, 70, 140, 280, 560, 600]),
            (Cause.TIMEOUT, [35, 70, 140, 280, 560, 900, 900]),
            (Cause.UNREACHABLE, [35, 70, 140, 280, 560, 900, 900]),
            (Cause.LOST, [35, 70]),
            (Cause.QUITTING, [35, 70]),
            (Cause.REQUESTED, [35, 70]),
            (Cause.ALREADY_CONNECTED, [35, 35, 35]),
            (Cause.USELESS, [180, 360, 720, 1440, 2880, 3600, 3600]),
            (Cause.BAD_HANDSHAKE, [180, 360]),
            (Cause.BREACH, [180, 360]),
            (Cause.NOT_ADMITTED, [180, 360]),
            (Cause.INCOMPATIBLE, [900, 1800, 3600, 3600]),
            (Cause.WRONG_CHAIN, [900, 1800, 3600, 3600]),
            (Cause.UNEXPECTED_IDENTITY, [900, 1800]),
            (Cause.SELF, [3600, 3600]),
        ]:
            self.assertEqual(self.waits(cause, far, len(expected)), expected, cause)

    def test_near(self) -> None:
        """A static peer on our own network is called again soon, whatever the cause."""
        for cause in (Cause.REFUSED, Cause.TOO_MANY_PEERS, Cause.WRONG_CHAIN):
            self.assertEqual(self.waits(cause, near, 8), [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual((NEAR_BACKOFF, NEAR_CAP), (1.0, 60.0))

    def test_data(self) -> None:
        """Every cause has a wait: long enough for who throttles, growing, and within the cap."""
        self.assertEqual(set(BACKOFF), set(Cause))
        for cause, wait in BACKOFF.items():
            self.assertLessEqual(THROTTLED, wait.first, cause)
            self.assertLessEqual(wait.first, wait.cap, cause)
            self.assertLessEqual(wait.cap, MAX_BACKOFF, cause)
            self.assertGreaterEqual(wait.growth, 1.0, cause)
        self.assertEqual(max(wait.cap for wait in BACKOFF.values()), MAX_BACKOFF)

    def test_jitter(self) -> None:
        """A wait is stretched by its share at most."""
        dialer = Dialer(lambda: 1.0)
        dialer.add(ident(1), far(1), PORT, 0.0)
        dialer.next_calls((), ROOMY, 0.0)
        dialer.failed(ident(1), Cause.REFUSED, "", 0.0)
        self.assertAlmostEqual(dialer.next_timer((), ROOMY, 0.0) or 0.0, FAR_BACKOFF * (1 + JITTER))

    def test_session_lengths(self) -> None:
        """A good session wipes the failures before it; short ones count as failures."""
        for lasted, waits in [(GOOD_SESSION, [1, 1, 1, 1]), (GOOD_SESSION - 1, [1, 2, 4, 8])]:
            world = World()
            world.static(1, host=near)
            for wait in waits:
                self.assertEqual(world.pump(), [1])
                world.met(1)
                self.assertEqual(world.pump(), [])
                world.left(1, lasted=lasted)
                self.assertEqual(world.dialer.next_timer((), ROOMY, world.now), world.now + wait)
                world.now += wait

    def test_hungry(self) -> None:
        """With too few peers no wait is longer than the first one, which is never too short."""
        for cause, wait in [(Cause.TOO_MANY_PEERS, HISTORY), (Cause.TIMEOUT, HISTORY), (Cause.WRONG_CHAIN, 900.0)]:
            world = World(min_peers=3)
            world.find(1)
            self.assertEqual(world.pump(), [1])
            world.failed(1, cause)
            callee = world.failed(1, cause)
            assert callee is not None
            self.assertEqual(callee.ready(hungry=True), wait)
            self.assertEqual(callee.ready(hungry=False), 1800.0 if cause is Cause.WRONG_CHAIN else 70.0)
        for dialed, most, least, hungry in [(2, 16, 3, True), (3, 16, 3, False), (1, 1, 3, False), (0, 1, 3, True)]:
            seats = Seats(dialed=dialed, max_dialed=most, free=1, min_peers=least)
            self.assertIs(seats.hungry, hungry)

    def test_restarts(self) -> None:
        """A far peer that is lost again and again is called so often in a while, and a near static one more often."""
        for host, many in [(far, False), (near, True)]:
            world, times = World(min_peers=1), []
            world.static(1, host=host)
            while world.now < 3 * RESTART_WINDOW:
                for number in world.pump():
                    times.append(world.now)
                    world.met(number)
                    world.left(number)
                world.now += 1.0
            busiest = max(sum(start <= time < start + RESTART_WINDOW for time in times) for start in times)
            self.assertIs(busiest > RESTARTS + 1, many)
            self.assertGreater(len(times), 2 * RESTARTS)  # and it is never over

    def test_forgive(self) -> None:
        """What is asked for by hand is done soon, but nobody is called twice within the history."""
        world = World()
        world.find(1)
        world.pump()
        world.failed(1, Cause.WRONG_CHAIN)
        world.now = 10.0
        world.static(1)
        self.assertEqual(world.pump(), [])
        world.now = HISTORY
        self.assertEqual(world.pump(), [1])
        world.static(1)  # nothing changes
        self.assertEqual(world.pump(), [])


class RedialTests(SynchronousTestCase):
    """Nodes that discovery found once, called again by ourselves."""

    def test_lost(self) -> None:
        """A peer that was found and is lost is called again, even if discovery tells nothing any more."""
        world = World()
        world.find(1)
        world.pump()
        world.met(1)
        world.now = 100.0
        world.left(1)
        self.assertEqual(world.pump(), [])
        timer = world.dialer.next_timer(world.peers, world.seats, world.now)
        assert timer is not None
        self.assertLessEqual(timer, 100.0 + FAR_BACKOFF)
        world.now = 100.0 + FAR_BACKOFF
        self.assertEqual(world.pump(), [1])

    def test_inbound(self) -> None:
        """Who called us is not called back, since nobody has told where it listens; unless somebody has."""
        world = World(min_peers=3)
        for number in (1, 2, 3):
            world.peers[ident(number)] = False
        world.find(2)  # while it is here
        world.static(3)
        self.assertEqual(world.pump(), [])
        for number in (1, 2, 3):
            world.left(number)
        self.assertIsNone(world.dialer.get(ident(1)))
        for _ in range(10):
            world.now += STEP
            for number in world.pump():
                self.assertEqual(number, 3)
                world.failed(number)
        world.find(1)
        self.assertIn(1, world.pump())

    def test_half(self) -> None:
        """Former peers have half of the room, newcomers the rest; all of it when none are found for a while."""
        world = World(max_dialed=4)
        for number in range(20):
            world.dialer.remember(ident(number), far(number), PORT, 0.0, number)
        world.find(*range(100, 120))
        calls = world.pump()
        self.assertEqual(len(calls), 8)
        self.assertEqual([number for number in calls if number < 100], [19, 18])
        world.met(19)
        world.met(calls[-1])
        for number in calls[1:-1]:
            world.failed(number)
        world.now = 1.0
        [again, *others] = world.pump()
        self.assertEqual((again, len(others), min(others)), (17, 3, 106))
        for number in (again, *others):
            world.failed(number)
        world.now = 2.0
        world.backlog.clear()
        self.assertEqual(world.pump(), [16])
        world.failed(16)
        world.now = 1.0 + DRY
        self.assertEqual(world.pump(), [15, 14])

    def test_the_rest_after_a_while(self) -> None:
        """The timer tells when all of the room is for former peers."""
        world = World(max_dialed=4)
        for number in range(4):
            world.dialer.remember(ident(number), far(number), PORT, 0.0, number)
        for number in world.pump():
            world.met(number)
        self.assertEqual(len(world.peers), 2)
        why = world.dialer.why_not(ident(1), world.peers, world.seats, 0.0)
        self.assertEqual(why, "the places that are left are for nodes that discovery finds")
        self.assertEqual(world.dialer.next_timer(world.peers, world.seats, 0.0), DRY)
        world.now = DRY
        self.assertEqual(world.pump(), [1, 0])

    def test_proven_first(self) -> None:
        """Those that we reached come before those that only called us, until they have failed often."""
        world = World(max_dialed=1)
        world.dialer.remember(ident(1), far(1), PORT, 0.0, reached=True)
        world.dialer.remember(ident(2), far(2), PORT, 0.0)
        order = []
        for _ in range(TRIES + 1):
            [number] = world.pump()
            order.append(number)
            world.failed(number)
            callee = world.dialer.get(ident(1))
            assert callee is not None
            world.now = callee.ready(hungry=False) + 1.0
        self.assertEqual(order, [1] * TRIES + [2])

    def test_whom_we_reached(self) -> None:
        """A peer that we called proves itself by a good session; one that calls us does not."""
        world = World()
        world.find(1, 2)
        for number in world.pump():
            world.met(number)
        world.left(1)
        del world.peers[ident(2)]
        world.dialer.ended(ident(2), Cause.LOST, GOOD_SESSION, "", 0.0, inbound=True)
        callees = [world.dialer.get(ident(number)) for number in (1, 2)]
        self.assertEqual(
            [callee is not None and (callee.former, callee.reached) for callee in callees],
            [(True, True), (True, False)],
        )

    def test_former_first(self) -> None:
        """Those that were good peers come before strangers, and those with fewer failures before the others."""
        world = World(max_dialed=1)
        for number in (1, 2, 3):
            world.find(number)
            self.assertEqual(world.pump(), [number])
            world.failed(number)
        world.failed(2)
        world.dialer.remember(ident(9), far(9), PORT, 0.0)
        world.now, order = 200.0, []
        for _ in range(3):
            [number] = world.pump()
            order.append(number)
            world.failed(number)
            world.now += 1.0
        self.assertEqual(order, [9, 1, 3])

    def test_given_up(self) -> None:
        """A stranger that never answers is given up after so many failures, unless we have too few peers."""
        for min_peers, last in [(0, True), (1, False)]:
            world, calls = World(min_peers=min_peers), 0
            world.find(1)
            while world.now < 4 * 3600:
                for number in world.pump():
                    calls += 1
                    world.failed(number)
                world.now += STEP
            self.assertIs(calls == TRIES, last)

    def test_hard_causes(self) -> None:
        """Who is of another chain is not called again by ourselves while there are peers enough."""
        world = World()
        world.find(1)
        world.pump()
        world.failed(1, Cause.WRONG_CHAIN)
        world.now = 2 * MAX_BACKOFF
        self.assertEqual(world.pump(), [])
        world.min_peers = 1
        world.now += MAX_BACKOFF
        self.assertEqual(world.pump(), [1])

    def test_dismissed(self) -> None:
        """A peer that the operator has removed is not called by ourselves, static or not."""
        world = World(min_peers=3)
        world.find(1)
        world.pump()
        world.met(1)
        self.assertFalse(world.dialer.remove(ident(1)))
        world.left(1, Cause.REQUESTED)
        world.now = 2 * MAX_BACKOFF
        self.assertEqual(world.pump(), [])
        self.assertFalse(world.dialer.remove(ident(2)))

    def test_remember(self) -> None:
        """Only a new one with an address, and not ourselves, is remembered."""
        world = World()
        world.static(1)
        for node_id, host, port in [(ident(1), far(9), PORT), (ident(2), "", PORT), (ident(0xFFFF), far(3), PORT)]:
            world.dialer.remember(node_id, host, port, 0.0)
        self.assertEqual(world.pump(), [1])
        callee = world.dialer.get(ident(1))
        assert callee is not None
        self.assertEqual(callee.host, far(1))

    def test_never_zero(self) -> None:
        """
        We only call, discovery has run dry, and all peers drop us again and again: we always find some again, and in
        the end are where we began.
        """
        rng = Random(1)
        world = World(max_dialed=8, min_peers=3)
        world.find(*range(12))
        leaves: dict[int, float] = {}
        alone, longest = 0.0, 0.0
        while world.now < 6 * 3600:
            for number, when in tuple(leaves.items()):
                if when <= world.now:
                    del leaves[number]
                    world.left(number, rng.choice([Cause.LOST, Cause.TOO_MANY_PEERS, Cause.USELESS]), 20.0)
            for number in world.pump():
                if len(world.peers) < world.max_dialed and rng.random() < 0.7:
                    world.met(number)
                    leaves[number] = world.now + 20.0 + 40.0 * rng.random()
                else:
                    world.failed(number, rng.choice([Cause.TIMEOUT, Cause.TOO_MANY_PEERS, Cause.REFUSED]))
            alone = 0.0 if world.peers else alone + 1.0
            longest = max(longest, alone)
            world.now += 1.0
        self.assertLess(longest, RESTART_WINDOW)
        for number in range(12):  # now they stay
            world.dialer.forgive(ident(number), world.now)
        for number in leaves:
            world.left(number)
        for _ in range(200):
            for number in world.pump():
                if len(world.peers) < world.max_dialed:
                    world.met(number)
                else:
                    world.failed(number)
            world.now += 1.0
        self.assertEqual(len(world.peers), world.max_dialed)

    def test_looks_seldom(self) -> None:
        """Former peers are looked for once a second at most, however often we are asked."""
        world = World(max_dialed=1)
        world.dialer.remember(ident(1), far(1), PORT, 0.0)
        self.assertEqual(world.pump(), [1])
        world.failed(1)
        world.dialer.remember(ident(2), far(2), PORT, 0.0)
        self.assertEqual(world.pump(), [])
        self.assertEqual(world.dialer.next_timer((), world.seats, 0.0), module.LOOK_EVERY)
        world.now = module.LOOK_EVERY
        self.assertEqual(world.pump(), [2])


class WordsTests(SynchronousTestCase):
    def test_why_not(self) -> None:
        """Why a node is not called now: each in its own words."""
        world = World(max_active=2)
        dialer = world.dialer
        dialer.banned = lambda node_id, host: "sent rubbish" if node_id == ident(8) else ""
        dialer.pending_inbound(ident(4))
        world.peers[ident(3)] = False

        def why(number: int, seats: Seats = ROOMY) -> str:
            return dialer.why_not(ident(number), world.peers, seats, world.now)

        self.assertEqual(why(0xFFFF), "ourselves")
        self.assertEqual(why(1), "nobody has told where it is")
        self.assertEqual(why(3), "already connected")
        self.assertEqual(why(4), "just calling us")
        world.static(5, 6, 7, 8)
        self.assertEqual(why(5), "")
        self.assertEqual(why(5, FULL), "all places are taken")
        self.assertEqual(why(8), "banned: sent rubbish")
        self.assertEqual(world.pump(), [5, 6])
        self.assertEqual(why(5), "being called")
        self.assertEqual(why(7), "2 calls are under way, which is the most")
        dialer.failed(ident(5), Cause.REFUSED, "connection refused", 0.0)
        world.now = 5.0
        self.assertEqual(why(5), "connection refused: called again in 30 s")
        dialer.failed(ident(5), Cause.REFUSED, "connection refused", 0.0)
        self.assertEqual(why(5), "connection refused (2 times in a row): called again in 65 s")
        dialer.given_up(ident(6))
        self.assertEqual(why(6), "recently called: called again in 30 s")
        dialer.netrestrict = Netrestrict.parse("9.9.9.9")
        self.assertEqual(why(5), "outside our networks")
        dialer.netrestrict = None
        world.find(20)
        self.assertEqual(world.pump(), [7, 20])
        dialer.failed(ident(20), Cause.TIMEOUT, "timed out", 5.0)
        self.assertEqual(why(20), "timed out: not called again before 35 s")
        world.now = 100.0
        self.assertEqual(why(20), "")
        self.assertEqual(why(20, FULL), "there is no place left for another peer that we call")
        dialer.remove(ident(20))
        self.assertEqual(why(20), "given up, unless discovery finds it again: timed out")

    def test_why_not_restarts(self) -> None:
        world = World()
        world.static(1)
        while world.now < 400.0:
            for number in world.pump():
                world.met(number)
                world.left(number)
            world.now += 1.0
        words = world.dialer.why_not(ident(1), (), world.seats, world.now)
        self.assertEqual(words, "called again 5 times in 10 min: called again in 235 s")

    def test_looking(self) -> None:
        """The line that says what is in the way: every 10 s at most, and only while there are too few peers."""
        world = World(min_peers=3, max_dialed=4)
        self.assertIsNone(world.dialer.looking(world.peers, world.seats, 0.0))
        self.assertEqual(
            world.dialer.looking(world.peers, world.seats, 10.0),
            "looking for peers (0 of at least 3): nobody found in 10 s",
        )
        world.find(1, 2)
        world.pump()
        world.failed(1)
        world.find(1, 1, 1)
        world.backlog.append((4, ""))
        world.pump()
        world.static(9)
        self.assertIsNone(world.dialer.looking(world.peers, world.seats, 19.0))
        self.assertEqual(
            world.dialer.looking(world.peers, world.seats, 20.0),
            "looking for peers (0 of at least 3): 6 found in 10 s: 3 recently called, 1 no address; "
            "1 came to nothing: 1 timeout; 1 being called; 1 static, next in 0 s",
        )
        world.peers = {ident(9): True}  # who is here is not called next
        self.assertTrue((world.dialer.looking(world.peers, world.seats, 30.0) or "").endswith("; 1 static"))
        world.peers = {ident(number): True for number in (5, 6, 7)}
        self.assertIsNone(world.dialer.looking(world.peers, world.seats, 40.0))
        world.peers.clear()
        self.assertIsNone(world.dialer.looking(world.peers, world.seats, 45.0))
        self.assertIn("nobody found in 10 s", world.dialer.looking(world.peers, world.seats, 50.0) or "")

    def test_cause_words(self) -> None:
        self.assertEqual(Cause.TOO_MANY_PEERS.words, DisconnectReason.TOO_MANY_PEERS.words)


class CapTests(SynchronousTestCase):
    def test_static(self) -> None:
        """The table does not grow over its cap; one already in it is still welcome."""
        self.patch(module, "MAX_STATIC_PEERS", 2)
        dialer = Dialer(steady)
        added = [dialer.add(ident(number), far(number), PORT, 0.0) for number in (1, 2, 3, 1)]
        self.assertEqual(added, [True, True, False, True])
        self.assertEqual(len(list(dialer.static())), 2)

    def test_strangers(self) -> None:
        """Only so many calls are remembered, the newest; strangers do not displace former peers."""
        self.patch(module, "MAX_HISTORY", 2)
        self.patch(module, "MAX_FORMER", 2)
        world = World()
        for number in (101, 102, 103):
            world.dialer.remember(ident(number), far(number), PORT, 0.0)
        for number in (1, 2, 3):
            self.assertIsNone(world.dialer.found(ident(number), far(number), PORT, (), ROOMY, 0.0))
            world.failed(number)
        known = [number for number in (1, 2, 3, 101, 102, 103) if world.dialer.get(ident(number))]
        self.assertEqual(known, [2, 3, 102, 103])

    def test_calls_under_way_are_kept(self) -> None:
        """A call under way is never forgotten."""
        self.patch(module, "MAX_HISTORY", 1)
        world = World()
        for number in (1, 2, 3):
            world.dialer.found(ident(number), far(number), PORT, (), ROOMY, 0.0)
        self.assertEqual(world.dialer.calling, 3)
        for number in (1, 2, 3):
            world.failed(number)
        self.assertEqual(world.dialer.calling, 0)

    def test_pending(self) -> None:
        """Of callers over the cap nothing is noted."""
        self.patch(module, "MAX_PENDING", 1)
        world = World()
        world.dialer.pending_inbound(ident(1))
        world.dialer.pending_inbound(ident(2))
        world.find(1, 2)
        self.assertEqual(world.pump(), [2])

    def test_words(self) -> None:
        """Of what a peer's end says only so much is kept."""
        dialer = Dialer(steady)
        dialer.add(ident(1), far(1), PORT, 0.0)
        callee = dialer.failed(ident(1), Cause.OTHER, "x" * 10_000, 0.0)
        assert callee is not None
        self.assertEqual(len(callee.last), module.MAX_WORDS)

    def test_active(self) -> None:
        """Only so many calls at once, who has waited longest first."""
        world = World(max_active=2)
        for number in (3, 2, 1):
            world.static(number)
            world.now += 1.0
        self.assertEqual(world.pump(), [3, 2])
        self.assertEqual(world.pump(), [])
        world.met(3)
        self.assertEqual(world.pump(), [1])

    @given(st.integers(0, 2**32), st.integers(1, 6))
    def test_any_order(self, seed: int, max_active: int) -> None:
        """
        Whatever happens, and in whatever order: never more calls at once than the cap, nobody called while connected
        or called, no far one within the 30 s in which peers throttle, none of them too often, and no call forgotten.
        """
        rng = Random(seed)
        world = World(max_active=max_active, max_dialed=4, max_peers=6, min_peers=2)
        under_way: set[int] = set()
        called: dict[int, list[float]] = {}
        for _ in range(120):
            number = rng.randrange(8)
            match rng.randrange(9):
                case 0:
                    world.static(number, host=near if number == 7 else far)
                case 1:
                    world.dialer.remove(ident(number))
                case 2 | 3:
                    world.find(number)
                case 4 if under_way:
                    world.met(rng_pick(rng, under_way))
                case 5 if under_way:
                    world.failed(rng_pick(rng, under_way), rng.choice(list(Cause)))
                case 6 if world.peers:
                    gone = int.from_bytes(rng.choice(sorted(world.peers)), "big")
                    world.left(gone, rng.choice(list(Cause)), rng.choice([1.0, GOOD_SESSION]))
                case 7:
                    world.dialer.pending_inbound(ident(number))
                case 8:
                    world.dialer.pending_over(ident(number))
            world.now += rng.choice([0.0, 1.0, 20.0, 200.0])
            for call in world.pump():
                assert call not in under_way and ident(call) not in world.peers
                times = called.setdefault(call, [])
                if call != 7:
                    assert not times or world.now - times[-1] >= THROTTLED
                under_way.add(call)
                times.append(world.now)
            assert len(under_way) == world.dialer.calling <= max_active
        for number in tuple(under_way):
            world.dialer.given_up(ident(number))
        assert world.dialer.calling == 0


def rng_pick(rng: Random, numbers: set[int]) -> int:
    """One of them, taken out."""
    number = rng.choice(sorted(numbers))
    numbers.remove(number)
    return number


class TimerTests(SynchronousTestCase):
    def test_timer(self) -> None:
        """When there may be a call if nothing else happens; None when there is nobody to call."""
        world = World()
        dialer = world.dialer
        self.assertEqual(world.pump(), [])
        self.assertIsNone(dialer.next_timer((), ROOMY, 0.0))
        world.static(1)
        self.assertEqual(world.pump(), [1])
        self.assertIsNone(dialer.next_timer((), ROOMY, 0.0))
        world.failed(1)
        self.assertEqual(dialer.next_timer((), ROOMY, 0.0), FAR_BACKOFF)
        self.assertIsNone(dialer.next_timer({ident(1)}, ROOMY, 0.0))
        self.assertIsNone(dialer.next_timer((), FULL, 0.0))
        self.assertIsNone(dialer.next_timer((), ROOMY, FAR_BACKOFF))  # it is due, and waits for something else
        dialer.remove(ident(1))
        self.assertIsNone(dialer.next_timer((), FULL, 0.0))

    def test_given_up(self) -> None:
        """A call that we gave up is no failure, and may be made again after a while."""
        world = World()
        world.static(1)
        world.pump()
        world.dialer.given_up(ident(1))
        self.assertEqual((world.dialer.calling, world.dialer.failures.total()), (0, 0))
        self.assertEqual(world.dialer.next_timer((), ROOMY, 0.0), HISTORY)
        world.now = HISTORY
        self.assertEqual(world.pump(), [1])

    def test_addresses(self) -> None:
        """A static peer that is added again with another address is called there."""
        world = World()
        world.static(1)
        world.pump()
        world.failed(1, Cause.WRONG_CHAIN)
        world.dialer.add(ident(1), "9.9.9.9", PORT, 0.0, "there")
        [call] = world.dialer.next_calls((), ROOMY, HISTORY)
        self.assertEqual((call.host, call.node), ("9.9.9.9", "there"))
        self.assertEqual(backoff.HISTORY, module.HISTORY)
