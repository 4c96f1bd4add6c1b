"""The household that writes everything down."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ethp2p.errors import DisconnectReason, NotAdmitted, Offence, PeerDisconnected
from ethp2p.interfaces import IHousehold
from ethp2p.testing.household import RecordingHousehold


class RecordingHouseholdTests(SynchronousTestCase):
    def test_lets_everybody_in_and_writes_everything_down(self) -> None:
        household = RecordingHousehold()
        verifyObject(IHousehold, household)
        one, two = object(), object()
        ended = PeerDisconnected(DisconnectReason.REQUESTED)
        for session in (one, two):
            household.identityProven(session)
            household.helloReceived(session)
        self.assertEqual(household.present, [one, two])
        household.offenceSeen(one, Offence.FLOOD, "a hundred guesses")
        household.sessionEnded(one, ended)
        self.assertEqual((household.proven, household.hellos), ([one, two], [one, two]))
        self.assertEqual(household.offences, [(one, Offence.FLOOD, "a hundred guesses")])
        self.assertEqual((household.ended, household.present), ([(one, ended)], [two]))

    def test_refuses_when_told_to(self) -> None:
        refusal = NotAdmitted(DisconnectReason.TOO_MANY_PEERS)
        household = RecordingHousehold(refuseIdentity=refusal, refuseHello=refusal)
        self.assertIs(self.assertRaises(NotAdmitted, household.identityProven, "peer"), refusal)
        self.assertIs(self.assertRaises(NotAdmitted, household.helloReceived, "peer"), refusal)
        self.assertEqual(household.proven, ["peer"])
