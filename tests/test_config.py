"""
Settings: what values are good, which one counts, and what is printed.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import config, networks
from ethp2p.config import MAX_FILE, OPTIONS, NodeConfig, assemble, read_file
from ethp2p.crypto.keys import PrivateKey, save_key
from ethp2p.enode import Netrestrict, Node
from ethp2p.errors import ConfigError
from ethp2p.kinds import HIDDEN

KEY = PrivateKey.parse(b"\x01" * 32)
ENODE = Node(KEY.public_key, "10.0.0.1", 30303, 30304).url
ENR = (
    "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlw"
    "hH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8"
)
TREE = "enrtree://AKA3AM6LPBYEUDMVNU3BSVQJ5AD45Y7YPOHJLEF6W26QOE4VTUDPE@all.mainnet.ethdisco.net"
GENESIS = '{"config": {"chainId": 5}, "difficulty": "0x1", "gasLimit": "0x1", "alloc": {}}'


class ValueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dir = Path(self.mktemp()).absolute()
        self.dir.mkdir(parents=True)
        (self.dir / "genesis.json").write_text(GENESIS)

    def test_good_values(self) -> None:
        table: list[tuple[str, Any, Any]] = [
            ("network", "sepolia", "sepolia"),
            ("network", str(self.dir / "genesis.json"), str(self.dir / "genesis.json")),
            ("port", "0", 0),
            ("port", 65535, 65535),
            ("max_peers", "0", 0),
            ("datadir", "relative", Path("relative").absolute()),
            ("datadir", "~/x", Path.home() / "x"),
            ("chain", str(self.dir), self.dir),
            ("chain", "", None),
            ("listen", "tcp:1", ("tcp:1",)),
            ("listen", ["tcp:1", "tcp6:2:interface=\\:\\:1"], ("tcp:1", "tcp6:2:interface=\\:\\:1")),
            ("nodekey", "0x" + "AB" * 32, "ab" * 32),
            ("nodekey", "file", str(Path("file").absolute())),
            ("identity", "", ""),
            ("identity", "my-node.1", "my-node.1"),
            ("static_peers", [ENODE, ENR], (Node.parse(ENODE), Node.parse(ENR))),
            ("trusted_peers", ENODE, (Node.parse(ENODE),)),
            ("bootnodes", "network", None),
            ("bootnodes", "", ()),
            ("bootnodes", f"{ENODE}, {ENR}", (Node.parse(ENODE), Node.parse(ENR))),
            ("bootnodes", [ENR], (Node.parse(ENR),)),
            ("dns", "", ()),
            ("dns", TREE, (TREE,)),
            ("no_discovery", "true", True),
            ("no_discv4", False, False),
            ("nat", "extip:203.0.113.5", "extip:203.0.113.5"),
            ("nat", "stun", "stun"),
            ("netrestrict", "", None),
            ("netrestrict", "127.0.0.0/8,::1/128", Netrestrict.parse("127.0.0.0/8,::1/128")),
            ("http", "none", ""),
            ("http", "", ""),
            ("http", "tcp:1", "tcp:1:interface=127.0.0.1"),
            ("http", "tcp:port=1", "tcp:port=1:interface=127.0.0.1"),
            ("http", "tcp:1:backlog=5", "tcp:1:backlog=5:interface=127.0.0.1"),
            ("http", "tcp6:1", "tcp6:1:interface=\\:\\:1"),
            ("http", "tcp:1:interface=0.0.0.0", "tcp:1:interface=0.0.0.0"),
            ("http", "tcp:1:0.0.0.0", "tcp:1:0.0.0.0"),
            ("http", "unix:/run/ethp2p.sock", "unix:/run/ethp2p.sock:mode=600"),
            ("http", "unix:/run/ethp2p.sock:mode=660", "unix:/run/ethp2p.sock:mode=660"),
            ("http", "unix:/run/ethp2p.sock:660:backlog=9", "unix:/run/ethp2p.sock:660:backlog=9"),
        ]
        for field, value, expected in table:
            with self.subTest(field=field, value=value):
                made = NodeConfig(**{field: value})
                self.assertEqual(getattr(made, field), expected)
                self.assertEqual(attrs.evolve(made), made, "a good value is not good twice")

    def test_bad_values(self) -> None:
        table: list[tuple[str, Any, str]] = [
            ("network", "manet", "network 'manet': neither a known network (mainnet, "),
            ("network", 1, "network 1: not a text"),
            ("port", "x", "port 'x': not a whole number from 0 to 65535"),
            ("port", "65536", "port '65536': not a whole"),
            ("port", "٣", "port '٣': not a whole"),
            ("port", -1, "port -1: not a whole"),
            ("port", True, "port True: not a whole"),
            ("port", 1.0, "port 1.0: not a whole"),
            ("port", {"a": 1}, "port {'a': 1}: not a whole"),
            ("max_peers", "-1", "max-peers '-1': not a whole number from 0 to 100000"),
            ("chain", "/nowhere", "chain '/nowhere': not a directory with a genesis.json"),
            ("listen", "30303", "listen '30303': not a server endpoint: "),
            ("listen", ["tcp:1", "tcp"], "listen 'tcp': not a server endpoint: "),
            ("http", "tcp:x", "http 'tcp:x': not a server endpoint: "),
            ("listen", "tcp:65536", "listen 'tcp:65536': port 65536 is not a number from 0 to 65535"),
            ("http", "tcp6:interface=\\:\\:1:port=-1", "http 'tcp6:interface=\\\\:\\\\:1:port=-1': port -1 is not"),
            ("http", "http://localhost", "http 'http://localhost': not a server endpoint: "),
            ("identity", "a/b", "identity 'a/b': not at most 32"),
            ("identity", "a b", "identity 'a b': not at most 32"),
            ("identity", "a" * 33, "identity 'aaa"),
            ("static_peers", "10.0.0.1", "static-peer '10.0.0.1' starts with neither 'enode://' nor 'enr:'"),
            ("static_peers", [ENODE, ENODE + "x"], "static-peer 'enode://"),
            ("trusted_peers", 5, "trusted-peer 5 is not a text"),
            ("bootnodes", ENODE + ",x", "bootnodes "),
            ("bootnodes", 5, "bootnodes 5: neither a text nor a list"),
            ("dns", "enrtree://x", "dns 'enrtree://x': 'enrtree://x': the URL of a node list has no key before an '@'"),
            ("no_discovery", "yes", "no-discovery 'yes': neither true nor false"),
            ("nat", "magic", "nat 'magic': 'magic' is no way to learn an address"),
            ("netrestrict", "10.0.0.0/40", "netrestrict '10.0.0.0/40': "),
            ("min_peers", 51, "min-peers: 51 is over max-peers, which is 50"),
            ("ban_below", 30, "ban-below: 30 is over disconnect-below, 20"),
            ("dial_ratio", 0, "dial-ratio 0: not a whole number from 1 to 100000"),
            ("inbound_throttle", "soon", "inbound-throttle 'soon': not a number from 0 to 3600"),
            ("inbound_throttle", True, "inbound-throttle True: not a number"),
            ("inbound_throttle", float("nan"), "inbound-throttle nan: not a number"),
            ("refuse_clients", ["geth", "("], "refuse-client '(': "),
            ("weights", "timeout", "weight 'timeout': not an offence, '=' and a number of points"),
            ("weights", "timeout=-1", "weight 'timeout=-1': not an offence, '='"),
            ("weights", "lateness=3", "weight 'lateness=3': there is no offence or merit 'lateness'"),
            ("peer_store", 5, "peer-store (hidden): not a text"),
            ("peer_store", f"postgres://me:{HIDDEN}@db", "peer-store (hidden): a password is not shown"),
            ("ipc", 5, "ipc 5: not a text"),
            ("nodekey", "0" * 64, "nodekey (hidden): a private key is 32 bytes between"),
            ("nodekey", "a" * 63, "nodekey (hidden): a private key is 64 hex digits, this has 63"),
            ("nodekey", HIDDEN, "nodekey (hidden): a key is not shown"),
            ("nodekey", 5, "nodekey (hidden): not a text"),
            ("network", "x" * 256, "network 'xxx"),
            ("chain", "x" * 256, "chain 'xxx"),
            ("datadir", Path("~nobody.here/x"), "datadir '~nobody.here/x': no home directory is known here"),
            ("datadir", "a\0b", "datadir 'a\\x00b': not a path"),
            ("peer_store", "", "peer-store (hidden): not a path"),
        ]
        for field, value, start in table:
            with self.subTest(field=field, value=value):
                message = str(self.assertRaises(ConfigError, NodeConfig, **{field: value}))
                self.assertTrue(message.startswith(start), message)
                self.assertNotIn("\n", message)

    def test_udp_addresses(self) -> None:
        for endpoint, expected in [
            ("tcp:30303", [("0.0.0.0", 30303)]),
            ("tcp:port=5:interface=127.0.0.1", [("127.0.0.1", 5)]),
            ("tcp:5:127.0.0.1", [("127.0.0.1", 5)]),
            ("tcp6:5", [("::", 5)]),
            ("tcp6:5:interface=\\:\\:1", [("::1", 5)]),
            ("unix:/run/x", []),
        ]:
            self.assertEqual(NodeConfig(listen=endpoint).udp_addresses(), expected)

    @given(st.sampled_from(OPTIONS), st.text() | st.integers() | st.floats() | st.booleans() | st.none())
    def test_any_value_is_taken_or_refused(self, option: config.Option, value: object) -> None:
        try:
            option.convert(value)
        except ConfigError as error:
            self.assertTrue(str(error).startswith(option.name))
            self.assertNotIn("\n", str(error))

    def test_defaults(self) -> None:
        self.patch(os, "environ", {**os.environ, "XDG_DATA_HOME": str(self.dir)})
        made = NodeConfig()
        self.assertEqual(made.datadir, self.dir / "ethp2p")
        self.assertEqual(made.nodekey, str(self.dir / "ethp2p" / "nodekey"))
        self.assertEqual((made.network, made.listen, made.max_peers), ("mainnet", ("tcp:30303",), 50))
        self.assertEqual(made.http, "tcp:8650:interface=127.0.0.1")
        self.assertEqual(NodeConfig(port=7).listen, ("tcp:7",))
        os.environ["XDG_DATA_HOME"] = "relative"  # which the XDG specification says to ignore
        self.assertEqual(NodeConfig().datadir, Path.home() / ".local" / "share" / "ethp2p")

    def test_the_chain_served_is_the_network(self) -> None:
        made = NodeConfig(chain=self.dir)
        self.assertEqual(made.network, str(self.dir / "genesis.json"))
        self.assertEqual(made.load_network().chain_id, 5)
        self.assertEqual(NodeConfig(chain=self.dir, network="hoodi").network, "hoodi")

    def test_networks(self) -> None:
        for name in networks.NAMES:
            self.assertIs(NodeConfig(network=name).load_network(), networks.named(name))
        (self.dir / "genesis.json").write_text("{")
        self.assertRaises(ConfigError, NodeConfig(network=str(self.dir / "genesis.json")).load_network)

    def test_repr_hides_the_key(self) -> None:
        self.assertNotIn("01" * 32, repr(NodeConfig(nodekey="01" * 32)))


class NodeKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dir = Path(self.mktemp()).absolute()

    def test_hex(self) -> None:
        self.assertEqual(NodeConfig(nodekey="01" * 32).load_nodekey().secret, KEY.secret)

    def test_file(self) -> None:
        self.dir.mkdir(parents=True)
        save_key(self.dir / "key", KEY)
        self.assertEqual(NodeConfig(nodekey=str(self.dir / "key")).load_nodekey().secret, KEY.secret)

    def test_made_once_for_the_owner_only(self) -> None:
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        made = NodeConfig(datadir=self.dir / "deep" / "er")
        key = made.load_nodekey()
        self.assertEqual(made.load_nodekey().secret, key.secret)
        self.assertEqual(Path(made.nodekey).stat().st_mode & 0o777, 0o600)
        self.assertEqual(made.datadir.stat().st_mode & 0o777, 0o700)

    def test_a_file_that_was_named_is_never_made(self) -> None:
        missing = NodeConfig(datadir=self.dir, nodekey=str(self.dir / "other"))
        self.assertIn("other", str(self.assertRaises(ConfigError, missing.load_nodekey)))
        self.assertFalse(self.dir.exists())

    def test_a_datadir_that_cannot_be(self) -> None:
        self.dir.write_text("a file")
        error = self.assertRaises(ConfigError, NodeConfig(datadir=self.dir / "x").load_nodekey)
        self.assertTrue(str(error).startswith(f"datadir '{self.dir / 'x'}': "))
        error = self.assertRaises(ConfigError, NodeConfig(datadir="x" * 256).load_nodekey)  # not even looked into
        self.assertTrue(str(error).startswith("datadir '"))


class AssembleTests(SynchronousTestCase):
    def file(self, text: str | bytes) -> str:
        path = self.mktemp()
        Path(path).write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def test_precedence(self) -> None:
        path = self.file('port = 1\nmax-peers = 7\nlisten = ["tcp:5", "tcp:6"]\nstatic-peer = []')
        settings = assemble({"port": ["2", "3"], "static-peer": [ENODE, ENR]}, path)
        made = settings.config
        self.assertEqual((made.port, made.max_peers, made.listen, made.network), (3, 7, ("tcp:5", "tcp:6"), "mainnet"))
        self.assertEqual(made.static_peers, (Node.parse(ENODE), Node.parse(ENR)))
        self.assertEqual(
            settings.sources,
            {"port": "command line", "max-peers": path, "listen": path, "static-peer": "command line"},
        )

    def test_every_option_is_a_key(self) -> None:
        self.assertEqual(len({option.name for option in OPTIONS}), len(attrs.fields(NodeConfig)))
        for option in OPTIONS:
            self.assertNotIn("_", option.name)
            self.assertTrue(option.help.endswith("."))
            value = "[]" if option.many else '"1"'
            try:
                settings = assemble({}, self.file(f"{option.name} = {value}"))
            except ConfigError as error:  # of the value, which is not the key's fault
                self.assertNotIn("unknown", str(error))
            else:
                self.assertIn(option.name, settings.sources)

    def test_where_a_bad_value_stands(self) -> None:
        path = self.file("port = 99999")
        self.assertEqual(
            str(self.assertRaises(ConfigError, assemble, {}, path)),
            f"{path}: port 99999: not a whole number from 0 to 65535",
        )
        self.assertEqual(
            str(self.assertRaises(ConfigError, assemble, {"port": ["x"]}, None)),
            "--port 'x': not a whole number from 0 to 65535",
        )

    def test_files_that_are_none(self) -> None:
        table = [
            ("max-peer = 1", "unknown key 'max-peer'; did you mean 'max-peers'?"),
            ("static_peer = []", "unknown key 'static_peer'; did you mean 'static-peer'?"),
            ("zzz = 1", "unknown key 'zzz'"),
            ("[port]\nx = 1", "port {'x': 1}: not a whole number from 0 to 65535"),
            ("port = ", "not TOML: "),
            ("port = 1\nport = 2", "not TOML: "),
            (b"\xff", "not TOML: "),
            ("x = " + "[" * 100_000, "not TOML: "),
            (b"#" * (MAX_FILE + 1), f"over {MAX_FILE} bytes, which is no configuration"),
        ]
        for text, start in table:
            path = self.file(text)
            message = str(self.assertRaises(ConfigError, assemble, {}, path))
            self.assertTrue(message.startswith(f"{path}: {start}"), message[:200])
            self.assertNotIn("\n", message)
        self.assertEqual(
            str(self.assertRaises(ConfigError, read_file, "/nowhere/x")), "/nowhere/x: No such file or directory"
        )


class PrintTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        given = {
            "identity": ['quo"te\\'],
            "datadir": ["/var/lib/a b\x7f\tü"],
            "static-peer": [ENODE, ENR],
            "listen": ["tcp:1", "tcp6:2:interface=\\:\\:1"],
            "http": ["none"],
            "max-peers": ["9"],
            "inbound-throttle": ["2.5"],
            "refuse-client": ["(?i)geth/v1\\.9", 'a"b'],
            "weight": ["timeout=2", "bad-message=0.5"],
            "ipc": ["none"],
        }
        settings = assemble(given)
        path = self.mktemp()
        Path(path).write_text(settings.toml())
        again = assemble({}, path)
        self.assertEqual(again.config, settings.config)
        self.assertEqual(set(again.sources.values()), {path})
        self.assertEqual([*tomllib.loads(settings.toml())], [option.name for option in OPTIONS])

    def test_provenance(self) -> None:
        path = self.mktemp()
        Path(path).write_text("max-peers = 3")
        lines = assemble({"port": ["5"]}, path).toml().splitlines()
        for line in ("port = 5  # command line", f"max-peers = 3  # {path}", 'network = "mainnet"  # default'):
            self.assertIn(line, lines)

    def test_no_secret_is_printed(self) -> None:
        text = assemble({"nodekey": ["01" * 32]}).toml()
        self.assertNotIn("01" * 32, text)
        self.assertIn('nodekey = "(hidden)"  # command line\n', text)
        self.assertIn('nodekey = "/run/key"', assemble({"nodekey": ["/run/key"]}).toml())
        for store, shown in (
            ("postgresql://me:s3cret@db/peers", "postgresql://me:(hidden)@db/peers"),
            ("postgres://me@db/peers?password=s3cret&sslmode=require", "me@db/peers?password=(hidden)&sslmode=require"),
        ):
            settings = assemble({"peer-store": [store]})
            self.assertEqual(settings.config.peer_store, store)
            self.assertIn(shown, settings.toml())
            self.assertNotIn("s3cret", settings.toml() + repr(settings.config))

    def test_changed_while_it_runs(self) -> None:
        config = NodeConfig(datadir="/nowhere", max_peers=9)
        for few in (2, 0, 9):  # as if it had begun with them
            config = config.changed({"max-peers": few})
            self.assertEqual(config, NodeConfig(datadir="/nowhere", max_peers=few))
        self.assertEqual(config.changed({"min-peers": 2}).changed({"max-peers": 20}).min_peers, 2)
        changed = config.changed({"max-peers": 20, "refuse-client": ["x"], "netrestrict": "10.0.0.0/8"})
        self.assertEqual((changed.policy().max_peers, changed.policy().refuse_clients), (20, ("x",)))
        self.assertEqual((changed.datadir, changed.port), (config.datadir, config.port))
        self.assertEqual(changed.changed(changed.live()), changed)  # what is told can be given back
        for values, words in (
            ({"port": 5}, "port cannot be changed while the node runs; these can: static-peer, "),
            ({"max_peers": 5}, "max_peers cannot be changed"),
            ({"max-peers": 20, "dial-ratio": 0}, "dial-ratio 0: not a whole number"),
            ({"max-peers": 2, "min-peers": 3}, "min-peers: 3 is over max-peers, which is 2"),
        ):
            message = str(self.assertRaises(ConfigError, config.changed, values))
            self.assertTrue(message.startswith(words), message)

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_survives(self, text: str) -> None:
        self.assertEqual(tomllib.loads(f"x = {config._toml(text)}"), {"x": text})
