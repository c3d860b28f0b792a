"""Decodes the lines of an audit log to accesses. Other fields of a line are skipped undecoded."""

from datetime import datetime

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.request_times import RequestTimes

MAX_ERROR = 200
"""Characters of an error."""
_DENIED = "permission denied"
_ROOT = "root"
_PERMANENT = frozenset({"system", "token"})
"""The types of `sys/` and `auth/token/` in the root namespace. Other namespaces have other types."""
_LATEST = 253_370_764_800.0
"""Late in the year 9998: with some time zones, the end of 9999 is in a year that Python does not support."""
_HEAD = 64
"""Bytes within which OpenBao writes the time and the type."""


class InvalidLineError(ValueError):
    """The line is not an entry of an audit log."""


class _Metadata(Struct):
    role_name: str | None = None
    role: str | None = None


class _Auth(Struct):
    accessor: str | None = None
    display_name: str | None = None
    entity_id: str | None = None
    policies: tuple[str, ...] | None = None
    token_policies: tuple[str, ...] | None = None
    metadata: _Metadata | None = None


class _Namespace(Struct):
    path: str | None = None


class _Request(Struct):
    id: str = ""
    operation: str = ""
    path: str = ""
    mount_point: str | None = None
    mount_type: str | None = None
    mount_accessor: str | None = None
    namespace: _Namespace | None = None
    remote_address: str | None = None


class _Entry(Struct):
    time: datetime
    type: str
    auth: _Auth | None = None
    request: _Request | None = None
    error: str | None = None


class _Version(Struct):
    created_time: str | None = None
    version: int | None = None
    current_version: int | None = None


class _Data(_Version):
    metadata: _Version | None = None


class _Response(Struct):
    data: _Data | None = None


class _Answer(_Entry):
    response: _Response | None = None


_entry = Decoder(_Entry).decode
_answer = Decoder(_Answer).decode


def decode(line: bytes, server: str, requests: RequestTimes | None = None) -> Access | None:
    """The access, or None for a `request` entry and for other kinds of entries. Raises InvalidLineError.

    `requests`: those of this log that are not answered yet.
    """
    start = line.find(b"{")  # An audit device can write a prefix.
    # Only in these two places it is the line's own key, whatever a client has put into the request.
    is_request = line.startswith(b'{"time":"') and line.find(b'"type":"request"', 0, _HEAD) > 0
    if is_request or line.endswith(b',"type":"request"}'):
        if requests is not None:
            requests.note(line)
        return None
    text = line[start:] if start > 0 else line
    response = None
    try:
        try:
            entry: _Entry = (answer := _answer(text))
            response = answer.response
        except DecodeError:
            entry = _entry(text)  # An answer may have keys with these names and other types.
    except (DecodeError, RecursionError, UnicodeDecodeError):
        # The cause quotes the line.
        raise InvalidLineError from None
    if entry.type != "response" or entry.request is None:
        return None
    return _access(entry, entry.request, response, server, requests)


def _access(
    entry: _Entry, request: _Request, response: _Response | None, server: str, requests: RequestTimes | None
) -> Access:
    try:
        at = entry.time.timestamp()
    except (ValueError, OverflowError):  # A time without zone is local time, where year 1 may become year 0.
        raise InvalidLineError from None
    if not 0.0 <= at < _LATEST:
        raise InvalidLineError
    auth = entry.auth or _Auth()
    metadata = auth.metadata or _Metadata()
    policies = auth.policies or auth.token_policies or ()
    mount = request.mount_point or request.path.partition("/")[0]
    return Access(
        at,
        request.id,
        request.operation,
        request.path,
        mount.removesuffix("/"),
        request.mount_type or "",
        ((request.namespace and request.namespace.path) or "").strip("/"),
        request.remote_address or "",
        auth.display_name or "",
        auth.entity_id or "",
        metadata.role_name or metadata.role or "",
        auth.accessor or "",
        policies,
        _ROOT in policies or _ROOT in (auth.token_policies or ()),
        " ".join(entry.error.split())[:MAX_ERROR] if entry.error else None,
        entry.error is not None and _DENIED in entry.error,
        _version(request, response),
        server,
        (request.mount_accessor or "") if request.mount_type in _PERMANENT else "",
        requests.duration(request.id, at) if requests is not None else None,
    )


def _version(request: _Request, response: _Response | None) -> int | None:
    """The version of a KV version 2 secret.

    The log has numbers in plain text. In KV version 1 the answer's data are the secret, so its own key `version` must
    not be used. Version 2 has `created_time` next to its version.
    """
    if request.mount_type not in {"kv", None} or request.operation == "list":
        return None
    data = response and response.data
    if not data:
        return None
    for candidate in (data.metadata, data):
        if candidate is None or candidate.created_time is None:
            continue
        if not candidate.created_time.startswith("hmac-"):
            return candidate.version if candidate.version is not None else candidate.current_version
    return None
