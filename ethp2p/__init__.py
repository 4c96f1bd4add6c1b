"""
Ethereum's peer-to-peer stack for Twisted.

The house has floors, and a room imports lower floors only::

    0  codec crypto enr enode blocks networks     bytes, keys, names; no Twisted
    2  rlpx                                       an encrypted message transport
    3  devp2p                                     sessions, and the capabilities that share them
    4  eth                                        a capability: Ethereum's chain data
    5  peers chain events order node              the household, and the node that composes it all
    6  web                                        windows: JSON-RPC, subscriptions, metrics, health
    -  config whole tap cli console doctor        the roof: how people come in
       lastwords sandbox testing
"""

__version__ = "0.1.0"
