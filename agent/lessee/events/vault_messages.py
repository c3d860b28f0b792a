"""A change as Vault Enterprise itself tells of it: from a frame of its event stream to what an agent looks at.

https://developer.hashicorp.com/vault/docs/concepts/events has the envelope (CloudEvents) and the table of types. Of the
envelope's members the page's text has `eventType` and its example `event_type`; both are taken. Until 1.14 a path was
below its mount, and begins with the mount's since.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.change_events import LONGEST, Change

TYPES = "kv*"
"""Those that are subscribed to."""
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
"""What changes a value, in the words of a change; of metadata and of a mount's settings an app sees nothing."""
_SECTIONS = frozenset({"data", "delete", "undelete", "destroy", "metadata"})


def told(frame: bytes) -> Change | None:
    """None for what changes no value, and for what Vault would not have sent."""
    if len(frame) > LONGEST:
        return None
    try:
        said: Any = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    data = _below(said, "data")
    metadata = _below(_below(data, "event"), "metadata")
    plugin = _below(data, "plugin_info") or _below(data, "pluginInfo")
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
        at=_text(said, "time"),
        namespace=_text(data, "namespace").strip("/"),
    )


def _path(said: str, mount: str, *, versioned: bool) -> str:
    below = said.removeprefix(f"{mount}/")
    if not versioned:
        return below
    section, _, path = below.partition("/")
    return path if section in _SECTIONS else ""


def _below(said: Any, key: str) -> Mapping[str, Any]:
    found = said.get(key) if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def _text(said: Mapping[str, Any], key: str) -> str:
    found = said.get(key)
    return found if isinstance(found, str) else ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004  # No secret has more versions.
