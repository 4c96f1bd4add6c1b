"""
The entries of a tree, each the text of one TXT record.  A leaf of the node tree is a L{Record}.

Source: EIP-1459 (devp2p dnsdisc.md, "URL Scheme", "DNS Record Structure").
"""

from __future__ import annotations

import base64
import re
from typing import Union

import attrs

from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.enr import record
from ethp2p.enr.record import Record
from ethp2p.errors import Offence, OversizeError, WireError

#: What entries start with.
ROOT = "enrtree-root:v1"
BRANCH = "enrtree-branch:"
LINK = "enrtree://"
#: Bytes of the hashes that we write; readers take L{LEAST_HASH} to 32.
HASH_SIZE = 16
LEAST_HASH = 12
#: Most bytes of an entry: eight times what fits into a DNS packet, and still no burden to keep a thousand of.
MAX_TEXT = 4096
#: Most characters of a list's name, so that a 32-byte hash fits before it (RFC 1035: 253 in all).
MAX_DOMAIN = 200

_ROOT = re.compile(rf"{ROOT} e=([A-Z2-7]+) l=([A-Z2-7]+) seq=(0|[1-9][0-9]{{0,19}}) sig=([A-Za-z0-9_-]+)")
_HASH = re.compile(r"[A-Z2-7]{20,52}")
_HASH_LENGTHS = frozenset((size * 8 + 4) // 5 for size in range(LEAST_HASH, 33))
_KEY = re.compile(r"[A-Z2-7]{53}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,{MAX_DOMAIN}}}\Z){_LABEL}(?:\.{_LABEL})*")


class BadEntry(WireError):
    """The text is not what a node list may have there."""

    offence = Offence.BAD_DATA


class UnknownEntry(BadEntry):
    """The text is of no kind that node lists have: a name may carry other TXT records too."""


def _base32(data: bytes) -> str:
    return base64.b32encode(data).rstrip(b"=").decode()


def _from_base32(text: str) -> bytes:
    return base64.b32decode(text + "=" * (-len(text) % 8))


def hash_of(text: str) -> str:
    """The name of an entry: the start of its Keccak-256 in base32, 26 characters."""
    return _base32(keccak256(text.encode())[:HASH_SIZE])


def has_hash(text: str, name: str) -> bool:
    """Whether the entry's hash begins as C{name} says, a hash that L{check_hash} let pass."""
    return keccak256(text.encode()).startswith(_from_base32(name))


def check_hash(name: str) -> str:
    """
    @return: C{name}.
    @raise BadEntry: not the base32 of 12 to 32 bytes.
    """
    if not _HASH.fullmatch(name) or len(name) not in _HASH_LENGTHS:
        raise BadEntry("what stands for a hash is not the base32 of 12 to 32 bytes")
    return name


def check_domain(domain: str) -> str:
    """
    @return: C{domain}.
    @raise BadEntry: not a host name, or too long for hashes before it.
    """
    if not _DOMAIN.fullmatch(domain):
        raise BadEntry(f"{domain[:64]!r} is not a domain name of at most {MAX_DOMAIN} characters")
    return domain


@attrs.frozen
class Root:
    """
    The top of a tree, found at the list's name.
    """

    #: Hash of the top of the tree of nodes.
    nodes: str
    #: Hash of the top of the tree of links.
    links: str
    #: Raised with every change, 0 to 2**64-1.
    seq: int
    #: 65 bytes: r, s, and the recovery id, which nobody needs; empty before it is signed.
    signature: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Root:
        """@raise BadEntry: it is not one.  Whose signature it has is for L{signed_by} to say."""
        match = _ROOT.fullmatch(text)
        if match is None:
            raise BadEntry("a root is 'enrtree-root:v1 e=<hash> l=<hash> seq=<number> sig=<signature>'")
        nodes, links, seq, signature = match.groups()
        if int(seq) >= 1 << 64:
            raise BadEntry("a root's sequence number of more than 64 bits")
        return cls(check_hash(nodes), check_hash(links), int(seq), parse_signature(signature))

    @property
    def signed_text(self) -> str:
        """What the signature is over."""
        return f"{ROOT} e={self.nodes} l={self.links} seq={self.seq}"

    @property
    def signature_text(self) -> str:
        """The signature in unpadded base64url."""
        return base64.urlsafe_b64encode(self.signature).rstrip(b"=").decode()

    @property
    def text(self) -> str:
        """The entry."""
        return f"{self.signed_text} sig={self.signature_text}"

    def signed_by(self, key: PublicKey) -> bool:
        """Whether the signature is this key's."""
        return key.verify(self.signature[:64], keccak256(self.signed_text.encode()))

    def sign(self, key: PrivateKey) -> Root:
        """The same with a signature."""
        return attrs.evolve(self, signature=key.sign(keccak256(self.signed_text.encode())))


def parse_signature(text: str) -> bytes:
    """@raise BadEntry: not 65 bytes in unpadded base64url."""
    try:
        signature = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        signature = b""
    if len(signature) != 65 or base64.urlsafe_b64encode(signature).rstrip(b"=") != text.encode():
        raise BadEntry("a root's signature is not 65 bytes in unpadded base64url")
    return signature


@attrs.frozen
class Branch:
    """
    Hashes of further entries; it may have none.
    """

    children: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Branch:
        """@raise BadEntry: it is not one."""
        if not text.startswith(BRANCH):
            raise BadEntry("a branch starts with 'enrtree-branch:'")
        rest = text[len(BRANCH) :]
        return cls(tuple(map(check_hash, rest.split(","))) if rest else ())

    @property
    def text(self) -> str:
        """The entry."""
        return BRANCH + ",".join(self.children)


@attrs.frozen
class Link:
    """
    A list: who signs it and where it is.  As an entry it links to that list, as a URL it is what users give.
    Domains that differ only in case are the same.

    @raise BadEntry: not a domain.
    """

    public_key: PublicKey
    domain: str = attrs.field(eq=str.lower, validator=lambda link, attribute, domain: check_domain(domain))

    @classmethod
    def parse(cls, text: str) -> Link:
        """@raise BadEntry: it says what is wrong with the text."""
        if not text.startswith(LINK):
            raise BadEntry("the URL of a node list starts with 'enrtree://'")
        digits, at, domain = text[len(LINK) :].partition("@")
        if not at:
            raise BadEntry("the URL of a node list has no key before an '@'")
        if not _KEY.fullmatch(digits):
            raise BadEntry("the key of a node list is not the base32 of 33 bytes")
        compressed = _from_base32(digits)
        if _base32(compressed) != digits:  # else one list would have several URLs
            raise BadEntry("the key of a node list has stray bits at its end")
        try:
            public_key = PublicKey.parse(compressed)
        except WireError as error:
            raise BadEntry(f"the key of a node list is {error}") from None
        return cls(public_key, domain)

    @property
    def text(self) -> str:
        """The entry, or the URL."""
        return f"{LINK}{_base32(self.public_key.compressed())}@{self.domain}"

    def __str__(self) -> str:
        return self.text


Entry = Union[Branch, Link, Record]


def parse_entry(text: str) -> Entry:
    """
    Read any entry but a root.

    @raise UnknownEntry: it does not start as one of them.
    @raise WireError: it does, and is malformed.
    """
    if text.startswith(LINK):
        return Link.parse(text)
    if text.startswith(BRANCH):
        return Branch.parse(text)
    if text.startswith(record.PREFIX):
        return Record.parse(text)
    raise UnknownEntry


def read_root(texts: list[bytes], link: Link) -> Root:
    """
    The root among the TXT records at a list's name.

    @raise WireError: there is none, or none that is well-formed and signed by the list's key.
    """
    wrong: WireError = BadEntry("there is no root of a node list at that name")
    for data in texts:
        if not data.startswith(ROOT.encode()):
            continue
        try:
            root = Root.parse(_ascii(data))
        except WireError as error:
            wrong = error
            continue
        if root.signed_by(link.public_key):
            return root
        wrong = BadEntry("the root is not signed by the key of the list")
    raise wrong


def read_entry(texts: list[bytes], name: str) -> Entry:
    """
    The entry among the TXT records at a hash's name.

    @raise WireError: there is none, or none that is well-formed and has that hash.
    """
    wrong: WireError = BadEntry("there is no entry of a node list at that name")
    for data in texts:
        try:
            text = _ascii(data)
            if has_hash(text, name):  # first, since it tells our text from others, and costs the least
                return parse_entry(text)
            wrong = BadEntry("the entry does not have the hash that its name says")
        except WireError as error:
            wrong = error
    raise wrong


def _ascii(data: bytes) -> str:
    if len(data) > MAX_TEXT:
        raise OversizeError(f"a TXT record of {len(data)} bytes, more than {MAX_TEXT}")
    if not data.isascii():
        raise UnknownEntry
    return data.decode("ascii")
