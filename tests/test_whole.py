"""
The node as twistd runs it, in processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.request import Request, urlopen

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p import config as config_module
from ethp2p import whole as whole_module
from ethp2p.config import NodeConfig
from ethp2p.crypto.keys import PrivateKey
from ethp2p.discovery.database import NodeDatabase
from ethp2p.discovery.service import DiscoveryService
from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.web import INodeFacade
from ethp2p.web.view import NodeView
from ethp2p.whole import WholeNode
from tests.spawn import ROOT, finish, start

KEY, OTHER = PrivateKey.parse(b"\x01" * 32), PrivateKey.parse(b"\x02" * 32)
GENESIS = '{"config": {"chainId": 5}, "difficulty": "0x1", "gasLimit": "0x1", "alloc": {}}'
#: Seconds for two nodes on one machine to meet.
PATIENCE = 20


class WholeNodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dir = Path(self.mktemp())

    def test_without_windows(self) -> None:
        whole = WholeNode(NodeConfig(datadir=self.dir, http="none", ipc="none"), MemoryReactorClock())
        self.assertEqual((whole.web, whole.ipc), (None, None))
        self.assertEqual(list(whole), [whole.node])

    def test_windows_stop_last(self) -> None:
        whole = WholeNode(NodeConfig(datadir=self.dir, ipc="/run/ethp2p.ipc"), MemoryReactorClock())
        self.assertEqual(list(whole), [whole.web, whole.ipc, whole.node])

    def test_a_datadir_too_deep_for_a_socket(self) -> None:
        deep = self.dir / ("d" * 108)
        self.assertIsNone(WholeNode(NodeConfig(datadir=deep), MemoryReactorClock()).ipc)
        self.assertRaises(ConfigError, WholeNode, NodeConfig(datadir=deep, ipc=str(deep / "it")), MemoryReactorClock())

    def test_settings_arrive(self) -> None:
        settings = NodeConfig(datadir=self.dir, nodekey=KEY.secret.hex(), identity="me", max_peers=7, network="hoodi")
        node = WholeNode(settings, MemoryReactorClock()).node
        self.assertEqual(node.local.public_key, KEY.public_key)
        self.assertTrue(node.client.startswith("ethp2p/me/v"))
        self.assertEqual((node.household.roster.max_peers, node.chain.network.network_id), (7, 560048))

    def test_what_is_set_is_kept(self) -> None:
        """Who is made static or trusted by C{config set} is so after a restart, as over JSON-RPC."""
        peers = [Node(PrivateKey.parse(bytes([each]) * 32).public_key, "10.0.0.1", 30303) for each in (3, 4)]
        settings = NodeConfig(
            datadir=self.dir, http="none", ipc="none", listen=["tcp:30303:interface=127.0.0.1"], no_discovery=True
        )
        for number in range(2):
            clock = MemoryReactorClock()
            whole = WholeNode(settings, clock)
            whole.startService()
            if not number:
                self.successResultOf(whole.node.household.trust(peers[0]))
                whole.setConfig({"trusted-peer": [peers[1].url], "static-peer": [peers[1].url]})
            roster = whole.node.household.roster
            self.assertEqual((roster.trusted, roster.static), ({peers[1].node_id},) * 2)
            self.successResultOf(whole.stopService())

    def test_settings_as_they_are_now(self) -> None:
        """They have in them who was named one by one, and giving them back changes nothing."""
        peers = [Node(PrivateKey.parse(bytes([each]) * 32).public_key, "10.0.0.1", 30303) for each in range(3, 7)]
        settings = NodeConfig(
            datadir=self.dir, http="none", ipc="none", static_peers=peers[:2], trusted_peers=peers[:2]
        )
        whole = WholeNode(settings, MemoryReactorClock())
        household = whole.node.household
        household.removePeer(peers[0])
        household.trust(peers[0], False)
        household.addPeer(peers[2])
        household.trust(peers[3])
        for _ in range(2):
            told = whole.setConfig({})
            self.assertEqual(told["static-peer"], [peers[1].url, peers[2].url])
            self.assertEqual(told["trusted-peer"], [peers[1].url, peers[3].url])
            whole.setConfig(told)
        self.assertEqual(household.roster.static, {peers[1].node_id, peers[2].node_id})
        self.assertEqual(household.roster.trusted, {peers[1].node_id, peers[3].node_id})

    def test_too_many_at_once(self) -> None:
        """More static or trusted peers than there may be are refused, and all stays as it was."""
        self.patch(config_module, "MAX_STATIC_PEERS", 3)
        self.patch(config_module, "MAX_TRUSTED", 2)
        peers = [Node(PrivateKey.parse(bytes([each]) * 32).public_key, "10.0.0.1", 30303) for each in range(3, 8)]
        settings = NodeConfig(
            datadir=self.dir, http="none", ipc="none", static_peers=peers[:1], trusted_peers=peers[:1]
        )
        whole = WholeNode(settings, MemoryReactorClock())
        before = whole.setConfig({})
        urls = [peer.url for peer in peers]
        for name, most in (("static-peer", 3), ("trusted-peer", 2)):
            error = self.assertRaises(ConfigError, whole.setConfig, {"max-peers": 7, name: urls})
            self.assertEqual(str(error), f"{name}: 5 are more than the {most} that there may be")
            self.assertEqual(whole.setConfig({}), before)
            self.assertEqual(whole.setConfig({name: urls[:most]})[name], urls[:most])
            whole.setConfig(before)
        roster = whole.node.household.roster
        self.assertEqual((roster.static, roster.trusted), ({peers[0].node_id},) * 2)

    def test_netrestrict_while_it_runs(self) -> None:
        """It reaches discovery as well, and is lifted there, too."""
        whole = WholeNode(NodeConfig(datadir=self.dir, http="none", ipc="none"), MemoryReactorClock())
        whole.setConfig({"netrestrict": "192.0.2.0/24"})  # there is no discovery yet
        whole.discovery = discovery = DiscoveryService(MemoryReactorClock(), whole.node.local, wall=lambda: 0.0)
        for networks, heard in (("10.0.0.0/8", False), ("", True)):
            whole.setConfig({"netrestrict": networks})
            far = Node(KEY.public_key, "192.0.2.1", 30303)
            self.assertEqual((discovery.sockets.gate.admits(far.host, 0.0), discovery._reachable(far)), (heard, heard))

    def test_the_view(self) -> None:
        node = WholeNode(NodeConfig(datadir=self.dir), MemoryReactorClock()).node
        view = NodeView(node, lambda values: {}, list, list)
        verifyObject(INodeFacade, view)
        self.assertEqual((view.listening, view.listen_address, view.peers()), (False, "", []))

    def test_a_place_that_cannot_be_written(self) -> None:
        (self.dir / "nodes.sqlite").mkdir(parents=True)  # no file can be opened there
        whole = WholeNode(NodeConfig(datadir=self.dir, http="none", ipc="none"), MemoryReactorClock())
        self.assertIn("cannot open the node database", whole.trouble)
        self.assertEqual(len(whole.database), 0)
        [finding] = [each for each in whole._readiness() if each.name == "node database"]
        self.assertEqual((finding.ok, finding.matters, finding.words), (False, False, whole.trouble))

    def test_another_was_faster(self) -> None:
        """Somebody takes the database between the first look at it and the start: the node ends."""
        reactor = MemoryReactorClock()
        whole = WholeNode(NodeConfig(datadir=self.dir, http="none", ipc="none", no_discovery=True), reactor)
        self.addCleanup(NodeDatabase(self.dir / "nodes.sqlite").close)
        last: list[str] = []
        self.patch(whole_module, "dieWith", lambda reactor, words: last.append(words))
        whole.startService()
        self.assertEqual(len(whole.database), 0)
        self.successResultOf(whole.stopService())
        [words] = last
        self.assertTrue(words.endswith("another process has it open"), words)

    def test_a_database_that_is_not_for_us(self) -> None:
        """It may be somebody's: the node does not start, and does not touch it."""
        self.dir.mkdir(parents=True)
        with closing(sqlite3.connect(self.dir / "nodes.sqlite")) as database:
            database.execute("CREATE TABLE other (it)")
        before = (self.dir / "nodes.sqlite").read_bytes()
        self.assertRaises(ConfigError, WholeNode, NodeConfig(datadir=self.dir), MemoryReactorClock())
        self.assertEqual((self.dir / "nodes.sqlite").read_bytes(), before)

    def test_a_chain_of_another_network(self) -> None:
        self.dir.mkdir(parents=True)
        (self.dir / "genesis.json").write_text(GENESIS)
        (self.dir / "chain.rlp").write_bytes(b"")
        settings = NodeConfig(datadir=self.dir, chain=self.dir, network="sepolia")
        message = str(self.assertRaises(ConfigError, WholeNode, settings, MemoryReactorClock()))
        self.assertTrue(message.endswith("its genesis is not the one of network 'sepolia'"), message)
        self.assertEqual(WholeNode(NodeConfig(datadir=self.dir, chain=self.dir), MemoryReactorClock()).running, 0)


class SpawnedTests(SynchronousTestCase):
    def start(self, *args: str) -> subprocess.Popen[str]:
        alone = ("--listen=tcp:0:interface=127.0.0.1", "--bootnodes=", "--dns=", "--netrestrict=127.0.0.0/8")
        command = [args[0]] if args and not args[0].startswith("-") else []
        process = start("ethp2p", *command, "--datadir", self.mktemp(), *alone, *args[len(command) :])
        self.addCleanup(process.kill)
        return process

    def said(self, process: subprocess.Popen[str], name: str) -> str:
        """What the node's console says under a name."""
        assert process.stdout is not None
        too_late = Timer(PATIENCE, process.kill)
        too_late.start()
        self.addCleanup(too_late.cancel)
        for line in process.stdout:
            found = re.search(rf" {name}: (\S+)$", line)
            if found:
                too_late.cancel()
                return found[1]
        raise self.failureException(f"it ended without telling its {name}: {process.communicate()[1]}")

    def ask(self, url: str, method: str, *params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=PATIENCE) as response:
            return json.load(response)["result"]

    def peers(self, url: str) -> list[Any]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            peers: list[Any] = self.ask(url, "admin_peers")
            if peers and "latestBlock" in peers[0]["protocols"]["eth"]:
                return peers
            time.sleep(0.02)
        raise self.failureException("they did not meet")

    def test_two_nodes_meet(self) -> None:
        one = self.start("--http=tcp:0", f"--nodekey={KEY.secret.hex()}")
        enode, _, page = self.said(one, "enode"), self.said(one, "record"), self.said(one, "JSON-RPC")
        two = self.start("--http=tcp:0", f"--nodekey={OTHER.secret.hex()}", f"--static-peer={enode}")
        other_page = self.said(two, "JSON-RPC")

        info = self.ask(page, "admin_nodeInfo")
        self.assertEqual((info["enode"], info["id"]), (enode, KEY.public_key.node_id.hex()))
        self.assertEqual(info["listenAddr"], f"127.0.0.1:{info['ports']['listener']}")
        self.assertEqual(info["protocols"]["eth"]["network"], 1)
        [caller], [called] = self.peers(page), self.peers(other_page)
        self.assertEqual((caller["id"], called["id"]), (OTHER.public_key.node_id.hex(), info["id"]))
        network = caller["network"]
        self.assertEqual(
            (network["inbound"], network["static"], network["localAddress"]), (True, False, info["listenAddr"])
        )
        network = called["network"]
        self.assertEqual(
            (network["inbound"], network["static"], network["remoteAddress"]), (False, True, info["listenAddr"])
        )
        self.assertEqual(called["enode"].split("?")[0], enode.split("?")[0])
        self.assertIn("eth/69", called["caps"])
        self.assertEqual(called["protocols"]["eth"]["version"], 69)
        self.assertEqual(self.ask(page, "net_peerCount"), "0x1")
        self.assertIs(self.ask(other_page, "admin_removePeer", enode), True)

        hello = json.loads(self.ping("--json", enode).stdout)
        self.assertEqual((hello["id"], hello["listenPort"]), (info["id"], info["ports"]["listener"]))
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
            done = finish(process, deadline=5)  # the promise of the manual
            self.assertEqual((done.returncode, done.stderr), (-signal.SIGTERM, ""))
            self.assertRegex(done.stdout, r"(->|<-) [0-9a-f]{8} 127\.0\.0\.1:\d+ met: ethp2p/")
            self.assertNotIn("Traceback", done.stdout)
        gone = self.ping(enode)
        self.assertEqual((gone.returncode, gone.stdout), (1, ""))
        self.assertRegex(gone.stderr, "^ethp2p: the peer cannot be reached: .*\n$")

    def test_found_through_a_bootnode(self) -> None:
        """Two nodes that know a bootnode only find each other, one by discv4 and one by discv5."""
        for version in ("4", "5"):
            other = {"4": "5", "5": "4"}[version]
            boot = self.said(self.start("bootnode"), "record")
            options = ("--http=tcp:0", f"--bootnodes={boot}", f"--no-discv{other}")
            pages = [self.said(self.start(*options), "JSON-RPC") for _ in range(2)]
            [one], [two] = self.peers(pages[0]), self.peers(pages[1])
            self.assertEqual({one["network"]["inbound"], two["network"]["inbound"]}, {True, False})

    def ping(self, *args: str) -> subprocess.CompletedProcess[str]:
        """C{ethp2p rlpx ping}, in a process of its own because it runs the global reactor."""
        program = "import sys; from ethp2p.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", program, "rlpx", "ping", *args],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def test_a_daemon_keeps_what_it_has_open(self) -> None:
        """A lock is not kept across the fork that makes a daemon: a second node would write to the same files."""
        datadir, pidfile, log = (str(Path(self.mktemp()).absolute()) for _ in range(3))
        options = ("ethp2p", f"--datadir={datadir}", "--listen=tcp:0:interface=127.0.0.1", "--http=none")
        options += ("--no-discovery",)
        done = finish(start(*options, first=(f"--pidfile={pidfile}", f"--logfile={log}")))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.addCleanup(os.kill, int(Path(pidfile).read_text()), signal.SIGKILL)
        done = finish(start(*options))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertRegex(done.stderr, r"^ethp2p: cannot open the node database .*: another process has it open$")

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for args in (("--http=none", f"--listen=tcp:{port}:interface=127.0.0.1"), (f"--http=tcp:{port}",)):
                done = finish(self.start(*args))
                self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
                self.assertRegex(done.stderr, rf"^ethp2p: cannot listen on .*{port}.*: Address already in use$")
                self.assertNotIn("Traceback", done.stdout)
