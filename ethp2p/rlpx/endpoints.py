"""
Endpoints that put RLPx on any stream endpoint.

What connects or listens with them is a factory of message protocols (L{ethp2p.interfaces.IMessageProtocol}).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from ethp2p.crypto.keys import PrivateKey, PublicKey, RandomBytes
from ethp2p.limits import Clock, WheelTimer
from ethp2p.rlpx.protocol import RLPxFactory, RLPxProtocol
from ethp2p.rlpx.traffic import Traffic


@implementer(IStreamClientEndpoint)
class RLPxClientEndpoint:
    """
    Calls one peer, whose key is known.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        key: PrivateKey,
        remote: PublicKey,
        *,
        clock: Clock,
        wheel: WheelTimer,
        random: RandomBytes = os.urandom,
        traffic: Traffic | None = None,
    ) -> None:
        """
        @param endpoint: makes the connection below.
        @param key: our static key.
        @param remote: the peer's; nobody else can answer.
        """
        self._endpoint = endpoint
        self._key = key
        self._remote = remote
        self._options: dict[str, Any] = {"clock": clock, "wheel": wheel, "random": random, "traffic": traffic}

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """
        @param protocolFactory: builds the inner protocol, for an L{RLPxAddress}.
        @return: fires with the inner protocol, after the handshake; fails with what went wrong in it or below.
            Cancelling closes the connection.
        """
        factory = RLPxFactory(self._key, protocolFactory, isClient=True, remote=self._remote, **self._options)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(RLPxProtocol.whenReady)


@implementer(IStreamServerEndpoint)
class RLPxServerEndpoint:
    """
    Answers peers that call.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        key: PrivateKey,
        *,
        clock: Clock,
        wheel: WheelTimer,
        random: RandomBytes = os.urandom,
        traffic: Traffic | None = None,
        failed: Callable[[IAddress], object] | None = None,
    ) -> None:
        """
        @param endpoint: accepts the connections below.
        @param key: our static key.
        @param failed: told the address below of each handshake that failed.
        """
        self._endpoint = endpoint
        self._key = key
        self._options: dict[str, Any] = {"clock": clock, "wheel": wheel, "random": random, "traffic": traffic}
        self._options["failed"] = failed

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @param protocolFactory: builds an inner protocol for each L{RLPxAddress}, or None to refuse it.
        @return: as the endpoint below gives it.
        """
        return self._endpoint.listen(RLPxFactory(self._key, protocolFactory, isClient=False, **self._options))
