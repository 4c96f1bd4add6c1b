"""
Discovery put together: one UDP port for both protocols, what is known from the last time, and nodes to call.

L{DiscoveryService} is all of it, for an embedder alone or for a node.  It stands on C{kademlia}, C{discv4}, C{discv5}
and C{dnsdisc}, and knows nothing of what is done with the nodes it gives.

 - C{service}: lifetime and configuration.
 - C{protocol}: the sockets.  A datagram is offered to discv4 and then to discv5; what neither knows gets no answer.
   C{gate} has a rate for each source, C{speaker} a protocol's engine and driver in Twisted's clothes.
 - C{database}, C{schema}, C{keeping}: the nodes between one run and the next, in SQLite.  C{witness} notes there what
   the nodes do.
 - C{sources}: nodes to call from the database, lookups, DNS and whoever else provides
   L{INodeSource<ethp2p.discovery.interfaces.INodeSource>}, mixed fairly; C{filters} keeps those of other chains out.

Where it differs from geth:

 - A socket for each IP version, and not one for both: each is restricted and routed as it is listed.
 - A node whose record has another chain's fork id takes no place in the tables and is forgotten; geth looks at fork
   ids only before it calls.  Records without one are let in, since bootnodes have none, but not those of consensus
   clients and roll-ups.
 - Of nodes that never answered nothing is written.  The database is bounded, also for each subnet, and no subnet gives
   more than two of the seeds.
 - Nobody is looked for unless somebody waits for a node, and lookups that find nobody new come more and more seldom.
"""

from ethp2p.discovery.database import NodeDatabase
from ethp2p.discovery.interfaces import INodeSource
from ethp2p.discovery.service import CannotListen, DiscoveryService
from ethp2p.discovery.sources import ListSource, NodeMix, SourceEnded

__all__ = ["CannotListen", "DiscoveryService", "INodeSource", "ListSource", "NodeDatabase", "NodeMix", "SourceEnded"]
