"""
Discovery, version 4: nodes that answer for their addresses, and tell which other nodes they know.

Speaks the Node Discovery Protocol v4 (devp2p discv4.md) with EIP-8 and EIP-868, over UDP.  Floor 1.  Which nodes are
kept, asked and told of is not decided here.

  - C{wire}: the six packets.
  - C{bonds}: who has proven its endpoint.
  - C{relay}: nodes passed on, and what to believe of them.
  - C{pending}: what is under way, and until when.
  - C{state}: the engine, without I/O; C{events}: what it tells.
  - C{protocol}: the Twisted shell, for using the room alone.

Known discrepancies with the specification, and between clients:

  - A proof holds for 24 hours as with geth, not 12.  On the other hand a node is asked without a new proof only for
    12 hours after it last pinged us, or until it leaves a question unanswered: it may have forgotten us.
  - A proof is of key and IP address, so the port may change; but an answer is taken only from the address and port
    asked.  geth looks at the IP address only.
  - geth waits half a second between the proof and the question.  Here the question goes out soon after the Ping by
    which the other side lets us prove ourselves, and after a quarter of a second when there is none.
  - What has no answer after a quarter of a second is sent once more, a question together with a Ping: one side may
    have lost or forgotten its proof.  geth, which sends everything once, has no answer then.  A Ping that only
    answers a stranger's is repeated only when the stranger repeats its own, because of the cap on what it may get.
  - Neighbors does not say how many packets there will be.  After one that is not full the rest has 0.1 s, not the
    half second of geth.
  - In Ping and Pong of EIP-8's examples something else stands where EIP-868 put the record's seq.  It counts as
    missing; geth refuses the packet.  So do addresses of neither 4 nor 16 bytes count as missing (geth sends empty
    ones), and ports may have leading zeros (EthereumJS writes port 0 so).
  - Two Pings to an address in one second are the same to the byte, and so are their hashes.  So at most one Ping of
    ours to a key at an address is under way, and whoever wants another shares its Pong.
  - EthereumJS asks for no proof, and has no records: a request for one fails.
"""

from ethp2p.discv4.protocol import Discv4Protocol
from ethp2p.discv4.state import Answered, Asked, Discv4, Event, Failed, Met, PongInfo

__all__ = ["Answered", "Asked", "Discv4", "Discv4Protocol", "Event", "Failed", "Met", "PongInfo"]
