"""
Each foreign peer as a child process on loopback.

All are started with C{await Peer.start(...)}, which returns when the peer answers, and ended with
C{await peer.stop()}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IConsumer
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from tests.interop import toolchain
from tests.interop.process import Child, Finished, PeerFailed, free_port, run, until

#: Seconds that a peer may take from its start to its first answer.
START = 90.0

_JS = Path(__file__).resolve().parent / "js"
#: The checkout.
TREE = Path(__file__).resolve().parents[2]


def network_id(chain: Path) -> int:
    """The chain id, which is the network id too, of the C{genesis.json} in a chain's folder."""
    return int(json.loads((chain / "genesis.json").read_text())["config"]["chainId"])


@implementer(IBodyProducer)
@attrs.frozen
class _Body:
    """A request's body, written at once."""

    content: bytes

    @property
    def length(self) -> int:
        return len(self.content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to be paused."""

    resumeProducing = stopProducing = pauseProducing


class RPCError(Exception):
    """A peer's JSON-RPC answered with an error."""


async def call(url: str, method: str, *params: Any, seconds: float = 10.0) -> Any:
    """
    Call a JSON-RPC method over HTTP.

    @raise RPCError: the answer is an error.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers = Headers({"Content-Type": ["application/json"], "Connection": ["close"]})
    asked = Agent(reactor, connectTimeout=seconds).request(b"POST", url.encode(), headers, _Body(body))
    response = await asked.addTimeout(seconds, reactor)
    read: Deferred[bytes] = readBody(response)
    answer = json.loads(await read.addTimeout(seconds, reactor))
    if "error" in answer:
        raise RPCError(f"{method}: {answer['error']}")
    return answer["result"]


#: geth's --port would listen on every interface; only its file can say an address, and that it calls nobody.
_GETH_SETTINGS = """
[Node.P2P]
ListenAddr = "127.0.0.1:{port}"
NoDial = {no_dial}
"""


def _written(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


@attrs.define
class Geth:
    """
    go-ethereum with a chain imported, listening on 127.0.0.1 only.

    Speaks eth/69 and later, and snap/1.  Without a consensus client it neither follows nor fetches, but serves
    what it has, and keeps its peers.
    """

    child: Child
    url: str
    engine: str
    jwt_secret: str
    enode: str = ""
    enr: str = ""

    @classmethod
    async def start(
        cls, folder: Path, chain: Path, *flags: str, discovery: Sequence[str] = (), dials: bool = True
    ) -> Geth:
        """
        @param folder: for its data; must not have been used.
        @param chain: a folder with C{genesis.json} and C{chain.rlp}.
        @param flags: more of its command line.
        @param discovery: the protocols to discover with, C{v4} or C{v5}.
        @param dials: whether it calls whom it finds.
        """
        command = str(toolchain.ensure("geth"))
        secret = "0x" + bytes(range(32)).hex()
        rpc, engine, port = free_port(), free_port(), free_port()
        data = f"--datadir={folder / 'data'}"
        text = _GETH_SETTINGS.format(port=port, no_dial=str(not dials).lower())
        settings, jwt = _written(folder, "geth.toml", text), _written(folder, "jwt", secret)
        # with a cache of less than 256 MiB the import takes ten times as long
        for step in (["init", str(chain / "genesis.json")], ["import", str(chain / "chain.rlp")]):
            done = await run([command, data, "--verbosity=2", "--cache=512", *step], folder, START)
            if done.code:
                raise PeerFailed(f"geth {step[0]} ended with {done.code}:\n{done.output}")
        argv = [
            command,
            data,
            f"--config={settings}",
            f"--networkid={network_id(chain)}",
            "--syncmode=full",
            *([f"--discovery.{name}={name in discovery}" for name in ("v4", "v5")] if discovery else ["--nodiscover"]),
            "--nat=extip:127.0.0.1",
            "--netrestrict=127.0.0.0/8",
            "--ipcdisable",
            "--http",
            f"--http.port={rpc}",
            "--http.api=admin,eth,net,debug,txpool,web3",
            f"--authrpc.port={engine}",
            f"--authrpc.jwtsecret={jwt}",
            "--cache=64",
            "--verbosity=4",  # tells why a peer went
            *flags,
        ]
        self = cls(Child(argv, folder), f"http://127.0.0.1:{rpc}", f"http://127.0.0.1:{engine}", secret)
        try:
            await self.child.until(lambda line: ("HTTP server started" in line and "auth=false" in line) or None, START)
            about = await self.rpc("admin_nodeInfo")
            self.enode, self.enr = about["enode"], about["enr"]
        except BaseException:
            await self.stop()
            raise
        return self

    async def rpc(self, method: str, *params: Any) -> Any:
        """Call a method of its JSON-RPC."""
        return await call(self.url, method, *params)

    async def stop(self) -> None:
        """End it."""
        await self.child.stop()


@attrs.define
class EthereumjsClient:
    """
    The EthereumJS client with a chain imported, discovery off, kept on 127.0.0.1 by a preloaded script.

    Speaks eth/66 to eth/68.  It is not told to run the blocks: it serves them all the same.
    """

    child: Child
    url: str
    enode: str = ""

    @classmethod
    async def start(cls, folder: Path, chain: Path, *flags: str) -> EthereumjsClient:
        """
        @param folder: for its data; must not have been used.
        @param chain: a folder with C{genesis.json} and C{chain.rlp}.
        @param flags: more of its command line.
        """
        rpc, port = free_port(), free_port()
        argv = [
            toolchain.command("node"),
            f"--require={_JS / 'loopback.cjs'}",
            str(toolchain.ensure("ethereumjs-client")),
            f"--gethGenesis={chain / 'genesis.json'}",
            f"--loadBlocksFromRlp={chain / 'chain.rlp'}",
            f"--dataDir={folder / 'data'}",
            f"--port={port}",
            "--extIP=127.0.0.1",
            "--discDns=false",
            "--discV4=false",
            "--execution=false",
            "--rpc",
            f"--rpcPort={rpc}",
            "--logFile=false",
            *flags,
        ]
        self = cls(Child(argv, folder), f"http://127.0.0.1:{rpc}")
        try:
            await self.child.until(lambda line: "Client started successfully" in line or None, START)
            self.enode = await until(self._own_enode, START)
        except BaseException:
            await self.stop()
            raise
        return self

    async def _own_enode(self) -> Any:
        """None while it does not listen: on a busy machine it says that it has started before it does."""
        try:
            return (await self.rpc("admin_nodeInfo"))["enode"]
        except ConnectionRefusedError:
            return None

    async def rpc(self, method: str, *params: Any) -> Any:
        """Call a method of its JSON-RPC."""
        return await call(self.url, method, *params)

    async def stop(self) -> None:
        """End it, at once: its own way out takes longer than anyone waits."""
        await self.child.stop(kindly=False)


@attrs.frozen
class Standing:
    """What a peer says of its chain in Status up to eth/68.  Hashes are hex with 0x."""

    network_id: int
    genesis: str
    fork_hash: str
    fork_next: int
    total_difficulty: int
    head: str


@attrs.define
class _Scripted:
    """
    A peer made of a JavaScript library by a script in C{js/}.
    """

    child: Child
    enode: str = ""

    def event(self, name: str, seconds: float = 20.0) -> Deferred[Mapping[str, Any]]:
        """
        Wait for a thing to happen, or to have happened and not been asked for.

        @param name: what its script calls it.
        """
        return self.seen(name, lambda happened: True, seconds)

    def seen(
        self, name: str, wanted: Callable[[Mapping[str, Any]], bool], seconds: float = 20.0
    ) -> Deferred[Mapping[str, Any]]:
        """Like L{event}, with a thing in which there is what is wanted."""

        def match(line: str) -> Mapping[str, Any] | None:
            happened = json.loads(line) if line.startswith("{") else {}
            return happened if happened.get("event") == name and wanted(happened) else None

        return self.child.until(match, seconds)

    def do(self, what: str, **details: Any) -> None:
        """Tell it to do a thing that its script can do."""
        self.child.tell(json.dumps({"do": what, **details}))

    async def stop(self) -> None:
        """End it."""
        await self.child.stop()


@attrs.define
class EthereumjsPeer(_Scripted):
    """
    A bare peer made of EthereumJS's devp2p library: RLPx, Hello and an eth Status both ways, no chain.

    Its events are listening, connected, hello, status, message, disconnect and error.
    """

    @classmethod
    async def listen(cls, folder: Path, standing: Standing, version: int = 68) -> EthereumjsPeer:
        """Wait for peers; C{enode} is where."""
        self = cls._spawn(folder, standing, version, "listen", str(free_port()))
        try:
            self.enode = (await self.event("listening", START))["enode"]
        except BaseException:
            await self.stop()
            raise
        return self

    @classmethod
    def dial(cls, folder: Path, enode: str, standing: Standing, version: int = 68) -> EthereumjsPeer:
        """Call the peer at C{enode}, once."""
        return cls._spawn(folder, standing, version, "dial", enode)

    @classmethod
    def _spawn(cls, folder: Path, standing: Standing, version: int, mode: str, target: str) -> EthereumjsPeer:
        argv = [
            toolchain.command("node"),
            str(_JS / "peer.cjs"),
            mode,
            target,
            f"--network-id={standing.network_id}",
            f"--genesis={standing.genesis}",
            f"--fork-hash={standing.fork_hash}",
            f"--fork-next={standing.fork_next}",
            f"--td={standing.total_difficulty}",
            f"--head={standing.head}",
            f"--version={version}",
        ]
        return cls(Child(argv, folder, {"NODE_PATH": str(toolchain.ensure("ethereumjs-devp2p"))}))


@attrs.define
class EthereumjsDPT(_Scripted):
    """
    Discovery v4 as EthereumJS's devp2p library has it: without endpoint proofs and records.

    Its events are listening, added, removed, named, pong, table and error; it can ping, find and show its table.
    """

    @classmethod
    async def start(cls, folder: Path, *bootnodes: str) -> EthereumjsDPT:
        """@param bootnodes: enode URLs."""
        argv = [toolchain.command("node"), str(_JS / "dpt.cjs"), str(free_port())]
        argv += [f"--bootnode={bootnode}" for bootnode in bootnodes]
        self = cls(Child(argv, folder, {"NODE_PATH": str(toolchain.ensure("ethereumjs-devp2p"))}))
        try:
            self.enode = (await self.event("listening", START))["enode"]
        except BaseException:
            await self.stop()
            raise
        return self


@attrs.define
class ChainsafeDiscv5(_Scripted):
    """
    Discovery v5 by ChainSafe, as consensus clients have it.

    Its events are listening, added, discovered, asked, pong, nodes, answer, closest, table and error; it can ping,
    find, talk, lookup and show its table.
    """

    #: Its record as text, and its id in hex.
    enr: str = ""
    id: str = ""

    @classmethod
    async def start(cls, folder: Path, *bootnodes: str) -> ChainsafeDiscv5:
        """@param bootnodes: records as text."""
        argv = [toolchain.command("node"), str(_JS / "discv5.mjs"), str(free_port())]
        argv += [f"--bootnode={bootnode}" for bootnode in bootnodes]
        self = cls(Child(argv, folder, {"NODE_PATH": str(toolchain.ensure("chainsafe-discv5"))}))
        try:
            listening = await self.event("listening", START)
        except BaseException:
            await self.stop()
            raise
        self.enr, self.id = listening["enr"], listening["id"]
        return self


@attrs.define
class Twistd:
    """
    Our own node, as users run it.
    """

    child: Child
    url: str
    enode: str = ""
    enr: str = ""

    @classmethod
    async def start(cls, folder: Path, *options: str) -> Twistd:
        """
        @param folder: for its data.
        @param options: more of its command line.
        """
        rpc, port = free_port(), free_port()
        argv = [
            str(Path(sys.executable).with_name("twistd")),
            "--nodaemon",
            "--pidfile=",
            "ethp2p",
            "node",
            f"--datadir={folder / 'data'}",
            f"--listen=tcp:{port}:interface=127.0.0.1",
            f"--http=tcp:{rpc}:interface=127.0.0.1",
            *options,
        ]
        self = cls(Child(argv, folder, {"PYTHONPATH": str(TREE)}), f"http://127.0.0.1:{rpc}")
        try:
            await self.child.until(lambda line: "enode://" in line or None, START)
            about = await call(self.url, "admin_nodeInfo")
            self.enode, self.enr = about["enode"], about["enr"]
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End it."""
        await self.child.stop()


async def run_devp2p(*arguments: str, folder: Path, seconds: float = 120.0) -> Finished:
    """
    Run geth's C{devp2p} tool to its end.

    @param folder: its working directory.
    """
    return await run([str(toolchain.ensure("devp2p")), *arguments], folder, seconds)


async def attach(endpoint: str, statement: str, folder: Path) -> str:
    """
    Run a statement on geth's console, attached to a node.

    @param endpoint: C{http://...}, C{ws://...}, or the path of a unix socket.
    @param folder: for what the console keeps.
    @return: what it prints.
    @raise PeerFailed: it cannot attach.
    """
    command = [str(toolchain.ensure("geth")), "attach", f"--datadir={folder / 'console'}"]
    done = await run([*command, f"--exec={statement}", endpoint], folder, 30.0)
    if done.code:
        raise PeerFailed(f"geth attach ended with {done.code}:\n{done.output}")
    return done.output


def console() -> Path:
    """Our own console program."""
    return Path(sys.executable).with_name("ethp2p")


async def run_ethp2p(*arguments: str, folder: Path, seconds: float = 60.0) -> Finished:
    """
    Run our own console program to its end.

    @param folder: its working directory.
    """
    return await run([str(console()), *arguments], folder, seconds, {"PYTHONPATH": str(TREE)})
