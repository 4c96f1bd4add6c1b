"""
One question to one node, over a virtual network.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol

from ethp2p.cli.finding import Finder, NoResponse, NotFound, Terms, ping, request_record, resolve
from ethp2p.discovery.service import CannotListen, DiscoveryService
from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from tests.cli.support import NetworkCase
from tests.discovery.support import address, key

OURS = key(99)


class FindingTests(NetworkCase):
    def terms(self, protocol: str = "v4", *bootnodes: Node, **more: Any) -> Terms:
        return Terms(protocol, OURS, bootnodes, **more)

    def ask(self, question: Any, terms: Terms, node: Node, **settings: Any) -> Any:
        asked = question(self.host, terms, node, wall=self.host.seconds, **settings)
        try:
            return self.network.wait_for(asked)
        finally:
            self.leaves_nothing()

    def node_of(self, service: DiscoveryService) -> Node:
        """As others know it who have only its URL."""
        return attrs.evolve(service.local.node, record=None)

    def test_ping(self) -> None:
        service = self.serve(1)
        for protocol in ("v4", "v5"):
            pong = self.ask(ping, self.terms(protocol), self.node_of(service))
            assert pong.endpoint is not None
            self.assertEqual((pong.endpoint[0], pong.seq), ("9.9.9.9", service.local.record.seq))
            self.assertEqual(round(pong.rtt, 3), 0.02 if protocol == "v4" else 0.04)  # v5 shakes hands first

    def test_request_record(self) -> None:
        service = self.serve(1)
        for protocol in ("v4", "v5"):
            record = self.ask(request_record, self.terms(protocol), self.node_of(service))
            self.assertEqual(record, service.local.record)

    def test_name(self) -> None:
        service = self.serve(1)
        self.network.names["boot.example"] = address(1)
        named = attrs.evolve(self.node_of(service), host="boot.example")
        self.assertEqual(self.ask(request_record, self.terms(), named), service.local.record)
        nowhere = attrs.evolve(named, host="nowhere.example")
        error = self.assertRaises(ConfigError, self.ask, ping, self.terms(), nowhere)
        self.assertEqual(str(error), "nowhere.example has no address that can be reached by IPv4")

    def test_nobody_there(self) -> None:
        for protocol in ("v4", "v5"):
            node = Node(key(1).public_key, address(1), 30303, 30303)
            error = self.assertRaises(NoResponse, self.ask, ping, self.terms(protocol), node)
            self.assertIn("did not respond", str(error))
            self.assertRaises(NoResponse, self.ask, request_record, self.terms(protocol), node)
            error = self.assertRaises(NoResponse, self.ask, ping, self.terms(protocol), node, timeout=0.1)
            self.assertEqual(str(error), "the node did not respond within 0.1 s")

    def test_no_address(self) -> None:
        for node in (Node(key(1).public_key), Node(key(1).public_key, address(1), 30303)):
            self.assertIn("has no UDP address", str(self.assertRaises(ConfigError, self.ask, ping, self.terms(), node)))

    def test_families(self) -> None:
        """A port of IPv6 is opened when that is where the node is."""
        self.host = self.network.host("9.9.9.8", "2001:db9::8")
        other = self.network.host("2001:db9::1")
        service = self.serve(1, host=other, listen=[("2001:db9::1", 30303)])
        node = Node(key(1).public_key, "2001:db9::1", 30303, 30303)
        self.assertEqual(self.ask(request_record, self.terms(), node), service.local.record)
        only4 = self.terms(listen=(("0.0.0.0", 0),))
        error = self.assertRaises(ConfigError, self.ask, ping, only4, node)
        self.assertEqual(str(error), "2001:db9::1 has no address that can be reached by IPv4")

    def test_taken_port(self) -> None:
        held = self.host.listenUDP(30303, DatagramProtocol())
        terms = self.terms(listen=(("0.0.0.0", 30303),))
        node = Node(key(1).public_key, address(1), 30303, 30303)
        asked = ping(self.host, terms, node, wall=self.host.seconds)
        self.failureResultOf(asked, CannotListen)
        self.assertEqual(list(self.host.sockets.values()), [held])

    def test_resolve(self) -> None:
        for first, protocol in ((1, "v4"), (11, "v5")):
            boot, *others = self.town(4, protocol, first)
            terms = self.terms(protocol, boot.local.node)
            last = self.node_of(others[-1])
            record = others[-1].local.record
            self.assertEqual(self.ask(resolve, terms, last), record)
            moved = attrs.evolve(last, host="8.8.8.8")
            self.assertEqual(self.ask(resolve, terms, moved), record)
            self.assertEqual(self.ask(resolve, terms, Node(last.public_key)), record)
            self.assertRaises(NotFound, self.ask, resolve, terms, Node(key(77).public_key))
            error = self.assertRaises(NotFound, self.ask, resolve, terms, moved, timeout=0.3)
            self.assertEqual(str(error), "the node was not found within 0.3 s")

    def test_resolve_one_that_has_gone(self) -> None:
        boot, _, last = self.town(3)
        node = self.node_of(last)
        last._reactor.unplug()
        self.assertRaises(NotFound, self.ask, resolve, self.terms("v4", boot.local.node), node)

    def test_cancelled(self) -> None:
        node = Node(key(1).public_key, address(1), 30303, 30303)
        asked = ping(self.host, self.terms(), node, wall=self.host.seconds)
        asked.cancel()
        with self.assertRaises(CancelledError):
            self.network.wait_for(asked)
        self.leaves_nothing()


class FinderTests(NetworkCase):
    def test_who_we_are(self) -> None:
        """What is announced: where we listen, or what is given."""
        terms = Terms("v4", OURS, (), (("9.9.9.9", 30305),))

        async def own(terms: Terms) -> Node:
            async with Finder(self.host, terms, wall=self.host.seconds) as finder:
                self.assertEqual(len(self.host.sockets), 1)
                return finder.local.node

        def start(terms: Terms) -> Any:
            return self.with_reactor(lambda reactor: Deferred.fromCoroutine(own(terms)))

        node = start(terms)
        self.assertEqual((node.public_key, node.host, node.tcp, node.udp), (OURS.public_key, "9.9.9.9", 0, 30305))
        node = start(attrs.evolve(terms, external=(("1.2.3.4", None),)))
        self.assertEqual((node.host, node.udp), ("1.2.3.4", 30305))
        node = start(attrs.evolve(terms, external=(("1.2.3.4", 7), ("2001:db9::5", None))))
        self.assertEqual((node.host, node.udp), ("1.2.3.4", 7))
        assert node.record is not None
        self.assertEqual(len([raw for name, raw in node.record.pairs if name == b"ip6"]), 1)

    def test_bootnodes(self) -> None:
        """Those with a name are looked up, and those that are nowhere are left out."""
        self.network.names["boot.example"] = address(1)
        places = (("boot.example", 5), (address(2), 5), ("nowhere.example", 5), (address(3), 0), ("", 0))
        bootnodes = tuple(Node(key(number).public_key, host, 5, udp) for number, (host, udp) in enumerate(places, 1))

        async def known() -> tuple[Node, ...]:
            async with Finder(self.host, Terms("v4", OURS, bootnodes), wall=self.host.seconds) as finder:
                return finder.bootnodes

        found = self.with_reactor(lambda reactor: Deferred.fromCoroutine(known()))
        self.assertEqual([node.host for node in found], [address(1), address(2)])
