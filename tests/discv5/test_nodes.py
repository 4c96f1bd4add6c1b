"""What is remembered of records."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discv5 import wire
from ethp2p.discv5.nodes import Recent, Verified
from ethp2p.discv5.state import Answered, Asked, Discv5
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, IP6, UDP, Entry
from ethp2p.errors import WireError
from tests.discv5.common import Stranger, Tape, events, key_of, local_of, record_of


class RecentTests(SynchronousTestCase):
    def test_least_lately_used_goes_first(self) -> None:
        recent: Recent[str, int] = Recent(2)
        recent.set("a", 1)
        recent.set("b", 2)
        self.assertEqual(recent.get("a"), 1)
        recent.set("c", 3)
        self.assertEqual((recent.get("a"), recent.get("b"), recent.get("c"), len(recent)), (1, None, 3, 2))
        recent.set("a", 4)
        recent.set("d", 5)
        self.assertEqual((recent.pop("a"), recent.pop("c"), recent.pop("d")), (4, None, 5))
        self.assertIsNone(recent.pop("a"))
        self.assertEqual(len(recent), 0)


class VerifiedTests(SynchronousTestCase):
    def test_once(self) -> None:
        verified = Verified(2)
        raw = record_of(1).encode()
        node = verified.node(raw)
        self.assertEqual(node, Node.from_record(record_of(1)))
        self.assertIs(verified.node(bytes(bytearray(raw))), node)
        for number in range(2, 6):
            verified.node(record_of(number).encode())
        self.assertEqual(len(verified), 2)
        self.assertIsNot(verified.node(raw), node)

    def test_the_version_that_can_be_reached(self) -> None:
        entries: dict[Entry[Any], Any] = {IP: ip_address("8.8.8.8"), IP6: ip_address("2400::1"), UDP: 30303}
        raw = Record.sign(key_of(1), 1, entries).encode()
        for version, host in ((None, "8.8.8.8"), (4, "8.8.8.8"), (6, "2400::1")):
            self.assertEqual(Verified(version=version).node(raw).host, host)

    def test_nothing_bad_is_kept(self) -> None:
        verified = Verified()
        raw = bytearray(record_of(1).encode())
        raw[-1] ^= 1
        for _ in range(2):
            with self.assertRaises(WireError):
                verified.node(bytes(raw))
        self.assertEqual(len(verified), 0)

    def test_shared(self) -> None:
        """Engines of one process: what one has verified the other takes, from an answer or a handshake."""
        verified = Verified()
        engines = [Discv5(local_of(number), random=Tape(seed=number), verified=verified) for number in (1, 3)]
        nodes = []
        for engine in engines:
            stranger = Stranger(2, engine)
            stranger.meet()
            engine.find_node(Node.from_record(stranger.record), range(257), 100.0, 0.0)
            (request,) = stranger.read(stranger.answers())
            assert isinstance(request, wire.FindNode)
            stranger.say(wire.Nodes(request.request_id, 1, (record_of(5).encode(),)))
            (answered,) = [event for event in events(engine) if isinstance(event, Answered)]
            assert isinstance(answered.result, tuple)
            nodes += answered.result
        self.assertIs(nodes[0], nodes[1])
        self.assertEqual(len(verified), 2)


class FewSessionsTests(SynchronousTestCase):
    def test_cap_by_parameter(self) -> None:
        """For a simulation of very many: what falls out is gone, and an answer to it goes nowhere."""
        engine = Discv5(local_of(1), random=Tape(seed="engine"), sessions=2)
        engine.talk_protocols.add(b"chess")
        stranger = Stranger(10, engine)
        stranger.meet(wire.FindNode(b"", (256,)))
        stranger.say(wire.TalkRequest(b"", b"chess", b"e4"))
        asked, talked = events(engine)[-2:]
        assert isinstance(asked, Asked)
        for number in (11, 12):
            Stranger(number, engine).meet()
        self.assertEqual((len(engine._sessions), len(engine._nodes)), (2, 2))
        engine.send_nodes(asked.token, [], 100.0, 0.0)
        engine.send_talk(talked.token, b"c5")  # type: ignore[union-attr]
        self.assertEqual(engine.datagrams_to_send(), [])
