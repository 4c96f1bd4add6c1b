"""
How much, and how long: every number of the discovery protocol, and why.
"""

from __future__ import annotations

#: Most bytes of a packet, in and out (discv4.md, "Wire Protocol").
MAX_PACKET = 1280
#: Nodes that answer one FindNode: the k of Kademlia (discv4.md, "FindNode Packet").
ANSWER_SIZE = 16
#: Most nodes in one Neighbors packet: as many as fit when all have IPv6 addresses.
MAX_NEIGHBORS = 12
#: Ports up to this one are refused in Neighbors, as geth does: nobody runs a node there, and whoever makes us send
#: packets to such a port is after somebody else's service.
LOW_PORT = 1024

#: Seconds that a packet of ours is good for.
EXPIRATION = 20.0
#: Seconds that a node has to answer.
ANSWER_TIMEOUT = 0.5
#: Seconds after which we ask once more: where a fifth of the packets is lost, a third of all answers is.
ONCE_MORE = 0.25
#: Seconds that we wait, after a node's Pong, for the Ping by which it would let us prove ourselves.  Those who send
#: one send it together with the Pong.
GREETING_TIMEOUT = 0.25
#: Seconds that further Neighbors have after a packet that was not full, which most likely was the last.
LAST_NEIGHBORS = 0.1
#: Seconds that a node has to take in our Pong before we ask it something.
SETTLING_TIME = 0.05

#: Seconds that a node's Pong proves its endpoint.  The specification says 12 hours; geth gives a whole day, and who
#: relies on that must not find us deaf.
BOND_LIFETIME = 24 * 3600.0
#: Seconds that we rely on our own Pong to have proven us.  What the specification promises, and no more.
GREETING_LIFETIME = 12 * 3600.0
#: Most proofs remembered; the oldest goes first.  Bounds memory at about 8 MiB.
MAX_BONDS = 16384
#: Most proofs remembered of one IPv4 address or IPv6 /64, so that one host with many keys cannot push out all others.
MAX_BONDS_PER_HOST = 128

#: An address that has proven nothing gets at most this many times the bytes that it sent (discv4.md, "Endpoint
#: Proof": else anybody could have us flood a third party).
AMPLIFICATION = 3
#: Most of our own requests under way.  A crawler at full speed has about 2000.
MAX_REQUESTS = 4096
#: Most proofs under way that others asked for.  A flood of forged Pings fills it, and then strangers have to ask
#: again; neither our own requests nor the nodes already known feel that.
MAX_PROOFS = 2048
#: Seconds in which a node that is known and pings again and again is told of once.
MEETING_INTERVAL = 60.0
#: Most nodes kept encoded, to be told again: the size of a table, about.
MAX_TOLD = 2048
#: Most events that wait to be fetched, of those that others can cause.
MAX_EVENTS = 1024
#: Most datagrams that wait to be fetched; what comes after is lost, as datagrams are.
MAX_DATAGRAMS = 4096
