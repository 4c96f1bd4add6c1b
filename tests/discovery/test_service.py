"""
Discovery whole, on a virtual network.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.names.dns import TXT, Record_TXT, RRHeader
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.discovery.database import NodeDatabase
from ethp2p.discovery.service import CannotListen, DiscoveryService
from ethp2p.discovery.sources import ListSource, LookupSource, SourceEnded
from ethp2p.discovery.speaker import DiscoveryStopped, Speaker
from ethp2p.dnsdisc import Link, Tree
from ethp2p.enode import LocalNode, Netrestrict, Node
from ethp2p.enr import EthEntry
from ethp2p.enr.entries import ETH, TCP
from ethp2p.errors import ConfigError, LocalProtocolError, RequestTimeout
from ethp2p.kademlia.driver import MAX_WAITING_LOOKUPS, NodeAlive, NodeFound
from ethp2p.networks import Network, named
from tests.discovery.support import START, address, key, network, node, recorded, serve

MAINNET, SEPOLIA = named("mainnet"), named("sepolia")
HEAD = (20_000_000, int(START))


class ServiceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = network()
        self.services: list[DiscoveryService] = []
        self.addCleanup(self.stop)

    def serve(self, number: int, *bootnodes: Any, **settings: Any) -> DiscoveryService:
        given = [each.local.node if isinstance(each, DiscoveryService) else each for each in bootnodes]
        service = serve(self.network, number, *given, **settings)
        self.services.append(service)
        self.successResultOf(service.started)
        return service

    def stop(self) -> None:
        """All stop, and leave nothing behind."""
        for service in self.services:
            self.network.wait_for(service.stopService())
            self.assertEqual(service._reactor.getDelayedCalls(), [])

    def speaker(self, service: DiscoveryService, name: str = "v4") -> Speaker:
        (speaker,) = (speaker for speaker in service.speakers if speaker.name == name)
        return speaker

    def take(self, service: DiscoveryService, count: int, limit: float = 120.0) -> set[bytes]:
        """The ids of so many nodes."""
        return {self.network.wait_for(service.source.nextNode(), limit).node_id for _ in range(count)}

    def of(self, network: Network, number: int) -> LocalNode:
        """Node C{number} as one of this network."""
        local = LocalNode(key(number), wall_ms=int(START * 1000), tcp=30303)
        fork_id = network.fork_id(*HEAD)
        local.set_entry(ETH, EthEntry(fork_id.hash, fork_id.next))
        return local


class MeetingTests(ServiceCase):
    def test_by_either_protocol(self) -> None:
        """Two nodes that know a third find each other, with their records."""
        for base, settings in ((1, {"v5": False}), (11, {"v4": False}), (21, {})):
            boot = self.serve(base, **settings)
            one, other = self.serve(base + 1, boot, **settings), self.serve(base + 2, boot, **settings)
            self.assertEqual(self.take(one, 2), {boot.local.node_id, other.local.node_id})
            self.network.advance(30)
            self.assertEqual({each.record for each in one.nodes()}, {boot.local.record, other.local.record})
            self.assertEqual({each.record for each in boot.nodes()}, {one.local.record, other.local.record})

    def test_v4_and_v5_are_two_networks(self) -> None:
        """Who speaks both joins them."""
        both = self.serve(1)
        four, five = self.serve(2, both, v5=False), self.serve(3, both, v4=False)
        self.network.advance(30)
        self.assertEqual({each.node_id for each in both.nodes()}, {four.local.node_id, five.local.node_id})
        self.assertEqual([each.node_id for each in four.nodes()], [both.local.node_id])
        self.assertEqual([each.node_id for each in five.nodes()], [both.local.node_id])

    def test_one_ip_version_only(self) -> None:
        """Nodes with two addresses are found at the one that can be reached, first of all the bootnode."""
        for base, version in ((1, 6), (11, 4)):
            both = []
            for number in (base, base + 1):
                four, six = address(number), f"2400:{number}::1"
                local = LocalNode(key(number), wall_ms=int(START * 1000), tcp=30303)
                local.set_static_ip(four)
                local.set_static_ip(six)
                listen = [(four, 30303), (six, 30303)]
                both.append(self.serve(number, *both, host=self.network.host(four, six), local=local, listen=listen))
            at = f"2400:{base + 2}::1" if version == 6 else address(base + 2)
            one = self.serve(base + 2, both[1], at=at)
            self.assertEqual(self.take(one, 2), {each.local.node_id for each in both})
            self.network.advance(30)
            versions = {each.ip.version for each in one.nodes() if each.ip is not None}
            self.assertEqual((len(one.nodes()), versions), (2, {version}))

    def test_given_once(self) -> None:
        """Though both protocols find it."""
        boot = self.serve(1)
        one = self.serve(2, boot)
        self.assertEqual(self.take(one, 1), {boot.local.node_id})
        waiting = one.source.nextNode()
        self.network.advance(30)
        self.assertNoResult(waiting)
        self.network.advance(120)
        self.assertEqual(self.successResultOf(waiting).node_id, boot.local.node_id)

    def test_quiet_when_nobody_asks(self) -> None:
        """Nodes are looked for when somebody wants them; the tables look after themselves."""
        one = self.serve(2, self.serve(1))
        self.network.advance(60)
        lookups = [source for source in one.source.sources if isinstance(source, LookupSource)]
        self.assertEqual([source.lookups for source in lookups], [0, 0])
        one.source.nextNode()
        waiting = one.source.nextNode()
        self.network.advance(10)
        self.assertGreater(min(source.lookups for source in lookups), 1)
        waiting.addErrback(lambda failure: failure.trap(SourceEnded))

    def test_named_bootnode(self) -> None:
        """A name is looked up, and again when nobody is left."""
        boot = self.serve(1)
        named_boot = attrs.evolve(boot.local.node, host="boot.example", record=None)
        late = self.serve(2, named_boot)
        self.network.advance(60)
        self.assertEqual(late.nodes(), [])
        self.network.names["boot.example"] = address(1)
        self.network.advance(60)
        self.assertEqual([each.node_id for each in late.nodes()], [boot.local.node_id])

    def test_ip6(self) -> None:
        """Both families on one port: nodes of both are found, and the record tells both."""
        host = self.network.host(address(1), "2a00::1")
        boot = self.serve(1, host=host, listen=[("0.0.0.0", 30303), ("::", 30303)])
        boot.local.set_static_ip(address(1))
        boot.local.set_static_ip("2a00::1")
        by6 = Node(key(1).public_key, "2a00::1", 30303, 30303)
        six = self.serve(2, by6, at="2a00::2")
        four = self.serve(3, boot)
        self.network.advance(30)
        self.assertEqual({each.host for each in boot.nodes()}, {"2a00::2", address(3)})
        # Who has no socket of a family speaks to nobody of it.
        self.assertEqual([each.host for each in self.speaker(six).table.nodes()], ["2a00::1"])
        self.assertEqual([each.host for each in four.nodes()], [address(1)])
        self.assertEqual(six.sockets.unsendable + four.sockets.unsendable, 0)

    def test_restricted(self) -> None:
        boot = self.serve(1, at="30.0.0.1")
        ours = [self.serve(number, boot, at=f"30.0.0.{number}") for number in (2, 3)]
        others = [self.serve(number, boot) for number in (4, 5)]
        one = self.serve(6, boot, at="30.0.0.6", netrestrict=Netrestrict.parse("30.0.0.0/8"))
        packets: list[Any] = []
        self.network.tap = packets.append
        taken = self.take(one, 3)
        self.network.advance(60)
        self.assertEqual(taken, {service.local.node_id for service in (boot, *ours)})
        self.assertEqual({service.local.node_id for service in others} & {each.node_id for each in one.nodes()}, set())
        sent = {packet.destination[0] for packet in packets if packet.source[0] == "30.0.0.6" and packet.kind == "udp"}
        self.assertEqual(sent, {"30.0.0.1", "30.0.0.2", "30.0.0.3"})


class RecordTests(ServiceCase):
    def test_address_by_vote(self) -> None:
        """One that listens everywhere does not know its address; the others tell it."""
        one = self.serve(1, listen=[("0.0.0.0", 30303)], v4=False)
        self.assertEqual((one.local.node.host, one.local.node.udp), ("127.0.0.1", 30303))
        seq = one.local.record.seq
        known = Node(key(1).public_key, address(1), 30303, 30303)
        for number in range(2, 13):
            self.serve(number, known, v4=False)
        self.network.advance(30)
        self.assertEqual((one.local.node.host, one.local.node.udp), (address(1), 30303))
        self.assertGreater(one.local.record.seq, seq)

    def test_port(self) -> None:
        """What the record says of TCP stays."""
        local = LocalNode(key(1), wall_ms=0, tcp=30999)
        service = self.serve(1, local=local)
        self.assertEqual((service.local.record.get(TCP), service.local.node.udp), (30999, 30303))

    def test_known_address_stays(self) -> None:
        local = LocalNode(key(1), wall_ms=0)
        local.set_static_ip("30.1.1.1")
        self.assertEqual(self.serve(1, local=local).local.node.host, "30.1.1.1")


class MemoryTests(ServiceCase):
    def test_comes_back_without_bootnodes(self) -> None:
        """What was learned is enough to begin with, and the last seconds are in it."""
        path = self.mktemp()
        boot = self.serve(1)
        database = NodeDatabase(path)
        one = self.serve(2, boot, database=database)
        self.network.advance(20)
        seen = database.get(boot.local.node_id)
        assert seen is not None
        self.assertEqual({at.protocol for at in seen.addresses}, {"v4", "v5"})
        self.assertGreater(seen.checks, 0)
        self.assertEqual(seen.node.record, boot.local.record)
        self.services.remove(one)
        self.network.wait_for(one.stopService())
        database.close()
        one._reactor.vanish()
        database = NodeDatabase(path)
        self.addCleanup(database.close)
        again = self.serve(2, database=database)
        self.assertEqual(self.take(again, 1, limit=1.0), {boot.local.node_id})
        self.assertEqual(again.source.given, {"seeds": 1})
        self.network.advance(10)
        self.assertEqual([each.node_id for each in again.nodes()], [boot.local.node_id])

    def test_nobody_left(self) -> None:
        """When all were gone for some time they are found again, without a bootnode."""
        one = self.serve(1)
        other = self.serve(2, node(1))
        self.network.advance(30)
        self.assertEqual(len(one.nodes()), 1)
        other._reactor.unplug()
        self.network.advance(300)
        self.assertEqual(one.nodes(), [])  # seeds come and go in the table, but none of them lives
        other._reactor.plug()
        self.network.advance(60)
        self.assertEqual([each.node_id for each in one.nodes()], [other.local.node_id])

    def test_failures(self) -> None:
        """Who does not answer is remembered for it."""
        boot = self.serve(1)
        one = self.serve(2, boot)
        self.network.advance(20)
        boot._reactor.unplug()
        self.speaker(one).lookUpAnybody()
        self.network.advance(3)
        known = one.keeper.database.get(boot.local.node_id)
        assert known is not None
        (failures,) = (at.failures for at in known.addresses if at.protocol == "v4")
        self.assertIn(failures, (1, 2))

    def test_given_up_is_no_failure(self) -> None:
        """Who could not answer in time because we stopped is not put behind the others for that."""
        boot = self.serve(1)
        one, *others = [self.serve(number, boot) for number in range(2, 8)]
        self.network.advance(60)
        for speaker in one.speakers:
            speaker.lookUpAnybody()
        self.network.wait_for(one.stopService())
        known = [one.keeper.database.get(each.local.node_id) for each in (boot, *others)]
        failures = [at.failures for each in known if each is not None for at in each.addresses]
        self.assertEqual(set(failures), {0})

    def test_strangers_are_not_kept(self) -> None:
        """Of nodes that never answered nothing is written, whoever tells of them."""
        boot = self.serve(1)
        one = self.serve(2, boot, recorded(3))
        self.network.advance(20)
        self.assertEqual(len(one.keeper.database), 1)


class ForkTests(ServiceCase):
    def test_of_our_chain(self) -> None:
        """Nodes of another chain get no place and are not given; a bootnode without a chain is of use."""
        head = [HEAD]
        settings: dict[str, Any] = {"network": MAINNET, "head": lambda: head[0]}
        boot = self.serve(1)
        ours = [self.serve(number, boot, local=self.of(MAINNET, number), **settings) for number in (2, 3)]
        theirs = [self.serve(number, boot, local=self.of(SEPOLIA, number)) for number in (4, 5)]
        one = ours[0]
        self.assertEqual(self.take(one, 1), {ours[1].local.node_id})
        waiting = one.source.nextNode()
        self.network.advance(50)
        self.assertNoResult(waiting)
        held = {each.node_id for each in one.nodes()}
        self.assertEqual(held, {boot.local.node_id, ours[1].local.node_id})
        self.assertEqual({each.local.node_id for each in theirs} - {each.node_id for each in boot.nodes()}, set())
        for each in theirs:
            self.assertIsNone(one.keeper.database.get(each.local.node_id))
        waiting.addErrback(lambda failure: failure.trap(SourceEnded))

    def test_our_chain_forks(self) -> None:
        """Then others are of our network."""
        head = [(0, 0)]
        future = attrs.evolve(MAINNET, fork_times=(*MAINNET.fork_times, 1_900_000_000))
        boot = self.serve(1)
        stale = LocalNode(key(2), wall_ms=0, tcp=30303)
        stale.set_entry(ETH, EthEntry(future.fork_id(*HEAD).hash, 0))
        other = self.serve(2, boot, local=stale)
        one = self.serve(3, boot, network=future, head=lambda: head[0])
        self.network.advance(30)
        self.assertIn(other.local.node_id, {each.node_id for each in one.nodes()})
        head[0] = (20_000_000, 1_900_000_001)
        one.forkChanged()
        self.assertEqual([each.node_id for each in one.nodes()], [boot.local.node_id])


class AskingTests(ServiceCase):
    def test_questions(self) -> None:
        boot, one = self.serve(1), self.serve(2)
        for name, target in (("v4", key(1).public_key.raw), ("v5", boot.local.node_id)):
            speaker = self.speaker(one, name)
            pong = self.network.wait_for(speaker.ping(boot.local.node))
            self.assertEqual((pong.endpoint, pong.seq), ((address(2), 30303), boot.local.record.seq))
            self.assertEqual(self.network.wait_for(speaker.requestRecord(boot.local.node)), boot.local.record)
            aim = target if name == "v4" else [256, 255, 254, 253]
            nodes = self.network.wait_for(speaker.findNode(boot.local.node, aim))
            self.assertIsInstance(nodes, tuple)
            gone = speaker.ping(node(9))
            self.network.advance(5)
            self.failureResultOf(gone, RequestTimeout)

    def test_lookups(self) -> None:
        boot = self.serve(1)
        one, other = self.serve(2, boot), self.serve(3, boot)
        self.network.advance(20)
        for name in ("v4", "v5"):
            target = key(3).public_key.raw if name == "v4" else other.local.node_id
            found = self.network.wait_for(self.speaker(one, name).lookup(target))
            self.assertEqual(found[0].node_id, other.local.node_id)
            found = self.network.wait_for(self.speaker(one, name).lookUpAnybody())
            self.assertEqual(len(found), 2)

    def test_cancelled(self) -> None:
        """Who does not want it any more is not told, and nothing is kept."""
        boot = self.serve(1)
        one = self.serve(2, boot)
        speaker = self.speaker(one)
        asked: list[Deferred[Any]] = [speaker.ping(boot.local.node), speaker.lookUpAnybody()]
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.network.advance(5)
        self.assertEqual((speaker._waiting, speaker._lookups), ({}, {}))

    def test_too_many(self) -> None:
        one = self.serve(2, self.serve(1))
        speaker = self.speaker(one)
        asked = [speaker.lookUpAnybody() for _ in range(2 * MAX_WAITING_LOOKUPS)]
        refused = [each for each in asked if each.called]
        self.assertGreater(len(refused), MAX_WAITING_LOOKUPS // 2)
        for each in refused:
            self.failureResultOf(each, LocalProtocolError)
        self.network.advance(60)
        for each in asked:
            each.addErrback(lambda failure: None)
            self.successResultOf(each)

    def test_stopped(self) -> None:
        """Whoever waits is told."""
        one = self.serve(2, node(1))
        speaker = self.speaker(one)
        asked: list[Deferred[Any]] = [speaker.ping(node(1)), speaker.lookUpAnybody(), one.source.nextNode()]
        self.network.wait_for(one.stopService())
        self.failureResultOf(asked[0], RequestTimeout)
        self.assertEqual(self.successResultOf(asked[1]), ())
        self.failureResultOf(asked[2], SourceEnded)
        self.failureResultOf(speaker.ping(node(1)), DiscoveryStopped)
        self.failureResultOf(speaker.lookUpAnybody(), DiscoveryStopped)
        self.failureResultOf(one.source.nextNode(), SourceEnded)

    def test_started_again(self) -> None:
        """It is there again, knows whom it knew, asks and answers; where it listens is told each time."""
        boot, one = self.serve(1), self.serve(2, node(1))
        self.network.advance(20)
        for _ in range(2):
            self.network.wait_for(one.stopService())
            one.startService()
            self.assertEqual([port.getHost().port for port in self.successResultOf(one.started)], [30303])
            self.assertEqual(self.take(one, 1), {boot.local.node_id})
            for name in ("v4", "v5"):
                self.network.wait_for(self.speaker(one, name).ping(boot.local.node))
                self.network.wait_for(self.speaker(boot, name).ping(one.local.node))
        self.assertIsNone(one.keeper.failure)

    def test_started_again_when_the_port_is_free(self) -> None:
        host = self.network.host(address(1))
        taken = host.listenUDP(30303, DatagramProtocol(), address(1))
        one = serve(self.network, 1, node(2), host=host)
        self.services.append(one)
        self.failureResultOf(one.started, CannotListen)
        self.network.wait_for(one.stopService())
        self.network.wait_for(taken.stopListening())
        one.startService()
        self.successResultOf(one.started)
        two = self.serve(2)
        self.network.wait_for(self.speaker(one).ping(two.local.node))

    def test_talk(self) -> None:
        """Another protocol inside; one that fails to answer answers nothing."""
        boot, one = self.serve(1), self.serve(2)
        there, here = self.speaker(boot, "v5"), self.speaker(one, "v5")

        def fails(node: Node, message: bytes) -> bytes:
            raise ValueError(message)

        there.handleTalk(b"echo", lambda node, message: node.node_id + message)
        there.handleTalk(b"fails", fails)

        def say(protocol: bytes) -> bytes:
            answer: bytes = self.network.wait_for(here.talk(boot.local.node, protocol, b"hello"))
            return answer

        self.assertEqual(say(b"echo"), one.local.node_id + b"hello")
        self.assertEqual(say(b"unknown"), b"")
        self.assertEqual(say(b"fails"), b"")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        there.handleTalk(b"long", lambda node, message: bytes(1200))
        self.assertEqual(say(b"long"), b"")
        self.assertEqual(len(self.flushLoggedErrors(LocalProtocolError)), 1)
        there.handleTalk(b"echo", None)
        self.assertEqual(say(b"echo"), b"")

    def test_observer(self) -> None:
        told: list[tuple[str, Any]] = []
        boot = self.serve(1)
        self.serve(2, boot, observer=lambda protocol, event: told.append((protocol, event)))
        self.network.advance(20)
        for protocol in ("v4", "v5"):
            events = [event for each, event in told if each == protocol]
            self.assertTrue(any(isinstance(event, NodeFound) for event in events))
            self.assertTrue(any(isinstance(event, NodeAlive) for event in events))

    def test_failing_observer(self) -> None:
        """It is its own trouble: discovery goes on, and stops."""

        def fails(protocol: str, event: Any) -> None:
            raise ValueError(event)

        boot = self.serve(1)
        one = self.serve(2, boot, observer=fails)
        self.network.advance(20)
        self.assertEqual(self.take(one, 1), {boot.local.node_id})
        self.network.wait_for(one.stopService())
        self.assertEqual(one.ports, [])
        self.assertEqual(one._reactor.getDelayedCalls(), [])
        self.assertTrue(self.flushLoggedErrors(ValueError))


class Names:
    """A resolver over a dict."""

    def __init__(self, zone: dict[str, str]) -> None:
        self.zone = zone

    def lookupText(self, name: str, timeout: Any = None) -> Deferred[Any]:
        text = self.zone[name].encode()
        parts = [text[at : at + 255] for at in range(0, len(text), 255)]
        return succeed(([RRHeader(name.encode(), TXT, payload=Record_TXT(*parts))], [], []))


class SourcesTests(ServiceCase):
    def test_dns(self) -> None:
        """A list in DNS is enough, without any other node; also when it is all of another chain."""
        records = [each.record for each in map(recorded, range(2, 6))]
        tree = Tree.build([record for record in records if record is not None]).sign(key(1))
        url = Link(key(1).public_key, "nodes.example").text
        resolver = Names(tree.to_txt("nodes.example"))
        one = self.serve(10, dns=[url], resolver=resolver)
        self.assertEqual(self.take(one, 4), {key(number).public_key.node_id for number in range(2, 6)})
        self.assertEqual(one.source.given, {"dns": 4})
        other = self.serve(11, dns=[url], resolver=resolver, network=MAINNET)
        waiting = other.source.nextNode()
        self.network.advance(10)
        self.assertNoResult(waiting)
        self.assertGreaterEqual(other.source.dropped["another chain"], 4)
        waiting.addErrback(lambda failure: failure.trap(SourceEnded))

    def test_system_resolver(self) -> None:
        """Nothing of it is left when the service has stopped, as is looked at after each test."""
        url = Link(key(1).public_key, "nodes.example").text
        one = self.serve(10, dns=[url])
        self.network.wait_for(one.stopService())
        one.startService()

    def test_bad_url(self) -> None:
        self.assertRaises(ConfigError, serve, self.network, 1, dns=["enrtree://nobody@nodes.example"])

    def test_more(self) -> None:
        """Somebody else's source is one of them."""
        one = self.serve(1, sources=[ListSource("friends", lambda: [node(8), node(9)])])
        self.assertEqual(self.take(one, 2), {node(8).node_id, node(9).node_id})
        self.assertEqual(one.source.given, {"friends": 2})
