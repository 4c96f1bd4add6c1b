"""
Tests of genesis files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.blocks import EMPTY_ROOT, Header
from ethp2p.errors import ConfigError
from ethp2p.networks import from_genesis
from tests.data import ethtest

#: Every fork from the start, as private networks have it.
MERGED = dict.fromkeys(
    [
        *("homesteadBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock", "constantinopleBlock"),
        *("petersburgBlock", "istanbulBlock", "muirGlacierBlock", "berlinBlock", "londonBlock"),
        *("arrowGlacierBlock", "grayGlacierBlock", "mergeNetsplitBlock"),
    ],
    0,
)


def genesis(config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A small genesis file, with changes."""
    return {
        "config": {"chainId": 1337, **(config or {})},
        "gasLimit": "0x1c9c380",
        "difficulty": "1",
        "alloc": {},
        **fields,
    }


def header(config: dict[str, Any] | None = None, **fields: Any) -> Header:
    """The header that it makes."""
    made = from_genesis(genesis(config, **fields)).genesis_header
    assert made is not None
    return made


class TestChainTests(SynchronousTestCase):
    """
    geth's test chain.
    """

    def test_file(self) -> None:
        """
        The hash, from all accounts and fields, and the forks to come.
        """
        network = from_genesis(ethtest() / "genesis.json")
        self.assertEqual(network.genesis_hash.hex(), "bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533")
        self.assertEqual((network.chain_id, network.network_id), (3503995874084926, 3503995874084926))
        self.assertEqual((network.fork_blocks, network.fork_times), ((), (60, 120)))
        self.assertEqual(network.name, "chain-3503995874084926")
        assert network.genesis_header is not None
        self.assertEqual(network.genesis_header.base_fee_per_gas, 1_000_000_000)
        self.assertEqual(network.genesis_header.withdrawals_root, EMPTY_ROOT)
        self.assertIsNone(network.genesis_header.blob_gas_used)

    def test_mapping(self) -> None:
        """
        What was read from the file does as well, under another name and network id.
        """
        path = ethtest() / "genesis.json"
        network = from_genesis(json.loads(path.read_text()), name="test", network_id=7)
        self.assertEqual((network.name, network.network_id), ("test", 7))
        self.assertEqual(network.genesis_hash, from_genesis(str(path)).genesis_hash)


class HeaderTests(SynchronousTestCase):
    """
    The header that a genesis file makes.
    """

    def test_fields_of_forks(self) -> None:
        """
        A field is there when its fork is active at genesis, and not before.
        """
        forks: dict[str, Any] = {}
        made = header(forks)
        self.assertEqual((made.base_fee_per_gas, made.withdrawals_root), (None, None))
        self.assertIsNone(header({"shanghaiTime": 0}).withdrawals_root)  # not without London
        forks |= MERGED
        self.assertEqual(header(forks).base_fee_per_gas, 1_000_000_000)
        self.assertEqual(header(forks, baseFeePerGas="0x7").base_fee_per_gas, 7)
        self.assertIsNone(header(forks).withdrawals_root)
        forks["shanghaiTime"] = 0
        self.assertEqual(header(forks).withdrawals_root, EMPTY_ROOT)
        self.assertIsNone(header(forks).blob_gas_used)
        forks["cancunTime"] = 0
        made = header(forks)
        self.assertEqual((made.blob_gas_used, made.excess_blob_gas), (0, 0))
        self.assertEqual(made.parent_beacon_block_root, bytes(32))
        made = header(forks, blobGasUsed="0x20000", excessBlobGas=5)
        self.assertEqual((made.blob_gas_used, made.excess_blob_gas), (131072, 5))
        self.assertIsNone(made.requests_hash)
        forks["pragueTime"] = 0
        made = header(forks | {"osakaTime": 0, "bpo1Time": 0})
        assert made.requests_hash is not None
        self.assertEqual(made.requests_hash.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        self.assertIsNone(made.block_access_list_hash)
        forks["amsterdamTime"] = 0
        made = header(forks)
        assert made.block_access_list_hash is not None
        self.assertEqual(
            made.block_access_list_hash.hex(), "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
        )
        self.assertEqual((made.slot_number, header(forks, slotNumber=9).slot_number), (0, 9))

    def test_active_by_genesis_time(self) -> None:
        """
        A fork by time is active at genesis from its own second on, and then not in the schedule.
        """
        for at, active in ((999, True), (1000, True), (1001, False)):
            network = from_genesis(genesis(MERGED | {"shanghaiTime": at}, timestamp=1000))
            assert network.genesis_header is not None
            self.assertEqual(network.genesis_header.withdrawals_root, EMPTY_ROOT if active else None)
            self.assertEqual(network.fork_times, () if active else (at,))

    def test_other_fields(self) -> None:
        """
        All that is in the file is in the header.
        """
        made = header(
            nonce="0x42",
            timestamp="1000",
            extraData="0x" + "ab" * 40,
            mixHash="0x" + "01" * 32,
            coinbase="02" * 20,
            parentHash="0x" + "03" * 32,
            number="0x5",
            gasUsed=6,
        )
        self.assertEqual((made.nonce.hex(), made.timestamp), ("0000000000000042", 1000))
        self.assertEqual((made.extra_data, made.prev_randao), (b"\xab" * 40, b"\x01" * 32))
        self.assertEqual((made.beneficiary, made.parent_hash), (b"\x02" * 20, b"\x03" * 32))
        self.assertEqual((made.number, made.gas_used, made.difficulty), (5, 6, 1))
        self.assertEqual((made.gas_limit, header(gasLimit=0).gas_limit), (30_000_000, 4_712_388))

    def test_spelling(self) -> None:
        """
        Names in another case, null values and names that nobody knows are no trouble, as for geth.
        """
        odd = genesis({"londonblock": 0, "ShanghaiTime": 0, "clique": {"period": 5}, "cancunTime": None, "what": "?"})
        odd |= {"gaslimit": odd.pop("gasLimit"), "MIXHASH": "0x" + "00" * 32, "comment": 3, "extraData": None}
        made = from_genesis(odd).genesis_header
        self.assertEqual(made, header({"londonBlock": 0, "shanghaiTime": 0}))

    def test_state_root(self) -> None:
        """
        C{stateRoot} stands for an C{alloc} that is not in the file, and only then.
        """
        small = genesis(stateRoot="0x" + "07" * 32)
        self.assertEqual(header(stateRoot="0x" + "07" * 32).state_root, EMPTY_ROOT)
        del small["alloc"]
        made = from_genesis(small).genesis_header
        assert made is not None
        self.assertEqual(made.state_root, b"\x07" * 32)

    def test_alloc(self) -> None:
        """
        However they are written, the same accounts make the same state.
        """
        address, slot = "Ab" * 20, "0x" + "00" * 31 + "01"
        one = {address: {"balance": "0x10", "nonce": 1, "code": "0x6000", "storage": {slot: "0x02", "0x03": slot}}}
        other = {
            "0x" + address.lower(): {
                "balance": 16,
                "nonce": "0x1",
                "code": "6000",
                "storage": {"0x01": "0x" + "00" * 31 + "02", "03": "01", "0x05": "0x00"},
                "comment": "a zero slot is none",
            }
        }
        self.assertEqual(header(alloc=one).state_root, header(alloc=other).state_root)
        self.assertNotEqual(header(alloc=one).state_root, header(alloc={address: {"balance": 16}}).state_root)


class ScheduleTests(SynchronousTestCase):
    """
    The forks that a genesis file names.
    """

    def test_all_kinds(self) -> None:
        """
        Every block and time counts, of whichever chain, the glaciers and the DAO with them; nothing else does.
        """
        network = from_genesis(
            genesis(
                {
                    "homesteadBlock": 1,
                    "daoForkBlock": 2,
                    "daoForkSupport": True,
                    "arrowGlacierBlock": 30,
                    "grayGlacierBlock": 31,
                    "mergeNetsplitBlock": 32,
                    "ramanujanBlock": 4,
                    "constantinopleBlock": 3,
                    "petersburgBlock": 3,
                    "londonBlock": 5,
                    "berlinBlock": 0,
                    "terminalTotalDifficulty": 58750000000000000000000,
                    "depositContractAddress": "0x00000000219ab540356cbb839cbe05303d7705fa",
                    "shanghaiTime": 100,
                    "cancunTime": 200,
                    "osakaTime": 300,
                    "bpo1Time": 301,
                    "bpo2Time": 302,
                    "bpo3Time": 303,
                    "bpo4Time": 304,
                    "bpo5Time": 305,
                    "amsterdamTime": 400,
                    "keplerTime": 100,
                    "blobSchedule": {"cancun": {"target": 3, "max": 6}},
                }
            )
        )
        self.assertEqual(network.fork_blocks, (1, 2, 3, 4, 5, 30, 31, 32))
        self.assertEqual(network.fork_times, (100, 200, 300, 301, 302, 303, 304, 305, 400))


class ErrorTests(SynchronousTestCase):
    """
    Files that cannot be used: one line that names file and field.
    """

    def refused(self, content: Any) -> str:
        path = Path(self.mktemp())
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        message = str(self.assertRaises(ConfigError, from_genesis, path))
        self.assertIn(str(path), message)
        self.assertNotIn("\n", message)
        return message.replace(str(path), "FILE")

    def test_fields(self) -> None:
        """
        Each message says where.
        """
        address = "0x" + "ab" * 20
        for content, message in [
            (genesis({"pragueTime": "soon"}), "FILE: config.pragueTime: not a number of up to 64 bits: 'soon'"),
            (genesis({"londonBlock": -1}), "FILE: config.londonBlock: not a number of up to 64 bits: -1"),
            (genesis({"londonBlock": True}), "FILE: config.londonBlock: not a number of up to 64 bits: True"),
            (genesis({"londonBlock": 1e3}), "FILE: config.londonBlock: not a number of up to 64 bits: 1000.0"),
            (genesis({"chainId": 2**64}), f"FILE: config.chainId: not a number of up to 64 bits: {2**64}"),
            (genesis({"chainId": None}), "FILE: config.chainId: missing"),
            (
                genesis({"enableUBTAtGenesis": True}),
                "FILE: config.enableUBTAtGenesis: only Merkle-Patricia state is supported",
            ),
            (genesis(config=None) | {"config": 5}, "FILE: config: not a JSON object"),
            (genesis(gasLimit=None), "FILE: gasLimit: missing"),
            (genesis(difficulty=None), "FILE: difficulty: missing"),
            (
                genesis(difficulty="0x" + "f" * 21),
                "FILE: difficulty: not a number of up to 80 bits: '0xfffffffffffffffffffff'",
            ),
            (genesis(alloc=None), "FILE: alloc: missing"),
            (genesis(alloc=[]), "FILE: alloc: not a JSON object"),
            (genesis(mixHash="0x00"), "FILE: mixHash: not 32 bytes in hexadecimal: '0x00'"),
            (genesis(extraData="0x0"), "FILE: extraData: not bytes in hexadecimal: '0x0'"),
            (genesis(extraData=12), "FILE: extraData: not bytes in hexadecimal: 12"),
            (genesis(alloc={"0xabc": {}}), "FILE: alloc.0xabc: not 20 bytes in hexadecimal: '0xabc'"),
            (genesis(alloc={address: None}), f"FILE: alloc.{address}: missing"),
            (genesis(alloc={address: 5}), f"FILE: alloc.{address}: not a JSON object"),
            (genesis(alloc={address: {}}), f"FILE: alloc.{address}.balance: missing"),
            (
                genesis(alloc={address: {"balance": "1e18"}}),
                f"FILE: alloc.{address}.balance: not a number of up to 256 bits: '1e18'",
            ),
            (
                genesis(alloc={address: {"balance": 0, "storage": {"0x" + "00" * 33: "0x"}}}),
                f"FILE: alloc.{address}.storage.0x{'00' * 33}: more than 32 bytes",
            ),
            (
                genesis({"londonBlock": 0, "cancunTime": 0}),
                "FILE: a header without withdrawals_root but with later fields",
            ),
        ]:
            self.assertEqual(self.refused(content), message)

    def test_files(self) -> None:
        """
        No file, no JSON, no object.
        """
        error = self.assertRaises(ConfigError, from_genesis, "no-such-file.json")
        self.assertEqual(str(error), "cannot read genesis file no-such-file.json: No such file or directory")
        self.assertIn("is not JSON", self.refused("{"))
        self.assertIn("is not JSON", self.refused("[" * 100_000))
        self.assertEqual(self.refused([]), "FILE: not a JSON object")
        self.assertEqual(self.refused({}), "FILE: config: missing")

    @given(
        st.dictionaries(
            st.sampled_from([*genesis(), "nonce", "mixHash", "baseFeePerGas", "timestamp"]),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.text(max_size=6), st.floats()),
                lambda inner: st.dictionaries(st.sampled_from(["balance", "aTime", "chainId", "0x", "00" * 20]), inner),
                max_leaves=6,
            ),
        )
    )
    def test_any_values(self, fields: dict[str, Any]) -> None:
        """
        Any JSON makes a network or a L{ConfigError}.
        """
        try:
            network = from_genesis(genesis() | fields)
        except ConfigError:
            return
        assert network.genesis_header is not None
        self.assertEqual(Header.decode(network.genesis_header.encode()).hash, network.genesis_hash)
