"""
Sessions: what two peers say to each other first, and how their languages share one connection.

Speaks the "p2p" capability, version 5 (devp2p rlpx.md, "Capability Messaging" and "p2p" Capability; EIP-8 for
the open-ended Hello; EIP-706 for snappy).  Version 4, the same without snappy, is met too.  Floor 3: it sits on
any L{ethp2p.interfaces.IMessageTransport} and carries any L{ethp2p.interfaces.ICapability}.

  - C{wire}: Hello, Disconnect, Ping, Pong.
  - C{state}: the session without I/O: Hello, snappy, message codes, keepalive.
  - C{multiplex}: what waits for a peer that reads slowly, and whose turn it is.
  - C{requests}: request ids, deadlines, and answers that nobody asked for.
  - C{protocol}: the Twisted shell, its channels and factory.
  - C{capabilities}: the languages found among the plugins.

Known discrepancies with the specification:

  - Hello's listen port may have leading zeros (EthereumJS writes 0 as one zero byte); it is read and not used.
  - Disconnect is read plain or compressed at any time (EthereumJS and reth send it plain with snappy on), as a
    list, as a bare number, or empty.
  - Ping and Pong may hold anything of up to 2048 bytes; it is not looked at.  So do codes 0x04 to 0x0f, which
    are ignored.
  - A message over 16 MiB - 1 byte is refused, as others do; the specification allows one byte more.
"""

from ethp2p.devp2p.capabilities import discover
from ethp2p.devp2p.channel import Channel
from ethp2p.devp2p.protocol import LocalHello, Session, SessionFactory, client_name
from ethp2p.devp2p.requests import Requests, RequestTracker

__all__ = [
    "Channel",
    "LocalHello",
    "RequestTracker",
    "Requests",
    "Session",
    "SessionFactory",
    "client_name",
    "discover",
]
