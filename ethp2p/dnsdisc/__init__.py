"""
Node lists in DNS: signed trees of node records, read when peers are looked for, and made for publishing.

Speaks EIP-1459 (devp2p dnsdisc.md).  Floor 1.

 - Reading: L{DNSNodeSource} walks several trees, and those that they link to, in random order and no further
   than it is asked for nodes; L{downloadTree} fetches one tree whole.
 - Publishing: L{Tree} is built from records and links, signed, and turned into TXT records or a zone file.
   L{Definition} keeps one in a directory as geth's C{devp2p dns} does, L{NodeSet} is its C{nodes.json}.

Where others differ:

 - A root with a lower sequence number than one seen before is refused, as the EIP asks; geth takes it.
 - geth reads a root with stray spaces or with more behind its signature; here it is exactly as specified.
 - Like geth, hashes in branches may be of 12 to 32 bytes.  What we write has 16.
 - geth stays with an entry that cannot be had and asks for nothing else of that tree; here the walk goes on
   with the others.
 - geth follows any number of links; here a walk knows at most 32 trees.
 - geth's tool writes the links of a tree in any order, and then often cannot confirm its own signature over two
   or more; here the order stays.
"""

from ethp2p.dnsdisc.directory import Definition
from ethp2p.dnsdisc.nodeset import NodeSet, SeenNode
from ethp2p.dnsdisc.protocol import DNSNodeSource, downloadTree
from ethp2p.dnsdisc.tree import Tree, parse_url
from ethp2p.dnsdisc.wire import Link

__all__ = ["DNSNodeSource", "Definition", "Link", "NodeSet", "SeenNode", "Tree", "downloadTree", "parse_url"]
