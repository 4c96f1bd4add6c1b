"""
Helpers for testing programs that speak to peers, in memory and without real time.

What each module is for::

    pump      two sans-IO engines, joined and chopped at any byte
    network   many hosts on one virtual network: TCP with latency, cuts and lost machines; a C{Host} is a reactor
    channel   two message transports joined: a capability or message protocol without RLPx under it
    household who decides about peers, saying yes and writing everything down
    frames    RLPx frames built by hand, honest and hostile, and payloads that lie
    toy       a complete small capability: a guessing game
    clock     the virtual clock on its own

Nothing here touches a socket, the global reactor or the machine's clock, and chance comes from a seed: the same
test does the same every time.  Roof: it may use every floor, and none uses it.

Source: the frame builder follows devp2p rlpx.md, "Framing", in plain steps and on pycryptodome alone, so that
it shares no code with what it tests.
"""
