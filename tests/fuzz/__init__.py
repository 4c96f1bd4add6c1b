"""
Hostile datagrams for the one socket that both discovery protocols share: C{python -m tests.fuzz}.

A whole L{DiscoveryService<ethp2p.discovery.service.DiscoveryService>}, with real cryptography and virtual time, has
peers that speak with it as they should; between their datagrams, and made out of them, come hostile ones.  What must
hold: nothing is raised and nothing is logged as a failure; every map stays within its cap; memory does not grow; and
an address that has proven nothing gets at most three times the bytes that came from it.

A run is told by its seed, so that what went wrong can be repeated.
"""
