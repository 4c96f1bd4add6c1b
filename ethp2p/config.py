"""
Every setting of a node, in one table: L{NodeConfig}'s fields.  The command line, the TOML file,
C{--print-config} and the documentation are all made from it, through L{OPTIONS}.

A default gives way to the file, and the file to the command line.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import attrs

import ethp2p
from ethp2p import enode, kinds, networks
from ethp2p.crypto.keys import PrivateKey, load_key, save_key
from ethp2p.enode import Netrestrict
from ethp2p.errors import ConfigError
from ethp2p.kinds import HIDDEN, OWN
from ethp2p.networks import Network
from ethp2p.peers.dialer import MAX_STATIC_PEERS
from ethp2p.peers.policy import Policy
from ethp2p.peers.roster import MAX_TRUSTED

#: More is no TOML file of ours: it is refused before it is read.
MAX_FILE = 1 << 20


def _default_datadir() -> Path:
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.local/share")) / "ethp2p"


@attrs.frozen
class Option:
    """
    One setting, as the command line and the file know it.
    """

    #: Long option and TOML key.
    name: str
    #: What its value is, e.g. C{DIR}.
    meta: str
    #: One line for people.
    help: str
    #: Text or TOML value to the field's value.  Raises L{ConfigError} that names option, value and fault.
    convert: Callable[[object], Any]
    #: Whether it may be given several times; a list in TOML.
    many: bool = False
    #: Whether it is a switch: no value on the command line, true or false in TOML.
    flag: bool = False
    #: The default in words, where it is always the same.
    default: str = ""
    #: Whether it can be changed while the node runs.
    live: bool = False
    #: The field of L{NodeConfig}; filled in from there.
    field: str = ""


#: What converts settings that may hold a secret.
_SECRET = (kinds.nodekey, kinds.store)


def _setting(
    name: str,
    meta: str,
    help: str,
    convert: Callable[[object], Any],
    default: object,
    *,
    many: bool = False,
    live: bool = False,
) -> Any:
    flag = convert is kinds.flag

    def named(value: object) -> Any:
        try:
            return convert(value)
        except ConfigError as error:
            if convert is kinds.peer:  # its errors name the text themselves
                raise ConfigError(f"{name} {error}") from None
            shown = HIDDEN if convert in _SECRET else repr(str(value) if isinstance(value, Path) else value)
            raise ConfigError(f"{name} {shown}: {error}") from None

    converter = kinds.each(named) if many else named
    shown = "" if isinstance(default, attrs.Factory) or not default else str(default)  # type: ignore[arg-type]
    option = Option(name, meta, help, converter, many, flag, shown, live)
    return attrs.field(default=default, converter=converter, metadata={"option": option}, repr=convert not in _SECRET)


def _derived(function: Callable[[Any], object]) -> Any:
    return attrs.Factory(function, takes_self=True)


@attrs.frozen(kw_only=True)
class NodeConfig:
    """
    The settings of a node, checked when made.

    @raise ConfigError: naming the option, its value and what is wrong, in one line.
    """

    datadir: Path = _setting(  # noqa: RUF009  an attrs field
        "datadir",
        "DIR",
        "Where the node keeps its key and what it learns.",
        kinds.path,
        attrs.Factory(_default_datadir),
    )
    chain: Path | None = _setting(  # noqa: RUF009
        "chain", "DIR", "Serve the chain in DIR: genesis.json, and blocks in chain.rlp.", kinds.chain, None
    )
    network: str = _setting(
        "network",
        "NAME|FILE",
        "The network to join: its name, or its genesis.json.  By default that of the chain served, or mainnet.",
        kinds.network,
        _derived(lambda self: str(self.chain / "genesis.json") if self.chain else "mainnet"),
    )
    port: int = _setting("port", "PORT", "TCP port for peers.", kinds.integer(0, 65535), 30303)
    listen: tuple[str, ...] = _setting(
        "listen",
        "ENDPOINT",
        "Listen for peers here instead (a Twisted endpoint); may be repeated.",
        kinds.endpoint,
        _derived(lambda self: (f"tcp:{self.port}",)),
        many=True,
    )
    nodekey: str = _setting(
        "nodekey",
        "HEX|FILE",
        "The node's private key, or a file with it.  By default in the data directory, made when missing.",
        kinds.nodekey,
        _derived(lambda self: str(self.datadir / "nodekey")),
    )
    identity: str = _setting("identity", "NAME", "Added to the client name that peers see.", kinds.identity, "")
    static_peers: tuple[enode.Node, ...] = _setting(
        "static-peer",
        "ENODE|ENR",
        "Call this peer, and again whenever it is gone; may be repeated.",
        kinds.peer,
        (),
        many=True,
        live=True,
    )
    trusted_peers: tuple[enode.Node, ...] = _setting(
        "trusted-peer",
        "ENODE|ENR",
        "Let this peer in even when full; may be repeated.",
        kinds.peer,
        (),
        many=True,
        live=True,
    )
    max_peers: int = _setting(
        "max-peers", "NUMBER", "Most peers at one time.", kinds.integer(0, 100_000), 50, live=True
    )
    min_peers: int = _setting(
        "min-peers",
        "NUMBER",
        "With fewer, look harder for peers, and say what is in the way.",
        kinds.integer(0, 100_000),
        _derived(lambda self: min(3, self.max_peers)),
        live=True,
    )
    dial_ratio: int = _setting(
        "dial-ratio",
        "NUMBER",
        "One place in so many is for peers that we call; the rest is for callers.",
        kinds.integer(1, 100_000),
        3,
        live=True,
    )
    max_pending_peers: int = _setting(
        "max-pending-peers",
        "NUMBER",
        "Most handshakes with callers at one time.",
        kinds.integer(1, 10_000),
        50,
        live=True,
    )
    max_peers_per_ip: int = _setting(
        "max-peers-per-ip",
        "NUMBER",
        "Most peers at one address; 0 sets no limit.",
        kinds.integer(0, 100_000),
        0,
        live=True,
    )
    max_peers_per_subnet: int = _setting(
        "max-peers-per-subnet",
        "NUMBER",
        "Most peers in one /24, or /64 of IPv6; 0 sets no limit.",
        kinds.integer(0, 100_000),
        0,
        live=True,
    )
    inbound_throttle: float = _setting(
        "inbound-throttle",
        "SECONDS",
        "An address may call again after so long; 0 sets no limit.",
        kinds.number(0, 3600),
        30.0,
        live=True,
    )
    throttle_lan: bool = _setting(
        "throttle-lan", "", "Throttle neighbours on this machine or network, too.", kinds.flag, False, live=True
    )
    refuse_clients: tuple[str, ...] = _setting(
        "refuse-client",
        "REGEX",
        "Refuse peers whose client name has this in it; may be repeated.",
        kinds.pattern,
        (),
        many=True,
        live=True,
    )
    weights: tuple[tuple[str, float], ...] = _setting(
        "weight",
        "OFFENCE=POINTS",
        "What an offence costs of a peer's 100 points, as timeout=2; may be repeated.",
        kinds.weight,
        (),
        many=True,
        live=True,
    )
    disconnect_below: float = _setting(
        "disconnect-below", "POINTS", "Part with peers that have fewer points.", kinds.number(0, 100), 20.0, live=True
    )
    ban_below: float = _setting(
        "ban-below", "POINTS", "Ban peers that have fewer points.", kinds.number(0, 100), 5.0, live=True
    )
    ban_seconds: float = _setting(
        "ban-seconds", "SECONDS", "How long such a ban lasts.", kinds.number(1, 10**9), 43200.0, live=True
    )
    reputation_dry_run: bool = _setting(
        "reputation-dry-run", "", "Keep the points, but part with nobody for them.", kinds.flag, False, live=True
    )
    no_rotation: bool = _setting(
        "no-rotation",
        "",
        "Do not part with a random peer every few minutes when full, so that newcomers get in.",
        kinds.flag,
        False,
        live=True,
    )
    peer_store: str = _setting(
        "peer-store",
        "FILE|POSTGRESQL",
        "Where peers and bans are kept: a file, or a database as postgresql://...  By default in the data directory.",
        kinds.store,
        _derived(lambda self: str(self.datadir / "peers.sqlite")),
    )
    bootnodes: tuple[enode.Node, ...] | None = _setting(
        "bootnodes",
        "ENODE|ENR,...",
        "Begin to look for nodes here; 'network', the default, stands for the network's own.",
        kinds.listed(kinds.peer),
        None,
    )
    dns: tuple[str, ...] | None = _setting(
        "dns", "ENRTREE,...", "Node lists in DNS (EIP-1459), likewise.", kinds.listed(kinds.dns), None
    )
    no_discovery: bool = _setting("no-discovery", "", "Look for no nodes, and be found by none.", kinds.flag, False)
    no_discv4: bool = _setting("no-discv4", "", "Do not speak discv4.", kinds.flag, False)
    no_discv5: bool = _setting("no-discv5", "", "Do not speak discv5.", kinds.flag, False)
    nat: str = _setting(
        "nat",
        "METHOD",
        "How to learn our address outside: none, any, upnp, natpmp[:GATEWAY], stun[:HOST[:PORT]] or extip:ADDRESS.",
        kinds.nat,
        "none",
    )
    netrestrict: Netrestrict | None = _setting(  # noqa: RUF009
        "netrestrict", "CIDR,...", "The only networks to have to do with.", kinds.netrestrict, None, live=True
    )
    http: str = _setting(
        "http",
        "ENDPOINT",
        "Answer JSON-RPC here, on loopback unless an interface is given; 'none' turns it off.",
        kinds.http,
        "tcp:8650:interface=127.0.0.1",
    )
    ipc: str = _setting(
        "ipc",
        "PATH",
        "Answer JSON-RPC on this unix socket; 'none' turns it off.  By default in the data directory.",
        kinds.ipc,
        _derived(lambda self: str(self.datadir / "ethp2p.ipc")),
    )

    def __attrs_post_init__(self) -> None:
        self.policy()
        for name, nodes, most in (
            ("static-peer", self.static_peers, MAX_STATIC_PEERS),
            ("trusted-peer", self.trusted_peers, MAX_TRUSTED),
        ):
            count = len({node.node_id for node in nodes})
            if count > most:
                raise ConfigError(f"{name}: {count:,} are more than the {most:,} that there may be")

    def policy(self) -> Policy:
        """
        What the household goes by.

        @raise ConfigError: two of its values do not go together.
        """
        try:
            return self._policy()
        except ConfigError as error:
            raise ConfigError(str(error).replace("_", "-")) from None

    def _policy(self) -> Policy:
        return Policy(
            max_peers=self.max_peers,
            min_peers=self.min_peers,
            dial_ratio=self.dial_ratio,
            max_pending=self.max_pending_peers,
            max_peers_per_ip=self.max_peers_per_ip,
            max_peers_per_subnet=self.max_peers_per_subnet,
            inbound_throttle=self.inbound_throttle,
            throttle_lan=self.throttle_lan,
            netrestrict=self.netrestrict,
            refuse_clients=self.refuse_clients,
            weights=dict(self.weights),
            disconnect_below=self.disconnect_below,
            ban_below=self.ban_below,
            ban_seconds=self.ban_seconds,
            reputation_dry_run=self.reputation_dry_run,
            rotate=not self.no_rotation,
        )

    def live(self) -> dict[str, object]:
        """The settings that can be changed while the node runs, by option name, as JSON has them."""
        return {option.name: _plain(getattr(self, option.field)) for option in OPTIONS if option.live}

    def changed(self, values: Mapping[str, object]) -> NodeConfig:
        """
        The settings of a node that runs, with some of them changed: all, or none.

        @param values: by option name.
        @raise ConfigError: it is no option that can be changed so, or its value cannot be used.
        """
        fields = self._given()
        for name, value in values.items():
            option = next((option for option in OPTIONS if option.name == name), None)
            if option is None or not option.live:
                known = ", ".join(option.name for option in OPTIONS if option.live)
                raise ConfigError(f"{name} cannot be changed while the node runs; these can: {known}")
            fields[option.field] = option.convert(value)
        return NodeConfig(**fields)

    def _given(self) -> dict[str, Any]:
        """The fields, but for those that follow from others and are what they would be, as if nobody had set them."""
        given = {}
        for field in attrs.fields(NodeConfig):
            value, default = getattr(self, field.name), cast(Any, field.default)
            if not getattr(default, "takes_self", False) or value != default.factory(self):
                given[field.name] = value
        return given

    def make_datadir(self) -> Path:
        """
        The data directory, made when it is not there.

        @raise ConfigError: it cannot be made.
        """
        try:
            self.datadir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"datadir '{self.datadir}': {error.strerror}") from None
        return self.datadir

    def load_network(self) -> Network:
        """
        @raise ConfigError: the genesis.json cannot be used.
        """
        if self.network in networks.NAMES:
            return networks.named(self.network)
        return networks.from_genesis(self.network)

    def find_bootnodes(self, network: Network) -> tuple[enode.Node, ...]:
        """Where to begin: those given, or the network's."""
        return self.bootnodes if self.bootnodes is not None else tuple(map(enode.Node.parse, network.bootnodes))

    def udp_addresses(self) -> list[tuple[str, int]]:
        """Interface and port of each TCP endpoint to listen on: where to speak UDP."""
        return [found for found in map(kinds.tcp, self.listen) if found is not None]

    def key_file(self) -> Path | None:
        """Where the node's key is kept; None when it was given itself."""
        return Path(self.nodekey) if os.path.isabs(self.nodekey) else None

    def load_nodekey(self) -> PrivateKey:
        """
        The node's key.  The one in the data directory is made when it is not there, readable by its owner only.

        @raise ConfigError: there is no usable key, or it cannot be kept.
        """
        if not os.path.isabs(self.nodekey):
            return PrivateKey.parse(bytes.fromhex(self.nodekey))
        path = Path(self.nodekey)
        if path == self.datadir / "nodekey" and not os.path.exists(path):
            self.make_datadir()
            key = PrivateKey.generate()
            save_key(path, key)
            return key
        return load_key(path)


#: The table: every setting a node has, in the order people read them.
OPTIONS: tuple[Option, ...] = tuple(
    attrs.evolve(field.metadata["option"], field=field.name) for field in attrs.fields(NodeConfig)
)


def read_file(path: str) -> dict[str, Any]:
    """
    Read a TOML file of settings; its keys are the long options' names.

    @return: values by option name, as TOML gives them.
    @raise ConfigError: it cannot be read, is no TOML, or has a key that no option has.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError(f"{path}: over {MAX_FILE} bytes, which is no configuration")
        values = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}".replace("\n", " ")) from None
    names = [option.name for option in OPTIONS]
    for key in values:
        if key not in names:
            close = get_close_matches(key, names, 1)
            raise ConfigError(f"{path}: unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    return values


@attrs.frozen
class Settings:
    """
    A configuration and where each of its values came from.
    """

    config: NodeConfig
    #: By option name: C{command line} or the file's name.  What is not here is the default.
    sources: Mapping[str, str]

    def toml(self) -> str:
        """
        The effective configuration as a TOML file that gives the same configuration again; a line's comment
        says where its value came from.  A key given in hex is not shown.
        """
        lines = [f"# ethp2p {ethp2p.__version__}"]
        for option in OPTIONS:
            value = getattr(self.config, option.field)
            if value is None and option.name in ("bootnodes", "dns"):  # an empty list would mean none
                value = OWN
            if option.name == "nodekey" and not os.path.isabs(value):
                value = HIDDEN
            if option.name == "peer-store":
                value = kinds.without_password(value)
            source = self.sources.get(option.name, "default")
            lines.append(f"{option.name} = {_toml(value)}  # {source}".replace("\n", " "))
        return "\n".join(lines) + "\n"


def _plain(value: object) -> object:
    """As JSON, TOML, and an option's C{convert} have it."""
    match value:
        case bool() | int() | float():
            return value
        case (str(offence), float(points)):
            return f"{offence}={points:g}"
        case tuple():
            return [_plain(each) for each in value]
        case enode.Node(record=record, url=url):
            return url if record is None else record.text
    return "" if value is None else str(value)


def _toml(value: object) -> str:
    value = _plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def assemble(given: Mapping[str, Sequence[str]], file: str | None = None) -> Settings:
    """
    @param given: the command line's values by option name, in order; of several for an option that takes one,
        the last counts.
    @param file: a TOML file.
    @raise ConfigError: one line that says which value, from where, and what is wrong with it.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    from_file = read_file(file) if file is not None else {}
    for option in OPTIONS:
        try:
            if option.name in given:
                texts = given[option.name]
                prefix, source = "--", "command line"
                values[option.field] = option.convert(list(texts) if option.many else texts[-1])
            elif option.name in from_file:
                prefix, source = f"{file}: ", str(file)
                values[option.field] = option.convert(from_file[option.name])
            else:
                continue
        except ConfigError as error:
            raise ConfigError(f"{prefix}{error}") from None
        sources[option.name] = source
    return Settings(NodeConfig(**values), sources)
