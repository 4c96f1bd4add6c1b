"""
C{dns}: lists signed, written down for a name server, and fetched from one.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import common, dns, error, server

from ethp2p.cli import running
from ethp2p.crypto.keys import save_key
from ethp2p.dnsdisc import Definition, NodeSet
from tests.cli.support import NetworkCase, VerbCase
from tests.cli.test_keystore import SCRYPT, SCRYPT_SECRET
from tests.discovery.support import START, key
from tests.dnsdisc.support import KEY, MORE_URL, URL_KEY, link_to, records


class _Zone(common.ResolverBase):
    """A name server's knowledge."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self.texts = {name.lower(): text for name, text in texts.items()}

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        text = self.texts.get(name.decode().lower())
        if text is None:
            return fail(error.DomainError(name))
        parts = [text[at : at + 255].encode() for at in range(0, len(text), 255)]
        return succeed(([dns.RRHeader(name, dns.TXT, dns.IN, 60, dns.Record_TXT(*parts))], [], []))


class SigningTests(VerbCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()
        self.keyfile = self.mktemp()
        save_key(self.keyfile, KEY)
        self.patch(running, "wall", lambda: START)
        Definition(tuple(records(20)), (link_to("more.example"),)).write(self.directory, START)

    def test_sign(self) -> None:
        url = f"enrtree://{URL_KEY}@nodes.example.org"
        args = ("dns", "sign", self.directory, self.keyfile)
        self.assertEqual(self.works(*args, "--domain", "nodes.example.org"), url + "\n")
        signed = Definition.read(self.directory)
        self.assertEqual((signed.seq, signed.url and signed.url.text), (1, url))
        self.assertEqual(set(signed.tree().records), set(records(20)))
        self.assertEqual(self.value(*args), {"url": url, "seq": 2})
        self.assertEqual(self.value(*args, "--seq", "77"), {"url": url, "seq": 77})
        self.assertEqual(self.value(*args, "--seq", "5"), {"url": url, "seq": 5})

    def test_domain_of_the_directory(self) -> None:
        """As geth has it."""
        directory = Path(self.mktemp()) / "list.example.org"
        Definition(tuple(records(1))).write(directory, START)
        self.assertEqual(self.works("dns", "sign", str(directory), self.keyfile)[-17:], "list.example.org\n")

    def test_password(self) -> None:
        Path(self.keyfile).write_text(json.dumps(SCRYPT))
        args = ("dns", "sign", self.directory, self.keyfile, "--domain", "n.example")
        self.patch(sys, "stdin", StringIO("secret\n"))
        first = self.works(*args)
        Path(self.keyfile).write_text(SCRYPT_SECRET)
        self.assertEqual(self.works(*args), first)
        Path(self.keyfile).write_text(json.dumps(SCRYPT))
        self.patch(sys, "stdin", StringIO("guess\n"))
        self.assertEqual(self.fails(1, *args), "ethp2p: the password is wrong")
        terminal = StringIO()
        self.patch(terminal, "isatty", lambda: True)
        self.patch(sys, "stdin", terminal)
        self.patch(getpass, "getpass", lambda prompt: "secret")
        self.assertEqual(self.works(*args), first)

    def test_refused(self) -> None:
        for args in (
            (self.directory + "x", self.keyfile),
            (self.directory, self.keyfile + "x"),
            (self.directory, self.directory),
            (self.directory, f"{self.directory}/nodes.json"),
            (self.directory, self.keyfile, "--domain", "no domain"),
        ):
            self.fails(1, "dns", "sign", *args)

    def test_to_txt(self) -> None:
        self.assertIn("not signed", self.fails(1, "dns", "to-txt", self.directory))
        self.works("dns", "sign", self.directory, self.keyfile, "--domain", "n.example")
        text = self.works("dns", "to-txt", self.directory)
        texts = json.loads(text)
        self.assertEqual(texts, Definition.read(self.directory).tree().to_txt("n.example"))
        self.assertEqual(list(texts), sorted(texts))
        self.assertEqual(json.loads(self.works("dns", "to-txt", self.directory, "--json")), texts)
        out = self.mktemp()
        self.assertEqual(self.works("dns", "to-txt", self.directory, out), "")
        self.assertEqual(Path(out).read_text(), text)
        zone = self.works("dns", "to-txt", self.directory, "--zone").splitlines()
        self.assertEqual((zone[0], len(zone)), ("$ORIGIN n.example.", 1 + len(texts)))
        self.fails(1, "dns", "to-txt", self.directory, f"{self.directory}/nodes.json/x")


class SyncTests(NetworkCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = self.mktemp()
        self.signed = Definition(tuple(records(20)), (link_to("more.example"),)).sign(key(7), domain="n.example")
        texts = self.signed.tree().to_txt("n.example")
        self.server = self.network.host("5.5.5.5")
        factory = server.DNSServerFactory(clients=[_Zone(texts)])
        factory.noisy = False
        protocol = dns.DNSDatagramProtocol(factory, reactor=self.server)
        protocol.noisy = False
        self.server.listenUDP(53, protocol)
        self.server.listenTCP(53, factory)
        assert self.signed.url is not None
        self.args = ("dns", "sync", self.signed.url.text, self.directory, "--server", "5.5.5.5")

    def leaves_nothing(self) -> None:
        """The resolver closes its ports a little later."""

    def test_sync(self) -> None:
        self.assertEqual(self.works(*self.args), f"{self.directory}: 20 nodes and 1 links, seq 1\n")
        copy = Definition.read(self.directory)
        self.assertEqual((copy.url, copy.seq, copy.links), (self.signed.url, 1, self.signed.links))
        self.assertEqual((copy.signature, set(copy.records)), (self.signed.signature, set(records(20))))
        self.assertEqual(copy.tree(), self.signed.tree())
        value = self.value(*self.args)
        self.assertEqual(value, {"directory": self.directory, "seq": 1, "nodes": 20, "links": 1})

    def test_directory_of_the_domain(self) -> None:
        start = Path.cwd()
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        os.chdir(home)
        self.addCleanup(os.chdir, start)
        self.works(*self.args[:3], *self.args[4:])
        self.assertEqual(len(NodeSet.read(home / "n.example" / "nodes.json").nodes), 20)

    def test_refused(self) -> None:
        self.assertIn("enrtree://", self.fails(1, "dns", "sync", "n.example"))
        other = self.fails(1, "dns", "sync", f"enrtree://{URL_KEY}@n.example", self.directory, "--server", "5.5.5.5")
        self.assertIn("sign", other)  # of another key
        self.assertEqual(self.fails(1, "dns", "sync", MORE_URL, self.directory, "--server", "5.5.5.5")[:8], "ethp2p: ")
        self.server.unplug()
        self.assertIn("no answer", self.fails(1, *self.args))
        self.assertIn("could not be read within 2 s", self.fails(1, *self.args, "--timeout", "2"))
        self.assertFalse(Path(self.directory).exists())
