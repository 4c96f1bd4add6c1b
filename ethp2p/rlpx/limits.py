"""
How much, and how long: every number that bounds an RLPx connection, and why.
"""

from __future__ import annotations

#: Most bytes of a handshake packet after its size prefix.  Honest ones are below 600; geth has the same limit.
MAX_HANDSHAKE_PACKET = 2048
#: Most bytes of one frame's data: what the 24-bit size in its header can say.
MAX_FRAME = 2**24 - 1
#: Most bytes of one message's payload; the floor above holds it to this when decompressed, too (rlpx.md, "Message
#: Encoding").
MAX_MESSAGE = MAX_FRAME
#: Most bytes of the first frame, before Hello has told who this is: a Hello of 2048 and its code.
MAX_FIRST_FRAME = 2049
#: Big frames are ciphered and hashed in pieces of this size, which stay in the processor's cache.  A frame up to it
#: is taken apart when it is whole.
PIECE = 64 * 1024
#: Bytes waiting that are written without waiting for the end of the turn; also what is made of big frames at a time,
#: while TCP has room.
FLUSH_SIZE = 64 * 1024
#: Bytes written to one peer before all others have their turn: about a millisecond's work.
MAX_TURN = 4 * FLUSH_SIZE
#: Most bytes that wait for a peer that does not read: what a well-behaved writer can have under way when it is
#: told to pause, and one largest message.
MAX_UNSENT = 32 * 1024 * 1024 + MAX_FRAME

#: Seconds from the connection's start until the handshake is done.
HANDSHAKE_TIMEOUT = 5.0
#: Seconds without a byte from the peer.  Peers ping every 15.
READ_TIMEOUT = 30.0
#: Seconds that the peer may leave what we sent unread, while our buffer is full.
WRITE_TIMEOUT = 20.0
#: Seconds between closing, when the last words are on their way, and dropping the connection.
CLOSE_TIMEOUT = 2.0
