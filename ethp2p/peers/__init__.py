"""
The household: who is here, who may come in, whom we call, whom we keep, whom we ban, and why.

Knows no wire.  Decisions are plain functions of what is known and the time; L{Household} is the service that carries
them out.  Floor 5.
"""

from ethp2p.peers.household import Household
from ethp2p.peers.policy import Policy

__all__ = ["Household", "Policy"]
