"""
Tables of rounds for bans.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP
from ethp2p.errors import ConfigError
from ethp2p.peers import bans as module
from ethp2p.peers.bans import MAX_REASON, OPERATOR, REPUTATION, Ban, BanList, Scope, parse_subject

KEY = PrivateKey.parse((1).to_bytes(32))
ID = KEY.public_key.node_id
OTHER = b"o" * 32
FOREVER = None


def ban(text: str, until: int | None = FOREVER, since: int = 100, by: str = OPERATOR, reason: str = "spam") -> Ban:
    """A ban of whatever the text means."""
    return Ban(*parse_subject(text), since, until, reason, by)


class SubjectTests(SynchronousTestCase):
    def test_read(self) -> None:
        record = Record.sign(KEY, 1, {IP: ip_address("9.9.9.9")})
        for text, scope, subject in [
            (ID.hex(), Scope.NODE, ID.hex()),
            (f" 0x{ID.hex().upper()}\n", Scope.NODE, ID.hex()),
            (Node(KEY.public_key, "9.9.9.9", 1, 1).url, Scope.NODE, ID.hex()),
            (Node(KEY.public_key).url, Scope.NODE, ID.hex()),
            (record.text, Scope.NODE, ID.hex()),
            ("9.9.9.9", Scope.IP, "9.9.9.9"),
            ("9.9.9.9/32", Scope.IP, "9.9.9.9"),
            ("::ffff:9.9.9.9", Scope.IP, "9.9.9.9"),
            ("2A00:0::0001", Scope.IP, "2a00::1"),
            ("2a00::1/128", Scope.IP, "2a00::1"),
            ("9.9.9.9/24", Scope.SUBNET, "9.9.9.0/24"),
            ("::ffff:9.9.9.9/120", Scope.SUBNET, "9.9.9.0/24"),
            ("2a00::5/64", Scope.SUBNET, "2a00::/64"),
        ]:
            self.assertEqual(parse_subject(text), (scope, subject), text)
            self.assertEqual(parse_subject(subject), (scope, subject), text)

    def test_wrong(self) -> None:
        for text in [
            "",
            " ",
            ID.hex()[:-1],
            ID.hex() + "00",
            "g" * 64,
            "example.org",
            "9.9.9",
            "9.9.9.9/33",
            "9.9.9.9/255.255.255.0",
            "9.9.9.9,8.8.8.8",
            "9.9.9.9:30303",
            "fe80::1%eth0",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0:0/96",
            "enode://1234@9.9.9.9:1",
            "enr:-abc",
            "enode:",
            "x" * 100_000,
        ]:
            error = self.assertRaises(ConfigError, parse_subject, text)
            self.assertLess(len(str(error)), 300)
            self.assertNotIn("\n", str(error))


class BanTests(SynchronousTestCase):
    def test_checked(self) -> None:
        """What could not be written, or found again, is no ban."""
        good = (Scope.IP, "9.9.9.9", 1, 2, "why", OPERATOR)
        self.assertEqual(Ban(*good).subject, "9.9.9.9")
        for place, value in [
            (0, Scope.NODE),
            (1, "9.9.9.9/32"),
            (1, "example.org"),
            (2, -1),
            (2, 1.5),
            (2, True),
            (3, 1 << 53),
            (3, 1e300),
            (5, "somebody"),
            (5, ["operator"]),
        ]:
            wrong = [*good]
            wrong[place] = value
            self.assertRaises(ConfigError, Ban, *wrong)

    def test_reason(self) -> None:
        """One line, printable, and of bounded length."""
        self.assertEqual(ban("9.9.9.9", reason="a\nb\t \x00\x1b[2Jc\ud800").reason, "a b ??[2Jc?")
        self.assertEqual(len(ban("9.9.9.9", reason="x" * 10_000).reason), MAX_REASON)

    def test_over(self) -> None:
        for until, wall, over in [(None, 1e15, False), (200, 199.9, False), (200, 200.0, True), (200, 201.0, True)]:
            self.assertIs(ban("9.9.9.9", until).over(wall), over)

    def test_covers(self) -> None:
        """Whether a peer that is here has to go."""
        for text, node_id, host, covers in [
            (ID.hex(), ID, "9.9.9.9", True),
            (ID.hex(), OTHER, "9.9.9.9", False),
            (ID.hex(), None, "9.9.9.9", False),
            ("9.9.9.9", ID, "9.9.9.9", True),
            ("9.9.9.9", None, "::ffff:9.9.9.9", True),
            ("9.9.9.9", ID, "9.9.9.8", False),
            ("9.9.9.0/24", ID, "9.9.9.8", True),
            ("9.9.9.0/24", ID, "9.9.8.9", False),
            ("9.9.9.0/24", ID, "2a00::1", False),
            ("2a00::/64", ID, "2a00::ffff:1", True),
            ("9.9.9.0/24", ID, "example.org", False),
            ("9.9.9.0/24", ID, "", False),
            ("9.9.9.0/24", ID, None, False),
        ]:
            self.assertIs(ban(text).covers(node_id, host), covers, (text, host))
            bans = BanList()
            bans.add(ban(text))
            self.assertIs(bans.find(node_id, host, 100.0) is not None, covers, (text, host))


class ListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bans = BanList()

    def test_find(self) -> None:
        """The node first, then the address, then the smallest network; what has ended does not count."""
        given = [ban(ID.hex(), 150), ban("9.9.9.9", 160), ban("9.9.9.0/24", 170), ban("9.0.0.0/8", 180)]
        for each in given:
            self.assertIsNone(self.bans.add(each))
        for wall, found in [(149, 0), (150, 1), (160, 2), (170, 3)]:
            self.assertEqual(self.bans.find(ID, "9.9.9.9", wall), given[found])
        self.assertIsNone(self.bans.find(ID, "9.9.9.9", 180))
        self.assertEqual(self.bans.find(None, "9.9.9.9", 149), given[1])
        self.assertEqual(self.bans.find(OTHER, "9.9.9.8", 149), given[2])
        self.assertEqual(self.bans.find(None, "::ffff:9.1.1.1", 149), given[3])
        self.assertIsNone(self.bans.find(OTHER, "8.8.8.8", 149))

    def test_purge(self) -> None:
        """Those that have ended are told of once, in their order, and are not listed in the meantime."""
        for text, until in [("9.9.9.9", 160), (ID.hex(), 150), ("9.9.9.0/24", FOREVER), ("2a00::/64", 150)]:
            self.bans.add(ban(text, until))
        self.assertEqual(self.bans.next_expiry(), 150)
        self.assertEqual(self.bans.purge(149.9), [])
        self.assertEqual(len(self.bans.listed(149.9)), 4)
        self.assertEqual([each.subject for each in self.bans.listed(150.0)], ["9.9.9.0/24", "9.9.9.9"])
        self.assertEqual({each.subject for each in self.bans.purge(155.0)}, {ID.hex(), "2a00::/64"})
        self.assertEqual((self.bans.purge(155.0), self.bans.next_expiry()), ([], 160))
        self.assertEqual([each.subject for each in self.bans.purge(1e9)], ["9.9.9.9"])
        self.assertIsNone(self.bans.next_expiry())
        self.assertEqual([each.subject for each in self.bans], ["9.9.9.0/24"])

    def test_listed(self) -> None:
        """The oldest first."""
        for text, since in [("9.9.9.1", 30), ("9.9.9.2", 10), ("9.9.9.3", 20)]:
            self.bans.add(ban(text, since=since))
        self.assertEqual([each.since for each in self.bans.listed(100)], [10, 20, 30])

    def test_remove(self) -> None:
        """In any writing of the subject; and what is gone is found no more."""
        for text, written in [("9.9.9.0/24", "9.9.9.7/24"), ("9.9.9.9", "::ffff:9.9.9.9"), (ID.hex(), "0x" + ID.hex())]:
            given = ban(text, 1000)
            self.bans.add(given)
            self.assertEqual(self.bans.remove(written), given)
            self.assertIsNone(self.bans.remove(written))
            self.assertIsNone(self.bans.get(text))
            self.assertIsNone(self.bans.find(ID, "9.9.9.9", 100))
            self.assertEqual((len(self.bans), self.bans.next_expiry()), (0, None))
        self.assertRaises(ConfigError, self.bans.remove, "example.org")

    def test_again(self) -> None:
        """An operator's word takes the place of any; a score's only of its own that ends no later, or has ended."""
        for first, second, taken in [
            ((OPERATOR, FOREVER), (OPERATOR, 200), True),
            ((OPERATOR, FOREVER), (REPUTATION, 200), False),
            ((OPERATOR, 150), (REPUTATION, 200), False),
            ((OPERATOR, 150), (REPUTATION, FOREVER), False),
            ((OPERATOR, 90), (REPUTATION, 200), True),
            ((REPUTATION, 200), (REPUTATION, 300), True),
            ((REPUTATION, 200), (REPUTATION, 200), True),
            ((REPUTATION, 300), (REPUTATION, 200), False),
            ((REPUTATION, FOREVER), (OPERATOR, 110), True),
        ]:
            bans = BanList()
            there, new = (ban("9.9.9.9", until, by=by, since=100) for by, until in (first, second))
            bans.add(there)
            self.assertIs(bans.add(new), None if taken else new, (first, second))
            self.assertEqual([*bans], [new if taken else there])
            ends = (second if taken else first)[1]
            self.assertEqual(bans.next_expiry(), ends)
            self.assertEqual(len(bans.purge(1e15)), ends is not None)

    def test_most(self) -> None:
        """The one soonest to end makes room, an operator's after all others and a lasting one last."""
        self.patch(module, "MAX_BANS", 5)
        given = [
            ban("9.9.9.1", FOREVER),
            ban("9.9.9.2", 500),
            ban("9.9.9.3", 900, by=REPUTATION),
            ban("9.9.9.0/24", 800, by=REPUTATION),
            ban(ID.hex(), FOREVER, by=REPUTATION),
        ]
        for each in given:
            self.assertIsNone(self.bans.add(each))
        late = ban("8.8.8.8", 700, by=REPUTATION)
        self.assertIs(self.bans.add(late), late)
        self.assertIsNone(self.bans.find(None, "8.8.8.8", 100))
        for number, place in enumerate([3, 2, 4, 1, 0]):
            self.assertIs(self.bans.add(ban(f"7.7.7.{number}", FOREVER, since=200)), given[place])
            self.assertEqual(len(self.bans), 5)
        late = ban("8.8.8.8", FOREVER, by=REPUTATION)
        self.assertIs(self.bans.add(late), late)
        self.assertIsNone(self.bans.add(ban("7.7.7.0", 300)))
        self.assertEqual(len(self.bans), 5)

    def test_ended_makes_room_first(self) -> None:
        self.patch(module, "MAX_BANS", 2)
        ended, other = ban("9.9.9.1", 150, since=10), ban("9.9.9.2", 900, since=10, by=REPUTATION)
        self.bans.add(ended)
        self.bans.add(other)
        self.assertIs(self.bans.add(ban("9.9.9.3", 800, since=200, by=REPUTATION)), ended)

    def test_flood(self) -> None:
        """Identities without number get banned: what an operator said stands, and it is found as fast as before."""
        self.patch(module, "MAX_BANS", 100)
        kept = [ban(f"9.9.{number}.0/24") for number in range(10)] + [ban("1.1.1.1", 10_000)]
        for each in kept:
            self.bans.add(each)
        for number in range(1000):
            self.bans.add(ban(number.to_bytes(32).hex(), 50_000 + number, by=REPUTATION))
        self.assertEqual(len(self.bans), 100)
        self.assertEqual([each for each in self.bans if each.by == OPERATOR], kept)
        self.assertIsNotNone(self.bans.find((999).to_bytes(32), None, 100))

    def test_random(self) -> None:
        """It agrees with one that looks at every ban."""
        self.patch(module, "MAX_BANS", 40)
        rng, held = Random(1), dict[str, Ban]()
        hosts = [f"9.{a}.{b}.{c}" for a in (1, 2) for b in (1, 2) for c in (1, 2, 129)] + ["2a00::1", "2a00:0:0:1::1"]
        for wall in range(3000):
            host = rng.choice(hosts)
            bits = rng.choice([8, 16, 24, 25, 32] if "." in host else [32, 48, 64, 128])
            subject = rng.choice([f"{host}/{bits}", rng.randrange(30).to_bytes(32).hex()])
            verb = rng.choice(["add", "add", "remove", "purge", "find", "find"])
            if verb == "add":
                until = rng.choice([None, wall + rng.randrange(200)])
                new = ban(subject, until, wall, rng.choice([OPERATOR, REPUTATION]))
                gone = self.bans.add(new)
                if gone is not new:
                    held[new.subject] = new
                    if gone is not None:
                        del held[gone.subject]
            elif verb == "remove":
                self.assertEqual(self.bans.remove(subject), held.pop(parse_subject(subject)[1], None))
            elif verb == "purge":
                for each in self.bans.purge(wall):
                    self.assertTrue(held.pop(each.subject).over(wall))
                self.assertFalse([each for each in held.values() if each.over(wall)])
            else:
                node_id = rng.randrange(30).to_bytes(32)
                found = self.bans.find(node_id, host, wall)
                fit = [each for each in held.values() if each.covers(node_id, host) and not each.over(wall)]
                self.assertEqual(found, max(fit, key=self.narrow, default=None))
            self.assertEqual({each.subject: each for each in self.bans}, held)
            self.assertLessEqual(len(self.bans), 40)
            ends = [each.until for each in held.values() if each.until is not None]
            self.assertEqual(self.bans.next_expiry(), min(ends, default=None))

    @staticmethod
    def narrow(each: Ban) -> int:
        return 1000 if each.scope is Scope.NODE else ip_network(each.subject).prefixlen
