"""
The windows of C{twistd -n ethp2p}, and who looks through them: geth's console, subscribers, and our own C{ethp2p}.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from ethp2p.enode import Node as Address
from tests.interop.peers import Geth, Twistd, attach, call, run_ethp2p
from tests.interop.process import free_port, until
from tests.interop.us import MEETING
from tests.interop.websocket import Subscriber, subscribe
from tests.interop.with_geth import GethTestCase, agreed, node_of


def shape(value: Any) -> Any:
    """The names in a JSON value and the kinds of its values, without the values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def layout(printed: str) -> str:
    """What geth's console has printed, without the values."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', printed)
    return re.sub(r"\b(?:[0-9]+|true|false)\b", "0", re.sub(r'""(?:, "")+', '""', text))


class WindowsTestCase(GethTestCase):
    """
    With a node that has a unix socket, too.
    """

    async def setUp(self) -> None:
        await super().setUp()
        # the path of a socket has to be short
        short = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, short, ignore_errors=True)
        self.socket = str(short / "node.ipc")
        self.node = await node_of(self, self.room, f"--ipc={self.socket}", "--no-discovery")

    def id_of(self, one: Geth | Twistd) -> str:
        """In hex."""
        return Address.parse(one.enode).node_id.hex()

    async def meet(self) -> None:
        """We call geth, and both see each other on the same chain."""
        self.assertTrue(await call(self.node.url, "admin_addPeer", self.geth.enode))
        for url in (self.geth.url, self.node.url):
            await until(lambda url=url: agreed(url), MEETING)

    async def alone(self) -> None:
        """Wait until both have no peers."""
        for url in (self.geth.url, self.node.url):
            await until(lambda url=url: self._lonely(url), MEETING)

    async def _lonely(self, url: str) -> bool:
        return not await call(url, "admin_peers")


class Attached(WindowsTestCase):
    """
    C{geth attach} shows of us and does with us what it does with geth.
    """

    async def ours(self, statement: str) -> str:
        """What geth's console says, attached to us."""
        return await attach(self.where, statement, self.room)

    async def theirs(self, statement: str) -> str:
        """What geth's console says, attached to geth."""
        return await attach(self.geth.url, statement, self.room)

    async def value(self, where: str, statement: str) -> Any:
        """What geth's console has for a statement, attached there."""
        printed = await attach(where, f"JSON.stringify({statement})", self.room)
        return json.loads(json.loads(printed))  # it is shown as a text

    async def test_http(self) -> None:
        """
        Over HTTP.
        """
        await self.session(self.node.url)

    async def test_ipc(self) -> None:
        """
        Over the unix socket.
        """
        await self.session(self.socket)

    async def test_websocket(self) -> None:
        """
        Over a WebSocket.
        """
        await self.session(self.node.url.replace("http:", "ws:") + "/ws")

    async def session(self, where: str) -> None:
        """All that an operator does there with peers."""
        self.where = where
        self.assertEqual(await self.ours("net.peerCount"), "0")
        self.assertEqual(layout(await self.ours("admin.peers")), layout(await self.theirs("admin.peers")))
        await self.check_own()

        self.assertEqual(await self.ours(f"admin.addPeer('{self.geth.enode}')"), "true")
        for url in (self.geth.url, self.node.url):
            await until(lambda url=url: agreed(url), MEETING)
        self.assertEqual(await self.ours("net.peerCount"), "1")
        self.assertEqual(await self.theirs("net.peerCount"), "1")
        await self.check_peers()

        self.assertEqual(await self.flagged(), {"inbound": False, "trusted": False, "static": True})
        self.assertEqual(await self.ours(f"admin.addTrustedPeer('{self.geth.enode}')"), "true")
        self.assertEqual(await self.flagged(), {"inbound": False, "trusted": True, "static": True})
        self.assertEqual(await self.ours(f"admin.removeTrustedPeer('{self.geth.enode}')"), "true")
        self.assertEqual(await self.flagged(), {"inbound": False, "trusted": False, "static": True})

        self.assertEqual(await self.ours(f"admin.removePeer('{self.geth.enode}')"), "true")
        await self.alone()
        self.assertEqual(await self.ours("net.peerCount"), "0")

    async def check_own(self) -> None:
        """Of itself a node tells the same things as geth, but for what geth alone has."""
        ours, theirs = await self.value(self.where, "admin.nodeInfo"), await self.about_geth()
        self.assertEqual(ours["enode"], self.node.enode)
        self.assertEqual(ours["id"], self.id_of(self.node))
        self.assertEqual(shape(ours), shape(theirs))
        for statement in ("net.version", "net.listening", "web3.version.node", "web3.sha3('0x00', {encoding: 'hex'})"):
            self.assertEqual(layout(await self.ours(statement)), layout(await self.theirs(statement)), statement)

    async def about_geth(self) -> dict[str, Any]:
        """What geth tells of itself, without its languages beside eth and the forks of its chain."""
        about: dict[str, Any] = await self.value(self.geth.url, "admin.nodeInfo")
        eth = about["protocols"]["eth"]
        del eth["config"]
        return {**about, "protocols": {"eth": eth}}

    async def check_peers(self) -> None:
        """Of its peer a node tells the same things as geth, and they look the same."""
        ours, theirs = [await self.value(where, "admin.peers") for where in (self.where, self.geth.url)]
        self.assertEqual(shape(ours), shape(theirs))
        self.assertEqual(layout(await self.ours("admin.peers")), layout(await self.theirs("admin.peers")))

    async def flagged(self) -> dict[str, bool]:
        """What geth is to us."""
        network = await self.value(self.where, "admin.peers[0].network")
        return {name: network[name] for name in ("inbound", "trusted", "static")}


class Events(WindowsTestCase):
    """
    C{admin_peerEvents} of ours, and of geth.
    """

    async def setUp(self) -> None:
        port = free_port()
        self.flags = ("--ws", f"--ws.port={port}", "--ws.api=admin")
        await super().setUp()
        self.us = await self.subscribed(self.node.url.replace("http:", "ws:") + "/ws")
        self.them = await self.subscribed(f"ws://127.0.0.1:{port}")

    async def subscribed(self, url: str) -> Subscriber:
        """One who hears of peers until the end of the test."""
        subscriber = await subscribe(url, "admin", "peerEvents")
        self.addCleanup(lambda: Deferred.fromCoroutine(subscriber.stop()))
        return subscriber

    async def test_add_drop(self) -> None:
        """
        A peer comes and goes: both tell the same of it.
        """
        await self.meet()
        ours, theirs = await self.us.next(), await self.them.next()
        self.assertEqual((ours["type"], ours["peer"]), ("add", self.id_of(self.geth)))
        self.assertEqual((theirs["type"], theirs["peer"]), ("add", self.id_of(self.node)))
        self.assertEqual(shape(ours), shape(theirs))
        await call(self.node.url, "admin_removePeer", self.geth.enode)
        ours, theirs = await self.us.next(), await self.them.next()
        self.assertEqual((ours["type"], ours["peer"]), ("drop", self.id_of(self.geth)))
        self.assertEqual((theirs["type"], theirs["peer"]), ("drop", self.id_of(self.node)))
        self.assertEqual(shape(ours), shape(theirs))


class Asked(WindowsTestCase):
    """
    C{ethp2p} asks the node about geth, and says what to do with it.
    """

    async def ask(self, *words: str, status: int = 0) -> str:
        """What it prints; it has to end with this exit status."""
        done = await run_ethp2p(*words, f"--rpc={self.socket}", folder=self.room)
        self.assertEqual(done.code, status, done.output)
        return done.output

    async def explained(self) -> dict[str, Any]:
        """What is known of geth."""
        known: dict[str, Any] = json.loads(await self.ask("peer", "explain", self.id_of(self.geth), "--json"))
        return known

    async def test_banned(self) -> None:
        """
        A geth whose id is banned is not let in, and both the reason and the ban are told.
        """
        banned = self.id_of(self.geth)
        self.assertIn("is banned until", await self.ask("peer", "ban", banned, "--for=1h", "--reason=it is a test"))
        self.assertIn(banned, await self.ask("bans"))
        await self.geth.rpc("admin_addPeer", self.node.enode)

        async def refused() -> Any:
            return (await self.explained())["refusals"]

        newest = (await until(refused, MEETING))[0]
        self.assertEqual(newest["rule"], "banned")
        self.assertEqual(await self.geth.rpc("admin_peers"), [])
        words = await self.ask("peer", "explain", banned)
        self.assertRegex(words, r"^It is banned until [^\n]*it is a test")
        self.assertRegex(words, r"Not let in when it called[^\n]*\n[^\n]* from 127\.0\.0\.1:[0-9]+: .*it is a test")
        self.assertIn("no peers", await self.ask("peers"))

        self.assertIn("the ban is lifted", await self.ask("peer", "unban", banned))
        await self.ask("peer", "unban", banned, status=1)
        self.assertIn("no bans", await self.ask("bans"))
        await self.ask("peer", "add", self.geth.enode)
        await until(lambda: agreed(self.node.url), MEETING)

    async def test_statuses(self) -> None:
        """
        Each verb ends with the status that the operator's guide promises.
        """
        self.assertIn("no peers", await self.ask("peers"))
        self.assertRegex(await self.ask("doctor", status=1), r"FAULT +peers ")
        await self.ask("peer", "remove", self.geth.enode, status=1)
        await self.ask("peer", "add", "enode://nobody", status=1)
        await self.ask("peers", "--nonsense", status=2)
        there = await run_ethp2p("peers", f"--rpc={self.socket}x", folder=self.room)
        self.assertEqual(there.code, 3, there.output)

        await self.meet()
        peers = await self.ask("peers")
        self.assertRegex(peers, rf"{self.id_of(self.geth)[:16]} +out +static +127\.0\.0\.1:[0-9]+ +eth/69 +Geth/")
        self.assertRegex(await self.ask("funnel"), r"Status +1\b")
        self.assertIn("It is a peer.", await self.ask("peer", "explain", self.geth.enode))
        await self.ask("config", "set", "min-peers=1")
        self.assertIn("all is well", await self.ask("doctor"))
        await self.ask("config", "set", "min-peers=many", status=1)
        await self.ask("peer", "remove", self.id_of(self.geth))
        await self.alone()
