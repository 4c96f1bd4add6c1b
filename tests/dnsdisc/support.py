"""
A name server that is a dict, trees to put into it, and somebody who answers an engine from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc.state import Found, Lookup, Walk
from ethp2p.dnsdisc.tree import Tree
from ethp2p.dnsdisc.wire import Entry, Link, Root, hash_of
from ethp2p.enode import Node
from ethp2p.enr.entries import TCP, UDP
from ethp2p.enr.record import Record

#: The key that signed geth's and the EIP's examples.
KEY = PrivateKey.parse(bytes.fromhex("dc599867fc513f8f5e2c2c9c489cde5e71362d1d9ec6e693e0de063236ed1240"))
URL_KEY = "AKPYQIUQIL7PSIACI32J7FGZW56E5FKHEFCCOFHILBIMW3M6LWXS2"
MORE_URL = "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@morenodes.example.org"

RECORDS = (
    "enr:-HW4QOFzoVLaFJnNhbgMoDXPnOvcdVuj7pDpqRvh6BRDO68aVi5ZcjB3vzQRZH2IcLBGHzo8uUN3snqmgTiE56CH3AMBgmlkgnY0iXNlY3AyNTZrM"
    "aECC2_24YYkYHEgdzxlSNKQEnHhuNAbNlMlWJxrJxbAFvA",
    "enr:-HW4QAggRauloj2SDLtIHN1XBkvhFZ1vtf1raYQp9TBW2RD5EEawDzbtSmlXUfnaHcvwOizhVYLtr7e6vw7NAf6mTuoCgmlkgnY0iXNlY3AyNTZrM"
    "aECjrXI8TLNXU0f8cthpAMxEshUyQlK-AM0PW2wfrnacNI",
    "enr:-HW4QLAYqmrwllBEnzWWs7I5Ev2IAs7x_dZlbYdRdMUx5EyKHDXp7AV5CkuPGUPdvbv1_Ms1CPfhcGCvSElSosZmyoqAgmlkgnY0iXNlY3AyNTZrM"
    "aECriawHKWdDRk2xeZkrOXBQ0dfMFLHY4eENZwdufn1S1o",
)
#: The zone of the EIP, for the name C{n}.
ZONE = {
    "n": "enrtree-root:v1 e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=C7HRFPF3BLGF3YR4DY5KX3SMBE seq=1 "
    "sig=o908WmNp7LibOfPsr4btQwatZJ5URBr2ZAuxvK4UWHlsB9sUOTJQaGAlLPVAhM__XJesCHxLISo94z5Z2a463gA",
    "C7HRFPF3BLGF3YR4DY5KX3SMBE.n": MORE_URL,
    "JWXYDBPXYWG6FX3GMDIBFA6CJ4.n": "enrtree-branch:2XS2367YHAXJFGLZHVAWLQD4ZY,H4FHT4B454P6UXFD7JCYQ5PWDY,"
    "MHTDO6TMUBRIA2XWG5LUDACK24",
    "2XS2367YHAXJFGLZHVAWLQD4ZY.n": RECORDS[0],
    "H4FHT4B454P6UXFD7JCYQ5PWDY.n": RECORDS[1],
    "MHTDO6TMUBRIA2XWG5LUDACK24.n": RECORDS[2],
}
EIP_LINK = Link(KEY.public_key, "n")


def key(number: int) -> PrivateKey:
    """A key for each number from 1."""
    return PrivateKey.parse(number.to_bytes(32, "big"))


def records(count: int, *, start: int = 1, seq: int = 1) -> list[Record]:
    """So many nodes' records."""
    return [Record.sign(key(number), seq, {TCP: 30303, UDP: 30303}) for number in range(start, start + count)]


def link_to(domain: str, signer: PrivateKey = KEY) -> Link:
    """The list at C{domain}."""
    return Link(signer.public_key, domain)


def published(
    domain: str, nodes: Iterable[Record], links: Iterable[Link] = (), *, seq: int = 1, signer: PrivateKey = KEY
) -> dict[str, str]:
    """The TXT records of a list."""
    return Tree.build(nodes, links, seq).sign(signer).to_txt(domain)


def forged(domain: str, texts: Sequence[str], top: str, links: str | None = None, *, seq: int = 1) -> dict[str, str]:
    """A list of any entries at all, rightly signed.  @param top: the text that the root names for nodes."""
    empty = "enrtree-branch:"
    root = Root(hash_of(top), hash_of(empty if links is None else links), seq).sign(KEY)
    return {domain: root.text, **{f"{hash_of(text)}.{domain}": text for text in (empty, *texts)}}


class NameServer:
    """Answers an engine, at virtual times."""

    def __init__(self, *zones: dict[str, str]) -> None:
        self.zone: dict[str, str] = {}
        for zone in zones:
            self.zone.update(zone)
        self.asked: list[str] = []
        self.now = 0.0
        #: Names that do not answer, or answer something else.
        self.instead: Callable[[str], list[bytes] | str | None] = lambda name: None

    def answer(self, engine: Any, lookup: Lookup) -> None:
        """Answer one lookup now."""
        self.asked.append(lookup.name)
        instead = self.instead(lookup.name)
        if isinstance(instead, list):
            engine.answered(lookup.token, instead, self.now)
        elif isinstance(instead, str) or lookup.name not in self.zone:
            engine.failed(lookup.token, instead or "there is no such name", self.now)
        else:
            engine.answered(lookup.token, [self.zone[lookup.name].encode()], self.now)

    def run(self, engine: Any, *, until: float = 10_000.0) -> list[Any]:
        """Answer until the engine has nothing more to look up, or C{until}.  @return: its events."""
        events: list[Any] = []
        while True:
            lookups = engine.lookups(self.now)
            for lookup in lookups:
                self.answer(engine, lookup)
            while (event := engine.next_event()) is not None:
                events.append(event)
                lookups = lookups or [event]
            if lookups:
                continue
            when = engine.next_timer()
            if when is None or when > until:
                return events
            self.now = max(self.now, when)
            engine.handle_timer(self.now)

    def nodes(self, walk: Walk, count: int, *, until: float = 10_000.0) -> list[Node]:
        """So many nodes."""
        walk.want(count)
        return [event.node for event in self.run(walk, until=until) if isinstance(event, Found)]


def walk(*links: Link, seed: int = 1, **settings: Any) -> Walk:
    """A walk that is the same every time."""
    return Walk(links, choose=Random(seed).randrange, **settings)


def texts(entries: Iterable[Entry]) -> list[str]:
    """The entries' texts."""
    return [entry.text for entry in entries]
