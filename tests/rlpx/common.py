"""What the tests of the RLPx room share."""

from __future__ import annotations

from hashlib import sha256

from ethp2p.crypto.keys import PrivateKey
from ethp2p.rlpx.state import Connection, Event

ALICE = PrivateKey.parse(b"\x0a" * 32)
BOB = PrivateKey.parse(b"\x0b" * 32)


class Tape:
    """Randomness that is the same every time: first what is given, then what a hash makes."""

    def __init__(self, *given: bytes, seed: str = "") -> None:
        self.given = list(given)
        self.seed = seed
        self.count = 0

    def __call__(self, size: int) -> bytes:
        if self.given:
            return self.given.pop(0)
        self.count += 1
        made = b""
        while len(made) < size:
            made += sha256(f"{self.seed}/{self.count}/{len(made)}".encode()).digest()
        return made[:size]


def events(engine: Connection) -> list[Event]:
    """All that C{engine} has to tell now."""
    told: list[Event] = []
    while (event := engine.next_event()) is not None:
        told.append(event)
    return told


def fresh_pair(*, eip8: bool = True) -> tuple[Connection, Connection]:
    """Alice, who calls, and Bob; nothing has been carried yet."""
    alice = Connection(ALICE, BOB.public_key, random=Tape(seed="alice"), eip8=eip8)
    return alice, Connection(BOB, random=Tape(seed="bob"))


def pair(*, eip8: bool = True) -> tuple[Connection, Connection]:
    """Alice and Bob after the handshake."""
    alice, bob = fresh_pair(eip8=eip8)
    bob.receive_data(alice.data_to_send())
    events(bob)
    alice.receive_data(bob.data_to_send())
    events(alice)
    return alice, bob
