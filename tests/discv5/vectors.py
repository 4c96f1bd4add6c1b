"""
Published vectors: devp2p discv5/discv5-wire-test-vectors.md.  The packets are files of shared data.
"""

from __future__ import annotations

import attrs

from ethp2p.crypto.keys import PrivateKey
from tests.data import shared

_x = bytes.fromhex

NODE_A = PrivateKey.parse(_x("eef77acb6c6a6eebc5b363a475ac583ec7eccdb42b6481424c60f59aa326547f"))
NODE_B = PrivateKey.parse(_x("66fb62bfbd66b9177a138c1e5cddbe4f7c30c343e94e68df8769459cb1cde628"))
ID_A = _x("aaaa8419e9f49d0083561b48287df592939a8d19947d8c0ef88f2a4856a69fbb")
ID_B = _x("bbbb9d047f0488c0b5a93c1c3f2d8bafc7c8ff337024a55434a0d0555de64db9")

#: "ECDH"
ECDH_PUBLIC = _x("039961e4c2356d61bedb83052c115d311acb3a96f5777296dcf297351130266231")
ECDH_SECRET = PrivateKey.parse(_x("fb757dc581730490a1d7a00deea65e9b1936924caaea8f44d476014856b68736"))
ECDH_SHARED = _x("033b11a2a1f214567e1537ce5e509ffd9b21373247f2a3ff6841f4976f53165e7e")

#: "Key Derivation" and "ID Nonce Signing"
EPHEMERAL = ECDH_SECRET
DESTINATION = _x("0317931e6e0840220642f230037d285d122bc59063221ef3226b1f403ddc69ca91")
CHALLENGE_DATA = _x(
    "000000000000000000000000000000006469736376350001010102030405060708090a0b0c0018"
    "0102030405060708090a0b0c0d0e0f100000000000000000"
)
INITIATOR_KEY = _x("dccc82d81bd610f4f76d3ebe97a40571")
RECIPIENT_KEY = _x("ac74bb8773749920b0d3a8881c173ec5")
STATIC = ECDH_SECRET
EPHEMERAL_POINT = ECDH_PUBLIC
ID_SIGNATURE = _x(
    "94852a1e2318c4e5e9d422c98eaf19d1d90d876b29cd06ca7cb7546d0fff7b48"
    "4fe86c09a064fe72bdbef73ba8e9c34df0cd2b53e9d65528c2c7f336d5dfc6e6"
)

#: "Encryption/Decryption"
GCM_KEY = _x("9f2d77db7004bf8a1a85107ac686990b")
GCM_NONCE = _x("27b5af763c446acd2749fe8e")
GCM_PLAIN = _x("01c20101")
GCM_DATA = _x("93a7400fa0d6a694ebc24d5cf570f65d04215b6ac00757875e3f3a5f42107903")
GCM_SEALED = _x("a5d12a2d94b8ccb3ba55558229867dc13bfa3648")


@attrs.frozen
class PacketVector:
    """One packet and what it is made of."""

    packet: bytes
    fields: dict[str, str]

    def __getitem__(self, name: str) -> bytes:
        return _x(self.fields[name].removeprefix("0x"))

    def number(self, name: str) -> int:
        return int(self.fields[name])


def packet_vector(name: str) -> PacketVector:
    """
    Read one of the four.

    @raise SkipTest: there is no shared data.
    """
    digits, fields = "", {}
    for line in (shared("vectors") / f"v5.1-{name}.txt").read_text("ascii").splitlines():
        if line.startswith("#"):
            field, _, value = line.lstrip("# ").partition(" = ")
            fields[field] = value
        else:
            digits += line.strip()
    return PacketVector(_x(digits), fields)
