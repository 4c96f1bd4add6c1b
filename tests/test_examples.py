"""
The examples of the README run, and the README shows them as they are.
"""

from __future__ import annotations

import io
import runpy
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ethp2p import networks
from ethp2p.chain import fetch_blocks
from ethp2p.errors import Offence, RemoteProtocolError
from ethp2p.events import OffenceBooked
from ethp2p.sandbox.chainmaker import ChainMaker
from tests.node.support import Town

TOP = Path(__file__).resolve().parent.parent
EXAMPLES = TOP / "docs" / "examples"


def body(path: Path) -> str:
    """An example without its docstring."""
    return path.read_text("utf-8").split('"""\n', 2)[2].strip()


class ExampleTests(SynchronousTestCase):
    def load(self, name: str) -> dict[str, Any]:
        return runpy.run_path(str(EXAMPLES / name), run_name="example")

    def test_readme(self) -> None:
        """Each example stands in the README, to the letter."""
        readme = (TOP / "README.md").read_text("utf-8")
        for path in EXAMPLES.glob("*.py"):
            self.assertIn(f"```python\n{body(path)}\n```", readme, f"{path.name} in README.md is out of date")

    def test_embed(self) -> None:
        """The newest headers of a peer are printed."""
        town = Town(blocks=8)
        town.node(1, blocks=8)
        self.patch(networks, "named", lambda name: town.ethereum)
        out = io.StringIO()
        with redirect_stdout(out):
            running = self.load("embed.py")["newest_headers"](
                town.network.host("10.0.0.2"), "town", town.address(1).url
            )
            town.network.wait_for(Deferred.fromCoroutine(running))
        expected = [block.header for block, _ in reversed(town.blocks)][:5]
        self.assertEqual(
            out.getvalue().splitlines(), [f"{one.number} {one.hash.hex()} {one.timestamp}" for one in expected]
        )

    def test_nobody_there(self) -> None:
        """Who asks somebody that is not there is told why nothing comes, and the program ends."""
        town = Town()
        self.patch(networks, "named", lambda name: town.ethereum)
        town.network.host("10.0.0.1")
        running = self.load("embed.py")["newest_headers"](town.network.host("10.0.0.2"), "town", town.address(1).url)
        ending = self.assertRaises(SystemExit, town.network.wait_for, Deferred.fromCoroutine(running))
        self.assertIn("Nobody listens at its address", str(ending.code))

    def test_script(self) -> None:
        """The liar meets us, lies, and is found out."""
        town = Town(blocks=3)
        directory = Path(self.mktemp())
        ChainMaker(b"town").write(directory, [block for block, _ in town.blocks])
        out = io.StringIO()
        with redirect_stdout(out):
            lying = self.load("script.py")["lie"](town.network.host("127.0.0.1"), "30303", str(directory))
            liar = town.network.wait_for(Deferred.fromCoroutine(lying))
        self.assertIn("enode://", out.getvalue())
        self.assertEqual(out.getvalue().strip(), liar.local.node.url)
        host = town.network.hosts["127.0.0.1"]
        node, diary = town.node(2, listen=False, host=host, staticPeers=[liar.local.node])
        peer = town.network.wait_for(node.whenEthPeer())
        asking = Deferred.fromCoroutine(fetch_blocks(peer, 1, 3))
        self.assertRaises(RemoteProtocolError, town.network.wait_for, asking)
        self.assertEqual([event.offence for event in diary.of(OffenceBooked)], [Offence.BAD_DATA])
