"""
The rules of a conversation in eth: Status first and once, of our chain; block ranges that make sense.

Pure: given messages and a chain to compare with, it gives messages or raises.
"""

from __future__ import annotations

from ethp2p.errors import DisconnectReason, Offence, RemoteProtocolError
from ethp2p.eth.messages import BlockRangeUpdate, Message, Status, Status66, Status69, TooLarge
from ethp2p.eth.wire import Code, decode, too_large
from ethp2p.interfaces import IChain
from ethp2p.networks import ForkRejected

#: Blocks the head moves on before peers are told (geth does the same).
RANGE_STEP = 32
NO_HASH = bytes(32)


class EthError(RemoteProtocolError):
    """The peer broke a rule of the eth protocol."""

    reason = DisconnectReason.SUBPROTOCOL_ERROR


class StatusMissing(EthError):
    """The peer sent another message before Status."""


class StatusRepeated(EthError):
    """The peer sent Status a second time."""


class StatusTimeout(EthError):
    """The peer did not send Status in time."""

    reason = DisconnectReason.PING_TIMEOUT
    offence = Offence.TIMEOUT


class WrongVersion(EthError):
    """The peer's Status is of another version than was agreed."""


class WrongNetwork(EthError):
    """The peer is on another network."""

    offence = Offence.WRONG_CHAIN


class WrongGenesis(EthError):
    """The peer's chain starts from another genesis block."""

    offence = Offence.WRONG_CHAIN


class BadBlockRange(EthError):
    """The peer says it has a range of blocks that cannot be."""

    offence = Offence.BAD_MESSAGE


def block_range(chain: IChain) -> BlockRangeUpdate:
    """Which blocks C{chain} has."""
    head = chain.head()
    return BlockRangeUpdate(min(chain.earliest(), head.number), head.number, head.hash)


def status_of(chain: IChain, version: int) -> Status:
    """What we say of C{chain} in Status of C{version}."""
    network, head = chain.network, chain.head()
    fork_id = network.fork_id(head.number, head.timestamp)
    if version < 69:
        return Status66(version, network.network_id, chain.totalDifficulty(), head.hash, network.genesis_hash, fork_id)
    have = block_range(chain)
    return Status69(
        version, network.network_id, network.genesis_hash, fork_id, have.earliest, have.latest, have.latest_hash
    )


def check_range(update: BlockRangeUpdate | Status69) -> None:
    """
    @raise BadBlockRange: it ends before it starts, or at no block (EIP-7642).
    """
    if update.earliest > update.latest:
        raise BadBlockRange(f"blocks {update.earliest} to {update.latest} are no range")
    if update.latest_hash == NO_HASH:
        raise BadBlockRange(f"the hash of latest block {update.latest} is zero")


def check_status(status: Status, version: int, chain: IChain) -> None:
    """
    Whether a peer that says C{status} can be spoken with.

    @raise WrongVersion, WrongNetwork, WrongGenesis, BadBlockRange: in this order.
    @raise ethp2p.networks.ForkRejected: before the range: the forks do not fit (EIP-2124).
    """
    network, head = chain.network, chain.head()
    if status.version != version:
        raise WrongVersion(f"version {status.version} in Status is not the agreed {version}")
    if status.network_id != network.network_id:
        raise WrongNetwork(f"network id {status.network_id} is not ours ({network.network_id})")
    if status.genesis_hash != network.genesis_hash:
        raise WrongGenesis(f"genesis 0x{status.genesis_hash.hex()} is not ours (0x{network.genesis_hash.hex()})")
    try:
        network.check_fork_id(status.fork_id, head.number, head.timestamp)
    except ForkRejected as error:
        raise type(error)(f"{error}; ours is {network.fork_id(head.number, head.timestamp)}") from None
    if isinstance(status, Status69):
        check_range(status)


def update_due(told: BlockRangeUpdate, now: BlockRangeUpdate) -> bool:
    """Whether a peer that was C{told} one range should hear of another: it went back, or on by L{RANGE_STEP}."""
    return now.latest < told.latest or now.latest - told.latest >= RANGE_STEP


class Conversation:
    """
    The engine of one peer's eth.  After an error it is deaf.

    @ivar status: the peer's Status, once it came and fits.
    @ivar range: the blocks the peer has, as last told; None up to eth/68.
    """

    __slots__ = ("_chain", "_deaf", "_told", "range", "status", "version")

    def __init__(self, version: int, chain: IChain) -> None:
        self.version = version
        self.status: Status | None = None
        self.range: BlockRangeUpdate | None = None
        self._chain = chain
        self._told = block_range(chain)
        self._deaf = False

    def greeting(self) -> Status:
        """Our Status: the first message to send."""
        self._told = block_range(self._chain)
        return status_of(self._chain, self.version)

    def receive_message(self, code: int, payload: bytes) -> Message | TooLarge | None:
        """
        @return: the message, if the rules allow it now; None when deaf.  Bodies or receipts that are too large are
            no fault: one block may have more than a message can carry.
        @raise RemoteProtocolError: they do not.
        """
        if self._deaf:
            return None
        try:
            return self._receive(code, payload)
        except RemoteProtocolError:
            self._deaf = True
            raise

    def _receive(self, code: int, payload: bytes) -> Message | TooLarge:
        if self.status is None and code != Code.STATUS:
            raise StatusMissing(f"message {code:#04x} before Status")
        reply = too_large(self.version, code, payload)
        if reply is not None:
            return reply
        message = decode(self.version, code, payload)
        if isinstance(message, (Status66, Status69)):
            if self.status is not None:
                raise StatusRepeated()
            check_status(message, self.version, self._chain)
            self.status = message
            if isinstance(message, Status69):
                self.range = BlockRangeUpdate(message.earliest, message.latest, message.latest_hash)
        elif isinstance(message, BlockRangeUpdate):
            check_range(message)
            self.range = message
        return message

    def close(self) -> None:
        """Listen no more."""
        self._deaf = True

    def update(self) -> BlockRangeUpdate | None:
        """What to tell the peer now that our head moved, if anything."""
        now = block_range(self._chain)
        if self.version < 69 or self.status is None or not update_due(self._told, now):
            return None
        self._told = now
        return now
