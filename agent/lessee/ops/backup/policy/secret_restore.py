"""What is to be written so that a secret is again as an archive has it."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.backup.policy.objects import differs
from lessee.ops.backup.policy.records import Secret, Version

DEFAULT_MAX_VERSIONS = 10
"""How many versions KV keeps where nobody says otherwise."""
PLACEHOLDER: Mapping[str, Any] = {}
"""Stands for a version that could not be saved, until it is deleted as the original was."""

_DEFAULTS = {"delete_version_after": "0s"}


class WriteSettings(ImmutableStruct, frozen=True):
    """Set the secret's own settings."""

    settings: dict[str, Any]


class WriteVersion(ImmutableStruct, frozen=True):
    """Write a version, if `cas` is still the newest."""

    hidden = ("data",)

    data: dict[str, Any]
    cas: int


class DeleteVersions(ImmutableStruct, frozen=True):
    """DeleteVersions versions, so that an operator can bring them back."""

    versions: tuple[int, ...]


class DestroyVersions(ImmutableStruct, frozen=True):
    """DestroyVersions versions, in which there is nothing but a placeholder."""

    versions: tuple[int, ...]


Step = WriteSettings | WriteVersion | DeleteVersions | DestroyVersions


class SecretStatus(StrEnum):
    """What a secret of the archive is to the server."""

    EQUAL = "equal"
    NEW = "new"
    CONTINUED = "continued"
    """The server has its first versions: of a restore that was interrupted, or of settings that changed."""
    CHANGED = "changed"
    """The server has something else, on top of which the archive's newest version is written."""


class Plan(ImmutableStruct, frozen=True):
    """The way from what is there to what was saved. `loses`: what is there is newer, or is kept nowhere afterwards."""

    course: SecretStatus
    steps: tuple[Step, ...]
    overwrites_newer: bool = False


def plan(saved: Secret, present: Secret | None, *, most: int = DEFAULT_MAX_VERSIONS) -> Plan:
    """`most`: the versions that the mount keeps. No steps: it is as it was.

    Numbers are kept where the server has nothing else at the path. After all steps the newest version has the saved
    data, and a plan made anew is empty; so it is wherever the steps were interrupted, once they are taken to the end.
    """
    if saved.engine == 1:
        return _plan_unversioned(saved, present)
    there = present or replace(saved, current=0, settings=_DEFAULTS, versions=())
    if _begins(there, saved):
        steps = tuple(_continue(saved, there, most))
        course = SecretStatus.NEW if present is None else SecretStatus.CONTINUED
        return Plan(course, steps) if steps else Plan(SecretStatus.EQUAL, ())
    steps = (*_settle(saved.settings, there.settings), *_overwrite(saved, there))
    if not steps:
        return Plan(SecretStatus.EQUAL, ())
    return Plan(SecretStatus.CHANGED, steps, overwrites_newer=_moment(there) > _moment(saved))


def _plan_unversioned(saved: Secret, present: Secret | None) -> Plan:
    (version,) = saved.versions
    if present is not None and present.versions[0].fingerprint == version.fingerprint:
        return Plan(SecretStatus.EQUAL, ())
    steps = (WriteVersion(version.data or {}, 0),)
    return (
        Plan(SecretStatus.NEW, steps) if present is None else Plan(SecretStatus.CHANGED, steps, overwrites_newer=True)
    )


def _begins(there: Secret, saved: Secret) -> bool:
    """Whether what is there is the beginning of what was saved, or all of it."""
    mine, theirs = _by_number(saved), _by_number(there)
    return there.current <= saved.current and all(
        _stands_for(version, mine.get(number)) for number, version in theirs.items()
    )


def _stands_for(there: Version, saved: Version | None) -> bool:
    if saved is None or saved.data is None:
        return there.data is None or there.data == PLACEHOLDER
    return there.fingerprint == saved.fingerprint


def _continue(saved: Secret, there: Secret, most: int) -> Iterator[Step]:
    wanted, versions = saved.settings, _by_number(saved)
    numbers = range(there.current + 1, saved.current + 1)
    readable = [version.number for version in saved.versions if version.data is not None]
    span = saved.current - min(readable, default=saved.current) + 1
    if numbers and span > (wanted.get("max_versions") or most):
        # More versions are there than are kept of new ones: the setting was lowered since, and comes last.
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


def _moment(secret: Secret) -> tuple[str, str]:
    """Of the newest version; the server leaves zeros at the end of a fraction out."""
    created = secret.newest.created if secret.newest is not None else ""
    return created[:19], created[19:].strip(".Z").ljust(9, "0")
