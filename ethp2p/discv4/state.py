"""
The discovery protocol as an engine: datagrams in, events and datagrams out.

It knows packets, proofs and requests; which nodes are kept and asked is for its owner.

Source: devp2p discv4.md; EIP-8; EIP-868.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Protocol

import attrs

from ethp2p.crypto.keys import PrivateKey, PublicKey
from ethp2p.discv4 import relay, wire
from ethp2p.discv4.bonds import Bonds
from ethp2p.discv4.events import Addr, Answered, Asked, Event, Failed, Met, PongInfo, Result
from ethp2p.discv4.limits import (
    AMPLIFICATION,
    ANSWER_SIZE,
    ANSWER_TIMEOUT,
    EXPIRATION,
    GREETING_TIMEOUT,
    LAST_NEIGHBORS,
    MAX_DATAGRAMS,
    MAX_EVENTS,
    MAX_NEIGHBORS,
    MAX_PACKET,
    MAX_PROOFS,
    MAX_REQUESTS,
    MEETING_INTERVAL,
    ONCE_MORE,
    SETTLING_TIME,
)
from ethp2p.discv4.pending import Line, Question, Remote
from ethp2p.enode.cidr import as_ip
from ethp2p.enode.node import Node
from ethp2p.enr.record import Record
from ethp2p.errors import LocalProtocolError, RemoteProtocolError, WireError

__all__ = ["Addr", "Answered", "Asked", "Discv4", "Event", "Failed", "Local", "Met", "PongInfo", "REASONS", "Result"]

#: Why a packet was of no use.
REASONS = (
    "address",  # it comes from where no node can be
    "amplification",  # an answer was kept back, so that an unproven address gets no more than it sent
    "busy",
    "expired",
    "malformed",
    "neighbor",  # not the packet, but a node in Neighbors
    "own",  # we signed it: somebody sends our packets back
    "unknown",  # a type that is not known here
    "unproven",  # asks before its endpoint is proven
    "unsent",
    "unsolicited",  # answers what was not asked, or too late
)


class Local(Protocol):
    """Who we are: L{ethp2p.enode.LocalNode}, or anything that has as much."""

    @property
    def key(self) -> PrivateKey:
        """Our key."""

    @property
    def record(self) -> Record:
        """Our record as it stands now."""


@attrs.frozen(eq=False)
class _Asker:
    """Where an answer goes: what C{Asked.token} is."""

    addr: Addr
    host: str


class Discv4:
    """
    One node's side of the protocol.

    Nothing a stranger sends raises or makes it deaf: it is counted, by packet in L{received} and, where it was not
    of use, by reason in L{ignored}.
    """

    def __init__(
        self,
        local: Local,
        *,
        max_requests: int = MAX_REQUESTS,
        max_proofs: int = MAX_PROOFS,
        bonds: Bonds | None = None,
    ) -> None:
        """
        @param local: who we are.
        @param max_requests: most requests of ours under way.
        @param max_proofs: most proofs under way that others asked for.
        @param bonds: the proofs there are already, if any.
        """
        self._local = local
        self._own = local.key.public_key.raw
        self._record: Record | None = None
        self._endpoint = wire.Endpoint(b"", 0)
        self._max_requests = max_requests
        self._max_proofs = max_proofs
        self.bonds = Bonds() if bonds is None else bonds
        self._remotes: dict[Addr, dict[bytes, Remote]] = {}
        self._events: deque[Event] = deque()
        self._out: list[tuple[bytes, Addr]] = []
        self._token = 0
        #: Requests of ours under way, and Pings under way that only answer another's.
        self.requests = self.proofs = 0
        self._pings = Line(ANSWER_TIMEOUT)  # Pong has not come
        self._waits = Line(GREETING_TIMEOUT)  # Pong has come, and their Ping, which would prove us, has not
        self._settles = Line(SETTLING_TIME)  # our Pong is on its way to them
        self._answers = Line(ANSWER_TIMEOUT)  # the answer has not come
        self._lasts = Line(LAST_NEIGHBORS)  # most likely all of it has come
        self._repings = Line(ONCE_MORE)  # Pong has not come yet
        self._reasks = Line(ONCE_MORE)  # no part of the answer has come yet
        stages = self._waits, self._settles, self._answers, self._lasts
        self._lines = (self._pings, *stages, self._repings, self._reasks)
        #: Packets by name, and those without use by reason.
        self.received = dict.fromkeys(wire.NAMES, 0)
        self.sent = dict.fromkeys(wire.NAMES, 0)
        self.ignored = dict.fromkeys(REASONS, 0)

    # datagrams

    def receive_datagram(self, data: bytes, addr: Addr, now: float, wall: float) -> bool:
        """
        Take a datagram.  Never raises, whatever it holds.

        @param addr: where it came from, as the socket tells it: host and port.
        @param now: seconds, of any clock that goes on.
        @param wall: Unix time, seconds.
        @return: False when it is of another protocol.
        """
        if not wire.is_packet(data):
            return False
        try:
            self._receive(data, addr, now, wall)
        except wire.UnknownPacket:
            self.ignored["unknown"] += 1
        except WireError:
            self.ignored["malformed"] += 1
        return True

    def _receive(self, data: bytes, addr: Addr, now: float, wall: float) -> None:
        host, port = addr
        if ":" in host:
            if "%" in host:  # means nothing to others
                return self._ignore("address")
            host = str(as_ip(host))
        if not port:
            return self._ignore("address")
        # What can be told without it is told before the curve operation, which is most of what a packet costs.
        message = wire.message_of(data)
        self.received[type(message).__name__] += 1
        if not isinstance(message, wire.ENRResponse) and wire.is_expired(message.expiration, wall):
            return self._ignore("expired")
        place = host, port
        if isinstance(message, wire.Ping):
            return self._ping_received(message, data, place, addr, now, wall)
        if isinstance(message, (wire.FindNode, wire.ENRRequest)):
            return self._question_received(message, data, place, addr, now, wall)
        remotes = self._remotes.get(place, {})
        if not any(remote.awaits(message) for remote in remotes.values()):
            return self._ignore("unsolicited")
        remote = remotes.get(wire.sender_of(data).raw)
        if remote is None or not remote.awaits(message):
            return self._ignore("unsolicited")
        if isinstance(message, wire.Pong):
            self._pong_received(message, remote, now, wall)
        elif isinstance(message, wire.Neighbors):
            self._neighbors_received(message, remote, now, wall)
        else:
            self._record_received(message, remote, now, wall)
        return None

    def next_event(self) -> Event | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self) -> list[tuple[bytes, Addr]]:
        """What waits to be sent, once."""
        out, self._out = self._out, []
        return out

    # time

    def next_timer(self) -> float | None:
        """When L{handle_timer} is to be called, on the clock of C{now}."""
        return min((due for line in self._lines if (due := line.first()) is not None), default=None)

    def handle_timer(self, now: float, wall: float) -> None:
        """Let happen what is due."""
        while (remote := self._pings.take(now)) is not None:
            self._no_pong(remote)
        for line in (self._waits, self._settles):
            while (remote := line.take(now)) is not None:
                self._ask(remote, now, wall)
        for line in (self._answers, self._lasts):
            while (remote := line.take(now)) is not None:
                self._no_more(remote, now, wall)
        while (remote := self._repings.take(now)) is not None:
            assert remote.ping is not None
            self._write(remote.ping, remote.addr)
        while (remote := self._reasks.take(now)) is not None:
            self._ask_once_more(remote, now, wall)

    # requests

    def ping(self, node: Node, now: float, wall: float) -> int:
        """
        See whether a node is there.

        @return: a token; L{Answered} with L{PongInfo}, or L{Failed}, will have it.
        """
        remote = self._begin(node)
        if remote is not None:
            remote.pinging.append((self._token, node))
            if remote.ping is None:  # else its Pong is the answer to both
                self._ping(remote, now, wall)
        return self._token

    def find_node(self, node: Node, target: bytes, now: float, wall: float) -> int:
        """
        Ask a node which nodes it knows near C{target}.  One that does not know us yet is given the chance to prove
        us first.

        @param target: 64 bytes, as of a public key.
        @return: a token; L{Answered} with up to L{ANSWER_SIZE} nodes, or L{Failed}, will have it.
        @raise LocalProtocolError: a target of another length.
        """
        if len(target) != 64:
            raise LocalProtocolError(f"a target of {len(target)} bytes, not 64")
        return self._question(node, target, now, wall)

    def request_record(self, node: Node, now: float, wall: float) -> int:
        """
        Ask a node for its record (EIP-868).  Before, as L{find_node}.

        @return: a token; L{Answered} with the record, or L{Failed}, will have it.  The record is the node's own;
            it is what C{node} has already when that is newer.
        """
        return self._question(node, None, now, wall)

    def send_nodes(self, token: object, nodes: Sequence[Node | Record], now: float, wall: float) -> None:
        """
        Answer an L{Asked}: with the first L{ANSWER_SIZE} that the asker can be told of, the nearest first.

        @raise LocalProtocolError: C{token} is not of an L{Asked}.
        """
        if not isinstance(token, _Asker):
            raise LocalProtocolError("nodes for nobody")
        told = relay.tell(nodes, token.host)
        for start in range(0, max(len(told), 1), MAX_NEIGHBORS):  # none is an answer, too
            part = told[start : start + MAX_NEIGHBORS]
            self._write(wire.encode_neighbors(self._local.key, part, _expiration(wall)), token.addr)

    def fail_all(self, why: str) -> None:
        """End all requests, as when the socket is closed."""
        remotes = [remote for at in self._remotes.values() for remote in at.values()]
        self._remotes.clear()
        for line in self._lines:
            line.clear()
        self.proofs = 0
        for remote in remotes:
            for token, node in remote.pinging:
                self._fail(token, node, why)
            for question in remote.questions:
                self._fail(question.token, question.node, why)

    # Pings

    def _ping(self, remote: Remote, now: float, wall: float, room: int = MAX_PACKET) -> None:
        to = wire.Endpoint(wire.pack_ip(remote.place[0]), remote.place[1])
        ping = wire.Ping(wire.VERSION, self._here(), to, _expiration(wall), self._local.record.seq)
        remote.ping = wire.encode(self._local.key, ping)
        remote.ping_sent = now
        self._write(remote.ping, remote.addr, room)
        self._pings.add(remote, now)
        if remote.stranger is None:  # who came by itself will come again
            self._repings.add(remote, now)

    def _ping_received(self, ping: wire.Ping, data: bytes, place: Addr, addr: Addr, now: float, wall: float) -> None:
        public_key = wire.sender_of(data)
        if public_key.raw == self._own:
            return self._ignore("own")
        host, port = place
        tcp = ping.sender.tcp
        bond = self.bonds.get(host, public_key.raw, now)
        room = MAX_PACKET if bond is not None else AMPLIFICATION * len(data)
        to = wire.Endpoint(wire.pack_ip(host), port, tcp)
        pong = wire.Pong(to, wire.packet_hash(data), _expiration(wall), self._local.record.seq)
        room -= self._send(pong, addr, room)
        remote = self._remotes.get(place, {}).get(public_key.raw)
        if bond is not None:
            if bond.told + MEETING_INTERVAL <= now:
                bond.told = now
                self._tell(Met(Node(public_key, host, tcp, port), PongInfo(ping.recipient.addr, ping.enr_seq)))
            bond.greeted, bond.tcp = now, tcp
        elif remote is not None and remote.ping is not None:
            if remote.stranger is not None:  # what it got the first time may be lost
                self._write(remote.ping, addr, room)
        else:
            if self.proofs >= self._max_proofs:
                return self._ignore("busy")
            remote = self._remote(public_key, place, addr)
            remote.stranger = Node(public_key, host, tcp, port)
            self.proofs += 1
            self._ping(remote, now, wall, room)
        if remote is not None:
            remote.greeted = now, tcp
            if remote.line is self._waits:
                self._move(remote, self._settles, now)
            elif remote.line is self._answers and remote.answered_at is None and not remote.asked_anew:
                remote.asked_anew = True  # it had no proof of us
                self._move(remote, self._settles, now)
        return None

    def _pong_received(self, pong: wire.Pong, remote: Remote, now: float, wall: float) -> None:
        bond = self.bonds.prove(remote.place[0], remote.public_key.raw, now)
        if remote.greeted is not None:
            bond.greeted, bond.tcp = remote.greeted
        bond.told = now
        info = PongInfo(pong.recipient.addr, pong.enr_seq)
        self._pings.remove(remote)
        self._repings.remove(remote)
        remote.ping = None
        for token, node in remote.pinging:
            self._answer(token, node, info, now - remote.ping_sent)
        remote.pinging.clear()
        if remote.stranger is not None:
            self._tell(Met(remote.stranger, info))
            self._end_proof(remote)
        if remote.questions and remote.line is None:
            self._move(remote, self._settles if bond.knows_us(now) else self._waits, now)
        self._tidy(remote)

    def _no_pong(self, remote: Remote) -> None:
        self._repings.remove(remote)
        remote.ping = None
        for token, node in remote.pinging:
            self._fail(token, node, "no pong")
        remote.pinging.clear()
        if remote.stranger is not None:
            self._end_proof(remote)
        if remote.line is None:
            for question in remote.questions:
                self._fail(question.token, question.node, "no pong")
            remote.questions.clear()
        self._tidy(remote)

    def _end_proof(self, remote: Remote) -> None:
        remote.stranger = None
        self.proofs -= 1

    # questions of ours

    def _next_question(self, remote: Remote, now: float, wall: float) -> None:
        bond = self.bonds.get(remote.place[0], remote.public_key.raw, now)
        if bond is not None and bond.knows_us(now):
            self._ask(remote, now, wall)
        elif remote.ping is None:
            self._ping(remote, now, wall)

    def _ask(self, remote: Remote, now: float, wall: float) -> None:
        if remote.request is None:
            target, expiration = remote.questions[0].target, _expiration(wall)
            request = wire.ENRRequest(expiration) if target is None else wire.FindNode(target, expiration)
            remote.request = wire.encode(self._local.key, request)
            remote.asked_at = now
            self._reasks.add(remote, now)
        self._write(remote.request, remote.addr)
        self._move(remote, self._answers, now)

    def _ask_once_more(self, remote: Remote, now: float, wall: float) -> None:
        """No answer yet.  A node that has no proof of us will ping us when we ping it."""
        assert remote.request is not None
        if remote.ping is None:
            self._ping(remote, now, wall)
        self._write(remote.request, remote.addr)

    def _neighbors_received(self, neighbors: wire.Neighbors, remote: Remote, now: float, wall: float) -> None:
        if remote.answered_at is None:
            remote.answered_at = now
            self._reasks.remove(remote)
            if remote.line is self._settles:
                self._move(remote, self._answers, now)
        source = remote.place[0]
        for told in neighbors.nodes:  # perhaps the same again, since we asked once more
            if told.public_key not in remote.told:
                node = None if told.public_key == self._own else relay.believe(told, source)
                remote.told[told.public_key] = node
                if node is None:
                    self._ignore("neighbor")
        if len(remote.told) >= ANSWER_SIZE:
            self._end_question(remote, remote.nodes, now, wall)
        elif len(neighbors.nodes) < MAX_NEIGHBORS and self._answers.due(remote) > now + LAST_NEIGHBORS:
            self._move(remote, self._lasts, now)

    def _record_received(self, response: wire.ENRResponse, remote: Remote, now: float, wall: float) -> None:
        known = remote.questions[0].node.record
        remote.answered_at = now
        try:
            record = Record.decode(response.record)
            relay.check_record(record, remote.public_key, remote.place[0])
        except RemoteProtocolError as error:
            self._end_question(remote, f"bad record: {error}", now, wall)
        else:
            self._end_question(remote, known if known is not None and known.seq > record.seq else record, now, wall)

    def _no_more(self, remote: Remote, now: float, wall: float) -> None:
        if remote.answered_at is not None:
            return self._end_question(remote, remote.nodes, now, wall)
        bond = self.bonds.get(remote.place[0], remote.public_key.raw, now)
        if bond is not None:
            bond.greeted = -inf  # perhaps it has forgotten us
        return self._end_question(remote, "no answer", now, wall)

    def _end_question(self, remote: Remote, result: Result | str, now: float, wall: float) -> None:
        question = remote.questions.popleft()
        answered_at = now if remote.answered_at is None else remote.answered_at
        if isinstance(result, str):
            self._fail(question.token, question.node, result)
        else:
            self._answer(question.token, question.node, result, answered_at - remote.asked_at)
        self._move(remote, None, now)
        self._reasks.remove(remote)
        remote.request = remote.answered_at = None
        remote.asked_anew = False
        remote.told = {}
        if remote.questions:
            self._next_question(remote, now, wall)
        self._tidy(remote)

    # questions of others

    def _question_received(
        self, question: wire.FindNode | wire.ENRRequest, data: bytes, place: Addr, addr: Addr, now: float, wall: float
    ) -> None:
        host, port = place
        if not self.bonds.any_at(host):
            return self._ignore("unproven")
        public_key = wire.sender_of(data)
        bond = self.bonds.get(host, public_key.raw, now)
        if bond is None:
            return self._ignore("unproven")
        if isinstance(question, wire.FindNode):
            self._tell(Asked(_Asker(addr, host), Node(public_key, host, bond.tcp, port), question.target))
        else:
            self._send(wire.ENRResponse(wire.packet_hash(data), self._local.record.encode()), addr)
        return None

    # what all have in common

    def _begin(self, node: Node) -> Remote | None:
        """Count a request, or refuse it."""
        self._token += 1
        why = None
        if node.ip is None or not node.udp:
            why = "no UDP endpoint"
        elif self.requests >= self._max_requests:
            why = "too many requests"
        self.requests += 1
        if why is not None:
            self._fail(self._token, node, why)
            return None
        place = node.host, node.udp
        return self._remote(node.public_key, place, place)

    def _question(self, node: Node, target: bytes | None, now: float, wall: float) -> int:
        remote = self._begin(node)
        if remote is not None:
            remote.questions.append(Question(self._token, node, target))
            if len(remote.questions) == 1:
                self._next_question(remote, now, wall)
        return self._token

    def _answer(self, token: int, node: Node, result: Result, rtt: float) -> None:
        self.requests -= 1
        self._events.append(Answered(token, node, result, rtt))

    def _fail(self, token: int, node: Node, why: str) -> None:
        self.requests -= 1
        self._events.append(Failed(token, node, why))

    def _tell(self, event: Asked | Met) -> None:
        """What others cause must not fill the memory when nobody fetches it."""
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        else:
            self._ignore("busy")

    def _remote(self, public_key: PublicKey, place: Addr, addr: Addr) -> Remote:
        at = self._remotes.setdefault(place, {})
        remote = at.get(public_key.raw)
        if remote is None:
            remote = at[public_key.raw] = Remote(public_key, place, addr)
        return remote

    def _move(self, remote: Remote, line: Line | None, now: float) -> None:
        """Give the question under way another deadline, or none."""
        if remote.line is not None:
            remote.line.remove(remote)
        remote.line = line
        if line is not None:
            line.add(remote, now)

    def _tidy(self, remote: Remote) -> None:
        if remote.idle:
            at = self._remotes.get(remote.place)
            if at is not None and at.pop(remote.public_key.raw, None) is not None and not at:
                del self._remotes[remote.place]

    def _here(self) -> wire.Endpoint:
        """What we take ourselves to be."""
        record = self._local.record
        if record is not self._record:
            node = Node.from_record(record)
            self._record = record
            self._endpoint = wire.Endpoint(node.ip.packed if node.ip is not None else b"", node.udp, node.tcp)
        return self._endpoint

    def _send(self, message: wire.Message, addr: Addr, room: int = MAX_PACKET) -> int:
        """@return: how many bytes it has."""
        packet = wire.encode(self._local.key, message)
        self._write(packet, addr, room)
        return len(packet)

    def _write(self, packet: bytes, addr: Addr, room: int = MAX_PACKET) -> None:
        """@param room: most bytes that may go there.  What is over counts as lost on the way."""
        if len(packet) > room:
            self._ignore("amplification")
        elif len(self._out) >= MAX_DATAGRAMS:
            self._ignore("unsent")
        else:
            self.sent[wire.name_of(packet)] += 1
            self._out.append((packet, addr))

    def _ignore(self, reason: str) -> None:
        self.ignored[reason] += 1


def _expiration(wall: float) -> int:
    return int(wall + EXPIRATION)
