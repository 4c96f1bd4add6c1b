"""
Discovery v5 as an engine: datagrams in, events and datagrams out.

Source: devp2p discv5/discv5-wire.md; discv5-theory.md, "Sessions" and "Handshake Implementation Considerations".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Protocol, Union

import attrs

from ethp2p.crypto.keys import PrivateKey, RandomBytes
from ethp2p.discv5 import calls, wire
from ethp2p.discv5.calls import Call, Calls
from ethp2p.discv5.counters import Counters, tally
from ethp2p.discv5.events import Answered, Asked, Event, Failed, Met, PongInfo, Talked
from ethp2p.discv5.limits import (
    HANDSHAKE_TIMEOUT,
    MAX_CHALLENGES,
    MAX_EVENTS,
    MAX_MESSAGE,
    MAX_NODES,
    MAX_SESSIONS,
    MAX_TOTAL,
    MAX_TRIES,
    MAX_UNSENT,
    MEETING_INTERVAL,
    RESPONSE_TIMEOUT,
)
from ethp2p.discv5.nodes import Recent, Verified
from ethp2p.discv5.relay import check_endpoint, tell
from ethp2p.discv5.session import Addr, Challenge, Key, Session, accept, initiate, seq_of
from ethp2p.enode import Node
from ethp2p.enode.cidr import BadRelay
from ethp2p.enr import Record
from ethp2p.errors import LocalProtocolError, RemoteProtocolError, WireError
from ethp2p.limits import ExpiringMap

__all__ = ["Answered", "Asked", "Counters", "Discv5", "Event", "Failed", "Local", "Met", "PongInfo", "Talked"]

#: Random bytes in place of the message in a packet that asks for a handshake.
_NOISE = 20
#: What a NODES message has besides its request id and its records: type, prefix of the id, total, and the prefixes of
#: two lists.  To the byte: 16 records of 147 bytes, as those with one address have, go in two packets and not in three.
_NODES_OVERHEAD = 1 + 1 + 1 + 3 + 3


class Local(Protocol):
    """Who we are: L{ethp2p.enode.LocalNode}, or whatever has as much."""

    @property
    def key(self) -> PrivateKey:
        """Our key."""

    @property
    def record(self) -> Record:
        """Our record as it stands now."""


@attrs.frozen
class _Asker:
    """
    Whom an answer goes to, and for what.
    """

    key: Key
    request_id: bytes
    distances: tuple[int, ...] = ()


class Discv5:
    """
    One node's side of discovery v5, with all others.

    C{now} is seconds of a clock that goes on; C{wall} is not used, and is there since v4 needs it.  What others
    send never raises: it is counted in C{counters}, or an event.
    """

    def __init__(
        self,
        local: Local,
        *,
        random: RandomBytes,
        sessions: int = MAX_SESSIONS,
        verified: Verified | None = None,
    ) -> None:
        """
        @param local: who we are.  Its record is read anew whenever it is told to somebody.
        @param random: what keys, nonces and masks are drawn from.
        @param sessions: most sessions kept, and newest records.
        @param verified: records whose signature need not be checked again; None for our own.
        """
        self.local = local
        self.counters = Counters()
        #: Protocols of TALKREQ that the owner answers.  All others get an empty answer.
        self.talk_protocols: set[bytes] = set()
        self._random = random
        self._id = local.key.public_key.node_id
        self._mask = wire.Mask(self._id)
        self._sessions: Recent[Key, Session] = Recent(sessions)
        self._nodes: Recent[bytes, Node] = Recent(sessions)
        self._verified = Verified() if verified is None else verified
        self._challenges: ExpiringMap[Key, Challenge] = ExpiringMap(MAX_CHALLENGES, HANDSHAKE_TIMEOUT)
        self._calls = Calls()
        self._tokens = count(1)
        self._events: deque[Event] = deque()
        self._out: list[tuple[bytes, Addr]] = []

    # what others send

    def receive_datagram(self, data: bytes, addr: Addr, now: float, wall: float) -> bool:
        """
        Take a datagram.

        @param addr: where it came from: an IP address as C{ipaddress} writes it, and a port.
        @return: whether it was a discovery v5 packet for us.
        """
        counters = self.counters
        counters.datagrams_in += 1
        counters.bytes_in += len(data)
        try:
            packet = wire.decode_packet(data, self._mask)
        except wire.NotDiscv5:
            counters.foreign += 1
            return False
        except WireError:
            counters.bad_packets += 1
            return True
        if isinstance(packet, wire.WhoAreYou):
            self._challenge_received(packet, addr, now)
        elif packet.source == self._id:
            counters.bad_packets += 1
        elif isinstance(packet, wire.Ordinary):
            self._ordinary_received(packet, addr, now)
        else:
            self._handshake_received(packet, addr, now)
        return True

    def next_event(self) -> Event | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self) -> list[tuple[bytes, Addr]]:
        """What waits to be sent and where to, once."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When L{handle_timer} wants to be called, or None."""
        return self._calls.deadline

    def handle_timer(self, now: float, wall: float) -> None:
        """Repeat the requests that are not answered, and end those whose time is over."""
        for call in self._calls.silent(now):
            self.counters.calls_repeated += 1
            self._calls.repeated(call, self._write_call(call), now)
        for call in self._calls.late(now):
            try:
                result = call.partial()
            except RemoteProtocolError as error:
                self._fail(call, str(error), now)
                continue
            if result is not None:
                self._answered(call, result, now)
                continue
            what = "packet" if call.shaken is None else "handshake"
            self._fail(call, f"no answer to our {what} in {RESPONSE_TIMEOUT} s", now)

    # what we ask

    def ping(self, node: Node, now: float, wall: float) -> int:
        """
        Ask whether a node is there.

        @return: the token of the event to come: L{Answered} with a L{PongInfo}, or L{Failed}.
        """
        return self._ask(
            calls.PingCall(next(self._tokens), node, wire.Ping(self._request_id(), self.local.record.seq)), now
        )

    def _request_id(self) -> bytes:
        """Eight random bytes, the first not zero: there are peers that answer with the number, not with its bytes."""
        drawn = self._random(8)
        return drawn if drawn[0] else b"\1" + drawn[1:]

    def find_node(self, node: Node, distances: Sequence[int], now: float, wall: float) -> int:
        """
        Ask whom a node knows.

        @param distances: logarithmic distances from C{node}, 0 to 256.
        @return: the token of the event to come: L{Answered} with at most L{MAX_NODES} nodes, or L{Failed}.
        @raise LocalProtocolError: no distances, or one that is none.
        """
        asked = tuple(dict.fromkeys(distances))
        if not asked or not all(0 <= number <= 256 for number in asked):
            raise LocalProtocolError(f"{list(distances)} are not distances")
        return self._find(calls.FindCall, node, asked, now)

    def request_record(self, node: Node, now: float, wall: float) -> int:
        """
        Ask a node for its own record.

        @return: the token of the event to come: L{Answered} with a C{Record}, or L{Failed}.
        """
        return self._find(calls.RecordCall, node, (0,), now)

    def talk(self, node: Node, protocol: bytes, message: bytes, now: float, wall: float) -> int:
        """
        Say something in another protocol.

        @return: the token of the event to come: L{Answered} with bytes, or L{Failed}, also when a handshake is
            needed first and the message has no room beside it (some 800 bytes always have).
        @raise LocalProtocolError: larger than a packet can carry.
        """
        request = wire.TalkRequest(self._request_id(), protocol, message)
        wire.encode_message(request)
        return self._ask(calls.TalkCall(next(self._tokens), node, request), now)

    def fail_all(self, why: str) -> None:
        """End all requests: each gets its L{Failed}."""
        for call in self._calls.drop():
            self.counters.calls_failed += 1
            self._events.append(Failed(call.token, call.node, why))

    # what we answer

    def send_nodes(self, token: object, nodes: Iterable[Union[Node, Record]], now: float, wall: float) -> None:
        """
        Answer L{Asked}.  Nodes without a record, at other distances, or which the asker would have to refuse
        are left out, and so is what is more than L{MAX_NODES} or does not fit in L{MAX_TOTAL} packets.

        @raise LocalProtocolError: not a token of L{Asked}.
        """
        asker = _asker(token)
        session = self._sessions.get(asker.key)
        if session is None:
            return
        own = [self.local.record.encode()] if 0 in asker.distances else []
        node_id, (host, _) = asker.key
        others = tell(nodes, self._id, asker.distances, node_id, host, MAX_NODES - len(own))
        packets: list[list[bytes]] = [[]]
        room = empty = MAX_MESSAGE - _NODES_OVERHEAD - len(asker.request_id)
        for raw in own + others:
            if len(raw) > room:
                if len(packets) == MAX_TOTAL:
                    break
                packets.append([])
                room = empty
            packets[-1].append(raw)
            room -= len(raw)
        for records in packets:
            self._respond(session, wire.Nodes(asker.request_id, len(packets), tuple(records)))

    def send_talk(self, token: object, response: bytes) -> None:
        """
        Answer L{Talked}.

        @raise LocalProtocolError: not a token of L{Talked}, or larger than a packet can carry.
        """
        asker = _asker(token)
        message = wire.TalkResponse(asker.request_id, response)
        wire.encode_message(message)
        session = self._sessions.get(asker.key)
        if session is not None:
            self._respond(session, message)

    # packets

    def _ordinary_received(self, packet: wire.Ordinary, addr: Addr, now: float) -> None:
        key = packet.source, addr
        session = self._sessions.get(key)
        plain = None if session is None else session.open(packet)
        if session is None or plain is None:
            self._challenge(key, packet.nonce, now)
        else:
            self._message_received(plain, session, now)

    def _challenge(self, key: Key, nonce: bytes, now: float) -> None:
        """Nothing is known of who sent this: one short packet is all it gets."""
        self.counters.unreadable += 1
        challenge = self._challenges.get(key, now)
        if challenge is not None:
            self.counters.challenges_repeated += 1
        else:
            node_id = key[0]
            drawn = self._random(wire.IV_SIZE + wire.ID_NONCE_SIZE)
            node = self._nodes.get(node_id)
            seq = 0 if node is None else seq_of(node)
            head = wire.whoareyou_head(drawn[: wire.IV_SIZE], nonce, drawn[wire.IV_SIZE :], seq)
            mask = wire.Mask(node_id)
            challenge = Challenge(mask, wire.encode_packet(mask, head), head, node)
            self._challenges.set(key, challenge, now)
            self.counters.challenges += 1
        self._send(challenge.packet, key[1])

    def _challenge_received(self, packet: wire.WhoAreYou, addr: Addr, now: float) -> None:
        call = self._calls.challenged(packet.nonce, addr, now)
        if call is None or call.mask is None:
            self.counters.unsolicited += 1
            return
        call.may_shake = False
        if call.shaken is not None and call.shaken[0] == packet.head:
            # The challenge again: perhaps our packet was lost.  If it was not, another would be of no use there, and
            # we should have keys that the node has not.
            self._calls.wait(call, now)
            self._send(call.shaken[1], addr)
            return
        plain = wire.encode_message(call.request)
        try:
            session, nonce, datagram = initiate(
                self.local.key, self.local.record, call.node, addr, call.mask, packet, plain, self._random
            )
        except LocalProtocolError as error:
            self._fail(call, str(error), now)
            return
        call.shaken = packet.head, datagram
        self._keep(session, now)
        self.counters.handshakes_out += 1
        self._calls.sent(call, nonce, now)
        self._send(datagram, addr)
        tally(self.counters.sent, type(call.request))

    def _handshake_received(self, packet: wire.Handshake, addr: Addr, now: float) -> None:
        key = packet.source, addr
        challenge = self._challenges.get(key, now)
        if challenge is None:
            self.counters.unsolicited += 1
            return
        challenge.tries += 1
        try:
            session, plain = accept(self.local.key, challenge, packet, addr, self._verified)
        except WireError:
            self.counters.handshakes_bad += 1
            if challenge.tries >= MAX_TRIES:
                self._challenges.pop(key, now)
            return
        self._challenges.pop(key, now)  # or the same packet could be used again
        self._keep(session, now)
        self.counters.handshakes_in += 1
        self._meet(session, now)
        self._message_received(plain, session, now)

    def _meet(self, session: Session, now: float) -> None:
        session.met_at = now
        try:
            check_endpoint(session.addr[0], session.node)
        except BadRelay:
            pass  # not to be called: a light node, or one that would have us call somebody else
        else:
            self._tell(Met(session.node, session.addr))

    def _keep(self, session: Session, now: float) -> None:
        session.met_at = now
        older = self._sessions.get(session.key)
        if older is not None:
            older.older = None
            session.older = older
        self._sessions.set(session.key, session)
        self._remember(session.node)

    def _remember(self, node: Node) -> None:
        """Keep the newest record; one that is no newer is the one we have."""
        if node.record is None:
            return
        known = self._nodes.get(node.node_id)
        if known is None or seq_of(known) < node.record.seq:
            self._nodes.set(node.node_id, node)

    # messages

    def _message_received(self, plain: bytes, session: Session, now: float) -> None:
        try:
            if wire.is_ping(plain):
                pong = wire.answer_ping(plain, session.pong_end(self.local.record.seq))
                tally(self.counters.received, wire.Ping)
                self._write(session, wire.Pong, pong)
                if session.met_at + MEETING_INTERVAL <= now:
                    self._meet(session, now)
                return
            message = wire.decode_message(plain)
        except WireError:
            self.counters.bad_messages += 1
            return
        tally(self.counters.received, type(message))
        if type(message) is wire.FindNode:
            self._asked(message, session, now)
        elif type(message) is wire.TalkRequest:
            if message.protocol in self.talk_protocols:
                token = _Asker(session.key, message.request_id)
                self._tell(Talked(token, session.node, message.protocol, message.message))
            else:
                self._respond(session, wire.TalkResponse(message.request_id, b""))
        else:
            self._reply_received(message, session, now)

    def _asked(self, message: wire.FindNode, session: Session, now: float) -> None:
        distances = tuple(dict.fromkeys([number for number in message.distances if number <= 256]))
        asker = _Asker(session.key, message.request_id, distances)
        others = tuple([number for number in distances if number])
        if others:
            self._tell(Asked(asker, session.node, others))
        else:
            self.send_nodes(asker, (), now, 0.0)

    def _reply_received(self, reply: wire.Message, session: Session, now: float) -> None:
        """Only the node that was asked, where it was asked, may answer, and only what was asked."""
        call = self._calls.active(session.node.node_id)
        if (
            call is None
            or type(reply) is not call.expects
            or reply.request_id != call.request.request_id
            or session.addr != call.addr
        ):
            self.counters.unsolicited += 1
            return
        if call.rtt is None:
            call.rtt = max(0.0, now - call.sent_at)
        try:
            result = call.take(reply)
        except RemoteProtocolError as error:
            self._fail(call, str(error), now)
            return
        if result is None:
            self._calls.wait(call, now)
        else:
            self._answered(call, result, now)

    def _respond(self, session: Session, message: wire.Message) -> None:
        self._write(session, type(message), wire.encode_message(message))

    def _write(self, session: Session, kind: type[wire.Message], plain: bytes) -> None:
        if session.spent:  # what the other asks next cannot be read any more, and begins a new one
            self._sessions.pop(session.key)
            return
        _, datagram = session.seal(self._id, plain, self._random(24))
        self._send(datagram, session.addr)
        tally(self.counters.sent, kind)

    # requests

    def _find(self, kind: type[calls.FindCall], node: Node, distances: tuple[int, ...], now: float) -> int:
        request = wire.FindNode(self._request_id(), distances)
        return self._ask(kind(next(self._tokens), node, request, us=self._id, verified=self._verified), now)

    def _ask(self, call: Call, now: float) -> int:
        node = call.node
        if node.node_id == self._id:
            self._refuse(call, "this is ourselves")
        elif node.ip is None or not node.udp:
            self._refuse(call, "its IP address and UDP port are not known")
        elif not self._calls.add(call):
            self._refuse(call, "too many requests wait")
        else:
            self._remember(node)
            self._next(node.node_id, now)
        return call.token

    def _next(self, node_id: bytes, now: float) -> None:
        call = self._calls.next(node_id)
        if call is not None:
            self._calls.sent(call, self._write_call(call), now)

    def _write_call(self, call: Call) -> bytes:
        """@return: the nonce of the packet."""
        session = self._sessions.get(call.key)
        drawn = self._random(24)
        if session is not None and not session.spent:
            call.mask = session.mask
            nonce, datagram = session.seal(self._id, wire.encode_message(call.request), drawn)
            tally(self.counters.sent, type(call.request))
        else:  # anything that cannot be read makes the node challenge us
            call.mask = wire.Mask(call.node.node_id)
            noise = self._random(4 + _NOISE)
            nonce = noise[:4] + drawn[16:]
            head = wire.ordinary_head(drawn[:16], nonce, self._id)
            datagram = wire.encode_packet(call.mask, head, noise[4:])
        self._send(datagram, call.addr)
        return nonce

    def _answered(self, call: Call, result: Any, now: float) -> None:
        if isinstance(result, Record):
            self._remember(self._verified.node(result.encode()))
        self.counters.calls_answered += 1
        self._end(call, Answered(call.token, call.node, result, call.rtt or 0.0), now)

    def _fail(self, call: Call, why: str, now: float) -> None:
        self.counters.calls_failed += 1
        self._end(call, Failed(call.token, call.node, why), now)

    def _refuse(self, call: Call, why: str) -> None:
        self.counters.calls_failed += 1
        self._events.append(Failed(call.token, call.node, why))

    def _end(self, call: Call, event: Event, now: float) -> None:
        self.counters.records_refused += call.refused
        self._calls.end(call)
        self._events.append(event)
        self._next(call.node.node_id, now)

    # queues

    def _tell(self, event: Event) -> None:
        """An event that a stranger caused."""
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        else:
            self.counters.dropped += 1

    def _send(self, datagram: bytes, addr: Addr) -> None:
        if len(self._out) >= MAX_UNSENT:
            self.counters.dropped += 1
            return
        self._out.append((datagram, addr))
        self.counters.datagrams_out += 1
        self.counters.bytes_out += len(datagram)


def _asker(token: object) -> _Asker:
    if not isinstance(token, _Asker):
        raise LocalProtocolError("not the token of a question")
    return token
