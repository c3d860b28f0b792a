"""Plans the migration of existing secrets: which ones move, and the steps that copy one with all its versions."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.paths import Folder

_DEFAULT_MAX_VERSIONS = 10  # KV v2 stores this many where neither mount nor secret sets max_versions.
_TOLERANCE = 60.0  # Seconds: the copy's deletion time is counted from when it was written.


class Settings(ImmutableStruct, frozen=True):
    """The settings of a KV v2 secret."""

    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: float = 0.0
    """Seconds after which Vault deletes a version that is written now; 0: never."""
    custom_metadata: Mapping[str, str] = {}


class Version(ImmutableStruct, frozen=True):
    """One version. `data` and `fingerprint` are None if it is no longer readable."""

    hidden = ("data", "fingerprint")

    data: Mapping[str, Any] | None = None
    fingerprint: bytes | None = None
    deletes_at: float | None = None
    """The deletion time, past or future, in seconds since 1970."""
    destroyed: bool = False

    def is_live(self, now: float) -> bool:
        """Whether it can be read."""
        return not self.destroyed and (self.deletes_at is None or self.deletes_at > now)


class KvSecret(ImmutableStruct, frozen=True):
    """A secret in KV. `versions` may lack the oldest of its `current` versions."""

    current: int
    versions: Mapping[int, Version]
    settings: Settings = Settings()


class WriteSettings(ImmutableStruct, frozen=True):
    """Write the secret's settings."""

    settings: Settings


class WriteVersion(ImmutableStruct, frozen=True):
    """Write the next version. An unreadable one is written empty, and deleted or destroyed in the next step."""

    hidden = ("data",)

    number: int
    data: Mapping[str, Any]


class DeleteVersion(ImmutableStruct, frozen=True):
    """Delete a version that is deleted in the source."""

    number: int


class DestroyVersion(ImmutableStruct, frozen=True):
    """Destroy a version that is destroyed or no longer stored in the source."""

    number: int


class Mismatch(ImmutableStruct, frozen=True):
    """The target is not a partial copy of the source."""

    why: str


Step = WriteSettings | WriteVersion | DeleteVersion | DestroyVersion


class Move(ImmutableStruct, frozen=True):
    """A migration from a folder to the folder of one environment."""

    source: Folder
    target: Folder
    environments: frozenset[str]
    prefixes: tuple[str, ...]
    """The folders of all environments that are in the source's mount."""
    shared: tuple[str, ...] = ()
    """Folders in the source's mount that apps read without the environment's prefix."""

    def skip_reason(self, path: str) -> str | None:
        """Why a path below the source is not migrated; None if it is. A folder's path ends with a slash."""
        whole = f"{self.source.path}{path}"
        if path.split("/", maxsplit=1)[0] in self.environments or whole.startswith(self.prefixes):
            return "belongs to an environment"
        if path.startswith("lessee/") or whole.startswith("lessee/"):
            return "belongs to lessee"
        return "shared: apps read it without a prefix" if whole.startswith(self.shared) else None


def settings_for(settings: Settings, *, source_max_versions: int, target_max_versions: int) -> Settings:
    """The settings of the copy, which stores no fewer versions. `…_max_versions` is the mount's setting, or 0."""
    desired = kept_versions(settings, source_max_versions)
    return (
        settings if kept_versions(settings, target_max_versions) >= desired else replace(settings, max_versions=desired)
    )


def kept_versions(settings: Settings, mount: int) -> int:
    """How many versions KV stores: the larger setting of secret and mount."""
    return max(settings.max_versions, mount) or _DEFAULT_MAX_VERSIONS


def plan(source: KvSecret, target: KvSecret | None, *, max_versions: int, now: float) -> tuple[Step, ...] | Mismatch:
    """The steps that make the target an equal copy of the source, or why that is impossible.

    An interrupted copy is continued. `max_versions`: how many versions the target stores. `now`: by the server's clock.
    """
    there = target or KvSecret(0, {})
    if why := _difference(source, there, is_new=target is None, now=now):
        return Mismatch(why)
    return tuple(_steps(source, there, max_versions=max_versions, now=now))


def _steps(source: KvSecret, there: KvSecret, *, max_versions: int, now: float) -> Iterator[Step]:
    settings = there.settings
    for number in range(1, there.current + 1):
        if number in there.versions and there.versions[number].is_live(now):
            yield from _removal(source, number, max_versions, now)
    for number in range(there.current + 1, source.current + 1):
        version = _version(source, number)
        is_live = version.is_live(now)
        delete_version_after = (
            _delete_after(version, settings.delete_version_after, now) if is_live else settings.delete_version_after
        )
        desired = replace(source.settings, delete_version_after=delete_version_after)
        if settings != desired:
            yield WriteSettings(desired)
            settings = desired
        yield WriteVersion(number, (version.data or {}) if is_live else {})
        yield from _removal(source, number, max_versions, now)
    if settings != source.settings:
        yield WriteSettings(source.settings)


def _removal(source: KvSecret, number: int, max_versions: int, now: float) -> Iterator[Step]:
    version = _version(source, number)
    if version.is_live(now):
        return
    if not version.destroyed:
        yield DeleteVersion(number)
    elif number > source.current - max_versions:  # Vault drops older versions by itself.
        yield DestroyVersion(number)


def _version(kept: KvSecret, number: int) -> Version:
    return kept.versions.get(number, _GONE)


def _delete_after(version: Version, already: float, now: float) -> float:
    """Seconds until Vault shall delete the copy, when it deletes the version. `already` is reused if close enough."""
    if version.deletes_at is None:
        return 0.0
    lasts = max(1.0, version.deletes_at - now)
    return already if already and abs(already - lasts) <= _TOLERANCE / 2 else lasts


def _difference(source: KvSecret, there: KvSecret, *, is_new: bool, now: float) -> str:
    if there.current > source.current:
        return f"it has {there.current} versions, and the source {source.current}"
    if (
        not is_new
        and replace(there.settings, delete_version_after=source.settings.delete_version_after) != source.settings
    ):
        return "its max_versions, cas_required or custom_metadata differ"
    for number in range(1, there.current + 1):
        if why := _difference_of(_version(source, number), _version(there, number), now):
            return f"version {number} {why}"
    return ""


def _difference_of(source: Version, there: Version, now: float) -> str:
    if not there.is_live(now):
        if there.destroyed:
            return "" if source.destroyed else "is destroyed, but not in the source"
        return "" if not source.destroyed and source.deletes_at is not None else "is deleted, but not in the source"
    if not source.is_live(now):
        return "" if there.data == {} else "is readable, but not in the source"
    if source.fingerprint != there.fingerprint:
        return "has different values"
    near = (
        source.deletes_at is None
        if there.deletes_at is None
        else abs((source.deletes_at or 0.0) - there.deletes_at) <= _TOLERANCE
    )
    return "" if near else "has a different deletion time"


_GONE = Version(destroyed=True)
