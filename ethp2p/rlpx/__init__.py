"""
RLPx: an encrypted, authenticated connection to a peer whose key is proven, carrying whole messages.

Speaks the RLPx transport protocol as version 5 of devp2p uses it (devp2p rlpx.md): the handshake in its EIP-8
form and, when a peer asks in it, in the plain form before EIP-8; then frames with one message each.  What a
message means, snappy (EIP-706) and Hello belong to the floor above.  Floor 2.

Known discrepancies:

  - The two handshake forms are told apart by whether the first 65 bytes are a point of the curve, not by
    decrypting twice as EIP-8 sketches: the answer is the same and a stranger can make us multiply once only.
  - Header data is authenticated and ignored, as everywhere: chunked messages, in the older texts, are not in
    use.
  - A body is decrypted as it comes, in pieces, before its MAC; none of it is handed on until the MAC fits.
  - The first frame may carry L{ethp2p.rlpx.limits.MAX_FIRST_FRAME} bytes only.  The specification knows no
    such limit, but all peers refuse a longer Hello, and a stranger could else make us hold 16 MiB.
"""

from ethp2p.rlpx.endpoints import RLPxClientEndpoint, RLPxServerEndpoint
from ethp2p.rlpx.protocol import RLPxAddress, RLPxFactory, RLPxProtocol
from ethp2p.rlpx.traffic import Traffic

__all__ = ["RLPxAddress", "RLPxClientEndpoint", "RLPxFactory", "RLPxProtocol", "RLPxServerEndpoint", "Traffic"]
