"""
Keys, signatures, hashes and ECIES on secp256k1.

Speaks the "v4" identity scheme (EIP-778) and RLPx's ECIES (devp2p rlpx.md, "ECIES Encryption").  Floor 0.
"""
