"""
The search for the nodes nearest to an id, along several paths that have no node in common.

Source: discv4.md, "Recursive Lookup"; discv5-theory.md, "Lookup"; disjoint paths: Baumgart and Mies, S/Kademlia
(2007).
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from enum import Enum
from itertools import islice

import attrs

from ethp2p.enode import Node
from ethp2p.kademlia.distance import number
from ethp2p.kademlia.subnets import Place, Subnet

#: Queries under way at one time: Kademlia's alpha.
ALPHA = 3
#: How many nodes a lookup is for: Kademlia's k.
RESULT_SIZE = 16
#: Disjoint paths.
PATHS = 3
#: How often to ask one of the nearest who does not answer.
TRIES = 2
#: Most queries of one path.  Otherwise a liar could name ever nearer nodes for ever.
MAX_QUERIES = 48
#: Most nodes taken from one answer (discv4.md, "Neighbors"; discv5-wire.md, "FINDNODE"); the rest is ignored.
MAX_ANSWER = 16
#: Most places of one subnet among the nearest.
MAX_SUBNET = 2
#: How many nodes somebody may have named that do not answer, over those that do, until he is not believed.
DOUBT = 3
#: How many have to name a node that has not answered itself.
WITNESSES = 3


class _State(Enum):
    NAMED = 0
    ASKED = 1
    ANSWERED = 2
    FAILED = 3


_HEARD = (_State.ASKED, _State.ANSWERED)
_PRESENT = (_State.NAMED, *_HEARD)
_ANY = (*_PRESENT, _State.FAILED)


@attrs.define(eq=False)
class _Candidate:
    """
    A node that was named, at one endpoint: discv4's endpoints are hearsay, and a wrong one must not hide the node.

    @ivar ours: whether we knew it before.
    @ivar witnesses: who named it.
    @ivar paths: the paths on which it was named.
    @ivar asked_on: the path on which it was asked.
    @ivar tries: how often it was asked.
    @ivar debt: how many more of those it named have failed than have answered.
    """

    node: Node
    distance: int
    subnet: Subnet | None
    ours: bool
    state: _State = _State.NAMED
    witnesses: list[_Candidate] = attrs.field(factory=list)
    paths: set[int] = attrs.field(factory=set)
    asked_on: _Path | None = None
    tries: int = 0
    debt: int = 0

    @property
    def credible(self) -> bool:
        """Whether to follow it up: we knew it, or somebody names it who is believed."""
        return self.ours or any(witness.debt < DOUBT for witness in self.witnesses)


@attrs.define(eq=False)
class _Path:
    """Candidates, the nearest first, and how many queries there were and are under way."""

    number: int
    candidates: list[_Candidate] = attrs.field(factory=list)
    queries: int = 0
    under_way: int = 0


def _distance(candidate: _Candidate) -> int:
    return candidate.distance


class Lookup:
    """
    Asks for queries and is told their answers.

    @ivar done: whether there is nothing more to ask and nothing under way.
    """

    def __init__(
        self,
        target: bytes,
        seeds: Iterable[Node],
        *,
        local_id: bytes,
        paths: int = PATHS,
        alpha: int = ALPHA,
        count: int = RESULT_SIZE,
    ) -> None:
        """
        @param target: the id to come near to, 32 bytes.
        @param seeds: the nearest nodes we know.
        @param local_id: our id; we are not asked.
        @param count: how many nodes to find.
        """
        self._target = number(target)
        self._local_id = local_id
        self._alpha = alpha
        self._count = count
        self._candidates: dict[tuple[bytes, str, int], _Candidate] = {}
        self._paths = [_Path(index) for index in range(paths)]
        self._under_way: dict[int, tuple[_Path, _Candidate]] = {}
        self._next_query = 0
        for node in seeds:
            self._name(node, ours=True)
        self._deal(sorted(self._candidates.values(), key=_distance), self._paths)

    @property
    def done(self) -> bool:
        return not self._under_way and all(self._next(path) is None for path in self._paths)

    def next_queries(self) -> list[tuple[int, Node]]:
        """Whom to ask now, each with the number under which L{answered} or L{failed} is told."""
        queries = []
        waiting = [path for path in self._paths if path.queries < MAX_QUERIES]
        while waiting and len(self._under_way) < self._alpha:
            path = min(waiting, key=lambda path: (path.under_way, path.queries))
            candidate = self._next(path)
            if candidate is None:
                waiting.remove(path)
                continue
            candidate.state = _State.ASKED
            candidate.asked_on = path
            candidate.tries += 1
            path.queries += 1
            path.under_way += 1
            self._next_query += 1
            self._under_way[self._next_query] = path, candidate
            queries.append((self._next_query, candidate.node))
        return queries

    def answered(self, query: int, nodes: Sequence[Node]) -> list[Node]:
        """
        Somebody has answered.

        @param nodes: those he names; of more than L{MAX_ANSWER} the rest is ignored.
        @return: those that nobody had named before.
        """
        path, witness = self._finish(query)
        witness.state = _State.ANSWERED
        for earlier in witness.witnesses:
            earlier.debt -= 1
        fresh: list[Node] = []
        named: dict[_Candidate, None] = {}
        for node in nodes[:MAX_ANSWER]:
            before = len(self._candidates)
            candidate = self._name(node)
            if candidate is None or node.node_id == witness.node.node_id:
                continue
            if len(self._candidates) > before:
                fresh.append(node)
            named[candidate] = None
        for candidate in named:
            candidate.witnesses.append(witness)
        # A path on which we knew nobody gets a share of the first answer.
        self._deal(named, [path, *(other for other in self._paths if not other.candidates)])
        return fresh

    def failed(self, query: int) -> None:
        """Somebody has not answered."""
        _, candidate = self._finish(query)
        candidate.state = _State.FAILED
        if candidate.tries == 1:
            for witness in candidate.witnesses:
                witness.debt += 1

    def result(self) -> tuple[Node, ...]:
        """
        The nodes found, the nearest first.  Each has answered itself, or it is named by at least L{WITNESSES}
        who are of different subnets, on more than one path if there was more than one: packets get lost, and a
        node is no less there for that.
        """
        found: dict[bytes, _Candidate] = {}
        for candidate in filter(self._proven, self._candidates.values()):
            known = found.get(candidate.node.node_id)
            if known is None or known.state is not _State.ANSWERED:
                found[candidate.node.node_id] = candidate
        nearest = sorted(found.values(), key=_distance)
        return tuple(candidate.node for candidate in islice(_spread(nearest), self._count))

    def _proven(self, candidate: _Candidate) -> bool:
        if candidate.state is _State.ANSWERED:
            return True
        believed = [witness for witness in candidate.witnesses if witness.debt < DOUBT]
        subnets = {witness.subnet or witness for witness in believed}
        walked = sum(path.queries > 0 for path in self._paths)
        return len(subnets) >= WITNESSES and len(candidate.paths) >= min(2, walked)

    def _name(self, node: Node, ours: bool = False) -> _Candidate | None:
        node_id = node.node_id
        where = node_id, node.host, node.udp
        candidate = self._candidates.get(where)
        if candidate is None:
            ip = node.ip
            if ip is None or not node.udp or node_id == self._local_id:
                return None
            candidate = _Candidate(node, number(node_id) ^ self._target, Place.of(ip).subnet, ours)
            self._candidates[where] = candidate
        return candidate

    def _deal(self, candidates: Iterable[_Candidate], paths: Sequence[_Path]) -> None:
        for index, candidate in enumerate(candidates):
            path = paths[index % len(paths)]
            if path.number not in candidate.paths:
                candidate.paths.add(path.number)
                insort(path.candidates, candidate, key=_distance)

    def _next(self, path: _Path) -> _Candidate | None:
        """
        The nearest whom nobody has asked.  When the nearest that count have all been asked, those of them who did
        not answer get another chance; None after that.
        """
        if path.queries >= MAX_QUERIES:
            return None
        for candidate in self._nearest(path, _PRESENT):
            if candidate.state is _State.NAMED:
                return candidate
        for candidate in self._nearest(path, _ANY):
            if candidate.state is _State.FAILED and candidate.tries < TRIES and candidate.asked_on is path:
                return candidate
        return None

    def _nearest(self, path: _Path, states: Container[_State]) -> Iterable[_Candidate]:
        found = (each for each in path.candidates if each.state in states and (each.state in _HEARD or each.credible))
        return islice(_spread(found), self._count)

    def _finish(self, query: int) -> tuple[_Path, _Candidate]:
        path, candidate = self._under_way.pop(query)
        path.under_way -= 1
        return path, candidate


def spread(nodes: Iterable[Node], count: int) -> list[Node]:
    """The first C{count} of nodes with an address, less those whose subnet has its share among the nearer ones."""
    found: list[Node] = []
    counts: Counter[Subnet] = Counter()
    for node in nodes:
        if len(found) == count:
            break
        ip = node.ip
        subnet = None if ip is None else Place.of(ip).subnet
        if subnet is not None:
            counts[subnet] += 1
        if subnet is None or counts[subnet] <= MAX_SUBNET:
            found.append(node)
    return found


def _spread(candidates: Iterable[_Candidate]) -> Iterable[_Candidate]:
    """Without those whose subnet has its share among the nearer ones."""
    counts: Counter[Subnet] = Counter()
    for candidate in candidates:
        if candidate.subnet is not None:
            if counts[candidate.subnet] >= MAX_SUBNET:
                continue
            counts[candidate.subnet] += 1
        yield candidate
