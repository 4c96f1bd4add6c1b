"""AES: NIST SP 800-38A, F.1.5 and F.5.1."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.crypto.aes import block, stream

KEY_128 = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
KEY_256 = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
COUNTER = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
CIPHERED = bytes.fromhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")


class AESTests(SynchronousTestCase):
    def test_stream(self) -> None:
        self.assertEqual(stream(KEY_128, COUNTER).encryptor().update(PLAIN), CIPHERED)
        self.assertEqual(stream(KEY_128, COUNTER).decryptor().update(CIPHERED), PLAIN)

    def test_each_direction_begins_anew(self) -> None:
        both = stream(KEY_256)
        here, there = both.encryptor(), both.decryptor()
        ciphered = here.update(PLAIN[:5]) + here.update(PLAIN[5:])
        self.assertEqual(there.update(ciphered), PLAIN)
        self.assertEqual(stream(KEY_256, bytes(16)).encryptor().update(PLAIN), ciphered)

    def test_block(self) -> None:
        encrypt = block(KEY_256)
        for _ in range(2):
            self.assertEqual(encrypt(PLAIN[:16]).hex(), "f3eed1bdb5d2a03c064b5a7e3db181f8")

    def test_sizes(self) -> None:
        self.assertRaises(ValueError, stream, bytes(15))
        self.assertRaises(ValueError, block, bytes(31))
