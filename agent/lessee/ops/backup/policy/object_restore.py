"""Plans the write that restores a server object from an archive."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.objects import differs, missing_secret, settings
from lessee.ops.backup.policy.records import ServerObject

Data = Mapping[str, Any]


class Change(ImmutableStruct, frozen=True):
    """A write at a path. `new`: the object does not exist yet."""

    hidden = ("body",)

    server_object: ServerObject
    path: str
    body: dict[str, Any]
    new: bool


class Unrestorable(ImmutableStruct, frozen=True):
    """An object that cannot be restored; an operator has to write it again."""

    path: str
    what: str


class Conflict(ImmutableStruct, frozen=True):
    """A different object is in its place."""

    path: str
    what: str


def change(server_object: ServerObject, present: Data | None) -> Change | Unrestorable | Conflict | None:
    """The change that restores an object; None if it is equal."""
    match server_object.kind:
        case "mount" | "auth":
            return _of_mount(server_object, present)
        case "reference":
            return None if present is not None else Unrestorable(server_object.path, "settings without a password")
        case "user" if present is None:
            return Unrestorable(server_object.path, "its password")
        case _:
            there = settings(server_object.kind, present or {})
            if present is not None and not differs(settings(server_object.kind, server_object.data), there):
                return None
            if lost := missing_secret(server_object):
                return Unrestorable(server_object.path, lost)
            return Change(
                server_object, server_object.path, settings(server_object.kind, server_object.data), present is None
            )


def _of_mount(server_object: ServerObject, present: Data | None) -> Change | Conflict | None:
    base = "sys/mounts" if server_object.kind == "mount" else "sys/auth"
    path, data = f"{base}/{server_object.path.removesuffix('/')}", server_object.data
    config = _config(data)
    if present is None:
        body = {key: value for key, value in data.items() if value} | {"config": config}
        return Change(server_object, path, body, new=True)
    if (data["type"], _version(data)) != (present["type"], _version(present)):
        existing = f"{present['type']} {_version(present)}".strip()
        saved = f"{data['type']} {_version(data)}".strip()
        return Conflict(server_object.path, f"the server has {existing}, and the archive {saved}")
    wanted = {**config, "description": data.get("description") or ""}
    if not differs(wanted, {**_config(present), "description": present.get("description")}):
        return None
    return Change(server_object, f"{path}/tune", wanted, new=False)


def _config(data: Data) -> dict[str, Any]:
    """The mount's configuration. Vault returns durations as numbers, and expects them as text."""
    config = data.get("config") or {}
    return {
        key: f"{value}s" if key.endswith("_ttl") and isinstance(value, int) else value
        for key, value in config.items()
        if value
    }


def _version(data: Data) -> str:
    return str((data.get("options") or {}).get("version") or "")
