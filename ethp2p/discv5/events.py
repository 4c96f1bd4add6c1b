"""
What happened, for the owner of the engine.
"""

from __future__ import annotations

from typing import Union

import attrs

from ethp2p.enode import Node
from ethp2p.enr import Record


@attrs.frozen
class PongInfo:
    """
    What a node says when it is pinged.
    """

    #: Host and port that it sees us at.
    endpoint: tuple[str, int]
    #: The seq of its record; None in protocols that do not tell.
    seq: int | None


#: By the request: of C{ping}, C{find_node}, C{request_record} and C{talk}.
Result = Union[PongInfo, tuple[Node, ...], Record, bytes]


@attrs.frozen
class Answered:
    """
    A request of ours was answered.
    """

    token: int
    #: As it was asked.
    node: Node
    result: Result
    #: Seconds from the last packet of ours to the first of the answer.
    rtt: float


@attrs.frozen
class Failed:
    """
    A request of ours was not answered, or not by anything of use.
    """

    token: int
    node: Node
    why: str


@attrs.frozen
class Asked:
    """
    A node, its endpoint proven, asks for nodes: C{send_nodes(token, ...)} answers.
    """

    token: object
    node: Node
    #: 1 to 256, each once.  Who asks for 0 as well gets our record with the rest, and for 0 alone at once.
    distances: tuple[int, ...]


@attrs.frozen
class Met:
    """
    A node has come by itself and proven who it is and that it is at C{addr}: just now, or before and it pinged again.
    This is told once in a while, not for every Ping.
    """

    #: Where its record says that it is; only nodes that can be called there, and may be, are told of.
    node: Node
    addr: tuple[str, int]


@attrs.frozen
class Talked:
    """
    A node asks in another protocol, one of C{talk_protocols}: C{send_talk(token, ...)} answers.
    """

    token: object
    node: Node
    protocol: bytes
    message: bytes


Event = Union[Answered, Failed, Asked, Met, Talked]
