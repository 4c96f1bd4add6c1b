"""
JSON-RPC 2.0 without a transport: from the bytes of a request to the bytes of its answer.

Source: the JSON-RPC 2.0 specification (jsonrpc.org).
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from ethp2p.errors import ConfigError, P2PError

#: Most calls in one batch.
MAX_BATCH = 100
#: Most bytes of one answer.  A batch that asks a hundred times for a long list would multiply it otherwise.
MAX_ANSWER = 16 << 20


class RPCError(P2PError):
    """The call failed."""

    #: The code in the answer.
    code = -32000


class ParseError(RPCError):
    """The request is not JSON."""

    code = -32700


class InvalidRequest(RPCError):
    """The request is not of JSON-RPC 2.0."""

    code = -32600


class MethodNotFound(RPCError):
    """There is no such method."""

    code = -32601


class InvalidParams(RPCError):
    """The parameters do not fit the method."""

    code = -32602


class InternalError(RPCError):
    """Something went wrong here; the log says what."""

    code = -32603


class AnswerTooLarge(RPCError):
    """The answer is too large."""

    code = -32003


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):  # of bytes, of JSON, of a number too long, of a tower of brackets
        raise ParseError from None


def encode(value: object) -> bytes:
    """A JSON text without spaces."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _checked_id(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) != math.inf:
        return value
    raise InvalidRequest("an id is a text, a number or null")


def failed(request_id: object, error: RPCError) -> bytes:
    """The answer that says so."""
    return encode({"jsonrpc": "2.0", "id": request_id, "error": {"code": error.code, "message": str(error)}})


class Registry:
    """
    The methods that can be called, by name.
    """

    _log = Logger()

    def __init__(self, parent: Registry | None = None) -> None:
        """
        @param parent: has what is not here.
        """
        self._parent = parent
        self._methods: dict[str, tuple[Callable[..., Any], inspect.Signature]] = {}

    def register(self, name: str, method: Callable[..., Any]) -> None:
        """
        @param method: takes JSON values and returns one, or a C{Deferred} or coroutine of one.  What it raises
            of L{P2PError} is told to the caller: an L{RPCError} with its own code, a L{ConfigError} as invalid
            params.  Anything else is logged.
        @raise ValueError: the name is taken.
        """
        if name in self._methods:
            raise ValueError(f"there is a method {name} already")
        self._methods[name] = method, inspect.signature(method)

    def names(self) -> tuple[str, ...]:
        """All methods, sorted."""
        above = () if self._parent is None else self._parent.names()
        return tuple(sorted({*self._methods, *above}))

    def answer(self, body: bytes) -> Deferred[bytes]:
        """
        @param body: one call, or a batch of up to L{MAX_BATCH} in a list.
        @return: fires with the answer, empty when none is due.  Cancel it to give up the call under way.
        """
        return Deferred.fromCoroutine(self._answer(body))

    async def _answer(self, body: bytes) -> bytes:
        try:
            request = _parse(body)
            if not isinstance(request, list):
                answer, _ = await self._answer_one(request, MAX_ANSWER)
                return answer
            if not 0 < len(request) <= MAX_BATCH:
                raise InvalidRequest(f"a batch of {len(request)} calls, not of 1 to {MAX_BATCH}")
        except RPCError as error:
            return failed(None, error)
        answers: list[bytes] = []
        room = MAX_ANSWER
        for each in request:
            answer, size = await self._answer_one(each, room)
            room -= size
            if answer:
                answers.append(answer)
        return b"[" + b",".join(answers) + b"]" if answers else b""

    async def _answer_one(self, request: object, room: int) -> tuple[bytes, int]:
        """
        The answer, empty when none is due, and what it takes of the room: all that was made, also of one that did not
        fit, so that no call after it is made in vain.
        """
        request_id: object = None
        size = 0
        try:
            if not isinstance(request, dict):
                raise InvalidRequest
            request_id = _checked_id(request.get("id"))
            name, params = request.get("method"), request.get("params")
            if request.get("jsonrpc") != "2.0" or not isinstance(name, str):
                raise InvalidRequest
        except InvalidRequest as error:
            answer = failed(request_id, error)
            return answer, len(answer)
        try:
            if room <= 0:
                raise AnswerTooLarge
            result = await self._call(name, [] if params is None else params)
            answer = encode({"jsonrpc": "2.0", "id": request_id, "result": result})
            size = len(answer)
            if size > room:
                raise AnswerTooLarge
        except CancelledError:
            raise
        except RPCError as error:
            answer = failed(request_id, error)
        except ConfigError as error:
            answer = failed(request_id, InvalidParams(str(error)))
        except P2PError as error:
            answer = failed(request_id, RPCError(str(error)))
        except Exception:  # noqa: BLE001  a fault of ours: the log hears of it, the caller only that there is one
            self._log.failure("JSON-RPC method {method} failed", method=name)
            answer = failed(request_id, InternalError())
        return answer if "id" in request else b"", max(size, len(answer))

    async def _call(self, name: str, params: object) -> object:
        method, signature = self._find(name)
        if not isinstance(params, (list, dict)):
            raise InvalidParams("params are a list or an object")
        args, kwargs = (params, {}) if isinstance(params, list) else ([], params)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidParams(f"{name}: {error}") from None
        result: object = method(*args, **kwargs)
        return await result if isinstance(result, Awaitable) else result

    def _find(self, name: str) -> tuple[Callable[..., Any], inspect.Signature]:
        if name in self._methods:
            return self._methods[name]
        if self._parent is None:
            raise MethodNotFound(f"the method {name[:64]} does not exist")
        return self._parent._find(name)
