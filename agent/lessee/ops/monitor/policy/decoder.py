"""Lines of an audit log as accesses; all else that stands in a line is passed over unread."""

from datetime import datetime

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from lessee.ops.monitor.policy.access import Access

ERROR_MAX = 200
"""Characters that are kept of an error."""
_DENIED = "permission denied"
_ROOT = "root"
_LATEST = 253_370_764_800.0
"""The year 9999, of whose end some clocks make another year that no library knows."""
_HEAD = 64
"""Bytes in which OpenBao has named the time and the type."""


class NotALineError(ValueError):
    """No audit log has such a line."""


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


def decode(line: bytes, server: str) -> Access | None:
    """The access; None for a request that has no answer yet, and for what is no request. Raises NotALineError."""
    start = line.find(b"{")  # A device may be told to write a prefix.
    # Only at these two places it can be the line's own key, whatever else a client has put into it.
    if line.startswith(b'{"time":"') and line.find(b'"type":"request"', 0, _HEAD) > 0:
        return None
    if line.endswith(b',"type":"request"}'):
        return None
    text = line[start:] if start > 0 else line
    response = None
    try:
        try:
            entry: _Entry = (answer := _answer(text))
            response = answer.response
        except DecodeError:
            entry = _entry(text)  # An answer may have keys of these names and another meaning.
    except (DecodeError, RecursionError, UnicodeDecodeError):
        # The reason quotes the line.
        raise NotALineError from None
    if entry.type != "response" or entry.request is None:
        return None
    return _access(entry, entry.request, response, server)


def _access(entry: _Entry, request: _Request, response: _Response | None, server: str) -> Access:
    try:
        at = entry.time.timestamp()
    except (ValueError, OverflowError):  # Without a zone it is the machine's, where a year 1 may be a year 0.
        raise NotALineError from None
    if not 0.0 <= at < _LATEST:
        raise NotALineError
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
        " ".join(entry.error.split())[:ERROR_MAX] if entry.error else None,
        entry.error is not None and _DENIED in entry.error,
        _version(request, response),
        server,
    )


def _version(request: _Request, response: _Response | None) -> int | None:
    """Numbers stand in the log as they are, so that a secret's own key `version` must not be taken for it: in KV
    version 1 the answer's data are the secret. Version 2 puts `created_time` beside its own.
    """
    if request.mount_type not in {"kv", None} or request.operation == "list":
        return None
    data = response and response.data
    if not data:
        return None
    for found in (data.metadata, data):
        if found is not None and found.created_time is not None and not found.created_time.startswith("hmac-"):
            return found.version if found.version is not None else found.current_version
    return None
