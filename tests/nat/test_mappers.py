"""
Those who are asked: gateways and servers on a virtual network, and miniupnpc as we know it.
"""

from __future__ import annotations

import importlib
from itertools import count
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.limits import WheelTimer
from ethp2p.nat.mappers import MAX_SERVERS, STUN_SERVERS, PmpMapper, StunMapper
from ethp2p.nat.protocol import NatFailed
from ethp2p.nat.search import Means, find, local_address
from ethp2p.nat.setting import Setting
from ethp2p.nat.upnp import NoUPnP, UPnPMapper
from ethp2p.nat.wire import PMP_PORT, Transport
from ethp2p.testing.nat import NatKind
from ethp2p.testing.network import MemoryNetwork
from tests.nat.support import EXTERNAL, GATEWAY, OURS, Gateway, MiniUPnPc, StunServer, Thread, pmp_address, stun_answer

SERVERS = [("198.51.100.1", 3478), ("198.51.100.2", 3478), ("stun.example.org", 3478), ("198.51.100.4", 19302)]


class NetworkTestCase(SynchronousTestCase):
    """A home: our machine and a gateway."""

    def setUp(self) -> None:
        self.network = MemoryNetwork(seed=1, latency=0.005)
        self.us = self.network.host(OURS)
        self.router = self.network.host(GATEWAY)
        self.gateway = Gateway(self.router)
        self.wheel = WheelTimer(self.us, 0.01)
        self.restarts = 0

    def restarted(self) -> None:
        self.restarts += 1

    def listen(self) -> None:
        """Let the gateway speak NAT-PMP."""
        self.router.listenUDP(PMP_PORT, self.gateway)

    def quiet(self) -> None:
        """Nothing is left over of ours."""
        self.network.advance(1.0)
        self.assertEqual((self.us.sockets, self.us.getDelayedCalls()), ({}, []))


class PmpMapperTests(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.mapper = PmpMapper(self.us, self.wheel, GATEWAY, self.restarted)

    def test_all(self) -> None:
        self.listen()
        self.gateway.taken = {30303}
        self.assertEqual(str(self.network.wait_for(self.mapper.externalAddress())), EXTERNAL)
        mapping = self.mapper.addMapping(Transport.TCP, 30303, 30303, 600)
        self.assertEqual(self.network.wait_for(mapping), (30304, 600))
        self.assertEqual(self.gateway.mapped, {(Transport.TCP, 30303): 30304})
        self.network.wait_for(self.mapper.deleteMapping(Transport.TCP, 30303, 30304))
        self.assertEqual(self.gateway.mapped, {})
        self.mapper.close()
        self.quiet()

    def test_over_a_bad_cable(self) -> None:
        self.listen()
        self.network.link(OURS, GATEWAY, loss=0.3, jitter=0.1, duplication=0.2)
        asking = [self.mapper.addMapping(Transport.UDP, port, port, 600) for port in range(1, 9)]
        for port, mapping in enumerate(asking, 1):
            self.assertEqual(self.network.wait_for(mapping, 600.0), (port, 600))

    def test_nobody_there(self) -> None:
        self.gateway.silent = True
        self.listen()
        asking = self.mapper.externalAddress()
        self.network.advance(127.0)
        self.assertNoResult(asking)
        self.network.advance(1.2)
        self.failureResultOf(asking, NatFailed)
        self.assertEqual(len(self.gateway.asked), 9)

    def test_refusal(self) -> None:
        self.gateway.code = 2
        self.listen()
        failure = self.assertRaises(NatFailed, self.network.wait_for, self.mapper.externalAddress())
        self.assertIn("refuses", str(failure))

    def test_answers_of_others(self) -> None:
        asking = self.mapper.externalAddress()
        liar = self.network.host("192.168.1.66")
        [(_, port)] = self.us.sockets
        from_another_port = self.router.listenUDP(5352, StunServer())
        liar.listenUDP(PMP_PORT, StunServer()).write(pmp_address("6.6.6.6"), (OURS, port))
        from_another_port.write(pmp_address("6.6.6.6"), (OURS, port))
        self.network.advance(0.1)
        self.assertNoResult(asking)
        self.assertEqual(self.mapper.engine.ignored, 2)

    def test_restart(self) -> None:
        self.listen()
        self.network.advance(100.0)
        self.network.wait_for(self.mapper.externalAddress())
        self.gateway.restart()
        self.network.wait_for(self.mapper.externalAddress())
        self.assertEqual(self.restarts, 1)

    def test_cancel(self) -> None:
        self.listen()
        asking = self.mapper.externalAddress()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(str(self.network.wait_for(self.mapper.externalAddress())), EXTERNAL)

    def test_close(self) -> None:
        asking = self.mapper.externalAddress()
        self.mapper.close()
        self.mapper.close()
        self.failureResultOf(asking, NatFailed)
        self.failureResultOf(self.mapper.externalAddress(), NatFailed)
        self.quiet()

    def test_no_network(self) -> None:
        """What cannot be sent now is sent again."""
        self.network.host("10.9.9.9")
        alone = self.network.host("fd00::1")  # without an IPv4 address
        mapper = PmpMapper(alone, WheelTimer(alone, 0.01), GATEWAY, self.restarted, tries=2)
        asking = mapper.externalAddress()
        self.network.advance(2.0)
        self.failureResultOf(asking, NatFailed)


class StunMapperTests(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.servers = {}
        for address in ("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"):
            self.servers[address] = self.network.host(address)
        self.network.names["stun.example.org"] = "198.51.100.3"
        numbers = count(1)
        self.mapper = StunMapper(
            self.us,
            self.wheel,
            SERVERS,
            random=lambda size: next(numbers).to_bytes(size, "big"),
            choose=lambda most: 0,
        )
        self.addCleanup(self.mapper.close)

    def test_first(self) -> None:
        server = StunServer()
        self.servers["198.51.100.1"].listenUDP(3478, server)
        for asked in (1, 2, 3):
            self.assertEqual(str(self.network.wait_for(self.mapper.externalAddress())), EXTERNAL)
            self.assertEqual((server.asked, len(self.us.sockets)), (asked, 1))
        self.mapper.close()
        self.quiet()

    def test_through_a_nat(self) -> None:
        def seen(data: bytes, addr: Any) -> bytes:
            return stun_answer(data, *addr)

        self.servers["198.51.100.1"].listenUDP(3478, StunServer(seen))
        self.network.nat([self.us], EXTERNAL, NatKind.SYMMETRIC)
        self.assertEqual(str(self.network.wait_for(self.mapper.externalAddress())), EXTERNAL)

    def test_third_by_name(self) -> None:
        refusing = StunServer(lambda data, addr: stun_answer(data, kind=0x0111))
        self.servers["198.51.100.2"].listenUDP(3478, refusing)
        self.servers["198.51.100.3"].listenUDP(3478, StunServer())
        asking = self.mapper.externalAddress()
        self.network.advance(11.0)
        self.assertEqual(refusing.asked, 0)
        self.assertEqual(str(self.network.wait_for(asking)), EXTERNAL)
        self.assertEqual(refusing.asked, 1)

    def test_no_more_than_three(self) -> None:
        self.servers["198.51.100.4"].listenUDP(19302, StunServer())
        del self.network.names["stun.example.org"]
        failure = self.assertRaises(NatFailed, self.network.wait_for, self.mapper.externalAddress(), 60.0)
        self.assertIn("stun.example.org", str(failure))
        self.assertEqual(MAX_SERVERS, 3)

    def test_ipv6_server(self) -> None:
        us = self.network.host("2001:db8::5")
        server = StunServer(lambda data, addr: stun_answer(data, *addr))
        self.network.host("2001:db8::9").listenUDP(3478, server, "::")
        mapper = StunMapper(us, self.wheel, [("2001:db8::9", 3478)], random=bytes, choose=Random(1).randrange)
        self.assertEqual(str(self.network.wait_for(mapper.externalAddress())), "2001:db8::5")
        self.assertEqual(mapper.name, "STUN at 2001:db8::9")

    def test_lies_from_elsewhere(self) -> None:
        """The attacker even knows the transaction id."""
        seen: list[bytes] = []
        self.servers["198.51.100.1"].listenUDP(3478, StunServer(lambda data, addr: seen.append(data)))
        asking = self.mapper.externalAddress()
        self.network.advance(0.1)
        [(_, port)] = self.us.sockets
        lying = self.servers["198.51.100.2"].listenUDP(3478, StunServer())
        lying.write(stun_answer(seen[0], "6.6.6.6"), (OURS, port))
        self.network.advance(0.1)
        self.assertNoResult(asking)
        self.mapper.close()
        self.failureResultOf(asking, NatFailed)

    def test_cancel_and_close(self) -> None:
        asking = self.mapper.externalAddress()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        asking = self.mapper.externalAddress()
        self.mapper.close()
        self.failureResultOf(asking, NatFailed)  # and no other server is asked
        self.failureResultOf(self.mapper.externalAddress(), NatFailed)
        self.quiet()

    def test_cancel_while_the_name_is_looked_up(self) -> None:
        receivers: list[Any] = []

        class Slow:
            def resolveHostName(self, receiver: Any, *args: Any, **kwargs: Any) -> None:
                receivers.append(receiver)

        self.us.installNameResolver(Slow())
        mapper = StunMapper(self.us, self.wheel, [("stun.example.org", 3478)], random=bytes, choose=lambda most: 0)
        asking = mapper.externalAddress()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        receivers[0].resolutionComplete()
        self.quiet()

    def test_maps_nothing(self) -> None:
        self.assertFalse(self.mapper.maps)
        self.failureResultOf(self.mapper.addMapping(Transport.TCP, 1, 1, 600), NatFailed)
        self.failureResultOf(self.mapper.deleteMapping(Transport.TCP, 1, 1), NatFailed)

    def test_servers_of_ours(self) -> None:
        self.assertGreater(len({host for host, _ in STUN_SERVERS}), MAX_SERVERS)
        for host, port in STUN_SERVERS:
            self.assertEqual(Setting.parse(f"stun:{host}:{port}").host, host)


class UPnPTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.module = MiniUPnPc()
        self.thread = Thread()
        self.numbers = iter([100, 200, 300] * 9)

    def find(self) -> Any:
        return UPnPMapper.find(self.thread, lambda most: next(self.numbers), {"miniupnpc": self.module}.__getitem__)

    def mapper(self) -> UPnPMapper:
        mapper: UPnPMapper = self.successResultOf(self.find())
        self.module.calls.clear()
        return mapper

    def test_find(self) -> None:
        mapper = self.mapper()
        self.assertEqual(self.module.discoverdelay, 1000)
        self.assertEqual(str(self.successResultOf(mapper.externalAddress())), EXTERNAL)

    def test_not_installed(self) -> None:
        def missing(name: str) -> Any:
            raise ModuleNotFoundError(name)

        failure = self.failureResultOf(UPnPMapper.find(self.thread, max, missing), NoUPnP)
        self.assertIn("pip install", str(failure.value))
        self.assertNotIn("\n", str(failure.value))

    def test_nothing_found(self) -> None:
        for devices in (0, -1):
            self.module.devices = devices
            failure = self.failureResultOf(self.find(), NatFailed)
            self.assertEqual(str(failure.value), "no UPnP gateway answers")

    def test_not_connected(self) -> None:
        for external in ("", "0.0.0.0", "what"):
            self.module.external = external
            self.failureResultOf(self.find(), NatFailed)

    def test_map_and_unmap(self) -> None:
        mapper = self.mapper()
        self.assertEqual(self.successResultOf(mapper.addMapping(Transport.TCP, 30303, 30303, 600)), (30303, 600))
        self.assertEqual(self.module.mapped, {(30303, "TCP"): (OURS, 30303, 600)})
        self.successResultOf(mapper.addMapping(Transport.TCP, 30303, 30303, 600))  # again
        self.successResultOf(mapper.deleteMapping(Transport.TCP, 30303, 30303))
        self.assertEqual(self.module.mapped, {})
        self.failureResultOf(mapper.deleteMapping(Transport.TCP, 30303, 30303), NatFailed)

    def test_nobody_is_robbed(self) -> None:
        for owner in (("192.168.1.5", 30303, 0), (OURS, 40000, 0)):
            self.module.mapped = {(30303, "UDP"): owner, (10100, "UDP"): owner}
            mapper = self.mapper()
            mapping = mapper.addMapping(Transport.UDP, 30303, 30303, 600)
            self.assertEqual(self.successResultOf(mapping), (10200, 600))
            self.assertEqual(self.module.mapped[30303, "UDP"], owner)
            self.failureResultOf(mapper.deleteMapping(Transport.UDP, 30303, 30303), NatFailed)
            self.assertIn((30303, "UDP"), self.module.mapped)

    def test_all_taken(self) -> None:
        for port in (30303, 10100, 10200, 10300):
            self.module.mapped[port, "TCP"] = ("192.168.1.5", 1, 0)
        failure = self.failureResultOf(self.mapper().addMapping(Transport.TCP, 30303, 30303, 600), NatFailed)
        self.assertIn("somebody else's", str(failure.value))
        self.assertEqual(self.module.calls, [])

    def test_tries(self) -> None:
        mapper = self.mapper()
        self.module.errors = ["HTTP error", "HTTP error"]
        self.assertEqual(self.successResultOf(mapper.addMapping(Transport.TCP, 1, 1, 600)), (1, 600))
        self.module.errors = ["HTTP error"] * 4
        self.assertEqual(self.successResultOf(mapper.addMapping(Transport.TCP, 2, 2, 600)), (10200, 600))
        self.module.mapped.clear()
        self.module.errors = ["ConflictInMappingEntry"] * 9
        failure = self.failureResultOf(mapper.addMapping(Transport.TCP, 3, 3, 600), NatFailed)
        self.assertIn("ConflictInMappingEntry", str(failure.value))
        self.assertEqual(len(self.module.errors), 9 - 3 - 3)

    def test_only_for_ever(self) -> None:
        self.module.permanent_only = True
        self.assertEqual(self.successResultOf(self.mapper().addMapping(Transport.TCP, 1, 1, 600)), (1, 600))
        self.assertEqual(self.module.mapped[1, "TCP"], (OURS, 1, 0))

    def test_gateway_that_cannot_say_whose(self) -> None:
        self.module.tells_owner = False
        mapper = self.mapper()
        self.assertEqual(self.successResultOf(mapper.addMapping(Transport.TCP, 1, 1, 600)), (1, 600))
        self.successResultOf(mapper.deleteMapping(Transport.TCP, 1, 1))

    def test_one_call_at_a_time(self) -> None:
        mapper = self.mapper()
        self.thread.waits = True
        calls = [mapper.externalAddress(), mapper.addMapping(Transport.TCP, 1, 1, 600), mapper.externalAddress()]
        while self.thread.waiting:
            self.thread.work()
        self.assertEqual(self.thread.most, 1)
        self.assertEqual([self.successResultOf(call) is not None for call in calls], [True] * 3)

    def test_cancelled_in_the_thread(self) -> None:
        """It goes on there, so nothing else may begin."""
        mapper = self.mapper()
        self.thread.waits = True
        first, second = mapper.externalAddress(), mapper.addMapping(Transport.TCP, 1, 1, 600)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.work()
        self.thread.work()
        self.assertEqual(self.successResultOf(second), (1, 600))

    def test_close(self) -> None:
        mapper = self.mapper()
        mapper.close()
        self.failureResultOf(mapper.externalAddress(), NatFailed)

    def test_the_real_one(self) -> None:
        """What we call is there, where it is installed."""
        try:
            module = importlib.import_module("miniupnpc")
        except ImportError:
            self.skipTest("miniupnpc is not installed")
        for name in ("discover", "selectigd", "externalipaddress", "addportmapping", "deleteportmapping"):
            self.assertTrue(callable(getattr(module.UPnP(), name)))


class FindTests(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.module = MiniUPnPc()
        self.module.devices = 0
        self.thread = Thread()
        self.known: Any = GATEWAY
        self.means = Means(
            self.us,
            self.wheel,
            bytes,
            lambda most: 0,
            self.thread,
            {"miniupnpc": self.module}.__getitem__,
            lambda: self.known,
        )

    def find(self, text: str) -> Any:
        return find(Setting.parse(text), self.means, self.restarted)

    def test_upnp(self) -> None:
        self.module.devices = 1
        self.assertEqual(self.successResultOf(self.find("upnp")).name, "UPnP")

    def test_stun(self) -> None:
        self.assertEqual(self.successResultOf(self.find("stun")).name, "STUN")
        self.assertEqual(self.successResultOf(self.find("stun:a.example.org")).name, "STUN at a.example.org")
        self.quiet()

    def test_pmp(self) -> None:
        self.listen()
        mapper = self.network.wait_for(self.find("pmp"))
        self.assertEqual((mapper.name, mapper.engine.tries), (f"NAT-PMP at {GATEWAY}", 9))

    def test_pmp_somewhere_else(self) -> None:
        other = self.network.host("192.168.1.254")
        other.listenUDP(PMP_PORT, Gateway(other))
        self.assertEqual(self.network.wait_for(self.find("pmp:192.168.1.254")).name, "NAT-PMP at 192.168.1.254")

    def test_pmp_guessed(self) -> None:
        self.known = None
        self.assertEqual(local_address(self.us), OURS)
        self.listen()
        self.assertEqual(self.network.wait_for(self.find("pmp")).name, f"NAT-PMP at {GATEWAY}")

    def test_pmp_no_gateway(self) -> None:
        self.known = None
        public = self.network.host("203.0.114.5")
        means = Means(public, self.wheel, bytes, max, self.thread, self.means.load, lambda: None)
        self.failureResultOf(find(Setting.parse("pmp"), means, self.restarted), NatFailed)

    def test_pmp_not_there(self) -> None:
        finding = self.find("pmp")
        self.network.advance(1.9)
        self.failureResultOf(finding, NatFailed)
        self.quiet()

    def test_any_takes_pmp(self) -> None:
        self.listen()
        self.assertEqual(self.network.wait_for(self.find("any")).name, f"NAT-PMP at {GATEWAY}")

    def test_any_takes_upnp(self) -> None:
        self.module.devices = 1
        self.assertEqual(self.successResultOf(self.find("any")).name, "UPnP")
        self.quiet()

    def test_any_takes_the_first(self) -> None:
        self.module.devices = 1
        self.thread.waits = True
        self.listen()
        mapper = self.network.wait_for(self.find("any"))
        self.assertEqual(mapper.name, f"NAT-PMP at {GATEWAY}")
        self.thread.work()  # too late
        mapper.close()
        self.quiet()

    def test_any_finds_nobody(self) -> None:
        finding = self.find("any")
        self.network.advance(1.9)
        words = str(self.failureResultOf(finding, NatFailed).value)
        self.assertIn("UPnP", words)
        self.assertIn(GATEWAY, words)
        self.quiet()

    def test_cancel(self) -> None:
        self.thread.waits = True
        for text in ("any", "pmp", "upnp"):
            finding = self.find(text)
            finding.cancel()
            self.failureResultOf(finding)
        self.quiet()

    def test_nobody_to_ask(self) -> None:
        for text in ("none", "extip:1.2.3.4"):
            self.failureResultOf(self.find(text), NatFailed)
