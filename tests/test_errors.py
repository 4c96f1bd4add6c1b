"""The error tree: what operators read, and what the wire and reputation are told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ethp2p import errors
from ethp2p.errors import (
    DisconnectReason,
    LocalProtocolError,
    NotAdmitted,
    Offence,
    OversizeError,
    P2PError,
    PeerDisconnected,
    RemoteProtocolError,
    WireError,
)


class TreeTests(SynchronousTestCase):
    def test_everything_is_a_p2p_error_with_a_sentence(self) -> None:
        classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
        self.assertGreater(len(classes), 8)
        for kind in classes:
            self.assertTrue(issubclass(kind, P2PError), kind)
            sentence = (kind.__doc__ or "").strip()
            self.assertTrue(sentence.endswith(".") and "\n" not in sentence, f"{kind.__name__}: {sentence!r}")

    def test_an_error_without_words_speaks_its_docstring(self) -> None:
        self.assertEqual(str(RemoteProtocolError()), "The peer broke a rule of the protocol.")
        self.assertEqual(str(WireError("field 3 is a list")), "field 3 is a list")

    def test_an_error_without_docstring_says_its_name(self) -> None:
        self.assertEqual(str(type("Nameless", (P2PError,), {})()), "Nameless")

    def test_blame(self) -> None:
        """What each remote error tells the peer and books; a local one does neither."""
        for error, reason, offence in (
            (RemoteProtocolError, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_PROTOCOL),
            (WireError, DisconnectReason.BREACH_OF_PROTOCOL, Offence.BAD_MESSAGE),
            (OversizeError, DisconnectReason.BREACH_OF_PROTOCOL, Offence.OVERSIZE),
        ):
            self.assertEqual((error.reason, error.offence), (reason, offence))
        self.assertFalse(issubclass(LocalProtocolError, RemoteProtocolError))


class ReasonTests(SynchronousTestCase):
    def test_codes(self) -> None:
        """The codes of rlpx.md, "Disconnect (0x01)"."""
        self.assertEqual([int(reason) for reason in DisconnectReason], [*range(0x0C), 0x10])
        self.assertEqual(DisconnectReason(0x04).words, "too many peers")
        self.assertEqual(DisconnectReason(0x10).words, "subprotocol error")

    def test_disconnected_says_who_and_why(self) -> None:
        theirs = PeerDisconnected(DisconnectReason.USELESS_PEER)
        self.assertEqual(str(theirs), "the peer disconnected: useless peer")
        ours = PeerDisconnected(DisconnectReason.BREACH_OF_PROTOCOL, by_us=True, detail="Status sent twice")
        self.assertEqual(str(ours), "we disconnected: breach of protocol (Status sent twice)")
        self.assertEqual((ours.reason, ours.by_us, ours.detail), (2, True, "Status sent twice"))
        self.assertEqual(str(PeerDisconnected()), "the connection was lost")
        self.assertEqual(str(PeerDisconnected(detail="reset")), "the connection was lost (reset)")

    def test_not_admitted(self) -> None:
        self.assertEqual(str(NotAdmitted(DisconnectReason.TOO_MANY_PEERS)), "too many peers")
        self.assertEqual(
            str(NotAdmitted(DisconnectReason.TOO_MANY_PEERS, "50 of 50")),
            "too many peers: 50 of 50",
        )
