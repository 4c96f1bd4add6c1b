"""
A whole node under load, on real loopback sockets: C{python -m tests.load}.

The node has a process of its own, so that memory and CPU are the node's; established peers have another, so that
what their pings take is not what it takes to make a flood; the flood has a third.  L{tests.load.trials} says what has
to hold.  C{python -m benchmarks household} does the same at full size and prints the figures.
"""
