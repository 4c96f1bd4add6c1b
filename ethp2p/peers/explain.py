"""
Why somebody is a peer, or is not: what is known of them, in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from ethp2p.peers.backoff import Cause
from ethp2p.peers.bans import Ban
from ethp2p.peers.journeys import Attempt, Refusal, Stage
from ethp2p.peers.reputation import Entry
from ethp2p.peers.roster import Place
from ethp2p.peers.throttle import Refused

#: How a call or session that ended so is spoken of.
SENTENCES: Mapping[Cause, str] = {
    Cause.TOO_MANY_PEERS: "All places were taken",
    Cause.USELESS: "The two had nothing to talk about",
    Cause.REFUSED: "Nobody listens at its address",
    Cause.TIMEOUT: "It did not answer in time",
    Cause.UNREACHABLE: "There is no way to its address",
    Cause.BAD_HANDSHAKE: "It did not greet as the protocol has it",
    Cause.BREACH: "A rule of the protocol was broken",
    Cause.INCOMPATIBLE: "It speaks another version of the protocol",
    Cause.UNEXPECTED_IDENTITY: "Somebody with another key answered at its address",
    Cause.WRONG_CHAIN: "It follows another chain",
    Cause.ALREADY_CONNECTED: "It was connected already",
    Cause.SELF: "This is the node itself",
    Cause.BANNED: "It is banned",
    Cause.NETRESTRICT: "It is outside the networks to have to do with",
    Cause.NOT_ADMITTED: "A rule of the operator keeps it out",
    Cause.QUITTING: "It was about to stop",
    Cause.LOST: "The connection was lost",
    Cause.REQUESTED: "The connection was ended on purpose",
    Cause.OTHER: "It did not work",
}


def sentence(attempt: Attempt) -> str:
    """How a call or session ended, as an operator reads it."""
    what = SENTENCES[attempt.cause or Cause.OTHER]
    if attempt.cause is Cause.LOST and attempt.missed is Stage.AUTH:
        what = "It hung up at once, as who has another key does, or who does not let us in"
    when = "it called" if attempt.inbound else "it was called"
    return f"{what}, when {when}: {attempt.words or 'nothing more is known'}."


@attrs.frozen
class Known:
    """All that the household knows of a node or an address."""

    #: As it was asked for.
    subject: str
    #: 32 bytes; None when no node is known at the address.
    node_id: bytes | None
    #: Its address, as far as we call it; an L{ethp2p.enode.Node}, or None.
    node: Any
    #: Whether it is this node.
    own: bool
    #: The nodes known at an address, if there is more than one.
    others: tuple[bytes, ...]
    #: Its place, if it is here.
    place: Place | None
    static: bool
    trusted: bool
    #: Newest first.
    attempts: tuple[Attempt, ...]
    #: When it called us and was not let in, newest first.
    refusals: tuple[Refusal, ...]
    score: float
    #: Newest first.
    ledger: tuple[Entry, ...]
    ban: Ban | None
    #: Why there is nothing to do with it, if so; a ban or a network.
    forbidden: Refused | None
    #: When it is called, or why not now.
    next: str
    #: When this was found out, as the household's clock has it.
    now: float

    @property
    def verdict(self) -> str:
        """The one sentence that matters most."""
        if self.own:
            return "This is the node itself."
        if self.place is not None:
            since = self.now - self.place.since
            way = "It called us" if self.place.inbound else "We called it"
            return f"It is a peer. {way} {since:.0f} s ago."
        if self.ban is not None:
            until = "for ever" if self.ban.until is None else f"until {datetime.fromtimestamp(self.ban.until, UTC)}"
            return f"It is banned {until}: {self.ban.reason or 'no reason was given'}."
        if self.forbidden is not None:
            return f"It is not one to have to do with: {self.forbidden.words}."
        ended = next((attempt for attempt in self.attempts if attempt.cause is not None), None)
        if self.refusals and (ended is None or self.refusals[0].at > ended.began + (ended.lasted or 0.0)):
            return f"It called, and was not let in: {self.refusals[0].words}."
        if ended is not None:
            return sentence(ended)
        if self.attempts:
            return "It is being called now."
        if len(self.others) > 1:
            return f"{len(self.others)} nodes are known at this address."
        if self.static:
            return "It is wanted, and was not called yet."
        return "Nothing is known of it: it was not found, did not call, and was never called."
