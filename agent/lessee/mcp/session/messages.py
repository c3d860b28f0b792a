"""Reads and writes the messages of JSON-RPC 2.0, as far as one must know them who stands between."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from lessee.core.immutable import Record

Id = int | float | str
"""Of a request, and of a progress token."""

INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
SERVER_GONE = -32000
"""The code of errors that are ours: of the range that JSON-RPC leaves to servers, and clients' own for a lost one."""
PARSE_ERROR = -32700


class Request(Record, frozen=True):
    """What is to be answered."""

    hidden = ("raw", "params")

    raw: bytes
    id: Id
    method: str
    params: bytes = b""


class Notification(Record, frozen=True):
    """What is not."""

    hidden = ("raw", "params")

    raw: bytes
    method: str
    params: bytes = b""


class Answer(Record, frozen=True):
    """A result or, where that is empty, an error. `id` None: of what could not be read."""

    hidden = ("raw", "result", "error")

    raw: bytes
    id: Id | None
    result: bytes = b""
    error: bytes = b""


Message = Request | Notification | Answer


class _Envelope(Struct):
    jsonrpc: Literal["2.0"]
    id: Id | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()


_envelope = msgspec.json.Decoder(_Envelope)
_batch = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Raw])


def read(line: bytes) -> tuple[Message, ...] | None:
    """The message of a line, or all of a batch. None: it is no message, and maybe no JSON."""
    try:
        raws = _batch.decode(line) if line.lstrip()[:1] == b"[" else (Raw(line),)
        messages = tuple(_read(bytes(raw)) for raw in raws)
    # A number beyond all bounds is an OverflowError, and what is nested too deep a RecursionError.
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError):
        return None
    return tuple(one for one in messages if one) if messages and all(messages) else None


def _read(raw: bytes) -> Message | None:
    told = _envelope.decode(raw)
    identity = None if told.id is UNSET else told.id
    if told.method is not UNSET:
        if identity is None:
            return Notification(raw, told.method, bytes(told.params))
        return Request(raw, identity, told.method, bytes(told.params))
    if told.id is UNSET or not (bytes(told.result) or bytes(told.error)):
        return None
    return Answer(raw, identity, bytes(told.result), bytes(told.error))


def fields(raw: bytes) -> dict[str, Raw]:
    """Of an object; empty where it is none."""
    try:
        return _object.decode(raw)
    except msgspec.MsgspecError:
        return {}


def value(raw: bytes | Raw | None) -> Any:
    """What JSON says; None where there is none."""
    try:
        return msgspec.json.decode(raw) if raw else None
    except msgspec.MsgspecError:
        return None


def named(params: bytes, name: str) -> Id | None:
    """The id, token or URI of this name."""
    return _id(fields(params).get(name))


def meta(params: bytes, name: str) -> Id | None:
    """The id or token of this name in `_meta`."""
    return _id(fields(bytes(fields(params).get("_meta", b""))).get(name))


def subscription(params: bytes) -> Id | None:
    """The request for which a notification comes, since the revision 2026-07-28."""
    return meta(params, _SUBSCRIPTION)


def _id(raw: Raw | None) -> Id | None:
    found = value(raw)
    return found if isinstance(found, int | float | str) else None


def request(identity: Id, method: str, params: bytes) -> bytes:
    """A request. `params` as they stood in another."""
    return _write({"id": identity, "method": method, **_some(params)})


def notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A notification."""
    return _write({"method": method, **({"params": params} if params is not None else {})})


def of_subscription(identity: Id, method: str, **params: Any) -> bytes:
    """A notification that comes for this request."""
    return notification(method, {**params, "_meta": {_SUBSCRIPTION: identity}})


def error(identity: Id | None, code: int, message: str) -> bytes:
    """The answer that there will be no other."""
    return _write({"id": identity, "error": {"code": code, "message": message}})


def answer_as(identity: Id, answer: Answer) -> bytes:
    """The same answer, to another id."""
    part = {"result": Raw(answer.result)} if answer.result else {"error": Raw(answer.error)}
    return _write({"id": identity, **part})


def request_as(identity: Id, told: Request, token: Id | None) -> bytes:
    """The same request by another id, and where there is a token with another progress token."""
    params = told.params
    if token is not None:
        inner = fields(params)
        beside = fields(bytes(inner["_meta"])) | {"progressToken": Raw(msgspec.json.encode(token))}
        params = msgspec.json.encode(inner | {"_meta": Raw(msgspec.json.encode(beside))})
    return request(identity, told.method, params)


def notification_as(name: str, identity: Id, told: Notification) -> bytes:
    """The same notification, about another id or token."""
    params = fields(told.params) | {name: Raw(msgspec.json.encode(identity))}
    return _write({"method": told.method, "params": params})


def batch(raws: list[bytes]) -> bytes:
    """Of several messages one line; of one, that."""
    return raws[0] if len(raws) == 1 else b"[" + b",".join(raws) + b"]"


def _some(params: bytes) -> dict[str, Raw]:
    return {"params": Raw(params)} if params else {}


def _write(message: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", **message})
