"""
A whole capability in few lines: a guessing game, C{toy/1}.

Each side thinks of a number from 1 to 100.  The other guesses and is told whether the number is larger or
smaller.  Two messages: 0 is Guess, C{[number]}; 1 is Answer, C{[verdict]}, one for each Guess in their order.

    >>> factory = ToyFactory(secret=42)            # offer it to a SessionFactory, or to the node
    >>> verdict = await factory.games[0].guess(50)  # once a peer is here
    >>> verdict
    <Verdict.SMALLER: 2>
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.codec import rlp
from ethp2p.errors import LocalProtocolError, Offence, RemoteProtocolError, WireError
from ethp2p.interfaces import ICapability, ICapabilityFactory

GUESS, ANSWER = 0x00, 0x01
#: Guesses under way to one peer.
MAX_GUESSES = 16


class Verdict(IntEnum):
    """What became of a guess."""

    RIGHT = 0
    LARGER = 1
    SMALLER = 2


@attrs.frozen
class Number:
    """What both messages carry."""

    value: int


NUMBER = rlp.record(Number, value=rlp.UINT8)


class UnaskedAnswer(RemoteProtocolError):
    """The peer answered a guess that was not made."""

    offence = Offence.UNSOLICITED


@implementer(ICapability)
class ToyProtocol:
    """
    The game with one peer.
    """

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.channel: Any = None
        self._guesses: deque[Deferred[Verdict]] = deque()

    def makeConnection(self, transport: Any) -> None:
        """The peer plays too."""
        self.channel = transport

    def guess(self, number: int) -> Deferred[Verdict]:
        """Is it this?  The L{Verdict} comes when the peer answers."""
        if self.channel is None or len(self._guesses) >= MAX_GUESSES:
            return fail(LocalProtocolError("nobody to ask" if self.channel is None else "too many guesses at once"))
        guess: Deferred[Verdict] = Deferred()
        self._guesses.append(guess)
        self.channel.writeMessage(GUESS, NUMBER.encode(Number(number)))
        return guess

    def messageReceived(self, code: int, payload: bytes) -> None:
        """A guess of theirs, or the answer to ours."""
        value = NUMBER.decode(payload).value
        if code == GUESS:
            verdict = (
                Verdict.RIGHT if value == self.secret else Verdict.LARGER if value < self.secret else Verdict.SMALLER
            )
            self.channel.writeMessage(ANSWER, NUMBER.encode(Number(verdict)))
            return
        if not self._guesses:
            raise UnaskedAnswer
        if value > max(Verdict):
            raise WireError(f"no verdict {value}")
        self._guesses.popleft().callback(Verdict(value))

    def connectionLost(self, reason: Failure) -> None:
        """The peer is gone, and will answer nothing more."""
        self.channel = None
        while self._guesses:
            self._guesses.popleft().errback(reason)

    def describe(self) -> Mapping[str, Any]:
        """For C{admin_peers}."""
        return {"version": 1, "open": len(self._guesses)}


async def find(game: ToyProtocol) -> tuple[int, int]:
    """Find the peer's number by halving.  @return: the number, and how many guesses it took."""
    low, high, guesses = 1, 100, 0
    while True:
        middle = (low + high) // 2
        guesses += 1
        verdict = await game.guess(middle)
        if verdict is Verdict.RIGHT or low >= high:
            return middle, guesses
        low, high = (middle + 1, high) if verdict is Verdict.LARGER else (low, middle - 1)


@implementer(ICapabilityFactory)
class ToyFactory:
    """
    Offers the game.

    @ivar games: every game begun, the newest last.
    """

    name = "toy"
    versions: Mapping[int, int] = {1: 2}

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.games: list[ToyProtocol] = []

    def buildCapability(self, session: Any, version: int) -> ToyProtocol:
        """A game with this peer."""
        self.games.append(ToyProtocol(self.secret))
        return self.games[-1]
