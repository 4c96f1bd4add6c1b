"""
The table: who gets a place, who loses it, who is told of.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Node
from ethp2p.enode.cidr import Scope, as_ip
from ethp2p.kademlia.distance import distance
from ethp2p.kademlia.subnets import Place
from ethp2p.kademlia.table import (
    BUCKET_SIZE,
    BUCKETS,
    LOWEST,
    MAX_REPLACEMENTS,
    MAX_SUBNET_IN_BUCKET,
    MAX_SUBNET_IN_TABLE,
    Added,
    Changes,
    Entry,
    Moved,
    Removed,
    Table,
)
from tests.kademlia.nodes import LOCAL, at, id_at, node, on_main, random_node, secret, signed


def new_table(**more: object) -> Table:
    table = Table(LOCAL, rng=Random(1), **more)  # type: ignore[arg-type]
    table.ready = True
    return table


def told(changes: Changes) -> list[tuple[str, Node]]:
    return [(type(change).__name__, change.entry.node) for change in changes]


class PlaceTests(SynchronousTestCase):
    """Getting in."""

    def test_buckets(self) -> None:
        """The highest distances have a bucket each; all others share the lowest."""
        table = new_table()
        self.assertEqual(len(table.buckets), BUCKETS)
        for bits in (1, 100, 239, LOWEST):
            self.assertIs(table.bucket(bits), table.buckets[0])
        self.assertEqual([table.bucket(LOWEST + n) for n in range(BUCKETS)], [*table.buckets])
        self.assertIs(table.bucket(256), table.buckets[-1])

    def test_who_gets_in(self) -> None:
        for candidate, gets_in in (
            (at(256), True),
            (node(LOCAL), False),
            (node(id_at(256), ""), False),
            (node(id_at(256), "boot.example"), False),
            (node(id_at(256), "0.0.0.0"), False),
            (node(id_at(256), "::"), False),
            (node(id_at(256), udp=0), False),
            (node(id_at(256), "2a00::1"), True),
        ):
            table = new_table()
            changes = table.add_found(candidate, 5.0)
            self.assertEqual(told(changes), [("Added", candidate)] if gets_in else [], candidate.url)
            self.assertEqual(len(table), gets_in)
            if gets_in:
                entry = table.get(candidate.node_id)
                assert entry is not None
                self.assertEqual((entry.added_at, entry.checks, entry.live, entry.distance), (5.0, 0, False, 256))

    def test_once(self) -> None:
        """The same node again changes nothing, whether it has a place or waits for one."""
        table = new_table()
        for number in range(BUCKET_SIZE + 3):
            table.add_found(at(256, number), 0.0)
        for number in range(BUCKET_SIZE + 3):
            self.assertEqual(table.add_found(at(256, number), 1.0), ())
            self.assertEqual(table.add_inbound(at(256, number), 1.0), ())
        self.assertEqual((len(table), len(table.bucket(256).replacements)), (BUCKET_SIZE, 3))

    def test_full_bucket(self) -> None:
        """Sixteen have a place, the ten latest of the others wait; the next bucket is not concerned."""
        table = new_table()
        for number in range(BUCKET_SIZE + MAX_REPLACEMENTS + 5):
            changes = table.add_found(at(256, number), 0.0)
            self.assertEqual(len(changes), number < BUCKET_SIZE)
        bucket = table.bucket(256)
        self.assertEqual([entry.node for entry in bucket.entries], [at(256, n) for n in range(BUCKET_SIZE)])
        waiting = [at(256, n) for n in range(BUCKET_SIZE + 5, BUCKET_SIZE + MAX_REPLACEMENTS + 5)]
        self.assertEqual([entry.node for entry in bucket.replacements], waiting)
        self.assertEqual(len(table.add_found(at(255), 0.0)), 1)

    def test_inbound(self) -> None:
        """Nobody comes in by himself before the first refresh is done, and then he is left alone for a while."""
        table = new_table()
        table.ready = False
        self.assertEqual(table.add_inbound(at(256), 1.0), ())
        self.assertEqual(len(table), 0)
        table.ready = True
        self.assertEqual(told(table.add_inbound(at(256), 1.0, quiet=5.0)), [("Added", at(256))])
        self.assertEqual(table.closest(LOCAL, live_only=False, now=5.9), [])
        self.assertEqual(table.closest(LOCAL, live_only=False, now=6.0), [at(256)])

    def test_live(self) -> None:
        """An answer counts at the endpoint it came from."""
        table = new_table()
        table.add_found(at(256), 0.0, live=True)
        table.add_found(at(255), 0.0)
        self.assertEqual(table.nodes(live_only=True), [at(256)])
        self.assertEqual(table.answered(at(255), 1.0), ())
        self.assertEqual(table.nodes(live_only=True), [at(256), at(255)])
        self.assertEqual(table.answered(at(254), 1.0), ())
        self.assertEqual(len(table), 2)

    def test_hearsay(self) -> None:
        """A wrong endpoint gives way to that where the node answers, but a right one does not."""
        table = new_table()
        wrong, right, other = (at(256, host=f"10.0.0.{number}") for number in (1, 2, 3))
        table.add_found(wrong, 0.0)
        self.assertEqual(told(table.answered(right, 1.0)), [("Moved", right)])
        self.assertEqual(table.nodes(live_only=True), [right])
        self.assertEqual(table.answered(other, 2.0), ())
        self.assertEqual(table.nodes(live_only=True), [right])
        older, newer = (Node.from_record(signed(secret(7), seq, f"10.0.0.{seq}")) for seq in (1, 2))
        table.add_found(newer, 0.0)
        self.assertEqual(table.answered(older, 1.0), ())
        self.assertEqual(table.nodes(), [right, newer])


class LimitTests(SynchronousTestCase):
    """No subnet has more than its share."""

    def test_bucket(self) -> None:
        for subnet in ("8.8.8.{}", "2a00:1:2:3::{}"):
            table = new_table()
            got_in = [len(table.add_found(at(256, n, subnet.format(n + 1)), 0.0)) for n in range(5)]
            self.assertEqual(got_in, [1] * MAX_SUBNET_IN_BUCKET + [0] * 3)
            self.assertEqual(len(table.add_found(at(256, 9, "8.8.9.1"), 0.0)), 1)
            self.assertEqual(len(table.add_found(at(255, 9, subnet.format(99)), 0.0)), 1)

    def test_table(self) -> None:
        table = new_table()
        for bits in range(LOWEST, 257):
            for number in range(3):
                table.add_found(at(bits, number, f"8.8.8.{bits - LOWEST + 1}"), 0.0)
        self.assertEqual(len(table), MAX_SUBNET_IN_TABLE)

    def test_lan_is_exempt(self) -> None:
        for host in ("127.0.0.1", "192.168.0.1", "fd00::1", "::1"):
            table = new_table()
            for number in range(BUCKET_SIZE):
                table.add_found(at(256, number, host), 0.0)
            self.assertEqual(len(table), BUCKET_SIZE, host)

    def test_waiting_nodes_count(self) -> None:
        """Else an attacker would fill the waiting list and get every place that becomes free."""
        table = new_table()
        for number in range(BUCKET_SIZE):
            table.add_found(at(256, number), 0.0)
        for number in range(100, 110):
            table.add_found(at(256, number, "8.8.8.8"), 0.0)
        self.assertEqual(len(table.bucket(256).replacements), MAX_SUBNET_IN_BUCKET)

    def test_given_back(self) -> None:
        """Who leaves, from the table or the waiting list, makes room for others of his subnet."""
        table = new_table()
        for number in range(BUCKET_SIZE):
            table.add_found(at(256, number), 0.0)
        crowd = [at(256, 100 + number, "8.8.8.8") for number in range(3)]
        for each in crowd:
            table.add_found(each, 0.0)
        self.assertEqual(table.delete(crowd[0].node_id, 0.0), ())
        table.add_found(crowd[2], 0.0)
        self.assertEqual([entry.node for entry in table.bucket(256).replacements], crowd[1:])
        for number in range(200, 200 + MAX_REPLACEMENTS):
            table.add_found(at(256, number), 0.0)
        self.assertNotIn(crowd[1], [entry.node for entry in table.bucket(256).replacements])
        table.add_found(crowd[0], 0.0)
        table.add_found(crowd[1], 0.0)
        waiting = [entry.node for entry in table.bucket(256).replacements]
        self.assertEqual(waiting[-2:], crowd[:2])


class LeavingTests(SynchronousTestCase):
    def test_heir(self) -> None:
        """One of those who wait gets the place, unchecked, whatever it was before."""
        table = new_table()
        for number in range(BUCKET_SIZE + 4):
            table.add_found(at(256, number), 0.0, live=True)
        changes = table.delete(at(256, 3).node_id, 9.0)
        removed, added = changes
        assert isinstance(removed, Removed) and isinstance(added, Added)
        self.assertEqual(removed.entry.node, at(256, 3))
        self.assertIn(added.entry.node, [at(256, n) for n in range(BUCKET_SIZE, BUCKET_SIZE + 4)])
        self.assertEqual((added.entry.added_at, added.entry.live), (9.0, False))
        self.assertEqual((len(table), len(table.bucket(256).replacements)), (BUCKET_SIZE, 3))
        self.assertIs(table.get(added.entry.node.node_id), added.entry)

    def test_heirs_by_chance(self) -> None:
        """Otherwise the one heard of last would know that the place is his."""
        heirs = set()
        for seed in range(20):
            table = Table(LOCAL, rng=Random(seed))
            for number in range(BUCKET_SIZE + 4):
                table.add_found(at(256, number), 0.0)
            heirs.add(told(table.delete(at(256).node_id, 0.0))[1][1].node_id)
        self.assertGreater(len(heirs), 2)

    def test_no_heir(self) -> None:
        table = new_table()
        table.add_found(at(256), 0.0)
        self.assertEqual(told(table.delete(at(256).node_id, 0.0)), [("Removed", at(256))])
        self.assertEqual(table.delete(at(256).node_id, 0.0), ())
        self.assertEqual(len(table), 0)


class UpdateTests(SynchronousTestCase):
    """What may change what is known of a node."""

    def setUp(self) -> None:
        self.key = secret(7)
        self.table = new_table()

    def node(self, seq: int = 1, host: str = "8.8.8.8", port: int = 30303) -> Node:
        return Node.from_record(signed(self.key, seq, host, port))

    def bare(self, host: str = "8.8.8.8", port: int = 30303) -> Node:
        return Node(self.key.public_key, host, port, port)

    def known(self) -> Node:
        entry = self.table.get(self.key.public_key.node_id)
        assert entry is not None
        return entry.node

    def test_rounds(self) -> None:
        for name, old, new, inbound, expected in (
            ("the same", self.node(), self.node(), False, "old"),
            ("a newer record", self.node(1), self.node(2), False, "new"),
            ("an older record", self.node(2), self.node(1), False, "old"),
            ("the same seq, elsewhere", self.node(), self.node(host="9.9.9.9"), False, "old"),
            ("a newer record, elsewhere", self.node(1), self.node(2, "9.9.9.9"), False, "moved"),
            ("a newer record, another port", self.node(1), self.node(2, port=9), False, "moved"),
            ("the first record", self.bare(), self.node(), False, "new"),
            ("hearsay of another place", self.bare(), self.bare("9.9.9.9"), False, "old"),
            ("hearsay without a record", self.node(), self.bare("9.9.9.9"), False, "old"),
            ("itself, elsewhere", self.bare(), self.bare("9.9.9.9"), True, "moved"),
            ("itself, with an older record", self.node(2), self.node(1), True, "new"),
            ("itself, nowhere", self.node(1), attrs.evolve(self.node(2), host=""), True, "old"),
        ):
            self.table = new_table()
            self.table.add_found(old, 0.0, live=True)
            changes = self.table.add_inbound(new, 1.0) if inbound else self.table.add_found(new, 1.0)
            moved = expected == "moved"
            self.assertEqual([type(change) for change in changes], [Moved] if moved else [], name)
            self.assertEqual(self.known(), old if expected == "old" else new, name)
            self.assertEqual(self.table.nodes(live_only=True), [] if moved else [self.known()], name)

    def test_endpoint_alone(self) -> None:
        """A node that comes from elsewhere keeps its record, by which its chain is known."""
        self.table.add_found(self.node(), 0.0)
        self.table.add_inbound(self.bare("9.9.9.9"), 1.0)
        self.assertEqual(self.known(), attrs.evolve(self.node(), host="9.9.9.9"))

    def test_limits_hold(self) -> None:
        """Who moves into a subnet that has its share stays where he was, and keeps that place's share."""
        bits = distance(LOCAL, self.key.public_key.node_id).bit_length()
        for number in range(MAX_SUBNET_IN_BUCKET):
            self.table.add_found(at(bits, 1 + number, "9.9.9.9"), 0.0)
        self.table.add_found(self.node(1), 0.0, live=True)
        self.assertEqual(self.table.add_found(self.node(2, "9.9.9.1"), 1.0), ())
        self.assertEqual(self.known(), self.node(1))
        self.table.add_found(at(bits, 10, "8.8.8.1"), 0.0)
        self.assertEqual(self.table.add_found(at(bits, 11, "8.8.8.2"), 0.0), ())
        self.table.delete(at(bits, 1).node_id, 2.0)
        self.assertEqual(len(self.table.add_found(self.node(2, "9.9.9.1"), 3.0)), 1)
        self.assertEqual(len(self.table.add_found(at(bits, 11, "8.8.8.2"), 4.0)), 1)

    def test_stranger(self) -> None:
        self.assertEqual(self.table.update(self.node(), 0.0), ())
        self.assertEqual(len(self.table), 0)

    def test_who_waits(self) -> None:
        """What is known of those who wait is kept up to date, and nobody is told."""
        bits = distance(LOCAL, self.key.public_key.node_id).bit_length()
        for number in range(1, BUCKET_SIZE + 1):
            self.table.add_found(at(bits, number), 0.0)
        self.table.add_found(self.node(1), 0.0)
        self.assertEqual(self.table.add_found(self.node(2, "9.9.9.9"), 0.0), ())
        self.assertEqual(self.table.bucket(bits).replacements[0].node, self.node(2, "9.9.9.9"))


class FilterTests(SynchronousTestCase):
    """A node of another chain has no place and is told to nobody."""

    def setUp(self) -> None:
        self.table = new_table(admit=on_main)
        self.key = secret(7)
        self.bits = distance(LOCAL, self.key.public_key.node_id).bit_length()

    def node(self, seq: int, fork: bytes) -> Node:
        return Node.from_record(signed(self.key, seq, fork=fork))

    def test_refused(self) -> None:
        self.assertEqual(self.table.add_found(self.node(1, b"else"), 0.0), ())
        self.assertEqual(self.table.add_inbound(self.node(1, b"else"), 0.0), ())
        self.assertEqual(len(self.table.add_found(self.node(1, b"main"), 0.0)), 1)

    def test_found_out(self) -> None:
        """It leaves when its record shows up, and its place goes to another."""
        self.table.add_found(Node(self.key.public_key, "10.0.0.1", 1, 1), 0.0)
        for number in range(1, BUCKET_SIZE + 1):
            self.table.add_found(at(self.bits, number), 0.0)
        changes = self.table.update(self.node(1, b"else"), 1.0)
        self.assertEqual([type(change) for change in changes], [Removed, Added])
        self.assertEqual(changes[1].entry.node, at(self.bits, BUCKET_SIZE))

    def test_our_fork(self) -> None:
        """When our own chain forks, who stayed behind leaves, with those who wait, and none of them inherits."""
        for number in range(1, BUCKET_SIZE):
            self.table.add_found(at(self.bits, number), 0.0)
        self.table.add_found(self.node(1, b"main"), 0.0)
        late = [at(self.bits, BUCKET_SIZE + number) for number in range(2)]
        for each in late:
            self.table.add_found(each, 0.0)
        self.assertEqual(self.table.sweep(1.0), [])
        self.table.admit = lambda candidate: candidate.record is None and candidate != late[0]
        self.assertEqual([type(change) for change in self.table.sweep(1.0)], [Removed, Added])
        self.assertIn(late[1], self.table.nodes())
        self.assertEqual(self.table.bucket(self.bits).replacements, [])

    def test_heir_refused(self) -> None:
        for number in range(BUCKET_SIZE + 3):
            self.table.add_found(at(256, number), 0.0)
        self.table.admit = lambda candidate: candidate == at(256, BUCKET_SIZE)
        self.assertEqual(told(self.table.delete(at(256).node_id, 0.0))[1:], [("Added", at(256, BUCKET_SIZE))])


class AnswerTests(SynchronousTestCase):
    """What others are told."""

    @settings(max_examples=50)
    @given(st.integers(0, 10**6), st.integers(1, 40))
    def test_closest(self, seed: int, count: int) -> None:
        """As if all distances had been compared."""
        rng = Random(seed)
        local = rng.randbytes(32)
        table = Table(local, rng=rng)
        for _ in range(120):
            bits = rng.randrange(230, 257)
            near = int.from_bytes(local, "big") ^ (rng.getrandbits(bits - 1) | 1 << (bits - 1))
            table.add_found(node(near.to_bytes(32, "big")), 0.0, live=rng.random() < 0.7)
        target = rng.choice([local, rng.randbytes(32), rng.choice(table.nodes()).node_id])
        for live_only in (True, False):
            expected = sorted(table.nodes(live_only=live_only), key=lambda each: distance(each.node_id, target))
            self.assertEqual(table.closest(target, count, live_only=live_only), expected[:count])

    def test_distances(self) -> None:
        table = new_table()
        for bits in (256, 255, 239, 238, 3):
            for number in range(2):
                table.add_found(at(bits, number), 0.0, live=True)
        for asked, expected in (
            ([256], {256: 2}),
            ([239], {239: 2}),
            ([3, 239], {3: 2, 239: 2}),
            ([240, 250], {}),
            ([0, 257, 1 << 40, -1], {}),
            ([255, 255, 255], {255: 2}),
            (range(257), {256: 2, 255: 2, 239: 2, 238: 2, 3: 2}),
        ):
            nodes = table.at_distances(asked, 100)
            found: dict[int, int] = {}
            for each in nodes:
                bits = distance(LOCAL, each.node_id).bit_length()
                found[bits] = found.get(bits, 0) + 1
            self.assertEqual(found, expected, asked)
            self.assertEqual(len({each.node_id for each in nodes}), len(nodes))

    def test_distances_in_order(self) -> None:
        """The answer is cut short at its end, by chance within a distance."""
        table = new_table()
        for number in range(BUCKET_SIZE):
            table.add_found(at(256, number), 0.0, live=True)
            table.add_found(at(255, number), 0.0, live=True)
        firsts = set()
        for _ in range(10):
            nodes = table.at_distances([255, 256], 20)
            bits = [distance(LOCAL, each.node_id).bit_length() for each in nodes]
            self.assertEqual(bits, [255] * 16 + [256] * 4)
            firsts.add(nodes[0].node_id)
        self.assertGreater(len(firsts), 2)

    def test_only_live(self) -> None:
        table = new_table()
        table.add_found(at(256, 1), 0.0, live=True)
        table.add_found(at(256, 2), 0.0)
        self.assertEqual(table.closest(LOCAL), [at(256, 1)])
        self.assertEqual(table.at_distances([256], 16), [at(256, 1)])
        self.assertEqual(len(table.closest(LOCAL, live_only=False)), 2)
        self.assertEqual(len(table.at_distances([256], 16, live_only=False)), 2)

    def test_who_asks(self) -> None:
        """He is left out before the nodes are counted, so that he gets as many as others do."""
        table = new_table()
        nodes = [at(256 - number % 2, number) for number in range(24)]
        for each in nodes:
            table.add_found(each, 0.0, live=True)
        for each in (nodes[0], nodes[1], at(200)):
            told = table.at_distances([256, 255], 16, but=each.node_id)
            self.assertEqual(len({*told}), 16)
            self.assertNotIn(each, told)

    def test_any_order(self) -> None:
        """Each has the same chance to come first, whichever came into the table first."""
        table = new_table()
        nodes = [at(256, number) for number in range(16)]
        for each in nodes:
            table.add_found(each, 0.0, live=True)
        answers = [table.at_distances([256], 16) for _ in range(1600)]
        self.assertEqual({frozenset(answer) for answer in answers}, {frozenset(nodes)})
        for place in (0, 7, 15):
            counts = Counter(answer[place] for answer in answers)
            self.assertEqual(len(counts), 16)
            self.assertTrue(min(counts.values()) > 60 and max(counts.values()) < 140, counts)

    def test_scope(self) -> None:
        """An address of this host or network means nothing to others."""
        table = new_table()
        hosts = ("127.0.0.1", "192.168.0.1", "8.8.8.8")
        for number, host in enumerate(hosts):
            table.add_found(at(256, number, host), 0.0, live=True)
        for scope, expected in ((Scope.LOOPBACK, hosts), (Scope.LAN, hosts[1:]), (Scope.PUBLIC, hosts[2:])):
            self.assertEqual({each.host for each in table.closest(LOCAL, scope=scope)}, {*expected})
            self.assertEqual({each.host for each in table.at_distances([256], 16, scope=scope)}, {*expected})


class EclipseTests(SynchronousTestCase):
    def test_four_subnets(self) -> None:
        """
        An attacker with 500 identities in four subnets calls first, calls all the time, and chooses ids for the
        buckets nearest to us: it has its share and no more, in every bucket, and honest nodes get the rest.
        """
        rng = Random(4)
        table = new_table()
        attackers = {
            each.node_id: each
            for number in range(500)
            for each in [
                at(LOWEST + number % BUCKETS, 1000 + number, f"66.6.{number % 4}.{number // 4 + 1}")
                if number % 2
                else random_node(rng, f"66.6.{number % 4}.{number // 4 + 1}")
            ]
        }
        honest = [random_node(rng) for _ in range(300)]
        honest += [at(bits, number, random_node(rng).host) for bits in range(LOWEST, 257) for number in range(8)]
        for now in range(5):
            for each in attackers.values():
                table.add_inbound(each, float(now))
                table.answered(each, float(now))
            for each in rng.sample(honest, 150):
                table.add_found(each, float(now), live=True)
            for entry in rng.sample([*table], 20):
                if entry.node.node_id not in attackers:
                    table.delete(entry.node.node_id, float(now))
        held = [entry for entry in table if entry.node.node_id in attackers]
        self.assertGreater(len(held), 20)
        self.assertLessEqual(len(held), 4 * MAX_SUBNET_IN_TABLE)
        for bucket in table.buckets:
            crowd = [entry for entry in bucket.entries + bucket.replacements if entry.node.node_id in attackers]
            self.assertLessEqual(len(crowd), 4 * MAX_SUBNET_IN_BUCKET)
        self.assertGreater(len(table) - len(held), 100)


HOSTS = ("10.0.0.1", "127.0.0.1", *(f"8.8.{n}.{m}" for n in range(3) for m in (1, 2)), "2a00:0:0:1::1", "2a00::1")
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["found", "live", "inbound", "update", "move", "delete", "forbid", "sweep"]),
        st.sampled_from([3, 239, 240, 241, 255, 256]),
        st.integers(0, 6),
        st.sampled_from(HOSTS),
    ),
    max_size=120,
)


class InvariantTests(SynchronousTestCase):
    @settings(max_examples=100)
    @given(OPERATIONS, st.booleans())
    def test_any_operations(self, operations: list[tuple[str, int, int, str]], crowded: bool) -> None:
        """Whatever happens: caps and limits hold, nobody is there twice, and the changes told add up."""
        forbidden: set[bytes] = set()
        table = new_table(admit=lambda candidate: candidate.node_id not in forbidden)
        told_of: dict[bytes, None] = {}

        def follow(changes: Changes) -> None:
            for change in changes:
                node_id = change.entry.node.node_id
                if isinstance(change, Added):
                    self.assertNotIn(node_id, told_of)
                    told_of[node_id] = None
                elif isinstance(change, Removed):
                    del told_of[node_id]
                else:
                    self.assertIs(table.get(node_id), change.entry)

        if crowded:
            for number in range(100, 100 + BUCKET_SIZE):
                follow(table.add_found(at(256, number), 0.0))
                follow(table.add_found(at(239, number), 0.0))
        for now, (what, bits, number, host) in enumerate(operations):
            candidate = at(bits, number % 4 if bits == 3 else number, host)
            if what == "delete":
                follow(table.delete(candidate.node_id, now))
            elif what == "forbid":
                forbidden.symmetric_difference_update([candidate.node_id])
            elif what == "sweep":
                follow(table.sweep(now))
                self.assertFalse(forbidden.intersection(told_of))
            elif what in ("found", "live"):
                follow(table.add_found(candidate, now, live=what == "live"))
            elif what == "inbound":
                follow(table.add_inbound(candidate, now))
            else:
                follow(table.update(candidate, now, inbound=what == "move"))
            self.check(table)
            self.assertEqual({entry.node.node_id for entry in table}, {*told_of})

    def check(self, table: Table) -> None:
        everybody = [entry for bucket in table.buckets for entry in bucket.entries + bucket.replacements]
        ids = [entry.node.node_id for entry in everybody]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertNotIn(LOCAL, ids)
        self.assertEqual(len(table), sum(len(bucket.entries) for bucket in table.buckets))
        self.within(everybody, MAX_SUBNET_IN_TABLE)
        for bucket in table.buckets:
            self.assertLessEqual(len(bucket.entries), BUCKET_SIZE)
            self.assertLessEqual(len(bucket.replacements), MAX_REPLACEMENTS)
            self.assertFalse(bucket.replacements and len(bucket.entries) < BUCKET_SIZE)
            self.within(bucket.entries + bucket.replacements, MAX_SUBNET_IN_BUCKET)
            for entry in bucket.entries + bucket.replacements:
                self.assertIs(table.bucket(entry.distance), bucket)

    def within(self, entries: list[Entry], limit: int) -> None:
        subnets = [entry.place.subnet for entry in entries if entry.place.subnet is not None]
        for subnet in {*subnets}:
            self.assertLessEqual(subnets.count(subnet), limit)
        for entry in entries:
            self.assertEqual(entry.place, Place.of(as_ip(entry.node.host)))
