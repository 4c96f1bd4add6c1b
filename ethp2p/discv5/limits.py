"""
How much, and how long: every number that bounds discovery v5, and why.
"""

from __future__ import annotations

#: Least and most bytes of a packet (discv5-wire.md, "UDP Communication").
MIN_PACKET = 63
MAX_PACKET = 1280
#: Most bytes of a message that fits into an ordinary packet, beside its header (71) and its tag (16).
MAX_MESSAGE = MAX_PACKET - 71 - 16
#: An address that has proven nothing gets at most this many times the bytes that came from it.  Here that is less
#: than once: only a WHOAREYOU, which is shorter than any packet it answers.
AMPLIFICATION = 3

#: Sessions kept, the least lately used forgotten first.  A forgotten one costs a handshake.  As many nodes that we
#: spoke with are remembered by their newest record, so that they need not send it again.
MAX_SESSIONS = 1024
#: Records kept with the signature checked, so that it is not checked again.
MAX_VERIFIED = 2048
#: Most nodes kept encoded, to be told of again: the size of a table, about.
MAX_TOLD = 2048
#: Challenges underway.  The oldest goes first: with this many, it takes 4,000 forged packets a second to make one
#: live shorter than its time.
MAX_CHALLENGES = 4096
#: Seconds that a challenge may be answered.
HANDSHAKE_TIMEOUT = 1.0
#: Handshakes looked at for one challenge.  A forged one must not end an honest one, nor buy many curve operations.
MAX_TRIES = 3
#: Messages under one key, whose count has 32 bits of the nonce; then there is a new handshake.
MAX_SENT = 2**32 - 1

#: Seconds to wait for an answer, or for the next packet of one.
RESPONSE_TIMEOUT = 0.7
#: Seconds of these after which the request is sent once more: either copy has as long for its way and back.
REPEAT_AFTER = RESPONSE_TIMEOUT / 2
#: Times that a request is repeated: in the silence after it, and in another one, after a handshake or a part of the
#: answer.  Who draws us on with either buys no more packets than that, and a handshake for each.
MAX_REPEATS = 2
#: Requests underway and waiting, to all nodes together.
MAX_CALLS = 4096
#: Requests that wait for an earlier one to the same node.
MAX_QUEUE = 16
#: Packets remembered so that a WHOAREYOU can be told from a forged one: four a request, as when it and its handshake
#: are both repeated.
MAX_NONCES = 4 * MAX_CALLS
#: Seconds that a packet is remembered: a challenge may be repeated for as long as it lives.
NONCE_LIFETIME = RESPONSE_TIMEOUT + HANDSHAKE_TIMEOUT

#: Seconds in which a node that pings again and again in one session is told of once, so that one which has lost its
#: place in the table, perhaps for a lost packet, gets another and is checked.
MEETING_INTERVAL = 60.0

#: Packets that one NODES answer may have, asked or answered; and that are taken of its repetitions together.
MAX_TOTAL = 5
#: Records in one answer, asked or answered; on each hangs a signature.
MAX_NODES = 16
#: Ports up to here are not a node's.  Otherwise a record could turn our pings on somebody's DNS or NTP server.
LAST_SYSTEM_PORT = 1024

#: Events that strangers cause (Asked, Met, Talked) and that wait for the owner; more are dropped.
MAX_EVENTS = 1024
#: Datagrams that wait to be sent; more are dropped, as the network may drop them.
MAX_UNSENT = 4096
