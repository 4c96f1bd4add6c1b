"""
The one-shots that need no network: what they print, and how they fail.
"""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p.cli import running, show, verbs
from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey, load_key, save_key
from ethp2p.enr import EthEntry, Record
from ethp2p.enr.entries import ETH, ID, TCP, Entry
from tests.cli.support import ENVIRONMENT, VerbCase

KEY = PrivateKey.parse(b"\x01" * 32)
ENR = (
    "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlw"
    "hH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8"
)
URL = (
    "enode://ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7266c44e9e6d569fc56be0"
    "0812904767bf5ccd1fc7f@127.0.0.1:0?discport=30303"
)


class VerbTests(VerbCase):
    def setUp(self) -> None:
        super().setUp()
        self.key = self.mktemp()

    def test_key_generate(self) -> None:
        self.assertEqual(self.works("key", "generate", self.key), "")
        self.assertEqual(Path(self.key).stat().st_mode & 0o777, 0o600)
        secret = load_key(self.key).secret
        self.assertIn("File exists", self.fails(1, "key", "generate", self.key))
        self.assertEqual(load_key(self.key).secret, secret)
        other = self.mktemp()
        self.assertEqual(self.value("key", "generate", other), self.value("key", "to-id", other))

    def test_key_to_id(self) -> None:
        save_key(self.key, KEY)
        self.assertEqual(self.works("key", "to-id", self.key), KEY.public_key.node_id.hex() + "\n")
        self.assertEqual(self.value("key", "to-id", self.key), {"id": KEY.public_key.node_id.hex()})
        self.assertTrue(self.fails(1, "key", "to-id", self.key + "x").startswith("ethp2p: cannot read key file"))

    def test_key_to_enode(self) -> None:
        save_key(self.key, KEY)
        start = f"enode://{KEY.public_key.raw.hex()}@"
        self.assertEqual(self.works("key", "to-enode", self.key), f"{start}127.0.0.1:30303\n")
        args = ("--ip", "2001:db8::1", "--tcp", "5", "--udp", "6")
        self.assertEqual(self.works("key", "to-enode", self.key, *args), f"{start}[2001:db8::1]:5?discport=6\n")
        self.assertEqual(self.value("key", "to-enode", self.key), {"enode": f"{start}127.0.0.1:30303"})
        self.fails(1, "key", "to-enode", self.key, "--ip", "not an address")

    def test_key_to_enr(self) -> None:
        """geth's tool gives the very same."""
        save_key(
            self.key,
            PrivateKey.parse(bytes.fromhex("afef637315a467318a853aaddf5b54abdf5bf5f87b50d3da8311f2623b9cf3d1")),
        )
        for args, text in (
            (
                (),
                "enr:-Iu4QJ3uXC2Q13GJfr4bNTnKsgXmMTHt6myW6gR9Y_Tr_z4RSZbeVAjcaPrWueTTUAZjdTbI8vLFE2SfizLXbmNAkBuAgmlkgnY0gmlw"
                "hH8AAAGJc2VjcDI1NmsxoQJ6v_OyaENAp5hxjOvzRYgHKsLvFUMSwfzyHaeqXb1yi4N0Y3CCdl-DdWRwgnZf",
            ),
            (
                ("--ip", "2001:db8::1", "--tcp", "5", "--udp", "6"),
                "enr:-JS4QD_XkqYMn_pQpERpQnjGgL95RH1FGfg9SPqFkkDwLSpSWP2eb4UEFKjwFD0KDk5TyO3iBmflcWQoFYWwgBATiv6AgmlkgnY0g2lw"
                "NpAgAQ24AAAAAAAAAAAAAAABiXNlY3AyNTZrMaECer_zsmhDQKeYcYzr80WIByrC7xVDEsH88h2nql29couDdGNwBYN1ZHAG",
            ),
            (
                ("--tcp", "0", "--udp", "0"),
                "enr:-H24QJAre48XmSKz-W1F58t6bRPo82kuxyef9eWlWsNX25LTHQIXGvxHW_eRReEQpsck4JDoLK6fXBIu-jsK8EtcinCAgmlkgnY0gmlw"
                "hH8AAAGJc2VjcDI1NmsxoQJ6v_OyaENAp5hxjOvzRYgHKsLvFUMSwfzyHaeqXb1yiw",
            ),
        ):
            self.assertEqual(self.works("key", "to-enr", self.key, *args), text + "\n")
            self.assertEqual(self.value("key", "to-enr", self.key, *args), {"enr": text})
        self.assertIn("not an IP address", self.fails(1, "key", "to-enr", self.key, "--ip", "node.example"))

    def test_enrdump(self) -> None:
        text = self.works("enrdump", ENR)
        self.assertEqual(
            text.splitlines(),
            [
                "Node ID: a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7",
                f"URLv4:   {URL}",
                "Record has sequence number 1 and 4 key/value pairs.",
                "  'id'         'v4'",
                "  'ip'         127.0.0.1",
                "  'secp256k1'  03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138",
                "  'udp'        30303",
            ],
        )
        self.patch(sys, "stdin", StringIO(ENR + "\n"))
        self.assertEqual(self.works("enrdump", "-"), text)
        self.assertEqual(
            self.value("enrdump", ENR),
            {
                "id": "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7",
                "enode": URL,
                "seq": 1,
                "pairs": {
                    "id": "v4",
                    "ip": "127.0.0.1",
                    "secp256k1": "03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138",
                    "udp": 30303,
                },
            },
        )

    def test_enrdump_of_nothing(self) -> None:
        self.fails(1, "enrdump", "enr:xx")
        endless = StringIO("x" * 1_000_000)
        self.patch(sys, "stdin", endless)
        self.fails(1, "enrdump", "-")
        self.assertEqual(endless.tell(), verbs.MAX_TEXT)

    def test_networks(self) -> None:
        lines = self.works("networks").splitlines()
        self.assertEqual(len(lines), 1 + len(ethp2p.networks.NAMES))
        self.assertRegex(lines[1], r"^mainnet +1 +d4e56740f876aef8[0-9a-f]{48} +[0-9a-f]{8} ")
        self.patch(running, "wall", lambda: 1710338134.5)  # before Cancun
        first = self.value("networks")[0]
        self.assertEqual((first["name"], first["networkId"]), ("mainnet", 1))
        self.assertEqual(first["forkId"], {"hash": "0xdce96c2d", "next": 1710338135})

    def test_usage(self) -> None:
        for args in (
            (),
            ("nonsense",),
            ("key",),
            ("key", "to-id"),
            ("key", "to-enode", "x", "--tcp", "65536"),
            ("rlpx", "ping", "x", "--timeout", "nan"),
            ("networks", "more"),
            ("discv4", "crawl"),
            ("discv4", "ping", "x", "--bootnodes", "enr:nonsense"),
            ("discv5", "requestenr", "x"),
            ("discv5", "listen", "--addr", "here"),
            ("discv5", "crawl", "x", "--parallel", "0"),
            ("discv5", "crawl", "x", "--format", "xml"),
            ("discv5", "crawl", "x", "--network", "nowhere"),
            ("dns", "sign", "x", "y", "--seq", "-1"),
            ("nodeset", "filter", "x", "-foo"),
            ("nodeset", "filter", "x", "-limit"),
            ("nodeset", "filter", "x", "-limit", "x"),
            ("nodeset", "filter", "x", "-ip", "x"),
            ("nodeset", "filter", "x", "-min-age", "x"),
            ("status", "x", "--network", "nowhere"),
        ):
            self.assertTrue(self.fails(2, *args).startswith("ethp2p"), args)

    def test_version(self) -> None:
        self.assertEqual(self.works("--version"), f"ethp2p {ethp2p.__version__}\n")

    def test_run_is_twistd(self) -> None:
        ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: ran.append(sys.argv))
        self.patch(sys, "argv", ["ethp2p"])
        for args in ((), ("--network", "hoodi", "--version"), ("sandbox", "--check"), ("-x", "--", "-y")):
            self.works("run", *args)
            self.assertEqual(ran.pop(), ["twistd", "-n", "--pidfile=", "ethp2p", *args])

    def test_no_reactor_at_import(self) -> None:
        """Whoever imports it may still choose his reactor."""
        modules = "finding crawl greet reports verdict nodesets keystore show verbs"
        imports = "; ".join(f"import ethp2p.cli.{name}" for name in modules.split())
        check = f"import sys; {imports}; sys.exit('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", check], check=False, env=ENVIRONMENT).returncode, 0)

    def test_nowhere_to_write(self) -> None:
        """A result that cannot be written is a failure, and one line; who closed stdout wants none."""
        run = f"{sys.executable} -c 'import sys; from ethp2p.cli import main; sys.exit(main())' networks"
        for where, status, words in [
            ("1</dev/null", 1, "ethp2p: stdout: Bad file descriptor\n"),
            (">&-", 0, ""),
        ]:
            done = subprocess.run(
                f"{run} {where}", shell=True, check=False, capture_output=True, text=True, env=ENVIRONMENT
            )
            self.assertEqual((done.returncode, done.stderr), (status, words))


class ShowTests(SynchronousTestCase):
    def record(self) -> Record:
        odd: Entry[bytes] = Entry(b"\xffodd", rlp.BYTES)
        broken: Entry[bytes] = Entry(b"snap", rlp.BYTES)
        return Record.sign(KEY, 7, {ETH: EthEntry(b"\1\2\3\4", 5), TCP: 30303, odd: b"\x01\x02", broken: b"x"})

    def test_every_entry(self) -> None:
        self.assertEqual(
            list(show.record_lines(self.record()))[2:],
            [
                "Record has sequence number 7 and 6 key/value pairs.",
                "  'eth'        01020304/5",
                "  'id'         'v4'",
                f"  'secp256k1'  {KEY.public_key.compressed().hex()}",
                "  'snap'       78 (malformed)",
                "  'tcp'        30303",
                "  '\\xffodd'    820102",
            ],
        )
        self.assertEqual(
            show.record_value(self.record())["pairs"],
            {
                "eth": "01020304/5",
                "id": "v4",
                "secp256k1": KEY.public_key.compressed().hex(),
                "snap": "78",
                "tcp": 30303,
                "\\xffodd": "820102",
            },
        )

    def test_unknown_scheme(self) -> None:
        pairs = [ID.key, b"v9"]
        record = Record.decode(rlp.encode([b"", b"\x01", *pairs]))
        value = show.record_value(record)
        self.assertEqual((value["id"], value["enode"], value["pairs"]), (None, None, {"id": "v9"}))
        self.assertIn("the identity scheme is 'v9'", next(iter(show.record_lines(record))))

    def test_next_forks(self) -> None:
        # mainnet before Cancun, which came at 1710338135
        lines = list(show.network_lines(1710338134))
        self.assertIn("dce96c2d  2024-03-13 13:55:35 UTC", lines[1])
        lines = list(show.network_lines(1710338135))
        self.assertIn("9f3d2254  ", lines[1])
