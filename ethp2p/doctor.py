"""
What keeps a node from finding peers: facts about it in, a finding for each thing looked at out.

It asks nobody and looks nowhere itself.  Roof.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ethp2p import networks
from ethp2p.cli.verdict import fork_text
from ethp2p.enode.cidr import is_ip
from ethp2p.nat.advice import is_global
from ethp2p.networks import ForkId
from ethp2p.peers import journeys
from ethp2p.web.facade import Finding

#: Seconds that our clock may be wrong: discv4 packets are good for 20, of which some pass on the way.
DRIFT = 10.0
#: Seconds that a node may take to find its first peers.
PATIENCE = 120.0
#: Seconds in which somebody would have called a node that can be called.
LONG = 3600.0
#: Free bytes of the data directory below which it will soon be full.
LITTLE = 100 << 20
#: Calls that ended before they tell something.
FEW = 5
#: Seconds before a fork in which people should hear of it.
SOON = 14 * 86400.0
#: Packets heard before they tell something of the clock.
ENOUGH = 10

#: The stages of a call, in their order.
STAGES = tuple(stage.label for stage in journeys.STAGES)
#: What people call those whose names are not words.
_LABELS = {"minute": "1 min", "tcp": "TCP", "hello": "Hello", "status": "Status"}
#: As far as a call must come to have met a node of our chain.
_MET = journeys.Stage.STATUS.label


def in_words(name: str) -> str:
    """A stage, or the cause of an end, as people call it."""
    return _LABELS.get(name, name.lower().replace("_", " "))


def span(seconds: float) -> str:
    """How long, with the unit that fits: C{12 s}, C{5 min}, C{3 h}, C{2 d}, C{11 years}."""
    for size, unit in ((365.25 * 86400, "years"), (86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@attrs.frozen(kw_only=True)
class Facts:
    """
    What is known of a node at one moment.  A default stands for what is not known.
    """

    #: Name of the network, or of its genesis.json.
    network: str
    genesis_hash: bytes
    network_id: int
    fork_id: ForkId
    head_number: int
    #: Unix time.
    head_time: int
    #: Unix time, by our clock.
    wall: float
    #: Seconds since the node started.
    uptime: float

    #: Seconds that our clock is ahead of the right time, where somebody has told; negative when it is behind.
    clock_offset: float | None = None
    #: The newest time that a peer's head shows; 0 for none.
    newest_head: int = 0
    #: Signed discovery packets with an expiration that were heard, and those of them that had expired by our clock.
    packets_timed: int = 0
    packets_expired: int = 0

    tcp_ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    #: The address that we tell others, "" when there is none.
    address: str = ""
    #: As C{--nat} was given.
    nat: str = "none"
    #: What came of it, in words.
    nat_state: str = ""

    #: Path of the key's file; "" when the key was given itself.
    key_file: str = ""
    #: Its permission bits, e.g. 0o600; None when the file is not there.
    key_mode: int | None = None
    #: User ids: of its owner, and of this process.
    key_owner: int = 0
    user: int = 0
    datadir: str = ""
    datadir_writable: bool = True
    #: Bytes.
    datadir_free: int | None = None
    #: Whether peers and bans are kept, and in words what is with them.
    store_ok: bool = True
    store_state: str = ""

    inbound: int = 0
    dialed: int = 0
    min_peers: int = 3
    max_peers: int = 50
    static_peers: int = 0
    bans: int = 0
    discovery: bool = True
    bootnodes: int = 0
    #: Lists of nodes in DNS.
    dns_lists: int = 0
    #: Nodes that discovery knows now.
    found_nodes: int = 0
    #: As L{ethp2p.web.facade.INodeFacade.dialFunnel} gives it.
    funnel: Mapping[str, Any] = {}

    @property
    def peers(self) -> int:
        """All of them."""
        return self.inbound + self.dialed

    @property
    def lonely(self) -> bool:
        """Whether there are fewer peers than there should be."""
        return self.peers < min(self.min_peers, self.max_peers)

    @property
    def known(self) -> networks.Network | None:
        """The network known by name that has this genesis."""
        every = map(networks.named, networks.NAMES)
        return next((network for network in every if network.genesis_hash == self.genesis_hash), None)


def examine(facts: Facts) -> list[Finding]:
    """
    Look at all of it.

    @return: in the order in which to look after them; each is well, or says what to do.
    """
    return [
        _genesis(facts),
        _network_id(facts),
        _fork_id(facts),
        _clock(facts),
        _key(facts),
        _datadir(facts),
        _store(facts),
        _ports(facts),
        _nat(facts),
        _discovery(facts),
        _dialing(facts),
        _peers(facts),
    ]


def _genesis(facts: Facts) -> Finding:
    own, known = f"0x{facts.genesis_hash.hex()}", facts.known
    if known is not None:
        return Finding("genesis", True, f"{own} is that of {known.name}")
    meant = next((one for one in map(networks.named, networks.NAMES) if one.name == facts.network), None)
    meant = meant or next((n for n in map(networks.named, networks.NAMES) if n.network_id == facts.network_id), None)
    if meant is None:
        return Finding("genesis", True, f"{own}: every node of this network must be started from the same genesis.json")
    return Finding(
        "genesis",
        False,
        f"{own} is not that of {meant.name}, whose network id {meant.network_id} this node uses, and no node of "
        f"{meant.name} will keep it: start it with --network {meant.name}, or give genesis.json an id of its own",
    )


def _network_id(facts: Facts) -> Finding:
    known = facts.known
    if known is None or known.network_id == facts.network_id:
        return Finding("network id", True, str(facts.network_id))
    return Finding(
        "network id",
        False,
        f"{facts.network_id} with the genesis of {known.name}, where all others have {known.network_id}: "
        f"start the node with --network {known.name}, or set chainId in genesis.json to {known.network_id}",
    )


def _fork_id(facts: Facts) -> Finding:
    own, known = facts.fork_id, facts.known
    if known is not None:
        theirs = known.fork_id(facts.head_number, facts.head_time)
        if theirs != own:
            return Finding(
                "fork id",
                False,
                f"{own} at block {facts.head_number}, where {known.name} has {theirs}: the forks in genesis.json are "
                f"others; start the node with --network {known.name}",
            )
    if not own.next:
        due = "no further fork is known"
    else:
        left = own.next - facts.wall
        soon = f", in {span(left)}: see that all your nodes know it" if 0 < left < SOON else ""
        due = f"the next fork is {fork_text(own.next)}{soon}"
    age = facts.wall - facts.head_time
    head = f"block {facts.head_number}" + (f", {span(age)} old" if age > 60 else "")
    return Finding("fork id", True, f"{own} with the head at {head}; {due}")


def _clock(facts: Facts) -> Finding:
    advice = "set it by NTP, or others take our packets for old ones and do not answer"
    offset = facts.clock_offset
    if offset is not None and abs(offset) > DRIFT:
        where = "ahead" if offset > 0 else "behind"
        return Finding("clock", False, f"it is {span(abs(offset))} {where}: {advice}")
    behind = facts.newest_head - facts.wall
    if facts.newest_head and behind > DRIFT:
        return Finding("clock", False, f"it is {span(behind)} behind the newest block of a peer, or more: {advice}")
    if facts.packets_timed >= ENOUGH and 2 * facts.packets_expired > facts.packets_timed:
        words = f"{facts.packets_expired} of {facts.packets_timed} discovery packets had expired when they came"
        return Finding("clock", False, f"{words}, so it is probably ahead: {advice}")
    if offset is not None:
        return Finding("clock", True, f"right within {max(1.0, abs(offset)):.0f} s")
    heard = facts.newest_head or facts.packets_timed >= ENOUGH
    return Finding("clock", True, "what others say fits it" if heard else "nothing has been heard to compare it with")


def _key(facts: Facts) -> Finding:
    file = facts.key_file
    if not file:
        return Finding("key", True, "given with the settings, and not kept in a file")
    if facts.key_mode is None:
        return Finding("key", False, f"{file} is gone: the node would start with another id; put it back")
    if facts.key_owner != facts.user:
        words = f"{file} belongs to user {facts.key_owner}, who can become this node: chown {facts.user} {file}"
        return Finding("key", False, words)
    if facts.key_mode & 0o077:
        words = f"{file} can be read by others (mode {facts.key_mode & 0o777:04o}): chmod 600 {file}"
        return Finding("key", False, words)
    return Finding("key", True, f"{file} can be read by its owner only")


def _datadir(facts: Facts) -> Finding:
    name, where, free = "data directory", facts.datadir, facts.datadir_free
    if not facts.datadir_writable:
        return Finding(name, False, f"{where} cannot be written: nothing is kept for the next start; see who owns it")
    if free is not None and free < LITTLE:
        return Finding(name, False, f"{where} has {free >> 20} MiB left: make room before nothing can be kept any more")
    return Finding(name, True, f"{where} can be written" + (f", {free >> 20} MiB are free" if free is not None else ""))


def _store(facts: Facts) -> Finding:
    if facts.store_ok:
        return Finding("store", True, facts.store_state or "peers and bans are kept")
    why = facts.store_state or "the store failed"
    return Finding("store", False, f"peers and bans are not kept beyond this run: {why}; mend that and start again")


def _ports(facts: Facts) -> Finding:
    if not facts.tcp_ports:
        return Finding("ports", False, "nobody can call: the node listens on no TCP port; see --listen and --port")
    tcp = f"TCP {', '.join(map(str, facts.tcp_ports))}"
    if facts.discovery and not facts.udp_ports:
        return Finding(
            "ports", False, f"{tcp}, but no UDP: discovery hears nothing; see whether another program has it"
        )
    udp = f", UDP {', '.join(map(str, facts.udp_ports))}" if facts.udp_ports else ""
    if facts.known is not None and facts.discovery and facts.uptime > LONG and facts.dialed and not facts.inbound:
        words = f"nobody has called in {span(facts.uptime)}, or nobody has stayed: let {tcp}{udp} through the firewall"
        return Finding("ports", False, f"{words} and forward them where there is a router, or use --nat any")
    return Finding("ports", True, f"{tcp}{udp}" + (f"; {facts.inbound} called us" if facts.inbound else ""))


def _nat(facts: Facts) -> Finding:
    state = f" ({facts.nat_state})" if facts.nat_state else ""
    good = is_ip(facts.address) and is_global(facts.address)
    if good:
        return Finding("nat", True, f"others are told {facts.address}{state}")
    if facts.known is None:
        return Finding("nat", True, f"others are told {facts.address or 'no address'}, as private networks may{state}")
    if facts.inbound:
        return Finding("nat", True, f"others are told {facts.address or 'no address'}, and yet they call{state}")
    what = (
        f"others are told {facts.address}, where nobody outside can call"
        if facts.address
        else "our address is not known"
    )
    if facts.nat == "none":
        return Finding("nat", False, f"{what}: let --nat any ask the router, or give it with --nat extip:ADDRESS")
    return Finding("nat", False, f"{what}, --nat {facts.nat} did not help{state}: give it with --nat extip:ADDRESS")


def _discovery(facts: Facts) -> Finding:
    if not facts.discovery:
        if facts.static_peers or facts.peers:
            return Finding("discovery", True, f"off; there are {facts.static_peers} static peers to call")
        return Finding("discovery", False, "off, and there are no static peers: give --static-peer, or turn it on")
    if facts.found_nodes:
        return Finding("discovery", True, f"knows {facts.found_nodes} nodes")
    starts = facts.bootnodes + facts.dns_lists
    if not starts:
        words = "there is nowhere to begin: give --bootnodes or --dns"
        return Finding("discovery", bool(facts.peers or facts.static_peers), words)
    if facts.uptime < PATIENCE:
        return Finding("discovery", True, f"began {span(facts.uptime)} ago with {_many(starts, 'place')} to ask")
    return Finding(
        "discovery",
        False,
        f"nobody has answered in {span(facts.uptime)}, of {_many(facts.bootnodes, 'bootnode')} and "
        f"{_many(facts.dns_lists, 'DNS list')}: let UDP out and in, and see whether the bootnodes are there",
    )


#: What most ends of calls mean, and what to do about it.
_ADVICE = {
    "wrong_chain": (
        "another network",
        "see that network, genesis and forks are those of the peers: 'ethp2p status NODE' shows what they follow",
    ),
    "too_many_peers": (
        "all their places are taken",
        "leave it running, or have somebody make this node a trusted peer of theirs",
    ),
    "useless": ("no use for us", "they speak no protocol of ours, or follow another chain: 'ethp2p status NODE' tells"),
    "refused": (
        "nobody listens there",
        "see that the nodes run, that the addresses are theirs, and that TCP may go out",
    ),
    "timeout": ("no answer in time", "see whether a firewall holds back TCP that goes out"),
    "unreachable": ("there is no way to them", "see that this machine has a network, a route and a name server"),
    "bad_handshake": (
        "a handshake that fails",
        "see that the keys in the enode URLs are the nodes' own, and that a node is what listens there",
    ),
    "unexpected_identity": ("somebody else is there", "the nodes have other keys now: find out their enode URLs again"),
    "already_connected": (
        "they have this node's id already",
        "see that no other node runs with the same key, such as a copy of the data directory",
    ),
    "self": ("it is this node itself", "take its own URL out of the static peers and bootnodes"),
    "banned": ("they are banned here", "'ethp2p bans' shows why, 'ethp2p peer unban' lifts it"),
    "netrestrict": ("--netrestrict forbids them", "let their networks in, or give it up"),
    "breach": (
        "a broken rule",
        "'ethp2p peer explain NODE' tells which; if many say that we broke it, ethp2p has a fault",
    ),
    "incompatible": ("they speak another version", "see whether an update of ethp2p is due"),
    "not_admitted": (
        "a limit or pattern for clients forbids them",
        "see what 'ethp2p config set' shows, and change it",
    ),
    "quitting": ("they are going down", "leave it running"),
    "lost": ("the connection was lost", "see whether something on the way cuts it, such as a firewall or proxy"),
}


def _dialing(facts: Facts) -> Finding:
    stages: Mapping[str, int] = facts.funnel.get("stages") or {}
    failures: Mapping[str, Mapping[str, int]] = facts.funnel.get("failures") or {}
    ended = [(count, cause, stage) for stage, causes in failures.items() for cause, count in causes.items() if count]
    lost, met = sum(count for count, _, _ in ended), stages.get(_MET, 0)
    calls = max(stages.get("found", 0), stages.get("tcp", 0), lost)  # static peers are called without being found
    if not calls:
        if facts.lonely and facts.uptime > PATIENCE and (facts.found_nodes or facts.static_peers):
            words = (
                f"no call in {span(facts.uptime)}, though there is somebody to call: see --max-peers and --dial-ratio"
            )
            return Finding("dialing", False, words)
        return Finding("dialing", True, "no calls yet")
    if not ended:
        return Finding("dialing", True, f"{_many(calls, 'call')}, {met} met a node of this chain")
    count, cause, stage = max(ended, key=lambda end: (end[0], STAGES.index(end[2]) if end[2] in STAGES else -1))
    meaning, advice = _ADVICE.get(cause, (in_words(cause), "'ethp2p peer explain NODE' tells it of one of them"))
    most = f"of {_many(calls, 'call')} {count} ended before {in_words(stage)}: {meaning}"
    if lost < FEW or 10 * met >= calls:
        return Finding("dialing", True, f"{met} of {_many(calls, 'call')} met a node of this chain; {most}")
    return Finding("dialing", False, f"{most}; {advice}")


def _peers(facts: Facts) -> Finding:
    count = f"{_many(facts.peers, 'peer')}, {facts.inbound} in and {facts.dialed} out, of at most {facts.max_peers}"
    if not facts.max_peers:
        return Finding("peers", False, "none are wanted: --max-peers is 0")
    if not facts.lonely:
        return Finding("peers", True, count)
    if facts.uptime < PATIENCE:
        wait = f"it started {span(facts.uptime)} ago: wait a little"
    elif facts.bans:
        wait = f"see the other findings, 'ethp2p funnel', and the {_many(facts.bans, 'ban')} in force ('ethp2p bans')"
    else:
        wait = "see the other findings, and 'ethp2p funnel'"
    return Finding("peers", False, f"{count}, and at least {min(facts.min_peers, facts.max_peers)} are wanted; {wait}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
