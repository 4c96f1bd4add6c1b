"""
Helpers for testing programs that speak to peers, in memory and without real time.

What each module is for::

    pump      two sans-IO engines, joined and chopped at any byte
    network   many hosts on one virtual network: TCP and UDP with latency, loss, cuts and lost machines; a C{Host} is
              a reactor
    nat       the kinds of NAT that hosts on it may be behind
    channel   two message transports joined: a capability or message protocol without RLPx under it
    household who decides about peers, saying yes and writing everything down
    frames    RLPx frames built by hand, honest and hostile, and payloads that lie
    toy       a complete small capability: a guessing game
    clock     the virtual clock on its own

Nothing here touches a socket, the global reactor or the machine's clock, and chance comes from a seed: the same
test does the same every time.  Roof: it may use every floor, and none uses it.

Source: the frame builder follows devp2p rlpx.md, "Framing", in plain steps and on pycryptodome alone, so that
it shares no code with what it tests.  The NATs follow RFC 3489 and RFC 4787.

Where the real world differs: IPv4 and IPv6 are apart on C{::} too; addresses behind a NAT are unique in the whole
network; for TCP a NAT lets calls out and none in, and the called one sees the address inside.
"""
