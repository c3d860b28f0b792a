"""Parses the messages of Vault Enterprise's event stream.

https://developer.hashicorp.com/vault/docs/concepts/events has the envelope (CloudEvents) and the table of types. The
page's text has the member `eventType` and its example has `event_type`; both are accepted. Up to Vault 1.14, a path did
not include its mount; later it does.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.change_events import MAX_MESSAGE_BYTES, Change

EVENT_TYPES = "kv*"
"""The event types that an agent subscribes to."""
OPERATIONS = {
    "kv-v1/write": "update",
    "kv-v1/delete": "delete",
    "kv-v2/data-write": "update",
    "kv-v2/data-patch": "patch",
    "kv-v2/data-delete": "delete",
    "kv-v2/delete": "delete",
    "kv-v2/undelete": "undelete",
    "kv-v2/destroy": "destroy",
    "kv-v2/metadata-delete": "remove",
}
"""The events that change a value, as operations; changes of metadata and of a mount's settings do not affect apps."""
_SECTIONS = frozenset({"data", "delete", "undelete", "destroy", "metadata"})


def parse_event(frame: bytes) -> Change | None:
    """The change; None for an event that changes no value, and for an invalid message."""
    if len(frame) > MAX_MESSAGE_BYTES:
        return None
    try:
        message: Any = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    data = _member(message, "data")
    metadata = _member(_member(data, "event"), "metadata")
    plugin = _member(data, "plugin_info") or _member(data, "pluginInfo")
    kind = _text(data, "event_type") or _text(data, "eventType")
    mount = (_text(plugin, "mount_path") or _text(plugin, "mountPath")).strip("/")
    path = _path(_text(metadata, "path") or _text(metadata, "data_path"), mount, versioned=kind.startswith("kv-v2/"))
    if kind not in OPERATIONS or not mount or not path:
        return None
    return Change(
        environment=None,
        mount=mount,
        path=path,
        version=_number(_text(metadata, "current_version")),
        operation=OPERATIONS[kind],
        at=_text(message, "time"),
        namespace=_text(data, "namespace").strip("/"),
    )


def _path(full: str, mount: str, *, versioned: bool) -> str:
    below = full.removeprefix(f"{mount}/")
    if not versioned:
        return below
    section, _, path = below.partition("/")
    return path if section in _SECTIONS else ""


def _member(message: Any, key: str) -> Mapping[str, Any]:
    found = message.get(key) if isinstance(message, dict) else None
    return found if isinstance(found, dict) else {}


def _text(message: Mapping[str, Any], key: str) -> str:
    found = message.get(key)
    return found if isinstance(found, str) else ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004  # No secret has a version with more digits.
