"""What is to be written so that a thing beside the secrets is again as an archive has it."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import Record
from lessee.ops.backup.policy.objects import differs, needs_what_is_lost, settings
from lessee.ops.backup.policy.records import Thing

Data = Mapping[str, Any]


class Change(Record, frozen=True):
    """A write at a path. `new`: there was nothing."""

    hidden = ("body",)

    thing: Thing
    path: str
    body: dict[str, Any]
    new: bool


class Lost(Record, frozen=True):
    """It cannot be brought back, and somebody has to write it anew."""

    path: str
    what: str


class Conflict(Record, frozen=True):
    """Something else is in its place."""

    path: str
    what: str


def change(thing: Thing, present: Data | None) -> Change | Lost | Conflict | None:
    """None where it is as it was."""
    match thing.kind:
        case "mount" | "auth":
            return _of_mount(thing, present)
        case "kept":
            return None if present is not None else Lost(thing.path, "settings without a password")
        case "user" if present is None:
            return Lost(thing.path, "its password")
        case _:
            there = settings(thing.kind, present or {})
            if present is not None and not differs(settings(thing.kind, thing.data), there):
                return None
            if lost := needs_what_is_lost(thing):
                return Lost(thing.path, lost)
            return Change(thing, thing.path, settings(thing.kind, thing.data), present is None)


def _of_mount(thing: Thing, present: Data | None) -> Change | Conflict | None:
    base = "sys/mounts" if thing.kind == "mount" else "sys/auth"
    path, data = f"{base}/{thing.path.removesuffix('/')}", thing.data
    config = _config(data)
    if present is None:
        body = {key: value for key, value in data.items() if value} | {"config": config}
        return Change(thing, path, body, new=True)
    if (data["type"], _version(data)) != (present["type"], _version(present)):
        shown = f"{present['type']} {_version(present)}".strip()
        return Conflict(thing.path, f"there it is {shown}, and in the archive {data['type']} {_version(data)}".strip())
    wanted = {**config, "description": data.get("description") or ""}
    if not differs(wanted, {**_config(present), "description": present.get("description")}):
        return None
    return Change(thing, f"{path}/tune", wanted, new=False)


def _config(data: Data) -> dict[str, Any]:
    """Durations are told as numbers, and wanted as texts."""
    config = data.get("config") or {}
    return {
        key: f"{value}s" if key.endswith("_ttl") and isinstance(value, int) else value
        for key, value in config.items()
        if value
    }


def _version(data: Data) -> str:
    return str((data.get("options") or {}).get("version") or "")
