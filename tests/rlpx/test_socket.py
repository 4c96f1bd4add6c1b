"""The shell on a transport of Twisted's own: what goes straight to the socket, and what waits for it."""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST

from ethp2p.rlpx import limits
from ethp2p.rlpx.protocol import RLPxProtocol
from tests.rlpx.common import events
from tests.rlpx.shell import Inner, Producer, ShellCase


class Socket(FileDescriptor):
    """A connection whose kernel has C{room} for so many bytes."""

    def __init__(self) -> None:
        super().__init__(object())  # type: ignore[arg-type]
        self.connected = 1
        self.room = 1 << 30
        self.lost = self.waiting = self.aborted = False
        self.sent = bytearray()

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self.lost:
            return CONNECTION_LOST
        piece = data[: self.room]
        self.room -= len(piece)
        self.sent += piece
        return len(piece)

    def startReading(self) -> None:
        pass

    def stopReading(self) -> None:
        pass

    def startWriting(self) -> None:
        self.waiting = True

    def stopWriting(self) -> None:
        self.waiting = False

    def abortConnection(self) -> None:
        self.aborted = True

    def getPeer(self) -> None:
        return None

    def taken(self) -> bytes:
        """What was sent since last asked."""
        data = bytes(self.sent)
        self.sent.clear()
        return data


class SocketTests(ShellCase):
    def connect(self, **options: object) -> Inner:
        """The shell on a socket, after the handshake."""
        self.start(**options)
        self.socket = Socket()
        self.shell: RLPxProtocol = self.factory.buildProtocol(None)
        self.shell.makeConnection(self.socket)  # type: ignore[arg-type]
        self.shell.dataReceived(self.peer.data_to_send())
        self.receive()
        inner: Inner = self.innerFactory.built[0]
        return inner

    def receive(self) -> list[object]:
        self.peer.receive_data(self.socket.taken())
        return [(event.code, event.payload) for event in events(self.peer) if hasattr(event, "payload")]

    def test_what_there_is_room_for_does_not_wait(self) -> None:
        inner = self.connect()
        self.assertFalse(self.socket.waiting)
        inner.transport.writeMessage(1, b"x" * limits.FLUSH_SIZE)
        self.assertEqual(self.receive(), [(1, b"x" * limits.FLUSH_SIZE)])
        inner.transport.writeMessage(2, b"small")
        self.clock.advance(0)
        self.assertEqual(self.receive(), [(2, b"small")])
        self.assertFalse(self.socket.waiting)

    def test_what_there_is_no_room_for_waits(self) -> None:
        inner, producer = self.connect(), Producer()
        inner.transport.registerProducer(producer, True)
        self.socket.room = 100
        inner.transport.writeMessage(1, b"x" * limits.FLUSH_SIZE)
        self.assertEqual(len(self.socket.sent), 100)
        self.assertTrue(self.socket.waiting)
        self.assertEqual(producer.told, ["pause"])
        inner.transport.writeMessage(2, b"y")
        self.clock.advance(0)
        self.socket.room = 1000
        self.assertIsNone(self.socket.doWrite())
        self.assertEqual((len(self.socket.sent), producer.told), (1100, ["pause"]))
        self.socket.room = 1 << 30
        self.assertIsNone(self.socket.doWrite())
        self.assertEqual(self.receive(), [(1, b"x" * limits.FLUSH_SIZE), (2, b"y")])
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertFalse(self.socket.waiting)

    def test_who_does_not_read_is_cut_off(self) -> None:
        inner = self.connect()
        self.socket.room = 0
        inner.transport.writeMessage(1, b"x")
        self.pass_(limits.WRITE_TIMEOUT - 1)
        self.peer.write_message(0, b"still here")
        self.shell.dataReceived(self.peer.data_to_send())
        self.assertFalse(self.socket.aborted)
        self.pass_(1.5)
        self.assertTrue(self.socket.aborted)

    def test_others_have_their_turn(self) -> None:
        """However fast the peer reads."""
        inner, payload = self.connect(), bytes(10 * limits.MAX_TURN)
        inner.transport.writeMessage(1, payload)
        turns = 0
        while self.shell.engine.pending:
            self.assertLessEqual(len(self.socket.sent), limits.MAX_TURN + limits.PIECE)
            self.assertTrue(self.socket.waiting)
            self.peer.receive_data(self.socket.taken())
            self.assertIsNone(self.socket.doWrite())
            turns += 1
        self.assertGreater(turns, 5)
        self.assertEqual(self.receive(), [(1, payload)])

    def test_a_lost_connection_is_found_out_below(self) -> None:
        inner = self.connect()
        self.socket.lost = True
        inner.transport.writeMessage(1, b"x")
        self.clock.advance(0)
        self.assertTrue(self.socket.waiting)
        self.assertEqual(self.socket.doWrite(), CONNECTION_LOST)

    def test_all_is_sent_before_the_end(self) -> None:
        inner = self.connect()
        self.socket.room = 10
        inner.transport.writeMessage(1, b"x" * 2 * limits.FLUSH_SIZE)
        inner.transport.loseConnection()
        self.socket.room = 1 << 30
        while self.socket.waiting and not self.socket.disconnected:
            if self.socket.doWrite() is not None:
                break
        self.assertEqual(self.receive(), [(1, b"x" * 2 * limits.FLUSH_SIZE)])
