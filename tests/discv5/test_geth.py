"""
The seven cases of geth's C{devp2p discv5 test}, against the engine: what the foreign node sends, and what it must
get, to the packet.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.discv5 import wire
from ethp2p.discv5.calls import distance
from ethp2p.discv5.state import Asked, Discv5, Met
from tests.discv5.common import Net, Peer, Stranger, Tape, events, local_of

ONE, TWO = ("127.0.0.1", 40001), ("127.0.0.2", 40002)


class GethTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Discv5(local_of(1, "127.0.0.1"), random=Tape(seed="engine"))
        self.stranger = Stranger(2, self.engine, ONE)

    def pong(self, answers: list[wire.Message], ping: wire.Ping, addr: tuple[str, int]) -> None:
        host = bytes(map(int, addr[0].split(".")))
        self.assertEqual(answers, [wire.Pong(ping.request_id, self.engine.local.record.seq, host, addr[1])])

    def test_ping(self) -> None:
        ping = wire.Ping(b"\0\0\0\1", 1)
        self.pong(self.stranger.meet(ping), ping, ONE)

    def test_ping_large_request_id(self) -> None:
        """With the handshake and in the session: silence."""
        plain = b"\x01" + rlp.encode([bytes(9), b"\1"])
        shake = self.stranger.handshake(self.stranger.challenge(), plain)
        self.assertEqual(self.stranger.deliver(shake), [])
        self.assertEqual(self.stranger.deliver(self.stranger.sealed(plain)), [])
        self.assertEqual(self.engine.counters.bad_messages, 2)

    def test_ping_multi_ip(self) -> None:
        """One identity that uses one set of keys from two addresses."""
        stranger = self.stranger
        stranger.meet()
        ping = wire.Ping(b"\0\0\0\2", 1)
        (answer,) = stranger.deliver(stranger.sealed(wire.encode_message(ping)), TWO)
        challenge = stranger.unmask(answer)
        assert isinstance(challenge, wire.WhoAreYou)
        shake = stranger.handshake(challenge, wire.encode_message(ping))
        self.pong(stranger.read(stranger.deliver(shake, TWO)), ping, TWO)
        (answer,) = stranger.deliver(stranger.sealed(wire.encode_message(ping)), ONE)
        self.assertIsInstance(stranger.unmask(answer), wire.WhoAreYou)

    def test_handshake_resend(self) -> None:
        """The same challenge again, for the first packet, to the byte; and it can be answered."""
        stranger = self.stranger
        (first,) = stranger.deliver(stranger.noise(b"first packet"))
        (second,) = stranger.deliver(stranger.noise(b"second one.."))
        self.assertEqual(first, second)
        challenge = stranger.unmask(second)
        assert isinstance(challenge, wire.WhoAreYou)
        self.assertEqual(challenge.nonce, b"first packet")
        ping = wire.Ping(b"", 1)
        shake = stranger.handshake(challenge, wire.encode_message(ping))
        self.pong(stranger.read(stranger.deliver(shake)), ping, ONE)
        stranger.session = None
        (third,) = stranger.deliver(stranger.noise(b"third packet"))
        self.assertNotEqual(third, first)

    def test_talk_request(self) -> None:
        for request_id in (b"\0\0\0\1", b""):
            request = wire.TalkRequest(request_id, b"test-protocol", b"")
            answers = self.stranger.say(request) if self.stranger.session else self.stranger.meet(request)
            self.assertEqual(answers, [wire.TalkResponse(request_id, b"")])

    def test_findnode_zero_distance(self) -> None:
        answers = self.stranger.meet(wire.FindNode(b"\1", (0,)))
        self.assertEqual(answers, [wire.Nodes(b"\1", 1, (self.engine.local.record.encode(),))])
        self.assertEqual([event for event in events(self.engine) if isinstance(event, Asked)], [])

    def test_findnode_results(self) -> None:
        """Five nodes on one host come by, are pinged, and are told of to a sixth."""
        net = Net()
        us = net.peer(1, "127.0.0.1")
        bystanders = []
        for number in range(11, 16):
            peer = Peer(net, number, "127.0.0.1", 40000 + number)
            net.peers[peer.addr] = peer
            bystanders.append(peer)
            peer.ping(us)
        net.run()
        met = [event.node for event in us.of(Met)]
        self.assertEqual({node.node_id for node in met}, {peer.node.node_id for peer in bystanders})
        tokens = {us.engine.ping(node, net.now, 0.0): node for node in met}
        net.run()
        us.known = [tokens[event.token] for event in us.told]
        self.assertEqual(len(us.known), 5)
        distances = tuple({distance(node.node_id, us.node.node_id) for node in us.known})
        stranger = Stranger(2, us.engine, ONE)
        stranger.meet(wire.FindNode(b"\5", distances))
        us.drain()
        (nodes,) = stranger.read(stranger.answers())
        assert isinstance(nodes, wire.Nodes)
        self.assertEqual(nodes.total, 1)
        self.assertEqual({*nodes.records}, {peer.node.record.encode() for peer in bystanders if peer.node.record})
