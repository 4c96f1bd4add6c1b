"""What the tests of datagrams share."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from ethp2p.testing.network import Host


class Datagrams(DatagramProtocol):
    """Keeps everything that happens to it."""

    noisy = False
    transport: Any

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self.times: list[float] = []
        self.host: Any = None

    @classmethod
    def on(cls, host: Host, port: int = 30303, **settings: Any) -> Any:
        """One that listens."""
        protocol = cls()
        protocol.host = host
        host.listenUDP(port, protocol, **settings)
        return protocol

    @property
    def place(self) -> tuple[str, int]:
        """Where others of the same family reach it, if it is not behind a NAT."""
        here = self.transport.getHost()
        anywhere = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}
        return (self.host.source(anywhere[here.host]) if here.host in anywhere else here.host, here.port)

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.received]

    def startProtocol(self) -> None:
        self.events.append("start")

    def stopProtocol(self) -> None:
        self.events.append("stop")

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.received.append((datagram, addr))
        self.times.append(self.host.seconds())

    def connectionRefused(self) -> None:
        self.events.append("refused")


class EchoDatagrams(Datagrams):
    """Sends everything back, too."""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        super().datagramReceived(datagram, addr)
        self.transport.write(datagram, addr)
