"""
Keys under a password.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ethp2p.cli import keystore
from ethp2p.cli.keystore import unlock
from ethp2p.errors import ConfigError

#: The example of the Web3 Secret Storage Definition.
SECRET = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
PBKDF2: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
#: As geth makes them, with less work; geth opens it too.
SCRYPT: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "dfe06e8f85d25c5facdb7f9e1c76058c"},
        "ciphertext": "c9aaa1feaaefc9caffe16afe2c58f58d6c0920177fac4c029fc19f06b1995d0c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 4096,
            "p": 6,
            "r": 8,
            "salt": "22eb2dd4f42040f3353241ea510e7a8270a0ae432f2455ba00110c8bab27fc94",
        },
        "mac": "07a859d1194459e3026aec9ed41793652639908168be17367631d6af364c062e",
    },
    "id": "1f622f30-7984-458b-8db3-c9167b703562",
    "version": 3,
}
SCRYPT_SECRET = "afef637315a467318a853aaddf5b54abdf5bf5f87b50d3da8311f2623b9cf3d1"


def changed(fields: dict[str, Any], path: str, value: object) -> str:
    copy = json.loads(json.dumps(fields))
    *rest, last = path.split(".")
    inner = copy
    for name in rest:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(copy)


class KeystoreTests(SynchronousTestCase):
    def test_examples(self) -> None:
        for fields, password, secret in ((PBKDF2, "testpassword", SECRET), (SCRYPT, "secret", SCRYPT_SECRET)):
            self.assertEqual(unlock(json.dumps(fields), password).secret.hex(), secret)

    def test_wrong_password(self) -> None:
        error = self.assertRaises(ConfigError, unlock, json.dumps(PBKDF2), "guess")
        self.assertEqual(str(error), "the password is wrong")

    def test_refused(self) -> None:
        """At once: whoever gives us a file cannot make us work for hours, or run out of memory."""
        params = "crypto.kdfparams"
        for fields, path, value in (
            (PBKDF2, "version", 1),
            (PBKDF2, "version", None),
            (PBKDF2, "crypto", []),
            (PBKDF2, "crypto.cipher", "aes-128-cbc"),
            (PBKDF2, "crypto.kdf", "md5"),
            (PBKDF2, "crypto.mac", "zz"),
            (PBKDF2, "crypto.cipherparams.iv", 5),
            (PBKDF2, f"{params}.c", keystore.MAX_ROUNDS + 1),
            (PBKDF2, f"{params}.c", 0),
            (PBKDF2, f"{params}.prf", "hmac-md5"),
            (PBKDF2, f"{params}.dklen", 16),
            (SCRYPT, f"{params}.n", 1 << 40),
            (SCRYPT, f"{params}.r", 1 << 20),
            (SCRYPT, f"{params}.p", keystore.MAX_PASSES + 1),
            (SCRYPT, f"{params}.n", 3),
            (SCRYPT, f"{params}.salt", None),
        ):
            error = self.assertRaises(ConfigError, unlock, changed(fields, path, value), "testpassword")
            self.assertNotIn("\n", str(error))

    @given(st.one_of(st.text(), st.binary().map(lambda data: json.dumps({"version": 3, "crypto": data.hex()}))))
    def test_any_text(self, text: str) -> None:
        self.assertRaises(ConfigError, unlock, text, "")
