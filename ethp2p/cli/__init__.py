"""
C{ethp2p}: one-shots for the console, with the verbs of geth's C{devp2p} tool where it has them.

Results go to stdout, one line for each mistake or failure to stderr.  The exit status is 0 when it worked, 1 when
it did not or the answer is no, 2 when the command line cannot be understood, and 3 when a verb asks a running node and
there is none.  Roof: it may import everything.
"""

from ethp2p.cli.verbs import main

__all__ = ["main"]
