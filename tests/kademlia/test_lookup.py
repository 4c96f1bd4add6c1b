"""
Lookups: rounds by hand, and a network of a thousand nodes that is a function, honest or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from random import Random

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode import Node
from ethp2p.kademlia.distance import distance, nearby_distances, number
from ethp2p.kademlia.lookup import (
    ALPHA,
    DOUBT,
    MAX_ANSWER,
    MAX_QUERIES,
    MAX_SUBNET,
    RESULT_SIZE,
    TRIES,
    WITNESSES,
    Lookup,
)
from ethp2p.kademlia.table import Table
from tests.kademlia.nodes import LOCAL, node, public_key, random_host, random_node

TARGET = bytes(32)
ME = b"\xff" * 32


def near(rank: int, host: str | None = None) -> Node:
    """A node; the lower its rank, the nearer to L{TARGET}.  Each is in its own subnet."""
    return node(rank.to_bytes(32, "big"), host or f"50.{rank >> 8 & 255}.{rank & 255}.1")


def ranks(nodes: Sequence[Node]) -> list[int]:
    return [number(each.node_id) for each in nodes]


def lookup(seeds: Sequence[Node], paths: int = 1) -> Lookup:
    return Lookup(TARGET, seeds, local_id=ME, paths=paths)


class Asked:
    """Drives a lookup by hand."""

    def __init__(self, search: Lookup) -> None:
        self.search = search
        self.open: dict[int, int] = {}
        self.more()

    def more(self) -> list[int]:
        fresh = {number(each.node_id): query for query, each in self.search.next_queries()}
        self.open.update(fresh)
        return [*fresh]

    def answer(self, rank: int, *named: int) -> list[int]:
        """@return: who is asked next."""
        self.search.answered(self.open.pop(rank), [near(each) for each in named])
        return self.more()

    def fail(self, rank: int) -> list[int]:
        self.search.failed(self.open.pop(rank))
        return self.more()


class RoundTests(SynchronousTestCase):
    def test_nobody_to_ask(self) -> None:
        for seeds in (
            [],
            [node(ME, "50.0.0.1")],
            [node(LOCAL, "")],
            [node(LOCAL, "boot.example")],
            [node(LOCAL, udp=0)],
        ):
            search = lookup(seeds)
            self.assertTrue(search.done)
            self.assertEqual((search.next_queries(), search.result()), ([], ()))

    def test_nearest_first(self) -> None:
        """Three at a time; each answer lets one more be asked, the nearest that is known by then."""
        asked = Asked(lookup([near(rank) for rank in (500, 100, 300, 200, 400)]))
        self.assertEqual([*asked.open], [100, 200, 300])
        self.assertEqual(asked.more(), [])
        self.assertEqual(asked.answer(200, 50, 150), [50])
        self.assertEqual(asked.fail(100), [150])
        self.assertEqual(asked.answer(50), [400])
        self.assertFalse(asked.search.done)
        for rank in (300, 150, 400):
            asked.answer(rank)
        self.assertFalse(asked.search.done)
        asked.answer(500)
        asked.fail(100)
        self.assertTrue(asked.search.done)
        self.assertEqual(ranks(asked.search.result()), [50, 150, 200, 300, 400, 500])

    def test_second_chance(self) -> None:
        """Who does not answer is asked once more, after all others, and only if he is among the nearest."""
        asked = Asked(lookup([near(rank) for rank in range(1, RESULT_SIZE + 2)]))
        self.assertEqual(asked.fail(1), [4])
        while asked.open:
            if asked.answer(min(asked.open)) == [1]:
                break
        self.assertEqual([*asked.open], [16, 17, 1])
        self.assertEqual(asked.fail(17), [])
        asked.answer(16)
        asked.answer(1)
        self.assertTrue(asked.search.done)
        self.assertEqual(ranks(asked.search.result()), [*range(1, RESULT_SIZE + 1)])

    def test_no_third(self) -> None:
        asked = Asked(lookup([near(1)]))
        self.assertEqual(asked.fail(1), [1])
        self.assertEqual(asked.fail(1), [])
        self.assertTrue(asked.search.done)
        self.assertEqual(asked.search.result(), ())

    def test_ends(self) -> None:
        """It is over when the sixteen nearest have been asked, and asks no further ones."""
        asked = Asked(lookup([near(rank) for rank in range(1, 40)]))
        count = len(asked.open)
        while asked.open:
            count += len(asked.answer(min(asked.open)))
        self.assertTrue(asked.search.done)
        self.assertEqual(count, RESULT_SIZE)
        self.assertEqual(ranks(asked.search.result()), [*range(1, RESULT_SIZE + 1)])

    def test_asked_once(self) -> None:
        """Who is named again, and whoever names himself or us, is not asked for it."""
        search = lookup([near(1), near(2)])
        queries = {number(each.node_id): query for query, each in search.next_queries()}
        fresh = search.answered(queries[1], [near(1), near(2), node(ME, "50.0.0.1"), near(3), near(3)])
        self.assertEqual(ranks(fresh), [3])
        self.assertEqual(search.answered(queries[2], [near(3)]), [])
        self.assertEqual(ranks([each for _, each in search.next_queries()]), [3])

    def test_answer_cap(self) -> None:
        search = lookup([near(1000)])
        [(query, _)] = search.next_queries()
        fresh = search.answered(query, [near(rank) for rank in range(1, 100)])
        self.assertEqual(len(fresh), MAX_ANSWER)

    def test_path_cap(self) -> None:
        """A liar who always names somebody nearer gets a bounded number of queries."""
        search = lookup([near(10**6)])
        count = 0
        while not search.done:
            for query, each in search.next_queries():
                count += 1
                search.answered(query, [near(number(each.node_id) - 1 - step) for step in range(16)])
        self.assertEqual(count, MAX_QUERIES)

    def test_subnets(self) -> None:
        """Of the nearest, two of a subnet count; who does not answer makes room for another."""
        crowd = [near(rank, f"66.6.6.{rank}") for rank in range(1, 9)]
        others = [near(rank) for rank in range(100, 130)]
        asked = Asked(lookup(crowd + others))
        seen = [*asked.open]
        self.assertEqual(seen, [1, 2, 100])
        seen += asked.fail(1)
        self.assertEqual(seen[-1], 3)
        while asked.open:
            rank = min(asked.open)
            seen += asked.fail(rank) if rank == 1 else asked.answer(rank)
        self.assertEqual(ranks(asked.search.result()), [2, 3, *range(100, 100 + RESULT_SIZE - MAX_SUBNET)])
        self.assertNotIn(4, seen)

    def test_lan(self) -> None:
        """On the local network there are no subnets to tell apart."""
        asked = Asked(lookup([near(rank, "10.0.0.1") for rank in range(1, 17)]))
        while asked.open:
            asked.answer(min(asked.open))
        self.assertEqual(len(asked.search.result()), RESULT_SIZE)


class PathTests(SynchronousTestCase):
    def test_disjoint(self) -> None:
        """What one path learns is followed on that path; a node is asked on one path only."""
        asked = Asked(lookup([near(rank) for rank in (100, 200, 300)], paths=3))
        self.assertEqual([*asked.open], [100, 200, 300])
        self.assertEqual(asked.answer(100, 1, 2), [1])
        self.assertEqual(asked.answer(200, 1, 150), [150])
        self.assertEqual(asked.answer(300, 2), [2])
        self.assertEqual(asked.answer(1), [])
        self.assertEqual(asked.answer(150), [])
        self.assertEqual(asked.answer(2), [])
        self.assertTrue(asked.search.done)

    def test_fair(self) -> None:
        """A path whose nodes are slow does not lose its turn to one whose nodes are fast."""
        asked = Asked(lookup([near(rank) for rank in range(100, 130)], paths=3))
        per_path = dict.fromkeys(range(3), 0)
        for _ in range(30):
            rank = max(asked.open, default=None)
            if rank is None:
                break
            per_path[(rank - 100) % 3] += 1
            asked.answer(rank)
        self.assertEqual(set(per_path.values()), {10})

    def test_one_bootnode(self) -> None:
        """When we know one node, its answer is dealt to all the paths."""
        asked = Asked(lookup([near(1000)], paths=3))
        self.assertEqual({*asked.answer(1000, 10, 20, 30, 40, 50, 60)}, {10, 20, 30})
        self.assertEqual(asked.answer(10, 1), [1])
        self.assertEqual(asked.answer(20), [50])

    def test_alpha(self) -> None:
        for paths in (1, 2, 3, 5):
            asked = Asked(lookup([near(rank) for rank in range(1, 20)], paths=paths))
            self.assertEqual(len(asked.open), ALPHA)


class BeliefTests(SynchronousTestCase):
    """Who is in the result, and who is followed up."""

    def result(self, paths: int, witnesses: Sequence[Node], failing: bool = True) -> list[int]:
        """Several name node 1, which does not answer."""
        search = lookup(witnesses, paths)
        while not search.done:
            for query, each in search.next_queries():
                if number(each.node_id) == 1:
                    search.failed(query)
                else:
                    search.answered(query, [near(1)])
        return ranks(search.result())

    def test_witnesses(self) -> None:
        """A packet was lost, or there is no such node: enough independent others have to name it."""
        self.assertNotIn(1, self.result(1, [near(rank) for rank in range(10, 9 + WITNESSES)]))
        self.assertIn(1, self.result(1, [near(rank) for rank in range(10, 10 + WITNESSES)]))

    def test_one_subnet(self) -> None:
        """Those of one subnet are one witness; on the local network each is its own."""
        crowd = [near(10 + rank, f"66.6.6.{rank + 1}") for rank in range(2)]
        self.assertNotIn(1, self.result(1, [*crowd, near(20)]))
        self.assertIn(1, self.result(1, [*crowd, near(20), near(21)]))
        self.assertIn(1, self.result(1, [near(rank, "10.0.0.1") for rank in range(10, 13)]))

    def test_one_path(self) -> None:
        """A path may be in the hands of one attacker: on it alone, any number of witnesses is not enough."""
        search = lookup([near(100), near(200)], paths=2)
        while not search.done:
            for query, each in search.next_queries():
                rank = number(each.node_id)
                if rank == 1:
                    search.failed(query)
                else:
                    search.answered(query, [] if rank == 200 else [near(1), *(near(20 + more) for more in range(6))])
        self.assertNotIn(1, ranks(search.result()))

    def test_doubt(self) -> None:
        """Somebody names nodes that are not there; after a few of them the others are not asked."""
        liar, honest = near(5), near(1000)
        search = lookup([liar, honest])
        failed, answered = [], []
        while not search.done:
            for query, each in search.next_queries():
                rank = number(each.node_id)
                if 10 <= rank < 100:
                    failed.append(rank)
                    search.failed(query)
                else:
                    answered.append(rank)
                    names = range(10, 26) if each is liar else range(500, 516) if each is honest else ()
                    search.answered(query, [near(other) for other in names])
        self.assertLessEqual(len(failed), DOUBT + ALPHA)
        self.assertEqual(ranks(search.result()), [5, *range(500, 515)])

    def test_wrong_endpoint(self) -> None:
        """Whoever names a node where it is not cannot hide it: it is asked where others say that it is."""
        liar, honest = near(500), near(600)
        search = lookup([liar, honest])
        while not search.done:
            for query, each in search.next_queries():
                if each is liar:
                    search.answered(query, [near(1, "66.6.6.6")])
                elif each is honest:
                    search.answered(query, [near(1)])
                elif each.host == "66.6.6.6":
                    search.failed(query)
                else:
                    search.answered(query, [])
        self.assertEqual(search.result()[0], near(1))
        self.assertEqual(ranks(search.result()), [1, 500, 600])

    def test_our_own(self) -> None:
        """A node that we know is asked, also when liars name it."""
        asked = Asked(lookup([near(5), *(near(rank) for rank in range(900, 906))]))
        asked.answer(5, 905, *range(10, 25))
        seen = [*asked.open]
        while asked.open:
            rank = min(asked.open)
            seen += asked.fail(rank) if rank < 100 else asked.answer(rank)
        self.assertIn(905, seen)
        self.assertIn(905, ranks(asked.search.result()))

    def test_trust_again(self) -> None:
        """Named by somebody who is believed, a node is asked whoever else named it."""
        asked = Asked(lookup([near(5), near(1000)]))
        asked.answer(5, *range(10, 26))
        for _ in range(DOUBT):
            asked.fail(min(each for each in asked.open if each < 100))
        for rank in [each for each in asked.open if each < 100]:
            asked.fail(rank)
        self.assertEqual([*asked.open], [1000])
        self.assertEqual(asked.answer(1000, 24, 25), [24, 25])


@cache
def thousand() -> tuple[tuple[Node, ...], dict[bytes, Table]]:
    """A network in which everybody has met some others, and his neighbours."""
    rng = Random(20)
    nodes = tuple(random_node(rng) for _ in range(1000))
    ordered = sorted((number(each.node_id), each) for each in nodes)
    tables = {}
    for place, (mine, each) in enumerate(ordered):
        table = tables[each.node_id] = Table(each.node_id, rng=rng)
        around = ordered[max(0, place - 50) : place + 50]
        around.sort(key=lambda other: other[0] ^ mine)
        for other in [found for _, found in around[: RESULT_SIZE + 1]] + rng.sample(nodes, 80):
            table.add_found(other, 0.0, live=True)
    return nodes, tables


Answer = Callable[[Node, bytes], "Sequence[Node] | None"]


def by_target(asked: Node, target: bytes) -> Sequence[Node]:
    """As discv4 answers."""
    return thousand()[1][asked.node_id].closest(target)


def by_distance(asked: Node, target: bytes) -> Sequence[Node]:
    """As discv5 answers."""
    return thousand()[1][asked.node_id].at_distances(nearby_distances(target, asked.node_id), MAX_ANSWER)


def run(search: Lookup, target: bytes, answer: Answer, rng: Random, loss: float) -> int:
    """@return: the number of queries."""
    count = 0
    under_way: list[tuple[int, Node]] = []
    while not search.done:
        under_way += search.next_queries()
        query, asked = under_way.pop(rng.randrange(len(under_way)))
        nodes = None if rng.random() < loss else answer(asked, target)
        count += 1
        if nodes is None:
            search.failed(query)
        else:
            search.answered(query, nodes)
    return count


def nearest(target: bytes, but: Node) -> list[Node]:
    goal = number(target)
    others = [each for each in thousand()[0] if each is not but]
    return sorted(others, key=lambda each: number(each.node_id) ^ goal)[:RESULT_SIZE]


class ThousandTests(SynchronousTestCase):
    """The network is honest, and loses packets."""

    def success(self, answer: Answer, loss: float, paths: int) -> int:
        rng = Random(1)
        nodes, tables = thousand()
        found = 0
        for _ in range(100):
            me, target = rng.choice(nodes), rng.randbytes(32)
            seeds = tables[me.node_id].closest(target)
            search = Lookup(target, seeds, local_id=me.node_id, paths=paths)
            queries = run(search, target, answer, rng, loss)
            self.assertLess(queries, 80)
            found += [*search.result()] == nearest(target, me)
        return found

    def test_true_nearest(self) -> None:
        """With one query in five lost, all sixteen true nearest are found, in at least 99 of 100 lookups."""
        for answer in (by_target, by_distance):
            for paths in (1, 3):
                self.assertGreaterEqual(self.success(answer, 0.2, paths), 99, (answer.__name__, paths))

    def test_heavy_loss(self) -> None:
        """The same when packets are lost at that rate, so that question and answer both arrive in 64 of 100."""
        self.assertGreaterEqual(self.success(by_target, 0.36, 3), 99)


@attrs.frozen
class Attack:
    """
    Some of the nodes on the way are one attacker's.  He has made identities nearer to the target than any honest
    node, as many as he needs, and his nodes name nobody else.

    @ivar share: of all nodes, his.
    @ivar real: whether his identities answer, or just have been made up.
    @ivar subnets: in how many his identities are; 0 for one each.
    """

    share: float
    real: bool = True
    subnets: int = 0

    def lookups(self, paths: int, tries: int = 60) -> tuple[int, float]:
        """@return: in how many tries the node that was looked for was found; the share of his in the results."""
        rng = Random(3)
        nodes, tables = thousand()
        found, his, results = 0, 0, 0
        for _ in range(tries):
            bad = {each.node_id for each in rng.sample(nodes, int(self.share * len(nodes)))}
            me, wanted = rng.sample([each for each in nodes if each.node_id not in bad], 2)
            target = wanted.node_id
            made = [self.make(target, rng) for _ in range(64)]
            bad.update(each.node_id for each in made)
            answer = partial(self.answer, rng, bad, made)
            seeds = [each for each in tables[me.node_id].closest(target) if each is not wanted]
            search = Lookup(target, seeds, local_id=me.node_id, paths=paths)
            run(search, target, answer, rng, 0.0)
            result = search.result()
            found += wanted in result
            results += len(result)
            his += sum(each.node_id in bad for each in result)
        return found, his / results

    def answer(
        self, rng: Random, bad: set[bytes], made: list[Node], asked: Node, target: bytes
    ) -> Sequence[Node] | None:
        if asked.node_id not in bad:
            return by_target(asked, target)
        return rng.sample(made, MAX_ANSWER) if self.real or asked not in made else None

    def make(self, target: bytes, rng: Random) -> Node:
        near_it = (number(target) ^ rng.getrandbits(230)).to_bytes(32, "big")
        host = f"66.6.{rng.randrange(self.subnets)}.{rng.randrange(1, 255)}" if self.subnets else random_host(rng)
        return Node(public_key(near_it), host, 30303, 30303)


class LiarTests(SynchronousTestCase):
    def test_disjoint_paths(self) -> None:
        """One liar on the way spoils a lookup of one path, and a third of one of three."""
        one, _ = Attack(0.2).lookups(paths=1)
        two, _ = Attack(0.2).lookups(paths=2)
        three, _ = Attack(0.2).lookups(paths=3)
        self.assertLess(one, 54)
        self.assertGreater(two, one)
        self.assertGreaterEqual(three, 56)

    def test_few_subnets(self) -> None:
        """However many identities, in four subnets they have no more than their share of the result."""
        found, share = Attack(0.2, subnets=4).lookups(paths=3, tries=30)
        self.assertEqual(found, 30)
        self.assertLessEqual(share, (4 * MAX_SUBNET + 4) / RESULT_SIZE)

    def test_made_up(self) -> None:
        """Nodes that do not exist, named by one node in five, do not get into the result."""
        found, share = Attack(0.2, real=False).lookups(paths=3, tries=30)
        self.assertEqual(found, 30)
        self.assertLess(share, 0.3)  # about the share that he has among the true nearest


class AnythingTests(SynchronousTestCase):
    @settings(max_examples=50)
    @given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0, 1))
    def test_any_answers(self, seed: int, paths: int, loss: float) -> None:
        """Whatever is answered, in whatever order: it ends, asks again only who failed, and keeps its caps."""
        rng = Random(seed)
        world = [near(rank, rng.choice([None, "66.6.6.1", "10.0.0.1"])) for rank in range(1, 120)]
        search = lookup(rng.sample(world, rng.randrange(20)), paths)
        asked: list[int] = []
        under_way: list[int] = []
        failures = 0
        while not search.done:
            for query, each in search.next_queries():
                asked.append(number(each.node_id))
                under_way.append(query)
            self.assertLessEqual(len(under_way), ALPHA)
            query = under_way.pop(rng.randrange(len(under_way)))
            if rng.random() < loss:
                failures += 1
                search.failed(query)
            else:
                search.answered(query, rng.choices(world, k=rng.randrange(30)))
        self.assertLessEqual(max(Counter(asked).values(), default=0), TRIES)
        self.assertLessEqual(len(asked) - len({*asked}), failures)
        self.assertLessEqual(len(asked), paths * MAX_QUERIES)
        result = search.result()
        self.assertLessEqual(len(result), RESULT_SIZE)
        self.assertEqual(ranks(result), sorted({*ranks(result)}))
        self.assertLessEqual(sum(each.host == "66.6.6.1" for each in result), MAX_SUBNET)
        self.assertEqual([*result], sorted(result, key=lambda each: distance(each.node_id, TARGET)))
