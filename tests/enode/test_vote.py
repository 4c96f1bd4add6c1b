from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.enode.vote import CONTACT_WINDOW, MAX_CONTACTS, MAX_STATEMENTS, MIN_STATEMENTS, WINDOW, EndpointVote

HERE = (IPv4Address("127.0.0.1"), 8000)
THERE = (IPv4Address("127.0.0.1"), 8001)

# Facts of geth's netutil/iptrack_test.go: (verb, time, argument); window and contact window 10 s, 3 statements.
ROUNDS = {
    "few": [
        ("predict", 0, None),
        ("statement", 0, "127.0.0.2"),
        ("predict", 1, None),
        ("statement", 1, "127.0.0.3"),
        ("predict", 1, None),
        ("statement", 1, "127.0.0.4"),
        ("predict", 1, HERE),
    ],
    "window": [
        ("statement", 0, "127.0.0.2"),
        ("statement", 2, "127.0.0.3"),
        ("statement", 3, "127.0.0.4"),
        ("predict", 9.999, HERE),
        ("predict", 10.001, None),
        ("statement", 10.1, "127.0.0.2"),
        ("predict", 10.2, HERE),
    ],
    "full cone: only those asked answer": [
        ("contact", 0, "127.0.0.2"),
        ("statement", 0.01, "127.0.0.2"),
        ("contact", 2, "127.0.0.3"),
        ("statement", 2.01, "127.0.0.3"),
        ("contact", 3, "127.0.0.4"),
        ("statement", 3.01, "127.0.0.4"),
        ("full cone", 3.5, False),
    ],
    "full cone: one wrote first": [
        ("contact", 0, "127.0.0.2"),
        ("statement", 0.01, "127.0.0.2"),
        ("contact", 2, "127.0.0.3"),
        ("statement", 2.01, "127.0.0.3"),
        ("statement", 3, "127.0.0.4"),
        ("contact", 3.01, "127.0.0.4"),
        ("full cone", 3.5, True),
        ("full cone", 13.5, False),
    ],
    "full cone: asked too long ago": [
        ("contact", 0, "127.0.0.2"),
        ("statement", 10, "127.0.0.2"),
        ("full cone", 10, True),
    ],
    "one host has one voice": [
        ("statement", 0, "127.0.0.2"),
        ("statement", 1, "127.0.0.2"),
        ("statement", 2, "127.0.0.2"),
        ("predict", 2, None),
    ],
    "a clock that goes back": [
        ("statement", 100, "127.0.0.2"),
        ("statement", 50, "127.0.0.3"),
        ("statement", 50, "127.0.0.4"),
        ("predict", 50, HERE),
        ("predict", 111, None),
    ],
}


def host(number):
    return IPv4Address(0x08000008 + (number << 8))  # each of another /24


class Votes(SynchronousTestCase):
    def test_rounds(self):
        for name, rounds in ROUNDS.items():
            with self.subTest(name):
                vote = EndpointVote(window=10, contact_window=10, least=3)
                for verb, now, argument in rounds:
                    if verb == "statement":
                        vote.statement(HERE, ip_address(argument), now)
                    elif verb == "contact":
                        vote.contact(ip_address(argument), now)
                    elif verb == "predict":
                        self.assertEqual(vote.predicted(now), argument, now)
                    else:
                        self.assertEqual(vote.full_cone(now), argument, now)

    def test_figures(self):
        self.assertEqual((MIN_STATEMENTS, WINDOW, CONTACT_WINDOW), (10, 300, 600))
        vote = EndpointVote()
        for number in range(MIN_STATEMENTS - 1):
            vote.statement(HERE, host(number), 0)
        self.assertIsNone(vote.predicted(0))
        vote.statement(HERE, host(100), 0)
        self.assertEqual(vote.predicted(WINDOW - 1), HERE)
        self.assertIsNone(vote.predicted(WINDOW))

    def test_more_than_half(self):
        vote = EndpointVote(least=3)
        for number in range(4):
            vote.statement(HERE, host(number), 0)
            vote.statement(THERE, host(100 + number), 0)
        self.assertIsNone(vote.predicted(0))
        vote.statement(THERE, host(0), 0)  # changes its mind
        self.assertEqual(vote.predicted(0), THERE)

    def test_one_subnet_has_one_voice(self):
        """Who has all addresses of a /24 does not outvote a few that are honest."""
        vote = EndpointVote()
        for number in range(MIN_STATEMENTS):
            vote.statement(HERE, host(number), 0)
        for number in range(256):
            vote.statement(THERE, ip_address(f"66.6.6.{number}"), 0)
        self.assertEqual((len(vote), vote.predicted(0)), (MIN_STATEMENTS + 1, HERE))
        vote = EndpointVote(least=3)
        for number in range(3):  # but on a local network each is a machine
            vote.statement(HERE, ip_address(f"192.168.0.{number + 1}"), 0)
        self.assertEqual(vote.predicted(0), HERE)

    def test_one_ipv6_line_has_one_voice(self):
        vote = EndpointVote(least=3)
        for number in range(9):
            vote.statement(HERE, IPv6Address(f"2400::{number + 1}"), 0)
        self.assertEqual(len(vote), 1)
        for number in range(2):  # but on a local network each is a machine
            vote.statement(HERE, IPv6Address(f"fd00::{number + 1}"), 0)
        self.assertEqual(vote.predicted(0), HERE)

    def test_statements_are_capped(self):
        vote = EndpointVote()
        for number in range(3 * MAX_STATEMENTS):
            vote.statement((IPv4Address(number), 1), host(number), 0)
        self.assertEqual(len(vote), MAX_STATEMENTS)
        self.assertEqual(len(vote._counts), MAX_STATEMENTS)
        self.assertEqual(len(EndpointVote(most=2)), 0)

    def test_contacts_are_capped(self):
        vote = EndpointVote()
        for number in range(MAX_CONTACTS + 5):
            vote.contact(host(number), 0)
        self.assertEqual(len(vote._contacts), MAX_CONTACTS)

    @given(
        st.lists(
            st.tuples(st.integers(1, 6), st.sampled_from([HERE, THERE]), st.floats(0, 20), st.booleans()), max_size=40
        )
    )
    def test_counts_as_a_simple_count_would(self, events):
        """The running counts agree with counting anew over the last word of every host."""
        vote = EndpointVote(window=10, least=2, most=100)
        now, said = 0.0, {}
        for number, endpoint, later, look in events:
            now += later
            vote.statement(endpoint, host(number), now)
            said[number] = (endpoint, now)
            said = {number: (where, at) for number, (where, at) in said.items() if at + 10 > now}
            self.assertEqual(len(vote), len(said))
            if look:
                named = [where for where, _ in said.values()]
                best = [end for end in (HERE, THERE) if named.count(end) >= 2 and 2 * named.count(end) > len(named)]
                self.assertEqual(vote.predicted(now), best[0] if best else None)
