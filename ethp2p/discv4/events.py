"""
What happened, as the engine tells its owner.
"""

from __future__ import annotations

from typing import Union

import attrs

from ethp2p.enode.node import Node
from ethp2p.enr.record import Record

#: Host and port.
Addr = tuple[str, int]


@attrs.frozen
class PongInfo:
    """
    What a node says in answer to a Ping.
    """

    #: Where it sees us, host and UDP port; None when it does not say.
    endpoint: Addr | None
    #: The seq of its record; None when it does not say.
    seq: int | None


@attrs.frozen
class Answered:
    """
    A request has its answer.
    """

    token: int
    node: Node
    result: Result
    #: Seconds from the question to the first packet of the answer.
    rtt: float


@attrs.frozen
class Failed:
    """
    A request will have no answer.
    """

    token: int
    node: Node
    why: str


@attrs.frozen
class Asked:
    """
    Somebody whose endpoint is proven wants to know nodes: they go to L{ethp2p.discv4.state.Discv4.send_nodes}, with
    the token.
    """

    token: object
    node: Node
    #: 64 bytes.
    target: bytes


@attrs.frozen
class Met:
    """
    A node came by itself and its endpoint is proven: just now, or before and it pinged again.  This is told once in
    a while, not for every Ping.
    """

    node: Node
    info: PongInfo


#: What a request may give: L{PongInfo}, the nodes told, or the record.
Result = Union[PongInfo, tuple[Node, ...], Record]
Event = Union[Answered, Failed, Asked, Met]
