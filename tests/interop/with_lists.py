"""
Files of nodes that go back and forth between C{ethp2p} and geth's C{devp2p} tool: C{nodes.json}, and lists for DNS.
"""

from __future__ import annotations

import json
import time
from ipaddress import IPv4Address
from pathlib import Path
from shutil import copytree
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import common, dns, error, server
from twisted.trial.unittest import TestCase

from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc import Definition, NodeSet, SeenNode
from ethp2p.dnsdisc.wire import Link
from ethp2p.enode import Node
from ethp2p.enr import Record
from ethp2p.enr.entries import IP, SNAP, TCP, UDP
from tests.data import ethtest
from tests.interop import toolchain
from tests.interop.peers import TREE, Geth, console, run_devp2p, run_ethp2p
from tests.interop.process import Child, Finished, free_port, run, until
from tests.interop.us import Finder
from tests.interop.with_discovery import FINDING, Stoppable

StoppableT = TypeVar("StoppableT", bound=Stoppable)

#: Where the lists are published.
DOMAIN = "nodes.example.org"

#: Under which the key that signs them is kept.
PASSWORD = "secret"

#: Seconds that geth's crawl takes, however few nodes there are.
WALK = "6s"


def records(number: int) -> list[Record]:
    """Of nodes that nobody ever calls, some with snap, in two networks; enough of them and a tree has branches."""
    made = []
    for index in range(number):
        address = IPv4Address(f"10.{index % 2}.0.{index + 1}")
        snap: dict[Any, Any] = {SNAP: True} if index % 3 == 0 else {}
        made.append(Record.sign(PrivateKey.generate(), 1, {IP: address, TCP: 30303, UDP: 30303, **snap}))
    return made


class Zone(common.ResolverBase):
    """
    What a name server knows: TXT records by name.
    """

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self._texts = {name.lower(): text for name, text in texts.items()}

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        text = self._texts.get(name.decode().lower())
        if text is None:
            return fail(error.DomainError(name))
        parts = [text[at : at + 255].encode() for at in range(0, len(text), 255)]
        return succeed(([dns.RRHeader(name, dns.TXT, dns.IN, 60, dns.Record_TXT(*parts))], [], []))


class FilesTestCase(TestCase):
    """
    With a folder for files, in which both tools run.
    """

    timeout = 180

    def setUp(self) -> None:
        self.room = Path(self.mktemp()).absolute()
        self.room.mkdir()

    async def ours(self, *words: str) -> str:
        """What C{ethp2p} prints."""
        return self.well(await run_ethp2p(*words, folder=self.room))

    async def theirs(self, *words: str) -> str:
        """What C{devp2p} prints."""
        return self.well(await run_devp2p(*words, folder=self.room))

    def well(self, done: Finished) -> str:
        """What a program printed, which has to have ended well."""
        self.assertEqual(done.code, 0, done.output)
        return done.output

    def read(self, name: str) -> Any:
        """A JSON file."""
        return json.loads((self.room / name).read_text())


class Lists(FilesTestCase):
    """
    Lists for DNS, signed by either tool with one key of geth's.
    """

    async def setUp(self) -> None:
        super().setUp()
        (self.room / "password").write_text(PASSWORD)
        command = [str(toolchain.ensure("geth")), "--datadir=geth", "account", "new"]
        self.well(await run([*command, "--lightkdf", "--password=password"], self.room, 30.0))
        (key,) = (self.room / "geth" / "keystore").iterdir()
        self.key = str(key)
        self.link = Link(PrivateKey.generate().public_key, "more.example.org")
        Definition(tuple(records(40)), (self.link,)).write(self.room / "list", time.time())

    async def sign(self, program: str, directory: str) -> Definition:
        """Have the list signed, in a directory of its own, by a tool that asks for the password."""
        copytree(self.room / "list", self.room / directory, dirs_exist_ok=True)
        words = [program, "dns", "sign", f"--domain={DOMAIN}", directory, self.key]
        child = Child(words, self.room, {"PYTHONPATH": str(TREE)})
        child.tell(PASSWORD)
        try:
            await child.ended(60.0)
        finally:
            await child.stop()
        self.assertEqual(child.code, 0, "\n".join(child.lines))
        return Definition.read(self.room / directory)

    async def test_sign(self) -> None:
        """
        Both sign the same tree, and so the signature is the same; each writes the records of what the other signed.
        """
        ours = await self.sign(str(console()), "ours")
        theirs = await self.sign(str(toolchain.ensure("devp2p")), "theirs")
        self.assertEqual(ours.url, theirs.url)
        self.assertEqual((ours.seq, ours.signature, ours.links), (1, theirs.signature, (self.link,)))
        await self.theirs("dns", "to-txt", "ours", "by-them.json")
        await self.ours("dns", "to-txt", "theirs", "by-us.json")
        texts = self.read("by-us.json")
        self.assertEqual(texts, self.read("by-them.json"))
        self.assertEqual(sum(text.startswith("enr:") for text in texts.values()), 40)

    async def test_sync(self) -> None:
        """
        A list that geth's tool signed and wrote down for a name server comes to us whole, and geth's tool takes what
        we then have.
        """
        signed = await self.sign(str(toolchain.ensure("devp2p")), "theirs")
        await self.theirs("dns", "to-txt", "theirs", "texts.json")
        assert signed.url is not None
        place = self.serve(self.read("texts.json"))
        told = await self.ours("dns", "sync", signed.url.text, "fetched", f"--server={place}")
        self.assertIn("40 nodes and 1 links, seq 1", told)
        fetched = Definition.read(self.room / "fetched")
        self.assertEqual((fetched.url, fetched.signature), (signed.url, signed.signature))
        await self.theirs("dns", "to-txt", "fetched", "again.json")
        self.assertEqual(self.read("again.json"), self.read("texts.json"))

    def serve(self, texts: dict[str, str]) -> str:
        """Answer for a zone until the end of the test, at this address."""
        factory = server.DNSServerFactory(clients=[Zone(texts)])
        protocol = dns.DNSDatagramProtocol(factory)
        factory.noisy = protocol.noisy = False
        number = free_port()
        for port in (
            reactor.listenUDP(number, protocol, interface="127.0.0.1"),
            reactor.listenTCP(number, factory, interface="127.0.0.1"),
        ):
            self.addCleanup(port.stopListening)
        return f"127.0.0.1:{number}"


class Sets(FilesTestCase):
    """
    Sets of nodes, filtered by either tool.
    """

    def setUp(self) -> None:
        super().setUp()
        now = time.time()
        nodes = {
            record.node_id: SeenNode(
                record,
                score=index,
                first_response=now - index * 3600,
                last_response=now,
                last_check=now,
            )
            for index, record in enumerate(records(12))
            if record.node_id is not None
        }
        NodeSet(nodes).write(self.room / "nodes.json")

    async def test_info(self) -> None:
        """
        Both count the same.
        """
        told = await self.theirs("nodeset", "info", "nodes.json")
        self.assertIn("Set contains 12 nodes.", told)
        self.assertEqual(await self.ours("nodeset", "info", "nodes.json"), told)

    async def test_filter(self) -> None:
        """
        Both let the same nodes through, and one takes what the other wrote.
        """
        for filters, amount in (
            (("-limit", "5"), 5),
            (("-ip", "10.1.0.0/16"), 6),
            (("-min-age", "5h"), 7),
            (("-snap",), 4),
            (("-snap", "-ip", "10.0.0.0/16", "-limit", "1"), 1),
            (("-eth-network", "mainnet"), 0),
        ):
            theirs = await self.theirs("nodeset", "filter", "nodes.json", *filters)
            ours = await self.ours("nodeset", "filter", "nodes.json", *filters)
            self.assertEqual(json.loads(ours), json.loads(theirs), filters)
            self.assertEqual(len(json.loads(ours)), amount, filters)
            for name, text, tool in (("ours.json", ours, self.theirs), ("theirs.json", theirs, self.ours)):
                (self.room / name).write_text(text)
                self.assertIn(f"Set contains {amount} nodes.", await tool("nodeset", "info", name))


class Crawls(FilesTestCase):
    """
    A network of three, geth and two of ours, which both tools visit.
    """

    async def setUp(self) -> None:
        super().setUp()
        third = self.stops(Finder())
        other = self.stops(Finder(third.enode))
        geth = await Geth.start(
            self.room / "geth", ethtest(), f"--bootnodes={third.enode}", discovery=["v4"], dials=False
        )
        self.stops(geth)
        self.ids = {third.local.node_id, other.local.node_id, Node.parse(geth.enode).node_id}
        self.begin = f"--bootnodes={third.enode}"
        await until(lambda: len(third.service.nodes()) == 2, FINDING)

    def stops(self, peer: StoppableT) -> StoppableT:
        """Stop it at the end of the test."""
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.stop()))
        return peer

    def found(self, name: str) -> NodeSet:
        """What a crawl has written; it must have found everybody."""
        nodes = NodeSet.read(self.room / name)
        self.assertEqual(set(nodes.nodes), self.ids)
        return nodes

    async def test_turns(self) -> None:
        """
        Each goes on where the other has stopped, and keeps what the other knew.
        """
        words = ("discv4", "crawl", self.begin, f"--timeout={WALK}")
        for name, tools in (("ours.json", (self.ours, self.theirs)), ("theirs.json", (self.theirs, self.ours))):
            before: NodeSet | None = None
            for tool in tools:
                await tool(*words, f"--addr=127.0.0.1:{free_port()}", name)
                after = self.found(name)
                self.assertTrue(all(node.score > 0 for node in after.nodes.values()))
                if before is not None:  # nobody is checked twice within ten minutes
                    self.assertEqual(after.nodes, before.nodes)
                before = after
            told = await self.theirs("nodeset", "info", name)
            self.assertIn("Set contains 3 nodes.", told)
            self.assertEqual(await self.ours("nodeset", "info", name), told)
