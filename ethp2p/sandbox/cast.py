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
    @ivar calls: names of the nodes it keeps calling.
    """

    name: str
    versions: tuple[int, ...]
    calls: tuple[str, ...] = ()
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
    """Two nodes that should meet, and the version of eth they should agree on."""

    caller: str
    called: str
    version: int


#: Each version of eth is somebody's highest common one.
CAST = (
    Part("anna", (66, 67, 68, 69), makes_blocks=True),
    Part("ben", (66, 67), calls=("anna",)),
    Part("cara", (66, 68), calls=("anna", "ben")),
    Part("dan", (66, 67, 68, 69), calls=("anna", "cara")),
    Part("eve", (66, 67, 68, 69), calls=("anna",), stranger=True),
)


def meetings() -> tuple[list[Meeting], list[Meeting]]:
    """What should happen: the meetings, and those that should end in a refusal."""
    versions = {part.name: set(part.versions) for part in CAST}
    strangers = {part.name for part in CAST if part.stranger}
    good: list[Meeting] = []
    refused: list[Meeting] = []
    for part in CAST:
        for called in part.calls:
            meeting = Meeting(part.name, called, max(versions[part.name] & versions[called]))
            (refused if {part.name, called} & strangers else good).append(meeting)
    return good, refused
