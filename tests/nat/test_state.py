"""
The engines, fed by hand at virtual times.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import LocalProtocolError
from ethp2p.nat import wire
from ethp2p.nat.state import MAX_REQUESTS, Answered, Failed, NatPmp, Restarted, Stun
from ethp2p.nat.wire import PMP_PORT, PmpMapping, Transport
from tests.nat.support import EXTERNAL, GATEWAY, pmp_address, pmp_mapping, stun_answer

AT = (GATEWAY, PMP_PORT)


def drain(engine: Any) -> list[Any]:
    """Its events."""
    events = []
    while (event := engine.next_event()) is not None:
        events.append(event)
    return events


def sending_times(engine: Any, until: float = 1000.0) -> list[float]:
    """When it sends, if nobody answers."""
    times: list[float] = []
    now = 0.0
    while True:
        times += [now] * len(engine.datagrams_to_send())
        when = engine.next_timer()
        if when is None or when > until:
            return [*times, now]
        now = when
        engine.handle_timer(now)


class NatPmpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = NatPmp(GATEWAY)

    def test_address(self) -> None:
        token = self.engine.ask_address(5.0)
        self.assertEqual(self.engine.datagrams_to_send(), [(b"\0\0", AT)])
        self.assertEqual(self.engine.datagrams_to_send(), [])
        self.engine.receive_datagram(pmp_address(), AT, 5.1)
        [event] = drain(self.engine)
        self.assertEqual((event.token, str(event.result.address)), (token, EXTERNAL))
        self.assertIsNone(self.engine.next_timer())

    def test_mapping(self) -> None:
        token = self.engine.ask_mapping(Transport.TCP, 30303, 30303, 600, 0.0)
        self.assertEqual(
            self.engine.datagrams_to_send(), [(wire.encode_pmp_mapping(Transport.TCP, 30303, 30303, 600), AT)]
        )
        self.engine.receive_datagram(pmp_mapping(Transport.TCP, 30303, 40000, 300), AT, 0.1)
        self.assertEqual(drain(self.engine), [Answered(token, PmpMapping(1000, Transport.TCP, 30303, 40000, 300))])

    def test_end_of_mapping(self) -> None:
        self.engine.ask_mapping(Transport.TCP, 30303, 40000, 0, 0.0)
        [(data, _)] = self.engine.datagrams_to_send()
        self.assertEqual(data, wire.encode_pmp_mapping(Transport.TCP, 30303, 0, 0))
        # the answer to an earlier request may come twice
        self.engine.receive_datagram(pmp_mapping(Transport.TCP, 30303, 40000, 600), AT, 0.1)
        self.assertEqual(drain(self.engine), [])
        self.engine.receive_datagram(pmp_mapping(Transport.TCP, 30303, 0, 0), AT, 0.1)
        self.assertIsInstance(drain(self.engine)[0], Answered)

    def test_sends_again(self) -> None:
        """RFC 6886 section 3.1: nine times, first after 250 ms, doubling; 64 s after the last it is over."""
        token = self.engine.ask_address(0.0)
        times = [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75, 63.75, 127.75]
        self.assertEqual(sending_times(self.engine), times)
        self.assertEqual(drain(self.engine), [Failed(token, f"the gateway {GATEWAY} does not answer")])

    def test_fewer_tries(self) -> None:
        engine = NatPmp(GATEWAY, tries=3)
        engine.ask_address(0.0)
        self.assertEqual(sending_times(engine), [0.0, 0.25, 0.75, 1.75])

    def test_timer_too_early(self) -> None:
        self.engine.ask_address(0.0)
        self.engine.datagrams_to_send()
        self.engine.handle_timer(0.2)
        self.assertEqual(self.engine.datagrams_to_send(), [])
        NatPmp(GATEWAY).handle_timer(5.0)

    def test_an_answer_to_a_repetition(self) -> None:
        token = self.engine.ask_address(0.0)
        self.engine.handle_timer(0.25)
        self.assertEqual(len(self.engine.datagrams_to_send()), 2)
        for _ in range(2):
            self.engine.receive_datagram(pmp_address(), AT, 0.3)
        self.assertEqual([event.token for event in drain(self.engine)], [token])
        self.assertEqual(self.engine.ignored, 1)

    def test_one_after_the_other(self) -> None:
        tokens = [self.engine.ask_mapping(kind, 1, 1, 600, 0.0) for kind in Transport]
        tokens.append(self.engine.ask_address(0.0))
        self.assertEqual(len(self.engine.datagrams_to_send()), 1)
        self.engine.receive_datagram(pmp_mapping(Transport.TCP, 1, 1), AT, 0.0)  # not its turn yet
        self.assertEqual(drain(self.engine), [])
        for answer in (pmp_mapping(Transport.UDP, 1, 1), pmp_mapping(Transport.TCP, 1, 1), pmp_address()):
            self.engine.receive_datagram(answer, AT, 0.1)
        self.assertEqual([event.token for event in drain(self.engine)], tokens)
        self.assertEqual(len(self.engine.datagrams_to_send()), 2)

    def test_no_answer_to_one_is_none_to_all(self) -> None:
        tokens = [self.engine.ask_address(0.0) for _ in range(5)]
        self.assertEqual(sending_times(self.engine)[-1], 127.75)
        self.assertEqual([event.token for event in drain(self.engine)], tokens)

    def test_ignored(self) -> None:
        self.engine.receive_datagram(pmp_address(), AT, 0.0)  # nothing was asked
        self.engine.ask_mapping(Transport.TCP, 30303, 30303, 600, 0.0)
        good = pmp_mapping(Transport.TCP, 30303, 666)
        for data, addr in (
            (good, ("192.168.1.2", PMP_PORT)),
            (good, (GATEWAY, 5352)),
            (pmp_mapping(Transport.UDP, 30303, 666), AT),
            (pmp_mapping(Transport.TCP, 30304, 666), AT),
            (pmp_mapping(Transport.UDP, 30303, 666, code=2), AT),
            (pmp_address("6.6.6.6"), AT),
            (b"", AT),
            (b"\0\0", AT),
            (b"x" * 100, AT),
        ):
            self.engine.receive_datagram(data, addr, 0.1)
        self.assertEqual((drain(self.engine), self.engine.ignored), ([], 10))
        self.engine.receive_datagram(good, AT, 0.1)
        self.assertEqual(len(drain(self.engine)), 1)

    def test_refusals(self) -> None:
        for answer, words in (
            (pmp_address(code=2), "refuses"),
            (pmp_address(code=3), "no network"),
            (pmp_address("0.0.0.0"), "no external address"),
            (bytes.fromhex("028000010000000000000e10"), "version"),
        ):
            token = self.engine.ask_address(0.0)
            self.engine.receive_datagram(answer, AT, 0.1)
            [event] = drain(self.engine)
            self.assertEqual((event.token, words in event.why), (token, True))
        self.engine.ask_mapping(Transport.TCP, 1, 1, 600, 0.0)
        self.engine.receive_datagram(pmp_mapping(Transport.TCP, 1, 0), AT, 0.1)
        self.assertIsInstance(drain(self.engine)[0], Failed)

    def test_too_many(self) -> None:
        for _ in range(MAX_REQUESTS):
            self.engine.ask_address(0.0)
        self.assertRaises(LocalProtocolError, self.engine.ask_address, 0.0)

    def epochs(self, *answers: tuple[float, int]) -> list[bool]:
        """Whether it saw a restart at each of the answers, given times and epochs."""
        seen = []
        for now, epoch in answers:
            self.engine.ask_address(now)
            self.engine.receive_datagram(pmp_address(epoch=epoch), AT, now)
            seen.append(Restarted() in drain(self.engine))
        return seen

    def test_restart(self) -> None:
        self.assertEqual(
            self.epochs((0, 5000), (120, 5120), (240, 5), (360, 125), (480, 0)), [False, False, True, False, True]
        )

    def test_slow_clock_is_no_restart(self) -> None:
        self.assertEqual(self.epochs((0, 0), (80, 70), (160, 140), (1160, 1013)), [False] * 4)
        self.assertEqual(self.epochs((2160, 1880)), [True])

    def test_fast_clock_is_no_restart(self) -> None:
        self.assertEqual(self.epochs((0, 0), (80, 9999), (81, 10000)), [False] * 3)

    def test_our_clock_goes_back(self) -> None:
        self.assertEqual(self.epochs((1000, 1000), (10, 1001), (20, 1010)), [False] * 3)

    def test_restarts_once_in_a_while(self) -> None:
        """A clock that makes no sense is not a restart each time: each has all ports asked for again."""
        falling = [(number * 0.01, 90_000 - number * 1000) for number in range(50)]
        self.assertEqual(self.epochs(*falling), [False, True] + [False] * 48)
        self.assertEqual(self.epochs((29.0, 5), (59.0, 5)), [False, True])

    def test_refusals_tell_no_epoch(self) -> None:
        self.epochs((0, 5000))
        self.engine.ask_address(1.0)
        self.engine.receive_datagram(pmp_address(epoch=0, code=3), AT, 1.0)
        self.assertNotIn(Restarted(), drain(self.engine))

    @settings(max_examples=100)
    @given(st.lists(st.tuples(st.sampled_from("armtx"), st.binary(max_size=18)), max_size=30))
    def test_anything(self, script: list[tuple[str, bytes]]) -> None:
        """Every request ends in one event, whatever comes."""
        engine, now, asked = NatPmp(GATEWAY, tries=2), 0.0, []
        events: list[Any] = []
        for kind, data in script:
            now += 0.1
            if kind == "a":
                asked.append(engine.ask_address(now))
            elif kind == "r":
                engine.receive_datagram(pmp_address(epoch=len(data)), AT, now)
            elif kind == "m":
                asked.append(engine.ask_mapping(Transport.UDP, 1, 1, len(data), now))
            elif kind == "t":
                engine.handle_timer(now)
            engine.receive_datagram(data, AT, now)
            events += drain(engine)
        while (when := engine.next_timer()) is not None:
            engine.handle_timer(when)
            events += drain(engine)
        self.assertEqual([event.token for event in events if not isinstance(event, Restarted)], asked)


SERVER = ("198.51.100.9", 3478)
OTHER = ("198.51.100.10", 3478)


class StunTests(SynchronousTestCase):
    def setUp(self) -> None:
        numbers = count(1)
        self.engine = Stun(random=lambda size: next(numbers).to_bytes(size, "big"))

    def request(self) -> bytes:
        [(data, _)] = self.engine.datagrams_to_send()
        return data

    def test_address(self) -> None:
        token = self.engine.ask_address(SERVER, 0.0)
        [(data, addr)] = self.engine.datagrams_to_send()
        self.assertEqual((data, addr), (wire.encode_binding(bytes(11) + b"\1"), SERVER))
        self.engine.receive_datagram(stun_answer(data), SERVER, 0.1)
        [event] = drain(self.engine)
        self.assertEqual((event.token, str(event.result.address), event.result.port), (token, EXTERNAL, 4321))
        self.assertIsNone(self.engine.next_timer())

    def test_sends_again(self) -> None:
        """RFC 8489 section 6.2.1, with four requests where the RFC has seven."""
        token = self.engine.ask_address(SERVER, 0.0)
        self.assertEqual(sending_times(self.engine), [0.0, 0.5, 1.5, 3.5, 11.5])
        self.assertEqual(drain(self.engine), [Failed(token, "the STUN server 198.51.100.9 does not answer")])

    def test_the_rfcs_own_figures(self) -> None:
        engine = Stun(random=bytes, tries=7)
        engine.ask_address(SERVER, 0.0)
        self.assertEqual(sending_times(engine), [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 39.5])

    def test_repetitions_are_the_same(self) -> None:
        self.engine.ask_address(SERVER, 0.0)
        first = self.request()
        self.engine.handle_timer(0.5)
        self.assertEqual(self.request(), first)

    def test_ignored(self) -> None:
        self.engine.ask_address(SERVER, 0.0)
        request = self.request()
        for data, addr in (
            (stun_answer(request), OTHER),
            (stun_answer(request), (SERVER[0], 3479)),
            (stun_answer(wire.encode_binding(bytes(12))), SERVER),
            (stun_answer(request)[:-1], SERVER),
            (stun_answer(request, kind=0x0001), SERVER),
            (request, SERVER),
            (b"", SERVER),
            (b"x" * 2000, SERVER),
        ):
            self.engine.receive_datagram(data, addr, 0.1)
        self.assertEqual((drain(self.engine), self.engine.ignored), ([], 8))
        self.engine.receive_datagram(stun_answer(request), SERVER, 0.1)
        self.engine.receive_datagram(stun_answer(request, "6.6.6.6"), SERVER, 0.1)
        [event] = drain(self.engine)
        self.assertEqual(str(event.result.address), EXTERNAL)

    def test_refusal(self) -> None:
        token = self.engine.ask_address(SERVER, 0.0)
        answer = bytearray(stun_answer(self.request(), kind=0x0111))
        answer[20:28] = b"\0\x09\0\x08\0\0\5\0"
        self.engine.receive_datagram(bytes(answer), SERVER, 0.1)
        self.assertEqual(drain(self.engine), [Failed(token, "the STUN server answers with error 500")])

    def test_several_at_one_time(self) -> None:
        tokens = [self.engine.ask_address(server, 0.0) for server in (SERVER, OTHER)]
        [(one, _), (other, _)] = self.engine.datagrams_to_send()
        self.engine.receive_datagram(stun_answer(one), OTHER, 0.1)  # crosswise
        self.engine.receive_datagram(stun_answer(other, "2001:db8::5"), OTHER, 0.1)
        self.engine.receive_datagram(stun_answer(one), SERVER, 0.1)
        self.assertEqual([event.token for event in drain(self.engine)], tokens[::-1])

    def test_too_many(self) -> None:
        for _ in range(MAX_REQUESTS):
            self.engine.ask_address(SERVER, 0.0)
        self.assertRaises(LocalProtocolError, self.engine.ask_address, SERVER, 0.0)

    @settings(max_examples=100)
    @given(st.lists(st.tuples(st.sampled_from("atrx"), st.binary(max_size=40)), max_size=30))
    def test_anything(self, script: list[tuple[str, bytes]]) -> None:
        """Every request ends in one event, whatever comes."""
        numbers = count(1)
        engine = Stun(random=lambda size: next(numbers).to_bytes(size, "big"), tries=2)
        now, asked, events = 0.0, [], list[Any]()
        for kind, data in script:
            now += 0.1
            if kind == "a":
                asked.append(engine.ask_address(SERVER, now))
            elif kind == "t":
                engine.handle_timer(now)
            elif kind == "r":
                for request, addr in engine.datagrams_to_send()[:1]:
                    engine.receive_datagram(stun_answer(request), addr, now)
            engine.receive_datagram(data, SERVER, now)
            events += drain(engine)
        while (when := engine.next_timer()) is not None:
            engine.handle_timer(when)
            events += drain(engine)
        self.assertEqual(sorted(event.token for event in events), asked)
