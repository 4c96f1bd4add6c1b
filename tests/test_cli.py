"""
The one-shots: what they print, and how they fail.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.scripts import twistd
from twisted.test.iosim import FakeTransport, IOPump
from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p.cli import main, show, verbs
from ethp2p.cli.greet import Unreachable, greet
from ethp2p.codec import rlp, snappy
from ethp2p.crypto.keys import PrivateKey, load_key, save_key
from ethp2p.devp2p.wire import DISCONNECT, HELLO, PING, Capability, Disconnect, Hello
from ethp2p.enode import Node
from ethp2p.enr import EthEntry, Record
from ethp2p.enr.entries import ETH, TCP, Entry
from ethp2p.errors import DisconnectReason, P2PError, PeerDisconnected, WireError
from ethp2p.limits import WheelTimer
from ethp2p.rlpx import RLPxFactory

KEY = PrivateKey.parse(b"\x01" * 32)
PEER = PrivateKey.parse(b"\x02" * 32)
HELLO_OF_PEER = Hello(5, "Geth/v1.17.5", (Capability("eth", 68), Capability("snap", 1)), 30303, PEER.public_key.raw)
ENR = (
    "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlw"
    "hH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8"
)


class VerbTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.key = self.mktemp()

    def run_main(self, *args: str) -> int:
        for stream in (self.out, self.err):
            stream.truncate(0)
            stream.seek(0)
        return main(args)

    def works(self, *args: str) -> str:
        self.assertEqual((self.run_main(*args), self.err.getvalue()), (0, ""))
        return self.out.getvalue()

    def fails(self, status: int, *args: str) -> str:
        self.assertEqual((self.run_main(*args), self.out.getvalue()), (status, ""))
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_key_generate(self) -> None:
        self.assertEqual(self.works("key", "generate", self.key), "")
        self.assertEqual(Path(self.key).stat().st_mode & 0o777, 0o600)
        secret = load_key(self.key).secret
        self.assertIn("File exists", self.fails(1, "key", "generate", self.key))
        self.assertEqual(load_key(self.key).secret, secret)

    def test_key_to_id(self) -> None:
        save_key(self.key, KEY)
        self.assertEqual(self.works("key", "to-id", self.key), KEY.public_key.node_id.hex() + "\n")
        self.assertTrue(self.fails(1, "key", "to-id", self.key + "x").startswith("ethp2p: cannot read key file"))

    def test_key_to_enode(self) -> None:
        save_key(self.key, KEY)
        start = f"enode://{KEY.public_key.raw.hex()}@"
        self.assertEqual(self.works("key", "to-enode", self.key), f"{start}127.0.0.1:30303\n")
        args = ("--ip", "2001:db8::1", "--tcp", "5", "--udp", "6")
        self.assertEqual(self.works("key", "to-enode", self.key, *args), f"{start}[2001:db8::1]:5?discport=6\n")
        self.fails(1, "key", "to-enode", self.key, "--ip", "not an address")

    def test_enrdump(self) -> None:
        text = self.works("enrdump", ENR)
        self.assertEqual(
            text.splitlines(),
            [
                "Node ID: a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7",
                "URLv4:   enode://ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7"
                "266c44e9e6d569fc56be00812904767bf5ccd1fc7f@127.0.0.1:0?discport=30303",
                "Record has sequence number 1 and 4 key/value pairs.",
                "  'id'         'v4'",
                "  'ip'         127.0.0.1",
                "  'secp256k1'  03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138",
                "  'udp'        30303",
            ],
        )
        self.patch(sys, "stdin", StringIO(ENR + "\n"))
        self.assertEqual(self.works("enrdump", "-"), text)

    def test_enrdump_of_nothing(self) -> None:
        self.fails(1, "enrdump", "enr:xx")
        endless = StringIO("x" * 1_000_000)
        self.patch(sys, "stdin", endless)
        self.fails(1, "enrdump", "-")
        self.assertEqual(endless.tell(), verbs.MAX_TEXT)

    def test_networks(self) -> None:
        lines = self.works("networks").splitlines()
        self.assertEqual(len(lines), 1 + len(ethp2p.networks.NAMES))
        self.assertRegex(lines[1], r"^mainnet +1 +d4e56740f876aef8[0-9a-f]{48} +[0-9a-f]{8} ")

    def test_usage(self) -> None:
        for args in (
            (),
            ("nonsense",),
            ("key",),
            ("key", "to-id"),
            ("key", "to-enode", "x", "--tcp", "65536"),
            ("rlpx", "ping", "x", "--timeout", "nan"),
            ("networks", "more"),
        ):
            self.assertTrue(self.fails(2, *args).startswith("ethp2p"), args)

    def test_version(self) -> None:
        self.assertEqual(self.works("--version"), f"ethp2p {ethp2p.__version__}\n")

    def test_run_is_twistd(self) -> None:
        ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: ran.append(sys.argv))
        self.patch(sys, "argv", ["ethp2p"])
        for args in ((), ("--network", "hoodi", "--version"), ("sandbox", "--check"), ("-x", "--", "-y")):
            self.works("run", *args)
            self.assertEqual(ran.pop(), ["twistd", "-n", "--pidfile=", "ethp2p", *args])

    def test_ping(self) -> None:
        called: list[Any] = []

        def with_reactor(function: Callable[[Any], Any]) -> Hello:
            called.append(function)
            return HELLO_OF_PEER

        self.patch(verbs, "_with_reactor", with_reactor)
        url = Node(PEER.public_key, "127.0.0.1", 30303, 30303).url
        text = self.works("rlpx", "ping", url)
        self.assertEqual(
            text.splitlines(),
            [
                f"Node ID:      {PEER.public_key.node_id.hex()}",
                "Name:         Geth/v1.17.5",
                "Caps:         eth/68 snap/1",
                "Version:      5",
                "Listen port:  30303",
            ],
        )
        self.assertEqual(
            json.loads(self.works("rlpx", "ping", "--json", url)),
            {
                "id": PEER.public_key.node_id.hex(),
                "name": "Geth/v1.17.5",
                "caps": ["eth/68", "snap/1"],
                "version": 5,
                "listenPort": 30303,
            },
        )
        self.assertEqual(len(called), 2)

    def test_ping_of_nobody(self) -> None:
        self.fails(1, "rlpx", "ping", "10.0.0.1:30303")
        self.assertIn("no address to call", self.fails(1, "rlpx", "ping", Node(PEER.public_key).url))

    def test_failures_are_one_line(self) -> None:
        def with_reactor(function: object) -> None:
            raise PeerDisconnected(DisconnectReason.TOO_MANY_PEERS)

        self.patch(verbs, "_with_reactor", with_reactor)
        url = Node(PEER.public_key, "127.0.0.1", 30303, 30303).url
        self.assertEqual(self.fails(1, "rlpx", "ping", url), "ethp2p: the peer disconnected: too many peers")


class ShowTests(SynchronousTestCase):
    def test_every_entry(self) -> None:
        odd: Entry[bytes] = Entry(b"\xffodd", rlp.BYTES)
        broken: Entry[bytes] = Entry(b"snap", rlp.BYTES)
        record = Record.sign(KEY, 7, {ETH: EthEntry(b"\1\2\3\4", 5), TCP: 30303, odd: b"\x01\x02", broken: b"x"})
        self.assertEqual(
            list(show.record_lines(record))[2:],
            [
                "Record has sequence number 7 and 6 key/value pairs.",
                "  'eth'        01020304/5",
                "  'id'         'v4'",
                f"  'secp256k1'  {KEY.public_key.compressed().hex()}",
                "  'snap'       78 (malformed)",
                "  'tcp'        30303",
                "  '\\xffodd'    820102",
            ],
        )

    def test_next_forks(self) -> None:
        # mainnet before Cancun, which came at 1710338135
        lines = list(show.network_lines(1710338134))
        self.assertIn("dce96c2d  2024-03-13 13:55:35 UTC", lines[1])
        lines = list(show.network_lines(1710338135))
        self.assertIn("9f3d2254  ", lines[1])


class _Peer:
    """The other side: an inner protocol that plays a part."""

    def __init__(self, part: Callable[[Any], None]) -> None:
        self.part = part
        self.heard: list[tuple[int, bytes]] = []
        self.lost: list[object] = []

    def buildProtocol(self, addr: object) -> _Peer:
        return self

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...

    def makeConnection(self, transport: Any) -> None:
        self.part(transport)

    def messageReceived(self, code: int, payload: bytes) -> None:
        self.heard.append((code, payload))

    def connectionLost(self, reason: object) -> None:
        self.lost.append(reason)


class _Endpoint:
    def __init__(self, connect: Callable[[Factory], Deferred[Any]]) -> None:
        self.connect = connect


class GreetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def call(self, part: Callable[[Any], None], key: PrivateKey = PEER) -> Deferred[Hello]:
        """Call a peer that plays C{part} on its transport when the RLPx handshake is done."""
        self.peer = _Peer(part)
        server = RLPxFactory(key, self.peer, clock=self.clock, wheel=WheelTimer(self.clock), isClient=False)

        def connect(factory: Factory) -> Deferred[Any]:
            ours, theirs = factory.buildProtocol(None), server.buildProtocol(None)
            ours_end, theirs_end = FakeTransport(ours, False), FakeTransport(theirs, True)
            self.pump = IOPump(ours, theirs, ours_end, theirs_end, False, self.clock)
            ours.makeConnection(ours_end)
            theirs.makeConnection(theirs_end)
            return succeed(ours)

        called = greet(_Endpoint(connect), PEER.public_key, KEY, self.clock, 5.0)  # type: ignore[arg-type]
        self.turn()
        return called

    def turn(self) -> None:
        for _ in range(5):
            self.pump.flush()
            self.clock.advance(0)

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
        self.assertEqual(len(self.peer.lost), 1)

    def test_goodbye_to_one_without_snappy(self) -> None:
        old = Hello(4, "old", (), 0, PEER.public_key.raw)
        self.call(lambda transport: transport.writeMessage(HELLO, old.encode()))
        self.assertEqual(Disconnect.decode(self.peer.heard[1][1]).reason, DisconnectReason.REQUESTED)

    def test_refused(self) -> None:
        full = Disconnect(DisconnectReason.TOO_MANY_PEERS).encode()
        called = self.call(lambda transport: transport.writeMessage(DISCONNECT, full))
        self.assertEqual(self.failed(called, PeerDisconnected), "the peer disconnected: too many peers")

    def test_refused_for_a_reason_without_a_name(self) -> None:
        called = self.call(lambda transport: transport.writeMessage(DISCONNECT, Disconnect(0x42).encode()))
        self.assertIn("0x42", self.failed(called, PeerDisconnected))

    def test_nonsense(self) -> None:
        for message in ((HELLO, b"\xc0"), (HELLO, b"x" * 3000), (DISCONNECT, b"\xff"), (PING, b"\xc0"), (0x10, b"")):
            self.failed(self.call(lambda transport, message=message: transport.writeMessage(*message)), WireError)

    def test_closed(self) -> None:
        self.failed(self.call(lambda transport: transport.loseConnection()), PeerDisconnected)

    def test_another_key(self) -> None:
        self.failed(self.call(lambda transport: None, key=KEY), P2PError)

    def test_silence(self) -> None:
        called = self.call(lambda transport: None)
        self.clock.advance(4.9)
        self.assertNoResult(called)
        self.clock.advance(0.2)
        self.assertEqual(self.failed(called, Unreachable), "the peer did not say Hello within 5 s")
        self.turn()
        self.assertEqual(len(self.peer.lost), 1)

    def test_not_reached(self) -> None:
        for error in (ConnectionRefusedError(), DNSLookupError("no such host")):
            endpoint = _Endpoint(lambda factory, error=error: fail(error))
            called = greet(endpoint, PEER.public_key, KEY, self.clock, 5.0)  # type: ignore[arg-type]
            self.assertTrue(self.failed(called, Unreachable).startswith("the peer cannot be reached: "))
