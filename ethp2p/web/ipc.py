"""
The unix socket: a conversation in JSON texts, one after the other, as geth's C{geth.ipc}.

C{geth attach DATADIR/ethp2p.ipc} opens geth's console on it.  The file is its owner's alone (mode 0600), and there
is no other check: who may open the data directory may do anything already.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory

from ethp2p.errors import ConfigError
from ethp2p.web.conversation import Switchboard
from ethp2p.web.doorkeeper import CannotListen, Doorkeeper
from ethp2p.web.facade import INodeFacade
from ethp2p.web.line import StreamLine
from ethp2p.web.registry import ParseError, Registry
from ethp2p.web.splitter import Splitter

#: Bytes of the longest path that the system can bind: C{sun_path} without its end.
LONGEST = 107 if sys.platform.startswith("linux") else 103


class IPCLine(StreamLine):
    """
    One connection to the socket.
    """

    def __init__(self, switchboard: Switchboard, reactor: Any) -> None:
        super().__init__(switchboard, reactor)
        self._splitter = Splitter()

    def dataReceived(self, data: bytes) -> None:
        """JSON texts, chopped anywhere."""
        if self.closing:
            return
        self._splitter.receive_data(data)
        try:
            while not self.closing and (text := self._splitter.next_text()) is not None:
                self.conversation.heard(text)
        except ParseError as error:
            self.conversation.garbage(str(error))

    def sendText(self, text: bytes) -> None:
        """See L{ethp2p.web.conversation.Line}."""
        self._wire.write(text + b"\n")


class IPCFactory(Factory):
    """
    Builds L{IPCLine}s.
    """

    noisy = False

    def __init__(self, switchboard: Switchboard, reactor: Any) -> None:
        self._switchboard = switchboard
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> IPCLine:
        """For somebody who has come in."""
        return IPCLine(self._switchboard, self._reactor)


def clear(path: str) -> None:
    """
    Remove a socket that a program left behind which did not end well.

    @raise CannotListen: somebody listens there, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise CannotListen(f"cannot listen on {path}: a file that is no socket is there")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            problem = probe.connect_ex(path)
        if problem == errno.ECONNREFUSED:
            os.unlink(path)
        elif problem in (0, errno.EAGAIN):
            raise CannotListen(f"cannot listen on {path}: another node listens there")
        else:
            raise CannotListen(f"cannot listen on {path}: {os.strerror(problem)}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotListen(f"cannot listen on {path}: {error.strerror}") from None


class IPCService(Service):
    """
    Listens on a unix socket, and answers for a node.

    @ivar path: of the socket.
    @ivar started: fires with L{path} once it listens; fails with L{CannotListen}.
    """

    def __init__(self, path: str | Path, registry: Registry, facade: INodeFacade, reactor: Any) -> None:
        """
        @param registry: the methods, those of L{ethp2p.web.WebService}.
        @raise ConfigError: the path is too long for a socket.
        """
        self.path = os.path.abspath(path)
        if len(os.fsencode(self.path)) > LONGEST:
            raise ConfigError(
                f"{self.path}: too long for a unix socket, which has at most {LONGEST} bytes; "
                "choose another data directory"
            )
        self.started: Deferred[str] = Deferred()
        self._reactor = reactor
        self._doorkeeper = Doorkeeper(IPCFactory(Switchboard(registry, facade), reactor), reactor)
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Begin to listen."""
        super().startService()
        Deferred.fromCoroutine(self._listen()).chainDeferred(self.started)

    async def _listen(self) -> str:
        clear(self.path)
        try:
            self._port = await UNIXServerEndpoint(self._reactor, self.path, mode=0o600).listen(self._doorkeeper)
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or error.socketError
            raise CannotListen(f"cannot listen on {self.path}: {why}") from None
        return self.path

    async def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with suppress(FileNotFoundError):  # it removes the file, which somebody else may have done
                await maybeDeferred(port.stopListening)
        await self._doorkeeper.dismiss()

    def stopService(self) -> Deferred[None]:
        """Remove the socket and see everybody out."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())
