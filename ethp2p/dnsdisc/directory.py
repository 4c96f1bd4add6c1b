"""
A list as people edit it: a directory with C{enrtree-info.json} and C{nodes.json}, as geth's C{devp2p dns} has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from ethp2p.crypto.keys import PrivateKey
from ethp2p.dnsdisc.nodeset import FilePath, NodeSet, load_json, save_json, to_time
from ethp2p.dnsdisc.tree import Tree, parse_url
from ethp2p.dnsdisc.wire import Link
from ethp2p.enr.record import Record
from ethp2p.errors import ConfigError, P2PError

INFO_FILE = "enrtree-info.json"
NODES_FILE = "nodes.json"


@attrs.frozen
class Definition:
    """
    What a list is made from, and its signature once it has one.
    """

    records: tuple[Record, ...]
    links: tuple[Link, ...] = ()
    seq: int = 0
    #: Where it is published and by whose key; None until it is signed.
    url: Link | None = None
    #: In unpadded base64url, "" before it is signed.
    signature: str = ""

    @classmethod
    def of(cls, tree: Tree, url: Link) -> Definition:
        """Of a signed tree, published at C{url}."""
        return cls(tree.records, tree.links, tree.seq, url, tree.root.signature_text)

    @classmethod
    def read(cls, directory: FilePath) -> Definition:
        """
        Read a directory.  Without C{enrtree-info.json} it is a list that was never signed.

        @raise ConfigError: a file is missing, cannot be read, or has something in it that is wrong.
        """
        path = Path(directory) / INFO_FILE
        try:
            info = load_json(path)
        except FileNotFoundError:
            info = {}
        if not isinstance(info, dict):
            raise ConfigError(f"{path}: not a JSON object")
        defaults: dict[str, Any] = {"url": "", "seq": 0, "signature": "", "links": []}
        info = {**defaults, **{name: value for name, value in info.items() if value is not None}}
        url, seq, signature, links = (info[name] for name in defaults)
        if not (isinstance(url, str) and isinstance(signature, str)):
            raise ConfigError(f"{path}: 'url' and 'signature' are texts")
        if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
            raise ConfigError(f"{path}: 'links' is a list of URLs")
        if type(seq) is not int or not 0 <= seq < 1 << 64:
            raise ConfigError(f"{path}: 'seq' is a number from 0 to 2**64-1")
        try:
            parsed = tuple(map(parse_url, links))
            where = parse_url(url) if url else None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return cls(NodeSet.read(Path(directory) / NODES_FILE).records, parsed, seq, where, signature)

    def write_info(self, directory: FilePath, wall: float) -> None:
        """
        Write C{enrtree-info.json}, and leave C{nodes.json} as it is, as after signing.

        @param wall: the time, Unix seconds.
        @raise ConfigError: it cannot be written.
        """
        info: dict[str, Any] = {} if self.url is None else {"url": self.url.text}
        info["seq"] = self.seq
        if self.signature:
            info["signature"] = self.signature
        info["links"] = [link.text for link in self.links]
        info["lastModified"] = to_time(wall)
        save_json(_made(directory) / INFO_FILE, info)

    def write(self, directory: FilePath, wall: float) -> None:
        """
        Write both files, into a directory that is made if it is not there.

        @param wall: the time, Unix seconds.
        @raise ConfigError: they cannot be written.
        """
        NodeSet.of(self.records).write(_made(directory) / NODES_FILE)
        self.write_info(directory, wall)

    def sign(self, key: PrivateKey, *, domain: str = "", seq: int | None = None) -> Definition:
        """
        The same, signed.

        @param domain: where it is published; by default where it was.
        @param seq: by default the next one.
        @raise ConfigError: no domain is known, or it is none; or a record cannot be in a list.
        """
        domain = domain or (self.url.domain if self.url is not None else "")
        if not domain:
            raise ConfigError("a node list needs the domain it is published at")
        try:
            tree = Tree.build(self.records, self.links, self.seq + 1 if seq is None else seq).sign(key)
            return Definition.of(tree, Link(key.public_key, domain))
        except P2PError as error:
            raise ConfigError(str(error)) from None

    def tree(self) -> Tree:
        """
        The signed tree.

        @raise ConfigError: it is not signed, or was changed since.
        """
        if self.url is None or not self.signature:
            raise ConfigError("the node list is not signed")
        try:
            return Tree.build(self.records, self.links, self.seq).with_signature(self.signature, self.url.public_key)
        except P2PError as error:
            raise ConfigError(f"the node list has to be signed again: {error}") from None


def _made(directory: FilePath) -> Path:
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return path
