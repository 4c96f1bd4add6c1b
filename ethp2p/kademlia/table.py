"""
The table: the nodes we know, most of them near us, no subnet more than its share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Union

import attrs

from ethp2p.enode import Node
from ethp2p.enode.cidr import Scope
from ethp2p.kademlia.distance import ID_BITS, log_distance, number
from ethp2p.kademlia.subnets import Place, SubnetLimit

#: Most entries of a bucket: Kademlia's k.
BUCKET_SIZE = 16
#: Most nodes that wait for a place in a bucket; the oldest goes first.
MAX_REPLACEMENTS = 10
#: Buckets.  The highest distances have one each; nearer nodes are so few that they share the lowest.
BUCKETS = 17
#: The distance of the lowest bucket, and of all that is nearer.
LOWEST = ID_BITS - BUCKETS + 1
#: Most nodes of one subnet in a bucket, with those that wait: eclipsing a bucket takes eight subnets.
MAX_SUBNET_IN_BUCKET = 2
#: Most nodes of one subnet in the table: eclipsing the table takes twenty-eight.
MAX_SUBNET_IN_TABLE = 10


@attrs.define(eq=False)
class Entry:
    """
    A node in the table.

    @ivar number: its id.
    @ivar distance: its logarithmic distance from us.
    @ivar added_at: when it got its place in the table.
    @ivar checks: how many liveness checks it has passed; failed ones count down.
    @ivar live: whether it has answered us at its present endpoint.
    @ivar checking: whether a check is under way.
    @ivar failures: how many FINDNODE in a row it has not answered with anything.
    @ivar quiet_until: nothing is sent to it before, but answers.
    """

    node: Node
    number: int
    distance: int
    place: Place
    added_at: float
    checks: int = 0
    live: bool = False
    checking: bool = False
    failures: int = 0
    quiet_until: float = float("-inf")


@attrs.frozen
class Added:
    """A node has got a place."""

    entry: Entry


@attrs.frozen
class Moved:
    """A node in the table has another endpoint now, not yet checked."""

    entry: Entry


@attrs.frozen
class Removed:
    """A node has lost its place."""

    entry: Entry


Change = Union[Added, Moved, Removed]
Changes = Sequence[Change]


@attrs.define(eq=False)
class Bucket:
    """
    Nodes of one distance.

    @ivar entries: by age, the oldest first.
    @ivar replacements: those who wait, likewise.
    """

    entries: list[Entry] = attrs.field(factory=list)
    replacements: list[Entry] = attrs.field(factory=list)
    subnets: SubnetLimit = attrs.field(factory=lambda: SubnetLimit(MAX_SUBNET_IN_BUCKET))


def admit_all(node: Node) -> bool:
    """The filter that lets everybody in."""
    return True


class Table:
    """
    What changes it returns what has changed.

    @ivar ready: whether nodes that called us may come in.  Before the first refresh is done they may not: the
        table of a node that just started is empty, and whoever calls first and most could fill it.
    @ivar admit: the filter.  Who does not pass has no place and is told to nobody.
    """

    def __init__(self, local_id: bytes, *, rng: Random, admit: Callable[[Node], bool] = admit_all) -> None:
        """
        @param local_id: our id, 32 bytes.
        @param rng: for choices an attacker should not foresee.
        """
        self.local_id = local_id
        self.admit = admit
        self.ready = False
        self.buckets = tuple(Bucket() for _ in range(BUCKETS))
        self._rng = rng
        self._number = number(local_id)
        self._subnets = SubnetLimit(MAX_SUBNET_IN_TABLE)
        self._entries: dict[bytes, Entry] = {}
        self._waiting: dict[bytes, Entry] = {}

    # what is in it

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, node_id: bytes) -> Entry | None:
        """The entry of a node, if it has one."""
        return self._entries.get(node_id)

    def bucket(self, distance: int) -> Bucket:
        """The bucket of a logarithmic distance, 1 to 256."""
        return self.buckets[max(0, distance - LOWEST)]

    def nodes(self, *, live_only: bool = False) -> list[Node]:
        """All nodes with a place."""
        return [entry.node for entry in self if entry.live or not live_only]

    def closest(
        self,
        target: bytes,
        count: int = BUCKET_SIZE,
        *,
        live_only: bool = True,
        scope: Scope = Scope.LOOPBACK,
        now: float = float("inf"),
    ) -> list[Node]:
        """
        The nodes nearest to an id, the nearest first.

        @param live_only: only those that have answered us.
        @param scope: only those whose address means something to somebody of this scope.
        @param now: only those that need not be left alone any more.
        """
        goal = number(target)
        at = (self._number ^ goal).bit_length()
        middle = max(0, at - LOWEST)
        # Who is at the target's own distance from us is nearer to it than we are; who is nearer to us is as far
        # from it as we are; beyond, each bucket is further than the last.
        groups: list[Iterable[Bucket]] = [(self.buckets[middle],), self.buckets[:middle]]
        groups += [(bucket,) for bucket in self.buckets[middle + 1 :]]
        found: list[Node] = []
        for group in groups:
            near = [
                (entry.number ^ goal, entry.node)
                for bucket in group
                for entry in bucket.entries
                if (entry.live or not live_only) and entry.place.scope <= scope and entry.quiet_until <= now
            ]
            near.sort(key=_first)
            found += [node for _, node in near]
            if len(found) >= count:
                break
        return found[:count]

    def at_distances(
        self,
        distances: Iterable[int],
        limit: int,
        *,
        live_only: bool = True,
        scope: Scope = Scope.LOOPBACK,
        but: bytes | None = None,
    ) -> list[Node]:
        """
        Nodes at certain logarithmic distances from us, in the order asked for and by chance within each bucket,
        so that whoever asks again learns more.

        @param distances: what is not from 1 to 256 counts as empty.
        @param limit: most nodes.
        @param but: the id of a node to leave out: who asks knows itself.
        """
        wanted = {distance: None for distance in distances if 1 <= distance <= ID_BITS}
        left_out = None if but is None else self._entries.get(but)
        found: list[Node] = []
        for bucket in dict.fromkeys([self.buckets[max(0, distance - LOWEST)] for distance in wanted]):
            nodes = [
                entry.node
                for entry in bucket.entries
                if entry.distance in wanted
                and (entry.live or not live_only)
                and entry.place.scope <= scope
                and entry is not left_out
            ]
            found += self._by_chance(nodes)
            if len(found) >= limit:
                break
        return found[:limit]

    def _by_chance(self, nodes: list[Node]) -> list[Node]:
        """
        In any order.  One draw for all costs 3 us; C{shuffle} draws for each, which with a C{SystemRandom} is 17 us for
        sixteen, as much as all the rest of choosing an answer.
        """
        chances = memoryview(self._rng.randbytes(4 * len(nodes))).cast("I")
        return [nodes[index] for index in sorted(range(len(nodes)), key=chances.__getitem__)]

    # changes

    def add_found(self, node: Node, now: float, *, live: bool = False) -> Changes:
        """
        Somebody told us of this node.

        @param live: it has answered us itself, at this endpoint.
        """
        known = self._entries.get(node.node_id) or self._waiting.get(node.node_id)
        changes = self._add(node, now) if known is None else self.update(node, now)
        return [*changes, *self.answered(node, now)] if live else changes

    def add_inbound(self, node: Node, now: float, *, quiet: float = 0.0) -> Changes:
        """
        This node called us, and its endpoint is proven.

        @param quiet: how long to leave it alone, seconds, when it is new.
        """
        if not self.ready:
            return ()
        if node.node_id in self._entries or node.node_id in self._waiting:
            return self.update(node, now, inbound=True)
        return self._add(node, now, now + quiet)

    def update(self, node: Node, now: float, *, inbound: bool = False) -> Changes:
        """
        Somebody told us something new of a node that we know; otherwise nothing happens.

        @param inbound: it was the node itself: any change holds.  Of others only a newer record does, which is
            signed, so that nobody can move a node that he does not like.
        """
        entry = self._entries.get(node.node_id) or self._waiting.get(node.node_id)
        if entry is None:
            return ()
        old = entry.node
        if not inbound and not _newer(node, old):
            return ()
        if node.record is None and old.record is not None:
            node = attrs.evolve(node, record=old.record)  # an endpoint alone says nothing against the record
        if node == old:
            return ()
        if not self.admit(node):
            return self.delete(node.node_id, now)
        if _same_endpoint(node, old):
            entry.node = node
            return ()
        place = self._place(node)
        if place is None:
            return ()
        bucket = self.bucket(entry.distance)
        self._leave(bucket, entry.place)
        if not self._enter(bucket, place):
            self._enter(bucket, entry.place)
            return ()
        entry.node, entry.place, entry.live = node, place, False
        return (Moved(entry),) if node.node_id in self._entries else ()

    def answered(self, node: Node, now: float) -> Changes:
        """
        A node has answered us.  If the table has it elsewhere that was hearsay, unless it has answered there too
        or a newer record says so.
        """
        entry = self._entries.get(node.node_id)
        if entry is None:
            return ()
        changes: Changes = ()
        if not _same_endpoint(entry.node, node) and not entry.live and not _newer(entry.node, node):
            changes = self.update(node, now, inbound=True)
        if _same_endpoint(entry.node, node):
            entry.live = True
            entry.checks = max(1, entry.checks)
        return changes

    def delete(self, node_id: bytes, now: float) -> Changes:
        """Take a node out.  One of those who wait gets its place."""
        waiting = self._waiting.pop(node_id, None)
        if waiting is not None:
            bucket = self.bucket(waiting.distance)
            bucket.replacements.remove(waiting)
            self._leave(bucket, waiting.place)
        entry = self._entries.pop(node_id, None)
        if entry is None:
            return ()
        bucket = self.bucket(entry.distance)
        bucket.entries.remove(entry)
        self._leave(bucket, entry.place)
        changes: list[Change] = [Removed(entry)]
        while bucket.replacements:
            # By chance: otherwise whoever is heard of last would be sure of the place.
            heir = bucket.replacements.pop(self._rng.randrange(len(bucket.replacements)))
            del self._waiting[heir.node.node_id]
            if self.admit(heir.node):
                heir.added_at = now
                self._settle(bucket, heir)
                changes.append(Added(heir))
                break
            self._leave(bucket, heir.place)
        return changes

    def sweep(self, now: float) -> Changes:
        """Filter again, since what is admitted has changed: our chain has forked."""
        changes: list[Change] = []
        for entry in [*self._waiting.values(), *self._entries.values()]:
            if not self.admit(entry.node):
                changes += self.delete(entry.node.node_id, now)
        return changes

    def _add(self, node: Node, now: float, quiet_until: float = float("-inf")) -> Changes:
        node_id = node.node_id
        place = self._place(node)
        if place is None or node_id == self.local_id or not self.admit(node):
            return ()
        distance = log_distance(self.local_id, node_id)
        bucket = self.bucket(distance)
        if not self._enter(bucket, place):
            return ()
        entry = Entry(node, number(node_id), distance, place, now, quiet_until=quiet_until)
        if len(bucket.entries) < BUCKET_SIZE:
            self._settle(bucket, entry)
            return (Added(entry),)
        if len(bucket.replacements) >= MAX_REPLACEMENTS:
            oldest = bucket.replacements.pop(0)
            del self._waiting[oldest.node.node_id]
            self._leave(bucket, oldest.place)
        bucket.replacements.append(entry)
        self._waiting[node_id] = entry
        return ()

    def _settle(self, bucket: Bucket, entry: Entry) -> None:
        bucket.entries.append(entry)
        self._entries[entry.node.node_id] = entry

    def _place(self, node: Node) -> Place | None:
        """Where it is; None if it cannot be sent anything."""
        ip = node.ip
        return None if ip is None or not int(ip) or not node.udp else Place.of(ip)

    def _enter(self, bucket: Bucket, place: Place) -> bool:
        if not self._subnets.add(place.subnet):
            return False
        if bucket.subnets.add(place.subnet):
            return True
        self._subnets.remove(place.subnet)
        return False

    def _leave(self, bucket: Bucket, place: Place) -> None:
        self._subnets.remove(place.subnet)
        bucket.subnets.remove(place.subnet)


def _first(pair: tuple[int, Node]) -> int:
    return pair[0]


def _same_endpoint(one: Node, other: Node) -> bool:
    return one.udp == other.udp and one.host == other.host


def _newer(node: Node, than: Node) -> bool:
    return node.record is not None and (than.record is None or node.record.seq > than.record.seq)
