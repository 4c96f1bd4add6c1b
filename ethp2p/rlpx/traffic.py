"""
Counting, for whoever collects metrics.
"""

from __future__ import annotations

from ethp2p.rlpx.state import Connection


class Traffic:
    """
    What went over many connections.  Each counts for itself, and the sum is made when it is asked for.
    """

    COUNTERS = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.handshakes_ok = 0
        self.handshakes_failed = 0
        self._live: set[Connection] = set()
        self._ended = dict.fromkeys(self.COUNTERS, 0)

    def begin(self, connection: Connection) -> None:
        """Count this connection too."""
        self._live.add(connection)

    def end(self, connection: Connection) -> None:
        """It is over; keep its counts."""
        self._live.discard(connection)
        for name in self.COUNTERS:
            self._ended[name] += getattr(connection, name)

    def total(self, name: str) -> int:
        """The sum of one of L{COUNTERS}."""
        total: int = self._ended[name] + sum([getattr(connection, name) for connection in self._live])
        return total

    @property
    def connections(self) -> int:
        """How many there are now, in the handshake or after."""
        return len(self._live)
