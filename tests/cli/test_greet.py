"""
Calls to a peer that plays a part: Hello, Status, and what may come instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.cli.greet import FIRST_WORD, Findings, NoSharedLanguage, Pretence, Unreachable, endpoint_of, greet, probe
from ethp2p.codec import snappy
from ethp2p.crypto.keys import PrivateKey
from ethp2p.devp2p.state import BadHello
from ethp2p.devp2p.wire import DISCONNECT, EMPTY, HELLO, PING, PONG, Capability, Disconnect, Hello
from ethp2p.enode import Node
from ethp2p.errors import ConfigError, DisconnectReason, P2PError, PeerDisconnected, WireError
from ethp2p.eth.messages import Status66, Status69
from ethp2p.eth.state import StatusMissing
from ethp2p.eth.wire import encode
from ethp2p.limits import WheelTimer
from ethp2p.networks import ForkId
from ethp2p.rlpx import RLPxFactory

KEY = PrivateKey.parse(b"\x01" * 32)
PEER = PrivateKey.parse(b"\x02" * 32)
CAPS = (Capability("eth", 67), Capability("eth", 69), Capability("eth", 72), Capability("snap", 1))
HELLO_OF_PEER = Hello(5, "Geth/v1.17.5", CAPS, 30303, PEER.public_key.raw)
GENESIS = bytes(range(32))
STATUS = Status69(69, 11, GENESIS, ForkId(b"\1\2\3\4", 5), 6, 7, b"\x08" * 32)
OLD_STATUS = Status66(68, 11, 9, b"\x08" * 32, GENESIS, ForkId(b"\1\2\3\4", 5))
MAINNET = networks.named("mainnet")
OURS = Pretence(MAINNET, ForkId(b"\x07\xc9\x46\x2e"))


class _Peer:
    """The other side: an inner protocol that plays a part."""

    def __init__(self, part: Callable[[Any], None]) -> None:
        self.part = part
        self.heard: list[tuple[int, bytes]] = []
        self.lost: list[object] = []
        self.transport: Any = None

    def buildProtocol(self, addr: object) -> _Peer:
        return self

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.part(transport)

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.heard.append((code, payload))

    def connectionLost(self, reason: object) -> None:
        self.lost.append(reason)


class _Endpoint:
    def __init__(self, connect: Callable[[Factory], Deferred[Any]]) -> None:
        self.connect = connect


class _CallCase(SynchronousTestCase):
    pretence: Pretence | None = None

    def setUp(self) -> None:
        self.clock = Clock()

    def endpoint(self, part: Callable[[Any], None], key: PrivateKey = PEER) -> Any:
        """Leads to a peer that plays C{part} on its transport when the RLPx handshake is done."""
        self.peer = _Peer(part)
        server = RLPxFactory(key, self.peer, clock=self.clock, wheel=WheelTimer(self.clock), isClient=False)

        def connect(factory: Factory) -> Deferred[Any]:
            ours, theirs = factory.buildProtocol(None), server.buildProtocol(None)
            ours_end, theirs_end = FakeTransport(ours, False), FakeTransport(theirs, True)
            self.pump = IOPump(ours, theirs, ours_end, theirs_end, False, self.clock)
            ours.makeConnection(ours_end)
            theirs.makeConnection(theirs_end)
            return succeed(ours)

        return _Endpoint(connect)

    def turn(self) -> None:
        for _ in range(5):
            self.pump.flush()
            self.clock.advance(0)

    def over(self) -> None:
        """Both sides know that it is over, and no timer is left but those of the connection below."""
        self.turn()
        self.assertEqual(len(self.peer.lost), 1)
        self.clock.advance(30)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GreetTests(_CallCase):
    def call(self, part: Callable[[Any], None], key: PrivateKey = PEER) -> Deferred[Hello]:
        called = greet(self.endpoint(part, key), PEER.public_key, KEY, self.clock, 5.0)
        self.turn()
        return called

    def failed(self, called: Deferred[Hello], kind: type[P2PError]) -> str:
        message = self.failureResultOf(called, kind).getErrorMessage()
        self.assertNotIn("\n", message)
        return message

    def test_hello(self) -> None:
        called = self.call(lambda transport: transport.writeMessage(HELLO, HELLO_OF_PEER.encode()))
        self.assertEqual(self.successResultOf(called), HELLO_OF_PEER)
        (code, payload), (last, goodbye) = self.peer.heard
        self.assertEqual(code, HELLO)
        hello = Hello.decode(payload)
        self.assertEqual(hello.node_key, KEY.public_key.raw)
        self.assertTrue(hello.client.startswith("ethp2p/"))
        self.assertEqual(last, DISCONNECT)
        self.assertEqual(Disconnect.decode(snappy.decompress(goodbye, 10)).reason, DisconnectReason.REQUESTED)
        self.over()

    def test_goodbye_to_one_without_snappy(self) -> None:
        old = Hello(4, "old", (), 0, PEER.public_key.raw)
        self.call(lambda transport: transport.writeMessage(HELLO, old.encode()))
        self.assertEqual(Disconnect.decode(self.peer.heard[1][1]).reason, DisconnectReason.REQUESTED)

    def test_refused(self) -> None:
        full = Disconnect(DisconnectReason.TOO_MANY_PEERS).encode()
        called = self.call(lambda transport: transport.writeMessage(DISCONNECT, full))
        self.assertEqual(self.failed(called, PeerDisconnected), "the peer disconnected: too many peers")
        self.over()

    def test_refused_for_a_reason_without_a_name(self) -> None:
        called = self.call(lambda transport: transport.writeMessage(DISCONNECT, Disconnect(0x42).encode()))
        self.assertIn("0x42", self.failed(called, PeerDisconnected))

    def test_nonsense(self) -> None:
        for message in ((HELLO, b"\xc0"), (HELLO, b"x" * 3000), (DISCONNECT, b"\xff")):
            self.failed(self.call(lambda transport, message=message: transport.writeMessage(*message)), WireError)
        for message in ((PING, b"\xc0"), (0x10, b"")):
            self.failed(self.call(lambda transport, message=message: transport.writeMessage(*message)), BadHello)

    def test_closed(self) -> None:
        message = self.failed(self.call(lambda transport: transport.loseConnection()), PeerDisconnected)
        self.assertIn("before Hello", message)

    def test_another_key(self) -> None:
        self.failed(self.call(lambda transport: None, key=KEY), P2PError)

    def test_silence(self) -> None:
        called = self.call(lambda transport: None)
        self.clock.advance(4.9)
        self.assertNoResult(called)
        self.clock.advance(0.2)
        self.assertEqual(self.failed(called, Unreachable), "the peer did not say Hello within 5 s")
        self.over()

    def test_not_reached(self) -> None:
        for error in (ConnectionRefusedError(), DNSLookupError("no such host")):
            endpoint: Any = _Endpoint(lambda factory, error=error: fail(error))
            called = greet(endpoint, PEER.public_key, KEY, self.clock, 5.0)
            self.assertTrue(self.failed(called, Unreachable).startswith("the peer cannot be reached: "))

    def test_connecting_takes_too_long(self) -> None:
        endpoint: Any = _Endpoint(lambda factory: Deferred())
        called = greet(endpoint, PEER.public_key, KEY, self.clock, 5.0)
        self.clock.advance(5.1)
        self.assertEqual(self.failed(called, Unreachable), "the peer did not say Hello within 5 s")

    def test_cancelled(self) -> None:
        endpoint: Any = _Endpoint(lambda factory: Deferred())
        connecting = greet(endpoint, PEER.public_key, KEY, self.clock, 5.0)
        for called in (connecting, self.call(lambda transport: None)):
            called.cancel()
            self.failureResultOf(called, CancelledError)
        self.over()


class ProbeTests(_CallCase):
    def call(self, *said: tuple[int, bytes], hello: Hello = HELLO_OF_PEER) -> Deferred[Findings]:
        def part(transport: Any) -> None:
            transport.writeMessage(HELLO, hello.encode())
            for message in said:
                transport.writeMessage(*message)

        called = probe(self.endpoint(part), PEER.public_key, KEY, self.clock, 5.0, pretence=OURS)
        self.turn()
        return called

    def status(self, status: Status66 | Status69, compressed: bool = True) -> tuple[int, bytes]:
        code, payload = encode(status.version, status)
        return 0x10 + code, snappy.compress(payload) if compressed else payload

    def test_status(self) -> None:
        called = self.call(self.status(STATUS))
        self.assertEqual(self.successResultOf(called), Findings(HELLO_OF_PEER, 69, STATUS, None))
        self.assertEqual([code for code, _ in self.peer.heard], [HELLO, DISCONNECT])  # it does not hear ours
        self.over()

    def test_older_versions(self) -> None:
        for p2p, compressed in ((5, True), (4, False)):
            hello = Hello(p2p, "old", (Capability("eth", 68), Capability("eth", 66)), 0, PEER.public_key.raw)
            findings = self.successResultOf(self.call(self.status(OLD_STATUS, compressed), hello=hello))
            self.assertEqual((findings.version, findings.status, findings.failure), (68, OLD_STATUS, None))

    def test_peer_that_waits(self) -> None:
        """It hears a Status of ours, after a while, and then says its own."""
        called = self.call()
        self.clock.advance(FIRST_WORD - 0.01)
        self.turn()
        self.assertEqual(len(self.peer.heard), 1)
        self.clock.advance(0.02)
        self.turn()
        code, payload = self.peer.heard[1]
        said = Status69(69, 1, MAINNET.genesis_hash, OURS.fork_id, 0, 0, MAINNET.genesis_hash)
        self.assertEqual((code, snappy.decompress(payload, 100)), (0x10, encode(69, said)[1]))
        self.peer.transport.writeMessage(*self.status(STATUS))
        self.turn()
        self.assertEqual(self.successResultOf(called).status, STATUS)
        self.over()

    def test_pretence_of_old_versions(self) -> None:
        self.assertEqual(OURS.status(66), Status66(66, 1, 0, MAINNET.genesis_hash, MAINNET.genesis_hash, OURS.fork_id))

    def test_hello_and_no_more(self) -> None:
        full = (DISCONNECT, Disconnect(DisconnectReason.TOO_MANY_PEERS).encode())
        nonsense = (0x10, snappy.compress(b"\xc0"))
        large = (0x10, snappy.compress(b"\xb8\xff" + bytes(255)))
        early = (0x12, snappy.compress(EMPTY))
        strange = (0x22, snappy.compress(EMPTY))
        none = Hello(5, "les", (Capability("les", 4), Capability("eth", 63)), 0, PEER.public_key.raw)
        for called, kind in (
            (self.call(full), PeerDisconnected),
            (self.call(nonsense), WireError),
            (self.call(large), WireError),
            (self.call(early), StatusMissing),
            (self.call(strange), P2PError),
            (self.call((0x10, b"not snappy")), WireError),
            (self.call(self.status(OLD_STATUS)), WireError),  # of another version than agreed
            (self.call(hello=none), NoSharedLanguage),
        ):
            findings = self.successResultOf(called)
            assert findings.hello is not None
            self.assertEqual(findings.hello.node_key, PEER.public_key.raw)
            self.assertIsNone(findings.status)
            self.assertIsInstance(findings.failure, kind)

    def test_silence_after_hello(self) -> None:
        called = self.call()
        self.clock.advance(5.1)
        findings = self.successResultOf(called)
        self.assertEqual(findings.hello, HELLO_OF_PEER)
        self.assertEqual(str(findings.failure), "the peer did not say Status within 5 s")
        self.over()

    def test_closed_after_hello(self) -> None:
        called = self.call()
        self.peer.transport.loseConnection()
        self.turn()
        self.assertIn("before Status", str(self.successResultOf(called).failure))
        self.clock.advance(30)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ping_is_answered(self) -> None:
        self.call((PING, snappy.compress(EMPTY)))
        self.assertEqual(self.peer.heard[1:], [(PONG, snappy.compress(EMPTY))])

    def test_not_reached(self) -> None:
        endpoint: Any = _Endpoint(lambda factory: fail(ConnectionRefusedError()))
        findings = self.successResultOf(probe(endpoint, PEER.public_key, KEY, self.clock, 5.0, pretence=OURS))
        self.assertIsNone(findings.hello)
        self.assertIsInstance(findings.failure, Unreachable)

    def test_no_address(self) -> None:
        for node in (Node(PEER.public_key), Node(PEER.public_key, "1.2.3.4", 0, 30303)):
            self.assertRaises(ConfigError, endpoint_of, self.clock, node)
