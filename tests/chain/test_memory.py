"""
L{ethp2p.chain.memory}: what is taken, and how it is found again.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.blocks import Block, Body, Header
from ethp2p.chain import MemoryChain, UnfitBlock
from ethp2p.errors import ConfigError
from ethp2p.interfaces import IChain
from tests.chain.building import GENESIS, NETWORK, grow, next_block, receipts, small_chain


class GenesisTests(SynchronousTestCase):
    def test_alone(self) -> None:
        chain = MemoryChain(NETWORK)
        verifyObject(IChain, chain)
        self.assertEqual(chain.head(), GENESIS)
        self.assertEqual(chain.earliest(), 0)
        self.assertEqual(chain.totalDifficulty(), 131072)
        self.assertEqual(chain.hashAt(0), GENESIS.hash)
        self.assertEqual(chain.rawHeader(GENESIS.hash), GENESIS.encode())
        self.assertTrue(Body.decode(chain.rawBody(GENESIS.hash) or b"").matches(GENESIS))
        self.assertEqual(chain.receipts(GENESIS.hash), ())

    def test_body_before_shanghai(self) -> None:
        old = Header(gas_limit=5000, difficulty=17)
        network = attrs.evolve(NETWORK, genesis_hash=old.hash, genesis_header=None)
        chain = MemoryChain(network, old)
        self.assertEqual(chain.rawBody(old.hash), bytes.fromhex("c2c0c0"))

    def test_unknown(self) -> None:
        error = self.assertRaises(ConfigError, MemoryChain, attrs.evolve(NETWORK, genesis_header=None))
        self.assertIn("genesis header of tests", str(error))

    def test_another(self) -> None:
        self.assertRaises(ConfigError, MemoryChain, NETWORK, attrs.evolve(GENESIS, gas_limit=1))


class AppendTests(SynchronousTestCase):
    def test_found_again(self) -> None:
        chain = MemoryChain(NETWORK)
        blocks = []
        for _ in range(5):
            blocks.append(next_block(chain.head()))
            chain.append(blocks[-1], receipts(len(blocks)))
        self.assertEqual(chain.head(), blocks[-1].header)
        for number, block in enumerate(blocks, 1):
            found = chain.hashAt(number) or b""
            self.assertEqual(found, block.header.hash)
            self.assertEqual(chain.numberOf(found), number)
            self.assertEqual(chain.rawHeader(found), block.header.encode())
            self.assertEqual(chain.rawBody(found), block.body.encode())
            self.assertEqual(chain.receipts(found), receipts(number))

    def test_not_found(self) -> None:
        chain = small_chain(2)
        for number in (-1, 3, 2**64 - 1, 2**64):
            self.assertIs(chain.hashAt(number), None)
        for look in (chain.numberOf, chain.rawHeader, chain.rawBody, chain.receipts):
            self.assertIs(look(bytes(32)), None)

    def test_difficulty_adds_up(self) -> None:
        chain = MemoryChain(NETWORK)
        block = next_block(chain.head())
        chain.append(Block(attrs.evolve(block.header, difficulty=5), block.body))
        self.assertEqual(chain.totalDifficulty(), 131077)

    def test_receipts_may_be_unknown(self) -> None:
        chain = grow(MemoryChain(NETWORK), 3, with_receipts=False)
        self.assertIs(chain.receipts(chain.hashAt(1) or b""), None)
        self.assertEqual(chain.receipts(chain.hashAt(3) or b""), ())  # it has no transactions

    def test_refused(self) -> None:
        chain = small_chain(3)
        good = next_block(chain.head())
        header = good.header
        table = [
            ("parent", Block(attrs.evolve(header, parent_hash=bytes(32)), good.body), None),
            ("does not follow", Block(attrs.evolve(header, number=5), good.body), None),
            ("does not follow", Block(attrs.evolve(header, number=3), good.body), None),
            ("body", Block(header, Body((), (), ())), None),
            ("body", Block(header, Body(good.body.transactions, (), None)), None),
            ("receipts", good, receipts(5)),
            ("receipts", good, ()),
        ]
        for words, block, told in table:
            error = self.assertRaises(UnfitBlock, chain.append, block, told)
            self.assertIn(words, str(error))
            self.assertEqual(chain.head().number, 3)
            self.assertIs(chain.hashAt(4), None)
        chain.append(good, receipts(4))
        self.assertEqual(chain.head(), header)


class ObserverTests(SynchronousTestCase):
    def test_told_until_stopped(self) -> None:
        chain = MemoryChain(NETWORK)
        heard: list[Header] = []
        stop = chain.observeHead(heard.append)
        grow(chain, 2)
        stop()
        stop()
        grow(chain, 1)
        self.assertEqual([header.number for header in heard], [1, 2])

    def test_one_that_fails(self) -> None:
        chain = MemoryChain(NETWORK)
        heard: list[Header] = []

        def broken(header: Header) -> None:
            raise RuntimeError("broken")

        chain.observeHead(broken)
        chain.observeHead(heard.append)
        grow(chain, 1)
        self.assertEqual(len(heard), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_cap(self) -> None:
        chain = MemoryChain(NETWORK)
        for _ in range(MemoryChain.MAX_OBSERVERS):
            chain.observeHead(id)
        self.assertRaises(RuntimeError, chain.observeHead, id)
