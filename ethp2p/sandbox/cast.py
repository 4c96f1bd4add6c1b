"""
Who plays in the sandbox, and what is expected of them.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Part:
    """
    One node.

    @ivar versions: of eth, that it offers.
    @ivar discovery: the protocols by which it finds others and is found.
    """

    name: str
    versions: tuple[int, ...]
    discovery: tuple[int, ...]
    makes_blocks: bool = False
    stranger: bool = False

    @property
    def role(self) -> str:
        """What it does, in words."""
        if self.stranger:
            return "has another genesis"
        return "makes the blocks" if self.makes_blocks else "follows the chain"


@attrs.frozen
class Meeting:
    """Two nodes that should meet, whoever calls, and the version of eth they should agree on."""

    one: str
    other: str
    version: int

    @property
    def pair(self) -> tuple[str, str]:
        """Both, in order."""
        return self.one, self.other


#: The first is the bootnode, all that the others know at the start.  Each version of eth is some pair's highest common
#: one, and some nodes can only be found by discv4, some only by discv5.
CAST = (
    Part("anna", (66, 67, 68, 69), (4, 5), makes_blocks=True),
    Part("ben", (66, 67), (4,)),
    Part("cara", (66, 68), (4, 5)),
    Part("dan", (66, 67, 68, 69), (5,)),
    Part("eve", (66, 67, 68, 69), (4, 5), stranger=True),
)


def meetings() -> tuple[list[Meeting], list[Meeting]]:
    """
    What should happen: the meetings of those who can find each other, and those that should end in a refusal.  The
    stranger finds nobody of its own chain, so it calls the bootnode unasked.
    """
    good: list[Meeting] = []
    refused: list[Meeting] = []
    for index, one in enumerate(CAST):
        for other in CAST[index + 1 :]:
            meeting = Meeting(one.name, other.name, max({*one.versions} & {*other.versions}, default=0))
            if other.stranger:
                if index == 0:
                    refused.append(meeting)
            elif {*one.discovery} & {*other.discovery}:
                good.append(meeting)
    return good, refused
