"""Keys: published vectors, what is refused, and key files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey, load_key, recover, save_key
from ethp2p.errors import ConfigError, WireError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FIELD = 2**256 - 2**32 - 977

# EIP-778's example record: its key, and the id it must have.
ENR_SECRET = bytes.fromhex("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
ENR_PUBLIC = bytes.fromhex("03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138")
ENR_NODE_ID = bytes.fromhex("a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7")

# discv5-wire-test-vectors.md, "ECDH".
ECDH_PUBLIC = bytes.fromhex("039961e4c2356d61bedb83052c115d311acb3a96f5777296dcf297351130266231")
ECDH_SECRET = bytes.fromhex("fb757dc581730490a1d7a00deea65e9b1936924caaea8f44d476014856b68736")
ECDH_SHARED = bytes.fromhex("033b11a2a1f214567e1537ce5e509ffd9b21373247f2a3ff6841f4976f53165e7e")

SECRETS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


class VectorTests(SynchronousTestCase):
    def test_public_key_and_node_id(self) -> None:
        key = PrivateKey.parse(ENR_SECRET)
        self.assertEqual(key.public_key.compressed(), ENR_PUBLIC)
        self.assertEqual(key.public_key.node_id, ENR_NODE_ID)
        self.assertEqual(key.secret, ENR_SECRET)

    def test_ecdh_is_the_bare_x_coordinate(self) -> None:
        shared = PrivateKey.parse(ECDH_SECRET).ecdh(PublicKey.parse(ECDH_PUBLIC))
        self.assertEqual(shared, ECDH_SHARED[1:])

    def test_the_generator(self) -> None:
        """SEC 2, section 2.4.1: secret 1 is the generator itself."""
        point = PrivateKey.parse((1).to_bytes(32, "big")).public_key
        self.assertEqual(
            point.raw.hex(),
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
            "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
        )

    def test_an_address_everybody_knows(self) -> None:
        """The first account of the widely used development mnemonic."""
        key = PrivateKey.parse(bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"))
        self.assertEqual(key.public_key.node_id[12:].hex(), "f39fd6e51aad88f6f4ce6ab8827279cfffb92266")


class PublicKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.key = PrivateKey.parse(ENR_SECRET).public_key

    def test_three_forms_are_one_key(self) -> None:
        for form in (self.key.raw, b"\x04" + self.key.raw, self.key.compressed(), bytearray(self.key.raw)):
            again = PublicKey.parse(bytes(form))
            self.assertEqual(again, self.key)
            self.assertEqual(hash(again), hash(self.key))
        self.assertNotEqual(self.key, PrivateKey.parse(ECDH_SECRET).public_key)
        self.assertNotEqual(self.key, self.key.raw)

    def test_refused(self) -> None:
        raw, compressed = self.key.raw, self.key.compressed()
        odd = raw[-1] & 1
        for name, data in {
            "no bytes": b"",
            "63 bytes": raw[1:],
            "66 bytes": b"\x04" + raw + b"\0",
            "zeros": bytes(64),
            "ones": b"\xff" * 64,
            "off the curve": raw[:-1] + bytes([raw[-1] ^ 1]),
            "x not in the field": FIELD.to_bytes(32, "big") + raw[32:],
            "compressed with prefix 4": b"\x04" + compressed[1:],
            "uncompressed with prefix 5": b"\x05" + raw,
            "the hybrid form": bytes([6 + odd]) + raw,
            "the hybrid form of the other sign": bytes([7 - odd]) + raw,
            "compressed off the curve": b"\x02" + (5).to_bytes(32, "big"),
        }.items():
            try:
                self.fail(f"{name} gave {PublicKey.parse(data)}")
            except WireError:
                continue

    @given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64))
    def test_any_bytes_give_a_key_or_a_wire_error(self, data: bytes) -> None:
        try:
            key = PublicKey.parse(data)
        except WireError:
            return
        self.assertEqual(PublicKey.parse(key.raw), key)


class SignatureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.key = PrivateKey.parse(ENR_SECRET)
        self.digest = keccak256(b"a message")
        self.signature = self.key.sign(self.digest)

    def test_a_known_signature(self) -> None:
        """RFC 6979 leaves no choice: secret 1 over SHA-256("Satoshi Nakamoto"), as many libraries publish it."""
        digest = bytes.fromhex("a0dc65ffca799873cbea0ac274015b9526505daaaed385155425f7337704883e")
        signature = PrivateKey.parse((1).to_bytes(32, "big")).sign(digest)
        self.assertEqual(
            signature[:64].hex(),
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
            "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        )

    @given(SECRETS, st.binary(min_size=32, max_size=32))
    def test_sign_recover_verify(self, secret: bytes, digest: bytes) -> None:
        key = PrivateKey.parse(secret)
        signature = key.sign(digest)
        self.assertEqual(len(signature), 65)
        self.assertLess(signature[64], 4)
        self.assertEqual(recover(signature, digest), key.public_key)
        self.assertTrue(key.public_key.verify(signature[:64], digest))
        self.assertFalse(key.public_key.verify(signature[:64], keccak256(digest)))

    @given(SECRETS, SECRETS)
    def test_ecdh_agrees(self, one: bytes, two: bytes) -> None:
        here, there = PrivateKey.parse(one), PrivateKey.parse(two)
        self.assertEqual(here.ecdh(there.public_key), there.ecdh(here.public_key))

    @given(SECRETS, SECRETS, st.binary(min_size=32, max_size=32))
    def test_ecdh_with_who_signed(self, one: bytes, two: bytes, digest: bytes) -> None:
        here, there = PrivateKey.parse(one), PrivateKey.parse(two)
        self.assertEqual(here.ecdh_signer(there.sign(digest), digest), here.ecdh(there.public_key))

    @given(st.binary(min_size=65, max_size=65))
    def test_ecdh_refuses_what_recover_refuses(self, signature: bytes) -> None:
        try:
            shared = self.key.ecdh_signer(signature, self.digest)
        except WireError:
            self.assertRaises(WireError, recover, signature, self.digest)
        else:
            self.assertEqual(shared, self.key.ecdh(recover(signature, self.digest)))

    def test_ecdh_at_the_edges(self) -> None:
        """A high s, a digest that is no number below the order, and the one that is a multiple of it."""
        s = int.from_bytes(self.signature[32:64])
        high = self.signature[:32] + (ORDER - s).to_bytes(32) + bytes([self.signature[64] ^ 1])
        for signature, digest in (
            (high, self.digest),
            (self.signature, b"\xff" * 32),
            (self.signature, bytes(32)),
            (self.signature, ORDER.to_bytes(32)),
        ):
            self.assertEqual(self.key.ecdh_signer(signature, digest), self.key.ecdh(recover(signature, digest)))

    def test_a_changed_signature_does_not_verify(self) -> None:
        for index in range(64):
            changed = bytearray(self.signature[:64])
            changed[index] ^= 1
            self.assertFalse(self.key.public_key.verify(bytes(changed), self.digest), f"byte {index}")

    def test_a_high_s_does_not_verify(self) -> None:
        high = (ORDER - int.from_bytes(self.signature[32:64], "big")).to_bytes(32, "big")
        self.assertFalse(self.key.public_key.verify(self.signature[:32] + high, self.digest))

    def test_signatures_that_nobody_made(self) -> None:
        public = self.key.public_key
        ones, s = b"\xff" * 32, self.signature[32:64]
        for signature in (b"", self.signature[:63], self.signature, bytes(64), ones + s, self.signature[:32] + ones):
            self.assertFalse(public.verify(signature, self.digest))
        for signature in (
            b"",
            self.signature[:64],
            self.signature + b"\0",
            bytes(65),
            ones + s + b"\0",
            bytes(32) + s + b"\0",
            self.signature[:32] + bytes(32) + b"\0",
            self.signature[:32] + ones + b"\0",
            self.signature[:32] + (ORDER + 1).to_bytes(32) + b"\0",
            self.signature[:64] + b"\x04",
            self.signature[:64] + b"\x1b",
            self.signature[:64] + b"\xff",
        ):
            self.assertRaises(WireError, recover, signature, self.digest)
            self.assertRaises(WireError, self.key.ecdh_signer, signature, self.digest)
        self.assertRaises(WireError, self.key.ecdh_signer, self.signature, self.digest[:31])

    @given(st.binary(min_size=65, max_size=65))
    def test_recover_gives_a_key_or_a_wire_error(self, signature: bytes) -> None:
        try:
            key = recover(signature, self.digest)
        except WireError:
            return
        self.assertNotEqual(key, self.key.public_key)


class PrivateKeyTests(SynchronousTestCase):
    def test_refused(self) -> None:
        for secret in (b"", bytes(31), bytes(33), bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32):
            self.assertRaises(ConfigError, PrivateKey.parse, secret)
        PrivateKey.parse((ORDER - 1).to_bytes(32, "big"))

    def test_generate_draws_again_when_it_must(self) -> None:
        draws = [bytes(32), b"\xff" * 32, ENR_SECRET]
        key = PrivateKey.generate(lambda size: draws.pop(0))
        self.assertEqual((key.secret, draws), (ENR_SECRET, []))

    def test_generate_is_random_by_default(self) -> None:
        self.assertNotEqual(PrivateKey.generate().secret, PrivateKey.generate().secret)

    def test_repr_keeps_the_secret(self) -> None:
        key = PrivateKey.parse(ENR_SECRET)
        for text in (repr(key), str(key), repr([key])):
            self.assertNotIn(ENR_SECRET.hex()[:8], text)
            self.assertNotIn(str(int.from_bytes(ENR_SECRET, "big"))[:8], text)
            self.assertIn(key.public_key.raw.hex()[:16], text)


class KeyFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.key = PrivateKey.parse(ENR_SECRET)

    def test_round_trip_in_the_form_geth_writes(self) -> None:
        save_key(self.path, self.key)
        self.assertEqual(self.path.read_text().strip(), ENR_SECRET.hex())
        self.assertEqual(load_key(self.path).secret, ENR_SECRET)
        self.assertEqual(load_key(str(self.path)).secret, ENR_SECRET)

    def test_only_the_owner_can_read_it_whatever_the_umask(self) -> None:
        for umask in (0o000, 0o022, 0o277):
            path = self.path.with_suffix(f".{umask:o}")
            before = os.umask(umask)
            try:
                save_key(path, self.key)
            finally:
                os.umask(before)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_never_over_an_existing_file(self) -> None:
        self.path.write_text("precious")
        with self.assertRaises(ConfigError) as caught:
            save_key(self.path, self.key)
        self.assertIn(str(self.path), str(caught.exception))
        self.assertEqual(self.path.read_text(), "precious")

    def test_never_through_a_link(self) -> None:
        """A link laid in a shared folder must not send the secret elsewhere."""
        self.path.symlink_to(self.path.with_suffix(".elsewhere"))
        self.assertRaises(ConfigError, save_key, self.path, self.key)
        self.assertFalse(self.path.with_suffix(".elsewhere").exists())

    def test_no_such_folder(self) -> None:
        self.assertRaises(ConfigError, save_key, self.path / "nowhere" / "key", self.key)

    def test_unreadable_files_are_one_clear_line_without_the_secret(self) -> None:
        self.assertRaises(ConfigError, load_key, self.path)
        for text in (b"", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"00" * 32, b"\xff\xfe", b"0x" + b"ab" * 32):
            self.path.write_bytes(text)
            with self.assertRaises(ConfigError) as caught:
                load_key(self.path)
            self.assertIn(str(self.path), str(caught.exception))
            self.assertNotIn("abab", str(caught.exception).replace(str(self.path), ""))

    def test_trailing_newlines_are_fine(self) -> None:
        self.path.write_text(ENR_SECRET.hex().upper() + "\r\n\n")
        self.assertEqual(load_key(self.path).secret, ENR_SECRET)
