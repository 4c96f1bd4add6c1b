"""
The system's DNS servers, for node lists.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

from twisted.internet.defer import Deferred
from twisted.names.client import Resolver

#: Where the system says which servers to ask.
RESOLV = "/etc/resolv.conf"


class SystemResolver(Resolver):
    """
    Looks at the file when it is asked something.  Twisted's looks every minute, by a timer that nobody can end.
    """

    def __init__(self, reactor: Any, path: Union[str, "os.PathLike[str]"] = RESOLV) -> None:
        """
        @param reactor: provides C{IReactorTime}, C{IReactorUDP} and C{IReactorTCP}.
        """
        self._path = Path(path)
        self._lines: list[bytes] | None = None
        super().__init__(resolv=os.fspath(path), reactor=reactor)

    def maybeParseConfig(self) -> None:
        """Read the file; one that is not there is empty, and a word alone says nothing."""
        try:
            lines = [line for line in self._path.read_bytes().splitlines() if len(line.split()) > 1]
        except OSError:
            lines = []
        if lines != self._lines:
            self._lines = lines
            self.parseConfig(lines)

    def lookupText(self, name: str, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """See C{IResolver}."""
        self.maybeParseConfig()
        asking: Deferred[Any] = super().lookupText(name, timeout)
        return asking
