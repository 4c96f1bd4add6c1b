"""
twistd's view: the options, one clear line for every mistake, and the exit status.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import ethp2p
from ethp2p import lastwords
from ethp2p.tap import NodeOptions, Options, SandboxOptions, makeService
from tests.spawn import DEADLINE, ROOT, twistd


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)

    def parse(self, *args: str) -> Options:
        options = Options()
        options.parseOptions(list(args))
        return options

    def settings(self, *args: str) -> Any:
        settings = self.parse(*args).settings
        assert settings is not None
        return settings.config

    def refused(self, *args: str) -> str:
        left = self.assertRaises(SystemExit, self.parse, *args)
        self.assertEqual((left.code, self.out.getvalue()), (1, ""))
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.err.truncate(0)
        self.err.seek(0)
        return lines[0]

    def test_node_is_the_default(self) -> None:
        options = self.parse()
        self.assertEqual(options.subCommand, "node")
        self.assertIsInstance(options.subOptions, NodeOptions)
        self.assertEqual(self.settings().network, "mainnet")

    def test_before_and_after_the_sub_command(self) -> None:
        for args in (
            ("--port", "5", "--network", "hoodi"),
            ("--port=5", "--network=hoodi", "node"),
            ("node", "--port=5", "--network=hoodi"),
            ("--port=5", "node", "--network=hoodi"),
            ("--port=4", "--network=hoodi", "node", "--port=5"),
        ):
            made = self.settings(*args)
            self.assertEqual((made.port, made.network), (5, "hoodi"), args)

    def test_several(self) -> None:
        made = self.settings("--listen=tcp:1", "--listen=tcp:2", "node", "--listen=tcp:3")
        self.assertEqual(made.listen, ("tcp:1", "tcp:2", "tcp:3"))

    def test_config_file(self) -> None:
        path = self.mktemp()
        Path(path).write_text("port = 5\nmax-peers = 5")
        for args in (("--config", path, "--port=6"), ("--port=6", "node", "--config", path)):
            made = self.settings(*args)
            self.assertEqual((made.port, made.max_peers), (6, 5))

    def test_one_line_for_every_mistake(self) -> None:
        table = [
            (("--port=x",), "ethp2p: --port 'x': not a whole number from 0 to 65535"),
            (("node", "--port=x"), "ethp2p: --port 'x': not a whole number from 0 to 65535"),
            (("--nonsense",), "ethp2p: option --nonsense not recognized"),
            (("node", "--nonsense"), "ethp2p: option --nonsense not recognized"),
            (("--port",), "ethp2p: option --port requires argument"),
            (("nonsense",), "ethp2p: Unknown command: nonsense"),
            (("node", "more"), "ethp2p: there is nothing to do with 'more'"),
            (("sandbox", "more"), "ethp2p: there is nothing to do with 'more'"),
            (("--config=/nowhere/x",), "ethp2p: /nowhere/x: No such file or directory"),
            (("--port=1", "sandbox"), "ethp2p: --port is an option of a node, not of the sandbox"),
            (("--print-config", "sandbox"), "ethp2p: --print-config is an option of a node, not of the sandbox"),
            (("sandbox", "--period=0"), "ethp2p: --period '0': not a number of seconds above 0"),
            (("sandbox", "--check"), "ethp2p: --check judges at the end: say with --seconds when that is"),
            (("sandbox", "--seconds=nan"), "ethp2p: --seconds 'nan': not a number of seconds above 0"),
            (("sandbox", "--port=65001"), "ethp2p: --port '65001': not a whole number from 1 to 65000"),
        ]
        for args, line in table:
            self.assertEqual(self.refused(*args), line)

    def test_print_config(self) -> None:
        for args in (("--port=5", "--print-config"), ("--port=5", "node", "--print-config")):
            left = self.assertRaises(SystemExit, self.parse, *args)
            self.assertEqual(left.code, 0)
            self.assertEqual(tomllib.loads(self.out.getvalue())["port"], 5)
            self.out.truncate(0)
            self.out.seek(0)

    def test_version(self) -> None:
        for args in (["--version"], ["node", "--version"], ["sandbox", "--version"]):
            left = self.assertRaises(SystemExit, self.parse, *args)
            self.assertEqual((left.code, self.out.getvalue()), (0, f"ethp2p {ethp2p.__version__}\n"))
            self.out.truncate(0)
            self.out.seek(0)

    def test_sandbox(self) -> None:
        options = self.parse("sandbox")
        self.assertIsNone(options.settings)
        self.assertIsInstance(options.subOptions, SandboxOptions)
        names = ("seconds", "check", "port", "period")
        self.assertEqual([options.subOptions[name] for name in names], [None, 0, None, 2.0])
        options = self.parse("sandbox", "--seconds=1.5", "--check", "--port=30000", "--period=.25")
        self.assertEqual([options.subOptions[name] for name in names], [1.5, 1, 30000, 0.25])

    def test_help_names_every_option(self) -> None:
        text = str(Options())
        for name in ("network", "static-peer", "http", "print-config", "sandbox"):
            self.assertIn(name, text)
        self.assertIn("[default: 50]", text)


class MakeServiceTests(SynchronousTestCase):
    def test_a_file_that_cannot_be_used(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        (directory / "nodekey").write_text("no key")
        options = Options()
        options.parseOptions(["--datadir", str(directory)])
        err = StringIO()
        self.patch(sys, "__stderr__", err)
        left = self.assertRaises(SystemExit, makeService, options, MemoryReactorClock())
        self.assertEqual(left.code, 1)
        key = directory.absolute() / "nodekey"
        self.assertEqual(err.getvalue(), f"ethp2p: key file {key} does not hold 64 hex digits of a private key\n")


class LastWordsTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        err = StringIO()
        self.patch(sys, "__stderr__", err)
        lastwords.say("two\nlines\n")
        self.assertEqual(err.getvalue(), "ethp2p: two lines\n")


_TAC = """
from twisted.application.service import Application, Service
from twisted.internet import reactor
from ethp2p.lastwords import dieWith

class Dying(Service):
    def startService(self):
        Service.startService(self)
        WHEN
    def stopService(self):
        print("stopped in order")

application = Application("dying")
Dying().setServiceParent(application)
"""


class TwistdTests(SynchronousTestCase):
    """
    The real twistd, where only it can tell.
    """

    def tac(self, when: str) -> subprocess.CompletedProcess[str]:
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        (directory / "dying.tac").write_text(_TAC.replace("WHEN", when))
        return twistd("-oy", "dying.tac", cwd=str(directory))

    def test_dying_at_the_start(self) -> None:
        done = self.tac("dieWith(reactor, 'the port is taken')")
        self.assertEqual((done.returncode, done.stderr), (1, "ethp2p: the port is taken\n"))
        self.assertNotIn("Traceback", done.stdout)

    def test_dying_later(self) -> None:
        done = self.tac("reactor.callLater(0, dieWith, reactor, 'the name is unknown')")
        self.assertEqual((done.returncode, done.stderr), (1, "ethp2p: the name is unknown\n"))
        self.assertIn("stopped in order", done.stdout)
        self.assertIn("Server Shut Down", done.stdout)
        self.assertNotIn("Traceback", done.stdout)

    def test_dying_twice(self) -> None:
        done = self.tac("dieWith(reactor, 'one'); dieWith(reactor, 'two')")
        self.assertEqual((done.returncode, done.stderr), (1, "ethp2p: one\nethp2p: two\n"))
        self.assertNotIn("Traceback", done.stdout)

    def test_a_bad_value(self) -> None:
        done = twistd("ethp2p", "--network", "manet")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertTrue(done.stderr.startswith("ethp2p: --network 'manet': "), done.stderr)

    def test_help_lists_us(self) -> None:
        done = twistd("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^    ethp2p +\w")

    def test_version(self) -> None:
        done = twistd("ethp2p", "--version")
        self.assertEqual((done.returncode, done.stdout), (0, f"ethp2p {ethp2p.__version__}\n"))


class PluginTests(SynchronousTestCase):
    def test_the_plugin_is_found_and_light(self) -> None:
        [maker] = [each for each in getPlugins(IServiceMaker) if each.tapname == "ethp2p"]
        self.assertIs(maker.options, Options)
        program = (
            "import sys; from twisted.plugins import ethp2p_plugin; assert 'ethp2p' not in sys.modules;"
            "import ethp2p.tap; assert 'twisted.internet.reactor' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
