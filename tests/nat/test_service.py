"""
The service, at home on a virtual network.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from twisted.application.service import IService
from zope.interface.verify import verifyObject

from ethp2p.errors import ConfigError
from ethp2p.nat import NatService, Outside, Setting, Transport, upnp
from ethp2p.nat.service import MAX_MISSES, MAX_PORTS, POLL, SEARCH_AGAIN, STOP_DEADLINE
from ethp2p.nat.wire import PMP_PORT
from tests.nat.support import EXTERNAL, GATEWAY, OURS, Gateway, MiniUPnPc, StunServer, Thread
from tests.nat.test_mappers import NetworkTestCase

TCP, UDP = Transport.TCP, Transport.UDP


class ServiceTestCase(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.module = MiniUPnPc()
        self.module.devices = 0
        self.thread = Thread()
        self.told: list[Outside] = []

    def make(self, text: str) -> NatService:
        return NatService(
            self.us,
            Setting.parse(text),
            self.told.append,
            random=bytes,
            choose=lambda most: 0,
            inThread=self.thread,
            load={"miniupnpc": self.module}.__getitem__,
            gateway=lambda: GATEWAY,
        )

    def started(self, text: str) -> NatService:
        """With two ports to map."""
        service = self.make(text)
        service.startService()
        for transport in (TCP, UDP):
            self.assertTrue(service.mapPort(transport, 30303))
        return service

    def stop(self, service: NatService) -> None:
        """Stop it in time, and see that nothing is left."""
        stopping: Any = service.stopService()
        self.network.advance(STOP_DEADLINE + 0.5)
        self.successResultOf(stopping)
        self.quiet()

    def seen(self, service: NatService) -> tuple[str, int, int]:
        outside = service.outside
        return str(outside.address), outside.external(TCP, 30303), outside.external(UDP, 30303)


class PmpTests(ServiceTestCase):
    def test_it_is_one(self) -> None:
        verifyObject(IService, self.make("any"))

    def test_maps_and_tells(self) -> None:
        self.listen()
        self.gateway.taken = {30303}
        service = self.started("natpmp")
        self.network.advance(1.0)
        self.assertEqual(self.seen(service), (EXTERNAL, 30304, 30304))
        self.assertEqual(self.told[-1], service.outside)
        self.assertEqual(service.outside.ports, ((TCP, 30303, 30304), (UDP, 30303, 30304)))
        self.assertEqual(len(self.told), len(set(self.told)))
        self.assertEqual(service.outside.external(TCP, 1), 0)
        self.stop(service)
        self.assertEqual(self.gateway.mapped, {})

    def test_keeps_them(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(3600.0)
        mappings = [asked for asked in self.gateway.asked if asked[0] == "TCP"]
        self.assertEqual(len(mappings), 1 + 3600 // 480)
        self.assertEqual(set(mappings), {("TCP", 30303, 30303, 600)})
        addresses = [asked for asked in self.gateway.asked if asked[0] == "address"]
        self.assertIn(len(addresses), range(29, 33))
        self.assertEqual(len(self.told), 3)  # two ports and an address, each once
        self.stop(service)

    def test_short_leases(self) -> None:
        self.listen()
        self.gateway.lifetime = 100
        service = self.started("natpmp")
        self.network.advance(801.0)
        self.assertEqual(len([asked for asked in self.gateway.asked if asked[0] == "UDP"]), 1 + 801 // 81)
        self.stop(service)

    def test_address_changes(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(10.0)
        before = len(self.gateway.asked)
        self.gateway.address = "81.9.9.9"
        self.network.advance(POLL)
        self.assertEqual(self.seen(service), ("81.9.9.9", 30303, 30303))
        names = [asked[0] for asked in self.gateway.asked[before:]]
        self.assertEqual(sorted(names), ["TCP", "UDP", "address"])  # mapped anew where we are now
        self.stop(service)

    def test_gateway_restarts(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(90.0)
        self.gateway.restart()
        self.assertEqual(self.gateway.mapped, {})
        self.network.advance(POLL)
        self.assertEqual(self.gateway.mapped, {(TCP, 30303): 30303, (UDP, 30303): 30303})
        self.stop(service)

    def test_gateway_behind_another(self) -> None:
        self.listen()
        for address in ("192.168.100.2", "100.64.3.3"):
            self.gateway.address = address
            service = self.started("natpmp")
            self.network.advance(5.0)
            self.assertIsNone(service.outside.address)
            self.stop(service)

    def test_gateway_goes_away(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(10.0)
        self.gateway.silent = True
        self.network.advance((POLL + 129) * (MAX_MISSES + 1))
        self.assertEqual(service.outside, Outside())
        self.assertIsNone(service.mapper)
        self.gateway.silent = False
        self.network.advance(2 * SEARCH_AGAIN)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.stop(service)

    def test_short_silence_is_borne(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(10.0)
        told = len(self.told)
        self.gateway.silent = True
        self.network.advance(300.0)
        self.gateway.silent = False
        self.network.advance(600.0)
        self.assertEqual(len(self.told), told)
        self.assertEqual(self.gateway.mapped, {(TCP, 30303): 30303, (UDP, 30303): 30303})
        self.stop(service)

    def test_gateway_that_refuses_to_map(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        self.gateway.code = 2
        self.network.advance(480 + 4 * 300 + 60)
        self.assertEqual(self.seen(service)[1:], (0, 0))
        self.gateway.code = 0
        self.network.advance(1200.0)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.stop(service)

    def test_comes_later(self) -> None:
        service = self.started("natpmp")
        self.network.advance(10.0)
        self.assertEqual(self.told, [])
        self.listen()
        self.network.advance(SEARCH_AGAIN)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.stop(service)

    def test_searches_less_and_less(self) -> None:
        self.gateway.silent = True
        self.listen()
        service = self.started("natpmp")
        self.network.advance(4 * 3600.0)
        minutes = [0, 5, 15, 35, 75, 135, 195]  # each time three packets
        self.assertEqual(len(self.gateway.asked), 3 * len(minutes))
        self.stop(service)

    def test_port_added_later(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        self.assertTrue(service.mapPort(UDP, 9000))
        self.assertTrue(service.mapPort(UDP, 9000))
        self.network.advance(5.0)
        self.assertEqual(service.outside.external(UDP, 9000), 9000)
        self.stop(service)
        self.assertEqual(self.gateway.mapped, {})

    def test_before_the_start(self) -> None:
        self.listen()
        service = self.make("natpmp")
        self.assertTrue(service.mapPort(TCP, 30303))
        self.network.advance(5.0)
        self.assertEqual(self.gateway.asked, [])
        service.startService()
        self.network.advance(5.0)
        self.assertEqual(service.outside.external(TCP, 30303), 30303)
        self.stop(service)

    def test_starts_again(self) -> None:
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        self.stop(service)
        self.told.clear()
        service.startService()
        self.network.advance(5.0)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.assertEqual(self.told[-1], service.outside)
        self.stop(service)
        self.assertEqual(self.gateway.mapped, {})

    def test_too_many_ports(self) -> None:
        service = self.make("natpmp")
        for port in range(1, MAX_PORTS + 1):
            service.mapPort(TCP, port)
        self.assertRaises(ConfigError, service.mapPort, TCP, 9999)


class StopTests(ServiceTestCase):
    def test_at_any_moment(self) -> None:
        """Whenever it is stopped, nothing stays mapped."""
        self.network.link(OURS, GATEWAY, latency=0.1)
        self.listen()
        for moment in range(20):
            service = self.started("natpmp")
            self.network.advance(moment * 0.06)
            self.stop(service)
            self.assertEqual(self.gateway.mapped, {}, f"stopped after {moment * 0.06} s")

    def test_twice(self) -> None:
        """Who says it again while it is under way is told as well as who said it first."""
        self.network.link(OURS, GATEWAY, latency=0.1)
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        stopping = [service.stopService(), service.stopService()]
        self.network.advance(1.0)
        for each in stopping:
            self.successResultOf(each)
        self.quiet()

    def test_started_again_at_once(self) -> None:
        """The ports are given back, and mapped again."""
        self.network.link(OURS, GATEWAY, latency=0.1)
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        stopping = service.stopService()
        service.startService()
        self.network.advance(10.0)
        self.successResultOf(stopping)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.stop(service)
        self.assertEqual(self.gateway.mapped, {})

    def test_while_renewing(self) -> None:
        self.network.link(OURS, GATEWAY, latency=0.1)
        self.listen()
        for late in (479.9, 480.1, 480.3, 480.5, 480.7):
            service = self.started("natpmp")
            self.network.advance(late)
            self.stop(service)
            self.assertEqual(self.gateway.mapped, {})

    def test_silent_gateway(self) -> None:
        """It does not keep us longer than the deadline."""
        self.listen()
        service = self.started("natpmp")
        self.network.advance(5.0)
        self.gateway.silent = True
        stopping: Any = service.stopService()
        self.network.advance(STOP_DEADLINE - 0.2)
        self.assertNoResult(stopping)
        self.network.advance(0.5)
        self.successResultOf(stopping)
        self.quiet()

    def test_stuck_thread(self) -> None:
        self.module.devices = 1
        service = self.started("upnp")
        self.thread.waits = True
        self.stop(service)
        while self.thread.waiting:
            self.thread.work()

    def test_while_searching(self) -> None:
        self.thread.waits = True
        service = self.started("any")
        self.network.advance(0.1)
        self.stop(service)

    def test_while_waiting_to_search(self) -> None:
        service = self.started("any")
        self.network.advance(30.0)
        self.stop(service)

    def test_never_started(self) -> None:
        self.successResultOf(self.make("any").stopService())  # type: ignore[arg-type]
        self.quiet()

    def test_given_wheel_goes_on(self) -> None:
        service = NatService(
            self.us, Setting.parse("stun:198.51.100.1"), self.told.append, wheel=self.wheel, random=bytes
        )
        service.startService()
        service.mapPort(TCP, 1)
        called: list[int] = []
        self.wheel.call_later(1.0, lambda: called.append(1))
        self.stop(service)
        self.assertEqual(called, [1])


class OtherTests(ServiceTestCase):
    def test_none(self) -> None:
        service = self.make("none")
        service.startService()
        self.assertFalse(service.mapPort(TCP, 30303))
        self.network.advance(999.0)
        self.assertEqual((self.told, self.thread.most, self.module.calls), ([], 0, []))
        self.stop(service)

    def test_extip(self) -> None:
        service = self.make("extip:192.168.7.7")  # whatever it is: somebody said so
        service.startService()
        self.assertEqual([str(outside.address) for outside in self.told], ["192.168.7.7"])
        self.assertFalse(service.mapPort(TCP, 30303))
        self.assertEqual(service.outside.external(TCP, 30303), 0)
        self.stop(service)
        service.startService()
        self.assertEqual(len(self.told), 2)
        self.stop(service)

    def test_nobody_is_asked_for_a_private_listener(self) -> None:
        self.listen()
        for text in ("any", "natpmp", "upnp", "stun"):
            service = self.make(text)
            service.startService()
            for host in ("127.0.0.1", "192.168.1.77", "::1", "10.0.0.1"):
                self.assertFalse(service.mapPort(TCP, 30303, host))
            self.network.advance(1000.0)
            self.assertEqual((self.gateway.asked, self.module.calls, self.us.sockets), ([], [], {}))
            self.stop(service)

    def test_stun(self) -> None:
        server = StunServer()
        self.network.host("198.51.100.9").listenUDP(3478, server)
        service = self.started("stun:198.51.100.9")
        self.network.advance(1.0)
        self.assertEqual(self.seen(service), (EXTERNAL, 0, 0))
        self.network.advance(3600.0)
        self.assertIn(server.asked, range(29, 33))
        self.assertEqual(len(self.told), 1)
        self.stop(service)

    def test_upnp(self) -> None:
        self.module.devices = 1
        service = self.started("upnp")
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.network.advance(1000.0)
        adds = [call for call in self.module.calls if call[:3] == ("add", 30303, "TCP")]
        self.assertEqual(adds, [("add", 30303, "TCP", OURS, 30303, 600)] * 3)
        self.stop(service)
        self.assertEqual(self.module.mapped, {})

    def test_any(self) -> None:
        self.listen()
        service = self.started("any")
        self.network.advance(3.0)
        self.assertEqual(self.seen(service), (EXTERNAL, 30303, 30303))
        self.stop(service)

    def test_thread_of_its_own(self) -> None:
        """Where no other is given, blocking calls go to a daemon thread and come back through the reactor."""
        done: list[bool] = []

        class Inline:
            def __init__(self, target: Any, name: str, daemon: bool) -> None:
                self.start = target
                done.append(daemon)

        self.patch(upnp, "Thread", Inline)
        self.us.callFromThread = lambda function, *args: function(*args)  # type: ignore[attr-defined]
        self.module.devices = 1
        load = {"miniupnpc": self.module}.__getitem__
        service = NatService(self.us, Setting.parse("upnp"), self.told.append, load=load)
        service.startService()
        service.mapPort(TCP, 30303)
        self.assertEqual(service.outside.external(TCP, 30303), 30303)
        self.assertEqual(done, [True] * 3)
        self.module.external = ""
        self.network.advance(POLL + 1)
        self.assertEqual(str(service.outside.address), EXTERNAL)  # what it raises comes back as well
        self.assertEqual(done, [True] * 4)
        self.stop(service)

    def test_what_the_owner_does_wrong(self) -> None:
        """An error in the owner's callback is told, and the lease goes on."""
        self.listen()

        def wrong(outside: Outside) -> None:
            raise RuntimeError("owner")

        service = NatService(
            self.us, Setting.parse("natpmp"), wrong, inThread=self.thread, gateway=lambda: GATEWAY, random=bytes
        )
        service.startService()
        service.mapPort(TCP, 30303)
        self.network.advance(1000.0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual(len([asked for asked in self.gateway.asked if asked[0] == "TCP"]), 3)
        self.stop(service)

    def test_no_package(self) -> None:
        said: list[str] = []
        service = NatService(
            self.us,
            Setting.parse("upnp"),
            self.told.append,
            inThread=self.thread,
            load=lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)),
        )
        self.patch(service, "_log", Log(said))
        service.startService()
        service.mapPort(TCP, 1)
        self.network.advance(3600.0)
        [line] = said  # once, however often it is tried
        self.assertIn("pip install 'ethp2p[upnp]'", line)
        self.stop(service)

    def test_lines(self) -> None:
        said: list[str] = []
        self.listen()
        service = self.make("natpmp")
        self.patch(service, "_log", Log(said))
        service.startService()
        service.mapPort(TCP, 30303)
        self.network.advance(3600.0)
        self.assertEqual(
            said,
            [
                f"the external address and ports come from NAT-PMP at {GATEWAY}",
                "seen from outside we are at an unknown address, TCP 30303 as 30303",
                f"seen from outside we are at {EXTERNAL}, TCP 30303 as 30303",
            ],
        )
        self.stop(service)

    def test_gateway_found_again_after_a_move(self) -> None:
        """Another network, another gateway."""
        self.listen()
        known = [GATEWAY]
        service = NatService(
            self.us, Setting.parse("natpmp"), self.told.append, inThread=self.thread, gateway=lambda: known[0]
        )
        service.startService()
        service.mapPort(TCP, 30303)
        self.network.advance(10.0)
        self.router.vanish()
        other = self.network.host("192.168.1.99")
        there = Gateway(other)
        there.address = "85.5.5.5"
        other.listenUDP(PMP_PORT, there)
        known[0] = "192.168.1.99"
        self.network.advance((POLL + 129) * (MAX_MISSES + 1))
        self.assertEqual(str(service.outside.address), "85.5.5.5")
        self.assertEqual(there.mapped, {(TCP, 30303): 30303})
        self.stop(service)


class Log:
    """Keeps the lines."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def info(self, text: str, **fields: Any) -> None:
        self.said.append(text.format(**fields))

    def failuresHandled(self, text: str) -> AbstractContextManager[None]:
        return nullcontext()
