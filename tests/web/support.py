"""
A node that windows can look into, and a client that speaks HTTP to them in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey
from ethp2p.enode import Node
from ethp2p.errors import ConfigError
from ethp2p.events import Feed
from ethp2p.web import Finding, INodeFacade, IPeerInfo, Sample
from ethp2p.web.http import Door

KEY = PrivateKey.parse(b"\x01" * 32)
OTHER = PrivateKey.parse(b"\x02" * 32)


@implementer(IPeerInfo)
@attrs.frozen(kw_only=True)
class FakePeer:
    node: Node = attrs.field(default=Node(OTHER.public_key, "10.0.0.2", 30303, 30303))
    node_id: bytes = OTHER.public_key.node_id
    client: str = "Geth/v1.17.5"
    capabilities: tuple[str, ...] = ("eth/68", "eth/69")
    local: str = "127.0.0.1:30303"
    remote: str = "10.0.0.2:51234"
    inbound: bool = True
    trusted: bool = False
    static: bool = False
    protocols: dict[str, Any] = attrs.field(factory=lambda: {"eth": {"version": 69}})


@implementer(INodeFacade)
@attrs.define
class FakeNode:
    client: str = "ethp2p/v0.1.0"
    network_id: int = 11155111
    listening: bool = True
    node: Node = attrs.field(default=Node(KEY.public_key, "127.0.0.1", 30303, 30304))
    listen_address: str = "0.0.0.0:30303"
    connected: list[FakePeer] = attrs.field(factory=list)
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    full: bool = False
    feed: Feed = attrs.field(factory=Feed)
    banned: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=lambda: [Finding("listening", True, "on 0.0.0.0:30303")])
    numbers: list[Sample] = attrs.field(factory=list)
    settings: dict[str, Any] = attrs.field(factory=lambda: {"max-peers": 50})

    def describeProtocols(self) -> dict[str, dict[str, Any]]:
        return {"eth": {"network": self.network_id}}

    def peers(self) -> list[FakePeer]:
        return self.connected

    def addPeer(self, node: Node) -> Deferred[bool]:
        self.calls.append(("add", node.url))
        return succeed(not self.full)

    def removePeer(self, node: Node) -> Deferred[bool]:
        self.calls.append(("remove", node.url))
        return succeed(True)

    def addTrustedPeer(self, node: Node) -> Deferred[bool]:
        self.calls.append(("trust", node.url))
        return succeed(True)

    def removeTrustedPeer(self, node: Node) -> Deferred[bool]:
        self.calls.append(("untrust", node.url))
        return succeed(True)

    def explainPeer(self, subject: str) -> Mapping[str, Any]:
        if subject.startswith("x"):
            raise ConfigError(f"{subject}: neither a node nor an address")
        return {"subject": subject, "verdict": "it was never heard of"}

    def ban(self, subject: str, seconds: float | None, reason: str) -> Deferred[Mapping[str, Any]]:
        self.banned[subject] = {"scope": "ip", "subject": subject, "seconds": seconds, "reason": reason}
        return succeed(self.banned[subject])

    def unban(self, subject: str) -> Deferred[bool]:
        return succeed(self.banned.pop(subject, None) is not None)

    def bans(self) -> list[Mapping[str, Any]]:
        return list(self.banned.values())

    def dialFunnel(self) -> Mapping[str, Any]:
        return {"stages": {"found": 3, "tcp": 1}, "failures": {"tcp": {"refused": 2}}}

    def setConfig(self, values: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        if not values.keys() <= self.settings.keys():
            return fail(ConfigError("that cannot be changed while the node runs"))
        self.settings |= values
        return succeed(self.settings)

    def doctor(self) -> Deferred[list[Finding]]:
        return succeed(self.findings)

    def readiness(self) -> list[Finding]:
        return self.findings

    def samples(self) -> list[Sample]:
        return self.numbers


@attrs.frozen
class Response:
    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def close_half(protocol: Any) -> None:
    """The other end says nothing more: what a transport does then."""
    half = IHalfCloseableProtocol(protocol, None)
    if half is None:
        protocol.connectionLost(Failure(ConnectionDone()))
    else:
        half.readConnectionLost()


class Client:
    """One connection to a door."""

    def __init__(self, factory: Any) -> None:
        self.transport = StringTransport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def request(self, head: str, body: bytes = b"", **headers: str | None) -> Response:
        fields: dict[str, str | None] = {"host": "127.0.0.1:8650"}
        if body:
            fields |= {"content-type": "application/json", "content-length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{head} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
        self.transport.clear()
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.response()

    def response(self) -> Response:
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Response(int(status.split()[1]), headers, body)


def door(root: Any) -> Door:
    return Door(root, Clock())
