"""
The household over JSON-RPC: why a peer is or is not one, who is banned, how calls end, what can be set.

The namespace is C{ethp2p}: no other client has these methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ethp2p.web.facade import INodeFacade
from ethp2p.web.registry import InvalidParams

#: Most characters of the reason of a ban, which is kept and shown wherever the ban is.
MAX_REASON = 256
#: Most characters of what names a node: a record has at most 300 bytes, in base64.
MAX_SUBJECT = 512


def _subject(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT:
        raise InvalidParams("a subject is a text: a node id, enode://..., enr:..., or an address")
    return value


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidParams("seconds are a number over 0, or null for ever")
    return value


class HouseholdMethods:
    """
    What C{ethp2p} can be asked.  Methods are named as they are called.
    """

    def __init__(self, facade: INodeFacade) -> None:
        self._facade = facade

    def ethp2p_explainPeer(self, subject: str) -> dict[str, Any]:
        """All that is known of a node or an address; see L{INodeFacade.explainPeer}."""
        return dict(self._facade.explainPeer(_subject(subject)))

    async def ethp2p_ban(self, subject: str, seconds: float | None = None, reason: str = "") -> dict[str, Any]:
        """Let it not in, and disconnect it.  Answered once the ban is kept."""
        if not isinstance(reason, str) or len(reason) > MAX_REASON:
            raise InvalidParams(f"a reason is a text of at most {MAX_REASON} characters")
        return dict(await self._facade.ban(_subject(subject), _seconds(seconds), reason))

    async def ethp2p_unban(self, subject: str) -> bool:
        """Lift a ban.  Answered once that is kept: whether there was one."""
        return await self._facade.unban(_subject(subject))

    def ethp2p_bans(self) -> list[dict[str, Any]]:
        """Those in force."""
        return [dict(ban) for ban in self._facade.bans()]

    def ethp2p_dialFunnel(self) -> dict[str, Any]:
        """How far our calls came."""
        return dict(self._facade.dialFunnel())

    async def ethp2p_setConfig(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings while the node runs, all or none.  Answers with all that can be changed so."""
        if not isinstance(values, dict):
            raise InvalidParams("settings are an object: values by option name")
        return dict(await self._facade.setConfig(values))

    async def ethp2p_doctor(self) -> list[dict[str, Any]]:
        """What keeps the node from finding peers: each thing C{ok}, or with C{words} on what to do."""
        findings = await self._facade.doctor()
        return [{"name": finding.name, "ok": finding.ok, "words": finding.words} for finding in findings]
