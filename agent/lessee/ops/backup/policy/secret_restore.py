"""Plans the writes that restore a secret from an archive."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.backup.policy.objects import differs
from lessee.ops.backup.policy.records import Secret, Version

DEFAULT_MAX_VERSIONS = 10
"""KV's default for max_versions."""
PLACEHOLDER: Mapping[str, Any] = {}
"""The data of a version that could not be saved; a later step deletes it like the original."""

_DEFAULTS = {"delete_version_after": "0s"}


class WriteSettings(ImmutableStruct, frozen=True):
    """Write the secret's settings."""

    settings: dict[str, Any]


class WriteVersion(ImmutableStruct, frozen=True):
    """Write a version, provided that `cas` is still the newest."""

    hidden = ("data",)

    data: dict[str, Any]
    cas: int


class DeleteVersions(ImmutableStruct, frozen=True):
    """Delete versions; an operator can undelete them."""

    versions: tuple[int, ...]


class DestroyVersions(ImmutableStruct, frozen=True):
    """Destroy versions that hold only a placeholder."""

    versions: tuple[int, ...]


Step = WriteSettings | WriteVersion | DeleteVersions | DestroyVersions


class SecretStatus(StrEnum):
    """How a secret of the archive compares with the server's."""

    EQUAL = "equal"
    NEW = "new"
    CONTINUED = "continued"
    """The server has the first versions, from an interrupted restore, or only the settings differ."""
    CHANGED = "changed"
    """The server has a different secret; the archive's newest version is written on top of it."""


class Plan(ImmutableStruct, frozen=True):
    """The steps from the server's secret to the saved one.

    `overwrites_newer`: the server's secret is newer, or has no version history that would preserve it.
    """

    status: SecretStatus
    steps: tuple[Step, ...]
    overwrites_newer: bool = False


def plan(saved: Secret, present: Secret | None, *, most: int = DEFAULT_MAX_VERSIONS) -> Plan:
    """Plan the restore of a secret; a plan without steps means that it is equal.

    `most`: the max_versions of the mount. Version numbers are preserved unless the server has a different secret at
    the path. After all steps the newest version has the saved data, and a new plan is empty. An interrupted restore
    can be planned and completed again.
    """
    if saved.engine == 1:
        return _plan_unversioned(saved, present)
    there = present or replace(saved, current=0, settings=_DEFAULTS, versions=())
    if _is_prefix(there, saved):
        steps = tuple(_continue(saved, there, most))
        status = SecretStatus.NEW if present is None else SecretStatus.CONTINUED
        return Plan(status, steps) if steps else Plan(SecretStatus.EQUAL, ())
    steps = (*_settle(saved.settings, there.settings), *_overwrite(saved, there))
    if not steps:
        return Plan(SecretStatus.EQUAL, ())
    return Plan(SecretStatus.CHANGED, steps, overwrites_newer=_created_at(there) > _created_at(saved))


def _plan_unversioned(saved: Secret, present: Secret | None) -> Plan:
    (version,) = saved.versions
    if present is not None and present.versions[0].fingerprint == version.fingerprint:
        return Plan(SecretStatus.EQUAL, ())
    steps = (WriteVersion(version.data or {}, 0),)
    return (
        Plan(SecretStatus.NEW, steps) if present is None else Plan(SecretStatus.CHANGED, steps, overwrites_newer=True)
    )


def _is_prefix(there: Secret, saved: Secret) -> bool:
    """Whether the server's versions are the first of the saved ones, or all of them."""
    mine, theirs = _by_number(saved), _by_number(there)
    return there.current <= saved.current and all(
        _matches(version, mine.get(number)) for number, version in theirs.items()
    )


def _matches(there: Version, saved: Version | None) -> bool:
    if saved is None or saved.data is None:
        return there.data is None or there.data == PLACEHOLDER
    return there.fingerprint == saved.fingerprint


def _continue(saved: Secret, there: Secret, most: int) -> Iterator[Step]:
    wanted, versions = saved.settings, _by_number(saved)
    numbers = range(there.current + 1, saved.current + 1)
    readable = [version.number for version in saved.versions if version.data is not None]
    span = saved.current - min(readable, default=saved.current) + 1
    if numbers and span > (wanted.get("max_versions") or most):
        # The archive has more versions than max_versions allows: it was lowered later, so it is written last.
        widened = {**wanted, "max_versions": span}
        yield from _settle(widened, there.settings)
        there = replace(there, settings=widened)
    else:
        yield from _settle(wanted, there.settings)
        there = replace(there, settings=wanted)
    for number in numbers:
        version = versions.get(number)
        yield WriteVersion(dict(PLACEHOLDER) if version is None or version.data is None else version.data, number - 1)
    live = {version.number for version in there.versions if version.data is not None} | set(numbers)
    deleted = [number for number in live if (found := versions.get(number)) and _is_deleted(found)]
    destroyed = [number for number in live if (found := versions.get(number)) is None or found.destroyed]
    if destroyed:
        yield DestroyVersions(tuple(sorted(destroyed)))
    if deleted:
        yield DeleteVersions(tuple(sorted(deleted)))
    yield from _settle(wanted, there.settings)


def _overwrite(saved: Secret, there: Secret) -> Iterator[Step]:
    mine, theirs = saved.newest, there.newest
    if mine is None or (theirs is not None and theirs.fingerprint == mine.fingerprint):
        return
    if mine.data is not None:
        yield WriteVersion(mine.data, there.current)
    elif theirs is not None:
        yield DeleteVersions((there.current,))


def _settle(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Step]:
    if differs(wanted, there):
        yield WriteSettings(dict(wanted))


def _is_deleted(version: Version) -> bool:
    return version.data is None and not version.destroyed


def _by_number(secret: Secret) -> dict[int, Version]:
    return {version.number: version for version in secret.versions}


def _created_at(secret: Secret) -> tuple[str, str]:
    """When the newest version was created; Vault omits trailing zeros of the fraction."""
    created = secret.newest.created if secret.newest is not None else ""
    return created[:19], created[19:].strip(".Z").ljust(9, "0")
