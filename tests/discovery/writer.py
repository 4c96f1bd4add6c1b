"""
A process that writes nodes until it is killed.  For each line on standard input it makes another one: a copy of
itself, since to start an interpreter takes longer than all the rest.
"""

from __future__ import annotations

import os
import sys
from itertools import count

from ethp2p.discovery.database import NodeDatabase
from ethp2p.enode import Node
from tests.discovery.support import node

#: What the nodes are told as, again and again; so many are told between two writes.
NODES = 500
GATHERED = 7


def write(path: str, nodes: list[Node], begin: int) -> None:
    """Tell of one node after the other, the time being their number; say which were written."""
    database = NodeDatabase(path)
    for number in count(begin):
        which = nodes[number % NODES]
        database.ponged(which, "v4", float(number))
        database.checked(which, number, float(number))
        if not number % GATHERED:
            database.flush()
            os.write(1, b"%d\n" % number)
            database.expire(0.0)


def main() -> None:
    """Lines in: where to begin.  Lines out: the child's process id, then the numbers written; C{dead} at its end."""
    nodes = [node(number + 1) for number in range(NODES)]
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            write(sys.argv[1], nodes, int(line))
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
