"""
Hostile datagrams, most of them made out of good ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from ethp2p.codec import rlp
from ethp2p.crypto.keccak import keccak256
from ethp2p.crypto.keys import PrivateKey
from ethp2p.discv4 import wire as wire4
from ethp2p.discv5 import wire as wire5
from ethp2p.discv5.session import Session
from ethp2p.errors import LocalProtocolError, WireError
from tests.fuzz.town import HERE, PORT, START, Addr, Friend, Town

#: Good datagrams of each kind that are kept to make hostile ones of.
KEPT = 32
#: Addresses in whose name some are sent, which prove nothing: what they get back is to be counted.
VICTIMS: tuple[Addr, ...] = (
    *[(f"45.{n // 256}.{n % 256}.7", 40000 + n) for n in range(448)],
    *[(f"2a00:{n:x}::7", 40000 + n) for n in range(64)],
)
#: Keys of nobody else, which sign hostile packets.
STRANGERS = 64

#: Where the type of a discv4 packet stands.
_TYPE = 97
_NUMBERS = (0, 1, 2**8 - 1, 2**16 - 1, 2**16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64)
_ADDRESSES = (
    ("0.0.0.0", PORT),
    ("127.0.0.1", PORT),
    ("10.0.0.7", PORT),
    ("224.0.0.1", PORT),
    ("255.255.255.255", 1),
    HERE,
    ("31.0.0.1", 0),
    ("31.0.0.1", 53),
    ("fe80::1%eth0", PORT),
    ("::ffff:31.0.0.2", PORT),
    ("::1", PORT),
    ("2001:db8::1", PORT),
)

Hostile = tuple[bytes, Addr]


class Mutator:
    """
    Makes hostile datagrams.
    """

    def __init__(self, rng: Random, town: Town) -> None:
        self._rng = rng
        self._town = town
        self._kept: dict[str, deque[tuple[Friend, bytes]]] = {}
        self._mask = wire5.Mask(town.node.node_id)
        self._strangers = [PrivateKey.parse(rng.randbytes(31).rjust(32, b"\3")) for _ in range(STRANGERS)]
        self._kinds: tuple[Callable[[], Hostile], ...] = (
            self.noise,
            self.flipped,
            self.cut,
            self.spliced,
            self.replayed,
            self.hashed,
            self.signed,
            self.greeting,
            self.masked,
            self.sealed,
        )

    def keep(self, friend: Friend, data: bytes) -> None:
        """A good datagram went by."""
        self._kept.setdefault(self.kind_of(data), deque(maxlen=KEPT)).append((friend, data))

    def kind_of(self, data: bytes) -> str:
        """What a good datagram is."""
        if wire4.is_packet(data):
            return wire4.name_of(data)
        try:
            return type(wire5.decode_packet(data, self._mask)).__name__
        except WireError:
            return "other"

    @property
    def kinds_seen(self) -> list[str]:
        """Of the good datagrams."""
        return sorted(self._kept)

    def next(self) -> tuple[str, bytes, Addr]:
        """A hostile datagram: what was done to it, its bytes, and where it comes from."""
        make = self._rng.choice(self._kinds) if self._kept else self.noise
        data, addr = make()
        return make.__name__, data, addr

    def worsen(self, friend: Friend, data: bytes) -> bytes:
        """What a friend is about to say, said wrongly: under its signature or seal, while it is waited for."""
        if wire4.is_packet(data):
            return self._sign(friend.key, data[_TYPE], self._rlp(data[_TYPE + 1 :]))
        return self._sealed_anew(friend, data) or self._flip(data)

    # kinds

    def noise(self) -> Hostile:
        """Nothing at all."""
        rng = self._rng
        size = rng.choice((0, 1, 62, 63, 97, 98, 99, 1279, 1280, 1281, 2048, rng.randrange(1500)))
        return rng.randbytes(size), self._anywhere()

    def flipped(self) -> Hostile:
        """A few bits are others."""
        friend, data = self._good()
        return self._flip(data), self._near(friend)

    def cut(self) -> Hostile:
        """Cut short, or with more behind."""
        friend, data = self._good()
        rng = self._rng
        if rng.random() < 0.7:
            return data[: rng.randrange(len(data))], self._near(friend)
        return data + rng.randbytes(rng.randrange(1, 1300)), self._near(friend)

    def spliced(self) -> Hostile:
        """The beginning of one and the end of another."""
        friend, data = self._good()
        _, other = self._good()
        at = self._rng.choice((16, 32, 39, _TYPE, _TYPE + 1, self._rng.randrange(len(data))))
        return data[:at] + other[at:], self._near(friend)

    def replayed(self) -> Hostile:
        """As it was, at another time or from elsewhere."""
        friend, data = self._good()
        return data, self._near(friend)

    def hashed(self) -> Hostile:
        """Of discv4: changed behind the hash, which is right again."""
        friend, data = self._good()
        body = self._flip(data[32:]) if len(data) > _TYPE else data
        return keccak256(body) + body, self._near(friend)

    def signed(self) -> Hostile:
        """Of discv4: nonsense with a good signature."""
        friend, data = self._good()
        rng = self._rng
        kind = data[_TYPE] if wire4.is_packet(data) and rng.random() < 0.9 else rng.randrange(256)
        key = friend.key if rng.random() < 0.7 else rng.choice(self._strangers)
        payload = self._rlp(data[_TYPE + 1 :]) if rng.random() < 0.9 else rng.randbytes(rng.randrange(100))
        return self._sign(key, kind, payload), self._near(friend)

    def greeting(self) -> Hostile:
        """Of discv4: a good Ping, as short as can be, in another's name."""
        rng = self._rng
        expiration = int(self._town.now) + rng.choice((-10, 20, 20, 20, 2**40))
        empty = wire4.Endpoint(b"", 0)
        ping = wire4.Ping(4, empty, empty, expiration)
        return wire4.encode(rng.choice(self._strangers), ping), self._anywhere()

    def masked(self) -> Hostile:
        """Of discv5: a header that can be read and says something else."""
        friend, data = self._good()
        iv = data[:16].ljust(16, b"\0")
        rng = self._rng
        plain = bytearray(self._mask.start(iv)(data[16:]))
        if plain[:6] != wire5.PROTOCOL_ID or rng.random() < 0.2:
            size = rng.choice((0, 24, 31, 32, 33, 131, 300, 65535, rng.randrange(1200)))
            start = wire5.PROTOCOL_ID + bytes((0, rng.choice((1, 1, 1, 2)), rng.randrange(4)))
            plain = bytearray(start + rng.randbytes(12) + size.to_bytes(2) + rng.randbytes(rng.randrange(40, 1200)))
        else:
            authdata = plain[23:]  # the seal was not masked
            plain = plain[:23] + data[39:] if rng.random() < 0.1 else plain[:23] + authdata
            for _ in range(rng.randrange(1, 4)):
                plain[rng.randrange(6, len(plain))] = rng.randrange(256)
        return iv + self._mask.start(iv)(bytes(plain)), self._near(friend)

    def sealed(self) -> Hostile:
        """Of discv5: a message of a session, and nonsense."""
        friend = self._rng.choice(self._town.friends)
        session = self._session(friend)
        if session is None:
            return self.masked()
        rng = self._rng
        samples: list[wire5.Message] = [
            wire5.Ping(rng.randbytes(rng.randrange(9)), rng.choice(_NUMBERS[:9])),
            wire5.Pong(rng.randbytes(8), 1, rng.randbytes(4), 1),
            wire5.FindNode(rng.randbytes(8), tuple(rng.choices(range(300), k=rng.randrange(20)))),
            wire5.Nodes(rng.randbytes(8), rng.randrange(256), tuple([rlp.encode([rng.randbytes(9)])] * 3)),
            wire5.TalkRequest(rng.randbytes(8), rng.choice((b"echo", b"")), rng.randbytes(rng.randrange(900))),
            wire5.TalkResponse(rng.randbytes(8), rng.randbytes(rng.randrange(900))),
        ]
        plain = wire5.encode_message(rng.choice(samples))
        if rng.random() < 0.7:
            plain = bytes((rng.choice((plain[0], rng.randrange(256))),)) + self._rlp(plain[1:])
        _, data = session.seal(friend.local.node_id, plain, rng.randbytes(24))
        return data, self._near(friend)

    # pieces

    def _good(self) -> tuple[Friend, bytes]:
        return self._rng.choice(self._kept[self._rng.choice([*self._kept])])

    def _near(self, friend: Friend) -> Addr:
        """Most come from where the friend is; else it would not get far."""
        return friend.addr if self._rng.random() < 0.6 else self._anywhere()

    def _anywhere(self) -> Addr:
        rng = self._rng
        drawn = rng.random()
        if drawn < 0.4:
            return rng.choice(VICTIMS)
        if drawn < 0.5:
            return rng.choice(self._town.friends).addr
        if drawn < 0.6:
            return rng.choice(_ADDRESSES)
        host = f"{rng.randrange(50, 200)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        if drawn < 0.7:
            host = f"2a01:{rng.randrange(65536):x}:{rng.randrange(65536):x}::1"
        return host, rng.randrange(1, 65536)

    def _flip(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._rng.choice((1, 1, 2, 8))):
            changed[self._rng.randrange(len(changed))] ^= 1 << self._rng.randrange(8)
        return bytes(changed)

    def _sign(self, key: PrivateKey, kind: int, payload: bytes) -> bytes:
        body = bytes((kind,)) + payload
        signed = key.sign(keccak256(body)) + body
        return keccak256(signed) + signed

    def _session(self, friend: Friend) -> Session | None:
        return friend.v5._sessions.get((self._town.node.node_id, HERE))

    def _sealed_anew(self, friend: Friend, data: bytes) -> bytes | None:
        """Open what a friend has sealed, change it, and seal it."""
        session = self._session(friend)
        try:
            packet = wire5.decode_packet(data, self._mask)
        except WireError:
            return None
        if session is None or isinstance(packet, wire5.WhoAreYou):
            return None
        try:
            plain = session._write.decrypt(packet.nonce, packet.sealed, packet.head)
        except Exception:  # noqa: BLE001 - it was not sealed in this session
            return None
        return session.finish(packet.head, packet.nonce, plain[:1] + self._rlp(plain[1:]))

    def _rlp(self, data: bytes) -> bytes:
        """Something like C{data}, most of the time still RLP."""
        rng = self._rng
        try:
            item: Any = rlp.decode(data) if rng.random() < 0.9 else b""
        except (WireError, LocalProtocolError):
            return self._flip(data) if data else b"\xc0"
        if rng.random() < 0.1 or not isinstance(item, list):
            return self._flip(data) if data else b"\xc1"
        return rlp.encode(self._changed(item))

    def _changed(self, item: Any) -> Any:
        rng = self._rng
        if isinstance(item, list) and item and rng.random() < 0.8:
            index = rng.randrange(len(item))
            drawn = rng.random()
            if drawn < 0.1:
                return item[:index] + item[index + 1 :]
            if drawn < 0.2:
                return item[:index] + [item[index]] * rng.randrange(2, 20) + item[index:]
            return [*item[:index], self._changed(item[index]), *item[index + 1 :]]
        number = rng.choice(_NUMBERS)
        deep: Any = b""
        for _ in range(rng.randrange(40)):
            deep = [deep]
        options: list[Any] = [
            b"",
            b"\0",
            [],
            deep,
            number.to_bytes(9).lstrip(b"\0"),
            number.to_bytes(9),
            int(START + 60).to_bytes(4),
            rng.randbytes(rng.choice((1, 4, 16, 20, 32, 33, 64, 200))),
        ]
        return rng.choice(options)
