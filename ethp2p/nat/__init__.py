"""
How the world sees us: the address and ports in front of a NAT, asked for and kept.

Speaks NAT-PMP (RFC 6886), STUN binding (RFC 8489, as RFC 5389), and UPnP through miniupnpc, an optional package.
Floor 1.  L{NatService} does all of it; the engines, L{ethp2p.nat.state}, can be used alone.

Where others differ:

 - geth looks for a gateway once; here the search goes on, every five minutes at first, and begins anew when the
   gateway has not answered for a while, as after a move to another network.
 - geth announces whatever address the gateway names.  An address that is private itself, as behind a second NAT,
   is not announced here; a line says so.
 - geth may take a port on a UPnP gateway that is another host's; here it asks first and takes another port.
 - geth guesses that the gateway is the first address of the local network; here the routing table is read first.
 - A NAT-PMP gateway that was restarted has forgotten its mappings; here they are asked for again at once
   (RFC 6886 section 3.6).
"""

from ethp2p.nat.advice import address_warning, wants_mapping
from ethp2p.nat.service import NatService, Outside
from ethp2p.nat.setting import Method, Setting
from ethp2p.nat.wire import Transport

__all__ = ["Method", "NatService", "Outside", "Setting", "Transport", "address_warning", "wants_mapping"]
