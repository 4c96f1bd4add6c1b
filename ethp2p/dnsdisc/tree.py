"""
A whole tree: built, signed, and written down for a name server.

Its shape is geth's to the last hash, so that each can check the other's signature over the same nodes.

Source: EIP-1459 (devp2p dnsdisc.md, "DNS Record Structure").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ethp2p.codec import rlp
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.dnsdisc.wire import Branch, Entry, Link, Root, check_domain, hash_of, parse_signature
from ethp2p.enr import entries
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, LocalProtocolError, WireError

#: Children of a branch: so many keep the answer below the 512 bytes of plain DNS over UDP.
MAX_CHILDREN = 13
#: Seconds that name servers may keep a root (the recheck interval of clients) and the rest, which never changes.
ROOT_TTL = 30 * 60
ENTRY_TTL = 28 * 24 * 60 * 60
#: Bytes of one string in a TXT record (RFC 1035).
MAX_STRING = 255

_PORTS: tuple[entries.Entry[int], ...] = (
    entries.TCP,
    entries.TCP6,
    entries.UDP,
    entries.UDP6,
    entries.Entry(b"quic", rlp.UINT16),
    entries.Entry(b"quic6", rlp.UINT16),
)


def parse_url(text: str) -> Link:
    """
    Read C{enrtree://<key>@<domain>}.

    @raise ConfigError: it says what is wrong with the text.
    """
    try:
        return Link.parse(text)
    except WireError as error:
        raise ConfigError(f"{text[:80]!r}: {error}") from None


def _check_domain(domain: str) -> str:
    try:
        return check_domain(domain)
    except WireError as error:
        raise ConfigError(str(error)) from None


@attrs.frozen
class Tree:
    """
    A node list.  Equal when everything is.
    """

    root: Root
    #: Every other entry by the hash that is its name.
    entries: Mapping[str, Entry]

    @classmethod
    def build(cls, records: Iterable[Record], links: Iterable[Link] = (), seq: int = 1) -> Tree:
        """
        @param records: in any order; of two of one node the one with the higher seq is taken.
        @param links: lists to link to.
        @param seq: higher than ever before for the same name, below 2**64.
        @raise LocalProtocolError: a record that others would refuse, or a seq out of range.
        """
        if not 0 <= seq < 1 << 64:
            raise LocalProtocolError(f"{seq} is not a sequence number from 0 to 2**64-1")
        newest: dict[bytes, Record] = {}
        for record in records:
            node_id = _check(record)
            if node_id not in newest or newest[node_id].seq < record.seq:
                newest[node_id] = record
        kept: dict[str, Entry] = {}
        nodes = _grow([newest[node_id] for node_id in sorted(newest)], kept)
        return cls(Root(nodes, _grow(list(dict.fromkeys(links)), kept), seq), kept)

    def sign(self, key: PrivateKey) -> Tree:
        """The same, signed; its URL is that of L{Link}C{(key.public_key, domain)}."""
        return attrs.evolve(self, root=self.root.sign(key))

    def with_signature(self, text: str, key: PublicKey) -> Tree:
        """
        The same, with a signature made before.

        @param text: unpadded base64url.
        @raise BadEntry: not a signature.
        @raise LocalProtocolError: not this key's over this very tree.
        """
        root = attrs.evolve(self.root, signature=parse_signature(text))
        if not root.signed_by(key):
            raise LocalProtocolError("the signature is not of that key over these nodes and links")
        return attrs.evolve(self, root=root)

    @property
    def seq(self) -> int:
        """The sequence number."""
        return self.root.seq

    @property
    def records(self) -> tuple[Record, ...]:
        """Its node records, in the tree's order."""
        return tuple(leaf for leaf in self._leaves(self.root.nodes) if isinstance(leaf, Record))

    @property
    def links(self) -> tuple[Link, ...]:
        """The lists it links to, in the tree's order."""
        return tuple(leaf for leaf in self._leaves(self.root.links) if isinstance(leaf, Link))

    def to_txt(self, domain: str) -> dict[str, str]:
        """
        Every TXT record of the tree: name to text, the root first.

        @raise ConfigError: not a domain.
        """
        _check_domain(domain)
        texts = {domain: self.root.text}
        for name, entry in self.entries.items():
            texts[f"{name}.{domain}"] = entry.text
        return texts

    def to_zone(self, domain: str) -> str:
        """
        The TXT records as lines of a zone file (RFC 1035 section 5).

        @raise ConfigError: not a domain.
        """
        lines = [f"$ORIGIN {_check_domain(domain)}.", _line("@", ROOT_TTL, self.root.text)]
        lines += [_line(name, ENTRY_TTL, entry.text) for name, entry in self.entries.items()]
        return "\n".join(lines) + "\n"

    def _leaves(self, top: str) -> list[Entry]:
        leaves: dict[str, Entry] = {}
        seen, coming = {top}, [top]
        while coming:
            name = coming.pop()
            entry = self.entries[name]
            if isinstance(entry, Branch):
                fresh = [child for child in dict.fromkeys(entry.children) if child not in seen]
                seen.update(fresh)
                coming += reversed(fresh)
            else:
                leaves[name] = entry
        return list(leaves.values())


def _check(record: Record) -> bytes:
    if record.node_id is None:
        raise LocalProtocolError(f"a node list cannot have a record of the identity scheme {record.scheme!r}")
    for port in _PORTS:
        try:
            record.get(port)
        except WireError as error:
            raise LocalProtocolError(f"node {record.node_id.hex()[:16]}: {error}") from None
    return record.node_id


def _grow(level: Sequence[Any], kept: dict[str, Entry]) -> str:
    while True:
        names = [hash_of(entry.text) for entry in level]
        kept.update(zip(names, level))
        if len(level) == 1:
            return names[0]
        level = [_over(names, level, at) for at in range(0, max(len(names), 1), MAX_CHILDREN)]


def _over(names: Sequence[str], level: Sequence[Any], at: int) -> Any:
    children = names[at : at + MAX_CHILDREN]
    if len(children) == 1:  # geth lets it rise as it is
        return level[at]
    return Branch(tuple(children))


def _line(name: str, ttl: int, text: str) -> str:
    strings = " ".join(f'"{text[at : at + MAX_STRING]}"' for at in range(0, len(text), MAX_STRING))
    return f"{name} {ttl} IN TXT {strings}"
