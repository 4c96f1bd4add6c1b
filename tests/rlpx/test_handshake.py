"""The handshake: EIP-8's vectors through both sides, and everything that makes a packet bad."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p.codec import rlp
from ethp2p.crypto import ecies
from ethp2p.crypto.keys import PrivateKey
from ethp2p.errors import DisconnectReason, Offence
from ethp2p.rlpx.errors import BadHandshake
from ethp2p.rlpx.handshake import Drawn, Initiator, Secrets, answer
from ethp2p.rlpx.wire import Packet, decode_ack, decode_auth
from tests.rlpx import vectors
from tests.rlpx.common import Tape

A = Drawn(vectors.EPHEMERAL_A, vectors.NONCE_A, bytes(100))
B = Drawn(vectors.EPHEMERAL_B, vectors.NONCE_B, bytes(100))

AUTHS = (Packet(False, vectors.AUTH_1), Packet(True, vectors.AUTH_2), Packet(True, vectors.AUTH_3))
ACKS = (Packet(False, vectors.ACK_1), Packet(True, vectors.ACK_2), Packet(True, vectors.ACK_3))


def answered(packet: Packet) -> tuple[bytes, Secrets]:
    return answer(vectors.KEY_B, packet, lambda: B, random=Tape())


def called() -> Initiator:
    return Initiator(vectors.KEY_A, vectors.KEY_B.public_key, A, random=Tape())


class VectorTests(SynchronousTestCase):
    def test_auth(self) -> None:
        for packet, version in zip(AUTHS, (4, 4, 56)):
            auth = decode_auth(vectors.KEY_B, packet)
            self.assertEqual(auth.public_key, vectors.KEY_A.public_key.raw)
            self.assertEqual(auth.nonce, vectors.NONCE_A)
            self.assertEqual(auth.version, version)

    def test_ack(self) -> None:
        for packet, version in zip(ACKS, (4, 4, 57)):
            ack = decode_ack(vectors.KEY_A, packet)
            self.assertEqual(ack.ephemeral, vectors.EPHEMERAL_B.public_key.raw)
            self.assertEqual(ack.nonce, vectors.NONCE_B)
            self.assertEqual(ack.version, version)

    def test_recipient(self) -> None:
        for packet in AUTHS:
            _, secrets = answered(packet)
            self.assertEqual(secrets.remote, vectors.KEY_A.public_key)
            self.assertEqual(secrets.aes, vectors.AES_SECRET)
            self.assertEqual(secrets.mac, vectors.MAC_SECRET)

    def test_recipient_ingress_mac(self) -> None:
        _, secrets = answered(Packet(True, vectors.AUTH_2))
        secrets.ingress.update(b"foo")
        self.assertEqual(secrets.ingress.digest(), vectors.INGRESS_FOO)

    def test_initiator(self) -> None:
        for packet in ACKS:
            secrets = called().read_ack(packet)
            self.assertEqual(secrets.remote, vectors.KEY_B.public_key)
            self.assertEqual(secrets.aes, vectors.AES_SECRET)
            self.assertEqual(secrets.mac, vectors.MAC_SECRET)


class PairTests(SynchronousTestCase):
    def agree(self, eip8: bool) -> tuple[bytes, bytes, Secrets, Secrets]:
        one = Initiator(vectors.KEY_A, vectors.KEY_B.public_key, A, random=Tape(), eip8=eip8)
        ack, theirs = answered(Packet(eip8, one.auth))
        return one.auth, ack, one.read_ack(Packet(eip8, ack)), theirs

    def test_both_sides_know_the_same(self) -> None:
        for eip8 in (True, False):
            _, _, ours, theirs = self.agree(eip8)
            self.assertEqual((ours.aes, ours.mac), (theirs.aes, theirs.mac))
            self.assertEqual(ours.egress.digest(), theirs.ingress.digest())
            self.assertEqual(ours.ingress.digest(), theirs.egress.digest())
            self.assertNotEqual(ours.ingress.digest(), ours.egress.digest())

    def test_sizes(self) -> None:
        auth, ack, _, _ = self.agree(eip8=False)
        self.assertEqual((len(auth), len(ack)), (307, 210))
        auth, ack, _, _ = self.agree(eip8=True)
        self.assertEqual((len(auth), len(ack)), (2 + 113 + 169 + 100, 2 + 113 + 102 + 100))
        self.assertEqual(int.from_bytes(auth[:2]), len(auth) - 2)

    def test_padding_varies(self) -> None:
        sizes = {
            len(Drawn.draw(Tape(b"\x01" * 32, b"\x02" * 32, number.to_bytes(2))).padding)
            for number in (0, 1, 200, 201, 65535)
        }
        self.assertEqual(sizes, {100, 101, 300, 109})

    def test_secrets_do_not_show(self) -> None:
        _, _, ours, _ = self.agree(eip8=True)
        for shown in (repr(ours), repr(A)):
            for secret in (ours.aes, ours.mac, A.nonce, A.ephemeral.secret):
                self.assertNotIn(secret.hex(), shown)
                self.assertNotIn(repr(secret), shown)


def sealed(key: PrivateKey, body: bytes) -> Packet:
    size = (len(body) + ecies.OVERHEAD).to_bytes(2)
    return Packet(True, size + ecies.encrypt(key.public_key, body, size, random=Tape()))


class BadAuthTests(SynchronousTestCase):
    good = (
        vectors.EPHEMERAL_A.sign(bytes(32)),
        vectors.KEY_A.public_key.raw,
        vectors.NONCE_A,
        b"\x04",
    )

    def refused(self, packet: Packet, words: str, drawn: Drawn | None = None) -> None:
        def draw() -> Drawn:
            assert drawn is not None, "nothing is drawn, and paid for, before auth could be read"
            return drawn

        error = self.assertRaises(BadHandshake, answer, vectors.KEY_B, packet, draw, random=Tape())
        self.assertRegex(str(error), words)
        self.assertIs(error.offence, Offence.BAD_HANDSHAKE)
        self.assertIs(error.reason, DisconnectReason.BREACH_OF_PROTOCOL)

    def test_the_form_matters(self) -> None:
        """The size is part of what the tag covers."""
        self.refused(Packet(False, vectors.AUTH_2[2:]), "tag")
        self.refused(Packet(True, b"\x01\x33" + vectors.AUTH_1), "tag")

    def test_for_somebody_else(self) -> None:
        self.refused(sealed(vectors.KEY_A, rlp.encode(self.good)), "tag")

    def test_fields(self) -> None:
        signature, public_key, nonce, version = self.good
        for fields, words in (
            ((signature[:64], public_key, nonce, version), "Auth.signature"),
            ((signature, public_key[:63], nonce, version), "Auth.public_key"),
            ((signature, public_key, nonce + b"\0", version), "Auth.nonce"),
            ((signature, public_key, nonce, b"\0"), "Auth.version"),
            ((signature, public_key, nonce), "fields"),
            ((signature, bytes(64), nonce, version), "not a point"),
            ((signature, b"\xff" * 64, nonce, version), "not a point"),
        ):
            self.refused(sealed(vectors.KEY_B, rlp.encode(fields)), words)

    def test_a_signature_that_proves_nothing(self) -> None:
        signature, *others = self.good
        for bad in (b"\xff" * 65, bytes(65), signature[:64] + b"\x04"):
            self.refused(sealed(vectors.KEY_B, rlp.encode([bad, *others])), "signature", drawn=B)

    def test_not_a_list(self) -> None:
        self.refused(sealed(vectors.KEY_B, b"\x05" + bytes(200)), "not a list")
        self.refused(sealed(vectors.KEY_B, b"\xf8\xff" + bytes(200)), "runs past")

    def test_padding_is_ignored(self) -> None:
        packet = sealed(vectors.KEY_B, rlp.encode([*self.good, b"more", [b"and", [b"more"]]]) + b"\xff" * 150)
        _, secrets = answer(vectors.KEY_B, packet, lambda: B, random=Tape())
        self.assertEqual(secrets.remote, vectors.KEY_A.public_key)


class BadAckTests(SynchronousTestCase):
    def refused(self, packet: Packet, words: str) -> None:
        error = self.assertRaises(BadHandshake, called().read_ack, packet)
        self.assertRegex(str(error), words)

    def test_refused(self) -> None:
        self.refused(sealed(vectors.KEY_B, rlp.encode([bytes(64), bytes(32), b"\x04"])), "tag")
        self.refused(sealed(vectors.KEY_A, rlp.encode([bytes(64), bytes(32), b"\x04"])), "not a point")
        self.refused(sealed(vectors.KEY_A, rlp.encode([bytes(63), bytes(32), b"\x04"])), "Ack.ephemeral")
        self.refused(Packet(True, vectors.ACK_1), "ECIES")
        self.refused(Packet(False, vectors.ACK_2), "ECIES")
