"""Secrets from before there were environments: which are moved, and the steps that make an equal copy of one."""

from collections.abc import Iterator, Mapping
from typing import Any

from lessee.core.immutable import Record, replace
from lessee.core.paths import Folder

_DEFAULT_MOST = 10  # Versions that KV v2 keeps where neither mount nor secret says a number.
_NEAR = 60.0  # Seconds: the copy's end is counted from when it was written.


class Settings(Record, frozen=True):
    """What KV v2 keeps of a secret beside its versions."""

    max_versions: int = 0
    cas_required: bool = False
    delete_after: float = 0.0
    """Seconds after which a version that is written now will be deleted; 0: never."""
    custom_metadata: Mapping[str, str] = {}


class Version(Record, frozen=True):
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


class Kept(Record, frozen=True):
    """A secret as it lies in KV. Of `current` versions the oldest may be gone."""

    current: int
    versions: Mapping[int, Version]
    settings: Settings = Settings()


class Settle(Record, frozen=True):
    """Write what lies beside the versions."""

    settings: Settings


class Write(Record, frozen=True):
    """Write the next version. What cannot be read any more is written empty, to be deleted or destroyed at once."""

    hidden = ("data",)

    number: int
    data: Mapping[str, Any]


class Delete(Record, frozen=True):
    """Delete a version, as it is in the source."""

    number: int


class Destroy(Record, frozen=True):
    """Destroy a version that is destroyed or gone in the source."""

    number: int


class Differs(Record, frozen=True):
    """What is there is not a beginning of the copy."""

    why: str


Step = Settle | Write | Delete | Destroy


class Move(Record, frozen=True):
    """From a folder to the folder of one environment."""

    source: Folder
    target: Folder
    environments: frozenset[str]
    prefixes: tuple[str, ...]
    """The folders of all environments, where they lie in the source's mount."""
    shared: tuple[str, ...] = ()
    """Folders in the source's mount that are read without a prefix."""

    def left_out(self, path: str) -> str | None:
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


def plan(source: Kept, target: Kept | None, *, most: int, now: float) -> tuple[Step, ...] | Differs:
    """What is left to do until the target is an equal copy, or why it will never be one.

    A copy that was broken off at any step is gone on with. `most`: versions that the target will keep. `now` by the
    server's clock.
    """
    there = target or Kept(0, {})
    if why := _difference(source, there, is_new=target is None, now=now):
        return Differs(why)
    return tuple(_steps(source, there, most=most, now=now))


def _steps(source: Kept, there: Kept, *, most: int, now: float) -> Iterator[Step]:
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
            yield Settle(wanted)
            settings = wanted
        yield Write(number, (version.data or {}) if is_live else {})
        yield from _ending(source, number, most, now)
    if settings != source.settings:
        yield Settle(source.settings)


def _ending(source: Kept, number: int, most: int, now: float) -> Iterator[Step]:
    version = _version(source, number)
    if version.is_live(now):
        return
    if not version.destroyed:
        yield Delete(number)
    elif number > source.current - most:  # Else the versions after it push it out.
        yield Destroy(number)


def _version(kept: Kept, number: int) -> Version:
    return kept.versions.get(number, _GONE)


def _delete_after(version: Version, already: float, now: float) -> float:
    """So that the copy ends when the version does; what does about that `already` will do."""
    if version.ends is None:
        return 0.0
    lasts = max(1.0, version.ends - now)
    return already if already and abs(already - lasts) <= _NEAR / 2 else lasts


def _difference(source: Kept, there: Kept, *, is_new: bool, now: float) -> str:
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
