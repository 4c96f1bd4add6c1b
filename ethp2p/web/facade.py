"""
What the windows see of a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ethp2p.enode import Node
from ethp2p.events import Feed


class IPeerInfo(Interface):
    """
    One peer, as it is now.
    """

    node_id: bytes = Attribute("32 bytes.")
    client: str = Attribute("The client name it gave.")
    capabilities: tuple[str, ...] = Attribute("What it offers, as 'eth/69'.")
    node: Node = Attribute("Its key, and the address it is reached at.")
    local: str = Attribute("Our end of the connection, as host:port.")
    remote: str = Attribute("Its end, as host:port.")
    inbound: bool = Attribute("Whether it called us.")
    trusted: bool = Attribute("Whether it comes in even when we are full.")
    static: bool = Attribute("Whether we call it again when it is gone.")
    protocols: Mapping[str, Mapping[str, Any]] = Attribute("By capability in use, what ICapability.describe says.")


@attrs.frozen
class Finding:
    """
    One thing looked at: whether it is as it should be, and in words what is, or what to do.
    """

    name: str
    ok: bool
    words: str
    #: Whether the node cannot do its work without it.
    matters: bool = True


@attrs.frozen
class Sample:
    """
    One number, as a scrape finds it.  Samples of one name have labels of the same names.
    """

    #: Without the prefix C{ethp2p_}, and without the suffix C{_total} of a counter.
    name: str
    #: C{counter} or C{gauge}.
    kind: str
    help: str
    value: float
    #: Few values each: no peer and no address is ever a label.
    labels: Mapping[str, str] = {}


class INodeFacade(Interface):
    """
    A node, as far as its windows need it.
    """

    client: str = Attribute("Our client name.")
    network_id: int = Attribute("The network's id.")
    listening: bool = Attribute("Whether peers can call us.")
    node: Node = Attribute("We, with our record.")
    feed: Feed = Attribute("Tells what happens.")
    listen_address: str = Attribute("Where we listen for peers, as host:port; empty when we do not.")

    def describeProtocols() -> Mapping[str, Mapping[str, Any]]:
        """By capability, what C{admin_nodeInfo} shows of it: JSON values."""

    def peers() -> Iterable[IPeerInfo]:
        """Everybody who passed both checkpoints."""

    def addPeer(node: Node) -> Deferred[bool]:
        """
        Call this node, and again whenever it is gone, also after a restart.

        @return: fires, once that is kept, with whether there was room for one more.
        @raise ethp2p.errors.P2PError: it has no address to call.
        """

    def removePeer(node: Node) -> Deferred[bool]:
        """
        Stop calling this node, and disconnect it.

        @return: fires with whether there was such a peer.
        """

    def addTrustedPeer(node: Node) -> Deferred[bool]:
        """
        Let this node in even when all places are taken, from now on, also after a restart.

        @return: fires with True, once that is kept (geth: the same).
        """

    def removeTrustedPeer(node: Node) -> Deferred[bool]:
        """
        Trust it no longer.  It stays connected.

        @return: fires with True, once that is kept (geth: the same).
        """

    def explainPeer(subject: str) -> Mapping[str, Any]:
        """
        All that is known of a node or an address, and why it is or is not a peer now.

        @param subject: a node id in hex, an enode URL, a record, or an IP address.
        @return: JSON values: C{subject}; C{id}, hex or null; C{verdict}, a sentence; C{next}, when it is called again
            or why not, a sentence; C{enode}, C{client}, C{capabilities}, as far as known; C{connected}, what
            C{admin_peers} shows of it, or null; C{attempts}, newest first, each with C{began} (unix time),
            C{address}, C{inbound}, C{stages} (a list of C{stage} and C{seconds}), C{cause}, C{words}; C{refusals}, when
            it called and was not let in, newest first, each with C{at} (unix time), C{address}, C{rule}, C{words};
            C{static}, C{trusted}; C{score}, from 0 to 100; C{ledger}, newest first, each with C{what}, C{delta},
            C{score}, C{evidence}, C{ago} (seconds); C{ban}, as L{bans} shows it, or null.
        @raise ethp2p.errors.P2PError: it is none of these.
        """

    def ban(subject: str, seconds: float | None, reason: str) -> Deferred[Mapping[str, Any]]:
        """
        Let this node, address or network not in, and disconnect who is here.

        @param subject: as for L{explainPeer}, or a network as C{192.0.2.0/24}.
        @param seconds: for how long; None for ever.
        @return: fires with the ban as L{bans} shows it, once it is kept.
        @raise ethp2p.errors.P2PError: it is none of these.
        """

    def unban(subject: str) -> Deferred[bool]:
        """
        Lift a ban.

        @return: fires with whether there was one, once that is kept.
        """

    def bans() -> list[Mapping[str, Any]]:
        """
        Those in force: C{scope} (C{node}, C{ip}, C{subnet}), C{subject}, C{since} and C{until} (unix time, or null),
        C{reason}, C{by}.
        """

    def dialFunnel() -> Mapping[str, Any]:
        """
        How far our calls came: C{stages}, a count for each; C{failures}, for each stage a count for each cause.
        """

    def setConfig(values: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """
        Change settings while the node runs: all of them, or none.

        @param values: by option name.
        @return: fires with all settings that can be changed so, as they are now.
        @raise ethp2p.errors.ConfigError: one cannot be changed so, or has a value that cannot be used.
        """

    def doctor() -> Deferred[list[Finding]]:
        """Look at everything that keeps nodes from finding peers."""

    def readiness() -> list[Finding]:
        """What the node depends on, and whether it is there."""

    def samples() -> Iterable[Sample]:
        """The numbers of this moment."""
