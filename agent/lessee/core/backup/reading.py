"""From the answers of KV version 2 to one secret, if they fit together."""

from collections.abc import Mapping
from typing import Any

from lessee.core.backup.records import Secret, Version, fingerprint
from lessee.core.record import Record

SETTINGS = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")


class Read(Record, frozen=True):
    """An answer for one version. `data` None: deleted or destroyed; then only its metadata came."""

    hidden = ("data",)

    data: dict[str, Any] | None
    metadata: Mapping[str, Any]


def to_ask(metadata: Mapping[str, Any]) -> list[int | None]:
    """The versions to read, None for the newest: it comes last, and tells whether there is one more by now."""
    newest = int(metadata.get("current_version") or 0)
    versions: Mapping[str, Any] = metadata.get("versions") or {}
    older = sorted(int(number) for number, version in versions.items() if not version.get("destroyed"))
    return [*(number for number in older if number != newest), None]


def secret_from(
    mount: str, path: str, metadata: Mapping[str, Any], reads: Mapping[int | None, Read], key: bytes
) -> Secret | None:
    """None where it changed while it was read, and is to be read again."""
    newest = int(metadata.get("current_version") or 0)
    versions: Mapping[str, Any] = metadata.get("versions") or {}
    if int(reads[None].metadata.get("version") or 0) != newest:
        return None
    found = []
    for number in sorted(map(int, versions)):
        marks, read = versions[str(number)], reads.get(None if number == newest else number)
        if read is not None and any(marks.get(mark) != read.metadata.get(mark) for mark in _MARKS):
            return None
        data = read.data if read is not None else None
        found.append(
            Version(
                number=number,
                data=data,
                fingerprint="" if data is None else fingerprint(key, mount, path, data),
                created=str(marks.get("created_time") or ""),
                deleted=str(marks.get("deletion_time") or ""),
                destroyed=bool(marks.get("destroyed")),
            )
        )
    settings = {name: metadata[name] for name in SETTINGS if metadata.get(name) is not None}
    return Secret(mount, path, 2, newest, settings, tuple(found))


_MARKS = ("created_time", "deletion_time", "destroyed")
