"""
C{discv4} and C{discv5}: what they print.
"""

from __future__ import annotations

import csv
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from ethp2p import networks
from ethp2p.chain import MemoryChain
from ethp2p.cli import main, running
from ethp2p.discovery.service import DiscoveryService
from ethp2p.dnsdisc import NodeSet
from ethp2p.enr import Record
from ethp2p.node import Node
from tests.cli.support import NetworkCase
from tests.discovery.support import key


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def enode(service: DiscoveryService) -> str:
    return attrs.evolve(service.local.node, record=None).url


class VerbTests(NetworkCase):
    def test_ping(self) -> None:
        service = self.serve(1)
        for protocol, rtt in (("discv4", 20), ("discv5", 40)):
            text = self.works(protocol, "ping", enode(service))
            self.assertEqual(text, f"node responded to ping (RTT {rtt}ms).\n")
            value = self.value(protocol, "ping", service.local.record.text)
            self.assertEqual((round(value["rtt"], 3), value["seenAt"]["ip"]), (rtt / 1000, "9.9.9.9"))
            self.assertEqual(value["seq"], service.local.record.seq)

    def test_requestenr(self) -> None:
        service = self.serve(1)
        text = service.local.record.text
        self.assertEqual(self.works("discv4", "requestenr", enode(service)), text + "\n")
        self.assertEqual(self.value("discv4", "requestenr", enode(service)), {"enr": text})

    def test_resolve(self) -> None:
        for first, protocol in ((1, "v4"), (11, "v5")):
            boot, *_, last = self.town(3, protocol, first)
            lost = enode(last).partition("@")[0]
            args = (f"disc{protocol}", "resolve", lost, "--bootnodes", enode(boot))
            self.assertEqual(self.works(*args), last.local.record.text + "\n")
            self.assertEqual(self.value(*args), {"enr": last.local.record.text})

    def test_nobody(self) -> None:
        nowhere = f"enode://{key(1).public_key.raw.hex()}@20.0.1.1:30303"
        for protocol in ("discv4", "discv5"):
            self.assertIn("did not respond", self.fails(1, protocol, "ping", nowhere))
            error = self.fails(1, protocol, "resolve", nowhere, "--bootnodes=")
            self.assertEqual(error, "ethp2p: the node was not found")
            error = self.fails(1, protocol, "ping", nowhere, "--timeout", "100ms")
            self.assertEqual(error, "ethp2p: the node did not respond within 0.1 s")
            self.fails(1, protocol, "ping", "20.0.1.1")

    def test_bootnodes_of_a_network(self) -> None:
        """Mainnet's unless another is named, or they are."""
        nowhere = f"enode://{key(1).public_key.raw.hex()}"
        for args, name in (((), "mainnet"), (("--network", "hoodi"), "hoodi")):
            called: set[str] = set()
            self.network.tap = lambda packet, called=called: called.add(packet.destination[0])
            self.fails(1, "discv4", "resolve", nowhere, *args)
            self.assertEqual(called, {url.partition("@")[2].split(":")[0] for url in networks.named(name).bootnodes})

    def test_options(self) -> None:
        """The same key, port and address as we were told."""
        met: list[Any] = []
        boot = self.serve(1, observer=lambda _, event: met.append(event), v5=False)
        secret = key(99).secret.hex()
        args = ("--addr", "9.9.9.9:1234", "--extaddr", "9.9.9.9:4321", "--nodekey", secret, "--timeout", "20")
        record = Record.parse(self.works("discv4", "listen", "--bootnodes", enode(boot), *args).strip())
        self.assertEqual(record.public_key, key(99).public_key)
        (known,) = {event.node for event in met if type(event).__name__ == "NodeAdded"}
        self.assertEqual((known.node_id, known.host, known.udp), (key(99).public_key.node_id, "9.9.9.9", 1234))

    def test_listen(self) -> None:
        boot = self.serve(1)
        value = self.value("discv5", "listen", "--bootnodes", enode(boot), "--timeout", "3")
        record = Record.parse(value["enr"])
        self.assertEqual(value["id"], record.node_id.hex() if record.node_id is not None else "")
        self.assertTrue(value["enode"].startswith("enode://"))

    def test_progress(self) -> None:
        """A line on a terminal, which is gone when it is over."""
        boot = self.serve(1)
        err = _Terminal()
        self.patch(running.Progress, "__init__", _quick(running.Progress.__init__))
        self.patch(sys, "stderr", err)
        self.assertEqual(main(["discv4", "listen", "--bootnodes", enode(boot), "--timeout", "10"]), 0)
        self.assertIn("\r1 nodes in the table, 1 of them live\x1b[K", err.getvalue())
        self.assertTrue(err.getvalue().endswith("\r\x1b[K"))


def _quick(init: Any) -> Any:
    """Shows everything: virtual time goes faster than people can read."""
    ticks = iter(range(10**9))

    def quick(self: Any, stream: Any) -> None:
        init(self, stream, lambda: float(next(ticks)))

    return quick


class CrawlTests(NetworkCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.mktemp()

    def test_crawl(self) -> None:
        for first, protocol in ((1, "v4"), (11, "v5")):
            file = f"{self.file}{protocol}"
            town = self.town(4, protocol, first)
            args = (f"disc{protocol}", "crawl", file, "--bootnodes", enode(town[0]), "--nodekey", "99" * 32)
            self.assertEqual(self.works(*args), f"{file}: 4 nodes (4 added)\n")
            self.assertEqual(set(NodeSet.read(file).nodes), {service.local.node_id for service in town})
            self.assertEqual(
                self.value(*args),
                {"nodes": 4, "visited": 4, "added": 0, "updated": 0, "removed": 0}
                | {"recent": 4, "silent": 0, "refused": 0},
            )

    def test_shape(self) -> None:
        """As geth reads and writes it."""
        service = self.serve(1)
        self.works("discv4", "crawl", self.file, "--bootnodes", enode(service))
        ((name, fields),) = json.loads(Path(self.file).read_text()).items()
        self.assertEqual(name, service.local.node_id.hex())
        self.assertEqual(list(fields), ["seq", "record", "score", "firstResponse", "lastResponse", "lastCheck"])
        self.assertRegex(fields["lastCheck"], r"^2027-01-15T08:00:\d\dZ$")

    def test_probe(self) -> None:
        town = self.town(2)
        host = town[0]._reactor
        listen = [TCP4ServerEndpoint(host, 30303)]
        node = Node(host, key(1), MemoryChain(networks.named("sepolia")), listen=listen)
        node.startService()
        self.addCleanup(lambda: self.network.wait_for(node.stopService()))
        args = ("discv4", "crawl", self.file, "--bootnodes", enode(town[0]), "--probe")
        table = csv.DictReader(StringIO(self.works(*args, "--format", "csv")))
        first, second = sorted(table, key=lambda row: row["id"] != key(1).public_key.node_id.hex())
        self.assertTrue(first["client"].startswith("ethp2p/"))
        self.assertEqual(first["caps"], "eth/66 eth/67 eth/68 eth/69")
        self.assertEqual((first["network"], first["ethVersion"], first["failure"]), ("sepolia", "69", ""))
        self.assertEqual((first["networkId"], first["forkNext"]), ("11155111", "1735371"))
        self.assertIn("cannot be reached", second["failure"])
        self.assertEqual((second["client"], second["score"]), ("", "1"))

    def test_out(self) -> None:
        """In the format that its name ends in."""
        service = self.serve(1)
        args = ("discv4", "crawl", self.file, "--bootnodes", enode(service))
        for form in ("json", "jsonl", "csv"):
            out = f"{self.file}.{form}"
            self.assertIn("1 nodes", self.works(*args, "--out", out))
            text = Path(out).read_text()
            self.assertEqual(text.splitlines()[0][:1], {"json": "[", "jsonl": "{", "csv": "i"}[form])
            self.assertIn(service.local.node_id.hex(), text)
        self.assertEqual(json.loads(self.works(*args, "--out", "-"))[0]["id"], service.local.node_id.hex())
        self.works(*args, "--out", f"{self.file}.csv", "--format", "json")
        json.loads(Path(f"{self.file}.csv").read_text())

    def test_refused_at_once(self) -> None:
        Path(self.file).write_text("[]")
        self.assertIn("not a JSON object", self.fails(1, "discv4", "crawl", self.file))
        self.assertIn("no such directory", self.fails(1, "discv4", "crawl", f"{self.file}/x.json"))
        self.assertIn("no such directory", self.fails(1, "discv4", "crawl", f"{'x' * 256}/x.json"))
        Path(self.file).write_text("{}")
        self.assertIn("no such directory", self.fails(1, "discv4", "crawl", self.file, "--out", f"{self.file}/y"))

    def test_nobody(self) -> None:
        self.assertIn("nobody to begin with", self.fails(1, "discv4", "crawl", self.file, "--bootnodes="))
        self.assertFalse(Path(self.file).exists())

    def test_interrupted(self) -> None:
        """What was found is kept."""
        town = self.town(3)
        self.network.link("9.9.9.9", town[2].local.node.host, latency=100.0)

        def interrupt(function: Any) -> Any:
            crawling: Deferred[Any] = function(self.host)
            self.network.advance(1.0)
            crawling.cancel()
            crawling.addErrback(lambda _: None)
            self.network.wait_for(crawling)
            raise KeyboardInterrupt

        self.patch(running, "with_reactor", interrupt)
        self.assertEqual(self.run_main("discv4", "crawl", self.file, "--bootnodes", enode(town[0])), 130)
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), ("", ""))
        self.assertEqual(len(NodeSet.read(self.file).nodes), 2)
