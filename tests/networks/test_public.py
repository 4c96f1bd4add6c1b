"""
Tests of the public networks.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keys import PublicKey
from ethp2p.errors import ConfigError
from ethp2p.networks import NAMES, named

#: Chain id, genesis hash, port, and how many bootnodes.
PUBLIC = {
    "mainnet": (1, "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3", 30303, 4),
    "sepolia": (11155111, "25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9", 30303, 5),
    "hoodi": (560048, "bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b", 30303, 3),
    "holesky": (17000, "b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4", 30303, 2),
    "bsc": (56, "0d21840abff46b96c84b2ac9e10e4f5cdaeb5693cb665db62a2f3b02d2d57b5b", 30311, 6),
    "chapel": (97, "6d3c66c5357ec91d5c43af47e234a939b22557cbb552dc45bebbceeed90fbe34", 30311, 4),
}


class PublicTests(SynchronousTestCase):
    """
    What is known of them.
    """

    def test_identity(self) -> None:
        """
        Each has its ids, and a genesis header that hashes to what everybody knows.
        """
        self.assertEqual(set(NAMES), set(PUBLIC))
        for name, (chain_id, genesis_hash, port, bootnodes) in PUBLIC.items():
            network = named(name)
            self.assertEqual((network.name, network.chain_id, network.network_id), (name, chain_id, chain_id))
            self.assertEqual(network.genesis_hash.hex(), genesis_hash)
            assert network.genesis_header is not None
            self.assertEqual(network.genesis_header.hash, network.genesis_hash)
            self.assertEqual((network.port, len(network.bootnodes)), (port, bootnodes))

    def test_where_to_meet(self) -> None:
        """
        Bootnodes are enode URLs with keys on the curve and the network's port; Ethereum's networks have a tree
        of nodes in the DNS.
        """
        url = re.compile(r"enode://([0-9a-f]{128})@(?:\d{1,3}\.){3}\d{1,3}:(\d+)")
        for name in NAMES:
            network = named(name)
            for bootnode in network.bootnodes:
                found = url.fullmatch(bootnode)
                assert found is not None, bootnode
                PublicKey.parse(bytes.fromhex(found[1]))
                self.assertEqual(int(found[2]), network.port)
            tree = re.compile(rf"enrtree://[A-Z2-7]{{53}}@all\.{name}\.ethdisco\.net")
            self.assertEqual(len(network.dns), 0 if network.port == 30311 else 1)
            self.assertTrue(all(tree.fullmatch(link) for link in network.dns))

    def test_forks_are_after_genesis(self) -> None:
        """
        Forks that were there from the start are not in the schedule.
        """
        for name in NAMES:
            network = named(name)
            assert network.genesis_header is not None
            self.assertTrue(all(fork > network.genesis_header.timestamp for fork in network.fork_times))
            self.assertNotIn(0, network.fork_blocks)
        self.assertEqual(named("hoodi").fork_times[0], 1742999832)

    def test_unknown(self) -> None:
        """
        The error says which there are.
        """
        error = self.assertRaises(ConfigError, named, "ropsten")
        self.assertEqual(
            str(error), "no network is named 'ropsten'; there are mainnet, sepolia, hoodi, holesky, bsc, chapel"
        )
