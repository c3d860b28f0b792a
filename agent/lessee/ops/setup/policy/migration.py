"""Secrets from before there were environments: which are moved, and the steps that make an equal copy of one."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.paths import Folder

_DEFAULT_MOST = 10  # Versions that KV v2 keeps where neither mount nor secret says a number.
_NEAR = 60.0  # Seconds: the copy's end is counted from when it was written.


class Settings(ImmutableStruct, frozen=True):
    """What KV v2 keeps of a secret beside its versions."""

    max_versions: int = 0
    cas_required: bool = False
    delete_after: float = 0.0
    """Seconds after which a version that is written now will be deleted; 0: never."""
    custom_metadata: Mapping[str, str] = {}


class Version(ImmutableStruct, frozen=True):
    """One version. `data` and `fingerprint` are None where it cannot be read any more."""

    hidden = ("data", "fingerprint")

    data: Mapping[str, Any] | None = None
    fingerprint: bytes | None = None
    ends: float | None = None
    """When it was or will be deleted, in seconds since 1970."""
    destroyed: bool = False

    def is_live(self, now: float) -> bool:
        """Whether it can be read."""
        return not self.destroyed and (self.ends is None or self.ends > now)


class KvSecret(ImmutableStruct, frozen=True):
    """A secret as it lies in KV. Of `current` versions the oldest may be gone."""

    current: int
    versions: Mapping[int, Version]
    settings: Settings = Settings()


class WriteSettings(ImmutableStruct, frozen=True):
    """WriteVersion what lies beside the versions."""

    settings: Settings


class WriteVersion(ImmutableStruct, frozen=True):
    """WriteVersion the next version. What cannot be read any more is written empty, to be deleted or destroyed at once."""

    hidden = ("data",)

    number: int
    data: Mapping[str, Any]


class DeleteVersion(ImmutableStruct, frozen=True):
    """DeleteVersion a version, as it is in the source."""

    number: int


class DestroyVersion(ImmutableStruct, frozen=True):
    """DestroyVersion a version that is destroyed or gone in the source."""

    number: int


class Mismatch(ImmutableStruct, frozen=True):
    """What is there is not a beginning of the copy."""

    why: str


Step = WriteSettings | WriteVersion | DeleteVersion | DestroyVersion


class Move(ImmutableStruct, frozen=True):
    """From a folder to the folder of one environment."""

    source: Folder
    target: Folder
    environments: frozenset[str]
    prefixes: tuple[str, ...]
    """The folders of all environments, where they lie in the source's mount."""
    shared: tuple[str, ...] = ()
    """Folders in the source's mount that are read without a prefix."""

    def skip_reason(self, path: str) -> str | None:
        """Why what lies there, below the source, stays where it is. A folder's path ends in a slash."""
        whole = f"{self.source.path}{path}"
        if path.split("/", maxsplit=1)[0] in self.environments or whole.startswith(self.prefixes):
            return "an environment's own"
        if path.startswith("lessee/") or whole.startswith("lessee/"):
            return "lessee's own"
        return "shared: it is read without a prefix" if whole.startswith(self.shared) else None


def settings_for(settings: Settings, *, source_most: int, target_most: int) -> Settings:
    """Those of the copy, which keeps no fewer versions; `…_most` is what a mount says, or 0."""
    wanted = most_of(settings, source_most)
    return settings if most_of(settings, target_most) >= wanted else replace(settings, max_versions=wanted)


def most_of(settings: Settings, mount: int) -> int:
    """How many versions are kept: the larger of what secret and mount say wins."""
    return max(settings.max_versions, mount) or _DEFAULT_MOST


def plan(source: KvSecret, target: KvSecret | None, *, most: int, now: float) -> tuple[Step, ...] | Mismatch:
    """What is left to do until the target is an equal copy, or why it will never be one.

    A copy that was broken off at any step is gone on with. `most`: versions that the target will keep. `now` by the
    server's clock.
    """
    there = target or KvSecret(0, {})
    if why := _difference(source, there, is_new=target is None, now=now):
        return Mismatch(why)
    return tuple(_steps(source, there, most=most, now=now))


def _steps(source: KvSecret, there: KvSecret, *, most: int, now: float) -> Iterator[Step]:
    settings = there.settings
    for number in range(1, there.current + 1):
        if number in there.versions and there.versions[number].is_live(now):
            yield from _ending(source, number, most, now)
    for number in range(there.current + 1, source.current + 1):
        version = _version(source, number)
        is_live = version.is_live(now)
        delete_after = _delete_after(version, settings.delete_after, now) if is_live else settings.delete_after
        wanted = replace(source.settings, delete_after=delete_after)
        if settings != wanted:
            yield WriteSettings(wanted)
            settings = wanted
        yield WriteVersion(number, (version.data or {}) if is_live else {})
        yield from _ending(source, number, most, now)
    if settings != source.settings:
        yield WriteSettings(source.settings)


def _ending(source: KvSecret, number: int, most: int, now: float) -> Iterator[Step]:
    version = _version(source, number)
    if version.is_live(now):
        return
    if not version.destroyed:
        yield DeleteVersion(number)
    elif number > source.current - most:  # Else the versions after it push it out.
        yield DestroyVersion(number)


def _version(kept: KvSecret, number: int) -> Version:
    return kept.versions.get(number, _GONE)


def _delete_after(version: Version, already: float, now: float) -> float:
    """So that the copy ends when the version does; what does about that `already` will do."""
    if version.ends is None:
        return 0.0
    lasts = max(1.0, version.ends - now)
    return already if already and abs(already - lasts) <= _NEAR / 2 else lasts


def _difference(source: KvSecret, there: KvSecret, *, is_new: bool, now: float) -> str:
    if there.current > source.current:
        return f"it has {there.current} versions, and the source {source.current}"
    if not is_new and replace(there.settings, delete_after=source.settings.delete_after) != source.settings:
        return "its max_versions, cas_required or custom_metadata are others"
    for number in range(1, there.current + 1):
        if why := _difference_of(_version(source, number), _version(there, number), now):
            return f"version {number} {why}"
    return ""


def _difference_of(source: Version, there: Version, now: float) -> str:
    if not there.is_live(now):
        if there.destroyed:
            return "" if source.destroyed else "is destroyed, and not in the source"
        return "" if not source.destroyed and source.ends is not None else "is deleted, and not so in the source"
    if not source.is_live(now):
        return "" if there.data == {} else "can be read, and not in the source"
    if source.fingerprint != there.fingerprint:
        return "has other values"
    near = source.ends is None if there.ends is None else abs((source.ends or 0.0) - there.ends) <= _NEAR
    return "" if near else "ends at another time"


_GONE = Version(destroyed=True)
