"""Parses and builds JSON-RPC 2.0 messages, as far as a relay needs their content."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from lessee.core.immutable import ImmutableStruct

Id = int | float | str
"""The id of a request, a progress token, or a URI."""

INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
SERVER_ENDED = -32000
"""The relay's error code, in JSON-RPC's range for servers: MCP clients use it for a lost connection."""
PARSE_ERROR = -32700


class Request(ImmutableStruct, frozen=True):
    """A message that needs a response."""

    hidden = ("raw", "params")

    raw: bytes
    id: Id
    method: str
    params: bytes = b""


class Notification(ImmutableStruct, frozen=True):
    """A message without a response."""

    hidden = ("raw", "params")

    raw: bytes
    method: str
    params: bytes = b""


class Response(ImmutableStruct, frozen=True):
    """A result or, if that is empty, an error. `id` None: the request could not be parsed."""

    hidden = ("raw", "result", "error")

    raw: bytes
    id: Id | None
    result: bytes = b""
    error: bytes = b""


Message = Request | Notification | Response


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


def parse(line: bytes) -> tuple[Message, ...] | None:
    """The message of a line, or all messages of a batch; None for an invalid line, which may not even be JSON."""
    try:
        raws = _batch.decode(line) if line.lstrip()[:1] == b"[" else (Raw(line),)
        messages = tuple(_parse(bytes(raw)) for raw in raws)
    # A too large number raises OverflowError, and too deep nesting RecursionError.
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError):
        return None
    return tuple(message for message in messages if message) if messages and all(messages) else None


def _parse(raw: bytes) -> Message | None:
    envelope = _envelope.decode(raw)
    identity = None if envelope.id is UNSET else envelope.id
    if envelope.method is not UNSET:
        if identity is None:
            return Notification(raw, envelope.method, bytes(envelope.params))
        return Request(raw, identity, envelope.method, bytes(envelope.params))
    if envelope.id is UNSET or not (bytes(envelope.result) or bytes(envelope.error)):
        return None
    return Response(raw, identity, bytes(envelope.result), bytes(envelope.error))


def members(raw: bytes) -> dict[str, Raw]:
    """The members of a JSON object, not decoded; empty if it is not an object."""
    try:
        return _object.decode(raw)
    except msgspec.MsgspecError:
        return {}


def decode(raw: bytes | Raw | None) -> Any:
    """The decoded JSON; None if it is missing or invalid."""
    try:
        return msgspec.json.decode(raw) if raw else None
    except msgspec.MsgspecError:
        return None


def param_id(params: bytes, name: str) -> Id | None:
    """The id, token or URI in this parameter."""
    return _id(members(params).get(name))


def meta_id(params: bytes, name: str) -> Id | None:
    """The id or token in this member of `_meta`."""
    return _id(members(bytes(members(params).get("_meta", b""))).get(name))


def subscription_id(params: bytes) -> Id | None:
    """The id of the subscription that a notification belongs to, since revision 2026-07-28."""
    return meta_id(params, _SUBSCRIPTION)


def _id(raw: Raw | None) -> Id | None:
    found = decode(raw)
    return found if isinstance(found, int | float | str) else None


def build_request(identity: Id, method: str, params: bytes) -> bytes:
    """A request; `params` are JSON."""
    return _encode({"id": identity, "method": method, **_optional(params)})


def build_notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A notification."""
    return _encode({"method": method, **({"params": params} if params is not None else {})})


def build_subscription_notification(identity: Id, method: str, **params: Any) -> bytes:
    """A notification that belongs to the subscription with this id."""
    return build_notification(method, {**params, "_meta": {_SUBSCRIPTION: identity}})


def build_error(identity: Id | None, code: int, message: str) -> bytes:
    """An error response."""
    return _encode({"id": identity, "error": {"code": code, "message": message}})


def response_with_id(identity: Id, response: Response) -> bytes:
    """The same response with another id."""
    part = {"result": Raw(response.result)} if response.result else {"error": Raw(response.error)}
    return _encode({"id": identity, **part})


def request_with_id(identity: Id, request: Request, token: Id | None) -> bytes:
    """The same request with another id, and with another progress token if one is given."""
    params = request.params
    if token is not None:
        inner = members(params)
        meta = members(bytes(inner["_meta"])) | {"progressToken": Raw(msgspec.json.encode(token))}
        params = msgspec.json.encode(inner | {"_meta": Raw(msgspec.json.encode(meta))})
    return build_request(identity, request.method, params)


def notification_with(name: str, identity: Id, notification: Notification) -> bytes:
    """The same notification with another id or token in this parameter."""
    params = members(notification.params) | {name: Raw(msgspec.json.encode(identity))}
    return _encode({"method": notification.method, "params": params})


def build_batch(raws: list[bytes]) -> bytes:
    """A batch of several messages in one line; a single message stays as it is."""
    return raws[0] if len(raws) == 1 else b"[" + b",".join(raws) + b"]"


def _optional(params: bytes) -> dict[str, Raw]:
    return {"params": Raw(params)} if params else {}


def _encode(message: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", **message})
