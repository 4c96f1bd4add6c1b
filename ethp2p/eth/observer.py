"""
Who hears what peers say in eth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface, implementer

from ethp2p.eth.messages import Announcement, Status

if TYPE_CHECKING:
    from ethp2p.eth.protocol import EthProtocol


class IEthObserver(Interface):
    """
    Its methods must return at once.
    """

    def statusReceived(protocol: EthProtocol, status: Status) -> None:
        """The peer's Status came and fits: from now on it can be asked."""

    def requestDone(protocol: EthProtocol, message: str, items: int, size: int, rtt: float, *, result: str) -> None:
        """
        A request of ours ended.

        @param message: the one it was asked with, e.g. C{GetBlockHeaders}.
        @param size: bytes of the answer.
        @param rtt: seconds from asking to answer.
        @param result: C{ok}, C{timeout}, C{too_large} or C{invalid}.
        """

    def messageSeen(protocol: EthProtocol, message: Announcement) -> None:
        """The peer announced transactions, blocks, or its range of blocks."""


@implementer(IEthObserver)
class SilentObserver:
    """
    Ignores everything; to be extended by those who do not.
    """

    def statusReceived(self, protocol: EthProtocol, status: Status) -> None:
        """See L{IEthObserver}."""

    def requestDone(
        self, protocol: EthProtocol, message: str, items: int, size: int, rtt: float, *, result: str
    ) -> None:
        """See L{IEthObserver}."""

    def messageSeen(self, protocol: EthProtocol, message: Announcement) -> None:
        """See L{IEthObserver}."""
