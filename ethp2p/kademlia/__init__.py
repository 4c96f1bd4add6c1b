"""
Finding nodes: whom to know, whom to ask, whom to believe.

The decisions of a Kademlia node (Maymounkov and Mazières, 2002) as discv4 and discv5 use it: the table, the
lookup, the checks that keep the table true, and the driver that puts them to work over any engine that can
ping, find nodes and fetch records.  Floor 1; no Twisted, clock or randomness of its own: the time and C{rng}
are given.

Constants are geth's, so that ethp2p fits in among the nodes there are.  Where it differs:

 - Lookups go over several disjoint paths, as in S/Kademlia (Baumgart and Mies, 2007): one liar on the way
   spoils one path.  A node is in the result when it answered itself, or when several others name it that
   have nothing to do with each other.
 - In a lookup too, one subnet has two places among the closest; who named nodes that mostly do not answer is
   not believed any more.
 - The table has a filter: with the fork id's, a node of another chain takes no place and is told to nobody.
 - IPv6 hosts share their limits by /64; geth takes the first 24 bits, which many providers have in common.
 - Refreshes come often at first, then ever less often until they come as geth's do.
 - A node that called us is left alone for some seconds; before the first refresh is done such nodes wait, a
   few of them, while geth forgets them.
"""

from ethp2p.kademlia.driver import Driver
from ethp2p.kademlia.engine import ByDistance, ByTarget, Vocabulary
from ethp2p.kademlia.fairmix import FairMix
from ethp2p.kademlia.lookup import Lookup
from ethp2p.kademlia.revalidate import Revalidator
from ethp2p.kademlia.table import Entry, Table

__all__ = ["ByDistance", "ByTarget", "Driver", "Entry", "FairMix", "Lookup", "Revalidator", "Table", "Vocabulary"]
