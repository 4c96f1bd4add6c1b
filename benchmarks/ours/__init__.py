"""
The benchmark driver for ethp2p itself.
"""
