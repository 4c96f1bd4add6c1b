"""
What ethp2p adds to twistd.
"""

from twisted.application.service import ServiceMaker

ethp2p = ServiceMaker(
    "Ethereum peer-to-peer node",
    "ethp2p.tap",
    "A node of Ethereum's peer-to-peer network, or a private network in a sandbox",
    "ethp2p",
)
