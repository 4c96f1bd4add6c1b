"""
A household that lets everybody in, and writes everything down.
"""

from __future__ import annotations

from typing import Any

import attrs
from zope.interface import implementer

from ethp2p.errors import NotAdmitted, Offence, PeerDisconnected
from ethp2p.interfaces import IHousehold


@implementer(IHousehold)
@attrs.define
class RecordingHousehold:
    """
    Says yes at both checkpoints unless told otherwise.
    """

    #: What to raise at the first checkpoint, or None.
    refuseIdentity: NotAdmitted | None = None
    #: What to raise at the second.
    refuseHello: NotAdmitted | None = None
    #: Sessions that came to the first checkpoint, refused ones too.
    proven: list[Any] = attrs.Factory(list)
    #: Sessions that came to the second.
    hellos: list[Any] = attrs.Factory(list)
    #: Session, offence and evidence of everything that peers did wrong.
    offences: list[tuple[Any, Offence, str]] = attrs.Factory(list)
    #: Sessions that are over, and how they ended.
    ended: list[tuple[Any, PeerDisconnected]] = attrs.Factory(list)

    def identityProven(self, session: Any) -> None:
        """The first checkpoint."""
        self.proven.append(session)
        if self.refuseIdentity is not None:
            raise self.refuseIdentity

    def helloReceived(self, session: Any) -> None:
        """The second checkpoint."""
        self.hellos.append(session)
        if self.refuseHello is not None:
            raise self.refuseHello

    def offenceSeen(self, session: Any, offence: Offence, evidence: str) -> None:
        """A peer did something wrong."""
        self.offences.append((session, offence, evidence))

    def sessionEnded(self, session: Any, ended: PeerDisconnected) -> None:
        """A session is over."""
        self.ended.append((session, ended))

    @property
    def present(self) -> list[Any]:
        """Sessions that passed both checkpoints and are not over."""
        gone = [session for session, _ in self.ended]
        return [session for session in self.hellos if not any(session is one for one in gone)]
