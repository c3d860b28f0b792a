"""From the answers of KV version 2 to one secret, if they fit together."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.records import Secret, Version, fingerprint

SETTINGS = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")


class Read(ImmutableStruct, frozen=True):
    """An answer for one version. `data` None: deleted or destroyed; then only its metadata came."""

    hidden = ("data",)

    data: dict[str, Any] | None
    metadata: Mapping[str, Any]


def to_ask(metadata: Mapping[str, Any]) -> list[int]:
    """The versions to read, the newest first: the oldest is the next to be forgotten anyway."""
    versions: Mapping[str, Any] = metadata.get("versions") or {}
    return sorted((int(number) for number, version in versions.items() if not version.get("destroyed")), reverse=True)


def secret_from(
    mount: str, path: str, metadata: Mapping[str, Any], reads: Mapping[int, Read], key: bytes, *, strict: bool = True
) -> Secret | None:
    """As it was when its metadata were read; None where it changed since, and is to be read again.

    A version never changes, it can only go; so one that was written meanwhile does no harm. `strict` False: older
    versions that the server has forgotten meanwhile are left out, for a secret that never rests.
    """
    newest = int(metadata.get("current_version") or 0)
    versions: Mapping[str, Any] = metadata.get("versions") or {}
    found = []
    for number in sorted(map(int, versions)):
        marks, read = versions[str(number)], reads.get(number)
        if read is not None and any(marks.get(mark) != read.metadata.get(mark) for mark in _MARKS):
            if strict or read.metadata or number == newest:
                return None
            continue
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
