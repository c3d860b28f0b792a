"""Builds a secret from KV version 2 answers, if these are consistent."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.records import Secret, Version, fingerprint

SETTINGS = ("max_versions", "cas_required", "delete_version_after", "custom_metadata")


class Read(ImmutableStruct, frozen=True):
    """The answer for one version. `data` None: a deleted or destroyed version, which has only metadata."""

    hidden = ("data",)

    data: dict[str, Any] | None
    metadata: Mapping[str, Any]


def versions_to_read(metadata: Mapping[str, Any]) -> list[int]:
    """The versions to read, newest first, because Vault may drop the oldest meanwhile."""
    versions: Mapping[str, Any] = metadata.get("versions") or {}
    return sorted((int(number) for number, version in versions.items() if not version.get("destroyed")), reverse=True)


def secret_from(
    mount: str, path: str, metadata: Mapping[str, Any], reads: Mapping[int, Read], key: bytes, *, strict: bool = True
) -> Secret | None:
    """The secret as of its metadata; None where it changed since and must be read again.

    A version never changes, but can disappear; a newer version is harmless. Without `strict`, older versions that
    Vault dropped meanwhile are left out: a secret that is written all the time can still be saved.
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
