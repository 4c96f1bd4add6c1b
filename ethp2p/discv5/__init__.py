"""
Node discovery, version 5.1: encrypted questions and answers about who is there, over UDP.

Speaks the Node Discovery Protocol v5.1 (devp2p discv5/discv5-wire.md and discv5-theory.md) with the "v4" identity
scheme: masked headers, sessions made by a handshake on demand, PING, FINDNODE and TALKREQ.  It knows packets,
proofs, sessions and requests; the table and the lookups are the owner's.  Floor 1.

Known discrepancies:

  - To a second packet that it cannot read while a WHOAREYOU is underway, the text wants a new WHOAREYOU.  Here
    the same goes out again, as from geth, so that packets out of order cannot keep a handshake from its end; and
    where the text takes a WHOAREYOU for a pending request only, here it may name an earlier packet to the same
    endpoint, since that is what such a repetition does when the first was lost.
  - Keys go by pairs: when both sides shake hands at once, each keeps the session of the other too, and both are
    read.  The text knows one session an endpoint.
  - A handshake that fails leaves its challenge, for L{ethp2p.discv5.limits.MAX_TRIES} in all.  Elsewhere it ends
    it, and whoever can forge a source address can spoil any handshake.
  - What came of an answer in several packets counts when the rest is lost.
  - PING and FINDNODE are repeated when they are not answered, in a new packet with the same request id; the text
    does not speak of that, and geth asks once.  An answer to either copy will do.
  - Topic messages (types 0x07 to 0x0a) are not spoken and not answered.
"""

from ethp2p.discv5.protocol import Discv5Protocol, QueryFailed
from ethp2p.discv5.state import Answered, Asked, Discv5, Event, Failed, Met, PongInfo, Talked

__all__ = [
    "Answered",
    "Asked",
    "Discv5",
    "Discv5Protocol",
    "Event",
    "Failed",
    "Met",
    "PongInfo",
    "QueryFailed",
    "Talked",
]
