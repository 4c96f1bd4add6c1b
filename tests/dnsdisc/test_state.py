"""
The walk, against a name server that is a dict: geth's scenarios, and trees made to harm.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.dnsdisc import state
from ethp2p.dnsdisc.state import Found, Lookup, LookupFailed, Pace, RootChanged, pause
from ethp2p.dnsdisc.wire import BRANCH, Link, Root, hash_of
from ethp2p.enode import Node
from ethp2p.enr.record import Record
from tests.dnsdisc.support import (
    EIP_LINK,
    KEY,
    MORE_URL,
    ZONE,
    NameServer,
    forged,
    key,
    link_to,
    published,
    records,
    walk,
)

FAST = {"rate": 500.0, "burst": 10}


def ids(nodes: list[Node]) -> set[bytes]:
    return {node.node_id for node in nodes}


def wanted(nodes: list[Record]) -> set[bytes]:
    return {record.node_id or b"" for record in nodes}


class WalkTests(SynchronousTestCase):
    def test_example(self) -> None:
        server = NameServer(ZONE)
        found = server.nodes(walk(EIP_LINK, **FAST), 3)
        self.assertEqual(len(ids(found)), 3)
        self.assertTrue(all(node.record is not None for node in found))

    def test_nothing_is_looked_up_unasked(self) -> None:
        server = NameServer(ZONE)
        tree = walk(EIP_LINK)
        self.assertEqual((tree.lookups(0.0), tree.next_timer()), ([], None))
        server.nodes(tree, 1)
        asked = len(server.asked)
        self.assertEqual(server.run(tree), [])
        self.assertEqual(len(server.asked), asked)
        self.assertLess(asked, 2 + len(ZONE))

    def test_finds_all_and_begins_again(self) -> None:
        nodes = records(30)
        server = NameServer(published("n", nodes))
        tree = walk(link_to("n"), **FAST)
        first = server.nodes(tree, 30)
        self.assertEqual(ids(first), wanted(nodes))
        asked = len(server.asked)
        second = server.nodes(tree, 30)
        self.assertEqual(ids(second), wanted(nodes))
        self.assertNotEqual(first, second)  # in another order
        self.assertEqual(len(server.asked), asked)  # all from memory

    def test_order_is_random(self) -> None:
        nodes = records(30)
        orders = {
            tuple(NameServer(published("n", nodes)).nodes(walk(link_to("n"), seed=n, **FAST), 30)) for n in (1, 2)
        }
        self.assertEqual(len(orders), 2)

    def test_several_lists(self) -> None:
        nodes = records(40)
        one, other = published("one", nodes[:20]), published("other", nodes[20:], signer=key(7))
        tree = walk(link_to("one"), link_to("other", key(7)), **FAST)
        found = [event for event in self.events(NameServer(one, other), tree, 100) if isinstance(event, Found)]
        self.assertEqual(ids([event.node for event in found]), wanted(nodes))
        shares = Counter(event.link.domain for event in found[:20])
        self.assertGreater(min(shares["one"], shares["other"]), 3)

    def test_two_keys_for_one_name(self) -> None:
        server = NameServer(published("n", records(5)))
        tree = walk(link_to("n", key(9)), link_to("n"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 10, until=5.0)), wanted(records(5)))

    def test_links_are_followed(self) -> None:
        nodes = records(40)
        server = NameServer(published("t1", nodes[:10]), published("t2", nodes[10:], [link_to("t1")]))
        tree = walk(link_to("t2"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 120)), wanted(nodes))
        self.assertEqual(tree.trees, (link_to("t2"), link_to("t1")))

    def test_links_in_a_circle(self) -> None:
        nodes = records(30)
        server = NameServer(
            published("t1", nodes[:10], [link_to("t2")]),
            published("t2", nodes[10:20], [link_to("t3"), link_to("t2")]),
            published("t3", nodes[20:], [link_to("t1")]),
        )
        tree = walk(link_to("t1"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 120)), wanted(nodes))
        self.assertEqual(len(tree.trees), 3)
        server.zone.update(published("t1", nodes[:10], seq=2))  # now the other two hold each other only
        server.now += state.RECHECK
        server.nodes(tree, 60)
        self.assertEqual(tree.trees, (link_to("t1"),))

    def test_root_is_checked_again(self) -> None:
        nodes = records(30)
        server = NameServer(published("n", nodes[:25]))
        tree = walk(link_to("n"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 25)), wanted(nodes[:25]))
        fresh = records(15, seq=55) + nodes[15:]
        server.zone = published("n", fresh, seq=2)
        old = server.nodes(tree, 25)
        self.assertEqual(ids(old), wanted(nodes[:25]))
        server.now += state.RECHECK
        found = server.nodes(tree, 30)
        self.assertEqual({node.record for node in found}, set(fresh))

    def test_new_root_says_so(self) -> None:
        server = NameServer(published("n", records(3)))
        tree = walk(link_to("n"), **FAST)
        self.assertIn(RootChanged(link_to("n"), 1), self.events(server, tree, 1))
        server.now += state.RECHECK
        self.assertEqual([event for event in self.events(server, tree, 1) if isinstance(event, RootChanged)], [])
        server.zone = published("n", records(4), seq=2)
        server.now += state.RECHECK
        self.assertIn(RootChanged(link_to("n"), 2), self.events(server, tree, 1))

    def test_root_is_checked_when_leaves_fail(self) -> None:
        nodes = records(30)
        server = NameServer(published("n", nodes[:25]))
        tree = walk(link_to("n"), cache=1, most=1, **FAST)
        server.nodes(tree, 25)
        fresh = records(15, seq=55) + nodes[15:]
        server.zone = published("n", fresh, seq=2)
        server.asked.clear()
        self.assertEqual(len(server.nodes(tree, 30, until=100.0)), 30)
        self.assertEqual(server.asked.index("n"), state.MAX_FAILURES)
        self.assertLess(server.now, 10.0)

    def test_a_good_leaf_between(self) -> None:
        """Only failures in a row make us ask for the root."""
        nodes = records(13)
        server = NameServer(published("n", nodes))
        bad = {f"{hash_of(record.text)}.n" for record in nodes[:4]}
        server.instead = lambda name: "lost" if name in bad else None
        tree = walk(link_to("n"), cache=1, **FAST)
        self.assertEqual(ids(server.nodes(tree, 60)), wanted(nodes[4:]))
        self.assertEqual(server.asked.count("n"), 1)

    def test_empty_list_waits_for_its_root(self) -> None:
        server = NameServer(published("n", []))
        tree = walk(link_to("n"), **FAST)
        self.assertEqual(server.nodes(tree, 1, until=state.RECHECK - 1), [])
        self.assertLess(len(server.asked), 4)
        server.zone = published("n", records(1), seq=2)
        [event] = [event for event in server.run(tree, until=state.RECHECK + 1) if isinstance(event, Found)]
        self.assertEqual(event.node.node_id, records(1)[0].node_id)

    def test_links_change(self) -> None:
        nodes = records(30)
        server = NameServer(
            published("t3", nodes[20:]), published("t2", nodes[10:20]), published("t1", nodes[:10], [link_to("t2")])
        )
        tree = walk(link_to("t1"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 60)), wanted(nodes[:20]))
        server.zone.update(published("t1", nodes[:10], [link_to("t3")], seq=2))
        server.now += state.RECHECK + 1
        server.nodes(tree, 20)
        self.assertEqual(tree.trees, (link_to("t1"), link_to("t3")))
        self.assertEqual(ids(server.nodes(tree, 60)), wanted(nodes[:10] + nodes[20:]))

    def test_links_stay_while_some_are_not_known(self) -> None:
        server = NameServer(published("t1", records(1), [link_to("t2")]), published("t2", records(2, start=5)))
        tree = walk(link_to("t1"), **FAST)
        server.nodes(tree, 9)
        server.zone.update(published("t1", records(1), [link_to("t3")], seq=2))
        lost = f"{hash_of(link_to('t3').text)}.t1"
        server.instead = lambda name: "lost" if name == lost else None
        server.now += state.RECHECK
        server.nodes(tree, 9)
        self.assertEqual(tree.trees, (link_to("t1"), link_to("t2")))
        server.instead = lambda name: None
        server.now += state.RECHECK
        server.nodes(tree, 9)
        self.assertEqual(tree.trees, (link_to("t1"), link_to("t3")))

    def events(self, server: NameServer, tree: state.Walk, nodes: int) -> list[state.Event]:
        tree.want(nodes)
        return server.run(tree)


class PaceTests(SynchronousTestCase):
    def test_burst_then_rate(self) -> None:
        pace = Pace(3.0, 10)
        self.assertEqual(sum(pace.take(100.0) for _ in range(50)), 10)
        self.assertAlmostEqual(pace.next, 100.0 + 1 / 3)
        self.assertEqual(sum(pace.take(100.0 + step / 100) for step in range(1, 1001)), 30)
        self.assertEqual(sum(pace.take(1000.0) for _ in range(50)), 10)

    def test_steps_are_paced(self) -> None:
        server = NameServer(published("n", records(100)))
        tree = walk(link_to("n"))
        server.nodes(tree, 60)
        steps = tree.lookups_made
        self.assertGreaterEqual(server.now, (steps - state.BURST) / state.RATE - 1)
        self.assertLessEqual(server.now, (steps - state.BURST) / state.RATE + 1)

    def test_steps_without_lookups_too(self) -> None:
        server = NameServer(published("n", records(2)))
        tree = walk(link_to("n"))
        server.nodes(tree, 2)
        before = server.now
        server.nodes(tree, 200)
        self.assertGreater(server.now - before, 90.0)

    def test_lookups_at_one_time(self) -> None:
        nodes = records(100)
        for want, most in ((1, 1), (3, 3), (50, state.MAX_LOOKUPS)):
            server = NameServer(published("n", nodes))
            tree = walk(link_to("n"), **FAST)
            server.nodes(tree, 20)
            server.now += 10.0
            tree.want(want)
            lookups = tree.lookups(server.now)
            self.assertEqual(len(lookups), most)
            self.assertEqual(tree.lookups(server.now), [])
            self.assertIsNone(tree.next_timer())
            tree.want(-want)

    def test_no_longer_wanted(self) -> None:
        server = NameServer(published("n", records(9)))
        tree = walk(link_to("n"), **FAST)
        tree.want(5)
        tree.want(-7)
        self.assertEqual((tree.wanted, server.run(tree), server.asked), (0, [], []))


class FailureTests(SynchronousTestCase):
    def test_root_fails(self) -> None:
        server = NameServer()
        tree = walk(link_to("n"))
        tree.want(1)
        events = server.run(tree, until=600.0)
        self.assertEqual(set(events), {LookupFailed(link_to("n"), "n", "there is no such name")})
        self.assertEqual(len(server.asked), 6 + 9)  # after 0, 1, 3, 7, 15, 31, 63, then each 60 s: 123 ... 543
        server.zone = published("n", records(1))
        self.assertEqual(len(server.run(tree, until=700.0)), 2)

    def test_pauses(self) -> None:
        self.assertEqual([pause(number) for number in (1, 2, 3, 6, 7, 8, 5000)], [1, 2, 4, 32, 60, 60, 60])

    def test_all_but_the_root_fails(self) -> None:
        server = NameServer({"n": published("n", records(30))["n"]})
        tree = walk(link_to("n"))
        tree.want(1)
        server.run(tree, until=3600.0)
        self.assertLess(len(server.asked), 6 * 70)

    def test_old_tree_is_walked_while_the_root_fails(self) -> None:
        server = NameServer(published("n", records(5)))
        tree = walk(link_to("n"), **FAST)
        server.nodes(tree, 5)
        server.instead = lambda name: "lost" if name == "n" else None
        server.now += state.RECHECK
        self.assertEqual(ids(server.nodes(tree, 5, until=server.now + 5)), wanted(records(5)))

    def test_one_bad_list_does_not_stop_the_other(self) -> None:
        server = NameServer(published("good", records(5)))
        tree = walk(link_to("bad"), link_to("good"), **FAST)
        self.assertEqual(ids(server.nodes(tree, 20, until=10.0)), wanted(records(5)))

    def test_wrong_signature(self) -> None:
        server = NameServer(published("n", records(5), signer=key(3)))
        tree = walk(link_to("n"))
        tree.want(1)
        [event, *_] = server.run(tree, until=1.0)
        self.assertEqual(event.why, "the root is not signed by the key of the list")

    def test_older_root(self) -> None:
        server = NameServer(published("n", records(5), seq=7))
        tree = walk(link_to("n"), **FAST)
        server.nodes(tree, 1)
        server.zone.update(published("n", records(3, start=50), seq=6))
        server.now += state.RECHECK
        tree.want(9)
        events = server.run(tree, until=server.now + 0.5)
        self.assertIn(LookupFailed(link_to("n"), "n", "the root's sequence number went back from 7 to 6"), events)
        found = [event.node for event in events if isinstance(event, Found)]
        self.assertLessEqual(ids(found), wanted(records(5)))

    def test_late_and_unknown_answers(self) -> None:
        server = NameServer(ZONE)
        tree = walk(EIP_LINK)
        tree.want(1)
        [lookup] = tree.lookups(0.0)
        tree.answered(99, [b"x"], 0.0)
        tree.failed(99, "x", 0.0)
        server.answer(tree, lookup)
        server.answer(tree, lookup)
        self.assertEqual([tree.next_event(), tree.next_event()], [RootChanged(EIP_LINK, 1), None])

    def test_answers_of_a_tree_that_is_gone(self) -> None:
        server = NameServer(published("t1", records(1), [link_to("t2")]), published("t2", records(9, start=5)))
        tree = walk(link_to("t1"), most=8, **FAST)
        server.nodes(tree, 20)
        server.now += state.RECHECK
        server.zone.update(published("t1", records(1), seq=2))
        tree.want(9)
        held: list[Lookup] = []
        while not held:
            for lookup in tree.lookups(server.now):
                if lookup.name == "t2":
                    held.append(lookup)
                else:
                    server.answer(tree, lookup)
        server.run(tree, until=server.now + 5)
        self.assertEqual(tree.trees, (link_to("t1"),))
        server.zone.update(published("t2", records(1), seq=9))
        server.answer(tree, held[0])
        self.assertNotIn(RootChanged(link_to("t2"), 9), server.run(tree, until=server.now + 1))

    def test_failures_of_a_tree_that_is_gone(self) -> None:
        server = NameServer(published("t1", records(1), [link_to("t2")]))
        tree = walk(link_to("t1"), most=8, **FAST)
        held: list[Lookup] = []
        tree.want(9)
        while not held:
            for lookup in tree.lookups(server.now):
                if lookup.name == "t2":
                    held.append(lookup)
                else:
                    server.answer(tree, lookup)
            server.now += 0.1
        server.now += state.RECHECK
        server.zone.update(published("t1", records(1), seq=2))
        tree.want(9)
        server.run(tree, until=server.now + 5)
        self.assertEqual(tree.trees, (link_to("t1"),))
        tree.failed(held[0].token, "lost", server.now)
        self.assertEqual([event for event in server.run(tree, until=server.now) if isinstance(event, LookupFailed)], [])

    def test_answers_for_an_older_root(self) -> None:
        nodes = records(3)
        server = NameServer(published("n", nodes[:2]))
        tree = walk(link_to("n"), most=8, **FAST)
        tree.want(9)
        held: list[Lookup] = []
        while len(held) < 2:
            for lookup in tree.lookups(server.now):
                if server.zone[lookup.name].startswith("enr:"):
                    held.append(lookup)
                else:
                    server.answer(tree, lookup)
            server.now += 0.1
        old = dict(server.zone)
        server.zone = published("n", nodes[2:], seq=2)
        server.now += state.RECHECK
        self.assertEqual(ids([event.node for event in server.run(tree) if isinstance(event, Found)]), wanted(nodes[2:]))
        server.zone = old
        tree.want(9)
        for lookup in held:
            server.answer(tree, lookup)
        self.assertIsNone(tree.next_event())


class HostileTests(SynchronousTestCase):
    """Lists whose owner means harm, and name servers in other hands."""

    def test_wrong_hash(self) -> None:
        zone = published("n", records(13))
        names = [name for name in zone if name != "n" and zone[name].startswith("enr:")]
        swapped = dict(zip(names, [zone[name] for name in names[1:] + names[:1]]))
        server = NameServer(zone, swapped)
        tree = walk(link_to("n"))
        tree.want(1)
        events = server.run(tree, until=30.0)
        self.assertEqual([event for event in events if isinstance(event, Found)], [])
        whys = {event.why for event in events if isinstance(event, LookupFailed)}
        self.assertEqual(whys, {"the entry does not have the hash that its name says"})

    def test_link_among_nodes(self) -> None:
        server = NameServer(forged("n", [MORE_URL], MORE_URL))
        tree = walk(link_to("n"), **FAST)
        tree.want(1)
        events = server.run(tree, until=5.0)
        self.assertTrue(any("a link among nodes" in event.why for event in events if isinstance(event, LookupFailed)))
        self.assertEqual(tree.trees, (link_to("n"),))

    def test_node_among_links(self) -> None:
        [record] = records(1)
        server = NameServer(forged("n", [record.text], "enrtree-branch:", record.text))
        tree = walk(link_to("n"), **FAST)
        self.assertEqual(server.nodes(tree, 1, until=5.0), [])

    def test_unusable_nodes(self) -> None:
        unknown = Record.decode(rlp.encode([b"", b"\x01", b"id", b"v9"])).text
        for text in ("enr:-----", "what is this", unknown):
            server = NameServer(forged("n", [text], text))
            tree = walk(link_to("n"))
            self.assertEqual(server.nodes(tree, 1, until=60.0), [])
            self.assertLess(len(server.asked), 60)

    def test_oversized_answer(self) -> None:
        zone = published("n", records(2))
        server = NameServer(zone)
        server.instead = lambda name: None if name == "n" else [zone[name].encode() + b" " * 5000]
        tree = walk(link_to("n"))
        self.assertEqual(server.nodes(tree, 1, until=30.0), [])

    def test_many_texts(self) -> None:
        zone = published("n", records(2))
        server = NameServer(zone)
        server.instead = lambda name: [b"x"] * 60 + [zone[name].encode()]
        self.assertEqual(len(server.nodes(walk(link_to("n")), 2)), 2)

    def test_deep(self) -> None:
        text = records(1)[0].text
        entries = [text]
        for _ in range(2000):
            entries.append(BRANCH + hash_of(entries[-1]))
        server = NameServer(forged("n", entries, entries[-1]))
        tree = walk(link_to("n"), rate=1e6, burst=10_000)
        self.assertEqual(len(server.nodes(tree, 1)), 1)
        self.assertEqual(len(server.asked), 2001 + 2)

    def test_each_entry_once_a_pass(self) -> None:
        """A hundred branches each naming the next one a hundred times would be 100**100 leaves."""
        entries = [records(1)[0].text]
        for _ in range(100):
            entries.append(BRANCH + ",".join([hash_of(entries[-1])] * 100))
        server = NameServer(forged("n", entries, entries[-1]))
        self.assertEqual(len(server.nodes(walk(link_to("n"), **FAST), 1)), 1)
        self.assertEqual(len(server.asked), 101 + 2)

    def test_endless_branches(self) -> None:
        self.patch(state, "MAX_HASHES", 500)
        wide = [BRANCH + ",".join(hash_of(f"{branch} {leaf}") for leaf in range(30)) for branch in range(40)]
        top = BRANCH + ",".join(map(hash_of, wide))
        server = NameServer(forged("n", [*wide, top], top))
        tree = walk(link_to("n"), rate=1e6)
        tree.want(1)
        server.run(tree, until=20.0)
        [only] = tree._trees.values()
        self.assertEqual(len(only.nodes.seen), 500)
        self.assertLessEqual(len(only.nodes.coming), 500)

    def test_many_links(self) -> None:
        links = [link_to(f"l{number}") for number in range(400)]
        server = NameServer(published("n", records(1), links))
        tree = walk(link_to("mine"), link_to("n"), **FAST)
        server.nodes(tree, 5, until=60.0)
        server.nodes(tree, 500, until=120.0)
        self.assertEqual(len(tree.trees), state.MAX_TREES)
        self.assertEqual(tree.trees[:2], (link_to("mine"), link_to("n")))
        self.assertEqual(len(tree._trees[link_to("n")].linked), state.MAX_LINKS)

    def test_ever_other_links(self) -> None:
        """Links that never can be had all, so that none is forgotten."""
        server = NameServer()
        tree = walk(link_to("n"), **FAST)
        for seq in range(1, 40):
            zone = published("n", records(1), [link_to(f"l{seq}x{number}") for number in range(20)], seq=seq)
            lost = next(name for name in zone if zone[name].startswith("enrtree://"))
            del zone[lost]
            server.zone = zone
            server.nodes(tree, 60, until=server.now + 60)
            server.now += state.RECHECK
        self.assertLessEqual(len(tree._trees[link_to("n")].linked), state.MAX_LINKS)
        self.assertLessEqual(len(tree.trees), state.MAX_TREES)

    def test_cache_is_bounded(self) -> None:
        server = NameServer(published("n", records(60)))
        tree = walk(link_to("n"), cache=10, **FAST)
        server.nodes(tree, 60)
        self.assertEqual(len(tree._cache), 10)

    def test_memory_of_another_list_is_no_harm(self) -> None:
        """The same hash in two lists is the same text, whoever signed it."""
        server = NameServer(published("a", records(5)), {"b": published("b", records(5), signer=key(2))["b"]})
        tree = walk(link_to("a"), link_to("b", key(2)), **FAST)
        server.nodes(tree, 20)
        tree.want(60)
        found = [event for event in server.run(tree, until=60.0) if isinstance(event, Found)]
        self.assertIn(link_to("b", key(2)), {event.link for event in found})

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=40)), max_size=60), st.integers(0, 2**32))
    def test_any_answers(self, script: list[tuple[int, bytes]], seed: int) -> None:
        """Whatever comes back, nothing is raised, and no more is under way than may be."""
        zone = published("n", records(20), [link_to("m"), link_to("n")])
        zone.update(published("m", records(5), [link_to("n")]))
        tree = walk(link_to("n"), seed=seed, **FAST)
        tree.want(1000)
        now, held = 0.0, list[Lookup]()
        for kind, data in script:
            held += tree.lookups(now)
            self.assertLessEqual(len(held), state.MAX_LOOKUPS)
            if held:
                lookup = held.pop(len(data) % len(held))
                good = zone.get(lookup.name, "").encode()
                if kind == 0:
                    tree.failed(lookup.token, "lost", now)
                else:
                    tree.answered(lookup.token, [[data], [data, good], [good], [good + data], []][kind - 1], now)
            now += len(data) / 10
            while (event := tree.next_event()) is not None:
                self.assertIsInstance(event, (Found, RootChanged, LookupFailed))


class LinkTests(SynchronousTestCase):
    def test_same_list_twice(self) -> None:
        self.assertEqual(walk(link_to("A"), link_to("a")).trees, (Link(KEY.public_key, "A"),))

    def test_no_list(self) -> None:
        tree = walk()
        tree.want(3)
        self.assertEqual((tree.lookups(0.0), tree.next_timer()), ([], None))

    def test_root_of_another_domain(self) -> None:
        """A root is good for every domain of its key; what counts is that the key is the one named."""
        root = Root(hash_of(BRANCH), hash_of(BRANCH), 1).sign(KEY)
        server = NameServer({"b": root.text})
        tree = walk(link_to("b"))
        tree.want(1)
        self.assertIn(RootChanged(link_to("b"), 1), server.run(tree, until=1.0))
