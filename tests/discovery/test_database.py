"""
The node database.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery import database as module
from ethp2p.discovery.database import DatabaseFailed, NodeDatabase
from ethp2p.discovery.schema import VERSION
from ethp2p.enode import LocalNode, Node
from ethp2p.errors import ConfigError
from tests.discovery.support import key, node, recorded

DAY = 24 * 3600.0


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.db = NodeDatabase(None)
        self.addCleanup(self.db.close)

    def test_whole(self) -> None:
        """Everything told comes back."""
        one = recorded(1)
        self.db.seen(one, 100.0)
        self.db.ponged(one, "v4", 110.0)
        self.db.ponged(one, "v5", 120.0)
        self.db.checked(one, 7, 130.0)
        self.db.failed(one, "v4", 140.0)
        self.db.failed(one, "v4", 150.0)
        known = self.db.get(one.node_id)
        assert known is not None
        self.assertEqual((known.node, known.first_seen, known.last_seen), (one, 100.0, 130.0))
        self.assertEqual((known.last_pong, known.checks), (120.0, 7))
        v4, v5 = known.addresses
        self.assertEqual((v4.protocol, v4.ip, v4.last_pong, v4.failures), ("v4", one.host, 110.0, 2))
        self.assertEqual((v5.protocol, v5.ip, v5.last_pong, v5.failures), ("v5", one.host, 120.0, 0))
        self.assertEqual(len(self.db), 1)
        self.assertIsNone(self.db.get(node(2).node_id))

    def test_failures_are_forgiven(self) -> None:
        """By an answer, and only in its protocol; whether written meanwhile or not."""
        for flush in (False, True):
            one = node(1 + flush)
            self.db.seen(one, 1.0)
            for protocol in ("v4", "v5"):
                self.db.failed(one, protocol, 2.0)
                self.db.failed(one, protocol, 3.0)
            if flush:
                self.db.flush()
            self.db.answered(one, "v4", 4.0)
            self.db.failed(one, "v4", 5.0)
            known = self.db.get(one.node_id)
            assert known is not None
            self.assertEqual([at.failures for at in known.addresses], [1, 2])

    def test_strangers_fail(self) -> None:
        """Of a node that is only known not to answer nothing is kept."""
        self.db.failed(node(1), "v4", 1.0)
        self.assertEqual(len(self.db), 0)
        self.db.failed(node(1), "v4", 1.0)
        self.db.seen(node(1), 2.0)
        known = self.db.get(node(1).node_id)
        assert known is not None
        self.assertEqual([at.failures for at in known.addresses], [1])

    def test_forgotten(self) -> None:
        """Whether it was written already or not; who comes again begins anew."""
        one, other = node(1), node(2)
        self.db.ponged(one, "v4", 1.0)
        self.db.flush()
        self.db.ponged(other, "v4", 1.0)
        for each in (one, other):
            self.db.forget(each)
        self.db.ponged(one, "v4", 2.0)
        self.assertIsNone(self.db.get(other.node_id))
        known = self.db.get(one.node_id)
        assert known is not None
        self.assertEqual(known.first_seen, 2.0)

    def test_forgotten_bounded(self) -> None:
        for number in range(1, 2 * module.MAX_PENDING):
            self.db.forget(node(number))
            self.assertLessEqual(len(self.db._forgotten), module.MAX_PENDING)

    def test_no_address(self) -> None:
        for host in ("", "boot.example"):
            self.db.ponged(node(1, host), "v4", 1.0)
        self.assertEqual(len(self.db), 0)

    def test_record(self) -> None:
        """The newest is kept, and an endpoint alone says nothing against it."""
        for flush in (False, True):
            number = 1 + flush
            new, old, moved = recorded(number, seq=1 << 63), recorded(number, seq=5), node(number, "9.9.9.9")
            self.db.seen(new, 1.0)
            if flush:
                self.db.flush()
            self.db.seen(old, 2.0)
            if flush:
                self.db.flush()
            self.db.seen(moved, 3.0)
            known = self.db.get(new.node_id)
            assert known is not None
            self.assertEqual((known.node.host, known.node.record), ("9.9.9.9", new.record))

    def test_addresses(self) -> None:
        """A node that moves for ever leaves no more than its latest places."""
        for at in range(1, 100):
            self.db.ponged(node(1, f"9.9.{at}.1"), "v4", float(at))
            if not at % 30:
                self.db.flush()
        known = self.db.get(node(1).node_id)
        assert known is not None
        self.assertEqual([at.ip for at in known.addresses], ["9.9.99.1", "9.9.98.1", "9.9.97.1", "9.9.96.1"])
        self.assertEqual(len(known.addresses), module.MAX_ADDRESSES)

    def test_clock_steps_back(self) -> None:
        """What has been seen has been seen."""
        self.db.ponged(node(1), "v4", 100.0)
        self.db.flush()
        self.db.ponged(node(1), "v4", 50.0)
        known = self.db.get(node(1).node_id)
        assert known is not None
        self.assertEqual((known.last_seen, known.last_pong), (100.0, 100.0))

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["seen", "ponged", "checked", "answered", "failed"]),
                st.integers(1, 3),
                st.integers(1, 3),
                st.booleans(),
            ),
            max_size=25,
        )
    )
    def test_when_it_is_written_does_not_matter(self, told: list[tuple[str, int, int, bool]]) -> None:
        often, once = NodeDatabase(None), NodeDatabase(None)
        for wall, (verb, number, place, flush) in enumerate(told, 1):
            who = node(number, f"9.9.{place}.1")
            for db in (often, once):
                if verb == "seen":
                    db.seen(who, wall)
                elif verb == "checked":
                    db.checked(who, wall, wall)
                else:
                    getattr(db, verb)(who, "v4", wall)
            if flush:
                often.flush()
        # What fails before it is seen is not known yet, if it is written by then.
        for number in (1, 2, 3):
            one, other = often.get(node(number).node_id), once.get(node(number).node_id)
            if one is None or other is None:
                self.assertIs(one, other)
                continue
            self.assertEqual((one.node, one.last_pong, one.checks), (other.node, other.last_pong, other.checks))
        often.close()
        once.close()


class BoundTests(SynchronousTestCase):
    def database(self, **settings: float) -> NodeDatabase:
        db = NodeDatabase(None, **settings)  # type: ignore[arg-type]
        self.addCleanup(db.close)
        return db

    def test_most(self) -> None:
        """Those who never answered go first, then those not seen for longest."""
        db = self.database(most=10)
        for number in range(1, 9):
            db.ponged(node(number), "v4", float(number))
        for number in range(9, 20):
            db.seen(node(number), 100.0 + number)
        self.assertEqual(len(db), 10)
        self.assertEqual(self.held(db, 30), [*range(1, 9), 18, 19])
        for number in range(20, 24):
            db.ponged(node(number), "v5", 100.0)
        self.assertEqual(self.held(db, 30), [*range(3, 9), *range(20, 24)])

    def test_subnet(self) -> None:
        """A subnet with many keys pushes out its own nodes only; the local network is exempt."""
        db = self.database()
        self.assertEqual(module.MAX_PER_SUBNET, 32)
        db.ponged(node(1), "v4", 0.0)
        for number in range(2, 102):
            db.ponged(node(number, f"9.9.9.{number}"), "v4", float(number))
        for number in range(102, 202):
            db.ponged(node(number, f"192.168.0.{number}"), "v4", 1.0)
        for number in range(202, 302):
            db.ponged(node(number, f"2a00:1:2:3::{number:x}"), "v4", float(number))
        self.assertEqual(self.held(db, 400), [1, *range(70, 202), *range(270, 302)])

    def test_pending(self) -> None:
        """What is gathered is written before it is too much."""
        db = self.database()
        for number in range(1, module.MAX_PENDING + 2):
            db.seen(node(number), 1.0)
            self.assertLessEqual(len(db._news), module.MAX_PENDING)
        self.assertEqual(len(db._news), 1)

    def test_expiry(self) -> None:
        db = self.database(lifetime=DAY, live_lifetime=5 * DAY)
        db.seen(node(1), 0.0)
        db.ponged(node(2), "v4", 0.0)
        db.seen(node(3), 2 * DAY)
        self.assertEqual(db.expire(DAY), 0)
        self.assertEqual(db.expire(DAY + 1), 1)
        self.assertEqual(self.held(db, 4), [2, 3])
        self.assertEqual(db.expire(5 * DAY + 1), 2)
        self.assertEqual(len(db), 0)

    def test_expiry_in_parts(self) -> None:
        """Nobody waits for a large one."""
        self.patch(module, "MAX_EXPIRED", 5)
        db = self.database()
        for number in range(1, 9):
            db.ponged(node(number), "v4", 0.0)
        self.assertEqual([db.expire(1e9), db.expire(1e9), db.expire(1e9)], [5, 3, 0])

    def held(self, db: NodeDatabase, most: int) -> list[int]:
        return [number for number in range(1, most) if db.get(node(number).node_id) is not None]


class SeedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.db = NodeDatabase(None)
        self.addCleanup(self.db.close)

    def seeds(self, wall: float, **settings: object) -> set[Node]:
        return set(self.db.seeds(wall, Random(1), **settings))  # type: ignore[arg-type]

    def test_who(self) -> None:
        """Who has answered lately, in this protocol."""
        old, never, one, both = node(1), node(2), recorded(3), recorded(4)
        self.db.ponged(old, "v4", 0.0)
        self.db.seen(old, 6 * DAY)
        self.db.seen(never, 6 * DAY)
        self.db.ponged(one, "v5", 6 * DAY)
        for protocol in ("v4", "v5"):
            self.db.ponged(both, protocol, 6 * DAY)
        self.assertEqual(self.seeds(6 * DAY), {one, both})
        self.assertEqual(self.seeds(6 * DAY, protocol="v4"), {both})
        self.assertEqual(self.seeds(6 * DAY, protocol="v5"), {one, both})
        self.assertEqual(self.seeds(6 * DAY, protocol="v4", max_age=6 * DAY), {old, both})
        self.assertEqual(self.seeds(20 * DAY), set())

    def test_how_many(self) -> None:
        for number in range(1, 101):
            self.db.ponged(node(number), "v4", 1.0)
        one = self.db.seeds(1.0, Random(1))
        self.assertEqual(len(set(one)), module.SEEDS)
        self.assertEqual(one, self.db.seeds(1.0, Random(1)))
        self.assertNotEqual(one, self.db.seeds(1.0, Random(2)))
        self.assertEqual(len(self.db.seeds(1.0, Random(1), count=5)), 5)

    def test_subnets(self) -> None:
        """Whoever has a subnet full of nodes does not decide where we begin."""
        for number in range(1, 31):
            self.db.ponged(node(number, f"9.9.9.{number}"), "v4", 1.0)
        for number in range(31, 41):
            self.db.ponged(node(number), "v4", 1.0)
        seeds = self.seeds(1.0)
        self.assertEqual(sum(seed.host.startswith("9.9.9.") for seed in seeds), module.SEEDS_PER_SUBNET)
        self.assertEqual(len(seeds), 12)

    def test_local_network(self) -> None:
        for number in range(1, 11):
            self.db.ponged(node(number, "127.0.0.1", 30000 + number), "v4", 1.0)
        self.assertEqual(len(self.seeds(1.0)), 10)

    def test_failing_ones_last(self) -> None:
        for number in range(1, 41):
            self.db.ponged(node(number), "v4", 1.0)
            if number > 20:
                self.db.failed(node(number), "v4", 2.0)
        self.assertEqual(self.seeds(1.0, count=20), {node(number) for number in range(1, 21)})

    def test_bad_rows(self) -> None:
        """A row that we cannot have written is passed over."""
        for number in (1, 2, 3, 4):
            self.db.ponged(recorded(number), "v4", 1.0)
        self.db.flush()
        self.db._db.execute("UPDATE nodes SET record = x'00' WHERE id = ?", (node(1).node_id,))
        self.db._db.execute("UPDATE nodes SET key = x'00' WHERE id = ?", (node(2).node_id,))
        self.db._db.execute("UPDATE nodes SET tcp = 70000 WHERE id = ?", (node(3).node_id,))
        self.assertEqual(self.seeds(1.0), {recorded(4)})
        self.assertIsNone(self.db.get(node(1).node_id))


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "nodes.sqlite"

    def fill(self) -> None:
        db = NodeDatabase(self.path)
        db.ponged(recorded(1), "v4", 1.0)
        db.close()

    def contents(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in self.directory.iterdir()}

    def leave_log(self, statement: str) -> None:
        """Change the file as a process does that is killed then: what it wrote is in the log only."""
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(statement)
        held = self.contents()
        db.close()
        for name, data in held.items():
            if not name.endswith("-shm"):
                (self.directory / name).write_bytes(data)

    def test_again(self) -> None:
        self.fill()
        self.assertEqual([*self.contents()], ["nodes.sqlite"])
        db = NodeDatabase(self.path)
        self.addCleanup(db.close)
        known = db.get(node(1).node_id)
        assert known is not None
        self.assertEqual(known.node, recorded(1))
        self.assertIsNone(db.damaged)

    def test_odd_name(self) -> None:
        """A name that means something in a URI."""
        self.path = self.directory / "no?des#100%.sqlite"
        self.fill()
        db = NodeDatabase(str(self.path))
        self.addCleanup(db.close)
        self.assertEqual(len(db), 1)

    def test_newer(self) -> None:
        """A newer format is refused, and not a byte changes; not even when only the log tells of it."""
        for in_log in (False, True):
            self.path = self.directory / f"{in_log}.sqlite"
            self.fill()
            if in_log:
                self.leave_log(f"PRAGMA user_version = {VERSION + 1}")
                self.assertTrue(self.path.with_name("True.sqlite-wal").stat().st_size)
            else:
                db = sqlite3.connect(self.path)
                db.execute(f"PRAGMA user_version = {VERSION + 1}")
                db.close()
            before = self.contents()
            error = self.assertRaises(ConfigError, NodeDatabase, self.path)
            self.assertIn(f"is of format {VERSION + 1}, written by a newer ethp2p", str(error))
            self.assertNotIn("\n", str(error))
            self.assertEqual(self.contents(), before)

    def test_of_another_program(self) -> None:
        db = sqlite3.connect(self.path)
        db.execute("CREATE TABLE letters (a)")
        db.close()
        before = self.contents()
        error = self.assertRaises(ConfigError, NodeDatabase, self.path)
        self.assertIn("is a database of another program", str(error))
        self.assertEqual(self.contents(), before)

    def test_damaged(self) -> None:
        """A damaged file is put aside, once, and a new one begun."""
        self.fill()
        good = self.path.read_bytes()
        ruins = (b"not a database, by its looks" * 40, good[: len(good) // 2], good[:100] + b"\xff" * (len(good) - 100))
        for ruin in ruins:
            self.path.write_bytes(ruin)
            db = NodeDatabase(self.path)
            self.assertEqual(db.damaged, self.directory / "nodes.sqlite.damaged")
            self.assertEqual(db.damaged.read_bytes() if db.damaged else b"", ruin)
            self.assertEqual(len(db), 0)
            db.ponged(node(1), "v4", 1.0)
            db.close()
            db = NodeDatabase(self.path)
            self.assertEqual((len(db), db.damaged), (1, None))
            db.close()
        self.assertEqual(sorted(self.contents()), ["nodes.sqlite", "nodes.sqlite.damaged"])

    def test_damaged_index(self) -> None:
        """So is one of which an index alone is damaged: nothing could be taken out of it or written to it any more."""
        for index in ("sqlite_autoindex_nodes_1", "nodes_by_age", "nodes_by_subnet"):
            self.fill()
            db = sqlite3.connect(self.path)
            (size,) = db.execute("PRAGMA page_size").fetchone()
            (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)).fetchone()
            db.close()
            ruin = bytearray(self.path.read_bytes())
            ruin[page * size - 4] ^= 0x55  # in the last of a page, where its first entry is
            self.path.write_bytes(ruin)
            db = NodeDatabase(self.path)
            self.assertEqual((db.damaged, len(db)), (self.directory / "nodes.sqlite.damaged", 0), index)
            db.ponged(node(1), "v4", 1.0)
            self.assertEqual(db.expire(100 * DAY), 1)
            db.close()

    def test_empty(self) -> None:
        """An empty file, or one that a process left that was killed before it could write its tables."""
        self.path.touch()
        self.fill()
        self.path = self.directory / "other.sqlite"
        db = sqlite3.connect(self.path)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        self.fill()

    def test_in_use(self) -> None:
        db = NodeDatabase(self.path)
        self.addCleanup(db.close)
        error = self.assertRaises(ConfigError, NodeDatabase, self.path)
        self.assertIn("another process has it open", str(error))

    def test_no_such_place(self) -> None:
        error = self.assertRaises(ConfigError, NodeDatabase, self.directory / "not" / "here")
        self.assertIn("cannot open the node database", str(error))
        self.assertRaises(ConfigError, NodeDatabase, self.directory)

    def test_full_disk(self) -> None:
        """A disk that takes nothing is told of; what there is room for is written once it takes something again."""
        db = NodeDatabase(self.path)
        self.addCleanup(db.close)
        db._db.execute("PRAGMA query_only = ON")
        db.ponged(node(1), "v4", 1.0)
        error = self.assertRaises(DatabaseFailed, db.flush)
        self.assertIn("readonly", str(error))
        for number in range(2, module.MAX_PENDING + 2):
            db.seen(node(number), 1.0)
        self.assertEqual((db.lost, len(db._news)), (module.MAX_PENDING, 1))
        db._db.execute("PRAGMA query_only = OFF")
        db.flush()
        self.assertEqual(len(db), 1)

    def test_seq(self) -> None:
        """Our record's seq outlives us, each identity's its own."""
        db = NodeDatabase(self.path)
        local = LocalNode(key(1), wall_ms=1000, store=db.seq_store(key(1).public_key.node_id))
        seq = local.record.seq
        self.assertIsNone(db.seq_store(key(2).public_key.node_id).load())
        db._db.execute("PRAGMA query_only = ON")
        self.assertRaises(ConfigError, db.seq_store(local.node_id).save, seq + 1)
        db.close()
        db = NodeDatabase(self.path)
        self.addCleanup(db.close)
        local = LocalNode(key(1), wall_ms=0, store=db.seq_store(local.node_id))
        self.assertGreater(local.record.seq, seq)
        db._db.execute("UPDATE own SET seq = -1")
        self.assertIsNone(db.seq_store(local.node_id).load())

    def test_after_close(self) -> None:
        """What is told then is told to nobody; to write it is an error."""
        db = NodeDatabase(self.path)
        db.close()
        db.seen(node(1), 1.0)
        self.assertRaises(DatabaseFailed, db.flush)
        self.assertTrue(os.path.exists(self.path))
