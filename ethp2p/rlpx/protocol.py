"""
RLPx as a Twisted Protocol: an L{IMessageTransport} for the protocol that an inner factory builds.

The inner protocol is built when the handshake is done.  A connection has at most one C{callLater} pending, and
only while there is something to write or to deliver; its deadlines are on a wheel that all connections share.  A big
message is encrypted while TCP has room for it and no faster: the peer reads its beginning meanwhile, and others have
their turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.errors import LocalProtocolError, PeerDisconnected, RemoteProtocolError
from ethp2p.interfaces import IMessageTransport
from ethp2p.limits import Clock, Deadline, WheelTimer
from ethp2p.rlpx import limits
from ethp2p.rlpx.errors import HandshakeTimeout, NotReading, ReadTimeout, WriteTimeout
from ethp2p.rlpx.state import Connection, HandshakeDone, MessageReceived
from ethp2p.rlpx.traffic import Traffic


@implementer(IAddress)
@attrs.frozen
class RLPxAddress:
    """
    A peer on an RLPx connection, whose key is proven.
    """

    public_key: PublicKey
    #: Where it is: the address of the connection below.
    address: Any
    #: Whether it called us.
    inbound: bool

    @property
    def node_id(self) -> bytes:
        """Its id, 32 bytes."""
        return self.public_key.node_id


@implementer(IPushProducer)
class _Valve:
    """
    What TCP pauses when it holds enough.  C{RLPxProtocol.pauseProducing} is something else: it belongs to the
    protocol above.
    """

    __slots__ = ("_protocol",)

    def __init__(self, protocol: RLPxProtocol) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        self._protocol._choke()

    def resumeProducing(self) -> None:
        self._protocol._unchoke()

    def stopProducing(self) -> None:
        pass  # connectionLost follows


@implementer(IMessageTransport, IPushProducer)
class RLPxProtocol(Protocol):
    """
    One RLPx connection.

    The inner protocol, an L{ethp2p.interfaces.IMessageProtocol}, may have a method C{transportFailed(error)}.  It
    is called when the peer broke a rule of RLPx or fell silent after the handshake; what it writes are the last
    words.  C{connectionLost} is then told the same error.
    """

    _log = Logger()

    def __init__(self, factory: RLPxFactory) -> None:
        self._factory = factory
        self._clock = factory.clock
        self._wheel = factory.wheel
        #: The engine: its counters tell what went over this connection.
        self.engine = factory.buildEngine()
        #: The peer, when the handshake is done.
        self.address: RLPxAddress | None = None
        self._tcp: Any = None
        self._sendNow: Callable[[bytes], int | BaseException] | None = None  # where TCP is a bare socket's
        self._inner: Any = None
        self._ready: Deferred[Any] | None = None
        self._error: BaseException | None = None  # what ended the connection, where we know better than TCP
        self._deadline = Deadline(self._wheel)  # for the handshake, then the next byte, then the end
        self._drain = Deadline(self._wheel)  # for TCP to send what it holds
        self._turn: Any = None  # the callLater, when there is one
        self._working = False  # delivering: what is written meanwhile goes out at the end
        self._paused = False  # by the protocol above
        self._muted = False  # TCP does not read
        self._choked = False  # TCP holds enough
        self._closing = False
        self._producer: Any = None

    # below: TCP

    def connectionMade(self) -> None:
        """Start the handshake."""
        self._tcp = self.transport
        if ITCPTransport.providedBy(self._tcp):
            self._tcp.setTcpNoDelay(True)  # small writes are gathered here
        if isinstance(self._tcp, FileDescriptor) and not getattr(self._tcp, "TLS", False):
            self._sendNow = self._tcp.writeSomeData
        self._factory.traffic.begin(self.engine)
        self._deadline.set(self._wheel.seconds() + limits.HANDSHAKE_TIMEOUT, self._handshakeTimedOut)
        # Twisted pauses one that streams when it holds much, and asks another whenever it holds nothing.
        self._tcp.registerProducer(_Valve(self), self._sendNow is None)
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Feed the engine, deliver what comes out, write once."""
        if self._closing:
            return
        if self._inner is not None:  # nobody gets more time for the handshake
            self._listen()
        self.engine.receive_data(data)
        self._work(self._deliver)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the protocol above, or whoever waits for one."""
        self._closing = True
        self._deadline.stop()
        self._drain.stop()
        if self._turn is not None:
            self._turn.cancel()
        self._factory.traffic.end(self.engine)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self._error is None and self.address is None:
            self._error = PeerDisconnected(detail=f"in the RLPx handshake: {reason.getErrorMessage()}")
        if self._error is None:
            self._error = reason.value
        else:
            reason = Failure(self._error)
        if self.address is None:
            self._factory.handshakeFailed(self._tcp.getPeer(), reason)
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.errback(reason)

    def _work(self, task: Callable[[], object]) -> None:
        """Do it; what is written meanwhile goes out together."""
        self._working = True
        try:
            task()
        except RemoteProtocolError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001  a fault above must not leave a connection that nobody serves
            self._log.failure("the protocol above RLPx failed; peer {peer}", peer=str(self.address))
            self.abortConnection()
        finally:
            self._working = False
        self._flush()
        if self._muted and not self._paused and not self._closing:
            self._muted = False
            self._listen()
            self._tcp.resumeProducing()

    def _deliver(self) -> None:
        next_event = self.engine.next_event
        while not self._paused and not self._closing:
            event = next_event()
            if event is None:
                return
            if type(event) is MessageReceived:
                self._inner.messageReceived(event.code, event.payload)
            else:
                assert type(event) is HandshakeDone
                self._handshakeDone(event)

    def _handshakeDone(self, event: HandshakeDone) -> None:
        self._factory.traffic.handshakes_ok += 1
        self.address = RLPxAddress(event.remote, self._tcp.getPeer(), inbound=not self._factory.isClient)
        inner = self._factory.innerFactory.buildProtocol(self.address)
        if inner is None:
            self._error = NoProtocol()
            self.loseConnection()
            return
        self._inner = inner
        self._listen()
        inner.makeConnection(self)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(inner)

    def _flush(self) -> None:
        """Write while TCP has room; what it has none for is not made before it has."""
        engine, made = self.engine, 0
        while engine.pending and not self._choked and not self._closing:
            data = engine.data_to_send(limits.FLUSH_SIZE)
            made += len(data)
            self._send(data, made < limits.MAX_TURN)
        if engine.pending > limits.MAX_UNSENT and not self._closing:
            self._abort(NotReading())

    def _send(self, data: bytes, now: bool) -> None:
        """
        Give C{data} to TCP; straight to the socket where that may be.  Twisted's C{write} would wait for the reactor
        to find the socket writable, which costs two calls of the system, a turn and a copy: some 20 us.

        @param now: whether this is not too much for one turn.
        """
        if self._sendNow is not None:
            sent = self._sendNow(data) if now else 0
            if sent == len(data):
                return
            if type(sent) is int:  # else the connection is lost, as Twisted finds out in its own way
                data = data[sent:]
            self._choke()
        self._tcp.write(data)

    def _choke(self) -> None:
        if not self._choked:
            self._choked = True
            self._drain.set(self._wheel.seconds() + limits.WRITE_TIMEOUT, self._writeTimedOut)
        if self._producer is not None:
            self._producer.pauseProducing()

    def _unchoke(self) -> None:
        self._choked = False
        self._drain.clear()
        if self._inner is not None:  # who takes what we send lives
            self._listen()
        if self._producer is not None and self.engine.pending < limits.FLUSH_SIZE:
            self._work(self._resumed)
        else:
            self._flush()

    def _resumed(self) -> None:
        self._producer.resumeProducing()
        self._deliver()  # what was held back while there was no room to answer it

    # the end

    def _listen(self) -> None:
        """Give the peer time for its next byte; while we do not read, give it all the time."""
        if self._muted:
            self._deadline.clear()
        else:
            self._deadline.set(self._wheel.seconds() + limits.READ_TIMEOUT, self._silent)

    def _handshakeTimedOut(self) -> None:
        self._fail(HandshakeTimeout())

    def _silent(self) -> None:
        self._fail(ReadTimeout())

    def _writeTimedOut(self) -> None:
        self._abort(WriteTimeout())

    def _fail(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule: let the protocol above have a last word, then close."""
        if self._closing:
            return
        self._error = error.with_traceback(None)  # it would keep all of this alive
        failed = getattr(self._inner, "transportFailed", None)
        if failed is not None:
            try:
                failed(error)
            except Exception:  # noqa: BLE001  the connection ends in any case
                self._log.failure("the protocol above RLPx failed; peer {peer}", peer=str(self.address))
        self.loseConnection()

    def _abort(self, error: Exception) -> None:
        """Close now, and say why above."""
        self._error = error
        self.abortConnection()

    # above: IMessageTransport

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes that came, and bytes that TCP was given: of a message that is still under way, too."""
        return self.engine.bytes_in, self.engine.bytes_out

    def writeMessage(self, code: int, payload: bytes) -> None:
        """
        Send a message: in this turn of the reactor if much waits already, else at its end together with all
        others.  Ignored when the connection is closing.

        @raise LocalProtocolError: C{payload} is over L{limits.MAX_MESSAGE}, or C{code} is no code.
        """
        if self._closing:
            return
        self.engine.write_message(code, payload)
        if self.engine.pending >= limits.FLUSH_SIZE:
            self._flush()
        else:
            self._later()

    def _later(self) -> None:
        if self._turn is None and not self._working:
            self._turn = self._clock.callLater(0, self._turned)

    def _turned(self) -> None:
        self._turn = None
        self._work(self._deliver)

    def pauseProducing(self) -> None:
        """Deliver no messages, and let TCP hold what the peer sends."""
        self._paused = True
        if not self._muted and not self._closing:
            self._muted = True
            self._listen()
            self._tcp.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver what is here already, soon; then read again."""
        if self._paused and not self._closing:
            self._paused = False
            self._later()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Pause C{producer} while TCP holds enough.

        @raise LocalProtocolError: there is one already, or it is not a streaming one.
        """
        if self._producer is not None or not streaming:
            raise LocalProtocolError("one producer at a time, and a streaming one")
        if self._closing:
            producer.stopProducing()
            return
        self._producer = producer
        if self._choked:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def loseConnection(self) -> None:
        """Close when all is sent, but wait for that no longer than L{limits.CLOSE_TIMEOUT}."""
        if self._closing:
            return
        self._flush()
        if self._closing:  # there was too much to flush
            return
        self._closing = True
        self._drain.stop()
        self._deadline.set(self._wheel.seconds() + limits.CLOSE_TIMEOUT, self.abortConnection)
        self._tcp.unregisterProducer()
        if self.engine.pending:
            self._tcp.write(self.engine.data_to_send())
        self._tcp.loseConnection()

    def abortConnection(self) -> None:
        """Close now."""
        self._closing = True
        self._tcp.abortConnection()

    def getPeer(self) -> Any:
        """An L{RLPxAddress} when the handshake is done, TCP's address before."""
        return self.address or self._tcp.getPeer()

    def getHost(self) -> Any:
        """Our end of the connection below."""
        return self._tcp.getHost()

    def whenReady(self) -> Deferred[Any]:
        """
        Wait for the handshake.  To be asked once.

        @return: fires with the inner protocol, after its C{makeConnection}; fails with what went wrong.
            Cancelling closes the connection.
        """
        if self._inner is not None:
            return succeed(self._inner)
        if self._error is not None:
            return fail(self._error)
        self._ready = Deferred(lambda _: self._giveUp())
        return self._ready

    def _giveUp(self) -> None:
        self._ready = None
        self.abortConnection()


class RLPxFactory(Factory):
    """
    Makes L{RLPxProtocol}s on TCP connections.
    """

    noisy = False

    def __init__(
        self,
        key: PrivateKey,
        innerFactory: Any,
        *,
        clock: Clock,
        wheel: WheelTimer,
        isClient: bool,
        remote: PublicKey | None = None,
        random: RandomBytes = os.urandom,
        traffic: Traffic | None = None,
        maxFirstFrame: int = limits.MAX_FIRST_FRAME,
        failed: Callable[[IAddress], object] | None = None,
    ) -> None:
        """
        @param key: our static key.
        @param innerFactory: its C{buildProtocol} is given an L{RLPxAddress} and returns an
            L{ethp2p.interfaces.IMessageProtocol}, or None to refuse the peer.
        @param clock: for what is done at the end of a turn.
        @param wheel: for the deadlines.
        @param isClient: whether we call; then C{remote} is the key of the peer called.
        @param random: what keys, nonces and padding are drawn from.
        @param traffic: where to count; others may count there too.
        @param maxFirstFrame: most bytes that the peer's first frame may have.
        @param failed: told the address below of each handshake that failed.
        """
        if isClient != (remote is not None):
            raise LocalProtocolError("a client, and only a client, knows the key of its peer")
        self.key = key
        self.innerFactory = innerFactory
        self.clock = clock
        self.wheel = wheel
        self.isClient = isClient
        self.remote = remote
        self.random = random
        self.traffic = Traffic() if traffic is None else traffic
        self.maxFirstFrame = maxFirstFrame
        self._failed = failed

    def doStart(self) -> None:
        """Start the inner factory too."""
        super().doStart()
        self.innerFactory.doStart()

    def doStop(self) -> None:
        """Stop the inner factory too."""
        self.innerFactory.doStop()
        super().doStop()

    def buildProtocol(self, addr: IAddress | None) -> RLPxProtocol:
        """A protocol for one TCP connection."""
        return RLPxProtocol(self)

    def buildEngine(self) -> Connection:
        """The engine for one connection.  Override it to play a peer that is not honest."""
        return Connection(self.key, self.remote, random=self.random, max_first_frame=self.maxFirstFrame)

    def handshakeFailed(self, address: IAddress, reason: Failure) -> None:
        """A handshake failed.  Override it to hear of the ones that strangers began."""
        self.traffic.handshakes_failed += 1
        if self._failed is not None:
            self._failed(address)
