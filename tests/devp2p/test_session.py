"""
The shell: how a session begins, what it carries, and that it ends once.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p import __version__
from ethp2p.codec import snappy
from ethp2p.devp2p import LocalHello, Session, SessionFactory, client_name
from ethp2p.devp2p.wire import DISCONNECT, HELLO, MAX_CAPABILITY_NAME, PING, PONG, Capability, Disconnect, Hello
from ethp2p.errors import (
    ConfigError,
    DisconnectReason,
    LocalProtocolError,
    NotAdmitted,
    Offence,
    PeerDisconnected,
    RemoteProtocolError,
    WireError,
)
from ethp2p.interfaces import IChannel, IMessageProtocol, IMessageTransport, ISession
from tests.devp2p.fakes import OURS, THEIRS, Address, Language, LanguageFactory, Producer, Scene, refusal


class BeginTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        scene = Scene().meet()
        for interface in (ISession, IMessageProtocol, IPushProducer):
            verifyObject(interface, scene.session)
        for interface in (IChannel, IMessageTransport):
            verifyObject(interface, scene.session.channels["eth"])

    def test_before_hello(self) -> None:
        scene = Scene()
        scene.clock.advance(1000)
        scene.begin()
        session = scene.session
        self.assertEqual(scene.household.calls, ["identityProven"])
        ((code, payload),) = scene.heard()
        self.assertEqual(code, HELLO)
        offers = (Capability("eth", 67), Capability("eth", 68))
        self.assertEqual(Hello.decode(payload), Hello(5, "ethp2p/test", offers, 30303, OURS.raw))
        self.assertEqual((session.node_id, session.public_key, session.inbound), (THEIRS.node_id, THEIRS, True))
        self.assertEqual(session.address.host, "192.0.2.1")
        self.assertEqual((session.client, session.capabilities, session.shared, session.hello), ("", (), (), None))
        self.assertEqual((session.connected_at, session.rtt, session.channels), (1000.0, None, {}))

    def test_after_hello(self) -> None:
        scene = Scene(peerOffers=("eth/66", "eth/68", "snap/1")).meet()
        session = scene.session
        self.assertEqual(scene.household.calls, ["identityProven", "helloReceived"])
        self.assertEqual(session.client, "peer/v1")
        self.assertEqual(session.capabilities, ("eth/66", "eth/68", "snap/1"))
        self.assertEqual(session.shared, ("eth/68",))
        self.assertEqual(session.hello, scene.peerHello)
        self.assertEqual(session.protocols(), {"eth": {"version": 68}})
        channel = session.channels["eth"]
        self.assertEqual((channel.name, channel.version, channel.session), ("eth", 68, session))
        self.assertEqual(
            (channel.getPeer(), channel.getHost(), session.local), (session.peer, "our address", "our address")
        )
        self.assertEqual(scene.heard(), [])

    def test_one_that_cannot_describe_itself(self) -> None:
        """Nothing is told of it, and who asked, such as C{admin_peers}, hears of all the others."""
        scene = Scene().meet()
        scene.session.channels["eth"].capability.describe = lambda: 1 // 0
        self.assertEqual(scene.session.protocols(), {"eth": {}})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_both_checkpoints_see_what_is_known(self) -> None:
        seen: list[tuple[Any, ...]] = []
        scene = Scene()
        scene.household.identityProven = lambda session: seen.append((session.node_id, session.client))  # type: ignore[method-assign]
        scene.household.helloReceived = lambda session: seen.append((session.shared, session.client))  # type: ignore[method-assign]
        scene.meet()
        self.assertEqual(seen, [(THEIRS.node_id, ""), (("eth/68",), "peer/v1")])

    def test_capabilities_in_order_of_codes(self) -> None:
        connected: list[tuple[str, int]] = []

        class Noted(Language):
            def makeConnection(self, transport: Any) -> None:
                super().makeConnection(transport)
                connected.append((transport.name, len(transport.session.channels)))

        class Factory(LanguageFactory):
            def buildCapability(self, session: Any, version: int) -> Language:
                self.built.append(Noted(version))
                return self.built[-1]

        offers = [Factory("snap", {1: 8}), Factory("bsc", {1: 2, 2: 4}), Factory("eth", {68: 17})]
        scene = Scene(*offers, peerOffers=("snap/1", "eth/68", "bsc/2")).meet()
        self.assertEqual(connected, [("bsc", 3), ("eth", 3), ("snap", 3)])
        for factory, offset in zip(offers, (16 + 4 + 17, 16, 16 + 4)):
            scene.say(offset + 1, b"hello")
            self.assertEqual(factory.built[0].received, [(1, b"hello")])
            factory.built[0].channel.writeMessage(0, b"there")
            self.assertEqual(scene.heard(), [(offset, b"there")])

    def test_a_capability_may_speak_first(self) -> None:
        class Eager(Language):
            def makeConnection(self, transport: Any) -> None:
                transport.writeMessage(0, b"status")

        class Factory(LanguageFactory):
            def buildCapability(self, session: Any, version: int) -> Language:
                return Eager(version)

        scene = Scene(Factory("eth", {68: 17})).begin()
        scene.session.messageReceived(HELLO, scene.peerHello.encode())
        (hello, status) = scene.transport.written
        self.assertEqual((hello[0], status), (HELLO, (16, snappy.compress(b"status"))))

    def test_refused_for_who_it_is(self) -> None:
        scene = Scene()
        scene.household.refuseIdentity = refusal(DisconnectReason.TOO_MANY_PEERS)
        scene.begin()
        self.assertEqual(scene.heard(), [(DISCONNECT, b"\xc1\x04")])  # instead of Hello, and plain
        self.assertEqual(scene.transport.closing, "lose")
        scene.cut()
        self.assertEqual(scene.household.calls, ["identityProven", "sessionEnded"])
        (ended,) = scene.household.ended
        self.assertEqual(
            (ended.reason, ended.by_us, ended.detail), (DisconnectReason.TOO_MANY_PEERS, True, "says the test")
        )
        self.assertEqual(scene.household.offences, [])

    def test_refused_for_what_it_said(self) -> None:
        scene = Scene()
        scene.household.refuseHello = refusal(DisconnectReason.ALREADY_CONNECTED)
        scene.meet()
        self.assertEqual(scene.offers[0].built, [])
        scene.cut()
        self.assertEqual(scene.household.calls, ["identityProven", "helloReceived", "sessionEnded"])
        self.assertEqual(scene.household.ended[0].reason, DisconnectReason.ALREADY_CONNECTED)

    def test_sent_away_at_a_checkpoint(self) -> None:
        """A household may also end the session itself; nothing goes on behind its back."""
        for checkpoint in ("identityProven", "helloReceived"):
            scene = Scene()
            end = lambda session: session.disconnect(DisconnectReason.CLIENT_QUITTING)  # noqa: E731
            setattr(scene.household, checkpoint, end)
            scene.begin()
            scene.session.messageReceived(HELLO, scene.peerHello.encode())
            self.assertEqual(scene.offers[0].built, [])
            self.assertEqual([code for code, _ in scene.transport.written][-1], DISCONNECT)
            self.assertEqual(len(scene.transport.written), 1 if checkpoint == "identityProven" else 2)

    def test_useless(self) -> None:
        scene = Scene(peerOffers=("les/4",)).meet()
        self.assertEqual(scene.household.calls, ["identityProven"])
        self.assertEqual(scene.session.capabilities, ("les/4",))
        scene.cut()
        self.assertEqual(scene.household.ended[0].reason, DisconnectReason.USELESS_PEER)
        self.assertEqual(scene.household.offences, [])

    def test_ourselves(self) -> None:
        scene = Scene()
        scene.household.refuseIdentity = refusal(DisconnectReason.SELF)
        scene.begin()
        self.assertEqual(scene.goodbye(), DisconnectReason.SELF)

    def test_no_hello(self) -> None:
        scene = Scene().begin()
        scene.heard()
        scene.advance(4.9)
        self.assertIsNone(scene.transport.closing)
        scene.advance(0.3)
        self.assertEqual(scene.goodbye(), DisconnectReason.PING_TIMEOUT)
        self.assertEqual([offence for offence, _ in scene.household.offences], [Offence.TIMEOUT])
        scene.cut()
        scene.advance(1)
        self.assertEqual(scene.clock.getDelayedCalls(), [])


class RunningTests(SynchronousTestCase):
    def test_keepalive(self) -> None:
        """A Ping every interval, two ticks of the wheel late at most; a message of any kind keeps alive."""
        scene = Scene().meet()
        scene.advance(15.2)
        self.assertEqual(scene.heard(), [(PING, b"\xc0")])
        scene.advance(0.3)
        scene.say(PONG, b"\xc0")
        rtt = scene.session.rtt
        assert rtt is not None
        self.assertTrue(0.29 < rtt < 0.51, rtt)
        scene.advance(14.9)
        self.assertEqual(scene.heard(), [(PING, b"\xc0")])
        scene.say(16, b"\xc0")
        scene.advance(15.2)
        self.assertEqual(scene.heard(), [(PING, b"\xc0")])
        scene.advance(14.7)
        self.assertIsNone(scene.transport.closing)
        scene.advance(0.5)
        self.assertEqual(scene.goodbye(), DisconnectReason.PING_TIMEOUT)
        self.assertEqual([offence for offence, _ in scene.household.offences], [Offence.TIMEOUT])

    def test_ping_is_answered_at_once(self) -> None:
        scene = Scene().meet()
        scene.say(PING, b"\xc0")
        self.assertEqual(scene.heard(), [(PONG, b"\xc0")])

    def test_counters(self) -> None:
        scene = Scene(
            LanguageFactory("eth", {68: 17}), LanguageFactory("snap", {1: 8}), peerOffers=("eth/68", "snap/1")
        )
        scene.meet()
        session = scene.session
        eth, snap = session.channels["eth"], session.channels["snap"]
        was = (session.messages_in, session.bytes_in, session.messages_out, session.bytes_out)
        for _ in range(3):
            scene.say(20, bytes(100))
        scene.say(33, b"one")
        eth.writeMessage(0, b"four")
        small, large = len(snappy.compress(b"one")), len(snappy.compress(bytes(100)))
        self.assertEqual((eth.messages_in, eth.bytes_in, eth.messages_out, eth.bytes_out), (3, 3 * large, 1, 6))
        self.assertEqual((snap.messages_in, snap.bytes_in, snap.messages_out, snap.bytes_out), (1, small, 0, 0))
        now = (session.messages_in, session.bytes_in, session.messages_out, session.bytes_out)
        self.assertEqual([new - old for old, new in zip(was, now)], [4, 3 * large + small, 1, 6])
        scene.say(PING, b"\xc0")
        self.assertEqual((session.messages_in, session.messages_out), (was[0] + 5, was[2] + 2))

    def test_own_mistakes_are_told_to_the_writer(self) -> None:
        scene = Scene().meet()
        channel = scene.session.channels["eth"]
        self.assertRaises(LocalProtocolError, channel.writeMessage, 17, b"")
        self.assertRaises(LocalProtocolError, channel.writeMessage, 0, bytes(1 << 24))
        self.assertRaises(LocalProtocolError, channel.registerProducer, Producer(), False)
        channel.registerProducer(Producer(), True)
        self.assertRaises(LocalProtocolError, channel.registerProducer, Producer(), True)
        self.assertEqual((scene.transport.written, scene.transport.closing, channel.messages_out), ([], None, 0))


class EndTests(SynchronousTestCase):
    def ended(self, scene: Scene) -> PeerDisconnected:
        """Cut the connection, and see that everybody was told once and the same."""
        scene.cut()
        scene.cut()
        (ended,) = scene.household.ended
        self.assertIs(scene.session.ended, ended)
        for factory in scene.offers:
            for language in factory.built:
                self.assertEqual(language.lost, [ended])
        self.assertEqual(scene.household.calls[-1], "sessionEnded")
        scene.advance(60)
        self.assertEqual(scene.clock.getDelayedCalls(), [])
        return ended

    def test_by_us(self) -> None:
        scene = Scene().meet()
        scene.session.disconnect(DisconnectReason.CLIENT_QUITTING, "the operator stops")
        scene.session.disconnect(DisconnectReason.SELF)
        self.assertEqual(scene.heard(), [(DISCONNECT, b"\xc1\x08")])
        self.assertEqual(scene.transport.closing, "lose")
        ended = self.ended(scene)
        self.assertEqual(str(ended), "we disconnected: client quitting (the operator stops)")

    def test_by_the_peer(self) -> None:
        scene = Scene().meet()
        scene.say(DISCONNECT, b"\xc1\x04")
        self.assertEqual((scene.heard(), scene.transport.closing), ([], "lose"))
        self.assertEqual(str(self.ended(scene)), "the peer disconnected: too many peers")

    def test_by_the_peer_instead_of_hello(self) -> None:
        scene = Scene().begin()
        scene.say(DISCONNECT, b"\xc1\x04")
        self.assertEqual(self.ended(scene).reason, DisconnectReason.TOO_MANY_PEERS)
        self.assertEqual(scene.household.offences, [])

    def test_for_an_unknown_reason(self) -> None:
        scene = Scene().meet()
        scene.say(DISCONNECT, b"\xc1\x42")
        ended = self.ended(scene)
        self.assertEqual((ended.reason, ended.by_us, ended.detail), (None, False, "unknown reason 0x42"))

    def test_by_both(self) -> None:
        for first, second in (("us", "peer"), ("peer", "us")):
            scene = Scene().meet()
            for who in (first, second):
                if who == "us":
                    scene.session.disconnect(DisconnectReason.REQUESTED)
                else:
                    scene.say(DISCONNECT, b"\xc1\x08")
            self.assertEqual(self.ended(scene).by_us, first == "us")

    def test_by_the_network(self) -> None:
        ended = self.ended(Scene().meet())
        self.assertEqual((ended.reason, ended.by_us), (None, False))
        self.assertIn("closed cleanly", ended.detail)

    def test_as_the_transport_knows_better(self) -> None:
        scene = Scene().meet()
        known = PeerDisconnected(detail="the cable")
        scene.cut(known)
        self.assertEqual(scene.household.ended, [known])

    def test_by_a_transport_that_cut_it_off(self) -> None:
        class NotReading(RemoteProtocolError):
            """The peer does not read."""

            reason = DisconnectReason.TCP_ERROR
            offence = Offence.FLOOD

        scene = Scene().meet()
        scene.cut(NotReading())
        self.assertEqual(scene.household.offences, [(Offence.FLOOD, "The peer does not read.")])
        (ended,) = scene.household.ended
        self.assertEqual((ended.reason, ended.by_us), (DisconnectReason.TCP_ERROR, True))

    def test_by_the_transport(self) -> None:
        scene = Scene().meet()
        scene.session.transportFailed(WireError("bad MAC"))
        self.assertEqual(scene.goodbye(), DisconnectReason.BREACH_OF_PROTOCOL)
        self.assertEqual(scene.household.offences, [(Offence.BAD_MESSAGE, "bad MAC")])
        scene.session.transportFailed(WireError("again"))
        self.assertEqual(len(scene.household.offences), 1)
        self.assertTrue(self.ended(scene).by_us)

    def test_without_a_word(self) -> None:
        scene = Scene().meet()
        scene.session.abort()
        scene.session.abort()
        self.assertEqual((scene.heard(), scene.transport.closing), ([], "abort"))
        scene.say(16, b"late")
        self.assertEqual(scene.offers[0].built[0].received, [])
        self.assertEqual(self.ended(scene).detail, "aborted")

    def test_by_a_capability(self) -> None:
        for method, goodbye, closing in (
            (lambda channel: channel.disconnect(DisconnectReason.USELESS_PEER), DisconnectReason.USELESS_PEER, "lose"),
            (lambda channel: channel.loseConnection(), DisconnectReason.REQUESTED, "lose"),
            (lambda channel: channel.stopProducing(), DisconnectReason.REQUESTED, "lose"),
            (lambda channel: channel.abortConnection(), None, "abort"),
        ):
            scene = Scene().meet()
            method(scene.session.channels["eth"])
            self.assertEqual((scene.goodbye(), scene.transport.closing), (goodbye, closing))
            self.assertTrue(self.ended(scene).by_us)

    def test_deaf_afterwards(self) -> None:
        scene = Scene().meet()
        (language,) = scene.offers[0].built
        scene.session.disconnect(DisconnectReason.REQUESTED)
        scene.heard()
        for code in (0, 1, 2, 16, 100):
            scene.say(code, b"\xc0")
        language.channel.writeMessage(0, b"into the void")
        producer = Producer()
        language.channel.registerProducer(producer, True)
        self.assertEqual((language.received, scene.heard(), producer.told), ([], [], ["stop"]))
        self.assertEqual(scene.household.offences, [])
        self.ended(scene)

    def test_producers_are_stopped(self) -> None:
        for end in (lambda scene: scene.session.disconnect(DisconnectReason.REQUESTED), lambda scene: scene.cut()):
            scene, producer = Scene().meet(), Producer()
            scene.session.channels["eth"].registerProducer(producer, True)
            end(scene)
            self.assertEqual(producer.told, ["stop"])

    def test_a_breach_seen_later(self) -> None:
        scene = Scene().meet()
        scene.say(16, b"\xc0")
        scene.session.channels["eth"].fail(WireError("headers that do not link"))
        self.assertEqual(scene.household.offences, [(Offence.BAD_MESSAGE, "eth/68: headers that do not link")])
        self.assertEqual(scene.goodbye(), DisconnectReason.BREACH_OF_PROTOCOL)


class FaultTests(SynchronousTestCase):
    """What capabilities and households do wrong."""

    def test_a_capability_finds_a_breach(self) -> None:
        class TooMuch(RemoteProtocolError):
            """More than asked for."""

            reason = DisconnectReason.USELESS_PEER
            offence = Offence.OVERSIZE

        scene = Scene().meet()
        (language,) = scene.offers[0].built

        def react(code: int, payload: bytes) -> None:
            raise TooMuch("Headers: too many")

        language.reaction = react
        scene.say(20, b"\xc0")
        self.assertEqual(scene.household.offences, [(Offence.OVERSIZE, "eth/68 message 0x04: Headers: too many")])
        self.assertEqual(scene.goodbye(), DisconnectReason.USELESS_PEER)
        ended = scene.session.ended
        assert ended is not None
        self.assertEqual((ended.by_us, ended.detail), (True, "eth/68 message 0x04: Headers: too many"))

    def test_a_capability_refuses(self) -> None:
        scene = Scene().meet()
        (language,) = scene.offers[0].built

        def react(code: int, payload: bytes) -> None:
            raise NotAdmitted(DisconnectReason.USELESS_PEER, "another chain")

        language.reaction = react
        scene.say(16, b"\xc0")
        self.assertEqual((scene.goodbye(), scene.household.offences), (DisconnectReason.USELESS_PEER, []))

    def test_a_bug_ends_one_session_only(self) -> None:
        scene = Scene(
            LanguageFactory("eth", {68: 17}), LanguageFactory("snap", {1: 8}), peerOffers=("eth/68", "snap/1")
        )
        scene.meet()
        eth, snap = (factory.built[0] for factory in scene.offers)
        eth.reaction = lambda code, payload: {}["bug"]
        scene.say(16, b"\xc0")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual((scene.goodbye(), scene.household.offences), (DisconnectReason.SUBPROTOCOL_ERROR, []))
        scene.cut()
        self.assertEqual((len(eth.lost), len(snap.lost)), (1, 1))

    def test_bugs_everywhere(self) -> None:
        """Wherever another's code raises, the session ends, and is told to have ended."""

        def bug(*args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

        for where in ("buildCapability", "makeConnection", "identityProven", "helloReceived", "offenceSeen"):
            scene = Scene()
            (factory,) = scene.offers
            if where == "buildCapability":
                factory.buildCapability = bug  # type: ignore[method-assign]
            elif where == "makeConnection":
                self.patch(Language, "makeConnection", bug)
            else:
                setattr(scene.household, where, bug)
            scene.begin()
            scene.session.messageReceived(HELLO, scene.peerHello.encode())
            if where == "offenceSeen":
                scene.session.messageReceived(16, b"")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, where)
            self.assertEqual(scene.transport.written[-1][0], DISCONNECT)
            scene.cut()
            self.assertEqual(len(scene.household.ended), 1)
            for language in factory.built:
                self.assertEqual(len(language.lost), where in ("offenceSeen", "makeConnection"))
            self.patch(Language, "makeConnection", _makeConnection)

    def test_bugs_at_the_end(self) -> None:
        scene = Scene(
            LanguageFactory("eth", {68: 17}), LanguageFactory("snap", {1: 8}), peerOffers=("eth/68", "snap/1")
        )
        scene.meet()
        eth, snap = (factory.built[0] for factory in scene.offers)
        eth.connectionLost = None  # type: ignore[assignment,method-assign]
        scene.household.sessionEnded = None  # type: ignore[assignment,method-assign]
        scene.cut()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)
        self.assertEqual(len(snap.lost), 1)

    def test_two_capabilities_and_the_first_leaves(self) -> None:
        """A capability that was never connected is not told that the connection is lost."""
        left: list[Language] = []

        def leave(self: Language, transport: Any) -> None:
            left.append(self)
            transport.disconnect(DisconnectReason.USELESS_PEER)

        self.patch(Language, "makeConnection", leave)
        scene = Scene(
            LanguageFactory("eth", {68: 17}), LanguageFactory("snap", {1: 8}), peerOffers=("eth/68", "snap/1")
        )
        scene.meet()
        scene.cut()
        eth, snap = (factory.built[0] for factory in scene.offers)
        self.assertEqual((left, len(eth.lost), len(snap.lost)), ([eth], 1, 0))


_makeConnection = Language.makeConnection


class FactoryTests(SynchronousTestCase):
    def factory(self, *offers: LanguageFactory, local: Any = None) -> SessionFactory:
        scene = Scene()
        return SessionFactory(local or LocalHello("us", OURS), offers, scene.household, wheel=scene.wheel)

    def test_names_that_hello_cannot_carry(self) -> None:
        for name in ("", "n" * (MAX_CAPABILITY_NAME + 1), "\xe9t\xe9", "a b", "a\n"):
            self.assertRaises(ConfigError, self.factory, LanguageFactory(name, {1: 1}))
        self.assertRaises(ConfigError, self.factory, LanguageFactory("a", {1: 1}), LanguageFactory("a", {2: 1}))

    def test_hello_may_change_between_sessions(self) -> None:
        ports = iter((0, 30303))
        factory = self.factory(local=lambda: LocalHello("us", OURS, next(ports)))
        sessions = [factory.buildProtocol(Address(THEIRS)) for _ in range(2)]
        self.assertEqual([session.engine._hello.listen_port for session in sessions], [0, 30303])
        self.assertIsInstance(sessions[0], Session)

    def test_start_and_stop(self) -> None:
        factory = self.factory()
        factory.doStart()
        factory.doStop()
        self.assertIsInstance(factory.buildProtocol(Address(THEIRS)), Session)

    def test_client_name(self) -> None:
        form = rf"ethp2p/v{re.escape(__version__)}/[a-z0-9]+-[a-z0-9_]+/python3\.\d+"
        self.assertRegex(client_name(), f"^{form}$")
        self.assertRegex(client_name("rack7"), "^ethp2p/rack7/v")

    def test_goodbye_fits_every_reason(self) -> None:
        for reason in DisconnectReason:
            scene = Scene().meet()
            scene.session.disconnect(reason)
            self.assertEqual(Disconnect.decode(scene.heard()[-1][1]).reason, reason)
