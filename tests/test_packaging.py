"""
What installing rests on.  C{tests/packaging.sh} installs for real; here is what can be seen without.
"""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import re
import subprocess
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ethp2p

ROOT = Path(__file__).resolve().parent.parent


class PackagingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def test_version(self) -> None:
        self.assertEqual(self.project["version"], ethp2p.__version__)

    def test_console_script(self) -> None:
        module, _, name = self.project["scripts"]["ethp2p"].partition(":")
        self.assertTrue(callable(getattr(importlib.import_module(module), name)))

    def test_what_is_named_is_there(self) -> None:
        self.assertTrue((ROOT / self.project["readme"]).is_file())
        self.assertTrue((ROOT / "ethp2p" / "py.typed").is_file())

    def test_packages_are_named_one_by_one(self) -> None:
        """Else an editable install hides the plugin: there is no package C{twisted} of ours to be found."""
        options = configparser.ConfigParser()
        options.read(ROOT / "setup.cfg")
        self.assertEqual(options["options"]["packages"], "find_namespace:")
        self.assertEqual(options["options"]["package_dir"].split(), ["=", "."])
        include = options["options.packages.find"]["include"].split()
        self.assertEqual(include, ["ethp2p", "ethp2p.*", "twisted.plugins"])

    def test_every_room_is_a_package(self) -> None:
        for directory in {path.parent for path in (ROOT / "ethp2p").rglob("*.py")}:
            self.assertTrue((directory / "__init__.py").is_file(), directory)

    def test_data_files_are_packaged(self) -> None:
        options = configparser.ConfigParser()
        options.read(ROOT / "setup.cfg")
        packaged = {
            path
            for package, patterns in options["options.package_data"].items()
            for pattern in patterns.split()
            for path in (ROOT / package.replace(".", "/")).glob(pattern)
        }
        data = {path for path in (ROOT / "ethp2p").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        self.assertEqual(data - packaged, set())

    def test_no_package_twisted(self) -> None:
        """An C{__init__.py} there would hide Twisted itself from whoever stands in the checkout."""
        self.assertEqual([*(ROOT / "twisted").rglob("__init__.py")], [])

    def test_plugin_holds_no_logic(self) -> None:
        """An error there would break every C{twistd --help} on the machine."""
        tree = ast.parse((ROOT / "twisted" / "plugins" / "ethp2p_plugin.py").read_text())
        docstring, *statements = tree.body
        self.assertIsInstance(docstring, ast.Expr)
        for statement in statements:
            if isinstance(statement, ast.ImportFrom):
                self.assertEqual(statement.module, "twisted.application.service")
            else:
                assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
                self.assertEqual(ast.unparse(statement.value.func), "ServiceMaker")


class MakeTests(SynchronousTestCase):
    def test_targets(self) -> None:
        made = subprocess.run(["make", "-n", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        self.assertIn("make", made.stdout)
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
        self.assertEqual(targets, {"help", "run", "test", "check", "fuzz", "load", "interop", "bench", "clean"})

    def test_scripts(self) -> None:
        for script in (ROOT / ".ci" / "run", ROOT / "tests" / "packaging.sh"):
            self.assertTrue(os.access(script, os.X_OK), script)
            self.assertIn("\nset -euo pipefail\n", script.read_text())
            subprocess.run(["bash", "-n", script], check=True, timeout=30)

    def test_ci_runs_what_there_is(self) -> None:
        steps = re.findall(r"^step (\d+)m (\w+)$", (ROOT / ".ci" / "run").read_text(), re.M)
        self.assertEqual([target for _, target in steps], ["test", "check", "fuzz", "load", "interop"])
        self.assertLessEqual(sum(int(minutes) for minutes, _ in steps), 90)
