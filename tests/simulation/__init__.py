"""
Networks of many nodes, on one virtual clock, from one seed.

Two kinds.  In L{tests.simulation.town} every node is a whole
L{DiscoveryService<ethp2p.discovery.service.DiscoveryService>} on a host of its own: real packets, real cryptography,
over links that lose, delay, double and reorder, some behind NATs.  A node costs about 0.2 s of CPU until it has found
its place among a thousand, so the tests have some dozens of them, and C{python -m benchmarks simulation} has ten
thousand.

In the other kind the engines know no packets (L{tests.kademlia.toy}), and the drivers with their tables, lookups and
checks are the real ones: a thousand of these converge in half a minute of CPU.
"""
