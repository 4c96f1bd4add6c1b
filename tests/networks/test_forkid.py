"""
Tests of fork ids.
"""

from __future__ import annotations

from zlib import crc32

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.errors import DisconnectReason, Offence, WireError
from ethp2p.networks import (
    FORK_ID,
    ForkId,
    ForkRejected,
    ForkSchedule,
    LocalIncompatible,
    Network,
    RemoteStale,
    named,
)

MAINNET = named("mainnet")
#: Mainnet as it was before forks by time.
LEGACY = attrs.evolve(MAINNET, fork_times=())
#: Mainnet as EIP-6122 imagined it.
WITHDRAWALS = attrs.evolve(MAINNET, fork_blocks=(*MAINNET.fork_blocks, 18000000), fork_times=(1668000000,))
MOST = 2**64 - 1

#: By network: number, timestamp, hash, next.  From go-ethereum's C{core/forkid/forkid_test.go}.
CREATION = {
    "mainnet": [
        (0, 0, 0xFC64EC04, 1150000),
        (1149999, 0, 0xFC64EC04, 1150000),
        (1150000, 0, 0x97C2C34C, 1920000),
        (1919999, 0, 0x97C2C34C, 1920000),
        (1920000, 0, 0x91D1F948, 2463000),
        (2462999, 0, 0x91D1F948, 2463000),
        (2463000, 0, 0x7A64DA13, 2675000),
        (2674999, 0, 0x7A64DA13, 2675000),
        (2675000, 0, 0x3EDD5B10, 4370000),
        (4369999, 0, 0x3EDD5B10, 4370000),
        (4370000, 0, 0xA00BC324, 7280000),
        (7279999, 0, 0xA00BC324, 7280000),
        (7280000, 0, 0x668DB0AF, 9069000),
        (9068999, 0, 0x668DB0AF, 9069000),
        (9069000, 0, 0x879D6E30, 9200000),
        (9199999, 0, 0x879D6E30, 9200000),
        (9200000, 0, 0xE029E991, 12244000),
        (12243999, 0, 0xE029E991, 12244000),
        (12244000, 0, 0x0EB440F6, 12965000),
        (12964999, 0, 0x0EB440F6, 12965000),
        (12965000, 0, 0xB715077D, 13773000),
        (13772999, 0, 0xB715077D, 13773000),
        (13773000, 0, 0x20C327FC, 15050000),
        (15049999, 0, 0x20C327FC, 15050000),
        (15050000, 0, 0xF0AFD0E3, 1681338455),
        (20000000, 1681338454, 0xF0AFD0E3, 1681338455),
        (20000000, 1681338455, 0xDCE96C2D, 1710338135),
        (30000000, 1710338134, 0xDCE96C2D, 1710338135),
        (30000000, 1710338135, 0x9F3D2254, 1746612311),
        (30000000, 1746022486, 0x9F3D2254, 1746612311),
        (30000000, 1746612311, 0xC376CF8B, 1764798551),
        (30000000, 1764798550, 0xC376CF8B, 1764798551),
        (30000000, 1764798551, 0x5167E2A6, 1765290071),
        (30000000, 1765290070, 0x5167E2A6, 1765290071),
        (30000000, 1765290071, 0xCBA2A1C0, 1767747671),
        (30000000, 1767747670, 0xCBA2A1C0, 1767747671),
        (30000000, 1767747671, 0x07C9462E, 0),
        (50000000, 2000000000, 0x07C9462E, 0),
    ],
    "sepolia": [
        (0, 0, 0xFE3366E7, 1735371),
        (1735370, 0, 0xFE3366E7, 1735371),
        (1735371, 0, 0xB96CBD13, 1677557088),
        (1735372, 1677557087, 0xB96CBD13, 1677557088),
        (1735372, 1677557088, 0xF7F9BC08, 1706655072),
        (1735372, 1706655071, 0xF7F9BC08, 1706655072),
        (1735372, 1706655072, 0x88CF81D9, 1741159776),
        (1735372, 1741159775, 0x88CF81D9, 1741159776),
        (1735372, 1741159776, 0xED88B5FD, 1760427360),
        (1735372, 1760427359, 0xED88B5FD, 1760427360),
        (1735372, 1760427360, 0xE2AE4999, 1761017184),
        (1735372, 1761017183, 0xE2AE4999, 1761017184),
        (1735372, 1761017184, 0x56078A1E, 1761607008),
        (1735372, 1761607007, 0x56078A1E, 1761607008),
        (1735372, 1761607008, 0x268956B6, 0),
        (1735372, 2000000000, 0x268956B6, 0),
    ],
    "holesky": [
        (0, 0, 0xC61A6098, 1696000704),
        (123, 0, 0xC61A6098, 1696000704),
        (123, 1696000704, 0xFD4F016B, 1707305664),
        (123, 1707305663, 0xFD4F016B, 1707305664),
        (123, 1707305664, 0x9B192AD0, 1740434112),
        (123, 1740434111, 0x9B192AD0, 1740434112),
        (123, 1740434112, 0xDFBD9BED, 1759308480),
        (123, 1759308479, 0xDFBD9BED, 1759308480),
        (123, 1759308480, 0x783DEF52, 1759800000),
        (123, 1759799999, 0x783DEF52, 1759800000),
        (123, 1759800000, 0xA280A45C, 1760389824),
        (123, 1760389823, 0xA280A45C, 1760389824),
        (123, 1760389824, 0x9BC6CB31, 0),
        (123, 2000000000, 0x9BC6CB31, 0),
    ],
    "hoodi": [
        (0, 0, 0xBEF71D30, 1742999832),
        (123, 1742999831, 0xBEF71D30, 1742999832),
        (123, 1742999832, 0x0929E24E, 1761677592),
        (123, 1761677591, 0x0929E24E, 1761677592),
        (123, 1761677592, 0xE7E0E7FF, 1762365720),
        (123, 1762365719, 0xE7E0E7FF, 1762365720),
        (123, 1762365720, 0x3893353E, 1762955544),
        (123, 1762955543, 0x3893353E, 1762955544),
        (123, 1762955544, 0x23AA1351, 0),
        (123, 2000000000, 0x23AA1351, 0),
    ],
    "bsc": [
        (40000000, 1777343399, 0x4D518CE1, 1777343400),
        (40000000, 1777343400, 0x808E16A3, 0),
    ],
    "chapel": [
        (40000000, 1774319399, 0x5B240570, 1774319400),
        (40000000, 1774319400, 0xF0BF43DA, 0),
    ],
}

#: EIP-6122's own table, from where it leaves mainnet's.
CREATION_EIP6122 = [
    (15050000, 0, 0xF0AFD0E3, 18000000),
    (18000000, 0, 0x4FB8A872, 1668000000),
    (20000000, 0, 0x4FB8A872, 1668000000),
    (20000000, 1668000000, 0xC1FDF181, 0),
    (20100000, 2669000000, 0xC1FDF181, 0),
]


def after(checksum: int, fork: int) -> int:
    """The checksum with one more fork."""
    return crc32(fork.to_bytes(8, "big"), checksum)


Cases = list[tuple[int, int, int, int, "type[ForkRejected] | None"]]

#: Number, timestamp, the peer's hash and next, and what comes of it.  Same source.
BY_BLOCK: Cases = [
    (15050000, 0, 0xF0AFD0E3, 0, None),  # the same state
    (15050000, 0, 0xF0AFD0E3, MOST, None),  # a next fork that only they know, far away
    (7279999, 0, 0xA00BC324, 0, None),  # they do not know our next fork yet
    (7279999, 0, 0xA00BC324, 7280000, None),
    (7279999, 0, 0xA00BC324, MOST, None),  # they have another next fork
    (7280000, 0, 0xA00BC324, 7280000, None),  # they are behind
    (7987396, 0, 0xA00BC324, 7280000, None),
    (7987396, 0, 0x3EDD5B10, 4370000, None),
    (7279999, 0, 0x668DB0AF, 0, None),  # we are behind
    (4369999, 0, 0xA00BC324, 0, None),
    (7987396, 0, 0xA00BC324, 0, RemoteStale),  # they do not know the fork that we passed
    (7987396, 0, 0x5CDDC0E1, 0, LocalIncompatible),  # they passed one that we do not know
    (7279999, 0, 0x5CDDC0E1, 0, LocalIncompatible),
    (7987396, 0, 0xAFEC6B27, 0, LocalIncompatible),  # Rinkeby
    (88888888, 0, 0xF0AFD0E3, 88888888, LocalIncompatible),  # their next fork is past here
    (7279999, 0, 0xA00BC324, 7279999, LocalIncompatible),
]
BY_BLOCK_AND_TIME: Cases = [
    (15050000, 0, 0xF0AFD0E3, 0, None),
    (15050000, 0, 0xF0AFD0E3, 1681338455, None),
    (15050000, 0, 0xF0AFD0E3, MOST, None),
    (20000000, 1681338455, 0xF0AFD0E3, 1681338455, None),
    (20123456, 1681338456, 0xF0AFD0E3, 1681338455, None),
    (20000000, 1681338455, 0x20C327FC, 15050000, None),
    (15050000, 0, 0xDCE96C2D, 0, None),
    (13773000, 0, 0xF0AFD0E3, 0, None),
    (20000000, 1681338455, 0xF0AFD0E3, 0, RemoteStale),
    (15050000, 0, after(0xF0AFD0E3, MOST), 0, LocalIncompatible),
    (15050000, 0, after(0xDCE96C2D, MOST), 0, LocalIncompatible),
    (888888888, 1660000000, 0xF0AFD0E3, 1660000000, LocalIncompatible),
    (19999999, 1667999999, 0xF0AFD0E3, 1667999999, LocalIncompatible),
    (20000000, 1681338455, 0xDCE96C2D, 0, None),
    (20000000, 1681338455, 0xDCE96C2D, MOST, None),
    (20000000, 1668000000, 0xDCE96C2D, 0, None),
    (20000000, 1668000000, 0xDCE96C2D, 1710338135, None),
    (20000000, 1668000000, 0xDCE96C2D, MOST, None),
    (21000000, 1710338135, 0xDCE96C2D, 1710338135, None),
    (21123456, 1710338136, 0xDCE96C2D, 1710338135, None),
    (0, 0, 0x3EDD5B10, 1710338135, None),
    (21000000, 1700000000, 0x9F3D2254, 0, None),
    (21000000, 1678000000, 0xC376CF8B, 0, None),
    (21000000, 1710338135, 0xDCE96C2D, 0, RemoteStale),
    (20000000, 1681338455, after(0xDCE96C2D, MOST), 0, LocalIncompatible),
    (20000000, 1668000000, after(0x9F3D2254, MOST), 0, LocalIncompatible),
    (20000000, 1681338455, 0x12345678, 0, LocalIncompatible),
    (88888888, 8888888888, 0x07C9462E, 8888888888, LocalIncompatible),
    (20999999, 1699999999, 0x71147644, 1700000000, LocalIncompatible),
]
#: EIP-6122's own.
BY_EIP6122: Cases = [
    (20000000, 1668000001, 0xC1FDF181, 0, None),
    (20000000, 1668000001, 0xC1FDF181, MOST, None),
    (7279999, 1667999999, 0xA00BC324, 0, None),
    (7279999, 1667999999, 0xA00BC324, 7280000, None),
    (7279999, 1667999999, 0xA00BC324, MOST, None),
    (20000000, 1668000000, 0xA00BC324, 7280000, None),
    (20000000, 1668000001, 0xA00BC324, 7280000, None),
    (20000000, 1668000001, 0x3EDD5B10, 4370000, None),
    (7279999, 1667999999, 0x668DB0AF, 0, None),
    (4369999, 1667999999, 0xA00BC324, 0, None),
    (20000000, 1668000001, 0xA00BC324, 0, RemoteStale),
    (20000000, 1668000001, 0x5CDDC0E1, 0, LocalIncompatible),
    (20000000, 1668000001, 0xAFEC6B27, 0, LocalIncompatible),
    (88888888, 1668000001, 0xF0AFD0E3, 88888888, RemoteStale),
    (20000000, 1668000001, 0xA00BC324, 7279999, RemoteStale),
]


def fork_id(checksum: int, following: int = 0) -> ForkId:
    """A fork id from numbers."""
    return ForkId(checksum.to_bytes(4, "big"), following)


class CreationTests(SynchronousTestCase):
    """
    Our own fork id.
    """

    def test_public_networks(self) -> None:
        """
        Before and after each fork of each network.
        """
        for name, cases in CREATION.items():
            for number, timestamp, checksum, following in cases:
                found = named(name).fork_id(number, timestamp)
                self.assertEqual(found, fork_id(checksum, following), f"{name} at {number}, {timestamp}")

    def test_eip6122(self) -> None:
        """
        Blocks come first, then times.
        """
        for number, timestamp, checksum, following in CREATION_EIP6122:
            self.assertEqual(WITHDRAWALS.fork_id(number, timestamp), fork_id(checksum, following))
        homestead = ForkSchedule(MAINNET.genesis_hash, (1150000,), (1668000000,))
        self.assertEqual(homestead.fork_id(1150000, 1668000000), fork_id(0xCB37B2EE))

    def test_times_wait_for_blocks(self) -> None:
        """
        A fork by time does not count while one by block is still to come, whatever the clock says.
        """
        self.assertEqual(MAINNET.fork_id(0, 2000000000), fork_id(0xFC64EC04, 1150000))

    def test_schedule(self) -> None:
        """
        Forks are put in order, those at once count once, and those of block 0 not at all.
        """
        genesis = bytes(32)
        network = Network("x", 1, 1, genesis, fork_blocks=(7, 0, 5, 7, 5), fork_times=(30, 0, 20, 30))
        self.assertEqual((network.fork_blocks, network.fork_times), ((5, 7), (20, 30)))
        checksum = crc32(genesis)
        self.assertEqual(network.fork_id(4, 0), fork_id(checksum, 5))
        self.assertEqual(network.fork_id(7, 30), fork_id(after(after(after(after(checksum, 5), 7), 20), 30)))


class ValidationTests(SynchronousTestCase):
    """
    The fork ids of others.
    """

    def check(self, network: Network, cases: Cases) -> None:
        for number, timestamp, checksum, following, expected in cases:
            remote = fork_id(checksum, following)
            if expected is None:
                network.check_fork_id(remote, number, timestamp)
            else:
                error = self.assertRaises(ForkRejected, network.check_fork_id, remote, number, timestamp)
                self.assertIs(type(error), expected, f"{remote} at {number}, {timestamp}")
                self.assertIn(str(remote), str(error))

    def test_by_block(self) -> None:
        """
        Mainnet while all forks were by block.
        """
        self.check(LEGACY, BY_BLOCK)

    def test_by_block_and_time(self) -> None:
        """
        Mainnet with forks by time, on both sides of the change.
        """
        self.check(MAINNET, BY_BLOCK_AND_TIME)

    def test_their_next_is_a_time(self) -> None:
        """
        While we still wait for a block, a next fork of theirs may have come by time; up to the time of mainnet's
        genesis it is a block number.
        """
        threshold = 1438269973
        self.check(
            MAINNET,
            [
                (15049999, 1660000000, 0x20C327FC, 1660000000, LocalIncompatible),
                (15049999, 1659999999, 0x20C327FC, 1660000000, None),
                (15049999, 1660000000, 0x20C327FC, threshold + 1, LocalIncompatible),
                (15049999, 1660000000, 0x20C327FC, threshold, None),
            ],
        )

    def test_eip6122(self) -> None:
        """
        The cases of EIP-6122.
        """
        self.check(WITHDRAWALS, BY_EIP6122)

    def test_eip2124(self) -> None:
        """
        EIP-2124's table of stale software, with forks A (genesis), B at 10 and C at 20.
        """
        a = crc32(bytes(32))
        ab = after(a, 10)
        abc = after(ab, 20)
        none = ForkSchedule(bytes(32), (), ())
        b = ForkSchedule(bytes(32), (10,), ())
        b_later = ForkSchedule(bytes(32), (15,), ())
        bc = ForkSchedule(bytes(32), (10, 20), ())
        table: list[tuple[ForkSchedule, int, int, int, type[ForkRejected] | None]] = [
            (none, 5, a, 0, None),
            (none, 9, a, 10, None),
            (none, 10, a, 10, LocalIncompatible),
            (b, 5, a, 0, None),
            (b, 5, a, 10, None),
            (b_later, 9, a, 10, None),
            (b_later, 10, a, 10, LocalIncompatible),
            (b, 10, a, 10, None),
            (bc, 20, a, 10, None),
            (b, 5, ab, 0, None),
            (bc, 5, ab, 0, None),
            (none, 5, ab, 0, LocalIncompatible),
            (b, 5, abc, 0, LocalIncompatible),
            (b, 10, a, 0, RemoteStale),
        ]
        for schedule, number, checksum, following, expected in table:
            if expected is None:
                schedule.check(fork_id(checksum, following), number, 0)
            else:
                self.assertRaises(expected, schedule.check, fork_id(checksum, following), number, 0)

    def test_what_is_sent(self) -> None:
        """
        A peer of another chain is told that it is of no use.
        """
        for error in (RemoteStale, LocalIncompatible):
            self.assertEqual((error.reason, error.offence), (DisconnectReason.USELESS_PEER, Offence.WRONG_CHAIN))

    @given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
    def test_same_software(self, number: int, timestamp: int, other_number: int, other_timestamp: int) -> None:
        """
        Two nodes with the same schedule accept each other, wherever their heads are.
        """
        schedule = ForkSchedule(b"g" * 32, (10, 20), (30, 40))
        schedule.check(schedule.fork_id(number, timestamp), other_number, other_timestamp)


class EncodingTests(SynchronousTestCase):
    """
    Fork ids in RLP.
    """

    def test_vectors(self) -> None:
        """
        The examples of EIP-2124.
        """
        for checksum, following, encoded in [
            (0, 0, "c6840000000080"),
            (0xDEADBEEF, 0xBADDCAFE, "ca84deadbeef84baddcafe"),
            (0xFFFFFFFF, MOST, "ce84ffffffff88ffffffffffffffff"),
        ]:
            self.assertEqual(FORK_ID.encode(fork_id(checksum, following)).hex(), encoded)
            self.assertEqual(FORK_ID.decode(bytes.fromhex(encoded)), fork_id(checksum, following))

    def test_refused(self) -> None:
        """
        A hash of another size, a number over 64 bits.
        """
        for encoded in ("c58300000080", "c78500000000" + "0080", "cf84ffffffff89010000000000000000", "c50000000080"):
            self.assertRaises(WireError, FORK_ID.decode, bytes.fromhex(encoded))
